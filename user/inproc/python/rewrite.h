/* A code object taken apart and put together again (rewrite.c), and its two tables (rewrite_tables.c): line numbers, whose form
 * differs between 3.8/3.9, 3.10 and 3.11, and exception handlers (3.11). */
#ifndef WF_BRIDGE_REWRITE_H
#define WF_BRIDGE_REWRITE_H

#include "bridge.h"

enum jump { JUMP_NONE, JUMP_FORWARD, JUMP_BACK, JUMP_ABSOLUTE };
#define LABELS_MAX 512

struct instr {
    u8 op;
    u32 arg, ext;      /* ext: prefixes that the argument needs */
    u32 start, next;   /* in code units */
    s32 target, label; /* jumps: index of an old instruction, or a label; else -1 */
    u32 from;          /* old instruction whose line it has; n_in: none */
    u32 handler;       /* 3.11: number of its handler, 0 for none */
};
struct place {
    s32 line, end_line, column, end_column; /* line -1: none; columns -1: not known */
};
struct handler {
    s32 target, label; /* old instruction or label */
    u32 depth;
    bool lasti;
};
struct yield_catch {
    u32 label, handler;
};

struct code {
    struct site *site;
    struct instr *in, *out, spare;
    u32 n_in, n_out, cap, units, out_units;
    u32 *at;           /* code unit → old instruction */
    u32 *entry;        /* old instruction → new one where jumps to it go */
    u32 *covered;      /* old instruction → its handler */
    struct place *loc; /* of old instructions; one more at the end is no place */
    struct handler *handlers;
    u32 n_handlers, ours;
    u32 label[LABELS_MAX], n_labels, n_catches;
    struct yield_catch catches[LABELS_MAX];
    u8 var_op[8];
    u32 var_arg[8], first_hook;
    bool load_late, failed;
    u32 from, handler; /* of what is put next */
};

int lines_decode(struct code *c);
PyObject *lines_encode(const struct code *c);
int handlers_decode(struct code *c);
PyObject *handlers_encode(const struct code *c);
u32 handler_add(struct code *c, s32 target, s32 label, u32 depth, bool lasti); /* its number; 0 when memory is short */
u32 handler_depth(const struct code *c, u32 handler);

#endif
