/* Head samplers. What decides is small and comes once a trace; spans below it only carry the flag on. */
#include "pipeline/sampler.h"
#include "self/ledger.h"

#include <fnmatch.h>
#include <math.h>

struct decider {
    char *label, *service, *name;
    struct sampler sampler;
    u64 threshold;
    double tokens; /* RATE */
    u64 refilled;  /* wall ns of the last look */
};

struct sampling {
    size_t n; /* rules; the default stands behind them */
    struct decider d[];
};

static const struct {
    const char *name;
    enum sampler_kind kind;
} kinds[] = { { "always_on", SAMPLER_ALWAYS_ON },
              { "always_off", SAMPLER_ALWAYS_OFF },
              { "traceidratio", SAMPLER_TRACEIDRATIO },
              { "rate", SAMPLER_RATE } };

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

static int sampler_argument(const char *name, const char *arg, struct sampler *s, char *err, size_t err_size)
{
    double v = 1;
    bool given = arg && *arg, bad = given && number(arg, &v);
    if (s->kind == SAMPLER_TRACEIDRATIO) {
        s->ratio = v;
        if (bad || v < 0 || v > 1)
            return BAD("%s wants a ratio from 0 to 1, not '%s'", name, arg);
    }
    if (s->kind == SAMPLER_RATE) {
        s->per_second = v;
        if (bad || !given || v <= 0)
            return BAD("%s wants a number of traces a second, not '%s'", name, given ? arg : "");
    }
    return 0;
}

static int sampler_unknown(const char *name, char *err, size_t err_size)
{
    const char *names[2 * ARRAY_LEN(kinds)];
    char based[ARRAY_LEN(kinds)][40];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        snprintf(based[i], sizeof(based[i]), "parentbased_%s", kinds[i].name);
        names[2 * i] = kinds[i].name;
        names[2 * i + 1] = based[i];
    }
    const char *near = nearest_word(name, names, ARRAY_LEN(names));
    return BAD("no sampler '%s'%s%s%s; there are always_on, always_off, traceidratio, rate, and parentbased_ before each", name,
               near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

int sampler_parse(const char *name, const char *arg, struct sampler *ret, char *err, size_t err_size)
{
    struct sampler s = { 0 };
    if (!name || !*name)
        name = "parentbased_always_on";
    const char *bare = name;
    s.parent_based = !strncmp(name, "parentbased_", 12);
    if (s.parent_based)
        bare += 12;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(bare, kinds[i].name))
            continue;
        s.kind = kinds[i].kind;
        int code = sampler_argument(name, arg, &s, err, err_size);
        if (!code)
            *ret = s;
        return code;
    }
    return sampler_unknown(name, err, err_size);
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

static void decider_init(struct decider *d, const struct sampler *s)
{
    d->sampler = *s;
    d->threshold = sampling_threshold(s->ratio);
    d->tokens = s->per_second > 1 ? s->per_second : 1;
}

struct sampling *sampling_new(const struct sampler_options *o)
{
    size_t n = min_u64(o->n_rules, SAMPLER_RULES);
    struct sampling *s = calloc(1, sizeof(*s) + (n + 1) * sizeof(s->d[0]));
    if (!s)
        return NULL;
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        const struct sampler_rule *r = &o->rules[i];
        decider_init(&s->d[i], &r->sampler);
        s->d[i].label = copy_text(r->label);
        s->d[i].service = copy_text(r->service);
        s->d[i].name = copy_text(r->name);
    }
    decider_init(&s->d[n], &o->sampler);
    return s;
}

struct sampling *sampling_free(struct sampling *s)
{
    for (size_t i = 0; s && i < s->n; i++) {
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

static bool decide(struct decider *d, struct span *s)
{
    u64 th = SAMPLING_BITS;
    bool keep = true;
    switch (d->sampler.kind) {
    case SAMPLER_NONE:
        return true;
    case SAMPLER_ALWAYS_ON:
        th = 0;
        break;
    case SAMPLER_ALWAYS_OFF:
        keep = false;
        break;
    case SAMPLER_TRACEIDRATIO:
        keep = d->threshold < SAMPLING_BITS && sampling_randomness(s) >= d->threshold;
        th = keep ? d->threshold : SAMPLING_BITS;
        break;
    case SAMPLER_RATE:
        keep = bucket_take(d, s->start_ns);
        break;
    }
    tracestate_set_th(s->tracestate, sizeof(s->tracestate), th);
    return keep;
}

static bool has_parent(const struct span *s)
{
    static const u8 zero[SPAN_ID_LEN];
    return memcmp(s->parent_id, zero, sizeof(zero)) != 0;
}

bool sampling_start(struct sampling *s, struct span *span)
{
    bool parent = has_parent(span);
    if (parent && !span->remote_parent) /* decided with its parent */
        return span->id.flags & 1;
    struct decider *d = s->d;
    while (d < &s->d[s->n] && !decider_is_for(d, span))
        d++;
    if (parent && (d->sampler.parent_based || d->sampler.kind == SAMPLER_NONE))
        return span->id.flags & 1;
    bool keep = decide(d, span);
    span->id.flags = (u8)((span->id.flags & ~1u) | keep);
    if (keep && d->label)
        attr_str(&span->attrs, "wftrace.sampling.rule", slice_str(d->label));
    return keep;
}
