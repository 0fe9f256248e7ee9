/* Rules: what to watch, how to name it, which values become attributes, what counts as an error. Read from YAML
 * (docs/rules.md), checked with line, column and a suggestion, immutable afterwards. The same form for the user's files
 * and for the packs inside the binary. */
#ifndef WF_CONFIG_RULES_H
#define WF_CONFIG_RULES_H

#include "base/base.h"
#include "config/sites.h"

enum rule_place { AT_NATIVE, AT_USDT, AT_EXEC, AT_PYTHON, AT_GO, AT_HTTP };
enum rule_test { TEST_NONE, TEST_EXCEPTION, TEST_ERRNO, TEST_LT, TEST_LE, TEST_GT, TEST_GE, TEST_EQ, TEST_NE };

/* Where a value comes from. */
enum source_root {
    SOURCE_ARG,
    SOURCE_RET,
    SOURCE_ERRNO,
    SOURCE_CONST,
    SOURCE_ATTR,
    SOURCE_EXIT,
    SOURCE_SIGNAL,
    SOURCE_ARGS,
    SOURCE_ARGV,
    SOURCE_ENV, /* exec: */
};
enum source_type { TYPE_DEFAULT, TYPE_INT, TYPE_UINT, TYPE_BOOL, TYPE_PTR, TYPE_FLOAT, TYPE_STR, TYPE_BYTES };
enum source_len { LEN_NUL, LEN_CONST, LEN_ARG }; /* str, str(16) and bytes(16), str(arg1) and bytes(arg1) */
#define SOURCE_STEPS 4
struct source {
    enum source_root root;
    u8 arg; /* ARG, ARGV: number from 0 */
    u8 n_steps;
    struct {
        s32 off;
        bool load;
    } steps[SOURCE_STEPS]; /* `->8` loads from 8 bytes on, `.16` moves 16 bytes on */
    enum source_type type; /* DEFAULT: int for functions, what the note says for USDT */
    u8 size;               /* INT, UINT, FLOAT: 1 2 4 8 bytes */
    enum source_len len;
    u8 len_value;     /* CONST: bytes; ARG: argument number */
    const char *text; /* CONST, ATTR, ENV: the word (interned); CONST without text: `number` */
    s64 number;
};
struct rule_condition {
    enum rule_test test;
    struct source left; /* EXCEPTION and ERRNO have none */
    s64 value;
    const char *text; /* compared as text when not NULL */
};
#define RULE_ATTRS      16
#define RULE_CONDITIONS 4
struct rule_attr {
    const char *key; /* interned */
    struct source from;
};
struct rule {
    u32 id;           /* index in the set */
    const char *name; /* template over attributes: "order {number}"; interned */
    const char *type; /* one of rule_types */
    u8 kind;          /* enum span_kind; 0: internal */
    enum rule_place at;
    char object[512];  /* native, usdt: path, basename or glob of the image; exec: GLOB */
    char symbol[512];  /* native: symbol; usdt: probe */
    char provider[64]; /* usdt */
    char end_provider[64];
    char end_symbol[512]; /* usdt: probe that ends the activity (`until:`), or "": a point in time */
    struct rule_attr attrs[RULE_ATTRS];
    u8 n_attrs;
    struct rule_condition errors[RULE_CONDITIONS]; /* any of them makes the activity an error */
    u8 n_errors;
    bool error_given;                            /* false: an exception that leaves the activity is an error */
    struct rule_condition when[RULE_CONDITIONS]; /* all must hold at the start */
    u8 n_when;
    u8 n_metrics;     /* accepted and checked; they take effect with the metrics of wftrace */
    const char *file; /* where it was written, for messages; interned */
    int line;
};
struct rules {
    struct rule *v;
    size_t n;
    struct site_book *sites; /* what probe/ attached for them so far; made with the first file */
};
extern const char *const rule_types[];      /* NULL-terminated */
extern const char *const rule_place_name[]; /* by enum rule_place */

/* Reads one or more files, appending. -EINVAL: `err` holds every mistake, one a line:
 * "FILE:LINE:COLUMN: what is wrong (did you mean …?)"; -errno when the file cannot be read. r is unchanged then. */
int rules_load(struct rules *r, const char *path, char *err, size_t err_size);
int rules_parse(struct rules *r, const char *name, const char *text, size_t len, char *err, size_t err_size);
void rules_done(struct rules *r);

/* Whether the file at `path` (as its process sees it) is one that the rule's object means. */
bool rule_object_matches(const char *object, const char *path);

/* The values of one rule by the moment at which they can be read: slot numbers of a hit. Made by config/compile.c, lowered
 * to read operations by probe/rule_ops.c, read back by workflow/hit.c. */
#define PLAN_VALUES 8
struct value_plan {
    u8 n;
    u8 ops; /* read operations they need on x86-64, at most */
    struct source v[PLAN_VALUES];
    s8 len_slot[PLAN_VALUES]; /* slot of the length of a string of given length, or -1 */
};
enum { PLAN_ENTRY, PLAN_RETURN, PLAN_MOMENTS };
struct rule_plan {
    struct value_plan at[PLAN_MOMENTS];
    s8 attr[RULE_ATTRS]; /* slot; -1: not of a hit. The moment is source_moment()'s */
    s8 error[RULE_CONDITIONS];
    s8 when[RULE_CONDITIONS];
    s8 ret;    /* slot of the plain return value that `error: errno` looks at, or -1 */
    s8 err_no; /* slot of errno, or -1 */
};
/* -E2BIG with a sentence in `err` when more is asked for than a hit can hold. */
int rule_plan_make(const struct rule *r, struct rule_plan *ret, char *err, size_t err_size);
int source_moment(const struct source *s); /* PLAN_ENTRY, PLAN_RETURN; -1: not of a hit */

/* --- between the files of config/ --- */
/* "arg2->16:str" → source. 0, or -EINVAL with a sentence and the column (0…) of the mistake. */
int source_parse(struct slice text, enum rule_place at, struct source *ret, char *err, size_t err_size, size_t *ret_column);
int condition_parse(struct slice text, enum rule_place at, struct rule_condition *ret, char *err, size_t err_size,
                    size_t *ret_column);
/* "native:/path:symbol" → rule fields. */
int place_parse(struct slice text, struct rule *ret, char *err, size_t err_size, size_t *ret_column);
int until_parse(struct slice text, struct rule *ret, char *err, size_t err_size, size_t *ret_column);

#endif
