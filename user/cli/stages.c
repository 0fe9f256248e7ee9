/* struct config → the pipeline's stages: sampler, limits, log records, the spool. What the stages cannot do as it is asked for
 * is refused with its place; nothing is quietly something else. */
#include "cli/session.h"

#include <stdarg.h>

struct place {
    struct config *c;
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

static struct sampler_branch *branches_new(struct config *c, size_t n, struct sampler *ret)
{
    struct sampler_branch *v = config_keep(c, (n + 1) * sizeof(*v));
    *ret = (struct sampler){ .kind = SAMPLER_BRANCHES, .branches = v, .n_branches = v ? n : 0 };
    return v;
}

static u8 origins_of(const struct config_sampler_rule *r)
{
    static const char *const words[] = {
        [SAMPLER_OF_ROOT] = "none", [SAMPLER_OF_REMOTE] = "remote", [SAMPLER_OF_LOCAL] = "local"
    };
    u8 bits = 0;
    for (size_t i = 0; i < r->parent.n; i++)
        for (size_t k = 0; k < ARRAY_LEN(words); k++)
            bits |= !strcmp(r->parent.v[i], words[k]) ? (u8)(1u << k) : 0;
    return bits;
}

static u8 kinds_of(const struct config_sampler_rule *r)
{
    static const char *const words[] = { [SPAN_INTERNAL] = "internal",
                                         [SPAN_SERVER] = "server",
                                         [SPAN_CLIENT] = "client",
                                         [SPAN_PRODUCER] = "producer",
                                         [SPAN_CONSUMER] = "consumer" };
    u8 bits = 0;
    for (size_t i = 0; i < r->span_kinds.n; i++)
        for (size_t k = SPAN_INTERNAL; k < ARRAY_LEN(words); k++)
            bits |= !strcmp(r->span_kinds.v[i], words[k]) ? (u8)(1u << k) : 0;
    return bits;
}

static struct sampler_branch branch_of(const struct config_sampler_rule *r)
{
    struct sampler_branch b = { .origins = origins_of(r), .kinds = kinds_of(r) };
    if (r->attribute_values) {
        b.key = r->attribute_values->key;
        b.values = r->attribute_values->values.v;
        b.n_values = r->attribute_values->values.n;
    }
    if (r->attribute_patterns) {
        b.pattern_key = r->attribute_patterns->key;
        b.included = r->attribute_patterns->included.v;
        b.n_included = r->attribute_patterns->included.n;
        b.excluded = r->attribute_patterns->excluded.v;
        b.n_excluded = r->attribute_patterns->excluded.n;
    }
    return b;
}

static int composable(const struct place *p, const struct config_composable *x, u32 depth, struct sampler *ret)
{
    struct sampler_branch *v;
    int code = 0;
    if (depth == SAMPLER_DEPTH)
        return refuse(p, SAMPLER, "more than %d samplers in each other", SAMPLER_DEPTH);
    if (x->rule_based) {
        v = branches_new(p->c, x->rule_based->rules.n, ret);
        for (size_t i = 0; v && i < x->rule_based->rules.n && !code; i++) {
            v[i] = branch_of(&x->rule_based->rules.v[i]);
            code = composable(p, x->rule_based->rules.v[i].sampler, depth + 1, &v[i].sampler);
        }
        return v ? code : -ENOMEM;
    }
    if (x->parent_threshold) {
        if (!(v = branches_new(p->c, 2, ret)))
            return -ENOMEM;
        v[0].origins = 1u << SAMPLER_OF_ROOT;
        v[1].sampler.kind = SAMPLER_PARENT;
        return composable(p, x->parent_threshold->root, depth + 1, &v[0].sampler);
    }
    ret->kind = x->always_on ? SAMPLER_ALWAYS_ON : x->always_off ? SAMPLER_ALWAYS_OFF : SAMPLER_TRACEIDRATIO;
    ret->ratio = x->probability ? x->probability->ratio : 1;
    return 0;
}

static int any_sampler(const struct place *p, const struct config_sampler *x, u32 depth, struct sampler *ret);

static bool is_on(const struct config_sampler *x) { return !x || x->always_on; }
static bool is_off(const struct config_sampler *x) { return !x || x->always_off; }

/* What was decided for a parent is kept, or every span is asked for. */
static int parent_based(const struct place *p, const struct config_parent_based *b, u32 depth, struct sampler *ret)
{
    const struct {
        const struct config_sampler *x;
        enum sampler_origin origin;
        s8 parent;
    } by[] = { { b->root, SAMPLER_OF_ROOT, 0 },
               { b->remote_sampled, SAMPLER_OF_REMOTE, 1 },
               { b->remote_not_sampled, SAMPLER_OF_REMOTE, -1 },
               { b->local_sampled, SAMPLER_OF_LOCAL, 1 },
               { b->local_not_sampled, SAMPLER_OF_LOCAL, -1 } };
    int code = 0;
    if (is_on(b->remote_sampled) && is_off(b->remote_not_sampled) && is_on(b->local_sampled) && is_off(b->local_not_sampled)) {
        *ret = (struct sampler){ .kind = SAMPLER_ALWAYS_ON };
        if (b->root)
            code = any_sampler(p, b->root, depth + 1, ret);
        ret->parent_based = ret->kind != SAMPLER_BRANCHES;
        if (ret->parent_based || code)
            return code;
    }
    struct sampler_branch *v = branches_new(p->c, ARRAY_LEN(by), ret);
    for (size_t i = 0; v && i < ARRAY_LEN(by) && !code; i++) {
        v[i].origins = (u8)(1u << by[i].origin);
        v[i].parent = by[i].parent;
        bool usual = by[i].parent > 0 ? is_on(by[i].x) : by[i].parent && is_off(by[i].x);
        v[i].sampler.kind = usual ? SAMPLER_PARENT : SAMPLER_ALWAYS_ON; /* root: unless it is given */
        if (!usual && by[i].x)
            code = any_sampler(p, by[i].x, depth + 1, &v[i].sampler);
    }
    return v ? code : -ENOMEM;
}

static int any_sampler(const struct place *p, const struct config_sampler *x, u32 depth, struct sampler *ret)
{
    const struct config_ratio *ratio = x->probability ? x->probability : x->trace_id_ratio_based;
    struct sampler s = { 0 };
    int code = 0;
    if (depth == SAMPLER_DEPTH)
        return refuse(p, SAMPLER, "more than %d samplers in each other", SAMPLER_DEPTH);
    if (x->always_record) { /* metrics see every span in any case */
        code = any_sampler(p, x->always_record->root, depth + 1, &s);
    } else if (x->parent_based) {
        code = parent_based(p, x->parent_based, depth, &s);
    } else if (x->composite) {
        code = composable(p, x->composite, depth, &s);
    } else if (x->rate_limiting) {
        s = (struct sampler){ .kind = SAMPLER_RATE, .per_second = x->rate_limiting->spans_per_second };
    } else if (ratio) {
        s = (struct sampler){ .kind = SAMPLER_TRACEIDRATIO, .ratio = ratio->ratio };
    } else {
        s.kind = x->always_on ? SAMPLER_ALWAYS_ON : SAMPLER_ALWAYS_OFF;
    }
    if (!code)
        *ret = s;
    return code;
}

static int apply_sampler(const struct place *p, const struct config_sampler *x, struct sampler *ret)
{
    return any_sampler(p, x, 0, ret);
}

/* --- rules and tail --- */
static int apply_sampling(const struct place *p, const struct config_sampling *x, struct pipeline_options *ret)
{
    struct sampler_rule *rules = config_keep(p->c, (x->rules.n + 1) * sizeof(*rules));
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

static void apply_activities(struct options *o)
{
    const struct config_activities *x = o->config->wftrace->activities;
    if (!x)
        return;
    struct progress_options *p = &o->agent.progress;
    p->running_after_ns = x->running_after == CONFIG_UNSET ? 0 : (u64)x->running_after * NSEC_PER_MSEC;
    p->stuck_after_ns = x->stuck_after == CONFIG_UNSET ? 0 : (u64)x->stuck_after * NSEC_PER_MSEC;
    p->log = x->log;
}

int apply_stages(struct options *o, char *err, size_t err_size)
{
    const struct config *c = o->config;
    struct place p = { o->config, err, err_size };
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
    apply_activities(o);
    return code;
}
