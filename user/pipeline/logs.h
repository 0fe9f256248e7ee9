/* Logs: what traced processes write to their standard output and error, and to log files that were named, as log records with the
 * ids of the activity that wrote the line. On the shard thread, fed with every event after the tracer.
 *
 * Whose line it is follows from the unit that called write(2), never from time. A program that collects lines in a buffer and
 * writes many at once (stdio into a pipe, a Python without -u) hides that: such lines get no ids, and the stream none from
 * then on. A line that carries a trace id of its own keeps it. Standard output that another traced process reads as its
 * standard input is data, not a log. */
#ifndef WF_PIPELINE_LOGS_H
#define WF_PIPELINE_LOGS_H

#include "ingest/event.h"
#include "trace/signal.h"
#include "trace/tracer.h"

struct logs_options {
    u8 min_severity; /* SeverityNumber; records that say less are dropped and counted. 0: keep all */
    u32 rate;        /* records per second and process, bursts of as many; 0: no limit */
    u32 max_streams; /* descriptors followed; 0: 8192 */
};
struct logs;
/* NULL on no memory. `tracer` and `sink` outlive it. */
struct logs *logs_new(const struct logs_options *o, struct tracer *tracer, struct log_sink *sink);
void logs_event(struct logs *l, const struct event *e);
void logs_tick(struct logs *l, u64 now_boot);                   /* gives out what waited for more lines */
void logs_change(struct logs *l, const struct logs_options *o); /* level and rate of what comes from here on */
struct logs *logs_free(struct logs *l);                         /* gives out what waits; returns NULL */

#endif
