/* The ceiling of memory: what each table, pool and queue may take of it, and a watch over what the process really takes.
 *
 * A part of the limit is the program itself (MEMORY_BASE); of the rest every consumer that grows with the load has a share, and
 * its own ceiling is made of that. What a consumer drops at its ceiling it counts, as it always does. Shares are reckoned with
 * the largest items, so that the sum is rarely reached; should the process come near the limit all the same (the allocator's
 * holes, files that are looked into), the watch lowers the pools of spans, log records and resources until it is well below. */
#ifndef WF_CLI_MEMORY_H
#define WF_CLI_MEMORY_H

#include "cli/agent.h"

#define MEMORY_LEAST   (48ull << 20)
#define MEMORY_DEFAULT (1ull << 30)
#define MEMORY_BASE    (32ull << 20)

struct memory_plan {
    u64 limit;      /* bytes, resident */
    u32 ring_bytes; /* a power of two */
    u32 resources;
    u64 span_bytes, log_bytes, tail_bytes, buffered_bytes;
    u32 series; /* of derived metrics */
    u64 points; /* waiting for one exporter of metrics */
    u32 queue;  /* spans or log records waiting for one exporter */
    u32 batch;  /* items of one request */
    u32 conns, units, processes, open;
};

/* Never more than the defaults; the exporters (at least 1) share what they encode in. A limit below MEMORY_LEAST counts as that. */
struct memory_plan memory_plan_of(u64 limit, size_t n_exporters);
/* What holds when nobody named a limit: MEMORY_DEFAULT, or three quarters of the control group's, when that is less. */
u64 memory_default(void);
/* Ceilings of the plan into options that are higher, or unset. The pools' are the process's: memory_watch_begin(). */
void memory_plan_apply(const struct memory_plan *p, struct agent_options *o);

/* The watch: once a tick. Sets the pools' ceilings by what is resident. */
struct memory_watch {
    struct memory_plan plan;
    int fd;    /* /proc/self/statm; -1: not begun */
    u64 spans; /* the ceiling of their bytes at the moment */
    u64 next_word, next_trim;
};
void memory_watch_begin(struct memory_watch *w, const struct memory_plan *p);
void memory_watch_tick(struct memory_watch *w, u64 now_boot);
void memory_watch_end(struct memory_watch *w); /* the pools' ceilings stay as they are */
/* One step: the ceiling of spans, given what is resident and what they take; in bytes. */
u64 memory_step(const struct memory_plan *p, u64 ceiling, u64 resident, u64 live);

#endif
