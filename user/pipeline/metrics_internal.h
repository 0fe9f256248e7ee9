/* What the files of the metrics stage share. Nobody outside includes this.
 *
 *   instrument   what is measured: name, unit, the span's attributes that may distinguish it
 *   stream       what is kept of it after the views: an aggregation, a choice of attributes
 *   series       one combination of attribute values of one stream and one resource
 *
 * Attribute keys become small numbers once: a span's keys are literals or interned, so their address decides, and a reading
 * is an array of attributes by key number. */
#ifndef WF_PIPELINE_METRICS_INTERNAL_H
#define WF_PIPELINE_METRICS_INTERNAL_H

#include "base/table.h"
#include "pipeline/metrics.h"
#include "self/ledger.h"

#define KEYS_MAX     192
#define KEY_NONE     255
#define KEY_CACHE    1024 /* a power of two */
#define STREAM_KEYS  24
#define STREAMS_MAX  1024
#define RESOURCE_MAX 1024
#define BOUNDS_MAX   64
#define EXP_SIZE_MAX 320

struct keys {
    const char *name[KEYS_MAX]; /* interned */
    u32 n;
    struct {
        const char *text;
        u8 id;
    } cache[KEY_CACHE];
};

/* One measurement's attributes by key; `hash` is valid where `have` is. */
struct reading {
    const struct attr *have[KEYS_MAX];
    u64 hash[KEYS_MAX];
    u8 touched[64];
    u8 n;
};

struct stream {
    const char *name, *unit, *description, *scope;
    enum metric_kind kind;
    enum metric_instrument instrument;
    bool is_int, monotonic;
    u8 keys[STREAM_KEYS];
    u8 n_keys;
    u32 limit, id;
    const double *bounds;
    u32 n_bounds, max_size;
    s32 max_scale;
};
struct instrument {
    const char *name, *unit, *description, *scope;
    enum metric_instrument type;
    bool is_int;
    u32 first, n; /* streams */
    struct instrument *next;
};

struct exp_side {
    s32 first; /* index of counts[0]; meaningless while n == 0 */
    u32 n;
    u64 *counts; /* max_size, allocated with the first value */
};
struct exp_hist {
    s32 scale;
    u32 max_size;
    u64 zero;
    struct exp_side positive, negative;
};
bool exp_record(struct exp_hist *h, double value); /* false: no memory */
int exp_index(double value, s32 scale);            /* of a value > 0: (base^index, base^(index+1)] holds it */
void exp_scale_down(struct exp_hist *h, u32 by);
bool exp_copy(struct exp_hist *to, const struct exp_hist *from);
void exp_subtract(struct exp_hist *h, const struct exp_hist *before); /* before: an earlier state of h */
void exp_clear(struct exp_hist *h);

struct histogram {
    u64 count;
    double sum, min, max;
    u64 *counts; /* explicit: n_bounds + 1; NULL when exponential */
    struct exp_hist exp;
};
union aggregate {
    s64 i;
    double d;
    struct histogram h;
};

/* Labels of a service: what its metrics belong to. */
struct metric_owner {
    struct resource *resource;
    u64 hash, used;        /* used: wall ns */
    u32 *n_series;         /* by stream */
    struct series **spill; /* overflow series by stream */
    u32 live;              /* series in all */
};

struct series {
    u64 hash;
    const struct stream *stream;
    struct metric_owner *owner;
    u64 start_ns, touched_ns, made;
    bool spill, changed; /* changed: since the push reader's last collection */
    u16 n_attrs, n_exemplars;
    struct attr *attrs;
    struct exemplar *exemplars;
    union aggregate now;
    union aggregate *pushed;     /* as the push reader saw it last (delta only) */
    double fresh_min, fresh_max; /* since then */
};

struct series_slot {
    u64 hash;
    struct series *s;
};

struct metrics {
    struct metrics_options o;
    struct metric_sink *sink;
    struct keys keys;
    struct stream *streams;
    u32 n_streams;
    struct instrument *instruments;
    struct derived_plan *plans; /* metrics_derive.c */
    u32 n_plans;
    struct series_slot *slots;
    u32 slot_mask, n_series;
    u64 made;
    struct metric_owner *owners[RESOURCE_MAX];
    u32 n_owners;
    struct {
        u64 id;
        struct metric_owner *owner;
    } owner_cache[1024];
    struct reading reading;
    u64 now;
    struct graph *graph;
    struct processes *processes;
    struct resource *self;
    struct metric_number *numbers;
    /* readers */
    u64 push_due, pushed_at, asked, sweep_due;
    bool want_push, want_pull; /* a collection is under way: waits for /proc */
};

/* metrics_series.c */
u8 key_id(struct keys *k, const char *name);   /* makes it; KEY_NONE when full */
u8 key_find(struct keys *k, const char *text); /* of a span's key, by address */
void reading_put(struct reading *r, u8 key, const struct attr *a);
void reading_clear(struct reading *r);
struct metric_owner *owner_get(struct metrics *m, struct resource *r);
void instrument_record(struct metrics *m, const struct instrument *in, struct metric_owner *o, double value,
                       const struct span *s);
void series_set_back(struct metrics *m, u64 back_ns);             /* the wall clock was: the times that are kept follow */
void series_zero(struct metrics *m, const struct instrument *in); /* what is observed anew at each collection */
void series_sweep(struct metrics *m);
void series_free_all(struct metrics *m);

/* metrics_view.c: the instrument's streams by the options' views. NULL when there is no room. */
struct instrument_spec {
    const char *name, *unit, *description, *scope;
    enum metric_instrument type;
    bool is_int;
    const char *const *keys; /* NULL-terminated: what distinguishes by default, then after "" the opt-in ones */
    const double *bounds;
    u32 n_bounds;
};
struct instrument *instrument_make(struct metrics *m, const struct instrument_spec *spec);

/* metrics_derive.c, metrics_graph.c */
bool derive_open(struct metrics *m);
void derive_close(struct metrics *m);
void derive_span(struct metrics *m, const struct span *s);
void derive_open_spans(struct metrics *m);
bool graph_open(struct metrics *m);
void graph_close(struct metrics *m);
void graph_started(struct metrics *m, const struct span *s);
void graph_ended(struct metrics *m, const struct span *s);

/* metrics_collect.c */
struct builder;
void collect_push(struct metrics *m);
void collect_pull(struct metrics *m);

/* metrics_process.c: process.* of the traced processes. */
struct process_numbers {
    u32 tgid;
    struct resource *resource;
    u64 start_ns; /* wall clock; 0 unknown */
    bool fresh, io, net;
    u64 user_ticks, system_ticks, threads, fds, rss, vm, read_bytes, write_bytes, minor_faults, major_faults, sent, received;
};
bool processes_open(struct metrics *m);
void processes_close(struct metrics *m);
void processes_begin(struct metrics *m);                               /* lists who is there */
bool processes_read(struct metrics *m, u64 budget_ns);                 /* true when all are read */
const struct process_numbers *processes_get(struct metrics *m, u32 i); /* NULL past the end */

#endif
