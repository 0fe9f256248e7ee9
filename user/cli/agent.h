/* The assembly: probes → capture file → events → tracer, stream, workflow → exporters, in the caller's thread, and the one
 * place where the order of shutting down stands. A replay is the same line with a capture file at its head.
 *
 * It lives beside the commands and not in self/, because it links every stage and self/ is linked by single stages. */
#ifndef WF_CLI_AGENT_H
#define WF_CLI_AGENT_H

#include "config/rules.h"
#include "export/exporter.h"
#include "pipeline/metrics.h"
#include "pipeline/logs.h"
#include "pipeline/progress.h"
#include "pipeline/pipeline.h"
#include "probe/probe.h"
#include "trace/span.h"

#define AGENT_RULE_FILES 16
#define AGENT_RULE_TEXTS 2  /* packs and activities written in the configuration */
#define AGENT_EXPORTS    24 /* one for each exporter and signal */

struct rule_text { /* as a rule file; name: for messages */
    const char *name, *text;
    size_t len;
};
struct agent_options {
    struct probe_options probe;
    const char *rule_files[AGENT_RULE_FILES];
    size_t n_rule_files;
    bool (*keep_pack)(void *arg, const struct pack *p); /* whether a pack is in force; NULL: none is */
    void *keep_arg;
    struct rule_text rule_texts[AGENT_RULE_TEXTS]; /* read before the files */
    size_t n_rule_texts;
    struct export_spec exports[AGENT_EXPORTS];
    size_t n_exports;
    struct export_queue_options queues;
    struct metrics_options meters;    /* views, interval, temporality, limits; what it points to must outlive the agent */
    struct pipeline_options pipeline; /* what it points to must outlive the agent */
    const char *service;
    const struct resource *resource; /* added to that of every process; or NULL */
    struct span_context root;        /* of TRACEPARENT in wftrace's own environment */
    const char *root_state;
    bool keep_values;    /* --privacy off */
    u16 chunk_events;    /* as in struct privacy */
    bool no_traceparent; /* as in struct tracer_options */
    const char *const *baggage;
    size_t n_baggage;
    bool logs; /* standard output and error as log records */
    struct logs_options log_options;
    struct progress_options progress; /* activities that run for long */
    const char *const *log_files;     /* patterns; must outlive the agent */
    size_t n_log_files;
    bool privacy_set;    /* --privacy was given: a replay takes it, else the capture's own */
    const char *capture; /* file to write, or NULL */
    u64 memory_limit;    /* bytes; 0: memory_default() */
    /* Ceilings, 0: those of the stages; the limit lowers them. */
    u32 max_conns, max_units, max_processes, max_open;
    u64 max_buffered;
    u64 flush_ms; /* how long the exporters may take at the end */
};

enum agent_failure { AGENT_RUNTIME, AGENT_CONFIG, AGENT_PRIVILEGE }; /* what an error is about: the exit status */

struct agent_summary {
    u64 spans, errors;       /* handed to the exporters; with status ERROR */
    u64 undelivered;         /* spans that some exporter could not deliver */
    u64 lost_records;        /* that the kernel side had no room for */
    u64 missed;              /* calls of its hooks, of any process, that the kernel left out */
    u64 captured;            /* records in the capture file */
    int capture_err;         /* -errno when the capture file is not whole */
    bool truncated, corrupt; /* replay: how the file ended */
};

struct agent;
struct workflow_watch;
struct workflow_notes;

/* Live. -EINVAL: rules or exporters (AGENT_CONFIG); -EPERM, -EOPNOTSUPP (AGENT_PRIVILEGE); others. `err` says what and what
 * to do. */
int agent_open(const struct agent_options *o, struct agent **ret, enum agent_failure *ret_about, char *err, size_t err_size);
/* tgid becomes a target with its children. -ESRCH when it is gone. */
int agent_target(struct agent *a, pid_t tgid);
/* Before the command `word` is started: probes sit in what it will map. */
void agent_previsit(struct agent *a, const char *word);
/* A file that targets will map: its probes sit before they do. -errno. */
int agent_file(struct agent *a, const char *path);
const struct rules *agent_rules(const struct agent *a); /* in force: packs, then the user's files */
/* What the helper inside Python processes is to watch, in its own form (config/watch.h). -errno. */
int agent_watches(const struct agent *a, FILE *out);
bool agent_watch(const struct agent *a, size_t i, struct workflow_watch *ret); /* what came of it so far; false past the end */
void agent_notes(const struct agent *a, struct workflow_notes *ret);
int agent_discover(struct agent *a, const struct probe_discovery *d); /* probes_discover */
int agent_untarget(struct agent *a, pid_t tgid);
/* One turn: everything that waits, a tick when one is due. Sleeps at most timeout_ms, signals wake it. Records handled, or
 * -errno of the reader (-EINTR is 0). */
int agent_turn(struct agent *a, int timeout_ms);
/* Turns until nothing came for `quiet_ms`, at most `most_ms`. */
void agent_drain(struct agent *a, u64 quiet_ms, u64 most_ms);
u64 agent_kernel_stat(struct agent *a, size_t i, const char **ret_name); /* NULL name past the end */

/* Other options from the next record on. `same_resource`: service and resource are what they were. All or nothing: on -EINVAL or
 * -errno, with a sentence in err, everything is as it was. What can't change while it runs is named in `ret_restart`, key by
 * key, separated by ", ". What `o` points to must live until the next change has succeeded; what the old ones pointed to may go
 * then. */
int agent_reload(struct agent *a, const struct agent_options *o, bool same_resource, char *ret_restart, size_t restart_size,
                 char *err, size_t err_size);

/* A capture file through the same line, at once, to its end. Service, root, privacy and rules are the capture's own
 * unless `o` sets them. Then agent_close(). */
int agent_replay(const struct agent_options *o, const char *path, struct agent **ret, enum agent_failure *ret_about, char *err,
                 size_t err_size);

void agent_summary_of(const struct agent *a, struct agent_summary *ret); /* so far */

/* Detach, drain, end what is open, flush the exporters, free: in this order. NULL is fine. */
void agent_close(struct agent *a, struct agent_summary *ret);

#endif
