/* metric: what a span says becomes a measurement, before sampling and before other processors change the span. Whoever aggregates stands behind
 * measure_options.record; the processor only decides which spans count and what the value is. */
#include "pipeline/match.h"
#include "self/ledger.h"

struct measure {
    struct measure_options o;
    char *metric, *unit, *of;
    char **by;
};

static bool value_of(const struct measure *m, const struct span *s, double *ret)
{
    if (!m->of)
        return *ret = 1, true;
    if (!strcmp(m->of, "duration"))
        return *ret = s->end_ns > s->start_ns ? (double)(s->end_ns - s->start_ns) / 1e9 : 0, true;
    const struct attr *a = attr_get(&s->attrs, m->of);
    if (!a || (a->type != ATTR_INT && a->type != ATTR_DOUBLE))
        return false;
    *ret = a->type == ATTR_INT ? (double)a->i : a->d;
    return true;
}

static enum fate measure_on_span(void *self, struct span *s)
{
    struct measure *m = self;
    double v;
    if (!match_span(&m->o.when, s) || !value_of(m, s, &v))
        return FATE_KEEP;
    if (m->o.record)
        m->o.record(m->o.arg, &m->o, v, s);
    else
        ledger_add(measures_dropped, 1);
    return FATE_KEEP;
}

static void measure_close(void *self)
{
    struct measure *m = self;
    for (size_t i = 0; m->by && i < m->o.n_by; i++)
        free(m->by[i]);
    free(m->by);
    free(m->metric);
    free(m->unit);
    free(m->of);
    match_done(&m->o.when);
    free(m);
}

static int texts_copy(struct measure *m, const struct measure_options *o)
{
    m->metric = strdup(o->metric);
    m->unit = strdup(o->unit ? o->unit : "1");
    const char *of = o->of ? o->of : o->histogram ? "duration" : NULL;
    m->of = of ? strdup(of) : NULL;
    m->by = calloc(o->n_by ? o->n_by : 1, sizeof(*m->by));
    if (!m->metric || !m->unit || (of && !m->of) || !m->by)
        return -ENOMEM;
    for (size_t i = 0; i < o->n_by; i++)
        if (!(m->by[i] = strdup(o->by[i])))
            return -ENOMEM;
    m->o.metric = m->metric;
    m->o.unit = m->unit;
    m->o.of = m->of;
    m->o.by = (const char *const *)m->by;
    return 0;
}

static int measure_open(const struct processor_spec *spec, void **ret, char *err, size_t err_size)
{
    const struct measure_options *o = &spec->measure;
    struct measure *m;
    if (!o->metric || !*o->metric) {
        snprintf(err, err_size, "metric: its name is missing");
        return -EINVAL;
    }
    if (!(m = calloc(1, sizeof(*m))))
        return -ENOMEM;
    m->o = *o;
    m->o.when = (struct match){ 0 };
    int code = match_copy(&m->o.when, &o->when);
    if (!code)
        code = texts_copy(m, o);
    if (code)
        measure_close(m);
    else
        *ret = m;
    return code;
}

const struct processor processor_metric = {
    .name = "metric",
    .help = "makes a measurement of spans: a count, their duration, a number they carry",
    .open = measure_open,
    .on_span = measure_on_span,
    .close = measure_close,
};
