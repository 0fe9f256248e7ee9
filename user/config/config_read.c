/* Nodes → structs, by the table of keys. Whatever is wrong is said with its place and with what would be right, and reading
 * goes on with the default, so that one run tells all mistakes. */
#include "config/config_internal.h"

struct list {
    void *v;
    size_t n;
};

const char *config_shown(const struct config_node *n, const struct config_key *k)
{
    if ((k->flags & KEY_SECRET) && *n->text)
        return "<secret>";
    return n->written ? n->written : n->text;
}

/* --- one value --- */
struct at {
    struct config_state *s;
    const struct config_key *key;
    const struct config_node *n;
};

static bool word_is(const struct config_node *n, const char *word)
{
    return n->at.origin == ORIGIN_ENV ? !strcasecmp(n->text, word) : !strcmp(n->text, word);
}

static int word_find(const struct at *a, const struct config_node *n)
{
    size_t count = 0;
    char list[300] = "";
    const char *const *w = a->key->words;
    for (; w[count]; count++)
        if (word_is(n, w[count]))
            return (int)count;
    for (size_t i = 0, used = 0; i < count && used < sizeof(list) - 40; i++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", w[i]);
    const char *near = nearest_word(n->text, w, count);
    if (near)
        config_mistake(a->s, &n->at, "«%.60s» is not a value of «%s» (did you mean «%s»?)", config_shown(n, a->key), a->key->name,
                       near);
    else
        config_mistake(a->s, &n->at, "«%.60s» is not a value of «%s»: %s", config_shown(n, a->key), a->key->name, list);
    return -EINVAL;
}

static bool is_scalar(const struct at *a, const struct config_node *n, const char *what)
{
    if (n->type == NODE_SCALAR)
        return true;
    config_mistake(a->s, &n->at, "«%s» is %s, not a %s", a->key->name, what, n->type == NODE_MAP ? "mapping" : "list");
    return false;
}

static bool in_bounds(const struct at *a, const struct config_node *n, double v)
{
    const struct config_key *k = a->key;
    if (v >= k->min && (k->max <= k->min || v <= k->max))
        return true;
    if (k->max > k->min)
        config_mistake(a->s, &n->at, "«%s» is from %.15g to %.15g, not %.60s", k->name, k->min, k->max, config_shown(n, k));
    else
        config_mistake(a->s, &n->at, "«%s» is %.15g or more, not %.60s", k->name, k->min, config_shown(n, k));
    return false;
}

static void quoted_number(const struct at *a, const struct config_node *n, const char *what)
{
    if (!n->plain && n->at.origin == ORIGIN_FILE)
        config_mistake(a->s, &n->at, "«%s» is %s: write it without quotes", a->key->name, what);
    else
        config_mistake(a->s, &n->at, "«%s» is %s, not «%.60s»", a->key->name, what, config_shown(n, a->key));
}

static void read_bool(const struct at *a, bool *ret)
{
    static const char *const yes[] = { "yes", "Yes", "YES", "on", "On", "ON", "no", "No", "NO", "off", "Off", "OFF" };
    const struct config_node *n = a->n;
    if (!is_scalar(a, n, "true or false"))
        return;
    bool env = n->at.origin == ORIGIN_ENV;
    if (n->plain && (config_scalar_bool(n->text, ret) || (env && !strcasecmp(n->text, "true") && (*ret = true))))
        return;
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (n->plain && !strcmp(n->text, yes[i])) {
            config_mistake(a->s, &n->at, "«%s» is true or false, not «%s» (write %s)", a->key->name, config_shown(n, a->key),
                           i < 6 ? "true" : "false");
            return;
        }
    quoted_number(a, n, "true or false");
}

static void read_int(const struct at *a, s64 *ret)
{
    s64 v;
    if (!is_scalar(a, a->n, "a whole number"))
        return;
    if (!a->n->plain || !config_scalar_int(a->n->text, &v))
        quoted_number(a, a->n, "a whole number");
    else if (in_bounds(a, a->n, (double)v))
        *ret = v;
}

static bool number_of(const struct at *a, const struct config_node *n, double *ret)
{
    double v;
    if (!is_scalar(a, n, "a number"))
        return false;
    if (!n->plain || !config_scalar_number(n->text, &v)) {
        quoted_number(a, n, "a number");
        return false;
    }
    if (!in_bounds(a, n, v))
        return false;
    *ret = v;
    return true;
}

static void read_unit(const struct at *a, s64 *ret)
{
    bool size = a->key->type == CONFIG_SIZE;
    const char *what = size ? "a size (1048576, 64MiB, 10GiB)" : "a duration (1500, 500ms, 10s, 5m, 2h, 7d)";
    s64 v = 0;
    if (!is_scalar(a, a->n, what))
        return;
    int err = size ? config_read_size(a->n->text, &v) : config_read_duration(a->n->text, &v);
    if (err)
        config_mistake(a->s, &a->n->at, "«%s» is %s, not «%.60s»", a->key->name, what, config_shown(a->n, a->key));
    else if (in_bounds(a, a->n, (double)v))
        *ret = v;
}

static bool looks_typed(const struct config_node *n, const char **ret_what)
{
    bool b;
    double d;
    if (!n->plain || n->written || n->at.origin != ORIGIN_FILE)
        return false; /* what a variable held is taken as it is */
    *ret_what = config_scalar_bool(n->text, &b) ? "true or false" : "a number";
    return config_scalar_bool(n->text, &b) || config_scalar_number(n->text, &d);
}

static const char *text_of(const struct at *a, const struct config_node *n)
{
    const char *what;
    if (!is_scalar(a, n, "a text"))
        return NULL;
    if (looks_typed(n, &what)) {
        if (a->key->flags & KEY_SECRET)
            config_mistake(a->s, &n->at, "«%s» is a text and this is %s: write it in quotes", a->key->name, what);
        else
            config_mistake(a->s, &n->at, "«%s» is a text and this is %s: write \"%.60s\"", a->key->name, what, n->text);
        return NULL;
    }
    return n->text;
}

static const char *checked_text(const struct at *a, const struct config_node *n)
{
    const char *text = text_of(a, n);
    if (text && !*text && (a->key->flags & KEY_REQUIRED)) {
        config_mistake(a->s, &n->at, "«%s» is empty", a->key->name);
        return NULL;
    }
    if (text && a->key->words && word_find(a, n) < 0)
        return NULL;
    return text;
}

static const struct config_node *items_of(const struct at *a)
{
    if (a->n->type != NODE_SEQUENCE) {
        config_mistake(a->s, &a->n->at, "«%s» is a list: each item starts with «- »", a->key->name);
        return NULL;
    }
    if (!a->n->n && a->key->type != CONFIG_NUMBERS)
        config_mistake(a->s, &a->n->at, "«%s» is an empty list: leave it out, or name something", a->key->name);
    return a->n;
}

static void read_texts(const struct at *a, struct list *ret)
{
    const struct config_node *list = items_of(a);
    const char **v = list ? config_alloc(a->s, (list->n + 1) * sizeof(*v)) : NULL;
    if (!v)
        return;
    ret->v = v;
    for (size_t i = 0; i < list->n; i++) {
        const struct config_node *item = list->items[i];
        if (config_node_null(item))
            config_mistake(a->s, &item->at, "an item of «%s» is empty", a->key->name);
        else if ((v[ret->n] = checked_text(a, item)))
            ret->n++;
    }
}

static void read_numbers(const struct at *a, struct list *ret)
{
    const struct config_node *list = items_of(a);
    double *v = list ? config_alloc(a->s, (list->n + 1) * sizeof(*v)) : NULL;
    if (!v)
        return;
    ret->v = v;
    for (size_t i = 0; i < list->n; i++) {
        if (!number_of(a, list->items[i], &v[ret->n]))
            continue;
        if (ret->n && v[ret->n] <= v[ret->n - 1])
            config_mistake(a->s, &list->items[i]->at, "«%s» go upwards: %g comes after %g", a->key->name, v[ret->n],
                           v[ret->n - 1]);
        ret->n++;
    }
}

static void value_scalar(const struct config_node *n, struct config_value *ret)
{
    bool b;
    ret->text = n->text;
    ret->kind = CONFIG_VALUE_TEXT;
    if (config_node_null(n)) {
        ret->kind = CONFIG_VALUE_NULL;
    } else if (n->plain && config_scalar_bool(n->text, &b)) {
        ret->kind = CONFIG_VALUE_BOOL;
        ret->integer = b;
    } else if (n->plain && config_scalar_int(n->text, &ret->integer)) {
        ret->kind = CONFIG_VALUE_INT;
    } else if (n->plain && config_scalar_number(n->text, &ret->number)) {
        ret->kind = CONFIG_VALUE_DOUBLE;
    }
}

static void read_value(const struct at *a, struct config_value *ret)
{
    if (a->n->type == NODE_SCALAR) {
        value_scalar(a->n, ret);
        return;
    }
    if (a->n->type == NODE_MAP) {
        config_mistake(a->s, &a->n->at, "«%s» is a text, a number, true, false or a list of them", a->key->name);
        return;
    }
    ret->kind = CONFIG_VALUE_LIST;
    ret->items.v = config_alloc(a->s, (a->n->n + 1) * sizeof(*ret->items.v));
    for (size_t i = 0; ret->items.v && i < a->n->n; i++) {
        if (a->n->items[i]->type != NODE_SCALAR)
            config_mistake(a->s, &a->n->items[i]->at, "an item of «%s» is a text, a number, true or false", a->key->name);
        else
            value_scalar(a->n->items[i], &ret->items.v[ret->items.n++]);
    }
}

/* The file with everything outside the part made blank and its first line replaced by the key: lines and columns stay (but
 * for what stands on the very first line). */
static void read_part(const struct at *a, struct config_text *ret)
{
    const struct config_node *n = a->n;
    if (n->type == NODE_SCALAR || !n->file_text) {
        config_mistake(a->s, &n->at, "«%s» is a list or a mapping, as in a rule file", a->key->name);
        return;
    }
    const char *first = memchr(n->file_text, '\n', n->from);
    size_t from = first ? (size_t)(first - n->file_text) : 0, name = strlen(a->key->name);
    char *text = config_alloc(a->s, name + 2 + n->file_len - from + 1);
    if (!text)
        return;
    memcpy(text, a->key->name, name);
    memcpy(text + name, ": ", 2);
    for (size_t i = from; i < n->file_len; i++)
        text[name + 2 + i - from] = n->file_text[i] == '\n' || (i >= n->from && i < n->to) ? n->file_text[i] : ' ';
    *ret = (struct config_text){ n->at.name, text, name + 2 + n->file_len - from };
}

/* --- groups --- */
static void key_read(struct config_state *s, const struct config_key *k, const struct config_node *n, void *field);

static void *group_new(struct config_state *s, const struct config_group *g, const struct config_node *n)
{
    void *p = config_alloc(s, g->size);
    if (p)
        config_read_group(s, g, n, p);
    return p;
}

static void read_groups(const struct at *a, struct list *ret)
{
    const struct config_group *g = a->key->group;
    const struct config_node *list = items_of(a);
    char *v = list ? config_alloc(a->s, (list->n + 1) * g->size) : NULL;
    if (!v)
        return;
    ret->v = v;
    for (size_t i = 0; i < list->n; i++)
        config_read_group(a->s, g, list->items[i], v + ret->n++ * g->size);
}

static void key_default(struct config_state *s, const struct config_key *k, char *into)
{
    void *field = into + k->offset;
    if (k->type == CONFIG_INT || k->type == CONFIG_DURATION || k->type == CONFIG_SIZE)
        *(s64 *)field = CONFIG_UNSET;
    if (k->type == CONFIG_WORD)
        *(int *)field = CONFIG_UNSET;
    if (k->type == CONFIG_GROUP && (k->flags & KEY_ALWAYS))
        *(void **)field = group_new(s, k->group, NULL);
    if (!k->fallback || k->type == CONFIG_GROUP || k->type == CONFIG_GROUPS || k->type == CONFIG_ANY)
        return;
    struct config_node n = { .type = NODE_SCALAR, .plain = true, .text = k->fallback, .at.origin = ORIGIN_DEFAULT };
    n.at.name = k->name;
    key_read(s, k, &n, field);
}

static void key_read(struct config_state *s, const struct config_key *k, const struct config_node *n, void *field)
{
    struct at a = { s, k, n };
    int word;
    switch (k->type) {
    case CONFIG_BOOL:
        read_bool(&a, field);
        break;
    case CONFIG_INT:
        read_int(&a, field);
        break;
    case CONFIG_NUMBER:
        (void)number_of(&a, n, field);
        break;
    case CONFIG_TEXT:
        *(const char **)field = checked_text(&a, n);
        break;
    case CONFIG_WORD:
        word = is_scalar(&a, n, "a word") ? word_find(&a, n) : -1;
        if (word >= 0)
            *(int *)field = word;
        break;
    case CONFIG_DURATION:
    case CONFIG_SIZE:
        read_unit(&a, field);
        break;
    case CONFIG_TEXTS:
        read_texts(&a, field);
        break;
    case CONFIG_NUMBERS:
        read_numbers(&a, field);
        break;
    case CONFIG_VALUE:
        read_value(&a, field);
        break;
    case CONFIG_GROUP:
        *(void **)field = group_new(s, k->group, n);
        break;
    case CONFIG_GROUPS:
        read_groups(&a, field);
        break;
    case CONFIG_PART:
        read_part(&a, field);
        break;
    case CONFIG_ANY:
        break;
    }
}

static const struct config_key *key_of(const struct config_group *g, const char *name)
{
    for (size_t i = 0; i < g->n; i++)
        if (!strcmp(g->keys[i].name, name))
            return &g->keys[i];
    return NULL;
}

/* «otlp_file» for «otlp_file/development», and the other way round. */
static const char *other_stage(const struct config_group *g, const char *name)
{
    size_t n = strcspn(name, "/");
    for (size_t i = 0; i < g->n; i++)
        if (strcspn(g->keys[i].name, "/") == n && !strncmp(g->keys[i].name, name, n))
            return g->keys[i].name;
    return NULL;
}

static void key_unknown(struct config_state *s, const struct config_group *g, const struct config_entry *e)
{
    const char *names[64] = { 0 };
    char list[300] = "";
    size_t n = 0, used = 0;
    for (; n < g->n && n < ARRAY_LEN(names); n++)
        names[n] = g->keys[n].name;
    const char *near = other_stage(g, e->key);
    if (!near)
        near = nearest_word(e->key, names, n);
    if (near) {
        config_mistake(s, &e->at, "unknown key «%s» (did you mean «%s»?)", e->key, near);
        return;
    }
    for (size_t i = 0; i < n && used < sizeof(list) - 60; i++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", names[i]);
    if (n)
        config_mistake(s, &e->at, "unknown key «%s»; %s takes %s", e->key, g->name, list);
    else
        config_mistake(s, &e->at, "unknown key «%s»; %s takes none", e->key, g->name);
}

static void entry_read(struct config_state *s, const struct config_group *g, const struct config_entry *e, char *into)
{
    const struct config_key *k = key_of(g, e->key);
    if (!k) {
        key_unknown(s, g, e);
        return;
    }
    if (k->ignored && !config_node_null(e->value))
        config_note(s, &e->at, "«%s» has no effect: %s", k->name, k->ignored);
    if (config_node_null(e->value) && k->type != CONFIG_VALUE && (k->type != CONFIG_GROUP || !g->one_of)) {
        if (k->flags & KEY_REQUIRED)
            config_mistake(s, &e->at, "«%s» is empty", k->name);
        return; /* as if it were not there */
    }
    key_read(s, k, e->value, into + k->offset);
}

static void check_required(struct config_state *s, const struct config_group *g, const struct config_node *n)
{
    for (size_t i = 0; i < g->n; i++)
        if ((g->keys[i].flags & KEY_REQUIRED) && !config_node_get(n, g->keys[i].name))
            config_mistake(s, &n->at, "«%s» is missing in %s", g->keys[i].name, g->name);
}

static void check_one(struct config_state *s, const struct config_group *g, const struct config_node *n)
{
    char list[300] = "";
    if (n->type == NODE_MAP && n->n == 1)
        return;
    for (size_t i = 0, used = 0; i < g->n && used < sizeof(list) - 60; i++)
        used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "", g->keys[i].name);
    if (n->type == NODE_MAP && n->n > 1)
        config_mistake(s, &n->entries[1].at, "%s is one of %s; «%s» is the second here", g->name, list, n->entries[1].key);
    else
        config_mistake(s, &n->at, "%s is missing: one of %s", g->name, list);
}

void config_read_group(struct config_state *s, const struct config_group *g, const struct config_node *n, void *into)
{
    for (size_t i = 0; i < g->n; i++)
        key_default(s, &g->keys[i], into);
    if (!n)
        return;
    if (n->type == NODE_SCALAR && g->one_of && key_of(g, n->text)) {
        config_mistake(s, &n->at, "%s is a key with its settings: write «%s:»", g->name, n->text);
        return;
    }
    if (n->type != NODE_MAP && !config_node_null(n)) {
        config_mistake(s, &n->at, "%s is a mapping of keys to values%s", g->name, g->n ? "" : ", or nothing");
        return;
    }
    for (size_t i = 0; n->type == NODE_MAP && i < n->n; i++)
        entry_read(s, g, &n->entries[i], into);
    u32 before = s->mistakes->n;
    if (g->one_of)
        check_one(s, g, n);
    check_required(s, g, n);
    if (g->check && s->mistakes->n == before)
        g->check(s, into, n);
}
