/* The assembly: head sampler, tail, the chain of processors for each signal. */
#include "pipeline/pipeline.h"
#include "self/ledger.h"

#define PROCESSOR(symbol) extern const struct processor processor_##symbol;
#include "pipeline/processor.def"
#undef PROCESSOR

const struct processor *const processors[] = {
#define PROCESSOR(symbol) &processor_##symbol,
#include "pipeline/processor.def"
#undef PROCESSOR
    NULL,
};

struct link {
    const struct processor *x;
    void *self;
    u32 signals;
};

/* What the options make: replaced as a whole by a reload. */
struct pipeline_stages {
    struct sampling *sampling;
    struct tail *tail; /* NULL: none */
    bool logs_of_sampled;
    bool measures; /* some link is a `metric` */
    u32 n;
    struct link chain[PROCESSORS_MAX + 1];
};

struct pipeline {
    struct span_sink spans;   /* the pipeline's own */
    struct span_sink decided; /* behind the tail */
    struct log_sink logs;
    struct metric_sink metrics;
    struct span_sink *next;
    struct log_sink *next_logs;
    struct metric_sink *next_metrics;
    struct tail *old_tail; /* a reload took the tail away: what it held is on its way; NULL: nothing is */
    struct pipeline_stages *s;
};

const struct processor *processor_by_name(const char *name)
{
    for (size_t i = 0; processors[i]; i++)
        if (!strcmp(processors[i]->name, name))
            return processors[i];
    return NULL;
}

/* --- spans --- */

static void on_started(struct span_sink *sink, struct span *s)
{
    struct pipeline *p = container_of(sink, struct pipeline, spans);
    if (!sampling_start(p->s->sampling, s))
        return;
    struct tail *tail = p->s->tail ? p->s->tail : p->old_tail;
    if (tail)
        tail_started(tail, s);
    if (!p->s->tail && p->next->started && (!p->old_tail || tail_passes(p->old_tail, s)))
        p->next->started(p->next, s);
}

/* Measurements are made of every span, before sampling and before anything changes it. */
static void measure(struct pipeline *p, struct span *s)
{
    for (u32 i = 0; i < p->s->n; i++)
        if (p->s->chain[i].x == &processor_metric)
            (void)processor_metric.on_span(p->s->chain[i].self, s);
}

/* Who has heard of its start (the live picture) hears that no more will come. */
static void span_dropped(struct pipeline *p, struct span *s)
{
    if (p->next->dropped)
        p->next->dropped(p->next, s);
    span_unref(s);
}

static void on_ended(struct span_sink *sink, struct span *s)
{
    struct pipeline *p = container_of(sink, struct pipeline, spans);
    if (p->s->measures)
        measure(p, s);
    bool sampled = s->id.flags & 1;
    if (!sampled)
        ledger_add(spans_unsampled, 1);
    struct tail *tail = p->s->tail ? p->s->tail : p->old_tail;
    if (tail)
        tail_ended(tail, s);
    else if (sampled)
        p->decided.ended(&p->decided, s);
    else
        span_dropped(p, s);
}

static void on_decided(struct span_sink *sink, struct span *s)
{
    struct pipeline *p = container_of(sink, struct pipeline, decided);
    for (u32 i = 0; i < p->s->n; i++) {
        struct link *l = &p->s->chain[i];
        if (l->x == &processor_metric)
            continue;
        if (l->x->on_span && (l->signals & 1u << SIGNAL_TRACES) && l->x->on_span(l->self, s) == FATE_DROP) {
            ledger_add(spans_filtered, 1);
            span_dropped(p, s);
            return;
        }
    }
    p->next->ended(p->next, s);
}

/* --- logs and metrics --- */

static bool log_is_wanted(struct pipeline *p, struct log_record *l)
{
    if (p->s->logs_of_sampled && span_context_valid(&l->context) && !(l->context.flags & 1))
        return false;
    for (u32 i = 0; i < p->s->n; i++) {
        struct link *c = &p->s->chain[i];
        if (c->x->on_log && (c->signals & 1u << SIGNAL_LOGS) && c->x->on_log(c->self, l) == FATE_DROP)
            return false;
    }
    return true;
}

static void on_log(struct log_sink *sink, struct log_record *l)
{
    struct pipeline *p = container_of(sink, struct pipeline, logs);
    if (p->next_logs && log_is_wanted(p, l)) {
        p->next_logs->emit(p->next_logs, l);
        return;
    }
    ledger_add(logs_filtered, 1);
    log_unref(l);
}

static void on_metrics(struct metric_sink *sink, struct metric_batch *b)
{
    struct pipeline *p = container_of(sink, struct pipeline, metrics);
    for (u32 i = 0; b && i < p->s->n; i++) {
        struct link *c = &p->s->chain[i];
        if (c->x->on_metrics && (c->signals & 1u << SIGNAL_METRICS))
            b = c->x->on_metrics(c->self, b);
    }
    if (b && p->next_metrics)
        p->next_metrics->emit(p->next_metrics, b);
    else
        metric_batch_unref(b);
}

/* --- making it --- */

static bool does_any(const struct processor *x, u32 signals)
{
    return (x->on_span && (signals & 1u << SIGNAL_TRACES)) || (x->on_log && (signals & 1u << SIGNAL_LOGS)) ||
           (x->on_metrics && (signals & 1u << SIGNAL_METRICS));
}

static int chain_add(struct pipeline_stages *g, const struct processor_spec *spec, char *err, size_t err_size)
{
    struct link l = { .x = processor_by_name(spec->kind), .signals = spec->signals ? spec->signals : ~0u };
    if (l.x && !does_any(l.x, l.signals)) {
        snprintf(err, err_size, "the processor %s does nothing for that signal", l.x->name);
        return -EINVAL;
    }
    if (!l.x || g->n == ARRAY_LEN(g->chain)) {
        snprintf(err, err_size, l.x ? "more than %d processors" : "no such processor", PROCESSORS_MAX);
        return -EINVAL;
    }
    int code = l.x->open(spec, &l.self, err, err_size);
    if (!code)
        g->chain[g->n++] = l;
    return code;
}

/* Redaction stands last, so that nothing a processor before it writes passes by; each signal needs one. */
static int chain_make(struct pipeline_stages *g, const struct pipeline_options *o, char *err, size_t err_size)
{
    u32 redacted = 0;
    for (size_t i = 0; i < o->n_processors; i++) {
        const struct processor_spec *spec = &o->processors[i];
        int code = chain_add(g, spec, err, err_size);
        if (code)
            return code;
        g->measures |= !strcmp(spec->kind, "metric");
        if (!strcmp(spec->kind, "redact"))
            redacted |= spec->signals ? spec->signals : ~0u;
    }
    u32 missing = ~redacted & ((1u << SIGNAL_MAX) - 1);
    if (o->keep_values || !missing)
        return 0;
    return chain_add(g, &(struct processor_spec){ .kind = "redact", .signals = missing }, err, err_size);
}

static bool is_rate(const struct sampler *s)
{
    bool rate = s->kind == SAMPLER_RATE;
    for (size_t i = 0; s->kind == SAMPLER_BRANCHES && i < s->n_branches && !rate; i++)
        rate = is_rate(&s->branches[i].sampler);
    return rate;
}

static bool uses_rate(const struct sampler_options *o)
{
    bool rate = is_rate(&o->sampler);
    for (size_t i = 0; i < o->n_rules; i++)
        rate |= is_rate(&o->rules[i].sampler);
    return rate;
}

static void stages_free(struct pipeline_stages *g)
{
    for (u32 i = 0; i < g->n; i++)
        g->chain[i].x->close(g->chain[i].self);
    g->tail = g->tail ? tail_free(g->tail) : NULL;
    g->sampling = sampling_free(g->sampling);
    free(g);
}

static int stages_fill(struct pipeline *p, struct pipeline_stages *g, const struct pipeline_options *o, char *err,
                       size_t err_size)
{
    snprintf(err, err_size, "not enough memory for the pipeline");
    g->logs_of_sampled = o->logs_of_sampled;
    g->sampling = sampling_new(&o->sampler);
    if (!g->sampling)
        return -ENOMEM;
    struct tail_options tail = o->tail;
    tail.head_unknown |= uses_rate(&o->sampler);
    if (tail.enabled && !(g->tail = tail_new(&tail, &p->decided)))
        return -ENOMEM;
    return chain_make(g, o, err, err_size);
}

int pipeline_prepare(struct pipeline *p, const struct pipeline_options *o, struct pipeline_stages **ret, char *err,
                     size_t err_size)
{
    struct pipeline_stages *g = calloc(1, sizeof(*g));
    if (!g)
        return -ENOMEM;
    int code = stages_fill(p, g, o, err, err_size);
    if (code)
        stages_free(g);
    else
        *ret = g;
    return code;
}

void pipeline_forget(struct pipeline_stages *g)
{
    if (g)
        stages_free(g);
}

/* The tail that goes is asked for what it holds: by the new rules if there are some, else on its way. */
static void tail_change(struct pipeline *p, struct pipeline_stages *g, struct tail *old)
{
    if (!old) /* at most one of the two is there */
        old = take_ptr(p->old_tail);
    if (old && g->tail) {
        tail_take(g->tail, old);
    } else if (old) {
        p->old_tail = old;
        tail_off(old);
    }
}

void pipeline_take(struct pipeline *p, struct pipeline_stages *g)
{
    struct pipeline_stages *old = p->s;
    p->s = g;
    tail_change(p, g, take_ptr(old->tail));
    stages_free(old);
}

int pipeline_new(const struct pipeline_options *o, struct span_sink *next, struct log_sink *next_logs,
                 struct metric_sink *next_metrics, struct pipeline **ret, char *err, size_t err_size)
{
    struct pipeline *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->next = next;
    p->next_logs = next_logs;
    p->next_metrics = next_metrics;
    p->spans = (struct span_sink){ .started = on_started, .ended = on_ended };
    p->decided = (struct span_sink){ .ended = on_decided };
    p->logs = (struct log_sink){ .emit = on_log };
    p->metrics = (struct metric_sink){ .emit = on_metrics };
    int code = pipeline_prepare(p, o, &p->s, err, err_size);
    if (code)
        pipeline_free(p);
    else
        *ret = p;
    return code;
}

struct pipeline *pipeline_free(struct pipeline *p)
{
    if (!p)
        return NULL;
    while (pipeline_finish(p, UINT32_MAX))
        ;
    if (p->old_tail)
        tail_free(p->old_tail);
    if (p->s)
        stages_free(p->s);
    free(p);
    return NULL;
}

struct span_sink *pipeline_spans(struct pipeline *p) { return &p->spans; }
struct log_sink *pipeline_logs(struct pipeline *p) { return &p->logs; }
struct metric_sink *pipeline_metrics(struct pipeline *p) { return &p->metrics; }

void pipeline_tick(struct pipeline *p, u64 now_wall_ns, u32 budget)
{
    if (p->s->tail)
        tail_tick(p->s->tail, now_wall_ns, budget);
    if (!p->old_tail)
        return;
    tail_tick(p->old_tail, now_wall_ns, budget);
    if (tail_over(p->old_tail))
        p->old_tail = tail_free(p->old_tail);
}

bool pipeline_finish(struct pipeline *p, u32 budget)
{
    bool more = p->s && p->s->tail && tail_finish(p->s->tail, budget);
    return (p->old_tail && tail_finish(p->old_tail, budget)) || more;
}
