/* A running line with other options: everything that can fail is made beside what is in force (processors opened, series made,
 * lanes opened), then all of it changes places between two records. So a span is handled by one of the two, and a mistake
 * changes nothing. */
#include "cli/agent_internal.h"
#include "workflow/workflow.h"

#define LEAVE_NS NSEC_PER_SEC

struct change {
    struct agent_options o; /* as asked for, within what can't change */
    struct processor_spec processors[PROCESSORS_MAX];
    struct rules rules; /* as read; empty once they are in force */
    bool other_rules;
    struct pipeline_stages *stages;
    struct metering_change metering;
    struct logs *logs; /* NULL: none wanted, or there are some */
    bool want_logs;
};

/* What was fixed when the line was opened: ring, tables, capture, spool, context of our own. */
static struct agent_options settle(const struct agent *a, const struct agent_options *wanted)
{
    struct agent_options o = *wanted;
    o.probe = a->o.probe;
    o.capture = a->o.capture;
    o.memory_limit = a->o.memory_limit;
    o.queues = a->o.queues;
    o.root = a->o.root;
    o.root_state = a->o.root_state;
    o.max_conns = a->o.max_conns;
    o.max_units = a->o.max_units;
    o.max_processes = a->o.max_processes;
    o.max_open = a->o.max_open;
    o.max_buffered = a->o.max_buffered;
    memory_plan_apply(&a->memory.plan, &o);
    o.pipeline.keep_values = o.keep_values;
    return o;
}

static void needs(char *ret, size_t size, const char *key)
{
    size_t n = strlen(ret);
    snprintf(ret + n, size - n, "%s%s", n ? ", " : "", key);
}

/* Output is seen by programs that were told at the start what to look at. */
static void needs_output(const struct agent *a, const struct agent_options *o, char *ret, size_t size)
{
    bool files = o->n_log_files > 0;
    if (o->logs != a->o.probe.output && (o->logs || files))
        needs(ret, size, "wftrace.logs.stdio");
    if (files && !a->o.probe.output_files)
        needs(ret, size, "wftrace.logs.files");
}

static bool carries(const struct agent_options *o, enum signal signal, int pulled)
{
    for (size_t i = 0; i < o->n_exports; i++) {
        const struct exporter *x = exporter_by_name(o->exports[i].kind);
        if (x && o->exports[i].signal == signal && (pulled < 0 || x->pulled == pulled))
            return true;
    }
    return false;
}

/* --- rules --- */

/* A capture begins with its rules. */
static int prepare_rules(struct agent *a, struct change *c, char *err, size_t err_size)
{
    int code = agent_rules_read(&c->o, &c->rules, err, err_size);
    c->other_rules = !code && !a->capture && !rules_same(&a->rules, &c->rules);
    if (code || !c->other_rules)
        return code;
    code = a->rules.n || !c->rules.n ? 0 : probes_rules_possible(err, err_size);
    if (code)
        return code;
    code = rules_fit(&a->rules, &c->rules);
    if (!code)
        code = workflow_reserve(a->workflow, c->rules.n);
    if (code)
        snprintf(err, err_size,
                 code == -ENOSPC ? "too many rules have come and gone since the start: they need a restart" : "out of memory");
    return code;
}

struct leaving {
    const struct rules *rules;
    bool used[RULES_SLOTS];
};

static bool rule_is_gone(const void *arg, u32 rule)
{
    const struct leaving *l = arg;
    return rule < l->rules->n && l->rules->v[rule].retired && !l->used[rule];
}

void agent_rules_tick(struct agent *a, u64 now)
{
    struct leaving l = { .rules = &a->rules };
    bool more = false;
    if (!a->rules_leave_at || now < a->rules_leave_at)
        return;
    workflow_used(a->workflow, l.used);
    probes_rules_drop(a->probes, rule_is_gone, &l);
    for (size_t i = 0; i < a->rules.n; i++)
        more |= a->rules.v[i].retired && l.used[i];
    a->rules_leave_at = more ? now + LEAVE_NS : 0;
}

/* A rule that comes again is attached again, so places that it still has go first, whatever calls are open: the new ones end them. */
static void take_rules(struct agent *a, struct change *c, char *restart, size_t size)
{
    struct leaving l = { .rules = &a->rules };
    if (!c->other_rules)
        return;
    probes_rules_drop(a->probes, rule_is_gone, &l);
    rules_take(&a->rules, &c->rules);
    if (!workflow_rules_taken(a->workflow))
        needs(restart, size, "wftrace.rules (those on Python functions: they have changed too often)");
    tracer_exec(a->tracer, workflow_exec_hooks(&a->rules));
    probes_rules_taken(a->probes, &a->rules);
    rules_switch(&a->rules, clock_boot_ns());
    a->rules_leave_at = 1; /* with the next tick */
}

/* --- the rest --- */

static int prepare_metering(struct agent *a, struct change *c, char *err, size_t err_size)
{
    struct metering_options o = agent_metering_options(a, &c->o);
    int code = metering_prepare(&a->metering, &o, c->other_rules ? &c->rules : &a->rules, carries(&c->o, SIGNAL_METRICS, false),
                                carries(&c->o, SIGNAL_METRICS, true), &c->metering);
    if (code)
        snprintf(err, err_size, "not enough memory for metrics");
    return code;
}

static int prepare_logs(struct agent *a, struct change *c, char *err, size_t err_size)
{
    bool seen = (c->o.logs && a->o.probe.output) || (c->o.n_log_files && a->o.probe.output_files);
    c->want_logs = seen && carries(&c->o, SIGNAL_LOGS, -1);
    if (!c->want_logs || a->logs)
        return 0;
    c->logs = logs_new(&c->o.log_options, a->tracer, pipeline_logs(a->pipeline));
    if (!c->logs)
        snprintf(err, err_size, "not enough memory for logs");
    return c->logs ? 0 : -ENOMEM;
}

/* The exporters come last: they change with the call. */
static int prepare(struct agent *a, struct change *c, char *err, size_t err_size)
{
    agent_bind_measures(a, &c->o.pipeline, c->processors);
    int code = prepare_rules(a, c, err, err_size);
    if (!code)
        code = pipeline_prepare(a->pipeline, &c->o.pipeline, &c->stages, err, err_size);
    if (!code)
        code = prepare_metering(a, c, err, err_size);
    if (!code)
        code = prepare_logs(a, c, err, err_size);
    return code ? code : export_queues_swap(a->queues, c->o.exports, c->o.n_exports, err, err_size);
}

static void forget(struct change *c)
{
    rules_done(&c->rules);
    pipeline_forget(c->stages);
    metering_forget(&c->metering);
    if (c->logs)
        logs_free(c->logs);
}

static void take_logs(struct agent *a, struct change *c)
{
    if (!c->want_logs && a->logs)
        a->logs = logs_free(a->logs);
    else if (c->logs)
        a->logs = take_ptr(c->logs);
    else if (a->logs)
        logs_change(a->logs, &c->o.log_options);
    a->progress.o = c->o.progress;
    a->progress.sink = carries(&c->o, SIGNAL_LOGS, -1) ? pipeline_logs(a->pipeline) : NULL;
}

static void take(struct agent *a, struct change *c, bool same_resource, char *restart, size_t size)
{
    take_rules(a, c, restart, size);
    pipeline_take(a->pipeline, take_ptr(c->stages));
    metering_take(&a->metering, &c->metering);
    take_logs(a, c);
    tracer_change(a->tracer, &(struct tracer_options){ .service = c->o.service,
                                                       .resource = c->o.resource,
                                                       .keep_values = c->o.keep_values,
                                                       .no_traceparent = c->o.no_traceparent,
                                                       .baggage = c->o.baggage,
                                                       .n_baggage = c->o.n_baggage });
    stream_privacy(a->stream, (struct privacy){ c->o.keep_values, c->o.chunk_events });
    memcpy(a->processors, c->processors, sizeof(a->processors));
    a->o = c->o;
    a->o.pipeline.processors = a->processors;
    agent_queue_room(a);
    if (!same_resource)
        probes_introduce(a->probes);
}

int agent_reload(struct agent *a, const struct agent_options *o, bool same_resource, char *ret_restart, size_t restart_size,
                 char *err, size_t err_size)
{
    cleanup(freep) struct change *c = calloc(1, sizeof(*c)); /* large */
    if (!c) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    c->o = settle(a, o);
    *ret_restart = 0;
    int code = prepare(a, c, err, err_size);
    if (code) {
        forget(c);
        return code;
    }
    needs_output(a, o, ret_restart, restart_size);
    if (a->capture && !rules_same(&a->rules, &c->rules))
        needs(ret_restart, restart_size, "wftrace.rules (a capture is being written)");
    take(a, c, same_resource, ret_restart, restart_size);
    rules_done(&c->rules);
    return 0;
}
