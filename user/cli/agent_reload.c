/* A running line with other options: everything that can fail is made beside what is in force (processors opened, series made,
 * lanes opened), then all of it changes places between two records. So a span is handled by one of the two, and a mistake
 * changes nothing. */
#include "cli/agent_internal.h"

struct change {
    struct agent_options o; /* as asked for, within what can't change */
    struct processor_spec processors[PROCESSORS_MAX];
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

static int prepare_metering(struct agent *a, struct change *c, char *err, size_t err_size)
{
    struct metering_options o = agent_metering_options(a, &c->o);
    int code = metering_prepare(&a->metering, &o, &a->rules, carries(&c->o, SIGNAL_METRICS, false),
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
    int code = pipeline_prepare(a->pipeline, &c->o.pipeline, &c->stages, err, err_size);
    if (!code)
        code = prepare_metering(a, c, err, err_size);
    if (!code)
        code = prepare_logs(a, c, err, err_size);
    return code ? code : export_queues_swap(a->queues, c->o.exports, c->o.n_exports, err, err_size);
}

static void forget(struct change *c)
{
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

static void take(struct agent *a, struct change *c, bool same_resource)
{
    pipeline_take(a->pipeline, take_ptr(c->stages));
    metering_take(&a->metering, &c->metering);
    take_logs(a, c);
    tracer_change(a->tracer, &(struct tracer_options){ .service = c->o.service,
                                                       .resource = c->o.resource,
                                                       .keep_values = c->o.keep_values,
                                                       .no_traceparent = c->o.no_traceparent,
                                                       .baggage = c->o.baggage,
                                                       .n_baggage = c->o.n_baggage });
    stream_privacy(a->stream, (struct privacy){ .keep_values = c->o.keep_values });
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
    take(a, c, same_resource);
    return 0;
}
