/* needs: base self trace stream protocol ingest pipeline */
#include "pipeline/pipeline.h"
#include "self/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define WALL (1700000000ull * NSEC_PER_SEC)

/* What came out, by trace: its number stands in the first bytes of the id. */
struct out {
    struct span_sink sink;
    u32 spans;
    u32 of[200000];
    u64 weight_den; /* threshold of the last one */
    char rule[32], state[64], name[64];
};
static struct out out;

static void took(struct span_sink *sink, struct span *s)
{
    u32 trace;
    memcpy(&trace, s->id.trace_id, 4);
    const struct attr *rule = attr_get(&s->attrs, "wftrace.sampling.rule");
    out.spans++;
    if (trace < ARRAY_LEN(out.of))
        out.of[trace]++;
    snprintf(out.rule, sizeof(out.rule), "%s", rule ? rule->s : "");
    snprintf(out.state, sizeof(out.state), "%.60s", s->tracestate);
    snprintf(out.name, sizeof(out.name), "%.60s", s->name);
    span_unref(s);
}

static struct tail *tail_of(struct tail_options o)
{
    memset(&out, 0, sizeof(out));
    out.sink.ended = took;
    struct tail *t = tail_new(&o, &out.sink);
    tail_tick(t, WALL, 0);
    return t;
}

static struct span *begin(struct tail *t, u32 trace, const char *name, u64 at)
{
    static u64 serial;
    struct span *s = span_new();
    u64 random = hash_u64(trace + 77) & 0x7fffffffffffffffull, id = ++serial;
    memcpy(s->id.trace_id, &trace, 4);
    for (int i = 0; i < 8; i++)
        s->id.trace_id[8 + i] = (u8)(random >> (56 - 8 * i));
    memcpy(s->id.span_id, &id, 8);
    s->id.flags = 1;
    s->start_ns = WALL + at;
    s->resource = resource_new();
    span_set_name(s, slice_str(name));
    if (t)
        tail_started(t, s);
    return s;
}

static void end(struct tail *t, struct span *s, u64 at, bool error)
{
    s->end_ns = WALL + at;
    if (error)
        span_set_error(s, slice_str("it broke"));
    tail_ended(t, s);
}

static void one(struct tail *t, u32 trace, const char *name, u64 at, u64 took_ns, bool error)
{
    end(t, begin(t, trace, name, at), at + took_ns, error);
}

static void errors_are_kept_whole(void **state)
{
    struct tail *t = tail_of((struct tail_options){ .errors = true });
    struct span *root = begin(t, 1, "job", 0);
    one(t, 1, "step", 10, 5, false);
    one(t, 2, "fine", 10, 5, false);
    assert_int_equal(out.spans, 0);
    assert_int_equal(tail_spans(t), 2);
    one(t, 1, "step", 20, 5, true); /* decided here */
    assert_int_equal(out.of[1], 2);
    end(t, root, 100, false); /* follows at once */
    assert_int_equal(out.of[1], 3);
    assert_string_equal(out.rule, "error");
    assert_string_equal(out.state, "ot=th:0");
    tail_tick(t, WALL + 10 * NSEC_PER_SEC, 1000);
    assert_int_equal(out.of[2], 0); /* no rule, ratio 0 */
    assert_int_equal(tail_spans(t), 0);
    assert_int_equal(tail_bytes(t), 0);
    tail_free(t);
}

static void slow_and_named_are_decided_while_they_run(void **state)
{
    static const char *const names[] = { "nightly*" };
    struct tail *t = tail_of((struct tail_options){ .slow_ns = 5 * NSEC_PER_SEC, .names = names, .n_names = 1 });
    struct span *slow = begin(t, 1, "job", 0), *named = begin(t, 2, "nightly build", 0);
    one(t, 1, "step", 10, 5, false);
    one(t, 2, "step", 10, 5, false);
    assert_int_equal(out.of[2], 1);
    assert_string_equal(out.rule, "name");
    assert_int_equal(out.of[1], 0);
    tail_tick(t, WALL + 4 * NSEC_PER_SEC, 1000);
    assert_int_equal(out.of[1], 0);
    tail_tick(t, WALL + 6 * NSEC_PER_SEC, 1000); /* its root is open still */
    assert_int_equal(out.of[1], 1);
    assert_string_equal(out.rule, "slow");
    end(t, slow, 7 * NSEC_PER_SEC, false);
    end(t, named, 7 * NSEC_PER_SEC, false);
    assert_int_equal(out.of[1] + out.of[2], 4);
    tail_free(t);
}

static void others_by_ratio_with_their_weight(void **state)
{
    struct tail *t = tail_of((struct tail_options){ .errors = true, .ratio = 0.25 });
    const u32 n = 20000;
    for (u32 i = 0; i < n; i++) {
        struct span *root = begin(t, i, "r", i * 1000);
        one(t, i, "c", i * 1000, 10, false);
        end(t, root, i * 1000 + 100, false);
    }
    tail_tick(t, WALL + 60 * NSEC_PER_SEC, UINT32_MAX);
    u32 kept = 0;
    for (u32 i = 0; i < n; i++) {
        assert_true(out.of[i] == 0 || out.of[i] == 2); /* whole or not at all */
        kept += out.of[i] == 2;
    }
    assert_in_range(kept, n / 4 - 310, n / 4 + 310); /* five standard deviations */
    assert_string_equal(out.rule, "ratio");
    assert_string_equal(out.state, "ot=th:c");
    tail_free(t);
}

static void a_stricter_head_keeps_its_weight(void **state)
{
    struct tail *t = tail_of((struct tail_options){ .errors = true, .ratio = 1 });
    struct span *s = begin(NULL, 1, "x", 0);
    span_set_tracestate(s, "ot=th:c,v=1");
    tail_started(t, s);
    end(t, s, 5, true);
    assert_string_equal(out.state, "ot=th:c,v=1");
    s = begin(NULL, 2, "x", 0); /* sampled elsewhere, nobody knows how */
    s->remote_parent = true;
    tail_started(t, s);
    end(t, s, 5, true);
    assert_string_equal(out.state, "");
    tail_free(t);
}

/* A span that starts in one trace and turns out to belong to another (adopted): both are counted right. */
static void a_moved_span_closes_where_it_began(void **state)
{
    struct tail *t = tail_of((struct tail_options){ .ratio = 1 });
    struct span *a = begin(t, 1, "server", 0), *b = begin(t, 2, "client", 0);
    memcpy(a->id.trace_id, b->id.trace_id, TRACE_ID_LEN);
    end(t, a, 10, false);
    tail_tick(t, WALL + 30 * NSEC_PER_SEC, 1000);
    assert_int_equal(out.spans, 0); /* the client is open: not decided */
    end(t, b, 40 * NSEC_PER_SEC, false);
    tail_tick(t, WALL + 50 * NSEC_PER_SEC, 1000);
    assert_int_equal(out.of[2], 2);
    tail_free(t);
}

static void unsampled_ones_never_come_out(void **state)
{
    struct tail *t = tail_of((struct tail_options){ .errors = true, .ratio = 1 });
    struct span *s = begin(NULL, 1, "x", 0);
    s->id.flags = 0;
    end(t, s, 5, true);
    assert_int_equal(out.spans, 0);
    tail_free(t);
}

/* Other rules while traces wait: what is held is judged by them, what was decided stays so. */
static void a_change_judges_what_waits(void **state)
{
    const char *names[] = { "pay*" };
    struct tail *t = tail_of((struct tail_options){ .names = names, .n_names = 1 });
    struct span *run = begin(t, 1, "run", 0), *dropped, *slow = begin(t, 5, "slow", 0);
    one(t, 1, "step", 5, 1, true);   /* errors are not asked for yet */
    one(t, 2, "pay", 6, 1, false);   /* decided at once */
    one(t, 3, "plain", 7, 1, false); /* will be decided before */
    dropped = begin(t, 3, "late", 8);
    end(t, dropped, 9, false);
    tail_tick(t, WALL + 3 * NSEC_PER_SEC, 1000);
    one(t, 4, "plain", 3 * NSEC_PER_SEC, 1, false);
    assert_int_equal(out.of[2], 1);
    u32 held = tail_spans(t);
    struct tail *next =
        tail_new(&(struct tail_options){ .errors = true, .slow_ns = 10 * NSEC_PER_SEC, .max_traces = 100 }, &out.sink);
    tail_take(next, t);
    assert_int_equal(tail_spans(next), held);
    tail_tick(next, WALL + 4 * NSEC_PER_SEC, 1000);
    assert_int_equal(out.of[1], 1); /* it holds an error */
    end(next, run, 5 * NSEC_PER_SEC, false);
    assert_int_equal(out.of[1], 2);
    one(next, 2, "more", 5 * NSEC_PER_SEC, 1, false);
    assert_int_equal(out.of[2], 2);
    one(next, 3, "more", 5 * NSEC_PER_SEC, 1, false);
    end(next, slow, 11 * NSEC_PER_SEC, false);
    assert_int_equal(out.of[5], 1);
    tail_tick(next, WALL + 30 * NSEC_PER_SEC, 1000);
    assert_int_equal(out.of[3] + out.of[4], 0);
    assert_int_equal(tail_spans(next), 0);
    assert_int_equal(tail_bytes(next), 0);
    tail_free(next);
}

/* No rules any more: what waits comes out, by the ticks' budget; a dropped trace stays dropped while something of it runs. */
static void without_rules_what_waits_is_kept(void **state)
{
    struct tail *t = tail_of((struct tail_options){ .slow_ns = 10 * NSEC_PER_SEC });
    one(t, 1, "gone", 0, 1, false);
    tail_tick(t, WALL + 5 * NSEC_PER_SEC, 1000);
    struct span *late = begin(t, 1, "late", 5 * NSEC_PER_SEC), *run = begin(t, 2, "run", 5 * NSEC_PER_SEC);
    for (u32 i = 0; i < 10; i++)
        one(t, 3 + i, "small", 5 * NSEC_PER_SEC, 1, false);
    tail_off(t);
    assert_int_equal(out.spans, 0);
    assert_false(tail_passes(t, late));
    assert_true(tail_passes(t, run) && !tail_over(t));
    tail_tick(t, WALL + 5 * NSEC_PER_SEC, 4);
    assert_int_equal(out.spans, 4);
    one(t, 99, "new", 6 * NSEC_PER_SEC, 1, false);
    end(t, run, 6 * NSEC_PER_SEC, false);
    assert_int_equal(out.of[99] + out.of[2], 2);
    assert_string_equal(out.rule, "");
    tail_tick(t, WALL + 6 * NSEC_PER_SEC, 1000);
    assert_false(tail_over(t));
    end(t, late, 7 * NSEC_PER_SEC, true);
    assert_int_equal(out.of[1], 0);
    assert_true(tail_over(t));
    assert_int_equal(out.spans, 12);
    tail_free(t);
}

/* Full: who waits for stragglers is decided by ratio, who runs is kept; never more than the ceiling in memory. */
static void memory_is_bounded_and_nothing_that_matters_lost(void **state)
{
    struct tail *t = tail_of((struct tail_options){ .errors = true, .max_spans = 100, .max_bytes = 1 << 20 });
    struct span *run = begin(t, 1, "run", 0);
    u64 before = ledger_get(tail_overflow);
    for (u32 i = 0; i < 1000; i++) {
        one(t, 1, "step", i, 1, false);
        assert_true(tail_spans(t) <= 100 && tail_bytes(t) <= 1 << 20);
    }
    end(t, run, 5000, true);
    tail_tick(t, WALL + NSEC_PER_SEC, 1000);
    assert_int_equal(out.of[1], 1001);
    assert_true(ledger_get(tail_overflow) > before);
    for (u32 i = 2; i < 500; i++)
        one(t, i, "small", 6000 + i, 1, i % 50 == 0);
    tail_tick(t, WALL + 60 * NSEC_PER_SEC, 1000);
    for (u32 i = 2; i < 500; i++)
        assert_int_equal(out.of[i], i % 50 == 0);
    tail_free(t);
}

/* Two hours of a service: short requests, some failing, some slow, and runs of up to two hours of which some fail at their very
 * end. Every failing and slow one comes out whole, in the memory stated. */
static void two_hours_in_bounded_memory(void **state)
{
    struct tail_options o = {
        .errors = true, .slow_ns = 30 * NSEC_PER_SEC, .ratio = 0.05, .max_bytes = 4 << 20, .max_spans = 8000
    };
    struct tail *t = tail_of(o);
    enum { RUNS = 20, SECONDS = 7200, FIRST = 1000 };
    struct span *runs[RUNS];
    u32 steps[RUNS] = { 0 }, trace = FIRST, kept = 0;
    u64 peak = 0;
    for (u32 r = 0; r < RUNS; r++)
        runs[r] = begin(t, r, "long run", 0);
    for (u64 sec = 0; sec < SECONDS; sec++) {
        for (u32 k = 0; k < 10; k++, trace++) {
            struct span *root = begin(t, trace, "request", sec * NSEC_PER_SEC);
            one(t, trace, "query", sec * NSEC_PER_SEC, 100, trace % 100 == 7);
            end(t, root, sec * NSEC_PER_SEC + (trace % 500 == 3 ? 31 * NSEC_PER_SEC : NSEC_PER_MSEC), false);
        }
        for (u32 r = 0; r < RUNS; r++)
            if ((sec + r) % 10 == 0)
                one(t, r, "step", sec * NSEC_PER_SEC, 1000, false), steps[r]++;
        tail_tick(t, WALL + sec * NSEC_PER_SEC, 8000);
        peak = max_u64(peak, tail_bytes(t));
    }
    for (u32 r = 0; r < RUNS; r++)
        end(t, runs[r], SECONDS * NSEC_PER_SEC, r % 3 == 0);
    tail_tick(t, WALL + (SECONDS + 60) * NSEC_PER_SEC, UINT32_MAX);
    assert_true(peak <= o.max_bytes && peak > 0);
    for (u32 r = 0; r < RUNS; r++)
        assert_int_equal(out.of[r], steps[r] + 1);
    for (u32 i = FIRST; i < trace; i++) {
        assert_true(out.of[i] == 0 || out.of[i] == 2);
        if (i % 100 == 7 || i % 500 == 3)
            assert_int_equal(out.of[i], 2);
        kept += out.of[i] == 2;
    }
    assert_true(kept < (trace - FIRST) / 10);
    tail_free(t);
}

static void a_clock_set_back_holds_nobody(void **state)
{
    struct tail *t = tail_of((struct tail_options){ .ratio = 1 });
    one(t, 1, "x", 0, 5, false);
    tail_tick(t, WALL - 3600 * NSEC_PER_SEC, 1000);
    assert_int_equal(out.of[1], 1);
    tail_free(t);
}

/* A forgotten undecided trace is decided, not lost. */
static void a_full_table_decides(void **state)
{
    struct tail *t = tail_of((struct tail_options){ .errors = true, .ratio = 1, .max_traces = 16 });
    for (u32 i = 0; i < 100; i++)
        one(t, i, "x", i, 5, false);
    while (tail_finish(t, 10))
        ;
    assert_int_equal(out.spans, 100);
    assert_int_equal(tail_spans(t), 0);
    tail_free(t);
}

static void rules_in_a_word(void **state)
{
    struct tail_options o;
    char err[256];
    assert_int_equal(tail_parse("errors,slow=1500ms,name=nightly*,ratio=0.05,name=x", &o, err, sizeof(err)), 0);
    assert_true(o.enabled && o.errors && o.ratio == 0.05);
    assert_int_equal(o.slow_ns, 1500 * NSEC_PER_MSEC);
    assert_int_equal(o.n_names, 2);
    assert_string_equal(o.names[0], "nightly*");
    for (size_t i = 0; i < o.n_names; i++)
        free((char *)(uintptr_t)o.names[i]);
    free((void *)(uintptr_t)o.names);
    static const char *const bad[] = { "",        "error",  "slow=5", "slow=0s",  "slow=s", "slow=99999999999h",
                                       "ratio=2", "ratio=", "name=",  "errors,,x" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (tail_parse(bad[i], &o, err, sizeof(err)) != -EINVAL)
            fail_msg("%s", bad[i]);
        assert_non_null(strstr(err, "write errors, slow=5s"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_kept_whole),
        cmocka_unit_test(slow_and_named_are_decided_while_they_run),
        cmocka_unit_test(others_by_ratio_with_their_weight),
        cmocka_unit_test(a_stricter_head_keeps_its_weight),
        cmocka_unit_test(a_moved_span_closes_where_it_began),
        cmocka_unit_test(unsampled_ones_never_come_out),
        cmocka_unit_test(a_change_judges_what_waits),
        cmocka_unit_test(without_rules_what_waits_is_kept),
        cmocka_unit_test(memory_is_bounded_and_nothing_that_matters_lost),
        cmocka_unit_test(two_hours_in_bounded_memory),
        cmocka_unit_test(a_clock_set_back_holds_nobody),
        cmocka_unit_test(a_full_table_decides),
        cmocka_unit_test(rules_in_a_word),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
