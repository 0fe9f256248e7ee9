/* needs: base self trace stream protocol ingest export store gen */
/* Zipkin's JSON, read by Python's parser. */
#include "export/exporter.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

extern const struct exporter exporter_zipkin;

static struct span *make_span(void)
{
    struct resource *r = resource_new();
    struct span *s = span_new();
    attr_str(&r->attrs, "service.name", slice_str("orders"));
    attr_str(&r->attrs, "host.name", slice_str("h1"));
    memset(s->id.trace_id, 0xab, TRACE_ID_LEN);
    memset(s->id.span_id, 0x11, SPAN_ID_LEN);
    s->start_ns = 1700000000000000999ull;
    s->end_ns = 1700000000000002001ull;
    s->kind = SPAN_INTERNAL;
    s->scope = "http1";
    s->join = JOIN_WIRE;
    s->resource = r;
    span_set_name(s, slice_str("do \"it\"\n"));
    return s;
}

/* The encoded batch through `python`, in which d is the list; every statement must hold. */
static void holds(struct span **v, size_t n, const char *python)
{
    struct export_spec spec = { .target = "http://127.0.0.1:9/api/v2/spans" };
    struct batch b = { .spans = v, .n = n };
    struct slice body;
    void *self;
    char err[200], path[] = "/tmp/wf-zip-XXXXXX", line[3000];
    assert_int_equal(exporter_zipkin.open(&spec, &self, err, sizeof(err)), 0);
    assert_int_equal(exporter_zipkin.encode(self, &b, &body), 0);
    int fd = mkstemp(path);
    assert_int_equal(write(fd, body.p, body.n), body.n);
    close(fd);
    snprintf(line, sizeof(line),
             "python3 - %s <<'END'\nimport json,sys\nd=json.load(open(sys.argv[1]))\ns=d[0] if d else None\n%s\nEND\n", path,
             python);
    assert_int_equal(system(line), 0);
    unlink(path);
    exporter_zipkin.close(self);
}

static void a_plain_span(void **state)
{
    struct span *s = make_span();
    holds(
        &s, 1,
        "assert s['traceId']=='ab'*16 and s['id']=='11'*8 and 'parentId' not in s and 'kind' not in s and 'shared' not in s, s\n"
        "assert s['name']=='do \"it\"\\n' and s['timestamp']==1700000000000000 and s['duration']==2, s\n"
        "assert s['localEndpoint']=={'serviceName':'orders'} and 'remoteEndpoint' not in s and 'annotations' not in s, s\n"
        "t=s['tags']\n"
        "assert t['otel.scope.name']=='wftrace/http1' and t['host.name']=='h1' and t['wftrace.parent.by']=='wire', t\n"
        "assert 'service.name' not in t and 'otel.status_code' not in t and 'error' not in t, t");
    memset(s->id.trace_id, 0, 8); /* 64 bits */
    s->end_ns = s->start_ns;      /* nothing takes no time */
    holds(&s, 1, "assert s['traceId']=='ab'*8 and s['duration']==1, s");
    span_unref(s);
}

static void everything_at_once(void **state)
{
    struct slice argv[] = { slice_str("a\"b"), slice_str("c") };
    struct span *s = make_span();
    s->kind = SPAN_CLIENT;
    memset(s->parent_id, 0x22, SPAN_ID_LEN);
    attr_str(&s->attrs, "server.address", slice_str("db.local"));
    attr_str(&s->attrs, "network.peer.address", slice_str("10.0.0.7"));
    attr_int(&s->attrs, "network.peer.port", 5432);
    attr_int(&s->attrs, "n", -3);
    attr_bool(&s->attrs, "b", true);
    attr_double(&s->attrs, "d", 0.5);
    attr_double(&s->attrs, "nan", NAN);
    attr_strv(&s->attrs, "v", argv, 2);
    attr_str(&s->attrs, "error", slice_str("false"));
    attr_str(&s->attrs, "host.name", slice_str("mine"));
    s->attrs.dropped = 2;
    span_add_exception(s, 1700000000000001500ull, slice_str("ValueError"), slice_str("no \"x\""), slice_str(""));
    span_set_marks(s, span_marks_new("gen_ai.chunk", "size", 1));
    span_mark(s->marks, 1700000000000002000ull, 7);
    span_set_error(s, slice_str("it broke"));
    holds(&s, 1,
          "assert s['parentId']=='22'*8 and s['kind']=='CLIENT', s\n"
          "assert s['remoteEndpoint']=={'serviceName':'db.local','ipv4':'10.0.0.7','port':5432}, s\n"
          "t=s['tags']\n"
          "assert all(isinstance(v,str) for v in t.values()), t\n"
          "assert t['n']=='-3' and t['b']=='true' and float(t['d'])==0.5 and json.loads(t['v'])==['a\"b','c'], t\n"
          "assert t['otel.status_code']=='ERROR' and t['error']=='it broke' and t['otel.dropped_attributes_count']=='2', t\n"
          "assert t['host.name']=='mine', t\n"
          "a,chunk=s['annotations']\n"
          "assert chunk=={'timestamp':1700000000000002,'value':'\"gen_ai.chunk\": {\"size\": 7}'}, chunk\n"
          "name,rest=a['value'].split(': ',1)\n"
          "assert a['timestamp']==1700000000000001 and name=='\"exception\"', a\n"
          "assert json.loads(rest)=={'exception.type':'ValueError','exception.message':'no \"x\"'}, a");
    span_unref(s);
}

static void many_and_none(void **state)
{
    struct span *v[3] = { make_span(), make_span(), make_span() };
    v[1]->kind = SPAN_SERVER, v[2]->kind = SPAN_CONSUMER;
    v[2]->status = STATUS_OK;
    holds(v, 3, "assert [x.get('kind') for x in d]==[None,'SERVER','CONSUMER'] and d[2]['tags']['otel.status_code']=='OK', d");
    holds(v, 0, "assert d==[]");
    for (int i = 0; i < 3; i++)
        span_unref(v[i]);
}

static void where_it_goes(void **state)
{
    static const struct {
        const char *text, *target;
    } rows[] = { { "zipkin=http://z:9411", "http://z:9411/api/v2/spans" },
                 { "zipkin=http://z:9411/", "http://z:9411/api/v2/spans" },
                 { "zipkin=https://z/my/path?k=v", "https://z/my/path?k=v" },
                 { "zipkin=http://[::1]:9411", "http://[::1]:9411/api/v2/spans" },
                 { "zipkin", "http://localhost:9411/api/v2/spans" },
                 { "zipkin=grpc://z", NULL },
                 { "zipkin=z:9411", NULL },
                 { "zipkin:z", NULL } };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct export_spec s;
        char err[300] = "";
        int e = export_spec_parse(rows[i].text, SIGNAL_TRACES, &s, err, sizeof(err));
        assert_int_equal(e, rows[i].target ? 0 : -EINVAL);
        if (rows[i].target)
            assert_string_equal(s.target, rows[i].target);
        else
            assert_true(strlen(err) > 10);
    }
    struct export_spec s[SIGNAL_MAX];
    size_t n;
    char err[100];
    assert_int_equal(export_specs_parse("zipkin", s, &n, err, sizeof(err)), 0);
    assert_int_equal(n, 1); /* traces only */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_span),
        cmocka_unit_test(everything_at_once),
        cmocka_unit_test(many_and_none),
        cmocka_unit_test(where_it_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
