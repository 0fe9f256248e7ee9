/* Spans in OTLP's JSON. */
#include "export/encode.h"

static void otlp_events(struct json *j, const struct span *s)
{
    json_raw(j, ",\"events\":[");
    struct span_event room;
    for (u32 i = 0; i < span_event_count(s); i++) {
        const struct span_event *e = span_event_at(s, i, &room);
        json_fmt(j, "%s{\"timeUnixNano\":\"%llu\",\"name\":", i ? "," : "", (unsigned long long)e->time_ns);
        json_text(j, e->name);
        json_raw(j, ",");
        json_otlp_attrs(j, e->attrs, e->n_attrs, NULL);
        json_raw(j, "}");
    }
    json_raw(j, "]");
    json_otlp_dropped(j, "droppedEventsCount", span_event_dropped(s));
}

static void otlp_links(struct json *j, const struct span *s)
{
    json_raw(j, ",\"links\":[");
    for (u8 i = 0; i < s->n_links; i++) {
        const struct span_link *l = &s->links[i];
        struct attr why = attr_of_text("wftrace.link.by", l->why ? l->why : "");
        json_raw(j, i ? ",{\"traceId\":" : "{\"traceId\":");
        json_hex(j, l->to.trace_id, TRACE_ID_LEN);
        json_raw(j, ",\"spanId\":");
        json_hex(j, l->to.span_id, SPAN_ID_LEN);
        json_fmt(j, ",\"flags\":%u,", l->to.flags);
        json_otlp_attrs(j, NULL, 0, l->why ? &why : NULL);
        json_raw(j, "}");
    }
    json_raw(j, "]");
    json_otlp_dropped(j, "droppedLinksCount", s->dropped_links);
}

static void otlp_status(struct json *j, const struct span *s)
{
    json_raw(j, ",\"status\":{");
    if (s->status)
        json_fmt(j, "\"code\":%u", s->status);
    if (s->status && s->status_message) {
        json_raw(j, ",\"message\":");
        json_text(j, s->status_message);
    }
    json_raw(j, "}");
}

static void otlp_ids(struct json *j, const struct span *s)
{
    json_raw(j, "{\"traceId\":");
    json_hex(j, s->id.trace_id, TRACE_ID_LEN);
    json_raw(j, ",\"spanId\":");
    json_hex(j, s->id.span_id, SPAN_ID_LEN);
    if (!span_is_root(s)) {
        json_raw(j, ",\"parentSpanId\":");
        json_hex(j, s->parent_id, SPAN_ID_LEN);
    }
    if (*span_tracestate(s)) {
        json_raw(j, ",\"traceState\":");
        json_text(j, span_tracestate(s));
    }
}

static void otlp_span(struct json *j, const void *item)
{
    const struct span *s = item;
    struct attr by = attr_of_text("wftrace.parent.by", s->join < JOIN_MAX ? join_name[s->join] : "");
    otlp_ids(j, s);
    json_raw(j, ",\"flags\":");
    json_u64(j, span_flags(s));
    json_raw(j, ",\"name\":");
    json_text(j, s->name);
    json_raw(j, ",\"kind\":");
    json_u64(j, s->kind);
    json_raw(j, ",\"startTimeUnixNano\":\"");
    json_u64(j, s->start_ns);
    json_raw(j, "\",\"endTimeUnixNano\":\"");
    json_u64(j, s->end_ns);
    json_raw(j, "\",");
    json_otlp_attrs(j, s->attrs.v, s->attrs.n, s->join < JOIN_MAX ? &by : NULL);
    json_otlp_dropped(j, "droppedAttributesCount", s->attrs.dropped);
    otlp_events(j, s);
    otlp_links(j, s);
    otlp_status(j, s);
    json_raw(j, "}");
}

int json_otlp_spans(struct json *j, struct grouping *g, const struct batch *b)
{
    static const struct otlp_shape shape = { "resourceSpans", "scopeSpans", "spans", otlp_span };
    int err = grouping_make(g, b);
    return err ? err : json_otlp_shape(j, g, &shape);
}
