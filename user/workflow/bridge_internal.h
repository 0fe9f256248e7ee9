/* What the bridge_*.c share: the calls that are open, and what is known while an event is at hand. */
#ifndef WF_WORKFLOW_BRIDGE_INTERNAL_H
#define WF_WORKFLOW_BRIDGE_INTERNAL_H

#include "base/table.h"
#include "workflow/bridge.h"
#include "workflow/internal.h"

enum { CALLS_MAX = 65536, PROCESSES_MAX = 16384 };

struct call_key {
    u64 tgid, activity;
};
struct call {
    struct call *next, *prev; /* in its process */
    u32 tgid;
    u64 activity;
    const struct rule *rule;
    const struct rule_slots *slots;
    struct activity *a;
    u32 generation;
    bool suspended, was_suspended;
    bool lasting;      /* its function is over; `until` will end it */
    u64 since, active; /* boot ns of the last start or resume; ns it ran before that */
    u64 lost;          /* records lost when it began */
    struct id_key ids[RULE_IDS];
};
struct watch_state {
    u32 bound;
    bool values_failed;
    char why[160];
    char near[96]; /* of the names that its module has the one most like its function's */
};
/* Watches as they stood after a change of rules. A process goes on with those that it read when it started, and numbers are never
 * given twice, so the number tells which they are. */
#define ISSUES_MAX 16
struct issue {
    size_t first; /* number of its first watch */
    u32 id;       /* watch_book_id() */
    struct watch_book book;
    struct watch_state *states;
};
struct bridge {
    const struct rules *rules;
    struct tracer *tracer;
    struct issue issues[ISSUES_MAX];
    u32 n_issues, current;           /* current: what processes that start now are told */
    const struct watch_book *book;   /* of the event at hand */
    struct issue spare;              /* room for the next one */
    struct table *calls, *processes; /* processes: tgid → its first call */
    struct table *lasting;           /* id → call_key */
    struct table *pythons;           /* tgid → those that have not taken the helper in */
    struct ids *ids;
    struct workflow_notes notes;
    struct values values; /* of the event at hand */
    u32 failed_lasting;   /* calls that failed and go on (`lasts: failed`) */
    u64 lost, now;
};

/* bridge_calls.c */
struct span *call_span(const struct call *c); /* NULL: it has none, or not any more */
void call_link(struct bridge *b, struct call *c);
void call_ids(struct bridge *b, struct call *c);              /* makes it known by the ids that the event at hand tells */
void call_finish(struct bridge *b, struct call *c, u64 time); /* ends its activity; it stays in the table */
void call_delete(struct bridge *b, struct call *c);
void call_drop(void *bridge, const void *key, void *call, enum table_drop_cause cause);
void calls_lose(struct bridge *b, const struct event *e); /* its process has ended or become another program */

/* A retired rule begins nothing more, but where another took its place processes that were told of it go on with it. */
static inline bool rule_in_force(const struct rule *r) { return !r->retired || r->replaced; }

/* bridge_issue.c */
struct issue *issue_of(struct bridge *b, u64 number); /* NULL: nobody was told of such a watch */
bool issue_known(const struct bridge *b, u32 id);     /* 0, which tells nothing, is */
void issues_done(struct bridge *b);

/* bridge_start.c */
void call_begin(struct bridge *b, const struct event *e, const struct watch *w);
/* The first of the ids asked for that is known. *ret_first: the first that there is, known or not. */
bool id_known(struct bridge *b, const struct rule *r, u32 tgid, const struct rule_id *ids, const struct source_slots *slots, u8 n,
              struct id_owner *ret, struct id_key *ret_first);
/* A moment by the engine's word, if that is before the event and within a day of it: boot ns. Else 0. */
u64 moment_told(struct bridge *b, const struct event *e, const struct source *from, const struct source_slots *slots);
/* Between being asked for and being begun: by the engine's own word (or NULL), or from the producer's end. */
void call_set_wait(struct bridge *b, struct span *s, u64 start, const struct event_value *at, const struct id_owner *from);

/* bridge_into.c */
void into_add(struct bridge *b, const struct event *e, const struct rule *r);
void into_add_end(struct bridge *b, const struct event *e, const struct watch *w); /* of a call that made no activity */

/* bridge_describe.c */
void call_set_code(struct span *s, const struct values *v, const struct watch *w);
void call_set_values(struct bridge *b, const struct call *c, struct span *s);
void call_set_constants(const struct rule *r, struct span *s);
bool call_take_caught(struct bridge *b,
                      const struct call *c); /* the exception that its rule says it caught, as that of the event */
void call_set_exception(struct bridge *b, struct span *s, u64 time, bool error);
void call_describe_end(struct bridge *b, const struct call *c, struct span *s, u64 time, bool failed);
void call_describe_late(struct bridge *b, const struct call *c, struct span *s); /* its own call is long gone */

/* bridge_pythons.c */
struct table *pythons_new(void);
void python_started(struct bridge *b, const struct event *exec);
void python_loaded(struct bridge *b, u32 tgid);
void python_ended(struct bridge *b, u32 tgid);

/* bridge_end.c */
void call_end(struct bridge *b, const struct event *e, struct call *c, bool failed);
void calls_end_others(struct bridge *b, const struct watch *w, u64 time, bool failed); /* `until:` of other rules */

#endif
