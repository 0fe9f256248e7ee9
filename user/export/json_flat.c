/* A span, a log record, a metric point as one flat line for people and scripts. */
#include "export/encode.h"

void json_value(struct json *j, const struct attr *a)
{
    if (a->type == ATTR_STR) {
        json_str(j, a->s, a->len);
    } else if (a->type == ATTR_INT) {
        json_s64(j, a->i);
    } else if (a->type == ATTR_DOUBLE) {
        json_double(j, a->d);
    } else if (a->type == ATTR_BOOL) {
        json_raw(j, a->b ? "true" : "false");
    } else {
        json_raw(j, "[");
        for (const char *s = a->s; s < a->s + a->len; s += strlen(s) + 1) {
            json_raw(j, s == a->s ? "" : ",");
            json_text(j, s);
        }
        json_raw(j, "]");
    }
}

static void flat_attrs(struct json *j, const struct attr *v, size_t n)
{
    json_raw(j, ",\"attributes\":{");
    for (size_t i = 0; i < n; i++) {
        json_raw(j, i ? "," : "");
        json_text(j, v[i].key);
        json_raw(j, ":");
        json_value(j, &v[i]);
    }
    json_raw(j, "}");
}

static void flat_events(struct json *j, const struct span *s)
{
    json_raw(j, ",\"events\":[");
    struct span_event room;
    for (u32 i = 0; i < span_event_count(s); i++) {
        const struct span_event *e = span_event_at(s, i, &room);
        json_fmt(j, "%s{\"time_unix_nano\":%llu,\"name\":", i ? "," : "", (unsigned long long)e->time_ns);
        json_text(j, e->name);
        flat_attrs(j, e->attrs, e->n_attrs);
        json_raw(j, "}");
    }
    json_raw(j, "],\"links\":[");
    for (u8 i = 0; i < s->n_links; i++) {
        json_raw(j, i ? ",{\"trace_id\":" : "{\"trace_id\":");
        json_hex(j, s->links[i].to.trace_id, TRACE_ID_LEN);
        json_raw(j, ",\"span_id\":");
        json_hex(j, s->links[i].to.span_id, SPAN_ID_LEN);
        json_raw(j, ",\"by\":");
        json_text(j, s->links[i].why);
        json_raw(j, "}");
    }
    json_raw(j, "]");
}

static const char *const kind_name[] = { "unspecified", "internal", "server", "client", "producer", "consumer" };
static const char *const status_name[] = { "unset", "ok", "error" };

static void flat_head(struct json *j, const struct span *s)
{
    u64 ns = s->end_ns > s->start_ns ? s->end_ns - s->start_ns : 0;
    json_raw(j, "{\"trace_id\":");
    json_hex(j, s->id.trace_id, TRACE_ID_LEN);
    json_raw(j, ",\"span_id\":");
    json_hex(j, s->id.span_id, SPAN_ID_LEN);
    json_raw(j, ",\"parent_span_id\":");
    json_hex(j, s->parent_id, span_is_root(s) ? 0 : SPAN_ID_LEN);
    json_raw(j, ",\"name\":");
    json_text(j, s->name);
    json_fmt(j, ",\"kind\":\"%s\",\"start_unix_nano\":%llu,\"end_unix_nano\":%llu,\"duration_ms\":%.6f",
             s->kind < ARRAY_LEN(kind_name) ? kind_name[s->kind] : kind_name[0], (unsigned long long)s->start_ns,
             (unsigned long long)s->end_ns, (double)ns / 1e6);
    json_fmt(j, ",\"status\":\"%s\",\"status_message\":",
             s->status < ARRAY_LEN(status_name) ? status_name[s->status] : status_name[0]);
    json_text(j, s->status_message);
}

void json_span(struct json *j, const struct span *s)
{
    flat_head(j, s);
    json_raw(j, ",\"service\":");
    json_text(j, resource_service(s->resource));
    json_raw(j, ",\"scope\":");
    json_text(j, s->scope);
    json_fmt(j, ",\"parent_by\":\"%s\",\"pid\":%u", s->join < JOIN_MAX ? join_name[s->join] : "", s->tgid);
    flat_attrs(j, s->attrs.v, s->attrs.n);
    flat_events(j, s);
    json_raw(j, "}\n");
}

static void flat_context(struct json *j, const struct span_context *c)
{
    if (!span_context_valid(c))
        return;
    json_raw(j, ",\"trace_id\":");
    json_hex(j, c->trace_id, TRACE_ID_LEN);
    json_raw(j, ",\"span_id\":");
    json_hex(j, c->span_id, SPAN_ID_LEN);
}

static void flat_source(struct json *j, const struct resource *r, const char *scope)
{
    json_raw(j, ",\"service\":");
    json_text(j, resource_service(r));
    json_raw(j, ",\"scope\":");
    json_text(j, scope);
}

void json_log(struct json *j, const struct log_record *l)
{
    json_fmt(j, "{\"time_unix_nano\":%llu,\"severity\":%u,\"severity_text\":",
             (unsigned long long)(l->time_ns ? l->time_ns : l->observed_ns), l->severity);
    json_text(j, l->severity_text);
    json_raw(j, ",\"body\":");
    json_str(j, l->body, l->body_len);
    flat_context(j, &l->context);
    flat_source(j, l->resource, l->scope);
    flat_attrs(j, l->attrs.v, l->attrs.n);
    json_raw(j, "}\n");
}

/* --- metrics --- */

static const char *const metric_kind_name[] = { [METRIC_GAUGE] = "gauge",
                                                [METRIC_SUM] = "sum",
                                                [METRIC_HISTOGRAM] = "histogram",
                                                [METRIC_EXP_HISTOGRAM] = "exponential_histogram" };

static void flat_double(struct json *j, const char *field, double d)
{
    json_fmt(j, ",\"%s\":", field);
    json_double(j, d);
}

static void flat_counts(struct json *j, const char *field, const u64 *counts, u32 n)
{
    json_fmt(j, ",\"%s\":[", field);
    for (u32 i = 0; i < n; i++)
        json_fmt(j, "%s%llu", i ? "," : "", (unsigned long long)counts[i]);
    json_raw(j, "]");
}

static void flat_histogram(struct json *j, const struct metric *m, const struct metric_point *p)
{
    json_fmt(j, ",\"count\":%llu", (unsigned long long)p->count);
    flat_double(j, "sum", p->sum);
    if (p->min <= p->max) {
        flat_double(j, "min", p->min);
        flat_double(j, "max", p->max);
    }
    if (m->kind == METRIC_EXP_HISTOGRAM) {
        json_fmt(j, ",\"scale\":%d,\"zero_count\":%llu,\"offset\":%d", p->scale, (unsigned long long)p->zero_count,
                 p->positive.offset);
        flat_counts(j, "counts", p->positive.counts, p->positive.n);
        return;
    }
    json_raw(j, ",\"bounds\":[");
    for (u32 i = 0; i < p->n_bounds; i++) {
        json_raw(j, i ? "," : "");
        json_double(j, p->bounds[i]);
    }
    json_raw(j, "]");
    flat_counts(j, "counts", p->counts, p->n_bounds + 1);
}

static void flat_point(struct json *j, const struct metric *m, const struct metric_point *p)
{
    json_raw(j, "{\"metric\":");
    json_text(j, m->name);
    json_raw(j, ",\"unit\":");
    json_text(j, m->unit);
    json_fmt(j, ",\"type\":\"%s\"", metric_kind_name[m->kind]);
    if (m->kind == METRIC_SUM)
        json_fmt(j, ",\"monotonic\":%s", m->monotonic ? "true" : "false");
    if (m->kind != METRIC_GAUGE)
        json_fmt(j, ",\"temporality\":\"%s\",\"start_unix_nano\":%llu", m->delta ? "delta" : "cumulative",
                 (unsigned long long)p->start_ns);
    json_fmt(j, ",\"time_unix_nano\":%llu", (unsigned long long)p->time_ns);
    if (m->kind == METRIC_HISTOGRAM || m->kind == METRIC_EXP_HISTOGRAM)
        flat_histogram(j, m, p);
    else if (p->is_int)
        json_fmt(j, ",\"value\":%lld", (long long)p->i);
    else
        flat_double(j, "value", p->d);
    flat_source(j, m->resource, m->scope);
    flat_attrs(j, p->attrs, p->n_attrs);
    json_raw(j, "}\n");
}

void json_points(struct json *j, const struct metric_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        for (u32 k = 0; k < b->metrics[i].n_points; k++)
            flat_point(j, &b->metrics[i], &b->metrics[i].points[k]);
}
