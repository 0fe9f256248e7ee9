/* Values that came from inside a Python process → attributes, texts, conditions. Their types are the values' own. */
#include "workflow/bridge.h"
#include "workflow/internal.h"

#include <ctype.h>
#include <time.h>

void values_read(const struct event *e, struct values *v)
{
    struct slice left = e->bridge.values;
    struct event_value one;
    memset(v->there, 0, sizeof(v->there));
    v->error_type = v->error_message = v->error_where = v->function = slice_of("", 0);
    while (event_value_next(&left, &one)) {
        if (one.index < WATCH_ATTRS) {
            v->by_index[one.index] = one;
            v->there[one.index] = true;
        } else if (one.type == VALUE_TEXT) {
            if (one.index == VALUE_ERROR_TYPE)
                v->error_type = one.text;
            else if (one.index == VALUE_ERROR_MESSAGE)
                v->error_message = one.text;
            else if (one.index == VALUE_ERROR_WHERE)
                v->error_where = one.text;
            else if (one.index == VALUE_FUNCTION)
                v->function = one.text;
        }
    }
}

static struct slice after_dot(struct slice s)
{
    for (size_t i = s.n; i > 0; i--)
        if (s.p[i - 1] == '.')
            return slice_from(s, i);
    return s;
}

static bool says_something(const struct event_value *v)
{
    return v->type != VALUE_NONE && !(v->type == VALUE_TEXT && !v->text.n);
}

static const struct event_value *value_at(const struct values *v, const s8 slots[2])
{
    for (int k = 0; k < 2; k++)
        if (slots[k] >= 0 && v->there[slots[k]])
            return &v->by_index[slots[k]];
    return NULL;
}

static bool values_join(struct values *v, const struct source *s, const struct source_slots *slots, struct event_value *ret)
{
    size_t n = 0;
    char room[32];
    for (u8 i = 0; i < s->n_expr; i++) {
        const struct event_value *part = value_at(v, slots->slot[i]);
        struct event_value more = part ? *part : (struct event_value){ 0 };
        if (part && !i && part->type == VALUE_INT && !__builtin_add_overflow(part->i, s->number, &more.i))
            part = &more;
        struct slice text = part && says_something(part) ? values_text(part, room, sizeof(room)) : slice_of("", 0);
        if (s->shorten >> i & 1)
            text = after_dot(text);
        if (!text.n || n + text.n + 1 > sizeof(v->joined))
            return false;
        memcpy(v->joined + n, text.p, text.n);
        n += text.n;
        v->joined[n++] = '/';
    }
    *ret = (struct event_value){ .type = VALUE_TEXT, .text = slice_of(v->joined, n - 1) };
    return n > 0;
}

bool values_get(struct values *v, const struct source *s, const struct source_slots *slots, struct event_value *ret)
{
    bool found = false;
    if (s->joined)
        return values_join(v, s, slots, ret);
    for (u8 i = 0; i < s->n_expr; i++) {
        for (int k = 0; k < 2; k++) {
            s8 slot = slots->slot[i][k];
            if (slot < 0 || !v->there[slot] || (found && !says_something(&v->by_index[slot])))
                continue;
            *ret = v->by_index[slot];
            found = true;
            if (s->shorten >> i & 1 && ret->type == VALUE_TEXT)
                ret->text = after_dot(ret->text);
            if (ret->type == VALUE_INT && __builtin_add_overflow(ret->i, s->number, &ret->i))
                return false;
            if (says_something(ret))
                return true;
        }
    }
    if (found && s->otherwise)
        *ret = (struct event_value){ .type = VALUE_TEXT, .text = slice_str(s->otherwise) };
    return found;
}

void values_set(struct span *s, const char *key, const struct event_value *v)
{
    switch (v->type) {
    case VALUE_TEXT:
        attr_str(&s->attrs, key, v->text);
        return;
    case VALUE_INT:
        attr_int(&s->attrs, key, v->i);
        return;
    case VALUE_DOUBLE:
        attr_double(&s->attrs, key, v->d);
        return;
    case VALUE_BOOL:
        attr_bool(&s->attrs, key, v->i != 0);
        return;
    case VALUE_NONE:
        return;
    }
}

struct slice values_text(const struct event_value *v, char *room, size_t size)
{
    int n = 0;
    switch (v->type) {
    case VALUE_TEXT:
        return v->text;
    case VALUE_INT:
        n = snprintf(room, size, "%lld", (long long)v->i);
        break;
    case VALUE_DOUBLE:
        n = snprintf(room, size, "%g", v->d);
        break;
    case VALUE_BOOL:
        n = snprintf(room, size, "%s", v->i ? "true" : "false");
        break;
    case VALUE_NONE:
        break;
    }
    return slice_of(room, (size_t)n);
}

/* ".123456" → ns; *at moves behind it. */
static u64 fraction_ns(const char *text, int *at)
{
    u64 ns = 0, unit = NSEC_PER_SEC;
    if (text[*at] != '.')
        return 0;
    for (++*at; isdigit((u8)text[*at]); ++*at) {
        unit /= 10;
        ns += unit * (u64)(text[*at] - '0');
    }
    return ns;
}

static bool text_time(struct slice said, u64 *ret_ns)
{
    struct tm tm = { 0 };
    char text[40], sign[2] = "";
    int at = 0, hours = 0, minutes = 0;
    snprintf(text, sizeof(text), "%.*s", (int)min_u64(said.n, sizeof(text) - 1), said.n ? (const char *)said.p : "");
    sscanf(text, "%4d-%2d-%2d%*1[T ]%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec,
           &at);
    if (!at || tm.tm_year < 1970 || tm.tm_year > 2200)
        return false;
    u64 ns = fraction_ns(text, &at);
    sscanf(text + at, "%1[+-]%2d:%2d", sign, &hours, &minutes);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    s64 utc = (s64)timegm(&tm) - (sign[0] == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    if (utc < 0)
        return false;
    *ret_ns = (u64)utc * NSEC_PER_SEC + ns;
    return true;
}

bool values_time(const struct event_value *v, u64 *ret_ns)
{
    if (v->type == VALUE_TEXT)
        return text_time(v->text, ret_ns);
    if (v->type == VALUE_DOUBLE && v->d > 0 && v->d < 1e10)
        *ret_ns = (u64)(v->d * 1e9);
    else if (v->type == VALUE_INT && v->i > 0 && v->i < 10000000000)
        *ret_ns = (u64)v->i * NSEC_PER_SEC;
    else
        return false;
    return true;
}

/* A value that could not be read meets no condition. */
bool values_condition(struct values *v, const struct rule_condition *c, const struct source_slots *slots)
{
    static const enum plain_type types[] = { [VALUE_NONE] = PLAIN_NONE,
                                             [VALUE_TEXT] = PLAIN_TEXT,
                                             [VALUE_INT] = PLAIN_INT,
                                             [VALUE_DOUBLE] = PLAIN_DOUBLE,
                                             [VALUE_BOOL] = PLAIN_BOOL };
    struct event_value value;
    char room[32];
    if (!values_get(v, &c->left, slots, &value))
        return false;
    struct condition test = { .test = c->test, .value = c->value, .text = c->text, .null = c->null };
    int met = condition_met(&test, &(struct plain_value){ types[value.type], value.text, value.i, value.d });
    return met < 0 ? condition_holds(c, 0, values_text(&value, room, sizeof(room))) : met;
}
