/* One shard's line and its life. Time comes in two ways: live, boot time is read here and the distance to wall time is
 * measured at every tick; in a replay both come from the capture's tick frames, and so do the ids' seed, so that a
 * replay makes the same spans with the same ids. */
#include "cli/agent_internal.h"
#include "base/log.h"
#include "ingest/event.h"
#include "self/health.h"
#include "self/ledger.h"
#include "stream/stream.h"
#include "trace/tracer.h"
#include "workflow/packs.h"
#include "workflow/workflow.h"
#include "config/watch.h"

#include <sys/random.h>
#include <unistd.h>

#define LOG_FILES_TICKS 2 /* how often log files are looked for */
#define TICK_NS         (100 * NSEC_PER_MSEC)
#define QUEUE_WAITING   8000 /* spans waiting in the exporters' queues, at most: below their default ceiling */
#define QUEUE_IDLE_MS   3000

/* --- the line --- */

static void counted_started(struct span_sink *sink, struct span *s)
{
    struct agent *a = container_of(sink, struct agent, counted);
    struct span_sink *next = export_queues_sink(a->queues);
    if (next->started)
        next->started(next, s);
}

static void counted_dropped(struct span_sink *sink, struct span *s)
{
    struct agent *a = container_of(sink, struct agent, counted);
    struct span_sink *next = export_queues_sink(a->queues);
    if (next->dropped)
        next->dropped(next, s);
}

static void counted_ended(struct span_sink *sink, struct span *s)
{
    struct agent *a = container_of(sink, struct agent, counted);
    struct span_sink *next = export_queues_sink(a->queues);
    a->sum.spans++;
    a->sum.errors += s->status == STATUS_ERROR;
    next->ended(next, s);
}

static void verdict_set(struct verdict_sink *v, u64 conn, bool ignore, u32 budget)
{
    struct agent *a = container_of(v, struct agent, verdicts);
    enum probe_verdict verdict = ignore ? PROBE_IGNORE : budget ? PROBE_HEAD : PROBE_ALL;
    (void)probes_verdict(a->probes, conn, verdict, budget); /* the connection may be gone: then nothing is to be done */
}

static void verdict_set_tls(struct verdict_sink *v, u32 tgid, u64 ssl)
{
    struct agent *a = container_of(v, struct agent, verdicts);
    (void)probes_verdict_tls(a->probes, tgid, ssl);
}

static void record_dispatch(struct agent *a, const void *record, size_t len)
{
    struct event e;
    if (event_decode(record, len, &a->lost_seen, &e)) /* counted there */
        return;
    a->lost += e.lost;
    tracer_event(a->tracer, &e);
    stream_event(a->stream, &e);
    workflow_event(a->workflow, &e);
    if (a->logs)
        logs_event(a->logs, &e);
    if (e.type == EVENT_CLOSE && a->probes)
        probes_forget(a->probes, e.close.conn);
}

static void capture_fail(struct agent *a, int err)
{
    if (err)
        log_error("capture", "writing %s: %s (capture stopped there; tracing goes on)", a->o.capture, errno_name(err));
}

/* Sites that were attached since the last record: what their hits mean must stand before them. */
static void capture_sites(struct agent *a)
{
    const struct site_row *row;
    while (a->rules.sites && (row = site_get(a->rules.sites, a->sites_written))) {
        struct wfcap_site site = { a->sites_written++, row->rule, (u32)row->role, slice_str(row->function),
                                   slice_str(row->file) };
        capture_fail(a, wfcap_write_site(a->capture, &site));
    }
}

static void record_take(void *arg, const void *record, size_t len)
{
    struct agent *a = arg;
    if (a->capture)
        capture_sites(a);
    if (a->capture)
        capture_fail(a, wfcap_write_record(a->capture, record, len));
    record_dispatch(a, record, len);
}

static u32 queues_room(const struct agent *a)
{
    u32 waiting = export_queues_waiting(a->queues, SIGNAL_TRACES);
    return waiting < a->queue_waiting ? a->queue_waiting - waiting : 0;
}

/* What comes live can only be dropped when an exporter cannot take it; a replay, and what waited for a tail decision, can wait
 * for them. Gives up waiting when nothing moves for a while: the receiver is away, and then the queues count what they drop. */
static void queues_wait(struct agent *a)
{
    u32 before = 0;
    for (int idle_ms = 0; idle_ms < QUEUE_IDLE_MS;) {
        u32 room = queues_room(a);
        if (room)
            return;
        u32 waiting = export_queues_waiting(a->queues, SIGNAL_TRACES);
        idle_ms = waiting == before ? idle_ms + 1 : 0;
        before = waiting;
        usleep(1000);
    }
}

static void line_tick(struct agent *a, u64 now_boot, s64 wall_minus_boot)
{
    a->wall_minus_boot = wall_minus_boot;
    tracer_tick(a->tracer, now_boot, wall_minus_boot);
    stream_tick(a->stream, now_boot);
    workflow_tick(a->workflow, now_boot);
    if (a->logs)
        logs_tick(a->logs, now_boot);
    progress_tick(&a->progress, now_boot);
    pipeline_tick(a->pipeline, now_boot + (u64)wall_minus_boot, queues_room(a));
    metering_tick(&a->metering, now_boot + (u64)wall_minus_boot);
}

/* Wall minus boot time. Boot time is read on both sides of the wall clock; the narrowest of a few tries wins, so that a
 * preemption in between does not shift every span. */
static s64 clock_offset(void)
{
    s64 best = 0;
    u64 narrowest = UINT64_MAX;
    for (int i = 0; i < 5; i++) {
        u64 before = clock_boot_ns(), wall = clock_wall_ns(), after = clock_boot_ns();
        if (after - before < narrowest) {
            narrowest = after - before;
            best = (s64)(wall - (before + (after - before) / 2));
        }
    }
    return best;
}

static void tick_if_due(struct agent *a)
{
    u64 now = clock_boot_ns();
    if (now < a->next_tick)
        return;
    a->next_tick = now + TICK_NS;
    if (a->logs && a->o.n_log_files && ++a->ticks % LOG_FILES_TICKS == 0)
        probes_output_scan(a->probes, a->o.log_files, a->o.n_log_files);
    struct wfcap_tick tick = { now, clock_offset() };
    if (a->capture)
        capture_fail(a, wfcap_write_tick(a->capture, &tick));
    line_tick(a, tick.now_boot, tick.wall_minus_boot);
    memory_watch_tick(&a->memory, now);
    agent_rules_tick(a, now);
}

/* --- making it --- */

void agent_queue_room(struct agent *a)
{
    a->queue_waiting = QUEUE_WAITING;
    for (size_t i = 0; i < a->o.n_exports; i++)
        if (a->o.exports[i].signal == SIGNAL_TRACES && a->o.exports[i].lane.max_queue)
            a->queue_waiting = (u32)min_u64(a->queue_waiting, max_u64(a->o.exports[i].lane.max_queue / 2, 1));
    a->queue_waiting = (u32)min_u64(a->queue_waiting, a->memory.plan.queue / 64 * 62);
}

/* Before anything takes memory by it. */
static void memory_open(struct agent *a)
{
    struct memory_plan p = memory_plan_of(a->o.memory_limit ? a->o.memory_limit : memory_default(), a->o.n_exports);
    memory_plan_apply(&p, &a->o);
    memory_watch_begin(&a->memory, &p);
    agent_queue_room(a);
}

static int exporters_open(struct agent *a, char *err, size_t err_size)
{
    int code = export_queues_new(&a->o.queues, &a->queues);
    for (size_t i = 0; !code && i < a->o.n_exports; i++)
        code = export_queues_add(a->queues, &a->o.exports[i], err, err_size);
    return code;
}

/* The user's files come behind the packs, for they may change them. */
int agent_rules_read(const struct agent_options *o, struct rules *ret, char *err, size_t err_size)
{
    struct watch_book book = { 0 };
    int code = o->keep_pack ? packs_load(ret, err, err_size) : 0;
    for (size_t i = 0; !code && i < o->n_rule_texts; i++)
        code = rules_parse(ret, o->rule_texts[i].name, o->rule_texts[i].text, o->rule_texts[i].len, err, err_size);
    for (size_t i = 0; !code && i < o->n_rule_files; i++)
        code = rules_load(ret, o->rule_files[i], err, err_size);
    if (!code && o->keep_pack)
        rules_keep_packs(ret, o->keep_pack, o->keep_arg);
    if (!code)
        code = watch_book_make(ret, &book, err, err_size);
    watch_book_done(&book);
    return code;
}

static void measured(void *arg, const struct measure_options *o, double value, const struct span *s)
{
    struct agent *a = arg;
    if (a->metering.metrics)
        metrics_measure(a->metering.metrics, o->rule, value, s);
}

void agent_bind_measures(struct agent *a, struct pipeline_options *o, struct processor_spec v[PROCESSORS_MAX])
{
    size_t n = min_u64(o->n_processors, PROCESSORS_MAX);
    for (size_t i = 0; i < n; i++) {
        v[i] = o->processors[i];
        if (strcmp(v[i].kind, "metric"))
            continue;
        v[i].measure.record = measured;
        v[i].measure.arg = a;
        v[i].measure.rule = METERING_MEASURE(i);
    }
    o->processors = v;
    o->n_processors = n;
}

static int pipeline_open(struct agent *a, char *err, size_t err_size)
{
    a->counted = (struct span_sink){ .started = counted_started, .ended = counted_ended, .dropped = counted_dropped };
    a->o.pipeline.keep_values = a->o.keep_values;
    agent_bind_measures(a, &a->o.pipeline, a->processors);
    return pipeline_new(&a->o.pipeline, &a->counted, export_queues_log_sink(a->queues), export_queues_metric_sink(a->queues),
                        &a->pipeline, err, err_size);
}

static u64 kernel_stat(void *arg, size_t i, const char **ret_name, const char **ret_help)
{
    static const char *const help[] = {
#define STAT(name, text) text,
#include "bpf/stats.def"
#undef STAT
    };
    struct agent *a = arg;
    *ret_name = *ret_help = NULL;
    if (!a->probes || i >= ARRAY_LEN(help)) /* they go before the last collection */
        return 0;
    *ret_help = help[i];
    return agent_kernel_stat(a, i, ret_name);
}

static bool network(void *arg, u32 tgid, u64 ret[2])
{
    struct agent *a = arg;
    return a->probes && !probes_moved(a->probes, tgid, ret);
}

struct metering_options agent_metering_options(struct agent *a, const struct agent_options *o)
{
    return (struct metering_options){ .meters = &o->meters,
                                      .pipeline = &o->pipeline,
                                      .start_ns = a->probes ? clock_boot_ns() + (u64)a->wall_minus_boot : 0,
                                      .live = a->probes,
                                      .kernel_stat = a->probes ? kernel_stat : NULL,
                                      .network = a->probes ? network : NULL,
                                      .arg = a };
}

static int metrics_open(struct agent *a)
{
    struct metering_options o = agent_metering_options(a, &a->o);
    return metering_open(&a->metering, &o, &a->rules, a->queues, pipeline_spans(a->pipeline), pipeline_metrics(a->pipeline));
}

static int line_open(struct agent *a, char *err, size_t err_size)
{
    int code = pipeline_open(a, err, err_size);
    if (!code && (code = metrics_open(a)))
        snprintf(err, err_size, "not enough memory for metrics");
    if (code)
        return code;
    a->verdicts = (struct verdict_sink){ .set = verdict_set, .set_tls = verdict_set_tls };
    struct tracer_options t = { .service = a->o.service,
                                .resource = a->o.resource,
                                .root = a->o.root,
                                .root_state = a->o.root_state,
                                .keep_values = a->o.keep_values,
                                .no_traceparent = a->o.no_traceparent,
                                .baggage = a->o.baggage,
                                .n_baggage = a->o.n_baggage,
                                .wall_minus_boot = a->wall_minus_boot,
                                .seed = { a->seed[0], a->seed[1] },
                                .exec = workflow_exec_hooks(&a->rules),
                                .max_processes = a->o.max_processes,
                                .max_units = a->o.max_units,
                                .max_open = a->o.max_open };
    a->metering.tracer = a->tracer = tracer_new(&t, &a->metering.sink);
    struct stream_options s = { .privacy = { a->o.keep_values, a->o.chunk_events },
                                .max_conns = a->o.max_conns,
                                .max_buffered = a->o.max_buffered };
    if (a->tracer)
        a->stream = stream_new(&s, tracer_exchanges(a->tracer), a->probes ? &a->verdicts : NULL);
    if (a->stream)
        a->workflow = workflow_new(&a->rules, a->tracer);
    bool logs = (a->o.logs || a->o.n_log_files) && export_queues_wants(a->queues, SIGNAL_LOGS);
    if (a->workflow && logs)
        a->logs = logs_new(&a->o.log_options, a->tracer, pipeline_logs(a->pipeline));
    a->progress = (struct progress){ .o = a->o.progress, .tracer = a->tracer };
    if (export_queues_wants(a->queues, SIGNAL_LOGS))
        a->progress.sink = pipeline_logs(a->pipeline);
    if (a->workflow && (a->logs || !logs))
        return 0;
    snprintf(err, err_size, "not enough memory for the tables");
    return -ENOMEM;
}

static int open_probes(struct agent *a, enum agent_failure *about, char *err, size_t err_size)
{
    int code = probes_open(&a->o.probe, &a->probes, err, err_size);
    if (code)
        *about = code == -EPERM || code == -EACCES || code == -EOPNOTSUPP ? AGENT_PRIVILEGE : AGENT_RUNTIME;
    return code;
}

static int live_steps(struct agent *a, enum agent_failure *about, char *err, size_t err_size)
{
    *about = AGENT_CONFIG;
    int code = agent_rules_read(&a->o, &a->rules, err, err_size);
    if (!code)
        code = open_probes(a, about, err, err_size);
    if (code)
        return code;
    *about = AGENT_CONFIG;
    code = a->rules.n ? probes_rules(a->probes, &a->rules, err, err_size) : 0;
    if (code)
        return code;
    *about = AGENT_RUNTIME; /* what an exporter's text may say was checked before */
    code = exporters_open(a, err, err_size);
    if (!code)
        code = line_open(a, err, err_size);
    return code ? code : agent_capture_open(a, err, err_size);
}

/* What processes write is taken where it goes somewhere: to an exporter of logs, or into a capture. */
static void output_choose(struct agent_options *o)
{
    bool wanted = o->logs || o->n_log_files, takers = o->capture;
    for (size_t i = 0; i < o->n_exports; i++)
        takers |= o->exports[i].signal == SIGNAL_LOGS;
    if (wanted && !takers)
        log_warn("agent",
                 "logs are wanted, but no exporter takes them: what processes write is not looked at (add one that does, "
                 "--export otlp for example, or a logger_provider to the configuration)");
    o->probe.output = takers && o->logs;
    o->probe.output_files = takers && o->n_log_files > 0;
}

int agent_open(const struct agent_options *o, struct agent **ret, enum agent_failure *ret_about, char *err, size_t err_size)
{
    struct agent *a = calloc(1, sizeof(*a));
    if (!a) {
        *ret_about = AGENT_RUNTIME;
        snprintf(err, err_size, "no memory");
        return -ENOMEM;
    }
    a->o = *o;
    output_choose(&a->o);
    a->o.probe.keep_numbers = o->capture;
    if (getrandom(a->seed, sizeof(a->seed), 0) != sizeof(a->seed))
        a->seed[0] = clock_wall_ns(), a->seed[1] = (u64)getpid();
    a->wall_minus_boot = clock_offset();
    memory_open(a);
    snprintf(err, err_size, "failed");
    int code = live_steps(a, ret_about, err, err_size);
    if (code) {
        agent_close(a, NULL);
        return code;
    }
    health_ready(true);
    *ret = a;
    return 0;
}

/* --- living --- */

int agent_target(struct agent *a, pid_t tgid) { return probes_target(a->probes, tgid, true); }
void agent_previsit(struct agent *a, const char *word) { probes_previsit(a->probes, word); }
int agent_file(struct agent *a, const char *path) { return probes_file(a->probes, path); }
const struct rules *agent_rules(const struct agent *a) { return &a->rules; }
bool agent_watch(const struct agent *a, size_t i, struct workflow_watch *ret) { return workflow_watch(a->workflow, i, ret); }
void agent_notes(const struct agent *a, struct workflow_notes *ret) { workflow_notes(a->workflow, ret); }

int agent_watches(const struct agent *a, FILE *out) { return workflow_watches_write(a->workflow, out); }

int agent_discover(struct agent *a, const struct probe_discovery *d) { return probes_discover(a->probes, d); }
int agent_untarget(struct agent *a, pid_t tgid) { return probes_untarget(a->probes, tgid); }

int agent_turn(struct agent *a, int timeout_ms)
{
    u64 now = clock_boot_ns();
    u64 until_tick = now >= a->next_tick ? 0 : (a->next_tick - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
    int n = probes_poll(a->probes, (int)min_u64((u64)timeout_ms, until_tick), record_take, a);
    tick_if_due(a);
    return n == -EINTR ? 0 : n;
}

void agent_drain(struct agent *a, u64 quiet_ms, u64 most_ms)
{
    u64 start = clock_boot_ns(), last = start;
    for (u64 now = start; now - last < quiet_ms * NSEC_PER_MSEC && now - start < most_ms * NSEC_PER_MSEC;) {
        int n = agent_turn(a, 10);
        now = clock_boot_ns();
        if (n < 0)
            break;
        if (n > 0)
            last = now;
    }
}

u64 agent_kernel_stat(struct agent *a, size_t i, const char **ret_name)
{
    u64 values[64] = { 0 };
    const char *const *names = NULL;
    *ret_name = NULL;
    if (i >= ARRAY_LEN(values))
        return 0;
    probes_stats(a->probes, values, ARRAY_LEN(values), &names);
    *ret_name = names ? names[i] : NULL;
    return *ret_name ? values[i] : 0;
}

/* --- replay --- */

static void replay_frames(struct agent *a)
{
    struct wfcap_frame frame;
    enum wfcap_status status;
    while ((status = wfcap_next(a->replay, &frame)) == WFCAP_OK) {
        if (frame.kind == WFCAP_TICK)
            line_tick(a, frame.tick.now_boot, frame.tick.wall_minus_boot);
        else if (frame.kind == WFCAP_SITE)
            agent_replay_site(a, &frame.site);
        else
            record_dispatch(a, frame.record.p, frame.record.n);
        queues_wait(a);
    }
    a->sum.truncated = status == WFCAP_TRUNCATED;
    a->sum.corrupt = status == WFCAP_CORRUPT;
}

static int replay_steps(struct agent *a, const char *path, enum agent_failure *about, char *err, size_t err_size)
{
    *about = AGENT_RUNTIME;
    FILE *f = strcmp(path, "-") ? fopen(path, "rbe") : stdin;
    if (!f) {
        snprintf(err, err_size, "cannot read %s: %s", path, errno_name(errno));
        return -errno;
    }
    int code = wfcap_open(f, wfcap_abi, &a->replay, err, err_size);
    if (!code)
        code = agent_replay_header(a, err, err_size);
    if (code)
        return code;
    code = exporters_open(a, err, err_size);
    return code ? code : line_open(a, err, err_size);
}

int agent_replay(const struct agent_options *o, const char *path, struct agent **ret, enum agent_failure *ret_about, char *err,
                 size_t err_size)
{
    struct agent *a = calloc(1, sizeof(*a));
    if (!a) {
        *ret_about = AGENT_RUNTIME;
        snprintf(err, err_size, "no memory");
        return -ENOMEM;
    }
    a->o = *o;
    memory_open(a);
    int code = replay_steps(a, path, ret_about, err, err_size);
    if (code) {
        agent_close(a, NULL);
        return code;
    }
    replay_frames(a);
    *ret = a;
    return 0;
}

/* --- the end --- */

void agent_summary_of(const struct agent *a, struct agent_summary *ret) { *ret = a->sum; }

/* Upstream first: nothing new comes in; what is in the line is ended from its head to its tail (an open exchange ends an
 * activity, an activity ends a span, a span waits in a queue); the queues are flushed last. */
void agent_close(struct agent *a, struct agent_summary *ret)
{
    if (!a)
        return;
    a->sum.missed = a->probes ? probes_missed(a->probes) : 0;
    a->probes = probes_close(a->probes);
    a->sum.lost_records = a->lost;
    if (a->capture) {
        struct wfcap_totals totals = { 0 };
        a->sum.capture_err = wfcap_finish(take_ptr(a->capture), &totals);
        a->sum.captured = totals.records;
    }
    if (a->stream)
        a->stream = stream_free(a->stream);
    if (a->logs)
        a->logs = logs_free(a->logs);
    if (a->workflow)
        workflow_free(a->workflow);
    if (a->tracer)
        a->tracer = tracer_free(a->tracer);
    metering_close(&a->metering);
    while (a->pipeline && pipeline_finish(a->pipeline, max_u64(queues_room(a), 1)))
        queues_wait(a);
    a->pipeline = pipeline_free(a->pipeline);
    if (a->queues)
        a->sum.undelivered = export_queues_close(a->queues, a->o.flush_ms);
    a->replay = wfcap_close(a->replay);
    memory_watch_end(&a->memory);
    rules_done(&a->rules);
    if (ret)
        *ret = a->sum;
    free(a);
}
