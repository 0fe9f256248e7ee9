/* Rules: what to watch, how to name it, which values become attributes, what counts as an error. Read from YAML
 * (design: docs/rules.md), checked with line, column and a suggestion, immutable afterwards. The same form for the
 * user's files and for the packs inside the binary. */
#ifndef WF_CONFIG_RULES_H
#define WF_CONFIG_RULES_H

#include "base/base.h"

enum rule_place { AT_NATIVE, AT_USDT, AT_EXEC, AT_PYTHON, AT_GO, AT_HTTP };
enum rule_test { TEST_NONE, TEST_EXCEPTION, TEST_LT, TEST_LE, TEST_GT, TEST_GE, TEST_EQ, TEST_NE, TEST_ERRNO };

/* Where a value comes from: a path from an argument, the return value, errno or the exit status. */
enum source_root { SOURCE_ARG, SOURCE_RET, SOURCE_ERRNO, SOURCE_EXIT, SOURCE_CONST, SOURCE_ATTR, SOURCE_PROCESS };
enum source_type { TYPE_INT, TYPE_UINT, TYPE_BOOL, TYPE_STR, TYPE_PTR, TYPE_BYTES, TYPE_DOUBLE };
#define SOURCE_STEPS 4
struct source {
    enum source_root root;
    u8 arg;                 /* number from 0 */
    u8 n_steps;
    struct { s32 off; u8 size; bool deref; } steps[SOURCE_STEPS]; /* `->8`, `.16`, `[2]` … as docs/rules.md defines */
    enum source_type type;
    u8 size;                /* bytes of the final value: 1 2 4 8 */
    u8 len_arg;             /* TYPE_BYTES: the argument that holds the length */
    const char *text;       /* SOURCE_CONST, SOURCE_ATTR, SOURCE_PROCESS: the word */
};
struct rule_attr {
    const char *key;        /* interned */
    struct source from;
};
struct rule {
    u32 id;                 /* index in the set */
    const char *name;       /* template: "order {arg.id}" refers to attributes: "{key}" */
    const char *type;       /* workflow task decision validation llm tool storage process custom */
    enum rule_place at;
    char object[512];       /* native, usdt: path or glob of the image, or a library's short name; exec: GLOB */
    char symbol[512];       /* native: symbol; usdt: probe */
    char provider[64];      /* usdt */
    char end_symbol[512];   /* usdt: probe that ends the activity (`until:`), or "" : a point in time */
    struct rule_attr *attrs;
    size_t n_attrs;
    enum rule_test test;
    struct source test_of;  /* left side */
    s64 test_value;
    char test_text[64];     /* for == "failed" */
    const char *file;       /* where it was written, for messages */
    int line;
};
struct rules {
    struct rule *v;
    size_t n;
};

/* Reads one or more files, appending. -EINVAL: `err` = "FILE:LINE:COLUMN: what is wrong (did you mean …?)". */
int rules_load(struct rules *r, const char *path, char *err, size_t err_size);
int rules_parse(struct rules *r, const char *name, const char *text, size_t len, char *err, size_t err_size);
void rules_done(struct rules *r);

/* The read program of one rule at entry and at return (bpf/abi.h's struct read_op, opaque here): which value number
 * feeds which attribute. Filled by config/compile.c, used by probe/ to load sites and by workflow/ to read hits. */
struct rule_plan {
    u8 entry_ops, return_ops;
    u64 entry[24], return_[24]; /* struct read_op, bit for bit */
    s8 entry_value[8], return_value[8]; /* value number → attribute index; -1 the test's left side; -2 errno; -128 unused */
};
int rule_plan_make(const struct rule *r, struct rule_plan *ret, char *err, size_t err_size);

#endif
