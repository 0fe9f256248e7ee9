/* ExportMetricsServiceRequest (OTLP 1.5, metrics.proto). An up-down counter or gauge has its values as they are; a histogram's
 * min and max are left out when they are not known. */
#include "export/encode_pb.h"
#include "metrics_service.pb-c.h"

typedef Opentelemetry__Proto__Metrics__V1__ResourceMetrics pb_resource_metrics;
typedef Opentelemetry__Proto__Metrics__V1__ScopeMetrics pb_scope_metrics;
typedef Opentelemetry__Proto__Metrics__V1__Metric pb_metric;
typedef Opentelemetry__Proto__Metrics__V1__Gauge pb_gauge;
typedef Opentelemetry__Proto__Metrics__V1__Sum pb_sum;
typedef Opentelemetry__Proto__Metrics__V1__Histogram pb_histogram;
typedef Opentelemetry__Proto__Metrics__V1__ExponentialHistogram pb_exponential;
typedef Opentelemetry__Proto__Metrics__V1__NumberDataPoint pb_number;
typedef Opentelemetry__Proto__Metrics__V1__HistogramDataPoint pb_histogram_point;
typedef Opentelemetry__Proto__Metrics__V1__ExponentialHistogramDataPoint pb_exponential_point;
typedef Opentelemetry__Proto__Metrics__V1__ExponentialHistogramDataPoint__Buckets pb_buckets;
typedef Opentelemetry__Proto__Metrics__V1__Exemplar pb_exemplar;
typedef Opentelemetry__Proto__Collector__Metrics__V1__ExportMetricsServiceRequest pb_request;

static size_t exemplars_make(struct encoder *e, const struct metric_point *p, pb_exemplar ***ret)
{
    pb_exemplar *x = p->n_exemplars ? ENCODER_LIST(e, pb_exemplar, p->n_exemplars, ret) : NULL;
    for (u16 i = 0; x && i < p->n_exemplars; i++) {
        const struct exemplar *from = &p->exemplars[i];
        x[i] = (pb_exemplar)OPENTELEMETRY__PROTO__METRICS__V1__EXEMPLAR__INIT;
        x[i].time_unix_nano = from->time_ns;
        x[i].value_case = OPENTELEMETRY__PROTO__METRICS__V1__EXEMPLAR__VALUE_AS_DOUBLE;
        x[i].as_double = from->value;
        if (!span_context_valid(&from->context))
            continue;
        x[i].trace_id = pb_bytes(from->context.trace_id, TRACE_ID_LEN);
        x[i].span_id = pb_bytes(from->context.span_id, SPAN_ID_LEN);
    }
    return x ? p->n_exemplars : 0;
}

static size_t numbers_make(struct encoder *e, const struct metric *m, pb_number ***ret)
{
    pb_number *out = m->n_points ? ENCODER_LIST(e, pb_number, m->n_points, ret) : NULL;
    for (u32 i = 0; out && i < m->n_points; i++) {
        const struct metric_point *p = &m->points[i];
        out[i] = (pb_number)OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__INIT;
        out[i].start_time_unix_nano = p->start_ns;
        out[i].time_unix_nano = p->time_ns;
        out[i].n_attributes = encoder_pairs(e, p->attrs, p->n_attrs, NULL, NULL, &out[i].attributes);
        out[i].n_exemplars = exemplars_make(e, p, &out[i].exemplars);
        if (p->is_int) {
            out[i].value_case = OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_INT;
            out[i].as_int = p->i;
        } else {
            out[i].value_case = OPENTELEMETRY__PROTO__METRICS__V1__NUMBER_DATA_POINT__VALUE_AS_DOUBLE;
            out[i].as_double = p->d;
        }
    }
    return out ? m->n_points : 0;
}

static void histogram_fill(struct encoder *e, const struct metric_point *p, pb_histogram_point *out)
{
    *out = (pb_histogram_point)OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT__INIT;
    out->start_time_unix_nano = p->start_ns;
    out->time_unix_nano = p->time_ns;
    out->count = p->count;
    out->has_sum_case = OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT__HAS_SUM_SUM;
    out->sum = p->sum;
    if (p->min <= p->max) {
        out->has_min_case = OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT__HAS_MIN_MIN;
        out->has_max_case = OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM_DATA_POINT__HAS_MAX_MAX;
        out->min = p->min;
        out->max = p->max;
    }
    out->n_bucket_counts = p->n_bounds + 1;
    out->bucket_counts = (uint64_t *)(uintptr_t)p->counts;
    out->n_explicit_bounds = p->n_bounds;
    out->explicit_bounds = (double *)(uintptr_t)p->bounds;
    out->n_attributes = encoder_pairs(e, p->attrs, p->n_attrs, NULL, NULL, &out->attributes);
    out->n_exemplars = exemplars_make(e, p, &out->exemplars);
}

static pb_buckets *buckets_make(struct encoder *e, const struct exp_buckets *from)
{
    pb_buckets *b = from->n ? encoder_take(e, 1, sizeof(*b)) : NULL;
    if (!b)
        return NULL;
    *b = (pb_buckets)OPENTELEMETRY__PROTO__METRICS__V1__EXPONENTIAL_HISTOGRAM_DATA_POINT__BUCKETS__INIT;
    b->offset = from->offset;
    b->n_bucket_counts = from->n;
    b->bucket_counts = (uint64_t *)(uintptr_t)from->counts;
    return b;
}

static void exponential_fill(struct encoder *e, const struct metric_point *p, pb_exponential_point *out)
{
    *out = (pb_exponential_point)OPENTELEMETRY__PROTO__METRICS__V1__EXPONENTIAL_HISTOGRAM_DATA_POINT__INIT;
    out->start_time_unix_nano = p->start_ns;
    out->time_unix_nano = p->time_ns;
    out->count = p->count;
    out->has_sum_case = OPENTELEMETRY__PROTO__METRICS__V1__EXPONENTIAL_HISTOGRAM_DATA_POINT__HAS_SUM_SUM;
    out->sum = p->sum;
    if (p->min <= p->max) {
        out->has_min_case = OPENTELEMETRY__PROTO__METRICS__V1__EXPONENTIAL_HISTOGRAM_DATA_POINT__HAS_MIN_MIN;
        out->has_max_case = OPENTELEMETRY__PROTO__METRICS__V1__EXPONENTIAL_HISTOGRAM_DATA_POINT__HAS_MAX_MAX;
        out->min = p->min;
        out->max = p->max;
    }
    out->scale = p->scale;
    out->zero_count = p->zero_count;
    out->positive = buckets_make(e, &p->positive);
    out->negative = buckets_make(e, &p->negative);
    out->n_attributes = encoder_pairs(e, p->attrs, p->n_attrs, NULL, NULL, &out->attributes);
    out->n_exemplars = exemplars_make(e, p, &out->exemplars);
}

static Opentelemetry__Proto__Metrics__V1__AggregationTemporality temporality(const struct metric *m)
{
    return m->delta ? OPENTELEMETRY__PROTO__METRICS__V1__AGGREGATION_TEMPORALITY__AGGREGATION_TEMPORALITY_DELTA
                    : OPENTELEMETRY__PROTO__METRICS__V1__AGGREGATION_TEMPORALITY__AGGREGATION_TEMPORALITY_CUMULATIVE;
}

static void gauge_fill(struct encoder *e, const struct metric *m, pb_metric *out)
{
    pb_gauge *g = encoder_take(e, 1, sizeof(*g));
    if (!g)
        return;
    *g = (pb_gauge)OPENTELEMETRY__PROTO__METRICS__V1__GAUGE__INIT;
    g->n_data_points = numbers_make(e, m, &g->data_points);
    out->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_GAUGE;
    out->gauge = g;
}

static void sum_fill(struct encoder *e, const struct metric *m, pb_metric *out)
{
    pb_sum *s = encoder_take(e, 1, sizeof(*s));
    if (!s)
        return;
    *s = (pb_sum)OPENTELEMETRY__PROTO__METRICS__V1__SUM__INIT;
    s->n_data_points = numbers_make(e, m, &s->data_points);
    s->aggregation_temporality = temporality(m);
    s->is_monotonic = m->monotonic;
    out->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_SUM;
    out->sum = s;
}

static void histograms_fill(struct encoder *e, const struct metric *m, pb_metric *out)
{
    pb_histogram *h = encoder_take(e, 1, sizeof(*h));
    if (!h)
        return;
    *h = (pb_histogram)OPENTELEMETRY__PROTO__METRICS__V1__HISTOGRAM__INIT;
    pb_histogram_point *v = m->n_points ? ENCODER_LIST(e, pb_histogram_point, m->n_points, &h->data_points) : NULL;
    for (u32 i = 0; v && i < m->n_points; i++)
        histogram_fill(e, &m->points[i], &v[i]);
    h->n_data_points = v ? m->n_points : 0;
    h->aggregation_temporality = temporality(m);
    out->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_HISTOGRAM;
    out->histogram = h;
}

static void exponentials_fill(struct encoder *e, const struct metric *m, pb_metric *out)
{
    pb_exponential *h = encoder_take(e, 1, sizeof(*h));
    if (!h)
        return;
    *h = (pb_exponential)OPENTELEMETRY__PROTO__METRICS__V1__EXPONENTIAL_HISTOGRAM__INIT;
    pb_exponential_point *v = m->n_points ? ENCODER_LIST(e, pb_exponential_point, m->n_points, &h->data_points) : NULL;
    for (u32 i = 0; v && i < m->n_points; i++)
        exponential_fill(e, &m->points[i], &v[i]);
    h->n_data_points = v ? m->n_points : 0;
    h->aggregation_temporality = temporality(m);
    out->data_case = OPENTELEMETRY__PROTO__METRICS__V1__METRIC__DATA_EXPONENTIAL_HISTOGRAM;
    out->exponential_histogram = h;
}

static void metric_fill(struct encoder *e, const struct metric *m, pb_metric *out)
{
    static void (*const fill[])(struct encoder *, const struct metric *,
                                pb_metric *) = { [METRIC_GAUGE] = gauge_fill,
                                                 [METRIC_SUM] = sum_fill,
                                                 [METRIC_HISTOGRAM] = histograms_fill,
                                                 [METRIC_EXP_HISTOGRAM] = exponentials_fill };
    *out = (pb_metric)OPENTELEMETRY__PROTO__METRICS__V1__METRIC__INIT;
    out->name = pb_text(m->name);
    out->unit = pb_text(m->unit);
    out->description = pb_text(m->description);
    fill[m->kind](e, m, out);
}

static void scope_fill(struct encoder *e, size_t from, size_t to, pb_scope_metrics *out)
{
    *out = (pb_scope_metrics)OPENTELEMETRY__PROTO__METRICS__V1__SCOPE_METRICS__INIT;
    out->scope = encoder_scope(e, e->group.v[from].scope);
    out->schema_url = pb_text(OTEL_SCHEMA_URL);
    pb_metric *metrics = ENCODER_LIST(e, pb_metric, to - from, &out->metrics);
    out->n_metrics = metrics ? to - from : 0;
    for (size_t i = from; metrics && i < to; i++)
        metric_fill(e, e->group.v[i].p, &metrics[i - from]);
}

static void resource_fill(struct encoder *e, size_t from, size_t to, pb_resource_metrics *out)
{
    size_t n = grouping_count(&e->group, from, to, same_scope);
    *out = (pb_resource_metrics)OPENTELEMETRY__PROTO__METRICS__V1__RESOURCE_METRICS__INIT;
    out->resource = encoder_resource(e, e->group.v[from].resource);
    out->schema_url = pb_text(OTEL_SCHEMA_URL);
    pb_scope_metrics *scopes = ENCODER_LIST(e, pb_scope_metrics, n, &out->scope_metrics);
    out->n_scope_metrics = scopes ? n : 0;
    for (size_t i = 0, end; scopes && i < n; i++, from = end) {
        end = grouping_run(&e->group, from, same_scope);
        scope_fill(e, from, end, &scopes[i]);
    }
}

int encoder_pack_metrics(struct encoder *e, const struct batch *b, size_t head, struct slice *ret)
{
    pb_request req = OPENTELEMETRY__PROTO__COLLECTOR__METRICS__V1__EXPORT_METRICS_SERVICE_REQUEST__INIT;
    int err = encoder_begin(e, b);
    if (err)
        return err;
    size_t n = grouping_count(&e->group, 0, e->group.n, same_resource);
    pb_resource_metrics *rm = n ? ENCODER_LIST(e, pb_resource_metrics, n, &req.resource_metrics) : NULL;
    req.n_resource_metrics = rm ? n : 0;
    for (size_t i = 0, from = 0, end; rm && i < n; i++, from = end) {
        end = grouping_run(&e->group, from, same_resource);
        resource_fill(e, from, end, &rm[i]);
    }
    return encoder_finish(e, &req.base, head, ret);
}
