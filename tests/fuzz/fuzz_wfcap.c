/* Capture files from anywhere: header and frames, read to the end or to the first thing that cannot be. Each input is read
 * twice: as it is, and with its checksums put right, for what lies behind them. Records also go through the decoder, as a
 * replay would send them. */
#include "ingest/wfcap.h"
#include "ingest/event.h"

#include <zlib.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

#define FILE_HEAD  24 /* magic, version, abi, header length, header checksum */
#define FRAME_HEAD 12 /* length, kind, checksum */

static void header_walk(struct slice text)
{
    size_t at = 0, sum = 0;
    struct slice key, value;
    while (wfcap_header_each(text, "", &at, &key, &value))
        sum += key.n + value.n;
    if (sum > text.n)
        abort();
    (void)wfcap_header_get(text, "kernel");
}

static void file_read(u8 *data, size_t size)
{
    struct wfcap_reader *r = NULL;
    struct wfcap_frame frame;
    struct event e;
    char err[200];
    u32 lost = 0;
    FILE *f = size ? fmemopen(data, size, "rb") : NULL;
    if (!f || wfcap_open(f, wfcap_abi, &r, err, sizeof(err)))
        return;
    header_walk(wfcap_header_text(r));
    while (wfcap_next(r, &frame) == WFCAP_OK) {
        if (frame.kind == WFCAP_RECORD)
            (void)event_decode(frame.record.p, frame.record.n, &lost, &e);
        if (frame.kind == WFCAP_SITE && memchr(frame.site.function.p, 0, frame.site.function.n + frame.site.file.n + 2) !=
                                            frame.site.function.p + frame.site.function.n)
            abort();
    }
    wfcap_close(r);
}

static u32 load_u32(const u8 *p)
{
    u32 v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static void store_crc(u8 *at, const u8 *p, size_t n)
{
    u32 crc = (u32)crc32(crc32(0, NULL, 0), p, (uInt)n);
    memcpy(at, &crc, sizeof(crc));
}

static void checksums_mend(u8 *p, size_t n)
{
    if (n < FILE_HEAD || load_u32(p + 16) > n - FILE_HEAD)
        return;
    store_crc(p + 20, p + FILE_HEAD, load_u32(p + 16));
    for (size_t at = FILE_HEAD + load_u32(p + 16); n - at >= FRAME_HEAD;) {
        size_t len = load_u32(p + at);
        if (len > n - at - FRAME_HEAD)
            return;
        store_crc(p + at + 8, p + at + FRAME_HEAD, len);
        at += FRAME_HEAD + len;
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
    u8 *copy = malloc(size + 1);
    memcpy(copy, data, size);
    file_read(copy, size);
    checksums_mend(copy, size);
    file_read(copy, size);
    free(copy);
    return 0;
}
