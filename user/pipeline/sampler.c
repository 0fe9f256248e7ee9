/* Head samplers. What decides is small and comes once a trace; spans below it only carry the flag on. */
#include "pipeline/sampler.h"
#include "pipeline/match.h"
#include "self/ledger.h"

#include <fnmatch.h>
#include <math.h>

struct decider {
    char *label, *service, *name;
    struct sampler sampler;
    u64 threshold;
    double tokens; /* RATE */
    u64 refilled;  /* wall ns of the last look */
    struct decider *branches;
};

struct sampling {
    size_t n; /* rules; the default stands behind them */
    struct decider d[];
};

#define BAD(...) (snprintf(err, err_size, __VA_ARGS__), -EINVAL)

static int number(const char *text, double *ret)
{
    char *end;
    double v = strtod(text, &end);
    if (end == text || *end || !isfinite(v))
        return -EINVAL;
    *ret = v;
    return 0;
}

int sampler_parse_ratio(const char *text, struct sampler *ret, char *err, size_t err_size)
{
    char copy[32];
    double v;
    size_t n = strlen(text);
    bool percent = n && text[n - 1] == '%';
    snprintf(copy, sizeof(copy), "%.*s", (int)(percent ? n - 1 : n), text);
    if (n >= sizeof(copy) || number(copy, &v) || (percent ? v /= 100 : v) < 0 || v > 1)
        return BAD("'%s' is not a ratio from 0 to 1 (0.1 or 10%%)", text);
    *ret = (struct sampler){ .kind = SAMPLER_TRACEIDRATIO, .parent_based = true, .ratio = v };
    return 0;
}

static char *copy_text(const char *s) { return s ? strdup(s) : NULL; }

static void decider_done(struct decider *d)
{
    for (size_t i = 0; d->branches && i < d->sampler.n_branches; i++)
        decider_done(&d->branches[i]);
    free(d->branches);
}

static bool decider_init(struct decider *d, const struct sampler *s, u32 depth)
{
    bool fine = depth < SAMPLER_DEPTH;
    d->sampler = *s;
    d->threshold = sampling_threshold(s->ratio);
    d->tokens = s->per_second > 1 ? s->per_second : 1;
    if (s->kind != SAMPLER_BRANCHES || !s->n_branches)
        return true;
    d->branches = fine ? calloc(s->n_branches, sizeof(*d->branches)) : NULL;
    fine = d->branches != NULL;
    for (size_t i = 0; fine && i < s->n_branches; i++)
        fine = decider_init(&d->branches[i], &s->branches[i].sampler, depth + 1);
    return fine;
}

struct sampling *sampling_new(const struct sampler_options *o)
{
    size_t n = min_u64(o->n_rules, SAMPLER_RULES);
    struct sampling *s = calloc(1, sizeof(*s) + (n + 1) * sizeof(s->d[0]));
    if (!s)
        return NULL;
    s->n = n;
    bool fine = decider_init(&s->d[n], &o->sampler, 0);
    for (size_t i = 0; i < n && fine; i++) {
        const struct sampler_rule *r = &o->rules[i];
        fine = decider_init(&s->d[i], &r->sampler, 0);
        s->d[i].label = copy_text(r->label);
        s->d[i].service = copy_text(r->service);
        s->d[i].name = copy_text(r->name);
    }
    return fine ? s : sampling_free(s);
}

struct sampling *sampling_free(struct sampling *s)
{
    for (size_t i = 0; s && i <= s->n; i++) {
        decider_done(&s->d[i]);
        free(s->d[i].label);
        free(s->d[i].service);
        free(s->d[i].name);
    }
    free(s);
    return NULL;
}

static bool decider_is_for(const struct decider *d, const struct span *s)
{
    return (!d->service || !fnmatch(d->service, resource_service(s->resource), 0)) && (!d->name || !fnmatch(d->name, s->name, 0));
}

/* A bucket that holds a second's worth. Time is the spans' own, so a replay decides as the live run did. */
static bool bucket_take(struct decider *d, u64 now)
{
    double most = d->sampler.per_second > 1 ? d->sampler.per_second : 1;
    if (now + NSEC_PER_SEC < d->refilled) /* the clock was set back */
        d->refilled = now;
    if (now > d->refilled) {
        double more = d->refilled ? (double)(now - d->refilled) / 1e9 * d->sampler.per_second : most;
        d->tokens = d->tokens + more < most ? d->tokens + more : most;
        d->refilled = now;
    }
    if (d->tokens < 1)
        return false;
    d->tokens -= 1;
    return true;
}

static bool has_parent(const struct span *s)
{
    static const u8 zero[SPAN_ID_LEN];
    return memcmp(s->parent_id, zero, sizeof(zero)) != 0;
}

/* --- branches --- */

static bool one_of(const char *text, const char *const *v, size_t n, bool globs)
{
    for (size_t i = 0; i < n; i++)
        if (globs ? !fnmatch(v[i], text, 0) : !strcmp(v[i], text))
            return true;
    return false;
}

static const char *value_of(const struct span *s, const char *key, char *buf, size_t size)
{
    const struct attr *a = attr_get(&s->attrs, key);
    return a ? attr_as_text(a, buf, size) : NULL;
}

static bool branch_is_for(const struct sampler_branch *b, const struct span *s)
{
    char buf[48];
    bool parent = has_parent(s), sampled = s->id.flags & 1;
    enum sampler_origin origin = !parent ? SAMPLER_OF_ROOT : s->remote_parent ? SAMPLER_OF_REMOTE : SAMPLER_OF_LOCAL;
    if ((b->origins && !(b->origins & 1u << origin)) || (b->kinds && !(b->kinds & 1u << s->kind)))
        return false;
    if (b->parent && (!parent || sampled != (b->parent > 0)))
        return false;
    const char *value = b->key ? value_of(s, b->key, buf, sizeof(buf)) : NULL;
    if (b->key && !(value && one_of(value, b->values, b->n_values, false)))
        return false;
    value = b->pattern_key ? value_of(s, b->pattern_key, buf, sizeof(buf)) : NULL;
    return !b->pattern_key || (value && (!b->n_included || one_of(value, b->included, b->n_included, true)) &&
                               !one_of(value, b->excluded, b->n_excluded, true));
}

static struct decider *branch_choose(struct decider *d, const struct span *s)
{
    while (d && d->sampler.kind == SAMPLER_BRANCHES) {
        size_t i = 0;
        while (i < d->sampler.n_branches && !branch_is_for(&d->sampler.branches[i], s))
            i++;
        d = i < d->sampler.n_branches ? &d->branches[i] : NULL;
    }
    return d;
}

/* --- the decision --- */

static bool decide(struct decider *d, struct span *s)
{
    u64 th = SAMPLING_BITS;
    bool keep = true;
    d = branch_choose(d, s);
    switch (d ? d->sampler.kind : SAMPLER_ALWAYS_OFF) {
    case SAMPLER_NONE:
        return true;
    case SAMPLER_PARENT:
        return !has_parent(s) || s->id.flags & 1;
    case SAMPLER_ALWAYS_ON:
        th = 0;
        break;
    case SAMPLER_TRACEIDRATIO:
        keep = d->threshold < SAMPLING_BITS && sampling_randomness(s) >= d->threshold;
        th = keep ? d->threshold : SAMPLING_BITS;
        break;
    case SAMPLER_RATE:
        keep = bucket_take(d, s->start_ns);
        break;
    case SAMPLER_ALWAYS_OFF:
    case SAMPLER_BRANCHES:
        keep = false;
        break;
    }
    sampling_set_th(s, th);
    return keep;
}

/* Whether the decision is due: a span with its parent here was decided with that, unless there are branches. Rules by the name of
 * a trace's first span have none for the spans below it. */
static bool decides(const struct sampling *s, const struct decider *d, bool parent, bool remote)
{
    if (d->sampler.kind == SAMPLER_BRANCHES)
        return !parent || remote || !s->n;
    return !parent || (remote && !d->sampler.parent_based && d->sampler.kind != SAMPLER_NONE);
}

bool sampling_start(struct sampling *s, struct span *span)
{
    bool parent = has_parent(span), remote = parent && span->remote_parent;
    if (parent && !remote && s->d[s->n].sampler.kind != SAMPLER_BRANCHES)
        return span->id.flags & 1;
    struct decider *d = s->d;
    while (d < &s->d[s->n] && !decider_is_for(d, span))
        d++;
    if (!decides(s, d, parent, remote))
        return span->id.flags & 1;
    bool keep = decide(d, span);
    span->id.flags = (u8)((span->id.flags & ~1u) | keep);
    if (keep && d->label)
        attr_str(&span->attrs, "wftrace.sampling.rule", slice_str(d->label));
    return keep;
}
