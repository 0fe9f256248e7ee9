/* Mistakes with their place, nodes, and mappings walked by a table of keys: see rules_reader.h. */
#include "config/rules_reader.h"
#include "trace/span.h"

#include <stdarg.h>

/* --- mistakes --- */
static void mistake_at(struct reader *r, size_t line, size_t column, const char *fmt, va_list ap)
{
    char text[512];
    vsnprintf(text, sizeof(text), fmt, ap);
    r->mistakes++;
    if (r->used >= r->err_size)
        return;
    int n = snprintf(r->err + r->used, r->err_size - r->used, "%s%s:%zu:%zu: %s", r->used ? "\n" : "", r->file, line + 1,
                     column + 1, text);
    r->used += n > 0 ? (size_t)n : 0;
}
void mistake(struct reader *r, const yaml_node_t *n, size_t column, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    bool quoted = n->type == YAML_SCALAR_NODE && (n->data.scalar.style == YAML_SINGLE_QUOTED_SCALAR_STYLE ||
                                                  n->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE);
    mistake_at(r, n->start_mark.line, n->start_mark.column + column + quoted, fmt, ap);
    va_end(ap);
}
void mistake_plain(struct reader *r, size_t line, size_t column, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    mistake_at(r, line, column, fmt, ap);
    va_end(ap);
}

/* --- nodes --- */
yaml_node_t *node(struct reader *r, int id) { return yaml_document_get_node(r->doc, id); }

/* The scalar's text, or NULL with a mistake reported. */
const char *scalar(struct reader *r, const yaml_node_t *n, const char *what)
{
    if (n->type != YAML_SCALAR_NODE) {
        mistake(r, n, 0, "«%s» takes a text here", what);
        return NULL;
    }
    const char *text = (const char *)n->data.scalar.value;
    if (strlen(text) != n->data.scalar.length || n->data.scalar.length > 1000) {
        mistake(r, n, 0, "«%s» is too long or holds a NUL", what);
        return NULL;
    }
    if (!*text) {
        mistake(r, n, 0, "«%s» is empty", what);
        return NULL;
    }
    return text;
}

static const struct key *key_find(struct reader *r, const yaml_node_t *n, const struct key *keys, size_t count)
{
    const char *names[READER_KEYS], *text = scalar(r, n, "key");
    if (!text)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        if (!strcmp(keys[i].name, text))
            return &keys[i];
        names[i] = keys[i].name;
    }
    const char *near = nearest_word(text, names, count);
    if (near)
        mistake(r, n, 0, "unknown key «%s» (did you mean «%s»?)", text, near);
    else
        mistake(r, n, 0, "unknown key «%s»", text);
    return NULL;
}

/* Walks a mapping by its table of keys; `at`, if it is there, first, for the other values depend on the place. */
void mapping_read(struct reader *r, struct rule *rule, yaml_node_t *map, const struct key *keys, size_t count, const char *what)
{
    if (map->type != YAML_MAPPING_NODE) {
        mistake(r, map, 0, "%s is a mapping of keys to values", what);
        return;
    }
    u32 seen = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
            yaml_node_t *k = node(r, p->key), *v = node(r, p->value);
            bool first = k->type == YAML_SCALAR_NODE && !strcmp((const char *)k->data.scalar.value, "at");
            if (first == (pass == 1))
                continue;
            const struct key *key = key_find(r, k, keys, count);
            if (!key)
                continue;
            if (seen & 1u << (key - keys))
                mistake(r, k, 0, "«%s» is given twice", key->name);
            seen |= 1u << (key - keys);
            key->read(r, rule, v, key->name);
        }
    }
}

void read_word(struct reader *r, yaml_node_t *v, const char *key, const char *const *words, const char **ret)
{
    const char *text = scalar(r, v, key);
    size_t n = 0;
    if (!text)
        return;
    for (; words[n]; n++)
        if (!strcmp(words[n], text)) {
            *ret = words[n];
            return;
        }
    const char *near = nearest_word(text, words, n);
    if (near)
        mistake(r, v, 0, "%s «%s» is not known (did you mean «%s»?)", key, text, near);
    else
        mistake(r, v, 0, "%s «%s» is not known: %s, %s, %s …", key, text, words[0], words[1], words[2]);
}

bool read_bool(struct reader *r, yaml_node_t *v, const char *key, bool *ret)
{
    static const char *const words[] = { "true", "false", "yes", "no", "on", "off", NULL };
    const char *word = NULL;
    read_word(r, v, key, words, &word);
    for (size_t i = 0; word && words[i]; i++)
        if (words[i] == word)
            *ret = i % 2 == 0;
    return word != NULL;
}

u8 read_words(struct reader *r, yaml_node_t *v, const char *key, const char **ret, u8 max)
{
    u8 n = 0;
    if (v->type == YAML_SCALAR_NODE) {
        const char *text = scalar(r, v, key);
        if (text)
            ret[n++] = intern(text);
        return n;
    }
    if (v->type != YAML_SEQUENCE_NODE) {
        mistake(r, v, 0, "«%s» takes a text or a list of texts", key);
        return 0;
    }
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++) {
        const char *text = scalar(r, node(r, *i), key);
        if (n == max) {
            mistake(r, node(r, *i), 0, "«%s» takes at most %u", key, max);
            break;
        }
        if (text)
            ret[n++] = intern(text);
    }
    return n;
}
