/* A span as one flat line for people and scripts. */
#include "export/encode.h"

void json_value(struct json *j, const struct attr *a)
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
        json_value(j, &v[i]);
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
