/* YAML files → a tree of nodes that know where they were written.
 *
 * Environment variables are put in here, value by value («Environment variable substitution» of the specification): only
 * scalars, never keys; a variable's text is never read again, so it can make neither structure nor a further reference;
 * types are looked at afterwards. Overlays are laid over each other here, too. Aliases are copied; depth and number of nodes
 * are bounded, so they can neither loop nor explode. */
#include "config/config_internal.h"

#include <ctype.h>
#include <yaml.h>

#define FILE_MAX  (1 << 20)
#define NODES_MAX 50000
#define DEPTH_MAX 64

/* --- nodes --- */
struct config_node *config_node_new(struct config_state *s, enum config_node_type type, struct config_place at)
{
    struct config_node *n = config_alloc(s, sizeof(*n));
    if (n)
        *n = (struct config_node){ .type = type, .at = at, .text = "" };
    return n;
}

struct config_node *config_node_scalar(struct config_state *s, const char *text, bool plain, struct config_place at)
{
    struct config_node *n = config_node_new(s, NODE_SCALAR, at);
    char *copy = config_strdup(s, text, strlen(text));
    if (!n || !copy)
        return NULL;
    n->text = copy;
    n->plain = plain;
    return n;
}

bool config_node_null(const struct config_node *n)
{
    static const char *const nulls[] = { "", "~", "null", "Null", "NULL" };
    for (size_t i = 0; n->type == NODE_SCALAR && n->plain && i < ARRAY_LEN(nulls); i++)
        if (!strcmp(n->text, nulls[i]))
            return true;
    return false;
}

static int grow(struct config_state *s, void **v, size_t n, size_t *room, size_t size)
{
    if (n < *room)
        return 0;
    size_t more = *room ? *room * 2 : 8;
    void *p = config_alloc(s, more * size);
    if (!p)
        return -ENOMEM;
    if (n)
        memcpy(p, *v, n * size);
    *v = p;
    *room = more;
    return 0;
}

int config_node_add(struct config_state *s, struct config_node *map, const char *key, struct config_place at,
                    struct config_node *value)
{
    if (!value || grow(s, (void **)&map->entries, map->n, &map->room, sizeof(*map->entries)))
        return -ENOMEM;
    map->entries[map->n++] = (struct config_entry){ key, at, value };
    return 0;
}

int config_node_append(struct config_state *s, struct config_node *list, struct config_node *item)
{
    if (!item || grow(s, (void **)&list->items, list->n, &list->room, sizeof(*list->items)))
        return -ENOMEM;
    list->items[list->n++] = item;
    return 0;
}

struct config_node *config_node_get(const struct config_node *map, const char *key)
{
    for (size_t i = 0; map && map->type == NODE_MAP && i < map->n; i++)
        if (!strcmp(map->entries[i].key, key))
            return map->entries[i].value;
    return NULL;
}

static int node_put(struct config_state *s, struct config_node *map, const char *key, struct config_node *value)
{
    if (!value)
        return -ENOMEM;
    for (size_t i = 0; i < map->n; i++)
        if (!strcmp(map->entries[i].key, key)) {
            map->entries[i].value = value;
            map->entries[i].at = value->at;
            return 0;
        }
    return config_node_add(s, map, key, value->at, value);
}

int config_node_set(struct config_state *s, struct config_node *root, const char *path, const char *text, struct config_place at)
{
    struct config_node *map = root;
    for (;;) {
        size_t n = strcspn(path, ".");
        char *key = config_strdup(s, path, n);
        if (!key)
            return -ENOMEM;
        if (!path[n])
            return node_put(s, map, key, config_node_scalar(s, text, true, at));
        struct config_node *next = config_node_get(map, key);
        if (!next || next->type != NODE_MAP) {
            next = config_node_new(s, NODE_MAP, at);
            int err = node_put(s, map, key, next);
            if (err)
                return err;
        }
        map = next;
        path += n + 1;
    }
}

/* --- substitution --- */
struct output {
    char *p; /* malloc'd: grown as needed, then copied */
    size_t n, room;
    bool failed;
};

static void out_bytes(struct output *o, const char *p, size_t n)
{
    if (o->n + n + 1 > o->room) {
        size_t room = (o->n + n + 1) * 2;
        char *more = realloc(o->p, room);
        if (!more) {
            o->failed = true;
            return;
        }
        o->p = more;
        o->room = room;
    }
    memcpy(o->p + o->n, p, n);
    o->n += n;
}

static bool name_start(char c) { return isalpha((u8)c) || c == '_'; }

static bool speaks_of_secret(const char *name)
{
    static const char *const words[] = { "SECRET", "TOKEN", "PASSWORD", "PASSWD", "CREDENTIAL", "API_KEY", "APIKEY", "HEADERS" };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (strcasestr(name, words[i]))
            return true;
    return false;
}

/* The reference between `${` and `}`; false with a mistake when it is none. */
static bool reference(struct config_state *s, struct config_node *n, struct config_place at, struct slice body, struct output *o)
{
    char name[256];
    if (slice_starts(body, "env:") && !slice_starts(body, "env:-"))
        body = slice_from(body, 4);
    size_t len = 0;
    while (len < body.n && (name_start((char)body.p[len]) || (len && isdigit(body.p[len]))))
        len++;
    struct slice rest = slice_from(body, len);
    if (!len || len >= sizeof(name) || (rest.n && !slice_starts(rest, ":-"))) {
        int shown = (int)min_u64(body.n, 60);
        if (len && slice_starts(rest, ":"))
            config_mistake(s, &at, "${%.*s} is no reference: write ${NAME}, ${env:NAME} or ${NAME:-default}", shown, body.p);
        else
            config_mistake(s, &at, "${%.*s} does not name an environment variable (letters, digits and _; $$ is a plain $)",
                           shown, body.p);
        return false;
    }
    snprintf(name, sizeof(name), "%.*s", (int)len, (const char *)body.p);
    const char *value = config_getenv(s, name);
    n->masked |= speaks_of_secret(name);
    if (value)
        out_bytes(o, value, strlen(value));
    else if (rest.n)
        out_bytes(o, (const char *)rest.p + 2, rest.n - 2);
    return true;
}

/* Left to right; an escape ($$) ends what a reference may reach over. */
static bool substitute(struct config_state *s, struct config_node *n, struct slice in, struct output *o)
{
    for (size_t i = 0; i < in.n;) {
        struct slice left = slice_from(in, i);
        if (slice_starts(left, "$$")) {
            out_bytes(o, "$", 1);
            i += 2;
            continue;
        }
        ptrdiff_t end = slice_starts(left, "${") ? slice_find(left, '}') : -1;
        const void *escape = end > 2 ? memmem(left.p, (size_t)end, "$$", 2) : NULL;
        if (end <= 2 || escape) {
            out_bytes(o, (const char *)left.p, 1);
            i++;
            continue;
        }
        struct config_place at = n->at;
        at.column += (u32)i + !n->plain;
        if (!reference(s, n, at, slice_of(left.p + 2, (size_t)end - 2), o))
            return false;
        i += (size_t)end + 1;
    }
    return !o->failed;
}

static struct config_node *scalar_convert(struct config_state *s, const yaml_node_t *y, struct config_node *n)
{
    struct slice raw = slice_of(y->data.scalar.value, y->data.scalar.length);
    struct output o = { 0 };
    n->plain = y->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    n->text = config_strdup(s, (const char *)raw.p, raw.n);
    if (memchr(raw.p, 0, raw.n)) {
        config_mistake(s, &n->at, "a NUL byte in a value");
        return n;
    }
    if (n->text && memchr(raw.p, '$', raw.n) && substitute(s, n, raw, &o)) {
        n->written = n->text;
        n->text = config_strdup(s, o.p ? o.p : "", o.n);
    }
    free(o.p);
    return n->text ? n : NULL;
}

/* --- YAML → nodes --- */
struct file {
    struct config_state *s;
    yaml_document_t *doc;
    const char *name, *text;
    size_t len;
};

static struct config_place place_of(const struct file *f, const yaml_mark_t *m)
{
    return (struct config_place){ ORIGIN_FILE, f->name, (u32)m->line + 1, (u32)m->column + 1 };
}

/* Offset of a mark in the file's bytes: libyaml counts characters. */
static size_t offset_of(const struct file *f, const yaml_mark_t *m)
{
    size_t i = 0;
    for (size_t line = 0; line < m->line && i < f->len; line++) {
        const char *nl = memchr(f->text + i, '\n', f->len - i);
        i = nl ? (size_t)(nl - f->text) + 1 : f->len;
    }
    for (size_t column = 0; column < m->column && i < f->len; column++)
        do
            i++;
        while (i < f->len && ((u8)f->text[i] & 0xc0) == 0x80);
    return i;
}

static struct config_node *convert(struct file *f, int id, u32 depth);

static int map_convert(struct file *f, const yaml_node_t *y, struct config_node *n, u32 depth)
{
    for (yaml_node_pair_t *p = y->data.mapping.pairs.start; p < y->data.mapping.pairs.top; p++) {
        const yaml_node_t *k = yaml_document_get_node(f->doc, p->key);
        struct config_place at = place_of(f, &k->start_mark);
        if (k->type != YAML_SCALAR_NODE || !k->data.scalar.length || strlen((char *)k->data.scalar.value) > 200) {
            config_mistake(f->s, &at, "a key is a word");
            continue;
        }
        const char *key = config_strdup(f->s, (const char *)k->data.scalar.value, k->data.scalar.length);
        if (key && config_node_get(n, key)) {
            config_mistake(f->s, &at, "«%s» is given twice", key);
            continue;
        }
        if (!key || config_node_add(f->s, n, key, at, convert(f, p->value, depth + 1)))
            return -ENOMEM;
    }
    return 0;
}

static struct config_node *convert(struct file *f, int id, u32 depth)
{
    const yaml_node_t *y = yaml_document_get_node(f->doc, id);
    struct config_place at = place_of(f, &y->start_mark);
    enum config_node_type type = y->type == YAML_MAPPING_NODE    ? NODE_MAP
                                 : y->type == YAML_SEQUENCE_NODE ? NODE_SEQUENCE
                                                                 : NODE_SCALAR;
    struct config_node *n = config_node_new(f->s, type, at);
    if (!n)
        return NULL;
    if (depth > DEPTH_MAX || f->s->nodes >= NODES_MAX) {
        if (f->s->nodes != UINT32_MAX)
            config_mistake(f->s, &at,
                           depth > DEPTH_MAX ? "nested too deeply" : "too many values (aliases are counted as copies)");
        f->s->nodes = UINT32_MAX; /* said once */
        return n;
    }
    f->s->nodes++;
    if (type == NODE_SCALAR)
        return scalar_convert(f->s, y, n);
    n->file_text = f->text;
    n->file_len = f->len;
    n->from = offset_of(f, &y->start_mark);
    n->to = offset_of(f, &y->end_mark);
    if (type == NODE_MAP)
        return map_convert(f, y, n, depth) ? NULL : n;
    for (yaml_node_item_t *i = y->data.sequence.items.start; i < y->data.sequence.items.top; i++)
        if (config_node_append(f->s, n, convert(f, *i, depth + 1)))
            return NULL;
    return n;
}

static void yaml_problem(struct file *f, const yaml_parser_t *p)
{
    struct config_place at = place_of(f, &p->problem_mark);
    config_mistake(f->s, &at, "no valid YAML: %s%s%s", p->problem ? p->problem : "unreadable", p->context ? ", " : "",
                   p->context ? p->context : "");
}

static void second_document(struct file *f, yaml_parser_t *parser)
{
    yaml_document_t more;
    if (!yaml_parser_load(parser, &more)) {
        yaml_problem(f, parser);
        return;
    }
    yaml_node_t *root = yaml_document_get_root_node(&more);
    struct config_place at = root ? place_of(f, &root->start_mark) : (struct config_place){ 0 };
    if (root)
        config_mistake(f->s, &at, "a second document: a configuration file holds one");
    yaml_document_delete(&more);
}

struct config_node *config_text_read(struct config_state *s, const char *name, struct slice text)
{
    struct file f = { .s = s, .name = config_strdup(s, name, strlen(name)), .len = text.n };
    struct config_node *n = NULL;
    yaml_parser_t parser;
    yaml_document_t doc;
    f.text = config_strdup(s, (const char *)text.p, text.n);
    struct config_place whole = { ORIGIN_FILE, name, 0, 0 };
    if (!f.name || !f.text || !yaml_parser_initialize(&parser)) {
        config_mistake(s, &whole, "out of memory");
        return NULL;
    }
    yaml_parser_set_input_string(&parser, (const u8 *)f.text, f.len);
    if (!yaml_parser_load(&parser, &doc)) {
        yaml_problem(&f, &parser);
    } else {
        f.doc = &doc;
        if (!yaml_document_get_root_node(&doc))
            config_mistake(s, &whole, "the file is empty: it starts with file_format: \"1.1\"");
        else if (!(n = convert(&f, 1, 0)))
            config_mistake(s, &whole, "out of memory");
        yaml_document_delete(&doc);
        if (n)
            second_document(&f, &parser);
    }
    yaml_parser_delete(&parser);
    return n;
}

struct config_node *config_file_read(struct config_state *s, const char *path)
{
    cleanup(freep) char *text = NULL;
    size_t len = 0;
    struct config_place whole = { ORIGIN_FILE, path, 0, 0 };
    int err = read_small_file(path, FILE_MAX, &text, &len);
    if (err) {
        config_mistake(s, &whole, "%s: %s", errno_name(err), strerror(-err));
        return NULL;
    }
    if (len == FILE_MAX) {
        config_mistake(s, &whole, "larger than 1 MiB");
        return NULL;
    }
    return config_text_read(s, path, slice_of(text, len));
}

/* --- overlays --- */
static const struct config_group *group_of(const struct config_group *g, const char *key)
{
    for (size_t i = 0; g && i < g->n; i++)
        if (!strcmp(g->keys[i].name, key))
            return g->keys[i].type == CONFIG_GROUP ? g->keys[i].group : NULL;
    return NULL;
}

static struct config_node *merge(struct config_state *s, const struct config_group *g, struct config_node *base,
                                 struct config_node *over)
{
    if (!base || !over || base->type != NODE_MAP || over->type != NODE_MAP)
        return over ? over : base;
    if (g && g->one_of && base->n && over->n && strcmp(base->entries[0].key, over->entries[0].key))
        return over; /* another sampler, exporter … takes the place of the first */
    struct config_node *n = config_node_new(s, NODE_MAP, over->at);
    if (!n)
        return NULL;
    for (size_t i = 0; i < base->n; i++) {
        const struct config_entry *e = &base->entries[i];
        struct config_node *o = config_node_get(over, e->key);
        struct config_node *v = merge(s, group_of(g, e->key), e->value, o);
        if (config_node_add(s, n, e->key, o ? o->at : e->at, v))
            return NULL;
    }
    for (size_t i = 0; i < over->n; i++)
        if (!config_node_get(base, over->entries[i].key) &&
            config_node_add(s, n, over->entries[i].key, over->entries[i].at, over->entries[i].value))
            return NULL;
    return n;
}

struct config_node *config_node_merge(struct config_state *s, struct config_node *base, struct config_node *over)
{
    return merge(s, &config_root_group, base, over);
}
