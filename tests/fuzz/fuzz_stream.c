/* The stream and every parser under it: bytes become calls of either direction, whole or cut, with gaps, tails, ticks,
 * TLS pieces and closes. First byte: options. Then operations: a byte of kind, a byte of length, the bytes. */
#include "stream/stream.h"

#include <sys/socket.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static void *on_begin(struct exchange_sink *s, const struct exchange *x, const struct message *m)
{
    assert(x->conn && x->protocol && memchr(m->name, 0, sizeof(m->name)));
    for (u16 i = 0; i < m->attrs.n; i++)
        assert(m->attrs.v[i].key);
    return malloc(1); /* ASan tells of an end that is missing or comes twice */
}

static void on_end(struct exchange_sink *s, void *handle, const struct exchange *x, const struct message *m,
                   const struct exchange_answer *a)
{
    assert(handle && x->conn);
    free(handle);
}

static void put_data(struct stream *s, u64 time, u64 *pos, const u8 *p, size_t n, u8 kind)
{
    u8 *copy = malloc(n + 1);
    memcpy(copy, p, n);
    u32 beyond = kind & 16 ? 40000u * (kind >> 5) : 0;
    enum dir d = kind & 1;
    struct event e = { .type = EVENT_DATA,
                       .time = time,
                       .tgid = 7,
                       .tid = 8,
                       .lost = kind & 2,
                       .data = {
                           .conn = 1 + (kind >> 2 & 1), .pos = pos[d], .len = (u32)n + beyond, .dir = d, .bytes = { copy, n } } };
    stream_event(s, &e);
    pos[d] += n + beyond;
    free(copy);
}

static void put_tls(struct stream *s, u64 time, u64 *pos, const u8 *p, size_t n, u8 kind)
{
    u8 *copy = malloc(n + 1);
    memcpy(copy, p, n);
    struct event e = {
        .type = EVENT_TLS,
        .time = time,
        .tgid = 7,
        .tid = 8,
        .tls = { .ssl = 1 + (kind >> 1 & 1), .pos = pos[2 + (kind & 1)], .len = (u32)n, .dir = kind & 1, .bytes = { copy, n } }
    };
    stream_event(s, &e);
    pos[2 + (kind & 1)] += n;
    free(copy);
}

static void put_other(struct stream *s, u64 time, u64 *pos, u8 kind)
{
    struct event close = { .type = EVENT_CLOSE, .time = time, .tgid = 7, .close = { .conn = 1 + (kind & 1) } };
    struct event gone = { .type = EVENT_EXIT, .time = time, .tgid = 7 };
    if (kind & 2)
        stream_event(s, kind & 4 ? &gone : &close);
    else if (kind & 4)
        stream_tick(s, time + 200000000);
    else
        pos[kind & 1] += 1 + (kind >> 3) * 50; /* a gap */
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct exchange_sink sink = { .begin = on_begin, .end = on_end };
    struct stream_options o = { .max_open = 8, .max_conns = 2, .max_buffered = 1 << 18, .privacy.keep_values = n && (p[0] & 1) };
    struct stream *s = stream_new(&o, &sink, NULL);
    u64 time = 1000000, pos[4] = { 0 };
    struct event conn = { .type = EVENT_CONN,
                          .time = time,
                          .tgid = 7,
                          .conn = { .id = 1, .family = AF_INET, .role = n ? (p[0] >> 1) % 3 : 0, .was_open = n && p[0] & 8 } };
    stream_event(s, &conn);
    for (size_t at = 1; at + 2 <= n;) {
        u8 kind = p[at], what = p[at + 1] >> 6;
        size_t len = (size_t)(p[at + 1] & 63) * 4;
        at += 2;
        if (len > n - at || what == 3)
            len = what == 3 ? 0 : n - at;
        time += 1000000 + kind * 1000;
        if (what == 3)
            put_other(s, time, pos, kind);
        else if (what == 2)
            put_tls(s, time, pos, p + at, len, kind);
        else
            put_data(s, time, pos, p + at, len, kind);
        at += len;
    }
    stream_free(s);
    return 0;
}
