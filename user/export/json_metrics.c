/* Metrics in OTLP's JSON. */
#include "export/encode.h"

static void otlp_times(struct json *j, const struct metric_point *p)
{
    json_raw(j, "{");
    json_otlp_attrs(j, p->attrs, p->n_attrs, NULL);
    if (p->start_ns)
        json_fmt(j, ",\"startTimeUnixNano\":\"%llu\"", (unsigned long long)p->start_ns);
    json_fmt(j, ",\"timeUnixNano\":\"%llu\"", (unsigned long long)p->time_ns);
}

static void otlp_field(struct json *j, const char *field, double d)
{
    json_fmt(j, ",\"%s\":", field);
    json_double(j, d);
}

static void otlp_exemplars(struct json *j, const struct metric_point *p)
{
    if (p->n_exemplars)
        json_raw(j, ",\"exemplars\":[");
    for (u16 i = 0; i < p->n_exemplars; i++) {
        const struct exemplar *x = &p->exemplars[i];
        json_fmt(j, "%s{\"timeUnixNano\":\"%llu\"", i ? "," : "", (unsigned long long)x->time_ns);
        otlp_field(j, "asDouble", x->value);
        if (span_context_valid(&x->context)) {
            json_raw(j, ",\"spanId\":");
            json_hex(j, x->context.span_id, SPAN_ID_LEN);
            json_raw(j, ",\"traceId\":");
            json_hex(j, x->context.trace_id, TRACE_ID_LEN);
        }
        json_raw(j, "}");
    }
    if (p->n_exemplars)
        json_raw(j, "]");
}

static void otlp_number(struct json *j, const struct metric_point *p)
{
    otlp_times(j, p);
    if (p->is_int)
        json_fmt(j, ",\"asInt\":\"%lld\"", (long long)p->i);
    else
        otlp_field(j, "asDouble", p->d);
    otlp_exemplars(j, p);
    json_raw(j, "}");
}

static void otlp_counts(struct json *j, const char *field, const u64 *counts, u32 n)
{
    json_fmt(j, "\"%s\":[", field);
    for (u32 i = 0; i < n; i++)
        json_fmt(j, "%s\"%llu\"", i ? "," : "", (unsigned long long)counts[i]);
    json_raw(j, "]");
}

static void otlp_summary(struct json *j, const struct metric_point *p)
{
    otlp_times(j, p);
    json_fmt(j, ",\"count\":\"%llu\"", (unsigned long long)p->count);
    otlp_field(j, "sum", p->sum);
    if (p->min > p->max)
        return;
    otlp_field(j, "min", p->min);
    otlp_field(j, "max", p->max);
}

static void otlp_histogram(struct json *j, const struct metric_point *p)
{
    otlp_summary(j, p);
    json_raw(j, ",");
    otlp_counts(j, "bucketCounts", p->counts, p->n_bounds + 1);
    json_raw(j, ",\"explicitBounds\":[");
    for (u32 i = 0; i < p->n_bounds; i++) {
        json_raw(j, i ? "," : "");
        json_double(j, p->bounds[i]);
    }
    json_raw(j, "]");
    otlp_exemplars(j, p);
    json_raw(j, "}");
}

static void otlp_buckets(struct json *j, const char *field, const struct exp_buckets *b)
{
    if (!b->n)
        return;
    json_fmt(j, ",\"%s\":{\"offset\":%d,", field, b->offset);
    otlp_counts(j, "bucketCounts", b->counts, b->n);
    json_raw(j, "}");
}

static void otlp_exponential(struct json *j, const struct metric_point *p)
{
    otlp_summary(j, p);
    json_fmt(j, ",\"scale\":%d,\"zeroCount\":\"%llu\"", p->scale, (unsigned long long)p->zero_count);
    otlp_buckets(j, "positive", &p->positive);
    otlp_buckets(j, "negative", &p->negative);
    otlp_exemplars(j, p);
    json_raw(j, "}");
}

static void otlp_metric(struct json *j, const void *item)
{
    static const struct {
        const char *field;
        void (*point)(struct json *j, const struct metric_point *p);
    } shapes[] = { [METRIC_GAUGE] = { "gauge", otlp_number },
                   [METRIC_SUM] = { "sum", otlp_number },
                   [METRIC_HISTOGRAM] = { "histogram", otlp_histogram },
                   [METRIC_EXP_HISTOGRAM] = { "exponentialHistogram", otlp_exponential } };
    const struct metric *m = item;
    json_raw(j, "{\"name\":");
    json_text(j, m->name);
    json_raw(j, ",\"description\":");
    json_text(j, m->description);
    json_raw(j, ",\"unit\":");
    json_text(j, m->unit);
    json_fmt(j, ",\"%s\":{\"dataPoints\":[", shapes[m->kind].field);
    for (u32 i = 0; i < m->n_points; i++) {
        json_raw(j, i ? "," : "");
        shapes[m->kind].point(j, &m->points[i]);
    }
    json_raw(j, "]");
    if (m->kind != METRIC_GAUGE)
        json_fmt(j, ",\"aggregationTemporality\":%d", m->delta ? 1 : 2);
    if (m->kind == METRIC_SUM)
        json_raw(j, m->monotonic ? ",\"isMonotonic\":true" : ",\"isMonotonic\":false");
    json_raw(j, "}}");
}

int json_otlp_metrics(struct json *j, struct grouping *g, const struct batch *b)
{
    static const struct otlp_shape shape = { "resourceMetrics", "scopeMetrics", "metrics", otlp_metric };
    int err = grouping_make(g, b);
    return err ? err : json_otlp_shape(j, g, &shape);
}
