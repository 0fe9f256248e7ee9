/* Base-2 exponential histograms (metrics data model, «ExponentialHistogram»): bucket i holds (base^i, base^(i+1)], base =
 * 2^(2^-scale). The scale begins high and falls, halving the resolution, whenever the values seen do not fit into max_size
 * buckets. Exact powers of two are told from their neighbours by their mantissa and not by a logarithm. */
#include "pipeline/metrics_internal.h"

#include <math.h>

/* For scale <= 0 the exponent alone decides; above, the logarithm does, but at powers of two. */
int exp_index(double value, s32 scale)
{
    int e;
    double mantissa = frexp(value, &e); /* value = mantissa × 2^e, mantissa in [0.5, 1) */
    bool power = mantissa == 0.5;
    if (scale <= 0)
        return (e - 1 - power) >> -scale; /* the bucket's upper end is inclusive */
    if (power)
        return (int)((s64)(e - 1) * ((s64)1 << scale)) - 1;
    double at = log2(mantissa) * ldexp(1, scale);
    int index = (int)floor(at) + (int)((s64)e * ((s64)1 << scale));
    int top = (int)((s64)e * ((s64)1 << scale)) - 1; /* rounding may not carry a value over its power of two */
    return index > top ? top : index;
}

static void side_scale_down(struct exp_side *s, u32 by)
{
    if (!s->n || !by)
        return;
    s32 first = s->first >> by, last = (s->first + (s32)s->n - 1) >> by;
    for (u32 i = 0; i < s->n; i++) {
        u32 to = (u32)(((s->first + (s32)i) >> by) - first);
        u64 c = s->counts[i];
        s->counts[i] = 0; /* `to` is never beyond i */
        s->counts[to] += c;
    }
    s->first = first;
    s->n = (u32)(last - first) + 1;
}

void exp_scale_down(struct exp_hist *h, u32 by)
{
    side_scale_down(&h->positive, by);
    side_scale_down(&h->negative, by);
    h->scale -= (s32)by;
}

/* By how much to scale down until index joins first…last within the size. */
static u32 shift_needed(const struct exp_side *s, u32 max_size, s64 index)
{
    s64 low = s->n && s->first < index ? s->first : index, high = index;
    u32 by = 0;
    if (s->n && s->first + (s64)s->n - 1 > high)
        high = s->first + (s64)s->n - 1;
    for (; high - low + 1 > (s64)max_size; by++)
        low >>= 1, high >>= 1;
    return by;
}

static void side_add(struct exp_side *s, s32 index)
{
    if (!s->n) {
        s->first = index;
        s->n = 1;
        s->counts[0] = 0;
    } else if (index < s->first) {
        u32 more = (u32)(s->first - index);
        memmove(s->counts + more, s->counts, s->n * sizeof(*s->counts));
        memset(s->counts, 0, more * sizeof(*s->counts));
        s->first = index;
        s->n += more;
    } else if (index >= s->first + (s32)s->n) {
        u32 n = (u32)(index - s->first) + 1;
        memset(s->counts + s->n, 0, (n - s->n) * sizeof(*s->counts));
        s->n = n;
    }
    s->counts[index - s->first]++;
}

bool exp_record(struct exp_hist *h, double value)
{
    if (value == 0) {
        h->zero++;
        return true;
    }
    struct exp_side *s = value > 0 ? &h->positive : &h->negative;
    if (!s->counts && !(s->counts = calloc(h->max_size, sizeof(*s->counts))))
        return false;
    s32 index = exp_index(fabs(value), h->scale);
    u32 by = shift_needed(s, h->max_size, index);
    if (by)
        exp_scale_down(h, by);
    side_add(s, index >> by);
    return true;
}

static bool side_room(struct exp_side *to, const struct exp_side *from, u32 max_size)
{
    return !from->n || to->counts || (to->counts = calloc(max_size, sizeof(*to->counts)));
}

static void side_copy(struct exp_side *to, const struct exp_side *from)
{
    if (from->n)
        memcpy(to->counts, from->counts, from->n * sizeof(*to->counts));
    to->first = from->first;
    to->n = from->n;
}

bool exp_copy(struct exp_hist *to, const struct exp_hist *from)
{
    if (!side_room(&to->positive, &from->positive, from->max_size) || !side_room(&to->negative, &from->negative, from->max_size))
        return false;
    to->scale = from->scale;
    to->max_size = from->max_size;
    to->zero = from->zero;
    side_copy(&to->positive, &from->positive);
    side_copy(&to->negative, &from->negative);
    return true;
}

static void side_subtract(struct exp_side *s, const struct exp_side *before, u32 by)
{
    for (u32 i = 0; i < before->n; i++) {
        s32 at = ((before->first + (s32)i) >> by) - s->first;
        if (at >= 0 && (u32)at < s->n)
            s->counts[at] -= before->counts[i];
    }
}

void exp_subtract(struct exp_hist *h, const struct exp_hist *before)
{
    u32 by = (u32)(before->scale - h->scale); /* a scale only falls */
    h->zero -= before->zero;
    side_subtract(&h->positive, &before->positive, by);
    side_subtract(&h->negative, &before->negative, by);
}

void exp_clear(struct exp_hist *h)
{
    free(h->positive.counts);
    free(h->negative.counts);
    h->positive = h->negative = (struct exp_side){ 0 };
}
