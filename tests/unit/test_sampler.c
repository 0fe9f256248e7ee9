/* needs: base self trace stream protocol ingest pipeline */
#include "pipeline/pipeline.h"
#include "self/ledger.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static u64 seed[2] = { 0x9e3779b97f4a7c15ull, 0xbf58476d1ce4e5b9ull };

static u64 next_random(void)
{
    u64 a = seed[0], b = seed[1];
    seed[0] = b;
    a ^= a << 23;
    seed[1] = a ^ b ^ (a >> 17) ^ (b >> 26);
    return seed[1] + b;
}

static struct span *root_span(void)
{
    struct span *s = span_new();
    u64 v[3] = { next_random(), next_random(), next_random() };
    memcpy(s->id.trace_id, v, TRACE_ID_LEN);
    memcpy(s->id.span_id, v + 2, SPAN_ID_LEN);
    s->id.flags = 1;
    s->kind = SPAN_SERVER;
    span_set_name(s, slice_str("GET /"));
    return s;
}

static struct sampling *sampling_of(enum sampler_kind kind, bool based, double ratio, double rate)
{
    struct sampler_options o = { .sampler = { .kind = kind, .parent_based = based, .ratio = ratio, .per_second = rate } };
    return sampling_new(&o);
}

/* --- tracestate --- */

static void thresholds_are_those_of_the_specification(void **state)
{
    static const struct {
        double ratio;
        u64 th;
        const char *text;
    } cases[] = {
        { 1, 0, "ot=th:0" },
        { 0.5, 0x80000000000000, "ot=th:8" },
        { 0.25, 0xc0000000000000, "ot=th:c" },
        { 0.1, 0xe6660000000000, "ot=th:e666" },
        { 0.01, 0xfd70a000000000, "ot=th:fd70a" },
        { 1.0 / 16, 0xf0000000000000, "ot=th:f" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[128] = "";
        u64 th = 1;
        assert_int_equal(sampling_threshold(cases[i].ratio), cases[i].th);
        tracestate_set_th(text, sizeof(text), cases[i].th);
        assert_string_equal(text, cases[i].text);
        assert_true(tracestate_th(text, &th));
        assert_int_equal(th, cases[i].th);
    }
    assert_int_equal(sampling_threshold(0), SAMPLING_BITS);
    assert_int_equal(sampling_threshold(NAN), SAMPLING_BITS);
    assert_true(sampling_threshold(1e-18) < SAMPLING_BITS);
}

static void tracestate_keeps_what_is_not_ours(void **state)
{
    static const struct {
        const char *in;
        u64 th;
        const char *out;
    } cases[] = {
        { "a=1,ot=th:c;rv:0123456789abcd,b=2", 0x80000000000000, "ot=th:8;rv:0123456789abcd,a=1,b=2" },
        { "a=1", SAMPLING_BITS, "a=1" },
        { "ot=th:c", SAMPLING_BITS, "" },
        { "ot=th:c;x:y, b=2", SAMPLING_BITS, "ot=x:y,b=2" },
        { "ot=", 0, "ot=th:0" },
        { "=,,ot,=ot=th:1", 0, "ot=th:0,=,ot,=ot=th:1" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[128];
        snprintf(text, sizeof(text), "%s", cases[i].in);
        tracestate_set_th(text, sizeof(text), cases[i].th);
        assert_string_equal(text, cases[i].out);
    }
    char full[32] = "vendor=0123456789,last=01234567"; /* whole entries go, from the right */
    tracestate_set_th(full, sizeof(full), 0xe6660000000000);
    assert_string_equal(full, "ot=th:e666,vendor=0123456789");
    u64 th;
    assert_false(tracestate_th("ot=th:", &th));
    assert_false(tracestate_th("ot=th:0123456789abcdef", &th));
    assert_false(tracestate_th("ot=th:XY", &th));
}

static void randomness_is_rv_or_the_id(void **state)
{
    struct span *s = root_span();
    memcpy(s->id.trace_id, "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20", TRACE_ID_LEN);
    assert_int_equal(sampling_randomness(s), 0x0a0b0c0d0e0f10);
    span_set_tracestate(s, "ot=rv:ffffffffffffff");
    assert_int_equal(sampling_randomness(s), 0xffffffffffffff);
    span_set_tracestate(s, "ot=rv:fff"); /* not 14 digits: no rv */
    assert_int_equal(sampling_randomness(s), 0x0a0b0c0d0e0f10);
    span_unref(s);
}

/* --- decisions --- */

/* Five standard deviations: one false alarm in two million. */
static void ratio_keeps_its_share(void **state)
{
    static const double ratios[] = { 0.5, 0.1, 0.01, 0.9 };
    const double n = 40000;
    for (size_t i = 0; i < ARRAY_LEN(ratios); i++) {
        struct sampling *s = sampling_of(SAMPLER_TRACEIDRATIO, true, ratios[i], 0);
        double kept = 0, weight = 0;
        for (u32 k = 0; k < n; k++) {
            struct span *span = root_span();
            u64 th = 0;
            if (sampling_start(s, span)) {
                kept++;
                assert_true(span->id.flags & 1);
                assert_true(tracestate_th(span->tracestate, &th));
                weight += (double)SAMPLING_BITS / (double)(SAMPLING_BITS - th);
            } else {
                assert_false(span->id.flags & 1);
                assert_false(tracestate_th(span->tracestate, &th));
            }
            span_unref(span);
        }
        double sigma = sqrt(n * ratios[i] * (1 - ratios[i]));
        assert_true(fabs(kept - n * ratios[i]) < 5 * sigma);
        assert_true(fabs(weight - n) < 5 * sigma / ratios[i] + n * 0.0005); /* adjusted counts tell the number there was */
        sampling_free(s);
    }
}

/* Services with other ratios, each deciding for itself by the same trace: what the lower one keeps the higher one has. */
static void services_agree(void **state)
{
    struct sampling *few = sampling_of(SAMPLER_TRACEIDRATIO, false, 0.1, 0),
                    *many = sampling_of(SAMPLER_TRACEIDRATIO, false, 0.4, 0);
    u32 both = 0, n_few = 0;
    for (u32 k = 0; k < 20000; k++) {
        struct span *a = root_span(), *b = root_span();
        b->id = a->id;
        b->remote_parent = true;
        memset(b->parent_id, 7, SPAN_ID_LEN);
        char rv[32] = "";
        if (k % 2)
            snprintf(rv, sizeof(rv), "ot=rv:%014llx", (unsigned long long)(next_random() >> 8));
        span_set_tracestate(a, rv);
        span_set_tracestate(b, rv);
        bool x = sampling_start(few, a), y = sampling_start(many, b);
        n_few += x;
        both += x && y;
        span_unref(a);
        span_unref(b);
    }
    assert_int_equal(both, n_few);
    assert_true(n_few > 1500);
    sampling_free(few);
    sampling_free(many);
}

static void parents_are_believed(void **state)
{
    struct sampling *none = sampling_of(SAMPLER_NONE, false, 0, 0), *off = sampling_of(SAMPLER_ALWAYS_OFF, true, 0, 0);
    struct sampling *on = sampling_of(SAMPLER_ALWAYS_ON, false, 0, 0);
    struct span *s = root_span();
    assert_true(sampling_start(none, s));
    assert_string_equal(s->tracestate, ""); /* nothing configured: nothing written */
    assert_false(sampling_start(off, s));
    s->id.flags = 1;
    s->remote_parent = true;
    s->parent_id[0] = 1;
    span_set_tracestate(s, "ot=th:c");
    assert_true(sampling_start(off, s));
    assert_string_equal(s->tracestate, "ot=th:c");
    s->id.flags = 0;
    assert_false(sampling_start(off, s));
    assert_false(sampling_start(none, s));
    assert_true(sampling_start(on, s)); /* not parent based: its own mind */
    assert_int_equal(s->id.flags, 1);
    assert_string_equal(s->tracestate, "ot=th:0");
    s->id.flags = 0;
    s->remote_parent = false; /* a local child: decided with its parent */
    assert_false(sampling_start(on, s));
    span_unref(s);
    sampling_free(none);
    sampling_free(off);
    sampling_free(on);
}

static void rate_is_a_bucket(void **state)
{
    struct sampling *s = sampling_of(SAMPLER_RATE, true, 0, 10);
    u32 kept = 0;
    for (u32 i = 0; i < 10000; i++) { /* 1000 a second for ten seconds */
        struct span *span = root_span();
        span->start_ns = 1000 * NSEC_PER_SEC + i * NSEC_PER_MSEC;
        kept += sampling_start(s, span);
        span_unref(span);
    }
    assert_in_range(kept, 105, 112); /* a second's worth at once, then ten a second */
    sampling_free(s);
}

static void a_rate_goes_on_when_the_clock_is_set_back(void **state)
{
    struct sampling *s = sampling_of(SAMPLER_RATE, true, 0, 10);
    u32 kept = 0;
    for (u32 i = 0; i < 10000; i++) {
        struct span *span = root_span();
        span->start_ns = (i < 5000 ? 7200 : 3600) * NSEC_PER_SEC + i * NSEC_PER_MSEC;
        kept += sampling_start(s, span);
        span_unref(span);
    }
    assert_in_range(kept, 105, 113);
    sampling_free(s);
}

static void rules_choose_by_service_and_name(void **state)
{
    static const struct sampler_rule rules[] = {
        { "health", NULL, "GET /health*", { .kind = SAMPLER_ALWAYS_OFF } },
        { "billing", "bill*", NULL, { .kind = SAMPLER_ALWAYS_ON } },
    };
    struct sampler_options o = { .sampler = { .kind = SAMPLER_ALWAYS_OFF }, .rules = rules, .n_rules = 2 };
    struct sampling *s = sampling_new(&o);
    struct resource *r = resource_new();
    attr_str(&r->attrs, "service.name", slice_str("billing"));
    struct span *a = root_span(), *b = root_span(), *c = root_span();
    a->resource = resource_ref(r);
    b->resource = r;
    span_set_name(a, slice_str("GET /healthz"));
    assert_false(sampling_start(s, a));
    assert_true(sampling_start(s, b));
    assert_string_equal(attr_get(&b->attrs, "wftrace.sampling.rule")->s, "billing");
    assert_false(sampling_start(s, c));
    span_unref(a);
    span_unref(b);
    span_unref(c);
    sampling_free(s);
}

static bool ask(struct sampling *s, enum span_kind kind, const char *key, const char *value, int parent)
{
    struct span *span = root_span();
    span->kind = kind;
    if (key)
        attr_str(&span->attrs, key, slice_str(value));
    if (parent) {
        span->parent_id[0] = 1;
        span->id.flags = parent > 0;
    }
    bool keep = sampling_start(s, span);
    assert_int_equal(span->id.flags & 1, keep);
    span_unref(span);
    return keep;
}

static void branches_are_asked_for_every_span(void **state)
{
    static const char *const pings[] = { "PING", "QUIT" }, *const internal[] = { "/internal/*" },
                             *const special[] = { "/internal/special/*" };
    const struct sampler_branch branches[] = {
        { .kinds = 1u << SPAN_CLIENT,
          .key = "db.operation.name",
          .values = pings,
          .n_values = 2,
          .sampler = { .kind = SAMPLER_ALWAYS_OFF } },
        { .pattern_key = "url.path",
          .included = internal,
          .n_included = 1,
          .excluded = special,
          .n_excluded = 1,
          .sampler = { .kind = SAMPLER_ALWAYS_OFF } },
        { .origins = 1u << SAMPLER_OF_LOCAL, .sampler = { .kind = SAMPLER_PARENT } },
        { .origins = 1u << SAMPLER_OF_ROOT, .kinds = 1u << SPAN_SERVER, .sampler = { .kind = SAMPLER_ALWAYS_ON } },
    };
    struct sampler_options o = { .sampler = { .kind = SAMPLER_BRANCHES, .branches = branches, .n_branches = 4 } };
    struct sampling *s = sampling_new(&o);
    assert_false(ask(s, SPAN_CLIENT, "db.operation.name", "PING", 1)); /* below a sampled parent */
    assert_true(ask(s, SPAN_CLIENT, "db.operation.name", "SELECT", 1));
    assert_false(ask(s, SPAN_CLIENT, "db.operation.name", "SELECT", -1));
    assert_true(ask(s, SPAN_SERVER, "db.operation.name", "PING", 0));
    assert_false(ask(s, SPAN_SERVER, "url.path", "/internal/x", 0));
    assert_true(ask(s, SPAN_SERVER, "url.path", "/internal/special/x", 0));
    assert_false(ask(s, SPAN_CONSUMER, NULL, NULL, 0)); /* no rule fits: dropped */
    sampling_free(s);
}

static void parents_have_branches(void **state)
{
    const struct sampler_branch branches[] = {
        { .origins = 1u << SAMPLER_OF_ROOT, .sampler = { .kind = SAMPLER_ALWAYS_OFF } },
        { .origins = 1u << SAMPLER_OF_LOCAL, .parent = 1, .sampler = { .kind = SAMPLER_ALWAYS_OFF } },
        { .origins = 1u << SAMPLER_OF_LOCAL, .parent = -1, .sampler = { .kind = SAMPLER_ALWAYS_ON } },
    };
    struct sampler_options o = { .sampler = { .kind = SAMPLER_BRANCHES, .branches = branches, .n_branches = 3 } };
    struct sampling *s = sampling_new(&o);
    assert_false(ask(s, SPAN_SERVER, NULL, NULL, 0));
    assert_false(ask(s, SPAN_CLIENT, NULL, NULL, 1));
    assert_true(ask(s, SPAN_CLIENT, NULL, NULL, -1));
    sampling_free(s);
    struct sampler deep[SAMPLER_DEPTH + 2] = { [SAMPLER_DEPTH + 1] = { .kind = SAMPLER_ALWAYS_ON } };
    struct sampler_branch in[SAMPLER_DEPTH + 2] = { 0 };
    for (size_t i = SAMPLER_DEPTH + 1; i--;) {
        in[i].sampler = deep[i + 1];
        deep[i] = (struct sampler){ .kind = SAMPLER_BRANCHES, .branches = &in[i], .n_branches = 1 };
    }
    assert_null(sampling_new(&(struct sampler_options){ .sampler = deep[0] }));
    s = sampling_new(&(struct sampler_options){ .sampler = deep[1] });
    assert_true(ask(s, SPAN_SERVER, NULL, NULL, 0));
    sampling_free(s);
}

static void ratios_are_read(void **state)
{
    struct sampler s;
    char err[256];
    assert_int_equal(sampler_parse_ratio("10%", &s, err, sizeof(err)), 0);
    assert_true(s.parent_based && fabs(s.ratio - 0.1) < 1e-12);
    static const char *const bad[] = { "", "1.5", "-1", "101%", "x", "0.1x", "%" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(sampler_parse_ratio(bad[i], &s, err, sizeof(err)), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(thresholds_are_those_of_the_specification),
        cmocka_unit_test(tracestate_keeps_what_is_not_ours),
        cmocka_unit_test(randomness_is_rv_or_the_id),
        cmocka_unit_test(a_rate_goes_on_when_the_clock_is_set_back),
        cmocka_unit_test(ratio_keeps_its_share),
        cmocka_unit_test(services_agree),
        cmocka_unit_test(parents_are_believed),
        cmocka_unit_test(rate_is_a_bucket),
        cmocka_unit_test(rules_choose_by_service_and_name),
        cmocka_unit_test(branches_are_asked_for_every_span),
        cmocka_unit_test(parents_have_branches),
        cmocka_unit_test(ratios_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
