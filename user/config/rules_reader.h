/* What the readers of the YAML form share (rules_yaml.c, rules_metric.c, rules_pack.c). The document is a table of nodes; keys are
 * tables of a name and what reads it. */
#ifndef WF_CONFIG_RULES_READER_H
#define WF_CONFIG_RULES_READER_H

#include "config/rules.h"

#include <yaml.h>

#define READER_KEYS 24 /* most keys of one mapping */

struct reader {
    const char *file;
    yaml_document_t *doc;
    struct rules *rules; /* what this file adds */
    struct rules *base;  /* what was read before: `packs:` changes it; a copy of the caller's, or NULL */
    const char *pack;    /* name of the pack that the file is, or NULL */
    bool override;       /* values replace those that are there */
    char *err;
    size_t err_size, used;
    u32 mistakes;
};

void mistake(struct reader *r, const yaml_node_t *n, size_t column, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void mistake_plain(struct reader *r, size_t line, size_t column, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

yaml_node_t *node(struct reader *r, int id);
/* The scalar's text, or NULL with a mistake reported. */
const char *scalar(struct reader *r, const yaml_node_t *n, const char *what);
/* One of the words (NULL-terminated) into *ret, or a mistake. */
void read_word(struct reader *r, yaml_node_t *v, const char *key, const char *const *words, const char **ret);
bool read_bool(struct reader *r, yaml_node_t *v, const char *key, bool *ret);
/* A scalar or a list of them: at most `max`, interned; returns how many. */
u8 read_words(struct reader *r, yaml_node_t *v, const char *key, const char **ret, u8 max);

struct key {
    const char *name;
    void (*read)(struct reader *r, struct rule *rule, yaml_node_t *value, const char *key);
};
/* Walks a mapping by its table of keys; `at`, if it is there, first, for the other values depend on the place. */
void mapping_read(struct reader *r, struct rule *rule, yaml_node_t *map, const struct key *keys, size_t count, const char *what);

/* rules_yaml.c */
extern const struct key activity_keys[];
extern const size_t activity_key_count;
/* rules_check.c */
void check_rule(struct reader *r, const struct rule *rule, yaml_node_t *map);
yaml_node_t *value_of(struct reader *r, yaml_node_t *map, const char *key); /* the map itself when it has no such key */
/* rules_metric.c, rules_pack.c */
void read_metrics(struct reader *r, struct rule *rule, yaml_node_t *v, const char *key);
void read_pack_name(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key);
void read_pack_word(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key);
void read_pack_match(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key);
void read_pack_enabled(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key);
void read_packs(struct reader *r, struct rule *unused, yaml_node_t *v, const char *key);

#endif
