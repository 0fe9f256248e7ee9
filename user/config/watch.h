/* Watches: what the helper inside Python processes is told to look at (inproc/python/bridge_abi.h). Rules on the same
 * function share one watch, in the order in which they were written: the first whose `when` holds describes the call. */
#ifndef WF_CONFIG_WATCH_H
#define WF_CONFIG_WATCH_H

#include "config/rules.h"

#define WATCH_ATTRS 64
#define WATCH_RULES 32

struct watch_attr {
    const char *expr;                 /* interned */
    enum source_moment_python moment; /* ENTRY, RETURN, FAIL */
};
struct watch {
    const char *module, *function; /* patterns; borrowed from the rules */
    struct watch_attr attrs[WATCH_ATTRS];
    u8 n_attrs, n_rules;
    u32 rules[WATCH_RULES]; /* ids */
    u32 ends[WATCH_RULES];  /* ids of rules whose activity a call of this function ends (`until:`) */
    u8 n_ends;
    bool into;   /* one of its rules only adds to another activity */
    bool always; /* one of its rules has no `when`: each call is an activity */
};
/* Under which indexes of a watch one value of a rule comes; -1: none. AFTER has two: by return and by failure. */
struct source_slots {
    s8 slot[SOURCE_ALTERNATIVES][2];
};
struct rule_slots {
    struct source_slots attr[RULE_ATTRS], error[RULE_CONDITIONS], when[RULE_CONDITIONS];
    struct source_slots ids[RULE_IDS], parents[RULE_IDS], links[RULE_IDS], queued_at, started_at, ended_at, traceparent,
        caught[2];
    struct source_slots until_id, until_when[RULE_CONDITIONS]; /* in the watch of the function that ends it */
};
struct watch_book {
    struct watch *v;
    size_t n;
    struct rule_slots *slots;  /* by rule id */
    const struct rules *rules; /* borrowed */
};

/* -E2BIG with a sentence: more values or rules for one function than a watch holds. -ENOMEM. */
int watch_book_make(const struct rules *r, struct watch_book *ret, char *err, size_t err_size);
/* The same in two steps: room for that many rules (-ENOMEM), what is in force into it (-E2BIG). */
int watch_book_room(struct watch_book *ret, size_t n_rules);
int watch_book_fill(struct watch_book *b, const struct rules *r, char *err, size_t err_size);
void watch_book_done(struct watch_book *b);
/* Which list that is, of its text: 24 bits, never 0 but when memory is short. Events of a process with another mean something else. */
u32 watch_book_id(const struct watch_book *b, size_t first);
/* The watch file's text; the first watch is number `first`. -errno of the stream. */
int watch_book_write(const struct watch_book *b, size_t first, FILE *out);

#endif
