/* needs: base self trace stream protocol ingest pipeline */
#include "pipeline/pipeline.h"
#include "self/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct caught {
    struct span_sink spans;
    struct log_sink logs;
    struct span *span;
    struct log_record *log;
};

static void span_caught(struct span_sink *k, struct span *s) { container_of(k, struct caught, spans)->span = s; }
static void log_caught(struct log_sink *k, struct log_record *l) { container_of(k, struct caught, logs)->log = l; }

static struct pipeline *pipeline_of(const struct processor_spec *specs, size_t n, struct caught *c)
{
    struct pipeline *p = NULL;
    char err[256] = "";
    *c = (struct caught){ .spans = { .ended = span_caught }, .logs = { .emit = log_caught } };
    struct pipeline_options o = { .processors = specs, .n_processors = n, .keep_values = true };
    if (pipeline_new(&o, &c->spans, &c->logs, NULL, &p, err, sizeof(err)))
        fail_msg("%s", err);
    return p;
}

static void refused(struct processor_spec spec, const char *says)
{
    struct pipeline *p = NULL;
    char err[256] = "";
    struct span_sink none = { 0 };
    struct pipeline_options o = { .processors = &spec, .n_processors = 1 };
    assert_int_equal(pipeline_new(&o, &none, NULL, NULL, &p, err, sizeof(err)), -EINVAL);
    if (!strstr(err, says))
        fail_msg("«%s» does not say «%s»", err, says);
}

static struct span *some_span(void)
{
    struct span *s = span_new();
    s->id = (struct span_context){ { 1 }, { 2 }, 1 };
    s->kind = SPAN_SERVER;
    s->start_ns = NSEC_PER_SEC;
    s->end_ns = 3 * NSEC_PER_SEC;
    s->resource = resource_new();
    attr_str(&s->resource->attrs, "service.name", slice_str("shop"));
    attr_str(&s->resource->attrs, "host.name", slice_str("node-7"));
    span_set_name(s, slice_str("GET /orders/4711"));
    attr_str(&s->attrs, "user.id", slice_str("ann"));
    attr_int(&s->attrs, "http.response.status_code", 503);
    attr_str(&s->attrs, "url.path", slice_str("/orders/4711"));
    return s;
}

static struct span *through(struct pipeline *p, struct caught *c, struct span *s)
{
    c->span = NULL;
    pipeline_spans(p)->ended(pipeline_spans(p), s);
    return c->span;
}

static const char *text_of(const struct span *s, const char *key)
{
    const struct attr *a = attr_get(&s->attrs, key);
    return a && a->type == ATTR_STR ? a->s : NULL;
}

/* --- filter --- */

static bool kept(struct filter_options o)
{
    struct caught c;
    struct pipeline *p = pipeline_of(&(struct processor_spec){ .kind = "filter", .filter = o }, 1, &c);
    struct span *s = through(p, &c, some_span());
    pipeline_free(p);
    span_unref(s);
    return s != NULL;
}

static void filter_drops_and_keeps(void **state)
{
    static const struct {
        struct match m;
        bool matches;
    } cases[] = {
        { { .name = "GET *" }, true },
        { { .name = "POST *" }, false },
        { { .service = "sh?p" }, true },
        { { .attr = "user.id" }, true },
        { { .attr = "user.id", .value = "a*" }, true },
        { { .attr = "user.id", .value = "b*" }, false },
        { { .attr = "http.response.status_code", .value = "5??" }, true },
        { { .attr = "host.name", .value = "node-*" }, true },
        { { .attr = "none" }, false },
        { { .attr = "wftrace.parent.by" }, true },
        { { .attr = "wftrace.parent.by", .value = "proc*" }, false },
        { { .kind = SPAN_SERVER, .min_ns = 2 * NSEC_PER_SEC }, true },
        { { .min_ns = 2 * NSEC_PER_SEC + 1 }, false },
        { { .max_ns = NSEC_PER_SEC }, false },
        { { .kind = SPAN_CLIENT }, false },
        { { .error = true }, false },
        { { .body = "*" }, false },
    };
    u64 before = ledger_get(spans_filtered);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(kept((struct filter_options){ .drop = &cases[i].m, .n_drop = 1 }), !cases[i].matches);
        assert_int_equal(kept((struct filter_options){ .keep = &cases[i].m, .n_keep = 1 }), cases[i].matches);
    }
    assert_int_equal(ledger_get(spans_filtered) - before, ARRAY_LEN(cases));
    refused((struct processor_spec){ .kind = "filter" }, "neither");
}

static void filter_of_logs(void **state)
{
    static const struct match drop[] = { { .max_severity = 8 }, { .body = "*heartbeat*" } };
    static const struct {
        const char *body;
        u8 severity;
        bool kept;
    } cases[] = { { "starting", 9, true }, { "noise", 5, false }, { "a heartbeat", 17, false } };
    struct caught c;
    struct pipeline *p =
        pipeline_of(&(struct processor_spec){ .kind = "filter", .filter = { .drop = drop, .n_drop = 2 } }, 1, &c);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct log_record *l = log_new(slice_str(cases[i].body));
        l->severity = cases[i].severity;
        c.log = NULL;
        pipeline_logs(p)->emit(pipeline_logs(p), l);
        assert_int_equal(c.log != NULL, cases[i].kept);
        log_unref(c.log);
    }
    pipeline_free(p);
}

/* --- attributes --- */

static void attributes_in_order(void **state)
{
    static const struct attr_step steps[] = {
        { ACTION_SET, .key = "env", .text = "prod" },
        { ACTION_INSERT, .key = "env", .text = "never" },
        { ACTION_UPDATE, .key = "absent", .text = "never" },
        { ACTION_SET, .key = "copy", .from = "http.response.status_code" },
        { ACTION_RENAME, .key = "enduser.id", .from = "user.id" },
        { ACTION_EXTRACT, .key = "url.path", .pattern = "^/(?<app__area>[a-z]+)/(?<order>\\d+)" },
        { ACTION_HASH, .key = "enduser.id" },
        { ACTION_DELETE, .key = "url.*" },
        { ACTION_SET, .key = "cluster", .text = "east", .resource = true },
        { ACTION_DELETE, .key = "host.*", .resource = true },
    };
    struct caught c;
    struct pipeline *p = pipeline_of(
        &(struct processor_spec){ .kind = "attributes", .attributes = { .steps = steps, .n = ARRAY_LEN(steps) } }, 1, &c);
    struct span *in = some_span();
    struct resource *r = resource_ref(in->resource);
    struct span *s = through(p, &c, in);
    assert_string_equal(text_of(s, "env"), "prod");
    assert_null(attr_get(&s->attrs, "absent"));
    assert_int_equal(attr_get(&s->attrs, "copy")->i, 503);
    assert_null(attr_get(&s->attrs, "user.id"));
    assert_string_equal(text_of(s, "app.area"), "orders");
    assert_string_equal(text_of(s, "order"), "4711");
    /* printf ann | sha256sum */
    assert_string_equal(text_of(s, "enduser.id"), "49915e0d7d4b402e3017d010bc1c0e83cac6c797d6c16e66340fe3268693a6a1");
    assert_null(attr_get(&s->attrs, "url.path"));
    assert_ptr_not_equal(s->resource, r);
    assert_string_equal(attr_get(&s->resource->attrs, "cluster")->s, "east");
    assert_null(attr_get(&s->resource->attrs, "host.name"));
    assert_non_null(attr_get(&r->attrs, "host.name")); /* the shared one is as it was */
    resource_unref(r);
    span_unref(s);
    pipeline_free(p);
}

static void hashes_with_a_secret(void **state)
{
    static const struct attr_step steps[] = { { ACTION_HASH, .key = "user.id", .secret = "key" },
                                              { ACTION_HASH, .key = "http.response.status_code" } };
    struct caught c;
    struct pipeline *p =
        pipeline_of(&(struct processor_spec){ .kind = "attributes", .attributes = { .steps = steps, .n = 2 } }, 1, &c);
    struct span *in = some_span();
    attr_str(&in->attrs, "user.id", slice_str("The quick brown fox jumps over the lazy dog"));
    struct span *s = through(p, &c, in); /* the example of many HMAC pages */
    assert_string_equal(text_of(s, "user.id"), "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8");
    assert_int_equal(strlen(text_of(s, "http.response.status_code")), 64);
    span_unref(s);
    pipeline_free(p);
}

static void attributes_only_when(void **state)
{
    static const struct attr_step steps[] = { { ACTION_DELETE, .key = "*" } };
    struct caught c;
    struct pipeline *p = pipeline_of(
        &(struct processor_spec){ .kind = "attributes", .attributes = { .steps = steps, .n = 1, .when = { .name = "POST*" } } },
        1, &c);
    struct span *s = through(p, &c, some_span());
    assert_int_equal(s->attrs.n, 3);
    span_unref(s);
    pipeline_free(p);
    static const struct attr_step bad[][1] = {
        { { ACTION_SET, .key = "x" } },
        { { ACTION_RENAME, .key = "x" } },
        { { ACTION_EXTRACT, .key = "x" } },
        { { ACTION_EXTRACT, .key = "x", .pattern = "a" } },
        { { ACTION_EXTRACT, .key = "x", .pattern = "(" } },
        { { ACTION_DELETE, .key = NULL } },
    };
    static const char *const says[] = { "value", "from", "pattern", "names no group", "at character", "key" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        refused((struct processor_spec){ .kind = "attributes", .attributes = { .steps = bad[i], .n = 1 } }, says[i]);
    refused((struct processor_spec){ .kind = "attributes", .signals = 1u << SIGNAL_METRICS }, "nothing for that signal");
    refused((struct processor_spec){ .kind = "nonsense" }, "no such processor");
}

/* --- rename, limit, measure --- */

static void names_by_pattern(void **state)
{
    static const struct rename_step steps[] = { { "^PUT", "no" },
                                                { "^(\\w+) /(\\w+)/\\d+$", "$1 /$2/{http.response.status_code}{none}$9" },
                                                { ".", "never" } };
    struct caught c;
    struct pipeline *p = pipeline_of(&(struct processor_spec){ .kind = "rename", .rename = { .steps = steps, .n = 3 } }, 1, &c);
    struct span *s = through(p, &c, some_span());
    assert_string_equal(s->name, "GET /orders/503");
    span_unref(s);
    pipeline_free(p);
}

static void limits(void **state)
{
    struct caught c;
    struct pipeline *p =
        pipeline_of(&(struct processor_spec){ .kind = "limit",
                                              .limit = { .max_attributes = 2, .max_length = 2, .max_events = 1, .max_body = 4 } },
                    1, &c);
    struct span *in = some_span();
    attr_str(&in->attrs, "user.id", slice_str("a\xc3\xa9z"));
    span_add_exception(in, 1, slice_str("Error"), slice_str("long"), slice_of(NULL, 0));
    span_add_exception(in, 2, slice_str("Error"), slice_str("long"), slice_of(NULL, 0));
    span_set_marks(in, span_marks_new("gen_ai.chunk", "size", 3));
    span_mark(in->marks, 3, 1);
    span_mark(in->marks, 4, 1);
    struct span *s = through(p, &c, in);
    assert_int_equal(span_event_count(s), 1); /* those that there are many of go first */
    assert_int_equal(span_event_dropped(s), 3);
    assert_int_equal(s->attrs.n, 2);
    assert_int_equal(s->attrs.dropped, 1);
    assert_string_equal(text_of(s, "user.id"), "a"); /* é does not fit whole */
    assert_int_equal(s->n_events, 1);
    assert_int_equal(s->dropped_events, 1);
    assert_string_equal(s->events[0].attrs[0].s, "Er");
    span_unref(s);
    pipeline_logs(p)->emit(pipeline_logs(p), log_new(slice_str("abcdefgh")));
    assert_string_equal(c.log->body, "abcd");
    assert_int_equal(c.log->body_len, 4);
    assert_true(attr_get(&c.log->attrs, "wftrace.log.cut")->b);
    log_unref(c.log);
    pipeline_free(p);
}

struct measured {
    u32 n;
    double sum;
    char metric[32];
};

static void measured_one(void *arg, const struct measure_options *o, double value, const struct span *s)
{
    struct measured *m = arg;
    m->n++;
    m->sum += value;
    snprintf(m->metric, sizeof(m->metric), "%s/%s/%s", o->metric, o->unit, o->by[0]);
}

static void spans_are_measured(void **state)
{
    static const char *const by[] = { "user.id" };
    struct measured m = { 0 };
    struct processor_spec specs[] = {
        { .kind = "metric",
          .measure = { .metric = "m", .unit = "s", .of = "duration", .by = by, .n_by = 1, .record = measured_one, .arg = &m } },
        { .kind = "metric", .measure = { .metric = "m", .unit = "1", .by = by, .n_by = 1, .record = measured_one, .arg = &m } },
        { .kind = "metric",
          .measure = { .metric = "m", .unit = "1", .of = "user.id", .by = by, .n_by = 1, .record = measured_one, .arg = &m } },
        { .kind = "metric", .measure = { .metric = "nobody" } },
    };
    struct caught c;
    struct pipeline *p = pipeline_of(specs, 4, &c);
    u64 before = ledger_get(measures_dropped);
    span_unref(through(p, &c, some_span()));
    assert_int_equal(m.n, 2);
    assert_true(m.sum == 3);
    assert_string_equal(m.metric, "m/1/user.id");
    assert_int_equal(ledger_get(measures_dropped) - before, 1);
    pipeline_free(p);
    refused((struct processor_spec){ .kind = "metric" }, "name is missing");
}

/* The user's order counts, and the default redaction stands behind it. */
static void redaction_is_last(void **state)
{
    static const struct attr_step steps[] = { { ACTION_SET, .key = "note", .text = "mail ann@example.org" } };
    struct processor_spec spec = { .kind = "attributes", .attributes = { .steps = steps, .n = 1 } };
    struct pipeline_options o = { .processors = &spec, .n_processors = 1 };
    struct caught c = { .spans = { .ended = span_caught } };
    struct pipeline *p = NULL;
    char err[128];
    assert_int_equal(pipeline_new(&o, &c.spans, NULL, NULL, &p, err, sizeof(err)), 0);
    struct span *s = through(p, &c, some_span());
    assert_string_equal(text_of(s, "note"), "mail [email]");
    span_unref(s);
    pipeline_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filter_drops_and_keeps),
        cmocka_unit_test(filter_of_logs),
        cmocka_unit_test(attributes_in_order),
        cmocka_unit_test(hashes_with_a_secret),
        cmocka_unit_test(attributes_only_when),
        cmocka_unit_test(names_by_pattern),
        cmocka_unit_test(limits),
        cmocka_unit_test(spans_are_measured),
        cmocka_unit_test(redaction_is_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
