/* Metrics derived from spans before any sampling, and what else is measured when a collection is due.
 *
 * Everything happens on the shard's thread: a finished span finds its series in a table and adds to them; metrics_tick()
 * turns the table into immutable batches (trace/signal.h) when a reader is due. There are two readers: one that pushes at an
 * interval (OTLP), with the temporality its user asked for, and one that answers scrapers (Prometheus), always cumulative.
 *
 * The resource of a derived metric is its service's: that of the process without process.*, so that a hundred short processes
 * of one service are one stream; process.* metrics have the whole resource of their process.
 *
 * Bounds: `limit` series per metric and resource, the last of which is the overflow series that the specification names
 * (otel.metric.overflow = true), and `max_series` in all. Series that nothing touches for `expire_ns` are forgotten. */
#ifndef WF_PIPELINE_METRICS_H
#define WF_PIPELINE_METRICS_H

#include "trace/signal.h"

enum metric_instrument { METER_ANY, METER_COUNTER, METER_UPDOWN, METER_GAUGE, METER_HISTOGRAM };
enum metric_aggregation {
    AGGREGATE_DEFAULT,
    AGGREGATE_DROP,
    AGGREGATE_SUM,
    AGGREGATE_LAST,
    AGGREGATE_EXPLICIT,
    AGGREGATE_EXPONENTIAL
};
enum metric_exemplars { EXEMPLARS_TRACE_BASED, EXEMPLARS_ALL, EXEMPLARS_NONE };

/* A view, as the SDK specification has it. A metric that several views select yields a stream for each; one that none
 * selects, its default stream. All pointers outlive metrics_new() only where said. */
struct metric_view {
    const char *select_name;            /* glob (* and ?), any case; NULL: every name */
    enum metric_instrument select_type; /* METER_ANY: every type */
    const char *select_unit;            /* NULL: every unit */
    const char *name, *description;     /* of the stream; NULL: the instrument's */
    const char *const *include,
        *const *exclude; /* globs of attribute keys; include NULL: the metric's own. Include may name opt-in ones */
    size_t n_include, n_exclude;
    enum metric_aggregation aggregation;
    const double *bounds; /* EXPLICIT; NULL: the instrument's */
    size_t n_bounds;
    u32 max_size;  /* EXPONENTIAL: buckets, 0: 160 */
    s32 max_scale; /* EXPONENTIAL: -10…20; only with max_size */
    u32 limit;     /* series; 0: that of the options */
};

/* A rule's own metric, made of the spans with span.rule == rule. */
struct metric_rule {
    u32 rule;
    enum metric_instrument type;           /* UPDOWN: how many are open now */
    const char *name, *unit, *description; /* unit, description may be NULL */
    const char *of;                        /* "duration" (seconds), an attribute's key, or NULL: one each */
    const char *const *attrs;
    size_t n_attrs;
    bool errors_only;
};

/* A number that somebody else keeps, asked for at each collection: wftrace's own telemetry. */
struct metric_number {
    const char *name, *unit, *description; /* static or interned */
    enum metric_instrument type;           /* COUNTER, UPDOWN, GAUGE */
    bool is_double;
    union {
        s64 i;
        double d;
    };
    struct attr attrs[3]; /* text outlives the call of `numbers` */
    u8 n_attrs;
};
#define METRIC_NUMBERS 512

/* A traced process, for process.* */
struct metric_process {
    u32 tgid;
    struct resource *resource; /* borrowed for the call */
};

struct metrics_options {
    u64 start_ns;     /* wall clock; 0: that of the first tick */
    u64 interval_ns;  /* push reader; 0: 60 s */
    bool push, pull;  /* which readers there are */
    bool delta;       /* push: delta for counters and histograms */
    bool exponential; /* histograms without a view are exponential (max size 160, max scale 20) */
    enum metric_exemplars exemplars;
    u32 limits[METER_HISTOGRAM + 1]; /* series per metric and resource by type; [METER_ANY] is for those with 0; 0: 2000 */
    u32 max_series;                  /* in all; 0: 20000 */
    u64 expire_ns;                   /* 0: 15 minutes */
    bool no_processes;               /* no process.* metrics */
    char instance[40];               /* service.instance.id of services that give none; "": from the system's random source */
    const struct metric_view *views; /* borrowed for metrics_new() */
    size_t n_views;
    const struct metric_rule *rules; /* borrowed for metrics_new(); their text is interned */
    size_t n_rules;
    /* What is asked at a collection; each may be NULL. */
    void (*each_open)(void *arg, void (*see)(void *to, const struct span *s), void *to);
    void (*each_process)(void *arg, void (*see)(void *to, const struct metric_process *p), void *to);
    size_t (*numbers)(void *arg, struct metric_number *v, size_t max);
    bool (*network)(void *arg, u32 tgid, u64 ret[2]); /* bytes sent and received since it is traced */
    void *arg;
};

struct metrics;
struct metrics *metrics_new(const struct metrics_options *o, struct metric_sink *sink); /* NULL on no memory */
/* Collects once more for the readers and frees. NULL is fine; returns NULL. */
struct metrics *metrics_free(struct metrics *m);
struct metrics *metrics_forget(struct metrics *m); /* the same without that collection */
void metrics_span_started(struct metrics *m, const struct span *s);
void metrics_span_ended(struct metrics *m, const struct span *s);
/* Records `value` for the metrics of the rule `rule` (metrics_options.rules), with the attributes of the span. */
void metrics_measure(struct metrics *m, u32 rule, double value, const struct span *s);
/* Collects when a reader is due or a scraper asked; reads /proc for at most 2 ms a call. */
void metrics_tick(struct metrics *m, u64 wall_ns);
const char *metrics_instance(const struct metrics *m); /* service.instance.id of services that give none */
u32 metrics_series(const struct metrics *m);           /* kept now */

#endif
