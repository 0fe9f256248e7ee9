/* The metrics stage in the line: what it is told (options, rules), what it is asked (open spans, processes, wftrace's own
 * numbers), and the span sink in front of the pipeline, so that sampling never skews a number. */
#ifndef WF_CLI_METERING_H
#define WF_CLI_METERING_H

#include "config/rules.h"
#include "export/exporter.h"
#include "pipeline/metrics.h"
#include "pipeline/pipeline.h"
#include "trace/tracer.h"

struct metering_options {
    const struct metrics_options *meters;    /* views, interval, temporality, limits; borrowed */
    const struct pipeline_options *pipeline; /* its `metric` processors are metrics of their own */
    u64 start_ns;                            /* wall clock */
    bool live;                               /* /proc is of the processes traced */
    u64 (*kernel_stat)(void *arg, size_t i, const char **ret_name, const char **ret_help); /* or NULL; NULL name past the end */
    bool (*network)(void *arg, u32 tgid, u64 ret[2]); /* or NULL; pipeline/metrics.h */
    void *arg;
};
struct metering {
    struct span_sink sink; /* what the tracer hands to */
    struct span_sink *next;
    struct metric_sink *to;
    u64 print;               /* of what `metrics` was made of */
    struct metrics *metrics; /* NULL: no exporter takes metrics; the sink passes on */
    struct export_queues *queues;
    struct tracer *tracer; /* set when it is there */
    struct metering_options o;
};
/* The number of processor i's metric as a rule: above those of real rules. */
#define METERING_MEASURE(i) (0x80000000u | (u32)(i))
/* -ENOMEM */
int metering_open(struct metering *m, const struct metering_options *o, const struct rules *rules, struct export_queues *q,
                  struct span_sink *next, struct metric_sink *to);
/* Other options, in two steps as in pipeline/pipeline.h. Where they mean the same nothing changes; else what was counted is
 * collected once more and the series begin anew, with a start time that says so. -ENOMEM. */
struct metering_change {
    struct metrics *metrics;
    u64 print;
    bool same;
};
int metering_prepare(struct metering *m, const struct metering_options *o, const struct rules *rules, bool push, bool pull,
                     struct metering_change *ret);
void metering_take(struct metering *m, struct metering_change *c);
void metering_forget(struct metering_change *c); /* one that was not taken */
void metering_tick(struct metering *m, u64 wall_ns);
/* After the tracer has ended what was open: the last collection. */
void metering_close(struct metering *m);

#endif
