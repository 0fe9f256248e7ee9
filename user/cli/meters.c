/* The meter provider of a configuration → what the metrics stage is told. There is one pushing reader: the first periodic one
 * gives the interval, the temporality and the limits; scrapers always get cumulative numbers. */
#include "cli/session.h"

#include <strings.h>

static enum metric_instrument type_of(int type)
{
    switch (type) {
    case CONFIG_INSTRUMENT_COUNTER:
    case CONFIG_INSTRUMENT_OBSERVABLE_COUNTER:
        return METER_COUNTER;
    case CONFIG_INSTRUMENT_GAUGE:
    case CONFIG_INSTRUMENT_OBSERVABLE_GAUGE:
        return METER_GAUGE;
    case CONFIG_INSTRUMENT_HISTOGRAM:
        return METER_HISTOGRAM;
    case CONFIG_INSTRUMENT_UP_DOWN_COUNTER:
    case CONFIG_INSTRUMENT_OBSERVABLE_UP_DOWN_COUNTER:
        return METER_UPDOWN;
    default:
        return METER_ANY;
    }
}

static void view_aggregation(const struct config_aggregation *a, struct metric_view *v)
{
    if (a->drop)
        v->aggregation = AGGREGATE_DROP;
    else if (a->last_value)
        v->aggregation = AGGREGATE_LAST;
    else if (a->sum)
        v->aggregation = AGGREGATE_SUM;
    else if (a->explicit_bucket_histogram)
        v->aggregation = AGGREGATE_EXPLICIT;
    else if (a->base2_exponential_bucket_histogram)
        v->aggregation = AGGREGATE_EXPONENTIAL;
    if (a->explicit_bucket_histogram && a->explicit_bucket_histogram->boundaries_given) {
        v->bounds = a->explicit_bucket_histogram->boundaries.v;
        v->n_bounds = a->explicit_bucket_histogram->boundaries.n;
    }
    if (a->base2_exponential_bucket_histogram) {
        v->max_size = (u32)a->base2_exponential_bucket_histogram->max_size;
        v->max_scale = (s32)a->base2_exponential_bucket_histogram->max_scale;
    }
}

static void view_convert(const struct config_view *from, struct metric_view *v)
{
    const struct config_view_selector *s = from->selector;
    const struct config_view_stream *t = from->stream;
    if (s) {
        v->select_name = s->instrument_name;
        v->select_type = type_of(s->instrument_type);
        v->select_unit = s->unit;
    }
    if (!t)
        return;
    v->name = t->name;
    v->description = t->description;
    if (t->cardinality_limit > 0)
        v->limit = (u32)t->cardinality_limit;
    if (t->attribute_keys && t->attribute_keys->included.n) {
        v->include = (const char *const *)t->attribute_keys->included.v;
        v->n_include = t->attribute_keys->included.n;
    }
    if (t->attribute_keys) {
        v->exclude = (const char *const *)t->attribute_keys->excluded.v;
        v->n_exclude = t->attribute_keys->excluded.n;
    }
    if (t->aggregation)
        view_aggregation(t->aggregation, v);
}

static void limits_convert(const struct config_cardinality *c, struct metrics_options *o)
{
    const s64 of[] = { [METER_ANY] = c->fallback,
                       [METER_COUNTER] = c->counter,
                       [METER_UPDOWN] = c->up_down_counter,
                       [METER_GAUGE] = c->gauge,
                       [METER_HISTOGRAM] = c->histogram };
    for (size_t i = 0; i < ARRAY_LEN(of); i++)
        o->limits[i] = of[i] > 0 ? (u32)min_u64((u64)of[i], UINT32_MAX) : 0;
}

static void reader_convert(const struct config_periodic *p, struct metrics_options *o)
{
    const struct config_exporter *x = p->exporter;
    const struct config_otlp *otlp = x ? x->otlp_http ? x->otlp_http : x->otlp_grpc : NULL;
    int temporality = otlp ? otlp->temporality : x && x->otlp_file ? x->otlp_file->temporality : CONFIG_TEMPORALITY_CUMULATIVE;
    int histogram = otlp ? otlp->histogram : x && x->otlp_file ? x->otlp_file->histogram : CONFIG_HISTOGRAM_EXPLICIT;
    if (p->interval > 0)
        o->interval_ns = (u64)p->interval * NSEC_PER_MSEC;
    o->delta = temporality == CONFIG_TEMPORALITY_DELTA || temporality == CONFIG_TEMPORALITY_LOW_MEMORY;
    o->exponential = histogram == CONFIG_HISTOGRAM_EXPONENTIAL;
    if (p->cardinality_limits)
        limits_convert(p->cardinality_limits, o);
}

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v && *v ? v : NULL;
}

/* -e otlp=… with no provider configured: the variables that say how, as if one were. */
static void from_env(struct metrics_options *o)
{
    const char *interval = env("OTEL_METRIC_EXPORT_INTERVAL"), *filter = env("OTEL_METRICS_EXEMPLAR_FILTER");
    const char *preference = env("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE");
    const char *histogram = env("OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION");
    u64 ms;
    if (interval && !slice_u64(slice_str(interval), &ms) && ms)
        o->interval_ns = ms * NSEC_PER_MSEC;
    o->delta = preference && (!strcasecmp(preference, "delta") || !strcasecmp(preference, "lowmemory"));
    o->exponential = histogram && !strcasecmp(histogram, "base2_exponential_bucket_histogram");
    if (filter && !strcasecmp(filter, "always_on"))
        o->exemplars = EXEMPLARS_ALL;
    if (filter && !strcasecmp(filter, "always_off"))
        o->exemplars = EXEMPLARS_NONE;
}

int apply_meters(struct options *o)
{
    const struct config_meter_provider *p = o->config->meter_provider;
    struct metrics_options *to = &o->agent.meters;
    bool pushed = false;
    if (!p && !o->n_config_files)
        from_env(to);
    if (!p)
        return 0;
    struct metric_view *v = config_keep(o->config, (p->views.n + 1) * sizeof(*v));
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < p->views.n; i++)
        view_convert(&p->views.v[i], &v[i]);
    to->views = v;
    to->n_views = p->views.n;
    to->exemplars = p->exemplar_filter == CONFIG_EXEMPLAR_ALWAYS_ON    ? EXEMPLARS_ALL
                    : p->exemplar_filter == CONFIG_EXEMPLAR_ALWAYS_OFF ? EXEMPLARS_NONE
                                                                       : EXEMPLARS_TRACE_BASED;
    for (size_t i = 0; i < p->readers.n; i++) {
        const struct config_reader *r = &p->readers.v[i];
        if (r->periodic && !pushed)
            reader_convert(r->periodic, to);
        else if (r->pull && r->pull->cardinality_limits && !pushed)
            limits_convert(r->pull->cardinality_limits, to);
        pushed |= r->periodic != NULL;
    }
    return 0;
}
