/* Packing copies the head of the span, its attributes, its events in use and its used text back to back. Text stays addressed
 * by pointers of the old span; unpacking moves each of them by the distance between the two arenas, and leaves those that
 * point elsewhere (literals, interned names) alone. */
#include "pipeline/tail_pack.h"

#define HEAD offsetof(struct span, attr_v)

struct body {
    struct packed p;
    const char *old_text; /* where the arena was; only compared, never read */
    u16 n_attrs, used, dropped;
    u8 n_events, dropped_events, n_links, dropped_links;
    u8 data[];
};

static u8 *put(u8 *at, const void *from, size_t n)
{
    memcpy(at, from, n);
    return at + n;
}

static const u8 *take(const u8 *at, void *to, size_t n)
{
    memcpy(to, at, n);
    return at + n;
}

struct packed *span_pack(struct span *s)
{
    size_t attrs = s->attrs.n * sizeof(struct attr), events = s->n_events * sizeof(struct span_event);
    size_t links = s->n_links * sizeof(struct span_link);
    size_t bytes = sizeof(struct body) + HEAD + attrs + events + links + s->attrs.used;
    struct body *b = malloc(bytes);
    if (!b)
        return NULL;
    b->p = (struct packed){ .bytes = (u32)bytes };
    b->old_text = s->text_v;
    b->n_attrs = s->attrs.n, b->used = s->attrs.used, b->dropped = s->attrs.dropped;
    b->n_events = s->n_events, b->dropped_events = s->dropped_events;
    b->n_links = s->n_links, b->dropped_links = s->dropped_links;
    u8 *at = put(b->data, s, HEAD);
    at = put(at, s->attr_v, attrs);
    at = put(at, s->events, events);
    at = put(at, s->links, links);
    put(at, s->text_v, s->attrs.used);
    if (s->resource)
        resource_ref(s->resource); /* the packed one's */
    s->attrs.dropped = 0;          /* counted when the unpacked one is given back */
    span_unref(s);
    return &b->p;
}

static void text_move(const char **text, const struct body *b, struct span *s)
{
    uintptr_t off = (uintptr_t)*text - (uintptr_t)b->old_text;
    if (*text && off < SPAN_TEXT)
        *text = s->text_v + off;
}

static void attrs_move(struct attr *v, size_t n, const struct body *b, struct span *s)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].type == ATTR_STR || v[i].type == ATTR_STRV)
            text_move(&v[i].s, b, s);
}

struct span *span_unpack(struct packed *p)
{
    struct body *b = container_of(p, struct body, p);
    struct span *s = span_new();
    if (!s)
        return NULL;
    struct attr_set set = s->attrs;
    const u8 *at = take(b->data, s, HEAD);
    at = take(at, s->attr_v, b->n_attrs * sizeof(struct attr));
    at = take(at, s->events, b->n_events * sizeof(struct span_event));
    at = take(at, s->links, b->n_links * sizeof(struct span_link));
    take(at, s->text_v, b->used);
    set.n = b->n_attrs, set.used = b->used, set.dropped = b->dropped;
    s->attrs = set;
    s->refs = 1;
    s->n_events = b->n_events, s->dropped_events = b->dropped_events;
    s->n_links = b->n_links, s->dropped_links = b->dropped_links;
    text_move(&s->name, b, s);
    text_move(&s->status_message, b, s);
    attrs_move(s->attr_v, b->n_attrs, b, s);
    for (u8 i = 0; i < s->n_events; i++) {
        text_move(&s->events[i].name, b, s);
        attrs_move(s->events[i].attrs, s->events[i].n_attrs, b, s);
    }
    free(b);
    return s;
}

void packed_free(struct packed *p)
{
    struct body *b = container_of(p, struct body, p);
    struct resource *r;
    memcpy(&r, b->data + offsetof(struct span, resource), sizeof(r));
    resource_unref(r);
    free(b);
}
