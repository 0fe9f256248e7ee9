/* What the span of a call is told: its function, the values of its rule, and whether and why it failed. */
#include "workflow/bridge_internal.h"

void call_set_code(struct span *s, const struct values *v, const struct watch *w)
{
    char text[320];
    struct slice f = v->function;
    if (f.n)
        snprintf(text, sizeof(text), "%.*s", (int)min_u64(f.n, sizeof(text) - 1), (const char *)f.p);
    else
        snprintf(text, sizeof(text), "%.150s:%.150s", w->module, w->function);
    char *colon = strchr(text, ':');
    if (colon)
        *colon = '.';
    attr_str(&s->attrs, "code.function.name", slice_str(text));
}

void call_set_values(struct bridge *b, const struct call *c, struct span *s)
{
    for (u8 i = 0; i < c->rule->n_attrs; i++) {
        const struct rule_attr *a = &c->rule->attrs[i];
        struct event_value v;
        if (values_get(&b->values, &a->from, &c->slots->attr[i], &v))
            values_set(s, a->key, &v);
    }
}

void call_set_constants(const struct rule *r, struct span *s)
{
    for (u8 i = 0; i < r->n_attrs; i++) {
        const struct source *from = &r->attrs[i].from;
        if (from->root == SOURCE_CONST && from->text)
            attr_str(&s->attrs, r->attrs[i].key, slice_str(from->text));
        else if (from->root == SOURCE_CONST)
            attr_int(&s->attrs, r->attrs[i].key, from->number);
    }
}

/* A generator that is closed before its end was not wrong. */
static bool is_close(struct slice type) { return slice_eq(type, "GeneratorExit") || slice_eq(type, "builtins.GeneratorExit"); }

static struct slice plain_type(struct slice type) { return slice_starts(type, "builtins.") ? slice_from(type, 9) : type; }

/* An exception that the call caught and keeps is told like one that left it. */
bool call_take_caught(struct bridge *b, const struct call *c)
{
    struct event_value type, text;
    if (!values_get(&b->values, &c->rule->caught[0], &c->slots->caught[0], &type) || type.type != VALUE_TEXT ||
        slice_eq(type.text, "NoneType"))
        return false;
    b->values.error_type = type.text;
    if (values_get(&b->values, &c->rule->caught[1], &c->slots->caught[1], &text) && text.type == VALUE_TEXT)
        b->values.error_message = text.text;
    return true;
}

/* A rule, or one into it, may have told the engine's own type and text. */
static bool error_told(const struct span *s, const char *key, struct slice *ret)
{
    const struct attr *a = attr_get(&s->attrs, key);
    if (!a || a->type != ATTR_STR)
        return false;
    *ret = slice_of(a->s, a->len);
    return true;
}

static void set_error(struct span *s, struct slice type, struct slice message)
{
    error_told(s, "error.message", &message);
    span_set_error(s, message.n ? message : type);
    error_told(s, "error.type", &type);
    attr_str(&s->attrs, "error.type", plain_type(type));
}

/* What was told of a failure that it got over. */
static void drop_error(struct span *s)
{
    attr_drop(&s->attrs, "error.type");
    attr_drop(&s->attrs, "error.message");
}

static bool condition_fails(struct bridge *b, const struct call *c, u8 i, struct span *s, bool failed, bool told)
{
    const struct rule_condition *k = &c->rule->errors[i];
    char word[128], message[512];
    bool says = true; /* true and false are no type of an error */
    if (k->test == TEST_EXCEPTION)
        return failed && !is_close(b->values.error_type);
    if (k->left.root == SOURCE_ATTR) {
        if (!attr_holds(k, s, word, sizeof(word)))
            return false;
        snprintf(message, sizeof(message), "%s is %s", k->left.text, word);
    } else {
        struct event_value v;
        char room[32];
        if (!values_condition(&b->values, k, &c->slots->error[i]))
            return false;
        if (told) /* the exception itself says more */
            return true;
        struct slice text = slice_of("", 0);
        if (values_get(&b->values, &k->left, &c->slots->error[i], &v))
            text = values_text(&v, room, sizeof(room)), says = v.type != VALUE_BOOL;
        snprintf(word, sizeof(word), "%.*s", (int)min_u64(text.n, 100), text.n ? (const char *)text.p : "");
        snprintf(message, sizeof(message), "%.300s is %s", k->left.expr[0], word[0] ? word : "null");
    }
    set_error(s, slice_str(word[0] && says ? word : "failed"), slice_str(message));
    return true;
}

void call_set_exception(struct bridge *b, struct span *s, u64 time, bool error)
{
    const struct values *v = &b->values;
    struct slice type = plain_type(v->error_type);
    span_add_exception(s, tracer_wall(b->tracer, time), type, v->error_message, v->error_where);
    if (error)
        set_error(s, type, v->error_message);
}

void call_describe_end(struct bridge *b, const struct call *c, struct span *s, u64 time, bool failed)
{
    bool told = failed || call_take_caught(b, c);
    bool error = !c->rule->error_given && told && !is_close(b->values.error_type);
    bool known = s->status == STATUS_ERROR && !told; /* by a rule into it, with the exception itself */
    for (u8 i = 0; i < c->rule->n_errors && !error && !known; i++)
        error = condition_fails(b, c, i, s, failed, told);
    if (told && !is_close(b->values.error_type))
        call_set_exception(b, s, time, error);
    if (s->status != STATUS_ERROR)
        drop_error(s);
}

/* What became of it, when its own call is long gone: by the attributes it was given since. */
void call_describe_late(struct bridge *b, const struct call *c, struct span *s)
{
    for (u8 i = 0; i < c->rule->n_errors; i++)
        if (c->rule->errors[i].left.root == SOURCE_ATTR && condition_fails(b, c, i, s, false, false))
            return;
}
