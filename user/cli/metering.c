#include "cli/metering.h"
#include "self/health.h"
#include "self/numbers.h"

/* --- the sink --- */

static void on_started(struct span_sink *sink, struct span *s)
{
    struct metering *m = container_of(sink, struct metering, sink);
    if (m->metrics)
        metrics_span_started(m->metrics, s);
    if (m->next->started)
        m->next->started(m->next, s);
}

static void on_ended(struct span_sink *sink, struct span *s)
{
    struct metering *m = container_of(sink, struct metering, sink);
    if (m->metrics)
        metrics_span_ended(m->metrics, s);
    m->next->ended(m->next, s);
}

/* --- what the stage asks --- */

static void each_open(void *arg, void (*see)(void *to, const struct span *s), void *to)
{
    struct metering *m = arg;
    if (m->tracer)
        tracer_each_open(m->tracer, see, to);
}

struct adapter {
    void (*see)(void *to, const struct metric_process *p);
    void *to;
};

static void see_process(void *to, u32 tgid, struct resource *r)
{
    struct adapter *a = to;
    a->see(a->to, &(struct metric_process){ tgid, r });
}

static void each_process(void *arg, void (*see)(void *to, const struct metric_process *p), void *to)
{
    struct metering *m = arg;
    struct adapter a = { see, to };
    if (m->tracer)
        tracer_each_process(m->tracer, see_process, &a);
}

static struct metric_number number_of(const struct self_number *s)
{
    static const enum metric_instrument types[] = {
        [SELF_COUNTER] = METER_COUNTER, [SELF_UPDOWN] = METER_UPDOWN, [SELF_GAUGE] = METER_GAUGE
    };
    struct metric_number n = {
        .name = s->name, .unit = s->unit, .description = s->help, .type = types[s->type], .is_double = s->is_double
    };
    if (s->is_double)
        n.d = s->d;
    else
        n.i = s->i;
    if (s->key) {
        n.attrs[0] = (struct attr){ .key = s->key, .type = ATTR_STR, .len = (u16)strlen(s->value), .s = s->value };
        n.n_attrs = 1;
    }
    return n;
}

static size_t add_kernel(struct metering *m, struct metric_number *v, size_t max)
{
    size_t n = 0;
    const char *name, *help;
    for (u64 value; m->o.kernel_stat && n < max; n++) {
        char text[80];
        value = m->o.kernel_stat(m->o.arg, n, &name, &help);
        if (!name)
            break;
        snprintf(text, sizeof(text), "wftrace.kernel.%s", name);
        v[n] = number_of(&(struct self_number){
            .name = intern(text), .unit = "", .help = help ? help : "", .type = SELF_COUNTER, .i = (s64)value });
    }
    return n;
}

/* By enum export_number. */
static const struct lane_number {
    const char *name, *unit, *help;
    enum metric_instrument type;
} lane_numbers[REPORT_MAX] = {
    [REPORT_WAITING] = { "wftrace.exporter.queue.size", "{item}", "Items waiting for the exporter.", METER_UPDOWN },
    [REPORT_CAPACITY] = { "wftrace.exporter.queue.capacity", "{item}", "Items that may wait for the exporter.", METER_UPDOWN },
    [REPORT_SPOOL_ITEMS] = { "wftrace.exporter.spool.items", "{item}", "Items on disk for the exporter.", METER_UPDOWN },
    [REPORT_SPOOL_BYTES] = { "wftrace.exporter.spool.size", "By", "Bytes on disk for the exporter.", METER_UPDOWN },
    [REPORT_LOST] = { "wftrace.exporter.lost", "{item}", "Items that the exporter could not deliver, of any cause.",
                      METER_COUNTER },
    [REPORT_CALLS] = { "wftrace.exporter.sends", "{send}", "Batches handed to the exporter, every attempt.", METER_COUNTER },
    [REPORT_FAILURES] = { "wftrace.exporter.send.failures", "{send}", "Attempts that did not deliver.", METER_COUNTER },
    [REPORT_BUSY_NS] = { "wftrace.exporter.send.time", "s", "Time spent in attempts.", METER_COUNTER },
};

static size_t add_lanes(struct metering *m, struct metric_number *v, size_t max)
{
    struct export_report r;
    size_t n = 0;
    for (u32 k = 0; k < REPORT_MAX; k++) /* points of one metric stand together */
        for (u32 i = 0; n < max && export_queues_report(m->queues, i, &r); i++) {
            const struct lane_number *t = &lane_numbers[k];
            v[n] = (struct metric_number){ .name = t->name, .unit = t->unit, .description = t->help, .type = t->type };
            v[n].is_double = k == REPORT_BUSY_NS;
            if (v[n].is_double)
                v[n].d = (double)r.v[k] / 1e9;
            else
                v[n].i = (s64)r.v[k];
            v[n].attrs[0] =
                (struct attr){ .key = "wftrace.exporter", .type = ATTR_STR, .len = (u16)strlen(r.label), .s = r.label };
            const char *word = signal_name[r.signal];
            v[n].attrs[1] = (struct attr){ .key = "wftrace.signal", .type = ATTR_STR, .len = (u16)strlen(word), .s = word };
            v[n].attrs[2] = (struct attr){ .key = "wftrace.lane", .type = ATTR_INT, .i = i };
            v[n++].n_attrs = 3;
        }
    return n;
}

static size_t numbers(void *arg, struct metric_number *v, size_t max)
{
    struct metering *m = arg;
    struct self_number *own = malloc(max * sizeof(*own));
    size_t n = own ? self_numbers(own, max) : 0;
    for (size_t i = 0; i < n; i++)
        v[i] = number_of(&own[i]);
    free(own);
    n += add_kernel(m, v + n, max - n);
    return n + add_lanes(m, v + n, max - n);
}

/* --- what it is told --- */

static size_t rules_count(const struct rules *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        n += r->v[i].n_metrics;
    return n;
}

static void rule_convert(const struct rule_metric *from, u32 rule, struct metric_rule *to)
{
    static const enum metric_instrument types[] = { [RULE_COUNTER] = METER_COUNTER,
                                                    [RULE_HISTOGRAM] = METER_HISTOGRAM,
                                                    [RULE_ACTIVE] = METER_UPDOWN,
                                                    [RULE_GAUGE] = METER_GAUGE };
    *to = (struct metric_rule){ .rule = rule + 1,
                                .type = types[from->kind],
                                .name = from->name,
                                .unit = from->unit,
                                .description = from->description,
                                .of = from->of,
                                .attrs = from->attrs,
                                .n_attrs = from->n_attrs,
                                .errors_only = from->errors_only };
}

static void measure_convert(const struct measure_options *from, u32 rule, struct metric_rule *to)
{
    *to = (struct metric_rule){ .rule = rule,
                                .type = from->histogram ? METER_HISTOGRAM : METER_COUNTER,
                                .name = intern(from->metric),
                                .unit = from->unit ? intern(from->unit) : NULL,
                                .of = from->of ? intern(from->of) : NULL,
                                .attrs = from->by,
                                .n_attrs = from->n_by };
}

static u64 text_print(const char *text, u64 seed) { return text ? hash_bytes(text, strlen(text) + 1, seed) : seed * 31 + 1; }

static u64 list_print(const char *const *v, size_t n, u64 seed)
{
    for (size_t i = 0; i < n; i++)
        seed = text_print(v[i], seed);
    return seed * 31 + n;
}

static u64 view_print(const struct metric_view *v, u64 seed)
{
    const u64 numbers[] = { v->select_type, v->aggregation, v->max_size, (u64)v->max_scale, v->limit, v->n_bounds };
    seed = text_print(v->select_name, hash_bytes(numbers, sizeof(numbers), seed));
    seed = text_print(v->description, text_print(v->name, text_print(v->select_unit, seed)));
    seed = list_print(v->exclude, v->n_exclude, list_print(v->include, v->n_include, seed));
    return v->bounds ? hash_bytes(v->bounds, v->n_bounds * sizeof(*v->bounds), seed) : seed;
}

static u64 rule_print(const struct metric_rule *r, u64 seed)
{
    const u64 numbers[] = { r->rule, r->type, r->errors_only };
    seed = text_print(r->name, hash_bytes(numbers, sizeof(numbers), seed));
    seed = text_print(r->of, text_print(r->description, text_print(r->unit, seed)));
    return list_print(r->attrs, r->n_attrs, seed);
}

/* Of all that decides which series there are and what they mean. */
static u64 options_print(const struct metrics_options *o)
{
    const u64 numbers[] = { o->interval_ns, o->push,       o->pull,      o->delta,        o->exponential,
                            o->exemplars,   o->max_series, o->expire_ns, o->no_processes, o->n_views };
    u64 print = hash_bytes(o->limits, sizeof(o->limits), hash_bytes(numbers, sizeof(numbers), 0));
    for (size_t i = 0; i < o->n_views; i++)
        print = view_print(&o->views[i], print);
    for (size_t i = 0; i < o->n_rules; i++)
        print = rule_print(&o->rules[i], print);
    return print;
}

static bool network(void *arg, u32 tgid, u64 ret[2])
{
    const struct metering *m = arg;
    return m->o.network(m->o.arg, tgid, ret);
}

static struct metric_rule *rules_convert(const struct metering_options *o, const struct rules *rules, size_t *ret_n)
{
    struct metric_rule *v = calloc(rules_count(rules) + PROCESSORS_MAX + 1, sizeof(*v));
    size_t n = 0;
    const struct rule *r;
    for (size_t i = 0; v && (r = rules_in_order(rules, i)); i++)
        for (u8 k = 0; k < r->n_metrics; k++)
            rule_convert(&r->metrics[k], r->id, &v[n++]);
    for (size_t i = 0; v && i < o->pipeline->n_processors && i < PROCESSORS_MAX; i++)
        if (!strcmp(o->pipeline->processors[i].kind, "metric"))
            measure_convert(&o->pipeline->processors[i].measure, METERING_MEASURE(i), &v[n++]);
    *ret_n = n;
    return v;
}

int metering_prepare(struct metering *m, const struct metering_options *o, const struct rules *rules, bool push, bool pull,
                     struct metering_change *ret)
{
    struct metrics_options mo = *o->meters;
    mo.start_ns = o->start_ns;
    mo.push = push;
    mo.pull = pull;
    mo.no_processes = !o->live;
    mo.each_open = each_open;
    mo.each_process = each_process;
    mo.numbers = o->live ? numbers : NULL;
    mo.network = o->network ? network : NULL;
    mo.arg = m;
    *ret = (struct metering_change){ 0 };
    if (!push && !pull)
        return 0;
    cleanup(freep) struct metric_rule *converted = rules_convert(o, rules, &mo.n_rules);
    if (!converted)
        return -ENOMEM;
    mo.rules = converted;
    ret->print = options_print(&mo);
    ret->same = m->metrics && ret->print == m->print;
    if (ret->same)
        return 0;
    if (m->metrics)
        snprintf(mo.instance, sizeof(mo.instance), "%s", metrics_instance(m->metrics));
    ret->metrics = metrics_new(&mo, m->to);
    return ret->metrics ? 0 : -ENOMEM;
}

void metering_take(struct metering *m, struct metering_change *c)
{
    if (c->same)
        return;
    metrics_free(m->metrics); /* with its last collection */
    m->metrics = take_ptr(c->metrics);
    m->print = c->print;
}

void metering_forget(struct metering_change *c) { c->metrics = metrics_forget(c->metrics); }

int metering_open(struct metering *m, const struct metering_options *o, const struct rules *rules, struct export_queues *q,
                  struct span_sink *next, struct metric_sink *to)
{
    struct metering_change c;
    *m = (struct metering){ .sink = { .started = on_started, .ended = on_ended }, .next = next, .to = to, .queues = q, .o = *o };
    m->o.meters = NULL;
    int code = metering_prepare(m, o, rules, export_queues_metrics(q, false), export_queues_metrics(q, true), &c);
    if (!code)
        metering_take(m, &c);
    return code;
}

void metering_tick(struct metering *m, u64 wall_ns)
{
    if (m->o.live)
        health_beat(clock_boot_ns());
    if (m->metrics)
        metrics_tick(m->metrics, wall_ns);
}

void metering_close(struct metering *m)
{
    health_ready(false);
    m->tracer = NULL;
    m->metrics = metrics_free(m->metrics);
}
