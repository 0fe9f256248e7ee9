/* Span → measurements. What is derived is data: metrics.def for the conventions' metrics and wftrace's own, metric_rule for
 * those of rules. A plan says which spans a metric wants by kind and by one attribute; both are looked up in the reading of the
 * span, so a span pays for the metrics it has and for one test of each it has not. */
#include "pipeline/metrics_internal.h"
#include "self/ledger.h"

enum derived_of { OF_DURATION, OF_ONE, OF_FAILED, OF_OPEN, OF_VALUE };

struct derived_plan {
    struct instrument *instrument;
    const char *name;
    u32 kinds; /* 1 << enum span_kind */
    u32 rule;  /* span.rule, or 0 */
    enum derived_of of;
    u8 gate, value; /* keys */
    bool errors_only;
    const struct attr *with; /* an attribute of the metric that no span has, or NULL */
    u8 with_key;
};

#define KEYS_OF_DERIVED 24
struct derived {
    const char *name;
    enum metric_instrument type;
    const char *unit, *scope;
    u32 kinds;
    const char *gate;
    enum derived_of of;
    const char *value;
    const double *bounds;
    u32 n_bounds;
    const char *description;
    const char *keys[KEYS_OF_DERIVED];
    struct attr with;
};

static const double bounds_seconds[] = { 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10 };
static const double bounds_database[] = { 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10 };
static const double bounds_gen_ai[] = { 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92 };
static const double bounds_first_chunk[] = { 0.01, 0.02, 0.04, 0.08,  0.16,  0.32,  0.64,
                                             1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92 };
static const double bounds_tokens[] = {
    1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864
};
/* From a function to a run of a day. */
static const double bounds_activity[] = { 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14400, 86400 };
static const double bounds_none[] = { 0 };

#define SERVER   (1u << SPAN_SERVER)
#define CLIENT   (1u << SPAN_CLIENT)
#define PRODUCER (1u << SPAN_PRODUCER)
#define CONSUMER (1u << SPAN_CONSUMER)
#define ANY      UINT32_MAX
#define OPT_IN   ""
#define DURATION OF_DURATION, NULL
#define ONE      OF_ONE, NULL
#define FAILED   OF_FAILED, NULL
#define OPEN     OF_OPEN, NULL
#define VALUE(k) OF_VALUE, k
#define GEN_AI                                                                                                                   \
    "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.response.model", "server.address",          \
        "server.port"
#define ACTIVITY                                    "wftrace.activity.type", "wftrace.activity.name", "wftrace.workflow.name"
#define METRIC(name, type, unit, scope, kinds, ...) METRIC_(name, type, unit, scope, kinds, __VA_ARGS__)
#define METRIC_(name, type, unit, scope, kinds, gate, of, value, bounds, text, ...)                                              \
    { name, METER_##type,    unit, scope, kinds, gate, of, value, bounds_##bounds, ARRAY_LEN(bounds_##bounds),                   \
      text, { __VA_ARGS__ }, { 0 } },

static const struct derived derived[] = {
#include "pipeline/metrics.def"
    { "gen_ai.client.token.usage",
      METER_HISTOGRAM,
      "{token}",
      "gen_ai",
      CLIENT,
      "gen_ai.operation.name",
      OF_VALUE,
      "gen_ai.usage.input_tokens",
      bounds_tokens,
      ARRAY_LEN(bounds_tokens),
      "Number of input and output tokens used.",
      { GEN_AI, "gen_ai.token.type" },
      { .key = "gen_ai.token.type", .type = ATTR_STR, .len = 5, .s = "input" } },
    { "gen_ai.client.token.usage",
      METER_HISTOGRAM,
      "{token}",
      "gen_ai",
      CLIENT,
      "gen_ai.operation.name",
      OF_VALUE,
      "gen_ai.usage.output_tokens",
      bounds_tokens,
      ARRAY_LEN(bounds_tokens),
      "Number of input and output tokens used.",
      { GEN_AI, "gen_ai.token.type" },
      { .key = "gen_ai.token.type", .type = ATTR_STR, .len = 6, .s = "output" } },
};

static u8 key_of(struct metrics *m, const char *name) { return name ? key_id(&m->keys, name) : KEY_NONE; }

static bool plan_derived(struct metrics *m, const struct derived *d)
{
    struct derived_plan *p = &m->plans[m->n_plans];
    struct instrument_spec spec = { .name = d->name,
                                    .unit = d->unit,
                                    .description = d->description,
                                    .scope = d->scope,
                                    .type = d->type,
                                    .is_int = d->type == METER_UPDOWN || (d->type == METER_COUNTER && d->of != OF_VALUE),
                                    .keys = d->keys,
                                    .bounds = d->bounds,
                                    .n_bounds = d->n_bounds };
    *p = (struct derived_plan){ .instrument = instrument_make(m, &spec),
                                .name = d->name,
                                .kinds = d->kinds,
                                .of = d->of,
                                .gate = key_of(m, d->gate),
                                .value = key_of(m, d->value),
                                .with = d->with.key ? &d->with : NULL,
                                .with_key = key_of(m, d->with.key) };
    if (!p->instrument)
        return false;
    m->n_plans += p->instrument->n > 0;
    return true;
}

static bool plan_rule(struct metrics *m, const struct metric_rule *r)
{
    const char *keys[STREAM_KEYS + 1] = { NULL };
    struct derived_plan *p = &m->plans[m->n_plans];
    bool duration = r->of && !strcmp(r->of, "duration"), counts = !r->of && r->type != METER_HISTOGRAM;
    for (size_t i = 0; i < r->n_attrs && i < STREAM_KEYS; i++)
        keys[i] = r->attrs[i];
    struct instrument_spec spec = { .name = r->name,
                                    .unit = r->unit    ? r->unit
                                            : duration ? "s"
                                                       : "",
                                    .description = r->description,
                                    .scope = "rule",
                                    .type = r->type,
                                    .is_int = r->type == METER_UPDOWN || (r->type == METER_COUNTER && counts),
                                    .keys = keys,
                                    .bounds = duration ? bounds_activity : NULL,
                                    .n_bounds = duration ? ARRAY_LEN(bounds_activity) : 0 };
    *p = (struct derived_plan){ .instrument = instrument_make(m, &spec),
                                .name = r->name,
                                .kinds = ANY,
                                .rule = r->rule,
                                .of = r->type == METER_UPDOWN                              ? OF_OPEN
                                      : duration || (!r->of && r->type == METER_HISTOGRAM) ? OF_DURATION
                                      : r->of                                              ? OF_VALUE
                                                                                           : OF_ONE,
                                .gate = KEY_NONE,
                                .value = OF_VALUE && r->of && !duration ? key_of(m, r->of) : KEY_NONE,
                                .errors_only = r->errors_only,
                                .with_key = KEY_NONE };
    if (!p->instrument)
        return false;
    m->n_plans += p->instrument->n > 0;
    return true;
}

bool derive_open(struct metrics *m)
{
    m->plans = calloc(ARRAY_LEN(derived) + m->o.n_rules, sizeof(*m->plans));
    if (!m->plans)
        return false;
    for (size_t i = 0; i < ARRAY_LEN(derived); i++)
        if (!plan_derived(m, &derived[i]))
            return false;
    for (size_t i = 0; i < m->o.n_rules; i++)
        if (!plan_rule(m, &m->o.rules[i]) && m->n_streams < STREAMS_MAX) /* beyond that the rest is left out */
            return false;
    return true;
}

void derive_close(struct metrics *m)
{
    free(m->plans);
    for (struct instrument *in = m->instruments, *next; in; in = next) {
        next = in->next;
        free(in);
    }
    for (u32 i = 0; i < m->n_streams; i++)
        free((void *)(uintptr_t)m->streams[i].bounds);
}

/* --- reading a span --- */

static void reading_span(struct metrics *m, const struct span *s, struct attr *name)
{
    u8 type = key_find(&m->keys, "wftrace.activity.type"), named = key_find(&m->keys, "wftrace.activity.name");
    for (u16 i = 0; i < s->attrs.n; i++) {
        u8 key = key_find(&m->keys, s->attrs.v[i].key);
        if (key != KEY_NONE)
            reading_put(&m->reading, key, &s->attrs.v[i]);
    }
    if (type == KEY_NONE || !m->reading.have[type] || named == KEY_NONE || m->reading.have[named])
        return;
    *name = (struct attr){ .key = "wftrace.activity.name", .type = ATTR_STR, .len = (u16)strlen(s->name), .s = s->name };
    reading_put(&m->reading, named, name);
}

static bool plan_wants(const struct derived_plan *p, const struct reading *r, const struct span *s, u32 rule)
{
    if (!(p->kinds & 1u << s->kind) || (p->gate != KEY_NONE && !r->have[p->gate]))
        return false;
    return (!p->rule || p->rule == rule) && (!p->errors_only || s->status == STATUS_ERROR);
}

static bool value_of(const struct derived_plan *p, const struct reading *r, const struct span *s, double *ret)
{
    const struct attr *a = p->of == OF_VALUE && p->value != KEY_NONE ? r->have[p->value] : NULL;
    *ret = 1;
    if (p->of == OF_DURATION)
        *ret = s->end_ns > s->start_ns ? (double)(s->end_ns - s->start_ns) / 1e9 : 0;
    else if (p->of == OF_FAILED)
        return s->status == STATUS_ERROR;
    else if (a && a->type == ATTR_INT)
        *ret = (double)a->i;
    else if (a && a->type == ATTR_DOUBLE)
        *ret = a->d;
    else
        return p->of != OF_VALUE;
    return true;
}

/* The metrics that a span has by itself and by `rule`. `measured`: only those of the rule, with that value. */
static void derive(struct metrics *m, const struct span *s, u32 rule, bool open, const double *measured)
{
    struct attr name;
    struct metric_owner *o = owner_get(m, s->resource);
    if (!o)
        return ledger_add(metric_values_dropped, 1);
    reading_span(m, s, &name);
    for (u32 i = 0; i < m->n_plans; i++) {
        const struct derived_plan *p = &m->plans[i];
        double value = measured ? *measured : 0;
        if ((p->of == OF_OPEN) != open || !plan_wants(p, &m->reading, s, rule) || (measured && p->rule != rule) ||
            (!measured && !value_of(p, &m->reading, s, &value)))
            continue;
        if (p->with)
            reading_put(&m->reading, p->with_key, p->with);
        instrument_record(m, p->instrument, o, value, s);
    }
    reading_clear(&m->reading);
}

void derive_span(struct metrics *m, const struct span *s) { derive(m, s, s->rule, false, NULL); }

void metrics_measure(struct metrics *m, u32 rule, double value, const struct span *s) { derive(m, s, rule, false, &value); }

static void see_open(void *to, const struct span *s) { derive(to, s, s->rule, true, NULL); }

/* What is in flight is counted when it is asked for: no pair of begin and end can get out of step. */
void derive_open_spans(struct metrics *m)
{
    for (u32 i = 0; i < m->n_plans; i++)
        if (m->plans[i].of == OF_OPEN)
            series_zero(m, m->plans[i].instrument);
    if (m->o.each_open)
        m->o.each_open(m->o.arg, see_open, m);
}
