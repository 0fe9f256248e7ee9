/* What single stages cost: the pipeline with its default redaction, head and tail sampling, the store, and the memory of 100,000 open
 * activities. One core, one thread.
 *
 *     make bench-stages                build/tests/bench/stages_bench open, stages or store: only that */
#include "pipeline/pipeline.h"
#include "store/store.h"
#include "trace/tracer.h"

#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SPANS 200000
#define BATCH 512
#define OPEN  100000

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

/* --- memory of what is open --- */

static u64 resident(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%*u %lu", &pages) != 1)
        pages = 0;
    if (f)
        fclose(f);
    return (u64)pages * (u64)sysconf(_SC_PAGESIZE);
}

static struct activity_start start_of(u32 i, enum span_kind kind, const char *scope, const char *name)
{
    return (struct activity_start){ .time = i + 1ull,
                                    .tgid = 100,
                                    .tid = 100,
                                    .unit = i + 1ull,
                                    .kind = kind,
                                    .scope = scope,
                                    .name = slice_str(name),
                                    .push = true };
}

/* As Celery's pack has it while it runs. */
static void task_open(struct tracer *t, u32 i)
{
    struct activity_start start = start_of(i, SPAN_CONSUMER, "celery", "shop.tasks.charge");
    char id[40];
    struct activity *a = activity_begin(t, &start);
    struct attr_set *to = &a->span->attrs;
    snprintf(id, sizeof(id), "%08x-1111-4222-8333-444455556666", i);
    attr_str(to, "wftrace.activity.type", slice_str("task"));
    attr_str(to, "code.function.name", slice_str("celery.app.trace.build_tracer.<locals>.trace_task"));
    attr_str(to, "celery.task", slice_str("shop.tasks.charge"));
    attr_str(to, "celery.task.id", slice_str(id));
    attr_str(to, "celery.root.id", slice_str(id));
    attr_str(to, "celery.parent.id", slice_str(id));
    attr_str(to, "celery.worker", slice_str("celery@worker-7f9c4d5b6-x2x7k"));
    attr_str(to, "messaging.destination.name", slice_str("celery"));
    attr_int(to, "wftrace.attempt", 1);
    attr_double(to, "wftrace.queue.wait", 0.25);
}

/* As an HTTP server's span is before its answer: what the message tells and, behind it, the connection. */
static void request_open(struct tracer *t, u32 i)
{
    struct attr v[8];
    char text[512];
    struct attr_set said = { .v = v, .max = ARRAY_LEN(v), .text = text, .text_max = sizeof(text) };
    struct activity_start start = start_of(i, SPAN_SERVER, "http1", "GET /orders/{id}");
    attr_str(&said, "http.request.method", slice_str("GET"));
    attr_str(&said, "url.path", slice_str("/orders/4711"));
    attr_str(&said, "http.route", slice_str("/orders/{id}"));
    attr_str(&said, "server.address", slice_str("orders.internal.example"));
    attr_str(&said, "user_agent.original", slice_str("python-httpx/0.27.0"));
    attr_str(&said, "network.protocol.version", slice_str("1.1"));
    start.attrs = &said;
    struct attr_set *to = &activity_begin(t, &start)->span->attrs;
    attr_str(to, "network.transport", slice_str("tcp"));
    attr_str(to, "network.type", slice_str("ipv4"));
    attr_str(to, "network.peer.address", slice_str("10.1.2.3"));
    attr_int(to, "network.peer.port", 43210);
    attr_int(to, "server.port", 8080);
    attr_str(to, "client.address", slice_str("10.1.2.3"));
    attr_int(to, "client.port", 43210);
    attr_str(to, "url.scheme", slice_str("http"));
}

/* In a process of its own, so that nothing is there from before. */
static void open_measure(const char *what, void (*one)(struct tracer *t, u32 i))
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid) {
        waitpid(pid, NULL, 0);
        return;
    }
    struct span_sink sink = { .ended = sink_ended };
    u64 before = resident();
    struct tracer *t = tracer_new(&(struct tracer_options){ .seed = { 1, 2 }, .max_open = OPEN }, &sink);
    u64 start = cpu_ns();
    for (u32 i = 0; i < OPEN; i++)
        one(t, i);
    u64 cpu = cpu_ns() - start, all = resident();
    printf("%u open %s: %.0f bytes each, %.1f MB resident in all; %.0f ns to open one\n", OPEN, what,
           (double)(all - before) / OPEN, (double)all / 1e6, (double)cpu / OPEN);
    fflush(stdout);
    _exit(0);
}

static void stages_measure(void)
{
    struct pipeline_options plain = { .keep_values = true }, redact = { 0 }, head = { .keep_values = true },
                            tail = { .keep_values = true };
    head.sampler.sampler = (struct sampler){ .kind = SAMPLER_TRACEIDRATIO, .parent_based = true, .ratio = 0.1 };
    tail.tail = (struct tail_options){ .enabled = true, .errors = true, .slow_ns = NSEC_PER_SEC, .ratio = 0.1 };
    through(NULL); /* warm */
    double base = through(NULL), p = through(&plain), r = through(&redact), h = through(&head), t = through(&tail);
    printf("making a span: %.0f ns; beyond that, a span: pipeline %.0f ns, redaction %.0f ns, head sampler 0.1 %.0f ns, tail "
           "%.0f ns\n",
           base, p - base, r - p, h - base, t - base);
}

int main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : "";
    span_pool_limit(4ull << 30);
    shop = resource_new();
    attr_str(&shop->attrs, "service.name", slice_str("shop"));
    if (!*only || !strcmp(only, "open")) {
        open_measure("tasks", task_open);
        open_measure("requests", request_open);
    }
    if (!*only || !strcmp(only, "stages"))
        stages_measure();
    if (!*only || !strcmp(only, "store"))
        store_measure();
    resource_unref(shop);
    return 0;
}
