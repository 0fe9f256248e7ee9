/* Events of the helper inside Python processes become activities. The inside of workflow/, for hit.c's assembly. */
#ifndef WF_WORKFLOW_BRIDGE_H
#define WF_WORKFLOW_BRIDGE_H

#include "config/watch.h"
#include "workflow/workflow.h"

struct bridge;
/* All borrowed. NULL on no memory. */
struct bridge *bridge_new(const struct rules *rules, struct tracer *tracer);
struct bridge *bridge_free(struct bridge *b); /* leaves what is open to the tracer; returns NULL */
void bridge_event(struct bridge *b, const struct event *e);
/* As workflow_reserve() and the next ones. */
int bridge_reserve(struct bridge *b, size_t n_rules);
bool bridge_rules_taken(struct bridge *b);
int bridge_watches_write(const struct bridge *b, FILE *out);
/* What each watch has come to, for the closing words. */
bool bridge_state(const struct bridge *b, size_t i, struct workflow_watch *ret);
void bridge_notes(const struct bridge *b, struct workflow_notes *ret);

/* values.c: the values of one event by the index in their watch, and what a rule makes of them. */
struct values {
    struct event_value by_index[WATCH_ATTRS];
    bool there[WATCH_ATTRS];
    struct slice error_type, error_message, error_where, function;
    char joined[1600]; /* the text of the last join() asked for */
};
void values_read(const struct event *e, struct values *ret);
/* The first of a value's alternatives that is there; false: none. `ret` may be VALUE_NONE only when nothing else is there. Its text is
 * good until the next value of `v` is asked for. */
bool values_get(struct values *v, const struct source *s, const struct source_slots *slots, struct event_value *ret);
void values_set(struct span *s, const char *key, const struct event_value *v);
/* A moment in ns since 1970: seconds as a number, or "2026-11-21 08:45:18.1+01:00" (without a zone: UTC). False: it is none. */
bool values_time(const struct event_value *v, u64 *ret_ns);
/* The value as text (numbers in decimal); empty for none. `room` at least 32 bytes. */
struct slice values_text(const struct event_value *v, char *room, size_t size);
bool values_condition(struct values *v, const struct rule_condition *c, const struct source_slots *slots);

/* ids.c: the engines' own ids: who has them, and who waits for them. */
struct ids;
struct ids *ids_new(struct tracer *t);
struct ids *ids_free(struct ids *i);
struct id_owner {
    struct span_context id;
    struct activity *open; /* while it is, else NULL */
    u32 tgid;
    u64 start, end; /* boot ns; end 0: still open */
    enum span_kind kind;
};
struct id_key {
    u64 a, b; /* 128 bits of hash; 0, 0: none */
};
struct id_key id_key_of(const char *pack, const char *space, struct slice text);
/* An id that one process gives to those below it. */
struct id_key id_key_handed(const char *pack, u32 tgid, struct slice text);
void ids_add(struct ids *i, const struct id_key *key, const struct activity *a);
void ids_ended(struct ids *i, const struct id_key *key, const struct span *s, u64 time);
bool ids_find(struct ids *i, const struct id_key *key, struct id_owner *ret);
/* Only what is open, and if no second activity that is open has said the same id. */
bool ids_find_sole(struct ids *i, const struct id_key *key, struct id_owner *ret);
/* `a` becomes its child as soon as it is known, while `a` is open. */
void ids_wait(struct ids *i, const struct id_key *key, const struct activity *a);

#endif
