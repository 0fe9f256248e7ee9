/* Spans as JSON: the OTLP form (proto3 JSON mapping with OTLP's exceptions: ids in hex, enums as numbers, 64-bit numbers
 * as strings) and our own flat form for people and scripts. */
#include "export/encode.h"

#include <math.h>
#include <stdarg.h>

static bool json_room(struct json *j, size_t more)
{
    if (j->failed || j->n + more + 1 > j->max) {
        j->failed = true;
        return false;
    }
    if (j->n + more + 1 <= j->room)
        return true;
    size_t room = min_u64(j->max, max_u64(2 * (j->n + more + 1), 4096));
    char *p = realloc(j->p, room);
    if (!p) {
        j->failed = true;
        return false;
    }
    j->p = p;
    j->room = room;
    return true;
}

void json_done(struct json *j)
{
    free(j->p);
    *j = (struct json){ .max = j->max };
}

static void json_add(struct json *j, const char *s, size_t n)
{
    if (!json_room(j, n))
        return;
    memcpy(j->p + j->n, s, n);
    j->n += n;
    j->p[j->n] = 0;
}

void json_raw(struct json *j, const char *s) { json_add(j, s, strlen(s)); }

void json_fmt(struct json *j, const char *fmt, ...)
{
    char buf[160];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(buf, sizeof(buf), fmt, args);
    va_end(args);
    json_add(j, buf, min_u64((u64)(n > 0 ? n : 0), sizeof(buf) - 1));
}

static bool is_plain(u8 c) { return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f; }

static void json_escape(struct json *j, u8 c)
{
    switch (c) {
    case '"':
        json_raw(j, "\\\"");
        break;
    case '\\':
        json_raw(j, "\\\\");
        break;
    case '\n':
        json_raw(j, "\\n");
        break;
    case '\t':
        json_raw(j, "\\t");
        break;
    default:
        json_fmt(j, "\\u%04x", c);
    }
}

void json_str(struct json *j, const char *s, size_t n)
{
    json_raw(j, "\"");
    for (size_t i = 0, run; i < n; i += run) {
        for (run = 0; i + run < n && is_plain((u8)s[i + run]); run++)
            ;
        if (run)
            json_add(j, s + i, run);
        else
            json_escape(j, (u8)s[i]), run = 1;
    }
    json_raw(j, "\"");
}

static void json_text(struct json *j, const char *s) { json_str(j, s ? s : "", s ? strlen(s) : 0); }

void json_hex(struct json *j, const u8 *bytes, size_t n)
{
    char hex[2 * TRACE_ID_LEN + 1];
    hex_encode(bytes, min_u64(n, TRACE_ID_LEN), hex);
    json_fmt(j, "\"%s\"", hex);
}

void json_double(struct json *j, double d)
{
    if (isnan(d))
        json_raw(j, "\"NaN\"");
    else if (isinf(d))
        json_raw(j, d > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else
        json_fmt(j, "%.17g", d);
}

/* --- OTLP --- */

static void otlp_list(struct json *j, const struct attr *a)
{
    json_raw(j, "{\"arrayValue\":{\"values\":[");
    for (const char *s = a->s; s < a->s + a->len; s += strlen(s) + 1) {
        json_raw(j, s == a->s ? "{\"stringValue\":" : ",{\"stringValue\":");
        json_text(j, s);
        json_raw(j, "}");
    }
    json_raw(j, "]}}");
}

static void otlp_value(struct json *j, const struct attr *a)
{
    switch ((enum attr_type)a->type) {
    case ATTR_STR:
        json_raw(j, "{\"stringValue\":");
        json_str(j, a->s, a->len);
        json_raw(j, "}");
        break;
    case ATTR_INT:
        json_fmt(j, "{\"intValue\":\"%lld\"}", (long long)a->i);
        break;
    case ATTR_DOUBLE:
        json_raw(j, "{\"doubleValue\":");
        json_double(j, a->d);
        json_raw(j, "}");
        break;
    case ATTR_BOOL:
        json_raw(j, a->b ? "{\"boolValue\":true}" : "{\"boolValue\":false}");
        break;
    case ATTR_STRV:
        otlp_list(j, a);
        break;
    }
}

static void otlp_pair(struct json *j, const struct attr *a, bool first)
{
    json_raw(j, first ? "{\"key\":" : ",{\"key\":");
    json_text(j, a->key);
    json_raw(j, ",\"value\":");
    otlp_value(j, a);
    json_raw(j, "}");
}

static struct attr text_attr(const char *key, const char *s)
{
    return (struct attr){ .key = key, .type = ATTR_STR, .len = (u16)strlen(s), .s = s };
}

static void otlp_attrs(struct json *j, const struct attr *v, size_t n, const struct attr *more)
{
    json_raw(j, "\"attributes\":[");
    for (size_t i = 0; i < n; i++)
        otlp_pair(j, &v[i], i == 0);
    if (more)
        otlp_pair(j, more, n == 0);
    json_raw(j, "]");
}

static void otlp_dropped(struct json *j, const char *field, u64 n)
{
    if (n)
        json_fmt(j, ",\"%s\":%llu", field, (unsigned long long)n);
}

static void otlp_events(struct json *j, const struct span *s)
{
    json_raw(j, ",\"events\":[");
    for (u8 i = 0; i < s->n_events; i++) {
        json_fmt(j, "%s{\"timeUnixNano\":\"%llu\",\"name\":", i ? "," : "", (unsigned long long)s->events[i].time_ns);
        json_text(j, s->events[i].name);
        json_raw(j, ",");
        otlp_attrs(j, s->events[i].attrs, s->events[i].n_attrs, NULL);
        json_raw(j, "}");
    }
    json_raw(j, "]");
    otlp_dropped(j, "droppedEventsCount", s->dropped_events);
}

static void otlp_links(struct json *j, const struct span *s)
{
    json_raw(j, ",\"links\":[");
    for (u8 i = 0; i < s->n_links; i++) {
        const struct span_link *l = &s->links[i];
        struct attr why = text_attr("wftrace.link.by", l->why ? l->why : "");
        json_raw(j, i ? ",{\"traceId\":" : "{\"traceId\":");
        json_hex(j, l->to.trace_id, TRACE_ID_LEN);
        json_raw(j, ",\"spanId\":");
        json_hex(j, l->to.span_id, SPAN_ID_LEN);
        json_fmt(j, ",\"flags\":%u,", l->to.flags);
        otlp_attrs(j, NULL, 0, l->why ? &why : NULL);
        json_raw(j, "}");
    }
    json_raw(j, "]");
    otlp_dropped(j, "droppedLinksCount", s->dropped_links);
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

static void otlp_span(struct json *j, const struct span *s)
{
    struct attr by = text_attr("wftrace.parent.by", s->join < JOIN_MAX ? join_name[s->join] : "");
    otlp_ids(j, s);
    json_fmt(j, ",\"flags\":%u,\"name\":", span_flags(s));
    json_text(j, s->name);
    json_fmt(j, ",\"kind\":%u,\"startTimeUnixNano\":\"%llu\",\"endTimeUnixNano\":\"%llu\",", s->kind,
             (unsigned long long)s->start_ns, (unsigned long long)s->end_ns);
    otlp_attrs(j, s->attrs.v, s->attrs.n, s->join < JOIN_MAX ? &by : NULL);
    otlp_dropped(j, "droppedAttributesCount", s->attrs.dropped);
    otlp_events(j, s);
    otlp_links(j, s);
    otlp_status(j, s);
    json_raw(j, "}");
}

static void otlp_scope(struct json *j, const struct grouping *g, size_t from, size_t to)
{
    char name[128];
    scope_name(g->v[from], name, sizeof(name));
    json_raw(j, "{\"scope\":{\"name\":");
    json_text(j, name);
    json_raw(j, ",\"version\":");
    json_text(j, WF_VERSION);
    json_raw(j, "},\"schemaUrl\":\"" OTEL_SCHEMA_URL "\",\"spans\":[");
    for (size_t i = from; i < to; i++) {
        if (i > from)
            json_raw(j, ",");
        otlp_span(j, g->v[i]);
    }
    json_raw(j, "]}");
}

static void otlp_resource(struct json *j, const struct grouping *g, size_t from, size_t to)
{
    const struct resource *r = g->v[from]->resource;
    struct attr service = text_attr("service.name", resource_service(r));
    json_raw(j, "{\"resource\":{");
    otlp_attrs(j, r ? r->attrs.v : NULL, r ? r->attrs.n : 0, r ? NULL : &service);
    otlp_dropped(j, "droppedAttributesCount", r ? r->attrs.dropped : 0);
    json_raw(j, "},\"schemaUrl\":\"" OTEL_SCHEMA_URL "\",\"scopeSpans\":[");
    for (size_t at = from, end; at < to; at = end) {
        end = grouping_run(g, at, same_scope);
        if (at > from)
            json_raw(j, ",");
        otlp_scope(j, g, at, end);
    }
    json_raw(j, "]}");
}

int json_otlp(struct json *j, struct grouping *g, const struct batch *b)
{
    int err = grouping_make(g, b);
    if (err)
        return err;
    json_raw(j, "{\"resourceSpans\":[");
    for (size_t at = 0, end; at < g->n; at = end) {
        end = grouping_run(g, at, same_resource);
        if (at)
            json_raw(j, ",");
        otlp_resource(j, g, at, end);
    }
    json_raw(j, "]}\n");
    return j->failed ? -ENOMEM : 0;
}

/* --- flat --- */

static void flat_value(struct json *j, const struct attr *a)
{
    if (a->type == ATTR_STR) {
        json_str(j, a->s, a->len);
    } else if (a->type == ATTR_INT) {
        json_fmt(j, "%lld", (long long)a->i);
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
        flat_value(j, &v[i]);
    }
    json_raw(j, "}");
}

static void flat_events(struct json *j, const struct span *s)
{
    json_raw(j, ",\"events\":[");
    for (u8 i = 0; i < s->n_events; i++) {
        json_fmt(j, "%s{\"time_unix_nano\":%llu,\"name\":", i ? "," : "", (unsigned long long)s->events[i].time_ns);
        json_text(j, s->events[i].name);
        flat_attrs(j, s->events[i].attrs, s->events[i].n_attrs);
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
