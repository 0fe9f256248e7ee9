/* needs: base self trace stream protocol ingest pipeline */
/* Writes of a traced process → log records and what they leave on the activity that wrote them. */
#include "pipeline/logs.h"
#include "self/ledger.h"
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <cmocka.h>

#define PID 100

static struct log_record *got[16];
static size_t n_got;
static struct span *ended[16];
static size_t n_ended;
static struct log_sink sink;
static struct span_sink spans;
static struct tracer *t;
static struct logs *l;
static u64 now;

static void on_log(struct log_sink *s, struct log_record *r) { got[n_got++] = r; }
static void on_ended(struct span_sink *s, struct span *span) { ended[n_ended++] = span; }

static int setup(void **state)
{
    sink.emit = on_log;
    spans.ended = on_ended;
    n_got = n_ended = 0;
    now = NSEC_PER_SEC;
    t = tracer_new(&(struct tracer_options){ .seed = { 1, 2 } }, &spans);
    l = logs_new(&(struct logs_options){ 0 }, t, &sink);
    return !t || !l;
}

static int teardown(void **state)
{
    l = logs_free(l);
    t = tracer_free(t);
    for (size_t i = 0; i < n_got; i++)
        log_unref(got[i]);
    for (size_t i = 0; i < n_ended; i++)
        span_unref(ended[i]);
    return 0;
}

static void say(const char *line)
{
    struct event e = { .type = EVENT_WRITE, .time = ++now, .tgid = PID, .tid = PID };
    e.write.fd = 2;
    e.write.mode = S_IFREG;
    e.write.bytes = slice_str(line);
    e.write.len = (u32)strlen(line);
    logs_event(l, &e);
}

static struct activity *begin(void)
{
    return activity_begin(t, &(struct activity_start){ .time = ++now,
                                                       .tgid = PID,
                                                       .tid = PID,
                                                       .kind = SPAN_INTERNAL,
                                                       .scope = "rule",
                                                       .name = slice_str("work"),
                                                       .push = true });
}

static void a_line_has_the_ids_of_its_activity(void **state)
{
    struct activity *a = begin();
    struct span_context id = a->span->id;
    say("2026-01-02 03:04:05 ERROR it broke\n");
    activity_end(t, a, ++now);
    say("INFO after it\n");
    assert_int_equal(n_got, 2);
    assert_memory_equal(&got[0]->context, &id, sizeof(id));
    assert_int_equal(got[0]->severity, 17);
    assert_false(span_context_valid(&got[1]->context));
}

/* An exception that a line tells is an event of the span, once. */
static void an_exception_is_an_event(void **state)
{
    struct activity *a = begin();
    say("{\"level\":\"error\",\"msg\":\"x\",\"exception\":{\"type\":\"KeyError\",\"message\":\"'id'\"}}\n");
    say("{\"level\":\"error\",\"msg\":\"y\",\"exception\":{\"type\":\"KeyError\"}}\n");
    assert_int_equal(a->span->n_events, 1);
    assert_string_equal(a->span->events[0].attrs[0].s, "KeyError");
    activity_end(t, a, ++now);
}

/* The same names with numbers, lists and truths behind them: a program may write what it likes. */
static void an_exception_that_is_no_text(void **state)
{
    static const char *const values[] = { "5", "-1", "1e300", "true", "[\"a\"]", "null", "{}" };
    char line[200];
    struct activity *a = begin();
    say("{\"msg\":\"x\",\"exception\":{\"type\":\"KeyError\",\"message\":\"'id'\"}}\n");
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        snprintf(line, sizeof(line), "{\"msg\":\"x\",\"exception.type\":%s}\n", values[i]);
        say(line);
        snprintf(line, sizeof(line), "{\"msg\":\"x\",\"exception\":{\"type\":\"E%zu\",\"message\":%s,\"stacktrace\":%s}}\n", i,
                 values[i], values[i]);
        say(line);
    }
    assert_int_equal(n_got, 1 + 2 * ARRAY_LEN(values));
    assert_true(a->span->n_events > 1);
    activity_end(t, a, ++now);
}

/* Numbers that are no time, or one that 64 bits do not hold, are not taken for one. */
static void times_that_are_numbers(void **state)
{
    static const struct {
        const char *text;
        u64 ns;
    } cases[] = { { "1700000000", 1700000000ull * NSEC_PER_SEC },
                  { "1700000000000", 1700000000ull * NSEC_PER_SEC },
                  { "1700000000000000000", 1700000000ull * NSEC_PER_SEC },
                  { "99999999999", 0 },
                  { "1e19", 0 },
                  { "-5", 0 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char line[80];
        snprintf(line, sizeof(line), "{\"msg\":\"x\",\"ts\":%s}\n", cases[i].text);
        say(line);
        assert_int_equal(got[i]->time_ns, cases[i].ns ? cases[i].ns : now);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_line_has_the_ids_of_its_activity),
        T(an_exception_is_an_event),
        T(an_exception_that_is_no_text),
        T(times_that_are_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
