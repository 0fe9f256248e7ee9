/* Rules from YAML. The document is loaded whole (libyaml's node table), so each mistake can be told with its place and all
 * of them at once. Keys are tables: a name and what reads it. Nothing here recurses, so aliases can't loop. */
#include "config/rules_yaml.h"
#include "trace/span.h"

#include <ctype.h>
#include <stdarg.h>
#include <yaml.h>

struct reader {
    const char *file;
    yaml_document_t *doc;
    struct rules *rules;
    char *err;
    size_t err_size, used;
    u32 mistakes;
};

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
static void mistake(struct reader *r, const yaml_node_t *n, size_t column, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void mistake(struct reader *r, const yaml_node_t *n, size_t column, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    bool quoted = n->type == YAML_SCALAR_NODE && (n->data.scalar.style == YAML_SINGLE_QUOTED_SCALAR_STYLE ||
                                                  n->data.scalar.style == YAML_DOUBLE_QUOTED_SCALAR_STYLE);
    mistake_at(r, n->start_mark.line, n->start_mark.column + column + quoted, fmt, ap);
    va_end(ap);
}
static void mistake_plain(struct reader *r, size_t line, size_t column, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void mistake_plain(struct reader *r, size_t line, size_t column, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    mistake_at(r, line, column, fmt, ap);
    va_end(ap);
}

/* --- nodes --- */
static yaml_node_t *node(struct reader *r, int id) { return yaml_document_get_node(r->doc, id); }

/* The scalar's text, or NULL with a mistake reported. */
static const char *scalar(struct reader *r, const yaml_node_t *n, const char *what)
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

struct key {
    const char *name;
    void (*read)(struct reader *r, struct rule *rule, yaml_node_t *value, const char *key);
};

static const struct key *key_find(struct reader *r, const yaml_node_t *n, const struct key *keys, size_t count)
{
    const char *names[16], *text = scalar(r, n, "key");
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
static void mapping_read(struct reader *r, struct rule *rule, yaml_node_t *map, const struct key *keys, size_t count,
                         const char *what)
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

/* --- the keys of an activity --- */
static void read_name(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    const char *text = scalar(r, v, key);
    if (text)
        rule->name = intern(text);
}

static void read_word(struct reader *r, yaml_node_t *v, const char *key, const char *const *words, const char **ret)
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

static void read_type(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    read_word(r, v, key, rule_types, &rule->type);
}

static const char *const kinds[] = { "internal", "server", "client", "producer", "consumer", NULL };
static void read_kind(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    const char *word = NULL;
    read_word(r, v, key, kinds, &word);
    for (u8 i = 0; kinds[i]; i++)
        if (kinds[i] == word)
            rule->kind = (u8)(SPAN_INTERNAL + i);
}

static void read_at(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    char err[256];
    size_t column = 0;
    const char *text = scalar(r, v, key);
    if (text && place_parse(slice_str(text), rule, err, sizeof(err), &column))
        mistake(r, v, column, "%s", err);
}

static void read_until(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    char err[256];
    size_t column = 0;
    const char *text = scalar(r, v, key);
    if (text && rule->object[0] && until_parse(slice_str(text), rule, err, sizeof(err), &column))
        mistake(r, v, column, "%s", err);
}

static bool attribute_name_ok(const char *s)
{
    if (strlen(s) > 128)
        return false;
    for (const char *p = s; *p; p++)
        if (!isalnum((u8)*p) && !strchr("._-", *p))
            return false;
    return *s != 0;
}

static void read_attribute(struct reader *r, struct rule *rule, const yaml_node_t *k, const yaml_node_t *v)
{
    char err[256];
    size_t column = 0;
    const char *name = scalar(r, k, "attribute"), *text = name ? scalar(r, v, name) : NULL;
    struct rule_attr a;
    if (!text)
        return;
    if (!attribute_name_ok(name)) {
        mistake(r, k, 0, "«%.80s» is no attribute name: letters, digits, «.», «_» and «-»", name);
        return;
    }
    a.key = intern(name);
    for (u8 i = 0; i < rule->n_attrs; i++)
        if (rule->attrs[i].key == a.key) {
            mistake(r, k, 0, "attribute «%s» is given twice", name);
            return;
        }
    if (rule->n_attrs == RULE_ATTRS) {
        mistake(r, k, 0, "an activity has at most %d attributes by rule", RULE_ATTRS);
        return;
    }
    if (source_parse(slice_str(text), rule->at, &a.from, err, sizeof(err), &column)) {
        mistake(r, v, column, "%s", err);
        return;
    }
    rule->attrs[rule->n_attrs++] = a;
}

static void read_attributes(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    if (v->type != YAML_MAPPING_NODE) {
        mistake(r, v, 0, "«%s» is a mapping: NAME: VALUE", key);
        return;
    }
    for (yaml_node_pair_t *p = v->data.mapping.pairs.start; p < v->data.mapping.pairs.top; p++)
        read_attribute(r, rule, node(r, p->key), node(r, p->value));
}

static void read_condition(struct reader *r, const struct rule *rule, const yaml_node_t *v, const char *key,
                           struct rule_condition *list, u8 *n)
{
    char err[256];
    size_t column = 0;
    const char *text = scalar(r, v, key);
    if (!text)
        return;
    if (*n == RULE_CONDITIONS) {
        mistake(r, v, 0, "«%s» takes at most %d conditions", key, RULE_CONDITIONS);
        return;
    }
    if (condition_parse(slice_str(text), rule->at, &list[*n], err, sizeof(err), &column))
        mistake(r, v, column, "%s", err);
    else
        ++*n;
}

static void read_conditions(struct reader *r, const struct rule *rule, yaml_node_t *v, const char *key,
                            struct rule_condition *list, u8 *n)
{
    if (v->type != YAML_SEQUENCE_NODE) {
        read_condition(r, rule, v, key, list, n);
        return;
    }
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++)
        read_condition(r, rule, node(r, *i), key, list, n);
}

static void read_error(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    rule->error_given = true;
    read_conditions(r, rule, v, key, rule->errors, &rule->n_errors);
}

static void read_when(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    read_conditions(r, rule, v, key, rule->when, &rule->n_when);
    for (u8 i = 0; i < rule->n_when; i++) {
        enum source_root root = rule->when[i].left.root;
        if (rule->when[i].test <= TEST_ERRNO || root == SOURCE_RET || root == SOURCE_ERRNO || root == SOURCE_ATTR ||
            root == SOURCE_EXIT || root == SOURCE_SIGNAL || root == SOURCE_ENV) {
            mistake(r, v, 0, "«when» is asked at the start: only arguments are known then");
            return;
        }
    }
}

/* --- metrics: checked now, in force with wftrace's metrics --- */
static const char *const metric_keys[] = { "counter", "histogram", "of", "unit", "attributes", "description" };
static void read_metric(struct reader *r, struct rule *rule, yaml_node_t *m)
{
    bool named = false;
    if (m->type != YAML_MAPPING_NODE) {
        mistake(r, m, 0, "a metric is a mapping: { counter: NAME } or { histogram: NAME, of: duration }");
        return;
    }
    for (yaml_node_pair_t *p = m->data.mapping.pairs.start; p < m->data.mapping.pairs.top; p++) {
        yaml_node_t *k = node(r, p->key);
        const char *text = scalar(r, k, "key");
        size_t i = 0;
        while (text && i < ARRAY_LEN(metric_keys) && strcmp(metric_keys[i], text))
            i++;
        if (text && i == ARRAY_LEN(metric_keys)) {
            const char *near = nearest_word(text, metric_keys, ARRAY_LEN(metric_keys));
            mistake(r, k, 0, near ? "unknown key «%s» (did you mean «%s»?)" : "unknown key «%s»%s", text, near ? near : "");
        }
        named |= text && i < 2;
    }
    if (!named)
        mistake(r, m, 0, "a metric needs «counter» or «histogram» with its name");
    rule->n_metrics = (u8)min_u64(rule->n_metrics + 1u, 255);
}

static void read_metrics(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    if (v->type != YAML_SEQUENCE_NODE) {
        mistake(r, v, 0, "«%s» is a list", key);
        return;
    }
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++)
        read_metric(r, rule, node(r, *i));
}

static const struct key activity_keys[] = {
    { "name", read_name },   { "type", read_type },   { "kind", read_kind },
    { "at", read_at },       { "until", read_until }, { "attributes", read_attributes },
    { "error", read_error }, { "when", read_when },   { "metrics", read_metrics },
};

/* --- checks over a whole activity --- */
static bool has_attr(const struct rule *rule, struct slice key)
{
    for (u8 i = 0; i < rule->n_attrs; i++)
        if (slice_eq(key, rule->attrs[i].key))
            return true;
    return false;
}

static void unknown_attr(struct reader *r, const struct rule *rule, const yaml_node_t *at, size_t column, struct slice key)
{
    const char *names[RULE_ATTRS];
    char text[130];
    for (u8 i = 0; i < rule->n_attrs; i++)
        names[i] = rule->attrs[i].key;
    snprintf(text, sizeof(text), "%.*s", (int)min_u64(key.n, 128), (const char *)key.p);
    const char *near = nearest_word(text, names, rule->n_attrs);
    if (near)
        mistake(r, at, column, "there is no attribute «%s» (did you mean «%s»?)", text, near);
    else
        mistake(r, at, column, "there is no attribute «%s»: name it under «attributes»", text);
}

static void check_name(struct reader *r, const struct rule *rule, const yaml_node_t *at)
{
    struct slice all = slice_str(rule->name), t = all;
    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] != '{')
            continue;
        if (i + 1 < t.n && t.p[i + 1] == '{') {
            i++;
            continue;
        }
        ptrdiff_t end = slice_find(slice_from(t, i), '}');
        if (end < 0) {
            mistake(r, at, i, "«}» is missing («{{» is a brace)");
            return;
        }
        struct slice key = slice_of(t.p + i + 1, (size_t)end - 1);
        if (!has_attr(rule, key))
            unknown_attr(r, rule, at, i + 1, key);
        i += (size_t)end;
    }
}

static yaml_node_t *value_of(struct reader *r, yaml_node_t *map, const char *key)
{
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        yaml_node_t *k = node(r, p->key);
        if (k->type == YAML_SCALAR_NODE && !strcmp((const char *)k->data.scalar.value, key))
            return node(r, p->value);
    }
    return map;
}

static void check_rule(struct reader *r, const struct rule *rule, yaml_node_t *map)
{
    struct rule_plan plan;
    char err[256];
    if (!rule->name)
        mistake(r, map, 0, "«name» is missing");
    else
        check_name(r, rule, value_of(r, map, "name"));
    if (value_of(r, map, "at") == map)
        mistake(r, map, 0, "«at» is missing: where the activity happens");
    for (u8 i = 0; i < rule->n_errors; i++)
        if (rule->errors[i].left.root == SOURCE_ATTR && !has_attr(rule, slice_str(rule->errors[i].left.text)))
            unknown_attr(r, rule, value_of(r, map, "error"), 0, slice_str(rule->errors[i].left.text));
    if (rule_plan_make(rule, &plan, err, sizeof(err)))
        mistake(r, value_of(r, map, "attributes"), 0, "%s", err);
}

static void read_activity(struct reader *r, yaml_node_t *map)
{
    if (r->rules->n == RULES_MAX) {
        if (r->mistakes < 1)
            mistake(r, map, 0, "more than %d activities", RULES_MAX);
        return;
    }
    struct rule *rule = &r->rules->v[r->rules->n];
    memset(rule, 0, sizeof(*rule));
    rule->type = "custom";
    rule->file = intern(r->file);
    rule->line = (int)map->start_mark.line + 1;
    u32 before = r->mistakes;
    mapping_read(r, rule, map, activity_keys, ARRAY_LEN(activity_keys), "an activity");
    if (r->mistakes == before)
        check_rule(r, rule, map);
    r->rules->n++;
}

static void read_activities(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key)
{
    UNUSED(unused);
    if (v->type != YAML_SEQUENCE_NODE) {
        mistake(r, v, 0, "«%s» is a list: each item starts with «- »", key);
        return;
    }
    size_t n = (size_t)(v->data.sequence.items.top - v->data.sequence.items.start);
    free(r->rules->v);
    r->rules->n = 0;
    r->rules->v = calloc(min_u64(n, RULES_MAX) + 1, sizeof(*r->rules->v));
    if (!r->rules->v) {
        mistake(r, v, 0, "out of memory");
        return;
    }
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++)
        read_activity(r, node(r, *i));
}

static const struct key top_keys[] = { { "activities", read_activities } };

static void read_document(struct reader *r, yaml_parser_t *parser)
{
    yaml_document_t doc;
    if (!yaml_parser_load(parser, &doc)) {
        mistake_plain(r, parser->problem_mark.line, parser->problem_mark.column, "no valid YAML: %s%s%s",
                      parser->problem ? parser->problem : "unreadable", parser->context ? ", " : "",
                      parser->context ? parser->context : "");
        return;
    }
    r->doc = &doc;
    yaml_node_t *root = yaml_document_get_root_node(&doc);
    if (!root)
        mistake_plain(r, 0, 0, "the file is empty: «activities:» is missing");
    else
        mapping_read(r, NULL, root, top_keys, ARRAY_LEN(top_keys), "a rule file");
    if (root && !r->mistakes && !r->rules->n)
        mistake(r, root, 0, "there is no activity in «activities»");
    yaml_document_delete(&doc);
}

int rules_yaml(struct rules *ret, const char *file, struct slice text, char *err, size_t err_size)
{
    struct reader r = { .file = file, .rules = ret, .err = err, .err_size = err_size };
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    yaml_parser_set_input_string(&parser, text.n ? text.p : (const u8 *)"", text.n);
    read_document(&r, &parser);
    yaml_parser_delete(&parser);
    return r.mistakes ? -EINVAL : 0;
}
