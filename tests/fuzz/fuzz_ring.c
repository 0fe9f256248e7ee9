/* Records as a ring or a capture file might hold them: anything at all. What decodes must lie within the input. */
#include "bpf/abi.h"
#include "ingest/event.h"

static void inside(struct slice s, const uint8_t *p, size_t n)
{
    if (s.n && (s.p < p || s.p + s.n > p + n))
        abort();
}

static void values_inside(struct slice values, const uint8_t *p, size_t n)
{
    struct event_value v;
    inside(values, p, n);
    while (event_value_next(&values, &v))
        inside(v.text, p, n);
}

static void event_inside(const struct event *e, const uint8_t *p, size_t n)
{
    switch (e->type) {
    case EVENT_EXEC:
        inside(e->exec.filename, p, n);
        inside(e->exec.args, p, n);
        break;
    case EVENT_DATA:
        inside(e->data.bytes, p, n);
        break;
    case EVENT_TLS:
        inside(e->tls.bytes, p, n);
        break;
    case EVENT_HIT:
        for (unsigned i = 0; i < EVENT_VALUES; i++)
            inside(e->hit.s[i], p, n);
        break;
    case EVENT_BRIDGE:
        values_inside(e->bridge.values, p, n);
        break;
    case EVENT_PROCINFO:
        inside(e->procinfo.text, p, n);
        inside(procinfo_get(e->procinfo.text, "exe"), p, n);
        break;
    default:
        break;
    }
}

/* Records one after another by their own length, and the whole input as one. */
int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    u32 lost = 0;
    struct event e;
    for (size_t at = 0; at + sizeof(struct rec_hdr) <= n;) {
        struct rec_hdr h;
        memcpy(&h, p + at, sizeof(h));
        if (!event_decode(p + at, n - at, &lost, &e))
            event_inside(&e, p + at, n - at);
        at += h.len >= sizeof(h) ? (h.len + 7ul) & ~7ul : sizeof(h);
    }
    if (!event_decode(p, n, &lost, &e))
        event_inside(&e, p, n);
    return 0;
}
