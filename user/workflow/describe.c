/* Values of a hit become attributes, the outcome and the name of an activity. */
#include "workflow/internal.h"

#include <fnmatch.h>

/* The value in a slot; false when it is not there or could not be read. Text of a string slot in *ret_text. */
static bool slot_value(const struct event *e, int slot, u64 *ret, struct slice *ret_text)
{
    if (!e || slot < 0 || slot >= e->hit.n || slot >= EVENT_VALUES || e->hit.failed >> slot & 1)
        return false;
    *ret = e->hit.v[slot];
    *ret_text = e->hit.strings >> slot & 1 ? e->hit.s[slot] : slice_of("", 0);
    return true;
}

static void set_bytes(struct span *s, const char *key, struct slice bytes)
{
    char text[257];
    bytes = slice_head(bytes, 128);
    hex_encode(bytes.p, bytes.n, text);
    attr_str(&s->attrs, key, slice_str(text));
}

/* A text of given length may hold a NUL where the field was not full. */
static struct slice until_nul(struct slice s)
{
    ptrdiff_t nul = slice_find(s, 0);
    return nul < 0 ? s : slice_head(s, (size_t)nul);
}

static void set_value(struct span *s, const char *key, const struct source *from, u64 v, struct slice text)
{
    char word[24];
    float narrow;
    double wide;
    switch (from->type) {
    case TYPE_STR:
        attr_str(&s->attrs, key, until_nul(text));
        return;
    case TYPE_BYTES:
        set_bytes(s, key, text);
        return;
    case TYPE_BOOL:
        attr_bool(&s->attrs, key, (u8)v != 0);
        return;
    case TYPE_PTR:
        snprintf(word, sizeof(word), "0x%llx", (unsigned long long)v);
        attr_str(&s->attrs, key, slice_str(word));
        return;
    case TYPE_FLOAT:
        memcpy(&narrow, &v, sizeof(narrow));
        memcpy(&wide, &v, sizeof(wide));
        attr_double(&s->attrs, key, from->size == 4 ? (double)narrow : wide);
        return;
    case TYPE_DEFAULT:
    case TYPE_INT:
    case TYPE_UINT:
        attr_int(&s->attrs, key, (s64)v);
        return;
    }
}

static void set_constant(struct span *s, const struct rule_attr *a)
{
    if (a->from.text)
        attr_str(&s->attrs, a->key, slice_str(a->from.text));
    else
        attr_int(&s->attrs, a->key, a->from.number);
}

void describe_attributes(const struct rule *r, const struct rule_plan *p, int moment, const struct event *e, struct span *s)
{
    for (u8 i = 0; i < r->n_attrs; i++) {
        const struct rule_attr *a = &r->attrs[i];
        u64 v;
        struct slice text;
        if (a->from.root == SOURCE_CONST && moment == PLAN_ENTRY)
            set_constant(s, a);
        else if (a->from.root != SOURCE_ERRNO && source_moment(&a->from) == moment && slot_value(e, p->attr[i], &v, &text))
            set_value(s, a->key, &a->from, v, text);
    }
}

/* --- conditions --- */
static bool matches(const char *pattern, struct slice text)
{
    char copy[600];
    text = slice_head(text, sizeof(copy) - 1);
    if (like_plain(pattern))
        return like(pattern, text);
    snprintf(copy, sizeof(copy), "%.*s", (int)text.n, text.n ? (const char *)text.p : "");
    return !fnmatch(pattern, copy, FNM_EXTMATCH);
}

bool condition_holds(const struct rule_condition *c, s64 value, struct slice text)
{
    if (c->test >= TEST_LIKE)
        return matches(c->text, until_nul(text)) == (c->test == TEST_LIKE);
    if (c->text)
        return test_order(c->test, !slice_eq(until_nul(text), c->text));
    if (c->left.type == TYPE_BOOL)
        return test_order(c->test, (int)((u8)value != 0) - (int)(c->value != 0));
    if (c->left.type == TYPE_UINT || c->left.type == TYPE_PTR)
        return test_order(c->test, (u64)value < (u64)c->value ? -1 : (u64)value > (u64)c->value);
    return test_order(c->test, value < c->value ? -1 : value > c->value);
}

bool describe_when(const struct rule *r, const struct rule_plan *p, const struct event *e)
{
    for (u8 i = 0; i < r->n_when; i++) {
        u64 v;
        struct slice text;
        if (!slot_value(e, p->when[i], &v, &text) || !condition_holds(&r->when[i], (s64)v, text))
            return false;
    }
    return true;
}

/* Whether an attribute of the span, whatever made it, meets the condition; its text for the message. */
bool attr_holds(const struct rule_condition *c, const struct span *s, char *word, size_t size)
{
    const struct attr *a = attr_get(&s->attrs, c->left.text);
    if (!a || (a->type != ATTR_STR && a->type != ATTR_INT && a->type != ATTR_BOOL))
        return false;
    if (a->type == ATTR_STR)
        snprintf(word, size, "%.*s", (int)a->len, a->s);
    else
        snprintf(word, size, "%lld", (long long)(a->type == ATTR_BOOL ? a->b : a->i));
    if (c->text)
        return condition_holds(c, 0, slice_str(word));
    return a->type != ATTR_STR && condition_holds(c, a->type == ATTR_BOOL ? a->b : a->i, slice_str(word));
}

void set_failure(struct span *s, const char *type, const char *message)
{
    span_set_error(s, slice_str(message));
    attr_str(&s->attrs, "error.type", slice_str(type));
}

static void fail_errno(struct span *s, s64 err)
{
    char message[128];
    snprintf(message, sizeof(message), "%s: %s", errno_name((int)err), strerror((int)err));
    set_failure(s, errno_name((int)err), message);
}

static bool errno_known(s64 err) { return err > 0 && err < 4096 && strerrorname_np((int)err); }

/* A condition on a value of the call. */
static bool value_fails(const struct rule_condition *c, int slot, const struct event *e, s64 err, struct span *s)
{
    u64 v;
    struct slice text;
    char word[64], message[96];
    if (!slot_value(e, slot, &v, &text) || !condition_holds(c, (s64)v, text))
        return false;
    if (errno_known(err)) {
        fail_errno(s, err);
        return true;
    }
    if (c->text)
        snprintf(word, sizeof(word), "%.*s", (int)min_u64(text.n, 60), (const char *)text.p);
    else if (c->left.type == TYPE_PTR)
        snprintf(word, sizeof(word), v ? "0x%llx" : "null", (unsigned long long)v);
    else
        snprintf(word, sizeof(word), "%lld", (long long)v);
    snprintf(message, sizeof(message), "%s %s", c->left.root == SOURCE_RET ? "returned" : "value is", word);
    set_failure(s, word, message);
    return true;
}

static bool condition_fails(const struct rule *r, const struct rule_plan *p, u8 i, int moment, const struct event *e, s64 err,
                            struct span *s)
{
    const struct rule_condition *c = &r->errors[i];
    char word[128], message[256];
    u64 v;
    struct slice text;
    if (c->test == TEST_EXCEPTION) /* describe_exception's */
        return false;
    if (moment == PLAN_ENTRY)
        return c->test != TEST_ERRNO && source_moment(&c->left) == PLAN_ENTRY && value_fails(c, p->error[i], e, 0, s);
    if (c->test == TEST_ERRNO) {
        if (!slot_value(e, p->ret, &v, &text) || (s32)v != -1)
            return false;
        if (errno_known(err))
            fail_errno(s, err);
        else
            set_failure(s, "-1", "returned -1");
        return true;
    }
    if (c->left.root != SOURCE_ATTR)
        return source_moment(&c->left) == PLAN_RETURN && value_fails(c, p->error[i], e, err, s);
    if (!attr_holds(c, s, word, sizeof(word)))
        return false;
    snprintf(message, sizeof(message), "%s is %s", c->left.text, word);
    set_failure(s, word, message);
    return true;
}

/* errno says something only about a call that failed, or when nobody said what failing is. */
static void set_errno(const struct rule *r, struct span *s, s64 err, bool failed)
{
    for (u8 i = 0; i < r->n_attrs; i++)
        if (r->attrs[i].from.root == SOURCE_ERRNO && (failed || (!r->n_errors && err)))
            attr_int(&s->attrs, r->attrs[i].key, err);
}

void describe_outcome(const struct rule *r, const struct rule_plan *p, int moment, const struct event *e, struct span *s)
{
    u64 v = 0;
    struct slice text;
    bool have = moment == PLAN_RETURN && slot_value(e, p->err_no, &v, &text), failed = false;
    s64 err = have ? (s32)v : 0;
    for (u8 i = 0; i < r->n_errors && !failed; i++)
        failed = condition_fails(r, p, i, moment, e, err, s);
    if (have)
        set_errno(r, s, err, failed);
}

void describe_exception(const struct rule *r, struct span *s, u64 wall, struct slice type)
{
    bool error = !r->error_given;
    for (u8 i = 0; i < r->n_errors; i++)
        error |= r->errors[i].test == TEST_EXCEPTION;
    span_add_exception(s, wall, type, slice_of("", 0), slice_of("", 0));
    if (!error)
        return;
    span_set_error(s, type);
    attr_str(&s->attrs, "error.type", type);
}

/* --- names --- */
static size_t put(char *out, size_t at, size_t size, const char *text, size_t n)
{
    n = min_u64(n, size - 1 - at);
    memcpy(out + at, text, n);
    return at + n;
}

static size_t put_attr(char *out, size_t at, size_t size, const struct attr *a)
{
    char word[32] = "";
    switch ((enum attr_type)a->type) {
    case ATTR_STR:
        return put(out, at, size, a->s, a->len);
    case ATTR_INT:
        snprintf(word, sizeof(word), "%lld", (long long)a->i);
        break;
    case ATTR_DOUBLE:
        snprintf(word, sizeof(word), "%g", a->d);
        break;
    case ATTR_BOOL:
        snprintf(word, sizeof(word), "%s", a->b ? "true" : "false");
        break;
    case ATTR_STRV:
        break;
    }
    return put(out, at, size, word, strlen(word));
}

static const struct attr *attr_named(const struct span *s, struct slice key)
{
    for (u16 i = 0; i < s->attrs.n; i++)
        if (slice_eq(key, s->attrs.v[i].key))
            return &s->attrs.v[i];
    return NULL;
}

/* What is known of an activity whose name has a value that is not there, yet or ever. */
static const char *name_without(const struct rule *r, const struct span *s)
{
    static const char *const keys[] = { "code.function.name", "process.executable.name" };
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        const struct attr *a = attr_get(&s->attrs, keys[i]);
        if (a && a->type == ATTR_STR && a->len)
            return a->s;
    }
    return r->label ? r->label : r->symbol[0] ? r->symbol : r->type;
}

void describe_name(const struct rule *r, struct span *s)
{
    char out[256];
    size_t at = 0;
    struct slice t = slice_str(r->name);
    for (size_t i = 0; i < t.n; i++) {
        bool brace = t.p[i] == '{', doubled = i + 1 < t.n && t.p[i + 1] == t.p[i] && (brace || t.p[i] == '}');
        ptrdiff_t end = brace && !doubled ? slice_find(slice_from(t, i), '}') : -1;
        if (end < 0) {
            at = put(out, at, sizeof(out), (const char *)t.p + i, 1);
            i += doubled;
            continue;
        }
        struct slice key = slice_of(t.p + i + 1, (size_t)end - 1);
        const struct attr *a = attr_named(s, key);
        if (!a) {
            span_set_name(s, slice_str(name_without(r, s)));
            return;
        }
        at = put_attr(out, at, sizeof(out), a);
        i += (size_t)end;
    }
    span_set_name(s, slice_of(out, at));
}
