/* Memory that runs out between the tracer and the exporters: configuration, pipeline, metrics, logs, store and the scrape page,
 * with the first allocation failing, then the second, and so on: that one alone, and that one with all after it. Nothing may
 * crash or leak; nothing may be lost silently: it is handed on or counted; nothing half-made may pass for the whole; and what
 * redaction takes out does not leave for want of memory. Linked with --wrap, libyaml and SQLite from their archives, under ASan
 * and UBSan. */
#include "config/config.h"
#include "export/encode.h"
#include "export/prometheus.h"
#include "ingest/event.h"
#include "pipeline/logs.h"
#include "pipeline/metrics.h"
#include "pipeline/pipeline.h"
#include "base/log.h"
#include "self/ledger.h"
#include "store/store.h"
#include "tests/fuzz/starve.h"

#include <glob.h>
#include <sys/stat.h>
#include <unistd.h>

#define T0     1700000000000000000ull
#define SECRET "hunter2-hunter2"
#define SPANS  24

/* libyaml's loader itself loses a stack of items when it can't grow it; that is not ours to see. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "fast_unwind_on_malloc=0"; }
const char *__lsan_default_options(void);
const char *__lsan_default_options(void) { return "print_suppressions=0"; }
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:yaml_parser_load"; }

static struct resource *resources[2];
static char dir[] = "/tmp/wf-alloc-XXXXXX";

static void resources_make(void)
{
    for (u32 i = 0; i < ARRAY_LEN(resources); i++) {
        resources[i] = resource_new();
        attr_str(&resources[i]->attrs, "service.name", slice_str(i ? "two" : "one"));
        attr_str(&resources[i]->attrs, "api_token", slice_str(SECRET));
        attr_int(&resources[i]->attrs, "process.pid", 70 + i);
    }
}

/* Four spans make a trace; every third trace fails. */
static struct span *span_make(u32 i)
{
    struct slice argv[] = { slice_str("a"), slice_str("--password"), slice_str(SECRET) };
    struct span *s = span_new();
    memset(s->id.trace_id, 1 + (int)(i / 4), TRACE_ID_LEN);
    s->id.span_id[0] = (u8)(i + 1);
    s->parent_id[0] = i % 4 ? (u8)(i / 4 * 4 + 1) : 0;
    s->id.flags = 1;
    s->kind = i % 4 ? SPAN_INTERNAL : SPAN_SERVER;
    s->rule = 1;
    s->scope = "test";
    s->start_ns = T0 + i;
    s->end_ns = s->start_ns + (i + 1) * NSEC_PER_MSEC;
    span_set_name(s, slice_str(i % 2 ? "load 7" : "save"));
    attr_str(&s->attrs, "http.request.method", slice_str("GET"));
    attr_str(&s->attrs, "user.password", slice_str(SECRET));
    attr_str(&s->attrs, "process.command_line", slice_str("run --token=" SECRET));
    attr_strv(&s->attrs, "argv", argv, 3);
    attr_double(&s->attrs, "size", i + 0.5);
    span_add_exception(s, T0, slice_str("E"), slice_str("password=" SECRET), slice_str("at"));
    if (i / 4 % 3 == 0)
        span_set_error(s, slice_str("no"));
    s->resource = resource_ref(resources[i / 4 % 2]);
    return s;
}

static bool attrs_tell(const struct attr *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if ((v[i].type == ATTR_STR || v[i].type == ATTR_STRV) && memmem(v[i].s, v[i].len, SECRET, strlen(SECRET)))
            return true;
    return false;
}

static bool resource_tells(const struct resource *r) { return r && attrs_tell(r->attrs.v, r->attrs.n); }

/* --- the pipeline --- */

static struct {
    u32 spans, logs, points;
    bool told; /* a secret came out */
} out;

static void on_span(struct span_sink *sink, struct span *s)
{
    out.spans++;
    out.told |= attrs_tell(s->attrs.v, s->attrs.n) || resource_tells(s->resource);
    for (u8 i = 0; i < s->n_events; i++)
        out.told |= attrs_tell(s->events[i].attrs, s->events[i].n_attrs);
    span_unref(s);
}
static void on_record(struct log_sink *sink, struct log_record *l)
{
    out.logs++;
    out.told |= attrs_tell(l->attrs.v, l->attrs.n) || resource_tells(l->resource) || strstr(l->body, SECRET);
    log_unref(l);
}
static void on_points(struct metric_sink *sink, struct metric_batch *b)
{
    out.points += (u32)b->n_points;
    for (size_t i = 0; i < b->n; i++) {
        out.told |= resource_tells(b->metrics[i].resource);
        for (u32 k = 0; k < b->metrics[i].n_points; k++)
            out.told |= attrs_tell(b->metrics[i].points[k].attrs, b->metrics[i].points[k].n_attrs);
    }
    metric_batch_unref(b);
}
static struct span_sink to_spans = { .ended = on_span };
static struct log_sink to_logs = { .emit = on_record };
static struct metric_sink to_points = { .emit = on_points };

static const char *const globs[] = { "user.*", "x" };
static const struct attr_step steps[] = {
    { .action = ACTION_SET, .key = "team", .text = "blue", .resource = true },
    { .action = ACTION_HASH, .key = "http.request.method", .secret = "salt" },
    { .action = ACTION_EXTRACT, .key = "process.command_line", .pattern = "^(?<first>\\w+)" },
};
static const struct rename_step renames[] = { { "^load (\\d+)$", "load" } };
static const struct match filters[] = { { .name = "nobody*", .service = "x" }, { .attr = "size", .value = "3.*" } };
static const char *const patterns[] = { "hun(ter)2" };
static const struct processor_spec chain[] = {
    { .kind = "filter", .filter = { .drop = filters, .n_drop = ARRAY_LEN(filters) } },
    { .kind = "attributes", .attributes = { .steps = steps, .n = ARRAY_LEN(steps) } },
    { .kind = "rename", .rename = { .steps = renames, .n = 1 } },
    { .kind = "limit", .limit = { .max_length = 200 } },
    { .kind = "metric", .measure = { .metric = "sizes", .of = "size", .by = globs, .n_by = 2 } },
    { .kind = "redact",
      .redact = { .keys = globs, .n_keys = 2, .allow = globs + 1, .n_allow = 1, .patterns = patterns, .n_patterns = 1 } },
};
static const struct sampler_branch branches[] = {
    { .key = "nothing", .values = globs, .n_values = 2, .sampler = { .kind = SAMPLER_ALWAYS_OFF } },
    { .sampler = { .kind = SAMPLER_ALWAYS_ON } },
};
static const struct sampler_rule sampler_rules[] = {
    { .label = "x", .service = "none", .name = "*", .sampler = { .kind = SAMPLER_RATE, .per_second = 1 } },
};

static void batch_free(struct metric_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        resource_unref(b->metrics[i].resource);
    free(b);
}

/* Two metrics of one point, a secret on the second and on both resources. */
static struct metric_batch *batch_make(void)
{
    static struct attr attrs[] = { { .key = "plain", .type = ATTR_INT, .i = 5 },
                                   { .key = "password", .type = ATTR_STR, .s = SECRET, .len = sizeof(SECRET) - 1 } };
    static struct metric_point points[] = { { .attrs = attrs, .n_attrs = 1, .is_int = true },
                                            { .attrs = attrs, .n_attrs = 2, .is_int = true } };
    static struct metric metrics[2];
    struct metric_batch *b = calloc(1, sizeof(*b));
    for (u32 i = 0; i < 2; i++)
        metrics[i] = (struct metric){ .name = i ? "b" : "a",
                                      .unit = "1",
                                      .description = "",
                                      .resource = resource_ref(resources[i]),
                                      .kind = METRIC_SUM,
                                      .n_points = 1,
                                      .points = &points[i] };
    *b = (struct metric_batch){ .refs = 1, .time_ns = T0, .metrics = metrics, .n = 2, .n_points = 2, .free = batch_free };
    return b;
}

static void pipeline_feed(struct pipeline *p, struct span **spans, struct log_record **logs, struct metric_batch *b)
{
    struct span_sink *in = pipeline_spans(p);
    for (u32 i = 0; i < SPANS; i++) {
        in->started(in, spans[i]);
        if (i % 2)
            in->ended(in, spans[i - 1]), in->ended(in, spans[i]);
        pipeline_logs(p)->emit(pipeline_logs(p), logs[i]);
    }
    pipeline_metrics(p)->emit(pipeline_metrics(p), b);
    pipeline_tick(p, T0 + 10 * NSEC_PER_SEC, 5);
    (void)pipeline_finish(p, 5);
}

static u64 spans_counted(void)
{
    return ledger_get(spans_unsampled) + ledger_get(spans_tail_dropped) + ledger_get(spans_filtered);
}

static bool pipeline_starves(bool *ret_more, u32 n, bool for_good)
{
    const char *const names[] = { "save*", "nightly" };
    struct pipeline_options o = {
        .sampler = { .sampler = { .kind = SAMPLER_BRANCHES, .branches = branches, .n_branches = 2 },
                     .rules = sampler_rules,
                     .n_rules = 1 },
        .tail = { .enabled = true, .errors = true, .names = names, .n_names = 2, .ratio = 0.5, .max_spans = 8 },
        .processors = chain,
        .n_processors = ARRAY_LEN(chain),
    };
    struct span *spans[SPANS];
    struct log_record *logs[SPANS];
    struct metric_batch *b = batch_make();
    struct pipeline *p = NULL;
    char err[300] = "";
    for (u32 i = 0; i < SPANS; i++) {
        spans[i] = span_make(i);
        logs[i] = log_new(slice_str("{\"password\":\"" SECRET "\"}"));
        logs[i]->resource = resource_ref(resources[i % 2]);
        attr_str(&logs[i]->attrs, "authorization", slice_str(SECRET));
    }
    memset(&out, 0, sizeof(out));
    u64 spans_lost = spans_counted(), logs_lost = ledger_get(logs_filtered),
        failed_before = ledger_get(metric_collections_failed);
    memory_arm(n, for_good);
    int e = pipeline_new(&o, &to_spans, &to_logs, &to_points, &p, err, sizeof(err));
    if (!e)
        pipeline_feed(p, spans, logs, b);
    memory_disarm();
    *ret_more = memory.failed;
    pipeline_free(p);
    if (e) {
        metric_batch_unref(b);
        for (u32 i = 0; i < SPANS; i++)
            span_unref(spans[i]), log_unref(logs[i]);
        return e == -ENOMEM && *ret_more;
    }
    return !out.told && out.spans + spans_counted() - spans_lost == SPANS &&
           out.logs + ledger_get(logs_filtered) - logs_lost == SPANS &&
           (out.points == 2 || ledger_get(metric_collections_failed) > failed_before);
}

/* --- metrics --- */

static struct metric_batch *batches[64];
static size_t n_batches;
static void on_batch(struct metric_sink *sink, struct metric_batch *b)
{
    if (n_batches < ARRAY_LEN(batches))
        batches[n_batches++] = b;
    else
        metric_batch_unref(b);
}

/* What was pushed of one of the three, in all; everything that came is encoded, and so looked at. */
static double pushed_of(const char *name)
{
    double sum = 0;
    for (size_t i = 0; i < n_batches; i++)
        for (size_t k = 0; k < batches[i]->n; k++) {
            const struct metric *m = &batches[i]->metrics[k];
            for (u32 j = 0; j < m->n_points && !batches[i]->pull && !strcmp(m->name, name); j++)
                sum += m->kind == METRIC_SUM ? m->points[j].is_int ? (double)m->points[j].i : m->points[j].d
                                             : (double)m->points[j].count;
        }
    return sum;
}

static bool batches_encode(void)
{
    struct prometheus_options po = { 0 };
    struct json j = { .max = 1 << 22 }, page = { .max = 1 << 22 };
    struct grouping g = { 0 };
    struct encoder *e = encoder_new();
    struct slice body;
    bool ok = true;
    for (size_t i = 0; i < n_batches; i++) {
        struct batch b = { .metrics = &batches[i], .n = 1, .signal = SIGNAL_METRICS };
        ok = ok && !encoder_pack(e, &b, 0, &body) && !json_otlp(&j, &g, &b);
        prometheus_write(&page, batches[i], &po, (struct prometheus_form){ true, false });
    }
    ok = ok && !page.failed;
    encoder_free(e);
    json_done(&j);
    json_done(&page);
    grouping_done(&g);
    return ok;
}

static bool metrics_starve(bool *ret_more, u32 n, bool for_good)
{
    static const char *const by[] = { "http.request.method" };
    static const struct metric_rule rules[] = {
        { .rule = 1, .type = METER_COUNTER, .name = "loads", .attrs = by, .n_attrs = 1 },
        { .rule = 1, .type = METER_HISTOGRAM, .name = "took", .of = "duration", .attrs = by, .n_attrs = 1 },
        { .rule = 1, .type = METER_HISTOGRAM, .name = "sizes", .of = "size" },
    };
    static const struct metric_view views[] = {
        { .select_name = "sizes", .aggregation = AGGREGATE_EXPONENTIAL, .max_size = 20, .max_scale = 10 },
    };
    struct metrics_options o = { .start_ns = T0,
                                 .interval_ns = NSEC_PER_SEC,
                                 .push = true,
                                 .pull = true,
                                 .delta = true,
                                 .instance = "i",
                                 .no_processes = true,
                                 .views = views,
                                 .n_views = 1,
                                 .rules = rules,
                                 .n_rules = 3 };
    struct metric_sink sink = { .emit = on_batch };
    struct span *spans[SPANS];
    u64 dropped = ledger_get(metric_values_dropped);
    for (u32 i = 0; i < SPANS; i++)
        spans[i] = span_make(i);
    memory_arm(n, for_good);
    struct metrics *m = metrics_new(&o, &sink);
    for (u32 i = 0; m && i < SPANS; i++) {
        metrics_span_started(m, spans[i]);
        metrics_span_ended(m, spans[i]);
        if (i % 6 == 3)
            metric_ask();
        if (i % 3 == 2)
            metrics_tick(m, T0 + i * NSEC_PER_SEC);
    }
    memory_disarm();
    *ret_more = memory.failed;
    bool made = m;
    metrics_free(m); /* collects once more, with memory */
    bool ok = batches_encode();
    dropped = ledger_get(metric_values_dropped) - dropped;
    for (size_t i = 0; made && i < ARRAY_LEN(rules); i++) {
        double sum = pushed_of(rules[i].name);
        ok = ok && sum <= SPANS && (sum == SPANS || dropped);
        if (sum != SPANS && !dropped)
            printf("%s: %g of %d\n", rules[i].name, sum, SPANS);
    }
    while (n_batches)
        metric_batch_unref(batches[--n_batches]);
    for (u32 i = 0; i < SPANS; i++)
        span_unref(spans[i]);
    return ok && (made || *ret_more);
}

/* A page is whole or it is none. */
static bool page_starves(bool *ret_more, u32 n, bool for_good)
{
    static struct json whole = { .max = 1 << 20 };
    struct prometheus_options o = { 0 };
    struct json j = { .max = 1 << 20 };
    struct metric_batch *b = batch_make();
    if (!whole.n)
        prometheus_write(&whole, b, &o, (struct prometheus_form){ true, false });
    memory_arm(n, for_good);
    prometheus_write(&j, b, &o, (struct prometheus_form){ true, false });
    memory_disarm();
    *ret_more = memory.failed;
    bool ok = j.failed ? *ret_more : j.n == whole.n && !memcmp(j.p, whole.p, j.n);
    json_done(&j);
    metric_batch_unref(b);
    if (!*ret_more)
        json_done(&whole);
    return ok && (*ret_more || !j.failed);
}

/* --- logs --- */

static void line_say(struct logs *l, u64 *now, const char *line)
{
    struct event e = { .type = EVENT_WRITE, .time = ++*now, .tgid = 100, .tid = 100 };
    e.write.fd = 2;
    e.write.mode = S_IFREG;
    e.write.bytes = slice_str(line);
    e.write.len = (u32)strlen(line);
    logs_event(l, &e);
}

static void begun(struct span_sink *sink, struct span *s) { span_unref(s); }

static bool logs_starve(bool *ret_more, u32 n, bool for_good)
{
    static const char *const lines[] = { "2026-01-02 03:04:05 ERROR it broke\n",
                                         "{\"level\":\"error\",\"msg\":\"x\",\"exception\":{\"type\":\"E\",\"message\":\"m\"}}\n",
                                         "Traceback (most recent call last):\n  File \"x\", line 1\nKeyError: 'k'\n",
                                         "half a line, ", "and the rest of it\n" };
    struct span_sink ended = { .ended = begun };
    u64 now = NSEC_PER_SEC;
    u64 seen = ledger_get(logs_seen), lost = ledger_get(logs_dropped_rate) + ledger_get(logs_dropped_severity);
    struct tracer_options o = { .seed = { 1, 2 } };
    memset(&out, 0, sizeof(out));
    memory_arm(n, for_good);
    struct tracer *t = tracer_new(&o, &ended);
    struct logs *l = t ? logs_new(&(struct logs_options){ 0 }, t, &to_logs) : NULL;
    for (size_t i = 0; l && i < 3 * ARRAY_LEN(lines); i++) {
        struct activity_start as = { .time = ++now,
                                     .tgid = 100,
                                     .tid = 100,
                                     .kind = SPAN_INTERNAL,
                                     .scope = "rule",
                                     .name = slice_str("work"),
                                     .push = true };
        struct activity *a = i % 4 == 0 ? activity_begin(t, &as) : NULL;
        line_say(l, &now, lines[i % ARRAY_LEN(lines)]);
        if (a)
            activity_end(t, a, ++now);
        logs_tick(l, now += NSEC_PER_SEC);
    }
    memory_disarm();
    *ret_more = memory.failed;
    bool made = l;
    logs_free(l);
    if (t)
        tracer_free(t);
    seen = ledger_get(logs_seen) - seen;
    lost = ledger_get(logs_dropped_rate) + ledger_get(logs_dropped_severity) - lost;
    bool ok = made ? seen == out.logs + lost && seen : *ret_more;
    if (!ok)
        printf("logs: %llu seen, %u out, %llu lost\n", (unsigned long long)seen, out.logs, (unsigned long long)lost);
    return ok;
}

/* --- the store --- */

static bool count_span(void *arg, struct span *s)
{
    const struct attr *a = attr_get(&s->attrs, "http.request.method");
    *(u32 *)arg += a && !strcmp(a->s, "GET") && s->n_events == 1 && s->resource && attr_get(&s->resource->attrs, "api_token");
    return true;
}

static u32 spans_stored(struct store *s)
{
    u32 n = 0;
    for (u32 i = 0; i < SPANS; i += 4) {
        u8 id[TRACE_ID_LEN];
        memset(id, 1 + (int)(i / 4), TRACE_ID_LEN);
        (void)store_each_span(s, id, count_span, &n);
    }
    return n;
}

/* Opened and half of it written, the one or the other starved; what was refused once more, with memory. Then all is there, once. */
static bool store_run(bool opening, bool *ret_more, u32 n, bool for_good)
{
    struct span *spans[SPANS];
    char path[100], err[400] = "";
    struct store *s = NULL;
    snprintf(path, sizeof(path), "%s/%u-%d.db", dir, n, for_good);
    struct store_options o = { .path = path };
    for (u32 i = 0; i < SPANS; i++)
        spans[i] = span_make(i);
    if (opening)
        memory_arm(n, for_good);
    int e = store_open(&o, &s, err, sizeof(err));
    if (opening)
        memory_disarm();
    else
        memory_arm(n, for_good);
    int added = e ? 0 : store_add_spans(s, spans, SPANS / 2);
    memory_disarm();
    *ret_more = memory.failed;
    bool ok = e ? *ret_more && *err : !added || *ret_more;
    if (!e) {
        u32 from = added ? 0 : SPANS / 2;
        ok = ok && !store_add_spans(s, spans + from, SPANS - from) && spans_stored(s) == SPANS;
    }
    store_close(s);
    for (u32 i = 0; i < SPANS; i++)
        span_unref(spans[i]);
    for (size_t i = 0; i < 3; i++) {
        snprintf(err, sizeof(err), "%s%s", path, (const char *const[]){ "", "-wal", "-shm" }[i]);
        unlink(err);
    }
    return ok;
}

static bool store_opens(bool *more, u32 n, bool for_good) { return store_run(true, more, n, for_good); }
static bool store_starves(bool *more, u32 n, bool for_good) { return store_run(false, more, n, for_good); }

/* --- the configuration --- */

static const char *config_path;
static char *config_whole; /* its explain, with memory; NULL: it is refused */

static char *explained(const struct config *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    config_explain(c, false, to);
    fclose(to);
    return text;
}

/* Refused with a word, or exactly what it is with memory. */
static bool config_starves(bool *ret_more, u32 n, bool for_good)
{
    static struct config_says mistakes, notes;
    struct config_input in = { .files = &config_path, .n_files = 1 };
    struct config *c = NULL;
    memory_arm(n, for_good);
    int e = config_load(&in, &c, &mistakes, &notes);
    memory_disarm();
    *ret_more = memory.failed;
    char *text = e ? NULL : explained(c);
    bool ok = e ? mistakes.n && (*ret_more || !config_whole) : config_whole && !strcmp(text, config_whole);
    if (!ok)
        printf("%s: %d, %s", config_path, e, e ? mistakes.text : "not what is in it\n");
    free(text);
    config_free(c);
    return ok;
}

static void configs_starve(const char *pattern)
{
    static struct config_says mistakes, notes;
    glob_t g;
    if (glob(pattern, 0, NULL, &g)) {
        verdict(pattern, false);
        return;
    }
    for (size_t i = 0; i < g.gl_pathc; i++) {
        struct config *c = NULL;
        config_path = g.gl_pathv[i];
        struct config_input in = { .files = &config_path, .n_files = 1 };
        config_whole = config_load(&in, &c, &mistakes, &notes) ? NULL : explained(c);
        config_free(c);
        each_of(config_path, 3, config_starves);
        free(config_whole);
    }
    globfree(&g);
}

int main(void)
{
    char line[100];
    log_level = LOG_ERROR;
    if (!mkdtemp(dir))
        return 1;
    resources_make();
    each("pipeline", pipeline_starves);
    each("metrics", metrics_starve);
    each("page", page_starves);
    each("logs", logs_starve);
    each("store", store_starves);
    each_of("opening a store", 23, store_opens);
    configs_starve("tests/config/good/*.yaml");
    configs_starve("tests/config/bad/[a-c]*.yaml");
    for (u32 i = 0; i < ARRAY_LEN(resources); i++)
        resource_unref(resources[i]);
    snprintf(line, sizeof(line), "rm -rf %s", dir);
    failed += system(line) != 0;
    printf("allocstages: %u passed, %u failed\n", passed, failed);
    return failed > 0;
}
