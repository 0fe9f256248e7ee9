/* needs: base self trace stream protocol ingest pipeline */
/* Exponential histograms: the index of a value, the fall of the scale, differences. */
#include "pipeline/metrics_internal.h"

#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void powers_of_two_end_their_bucket(void **state)
{
    static const struct {
        double v;
        s32 scale, index;
    } rows[] = {
        { 1, 0, -1 },          { 2, 0, 0 },
        { 4, 0, 1 },           { 1.5, 0, 0 },
        { 0.5, 0, -2 },        { 3, 0, 1 },
        { 1, 3, -1 },          { 2, 3, 7 },
        { 0.25, 3, -17 },      { 1.0001, 3, 0 },
        { 1, 20, -1 },         { 2, 20, (1 << 20) - 1 },
        { 1, -1, -1 },         { 2, -1, 0 },
        { 4, -1, 0 },          { 4.0001, -1, 1 },
        { 16, -1, 1 },         { 16.1, -1, 2 },
        { 0.25, -1, -2 },      { 0.3, -1, -1 },
        { DBL_MIN, 0, -1023 }, { 4.9406564584124654e-324, 0, -1075 },
        { DBL_MAX, 0, 1023 },  { DBL_MAX, 20, (1 << 30) - 1 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (exp_index(rows[i].v, rows[i].scale) != rows[i].index)
            fail_msg("%g at %d: %d, not %d", rows[i].v, rows[i].scale, exp_index(rows[i].v, rows[i].scale), rows[i].index);
}

/* base^index < value <= base^(index + 1), within the error of the logarithm. */
static void every_value_lies_in_its_bucket(void **state)
{
    u64 x = 88172645463325252ull;
    for (int i = 0; i < 20000; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        double v = exp2((double)(x % 2000) / 10 - 100) * (1 + (double)(x >> 40) / (1 << 24));
        for (s32 scale = -3; scale <= 12; scale++) {
            double low = exp2(ldexp(exp_index(v, scale), -scale)), high = exp2(ldexp(exp_index(v, scale) + 1.0, -scale));
            assert_true(v > low * (1 - 1e-12) && v <= high * (1 + 1e-12));
        }
        assert_int_equal(exp_index(v, 20) >> 8, exp_index(v, 12)); /* scaling down halves */
    }
}

static u64 total(const struct exp_side *s)
{
    u64 n = 0;
    for (u32 i = 0; i < s->n; i++)
        n += s->counts[i];
    return n;
}

static void the_scale_falls_until_all_fits(void **state)
{
    struct exp_hist h = { .scale = 20, .max_size = 4 };
    for (double v = 1; v <= 4; v++)
        assert_true(exp_record(&h, v));
    /* 1, 2, 3, 4 in four buckets: indexes at scale 0 are -1, 0, 1, 1 and at scale 1 -1, 1, 3, 3 */
    assert_int_equal(h.scale, 0);
    assert_int_equal(h.positive.first, -1);
    assert_int_equal(h.positive.n, 3);
    assert_int_equal(h.positive.counts[2], 2);
    assert_true(exp_record(&h, 0) && exp_record(&h, -8));
    assert_int_equal(h.zero, 1);
    assert_int_equal(h.negative.first, 2);
    assert_true(exp_record(&h, 1e-300) && exp_record(&h, 1e300)); /* the whole range of a double */
    assert_true(h.positive.n <= 4);
    assert_int_equal(total(&h.positive), 6);
    assert_int_equal(total(&h.negative), 1);
    exp_clear(&h);
}

static void a_difference_across_scales_is_what_came_between(void **state)
{
    struct exp_hist h = { .scale = 10, .max_size = 8 }, before = { .max_size = 8 }, want = { .scale = 10, .max_size = 8 };
    assert_true(exp_record(&h, 1.5) && exp_record(&h, 1.6));
    assert_true(exp_copy(&before, &h));
    assert_true(exp_record(&h, 100) && exp_record(&h, 1.55) && exp_record(&h, 0));
    assert_true(before.scale > h.scale);
    exp_subtract(&h, &before);
    assert_true(exp_record(&want, 100) && exp_record(&want, 1.55));
    assert_int_equal(want.scale, h.scale);
    assert_int_equal(h.zero, 1);
    assert_int_equal(total(&h.positive), 2);
    for (u32 i = 0; i < want.positive.n; i++)
        assert_int_equal(want.positive.counts[i], h.positive.counts[want.positive.first + (s32)i - h.positive.first]);
    exp_clear(&h);
    exp_clear(&before);
    exp_clear(&want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(powers_of_two_end_their_bucket),
        cmocka_unit_test(every_value_lies_in_its_bucket),
        cmocka_unit_test(the_scale_falls_until_all_fits),
        cmocka_unit_test(a_difference_across_scales_is_what_came_between),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
