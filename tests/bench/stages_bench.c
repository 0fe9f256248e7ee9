/* What single stages cost: the pipeline with its default redaction, head and tail sampling, and the store. One core, one thread.
 *
 *     make bench-stages */
#include "pipeline/pipeline.h"
#include "store/store.h"

#include <time.h>
#include <unistd.h>

#define SPANS 200000
#define BATCH 512

static struct resource *shop;
static u64 ended;

static u64 cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (u64)t.tv_sec * NSEC_PER_SEC + (u64)t.tv_nsec;
}

/* A server's span as HTTP makes it: eleven attributes, two of them short numbers. */
static struct span *span_made(u32 i)
{
    struct span *s = span_new();
    u64 random[3] = { hash_u64(i + 1), hash_u64(i + 7777777), hash_u64(i + 99) };
    memcpy(s->id.trace_id, random, TRACE_ID_LEN);
    memcpy(s->id.span_id, random + 2, SPAN_ID_LEN);
    s->id.flags = 1;
    s->kind = SPAN_SERVER;
    s->scope = "http1";
    s->start_ns = 1700000000ull * NSEC_PER_SEC + i * 1000ull;
    s->resource = resource_ref(shop);
    span_set_name(s, slice_str("GET /orders/{id}"));
    attr_str(&s->attrs, "http.request.method", slice_str("GET"));
    attr_str(&s->attrs, "url.path", slice_str("/orders/4711"));
    attr_str(&s->attrs, "http.route", slice_str("/orders/{id}"));
    attr_int(&s->attrs, "http.response.status_code", 200);
    attr_str(&s->attrs, "network.peer.address", slice_str("10.1.2.3"));
    attr_int(&s->attrs, "network.peer.port", 43210);
    attr_str(&s->attrs, "server.address", slice_str("orders.internal.example"));
    attr_str(&s->attrs, "user_agent.original", slice_str("Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0"));
    attr_str(&s->attrs, "url.scheme", slice_str("https"));
    attr_str(&s->attrs, "wftrace.parent.by", slice_str("root"));
    attr_str(&s->attrs, "db.query.text", slice_str("SELECT id, total FROM orders WHERE customer = $1 AND state = $2"));
    return s;
}

static void sink_ended(struct span_sink *sink, struct span *s)
{
    ended++;
    span_unref(s);
}

static double through(const struct pipeline_options *o)
{
    struct span_sink sink = { .ended = sink_ended };
    struct pipeline *p = NULL;
    char err[256];
    if (o && pipeline_new(o, &sink, NULL, NULL, &p, err, sizeof(err))) {
        fprintf(stderr, "%s\n", err);
        exit(1);
    }
    ended = 0;
    u64 start = cpu_ns();
    for (u32 i = 0; i < SPANS; i++) {
        struct span *s = span_made(i);
        if (p)
            pipeline_spans(p)->started(pipeline_spans(p), s);
        s->end_ns = s->start_ns + NSEC_PER_MSEC;
        if (p)
            pipeline_spans(p)->ended(pipeline_spans(p), s);
        else
            sink_ended(&sink, s);
        if (p && i % 4096 == 0)
            pipeline_tick(p, s->end_ns + 3 * NSEC_PER_SEC, SPANS);
    }
    pipeline_free(p);
    return (double)(cpu_ns() - start) / SPANS;
}

static void store_measure(void)
{
    char path[] = "/tmp/wf-bench-XXXXXX", err[512];
    struct store *s = NULL;
    struct span *v[BATCH];
    close(mkstemp(path));
    if (store_open(&(struct store_options){ .path = path, .max_bytes = 4ull << 30 }, &s, err, sizeof(err))) {
        fprintf(stderr, "%s\n", err);
        exit(1);
    }
    u64 wall = 0, cpu = 0;
    for (u32 i = 0; i < SPANS; i += BATCH) {
        for (u32 k = 0; k < BATCH; k++) {
            v[k] = span_made(i + k);
            memcpy(v[k]->id.trace_id, &(u64[]){ hash_u64((i + k) / 5), 1 }, TRACE_ID_LEN); /* five to a trace */
            v[k]->end_ns = v[k]->start_ns + NSEC_PER_MSEC;
        }
        u64 a = clock_boot_ns(), b = cpu_ns();
        if (store_add_spans(s, v, BATCH)) {
            fprintf(stderr, "%s\n", store_why(s));
            exit(1);
        }
        store_trim(s, v[0]->start_ns);
        wall += clock_boot_ns() - a, cpu += cpu_ns() - b;
        for (u32 k = 0; k < BATCH; k++)
            span_unref(v[k]);
    }
    printf("store: %.0f spans/s, %.2f us CPU a span, %.0f bytes a span\n", SPANS / ((double)wall / 1e9),
           (double)cpu / SPANS / 1e3, (double)store_bytes(s) / SPANS);
    store_close(s);
    unlink(path);
    char side[64];
    snprintf(side, sizeof(side), "%s-wal", path);
    unlink(side);
    snprintf(side, sizeof(side), "%s-shm", path);
    unlink(side);
}

int main(void)
{
    shop = resource_new();
    attr_str(&shop->attrs, "service.name", slice_str("shop"));
    struct pipeline_options plain = { .keep_values = true }, redact = { 0 }, head = { .keep_values = true },
                            tail = { .keep_values = true };
    head.sampler.sampler = (struct sampler){ .kind = SAMPLER_TRACEIDRATIO, .parent_based = true, .ratio = 0.1 };
    tail.tail = (struct tail_options){ .enabled = true, .errors = true, .slow_ns = NSEC_PER_SEC, .ratio = 0.1 };
    span_pool_limit(SPANS);
    through(NULL); /* warm */
    double base = through(NULL), p = through(&plain), r = through(&redact), h = through(&head), t = through(&tail);
    printf("making a span: %.0f ns; beyond that, a span: pipeline %.0f ns, redaction %.0f ns, head sampler 0.1 %.0f ns, tail "
           "%.0f ns\n",
           base, p - base, r - p, h - base, t - base);
    store_measure();
    resource_unref(shop);
    return 0;
}
