/* One parser alone: the first byte chooses side, privacy and role; the rest comes in two pieces flush with their end. */
#ifndef WF_TESTS_FUZZ_PARSE_H
#define WF_TESTS_FUZZ_PARSE_H

#include "protocol/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static size_t fuzz_run(const struct protocol *proto, void *st, enum side side, const u8 *p, size_t n, struct message *m)
{
    u8 *copy = malloc(n + 1);
    memcpy(copy, p, n);
    size_t at = 0;
    for (int idle = 0; idle < 64;) {
        message_clear(m);
        struct parse_result r = proto->parse(st, side, slice_of(copy + at, n - at), m);
        assert(r.used <= n - at);
        at += r.used;
        u64 skip = min_u64(r.skip, n - at);
        if (r.show && proto->body) {
            proto->body(st, side, slice_of(copy + at, skip), 0, 1);
            proto->body(st, side, slice_of(NULL, 0), r.skip - skip, 2);
        }
        at += skip;
        idle = r.used + skip ? 0 : idle + 1;
        if (r.status == PARSE_MORE || r.status == PARSE_SWITCH)
            break;
        if (r.status == PARSE_BAD) {
            ptrdiff_t to = proto->resync(st, side, slice_of(copy + at, n - at), 0, true);
            if (to < 0)
                break;
            at += (size_t)to + (at < n && !to);
        }
    }
    if (proto->cut && at < n) {
        message_clear(m);
        struct parse_result r = proto->cut(st, side, slice_of(copy + at, n - at), m);
        assert(r.used <= n - at);
    }
    free(copy);
    return at;
}

static int fuzz_protocol(const struct protocol *proto, const u8 *p, size_t n)
{
    static struct message m;
    if (n < 2)
        return 0;
    void *st = calloc(1, proto->state_size);
    struct session session = { .server = p[0] & 1, .joined = p[0] & 2, .privacy.keep_values = p[0] & 4 };
    proto->sniff(slice_of(p + 1, n - 1));
    proto->init(st, &session);
    size_t half = p[0] & 8 ? (n - 1) / 2 : n - 1;
    size_t used = fuzz_run(proto, st, p[0] & 16 ? SIDE_RESPONSE : SIDE_REQUEST, p + 1, half, &m);
    fuzz_run(proto, st, p[0] & 32 ? SIDE_RESPONSE : SIDE_REQUEST, p + 1 + used, n - 1 - used, &m);
    if (proto->done)
        proto->done(st);
    free(st);
    return 0;
}

#endif
