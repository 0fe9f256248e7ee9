/* needs: base self config trace stream protocol ingest export store gen */
/* OTLP metrics: the protobuf form read back by protoc with the published schema, the JSON form by Python's parser. */
#include "export/encode.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

static const struct exemplar one = { 1700000000000000005ull, 0.25, { { 1, 2 }, { 3 }, 1 } };
static const double bounds[] = { 0.1, 1 };
static const u64 counts[] = { 1, 2, 0 }, exp_counts[] = { 4, 0, 5 };
static const struct attr labels[] = { { .key = "route", .type = ATTR_STR, .len = 2, .s = "/a" },
                                      { .key = "otel.metric.overflow", .type = ATTR_BOOL, .b = true } };
static const struct metric_point points[] = {
    { .attrs = labels, .n_attrs = 2, .start_ns = 5, .time_ns = 1700000000000000001ull, .is_int = true, .i = -9007199254740993 },
    { .time_ns = 9, .is_int = false, .d = NAN },
    { .start_ns = 5,
      .time_ns = 9,
      .exemplars = &one,
      .n_exemplars = 1,
      .count = 3,
      .sum = 0.7,
      .min = 0.05,
      .max = 0.5,
      .n_bounds = 2,
      .bounds = bounds,
      .counts = counts },
    { .start_ns = 5,
      .time_ns = 9,
      .count = 10,
      .sum = 3,
      .min = 1,
      .max = -1,
      .scale = -3,
      .zero_count = 1,
      .positive = { -7, 3, exp_counts } },
};
static struct metric metrics[] = {
    { "up", "{request}", "what is \"up\"", "http", NULL, METRIC_SUM, false, false, 1, &points[0] },
    { "temp", "", "", "http", NULL, METRIC_GAUGE, false, false, 1, &points[1] },
    { "duration", "s", "d", "http", NULL, METRIC_HISTOGRAM, false, true, 1, &points[2] },
    { "exp", "s", "d", "db", NULL, METRIC_EXP_HISTOGRAM, false, false, 1, &points[3] },
};

static struct metric_batch batch = { .refs = 1, .metrics = metrics, .n = ARRAY_LEN(metrics), .n_points = 4 };
static struct metric_batch *list[] = { &batch };
static const struct batch b = { .metrics = list, .n = 1, .signal = SIGNAL_METRICS };

static char *run_on(const char *command, const void *in, size_t n)
{
    char path[] = "/tmp/wf-met-XXXXXX", line[8192], *out = calloc(1, 1 << 16);
    int fd = mkstemp(path);
    assert_int_equal(write(fd, in, n), n);
    close(fd);
    snprintf(line, sizeof(line), "%s < %s 2>&1", command, path);
    FILE *p = popen(line, "r");
    out[fread(out, 1, (1 << 16) - 1, p)] = 0;
    int rc = pclose(p);
    unlink(path);
    if (rc)
        fprintf(stderr, "%s\n", out);
    assert_int_equal(rc, 0);
    return out;
}

static void squeeze(char *s)
{
    char *o = s;
    for (char *from = s; *from; from++)
        if (!strchr(" \n", *from) || o == s || o[-1] != ' ')
            *o++ = *from == '\n' ? ' ' : *from;
    *o = 0;
}

static void protoc_reads_what_we_wrote(void **state)
{
    if (access("/usr/include/opentelemetry/proto/metrics/v1/metrics.proto", R_OK) || system("command -v protoc >/dev/null"))
        skip();
    struct encoder *e = encoder_new();
    struct slice out;
    assert_int_equal(encoder_pack(e, &b, 5, &out), 0);
    char *text = run_on("protoc -I/usr/include --decode=opentelemetry.proto.collector.metrics.v1.ExportMetricsServiceRequest "
                        "opentelemetry/proto/collector/metrics/v1/metrics_service.proto",
                        out.p + 5, out.n - 5);
    squeeze(text);
    static const char *const expected[] = {
        "key: \"service.name\"",
        "name: \"wftrace/http\"",
        "name: \"up\" description: \"what is \\\"up\\\"\" unit: \"{request}\" sum {",
        "start_time_unix_nano: 5 time_unix_nano: 1700000000000000001 as_int: -9007199254740993",
        "key: \"otel.metric.overflow\" value { bool_value: true }",
        "aggregation_temporality: AGGREGATION_TEMPORALITY_CUMULATIVE",
        "gauge { data_points { time_unix_nano: 9 as_double: nan } }",
        "count: 3 sum: 0.7 bucket_counts: 1 bucket_counts: 2 bucket_counts: 0 explicit_bounds: 0.1 explicit_bounds: 1",
        "exemplars { time_unix_nano: 1700000000000000005 as_double: 0.25 span_id: \"\\003\\000",
        "min: 0.05 max: 0.5",
        "aggregation_temporality: AGGREGATION_TEMPORALITY_DELTA",
        "scale: -3 zero_count: 1 positive { offset: -7 bucket_counts: 4 bucket_counts: 0 bucket_counts: 5 }",
    };
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        if (!strstr(text, expected[i]))
            fail_msg("no «%s» in:\n%s", expected[i], text);
    assert_null(strstr(text, "is_monotonic")); /* false is proto3's default */
    assert_null(strstr(text, "min: 1 "));
    free(text);
    encoder_free(e);
}

static const char check[] =
    "python3 -c \""
    "import json,sys\n"
    "rm,=json.loads(sys.stdin.read())['resourceMetrics']\n"
    "d,h=rm['scopeMetrics']\n"
    "assert h['scope']['name']=='wftrace/http' and d['scope']['name']=='wftrace/db'\n"
    "up,temp,dur=h['metrics']; exp,=d['metrics']\n"
    "p,=up['sum']['dataPoints']\n"
    "assert up['unit']=='{request}' and up['sum']['isMonotonic'] is False and up['sum']['aggregationTemporality']==2\n"
    "assert p['asInt']=='-9007199254740993' and p['startTimeUnixNano']=='5'\n"
    "assert p['attributes'][1]=={'key':'otel.metric.overflow','value':{'boolValue':True}}\n"
    "t,=temp['gauge']['dataPoints']\n"
    "assert t['asDouble']=='NaN' and 'startTimeUnixNano' not in t\n"
    "p,=dur['histogram']['dataPoints']\n"
    "assert p['count']=='3' and p['bucketCounts']==['1','2','0'] and p['explicitBounds']==[0.1,1]\n"
    "assert (p['min'],p['max'])==(0.05,0.5) and dur['histogram']['aggregationTemporality']==1\n"
    "x,=p['exemplars']\n"
    "assert x['traceId']=='0102'+'00'*14 and x['asDouble']==0.25\n"
    "p,=exp['exponentialHistogram']['dataPoints']\n"
    "assert p['scale']==-3 and p['zeroCount']=='1' and p['positive']=={'offset':-7,'bucketCounts':['4','0','5']}\n"
    "assert 'negative' not in p and 'min' not in p\n\"";

static void json_is_valid_and_complete(void **state)
{
    struct grouping g = { 0 };
    struct json j = { .max = 1 << 20 };
    assert_int_equal(json_otlp(&j, &g, &b), 0);
    free(run_on(check, j.p, j.n));
    json_done(&j);
    grouping_done(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protoc_reads_what_we_wrote),
        cmocka_unit_test(json_is_valid_and_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
