/* Rules from YAML. The document is loaded whole (libyaml's node table), so each mistake can be told with its place and all
 * of them at once. Keys are tables: a name and what reads it. Nothing here recurses, so aliases can't loop. */
#include "config/rules_reader.h"
#include "config/rules_yaml.h"
#include "trace/span.h"

#include <ctype.h>

/* --- the keys of an activity --- */
static void read_name(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    const char *text = scalar(r, v, key);
    if (text)
        rule->name = intern(text);
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
    struct rule_attr a, *at = NULL;
    if (!text)
        return;
    if (!attribute_name_ok(name)) {
        mistake(r, k, 0, "«%.80s» is no attribute name: letters, digits, «.», «_» and «-»", name);
        return;
    }
    a.key = intern(name);
    for (u8 i = 0; i < rule->n_attrs; i++)
        if (rule->attrs[i].key == a.key) {
            at = &rule->attrs[i];
            if (!r->override)
                mistake(r, k, 0, "attribute «%s» is given twice", name);
        }
    if (!at && rule->n_attrs == RULE_ATTRS) {
        mistake(r, k, 0, "an activity has at most %d attributes by rule", RULE_ATTRS);
        return;
    }
    if (source_parse(slice_str(text), rule->at, &a.from, err, sizeof(err), &column)) {
        mistake(r, v, column, "%s", err);
        return;
    }
    *(at ? at : &rule->attrs[rule->n_attrs++]) = a;
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
    rule->n_errors = 0;
    read_conditions(r, rule, v, key, rule->errors, &rule->n_errors);
}

static void read_when(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    rule->n_when = 0;
    read_conditions(r, rule, v, key, rule->when, &rule->n_when);
    for (u8 i = 0; i < rule->n_when; i++) {
        enum source_root root = rule->when[i].left.root;
        if (rule->when[i].test <= TEST_ERRNO || root == SOURCE_RET || root == SOURCE_ERRNO || root == SOURCE_ATTR ||
            root == SOURCE_EXIT || root == SOURCE_SIGNAL ||
            (root == SOURCE_PYTHON && rule->when[i].left.moment != READ_AT_ENTRY)) {
            mistake(r, v, 0, "«when» is asked at the start: only arguments are known then");
            return;
        }
    }
}

/* --- ids that the engine gives --- */
static bool python_only(struct reader *r, const struct rule *rule, const yaml_node_t *v, const char *key)
{
    if (rule->at != AT_PYTHON)
        mistake(r, v, 0, "«%s» belongs to python: places", key);
    return rule->at == AT_PYTHON;
}

static void read_id(struct reader *r, const struct rule *rule, const char *space, const yaml_node_t *v, const char *key,
                    struct rule_id *list, u8 *n)
{
    char err[256];
    size_t column = 0;
    const char *text = scalar(r, v, key);
    if (text && *n == RULE_IDS)
        mistake(r, v, 0, "«%s» takes at most %d", key, RULE_IDS);
    else if (text && source_parse(slice_str(text), rule->at, &list[*n].from, err, sizeof(err), &column))
        mistake(r, v, column, "%s", err);
    else if (text) {
        list[*n].space = intern(space);
        list[(*n)++].reach = !strcmp(space, "to_child")      ? ID_TO_CHILD
                             : !strcmp(space, "from_parent") ? ID_FROM_PARENT
                                                             : ID_ANYWHERE;
    }
}

static void reach_check(struct reader *r, const yaml_node_t *v, const char *key, const struct rule_id *list, u8 n,
                        enum id_reach may)
{
    for (u8 i = 0; i < n; i++)
        if (list[i].reach != ID_ANYWHERE && list[i].reach != may)
            mistake(r, v, 0, "«%s» can't be «%s»: «to_child» stands in «id», «from_parent» in «parent_id»", key, list[i].space);
}

/* EXPRESSION, { SPACE: EXPRESSION }, or a list of these. */
static void read_id_item(struct reader *r, const struct rule *rule, yaml_node_t *v, const char *key, struct rule_id *list, u8 *n)
{
    if (v->type != YAML_MAPPING_NODE) {
        read_id(r, rule, "", v, key, list, n);
        return;
    }
    for (yaml_node_pair_t *p = v->data.mapping.pairs.start; p < v->data.mapping.pairs.top; p++) {
        const char *space = scalar(r, node(r, p->key), key);
        if (space)
            read_id(r, rule, space, node(r, p->value), key, list, n);
    }
}

static void read_id_list(struct reader *r, const struct rule *rule, yaml_node_t *v, const char *key, struct rule_id *list, u8 *n)
{
    *n = 0;
    if (!python_only(r, rule, v, key))
        return;
    if (v->type != YAML_SEQUENCE_NODE) {
        read_id_item(r, rule, v, key, list, n);
        return;
    }
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++)
        read_id_item(r, rule, node(r, *i), key, list, n);
}

static void read_ids(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    read_id_list(r, rule, v, key, rule->ids, &rule->n_ids);
    reach_check(r, v, key, rule->ids, rule->n_ids, ID_TO_CHILD);
}
static void read_parents(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    read_id_list(r, rule, v, key, rule->parents, &rule->n_parents);
    reach_check(r, v, key, rule->parents, rule->n_parents, ID_FROM_PARENT);
    for (u8 i = 0; i < rule->n_parents; i++)
        if (rule->parents[i].from.moment != READ_AT_ENTRY)
            mistake(r, v, 0, "«parent_id» is asked at the start: only arguments are known then");
}
static void read_links(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    read_id_list(r, rule, v, key, rule->links, &rule->n_links);
    reach_check(r, v, key, rule->links, rule->n_links, ID_ANYWHERE);
}

/* Read when the other function ends, so that it may be something that the function made. */
static void read_until_id(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    struct rule_id list[RULE_IDS] = { 0 };
    u8 n = 0;
    read_id_list(r, rule, v, key, list, &n);
    if (n != 1) {
        mistake(r, v, 0, "«until_id» is one value");
        return;
    }
    reach_check(r, v, key, list, n, ID_ANYWHERE);
    rule->until_id = list[0];
    if (rule->until_id.from.moment == READ_AT_ENTRY)
        rule->until_id.from.moment = READ_AFTER;
}

/* Asked when the call that may end it ends. */
static void read_until_when(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    rule->n_until_when = 0;
    if (python_only(r, rule, v, key))
        read_conditions(r, rule, v, key, rule->until_when, &rule->n_until_when);
    for (u8 i = 0; i < rule->n_until_when; i++) {
        if (rule->until_when[i].left.root != SOURCE_PYTHON)
            mistake(r, v, 0, "«%s» asks values of the call that ends the activity", key);
        else if (rule->until_when[i].left.moment == READ_AT_ENTRY)
            rule->until_when[i].left.moment = READ_AFTER;
    }
}

/* Which calls the activity outlives. */
static void read_lasts(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    static const char *const words[] = { "returned", "failed", NULL };
    const char *word = NULL;
    if (python_only(r, rule, v, key))
        read_word(r, v, key, words, &word);
    rule->lasts_failed = word == words[1];
}

/* A value of the call's arguments, at its start. */
static void read_given(struct reader *r, const struct rule *rule, yaml_node_t *v, const char *key, struct source *ret)
{
    struct rule_id one = { 0 };
    u8 n = 0;
    if (python_only(r, rule, v, key))
        read_id(r, rule, "", v, key, &one, &n);
    if (n && (one.from.root != SOURCE_PYTHON || one.from.moment != READ_AT_ENTRY))
        mistake(r, v, 0, "«%s» is something that the call is given", key);
    *ret = one.from;
}
static void read_queued(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    read_given(r, rule, v, key, &rule->queued_at);
}
static void read_started(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    read_given(r, rule, v, key, &rule->started_at);
}
static void read_ended(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    const char *text = v->type == YAML_SCALAR_NODE ? (const char *)v->data.scalar.value : "";
    rule->ended_now = !strcmp(text, "now");
    rule->ended_at = (struct source){ 0 };
    if (!rule->ended_now)
        read_given(r, rule, v, key, &rule->ended_at);
    else
        python_only(r, rule, v, key);
}
static void read_traceparent(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    read_given(r, rule, v, key, &rule->traceparent);
}

/* Of the exception its type and its text are asked for. */
static void read_caught(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    static const char *const forms[] = { "type(", "str(" };
    char text[300], err[256];
    size_t column = 0;
    const char *path = python_only(r, rule, v, key) ? scalar(r, v, key) : NULL;
    for (size_t i = 0; path && i < ARRAY_LEN(forms); i++) {
        snprintf(text, sizeof(text), "%s%.280s)", forms[i], path);
        if (source_parse(slice_str(text), rule->at, &rule->caught[i], err, sizeof(err), &column)) {
            mistake(r, v, column - min_u64(column, strlen(forms[i])), "%s", err);
            return;
        }
    }
}

static void read_trace(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    static const char *const words[] = { "same", "new", NULL };
    const char *word = NULL;
    if (rule->at == AT_EXEC || python_only(r, rule, v, key))
        read_word(r, v, key, words, &word);
    rule->new_trace = word == words[1];
}

static void read_into(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    const char *text = python_only(r, rule, v, key) ? scalar(r, v, key) : NULL;
    if (text)
        rule->into = intern(text);
}

static void read_label(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    const char *text = scalar(r, v, key);
    if (text)
        rule->label = intern(text);
}

const struct key activity_keys[] = {
    { "name", read_name },
    { "type", read_type },
    { "kind", read_kind },
    { "at", read_at },
    { "until", read_until },
    { "attributes", read_attributes },
    { "error", read_error },
    { "when", read_when },
    { "metrics", read_metrics },
    { "id", read_ids },
    { "parent_id", read_parents },
    { "link_id", read_links },
    { "queued_at", read_queued },
    { "trace", read_trace },
    { "label", read_label },
    { "until_id", read_until_id },
    { "into", read_into },
    { "caught", read_caught },
    { "until_when", read_until_when },
    { "lasts", read_lasts },
    { "started_at", read_started },
    { "ended_at", read_ended },
    { "traceparent", read_traceparent },
};
const size_t activity_key_count = ARRAY_LEN(activity_keys);

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
    rule->pack = r->pack;
    u32 before = r->mistakes;
    mapping_read(r, rule, map, activity_keys, activity_key_count, "an activity");
    if (r->mistakes == before)
        check_rule(r, rule, map);
    if (rule->into)
        rule->name = rule->into;
    r->rules->n++;
}

/* «into» names an activity of the same file. */
static void check_into(struct reader *r, struct rule *rule, yaml_node_t *at)
{
    const char *names[64];
    size_t n = 0;
    for (size_t i = 0; rule->into && i < r->rules->n; i++) {
        const char *label = r->rules->v[i].label;
        if (label == rule->into)
            return;
        if (label && n < ARRAY_LEN(names))
            names[n++] = label;
    }
    const char *near = rule->into ? nearest_word(rule->into, names, n) : NULL;
    if (near)
        mistake(r, at, 0, "no activity here is labelled «%s» (did you mean «%s»?)", rule->into, near);
    else if (rule->into)
        mistake(r, at, 0, "no activity here is labelled «%s»", rule->into);
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
    for (size_t i = 0; i < r->rules->n; i++)
        check_into(r, &r->rules->v[i], v);
}

static const struct key top_keys[] = {
    { "pack", read_pack_name },   { "engine", read_pack_word },     { "versions", read_pack_word },
    { "match", read_pack_match }, { "enabled", read_pack_enabled }, { "activities", read_activities },
    { "packs", read_packs },
};

/* A pack's name is known before its activities are read, wherever it stands in the file. */
static void read_head(struct reader *r, yaml_node_t *root)
{
    yaml_node_t *name = root->type == YAML_MAPPING_NODE ? value_of(r, root, "pack") : root;
    if (name != root)
        read_pack_name(r, NULL, name, "pack");
}

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
    if (root)
        read_head(r, root);
    if (root)
        mapping_read(r, NULL, root, top_keys, ARRAY_LEN(top_keys), "a rule file");
    if (root && !r->mistakes && !r->rules->n && value_of(r, root, "packs") == root)
        mistake(r, root, 0, "there is no activity in «activities»");
    yaml_document_delete(&doc);
}

int rules_yaml(struct rules *ret, struct rules *base, const char *file, struct slice text, char *err, size_t err_size)
{
    struct reader r = { .file = file, .rules = ret, .base = base, .err = err, .err_size = err_size };
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        return -ENOMEM;
    yaml_parser_set_input_string(&parser, text.n ? text.p : (const u8 *)"", text.n);
    read_document(&r, &parser);
    yaml_parser_delete(&parser);
    return r.mistakes ? -EINVAL : 0;
}
