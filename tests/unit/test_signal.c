/* needs: base self trace stream protocol ingest */
/* The pool of log records: sizes, ceiling, bodies made valid. */
#include "trace/signal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void bodies(void **state)
{
    UNUSED(state);
    struct log_record *l = log_new(slice_str("a\xff"
                                             "b"));
    assert_string_equal(l->body, "a\xef\xbf\xbd"
                                 "b");
    assert_int_equal(l->body_len, 5);
    assert_int_equal(l->severity, 0);
    assert_true(attr_int(&l->attrs, "n", 1));
    assert_null(log_unref(l));
    assert_null(log_unref(NULL));
}

static void long_body_is_cut(void **state)
{
    UNUSED(state);
    static char text[LOG_BODY * 2];
    memset(text, 'x', sizeof(text));
    struct log_record *l = log_new(slice_of(text, sizeof(text)));
    assert_int_equal(l->body_len, LOG_BODY);
    log_unref(l);
    l = log_new(slice_of(text, 700));
    assert_int_equal(l->body_len, 700);
    log_unref(l);
}

static void ceiling(void **state)
{
    UNUSED(state);
    struct log_record *v[4] = { 0 };
    u64 one = sizeof(struct log_record) + 513;
    log_pool_limit(one * 2);
    for (int i = 0; i < 4; i++)
        v[i] = log_new(slice_str("x"));
    u32 made = 0;
    for (int i = 0; i < 4; i++)
        made += v[i] != NULL;
    assert_in_range(made, 0, 2); /* spare ones of other sizes count too */
    for (int i = 0; i < 4; i++)
        log_unref(v[i]);
    log_pool_limit(64u << 20);
    assert_non_null(v[0] = log_new(slice_str("x")));
    log_unref(v[0]);
}

static int freed;
static void batch_free(struct metric_batch *b) { freed += b->n == 7; }

static void batches(void **state)
{
    UNUSED(state);
    struct metric_batch b = { .refs = 1, .n = 7, .free = batch_free };
    metric_batch_ref(&b);
    metric_batch_unref(&b);
    assert_int_equal(freed, 0);
    assert_null(metric_batch_unref(&b));
    assert_int_equal(freed, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ceiling), /* first: with an empty pool */
        cmocka_unit_test(bodies),
        cmocka_unit_test(long_body_is_cut),
        cmocka_unit_test(batches),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
