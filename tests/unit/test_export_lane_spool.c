/* needs: base self trace stream protocol ingest export store gen */
/* A lane with a spool: order, outage, restart, a disk that fills up, the end. The receiver is a function; the spool is real. */
#include "export/exporter.h"
#include "base/log.h"
#include "self/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static struct {
    u32 body[600], n_body;
    bool away; /* atomic */
    u32 asked, delivered, last, wrong_order, refuse;
    u64 after_ms; /* the receiver's own word; atomic */
} fake;

static int fake_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    *ret = &fake;
    return 0;
}

/* A body is the numbers of its spans. */
static int fake_encode(void *self, const struct batch *b, struct slice *ret)
{
    fake.n_body = 0;
    for (size_t i = 0; i < b->n; i++)
        fake.body[fake.n_body++] = b->spans[i]->tid;
    *ret = slice_of(fake.body, fake.n_body * sizeof(u32));
    return 0;
}

static enum export_result fake_deliver(void *self, struct slice body, const u64 *stop_at, struct export_reply *ret)
{
    __atomic_fetch_add(&fake.asked, 1, __ATOMIC_RELEASE);
    if (__atomic_load_n(&fake.away, __ATOMIC_ACQUIRE)) {
        snprintf(ret->why, sizeof(ret->why), "away");
        ret->after_ms = __atomic_load_n(&fake.after_ms, __ATOMIC_ACQUIRE);
        return EXPORT_RETRY;
    }
    for (size_t i = 0; i < body.n / sizeof(u32); i++) {
        u32 k;
        memcpy(&k, body.p + i * sizeof(k), sizeof(k));
        fake.wrong_order += k != fake.last + 1;
        fake.last = k;
        __atomic_fetch_add(&fake.delivered, 1, __ATOMIC_RELEASE);
    }
    ret->refused = fake.refuse;
    return EXPORT_OK;
}

static void fake_close(void *self) {}

static const struct exporter receiver = {
    .name = "fake", .help = "", .open = fake_open, .encode = fake_encode, .deliver = fake_deliver, .close = fake_close
};

static char dir[64], log_text[8192];
static u32 next_span, retry_for_ms;
static void hear(const char *line) { strncat(log_text, line, sizeof(log_text) - strlen(log_text) - 1); }

static int setup(void **state)
{
    memset(&fake, 0, sizeof(fake));
    log_text[0] = 0;
    log_hook = hear;
    next_span = retry_for_ms = 0;
    strcpy(dir, "/tmp/wf-lane-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}
static int teardown(void **state)
{
    char line[200];
    log_hook = NULL;
    snprintf(line, sizeof(line), "umount -l %s 2>/dev/null; rm -rf %s", dir, dir);
    return system(line);
}

static struct export_queues *begin(struct spool_options s)
{
    struct export_queues *q;
    struct export_queue_options o = { .lane[0] = { .delay_ms = 5, .max_batch = 10, .retry_for_ms = retry_for_ms }, .spool = s };
    struct export_spec spec = { .kind = "fake", .target = "http://sink" };
    char err[300];
    o.spool.dir = dir;
    assert_int_equal(export_queues_new(&o, &q), 0);
    if (export_queues_add_exporter(q, &receiver, &spec, err, sizeof(err)))
        fail_msg("%s", err);
    return q;
}

static void put(struct export_queues *q, u32 n)
{
    for (u32 i = 0; i < n; i++) {
        struct span *s = span_new();
        s->tid = ++next_span;
        export_queues_sink(q)->ended(export_queues_sink(q), s);
    }
}

static void wait_for(const u32 *what, u32 least)
{
    for (int i = 0; i < 600 && __atomic_load_n(what, __ATOMIC_ACQUIRE) < least; i++)
        usleep(5000);
    assert_true(__atomic_load_n(what, __ATOMIC_ACQUIRE) >= least);
}

static void a_well_receiver_gets_all_at_once(void **state)
{
    struct export_queues *q = begin((struct spool_options){ 0 });
    u64 start = clock_boot_ns(), spooled = ledger_get(spans_spooled), sent = ledger_get(spans_exported);
    put(q, 25);
    wait_for(&fake.delivered, 25);
    assert_true(clock_boot_ns() - start < NSEC_PER_SEC); /* nobody waits for a timer */
    put(q, 1000);
    assert_int_equal(export_queues_close(q, 5000), 0);
    assert_int_equal(fake.delivered, 1025);
    assert_int_equal(fake.wrong_order, 0);
    assert_int_equal(ledger_get(spans_spooled) - spooled, 1025);
    assert_int_equal(ledger_get(spans_exported) - sent, 1025);
    assert_string_equal(log_text, "");
}

static void an_outage_is_waited_out_on_disk(void **state)
{
    struct export_queues *q = begin((struct spool_options){ 0 });
    __atomic_store_n(&fake.away, true, __ATOMIC_RELEASE);
    u64 queue = ledger_get(spans_dropped_queue);
    for (int i = 0; i < 40; i++) { /* 20,000 spans: far more than the ring has room for */
        put(q, 500);
        usleep(2000);
    }
    wait_for(&fake.asked, 2);
    __atomic_store_n(&fake.away, false, __ATOMIC_RELEASE);
    assert_int_equal(export_queues_close(q, 20000), 0);
    assert_int_equal(fake.delivered, 20000);
    assert_int_equal(fake.wrong_order, 0);
    assert_int_equal(ledger_get(spans_dropped_queue), queue);
    assert_non_null(strstr(log_text, "cannot reach http://sink: away"));
    assert_non_null(strstr(log_text, "reached http://sink again"));
}

static void the_next_start_sends_the_rest_first(void **state)
{
    u64 recovered = ledger_get(spans_recovered), lost = ledger_get(spans_dropped_unreachable);
    struct export_queues *q = begin((struct spool_options){ 0 });
    __atomic_store_n(&fake.away, true, __ATOMIC_RELEASE);
    put(q, 300);
    u64 start = clock_boot_ns();
    assert_int_equal(export_queues_close(q, 300), 0); /* kept is not lost */
    assert_true(clock_boot_ns() - start < 1500 * NSEC_PER_MSEC);
    assert_non_null(strstr(log_text, "300 spans stay in the spool for the next start"));
    assert_int_equal(fake.delivered, 0);
    q = begin((struct spool_options){ 0 });
    __atomic_store_n(&fake.away, false, __ATOMIC_RELEASE);
    put(q, 100);
    assert_int_equal(export_queues_close(q, 5000), 0);
    assert_int_equal(fake.delivered, 400);
    assert_int_equal(fake.wrong_order, 0);
    assert_int_equal(ledger_get(spans_recovered) - recovered, 300);
    assert_int_equal(ledger_get(spans_dropped_unreachable), lost);
}

/* What waits on disk has time: a receiver that wants to be asked later than memory would wait is asked then. */
static void a_long_pause_ends_nothing(void **state)
{
    retry_for_ms = 1;
    struct export_queues *q = begin((struct spool_options){ 0 });
    __atomic_store_n(&fake.away, true, __ATOMIC_RELEASE);
    put(q, 30);
    wait_for(&fake.asked, 2);
    __atomic_store_n(&fake.after_ms, 3600000, __ATOMIC_RELEASE);
    wait_for(&fake.asked, 3);
    u64 start = clock_boot_ns();
    assert_int_equal(export_queues_close(q, 300), 0);
    assert_true(clock_boot_ns() - start < 5 * NSEC_PER_SEC); /* the end waits for no receiver's hour */
    assert_non_null(strstr(log_text, "30 spans stay in the spool for the next start"));
}

static void the_budget_holds_and_the_oldest_go(void **state)
{
    u64 full = ledger_get(spans_dropped_spool_full);
    struct export_queues *q = begin((struct spool_options){ .max_bytes = 8000, .segment_bytes = 1000 });
    __atomic_store_n(&fake.away, true, __ATOMIC_RELEASE);
    put(q, 3000);
    wait_for(&fake.asked, 1);
    for (int i = 0; i < 600 && export_queues_waiting(q, SIGNAL_TRACES); i++)
        usleep(5000);
    __atomic_store_n(&fake.away, false, __ATOMIC_RELEASE);
    u64 lost = export_queues_close(q, 10000), told = ledger_get(spans_dropped_spool_full) - full;
    assert_true(told > 1000 && lost == told);
    assert_int_equal(fake.last, 3000);
    assert_int_equal(fake.delivered + told, 3000);
    assert_non_null(strstr(log_text, "dropped: the spool is full"));
}

static void a_full_disk_falls_back_to_memory(void **state)
{
    char line[200];
    snprintf(line, sizeof(line), "mount -t tmpfs -o size=12k tmpfs %s 2>/dev/null", dir);
    if (system(line))
        skip();
    struct export_queues *q = begin((struct spool_options){ .segment_bytes = 1 << 20 });
    __atomic_store_n(&fake.away, true, __ATOMIC_RELEASE);
    put(q, 5000);
    for (int i = 0; i < 600 && !strstr(log_text, "ENOSPC"); i++)
        usleep(5000);
    assert_non_null(strstr(log_text, "can't be kept in the spool: ENOSPC"));
    __atomic_store_n(&fake.away, false, __ATOMIC_RELEASE);
    assert_int_equal(export_queues_close(q, 20000), 0);
    assert_int_equal(fake.delivered, 5000);
    assert_int_equal(fake.wrong_order, 0);
}

static void partial_success_is_counted_from_the_spool_too(void **state)
{
    u64 partial = ledger_get(spans_dropped_partial), sent = ledger_get(spans_exported);
    struct export_queues *q = begin((struct spool_options){ 0 });
    fake.refuse = 1; /* of each batch; a busy machine makes more than one */
    put(q, 10);
    u64 lost = export_queues_close(q, 2000);
    assert_int_equal(lost, fake.asked);
    assert_int_equal(ledger_get(spans_dropped_partial) - partial, fake.asked);
    assert_int_equal(ledger_get(spans_exported) - sent, 10 - fake.asked);
}

static void options_are_read(void **state)
{
    static const struct {
        const char *text;
        int code;
        u64 bytes, age_s;
        enum spool_fsync fsync;
    } rows[] = {
        { "/v", 0, 0, 0, SPOOL_FSYNC_NEVER },
        { "/v,max=2GB,age=3h,fsync=always", 0, 2ull << 30, 3 * 3600, SPOOL_FSYNC_ALWAYS },
        { "/v,max=64k,fsync=segment", 0, 65536, 0, SPOOL_FSYNC_SEGMENT },
        { "", -EINVAL, 0, 0, 0 },
        { "/v,max=0", -EINVAL, 0, 0, 0 },
        { "/v,max=9x", -EINVAL, 0, 0, 0 },
        { "/v,max=99999999999999999999GB", -EINVAL, 0, 0, 0 },
        { "/v,fsync=often", -EINVAL, 0, 0, 0 },
        { "/v,size=1", -EINVAL, 0, 0, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[100], err[200] = "";
        struct spool_options o = { 0 };
        strcpy(text, rows[i].text);
        assert_int_equal(export_spool_parse(text, &o, err, sizeof(err)), rows[i].code);
        assert_true(o.max_bytes == rows[i].bytes && o.max_age_ns == rows[i].age_s * NSEC_PER_SEC && o.fsync == rows[i].fsync);
        assert_int_equal(!*err, !rows[i].code);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_well_receiver_gets_all_at_once),
        TEST(an_outage_is_waited_out_on_disk),
        TEST(the_next_start_sends_the_rest_first),
        TEST(a_long_pause_ends_nothing),
        TEST(the_budget_holds_and_the_oldest_go),
        TEST(a_full_disk_falls_back_to_memory),
        TEST(partial_success_is_counted_from_the_spool_too),
        TEST(options_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
