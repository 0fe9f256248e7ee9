/* What can only be said of an activity as a whole: names of attributes that are there, keys that belong together. */
#include "config/rules_reader.h"

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

yaml_node_t *value_of(struct reader *r, yaml_node_t *map, const char *key)
{
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        yaml_node_t *k = node(r, p->key);
        if (k->type == YAML_SCALAR_NODE && !strcmp((const char *)k->data.scalar.value, key))
            return node(r, p->value);
    }
    return map;
}

/* Whether a metric can be by that attribute. What others add to a labelled activity (`into`) is not known here. */
static bool may_have_attr(const struct rule *rule, const char *key)
{
    return rule->label || !strcmp(key, "error.type") || has_attr(rule, slice_str(key));
}

static void check_metrics(struct reader *r, const struct rule *rule, const yaml_node_t *at)
{
    for (u8 i = 0; i < rule->n_metrics; i++) {
        const struct rule_metric *m = &rule->metrics[i];
        if (m->of && strcmp(m->of, "duration") && !may_have_attr(rule, m->of))
            unknown_attr(r, rule, at, 0, slice_str(m->of));
        for (u8 k = 0; k < m->n_attrs; k++)
            if (!may_have_attr(rule, m->attrs[k]))
                unknown_attr(r, rule, at, 0, slice_str(m->attrs[k]));
    }
}

void check_rule(struct reader *r, const struct rule *rule, yaml_node_t *map)
{
    struct rule_plan plan;
    char err[256];
    if (!rule->name && !rule->into)
        mistake(r, map, 0, "«name» is missing");
    else if (rule->name)
        check_name(r, rule, value_of(r, map, "name"));
    if (!rule->object[0])
        mistake(r, map, 0, "«at» is missing: where the activity happens");
    for (u8 i = 0; i < rule->n_errors; i++)
        if (rule->errors[i].left.root == SOURCE_ATTR && !may_have_attr(rule, rule->errors[i].left.text))
            unknown_attr(r, rule, value_of(r, map, "error"), 0, slice_str(rule->errors[i].left.text));
    if (rule->at == AT_PYTHON && rule->end_symbol[0] && (!rule->n_ids || !rule->until_id.from.n_expr))
        mistake(r, value_of(r, map, "until"), 0, "«until» needs «id» and «until_id», to know which activity ends");
    if (rule->lasts_failed && !rule->end_symbol[0])
        mistake(r, value_of(r, map, "lasts"), 0, "«lasts» needs «until»: what ends it");
    if ((rule->ended_at.n_expr || rule->ended_now) && !rule->into)
        mistake(r, value_of(r, map, "ended_at"), 0, "«ended_at» is told of the activity that «into» names");
    if (rule->caught[0].n_expr && rule->caught[0].moment == READ_AT_ENTRY && !rule->into)
        mistake(r, value_of(r, map, "caught"), 0, "«caught» is an exception that the call has kept: a part of ret");
    check_metrics(r, rule, value_of(r, map, "metrics"));
    if (rule_plan_make(rule, &plan, err, sizeof(err)))
        mistake(r, value_of(r, map, "attributes"), 0, "%s", err);
}
