/* Batch → ExportTraceServiceRequest. The message tree of protobuf-c is built in a bump arena that is kept from batch to
 * batch and borrows all text from the spans; then it is packed into a buffer that is kept as well. In the steady state
 * nothing is allocated. */
#include "export/encode.h"
#include "trace_service.pb-c.h"

typedef Opentelemetry__Proto__Common__V1__AnyValue pb_value;
typedef Opentelemetry__Proto__Common__V1__ArrayValue pb_array;
typedef Opentelemetry__Proto__Common__V1__KeyValue pb_pair;
typedef Opentelemetry__Proto__Common__V1__InstrumentationScope pb_scope;
typedef Opentelemetry__Proto__Resource__V1__Resource pb_resource;
typedef Opentelemetry__Proto__Trace__V1__ResourceSpans pb_resource_spans;
typedef Opentelemetry__Proto__Trace__V1__ScopeSpans pb_scope_spans;
typedef Opentelemetry__Proto__Trace__V1__Span pb_span;
typedef Opentelemetry__Proto__Trace__V1__Span__Event pb_event;
typedef Opentelemetry__Proto__Trace__V1__Span__Link pb_link;
typedef Opentelemetry__Proto__Trace__V1__Status pb_status;
typedef Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceRequest pb_request;

#define CHUNK (256u << 10)

struct chunk {
    struct chunk *next;
    size_t used;
    u8 data[CHUNK] __attribute__((aligned(16)));
};

struct encoder {
    struct chunk *first, *now;
    bool failed; /* no memory somewhere in this batch */
    struct grouping group;
    u8 *out;
    size_t room;
};

static struct chunk *chunk_new(void)
{
    struct chunk *c = malloc(sizeof(*c));
    if (c)
        c->next = NULL, c->used = 0;
    return c;
}

struct encoder *encoder_new(void)
{
    struct encoder *e = calloc(1, sizeof(*e));
    if (e && !(e->first = chunk_new()))
        return encoder_free(e);
    return e;
}

struct encoder *encoder_free(struct encoder *e)
{
    if (!e)
        return NULL;
    for (struct chunk *c = e->first, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    grouping_done(&e->group);
    free(e->out);
    free(e);
    return NULL;
}

/* n > 0 elements, or NULL with e->failed set. No array of one batch comes near a chunk's size but the list of spans. */
static void *take(struct encoder *e, size_t n, size_t size)
{
    size_t bytes = (n * size + 15) & ~(size_t)15;
    if (bytes > CHUNK || e->failed) {
        e->failed = true;
        return NULL;
    }
    if (e->now->used + bytes > CHUNK) {
        if (!e->now->next && !(e->now->next = chunk_new())) {
            e->failed = true;
            return NULL;
        }
        e->now = e->now->next;
        e->now->used = 0;
    }
    void *p = e->now->data + e->now->used;
    e->now->used += bytes;
    return p;
}

/* An array of n pointers to n elements, as protobuf-c wants repeated fields. */
#define TAKE_LIST(e, type, n, ret_list)                                                                                          \
    ({                                                                                                                           \
        type **list_ = take((e), (n), sizeof(type *)), *items_ = take((e), (n), sizeof(type));                                   \
        for (size_t i_ = 0; items_ && i_ < (n); i_++)                                                                            \
            list_[i_] = &items_[i_];                                                                                             \
        *(ret_list) = items_ ? list_ : NULL;                                                                                     \
        items_;                                                                                                                  \
    })

static char *text(const char *s) { return (char *)(uintptr_t)(s ? s : ""); }
static ProtobufCBinaryData bytes(const u8 *p, size_t n) { return (ProtobufCBinaryData){ n, (u8 *)(uintptr_t)p }; }

static void value_text(pb_value *v, const char *s)
{
    v->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
    v->string_value = text(s);
}

static void value_list(struct encoder *e, pb_value *v, const struct attr *a)
{
    pb_array *list = take(e, 1, sizeof(*list));
    size_t n = 0;
    if (!list)
        return;
    *list = (pb_array)OPENTELEMETRY__PROTO__COMMON__V1__ARRAY_VALUE__INIT;
    for (u16 i = 0; i < a->len; i++)
        n += !a->s[i];
    pb_value *items = n ? TAKE_LIST(e, pb_value, n, &list->values) : NULL;
    const char *s = a->s;
    for (size_t i = 0; items && i < n; i++, s += strlen(s) + 1) {
        items[i] = (pb_value)OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__INIT;
        value_text(&items[i], s);
    }
    list->n_values = items ? n : 0;
    v->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_ARRAY_VALUE;
    v->array_value = list;
}

static void value_fill(struct encoder *e, pb_value *v, const struct attr *a)
{
    *v = (pb_value)OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__INIT;
    switch ((enum attr_type)a->type) {
    case ATTR_STR:
        value_text(v, a->s);
        break;
    case ATTR_INT:
        v->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_INT_VALUE;
        v->int_value = a->i;
        break;
    case ATTR_DOUBLE:
        v->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_DOUBLE_VALUE;
        v->double_value = a->d;
        break;
    case ATTR_BOOL:
        v->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_BOOL_VALUE;
        v->bool_value = a->b;
        break;
    case ATTR_STRV:
        value_list(e, v, a);
        break;
    }
}

/* The attributes v[0..n) and, when `key` is given, one more of text. */
static size_t pairs_make(struct encoder *e, const struct attr *v, size_t n, const char *key, const char *value, pb_pair ***ret)
{
    size_t total = n + (key != NULL);
    if (!total)
        return 0;
    pb_pair *pair = TAKE_LIST(e, pb_pair, total, ret);
    pb_value *values = take(e, total, sizeof(*values));
    if (!pair || !values)
        return 0;
    for (size_t i = 0; i < total; i++) {
        pair[i] = (pb_pair)OPENTELEMETRY__PROTO__COMMON__V1__KEY_VALUE__INIT;
        pair[i].key = text(i < n ? v[i].key : key);
        pair[i].value = &values[i];
        if (i < n)
            value_fill(e, &values[i], &v[i]);
        else
            value_fill(e, &values[i], &(struct attr){ .type = ATTR_STR, .s = value });
    }
    return total;
}

static void events_make(struct encoder *e, const struct span *s, pb_span *out)
{
    pb_event *ev = s->n_events ? TAKE_LIST(e, pb_event, s->n_events, &out->events) : NULL;
    for (u8 i = 0; ev && i < s->n_events; i++) {
        ev[i] = (pb_event)OPENTELEMETRY__PROTO__TRACE__V1__SPAN__EVENT__INIT;
        ev[i].time_unix_nano = s->events[i].time_ns;
        ev[i].name = text(s->events[i].name);
        ev[i].n_attributes = pairs_make(e, s->events[i].attrs, s->events[i].n_attrs, NULL, NULL, &ev[i].attributes);
    }
    out->n_events = ev ? s->n_events : 0;
    out->dropped_events_count = s->dropped_events;
}

static void links_make(struct encoder *e, const struct span *s, pb_span *out)
{
    pb_link *l = s->n_links ? TAKE_LIST(e, pb_link, s->n_links, &out->links) : NULL;
    for (u8 i = 0; l && i < s->n_links; i++) {
        const struct span_link *from = &s->links[i];
        l[i] = (pb_link)OPENTELEMETRY__PROTO__TRACE__V1__SPAN__LINK__INIT;
        l[i].trace_id = bytes(from->to.trace_id, TRACE_ID_LEN);
        l[i].span_id = bytes(from->to.span_id, SPAN_ID_LEN);
        l[i].flags = from->to.flags;
        l[i].n_attributes = pairs_make(e, NULL, 0, from->why ? "wftrace.link.by" : NULL, from->why, &l[i].attributes);
    }
    out->n_links = l ? s->n_links : 0;
    out->dropped_links_count = s->dropped_links;
}

static void span_fill(struct encoder *e, const struct span *s, pb_span *out)
{
    *out = (pb_span)OPENTELEMETRY__PROTO__TRACE__V1__SPAN__INIT;
    out->trace_id = bytes(s->id.trace_id, TRACE_ID_LEN);
    out->span_id = bytes(s->id.span_id, SPAN_ID_LEN);
    if (!span_is_root(s))
        out->parent_span_id = bytes(s->parent_id, SPAN_ID_LEN);
    out->trace_state = text(span_tracestate(s));
    out->flags = span_flags(s);
    out->name = text(s->name);
    out->kind = (Opentelemetry__Proto__Trace__V1__Span__SpanKind)s->kind;
    out->start_time_unix_nano = s->start_ns;
    out->end_time_unix_nano = s->end_ns;
    out->n_attributes = pairs_make(e, s->attrs.v, s->attrs.n, s->join < JOIN_MAX ? "wftrace.parent.by" : NULL,
                                   s->join < JOIN_MAX ? join_name[s->join] : NULL, &out->attributes);
    out->dropped_attributes_count = s->attrs.dropped;
    events_make(e, s, out);
    links_make(e, s, out);
    pb_status *status = s->status ? take(e, 1, sizeof(*status)) : NULL;
    if (!status)
        return;
    *status = (pb_status)OPENTELEMETRY__PROTO__TRACE__V1__STATUS__INIT;
    status->code = (Opentelemetry__Proto__Trace__V1__Status__StatusCode)s->status;
    status->message = text(s->status_message);
    out->status = status;
}

static void scope_fill(struct encoder *e, size_t from, size_t to, pb_scope_spans *out)
{
    pb_scope *scope = take(e, 1, sizeof(*scope));
    char *name = take(e, 1, 128);
    *out = (pb_scope_spans)OPENTELEMETRY__PROTO__TRACE__V1__SCOPE_SPANS__INIT;
    pb_span *spans = TAKE_LIST(e, pb_span, to - from, &out->spans);
    if (!scope || !name || !spans)
        return;
    *scope = (pb_scope)OPENTELEMETRY__PROTO__COMMON__V1__INSTRUMENTATION_SCOPE__INIT;
    scope_name(e->group.v[from], name, 128);
    scope->name = name;
    scope->version = text(WF_VERSION);
    out->scope = scope;
    out->schema_url = text(OTEL_SCHEMA_URL);
    out->n_spans = to - from;
    for (size_t i = from; i < to; i++)
        span_fill(e, e->group.v[i], &spans[i - from]);
}

static size_t count_runs(const struct grouping *g, size_t from, size_t to, bool (*same)(const struct span *, const struct span *))
{
    size_t n = 0;
    for (; from < to; n++)
        from = grouping_run(g, from, same);
    return n;
}

static void resource_fill(struct encoder *e, size_t from, size_t to, pb_resource_spans *out)
{
    const struct resource *r = e->group.v[from]->resource;
    size_t n = count_runs(&e->group, from, to, same_scope);
    pb_resource *res = take(e, 1, sizeof(*res));
    *out = (pb_resource_spans)OPENTELEMETRY__PROTO__TRACE__V1__RESOURCE_SPANS__INIT;
    pb_scope_spans *scopes = TAKE_LIST(e, pb_scope_spans, n, &out->scope_spans);
    if (!res || !scopes)
        return;
    *res = (pb_resource)OPENTELEMETRY__PROTO__RESOURCE__V1__RESOURCE__INIT;
    if (r)
        res->n_attributes = pairs_make(e, r->attrs.v, r->attrs.n, NULL, NULL, &res->attributes);
    else
        res->n_attributes = pairs_make(e, NULL, 0, "service.name", resource_service(NULL), &res->attributes);
    res->dropped_attributes_count = r ? r->attrs.dropped : 0;
    out->resource = res;
    out->schema_url = text(OTEL_SCHEMA_URL);
    out->n_scope_spans = n;
    for (size_t i = 0; i < n; i++) {
        size_t end = grouping_run(&e->group, from, same_scope);
        scope_fill(e, from, end, &scopes[i]);
        from = end;
    }
}

static int encoder_write(struct encoder *e, const pb_request *req, size_t head, struct slice *ret)
{
    size_t size = head + protobuf_c_message_get_packed_size(&req->base);
    if (size > e->room) {
        size_t room = size + size / 4;
        u8 *out = realloc(e->out, room);
        if (!out)
            return -ENOMEM;
        e->out = out;
        e->room = room;
    }
    protobuf_c_message_pack(&req->base, e->out + head);
    *ret = slice_of(e->out, size);
    return 0;
}

int encoder_pack(struct encoder *e, const struct batch *b, size_t head, struct slice *ret)
{
    pb_request req = OPENTELEMETRY__PROTO__COLLECTOR__TRACE__V1__EXPORT_TRACE_SERVICE_REQUEST__INIT;
    int err = grouping_make(&e->group, b);
    if (err)
        return err;
    e->now = e->first;
    e->now->used = 0;
    e->failed = false;
    size_t n = count_runs(&e->group, 0, b->n, same_resource);
    pb_resource_spans *rs = n ? TAKE_LIST(e, pb_resource_spans, n, &req.resource_spans) : NULL;
    req.n_resource_spans = rs ? n : 0;
    for (size_t i = 0, from = 0; rs && i < n; i++) {
        size_t end = grouping_run(&e->group, from, same_resource);
        resource_fill(e, from, end, &rs[i]);
        from = end;
    }
    return e->failed ? -ENOMEM : encoder_write(e, &req, head, ret);
}
