/* Memory that runs out on the way out: lanes, encoders, spool and files are run again and again, with the first allocation failing,
 * then the second, and so on: that one alone, and that one with all after it. Nothing may crash or leak, and nothing may be lost
 * silently: what was handed in is delivered, counted as lost, or waits in the spool. Linked with --wrap, under ASan and UBSan. */
#include "export/lines.h"
#include "export/secret.h"
#include "export/spool.h"
#include "export/transport.h"
#include "base/log.h"
#include "self/ledger.h"
#include "tests/fuzz/starve.h"

#include <unistd.h>

#define SPANS 40
static struct span *spans[SPANS];
static struct log_record *logs[SPANS];
static char dir[] = "/tmp/wf-alloc-XXXXXX";

static void items_make(void)
{
    for (u32 i = 0; i < SPANS; i++) {
        struct resource *r = resource_new();
        struct slice argv[] = { slice_str("a"), slice_str("b") };
        attr_str(&r->attrs, "service.name", slice_str(i % 2 ? "one" : "two"));
        spans[i] = span_new();
        span_set_name(spans[i], slice_str("x"));
        attr_strv(&spans[i]->attrs, "argv", argv, 2);
        span_add_exception(spans[i], 1, slice_str("E"), slice_str("m"), slice_str("s"));
        span_set_error(spans[i], slice_str("no"));
        spans[i]->resource = resource_ref(r);
        logs[i] = log_new(slice_str("line"));
        logs[i]->resource = r;
    }
}

/* --- a receiver in memory, with the real encoder and real JSON --- */

static struct {
    struct encoder *encoder;
    u64 delivered;
} receiver;

static int receiver_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    receiver.encoder = encoder_new();
    snprintf(err, err_size, "no memory");
    *ret = &receiver;
    return receiver.encoder ? 0 : -ENOMEM;
}
static int receiver_encode(void *self, const struct batch *b, struct slice *ret)
{
    int e = encoder_pack(receiver.encoder, b, 1, ret);
    if (!e)
        *(u8 *)(uintptr_t)ret->p = (u8)b->n;
    return e;
}
static enum export_result receiver_deliver(void *self, struct slice body, const u64 *stop_at, struct export_reply *ret)
{
    __atomic_add_fetch(&receiver.delivered, body.p[0], __ATOMIC_RELAXED);
    return EXPORT_OK;
}
static void receiver_close(void *self) { receiver.encoder = encoder_free(receiver.encoder); }
static const struct exporter in_memory = { .name = "memory",
                                           .signals = SIGNAL_ALL,
                                           .open = receiver_open,
                                           .encode = receiver_encode,
                                           .deliver = receiver_deliver,
                                           .close = receiver_close };

static void push(struct export_queues *q, enum signal signal)
{
    for (u32 i = 0; i < SPANS; i++)
        if (signal == SIGNAL_TRACES)
            export_queues_sink(q)->ended(export_queues_sink(q), span_ref(spans[i]));
        else
            export_queues_log_sink(q)->emit(export_queues_log_sink(q), log_ref(logs[i]));
}

static bool lane_starves(enum signal signal, bool spool, bool *ret_more, u32 n, bool for_good)
{
    struct export_queue_options o = { .lane[0] = { .delay_ms = 1, .max_batch = 10, .retry_for_ms = 30 },
                                      .spool.dir = spool ? dir : NULL };
    struct export_spec spec = { .kind = "memory", .target = "here", .signal = signal };
    struct export_queues *q = NULL;
    char err[200] = "";
    o.lane[1] = o.lane[0];
    receiver.delivered = 0;
    memory_arm(n, for_good);
    int e = export_queues_new(&o, &q);
    if (!e)
        e = export_queues_add_exporter(q, &in_memory, &spec, err, sizeof(err));
    if (!e)
        push(q, signal);
    if (for_good)
        usleep(3000);
    if (spool) /* what can't be encoded is tried again for a while: memory is back by then */
        memory_disarm();
    u64 lost = export_queues_close(q, 1000);
    *ret_more = memory.failed;
    memory_disarm();
    bool ok = e ? e == -ENOMEM : lost + receiver.delivered == SPANS;
    if (!ok)
        printf("lane %d%s, allocation %u: %d, %llu delivered, %llu lost\n", signal, spool ? " with spool" : "", n, e,
               (unsigned long long)receiver.delivered, (unsigned long long)lost);
    return ok;
}

/* --- the rest, one call at a time --- */

static bool json_starves(bool *ret_more, u32 n, bool for_good)
{
    struct json j = { .max = 1 << 20 };
    struct grouping g = { 0 };
    struct batch b = { .spans = spans, .n = SPANS }, l = { .logs = logs, .n = SPANS, .signal = SIGNAL_LOGS };
    memory_arm(n, for_good);
    int e = json_otlp(&j, &g, &b);
    if (!e)
        e = json_otlp(&j, &g, &l);
    memory_disarm();
    *ret_more = memory.failed;
    json_done(&j);
    grouping_done(&g);
    return *ret_more ? e == -ENOMEM : !e;
}

static void on_lost(void *arg, enum export_cause cause, u64 items) { UNUSED(arg); }

static bool spool_starves(bool *ret_more, u32 n, bool for_good)
{
    struct spool_options o = { .dir = dir, .segment_bytes = 300 };
    struct spool *s = NULL;
    struct spool_record r;
    struct spool_state st;
    char err[200] = "";
    u32 kept = 0, sent = 0;
    memory_arm(n, for_good);
    int e = spool_open(&o, "starved", on_lost, NULL, &s, err, sizeof(err));
    for (u32 i = 0; !e && i < 10; i++)
        kept += !spool_append(s, slice_str("a body of a request, of some length, that is kept"), 1);
    for (int k = 0; !e && (k = spool_next(s, &r)) == 1; sent++)
        spool_done(s, &r);
    memory_disarm();
    *ret_more = memory.failed;
    if (e)
        return *err && e < 0;
    for (; spool_next(s, &r) == 1; sent++) /* with memory again, the rest */
        spool_done(s, &r);
    spool_state(s, &st);
    bool ok = sent == kept && !st.records;
    spool_close(s);
    return ok;
}

static bool exporters_starve(bool *ret_more, u32 n, bool for_good)
{
    static const char *const texts[] = { "otlp=http://127.0.0.1:9", "otlp=grpc://127.0.0.1:9", "zipkin=http://127.0.0.1:9",
                                         "otlp-json:/dev/null" };
    bool ok = true;
    *ret_more = false;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct export_spec spec;
        struct batch b = { .spans = spans, .n = SPANS };
        struct export_reply r = { 0 };
        char err[300] = "";
        void *self = NULL;
        if (export_spec_parse(texts[i], SIGNAL_TRACES, &spec, err, sizeof(err)))
            return false;
        spec.headers = "a=b,c=${base64:x}";
        spec.compression = "gzip";
        const struct exporter *x = exporter_by_name(spec.kind);
        memory_arm(n, for_good);
        int e = x->open(&spec, &self, err, sizeof(err));
        enum export_result result = e ? EXPORT_DROP : exporter_send(x, self, &b, &r);
        memory_disarm();
        *ret_more |= memory.failed;
        ok = ok && (e ? *err != 0 : result == EXPORT_OK || r.why[0]);
        if (!e)
            x->close(self);
    }
    return ok;
}

static bool spans_lane(bool *more, u32 n, bool for_good) { return lane_starves(SIGNAL_TRACES, false, more, n, for_good); }
static bool logs_lane(bool *more, u32 n, bool for_good) { return lane_starves(SIGNAL_LOGS, false, more, n, for_good); }
static bool spool_lane(bool *more, u32 n, bool for_good) { return lane_starves(SIGNAL_TRACES, true, more, n, for_good); }

int main(void)
{
    char line[100];
    log_level = LOG_ERROR;
    if (!mkdtemp(dir))
        return 1;
    items_make();
    each("json", json_starves);
    each("spool", spool_starves);
    each("exporters", exporters_starve);
    each("lane of spans", spans_lane);
    each("lane of logs", logs_lane);
    each("lane with a spool", spool_lane);
    for (u32 i = 0; i < SPANS; i++) {
        span_unref(spans[i]);
        log_unref(logs[i]);
    }
    snprintf(line, sizeof(line), "rm -rf %s", dir);
    failed += system(line) != 0;
    printf("allocexport: %u passed, %u failed\n", passed, failed);
    return failed > 0;
}
