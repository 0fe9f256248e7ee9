/* needs: base trace self stream protocol ingest pipeline */
/* Runs in progress: who is told of, when, how often; what counts as something happening beneath; what an open run costs. */
#include "pipeline/progress.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct span_sink sink;
static struct log_sink logs;
static struct tracer *t;
static struct log_record *got[32];
static size_t n_got, n_ended;
static bool stuck_at_end;

static void on_log(struct log_sink *s, struct log_record *l)
{
    UNUSED(s);
    assert_true(n_got < ARRAY_LEN(got));
    got[n_got++] = l;
}

static void on_ended(struct span_sink *s, struct span *span)
{
    UNUSED(s);
    n_ended++;
    stuck_at_end = attr_get(&span->attrs, "wftrace.activity.stuck");
    span_unref(span);
}

static int setup(void **state)
{
    UNUSED(state);
    sink.ended = on_ended;
    logs.emit = on_log;
    n_got = n_ended = 0;
    t = tracer_new(&(struct tracer_options){ .seed = { 1, 2 } }, &sink);
    return t ? 0 : -1;
}

static int teardown(void **state)
{
    UNUSED(state);
    t = tracer_free(t);
    while (n_got)
        log_unref(got[--n_got]);
    return 0;
}

static struct activity *begin(u32 tid, u64 seconds, const char *name, const char *type)
{
    struct activity *a = activity_begin(t, &(struct activity_start){ .time = seconds * NSEC_PER_SEC,
                                                                     .tgid = 7,
                                                                     .tid = tid,
                                                                     .kind = SPAN_INTERNAL,
                                                                     .scope = "test",
                                                                     .name = slice_str(name),
                                                                     .push = true });
    if (a && type)
        attr_str(&a->span->attrs, "wftrace.activity.type", slice_str(type));
    return a;
}

static struct progress every(u64 running, u64 stuck, bool log)
{
    return (struct progress){ .o = { running * NSEC_PER_SEC, stuck * NSEC_PER_SEC, log }, .tracer = t, .sink = &logs };
}

static void told_each_time(void **state)
{
    UNUSED(state);
    struct progress p = every(10, 0, true);
    struct activity *a = begin(1, 100, "nightly", "workflow");
    begin(2, 100, "GET /", NULL); /* no activity: not told of */
    attr_str(&a->span->attrs, "dag.run_id", slice_str("r-7"));
    attr_str(&a->span->attrs, "secret", slice_str("x"));
    for (u64 s = 100; s < 135; s++)
        progress_tick(&p, s * NSEC_PER_SEC);
    assert_int_equal(n_got, 3); /* at 10, 20 and 30 seconds */
    assert_string_equal(got[0]->event_name, "wftrace.activity.running");
    assert_string_equal(got[0]->body, "still running: nightly, open for 10 s");
    assert_int_equal(got[0]->severity, 9);
    assert_memory_equal(&got[0]->context, &a->span->id, sizeof(got[0]->context));
    assert_string_equal(attr_get(&got[0]->attrs, "dag.run_id")->s, "r-7");
    assert_null(attr_get(&got[0]->attrs, "secret"));
    activity_end(t, a, 140 * NSEC_PER_SEC);
    progress_tick(&p, 150 * NSEC_PER_SEC);
    assert_int_equal(n_got, 3);
}

static void stuck(void **state)
{
    UNUSED(state);
    struct progress p = every(0, 5, true);
    struct activity *run = begin(1, 100, "run", "workflow"), *task = begin(1, 101, "task", "task");
    progress_tick(&p, 104 * NSEC_PER_SEC);
    activity_end(t, begin(1, 104, "SELECT", NULL), 105 * NSEC_PER_SEC); /* beneath both */
    progress_tick(&p, 109 * NSEC_PER_SEC);
    assert_int_equal(n_got, 0);
    progress_tick(&p, 111 * NSEC_PER_SEC);
    progress_tick(&p, 113 * NSEC_PER_SEC);
    assert_int_equal(n_got, 2); /* once each */
    assert_string_equal(got[0]->event_name, "wftrace.activity.stuck");
    assert_int_equal(got[0]->severity, 13);
    activity_end(t, begin(1, 114, "SELECT", NULL), 114 * NSEC_PER_SEC); /* it moves again */
    progress_tick(&p, 115 * NSEC_PER_SEC);
    progress_tick(&p, 121 * NSEC_PER_SEC);
    assert_int_equal(n_got, 4);
    activity_end(t, task, 122 * NSEC_PER_SEC);
    assert_true(stuck_at_end);
    progress_tick(&p, 124 * NSEC_PER_SEC);
    assert_int_equal(n_got, 4); /* the end of its task is something that happened beneath the run */
    activity_end(t, run, 125 * NSEC_PER_SEC);
}

static void nothing_set(void **state)
{
    UNUSED(state);
    struct progress p = every(0, 0, true), silent = every(1, 1, false);
    struct activity *a = begin(1, 100, "run", "workflow");
    progress_tick(&p, 1000 * NSEC_PER_SEC);
    assert_int_equal(p.next, 0);
    progress_tick(&silent, 1000 * NSEC_PER_SEC);
    assert_int_equal(n_got, 0);
    activity_end(t, a, 1001 * NSEC_PER_SEC);
    assert_true(stuck_at_end); /* marked, though not told */
}

/* What is told here is what docs/memory.md says. */
static void cost(void **state)
{
    enum { N = 10000 };
    UNUSED(state);
    struct mallinfo2 before = mallinfo2();
    for (u32 i = 1; i <= N; i++)
        assert_non_null(begin(i, 100, "a run of days", "workflow"));
    struct mallinfo2 after = mallinfo2();
    size_t each = (after.uordblks + after.hblkhd - before.uordblks - before.hblkhd) / N;
    print_message("an open activity takes %zu bytes, %zu of them its span\n", each, sizeof(struct span));
    assert_true(each < 1050);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = { T(told_each_time), T(stuck), T(nothing_set), T(cost) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
