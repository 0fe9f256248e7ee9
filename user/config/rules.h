/* Rules: what to watch, how to name it, which values become attributes, what counts as an error. Read from YAML
 * (docs/rules.md), checked with line, column and a suggestion, immutable afterwards. The same form for the user's files
 * and for the packs inside the binary. */
#ifndef WF_CONFIG_RULES_H
#define WF_CONFIG_RULES_H

#include "base/condition.h"
#include "config/sites.h"

enum rule_place { AT_NATIVE, AT_USDT, AT_EXEC, AT_PYTHON, AT_GO, AT_HTTP };
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
    SOURCE_ENV,     /* exec: */
    SOURCE_PARENT,  /* exec: name of the program that started it */
    SOURCE_COMMAND, /* exec: what is run: the program; of a shell its script, or the first word of what `-c` says */
    SOURCE_SCRIPT,  /* exec: file name of the script that a shell runs */
    SOURCE_GOALS,   /* exec: the arguments that are neither options nor NAME=value */
    SOURCE_UID,     /* exec: */
    SOURCE_UNIT,    /* exec: unit of systemd that it belongs to */
    SOURCE_PYTHON,  /* python: an expression that the helper inside the process evaluates */
};
enum source_moment_python { READ_AT_ENTRY, READ_AT_RETURN, READ_AT_FAIL, READ_AFTER /* return or failure */ };
enum source_type { TYPE_DEFAULT, TYPE_INT, TYPE_UINT, TYPE_BOOL, TYPE_PTR, TYPE_FLOAT, TYPE_STR, TYPE_BYTES };
enum source_len { LEN_NUL, LEN_CONST, LEN_ARG }; /* str, str(16) and bytes(16), str(arg1) and bytes(arg1) */
#define SOURCE_STEPS        4
#define SOURCE_ALTERNATIVES 3
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
    /* PYTHON: the first of these that is there and not None or ""; then `number` is added to it if it is a number. */
    const char *expr[SOURCE_ALTERNATIVES]; /* in the words of inproc/python/bridge_abi.h; interned */
    u8 n_expr;
    const char *otherwise;            /* text when there is nothing else, or NULL; interned */
    u8 shorten;                       /* bit i: of expression i only what stands behind the last dot (typename) */
    bool joined;                      /* not alternatives: all of them as one text, with "/" between; none if one is missing */
    enum source_moment_python moment; /* the same for all of them */
};
struct rule_condition {
    enum rule_test test;
    struct source left; /* EXCEPTION and ERRNO have none */
    s64 value;
    const char *text; /* compared as text when not NULL; LIKE, UNLIKE: a pattern of fnmatch */
    bool null;        /* compared with null */
};
#define RULE_ATTRS      20
#define RULE_CONDITIONS 6
#define RULE_IDS        3 /* of each kind */
#define RULE_METRICS    4
struct rule_attr {
    const char *key; /* interned */
    struct source from;
};
/* An id that the engine gives, in a name space of its own within the pack. */
enum id_reach {
    ID_ANYWHERE,
    ID_TO_CHILD,    /* `to_child`: known to the processes below this one, while the activity is open */
    ID_FROM_PARENT, /* `from_parent`: asked for in the nearest process above that knows it */
};
struct rule_id {
    const char *space; /* "" when none was given; interned */
    enum id_reach reach;
    struct source from;
};
enum rule_metric_kind { RULE_COUNTER, RULE_HISTOGRAM, RULE_ACTIVE /* how many are open now */, RULE_GAUGE /* last value */ };
/* A metric of one's own, made of the activities of one rule. All text is interned. */
struct rule_metric {
    enum rule_metric_kind kind;
    const char *name;
    const char
        *of; /* HISTOGRAM: "duration" (seconds) or an attribute's key; COUNTER: an attribute's key to add, or NULL: one each */
    const char *unit, *description; /* or NULL */
    const char *attrs[RULE_ATTRS];  /* keys of the activity's attributes that become the metric's; n_attrs 0: none */
    u8 n_attrs;
    bool errors_only; /* only activities that failed */
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
    struct rule_metric metrics[RULE_METRICS];
    u8 n_metrics;
    struct rule_id ids[RULE_IDS], parents[RULE_IDS], links[RULE_IDS]; /* python: only */
    u8 n_ids, n_parents, n_links;
    struct rule_id until_id;   /* python with `until:` (module in end_provider): whose end it is */
    struct source queued_at;   /* python: when it was asked for; n_expr 0: not given */
    struct source caught[2];   /* python: type and text of an exception that the call caught and keeps; n_expr 0: not given */
    struct source started_at;  /* python: when it began, before this call did (with `into`: or later); n_expr 0: not given */
    struct source ended_at;    /* python, with `into`: when it ended, before its call does; n_expr 0: not given */
    struct source traceparent; /* python: W3C context that the engine hands on; n_expr 0: not given */
    struct rule_condition until_when[RULE_CONDITIONS]; /* all must hold at the end of the call that ends it */
    u8 n_until_when;
    bool lasts_failed; /* `lasts: failed`: only a call that failed goes on until then */
    bool ended_now;    /* `ended_at: now`: when the call begins that tells of it */
    bool new_trace;    /* starts a trace of its own, linked to what called it, unless a parent is known by an id */
    const char
        *into; /* python: no activity; its values go to the enclosing one, or the one with its id, of this label; interned */
    const char *label; /* by which an override of the pack names it, or NULL; interned */
    const char *pack;  /* name of its pack, NULL: a user's file; interned */
    const char *file;  /* where it was written, for messages; interned */
    int line;
    bool retired;    /* a reload took it away: it begins nothing more */
    bool replaced;   /* … but another is on the same Python function: processes that were told of this one go on with it */
    u32 since;       /* generation of the set in which it came */
    u64 from, until; /* boot ns: hits begin something from then on, and until then; 0: no such bound */
};
/* The head of a pack: a file of rules for one engine, shipped inside the binary (workflow/packs) or a user's own. */
#define PACK_MATCHES 8
struct pack {
    const char *name, *engine, *versions; /* interned; "" when not given */
    const char *python[PACK_MATCHES];     /* top-level modules by which a Python environment that has the engine is known */
    const char *exe[PACK_MATCHES];        /* programs (globs) by which its processes are known */
    u8 n_python, n_exe;
    bool enabled;
    u16 n_rules;
};
#define PACKS_MAX   48
#define RULES_SLOTS 1024 /* in force and retired ones together */
struct rules {
    struct rule *v;
    size_t n;
    struct pack packs[PACKS_MAX];
    size_t n_packs;
    struct site_book *sites; /* what probe/ attached for them so far; made with the first file */
    u32 generation;          /* rises with each rules_take() */
    u32 *order;              /* after rules_take(): ids of those in force, as they were written; NULL: all, as they stand */
    size_t n_order;
    u32 *fit; /* after rules_fit(): what `order` will be */
};
extern const char *const rule_types[];      /* NULL-terminated */
extern const char *const rule_place_name[]; /* by enum rule_place */

/* Reads one or more files, appending. -EINVAL: `err` holds every mistake, one a line:
 * "FILE:LINE:COLUMN: what is wrong (did you mean …?)"; -errno when the file cannot be read. r is unchanged then. */
int rules_load(struct rules *r, const char *path, char *err, size_t err_size);
int rules_parse(struct rules *r, const char *name, const char *text, size_t len, char *err, size_t err_size);
void rules_done(struct rules *r);

/* Forgets packs (with their rules) for which keep() says no, and gives the other rules their ids anew. */
void rules_keep_packs(struct rules *r, bool (*keep)(void *arg, const struct pack *p), void *arg);
/* Another set in place of the one in force. Rules never move, so pointers and ids stay: one that is the same in both stays what it
 * is, one that is not there any more is retired, a new one gets an id of its own.
 * First where they will be: gives fresh's rules the ids that they will have. -ENOSPC when too many have come and gone, -ENOMEM. */
int rules_fit(struct rules *r, struct rules *fresh);
void rules_take(struct rules *r, struct rules *fresh); /* after that; fresh is empty then */
/* Once the places of what came are attached: by the time of a hit it is known which set it belongs to. */
void rules_switch(struct rules *r, u64 now_boot);
static inline bool rule_begins(const struct rule *r, u64 time) { return time >= r->from && (!r->until || time < r->until); }
bool rules_same(const struct rules *r, const struct rules *fresh); /* the same rules in the same order */
/* The i-th rule in force, in the order of writing; NULL past the end. */
const struct rule *rules_in_order(const struct rules *r, size_t i);
bool rules_want_bridge(const struct rules *r); /* whether a rule asks for the helper inside Python processes */

/* The metrics that the activities of rule `id` (span.rule - 1) make; NULL with *ret_n = 0 when there is no such rule. */
const struct rule_metric *rule_metrics(const struct rules *r, u32 id, u8 *ret_n);

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
/* The value at *at of a python: rule; *at is then behind it (source_python.c). */
int source_python_parse(struct slice text, size_t *at, struct source *ret, char *err, size_t err_size);
/* "native:/path:symbol" → rule fields. */
int place_parse(struct slice text, struct rule *ret, char *err, size_t err_size, size_t *ret_column);
int until_parse(struct slice text, struct rule *ret, char *err, size_t err_size, size_t *ret_column);

#endif
