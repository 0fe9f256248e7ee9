/* Spans through queue, encoder, gzip and HTTP: CPU and time per span.
 *
 *     pipeline_bench sink                      answers 200 to every POST on 127.0.0.1; prints its port, then its CPU at the end of stdin
 *     pipeline_bench send URL SPANS GZIP SPOOL URL: http://… or grpc://…; GZIP: 0 none, 1 to 9; SPOOL: directory or -
 *
 * `send` prints one line of JSON: spans/s, CPU per span without the making of the span itself (measured in a run of its own with
 * nobody to send to), peak memory, what was delivered. The producer waits when the queue is half full: nothing is dropped. */
#include "export/exporter.h"
#include "self/ledger.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* --- the sink --- */

static void *serve(void *arg)
{
    int fd = (int)(intptr_t)arg;
    static __thread char buf[1 << 20];
    size_t n = 0;
    for (;;) {
        ssize_t got = read(fd, buf + n, sizeof(buf) - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
        buf[n] = 0;
        char *end = strstr(buf, "\r\n\r\n"), *length = strcasestr(buf, "content-length:");
        if (!end || !length)
            continue;
        size_t want = (size_t)atol(length + 15), have = n - (size_t)(end + 4 - buf);
        while (have < want && (got = read(fd, buf, sizeof(buf))) > 0)
            have += (size_t)got;
        static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n";
        if (write(fd, answer, sizeof(answer) - 1) < 0)
            break;
        n = 0;
    }
    close(fd);
    return NULL;
}

static double cpu_s(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) + (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec) / 1e6;
}

static int sink_main(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof(a);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    if (s < 0 || bind(s, (struct sockaddr *)&a, sizeof(a)) || listen(s, 16) || getsockname(s, (struct sockaddr *)&a, &len))
        return 1;
    printf("%u\n", ntohs(a.sin_port));
    fflush(stdout);
    for (;;) {
        struct pollfd p[] = { { .fd = s, .events = POLLIN }, { .fd = 0, .events = POLLIN } };
        if (poll(p, 2, -1) > 0 && p[1].revents)
            break;
        int fd = accept(s, NULL, NULL);
        pthread_t t;
        if (fd >= 0 && !pthread_create(&t, NULL, serve, (void *)(intptr_t)fd))
            pthread_detach(t);
    }
    printf("%.6f\n", cpu_s());
    return 0;
}

/* --- the load --- */

/* A server span of an HTTP request: 10 attributes, some 400 bytes in protobuf. */
static struct span *make_span(struct resource *r, u64 i)
{
    struct span *s = span_new();
    char path[64];
    if (!s)
        return NULL;
    u64 id[3] = { hash_u64(i / 5 + 1), hash_u64(i / 5 + 2), hash_u64(i + 3) };
    memcpy(s->id.trace_id, id, TRACE_ID_LEN);
    memcpy(s->id.span_id, &id[2], SPAN_ID_LEN);
    s->id.flags = 1;
    s->kind = SPAN_SERVER;
    s->join = JOIN_WIRE;
    s->start_ns = 1700000000000000000ull + i * 1000;
    s->end_ns = s->start_ns + hash_u64(i) % 50000000;
    s->scope = "http1";
    s->resource = resource_ref(r);
    span_set_name(s, slice_str("POST /orders/{id}"));
    snprintf(path, sizeof(path), "/orders/%llu", (unsigned long long)(hash_u64(i) % 100000));
    attr_str(&s->attrs, "http.request.method", slice_str("POST"));
    attr_str(&s->attrs, "url.path", slice_str(path));
    attr_str(&s->attrs, "url.scheme", slice_str("http"));
    attr_str(&s->attrs, "server.address", slice_str("orders.internal"));
    attr_int(&s->attrs, "server.port", 8080);
    attr_str(&s->attrs, "client.address", slice_str("10.1.2.3"));
    attr_int(&s->attrs, "http.response.status_code", i % 50 ? 201 : 500);
    attr_str(&s->attrs, "network.protocol.version", slice_str("1.1"));
    attr_str(&s->attrs, "user_agent.original", slice_str("python-httpx/0.27.0"));
    attr_int(&s->attrs, "http.response.body.size", (s64)(hash_u64(i) % 4000));
    return s;
}

static struct resource *make_resource(void)
{
    struct resource *r = resource_new();
    attr_str(&r->attrs, "service.name", slice_str("orders"));
    attr_str(&r->attrs, "host.name", slice_str("host-1"));
    attr_int(&r->attrs, "process.pid", 4242);
    return r;
}

struct run {
    double cpu, wall;
};

static struct run run_spans(struct export_queues *q, u64 n)
{
    struct resource *r = make_resource();
    struct span_sink *sink = export_queues_sink(q);
    double cpu = cpu_s();
    u64 start = clock_boot_ns();
    for (u64 i = 0; i < n; i++) {
        struct span *s = make_span(r, i);
        if (s)
            sink->ended(sink, s);
        while (!(i % 256) && export_queues_waiting(q, SIGNAL_TRACES) > 4096)
            usleep(200);
    }
    export_queues_close(q, 60000);
    resource_unref(r);
    return (struct run){ cpu_s() - cpu, (double)(clock_boot_ns() - start) / 1e9 };
}

static int send_main(const char *url, u64 n, int gzip, const char *spool)
{
    char text[300], err[300] = "";
    struct export_spec spec;
    struct export_queues *q;
    struct export_queue_options o = { .spool.dir = strcmp(spool, "-") ? spool : NULL };
    snprintf(text, sizeof(text), "otlp=%s", url);
    if (export_spec_parse(text, SIGNAL_TRACES, &spec, err, sizeof(err)) || export_queues_new(NULL, &q))
        return fprintf(stderr, "%s\n", err), 1;
    struct run bare = run_spans(q, n);
    spec.compression = gzip ? "gzip" : "none";
    spec.gzip_level = (u8)gzip;
    if (export_queues_new(&o, &q) || export_queues_add(q, &spec, err, sizeof(err)))
        return fprintf(stderr, "%s\n", err), 1;
    struct run full = run_spans(q, n);
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    printf("{\"spans\": %llu, \"delivered\": %llu, \"per_s\": %.0f, \"cpu_us\": %.3f, \"per_core_s\": %.0f, \"make_us\": %.3f, "
           "\"peak_mb\": "
           "%.1f}\n",
           (unsigned long long)n, (unsigned long long)ledger_get(spans_exported), (double)n / full.wall,
           (full.cpu - bare.cpu) * 1e6 / (double)n, (double)n / full.cpu, bare.cpu * 1e6 / (double)n, (double)r.ru_maxrss / 1024);
    return ledger_get(spans_exported) != n;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "sink"))
        return sink_main();
    if (argc == 6 && !strcmp(argv[1], "send"))
        return send_main(argv[2], strtoull(argv[3], NULL, 10), atoi(argv[4]), argv[5]);
    fprintf(stderr, "usage: pipeline_bench sink | send URL SPANS GZIP SPOOL\n");
    return 2;
}
