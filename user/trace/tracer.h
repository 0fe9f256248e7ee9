/* The tracer: whose activity is it? Keeps processes, units and open activities, and turns exchanges, processes and
 * declared activities into spans with the right parent. One per shard; fed with every event before anyone else sees it.
 *
 * Parent of anything new, best evidence first: context on the wire or in the environment · engine's ids (caller gives
 * them) · the top of its unit's stack · what its unit inherited when it was made or handed an object · for native pools
 * the request that its thread answers next · the process. Two plausible parents mean none (JOIN_UNKNOWN). */
#ifndef WF_TRACE_TRACER_H
#define WF_TRACE_TRACER_H

#include "ingest/event.h"
#include "trace/span.h"

/* exec: rules, for process spans; workflow/ fills this in (workflow_exec_hooks), all slots or none. */
struct exec_image {
    struct slice exe, args; /* path of the image; NUL between arguments */
    const char *parent;     /* name of the program that the process was made by; "" unknown */
    u32 uid;
    struct slice procinfo; /* as in event.procinfo; empty when nobody could look */
};
struct exec_hooks {
    const void *arg;
    const void *(*match)(const void *arg, const struct exec_image *x, bool *ret_new_trace); /* a rule, or NULL */
    void (*begin)(const void *rule, const struct exec_image *x, struct span *s);
    void (*end)(const void *rule, u32 status, struct span *s); /* wait(2) status */
};

struct tracer_options {
    const char *service;             /* --service: overrides service.name of every process; or NULL */
    const struct resource *resource; /* attributes of every process's resource, above what is found; or NULL. Outlives it */
    struct span_context root;        /* TRACEPARENT that wftrace itself was given; invalid when none */
    const char *root_state;          /* its tracestate, or NULL */
    bool keep_values;                /* --privacy off */
    bool no_traceparent;             /* requests' trace context is not read */
    const char *const *baggage;      /* keys of baggage that become attributes; interned, outlive it */
    size_t n_baggage;
    s64 wall_minus_boot; /* ns; live: measured at start and at every tick */
    u64 seed[2];         /* of the id generator; 0: from the system */
    struct exec_hooks exec;
    u32 max_processes, max_units, max_open; /* defaults 16384, 65536, 65536 */
};
struct tracer;
struct tracer *tracer_new(const struct tracer_options *o, struct span_sink *sink);
/* What a reload may change: service, resource (of resources that are made from here on), keep_values, no_traceparent, baggage. */
void tracer_change(struct tracer *t, const struct tracer_options *o);
void tracer_exec(struct tracer *t, struct exec_hooks hooks); /* other rules; none: the old hooks stay, and find none */
struct tracer *tracer_free(struct tracer *t);                /* ends what is open with wftrace.unfinished = true */
void tracer_event(struct tracer *t, const struct event *e);  /* processes, units, hand-overs; ignores the rest */
void tracer_tick(struct tracer *t, u64 now_boot, s64 wall_minus_boot);
u32 tracer_parent_process(struct tracer *t, u32 tgid);    /* who made it; 0: not known */
struct exchange_sink *tracer_exchanges(struct tracer *t); /* for stream_new() */

/* One open activity: workflow/ makes these for probe hits, pipes and engines. */
struct activity {
    struct span *span; /* borrowed while open; add attributes, name, events freely until activity_end */
    u64 start;         /* boot ns; activity_restart moves it */
    u64 told_end;      /* boot ns; when it ended by its engine's word, if activity_end comes later; 0: not told */
    u32 tgid, tid;
    u64 unit;
    /* private to trace/ */
    u32 generation;
    bool pushed, open;
    struct activity *below; /* in its unit; of a call that waits for its thread's answer, of an unused one: the next like it */
};
struct activity_start {
    u64 time; /* boot ns */
    u32 tgid, tid;
    u64 unit;
    enum span_kind kind;
    const char *scope; /* static or interned */
    struct slice name;
    bool push;                         /* what starts in its unit while it runs becomes its child */
    const struct span_context *parent; /* known by an id, or NULL: found by unit */
    struct activity *owner;            /* the same, while it is open: instead of `parent` */
    enum join join;                    /* with parent or owner */
    bool new_trace;                    /* a trace of its own; what would be the parent is linked */
    const struct span_context *trace;  /* it is the first span here of this trace, without a parent; or NULL */
    u32 rule;                          /* see span.rule */
    const char *tracestate;            /* with parent: what came with it, or NULL */
    const struct attr_set *attrs;      /* what is known at the start, so that sampling sees it, or NULL */
    bool started_later; /* the caller describes it first, and says activity_started() before anything else happens */
};
struct activity *activity_begin(struct tracer *t, const struct activity_start *a); /* NULL: ceiling reached (counted) */
void activity_started(struct tracer *t,
                      struct activity *a); /* to samplers and the live tree: with the name and attributes it has now */
void activity_restart(struct tracer *t, struct activity *a, u64 time); /* it began then: boot ns */
void activity_end(struct tracer *t, struct activity *a, u64 time);     /* hands the span on; `a` is gone */
/* A coroutine or generator leaves its thread and comes back, perhaps on another: what starts meanwhile is not its child. Activities
 * that it caused may have come back before it. */
void activity_suspend(struct tracer *t, struct activity *a);
void activity_resume(struct tracer *t, struct activity *a, u32 tid, u64 unit);
/* What the unit works on, and what an activity is for, while that is open; or NULL. */
struct activity *activity_current(struct tracer *t, u32 tgid, u32 tid, u64 unit);
struct activity *activity_parent(struct activity *a);
/* A better parent became known while `child` is open; linked instead when `child` has children in its trace already. */
void activity_adopt(struct tracer *t, struct activity *child, struct activity *parent, enum join join);

/* The activity that whatever this unit does now belongs to, by the same rules as a call's parent, or NULL: not known.
 * Borrowed until the next event; its span may be added to. *ret_certain: it is the unit's, or the process has had no other
 * activity than itself, so that it was no other's even some time ago. */
struct activity *tracer_current(struct tracer *t, u32 tgid, u32 tid, u64 unit, bool *ret_certain);

/* Every span that has begun and not ended, every process that lives; what `see` is given is borrowed for the call. */
void tracer_each_open(struct tracer *t, void (*see)(void *to, const struct span *s), void *to);
/* Those that have been open for `least` ns at boot time `now`. */
struct running {
    struct span *span;     /* borrowed; may be added to */
    u64 open_ns, quiet_ns; /* since it began; since something began or ended beneath it */
    u64 *note;             /* the caller's own, 0 at first */
};
void tracer_each_running(struct tracer *t, u64 now, u64 least, void (*see)(void *to, const struct running *r), void *to);
void tracer_each_process(struct tracer *t, void (*see)(void *to, u32 tgid, struct resource *r), void *to);

/* Resource of a process (service.name, process.*, host.*, container.*); borrowed; never NULL. */
struct resource *tracer_resource(struct tracer *t, u32 tgid);
u64 tracer_wall(const struct tracer *t, u64 boot);

/* "00-…-…-01" → context; -EINVAL when it breaks W3C trace-context level 2. */
int traceparent_parse(struct slice text, struct span_context *ret);
void traceparent_format(const struct span_context *c, char out[56]);

#endif
