/* The two other signals beside spans: log records and metric points, in the OTLP data model. Spoken by logs/metrics stages of
 * pipeline/, by exporters, and by nobody before them. */
#ifndef WF_TRACE_SIGNAL_H
#define WF_TRACE_SIGNAL_H

#include "trace/span.h"

enum signal { SIGNAL_TRACES, SIGNAL_LOGS, SIGNAL_METRICS, SIGNAL_MAX };
extern const char *const signal_name[SIGNAL_MAX]; /* "traces", "logs", "metrics" */

/* --- logs (OTLP logs.proto LogRecord) --- */

#define LOG_ATTRS 24
#define LOG_TEXT  3072
#define LOG_BODY  16384 /* bytes of one record's body; a longer one is cut and says so (wftrace.log.cut) */

struct log_record {
    int refs;                    /* atomic */
    u64 time_ns, observed_ns;    /* wall clock; time 0: unknown */
    u8 severity;                 /* SeverityNumber 1…24, 0 unspecified */
    char severity_text[16];      /* as the source wrote it; "" none */
    struct span_context context; /* activity that wrote it; all zero: unknown */
    const char *event_name;      /* static or interned, or NULL */
    const char *scope;           /* what made it: "stdout", "stderr", "file", "wftrace"; static or interned */
    struct resource *resource;
    struct attr_set attrs;
    struct attr attr_v[LOG_ATTRS];
    char text_v[LOG_TEXT];
    u32 body_len, body_room;
    struct log_record *next_free;
    char body[]; /* valid UTF-8, NUL-terminated */
};
/* refs = 1, zeroed, from a pool by size class; `body` bytes at most are kept (invalid UTF-8 is replaced). NULL: the pool's
 * ceiling is reached or no memory (the caller counts). */
struct log_record *log_new(struct slice body);
struct log_record *log_ref(struct log_record *l);
struct log_record *log_unref(struct log_record *l); /* returns NULL; NULL is fine; drops the resource too */
void log_pool_limit(u64 max_bytes);                 /* default 64 MB */

/* --- metrics (OTLP metrics.proto) --- */

enum metric_kind { METRIC_GAUGE, METRIC_SUM, METRIC_HISTOGRAM, METRIC_EXP_HISTOGRAM };

struct exemplar {
    u64 time_ns;
    double value;
    struct span_context context; /* all zero: none */
};
struct exp_buckets {
    s32 offset;
    u32 n;
    const u64 *counts;
};
struct metric_point {
    const struct attr *attrs;
    u16 n_attrs;
    u16 n_exemplars;
    u64 start_ns, time_ns; /* wall clock */
    const struct exemplar *exemplars;
    union {
        struct { /* GAUGE, SUM */
            bool is_int;
            union {
                s64 i;
                double d;
            };
        };
        struct { /* HISTOGRAM, EXP_HISTOGRAM */
            u64 count;
            double sum, min, max; /* min > max: not known */
            /* HISTOGRAM: n_bounds bounds, n_bounds + 1 counts */
            u32 n_bounds;
            const double *bounds;
            const u64 *counts;
            /* EXP_HISTOGRAM */
            s32 scale;
            u64 zero_count;
            struct exp_buckets positive, negative;
        };
    };
};
struct metric {
    const char *name, *unit, *description; /* never NULL; unit in UCUM */
    const char *scope;
    struct resource *resource; /* a reference */
    enum metric_kind kind;
    bool monotonic, delta; /* SUM: monotonic; SUM and histograms: temporality */
    u32 n_points;
    const struct metric_point *points;
};
/* What one collection yields: immutable, everything in it lives as long as it does. */
struct metric_batch {
    int refs; /* atomic */
    u64 time_ns;
    struct metric *metrics; /* ordered by resource, then scope */
    size_t n;
    u64 n_points;
    bool pull;   /* made because a scraper asked, cumulative: for exporters that are asked, and for no other */
    void *arena; /* private to who made it */
    void (*free)(struct metric_batch *b);
};
struct metric_batch *metric_batch_ref(struct metric_batch *b);
struct metric_batch *metric_batch_unref(struct metric_batch *b); /* returns NULL; NULL is fine; calls free at 0 */

/* A scraper wants fresh numbers: the next tick of the metrics stage makes a batch with `pull`. From any thread. */
void metric_ask(void);
u64 metric_asked(void); /* how often so far */

/* Where finished records and collections go; both take the caller's reference. */
struct log_sink {
    void (*emit)(struct log_sink *sink, struct log_record *l);
};
struct metric_sink {
    void (*emit)(struct metric_sink *sink, struct metric_batch *b);
};

#endif
