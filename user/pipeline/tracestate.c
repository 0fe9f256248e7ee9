/* The `ot` entry of tracestate: «ot=th:c;rv:6e6d1a75832a2f,vendor=…» (OpenTelemetry «TraceState: Probability Sampling»).
 *
 * `th` is a threshold of up to 14 hex digits whose trailing zeros are left out, `rv` exactly 14. Other keys and other vendors'
 * entries are kept; what is written goes to the front, and when 128 bytes are too few the entries at the end go (W3C: an
 * entry is dropped whole, from the right). */
#include "pipeline/sampler.h"

#include <math.h>

#define DIGITS 14

static struct slice ot_value(const char *state)
{
    for (struct slice rest = slice_str(state); rest.n;) {
        ptrdiff_t comma = slice_find(rest, ',');
        struct slice one = slice_trim(comma < 0 ? rest : slice_head(rest, (size_t)comma));
        if (slice_starts(one, "ot="))
            return slice_from(one, 3);
        rest = comma < 0 ? slice_of(NULL, 0) : slice_from(rest, (size_t)comma + 1);
    }
    return slice_of(NULL, 0);
}

/* The next «key:value» of an ot entry; false at its end. */
static bool ot_next(struct slice *rest, struct slice *ret_item)
{
    while (rest->n) {
        ptrdiff_t end = slice_find(*rest, ';');
        *ret_item = end < 0 ? *rest : slice_head(*rest, (size_t)end);
        *rest = end < 0 ? slice_of(NULL, 0) : slice_from(*rest, (size_t)end + 1);
        if (ret_item->n)
            return true;
    }
    return false;
}

static bool hex_value(struct slice digits, u64 *ret)
{
    u64 v = 0;
    if (!digits.n || digits.n > DIGITS)
        return false;
    for (size_t i = 0; i < DIGITS; i++) {
        u8 c = i < digits.n ? digits.p[i] : '0';
        bool decimal = c >= '0' && c <= '9';
        if (!decimal && (c < 'a' || c > 'f'))
            return false;
        v = v << 4 | (u64)(decimal ? c - '0' : c - 'a' + 10);
    }
    *ret = v;
    return true;
}

static bool ot_find(const char *state, const char *key, struct slice *ret)
{
    struct slice rest = ot_value(state), item;
    while (ot_next(&rest, &item))
        if (slice_starts(item, key)) {
            *ret = slice_from(item, strlen(key));
            return true;
        }
    return false;
}

bool tracestate_th(const char *state, u64 *ret)
{
    struct slice text;
    return ot_find(state, "th:", &text) && hex_value(text, ret);
}

u64 sampling_randomness(const struct span *s)
{
    struct slice text;
    u64 v = 0;
    if (ot_find(s->tracestate, "rv:", &text) && text.n == DIGITS && hex_value(text, &v))
        return v;
    return load_be64(s->id.trace_id + 8) & (SAMPLING_BITS - 1);
}

/* Four digits beyond the leading f's are kept, as the specification recommends: 0.1 is e666, and the text stays short. */
u64 sampling_threshold(double ratio)
{
    if (!(ratio > 0))
        return SAMPLING_BITS;
    if (ratio >= 1)
        return 0;
    int digits = 4 + (int)floor(-log2(ratio) / 4);
    u64 t = (u64)((1 - ratio) * (double)SAMPLING_BITS);
    if (digits < DIGITS) {
        int shift = 4 * (DIGITS - digits);
        t = (t + (1ull << (shift - 1))) >> shift << shift;
    }
    return min_u64(t, SAMPLING_BITS - 1);
}

static void out_add(char *out, size_t size, size_t *n, struct slice s)
{
    if (*n + s.n >= size)
        return;
    memcpy(out + *n, s.p, s.n);
    *n += s.n;
    out[*n] = 0;
}

/* "ot=th:…;others" or "" when nothing is left of it. */
static void ot_build(const char *state, u64 th, char *out, size_t size)
{
    size_t n = 0;
    struct slice rest = ot_value(state), item;
    char digits[DIGITS + 1];
    out[0] = 0;
    if (th < SAMPLING_BITS) {
        snprintf(digits, sizeof(digits), "%014llx", (unsigned long long)th);
        for (size_t i = DIGITS; i > 1 && digits[i - 1] == '0'; i--)
            digits[i - 1] = 0;
        n = (size_t)snprintf(out, size, "ot=th:%s", digits);
    }
    while (ot_next(&rest, &item)) {
        if (slice_starts(item, "th:") || n + item.n + 4 >= size)
            continue;
        out_add(out, size, &n, slice_str(n ? ";" : "ot="));
        out_add(out, size, &n, item);
    }
}

void tracestate_set_th(char *state, size_t size, u64 th)
{
    char ot[256], out[512];
    if (size > sizeof(out))
        size = sizeof(out);
    if (th >= SAMPLING_BITS && !tracestate_th(state, &(u64){ 0 }))
        return;
    ot_build(state, th, ot, min_u64(sizeof(ot), size));
    size_t n = 0;
    out[0] = 0;
    out_add(out, size, &n, slice_str(ot));
    for (struct slice rest = slice_str(state); rest.n;) {
        ptrdiff_t comma = slice_find(rest, ',');
        struct slice one = slice_trim(comma < 0 ? rest : slice_head(rest, (size_t)comma));
        rest = comma < 0 ? slice_of(NULL, 0) : slice_from(rest, (size_t)comma + 1);
        if (!one.n || slice_starts(one, "ot="))
            continue;
        if (n + one.n + 1 >= size)
            break;
        if (n)
            out_add(out, size, &n, slice_str(","));
        out_add(out, size, &n, one);
    }
    memcpy(state, out, n + 1);
}

void sampling_set_th(struct span *s, u64 th)
{
    char state[TRACESTATE_ROOM];
    if (th >= SAMPLING_BITS && !*s->tracestate)
        return;
    memcpy(state, s->tracestate, strlen(s->tracestate) + 1);
    tracestate_set_th(state, sizeof(state), th);
    if (strcmp(state, s->tracestate))
        span_set_tracestate(s, state);
}
