/* Between the files of the configuration: the table of keys, the tree of nodes, the reader. */
#ifndef WF_CONFIG_INTERNAL_H
#define WF_CONFIG_INTERNAL_H

#include "base/json.h"
#include "config/config.h"

#include <stdarg.h>

/* --- memory: everything of a config dies together --- */
struct config_state {
    struct arena_block *blocks;
    struct config_node *root;
    const struct config_input *in; /* while loading */
    struct config_says *mistakes, *notes;
    size_t nodes;
};
void *config_alloc(struct config_state *s, size_t size); /* zeroed; NULL: no memory */
char *config_strdup(struct config_state *s, const char *text, size_t n);
void config_state_free(struct config_state *s);

/* --- the table --- */
enum config_type {
    CONFIG_BOOL,     /* bool */
    CONFIG_INT,      /* s64 */
    CONFIG_NUMBER,   /* double */
    CONFIG_TEXT,     /* const char * */
    CONFIG_WORD,     /* int: index into words */
    CONFIG_DURATION, /* s64, ms: 1500, 10s, 5m, 2h, 7d */
    CONFIG_SIZE,     /* s64, bytes: 1048576, 64KiB, 1GiB, 10MB */
    CONFIG_TEXTS,    /* CONFIG_LIST(const char *) */
    CONFIG_NUMBERS,  /* CONFIG_LIST(double), ascending */
    CONFIG_VALUE,    /* struct config_value: any scalar or list of scalars */
    CONFIG_GROUP,    /* struct pointer */
    CONFIG_GROUPS,   /* CONFIG_LIST(struct) */
    CONFIG_PART,     /* struct config_text: read by somebody else */
    CONFIG_ANY,      /* no field: accepted as it is, without effect */
};
enum config_key_flags {
    KEY_REQUIRED = 1,
    KEY_SECRET = 2,
    KEY_ALWAYS = 4,   /* a group that is there, with its defaults, even when nobody wrote it */
    KEY_OURS = 8,     /* wftrace's own addition to OpenTelemetry's form */
    KEY_RESTART = 16, /* a reload doesn't change it; a group: none of its keys */
};
struct config_group;
struct config_key {
    const char *name;
    enum config_type type;
    u32 flags;
    size_t offset;
    const struct config_group *group; /* GROUP, GROUPS */
    const char *const *words;         /* WORD; TEXTS: the only ones, or NULL */
    double min, max;                  /* numbers; max 0: none */
    const char *fallback;             /* the default as one would write it; NULL: none */
    const char *unset;                /* what happens without a value when there is no default, for people */
    const char *help;
    const char *ignored; /* NULL: in force; else why it isn't */
};
struct config_reader_state;
struct config_node;
struct config_group {
    const char *id;   /* of its table: unique */
    const char *name; /* for messages */
    const char *help;
    size_t size;
    const struct config_key *keys;
    size_t n;
    bool one_of; /* exactly one key */
    void (*check)(struct config_state *s, void *group, const struct config_node *at);
};
extern const struct config_group config_root_group;

/* --- nodes --- */
enum config_node_type { NODE_SCALAR, NODE_MAP, NODE_SEQUENCE };
enum config_origin { ORIGIN_FILE, ORIGIN_ENV, ORIGIN_FLAG, ORIGIN_DEFAULT };
struct config_place {
    enum config_origin origin;
    const char *name; /* file, variable, flag */
    u32 line, column; /* from 1; FILE only */
};
struct config_entry {
    const char *key;
    struct config_place at;
    struct config_node *value;
};
struct config_node {
    enum config_node_type type;
    struct config_place at;
    const char *text;    /* SCALAR: after substitution */
    const char *written; /* before it, when that is another; messages show this one */
    bool plain;          /* no quotes: its type is what it looks like */
    bool masked;         /* it came from a variable whose name speaks of a secret */
    struct config_entry *entries;
    struct config_node **items;
    size_t n, room;
    size_t from, to; /* bytes in its file's text */
    const char *file_text;
    size_t file_len;
};
/* The node at a path below the root; *ret_exact says whether it is that or an ancestor. */
const struct config_node *config_node_at(const struct config *c, const char *path, bool *ret_exact);
bool config_node_null(const struct config_node *n);
struct config_node *config_node_new(struct config_state *s, enum config_node_type type, struct config_place at);
struct config_node *config_node_scalar(struct config_state *s, const char *text, bool plain, struct config_place at);
int config_node_add(struct config_state *s, struct config_node *map, const char *key, struct config_place at,
                    struct config_node *value);
int config_node_append(struct config_state *s, struct config_node *list, struct config_node *item);
struct config_node *config_node_get(const struct config_node *map, const char *key); /* NULL: not there */
/* Sets a scalar at a path of map keys, making maps on the way. */
int config_node_set(struct config_state *s, struct config_node *root, const char *path, const char *text, struct config_place at);
/* One file → tree. Mistakes are said. */
struct config_node *config_file_read(struct config_state *s, const char *path);
struct config_node *config_text_read(struct config_state *s, const char *name, struct slice text);
/* `over` on top of `base`; returns the union. */
struct config_node *config_node_merge(struct config_state *s, struct config_node *base, struct config_node *over);
const char *config_getenv(const struct config_state *s, const char *name); /* NULL: unset or empty */

/* The OTEL_* variables as a tree (config_env.c). */
struct config_node *config_env_read(struct config_state *s);
struct config_variable {
    const char *name, *help, *fallback, *key, *ignored; /* ignored: why; NULL: in force */
};
extern const struct config_variable config_variables[]; /* ends with name NULL; for the docs */

/* --- reading --- */
/* Fills `into` (zeroed, group->size) with defaults and what the node says; node may be NULL. */
void config_read_group(struct config_state *s, const struct config_group *g, const struct config_node *n, void *into);
int config_read_duration(const char *text, s64 *ret_ms);
int config_read_size(const char *text, s64 *ret_bytes);
bool config_scalar_bool(const char *text, bool *ret);
bool config_scalar_int(const char *text, s64 *ret);
bool config_scalar_number(const char *text, double *ret);

/* --- messages --- */
void config_mistake(struct config_state *s, const struct config_place *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void config_note(struct config_state *s, const struct config_place *at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Texts that a terminal, Markdown and JSON can bear. */
/* What may be shown of a scalar in a message or in explain: never a secret. */
const char *config_shown(const struct config_node *n, const struct config_key *k);

#endif
