/* needs: base self trace stream protocol ingest export store gen */
/* The queue against an exporter that answers as it is told. */
#include "export/exporter.h"
#include "base/log.h"
#include "self/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

#define OPTIONS(...)                                                                                                             \
    (struct export_queue_options)                                                                                                \
    {                                                                                                                            \
        .lane = { { __VA_ARGS__ }, { __VA_ARGS__ }, { __VA_ARGS__ } }                                                            \
    }

static struct fake {
    enum export_result answer[8]; /* of the n-th send; the last one repeats */
    u32 n_answers;
    u64 after_ms, refused, slow_ms;
    enum export_cause cause;
    u32 seen; /* SIGNAL_BITs */
    /* what happened */
    u32 sends, started, ticks, closed, max_batch;
    u64 delivered, sum, at[8];
} fake;

static int fake_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    if (!strcmp(spec->target, "bad")) {
        snprintf(err, err_size, "cannot open it");
        return -ENOENT;
    }
    *ret = &fake;
    return 0;
}

static u64 value_of(const struct batch *b, size_t i)
{
    switch (b->signal) {
    case SIGNAL_LOGS:
        return b->logs[i]->time_ns;
    case SIGNAL_METRICS:
        return b->metrics[i]->n_points;
    default:
        return b->spans[i]->tid;
    }
}

static enum export_result fake_send(void *self, const struct batch *b, struct export_reply *ret)
{
    u32 n = fake.sends;
    if (n < ARRAY_LEN(fake.at))
        fake.at[n] = clock_boot_ns();
    __atomic_store_n(&fake.sends, n + 1, __ATOMIC_RELEASE);
    enum export_result r = fake.answer[n < fake.n_answers ? n : fake.n_answers - 1];
    for (u64 from = clock_boot_ns(); clock_boot_ns() < from + __atomic_load_n(&fake.slow_ms, __ATOMIC_RELAXED) * NSEC_PER_MSEC;) {
        u64 stop = __atomic_load_n(b->stop_at, __ATOMIC_ACQUIRE);
        if (stop && clock_boot_ns() >= stop)
            return EXPORT_RETRY;
        usleep(2000);
    }
    fake.max_batch = b->n > fake.max_batch ? (u32)b->n : fake.max_batch;
    ret->after_ms = fake.after_ms;
    snprintf(ret->why, sizeof(ret->why), "because");
    ret->cause = fake.cause;
    if (r == EXPORT_OK) {
        ret->refused = fake.refused;
        for (size_t i = 0; i < b->n; i++)
            fake.sum += value_of(b, i);
        fake.delivered += b->n;
    }
    fake.seen |= SIGNAL_BIT(b->signal);
    return r;
}

static void fake_started(void *self, struct span *s) { fake.started++; }
static void fake_tick(void *self, u64 now) { __atomic_fetch_add(&fake.ticks, 1, __ATOMIC_RELEASE); }
static void fake_close(void *self) { fake.closed++; }

static const struct exporter plain = {
    .name = "fake", .help = "", .signals = SIGNAL_ALL, .open = fake_open, .send = fake_send, .close = fake_close
};
static const struct exporter live = { .name = "live",
                                      .help = "",
                                      .live = true,
                                      .open = fake_open,
                                      .send = fake_send,
                                      .started = fake_started,
                                      .tick = fake_tick,
                                      .close = fake_close };

static char log_text[8192];
static void hear(const char *line)
{
    strncat(log_text, line, sizeof(log_text) - strlen(log_text) - 2);
    strcat(log_text, "\n");
}

static struct export_queues *begin(const struct exporter *x, struct export_queue_options o, enum export_result first,
                                   enum export_result then)
{
    struct export_queues *q;
    struct export_spec spec = { .kind = "fake", .target = "http://sink:1/v1/traces?key=secret" };
    char err[100];
    fake = (struct fake){ .answer = { first, then }, .n_answers = 2 };
    log_text[0] = 0;
    log_hook = hear;
    assert_int_equal(export_queues_new(&o, &q), 0);
    assert_int_equal(export_queues_add_exporter(q, x, &spec, err, sizeof(err)), 0);
    return q;
}

static void put(struct export_queues *q, u32 n)
{
    struct span_sink *sink = export_queues_sink(q);
    for (u32 i = 0; i < n; i++) {
        struct span *s = span_new();
        assert_non_null(s);
        s->tid = i + 1;
        sink->ended(sink, s);
    }
}

static void wait_for(const u32 *what, u32 least)
{
    for (int i = 0; i < 500 && __atomic_load_n(what, __ATOMIC_ACQUIRE) < least; i++)
        usleep(5000);
    assert_true(__atomic_load_n(what, __ATOMIC_ACQUIRE) >= least);
}

static void everything_arrives_once_in_batches(void **state)
{
    u64 before = ledger_get(spans_exported);
    struct export_queues *q = begin(&plain, OPTIONS(.delay_ms = 20), EXPORT_OK, EXPORT_OK);
    put(q, 5000);
    assert_int_equal(export_queues_close(q, 5000), 0);
    assert_int_equal(fake.delivered, 5000);
    assert_int_equal(fake.sum, 5000ull * 5001 / 2);
    assert_true(fake.max_batch <= 512 && fake.sends >= 10);
    assert_int_equal(fake.closed, 1);
    assert_int_equal(ledger_get(spans_exported) - before, 5000);
    assert_string_equal(log_text, "");
}

static void a_span_waits_no_longer_than_told(void **state)
{
    struct export_queues *q = begin(&plain, OPTIONS(.delay_ms = 50), EXPORT_OK, EXPORT_OK);
    u64 start = clock_boot_ns();
    put(q, 1);
    wait_for(&fake.sends, 1);
    u64 ms = (fake.at[0] - start) / NSEC_PER_MSEC;
    assert_true(ms >= 45 && ms < 500);
    export_queues_close(q, 100);
}

static void a_receiver_that_comes_back_gets_everything(void **state)
{
    u64 retries = ledger_get(export_retries);
    struct export_queues *q = begin(&plain, OPTIONS(.delay_ms = 1), EXPORT_RETRY, EXPORT_OK);
    put(q, 10);
    wait_for(&fake.sends, 2);
    assert_int_equal(export_queues_close(q, 2000), 0);
    assert_int_equal(fake.delivered, 10);
    assert_int_equal(ledger_get(export_retries) - retries, 1);
    u64 ms = (fake.at[1] - fake.at[0]) / NSEC_PER_MSEC;
    assert_true(ms >= 200 && ms < 1500);
    assert_non_null(strstr(log_text, "wftrace: export: cannot reach http://sink:1/v1/traces: because (retrying, "));
    assert_non_null(strstr(log_text, "reached http://sink:1/v1/traces again"));
    assert_null(strstr(log_text, "secret"));
}

static void the_receivers_own_word_is_kept(void **state)
{
    struct export_queues *q = begin(&plain, OPTIONS(.delay_ms = 1), EXPORT_RETRY, EXPORT_OK);
    fake.after_ms = 900;
    put(q, 1);
    wait_for(&fake.sends, 2);
    assert_true(fake.at[1] - fake.at[0] >= 890 * NSEC_PER_MSEC);
    assert_int_equal(export_queues_close(q, 500), 0);
}

static void a_lasting_absence_is_counted_and_told_once(void **state)
{
    u64 lost = ledger_get(spans_dropped_unreachable);
    struct export_queue_options o = OPTIONS(.delay_ms = 1, .max_batch = 4, .retry_for_ms = 300);
    struct export_queues *q = begin(&plain, o, EXPORT_RETRY, EXPORT_RETRY);
    put(q, 8);
    usleep(1500000);
    assert_int_equal(export_queues_close(q, 100), 8);
    assert_int_equal(ledger_get(spans_dropped_unreachable) - lost, 8);
    char *first = strstr(log_text, "cannot reach");
    assert_non_null(first);
    assert_null(strstr(first + 1, "cannot reach"));
}

static void a_final_no_is_counted_and_the_next_batch_tried(void **state)
{
    u64 refused = ledger_get(spans_dropped_refused);
    struct export_queue_options o = OPTIONS(.delay_ms = 1, .max_batch = 5);
    struct export_queues *q = begin(&plain, o, EXPORT_DROP, EXPORT_OK);
    put(q, 5);
    wait_for(&fake.sends, 1);
    put(q, 5);
    assert_int_equal(export_queues_close(q, 1000), 5);
    assert_int_equal(fake.delivered, 5);
    assert_int_equal(ledger_get(spans_dropped_refused) - refused, 5);
    assert_non_null(strstr(log_text, "5 spans refused for good: because"));
}

static void partial_success_is_counted(void **state)
{
    u64 refused = ledger_get(spans_dropped_partial), sent = ledger_get(spans_exported);
    struct export_queues *q = begin(&plain, OPTIONS(.delay_ms = 1), EXPORT_OK, EXPORT_OK);
    fake.refused = 3;
    put(q, 10);
    wait_for(&fake.sends, 1);
    assert_int_equal(export_queues_close(q, 1000), 3 * fake.sends);
    assert_int_equal(ledger_get(spans_dropped_partial) - refused, 3 * fake.sends);
    assert_int_equal(ledger_get(spans_exported) - sent, 10 - 3 * fake.sends);
}

static void a_full_queue_drops_the_newest_and_frees_them(void **state)
{
    u64 dropped = ledger_get(spans_dropped_queue);
    struct export_queue_options o = OPTIONS(.delay_ms = 1, .max_queue = 20, .max_batch = 10);
    struct export_queues *q = begin(&plain, o, EXPORT_OK, EXPORT_OK);
    __atomic_store_n(&fake.slow_ms, 300, __ATOMIC_RELAXED);
    put(q, 10);
    wait_for(&fake.sends, 1); /* between 1 and 10 are in hand */
    span_pool_limit(200 * SPAN_LEAST);
    put(q, 100);
    __atomic_store_n(&fake.slow_ms, 0, __ATOMIC_RELAXED);
    u64 lost = export_queues_close(q, 3000);
    assert_true(lost >= 80 && lost <= 89);
    assert_int_equal(fake.delivered, 110 - lost);
    assert_int_equal(ledger_get(spans_dropped_queue) - dropped, lost);
    struct span *all[200];
    for (int i = 0; i < 200; i++) /* every span has come back to the pool */
        assert_non_null(all[i] = span_new());
    for (int i = 0; i < 200; i++)
        span_unref(all[i]);
    span_pool_limit(256u << 20);
}

/* When it lies beyond the end there is no other attempt, and no waiting for it either. */
static void the_receivers_own_word_is_not_waited_for_at_the_end(void **state)
{
    struct export_queues *q = begin(&plain, OPTIONS(.delay_ms = 1), EXPORT_RETRY, EXPORT_RETRY);
    fake.after_ms = 60000;
    put(q, 1);
    wait_for(&fake.sends, 1);
    u64 start = clock_boot_ns();
    assert_int_equal(export_queues_close(q, 200), 1);
    assert_true(clock_boot_ns() - start < 10 * NSEC_PER_SEC);
    assert_int_equal(fake.sends, 1);
}

static void the_deadline_holds(void **state)
{
    struct export_queues *q = begin(&plain, OPTIONS(.max_batch = 10), EXPORT_RETRY, EXPORT_RETRY);
    put(q, 100);
    usleep(100000);
    u64 start = clock_boot_ns();
    assert_int_equal(export_queues_close(q, 400), 100);
    u64 ms = (clock_boot_ns() - start) / NSEC_PER_MSEC;
    assert_true(ms < 700);
    q = begin(&plain, OPTIONS(.max_batch = 10), EXPORT_OK, EXPORT_OK); /* and in mid-send */
    __atomic_store_n(&fake.slow_ms, 60000, __ATOMIC_RELAXED);
    put(q, 100);
    wait_for(&fake.sends, 1);
    start = clock_boot_ns();
    assert_int_equal(export_queues_close(q, 300), 100);
    assert_true(clock_boot_ns() - start < 700 * NSEC_PER_MSEC);
}

static void live_exporters_hear_starts_and_ticks(void **state)
{
    struct export_queues *q = begin(&live, OPTIONS(.delay_ms = 60000), EXPORT_OK, EXPORT_OK);
    struct span_sink *sink = export_queues_sink(q);
    struct span *s = span_new();
    sink->started(sink, s);
    assert_int_equal(fake.started, 1);
    sink->ended(sink, s);
    wait_for(&fake.sends, 1); /* at once, whatever delay_ms says */
    wait_for(&fake.ticks, 3);
    assert_int_equal(export_queues_close(q, 100), 0);
}

static int metrics_alive;
static void metrics_free(struct metric_batch *b)
{
    metrics_alive--;
    free(b);
}
static struct metric_batch *metrics_of(u64 points)
{
    struct metric_batch *b = calloc(1, sizeof(*b));
    *b = (struct metric_batch){ .refs = 1, .n_points = points, .free = metrics_free };
    metrics_alive++;
    return b;
}

static struct export_queues *begin_signal(enum signal signal, struct export_queue_options o, enum export_result answer)
{
    struct export_queues *q;
    struct export_spec spec = { .kind = "fake", .target = "http://sink:1", .signal = signal };
    char err[100];
    fake = (struct fake){ .answer = { answer }, .n_answers = 1 };
    log_text[0] = 0;
    log_hook = hear;
    assert_int_equal(export_queues_new(&o, &q), 0);
    assert_int_equal(export_queues_add_exporter(q, &plain, &spec, err, sizeof(err)), 0);
    return q;
}

static void logs_and_metrics_go_their_own_ways(void **state)
{
    u64 logs = ledger_get(logs_exported), points = ledger_get(points_exported), spans = ledger_get(spans_exported);
    struct export_queues *q = begin_signal(SIGNAL_LOGS, OPTIONS(.delay_ms = 1), EXPORT_OK);
    assert_true(export_queues_wants(q, SIGNAL_LOGS) && !export_queues_wants(q, SIGNAL_TRACES));
    put(q, 3); /* spans: no lane takes them, and they come back to the pool */
    for (u32 i = 0; i < 700; i++) {
        struct log_record *l = log_new(slice_str("line"));
        l->time_ns = i;
        export_queues_log_sink(q)->emit(export_queues_log_sink(q), l);
    }
    assert_int_equal(export_queues_close(q, 2000), 0);
    assert_int_equal(fake.seen, SIGNAL_BIT(SIGNAL_LOGS));
    assert_int_equal(fake.sum, 700 * 699 / 2);
    assert_int_equal(ledger_get(logs_exported) - logs, 700);
    assert_int_equal(ledger_get(spans_exported), spans);

    q = begin_signal(SIGNAL_METRICS, OPTIONS(.delay_ms = 1), EXPORT_OK);
    for (u32 i = 1; i <= 5; i++)
        export_queues_metric_sink(q)->emit(export_queues_metric_sink(q), metrics_of(i * 10));
    assert_int_equal(export_queues_close(q, 2000), 0);
    assert_int_equal(fake.delivered, 5);
    assert_int_equal(fake.max_batch, 1);
    assert_int_equal(ledger_get(points_exported) - points, 150);
    assert_int_equal(metrics_alive, 0);
}

static void losses_are_counted_by_signal_and_cause(void **state)
{
    u64 auth = ledger_get(points_dropped_auth), queue = ledger_get(points_dropped_queue),
        nowhere = ledger_get(logs_dropped_nowhere);
    struct export_queues *q = begin_signal(SIGNAL_METRICS, OPTIONS(.delay_ms = 1), EXPORT_DROP);
    fake.cause = CAUSE_AUTH;
    export_queues_metric_sink(q)->emit(export_queues_metric_sink(q), metrics_of(7));
    assert_int_equal(export_queues_close(q, 2000), 7);
    assert_int_equal(ledger_get(points_dropped_auth) - auth, 7);
    assert_non_null(strstr(log_text, "7 metric points refused for good"));

    q = begin_signal(SIGNAL_LOGS, OPTIONS(.delay_ms = 1), EXPORT_DROP);
    fake.cause = CAUSE_NOWHERE;
    export_queues_log_sink(q)->emit(export_queues_log_sink(q), log_new(slice_str("line")));
    assert_int_equal(export_queues_close(q, 2000), 1);
    assert_int_equal(ledger_get(logs_dropped_nowhere) - nowhere, 1);

    q = begin_signal(SIGNAL_METRICS, OPTIONS(.delay_ms = 60000, .max_queue = 2, .max_batch = 2), EXPORT_OK);
    __atomic_store_n(&fake.slow_ms, 100, __ATOMIC_RELAXED);
    for (u32 i = 0; i < 10; i++)
        export_queues_metric_sink(q)->emit(export_queues_metric_sink(q), metrics_of(100));
    u64 lost = export_queues_close(q, 2000);
    assert_true(lost >= 600 && lost <= 800);
    assert_int_equal(ledger_get(points_dropped_queue) - queue, lost);
    assert_int_equal(metrics_alive, 0);
}

static u64 no_place(bool implied, enum signal signal, u64 *ret_counted)
{
    struct export_spec spec = { .kind = "fake", .target = "where", .signal = signal, .implied = implied };
    struct export_queue_options o = OPTIONS(.delay_ms = 1);
    struct export_queues *q;
    char err[200];
    u64 before = ledger_get(logs_dropped_nowhere);
    fake = (struct fake){ .answer = { EXPORT_DROP }, .n_answers = 1, .cause = CAUSE_NOWHERE };
    log_text[0] = 0;
    log_hook = hear;
    assert_int_equal(export_queues_new(&o, &q), 0);
    assert_int_equal(export_queues_add_exporter(q, &plain, &spec, err, sizeof(err)), 0);
    for (int i = 0; i < 5; i++) {
        export_queues_log_sink(q)->emit(export_queues_log_sink(q), log_new(slice_str("line")));
        usleep(20000);
    }
    u64 lost = export_queues_close(q, 1000);
    *ret_counted = ledger_get(logs_dropped_nowhere) - before;
    return lost;
}

static void a_signal_nobody_named_may_have_no_place(void **state)
{
    u64 counted;
    assert_int_equal(no_place(true, SIGNAL_LOGS, &counted), 0); /* not undelivered, but in the ledger */
    assert_int_equal(counted, 5);
    assert_int_equal(fake.sends, 1); /* it rests: not asked again for a minute */
    assert_non_null(strstr(log_text, "takes no log records"));
    assert_null(strstr(strstr(log_text, "takes no") + 1, "takes no"));
    assert_int_equal(no_place(false, SIGNAL_LOGS, &counted), 5);
    assert_int_equal(counted, 5);
    assert_true(fake.sends > 1 && strstr(log_text, "refused for good"));
}

static void what_an_exporter_does_not_carry_is_refused(void **state)
{
    struct export_queues *q;
    struct export_spec spec = { .kind = "console", .signal = SIGNAL_LOGS };
    char err[100] = "";
    export_queues_new(NULL, &q);
    assert_int_equal(export_queues_add(q, &spec, err, sizeof(err)), -EINVAL);
    assert_string_equal(err, "console does not carry logs");
    export_queues_close(q, 0);
}

static void a_failed_open_leaves_nothing(void **state)
{
    struct export_queues *q;
    struct export_spec spec = { .kind = "otlp-json", .target = "/nonexistent/dir/x" };
    char err[200] = "";
    export_queues_new(NULL, &q);
    assert_int_equal(export_queues_add(q, &spec, err, sizeof(err)), -ENOENT);
    assert_string_equal(err, "cannot write /nonexistent/dir/x: ENOENT");
    strcpy(spec.kind, "nope");
    assert_int_equal(export_queues_add(q, &spec, err, sizeof(err)), -EINVAL);
    assert_int_equal(export_queues_close(q, 0), 0);
    assert_int_equal(export_queues_close(NULL, 0), 0);
}

static void a_full_disk_is_counted_and_told(void **state)
{
    struct export_queues *q;
    struct export_spec spec = { .kind = "otlp-json", .target = "/dev/full" };
    char err[200] = "";
    log_text[0] = 0;
    log_hook = hear;
    export_queues_new(&OPTIONS(.delay_ms = 1), &q);
    assert_int_equal(export_queues_add(q, &spec, err, sizeof(err)), 0);
    put(q, 7);
    assert_int_equal(export_queues_close(q, 1000), 7);
    char *first = strstr(log_text, "cannot write /dev/full: ENOSPC (they are lost, later ones are tried");
    assert_non_null(first);
    assert_null(strstr(strchr(first, '\n'), "ENOSPC"));
}

static int after(void **state)
{
    log_hook = NULL;
    return 0;
}

#define TEST(f) cmocka_unit_test_teardown(f, after)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(everything_arrives_once_in_batches),
        TEST(a_span_waits_no_longer_than_told),
        TEST(a_receiver_that_comes_back_gets_everything),
        TEST(the_receivers_own_word_is_kept),
        TEST(the_receivers_own_word_is_not_waited_for_at_the_end),
        TEST(a_lasting_absence_is_counted_and_told_once),
        TEST(a_final_no_is_counted_and_the_next_batch_tried),
        TEST(partial_success_is_counted),
        TEST(a_full_queue_drops_the_newest_and_frees_them),
        TEST(the_deadline_holds),
        TEST(live_exporters_hear_starts_and_ticks),
        TEST(logs_and_metrics_go_their_own_ways),
        TEST(losses_are_counted_by_signal_and_cause),
        TEST(a_signal_nobody_named_may_have_no_place),
        TEST(what_an_exporter_does_not_carry_is_refused),
        TEST(a_failed_open_leaves_nothing),
        TEST(a_full_disk_is_counted_and_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
