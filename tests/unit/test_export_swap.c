/* needs: base self trace stream protocol ingest export store gen */
/* Exporters changed while spans flow: none is lost, none comes twice, and a change that fails changes nothing. */
#include "export/exporter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

static char a_path[64], b_path[64];
static u32 made;

static struct export_spec to_file(const char *path)
{
    struct export_spec s = { .kind = "otlp-json", .signal = SIGNAL_TRACES };
    snprintf(s.target, sizeof(s.target), "%s", path);
    return s;
}

static void push(struct export_queues *q, u32 n)
{
    for (u32 i = 0; i < n; i++) {
        struct span *s = span_new();
        assert_non_null(s);
        made++;
        memset(s->id.trace_id, 1, TRACE_ID_LEN);
        s->id.span_id[0] = 7;
        memcpy(s->id.span_id + 4, &made, 4);
        s->kind = SPAN_INTERNAL;
        s->start_ns = s->end_ns = 1;
        export_queues_sink(q)->ended(export_queues_sink(q), s);
    }
}

/* Times that "spanId" stands in the file, and whether some id stands twice in both together. */
static u32 ids(const char *path, bool *seen)
{
    cleanup(freep) char *text = NULL;
    size_t len = 0;
    u32 n = 0;
    if (read_small_file(path, 64 << 20, &text, &len))
        return 0;
    for (char *p = text; (p = strstr(p, "\"spanId\":\"")); n++) {
        u32 number = 0;
        p += 10;
        for (int i = 3; i >= 0; i--) { /* little-endian, as push() wrote it */
            unsigned byte;
            assert_int_equal(sscanf(p + 8 + 2 * i, "%2x", &byte), 1);
            number = number << 8 | byte;
        }
        assert_true(number && number <= made);
        assert_false(seen[number]);
        seen[number] = true;
    }
    return n;
}

static int start(void **state)
{
    UNUSED(state);
    made = 0;
    strcpy(a_path, "/tmp/wf-swap-a-XXXXXX");
    strcpy(b_path, "/tmp/wf-swap-b-XXXXXX");
    close(mkstemp(a_path));
    close(mkstemp(b_path));
    return 0;
}

static int end(void **state)
{
    UNUSED(state);
    unlink(a_path);
    unlink(b_path);
    return 0;
}

static void every_span_comes_once(void **state)
{
    struct export_queues *q;
    struct export_spec a = to_file(a_path), b = to_file(b_path);
    char err[256] = "";
    UNUSED(state);
    assert_int_equal(export_queues_new(NULL, &q), 0);
    assert_int_equal(export_queues_add(q, &a, err, sizeof(err)), 0);
    for (int i = 0; i < 10; i++) {
        push(q, 300);
        assert_int_equal(export_queues_swap(q, i % 2 ? &a : &b, 1, err, sizeof(err)), 0);
    }
    push(q, 300);
    assert_int_equal(export_queues_close(q, 5000), 0);
    bool *seen = calloc(made + 1, sizeof(bool));
    u32 in_a = ids(a_path, seen), in_b = ids(b_path, seen);
    free(seen);
    assert_int_equal(in_a + in_b, made);
    assert_true(in_a > 1000 && in_b > 1000);
}

static void a_failure_changes_nothing(void **state)
{
    struct export_queues *q;
    struct export_spec a = to_file(a_path), bad[] = { to_file(b_path), to_file("/nonexistent/x/y") };
    struct export_spec unknown = { .kind = "carrier-pigeon", .signal = SIGNAL_TRACES };
    char err[256] = "";
    UNUSED(state);
    assert_int_equal(export_queues_new(NULL, &q), 0);
    assert_int_equal(export_queues_add(q, &a, err, sizeof(err)), 0);
    push(q, 10);
    assert_true(export_queues_swap(q, bad, 2, err, sizeof(err)) < 0);
    assert_true(*err != 0);
    assert_true(export_queues_swap(q, &unknown, 1, err, sizeof(err)) < 0);
    push(q, 10);
    assert_int_equal(export_queues_close(q, 5000), 0);
    bool seen[32] = { 0 };
    assert_int_equal(ids(a_path, seen), 20);
    assert_int_equal(ids(b_path, seen), 0);
}

/* The same spec goes on in its lane; what is told twice is two lanes; nothing at all is fine too. */
static void the_same_stays_and_none_is_allowed(void **state)
{
    struct export_queues *q;
    struct export_spec a = to_file(a_path), both[] = { a, to_file(b_path) };
    char err[256] = "";
    UNUSED(state);
    assert_int_equal(export_queues_new(NULL, &q), 0);
    assert_int_equal(export_queues_add(q, &a, err, sizeof(err)), 0);
    push(q, 5);
    assert_int_equal(export_queues_swap(q, &a, 1, err, sizeof(err)), 0);
    assert_int_equal(export_queues_swap(q, both, 2, err, sizeof(err)), 0);
    push(q, 5);
    assert_int_equal(export_queues_swap(q, NULL, 0, err, sizeof(err)), 0);
    push(q, 5); /* to nobody */
    assert_int_equal(export_queues_close(q, 5000), 0);
    bool seen_a[32] = { 0 }, seen_b[32] = { 0 };
    assert_int_equal(ids(a_path, seen_a), 10);
    assert_int_equal(ids(b_path, seen_b), 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_span_comes_once, start, end),
        cmocka_unit_test_setup_teardown(a_failure_changes_nothing, start, end),
        cmocka_unit_test_setup_teardown(the_same_stays_and_none_is_allowed, start, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
