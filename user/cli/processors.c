/* wftrace.processors and the limits of the configuration → processor specs, wftrace.sampling → samplers and tail. What is made
 * here lives as long as the configuration. */
#include "cli/session.h"

static u32 bits_of(const char *const *v, size_t n)
{
    u32 bits = 0;
    for (size_t i = 0; i < n; i++)
        for (u32 s = 0; s < SIGNAL_MAX; s++)
            if (!strcmp(v[i], signal_name[s]))
                bits |= 1u << s;
    return bits;
}

static u64 ns_of(s64 ms) { return ms == CONFIG_UNSET ? 0 : min_u64((u64)ms, UINT64_MAX / NSEC_PER_MSEC) * NSEC_PER_MSEC; }
static u32 count_of(s64 v) { return v == CONFIG_UNSET ? 0 : (u32)min_u64((u64)v, UINT32_MAX); }
static u8 severity_of(int v) { return v == CONFIG_UNSET ? 0 : (u8)(v + 1); }

static struct match match_of(const struct config_match *m)
{
    if (!m)
        return (struct match){ 0 };
    return (struct match){ .service = m->service,
                           .name = m->name,
                           .body = m->body,
                           .attr = m->attribute,
                           .value = m->value,
                           .kind = m->kind == CONFIG_UNSET ? 0 : (u32)m->kind + SPAN_INTERNAL,
                           .min_severity = severity_of(m->min_severity),
                           .max_severity = severity_of(m->max_severity),
                           .min_ns = ns_of(m->min_duration),
                           .max_ns = ns_of(m->max_duration),
                           .error = m->error };
}

static const struct match *matches_of(struct config *c, const struct config_match *v, size_t n)
{
    struct match *m = config_keep(c, (n + 1) * sizeof(*m));
    for (size_t i = 0; m && i < n; i++)
        m[i] = match_of(&v[i]);
    return m;
}

static struct attr_step set_step(enum attr_action action, const struct config_attr_set *s)
{
    return (struct attr_step){ .action = action, .key = s->key, .text = s->value, .from = s->from, .resource = s->resource };
}

static struct attr_step step_of(const struct config_attr_step *s)
{
    if (s->set)
        return set_step(ACTION_SET, s->set);
    if (s->insert)
        return set_step(ACTION_INSERT, s->insert);
    if (s->update)
        return set_step(ACTION_UPDATE, s->update);
    if (s->remove)
        return (struct attr_step){ .action = ACTION_DELETE, .key = s->remove->key, .resource = s->remove->resource };
    if (s->rename)
        return (struct attr_step){
            .action = ACTION_RENAME, .key = s->rename->key, .from = s->rename->from, .resource = s->rename->resource
        };
    if (s->hash)
        return (struct attr_step){
            .action = ACTION_HASH, .key = s->hash->key, .secret = s->hash->secret, .resource = s->hash->resource
        };
    return (struct attr_step){
        .action = ACTION_EXTRACT, .key = s->extract->key, .pattern = s->extract->pattern, .resource = s->extract->resource
    };
}

static struct processor_spec attributes_spec(struct config *c, const struct config_attributes *a)
{
    struct attr_step *steps = config_keep(c, (a->steps.n + 1) * sizeof(*steps));
    for (size_t i = 0; steps && i < a->steps.n; i++)
        steps[i] = step_of(&a->steps.v[i]);
    return (struct processor_spec){ .kind = "attributes",
                                    .signals = bits_of(a->signals.v, a->signals.n),
                                    .attributes = { steps, steps ? a->steps.n : 0, match_of(a->when) } };
}

static struct processor_spec rename_spec(struct config *c, const struct config_rename *r)
{
    struct rename_step *steps = config_keep(c, (r->steps.n + 1) * sizeof(*steps));
    for (size_t i = 0; steps && i < r->steps.n; i++)
        steps[i] = (struct rename_step){ r->steps.v[i].pattern, r->steps.v[i].name };
    return (struct processor_spec){ .kind = "rename",
                                    .signals = bits_of(r->signals.v, r->signals.n),
                                    .rename = { steps, steps ? r->steps.n : 0, match_of(r->when) } };
}

static struct processor_spec redact_spec(const struct config_redact *r)
{
    return (struct processor_spec){ .kind = "redact",
                                    .signals = bits_of(r->signals.v, r->signals.n),
                                    .redact = { .no_presets = !r->presets,
                                                .keep_emails = !r->emails,
                                                .keep_ibans = !r->ibans,
                                                .query_strings = r->query_strings,
                                                .keys = r->keys.v,
                                                .n_keys = r->keys.n,
                                                .allow = r->allow.v,
                                                .n_allow = r->allow.n,
                                                .patterns = r->patterns.v,
                                                .n_patterns = r->patterns.n } };
}

static struct processor_spec limit_spec(const struct config_limit *l)
{
    return (struct processor_spec){ .kind = "limit",
                                    .signals = bits_of(l->signals.v, l->signals.n),
                                    .limit = { .max_attributes = count_of(l->max_attributes),
                                               .max_length = count_of(l->max_length),
                                               .max_events = count_of(l->max_events),
                                               .max_links = count_of(l->max_links),
                                               .max_body = count_of(l->max_body) } };
}

static struct processor_spec measure_spec(const struct config_measure *m)
{
    return (struct processor_spec){ .kind = "metric",
                                    .measure = { .metric = m->name,
                                                 .unit = m->unit,
                                                 .of = m->of,
                                                 .by = m->by.v,
                                                 .n_by = m->by.n,
                                                 .when = match_of(m->when),
                                                 .histogram = m->histogram } };
}

static struct processor_spec spec_of(struct config *c, const struct config_stage *s)
{
    if (s->filter)
        return (struct processor_spec){ .kind = "filter",
                                        .signals = bits_of(s->filter->signals.v, s->filter->signals.n),
                                        .filter = { matches_of(c, s->filter->drop.v, s->filter->drop.n),
                                                    matches_of(c, s->filter->keep.v, s->filter->keep.n), s->filter->drop.n,
                                                    s->filter->keep.n } };
    if (s->attributes)
        return attributes_spec(c, s->attributes);
    if (s->rename)
        return rename_spec(c, s->rename);
    if (s->redact)
        return redact_spec(s->redact);
    if (s->limit)
        return limit_spec(s->limit);
    if (s->metric)
        return measure_spec(s->metric);
    return (struct processor_spec){ .kind = "plugin",
                                    .signals = bits_of(s->plugin->signals.v, s->plugin->signals.n),
                                    .plugin = { s->plugin->file, s->plugin->config } };
}

/* --- limits --- */
static s64 first_given(s64 own, s64 general) { return own == CONFIG_UNSET ? general : own; }
/* What an item can hold anyway needs no limit. */
static u32 below(s64 limit, u32 room) { return limit == CONFIG_UNSET || limit >= room ? 0 : (u32)limit; }

static struct processor_spec span_limits(const struct config *c)
{
    const struct config_span_limits *l = c->tracer_provider->limits;
    return (struct processor_spec){
        .kind = "limit",
        .signals = 1u << SIGNAL_TRACES,
        .limit = { .max_attributes = below(first_given(l->count, c->attribute_limits->count), SPAN_ATTRS),
                   .max_length = count_of(first_given(l->value_length, c->attribute_limits->value_length)),
                   .max_events = below(l->events, SPAN_EVENTS + (c->wftrace->llm ? (u32)c->wftrace->llm->chunk_events : 0)),
                   .max_links = below(l->links, SPAN_LINKS) }
    };
}

static struct processor_spec log_limits(const struct config *c)
{
    const struct config_attribute_limits *l = c->logger_provider->limits;
    return (struct processor_spec){
        .kind = "limit",
        .signals = 1u << SIGNAL_LOGS,
        .limit = { .max_attributes = below(first_given(l->count, c->attribute_limits->count), LOG_ATTRS),
                   .max_length = count_of(first_given(l->value_length, c->attribute_limits->value_length)) }
    };
}

static bool limits_something(const struct processor_spec *s)
{
    return s->limit.max_attributes || s->limit.max_length || s->limit.max_events || s->limit.max_links;
}

/* --- the chain --- */
/* Opened once to see whether it can be, while it is known where it was written. Not what is the user's own code. */
static int attempt(const struct processor_spec *s, char *why, size_t size)
{
    const struct processor *x = processor_by_name(s->kind);
    void *self = NULL;
    int code = strcmp(s->kind, "plugin") ? x->open(s, &self, why, size) : 0;
    if (self)
        x->close(self);
    return code;
}

static int add(struct options *o, struct processor_spec *chain, const struct processor_spec *s, const char *path, char *err,
               size_t err_size)
{
    struct pipeline_options *p = &o->agent.pipeline;
    char where[300], text[300] = "";
    const char *why = NULL;
    if (!processor_by_name(s->kind))
        why = "is not in this version";
    else if (p->n_processors == PROCESSORS_MAX)
        why = "is one processor too many";
    int code = why ? -EINVAL : attempt(s, text, sizeof(text));
    if (!code) {
        chain[p->n_processors++] = *s;
        return 0;
    }
    if (!why) {
        snprintf(err, err_size, "%s: %s", config_where(o->config, path, where, sizeof(where)), *text ? text : errno_name(code));
        return code;
    }
    snprintf(err, err_size, "%s: the processor %s %s", config_where(o->config, path, where, sizeof(where)), s->kind, why);
    return -EINVAL;
}

int apply_processors(struct options *o, char *err, size_t err_size)
{
    const struct config *c = o->config;
    struct processor_spec *chain = config_keep(o->config, PROCESSORS_MAX * sizeof(*chain));
    int code = chain ? 0 : -ENOMEM;
    o->agent.pipeline.n_processors = 0;
    o->agent.pipeline.processors = chain;
    for (size_t i = 0; i < c->wftrace->processors.n && !code; i++) {
        char path[80];
        struct processor_spec s = spec_of(o->config, &c->wftrace->processors.v[i]);
        snprintf(path, sizeof(path), "wftrace.processors[%zu]", i);
        code = add(o, chain, &s, path, err, err_size);
    }
    if (c->tracer_provider && !code) {
        struct processor_spec s = span_limits(c);
        code = limits_something(&s) ? add(o, chain, &s, "tracer_provider.limits", err, err_size) : 0;
    }
    if (c->logger_provider && !code) {
        struct processor_spec s = log_limits(c);
        code = limits_something(&s) ? add(o, chain, &s, "logger_provider.limits", err, err_size) : 0;
    }
    return code;
}

/* --- tail --- */
void apply_tail(const struct config_tail *t, struct tail_options *ret)
{
    *ret = (struct tail_options){ .enabled = true,
                                  .errors = t->errors,
                                  .slow_ns = ns_of(t->slower_than),
                                  .names = t->names.v,
                                  .n_names = t->names.n,
                                  .ratio = t->ratio,
                                  .wait_ms = count_of(t->wait),
                                  .max_bytes = (u64)t->max_size,
                                  .max_spans = count_of(t->max_spans),
                                  .max_traces = count_of(t->max_traces) };
}
