/* needs: base self trace stream protocol ingest export store gen */
/* Encoders. The protobuf form is read back by an independent program, protoc with the published schema; the JSON forms by
 * Python's parser. */
#include "export/encode.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

static struct resource *make_resource(const char *service)
{
    struct resource *r = resource_new();
    attr_str(&r->attrs, "service.name", slice_str(service));
    return r;
}

static struct span *make_span(const char *name, const char *scope, struct resource *r, u8 id, u8 parent)
{
    struct span *s = span_new();
    memset(s->id.trace_id, 0xab, TRACE_ID_LEN);
    memset(s->id.span_id, id, SPAN_ID_LEN);
    memset(s->parent_id, parent, SPAN_ID_LEN);
    s->id.flags = 1;
    s->kind = SPAN_SERVER;
    s->join = parent ? JOIN_WIRE : JOIN_ROOT;
    s->remote_parent = parent != 0;
    s->start_ns = 1700000000000000001ull;
    s->end_ns = 1700000000014200001ull;
    s->scope = scope;
    s->resource = resource_ref(r);
    s->tgid = 42;
    span_set_name(s, slice_str(name));
    return s;
}

/* One span with everything on it. */
static struct span *rich_span(struct resource *r)
{
    struct slice argv[] = { slice_str("make"), slice_str("-j4") };
    struct span_context to = { { 7 }, { 8 }, 1 };
    struct span *s = make_span("GET /\xff\"x\"", "http1", r, 0x11, 0x22);
    span_set_tracestate(s, "k=v");
    attr_str(&s->attrs, "url.path", slice_str("/a\nb\\c"));
    attr_int(&s->attrs, "http.response.status_code", -9007199254740993);
    attr_double(&s->attrs, "ratio", 0.1);
    attr_double(&s->attrs, "nan", NAN);
    attr_bool(&s->attrs, "cached", true);
    attr_strv(&s->attrs, "process.command_args", argv, 2);
    s->attrs.dropped = 3;
    span_add_exception(s, 1700000000000000005ull, slice_str("ValueError"), slice_str("no"), slice_str(""));
    span_set_marks(s, span_marks_new("gen_ai.chunk", "wftrace.gen_ai.chunk.size", 1));
    span_mark(s->marks, 1700000000000000006ull, 77);
    span_mark(s->marks, 1700000000000000007ull, 78);
    span_add_link(s, &to, "queue");
    span_set_error(s, slice_str("it broke"));
    return s;
}

static char *run_on(const char *command, const void *in, size_t n)
{
    char path[] = "/tmp/wf-enc-XXXXXX", line[4096], *out = calloc(1, 1 << 20);
    int fd = mkstemp(path);
    assert_int_equal(write(fd, in, n), n);
    close(fd);
    snprintf(line, sizeof(line), "%s < %s 2>&1", command, path);
    FILE *p = popen(line, "r");
    size_t len = fread(out, 1, (1 << 20) - 1, p);
    out[len] = 0;
    int rc = pclose(p);
    unlink(path);
    if (rc)
        fprintf(stderr, "%s: %s\n", command, out);
    assert_int_equal(rc, 0);
    return out;
}

/* Runs of blanks and line breaks become one blank. */
static void squeeze(char *s)
{
    char *o = s;
    for (; *s; s++)
        if (!strchr(" \n", *s) || (o[-1] != ' '))
            *o++ = *s == '\n' ? ' ' : *s;
    *o = 0;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (; (text = strstr(text, what)); text += strlen(what))
        n++;
    return n;
}

static void assert_has(const char *text, const char *what)
{
    if (!strstr(text, what))
        fail_msg("no «%s» in:\n%s", what, text);
}

#define PROTOC                                                                                                                   \
    "protoc -I/usr/include --decode=opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest "                           \
    "opentelemetry/proto/collector/trace/v1/trace_service.proto"

static bool have_schema(void)
{
    return access("/usr/include/opentelemetry/proto/trace/v1/trace.proto", R_OK) == 0 && !system("command -v protoc >/dev/null");
}

static void protoc_reads_what_we_wrote(void **state)
{
    if (!have_schema())
        skip();
    struct resource *r = make_resource("orders");
    struct span *v[] = { rich_span(r) };
    struct batch b = { .spans = v, .n = 1 };
    struct encoder *e = encoder_new();
    struct slice out;
    assert_int_equal(encoder_pack(e, &b, 5, &out), 0);
    char *text = run_on(PROTOC, out.p + 5, out.n - 5);
    squeeze(text);
    static const char *const expected[] = {
        "key: \"service.name\" value { string_value: \"orders\"",
        "name: \"wftrace/http1\"",
        "trace_id: \"\\253\\253\\253",
        "span_id: \"\\021\\021\\021\\021\\021\\021\\021\\021\"",
        "parent_span_id: \"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\\\"\"",
        "trace_state: \"k=v\"",
        "name: \"GET /\\357\\277\\275\\\"x\\\"\"",
        "kind: SPAN_KIND_SERVER",
        "start_time_unix_nano: 1700000000000000001",
        "end_time_unix_nano: 1700000000014200001",
        "string_value: \"/a\\nb\\\\c\"",
        "int_value: -9007199254740993",
        "double_value: 0.1",
        "double_value: nan",
        "bool_value: true",
        "dropped_attributes_count: 3",
        "time_unix_nano: 1700000000000000005",
        "name: \"exception\"",
        "key: \"exception.message\"",
        "key: \"wftrace.link.by\"",
        "key: \"wftrace.parent.by\" value { string_value: \"wire\"",
        "message: \"it broke\" code: STATUS_CODE_ERROR",
        "flags: 769", /* sampled, known, remote */
        "schema_url: \"" OTEL_SCHEMA_URL "\"",
    };
    for (size_t i = 0; i < ARRAY_LEN(expected); i++)
        assert_has(text, expected[i]);
    assert_int_equal(count(text, "array_value"), 1);
    assert_has(text, "string_value: \"make\"");
    assert_int_equal(count(text, "exception.stacktrace"), 0);
    free(text);
    encoder_free(e);
    span_unref(v[0]);
    resource_unref(r);
}

static void spans_are_grouped_and_stay_in_order(void **state)
{
    if (!have_schema())
        skip();
    struct resource *r[2] = { make_resource("one"), make_resource("two") };
    struct span *v[60];
    for (u32 i = 0; i < 60; i++) {
        char name[16];
        snprintf(name, sizeof(name), "n%02u", i);
        v[i] = make_span(name, i % 3 ? "redis" : "http1", r[i % 2], (u8)(i + 1), 0);
    }
    struct batch b = { .spans = v, .n = 60 };
    struct encoder *e = encoder_new();
    struct slice out;
    assert_int_equal(encoder_pack(e, &b, 0, &out), 0);
    char *text = run_on(PROTOC, out.p, out.n), *last[4] = { 0 };
    assert_int_equal(count(text, "resource_spans {"), 2);
    assert_int_equal(count(text, "scope_spans {"), 4);
    assert_int_equal(count(text, "    spans {"), 60);
    assert_int_equal(count(text, "parent_span_id"), 0);
    for (u32 i = 0; i < 60; i++) {
        char name[24];
        u32 group = i % 2 * 2 + (i % 3 != 0);
        snprintf(name, sizeof(name), "name: \"n%02u\"", i);
        char *at = strstr(text, name);
        assert_non_null(at);
        assert_true(at > last[group]); /* order of end inside a group */
        last[group] = at;
    }
    free(text);
    encoder_free(e);
    for (u32 i = 0; i < 60; i++)
        span_unref(v[i]);
    resource_unref(r[0]);
    resource_unref(r[1]);
}

static void a_span_without_anything_encodes(void **state)
{
    struct span *s = span_new();
    struct batch b = { .spans = &s, .n = 1 }, none = { .n = 0 };
    struct encoder *e = encoder_new();
    struct slice out;
    assert_int_equal(encoder_pack(e, &none, 5, &out), 0);
    assert_int_equal(out.n, 5);
    assert_int_equal(encoder_pack(e, &b, 0, &out), 0);
    assert_true(out.n > 30);
    encoder_free(e);
    span_unref(s);
}

static const char check_otlp[] =
    "python3 -c \""
    "import json,sys\n"
    "d=json.loads(sys.stdin.read())\n"
    "rs,=d['resourceSpans']; ss,=rs['scopeSpans']; s,=ss['spans']\n"
    "a={x['key']:x['value'] for x in s['attributes']}\n"
    "assert rs['resource']['attributes']==[{'key':'service.name','value':{'stringValue':'orders'}}]\n"
    "assert ss['scope']['name']=='wftrace/http1', ss\n"
    "assert s['traceId']=='ab'*16 and s['spanId']=='11'*8 and s['parentSpanId']=='22'*8\n"
    "assert s['kind']==2 and s['flags']==769 and s['traceState']=='k=v'\n"
    "assert s['startTimeUnixNano']=='1700000000000000001' and s['endTimeUnixNano']=='1700000000014200001'\n"
    "assert s['name']=='GET /'+chr(0xfffd)+chr(34)+'x'+chr(34), s['name']\n"
    "assert a['url.path']['stringValue']=='/a'+chr(10)+'b'+chr(92)+'c'\n"
    "assert a['http.response.status_code']=={'intValue':'-9007199254740993'}\n"
    "assert a['ratio']=={'doubleValue':0.1} and a['nan']=={'doubleValue':'NaN'} and a['cached']=={'boolValue':True}\n"
    "assert a['process.command_args']=={'arrayValue':{'values':[{'stringValue':'make'},{'stringValue':'-j4'}]}}\n"
    "assert a['wftrace.parent.by']=={'stringValue':'wire'} and s['droppedAttributesCount']==3\n"
    "assert s['events'][0]['timeUnixNano']=='1700000000000000005' and s['events'][0]['name']=='exception'\n"
    "assert s['events'][1]=={'timeUnixNano':'1700000000000000006','name':'gen_ai.chunk','attributes':["
    "{'key':'wftrace.gen_ai.chunk.size','value':{'intValue':'77'}}]} and s['droppedEventsCount']==1, s['events']\n"
    "assert s['links'][0]['attributes'][0]['value']['stringValue']=='queue'\n"
    "assert s['status']=={'code':2,'message':'it broke'}\n\"";

static const char check_flat[] =
    "python3 -c \""
    "import json,sys\n"
    "s=json.loads(sys.stdin.read())\n"
    "assert list(s)==['trace_id','span_id','parent_span_id','name','kind','start_unix_nano','end_unix_nano','duration_ms',"
    "'status','status_message','service','scope','parent_by','pid','attributes','events','links'], list(s)\n"
    "assert s['trace_id']=='ab'*16 and s['parent_span_id']=='22'*8 and s['kind']=='server' and s['duration_ms']==14.2\n"
    "assert s['status']=='error' and s['service']=='orders' and s['parent_by']=='wire' and s['pid']==42\n"
    "assert s['attributes']['process.command_args']==['make','-j4'] and s['attributes']['cached'] is True\n"
    "assert s['attributes']['http.response.status_code']==-9007199254740993\n"
    "assert s['events'][0]['attributes']=={'exception.type':'ValueError','exception.message':'no'}\n"
    "assert s['links'][0]['by']=='queue'\n\"";

static const char check_lines[] =
    "python3 -c \""
    "import json,sys\n"
    "l,a,b,c=[json.loads(x) for x in sys.stdin]\n"
    "assert l=={'time_unix_nano':5,'severity':13,'severity_text':'WARN','body':'a \\\"b\\\"\\n','trace_id':'ab'*16,"
    "'span_id':'cd'*8,'service':'orders','scope':'stdout','attributes':{'k':1}}, l\n"
    "assert a=={'metric':'jobs','unit':'{job}','type':'sum','monotonic':True,'temporality':'delta','start_unix_nano':1,"
    "'time_unix_nano':2,'value':-7,'service':'orders','scope':'rules','attributes':{}}, a\n"
    "assert b['type']=='gauge' and b['value']==1.5 and 'temporality' not in b and b['attributes']=={'k':'v'}, b\n"
    "assert (c['count'],c['sum'],c['bounds'],c['counts'])==(3,4.5,[1.0,2.0],[1,0,2]) and 'min' not in c, c\n\"";

static void every_signal_has_flat_lines(void **state)
{
    struct resource *r = make_resource("orders");
    struct log_record *l = log_new(slice_str("a \"b\"\n"));
    l->observed_ns = 5;
    l->severity = 13;
    strcpy(l->severity_text, "WARN");
    memset(l->context.trace_id, 0xab, TRACE_ID_LEN);
    memset(l->context.span_id, 0xcd, SPAN_ID_LEN);
    l->scope = "stdout";
    l->resource = resource_ref(r);
    attr_int(&l->attrs, "k", 1);
    const struct attr key = attr_of_text("k", "v");
    const double bounds[] = { 1, 2 };
    const u64 counts[] = { 1, 0, 2 };
    const struct metric_point points[] = {
        { .start_ns = 1, .time_ns = 2, .is_int = true, .i = -7 },
        { .attrs = &key, .n_attrs = 1, .time_ns = 2, .d = 1.5 },
        { .time_ns = 2, .count = 3, .sum = 4.5, .min = 1, .max = 0, .n_bounds = 2, .bounds = bounds, .counts = counts },
    };
    struct metric metrics[] = {
        { "jobs", "{job}", "", "rules", r, METRIC_SUM, .monotonic = true, .delta = true, .n_points = 1, .points = points },
        { "load", "1", "", "rules", r, METRIC_GAUGE, .n_points = 1, .points = points + 1 },
        { "took", "s", "", "rules", r, METRIC_HISTOGRAM, .n_points = 1, .points = points + 2 },
    };
    struct json j = { .max = 1 << 20 };
    json_log(&j, l);
    json_points(&j, &(struct metric_batch){ .metrics = metrics, .n = 3 });
    assert_int_equal(count(j.p, "\n"), 4);
    free(run_on(check_lines, j.p, j.n));
    json_done(&j);
    log_unref(l);
    resource_unref(r);
}

static void json_forms_are_valid_and_complete(void **state)
{
    struct resource *r = make_resource("orders");
    struct span *v[] = { rich_span(r) };
    struct batch b = { .spans = v, .n = 1 };
    struct grouping g = { 0 };
    struct json j = { .max = 1 << 20 };
    assert_int_equal(json_otlp(&j, &g, &b), 0);
    assert_int_equal(count(j.p, "\n"), 1); /* one line */
    free(run_on(check_otlp, j.p, j.n));
    j.n = 0;
    json_span(&j, v[0]);
    assert_int_equal(count(j.p, "\n"), 1);
    free(run_on(check_flat, j.p, j.n));
    json_done(&j);
    grouping_done(&g);
    span_unref(v[0]);
    resource_unref(r);
}

static void json_stops_at_its_ceiling(void **state)
{
    struct json j = { .max = 100 };
    for (int i = 0; i < 30; i++)
        json_raw(&j, "12345");
    assert_true(j.failed);
    assert_true(j.n < 100 && j.room <= 100);
    json_done(&j);
}

static void a_bad_tracestate_is_left_out(void **state)
{
    struct span *s = span_new();
    span_set_tracestate(s, "a=b\x01");
    assert_string_equal(span_tracestate(s), "");
    span_unref(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protoc_reads_what_we_wrote),      cmocka_unit_test(spans_are_grouped_and_stay_in_order),
        cmocka_unit_test(a_span_without_anything_encodes), cmocka_unit_test(json_forms_are_valid_and_complete),
        cmocka_unit_test(every_signal_has_flat_lines),     cmocka_unit_test(json_stops_at_its_ceiling),
        cmocka_unit_test(a_bad_tracestate_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
