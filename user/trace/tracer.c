/* The tracer's assembly: tables with their ceilings, the way of an event, the clock. */
#include "trace/internal.h"
#include <sys/random.h>

#define SWEEP_NS (5 * NSEC_PER_SEC)

static void defaults(struct tracer_options *o)
{
    if (!o->max_processes)
        o->max_processes = 16384;
    if (!o->max_units)
        o->max_units = 65536;
    if (!o->max_open)
        o->max_open = 65536;
}

static bool tables_make(struct tracer *t)
{
    t->processes = table_new(&(struct table_spec){
        .key_size = 4, .value_size = sizeof(struct process), .max = t->o.max_processes, .drop = process_drop, .arg = t });
    t->units = table_new(&(struct table_spec){ .key_size = sizeof(struct unit_key),
                                               .value_size = sizeof(struct unit),
                                               .max = t->o.max_units,
                                               .drop = unit_drop,
                                               .arg = t });
    t->handovers = table_new(&(struct table_spec){ .key_size = 16, .value_size = 32, .max = 16384 });
    t->joins = table_new(&(struct table_spec){ .key_size = 8, .value_size = 2 * sizeof(struct weak), .max = 16384 });
    t->unknown = resource_new();
    return pipes_open(t) && t->processes && t->units && t->handovers && t->joins && t->unknown;
}

struct tracer *tracer_new(const struct tracer_options *o, struct span_sink *sink)
{
    struct tracer *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->o = *o;
    t->sink = sink;
    t->wall_minus_boot = o->wall_minus_boot;
    defaults(&t->o);
    memcpy(t->rng, o->seed, sizeof(t->rng));
    if (!(t->rng[0] | t->rng[1]) && getrandom(t->rng, sizeof(t->rng), 0) != sizeof(t->rng))
        t->rng[0] = clock_wall_ns() | 1;
    exchanges_init(t);
    if (!tables_make(t))
        return tracer_free(t);
    attr_str(&t->unknown->attrs, "service.name", slice_str("unknown_service"));
    return t;
}

struct tracer *tracer_free(struct tracer *t)
{
    if (!t)
        return NULL;
    activities_finish(t);
    t->processes = table_free(t->processes);
    t->units = table_free(t->units);
    t->handovers = table_free(t->handovers);
    t->joins = table_free(t->joins);
    t->pipes = table_free(t->pipes);
    activities_free(t);
    resource_unref(t->unknown);
    free(t);
    return NULL;
}

void tracer_change(struct tracer *t, const struct tracer_options *o)
{
    t->o.service = o->service;
    t->o.resource = o->resource;
    t->o.keep_values = o->keep_values;
    t->o.no_traceparent = o->no_traceparent;
    t->o.baggage = o->baggage;
    t->o.n_baggage = o->n_baggage;
}

void tracer_exec(struct tracer *t, struct exec_hooks hooks)
{
    if (hooks.match)
        t->o.exec = hooks;
}

void tracer_event(struct tracer *t, const struct event *e)
{
    if (e->time > t->now)
        t->now = e->time;
    if (e->type == EVENT_WRITE) /* a line of log is no work: it moves no label */
        return;
    if (e->type == EVENT_EXIT) { /* the process ends before its units are forgotten */
        processes_event(t, e);
        units_event(t, e);
        return;
    }
    units_event(t, e);
    processes_event(t, e);
}

void tracer_tick(struct tracer *t, u64 now_boot, s64 wall_minus_boot)
{
    if (now_boot > t->now)
        t->now = now_boot;
    t->wall_minus_boot = wall_minus_boot;
    if (now_boot < t->next_sweep)
        return;
    t->next_sweep = now_boot + SWEEP_NS;
    pending_expire(t);
}

u64 tracer_wall(const struct tracer *t, u64 boot) { return boot + (u64)t->wall_minus_boot; }

struct exchange_sink *tracer_exchanges(struct tracer *t) { return &t->exchanges; }
