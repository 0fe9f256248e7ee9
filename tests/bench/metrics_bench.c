/* What the metrics stage costs: ns a span for kinds of spans as the parsers make them, 50 series each in turn, and ms a
 * collection of 20,000 series.
 *     make build/tests/bench/metrics_bench && build/tests/bench/metrics_bench */
#include "pipeline/metrics.h"

#include <time.h>

#define SPANS  2000000
#define SHAPES 50

static u64 cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (u64)t.tv_sec * NSEC_PER_SEC + (u64)t.tv_nsec;
}

static struct metric_batch *last;
static void keep(struct metric_sink *sink, struct metric_batch *b)
{
    metric_batch_unref(last);
    last = b;
}
static struct metric_sink sink = { keep };

static struct span *span_of(struct resource *r, enum span_kind kind)
{
    static u64 id;
    struct span *s = span_new();
    id++;
    memset(s->id.trace_id, 0xab, TRACE_ID_LEN);
    memcpy(s->id.span_id, &id, SPAN_ID_LEN);
    s->id.flags = 1;
    s->kind = (u8)kind;
    s->resource = resource_ref(r);
    s->start_ns = 1700000000000000000ull;
    span_set_name(s, slice_str("GET /orders/{id}"));
    attr_str(&s->attrs, "network.transport", slice_str("tcp"));
    attr_str(&s->attrs, "network.type", slice_str("ipv4"));
    attr_str(&s->attrs, "network.peer.address", slice_str("127.0.0.1"));
    attr_int(&s->attrs, "network.peer.port", 40000);
    attr_str(&s->attrs, "server.address", slice_str("127.0.0.1"));
    attr_int(&s->attrs, "server.port", 8000);
    return s;
}

static void http(struct span *s, u32 shape)
{
    char route[32];
    snprintf(route, sizeof(route), "/orders/{id}/%u", shape);
    attr_str(&s->attrs, "http.request.method", slice_str("GET"));
    attr_str(&s->attrs, "wftrace.route", slice_str(route));
    attr_str(&s->attrs, "url.path", slice_str("/orders/42"));
    attr_str(&s->attrs, "url.scheme", slice_str("http"));
    attr_str(&s->attrs, "network.protocol.version", slice_str("1.1"));
    attr_str(&s->attrs, "user_agent.original", slice_str("curl/8"));
    attr_int(&s->attrs, "http.response.status_code", 200);
    attr_int(&s->attrs, "http.response.body.size", 1000);
}

static void database(struct span *s, u32 shape)
{
    char text[32];
    snprintf(text, sizeof(text), "SELECT table_%u", shape);
    attr_str(&s->attrs, "db.system.name", slice_str("postgresql"));
    attr_str(&s->attrs, "db.namespace", slice_str("shop"));
    attr_str(&s->attrs, "db.operation.name", slice_str("SELECT"));
    attr_str(&s->attrs, "db.collection.name", slice_str(text + 7));
    attr_str(&s->attrs, "db.query.summary", slice_str(text));
    attr_str(&s->attrs, "db.query.text", slice_str("SELECT * FROM t WHERE id = $1"));
}

static void activity(struct span *s, u32 shape)
{
    char name[32];
    snprintf(name, sizeof(name), "node %u", shape);
    span_set_name(s, slice_str(name));
    attr_str(&s->attrs, "wftrace.activity.type", slice_str("task"));
    attr_str(&s->attrs, "code.function.name", slice_str("shop.flow.run"));
}

static void run(const char *what, enum span_kind kind, void (*fill)(struct span *s, u32 shape))
{
    struct span *v[SHAPES];
    struct resource *r = resource_new();
    attr_str(&r->attrs, "service.name", slice_str("shop"));
    for (u32 i = 0; i < SHAPES; i++)
        fill(v[i] = span_of(r, kind), i);
    struct metrics *m = metrics_new(&(struct metrics_options){ .start_ns = 1, .push = true, .no_processes = true }, &sink);
    for (u32 i = 0; i < SHAPES; i++)
        metrics_span_ended(m, v[i]);
    u64 from = cpu_ns();
    for (u32 i = 0; i < SPANS; i++) {
        struct span *s = v[i % SHAPES];
        s->end_ns = s->start_ns + i % 1000000 * 1000;
        metrics_span_started(m, s);
        metrics_span_ended(m, s);
    }
    printf("%-24s %6.1f ns a span (%u series)\n", what, (double)(cpu_ns() - from) / SPANS, metrics_series(m));
    metrics_free(m);
    for (u32 i = 0; i < SHAPES; i++)
        span_unref(v[i]);
    resource_unref(r);
}

static void plain(struct span *s, u32 shape) {}

static void collection(void)
{
    struct resource *r = resource_new();
    struct metrics *m = metrics_new(
        &(struct metrics_options){ .start_ns = 1, .interval_ns = 1000, .push = true, .no_processes = true, .limits = { 100000 } },
        &sink);
    for (u32 i = 0; i < 100000; i++) {
        struct span *s = span_of(r, SPAN_SERVER);
        http(s, i);
        metrics_span_ended(m, s);
        span_unref(s);
    }
    u64 from = cpu_ns();
    metrics_tick(m, 1000000);
    printf("%-24s %6.1f ms (%u series of 100000 asked for)\n", "collection", (double)(cpu_ns() - from) / 1e6, metrics_series(m));
    metrics_free(m);
    resource_unref(r);
}

int main(void)
{
    run("no metric of its own", SPAN_INTERNAL, plain);
    run("HTTP server", SPAN_SERVER, http);
    run("HTTP client", SPAN_CLIENT, http);
    run("database client", SPAN_CLIENT, database);
    run("activity", SPAN_INTERNAL, activity);
    collection();
    metric_batch_unref(last);
    return 0;
}
