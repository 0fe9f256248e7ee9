/* struct config → the pipeline's stages: sampler, limits, log records, the spool. What the stages cannot do as it is asked for
 * is refused with its place; nothing is quietly something else. */
#include "cli/session.h"

#include <stdarg.h>

struct place {
    const struct config *c;
    char *err;
    size_t err_size;
};

static int refuse(const struct place *p, const char *path, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int refuse(const struct place *p, const char *path, const char *fmt, ...)
{
    char where[300], text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(p->err, p->err_size, "%s: %s", config_where(p->c, path, where, sizeof(where)), text);
    return -EINVAL;
}

/* --- sampler --- */
#define SAMPLER "tracer_provider.sampler"

static int composable(const struct place *p, const struct config_composable *x, struct sampler *ret)
{
    if (x->parent_threshold) {
        ret->parent_based = true;
        x = x->parent_threshold->root;
    }
    if (x->parent_threshold || x->rule_based)
        return refuse(p, SAMPLER,
                      "of composite samplers, always_on, always_off, probability and parent_threshold of these work here");
    ret->kind = x->always_on ? SAMPLER_ALWAYS_ON : x->always_off ? SAMPLER_ALWAYS_OFF : SAMPLER_TRACEIDRATIO;
    ret->ratio = x->probability ? x->probability->ratio : 1;
    return 0;
}

static int root_sampler(const struct place *p, const struct config_sampler *x, struct sampler *ret)
{
    const struct config_ratio *ratio = x->probability ? x->probability : x->trace_id_ratio_based;
    if (x->composite)
        return composable(p, x->composite, ret);
    if (x->always_on || x->always_off) {
        ret->kind = x->always_on ? SAMPLER_ALWAYS_ON : SAMPLER_ALWAYS_OFF;
    } else if (ratio) {
        ret->kind = SAMPLER_TRACEIDRATIO;
        ret->ratio = ratio->ratio;
    } else if (x->rate_limiting) {
        ret->kind = SAMPLER_RATE;
        ret->per_second = x->rate_limiting->spans_per_second;
    } else {
        return refuse(p, SAMPLER, "this sampler works at the top or not at all here");
    }
    return 0;
}

static bool is_on(const struct config_sampler *x) { return !x || x->always_on; }
static bool is_off(const struct config_sampler *x) { return !x || x->always_off; }

static int apply_sampler(const struct place *p, const struct config_sampler *x, struct sampler *ret)
{
    struct sampler s = { 0 };
    const struct config_parent_based *b = x->parent_based;
    int code = 0;
    if (x->always_record) /* metrics see every span in any case */
        return apply_sampler(p, x->always_record->root, ret);
    if (b &&
        !(is_on(b->remote_sampled) && is_off(b->remote_not_sampled) && is_on(b->local_sampled) && is_off(b->local_not_sampled)))
        return refuse(p, SAMPLER ".parent_based",
                      "what was decided for a parent is kept here: only «root» can be another sampler");
    s.parent_based = b != NULL;
    if (b && !b->root)
        s.kind = SAMPLER_ALWAYS_ON;
    else
        code = root_sampler(p, b ? b->root : x, &s);
    if (!code)
        *ret = s;
    return code;
}

/* --- rules and tail --- */
static int apply_sampling(const struct place *p, const struct config_sampling *x, struct pipeline_options *ret)
{
    struct sampler_rule *rules = calloc(x->rules.n + 1, sizeof(*rules));
    int code = rules ? 0 : -ENOMEM;
    if (x->rules.n > SAMPLER_RULES)
        return refuse(p, "wftrace.sampling.rules", "more than %d rules", SAMPLER_RULES);
    for (size_t i = 0; i < x->rules.n && !code; i++) {
        const struct config_sampling_rule *r = &x->rules.v[i];
        rules[i] = (struct sampler_rule){ .label = r->label, .service = r->service, .name = r->name };
        code = apply_sampler(p, r->sampler, &rules[i].sampler);
    }
    ret->sampler.rules = rules;
    ret->sampler.n_rules = code ? 0 : x->rules.n;
    if (x->tail && !ret->tail.enabled) /* --tail stands above */
        apply_tail(x->tail, &ret->tail);
    ret->tail.head_unknown = ret->sampler.sampler.kind == SAMPLER_RATE;
    return code;
}

/* --- spool --- */
static void apply_spool(const struct config_spool *x, struct spool_options *ret)
{
    static const enum spool_fsync fsyncs[] = { SPOOL_FSYNC_NEVER, SPOOL_FSYNC_SEGMENT, SPOOL_FSYNC_ALWAYS };
    if (ret->dir) /* --spool */
        return;
    *ret = (struct spool_options){ .dir = x->dir,
                                   .max_bytes = (u64)x->max_size,
                                   .max_age_ns = (u64)min_u64((u64)x->max_age, UINT64_MAX / NSEC_PER_MSEC) * NSEC_PER_MSEC,
                                   .fsync = fsyncs[x->fsync] };
}

/* --logs stands above the level here; files are named here alone. */
static void apply_logs(struct options *o)
{
    const struct config_logs *x = o->config->wftrace->logs;
    if (!x)
        return;
    if (!o->agent.logs)
        o->agent.log_options.min_severity = (u8)(x->level + 1);
    o->agent.logs |= x->stdio;
    o->agent.log_options.rate = (u32)x->rate;
    o->agent.log_files = x->files.v;
    o->agent.n_log_files = x->files.n;
}

int apply_stages(struct options *o, char *err, size_t err_size)
{
    const struct config *c = o->config;
    struct place p = { c, err, err_size };
    struct sampler *s = &o->agent.pipeline.sampler.sampler;
    int code = 0;
    if (c->tracer_provider && c->tracer_provider->sampler && s->kind == SAMPLER_NONE)
        code = apply_sampler(&p, c->tracer_provider->sampler, s);
    if (!code && c->wftrace->sampling)
        code = apply_sampling(&p, c->wftrace->sampling, &o->agent.pipeline);
    if (!code)
        code = apply_processors(o, err, err_size);
    if (c->wftrace->spool)
        apply_spool(c->wftrace->spool, &o->agent.queues.spool);
    apply_logs(o);
    return code;
}
