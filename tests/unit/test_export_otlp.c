/* needs: base self trace stream protocol ingest export store gen */
/* OTLP over real sockets against tests/support/sink.py, which misbehaves as told. The gRPC half needs a Python with grpcio:
 * Debian's python3-grpcio will do, WF_PYTHON may name another one; without any those tests are skipped, visibly. */
#include "export/exporter.h"
#include "base/log.h"
#include "self/ledger.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

extern const struct exporter exporter_otlp_http, exporter_otlp_grpc;

struct sink {
    pid_t pid;
    int in;
    unsigned http, grpc;
    char dir[32];
};

static bool has_grpc(const char *py)
{
    char line[300];
    snprintf(line, sizeof(line), "%s -c 'import grpc' 2>/dev/null", py);
    return system(line) == 0;
}

/* A Python that has grpcio when there is one: the named one, the default, the system's. */
static const char *python(void)
{
    static const char *found;
    const char *const tries[] = { getenv("WF_PYTHON"), "python3", "/usr/bin/python3" };
    for (size_t i = 0; i < ARRAY_LEN(tries) && !found; i++)
        if (tries[i] && *tries[i] && has_grpc(tries[i]))
            found = tries[i];
    return found ? found : "python3";
}

static bool have_grpc(void) { return has_grpc(python()); }

/* args: everything after the directory, NULL-terminated. */
static struct sink sink_start(const char *const *args)
{
    struct sink s = { .dir = "/tmp/wf-sink-XXXXXX" };
    const char *argv[24] = { python(), "tests/support/sink.py", "--dir", s.dir };
    int in[2], out[2], n = 4;
    char line[200] = "";
    while (*args)
        argv[n++] = *args++;
    assert_non_null(mkdtemp(s.dir));
    assert_int_equal(pipe(in) | pipe(out), 0);
    s.pid = fork();
    if (!s.pid) {
        dup2(in[0], 0), dup2(out[1], 1);
        close(in[1]), close(out[0]);
        execvp(argv[0], (char **)(uintptr_t)argv);
        _exit(127);
    }
    close(in[0]), close(out[1]);
    s.in = in[1];
    FILE *f = fdopen(out[0], "r");
    assert_non_null(fgets(line, sizeof(line), f));
    fclose(f);
    char *http = strstr(line, "\"http\": "), *grpc = strstr(line, "\"grpc\": ");
    s.http = http ? (unsigned)atoi(http + 8) : 0;
    s.grpc = grpc ? (unsigned)atoi(grpc + 8) : 0;
    return s;
}

static void sink_stop(struct sink *s)
{
    char line[100];
    close(s->in);
    waitpid(s->pid, NULL, 0);
    snprintf(line, sizeof(line), "rm -rf %s", s->dir);
    assert_int_equal(system(line), 0);
}

/* What the sink saw, as its own JSON lines. */
static char *sink_log(const struct sink *s)
{
    char path[100], *text = NULL;
    snprintf(path, sizeof(path), "%s/requests.jsonl", s->dir);
    assert_int_equal(read_small_file(path, 1 << 20, &text, NULL), 0);
    return text;
}

#define SPANS 50
static struct span *spans[SPANS];

static void spans_make(void)
{
    struct resource *r = resource_new();
    attr_str(&r->attrs, "service.name", slice_str("orders"));
    for (u32 i = 0; i < SPANS; i++) {
        struct span *s = spans[i] = span_new();
        memset(s->id.trace_id, 1, TRACE_ID_LEN);
        memset(s->id.span_id, (int)i + 1, SPAN_ID_LEN);
        s->kind = SPAN_SERVER;
        span_set_name(s, slice_str("GET /orders"));
        attr_str(&s->attrs, "url.path", slice_str("/orders/a-rather-long-path-that-compresses-well"));
        s->resource = resource_ref(r);
    }
    resource_unref(r);
}

static struct export_spec spec_for(bool grpc, bool tls, unsigned port)
{
    struct export_spec s = { .timeout_ms = 3000 };
    if (grpc)
        snprintf(s.target, sizeof(s.target), "grpc%s://127.0.0.1:%u", tls ? "s" : "", port);
    else
        snprintf(s.target, sizeof(s.target), "http%s://127.0.0.1:%u/v1/traces", tls ? "s" : "", port);
    return s;
}

struct outcome {
    enum export_result result;
    struct export_reply reply;
};

static struct outcome send_once(const struct exporter *x, void *self, const u64 *stop_at)
{
    struct outcome o = { 0 };
    struct batch b = { .spans = spans, .n = SPANS, .stop_at = stop_at };
    o.result = exporter_send(x, self, &b, &o.reply);
    return o;
}

static void *open_or_fail(const struct exporter *x, const struct export_spec *spec)
{
    char err[300] = "";
    void *self = NULL;
    if (x->open(spec, &self, err, sizeof(err)))
        fail_msg("%s", err);
    return self;
}

struct expect {
    const char *fault;
    enum export_result result;
    u64 after_ms, refused;
    const char *why;
};

/* One connection, one request per row, each with its fault; an `ok` in between proves that the connection recovers. */
static void check_answers(bool grpc, const struct expect *rows, size_t n)
{
    const struct exporter *x = grpc ? &exporter_otlp_grpc : &exporter_otlp_http;
    for (size_t at = 0; at < n; at += 6) {
        const char *args[24] = { grpc ? "--grpc" : "--http" };
        int k = 1;
        size_t end = min_u64(at + 6, n);
        for (size_t i = at; i < end; i++)
            args[k++] = "--fault", args[k++] = rows[i].fault;
        struct sink sink = sink_start(args);
        struct export_spec spec = spec_for(grpc, false, grpc ? sink.grpc : sink.http);
        void *self = open_or_fail(x, &spec);
        for (size_t i = at; i < end; i++) {
            struct outcome o = send_once(x, self, NULL);
            if (o.result != rows[i].result || o.reply.after_ms != rows[i].after_ms || o.reply.refused != rows[i].refused)
                fail_msg("%s: result %d after %llu refused %llu (%s)", rows[i].fault, o.result,
                         (unsigned long long)o.reply.after_ms, (unsigned long long)o.reply.refused, o.reply.why);
            if (rows[i].why && !strstr(o.reply.why, rows[i].why))
                fail_msg("%s: «%s»", rows[i].fault, o.reply.why);
        }
        x->close(self);
        sink_stop(&sink);
    }
}

static void http_answers_mean_what_otlp_says(void **state)
{
    static const struct expect rows[] = {
        { "ok", EXPORT_OK, 0, 0, NULL },
        { "partial:3", EXPORT_OK, 0, 3, "too old" },
        { "partial:9999", EXPORT_OK, 0, 9999, NULL },
        { "garbage", EXPORT_OK, 0, 0, NULL },
        { "after:429:2", EXPORT_RETRY, 2000, 0, "HTTP 429" },
        { "after:503:7", EXPORT_RETRY, 7000, 0, "HTTP 503" },
        { "http:502", EXPORT_RETRY, 0, 0, "HTTP 502: told to fail" },
        { "http:504", EXPORT_RETRY, 0, 0, NULL },
        { "http:400", EXPORT_DROP, 0, 0, "HTTP 400: told to fail" },
        { "http:403", EXPORT_DROP, 0, 0, "OTEL_EXPORTER_OTLP_HEADERS" },
        { "http:500", EXPORT_DROP, 0, 0, NULL },
        { "http:413", EXPORT_DROP, 0, 0, NULL },
        { "reset", EXPORT_RETRY, 0, 0, NULL },
        { "ok", EXPORT_OK, 0, 0, NULL },
        { "slow:4000", EXPORT_RETRY, 0, 0, "imed out" },
        { "ok", EXPORT_OK, 0, 0, NULL },
    };
    check_answers(false, rows, ARRAY_LEN(rows));
}

static void grpc_answers_mean_what_otlp_says(void **state)
{
    static const struct expect rows[] = {
        { "ok", EXPORT_OK, 0, 0, NULL },
        { "partial:3", EXPORT_OK, 0, 3, "too old" },
        { "garbage", EXPORT_OK, 0, 0, NULL },
        { "ok", EXPORT_OK, 0, 0, NULL },
        { "grpc:14", EXPORT_RETRY, 0, 0, "gRPC UNAVAILABLE: told to fail" },
        { "info:14:2500", EXPORT_RETRY, 2500, 0, "UNAVAILABLE" },
        { "grpc:8", EXPORT_DROP, 0, 0, "RESOURCE_EXHAUSTED" },
        { "info:8:1200", EXPORT_RETRY, 1200, 0, "RESOURCE_EXHAUSTED" },
        { "grpc:4", EXPORT_RETRY, 0, 0, NULL },
        { "grpc:10", EXPORT_RETRY, 0, 0, NULL },
        { "grpc:3", EXPORT_DROP, 0, 0, "INVALID_ARGUMENT" },
        { "grpc:12", EXPORT_DROP, 0, 0, "UNIMPLEMENTED" },
        { "grpc:13", EXPORT_DROP, 0, 0, "INTERNAL" },
        { "ok", EXPORT_OK, 0, 0, NULL },
        { "slow:4000", EXPORT_RETRY, 0, 0, NULL },
        { "ok", EXPORT_OK, 0, 0, NULL },
    };
    if (!have_grpc())
        skip();
    check_answers(true, rows, ARRAY_LEN(rows));
}

static void check_body(const struct sink *s, unsigned n)
{
    char line[400];
    snprintf(line, sizeof(line),
             "test $(protoc -I/usr/include --decode=opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest "
             "opentelemetry/proto/collector/trace/v1/trace_service.proto < %s/body.%03u | grep -c '    spans {') = %d",
             s->dir, n, SPANS);
    assert_int_equal(system(line), 0);
}

static void make_certificate(char *cert, char *key, size_t size, const char *dir)
{
    char line[600];
    snprintf(cert, size, "%s/cert.pem", dir);
    snprintf(key, size, "%s/key.pem", dir);
    snprintf(line, sizeof(line),
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=sink "
             "-addext subjectAltName=IP:127.0.0.1 -keyout %s -out %s 2>/dev/null",
             key, cert);
    assert_int_equal(system(line), 0);
}

/* TLS with our own authority, the token, gzip, and mutual TLS; and each of them missing. */
static void check_secure(bool grpc)
{
    char dir[] = "/tmp/wf-tls-XXXXXX", cert[64], key[64];
    const struct exporter *x = grpc ? &exporter_otlp_grpc : &exporter_otlp_http;
    assert_non_null(mkdtemp(dir));
    make_certificate(cert, key, sizeof(cert), dir);
    const char *args[] = { grpc ? "--grpc" : "--http", "--tls", cert, key, "--client-ca", cert, "--bearer", "t0ken", NULL };
    struct sink sink = sink_start(args);
    struct export_spec spec = spec_for(grpc, true, grpc ? sink.grpc : sink.http);
    spec.certificate = spec.client_certificate = cert;
    spec.client_key = key;
    spec.compression = "gzip";
    spec.headers = "authorization=Bearer%20t0ken, x-tenant=a";
    void *self = open_or_fail(x, &spec);
    struct outcome o = send_once(x, self, NULL);
    if (o.result != EXPORT_OK)
        fail_msg("%s", o.reply.why);
    assert_int_equal(send_once(x, self, NULL).result, EXPORT_OK); /* the connection is reused */
    x->close(self);
    check_body(&sink, 2);
    char *log = sink_log(&sink);
    assert_non_null(strstr(log, "\"auth\": \"Bearer t0ken\""));
    assert_non_null(strstr(log, "OTel-OTLP-Exporter-wftrace/"));
    if (!grpc)
        assert_non_null(strstr(log, "\"encoding\": \"gzip\""));
    free(log);
    spec.headers = "authorization=Bearer wrong";
    self = open_or_fail(x, &spec);
    o = send_once(x, self, NULL);
    assert_int_equal(o.result, EXPORT_DROP);
    assert_non_null(strstr(o.reply.why, "check OTEL_EXPORTER_OTLP_HEADERS"));
    x->close(self);
    spec.certificate = NULL; /* an authority nobody vouches for */
    self = open_or_fail(x, &spec);
    o = send_once(x, self, NULL);
    assert_int_equal(o.result, EXPORT_RETRY);
    assert_non_null(strstr(o.reply.why, "certificate"));
    x->close(self);
    spec.certificate = cert, spec.client_certificate = spec.client_key = NULL; /* no certificate of our own */
    self = open_or_fail(x, &spec);
    assert_int_equal(send_once(x, self, NULL).result, EXPORT_RETRY);
    x->close(self);
    sink_stop(&sink);
    unlink(cert), unlink(key), rmdir(dir);
}

static void http_over_tls_with_token_and_gzip(void **state) { check_secure(false); }

static void grpc_over_tls_with_token_and_gzip(void **state)
{
    if (!have_grpc())
        skip();
    check_secure(true);
}

static void many_batches_on_plain_h2c(void **state)
{
    if (!have_grpc())
        skip();
    struct sink sink = sink_start((const char *[]){ "--grpc", NULL });
    struct export_spec spec = spec_for(true, false, sink.grpc);
    void *self = open_or_fail(&exporter_otlp_grpc, &spec);
    for (int i = 0; i < 20; i++)
        assert_int_equal(send_once(&exporter_otlp_grpc, self, NULL).result, EXPORT_OK);
    exporter_otlp_grpc.close(self);
    check_body(&sink, 20);
    sink_stop(&sink);
}

static void wrong_receivers_are_named(void **state)
{
    struct sink sink = sink_start((const char *[]){ "--http", NULL });
    struct export_spec spec = spec_for(true, false, sink.http); /* gRPC to a plain HTTP/1.1 server */
    void *self = open_or_fail(&exporter_otlp_grpc, &spec);
    assert_true(send_once(&exporter_otlp_grpc, self, NULL).result != EXPORT_OK);
    exporter_otlp_grpc.close(self);
    strcpy(spec.target, "http://127.0.0.1:1/v1/traces"); /* nobody there */
    self = open_or_fail(&exporter_otlp_http, &spec);
    struct outcome o = send_once(&exporter_otlp_http, self, NULL);
    assert_int_equal(o.result, EXPORT_RETRY);
    assert_true(strlen(o.reply.why) > 10);
    exporter_otlp_http.close(self);
    char err[300] = "";
    spec.certificate = "/nonexistent/ca.pem";
    assert_int_equal(exporter_otlp_http.open(&spec, &self, err, sizeof(err)), -ENOENT);
    assert_string_equal(err, "cannot read OTEL_EXPORTER_OTLP_CERTIFICATE /nonexistent/ca.pem: ENOENT");
    sink_stop(&sink);
}

static void a_send_ends_when_the_end_is_announced(void **state)
{
    struct sink sink = sink_start((const char *[]){ "--http", "--fault", "slow:20000", NULL });
    struct export_spec spec = spec_for(false, false, sink.http);
    spec.timeout_ms = 60000;
    void *self = open_or_fail(&exporter_otlp_http, &spec);
    u64 start = clock_boot_ns(), stop = start + 300 * NSEC_PER_MSEC;
    assert_int_equal(send_once(&exporter_otlp_http, self, &stop).result, EXPORT_RETRY);
    assert_true(clock_boot_ns() - start < 2500 * NSEC_PER_MSEC);
    exporter_otlp_http.close(self);
    kill(sink.pid, SIGKILL);
    sink_stop(&sink);
}

static u32 count_of(const char *text, const char *word)
{
    u32 n = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        n++;
    return n;
}

static void file_write(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* A token in a file that is replaced while we run: seen before the next request, or asked for again when it is refused. */
static void a_rotated_token_is_read_again(void **state)
{
    char ours[] = "/tmp/wf-tok-XXXXXX", theirs[] = "/tmp/wf-tok-XXXXXX", headers[100];
    close(mkstemp(ours)), close(mkstemp(theirs));
    file_write(ours, "one\n"), file_write(theirs, "one");
    struct sink sink = sink_start((const char *[]){ "--http", "--bearer-file", theirs, NULL });
    struct export_spec spec = spec_for(false, false, sink.http);
    snprintf(headers, sizeof(headers), "Authorization=Bearer%%20${file:%s}", ours);
    spec.headers = headers;
    void *self = open_or_fail(&exporter_otlp_http, &spec);
    assert_int_equal(send_once(&exporter_otlp_http, self, NULL).result, EXPORT_OK);
    file_write(ours, "two-longer\n"), file_write(theirs, "two-longer");
    assert_int_equal(send_once(&exporter_otlp_http, self, NULL).result, EXPORT_OK);
    file_write(theirs, "three");
    struct outcome o = send_once(&exporter_otlp_http, self, NULL); /* ours has not been rotated: no second attempt */
    assert_int_equal(o.result, EXPORT_DROP);
    assert_int_equal(o.reply.cause, CAUSE_AUTH);
    unlink(ours); /* gone for a moment: the old value stays */
    file_write(theirs, "two-longer");
    assert_int_equal(send_once(&exporter_otlp_http, self, NULL).result, EXPORT_OK);
    exporter_otlp_http.close(self);
    char *log = sink_log(&sink);
    assert_int_equal(count_of(log, "\"n\": "), 4);
    free(log);
    sink_stop(&sink);
    unlink(theirs);
}

static void secrets_come_from_elsewhere(void **state)
{
    struct sink sink = sink_start((const char *[]){ "--http", NULL });
    struct export_spec spec = spec_for(false, false, sink.http);
    setenv("WF_TEST_PW", "open sesame", 1);
    spec.headers = "Authorization=Basic ${base64:ali:${env:WF_TEST_PW}}";
    void *self = open_or_fail(&exporter_otlp_http, &spec), *none = NULL;
    assert_int_equal(send_once(&exporter_otlp_http, self, NULL).result, EXPORT_OK);
    exporter_otlp_http.close(self);
    char *log = sink_log(&sink), err[300] = "";
    assert_non_null(strstr(log, "Basic YWxpOm9wZW4gc2VzYW1l"));
    free(log);
    static const struct {
        const char *headers, *said;
        int code;
    } bad[] = {
        { "k=${file:/nonexistent/token}", "${file:/nonexistent/token}: ENOENT", -ENOENT },
        { "k=${env:WF_NO_SUCH}", "${env:WF_NO_SUCH}: the variable is not set", -ENOENT },
        { "k=${vault:x}", "use ${env:NAME}", -EINVAL },
        { "k=${base64:${base64:${base64:${base64:${base64:x}}}}}", "deeper", -EINVAL },
        { "k=a%0d%0aHost: b", "line break", -EINVAL },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        spec.headers = bad[i].headers;
        assert_int_equal(exporter_otlp_http.open(&spec, &none, err, sizeof(err)), bad[i].code);
        if (!strstr(err, bad[i].said))
            fail_msg("%s: %s", bad[i].headers, err);
    }
    spec.headers = "k=a $c {d} ${"; /* no references */
    self = open_or_fail(&exporter_otlp_http, &spec);
    exporter_otlp_http.close(self);
    sink_stop(&sink);
}

static void json_bodies_and_a_unix_socket(void **state)
{
    char path[] = "/tmp/wf-sock-XXXXXX", line[300];
    close(mkstemp(path)), unlink(path);
    struct sink sink = sink_start((const char *[]){ "--unix", path, "--http", "--fault", "partial:7", NULL });
    struct export_spec spec = { .kind = "otlp-http", .target = "http://localhost/v1/traces", .json = true, .timeout_ms = 3000 };
    strcpy(spec.unix_socket, path);
    spec.compression = "gzip";
    spec.gzip_level = 9;
    void *self = open_or_fail(&exporter_otlp_http, &spec);
    struct outcome o = send_once(&exporter_otlp_http, self, NULL);
    assert_int_equal(o.result, EXPORT_OK);
    assert_int_equal(o.reply.refused, 7);
    assert_string_equal(o.reply.why, "too old");
    exporter_otlp_http.close(self);
    snprintf(line, sizeof(line),
             "python3 -c 'import json,sys; d=json.load(open(\"%s/body.001\")); "
             "assert len(d[\"resourceSpans\"][0][\"scopeSpans\"][0][\"spans\"])==%d'",
             sink.dir, SPANS);
    assert_int_equal(system(line), 0);
    char *log = sink_log(&sink);
    assert_non_null(strstr(log, "application/json"));
    free(log);
    sink_stop(&sink);
    unlink(path);
}

static void refusals_have_causes(void **state)
{
    static const struct {
        const char *fault;
        enum export_cause cause;
    } rows[] = { { "http:400", CAUSE_INVALID },
                 { "http:401", CAUSE_AUTH },
                 { "http:404", CAUSE_NOWHERE },
                 { "http:413", CAUSE_TOO_LARGE },
                 { "http:500", CAUSE_REFUSED } };
    const char *args[24] = { "--http" };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        args[1 + 2 * i] = "--fault", args[2 + 2 * i] = rows[i].fault;
    struct sink sink = sink_start(args);
    struct export_spec spec = spec_for(false, false, sink.http);
    void *self = open_or_fail(&exporter_otlp_http, &spec);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct outcome o = send_once(&exporter_otlp_http, self, NULL);
        assert_int_equal(o.result, EXPORT_DROP);
        assert_int_equal(o.reply.cause, rows[i].cause);
    }
    exporter_otlp_http.close(self);
    sink_stop(&sink);
}

/* The whole way: through the queue, two refusals, one partial success; the ledger agrees with the sink. */
static void queue_and_receiver_agree_to_the_span(void **state)
{
    struct sink sink =
        sink_start((const char *[]){ "--http", "--fault", "after:503:1", "--fault", "http:502", "--fault", "partial:4", NULL });
    struct export_queues *q;
    struct export_spec spec;
    char text[64], err[200] = "";
    u64 sent = ledger_get(spans_exported), refused = ledger_get(spans_dropped_partial), retries = ledger_get(export_retries);
    snprintf(text, sizeof(text), "otlp=http://127.0.0.1:%u", sink.http);
    assert_int_equal(export_spec_parse(text, SIGNAL_TRACES, &spec, err, sizeof(err)), 0);
    export_queues_new(&(struct export_queue_options){ .lane[0] = { .delay_ms = 200, .max_batch = SPANS } }, &q);
    assert_int_equal(export_queues_add(q, &spec, err, sizeof(err)), 0);
    log_level = LOG_ERROR;
    for (u32 i = 0; i < SPANS; i++)
        export_queues_sink(q)->ended(export_queues_sink(q), span_ref(spans[i]));
    assert_int_equal(export_queues_close(q, 8000), 4);
    log_level = LOG_WARN;
    assert_int_equal(ledger_get(export_retries) - retries, 2);
    assert_int_equal(ledger_get(spans_dropped_partial) - refused, 4);
    assert_int_equal(ledger_get(spans_exported) - sent, SPANS - 4);
    check_body(&sink, 3);
    sink_stop(&sink);
}

static int setup(void **state)
{
    spans_make();
    return 0;
}

static int teardown(void **state)
{
    for (u32 i = 0; i < SPANS; i++)
        span_unref(spans[i]);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(http_answers_mean_what_otlp_says),
        cmocka_unit_test(grpc_answers_mean_what_otlp_says),
        cmocka_unit_test(http_over_tls_with_token_and_gzip),
        cmocka_unit_test(grpc_over_tls_with_token_and_gzip),
        cmocka_unit_test(many_batches_on_plain_h2c),
        cmocka_unit_test(wrong_receivers_are_named),
        cmocka_unit_test(a_send_ends_when_the_end_is_announced),
        cmocka_unit_test(a_rotated_token_is_read_again),
        cmocka_unit_test(secrets_come_from_elsewhere),
        cmocka_unit_test(json_bodies_and_a_unix_socket),
        cmocka_unit_test(refusals_have_causes),
        cmocka_unit_test(queue_and_receiver_agree_to_the_span),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
