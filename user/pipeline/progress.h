/* Runs in progress: activities that have been open for long, and those beneath which nothing happens. Says so in log records, and
 * marks the stuck ones. Asks the tracer once a second, and not at all when nothing is set. */
#ifndef WF_PIPELINE_PROGRESS_H
#define WF_PIPELINE_PROGRESS_H

#include "trace/signal.h"
#include "trace/tracer.h"

struct progress_options {
    u64 running_after_ns; /* open for this long: told then, and once more each time as much has passed; 0: never */
    u64 stuck_after_ns;   /* nothing has begun or ended beneath it for so long: stuck; 0: never */
    bool log;             /* as log records too */
};
struct progress {
    struct progress_options o;
    struct tracer *tracer;
    struct log_sink *sink; /* or NULL: no exporter takes logs */
    u64 now, next;         /* boot ns */
};
/* now_boot: boot ns. */
void progress_tick(struct progress *p, u64 now_boot);

#endif
