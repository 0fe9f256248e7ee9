/* The agent's inside: for agent.c, agent_capture.c and agent_reload.c alone. */
#ifndef WF_CLI_AGENT_INTERNAL_H
#define WF_CLI_AGENT_INTERNAL_H

#include "cli/agent.h"
#include "cli/memory.h"
#include "cli/metering.h"
#include "ingest/wfcap.h"
#include "stream/stream.h"
#include "trace/tracer.h"

struct agent {
    struct agent_options o;
    struct probes *probes; /* NULL in a replay */
    struct wfcap_writer *capture;
    struct wfcap_reader *replay;
    struct rules rules;
    struct export_queues *queues;
    struct pipeline *pipeline;
    struct processor_spec processors[PROCESSORS_MAX];
    struct tracer *tracer;
    struct stream *stream;
    struct workflow *workflow;
    struct memory_watch memory;
    u32 queue_waiting;        /* QUEUE_WAITING, or less where queues are shorter */
    struct metering metering; /* between tracer and pipeline */
    struct span_sink counted; /* between pipeline and queues: counts what goes out */
    struct logs *logs;        /* NULL: not wanted */
    struct progress progress;
    struct verdict_sink verdicts;
    u32 lost_seen;
    u32 sites_written; /* of the rules' book, in the capture */
    u32 ticks;
    u64 rules_leave_at; /* boot ns at which it is asked whether retired rules have calls open; 0: none is on its way out */
    u64 lost, next_tick;
    u64 seed[2];
    s64 wall_minus_boot;
    struct agent_summary sum;
};

/* agent.c, for agent_reload.c too. The options' processors, in `v`, with who takes the measurements. */
void agent_bind_measures(struct agent *a, struct pipeline_options *o, struct processor_spec v[PROCESSORS_MAX]);
struct metering_options agent_metering_options(struct agent *a, const struct agent_options *o); /* borrows from o */
void agent_queue_room(struct agent *a);
int agent_rules_read(const struct agent_options *o, struct rules *ret, char *err, size_t err_size);
/* agent_reload.c: probes of rules that a reload took away go when the last call that such a rule began has ended. */
void agent_rules_tick(struct agent *a, u64 now);

/* agent_capture.c. Makes the file that the options name, if they do; -errno. */
int agent_capture_open(struct agent *a, char *err, size_t err_size);
/* What the header of a->replay says, unless the options say otherwise: seed, clock, service, privacy, root, rules. */
int agent_replay_header(struct agent *a, char *err, size_t err_size);
void agent_replay_site(struct agent *a, const struct wfcap_site *s);

#endif
