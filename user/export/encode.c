/* Batches as OTLP protobuf: the memory, and what all signals share. */
#include "export/encode_pb.h"

#define CHUNK    (256u << 10)
#define TAKE_MAX (64u << 20) /* one array */

struct chunk {
    struct chunk *next;
    size_t used, size;
    u8 data[] __attribute__((aligned(16)));
};

static struct chunk *chunk_new(size_t least)
{
    size_t size = max_u64(CHUNK, least);
    struct chunk *c = malloc(sizeof(*c) + size);
    if (c)
        c->next = NULL, c->used = 0, c->size = size;
    return c;
}

struct encoder *encoder_new(void)
{
    struct encoder *e = calloc(1, sizeof(*e));
    if (e && !(e->first = chunk_new(0)))
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

int encoder_begin(struct encoder *e, const struct batch *b)
{
    e->now = e->first;
    e->now->used = 0;
    e->failed = false;
    return grouping_make(&e->group, b);
}

/* A chunk with room for `bytes` becomes the current one: the next of the last batch, or a new one before it. */
static bool chunk_next(struct encoder *e, size_t bytes)
{
    struct chunk *c = e->now->next;
    if (!c || c->size < bytes) {
        struct chunk *more = chunk_new(bytes);
        if (!more)
            return false;
        more->next = c;
        e->now->next = c = more;
    }
    c->used = 0;
    e->now = c;
    return true;
}

void *encoder_take(struct encoder *e, size_t n, size_t size)
{
    size_t bytes = (n * size + 15) & ~(size_t)15;
    if (e->failed || bytes > TAKE_MAX || (e->now->used + bytes > e->now->size && !chunk_next(e, bytes))) {
        e->failed = true;
        return NULL;
    }
    void *p = e->now->data + e->now->used;
    e->now->used += bytes;
    return p;
}

static void value_text(pb_value *v, const char *s)
{
    v->value_case = OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__VALUE_STRING_VALUE;
    v->string_value = pb_text(s);
}

static void value_list(struct encoder *e, pb_value *v, const struct attr *a)
{
    pb_array *list = encoder_take(e, 1, sizeof(*list));
    size_t n = 0;
    if (!list)
        return;
    *list = (pb_array)OPENTELEMETRY__PROTO__COMMON__V1__ARRAY_VALUE__INIT;
    for (u16 i = 0; i < a->len; i++)
        n += !a->s[i];
    pb_value *items = n ? ENCODER_LIST(e, pb_value, n, &list->values) : NULL;
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

size_t encoder_pairs(struct encoder *e, const struct attr *v, size_t n, const char *key, const char *value, pb_pair ***ret)
{
    size_t total = n + (key != NULL);
    if (!total)
        return 0;
    pb_pair *pair = ENCODER_LIST(e, pb_pair, total, ret);
    pb_value *values = encoder_take(e, total, sizeof(*values));
    if (!pair || !values)
        return 0;
    for (size_t i = 0; i < total; i++) {
        pair[i] = (pb_pair)OPENTELEMETRY__PROTO__COMMON__V1__KEY_VALUE__INIT;
        pair[i].key = pb_text(i < n ? v[i].key : key);
        pair[i].value = &values[i];
        if (i < n)
            value_fill(e, &values[i], &v[i]);
        else
            value_fill(e, &values[i], &(struct attr){ .type = ATTR_STR, .s = value });
    }
    return total;
}

pb_value *encoder_text(struct encoder *e, const char *s)
{
    pb_value *v = encoder_take(e, 1, sizeof(*v));
    if (!v)
        return NULL;
    *v = (pb_value)OPENTELEMETRY__PROTO__COMMON__V1__ANY_VALUE__INIT;
    value_text(v, s);
    return v;
}

pb_resource *encoder_resource(struct encoder *e, const struct resource *r)
{
    pb_resource *out = encoder_take(e, 1, sizeof(*out));
    if (!out)
        return NULL;
    *out = (pb_resource)OPENTELEMETRY__PROTO__RESOURCE__V1__RESOURCE__INIT;
    if (r)
        out->n_attributes = encoder_pairs(e, r->attrs.v, r->attrs.n, NULL, NULL, &out->attributes);
    else
        out->n_attributes = encoder_pairs(e, NULL, 0, "service.name", resource_service(NULL), &out->attributes);
    out->dropped_attributes_count = r ? r->attrs.dropped : 0;
    return out;
}

pb_scope *encoder_scope(struct encoder *e, const char *scope)
{
    pb_scope *out = encoder_take(e, 1, sizeof(*out));
    char *name = encoder_take(e, 1, 128);
    if (!out || !name)
        return NULL;
    *out = (pb_scope)OPENTELEMETRY__PROTO__COMMON__V1__INSTRUMENTATION_SCOPE__INIT;
    scope_name(scope, name, 128);
    out->name = name;
    out->version = pb_text(WF_VERSION);
    return out;
}

int encoder_finish(struct encoder *e, const ProtobufCMessage *m, size_t head, struct slice *ret)
{
    if (e->failed)
        return -ENOMEM;
    size_t size = head + protobuf_c_message_get_packed_size(m);
    if (size > e->room) {
        size_t room = size + size / 4;
        u8 *out = realloc(e->out, room);
        if (!out)
            return -ENOMEM;
        e->out = out;
        e->room = room;
    }
    protobuf_c_message_pack(m, e->out + head);
    *ret = slice_of(e->out, size);
    return 0;
}

int encoder_pack(struct encoder *e, const struct batch *b, size_t head, struct slice *ret)
{
    switch (b->signal) {
    case SIGNAL_LOGS:
        return encoder_pack_logs(e, b, head, ret);
    case SIGNAL_METRICS:
        return encoder_pack_metrics(e, b, head, ret);
    default:
        return encoder_pack_spans(e, b, head, ret);
    }
}
