/* From the tracer's and the metrics' end to the exporters' queues: head sampling, tail sampling, processors in the user's order.
 * One per shard, on its thread, no lock. Metrics are derived before it, so sampling never skews them.
 *
 *     started  → head sampler (first span of a trace here) → tail: by name → the next stage's started(), when sampled
 *     ended    → unsampled ones end here → tail → processors → next
 *     log      → processors → next           metrics → processors → next
 */
#ifndef WF_PIPELINE_PIPELINE_H
#define WF_PIPELINE_PIPELINE_H

#include "pipeline/processor.h"
#include "pipeline/sampler.h"
#include "pipeline/tail.h"

struct pipeline_options {
    struct sampler_options sampler; /* zeroed: everything, unless a remote parent says otherwise */
    struct tail_options tail;
    bool keep_values;                        /* --privacy off: no redaction but what `processors` name */
    bool logs_of_sampled;                    /* drop log records whose trace was not sampled (head sampling only) */
    const struct processor_spec *processors; /* in order. Without a `redact` among them and unless keep_values, one with the
                                                presets is put at the end of every signal */
    size_t n_processors;                     /* at most PROCESSORS_MAX */
};

struct pipeline;
/* Sinks may be NULL when that signal is not produced. -EINVAL: an option, said in err; -ENOMEM. */
int pipeline_new(const struct pipeline_options *o, struct span_sink *next, struct log_sink *next_logs,
                 struct metric_sink *next_metrics, struct pipeline **ret, char *err, size_t err_size);
/* Other options for what comes from here on, in two steps: all that can fail, then what can't. A trace keeps the head decision
 * with which it began; what waits for a tail decision is decided by the new rules, or kept when there are none; a span, record
 * or collection goes through the processors that are there when it leaves. */
struct pipeline_stages;
int pipeline_prepare(struct pipeline *p, const struct pipeline_options *o, struct pipeline_stages **ret, char *err,
                     size_t err_size);
void pipeline_take(struct pipeline *p, struct pipeline_stages *g); /* consumes g; the old ones are freed */
void pipeline_forget(struct pipeline_stages *g);                   /* one that was not taken; NULL is fine */
struct pipeline *pipeline_free(struct pipeline *p);                /* hands on what waits, all at once; NULL is fine */
struct span_sink *pipeline_spans(struct pipeline *p);
struct log_sink *pipeline_logs(struct pipeline *p);
struct metric_sink *pipeline_metrics(struct pipeline *p);
/* `budget`: how many spans that waited for a decision the queues can take now. */
void pipeline_tick(struct pipeline *p, u64 now_wall_ns, u32 budget);
/* At the end, until it says false: hands on at most `budget` of what waits, decided as it is. */
bool pipeline_finish(struct pipeline *p, u32 budget);

#endif
