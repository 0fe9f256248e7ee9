/* Capture files from anywhere: header and frames, read to the end or to the first thing that cannot be. The first frames
 * also go through the decoder, as a replay would send them. */
#include "ingest/wfcap.h"
#include "ingest/event.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

static void header_walk(struct slice text)
{
    size_t at = 0, sum = 0;
    struct slice key, value;
    while(wfcap_header_each(text, "", &at, &key, &value))
        sum += key.n + value.n;
    if(sum > text.n)
        abort();
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    struct wfcap_reader *r = NULL;
    struct wfcap_frame frame;
    struct event e;
    char err[200];
    u32 lost = 0;
    FILE *f = size ? fmemopen((void *)(uintptr_t)data, size, "rb") : NULL;
    if(!f || wfcap_open(f, wfcap_abi, &r, err, sizeof(err)))
        return 0;
    header_walk(wfcap_header_text(r));
    while(wfcap_next(r, &frame) == WFCAP_OK)
        if(frame.kind == WFCAP_RECORD)
            (void)event_decode(frame.record.p, frame.record.n, &lost, &e);
    wfcap_close(r);
    return 0;
}
