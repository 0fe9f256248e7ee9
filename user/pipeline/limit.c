/* limit: how many attributes, events and links a span may have, how long a text may be. */
#include "pipeline/processor.h"

struct limit {
    struct limit_options o;
};

/* Whole characters only. */
static size_t cut_at(const char *text, size_t n, size_t most)
{
    if (n <= most)
        return n;
    while (most && ((u8)text[most] & 0xc0) == 0x80)
        most--;
    return most;
}

static void text_cut(struct attr *a, u32 most)
{
    if (a->type != ATTR_STR || a->len <= most)
        return;
    a->len = (u16)cut_at(a->s, a->len, most);
    ((char *)(uintptr_t)a->s)[a->len] = 0;
}

static void attrs_limit(const struct limit *l, struct attr_set *set)
{
    if (l->o.max_attributes && set->n > l->o.max_attributes) {
        set->dropped = (u16)(set->dropped + set->n - l->o.max_attributes);
        set->n = (u16)l->o.max_attributes;
    }
    for (u16 i = 0; l->o.max_length && i < set->n; i++)
        text_cut(&set->v[i], l->o.max_length);
}

static void events_limit(struct span *s, u32 most)
{
    if (s->n_events > most) {
        s->dropped_events = (u8)(s->dropped_events + s->n_events - most);
        s->n_events = (u8)most;
    }
    if (s->marks && s->marks->n > most - s->n_events) {
        s->marks->dropped += s->marks->n - (most - s->n_events);
        s->marks->n = (u16)(most - s->n_events);
    }
}

static enum fate limit_on_span(void *self, struct span *s)
{
    const struct limit *l = self;
    attrs_limit(l, &s->attrs);
    if (l->o.max_events)
        events_limit(s, l->o.max_events);
    if (l->o.max_links && s->n_links > l->o.max_links) {
        s->dropped_links = (u8)(s->dropped_links + s->n_links - l->o.max_links);
        s->n_links = (u8)l->o.max_links;
    }
    for (u8 i = 0; l->o.max_length && i < s->n_events; i++)
        for (u8 k = 0; k < s->events[i].n_attrs; k++)
            text_cut(&s->events[i].attrs[k], l->o.max_length);
    return FATE_KEEP;
}

static enum fate limit_on_log(void *self, struct log_record *r)
{
    const struct limit *l = self;
    attrs_limit(l, &r->attrs);
    if (l->o.max_body && r->body_len > l->o.max_body) {
        r->body_len = (u32)cut_at(r->body, r->body_len, l->o.max_body);
        r->body[r->body_len] = 0;
        attr_bool(&r->attrs, "wftrace.log.cut", true);
    }
    return FATE_KEEP;
}

static int limit_open(const struct processor_spec *spec, void **ret, char *err, size_t err_size)
{
    struct limit *l = malloc(sizeof(*l));
    UNUSED(err), UNUSED(err_size);
    if (!l)
        return -ENOMEM;
    l->o = spec->limit;
    *ret = l;
    return 0;
}

const struct processor processor_limit = {
    .name = "limit",
    .help = "bounds the number of attributes, events and links and the length of texts",
    .open = limit_open,
    .on_span = limit_on_span,
    .on_log = limit_on_log,
    .close = free,
};
