/* OTLP in JSON (the proto3 mapping with OTLP's exceptions: ids in hex, enums as numbers, 64-bit numbers as strings): what all
 * signals share. */
#include "export/encode.h"

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

void json_otlp_value(struct json *j, const struct attr *a)
{
    switch ((enum attr_type)a->type) {
    case ATTR_STR:
        json_raw(j, "{\"stringValue\":");
        json_str(j, a->s, a->len);
        json_raw(j, "}");
        break;
    case ATTR_INT:
        json_raw(j, a->i < 0 ? "{\"intValue\":\"-" : "{\"intValue\":\"");
        json_u64(j, a->i < 0 ? 0 - (u64)a->i : (u64)a->i);
        json_raw(j, "\"}");
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
    json_otlp_value(j, a);
    json_raw(j, "}");
}

void json_otlp_attrs(struct json *j, const struct attr *v, size_t n, const struct attr *more)
{
    json_raw(j, "\"attributes\":[");
    for (size_t i = 0; i < n; i++)
        otlp_pair(j, &v[i], i == 0);
    if (more)
        otlp_pair(j, more, n == 0);
    json_raw(j, "]");
}

void json_otlp_dropped(struct json *j, const char *field, u64 n)
{
    if (n)
        json_fmt(j, ",\"%s\":%llu", field, (unsigned long long)n);
}

void json_otlp_resource(struct json *j, const struct resource *r)
{
    struct attr service = attr_of_text("service.name", resource_service(r));
    json_raw(j, "\"resource\":{");
    json_otlp_attrs(j, r ? r->attrs.v : NULL, r ? r->attrs.n : 0, r ? NULL : &service);
    json_otlp_dropped(j, "droppedAttributesCount", r ? r->attrs.dropped : 0);
    json_raw(j, "},\"schemaUrl\":\"" OTEL_SCHEMA_URL "\"");
}

void json_otlp_scope(struct json *j, const char *scope)
{
    char name[128];
    scope_name(scope, name, sizeof(name));
    json_raw(j, "\"scope\":{\"name\":");
    json_text(j, name);
    json_raw(j, ",\"version\":");
    json_text(j, WF_VERSION);
    json_raw(j, "},\"schemaUrl\":\"" OTEL_SCHEMA_URL "\"");
}

static void scope_write(struct json *j, const struct grouping *g, size_t from, size_t to, const struct otlp_shape *shape)
{
    json_raw(j, "{");
    json_otlp_scope(j, g->v[from].scope);
    json_fmt(j, ",\"%s\":[", shape->leaf);
    for (size_t i = from; i < to; i++) {
        if (i > from)
            json_raw(j, ",");
        shape->each(j, g->v[i].p);
    }
    json_raw(j, "]}");
}

static void resource_write(struct json *j, const struct grouping *g, size_t from, size_t to, const struct otlp_shape *shape)
{
    json_raw(j, "{");
    json_otlp_resource(j, g->v[from].resource);
    json_fmt(j, ",\"%s\":[", shape->inner);
    for (size_t at = from, end; at < to; at = end) {
        end = grouping_run(g, at, same_scope);
        if (at > from)
            json_raw(j, ",");
        scope_write(j, g, at, end, shape);
    }
    json_raw(j, "]}");
}

int json_otlp_shape(struct json *j, const struct grouping *g, const struct otlp_shape *shape)
{
    json_fmt(j, "{\"%s\":[", shape->outer);
    for (size_t at = 0, end; at < g->n; at = end) {
        end = grouping_run(g, at, same_resource);
        if (at)
            json_raw(j, ",");
        resource_write(j, g, at, end, shape);
    }
    json_raw(j, "]}\n");
    return j->failed ? -ENOMEM : 0;
}

int json_otlp(struct json *j, struct grouping *g, const struct batch *b)
{
    switch (b->signal) {
    case SIGNAL_LOGS:
        return json_otlp_logs(j, g, b);
    case SIGNAL_METRICS:
        return json_otlp_metrics(j, g, b);
    default:
        return json_otlp_spans(j, g, b);
    }
}
