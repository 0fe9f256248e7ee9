/* needs: base self trace stream protocol ingest pipeline */
/* Log lines: severity, time, ids, exceptions, JSON, and which lines belong together. */
#include "pipeline/logs_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>

#include <cmocka.h>

#define WALL 1700000000123456789ull /* 2023-11-14T22:13:20.123456789Z */

static struct log_record *record(const char *text)
{
    struct log_record *l = log_line_record(slice_str(text), WALL);
    assert_non_null(l);
    return l;
}

static void severities(void **state)
{
    static const struct {
        const char *text;
        int severity;
    } rows[] = {
        { "INFO:root:hello", 9 },
        { "2023-11-14 22:13:20,123 WARNING orders slow", 13 },
        { "INFO:     127.0.0.1:4242 - \"GET / HTTP/1.1\" 200 OK", 9 },
        { "[2023-11-14 22:13:20 +0000] [77] [INFO] Listening", 9 },
        { "[2023-11-14 22:13:20,123: ERROR/MainProcess] Task failed", 17 },
        { "2023/11/14 22:13:20 [error] 7#7: *1 open() failed", 17 },
        { "2023-11-14 22:13:20.123 UTC [12] LOG:  statement", 9 },
        { "2023-11-14 22:13:20.123 UTC [12] FATAL:  no", 21 },
        { "time=2023-11-14T22:13:20Z level=warn msg=\"x\"", 13 },
        { "W1114 22:13:20.123456   12 file.cc:1] careful", 13 },
        { "2023-11-14 22:13:20.123  INFO 1 --- [main] o.s.Boot : up", 9 },
        { "DEBUG x", 5 },
        { "CRITICAL x", 21 },
        { "the info desk has an error rate", 0 },
        { "INFORMATION for you", 0 },
        { "plain", 0 },
        { "", 0 },
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct log_record *l = record(rows[i].text);
        if (l->severity != rows[i].severity)
            fail_msg("%s: %d, wanted %d", rows[i].text, l->severity, rows[i].severity);
        assert_string_equal(l->body, rows[i].text);
        log_unref(l);
    }
}

static void times(void **state)
{
    UNUSED(state);
    static const struct {
        const char *text;
        u64 time; /* 0: not understood or not believed */
    } rows[] = {
        { "2023-11-14T22:13:20.5Z x", 1700000000500000000ull },
        { "2023-11-14 22:13:20,123 x", 1700000000123000000ull },
        { "2023/11/14 22:13:20 x", 1700000000000000000ull },
        { "2023-11-14T23:13:20+01:00", 1700000000000000000ull },
        { "2023-11-14 14:13:20 -0800", 1700000000000000000ull },
        { "2023-11-14T22:13:20.123456789UTC", 1700000000123456789ull },
        { "2003-11-14 22:13:20 no zone and long ago", 0 },
        { "2023-13-14T22:13:20Z", 0 },
        { "2023-11-14T25:13:20Z", 0 },
        { "2023-11-14", 0 },
        { "x", 0 },
    };
    setenv("TZ", "UTC", 1);
    tzset();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct log_record *l = record(rows[i].text);
        if (l->time_ns != rows[i].time)
            fail_msg("%s: %llu", rows[i].text, (unsigned long long)l->time_ns);
        log_unref(l);
    }
    setenv("TZ", "America/New_York", 1); /* a container's clock in UTC under a host that is not */
    tzset();
    struct log_record *l = record("2023-11-14 22:13:20 x");
    assert_true(l->time_ns == 1700000000000000000ull);
    log_unref(l);
}

static void json(void **state)
{
    UNUSED(state);
    struct log_record *l =
        record("{\"level\":\"error\",\"event\":\"no \\u00fc\",\"timestamp\":\"2023-11-14T22:13:20.5Z\",\"n\":3,\"x\":1.5,"
               "\"ok\":true,\"user\":{\"id\":7,\"tags\":[1]},\"trace_id\":\"0af7651916cd43dd8448eb211c80319c\","
               "\"span_id\":\"b7ad6b7169203331\"}");
    assert_string_equal(l->body, "no \xc3\xbc");
    assert_int_equal(l->severity, 17);
    assert_string_equal(l->severity_text, "error");
    assert_true(l->time_ns == 1700000000500000000ull);
    assert_int_equal(attr_get(&l->attrs, "n")->i, 3);
    assert_int_equal(attr_get(&l->attrs, "user.id")->i, 7);
    assert_true(attr_get(&l->attrs, "ok")->b);
    assert_int_equal(l->context.trace_id[0], 0x0a);
    assert_int_equal(l->context.span_id[7], 0x31);
    assert_null(attr_get(&l->attrs, "level"));
    log_unref(l);
    l = record("{\"level\":30,\"time\":1700000000500,\"msg\":\"pino\"}");
    assert_int_equal(l->severity, 9);
    assert_true(l->time_ns == 1700000000500000000ull);
    log_unref(l);
    l = record("{\"broken\": ");
    assert_string_equal(l->body, "{\"broken\": ");
    log_unref(l);
    l = record("{not json}");
    assert_string_equal(l->body, "{not json}");
    log_unref(l);
}

static void json_is_bounded(void **state)
{
    UNUSED(state);
    static char deep[20000], wide[LOG_BODY * 2];
    memset(deep, '[', 10000);
    memcpy(deep, "{\"a\":", 5);
    deep[10000] = '}';
    log_unref(record(deep));
    size_t n = (size_t)snprintf(wide, sizeof(wide), "{\"m\":0");
    for (int i = 0; n < sizeof(wide) - 40; i++)
        n += (size_t)snprintf(wide + n, sizeof(wide) - n, ",\"key%d\":\"v\"", i);
    snprintf(wide + n, sizeof(wide) - n, "}");
    struct log_record *l = record(wide);
    assert_true(l->attrs.n <= LOG_ATTRS);
    log_unref(l);
}

static void ids(void **state)
{
    UNUSED(state);
    struct log_record *l = record("x trace_id=0AF7651916CD43DD8448EB211C80319C span_id=b7ad6b7169203331 y");
    assert_int_equal(l->context.trace_id[15], 0x9c);
    assert_int_equal(l->context.span_id[0], 0xb7);
    log_unref(l);
    l = record("trace_id=00000000000000000000000000000000");
    assert_int_equal(l->context.trace_id[0], 0);
    log_unref(l);
    l = record("trace_id=0af765 short; the trace_id");
    assert_int_equal(l->context.trace_id[0], 0);
    log_unref(l);
}

static void exceptions(void **state)
{
    UNUSED(state);
    struct log_record *l = record("ERROR:root:boom\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f\n"
                                  "    1/0\nmy.mod.Error: it: broke\n");
    assert_string_equal(attr_get(&l->attrs, "exception.type")->s, "my.mod.Error");
    assert_string_equal(attr_get(&l->attrs, "exception.message")->s, "it: broke");
    assert_non_null(strstr(attr_get(&l->attrs, "exception.stacktrace")->s, "a.py"));
    log_unref(l);
    l = record("\x1b[32mINFO\x1b[0m: green");
    assert_string_equal(l->body, "INFO: green");
    assert_int_equal(l->severity, 9);
    log_unref(l);
}

static void together(void **state)
{
    UNUSED(state);
    static const struct {
        const char *line;
        enum log_line kind;
    } rows[] = {
        { "ERROR:root:boom", LOG_LINE_NEW },
        { "Traceback (most recent call last):", LOG_LINE_MORE },
        { "  File \"a.py\", line 1", LOG_LINE_MORE },
        { "ValueError: x", LOG_LINE_MORE },
        { "", LOG_LINE_MORE },
        { "During handling of the above exception, another exception occurred:", LOG_LINE_MORE },
        { "", LOG_LINE_MORE },
        { "Traceback (most recent call last):", LOG_LINE_MORE },
        { "    pass", LOG_LINE_MORE },
        { "KeyError: 1", LOG_LINE_MORE },
        { "INFO:root:next", LOG_LINE_NEW },
        { "  indented goes on", LOG_LINE_MORE },
        { "panic: oh", LOG_LINE_NEW },
        { "goroutine 1 [running]:", LOG_LINE_MORE },
        { "main.main()", LOG_LINE_MORE },
    };
    enum log_block block = LOG_BLOCK_NONE;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(log_line_kind(slice_str(rows[i].line), i > 0, true, &block), rows[i].kind);
    block = LOG_BLOCK_RAISED; /* another traceback that nobody announced is another record */
    assert_int_equal(log_line_kind(slice_str("Traceback (most recent call last):"), true, false, &block), LOG_LINE_NEW);
    block = LOG_BLOCK_NONE;
    assert_int_equal(log_line_kind(slice_str("  indented"), true, false, &block), LOG_LINE_NEW);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(severities), cmocka_unit_test(times),      cmocka_unit_test(json),     cmocka_unit_test(json_is_bounded),
        cmocka_unit_test(ids),        cmocka_unit_test(exceptions), cmocka_unit_test(together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
