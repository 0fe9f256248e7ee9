/* needs: base self config trace stream protocol ingest export store gen */
/* The scrape page: names, labels and both text forms, line by line; and the port. */
#include "export/prometheus.h"
#include "export/serve.h"

#include <arpa/inet.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static void names_are_translated(void **state)
{
    static const struct {
        const char *name, *unit;
        enum metric_kind kind;
        bool monotonic;
        enum prometheus_translation how;
        bool utf8;
        const char *want;
    } rows[] = {
        { "http.server.request.duration", "s", METRIC_HISTOGRAM, false, TRANSLATE_ESCAPE_SUFFIX, false,
          "http_server_request_duration_seconds" },
        { "process.disk.io", "By", METRIC_SUM, true, TRANSLATE_ESCAPE_SUFFIX, false, "process_disk_io_bytes" },
        { "a.seconds", "s", METRIC_GAUGE, false, TRANSLATE_ESCAPE_SUFFIX, false, "a_seconds" },
        { "x", "{request}", METRIC_SUM, false, TRANSLATE_ESCAPE_SUFFIX, false, "x" },
        { "x", "By/s", METRIC_GAUGE, false, TRANSLATE_ESCAPE_SUFFIX, false, "x_bytes_per_second" },
        { "x", "{request}/s", METRIC_GAUGE, false, TRANSLATE_ESCAPE_SUFFIX, false, "x_per_second" },
        { "cpu.utilization", "1", METRIC_GAUGE, false, TRANSLATE_ESCAPE_SUFFIX, false, "cpu_utilization_ratio" },
        { "cpu.utilization", "1", METRIC_SUM, true, TRANSLATE_ESCAPE_SUFFIX, false, "cpu_utilization" },
        { "traces_service_graph_request_total", "", METRIC_SUM, true, TRANSLATE_ESCAPE_SUFFIX, false,
          "traces_service_graph_request" },
        { "9lives--x..y", "", METRIC_GAUGE, false, TRANSLATE_ESCAPE_SUFFIX, false, "_9lives_x_y" },
        { "\xc3\xa9t\xc3\xa9.a", "s", METRIC_GAUGE, false, TRANSLATE_ESCAPE_SUFFIX, false, "_t_a_seconds" },
        { "a.b", "s", METRIC_GAUGE, false, TRANSLATE_ESCAPE, false, "a_b" },
        { "a.b", "s", METRIC_GAUGE, false, TRANSLATE_SUFFIX, true, "a.b_seconds" },
        { "a.b", "s", METRIC_GAUGE, false, TRANSLATE_NOT, true, "a.b" },
        { "a.b", "s", METRIC_GAUGE, false, TRANSLATE_NOT, false, "a_b" }, /* the scraper does not take it */
        { "process.thread.count", "{thread}", METRIC_SUM, false, TRANSLATE_ESCAPE_SUFFIX, false, "process_threads" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char out[PROMETHEUS_NAME];
        struct metric m = {
            .name = rows[i].name, .unit = rows[i].unit, .description = "", .kind = rows[i].kind, .monotonic = rows[i].monotonic
        };
        prometheus_name(&m, rows[i].how, rows[i].utf8, out);
        assert_string_equal(out, rows[i].want);
    }
    char label[PROMETHEUS_NAME];
    prometheus_label("http.response.status_code", true, label);
    assert_string_equal(label, "http_response_status_code");
    prometheus_label("1st", true, label);
    assert_string_equal(label, "key_1st");
}

static const struct exemplar one = { 1700000000250000000ull, 0.25, { { 1, 2 }, { 3 }, 1 } };
static const double bounds[] = { 0.1, 1 };
static const u64 counts[] = { 1, 2, 1 }, exp_counts[] = { 4, 0, 5 };
static struct attr labels[] = { { .key = "http.route", .type = ATTR_STR, .len = 7, .s = "/a\"\\\nb\xc3" },
                                { .key = "http_route", .type = ATTR_STR, .len = 1, .s = "z" },
                                { .key = "code", .type = ATTR_INT, .i = 200 } };
static struct metric_point hits = { .attrs = labels, .n_attrs = 3, .is_int = true, .i = 5, .exemplars = &one, .n_exemplars = 1 };
static struct metric_point duration = {
    .exemplars = &one, .n_exemplars = 1, .count = 4, .sum = 3.5, .n_bounds = 2, .bounds = bounds, .counts = counts
};
static struct metric_point temp = { .d = NAN };
static struct metric_point exponential = {
    .count = 10, .sum = 3, .scale = 0, .zero_count = 1, .positive = { -1, 3, exp_counts }
};
static struct metric metrics[] = {
    { "hits", "{hit}", "what \"hits\"\nsecond", "http", NULL, METRIC_SUM, true, false, 1, &hits },
    { "latency", "s", "", "http", NULL, METRIC_HISTOGRAM, false, false, 1, &duration },
    { "temp", "Cel", "", "http", NULL, METRIC_GAUGE, false, false, 1, &temp },
    { "hits", "", "another service's", "http", NULL, METRIC_SUM, true, false, 1, &hits },
    { "size", "By", "", "http", NULL, METRIC_EXP_HISTOGRAM, false, false, 1, &exponential },
    { "hits", "", "not a counter: not on the page", "http", NULL, METRIC_GAUGE, false, false, 1, &temp },
};

static struct metric_batch *batch_make(void)
{
    static struct metric_batch b;
    struct resource *r[2] = { resource_new(), resource_new() };
    for (int i = 0; i < 2; i++) {
        attr_str(&r[i]->attrs, "service.name", slice_str(i ? "b" : "a"));
        attr_str(&r[i]->attrs, "service.namespace", slice_str("shop"));
        attr_str(&r[i]->attrs, "service.instance.id", slice_str("i"));
        attr_str(&r[i]->attrs, "host.name", slice_str("h"));
    }
    labels[0].len = 6;
    for (size_t i = 0; i < ARRAY_LEN(metrics); i++)
        metrics[i].resource = r[i > 2];
    b = (struct metric_batch){ .refs = 1000, .metrics = metrics, .n = ARRAY_LEN(metrics), .n_points = 6, .pull = true };
    return &b;
}

static void batch_done(void)
{
    resource_unref(metrics[0].resource);
    resource_unref(metrics[3].resource);
}

static void text_is_what_prometheus_reads(void **state)
{
    struct prometheus_options o = { .no_scope = true };
    struct json j = { .max = 1 << 20 };
    prometheus_write(&j, batch_make(), &o, (struct prometheus_form){ 0 });
    assert_string_equal(j.p, "# TYPE target_info gauge\n"
                             "# HELP target_info Target metadata\n"
                             "target_info{host_name=\"h\",instance=\"i\",job=\"shop/a\"} 1\n"
                             "target_info{host_name=\"h\",instance=\"i\",job=\"shop/b\"} 1\n"
                             "# TYPE hits_total counter\n"
                             "# HELP hits_total what \"hits\"\\nsecond\n"
                             "hits_total{code=\"200\",http_route=\"/a\\\"\\\\\\nb;z\",instance=\"i\",job=\"shop/a\"} 5\n"
                             "hits_total{code=\"200\",http_route=\"/a\\\"\\\\\\nb;z\",instance=\"i\",job=\"shop/b\"} 5\n"
                             "# TYPE latency_seconds histogram\n"
                             "latency_seconds_bucket{instance=\"i\",job=\"shop/a\",le=\"0.1\"} 1\n"
                             "latency_seconds_bucket{instance=\"i\",job=\"shop/a\",le=\"1\"} 3\n"
                             "latency_seconds_bucket{instance=\"i\",job=\"shop/a\",le=\"+Inf\"} 4\n"
                             "latency_seconds_sum{instance=\"i\",job=\"shop/a\"} 3.5\n"
                             "latency_seconds_count{instance=\"i\",job=\"shop/a\"} 4\n"
                             "# TYPE size_bytes histogram\n"
                             "size_bytes_bucket{instance=\"i\",job=\"shop/b\",le=\"0\"} 1\n"
                             "size_bytes_bucket{instance=\"i\",job=\"shop/b\",le=\"1\"} 5\n"
                             "size_bytes_bucket{instance=\"i\",job=\"shop/b\",le=\"2\"} 5\n"
                             "size_bytes_bucket{instance=\"i\",job=\"shop/b\",le=\"4\"} 10\n"
                             "size_bytes_bucket{instance=\"i\",job=\"shop/b\",le=\"+Inf\"} 10\n"
                             "size_bytes_sum{instance=\"i\",job=\"shop/b\"} 3\n"
                             "size_bytes_count{instance=\"i\",job=\"shop/b\"} 10\n"
                             "# TYPE temp_celsius gauge\n"
                             "temp_celsius{instance=\"i\",job=\"shop/a\"} NaN\n");
    json_done(&j);
    batch_done();
}

static void openmetrics_has_units_exemplars_and_an_end(void **state)
{
    struct prometheus_options o = { .no_target_info = true, .n_labels = 1, .labels = { "host.*" } };
    struct json j = { .max = 1 << 20 };
    prometheus_write(&j, batch_make(), &o, (struct prometheus_form){ .openmetrics = true });
    static const char *const want[] = {
        "# TYPE hits counter\n# HELP hits what \\\"hits\\\"\\nsecond\nhits_total{code=\"200\",host_name=\"h\",",
        "otel_scope_name=\"wftrace/http\",otel_scope_version=\"",
        "\"} 5 # {trace_id=\"01020000000000000000000000000000\",span_id=\"0300000000000000\"} 0.25 1700000000.250\n",
        "# TYPE latency_seconds histogram\n# UNIT latency_seconds seconds\nlatency_seconds_bucket{",
        "le=\"1.0\"} 3 # {trace_id=\"01020000000000000000000000000000\",span_id=\"0300000000000000\"} 0.25 1700000000.250\n",
        "le=\"+Inf\"} 4\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        if (!strstr(j.p, want[i]))
            fail_msg("no «%s» in\n%s", want[i], j.p);
    assert_string_equal(j.p + j.n - 6, "# EOF\n");
    assert_null(strstr(j.p, "target_info"));
    json_done(&j);
    batch_done();
}

static void names_as_they_are_when_both_sides_want_it(void **state)
{
    struct prometheus_options o = { .translation = TRANSLATE_NOT, .no_scope = true, .no_target_info = true };
    struct json j = { .max = 1 << 20 };
    metrics[0].name = metrics[3].name = "http.hits";
    prometheus_write(&j, batch_make(), &o, (struct prometheus_form){ .utf8 = true });
    metrics[0].name = metrics[3].name = "hits";
    if (!strstr(j.p, "# TYPE \"http.hits_total\" counter\n") ||
        !strstr(j.p, "{\"http.hits_total\",code=\"200\",\"http.route\"=\"/"
                     "a\\\"\\\\\\nb\",http_route=\"z\",instance=\"i\",job=\"shop/a\"} 5\n"))
        fail_msg("%s", j.p);
    json_done(&j);
    batch_done();
}

/* Two resources that claim the same job and instance. */
static void no_two_targets_share_an_identity(void **state)
{
    struct prometheus_options o = { .no_scope = true, .no_target_info = true };
    struct json j = { .max = 1 << 20 };
    struct metric_batch *b = batch_make();
    attr_str(&metrics[3].resource->attrs, "service.name", slice_str("a"));
    prometheus_write(&j, b, &o, (struct prometheus_form){ 0 });
    assert_non_null(strstr(j.p, "instance=\"i\",job=\"shop/a\"} 5\n"));
    assert_non_null(strstr(j.p, "instance=\"i#2\",job=\"shop/a\"} 5\n"));
    json_done(&j);
    batch_done();
}

static void options_are_read_and_mistakes_told(void **state)
{
    struct prometheus_options o;
    char err[300];
    assert_int_equal(
        prometheus_options_parse(
            "[::1]:9999?cert=/c&key=/k&resource_labels=host.*,service.version&translation=no_translation&target_info=off", &o,
            err, 300),
        0);
    assert_string_equal(o.host, "::1");
    assert_int_equal(o.port, 9999);
    assert_string_equal(o.labels[1], "service.version");
    assert_true(o.no_target_info && !o.no_scope && o.translation == TRANSLATE_NOT);
    assert_int_equal(prometheus_options_parse("localhost", &o, err, 300), 0);
    assert_int_equal(o.port, 9464);
    static const char *const bad[] = {
        "h:70000", "h:x", "h:1?cert=/c", "h:1?ca=/c", "h:1?nonsense=1", "h:1?translation=x", "h:1?target_info=yes", "h:1?key="
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(prometheus_options_parse(bad[i], &o, err, 300), -EINVAL);
}

/* --- the port --- */

static void answer(void *arg, const struct serve_request *q, struct serve_reply *ret)
{
    ret->body = q->path;
    ret->n = strlen(q->path);
}

static size_t ask(u16 port, const char *text, char *out, size_t size)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    size_t n = 0;
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_true(write(fd, text, strlen(text)) > 0);
    for (ssize_t r; n < size - 1 && (r = read(fd, out + n, size - 1 - n)) > 0;)
        n += (size_t)r;
    out[n] = 0;
    close(fd);
    return n;
}

static void the_port_answers_known_callers(void **state)
{
    char path[] = "/tmp/wf-pw-XXXXXX", err[300] = "", out[4096];
    int fd = mkstemp(path);
    assert_true(write(fd, "anna:s3cret\nbert:x:y\n", 21) == 21);
    close(fd);
    struct serve *s;
    assert_int_equal(
        serve_open(&(struct serve_options){ .host = "127.0.0.1", .passwords = path, .answer = answer }, &s, err, sizeof(err)), 0);
    unlink(path);
    u16 port = serve_port(s);
    ask(port, "GET /x HTTP/1.0\r\n\r\n", out, sizeof(out));
    assert_non_null(strstr(out, " 401 "));
    assert_non_null(strstr(out, "WWW-Authenticate: Basic"));
    ask(port, "GET /x HTTP/1.0\r\nAuthorization: Basic YW5uYTpzM2NyZXQ=\r\n\r\n", out, sizeof(out)); /* anna:s3cret */
    assert_non_null(strstr(out, " 200 "));
    assert_non_null(strstr(out, "\r\n\r\n/x"));
    ask(port, "GET /x HTTP/1.0\r\nAuthorization: Basic YmVydDp4Onk=\r\n\r\n", out, sizeof(out)); /* bert:x:y */
    assert_non_null(strstr(out, " 200 "));
    ask(port, "GET /x HTTP/1.0\r\nAuthorization: Basic YW5uYTpzM2NyZX==\r\n\r\n", out, sizeof(out));
    assert_non_null(strstr(out, " 401 "));
    ask(port, "GET /healthz HTTP/1.0\r\n\r\n", out, sizeof(out));
    assert_non_null(strstr(out, " 200 "));
    ask(port, "POST /x HTTP/1.0\r\nContent-Length: 3\r\n\r\nabc", out, sizeof(out));
    assert_non_null(strstr(out, " 405 "));
    ask(port, "\x16\x03\x01\x02 nonsense\r\n\r\n", out, sizeof(out));
    serve_close(s);
    assert_int_equal(serve_open(&(struct serve_options){ .host = "127.0.0.1", .passwords = "/no/such", .answer = answer }, &s,
                                err, sizeof(err)),
                     -ENOENT);
    assert_non_null(strstr(err, "/no/such"));
}

/* Who comes takes the address over from who goes; every caller is answered by one of the two. */
static void an_address_changes_hands(void **state)
{
    char err[300] = "", out[4096];
    struct serve *a, *b;
    struct serve_options o = { .host = "127.0.0.1", .answer = answer };
    assert_int_equal(serve_open(&o, &a, err, sizeof(err)), 0);
    o.port = serve_port(a);
    serve_close(a);
    assert_int_equal(serve_open(&o, &a, err, sizeof(err)), 0);
    for (int turn = 0; turn < 5; turn++) {
        assert_int_equal(serve_open(&o, &b, err, sizeof(err)), 0);
        assert_int_equal(serve_port(b), o.port);
        for (int i = 0; i < 5; i++) {
            ask(o.port, "GET /x HTTP/1.0\r\n\r\n", out, sizeof(out));
            assert_non_null(strstr(out, " 200 "));
        }
        serve_close(a);
        ask(o.port, "GET /x HTTP/1.0\r\n\r\n", out, sizeof(out));
        assert_non_null(strstr(out, " 200 "));
        a = b;
    }
    o.certificate = o.key = "/no/such";
    assert_int_equal(serve_open(&o, &b, err, sizeof(err)), -ENOENT);
    serve_close(a);
}

/* Callers that connect and say nothing take their places and no more than those; the rest is turned away, nobody waits for them. */
static void silent_callers_hold_nothing_but_their_place(void **state)
{
    char err[300], out[256];
    struct serve *s;
    int fds[40];
    assert_int_equal(serve_open(&(struct serve_options){ .host = "127.0.0.1", .answer = answer }, &s, err, sizeof(err)), 0);
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(serve_port(s)), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(connect(fds[i], (struct sockaddr *)&at, sizeof(at)), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        close(fds[i]);
    for (int tries = 0; tries < 100; tries++) {
        ask(serve_port(s), "GET /x HTTP/1.0\r\n\r\n", out, sizeof(out));
        if (strstr(out, " 200 "))
            break;
        usleep(20000);
    }
    assert_non_null(strstr(out, " 200 "));
    serve_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_translated),
        cmocka_unit_test(text_is_what_prometheus_reads),
        cmocka_unit_test(openmetrics_has_units_exemplars_and_an_end),
        cmocka_unit_test(names_as_they_are_when_both_sides_want_it),
        cmocka_unit_test(no_two_targets_share_an_identity),
        cmocka_unit_test(options_are_read_and_mistakes_told),
        cmocka_unit_test(an_address_changes_hands),
        cmocka_unit_test(the_port_answers_known_callers),
        cmocka_unit_test(silent_callers_hold_nothing_but_their_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
