/* needs: base self trace stream protocol ingest pipeline */
/* The metrics stage: exact aggregates from known spans, and the edges of the specification. */
#include "pipeline/metrics.h"
#include "self/ledger.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <unistd.h>
#include <cmocka.h>

#define T0  1700000000000000000ull
#define SEC NSEC_PER_SEC

static struct metric_batch *got[64];
static size_t n_got;
static void take_batch(struct metric_sink *sink, struct metric_batch *b)
{
    assert_true(n_got < ARRAY_LEN(got));
    got[n_got++] = b;
}
static struct metric_sink sink = { take_batch };

static void forget(void)
{
    while (n_got)
        metric_batch_unref(got[--n_got]);
}

static struct resource *service(const char *name, s64 pid)
{
    struct resource *r = resource_new();
    attr_str(&r->attrs, "service.name", slice_str(name));
    attr_int(&r->attrs, "process.pid", pid);
    return r;
}

static struct span *span_of(struct resource *r, enum span_kind kind, double seconds)
{
    static u64 id;
    struct span *s = span_new();
    id++;
    memset(s->id.trace_id, 0xab, TRACE_ID_LEN);
    memcpy(s->id.span_id, &id, SPAN_ID_LEN);
    s->id.flags = 1;
    s->kind = (u8)kind;
    s->resource = resource_ref(r);
    s->start_ns = T0;
    s->end_ns = T0 + (u64)(seconds * 1e9 + 0.5);
    span_set_name(s, slice_str("op"));
    return s;
}

static void end(struct metrics *m, struct span *s)
{
    metrics_span_ended(m, s);
    span_unref(s);
}

static void http(struct metrics *m, struct resource *r, const char *route, s64 status, double seconds)
{
    struct span *s = span_of(r, SPAN_SERVER, seconds);
    attr_str(&s->attrs, "http.request.method", slice_str("GET"));
    attr_str(&s->attrs, "url.scheme", slice_str("http"));
    attr_str(&s->attrs, "url.path", slice_str("/secret/42"));
    attr_str(&s->attrs, "wftrace.route", slice_str(route));
    attr_int(&s->attrs, "http.response.status_code", status);
    if (status >= 500) {
        attr_str(&s->attrs, "error.type", slice_str("500"));
        span_set_error(s, slice_str(""));
    }
    end(m, s);
}

static const struct metric *find(const struct metric_batch *b, const char *name)
{
    for (size_t i = 0; i < b->n; i++)
        if (!strcmp(b->metrics[i].name, name))
            return &b->metrics[i];
    return NULL;
}

static const struct attr *point_attr(const struct metric_point *p, const char *key)
{
    for (u16 i = 0; i < p->n_attrs; i++)
        if (!strcmp(p->attrs[i].key, key))
            return &p->attrs[i];
    return NULL;
}

static const struct metric_point *point_with(const struct metric *k, const char *key, const char *value)
{
    for (u32 i = 0; k && i < k->n_points; i++) {
        const struct attr *a = point_attr(&k->points[i], key);
        if (a && a->type == ATTR_STR && !strcmp(a->s, value))
            return &k->points[i];
    }
    return NULL;
}

static struct metrics *begin(struct metrics_options o)
{
    forget();
    o.start_ns = T0;
    o.push = true;
    o.interval_ns = SEC;
    o.no_processes = true;
    struct metrics *m = metrics_new(&o, &sink);
    assert_non_null(m);
    return m;
}

static void a_clock_that_steps_back_an_hour(void **state)
{
    struct metrics *m = begin((struct metrics_options){ .start_ns = T0 });
    struct resource *r = service("shop", 1);
    http(m, r, "/a", 200, 0.004);
    metrics_tick(m, T0 + SEC);
    metrics_tick(m, T0 - 3600 * SEC); /* what is read afterwards is read an interval later, not in an hour */
    http(m, r, "/a", 200, 0.004);
    metrics_tick(m, T0 - 3599 * SEC);
    assert_int_equal(n_got, 2);
    u64 start[2];
    for (int i = 0; i < 2; i++) {
        const struct metric *k = find(got[i], "http.server.request.duration");
        assert_non_null(k);
        assert_int_equal(k->points[0].count, i + 1);
        assert_true(k->points[0].start_ns <= k->points[0].time_ns);
        start[i] = k->points[0].start_ns;
    }
    assert_int_equal(got[1]->time_ns, T0 - 3599 * SEC);
    assert_int_equal(start[0] - start[1], 3601 * SEC); /* the same moment by the new clock: no reset at each collection */
    resource_unref(r);
    metrics_free(m);
    forget();
}

static void exact_histogram_by_route_and_status(void **state)
{
    struct metrics *m = begin((struct metrics_options){ 0 });
    struct resource *r[2] = { service("shop", 1), service("shop", 2) };
    http(m, r[0], "/a", 200, 0.004);
    http(m, r[1], "/a", 200, 0.005); /* a bound belongs to the bucket below it */
    http(m, r[0], "/a", 200, 0.3);
    http(m, r[0], "/a", 500, 20);
    http(m, r[0], "/b", 200, 0);
    metrics_tick(m, T0 + SEC);
    assert_int_equal(n_got, 1);
    const struct metric *k = find(got[0], "http.server.request.duration");
    assert_non_null(k);
    assert_string_equal(k->unit, "s");
    assert_int_equal(k->kind, METRIC_HISTOGRAM);
    assert_false(k->delta);
    assert_int_equal(k->n_points, 3); /* two processes of one service are one stream */
    assert_null(attr_get(&k->resource->attrs, "process.pid"));
    assert_string_equal(resource_service(k->resource), "shop");
    assert_non_null(attr_get(&k->resource->attrs, "service.instance.id"));
    const struct metric_point *p = &k->points[0];
    static const u64 counts[15] = { 2, 0, 0, 0, 0, 0, 0, 1 };
    assert_int_equal(p->n_bounds, 14);
    assert_memory_equal(p->counts, counts, sizeof(counts));
    assert_int_equal(p->count, 3);
    assert_true(p->sum > 0.3089 && p->sum < 0.3091);
    assert_true(p->min == 0.004 && p->max == 0.3);
    assert_int_equal(p->start_ns, T0);
    assert_int_equal(p->time_ns, T0 + SEC);
    assert_string_equal(point_attr(p, "wftrace.route")->s, "/a");
    assert_int_equal(point_attr(p, "http.response.status_code")->i, 200);
    assert_null(point_attr(p, "url.path"));
    assert_null(point_attr(p, "error.type"));
    p = point_with(k, "error.type", "500");
    assert_int_equal(p->counts[14], 1);
    assert_int_equal(p->n_exemplars, 1);
    assert_true(p->exemplars[0].value == 20 && p->exemplars[0].context.trace_id[0] == 0xab);
    metrics_free(m);
    resource_unref(r[0]);
    resource_unref(r[1]);
    forget();
}

static void cumulative_grows_and_delta_starts_anew(void **state)
{
    for (int delta = 0; delta < 2; delta++) {
        struct metrics *m = begin((struct metrics_options){ .delta = delta });
        struct resource *r = service("shop", 1);
        http(m, r, "/a", 200, 0.1);
        http(m, r, "/a", 200, 0.2);
        metrics_tick(m, T0 + SEC);
        http(m, r, "/a", 200, 0.9);
        metrics_tick(m, T0 + 2 * SEC);
        metrics_tick(m, T0 + 3 * SEC); /* nothing happened */
        assert_int_equal(n_got, 3);
        const struct metric *k = find(got[1], "http.server.request.duration");
        assert_int_equal(k->delta, delta);
        const struct metric_point *p = k->points;
        assert_int_equal(p->count, delta ? 1 : 3);
        assert_true(delta ? fabs(p->sum - 0.9) < 1e-9 : fabs(p->sum - 1.2) < 1e-9);
        assert_true(p->min == (delta ? 0.9 : 0.1) && p->max == 0.9);
        assert_int_equal(p->counts[5], delta ? 0 : 1);
        assert_int_equal(p->counts[9], 1);
        assert_int_equal(p->start_ns, delta ? T0 + SEC : T0);
        k = find(got[2], "http.server.request.duration");
        if (delta)
            assert_null(k);
        else
            assert_int_equal(k->points[0].count, 3);
        metrics_free(m);
        resource_unref(r);
    }
    forget();
}

static void the_limit_has_an_overflow_series(void **state)
{
    struct metrics *m = begin((struct metrics_options){ .limits = { 10 } });
    struct resource *r = service("shop", 1);
    u64 before = ledger_get(metric_overflows);
    for (int i = 0; i < 100; i++) {
        char route[16];
        snprintf(route, sizeof(route), "/r%d", i);
        http(m, r, route, 200, 0.1);
    }
    http(m, r, "/r3", 200, 0.1); /* known ones go on */
    metrics_tick(m, T0 + SEC);
    const struct metric *k = find(got[0], "http.server.request.duration");
    assert_int_equal(k->n_points, 10);
    u64 sum = 0;
    const struct metric_point *over = NULL;
    for (u32 i = 0; i < k->n_points; i++) {
        const struct attr *a = point_attr(&k->points[i], "otel.metric.overflow");
        sum += k->points[i].count;
        if (!a)
            continue;
        assert_null(over);
        assert_int_equal(k->points[i].n_attrs, 1);
        assert_true(a->type == ATTR_BOOL && a->b);
        over = &k->points[i];
    }
    assert_int_equal(sum, 101);
    assert_int_equal(over->count, 91);
    assert_int_equal(point_with(k, "wftrace.route", "/r3")->count, 2);
    assert_int_equal(ledger_get(metric_overflows) - before, 91);
    metrics_free(m);
    resource_unref(r);
    forget();
}

/* 100,000 different series are asked for; 5,000 are kept and every measurement is in one of them. Silence makes room again. */
static void a_hundred_thousand_series_are_bounded(void **state)
{
    struct metrics *m = begin((struct metrics_options){ .limits = { 1000000 }, .max_series = 5000, .expire_ns = 60 * SEC });
    struct resource *r = service("shop", 1);
    for (int i = 0; i < 100000; i++) {
        char route[16];
        snprintf(route, sizeof(route), "/r%d", i);
        http(m, r, route, 200, 0.1);
    }
    assert_true(metrics_series(m) <= 5000 + 3);
    metrics_tick(m, T0 + SEC);
    const struct metric *k = find(got[0], "http.server.request.duration");
    u64 sum = 0;
    for (u32 i = 0; i < k->n_points; i++)
        sum += k->points[i].count;
    assert_int_equal(sum, 100000);
    for (u64 t = 2; t < 130; t++) {
        metrics_tick(m, T0 + t * SEC);
        forget();
    }
    assert_int_equal(metrics_series(m), 0);
    http(m, r, "/new", 200, 0.1);
    metrics_tick(m, T0 + 200 * SEC);
    assert_int_equal(find(got[0], "http.server.request.duration")->points[0].count, 1);
    assert_non_null(point_with(find(got[0], "http.server.request.duration"), "wftrace.route", "/new"));
    assert_int_equal(find(got[0], "http.server.request.duration")->points[0].start_ns, T0 + 129 * SEC);
    metrics_tick(m, T0 + 100 * SEC); /* the clock was set back: nothing is lost */
    assert_int_equal(metrics_series(m), 3);
    metrics_free(m);
    resource_unref(r);
    forget();
}

static void exemplars_follow_the_filter(void **state)
{
    static const int expected[] = { [EXEMPLARS_TRACE_BASED] = 0, [EXEMPLARS_ALL] = 1, [EXEMPLARS_NONE] = 0 };
    for (int f = 0; f < 3; f++) {
        struct metrics *m = begin((struct metrics_options){ .exemplars = (enum metric_exemplars)f });
        struct resource *r = service("shop", 1);
        struct span *s = span_of(r, SPAN_SERVER, 0.1);
        attr_str(&s->attrs, "http.request.method", slice_str("GET"));
        s->id.flags = 0; /* not sampled */
        end(m, s);
        metrics_tick(m, T0 + SEC);
        assert_int_equal(find(got[0], "http.server.request.duration")->points[0].n_exemplars, expected[f]);
        assert_int_equal(find(got[0], "http.server.request.duration")->points[0].count, 1); /* it counts all the same */
        metrics_free(m);
        resource_unref(r);
    }
    forget();
}

static void views_choose_rename_and_drop(void **state)
{
    static const char *const only[] = { "http.request.method", "server.address" }, *const not [] = { "db.query.summary" };
    static const double bounds[] = { 1, 2 };
    static const struct metric_view views[] = {
        { .select_name = "http.server.request.duration",
          .name = "requests",
          .description = "mine",
          .include = only,
          .n_include = 2,
          .aggregation = AGGREGATE_EXPLICIT,
          .bounds = bounds,
          .n_bounds = 2 },
        { .select_name = "HTTP.server.req*", .aggregation = AGGREGATE_SUM, .name = "request.seconds" },
        { .select_name = "traces_*", .aggregation = AGGREGATE_DROP },
        { .select_name = "db.*",
          .exclude = not,
          .n_exclude = 1,
          .aggregation = AGGREGATE_EXPONENTIAL,
          .max_size = 4,
          .max_scale = 2 },
    };
    struct metrics *m = begin((struct metrics_options){ .views = views, .n_views = ARRAY_LEN(views) });
    struct resource *r = service("shop", 1);
    http(m, r, "/a", 200, 1.5);
    http(m, r, "/b", 500, 3);
    struct span *s = span_of(r, SPAN_CLIENT, 0.5);
    attr_str(&s->attrs, "db.system.name", slice_str("redis"));
    attr_str(&s->attrs, "db.query.summary", slice_str("GET"));
    end(m, s);
    metrics_tick(m, T0 + SEC);
    assert_null(find(got[0], "http.server.request.duration"));
    assert_null(find(got[0], "traces_service_graph_request_total"));
    const struct metric *k = find(got[0], "requests");
    assert_string_equal(k->description, "mine");
    assert_int_equal(k->n_points, 1); /* both have the same of what is kept */
    assert_int_equal(k->points[0].n_attrs, 1);
    static const u64 counts[] = { 0, 1, 1 };
    assert_memory_equal(k->points[0].counts, counts, sizeof(counts));
    k = find(got[0], "request.seconds");
    assert_int_equal(k->kind, METRIC_SUM);
    assert_true(k->points[0].d + k->points[1].d == 4.5);
    k = find(got[0], "db.client.operation.duration");
    assert_int_equal(k->kind, METRIC_EXP_HISTOGRAM);
    assert_int_equal(k->points[0].scale, 2);
    assert_null(point_attr(k->points, "db.query.summary"));
    assert_string_equal(point_attr(k->points, "db.system.name")->s, "redis");
    metrics_free(m);
    resource_unref(r);
    forget();
}

struct open_list {
    struct span *v[8];
    size_t n;
};
static void open_each(void *arg, void (*see)(void *to, const struct span *s), void *to)
{
    struct open_list *l = arg;
    for (size_t i = 0; i < l->n; i++)
        see(to, l->v[i]);
}

static void what_is_open_is_counted_anew(void **state)
{
    struct open_list open = { .n = 0 };
    struct metrics *m = begin((struct metrics_options){ .each_open = open_each, .arg = &open, .delta = true });
    struct resource *r = service("shop", 1);
    for (int i = 0; i < 3; i++) {
        struct span *s = open.v[open.n++] = span_of(r, SPAN_SERVER, 0);
        attr_str(&s->attrs, "http.request.method", slice_str(i ? "GET" : "POST"));
        attr_str(&s->attrs, "wftrace.activity.type", slice_str("workflow"));
    }
    metrics_tick(m, T0 + SEC);
    const struct metric *k = find(got[0], "http.server.active_requests");
    assert_false(k->delta);
    assert_false(k->monotonic);
    assert_int_equal(point_with(k, "http.request.method", "GET")->i, 2);
    assert_int_equal(point_with(k, "http.request.method", "POST")->i, 1);
    k = find(got[0], "wftrace.activity.active");
    assert_int_equal(k->points[0].i, 3);
    assert_string_equal(point_attr(k->points, "wftrace.activity.name")->s, "op");
    open.n = 1; /* two are gone, however they went */
    metrics_tick(m, T0 + 2 * SEC);
    k = find(got[1], "http.server.active_requests");
    assert_int_equal(point_with(k, "http.request.method", "GET")->i, 0);
    assert_int_equal(point_with(k, "http.request.method", "POST")->i, 1);
    for (int i = 0; i < 3; i++)
        span_unref(open.v[i]);
    open.n = 0;
    metrics_free(m);
    resource_unref(r);
    forget();
}

static void rules_have_metrics_of_their_own(void **state)
{
    static const char *const keys[] = { "graph" };
    static const struct metric_rule rules[] = {
        { .rule = 7, .type = METER_COUNTER, .name = "agentmap.workflow.executions", .attrs = keys, .n_attrs = 1 },
        { .rule = 7,
          .type = METER_HISTOGRAM,
          .name = "agentmap.workflow.duration",
          .of = "duration",
          .attrs = keys,
          .n_attrs = 1 },
        { .rule = 7, .type = METER_COUNTER, .name = "agentmap.agent.errors", .errors_only = true },
        { .rule = 7, .type = METER_COUNTER, .name = "orders.amount", .of = "amount", .unit = "EUR" },
        { .rule = 7, .type = METER_GAUGE, .name = "orders.last", .of = "amount" },
        { .rule = 8, .type = METER_COUNTER, .name = "agentmap.workflow.executions", .attrs = keys, .n_attrs = 1 },
    };
    struct metrics *m = begin((struct metrics_options){ .rules = rules, .n_rules = ARRAY_LEN(rules) });
    struct resource *r = service("agents", 1);
    u64 bad = ledger_get(metric_values_bad);
    double amounts[] = { 1.5, 2, NAN, -3 };
    for (u32 i = 0; i < 5; i++) {
        struct span *s = span_of(r, SPAN_INTERNAL, 2);
        s->rule = i < 4 ? 7 : 8;
        attr_str(&s->attrs, intern("graph"), slice_str("g1"));
        if (i < 4)
            attr_double(&s->attrs, intern("amount"), amounts[i]);
        if (i == 1)
            span_set_error(s, slice_str("no"));
        end(m, s);
    }
    metrics_tick(m, T0 + SEC);
    const struct metric *k = find(got[0], "agentmap.workflow.executions");
    assert_int_equal(k->n_points, 1);
    assert_true(k->points[0].is_int && k->points[0].i == 5 && k->monotonic);
    assert_string_equal(point_attr(k->points, "graph")->s, "g1");
    assert_int_equal(find(got[0], "agentmap.workflow.duration")->points[0].count, 4);
    assert_int_equal(find(got[0], "agentmap.agent.errors")->points[0].i, 1);
    assert_true(find(got[0], "orders.amount")->points[0].d == 3.5); /* no NaN, nothing negative */
    assert_true(find(got[0], "orders.last")->points[0].d == -3);
    assert_int_equal(ledger_get(metric_values_bad) - bad, 3); /* NaN twice, -3 for the counter */
    metrics_free(m);
    resource_unref(r);
    forget();
}

static void tokens_and_pairs_of_services(void **state)
{
    struct metrics *m = begin((struct metrics_options){ 0 });
    struct resource *a = service("front", 1), *b = service("back", 2);
    struct span *out = span_of(a, SPAN_CLIENT, 0.3), *in = span_of(b, SPAN_SERVER, 0.2);
    memcpy(in->parent_id, out->id.span_id, SPAN_ID_LEN);
    metrics_span_started(m, out);
    metrics_span_started(m, in);
    span_set_error(in, slice_str("no"));
    end(m, in);
    end(m, out);
    struct span *llm = span_of(a, SPAN_CLIENT, 1);
    attr_str(&llm->attrs, "gen_ai.operation.name", slice_str("chat"));
    attr_str(&llm->attrs, "gen_ai.provider.name", slice_str("openai"));
    attr_int(&llm->attrs, "gen_ai.usage.input_tokens", 10);
    attr_int(&llm->attrs, "gen_ai.usage.output_tokens", 70);
    attr_double(&llm->attrs, "gen_ai.response.time_to_first_chunk", 0.03);
    end(m, llm);
    metrics_tick(m, T0 + SEC);
    const struct metric *k = find(got[0], "traces_service_graph_request_total");
    const struct metric_point *p = point_with(k, "client", "front");
    assert_string_equal(point_attr(p, "server")->s, "back");
    assert_int_equal(p->i, 1);
    assert_int_equal(find(got[0], "traces_service_graph_request_failed_total")->points[0].i, 1);
    assert_true(find(got[0], "traces_service_graph_request_server")->points[0].sum == 0.2);
    assert_true(find(got[0], "traces_service_graph_request_client")->points[0].sum == 0.3);
    k = find(got[0], "gen_ai.client.token.usage");
    assert_true(point_with(k, "gen_ai.token.type", "input")->sum == 10);
    assert_true(point_with(k, "gen_ai.token.type", "output")->sum == 70);
    assert_int_equal(point_with(k, "gen_ai.token.type", "output")->counts[4], 1); /* (64, 256] */
    assert_true(find(got[0], "gen_ai.client.operation.time_to_first_chunk")->points[0].sum == 0.03);
    assert_int_equal(find(got[0], "gen_ai.client.operation.duration")->points[0].count, 1);
    metrics_free(m);
    resource_unref(a);
    resource_unref(b);
    forget();
}

static void a_scraper_gets_cumulative_numbers_when_it_asks(void **state)
{
    forget();
    struct metrics_options o = {
        .start_ns = T0, .push = true, .pull = true, .delta = true, .interval_ns = 10 * SEC, .no_processes = true
    };
    struct metrics *m = metrics_new(&o, &sink);
    struct resource *r = service("shop", 1);
    http(m, r, "/a", 200, 0.1);
    metrics_tick(m, T0 + SEC);
    assert_int_equal(n_got, 0);
    metric_ask();
    metrics_tick(m, T0 + 2 * SEC);
    assert_int_equal(n_got, 1);
    assert_true(got[0]->pull);
    assert_false(find(got[0], "http.server.request.duration")->delta);
    http(m, r, "/a", 200, 0.1);
    metrics_tick(m, T0 + 10 * SEC);
    metric_ask();
    metrics_tick(m, T0 + 11 * SEC);
    assert_int_equal(n_got, 3);
    assert_int_equal(find(got[1], "http.server.request.duration")->points[0].count, 2); /* first delta: all of it */
    assert_int_equal(find(got[2], "http.server.request.duration")->points[0].count, 2);
    assert_false(got[1]->pull);
    metrics_free(m); /* once more for both */
    assert_int_equal(n_got, 5);
    resource_unref(r);
    forget();
}

static size_t some_numbers(void *arg, struct metric_number *v, size_t max)
{
    v[0] = (struct metric_number){ .name = "wftrace.x", .unit = "{span}", .description = "d", .type = METER_COUNTER, .i = 5 };
    v[1] = v[0];
    v[1].attrs[0] = (struct attr){ .key = "stage", .type = ATTR_STR, .len = 1, .s = "a" };
    v[1].n_attrs = 1;
    v[2] = (struct metric_number){
        .name = "wftrace.y", .unit = "s", .description = "d", .type = METER_GAUGE, .is_double = true, .d = 0.5
    };
    return 3;
}
static struct resource *this_process;
static void this_one(void *arg, void (*see)(void *to, const struct metric_process *p), void *to)
{
    see(to, &(struct metric_process){ (u32)getpid(), this_process });
    see(to, &(struct metric_process){ 0x7ffffffe, this_process }); /* gone */
}

static void own_numbers_and_processes(void **state)
{
    forget();
    struct metrics_options o = {
        .start_ns = T0, .push = true, .interval_ns = SEC, .numbers = some_numbers, .each_process = this_one
    };
    this_process = service("me", getpid());
    struct metrics *m = metrics_new(&o, &sink);
    for (u64 t = 0; !n_got && t < 1000; t++) /* /proc may take more than one tick */
        metrics_tick(m, T0 + SEC + t);
    assert_int_equal(n_got, 1);
    const struct metric *k = find(got[0], "wftrace.x");
    assert_int_equal(k->n_points, 2);
    assert_string_equal(resource_service(k->resource), "wftrace");
    assert_true(find(got[0], "wftrace.y")->points[0].d == 0.5);
    k = find(got[0], "process.cpu.time");
    assert_int_equal(k->n_points, 2);
    assert_string_equal(k->points[1].attrs[0].s, "system");
    assert_non_null(attr_get(&k->resource->attrs, "process.pid"));
    assert_true(find(got[0], "process.memory.usage")->points[0].i > 100000);
    assert_int_equal(find(got[0], "process.thread.count")->points[0].i, 1);
    assert_true(find(got[0], "process.unix.file_descriptor.count")->points[0].i >= 3);
    metrics_free(m);
    resource_unref(this_process);
    forget();
}

/* A processor's measurement: its value, the span's attributes, and nothing of the span's own metrics. */
static void measured_values(void **state)
{
    static const char *const keys[] = { "graph" };
    static const struct metric_rule rules[] = {
        { .rule = 1, .type = METER_COUNTER, .name = "own" },
        { .rule = 0x80000000u, .type = METER_COUNTER, .name = "rows", .of = "n", .attrs = keys, .n_attrs = 1 },
    };
    struct metrics *m = begin((struct metrics_options){ .rules = rules, .n_rules = ARRAY_LEN(rules) });
    struct resource *r = service("agents", 1);
    struct span *s = span_of(r, SPAN_INTERNAL, 2);
    s->rule = 1;
    attr_str(&s->attrs, intern("graph"), slice_str("g1"));
    metrics_measure(m, 0x80000000u, 40, s);
    metrics_measure(m, 0x80000000u, 2.5, s);
    metrics_tick(m, T0 + SEC);
    const struct metric *k = find(got[0], "rows");
    assert_non_null(k);
    assert_int_equal(k->n_points, 1);
    assert_true(!k->points[0].is_int && k->points[0].d == 42.5);
    assert_null(find(got[0], "own"));
    span_unref(s);
    metrics_free(m);
    resource_unref(r);
    forget();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_clock_that_steps_back_an_hour),
        cmocka_unit_test(exact_histogram_by_route_and_status),
        cmocka_unit_test(cumulative_grows_and_delta_starts_anew),
        cmocka_unit_test(the_limit_has_an_overflow_series),
        cmocka_unit_test(a_hundred_thousand_series_are_bounded),
        cmocka_unit_test(exemplars_follow_the_filter),
        cmocka_unit_test(views_choose_rename_and_drop),
        cmocka_unit_test(what_is_open_is_counted_anew),
        cmocka_unit_test(rules_have_metrics_of_their_own),
        cmocka_unit_test(measured_values),
        cmocka_unit_test(tokens_and_pairs_of_services),
        cmocka_unit_test(a_scraper_gets_cumulative_numbers_when_it_asks),
        cmocka_unit_test(own_numbers_and_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
