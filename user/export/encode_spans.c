/* ExportTraceServiceRequest. */
#include "export/encode_pb.h"
#include "trace_service.pb-c.h"

typedef Opentelemetry__Proto__Trace__V1__ResourceSpans pb_resource_spans;
typedef Opentelemetry__Proto__Trace__V1__ScopeSpans pb_scope_spans;
typedef Opentelemetry__Proto__Trace__V1__Span pb_span;
typedef Opentelemetry__Proto__Trace__V1__Span__Event pb_event;
typedef Opentelemetry__Proto__Trace__V1__Span__Link pb_link;
typedef Opentelemetry__Proto__Trace__V1__Status pb_status;
typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest pb_request;

static void events_make(struct encoder *e, const struct span *s, pb_span *out)
{
    u32 n = span_event_count(s);
    struct span_event room;
    pb_event *ev = n ? ENCODER_LIST(e, pb_event, n, &out->events) : NULL;
    for (u32 i = 0; ev && i < n; i++) {
        const struct span_event *from = span_event_at(s, i, &room);
        ev[i] = (pb_event)OPENTELEMETRY__PROTO__TRACE__V1__SPAN__EVENT__INIT;
        ev[i].time_unix_nano = from->time_ns;
        ev[i].name = pb_text(from->name);
        ev[i].n_attributes = encoder_pairs(e, from->attrs, from->n_attrs, NULL, NULL, &ev[i].attributes);
    }
    out->n_events = ev ? n : 0;
    out->dropped_events_count = span_event_dropped(s);
}

static void links_make(struct encoder *e, const struct span *s, pb_span *out)
{
    pb_link *l = s->n_links ? ENCODER_LIST(e, pb_link, s->n_links, &out->links) : NULL;
    for (u8 i = 0; l && i < s->n_links; i++) {
        const struct span_link *from = &s->links[i];
        l[i] = (pb_link)OPENTELEMETRY__PROTO__TRACE__V1__SPAN__LINK__INIT;
        l[i].trace_id = pb_bytes(from->to.trace_id, TRACE_ID_LEN);
        l[i].span_id = pb_bytes(from->to.span_id, SPAN_ID_LEN);
        l[i].flags = from->to.flags;
        l[i].n_attributes = encoder_pairs(e, NULL, 0, from->why ? "wftrace.link.by" : NULL, from->why, &l[i].attributes);
    }
    out->n_links = l ? s->n_links : 0;
    out->dropped_links_count = s->dropped_links;
}

static void span_fill(struct encoder *e, const struct span *s, pb_span *out)
{
    *out = (pb_span)OPENTELEMETRY__PROTO__TRACE__V1__SPAN__INIT;
    out->trace_id = pb_bytes(s->id.trace_id, TRACE_ID_LEN);
    out->span_id = pb_bytes(s->id.span_id, SPAN_ID_LEN);
    if (!span_is_root(s))
        out->parent_span_id = pb_bytes(s->parent_id, SPAN_ID_LEN);
    out->trace_state = pb_text(span_tracestate(s));
    out->flags = span_flags(s);
    out->name = pb_text(s->name);
    out->kind = (Opentelemetry__Proto__Trace__V1__Span__SpanKind)s->kind;
    out->start_time_unix_nano = s->start_ns;
    out->end_time_unix_nano = s->end_ns;
    out->n_attributes = encoder_pairs(e, s->attrs.v, s->attrs.n, s->join < JOIN_MAX ? "wftrace.parent.by" : NULL,
                                      s->join < JOIN_MAX ? join_name[s->join] : NULL, &out->attributes);
    out->dropped_attributes_count = s->attrs.dropped;
    events_make(e, s, out);
    links_make(e, s, out);
    pb_status *status = s->status ? encoder_take(e, 1, sizeof(*status)) : NULL;
    if (!status)
        return;
    *status = (pb_status)OPENTELEMETRY__PROTO__TRACE__V1__STATUS__INIT;
    status->code = (Opentelemetry__Proto__Trace__V1__Status__StatusCode)s->status;
    status->message = pb_text(s->status_message);
    out->status = status;
}

static void scope_fill(struct encoder *e, size_t from, size_t to, pb_scope_spans *out)
{
    *out = (pb_scope_spans)OPENTELEMETRY__PROTO__TRACE__V1__SCOPE_SPANS__INIT;
    out->scope = encoder_scope(e, e->group.v[from].scope);
    out->schema_url = pb_text(OTEL_SCHEMA_URL);
    pb_span *spans = ENCODER_LIST(e, pb_span, to - from, &out->spans);
    out->n_spans = spans ? to - from : 0;
    for (size_t i = from; spans && i < to; i++)
        span_fill(e, e->group.v[i].p, &spans[i - from]);
}

static void resource_fill(struct encoder *e, size_t from, size_t to, pb_resource_spans *out)
{
    size_t n = grouping_count(&e->group, from, to, same_scope);
    *out = (pb_resource_spans)OPENTELEMETRY__PROTO__TRACE__V1__RESOURCE_SPANS__INIT;
    out->resource = encoder_resource(e, e->group.v[from].resource);
    out->schema_url = pb_text(OTEL_SCHEMA_URL);
    pb_scope_spans *scopes = ENCODER_LIST(e, pb_scope_spans, n, &out->scope_spans);
    out->n_scope_spans = scopes ? n : 0;
    for (size_t i = 0, end; scopes && i < n; i++, from = end) {
        end = grouping_run(&e->group, from, same_scope);
        scope_fill(e, from, end, &scopes[i]);
    }
}

int encoder_pack_spans(struct encoder *e, const struct batch *b, size_t head, struct slice *ret)
{
    pb_request req = OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__EXPORT_TRACE_SERVICE_REQUEST__INIT;
    int err = encoder_begin(e, b);
    if (err)
        return err;
    size_t n = grouping_count(&e->group, 0, e->group.n, same_resource);
    pb_resource_spans *rs = n ? ENCODER_LIST(e, pb_resource_spans, n, &req.resource_spans) : NULL;
    req.n_resource_spans = rs ? n : 0;
    for (size_t i = 0, from = 0, end; rs && i < n; i++, from = end) {
        end = grouping_run(&e->group, from, same_resource);
        resource_fill(e, from, end, &rs[i]);
    }
    return encoder_finish(e, &req.base, head, ret);
}
