/* Ids and W3C trace context (Trace Context level 2, section 3.2). */
#include "trace/internal.h"

/* xorshift128+: ids need to be unique, not secret. Never all zero. */
static u64 rng_next(u64 s[2])
{
    u64 a = s[0], b = s[1];
    s[0] = b;
    a ^= a << 23;
    s[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return s[1] + b;
}

void id_make(struct tracer *t, u8 *out, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        u64 v = rng_next(t->rng);
        memcpy(out + i, v ? &v : &(u64){ 1 }, 8);
    }
}

static bool lower_hex(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!((s.p[i] >= '0' && s.p[i] <= '9') || (s.p[i] >= 'a' && s.p[i] <= 'f')))
            return false;
    return true;
}

int traceparent_parse(struct slice text, struct span_context *ret)
{
    struct span_context c = { 0 };
    text = slice_trim(text);
    if (text.n < 55 || !lower_hex(slice_head(text, 2)) || text.p[2] != '-' || text.p[35] != '-' || text.p[52] != '-')
        return -EINVAL;
    if (slice_starts(text, "ff") || (slice_starts(text, "00") && text.n != 55) || (text.n > 55 && text.p[55] != '-'))
        return -EINVAL;
    if (!lower_hex(slice_of(text.p + 3, 32)) || !lower_hex(slice_of(text.p + 36, 16)) || !lower_hex(slice_of(text.p + 53, 2)))
        return -EINVAL;
    if (hex_decode((const char *)text.p + 3, 32, c.trace_id) || hex_decode((const char *)text.p + 36, 16, c.span_id) ||
        hex_decode((const char *)text.p + 53, 2, &c.flags) || !span_context_valid(&c))
        return -EINVAL;
    *ret = c;
    return 0;
}

void traceparent_format(const struct span_context *c, char out[56])
{
    memcpy(out, "00-", 3);
    hex_encode(c->trace_id, TRACE_ID_LEN, out + 3);
    out[35] = '-';
    hex_encode(c->span_id, SPAN_ID_LEN, out + 36);
    out[52] = '-';
    hex_encode(&c->flags, 1, out + 53);
}
