/* Head sampling: decided when the first span of a trace on this host starts (a root, or a span whose parent is elsewhere); every
 * later span of that trace here inherits the decision with its parent's flags and tracestate. Samplers by conditions
 * (SAMPLER_BRANCHES: OpenTelemetry's rule_based, parent_threshold, and parent_based with branches of its own) are asked for every
 * span, with what is known of it when it starts.
 *
 * Ratios are OpenTelemetry's consistent probability sampling (specification «Probability Sampling», «TraceState handling»): a
 * trace has 56 bits of randomness R, from `rv` in tracestate's `ot` entry or else the last 7 bytes of its id; ratio p is the
 * threshold T = (1 − p)·2⁵⁶; kept when R ≥ T. T goes on as `th`, so that everybody who counts can weigh the span (its adjusted
 * count is 2⁵⁶ / (2⁵⁶ − T)) and services with other ratios keep subsets of each other's traces. */
#ifndef WF_PIPELINE_SAMPLER_H
#define WF_PIPELINE_SAMPLER_H

#include "trace/span.h"

#define SAMPLER_RULES 64
#define SAMPLER_DEPTH 8 /* samplers in samplers */
#define SAMPLING_BITS (1ull << 56)

enum sampler_kind {
    SAMPLER_NONE,      /* not configured: as parent based always_on, but tracestate is left alone */
    SAMPLER_ALWAYS_ON, /* th = 0 */
    SAMPLER_ALWAYS_OFF,
    SAMPLER_TRACEIDRATIO, /* `ratio` */
    SAMPLER_RATE,         /* at most `per_second` new traces; what a kept one stands for is unknown: no th */
    SAMPLER_PARENT,       /* as the parent was, with its tracestate; roots are kept */
    SAMPLER_BRANCHES,     /* the first of `branches` that is for the span; none: dropped */
};

struct sampler_branch;

/* One decision. parent_based: a span whose parent is elsewhere takes that parent's sampled flag, and `kind` is for roots. */
struct sampler {
    enum sampler_kind kind;
    bool parent_based;
    double ratio;      /* 0 … 1 */
    double per_second; /* > 0; a second's worth may come at once */
    const struct sampler_branch *branches;
    size_t n_branches;
};

enum sampler_origin { SAMPLER_OF_ROOT, SAMPLER_OF_REMOTE, SAMPLER_OF_LOCAL }; /* where the parent is */
/* All that is given holds. Texts and lists must outlive the sampling. */
struct sampler_branch {
    u8 origins;      /* bits of enum sampler_origin; 0: any */
    u8 kinds;        /* bits of enum span_kind; 0: any */
    s8 parent;       /* 1: parent sampled, -1: not, 0: any */
    const char *key; /* an attribute with one of `values`, or NULL */
    const char *const *values;
    size_t n_values;
    const char *pattern_key; /* an attribute that matches one of `included` (none: anything) and none of `excluded`, or NULL */
    const char *const *included, *const *excluded; /* globs */
    size_t n_included, n_excluded;
    struct sampler sampler;
};

/* First match wins; `service` and `name` are globs (fnmatch), NULL: any. `name` is the first span's name: the workflow's. */
struct sampler_rule {
    const char *label; /* → attribute wftrace.sampling.rule of the trace's first span; NULL: none */
    const char *service, *name;
    struct sampler sampler;
};

struct sampler_options {
    struct sampler sampler; /* when no rule matches */
    const struct sampler_rule *rules;
    size_t n_rules; /* at most SAMPLER_RULES */
};

/* "0.1", "1", "10%": what --sample takes → parent based ratio. -EINVAL with a sentence in err. */
int sampler_parse_ratio(const char *text, struct sampler *ret, char *err, size_t err_size);

struct sampling;
struct sampling *sampling_new(const struct sampler_options *o); /* copies; NULL on no memory */
struct sampling *sampling_free(struct sampling *s);
/* Decides for a span that has just started; writes its flags and tracestate. `sampled` is what stands in its flags then. */
bool sampling_start(struct sampling *s, struct span *span);

/* --- consistent probability, also for tail rules --- */
u64 sampling_threshold(double ratio);            /* 0: all; SAMPLING_BITS: none */
u64 sampling_randomness(const struct span *s);   /* 56 bits */
bool tracestate_th(const char *state, u64 *ret); /* the `th` of its `ot` entry; false: none */
/* Sets (or with SAMPLING_BITS removes) `th`, keeping everything else as far as it fits. */
void tracestate_set_th(char *state, size_t size, u64 th);
void sampling_set_th(struct span *s, u64 th); /* the same in a span */

#endif
