/* Attributes, events and links as JSON, so that SQLite's own functions (json_extract, json_each) can ask for them. */
#include "store/internal.h"

#include <math.h>

static void put_list(struct json *j, const struct attr *a)
{
    json_raw(j, "[");
    for (size_t i = 0, n; i < a->len; i += n + 1) {
        n = strnlen(a->s + i, a->len - i);
        if (i)
            json_raw(j, ",");
        json_str(j, a->s + i, n);
    }
    json_raw(j, "]");
}

/* SQLite tells a number with a point from one without. */
static void put_double(struct json *j, double d)
{
    char number[40];
    snprintf(number, sizeof(number), isfinite(d) ? "%.17g" : "null", d);
    json_raw(j, number);
    if (isfinite(d) && !strpbrk(number, ".e"))
        json_raw(j, ".0");
}

static void put_value(struct json *j, const struct attr *a)
{
    switch ((enum attr_type)a->type) {
    case ATTR_STR:
        json_str(j, a->s, a->len);
        return;
    case ATTR_STRV:
        put_list(j, a);
        return;
    case ATTR_BOOL:
        json_raw(j, a->b ? "true" : "false");
        return;
    case ATTR_INT:
        json_s64(j, a->i);
        return;
    case ATTR_DOUBLE:
        put_double(j, a->d);
        return;
    }
}

static void put_object(struct json *j, const struct attr *v, size_t n)
{
    json_raw(j, "{");
    for (size_t i = 0; i < n; i++) {
        if (i)
            json_raw(j, ",");
        json_text(j, v[i].key);
        json_raw(j, ":");
        put_value(j, &v[i]);
    }
    json_raw(j, "}");
}

void text_attrs(struct json *j, const struct attr *v, size_t n)
{
    json_again(j);
    put_object(j, v, n);
}

void text_events(struct json *j, const struct span *s)
{
    struct span_event room;
    u32 n = span_event_count(s);
    json_again(j);
    for (u32 i = 0; i < n; i++) {
        const struct span_event *e = span_event_at(s, i, &room);
        json_raw(j, i ? ",{\"name\":" : "[{\"name\":");
        json_text(j, e->name);
        json_raw(j, ",\"time\":");
        json_u64(j, e->time_ns);
        json_raw(j, ",\"attrs\":");
        put_object(j, e->attrs, e->n_attrs);
        json_raw(j, "}");
    }
    if (n)
        json_raw(j, "]");
}

void text_links(struct json *j, const struct span *s)
{
    json_again(j);
    for (u8 i = 0; i < s->n_links; i++) {
        json_raw(j, i ? ",{\"trace\":" : "[{\"trace\":");
        json_hex(j, s->links[i].to.trace_id, TRACE_ID_LEN);
        json_raw(j, ",\"span\":");
        json_hex(j, s->links[i].to.span_id, SPAN_ID_LEN);
        json_raw(j, ",\"by\":");
        json_text(j, s->links[i].why);
        json_raw(j, "}");
    }
    if (s->n_links)
        json_raw(j, "]");
}
