/* redact: secrets are taken out of every text of every signal, in place. On by default, at the end of the chain.
 *
 * Of a span: name, status message, attributes (keys too), events, tracestate, scope; of a log record: body, attributes, event
 * name; of metrics: attributes (redact_metrics.c); of all three: the resource. What is learnt about a key or a resource is
 * remembered, so that each costs its look once. */
#include "pipeline/redact.h"
#include "self/ledger.h"

#include <fnmatch.h>

#define KEYS 1024 /* direct-mapped by address: keys are literals or interned */

static char *lookup_copy(const char *s) { return s ? strdup(s) : NULL; }

/* --- keys --- */

static bool key_is_in(char *const *globs, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (!fnmatch(globs[i], key, FNM_CASEFOLD))
            return true;
    return false;
}

static bool is_sql_key(const char *key) { return !strcmp(key, "db.query.text") || !strcmp(key, "db.statement"); }

/* Its last part decides: session.token is one, token.session is none. */
static struct slice key_name(const char *key)
{
    struct slice k = slice_str(key);
    return slice_starts(k, "http.request.header.")    ? slice_from(k, 20)
           : slice_starts(k, "http.response.header.") ? slice_from(k, 21)
                                                      : k;
}

static enum key_class key_class(const struct redact *r, const char *key)
{
    if (key_is_in(r->allow, r->n_allow, key))
        return KEY_ALLOWED;
    if (key_is_in(r->keys, r->n_keys, key))
        return KEY_SECRET;
    if (r->no_presets || !strncmp(key, "wftrace.", 8))
        return KEY_PLAIN;
    if (is_sql_key(key))
        return KEY_SQL;
    return redact_key(key_name(key)) ? KEY_SECRET : KEY_PLAIN;
}

static const char *key_clean(struct redact *r, const char *key)
{
    char text[256];
    u32 n = 0;
    size_t len = strlen(key);
    if (r->no_presets || len >= sizeof(text))
        return key;
    memcpy(text, key, len + 1);
    redact_text(text, len, r->flags, &n);
    return n ? intern(text) : key;
}

const struct redact_key_known *redact_key_look(struct redact *r, const char *key)
{
    struct redact_key_known *k = &r->known[hash_u64((uintptr_t)key) % KEYS];
    if (k->key != key)
        *k = (struct redact_key_known){ key, key_clean(r, key), key_class(r, key) };
    return k;
}

/* --- text --- */

size_t redact_run(struct redact *r, char *text, size_t n, u32 more_flags)
{
    u32 found = 0;
    size_t before = n;
    if (!r->no_presets && n >= 5)
        n = redact_text(text, n, r->flags | more_flags, &found);
    for (size_t i = 0; i < r->n_patterns; i++)
        n = redact_pattern(r->patterns[i], text, n, &found);
    r->found += found;
    return found ? n : before;
}

static void text_run(struct redact *r, const char *text)
{
    if (text && *text)
        redact_run(r, (char *)(uintptr_t)text, strlen(text), 0);
}

/* A list keeps its strings; the value after «--password» is one too. */
static u16 list_run(struct redact *r, char *text, size_t len)
{
    size_t out = 0;
    bool secret = false;
    for (size_t i = 0, n; i < len; i += n + 1) {
        n = strnlen(text + i, len - i);
        bool next = n > 2 && text[i] == '-' && !memchr(text + i, '=', n) &&
                    redact_key(slice_of(text + i + 1 + (text[i + 1] == '-'), n - 1 - (text[i + 1] == '-')));
        size_t m = secret && text[i] != '-' ? redact_replace(text + i, n, 0, n, REDACTED) : redact_run(r, text + i, n, 0);
        r->found += secret && n;
        memmove(text + out, text + i, m);
        text[out + m] = 0;
        out += m + 1;
        secret = next && !r->no_presets;
    }
    return (u16)out;
}

static void value_hide(struct redact *r, struct attr *a)
{
    r->found++;
    if (a->type == ATTR_STR) {
        a->len = (u16)redact_replace((char *)(uintptr_t)a->s, a->len, 0, a->len, REDACTED);
        return;
    }
    *a = (struct attr){ .key = a->key, .type = ATTR_STR, .len = sizeof(REDACTED) - 1, .s = REDACTED };
}

void redact_attr(struct redact *r, struct attr *a)
{
    const struct redact_key_known *k = redact_key_look(r, a->key);
    bool text = a->type == ATTR_STR || a->type == ATTR_STRV;
    a->key = k->clean;
    if (k->class == KEY_ALLOWED)
        return;
    if (k->class == KEY_SECRET && text) {
        if (a->len)
            value_hide(r, a);
    } else if (a->type == ATTR_STR) {
        a->len = (u16)redact_run(r, (char *)(uintptr_t)a->s, a->len, k->class == KEY_SQL ? REDACT_SQL : 0);
    } else if (a->type == ATTR_STRV) {
        a->len = list_run(r, (char *)(uintptr_t)a->s, a->len);
    } else if (a->type == ATTR_INT && a->i > 0 && !r->no_presets && redact_card_number((u64)a->i)) {
        value_hide(r, a);
    }
}

static void attrs_run(struct redact *r, struct attr *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        redact_attr(r, &v[i]);
}

static bool resource_change(void *self, struct attr_set *set)
{
    struct redact *r = self;
    u64 before = r->found;
    attrs_run(r, set->v, set->n);
    return r->found != before;
}

/* --- signals --- */

static void note(struct redact *r, u64 before)
{
    if (r->found != before)
        ledger_add(secrets_redacted, r->found - before);
}

static enum fate redact_on_span(void *self, struct span *s)
{
    struct redact *r = self;
    u64 before = r->found;
    text_run(r, s->name);
    text_run(r, s->status_message);
    attrs_run(r, s->attrs.v, s->attrs.n);
    for (u8 i = 0; i < s->n_events; i++) {
        text_run(r, s->events[i].name);
        attrs_run(r, s->events[i].attrs, s->events[i].n_attrs);
    }
    text_run(r, s->tracestate);
    s->resource = resources_take(&r->resources, s->resource);
    note(r, before);
    return FATE_KEEP;
}

static enum fate redact_on_log(void *self, struct log_record *l)
{
    struct redact *r = self;
    u64 before = r->found;
    l->body_len = (u32)redact_run(r, l->body, l->body_len, 0);
    attrs_run(r, l->attr_v, l->attrs.n);
    l->resource = resources_take(&r->resources, l->resource);
    note(r, before);
    return FATE_KEEP;
}

static struct metric_batch *redact_on_metrics(void *self, struct metric_batch *b)
{
    struct redact *r = self;
    u64 before = r->found;
    b = redact_metrics(r, b);
    note(r, before);
    return b;
}

/* --- life --- */

static int globs_copy(const char *const *from, size_t n, char ***ret, size_t *ret_n)
{
    *ret = calloc(n ? n : 1, sizeof(**ret));
    if (!*ret)
        return -ENOMEM;
    for (; *ret_n < n; ++*ret_n)
        if (!((*ret)[*ret_n] = lookup_copy(from[*ret_n])))
            return -ENOMEM;
    return 0;
}

static void globs_free(char **v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(v[i]);
    free(v);
}

static void redact_close(void *self)
{
    struct redact *r = self;
    globs_free(r->keys, r->n_keys);
    globs_free(r->allow, r->n_allow);
    for (size_t i = 0; i < r->n_patterns; i++)
        pattern_free(r->patterns[i]);
    free(r->patterns);
    resources_done(&r->resources);
    free(r);
}

static int redact_steps(struct redact *r, const struct redact_options *o, char *err, size_t err_size)
{
    r->patterns = calloc(o->n_patterns ? o->n_patterns : 1, sizeof(*r->patterns));
    if (!r->patterns || resources_init(&r->resources, resource_change, r) ||
        globs_copy(o->keys, o->n_keys, &r->keys, &r->n_keys) || globs_copy(o->allow, o->n_allow, &r->allow, &r->n_allow))
        return -ENOMEM;
    for (size_t i = 0; i < o->n_patterns; i++, r->n_patterns++) {
        int code = pattern_new(o->patterns[i], &r->patterns[i], err, err_size);
        if (code)
            return code;
    }
    return 0;
}

static int redact_open(const struct processor_spec *spec, void **ret, char *err, size_t err_size)
{
    const struct redact_options *o = &spec->redact;
    struct redact *r = calloc(1, sizeof(*r) + KEYS * sizeof(r->known[0]));
    if (!r)
        return -ENOMEM;
    r->no_presets = o->no_presets;
    r->flags = (o->keep_emails ? 0 : REDACT_EMAIL) | (o->keep_ibans ? 0 : REDACT_IBAN) | (o->query_strings ? REDACT_QUERY : 0);
    int code = redact_steps(r, o, err, err_size);
    if (code)
        redact_close(r);
    else
        *ret = r;
    return code;
}

const struct processor processor_redact = {
    .name = "redact",
    .help = "takes secrets out of every text: by key, by pattern, by shape",
    .open = redact_open,
    .on_span = redact_on_span,
    .on_log = redact_on_log,
    .on_metrics = redact_on_metrics,
    .close = redact_close,
};
