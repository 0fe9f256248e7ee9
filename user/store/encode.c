/* Attributes, events and links as JSON, so that SQLite's own functions (json_extract, json_each) can ask for them. */
#include "store/internal.h"

#include <math.h>

static bool room_for(struct text *t, size_t more)
{
    if (t->n + more <= t->room)
        return true;
    size_t room = (t->n + more) * 2 + 256;
    char *p = realloc(t->p, room);
    if (!p) {
        t->failed = true;
        return false;
    }
    t->p = p;
    t->room = room;
    return true;
}

static void put(struct text *t, const char *p, size_t n)
{
    if (!room_for(t, n + 1))
        return;
    memcpy(t->p + t->n, p, n);
    t->n += n;
    t->p[t->n] = 0;
}

static void put_text(struct text *t, const char *s) { put(t, s, strlen(s)); }

static void put_string(struct text *t, const char *s, size_t n)
{
    if (!room_for(t, 6 * n + 3))
        return;
    char *o = t->p + t->n;
    *o++ = '"';
    for (size_t i = 0; i < n; i++) {
        u8 c = (u8)s[i];
        if (c < 0x20)
            o += sprintf(o, "\\u%04x", c);
        else if (c == '"' || c == '\\')
            *o++ = '\\', *o++ = (char)c;
        else
            *o++ = (char)c;
    }
    *o++ = '"';
    *o = 0;
    t->n = (size_t)(o - t->p);
}

static void put_list(struct text *t, const struct attr *a)
{
    put(t, "[", 1);
    for (size_t i = 0, n; i < a->len; i += n + 1) {
        n = strnlen(a->s + i, a->len - i);
        if (i)
            put(t, ",", 1);
        put_string(t, a->s + i, n);
    }
    put(t, "]", 1);
}

static void put_value(struct text *t, const struct attr *a)
{
    char number[40];
    switch ((enum attr_type)a->type) {
    case ATTR_STR:
        put_string(t, a->s, a->len);
        return;
    case ATTR_STRV:
        put_list(t, a);
        return;
    case ATTR_BOOL:
        put_text(t, a->b ? "true" : "false");
        return;
    case ATTR_INT:
        put(t, number, (size_t)snprintf(number, sizeof(number), "%lld", (long long)a->i));
        return;
    case ATTR_DOUBLE:
        snprintf(number, sizeof(number), isfinite(a->d) ? "%.17g" : "null", a->d);
        put_text(t, number);
        if (isfinite(a->d) && !strpbrk(number, ".e"))
            put(t, ".0", 2);
        return;
    }
}

static void put_object(struct text *t, const struct attr *v, size_t n)
{
    put(t, "{", 1);
    for (size_t i = 0; i < n; i++) {
        if (i)
            put(t, ",", 1);
        put_string(t, v[i].key, strlen(v[i].key));
        put(t, ":", 1);
        put_value(t, &v[i]);
    }
    put(t, "}", 1);
}

void text_attrs(struct text *t, const struct attr *v, size_t n)
{
    t->n = 0;
    put_object(t, v, n);
}

void text_events(struct text *t, const struct span *s)
{
    char time[48];
    t->n = 0;
    struct span_event room;
    u32 n = span_event_count(s);
    for (u32 i = 0; i < n; i++) {
        const struct span_event *e = span_event_at(s, i, &room);
        put_text(t, i ? ",{\"name\":" : "[{\"name\":");
        put_string(t, e->name, strlen(e->name));
        snprintf(time, sizeof(time), ",\"time\":%llu,\"attrs\":", (unsigned long long)e->time_ns);
        put_text(t, time);
        put_object(t, e->attrs, e->n_attrs);
        put(t, "}", 1);
    }
    if (n)
        put(t, "]", 1);
}

void text_links(struct text *t, const struct span *s)
{
    char trace[2 * TRACE_ID_LEN + 1], span[2 * SPAN_ID_LEN + 1];
    t->n = 0;
    for (u8 i = 0; i < s->n_links; i++) {
        hex_encode(s->links[i].to.trace_id, TRACE_ID_LEN, trace);
        hex_encode(s->links[i].to.span_id, SPAN_ID_LEN, span);
        put_text(t, i ? ",{\"trace\":\"" : "[{\"trace\":\"");
        put_text(t, trace);
        put_text(t, "\",\"span\":\"");
        put_text(t, span);
        put_text(t, "\",\"by\":");
        put_string(t, s->links[i].why ? s->links[i].why : "", s->links[i].why ? strlen(s->links[i].why) : 0);
        put(t, "}", 1);
    }
    if (s->n_links)
        put(t, "]", 1);
}
