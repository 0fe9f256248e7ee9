/* Probe hits become activities. One per shard; fed with every event after the tracer has seen it. */
#ifndef WF_WORKFLOW_WORKFLOW_H
#define WF_WORKFLOW_WORKFLOW_H

#include "config/rules.h"
#include "trace/tracer.h"

struct workflow;
/* `rules` and `tracer` are borrowed. NULL on no memory. */
struct workflow *workflow_new(const struct rules *rules, struct tracer *tracer);
void workflow_event(struct workflow *w, const struct event *e);
void workflow_tick(struct workflow *w, u64 now_boot);
/* Around rules_take() on the set it was made with: room first (-ENOMEM), then what is in force is looked at. False: the watches of
 * Python processes have changed too often and stay as they were. */
int workflow_reserve(struct workflow *w, size_t n_rules);
bool workflow_rules_taken(struct workflow *w);
/* Sets used[id] of every rule of which a call is open on some thread's stack. */
void workflow_used(struct workflow *w, bool used[RULES_SLOTS]);
/* What the helper inside Python processes is to watch, in its own form (config/watch.h). -errno. */
int workflow_watches_write(const struct workflow *w, FILE *out);
struct workflow *workflow_free(struct workflow *w); /* leaves what is open to the tracer; returns NULL */

/* What came of the watches inside Python processes, for the closing words. */
struct workflow_watch {
    const char *module, *function;
    u32 rule;           /* id of its first rule */
    u32 bound;          /* functions that were found */
    char why[160];      /* "" or why one could not be watched */
    char near[96];      /* "" or the function that its module has instead */
    bool values_failed; /* one of its values could not be read at least once */
};
struct workflow_notes {
    u32 loaded;       /* processes that took the helper in */
    char version[24]; /* of the first one's Python */
    u32 missed;       /* Pythons that ended without having taken it in */
    char missed_first[48];
    u32 foreign;       /* the first process whose watch list is another one; 0: none */
    char refused[160]; /* why the first helper that refused did so; "" when none did */
};
bool workflow_watch(const struct workflow *w, size_t i, struct workflow_watch *ret); /* false past the end */
void workflow_notes(const struct workflow *w, struct workflow_notes *ret);

/* exec: rules, for the process spans that trace/ makes. The first rule that matches the path or its last part, and whose
 * `when` holds, or NULL; the user's own come before those of packs. */
const struct rule *workflow_exec_rule(const struct rules *r, const struct exec_image *x);
/* Names the span and sets what is known at the start. */
void workflow_exec_begin(const struct rule *rule, const struct exec_image *x, struct span *s);
/* `status` as wait(2) gives it. With `error:` in the rule it decides alone whether the span is an error. */
void workflow_exec_end(const struct rule *rule, u32 status, struct span *s);

/* The same as the tracer wants them; `rules` is borrowed. All NULL when no rule is an exec: rule. */
struct exec_hooks workflow_exec_hooks(const struct rules *rules);

#endif
