/* attributes: set, insert, update, delete, rename, hash, extract, in the order given, on spans, log records and resources. */
#include "pipeline/match.h"
#include "pipeline/pattern.h"
#include "pipeline/resources.h"

#include <fnmatch.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#define DIGEST 32

struct step {
    enum attr_action action;
    const char *key, *from; /* interned */
    char *text, *secret;
    struct pattern *pattern;
    const char *group[PATTERN_GROUPS]; /* EXTRACT: interned key of each group, or NULL */
    bool resource;
};
struct attributes {
    struct match when;
    struct resources resources;
    bool any_resource;
    size_t n;
    struct step steps[];
};

/* --- one step --- */

static void attr_remove(struct attr_set *set, u16 i)
{
    memmove(&set->v[i], &set->v[i + 1], (size_t)(set->n - i - 1) * sizeof(set->v[0]));
    set->n--;
}

static bool delete_all(struct attr_set *set, const char *pattern)
{
    u16 before = set->n;
    for (u16 i = 0; i < set->n;)
        if (!fnmatch(pattern, set->v[i].key, 0))
            attr_remove(set, i);
        else
            i++;
    return set->n != before;
}

static bool copy_value(struct attr_set *set, const char *key, const char *from)
{
    const struct attr *a = attr_get(set, from);
    struct attr value;
    if (!a || !strcmp(key, from))
        return false;
    value = *a;
    switch ((enum attr_type)value.type) {
    case ATTR_STR:
        return attr_str(set, key, slice_of(value.s, value.len));
    case ATTR_INT:
        return attr_int(set, key, value.i);
    case ATTR_DOUBLE:
        return attr_double(set, key, value.d);
    case ATTR_BOOL:
        return attr_bool(set, key, value.b);
    case ATTR_STRV:
        return false; /* a list is renamed, not copied */
    }
    return false;
}

static bool set_value(struct attr_set *set, const struct step *s)
{
    bool there = attr_get(set, s->key) != NULL;
    if ((s->action == ACTION_INSERT && there) || (s->action == ACTION_UPDATE && !there))
        return false;
    return s->from ? copy_value(set, s->key, s->from) : attr_str(set, s->key, slice_str(s->text));
}

static bool rename_key(struct attr_set *set, const char *from, const char *to)
{
    for (u16 i = 0; i < set->n; i++) {
        if (strcmp(set->v[i].key, from))
            continue;
        struct attr moved = set->v[i];
        moved.key = to;
        attr_remove(set, i);
        (void)delete_all(set, to);
        set->v[set->n++] = moved;
        return true;
    }
    return false;
}

/* The whole value: a list's strings with the NULs between them. */
static bool hash_value(struct attr_set *set, const struct step *s)
{
    const struct attr *a = attr_get(set, s->key);
    u8 digest[EVP_MAX_MD_SIZE];
    char hex[2 * DIGEST + 1], buf[48];
    unsigned n = 0;
    if (!a)
        return false;
    const char *text = attr_as_text(a, buf, sizeof(buf));
    struct slice v = text ? slice_str(text) : slice_of(a->s, a->len);
    bool fine = s->secret ? HMAC(EVP_sha256(), s->secret, (int)strlen(s->secret), v.p, v.n, digest, &n) != NULL
                          : EVP_Digest(v.p, v.n, digest, &n, EVP_sha256(), NULL) == 1;
    if (fine && n == DIGEST) {
        hex_encode(digest, DIGEST, hex);
        if (attr_str(set, s->key, slice_of(hex, 2 * DIGEST)))
            return true;
    }
    return delete_all(set, s->key); /* no room for the hash: the value must not stay either */
}

static bool extract(struct attr_set *set, const struct step *s)
{
    struct slice g[PATTERN_GROUPS];
    const struct attr *a = attr_get(set, s->key);
    char buf[48];
    const char *text = a ? attr_as_text(a, buf, sizeof(buf)) : NULL;
    size_t n = text ? pattern_match(s->pattern, slice_str(text), 0, g) : 0;
    for (size_t i = 1; i < n && i < PATTERN_GROUPS; i++)
        if (s->group[i] && g[i].p)
            attr_str(set, s->group[i], g[i]);
    return n > 0;
}

static bool step_run(struct attr_set *set, const struct step *s)
{
    switch (s->action) {
    case ACTION_SET:
    case ACTION_INSERT:
    case ACTION_UPDATE:
        return set_value(set, s);
    case ACTION_DELETE:
        return delete_all(set, s->key);
    case ACTION_RENAME:
        return rename_key(set, s->from, s->key);
    case ACTION_HASH:
        return hash_value(set, s);
    case ACTION_EXTRACT:
        return extract(set, s);
    }
    return false;
}

static bool steps_run(const struct attributes *a, struct attr_set *set, bool resource)
{
    bool changed = false;
    for (size_t i = 0; i < a->n; i++)
        if (a->steps[i].resource == resource)
            changed |= step_run(set, &a->steps[i]);
    return changed;
}

static bool resource_change(void *self, struct attr_set *set) { return steps_run(self, set, true); }

/* --- signals --- */

static enum fate attributes_on_span(void *self, struct span *s)
{
    struct attributes *a = self;
    if (!match_span(&a->when, s))
        return FATE_KEEP;
    steps_run(a, &s->attrs, false);
    if (a->any_resource)
        s->resource = resources_take(&a->resources, s->resource);
    return FATE_KEEP;
}

static enum fate attributes_on_log(void *self, struct log_record *l)
{
    struct attributes *a = self;
    if (!match_log(&a->when, l))
        return FATE_KEEP;
    steps_run(a, &l->attrs, false);
    if (a->any_resource)
        l->resource = resources_take(&a->resources, l->resource);
    return FATE_KEEP;
}

/* --- life --- */

static void attributes_close(void *self)
{
    struct attributes *a = self;
    for (size_t i = 0; i < a->n; i++) {
        free(a->steps[i].text);
        free(a->steps[i].secret);
        pattern_free(a->steps[i].pattern);
    }
    match_done(&a->when);
    resources_done(&a->resources);
    free(a);
}

/* A group's name cannot have a dot: «http__route» is http.route. */
static const char *group_key(const char *name)
{
    char key[128];
    size_t n = 0;
    for (const char *p = name; *p && n + 1 < sizeof(key); p++)
        if (p[0] == '_' && p[1] == '_')
            key[n++] = '.', p++;
        else
            key[n++] = *p;
    key[n] = 0;
    return intern(key);
}

static int step_pattern(struct step *s, const struct attr_step *from, char *err, size_t err_size)
{
    int code = pattern_new(from->pattern, &s->pattern, err, err_size);
    bool any = false;
    for (size_t i = 1; !code && i < PATTERN_GROUPS; i++) {
        const char *name = pattern_group_name(s->pattern, i);
        s->group[i] = name ? group_key(name) : NULL;
        any |= name != NULL;
    }
    if (code || any)
        return code;
    snprintf(err, err_size, "attributes: the pattern '%s' names no group: write (?<key>…)", from->pattern);
    return -EINVAL;
}

static const char *step_wants(const struct attr_step *s)
{
    bool sets = s->action <= ACTION_UPDATE;
    if (!s->key || !*s->key)
        return "key";
    if (sets && !s->text && !s->from)
        return "value (or from)";
    if (s->action == ACTION_RENAME && !s->from)
        return "from";
    return s->action == ACTION_EXTRACT && !s->pattern ? "pattern" : NULL;
}

static int step_copy(struct step *s, const struct attr_step *from, char *err, size_t err_size)
{
    const char *wants = step_wants(from);
    if (wants) {
        snprintf(err, err_size, "attributes: a step wants a %s", wants);
        return -EINVAL;
    }
    *s = (struct step){ .action = from->action, .key = intern(from->key), .resource = from->resource };
    s->from = from->from ? intern(from->from) : NULL;
    s->text = from->text ? strdup(from->text) : NULL;
    s->secret = from->secret ? strdup(from->secret) : NULL;
    if ((from->text && !s->text) || (from->secret && !s->secret))
        return -ENOMEM;
    return s->action == ACTION_EXTRACT ? step_pattern(s, from, err, err_size) : 0;
}

static int attributes_open(const struct processor_spec *spec, void **ret, char *err, size_t err_size)
{
    const struct attributes_options *o = &spec->attributes;
    struct attributes *a = calloc(1, sizeof(*a) + o->n * sizeof(a->steps[0]));
    if (!a)
        return -ENOMEM;
    int code = resources_init(&a->resources, resource_change, a);
    if (!code)
        code = match_copy(&a->when, &o->when);
    for (size_t i = 0; !code && i < o->n; i++) {
        code = step_copy(&a->steps[i], &o->steps[i], err, err_size);
        a->any_resource |= a->steps[i].resource;
        a->n++;
    }
    if (code)
        attributes_close(a);
    else
        *ret = a;
    return code;
}

const struct processor processor_attributes = {
    .name = "attributes",
    .help = "sets, deletes, renames, hashes and extracts attributes of spans, log records and resources",
    .open = attributes_open,
    .on_span = attributes_on_span,
    .on_log = attributes_on_log,
    .close = attributes_close,
};
