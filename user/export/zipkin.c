/* Zipkin v2: a list of spans in JSON (zipkin-api, zipkin2-api.yaml), filled as OpenTelemetry's specification says («Zipkin
 * exporter»), and with the resource's attributes as tags, as the Collector does it. What Zipkin has no place for: links, span
 * flags, trace state. Spans of the two ends of a call have ids of their own, so none is `shared`. */
#include "export/transport.h"

struct zipkin {
    struct transport *t;
    struct json scratch; /* a value that becomes a text */
};

static int zipkin_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    struct zipkin *z = calloc(1, sizeof(*z));
    struct transport_options o = { .url = spec->target,
                                   .head = { "Content-Type: application/json" },
                                   .head_gzip = "Content-Encoding: gzip" };
    if (!z) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    z->scratch.max = 1 << 20;
    int e = transport_new(spec, &o, &z->t, err, err_size);
    if (e)
        free(z);
    else
        *ret = z;
    return e;
}

/* --- tags: every value is a text --- */

static void tag_key(struct json *j, const char *key, bool *first)
{
    json_raw(j, *first ? "" : ",");
    *first = false;
    json_text(j, key);
    json_raw(j, ":");
}

static void tag_text(struct json *j, const char *key, const char *value, bool *first)
{
    tag_key(j, key, first);
    json_text(j, value);
}

static void tag_number(struct json *j, const char *key, u64 value, bool *first)
{
    if (!value)
        return;
    tag_key(j, key, first);
    json_fmt(j, "\"%llu\"", (unsigned long long)value);
}

static void tag(struct zipkin *z, const struct attr *a, bool *first)
{
    struct json *j = &z->t->json;
    tag_key(j, a->key, first);
    if (a->type == ATTR_STR) {
        json_str(j, a->s, a->len);
        return;
    }
    z->scratch.n = 0;
    json_value(&z->scratch, a);
    json_str(j, z->scratch.p ? z->scratch.p : "", z->scratch.n);
    j->failed |= z->scratch.failed;
}

static void tags(struct zipkin *z, const struct span *s)
{
    struct json *j = &z->t->json;
    char name[128];
    bool first = true;
    json_raw(j, ",\"tags\":{");
    for (u16 i = 0; i < s->attrs.n; i++)
        if (strcmp(s->attrs.v[i].key, "error")) /* the tag of that name means a failed span, whatever its value */
            tag(z, &s->attrs.v[i], &first);
    for (u16 i = 0; s->resource && i < s->resource->attrs.n; i++) {
        const struct attr *a = &s->resource->attrs.v[i];
        if (strcmp(a->key, "service.name") && !attr_get(&s->attrs, a->key))
            tag(z, a, &first);
    }
    scope_name(s->scope, name, sizeof(name));
    tag_text(j, "otel.scope.name", name, &first);
    tag_text(j, "otel.scope.version", WF_VERSION, &first);
    if (s->join < JOIN_MAX)
        tag_text(j, "wftrace.parent.by", join_name[s->join], &first);
    if (s->status)
        tag_text(j, "otel.status_code", s->status == STATUS_ERROR ? "ERROR" : "OK", &first);
    if (s->status == STATUS_ERROR)
        tag_text(j, "error", s->status_message ? s->status_message : "", &first);
    tag_number(j, "otel.dropped_attributes_count", s->attrs.dropped, &first);
    tag_number(j, "otel.dropped_events_count", s->dropped_events, &first);
    tag_number(j, "otel.dropped_links_count", (u64)s->dropped_links + s->n_links, &first);
    json_raw(j, "}");
}

/* --- the span --- */

/* "name" or "name": {attributes} as the value of an annotation. */
static void annotation(struct zipkin *z, const struct span_event *e)
{
    struct json *j = &z->t->json, *v = &z->scratch;
    json_fmt(j, "{\"timestamp\":%llu,\"value\":", (unsigned long long)(e->time_ns / 1000));
    v->n = 0;
    json_text(v, e->name);
    if (e->n_attrs) {
        json_raw(v, ": {");
        for (u8 i = 0; i < e->n_attrs; i++) {
            json_raw(v, i ? ", " : "");
            json_text(v, e->attrs[i].key);
            json_raw(v, ": ");
            json_value(v, &e->attrs[i]);
        }
        json_raw(v, "}");
        json_str(j, v->p ? v->p : "", v->n);
    } else {
        json_text(j, e->name);
    }
    j->failed |= v->failed;
    json_raw(j, "}");
}

static void annotations(struct zipkin *z, const struct span *s)
{
    struct span_event room;
    u32 n = span_event_count(s);
    if (!n)
        return;
    json_raw(&z->t->json, ",\"annotations\":[");
    for (u32 i = 0; i < n; i++) {
        json_raw(&z->t->json, i ? "," : "");
        annotation(z, span_event_at(s, i, &room));
    }
    json_raw(&z->t->json, "]");
}

static bool is_address(const char *s) { return strchr(s, ':') || (*s && strspn(s, "0123456789.") == strlen(s)); }

/* Whom a call went to: who it says it is, else the name, else the address. */
static void remote_endpoint(struct json *j, const struct span *s)
{
    static const char *const name[] = { "service.peer.name", "peer.service", "server.address", "network.peer.address" };
    const struct attr *who = NULL, *address = attr_get(&s->attrs, "network.peer.address");
    const struct attr *port = attr_get(&s->attrs, "network.peer.port");
    for (size_t i = 0; i < ARRAY_LEN(name) && !who; i++)
        who = attr_get(&s->attrs, name[i]);
    if ((s->kind != SPAN_CLIENT && s->kind != SPAN_PRODUCER) || !who || who->type != ATTR_STR)
        return;
    json_raw(j, ",\"remoteEndpoint\":{\"serviceName\":");
    json_str(j, who->s, who->len);
    if (address && address->type == ATTR_STR && is_address(address->s)) {
        json_raw(j, strchr(address->s, ':') ? ",\"ipv6\":" : ",\"ipv4\":");
        json_str(j, address->s, address->len);
        if (port && port->type == ATTR_INT && port->i > 0 && port->i < 65536)
            json_fmt(j, ",\"port\":%lld", (long long)port->i);
    }
    json_raw(j, "}");
}

/* A trace id of 64 bits is written in 16 digits. */
static void ids(struct json *j, const struct span *s)
{
    static const u8 zero[TRACE_ID_LEN / 2];
    bool half = !memcmp(s->id.trace_id, zero, sizeof(zero));
    json_raw(j, "{\"traceId\":");
    json_hex(j, s->id.trace_id + (half ? sizeof(zero) : 0), half ? sizeof(zero) : TRACE_ID_LEN);
    json_raw(j, ",\"id\":");
    json_hex(j, s->id.span_id, SPAN_ID_LEN);
    if (!span_is_root(s)) {
        json_raw(j, ",\"parentId\":");
        json_hex(j, s->parent_id, SPAN_ID_LEN);
    }
}

static void span_write(struct zipkin *z, const struct span *s)
{
    static const char *const kind[] = {
        [SPAN_SERVER] = "SERVER", [SPAN_CLIENT] = "CLIENT", [SPAN_PRODUCER] = "PRODUCER", [SPAN_CONSUMER] = "CONSUMER"
    };
    struct json *j = &z->t->json;
    u64 ns = s->end_ns > s->start_ns ? s->end_ns - s->start_ns : 0;
    ids(j, s);
    if (s->kind < ARRAY_LEN(kind) && kind[s->kind])
        json_fmt(j, ",\"kind\":\"%s\"", kind[s->kind]);
    json_raw(j, ",\"name\":");
    json_text(j, s->name);
    json_fmt(j, ",\"timestamp\":%llu,\"duration\":%llu,\"localEndpoint\":{\"serviceName\":",
             (unsigned long long)(s->start_ns / 1000), (unsigned long long)max_u64((ns + 999) / 1000, 1));
    json_text(j, resource_service(s->resource));
    json_raw(j, "}");
    remote_endpoint(j, s);
    annotations(z, s);
    tags(z, s);
    json_raw(j, "}");
}

static int zipkin_encode(void *self, const struct batch *b, struct slice *ret)
{
    struct zipkin *z = self;
    struct json *j = &z->t->json;
    j->n = 0;
    j->failed = z->scratch.failed = false;
    json_raw(j, "[");
    for (size_t i = 0; i < b->n; i++) {
        json_raw(j, i ? "," : "");
        span_write(z, b->spans[i]);
    }
    json_raw(j, "]");
    return j->failed ? -ENOMEM : transport_gzip(z->t, slice_of(j->p, j->n), 0, ret);
}

static enum export_result zipkin_deliver(void *self, struct slice body, const u64 *stop_at, struct export_reply *ret)
{
    struct transport *t = ((struct zipkin *)self)->t;
    if (transport_post(t, body, is_gzip(body), stop_at, ret) != EXPORT_OK)
        return EXPORT_RETRY;
    long status = t->answer.http_status;
    if (status >= 200 && status < 300)
        return EXPORT_OK;
    char prefix[48];
    snprintf(prefix, sizeof(prefix), "HTTP %ld%s", status, t->answer.body_len ? ": " : "");
    reply_why(ret, prefix, (const char *)t->answer.body, min_u64(t->answer.body_len, 120));
    ret->after_ms = t->answer.retry_after_ms;
    ret->cause = http_status_cause(status);
    return http_status_retryable(status) ? EXPORT_RETRY : EXPORT_DROP;
}

static void zipkin_close(void *self)
{
    struct zipkin *z = self;
    transport_free(z->t);
    json_done(&z->scratch);
    free(z);
}

const struct exporter exporter_zipkin = {
    .name = "zipkin",
    .help = "zipkin=http://HOST:9411   spans as Zipkin's JSON (v2); /api/v2/spans is added when no path is given",
    .open = zipkin_open,
    .encode = zipkin_encode,
    .deliver = zipkin_deliver,
    .close = zipkin_close,
};
