/* What the files of trace/ share. Nobody outside includes this. */
#ifndef WF_TRACE_INTERNAL_H
#define WF_TRACE_INTERNAL_H

#include "base/table.h"
#include "self/ledger.h"
#include "stream/stream.h"
#include "trace/tracer.h"

/* A reference that dies with its activity: activities are pooled and never freed, so the generation can be compared. */
struct weak {
    struct activity *a;
    u32 generation;
};
static inline struct weak weak_to(struct activity *a) { return (struct weak){ a, a ? a->generation : 0 }; }
static inline struct activity *weak_get(struct weak w)
{
    return w.a && w.a->open && w.a->generation == w.generation ? w.a : NULL;
}

/* The owner of work: a thread (of == 0, id = tid) or what a runtime runs on it (of == 1, id = its address). */
struct unit_key {
    u32 tgid, of;
    u64 id;
};

#define PENDING_MAX 64
struct unit {
    struct activity *top;     /* innermost open activity pushed here */
    struct weak inherited;    /* label from the unit that made this one, or from a hand-over */
    struct weak fresh;        /* threads: the request just read here, until anything else happens on the thread */
    u64 fresh_maker;          /* threads: the first unit that made another since; 0 none yet */
    struct activity *pending; /* threads of native pools: calls that wait for their thread's answer, newest first */
    u16 n_pending;
    u16 requests;  /* server requests among the open activities */
    bool acts;     /* moves bytes, or makes units at any time: never takes `fresh` */
    bool received; /* has read a request itself: no closure by answer */
};

struct process {
    u32 tgid, ppid;
    struct activity *activity; /* its own span, NULL for mere forks and attached ones */
    struct weak maker;         /* label of the unit that forked it */
    struct resource *resource;
    struct span_context env; /* TRACEPARENT of its environment, invalid when none */
    u64 informed;            /* boot ns of its last PROCINFO */
    u64 born;                /* boot ns, 0 unknown */
    u64 ended;               /* boot ns, 0 it runs; kept, for its children ask who made it */
    u32 requests;            /* server requests open in it */
    u32 execs;
    const void *exec_rule; /* of tracer_options.exec, or NULL */
    bool from_start;       /* every unit of its image was made under our eyes */
    u64 handover;    /* boot ns from which on its Python's queue is probed, 0 not: from then on a new thread's label is true */
    bool python, go; /* runtimes in which a native thread is no unit of work */
    bool node, java; /* an event loop; pools whose queues we don't see */
    u64 pipe_in, pipe_out; /* inodes of its image's standard input and output, 0: no pipes */
    bool oom;
    bool worked; /* has had activities of its own beside itself */
    char comm[16];
    char image[32], made_by[32]; /* names of the program it runs, and of the one that it was made by; "" unknown */
};

enum activity_of { OF_OTHER, OF_SERVER, OF_CLIENT, OF_PROCESS };

/* The private side of an activity, allocated with it. */
struct activity_slot {
    struct activity a;
    struct unit_key key; /* where it is pushed */
    struct weak parent;
    u64 conn;      /* exchanges */
    u32 children;  /* spans that already carry its trace id */
    u8 of;         /* enum activity_of */
    bool waiting;  /* in a pending list: not to be handed on yet */
    bool done;     /* ended while waiting */
    u64 join_hash; /* in tracer.joins, 0 none */
    u64 touched;   /* boot ns at which something last began or ended beneath it, 0 never */
    u64 note;      /* of whoever asks tracer_each_running */
};
static inline struct activity_slot *slot_of(struct activity *a) { return container_of(a, struct activity_slot, a); }

struct parent {
    struct activity *a;
    enum join join;
    bool wait; /* closure by answer may still tell */
};

struct tracer {
    struct tracer_options o;
    struct span_sink *sink;
    struct table *processes, *units, *handovers, *joins;
    struct activity_slot **chunks;
    u32 n_chunks;
    struct activity *free;
    u32 open;
    u64 rng[2];
    s64 wall_minus_boot;
    u64 now, next_sweep;
    struct exchange_sink exchanges;
    struct table *pipes; /* pipe.c */
    struct resource *unknown;
    /* The last PROCINFO, which comes right before its process's EXEC. */
    struct {
        u64 time;
        u32 tgid;
        u16 n;
        char text[8192];
    } info;
};

/* span.c: a span's set is full. False: so is the span. */
bool span_grow(struct attr_set *set, size_t need); /* `need` bytes of text in one piece */
bool span_grow_attrs(struct attr_set *set);

/* activity.c; who opens one says activity_started() when it is described */
struct activity *activity_open(struct tracer *t, const struct activity_start *s, enum activity_of of, const struct parent *p);
void activity_release(struct tracer *t, struct activity *a); /* a waiting one's parent is decided */
void activities_free(struct tracer *t);
void activities_finish(struct tracer *t); /* ends what is open, marked unfinished */

/* pipe.c: at an exec of `p`, whose span is open */
bool pipes_open(struct tracer *t);
void pipes_seen(struct tracer *t, struct process *p, u64 in, u64 out);

/* unit.c */
struct unit_key unit_resolve(struct tracer *t, u32 tgid, u32 tid, u64 unit);
struct unit *unit_get(struct tracer *t, struct unit_key key); /* makes it; NULL on no memory */
struct activity *unit_label(struct tracer *t, u32 tgid, u32 tid, u64 unit, enum join *ret_join);
void unit_push(struct tracer *t, struct activity *a);
void unit_pop(struct tracer *t, struct activity *a);
void unit_push_again(struct tracer *t, struct activity *a); /* below its own descendants */
struct parent parent_find(struct tracer *t, u32 tgid, u32 tid, u64 unit);
void units_event(struct tracer *t, const struct event *e);
void unit_wait(struct tracer *t, struct activity *a); /* into its thread's pending list */
void unit_answered(struct tracer *t, struct activity *request, u32 tgid, u32 tid, u64 request_start);
void unit_drop(void *tracer, const void *key, void *value, enum table_drop_cause cause);
void pending_expire(struct tracer *t);

/* process.c */
struct process *process_get(struct tracer *t, u32 tgid); /* makes it; NULL on no memory */
void processes_event(struct tracer *t, const struct event *e);
void process_drop(void *tracer, const void *key, void *value, enum table_drop_cause cause);

/* service.c: the resource of one process from its PROCINFO text (may be empty). */
struct resource *service_resource(const struct tracer_options *o, u32 tgid, struct slice procinfo);

/* exchange.c, join.c */
void exchanges_init(struct tracer *t);
/* Both ends of a connection on this host: the client's span becomes the parent of the server's. */
void join_offer(struct tracer *t, struct activity *a, const struct exchange *x);

/* baggage.c: members of a baggage header named by `keys` (interned) → attributes; the first of a name wins. */
void baggage_inherit(struct attr_set *to, const struct attr_set *from, const char *const *keys, size_t n_keys);
void baggage_take(struct attr_set *to, struct slice text, const char *const *keys, size_t n_keys);

/* context.c */
void id_make(struct tracer *t, u8 *out, size_t n);

#endif
