/* Tail sampling: what the whole trace turned out to be decides, as seen on this host.
 *
 * Ended spans wait (some 0.8 KB each) until their trace is decided; later spans of a decided trace follow at once.
 * A trace is decided as early as a rule can tell:
 *   name      when a span of that name starts
 *   error     when a span ends with an error
 *   slow      when it has lasted that long, also while it runs
 *   (else)    when nothing of it is open and nothing came for wait_ms: kept by `ratio`, consistently, with `th`
 * So a run of hours holds what ended before it was slow, and nothing afterwards.
 *
 * Memory is max_bytes and max_spans. When it is full: first traces that only wait for stragglers are decided as they are; then
 * the one that has run longest is *kept* (rule "overflow"), since nobody knows yet whether it will fail. So no trace with an
 * error, slow or named is ever lost to memory; each early decision is counted (tail_overflow). A decision is remembered for
 * max_traces traces, least recently used first; an open trace that is forgotten is decided anew by what comes later. */
#ifndef WF_PIPELINE_TAIL_H
#define WF_PIPELINE_TAIL_H

#include "trace/span.h"

#define TAIL_NAMES 64

struct tail_options {
    bool enabled;
    bool errors;              /* keep traces with a span of status ERROR */
    u64 slow_ns;              /* keep traces that last so long or longer; 0: no such rule */
    const char *const *names; /* keep traces with a span so called (globs) */
    size_t n_names;           /* at most TAIL_NAMES */
    double ratio;             /* of all others, 0 … 1 */
    u32 wait_ms;              /* how long a trace with nothing open waits for more (default 2000) */
    u64 max_bytes;            /* default 64 MB */
    u32 max_spans;            /* default 200,000 */
    u32 max_traces;           /* default 65,536 */
    bool head_unknown;        /* the head sampler's probability is not known (rate): no `th` is made up */
};

/* «errors,slow=5s,name=nightly*,ratio=0.05» (name may come again). The names live as long as the process. -EINVAL with a sentence
 * in err. */
int tail_parse(const char *text, struct tail_options *ret, char *err, size_t err_size);

struct tail;
struct tail *tail_new(const struct tail_options *o, struct span_sink *next); /* NULL on no memory */
struct tail *tail_free(struct tail *t);                                      /* what still waits is dropped and counted */
/* Other rules: `to`, fresh, takes over what `from` knows and holds and frees it. Decided traces stay decided; the others are judged
 * anew, by what they hold and by what comes. */
void tail_take(struct tail *to, struct tail *from);
/* No rules any more: what is undecided is kept, what was dropped stays so until it is over. New traces are not looked at. */
void tail_off(struct tail *t);
bool tail_passes(struct tail *t, const struct span *s); /* after tail_off(): it is no span of a dropped trace */
bool tail_over(struct tail *t);                         /* after tail_off(): nothing is left that it would have to say */
void tail_started(struct tail *t, struct span *s);      /* a sampled one */
void tail_ended(struct tail *t, struct span *s);        /* takes the reference; also of unsampled ones */
/* Time passes; of what is decided and kept at most `budget` spans are handed on, so that the queues are not flooded by the
 * past of one long run. Memory beyond the ceilings is handed on at once. */
void tail_tick(struct tail *t, u64 now_wall_ns, u32 budget);
/* The end: decides everything that waits by its rules; then hands on at most `budget` spans. False: nothing is left. */
bool tail_finish(struct tail *t, u32 budget);
u64 tail_bytes(const struct tail *t);
u32 tail_spans(const struct tail *t);

#endif
