/* The head of a pack, and `packs:` in a user's file, which turns packs on and off and changes their activities key by key:
 *
 *     packs:
 *       langgraph: { enabled: true, node: { name: "{langgraph.node}", attributes: { step: arg.task.path } } }
 *
 * Every key but `enabled` is the label of an activity of that pack. */
#include "config/rules_reader.h"
#include "trace/span.h"

static struct pack *own_pack(struct reader *r)
{
    if (!r->rules->n_packs) {
        r->rules->packs[0] = (struct pack){ .name = "", .engine = "", .versions = "", .enabled = true };
        r->rules->n_packs = 1;
    }
    return &r->rules->packs[0];
}

void read_pack_name(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key)
{
    const char *text = scalar(r, v, key);
    UNUSED(unused);
    if (text)
        own_pack(r)->name = r->pack = intern(text);
}

void read_pack_word(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key)
{
    const char *text = scalar(r, v, key);
    UNUSED(unused);
    if (!text)
        return;
    *(strcmp(key, "engine") ? &own_pack(r)->versions : &own_pack(r)->engine) = intern(text);
}

void read_pack_enabled(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key)
{
    UNUSED(unused);
    (void)read_bool(r, v, key, &own_pack(r)->enabled);
}

static void read_match_python(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key)
{
    UNUSED(unused);
    own_pack(r)->n_python = read_words(r, v, key, own_pack(r)->python, PACK_MATCHES);
}
static void read_match_exe(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key)
{
    UNUSED(unused);
    own_pack(r)->n_exe = read_words(r, v, key, own_pack(r)->exe, PACK_MATCHES);
}

void read_pack_match(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key)
{
    static const struct key keys[] = { { "python", read_match_python }, { "exe", read_match_exe } };
    UNUSED(unused);
    mapping_read(r, NULL, v, keys, ARRAY_LEN(keys), key);
}

/* --- overrides --- */
static struct pack *base_pack(struct reader *r, const yaml_node_t *k, const char *name)
{
    const char *names[PACKS_MAX];
    size_t n = r->base ? r->base->n_packs : 0;
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(r->base->packs[i].name, name))
            return &r->base->packs[i];
        names[i] = r->base->packs[i].name;
    }
    const char *near = nearest_word(name, names, n);
    if (near)
        mistake(r, k, 0, "there is no pack «%s» (did you mean «%s»?)", name, near);
    else
        mistake(r, k, 0, "there is no pack «%s»", name);
    return NULL;
}

static struct rule *labelled(struct reader *r, const struct pack *p, const yaml_node_t *k, const char *label)
{
    const char *names[64];
    size_t n = 0;
    for (size_t i = 0; i < r->base->n; i++) {
        struct rule *rule = &r->base->v[i];
        if (rule->pack != p->name || !rule->label)
            continue;
        if (!strcmp(rule->label, label))
            return rule;
        if (n < ARRAY_LEN(names))
            names[n++] = rule->label;
    }
    const char *near = nearest_word(label, names, n);
    if (near)
        mistake(r, k, 0, "pack %s has no activity «%s» (did you mean «%s»?)", p->name, label, near);
    else
        mistake(r, k, 0, "pack %s has no activity «%s»; wftrace rules list shows their labels", p->name, label);
    return NULL;
}

static void override_pack(struct reader *r, struct pack *p, yaml_node_t *map)
{
    if (map->type != YAML_MAPPING_NODE) {
        mistake(r, map, 0, "a pack is a mapping: { enabled: false }");
        return;
    }
    for (yaml_node_pair_t *i = map->data.mapping.pairs.start; i < map->data.mapping.pairs.top; i++) {
        yaml_node_t *k = node(r, i->key), *v = node(r, i->value);
        const char *word = scalar(r, k, "key");
        struct rule *rule = !word || !strcmp(word, "enabled") ? NULL : labelled(r, p, k, word);
        if (word && !strcmp(word, "enabled"))
            (void)read_bool(r, v, word, &p->enabled);
        if (!rule)
            continue;
        u32 before = r->mistakes;
        r->override = true;
        mapping_read(r, rule, v, activity_keys, activity_key_count, "an activity");
        r->override = false;
        if (r->mistakes == before)
            check_rule(r, rule, v);
    }
}

void read_packs(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key)
{
    UNUSED(unused);
    if (v->type != YAML_MAPPING_NODE) {
        mistake(r, v, 0, "«%s» is a mapping: NAME: { enabled: false }", key);
        return;
    }
    for (yaml_node_pair_t *i = v->data.mapping.pairs.start; i < v->data.mapping.pairs.top; i++) {
        yaml_node_t *k = node(r, i->key);
        const char *name = scalar(r, k, "pack");
        struct pack *p = name ? base_pack(r, k, name) : NULL;
        if (p)
            override_pack(r, p, node(r, i->value));
    }
}
