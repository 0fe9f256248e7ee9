/* needs: base self trace stream protocol ingest export store gen */
/* The console exporter through the queue, with standard error turned into a pipe and into a terminal. */
#include "export/exporter.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <pty.h>
#include <unistd.h>
#include <cmocka.h>

static struct resource *res;
static u64 base;

static struct span *make(const char *name, u8 id, u8 parent)
{
    struct span *s = span_new();
    memset(s->id.trace_id, 0xab, TRACE_ID_LEN);
    memset(s->id.span_id, id, SPAN_ID_LEN);
    memset(s->parent_id, parent, SPAN_ID_LEN);
    s->start_ns = base;
    span_set_name(s, slice_str(name));
    s->resource = resource_ref(res);
    return s;
}

/* Runs `body` with standard error on fd `to`; afterwards reads what came out of `from`. */
static char *captured(int from, int to, bool color, const char *text, void (*body)(struct span_sink *))
{
    static char out[65536];
    struct export_queues *q;
    struct export_spec spec;
    char err[200] = "";
    int saved = dup(STDERR_FILENO);
    dup2(to, STDERR_FILENO);
    close(to);
    assert_int_equal(export_spec_parse(text, SIGNAL_TRACES, &spec, err, sizeof(err)), 0);
    spec.color = color;
    export_queues_new(NULL, &q);
    assert_int_equal(export_queues_add(q, &spec, err, sizeof(err)), 0);
    body(export_queues_sink(q));
    assert_int_equal(export_queues_close(q, 2000), 0);
    dup2(saved, STDERR_FILENO);
    close(saved);
    fcntl(from, F_SETFL, O_NONBLOCK);
    ssize_t n = 0, got;
    while ((got = read(from, out + n, sizeof(out) - 1 - (size_t)n)) > 0)
        n += got;
    out[n] = 0;
    close(from);
    return out;
}

static void finish(struct span_sink *k, struct span *s, u64 took_ns)
{
    s->end_ns = s->start_ns + took_ns;
    k->ended(k, s);
}

static void two_requests(struct span_sink *k)
{
    struct span *a = make("POST /orders", 1, 0), *b = make("GET /x\x1b[2J", 2, 0);
    attr_int(&a->attrs, "http.response.status_code", 201);
    span_set_error(b, slice_str("boom\nsecond line"));
    k->started(k, a);
    finish(k, a, 14200000);
    finish(k, b, 400000);
}

static void piped_output_is_one_line_an_activity(void **state)
{
    int p[2];
    assert_int_equal(pipe(p), 0);
    char *out = captured(p[0], p[1], false, "console", two_requests);
    char *second = strchr(out, '\n') + 1;
    assert_string_equal(second + strlen(second) - 1, "\n");
    assert_null(strchr(strchr(second, '\n') + 1, '\n'));
    assert_null(strchr(out, 0x1b));
    *strchr(out, '\n') = 0;
    assert_string_equal(out + 12, "  POST /orders  201  14.2 ms  orders  trace=abababababababababababababababab");
    assert_non_null(strstr(second, "  \xe2\x9c\x97 GET /x?[2J  400 \xc2\xb5s  orders  trace="));
    assert_non_null(strstr(second, "abab  boom\n"));
}

static void a_running_tree(struct span_sink *k)
{
    struct span *a = make("POST /orders", 1, 0), *b = make("SELECT", 2, 1);
    k->started(k, a);
    k->started(k, b);
    log_warn("test", "a line of ours");
    usleep(900000);
    finish(k, b, 2000000);
    finish(k, a, 14200000);
    usleep(600000);
    k->started(k, a = make("left open", 3, 0));
    span_unref(a);
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static void a_terminal_gets_a_live_tree_and_its_rows_back(void **state)
{
    struct winsize size = { .ws_row = 30, .ws_col = 80 };
    int master, slave;
    setenv("TERM", "xterm", 1);
    assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
    int keep = dup(slave); /* so that the text is not lost with the last writer */
    char *out = captured(master, slave, true, "console", a_running_tree);
    close(keep);
    assert_non_null(strstr(out, "wftrace: test: a line of ours"));
    assert_non_null(strstr(out, "2 running"));
    size_t frames = count(out, " running, ");
    assert_true(frames >= 2 && frames <= 20); /* at most ten a second */
    assert_non_null(strstr(out, "\xe2\x95\xb0\xe2\x94\x80 \x1b[0mSELECT"));
    assert_int_equal(count(out, "14.2 ms"), 1);
    assert_non_null(strstr(out, "left open")); /* close() shows what still runs */
    char *held = NULL, *freed = strstr(out, "\x1b[r");
    for (char *s = out; (s = strstr(s, "\x1b[1;")); s++)
        held = s;
    assert_true(held && freed && freed > held); /* the margin is gone at the end */
    assert_null(log_hook);
}

static int setup(void **state)
{
    res = resource_new();
    attr_str(&res->attrs, "service.name", slice_str("orders"));
    base = clock_wall_ns();
    return 0;
}

static int teardown(void **state)
{
    res = resource_unref(res);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(piped_output_is_one_line_an_activity),
        cmocka_unit_test(a_terminal_gets_a_live_tree_and_its_rows_back),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
