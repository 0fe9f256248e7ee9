/* The `metrics:` of an activity. */
#include "config/rules_reader.h"
#include "trace/span.h"

static void read_of(struct reader *r, yaml_node_t *v, const char **ret)
{
    const char *text = scalar(r, v, "of");
    if (text)
        *ret = intern(text);
}

static const char *const metric_keys[] = { "counter", "histogram",  "active",      "gauge", "of",
                                           "unit",    "attributes", "description", "errors" };
enum { KEY_OF = 4, KEY_UNIT, KEY_ATTRIBUTES, KEY_DESCRIPTION, KEY_ERRORS };

static void metric_key(struct reader *r, struct rule_metric *m, size_t key, yaml_node_t *v)
{
    switch (key) {
    case KEY_OF:
        read_of(r, v, &m->of);
        return;
    case KEY_UNIT:
        read_of(r, v, &m->unit);
        return;
    case KEY_DESCRIPTION:
        read_of(r, v, &m->description);
        return;
    case KEY_ATTRIBUTES:
        m->n_attrs = read_words(r, v, "attributes", m->attrs, RULE_ATTRS);
        return;
    case KEY_ERRORS:
        (void)read_bool(r, v, "errors", &m->errors_only);
        return;
    default:
        if (m->name)
            mistake(r, v, 0, "a metric is one of counter, histogram, active and gauge");
        m->kind = (enum rule_metric_kind)key;
        read_of(r, v, &m->name);
        return;
    }
}

static void read_metric(struct reader *r, struct rule *rule, yaml_node_t *map)
{
    struct rule_metric m = { 0 };
    if (map->type != YAML_MAPPING_NODE) {
        mistake(r, map, 0, "a metric is a mapping: { counter: NAME } or { histogram: NAME, of: duration }");
        return;
    }
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top; p++) {
        yaml_node_t *k = node(r, p->key);
        const char *text = scalar(r, k, "key");
        size_t i = 0;
        while (text && i < ARRAY_LEN(metric_keys) && strcmp(metric_keys[i], text))
            i++;
        if (text && i < ARRAY_LEN(metric_keys)) {
            metric_key(r, &m, i, node(r, p->value));
        } else if (text) {
            const char *near = nearest_word(text, metric_keys, ARRAY_LEN(metric_keys));
            mistake(r, k, 0, near ? "unknown key «%s» (did you mean «%s»?)" : "unknown key «%s»%s", text, near ? near : "");
        }
    }
    if (!m.name)
        mistake(r, map, 0, "a metric needs «counter», «histogram», «active» or «gauge» with its name");
    else if (m.kind == RULE_HISTOGRAM && !m.of)
        mistake(r, map, 0, "a histogram needs «of»: duration or an attribute");
    else if (m.kind == RULE_GAUGE && !m.of)
        mistake(r, map, 0, "a gauge needs «of»: duration or an attribute");
    else if (rule->n_metrics == RULE_METRICS)
        mistake(r, map, 0, "an activity has at most %d metrics", RULE_METRICS);
    else
        rule->metrics[rule->n_metrics++] = m;
}

void read_metrics(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key)
{
    rule->n_metrics = 0;
    if (v->type != YAML_SEQUENCE_NODE) {
        mistake(r, v, 0, "«%s» is a list", key);
        return;
    }
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++)
        read_metric(r, rule, node(r, *i));
}
