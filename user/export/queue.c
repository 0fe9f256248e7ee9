/* The pipeline's end: what comes in goes to every lane of its signal (lane.c). */
#include "export/lane.h"

#define LANES_MAX 24

struct export_queues {
    struct span_sink spans;
    struct log_sink logs;
    struct metric_sink metrics;
    struct export_queue_options opt;
    u32 n;
    struct lane *lanes[LANES_MAX];
};

static void push_all(struct export_queues *q, enum signal signal, void *item)
{
    for (u32 i = 0; i < q->n; i++)
        if (q->lanes[i]->signal == signal)
            lane_push(q->lanes[i], item);
}

static void on_started(struct span_sink *sink, struct span *s)
{
    struct export_queues *q = container_of(sink, struct export_queues, spans);
    for (u32 i = 0; i < q->n; i++)
        if (q->lanes[i]->x->started)
            q->lanes[i]->x->started(q->lanes[i]->self, s);
}

static void on_ended(struct span_sink *sink, struct span *s)
{
    push_all(container_of(sink, struct export_queues, spans), SIGNAL_TRACES, s);
    span_unref(s);
}

static void on_log(struct log_sink *sink, struct log_record *l)
{
    push_all(container_of(sink, struct export_queues, logs), SIGNAL_LOGS, l);
    log_unref(l);
}

/* A collection goes to the exporters that are asked or to those that send by themselves (metric_batch.pull). */
static void on_metrics(struct metric_sink *sink, struct metric_batch *b)
{
    struct export_queues *q = container_of(sink, struct export_queues, metrics);
    for (u32 i = 0; i < q->n; i++)
        if (q->lanes[i]->signal == SIGNAL_METRICS && q->lanes[i]->x->pulled == b->pull)
            lane_push(q->lanes[i], b);
    metric_batch_unref(b);
}

int export_queues_new(const struct export_queue_options *o, struct export_queues **ret)
{
    struct export_queues *q = calloc(1, sizeof(*q));
    if (!q)
        return -ENOMEM;
    q->opt = o ? *o : (struct export_queue_options){ 0 };
    q->spans = (struct span_sink){ .started = on_started, .ended = on_ended };
    q->logs = (struct log_sink){ .emit = on_log };
    q->metrics = (struct metric_sink){ .emit = on_metrics };
    *ret = q;
    return 0;
}

struct span_sink *export_queues_sink(struct export_queues *q) { return &q->spans; }
struct log_sink *export_queues_log_sink(struct export_queues *q) { return &q->logs; }
struct metric_sink *export_queues_metric_sink(struct export_queues *q) { return &q->metrics; }

bool export_queues_wants(const struct export_queues *q, enum signal signal)
{
    for (u32 i = 0; i < q->n; i++)
        if (q->lanes[i]->signal == signal)
            return true;
    return false;
}

bool export_queues_metrics(const struct export_queues *q, bool pulled)
{
    for (u32 i = 0; i < q->n; i++)
        if (q->lanes[i]->signal == SIGNAL_METRICS && q->lanes[i]->x->pulled == pulled)
            return true;
    return false;
}

u32 export_queues_waiting(const struct export_queues *q, enum signal signal)
{
    u32 most = 0;
    for (u32 i = 0; i < q->n; i++)
        if (q->lanes[i]->signal == signal)
            most = (u32)max_u64(most, lane_waiting(q->lanes[i]));
    return most;
}

bool export_queues_report(struct export_queues *q, u32 i, struct export_report *ret)
{
    if (i >= q->n)
        return false;
    lane_report(q->lanes[i], ret);
    return true;
}

const struct exporter *exporter_by_name(const char *kind)
{
    for (size_t i = 0; exporters[i]; i++)
        if (!strcmp(exporters[i]->name, kind))
            return exporters[i];
    return NULL;
}

int export_queues_add(struct export_queues *q, const struct export_spec *spec, char *err, size_t err_size)
{
    return export_queues_add_exporter(q, exporter_by_name(spec->kind), spec, err, err_size);
}

static int refuse(const struct export_queues *q, const struct exporter *x, const struct export_spec *spec, char *err,
                  size_t err_size)
{
    if (!x)
        snprintf(err, err_size, "no such exporter");
    else if (!exporter_takes(x, spec->signal))
        snprintf(err, err_size, "%s does not carry %s", x->name, signal_name[spec->signal]);
    else if (q->n == LANES_MAX)
        snprintf(err, err_size, "more than %d exporters", LANES_MAX);
    else
        return 0;
    return -EINVAL;
}

int export_queues_add_exporter(struct export_queues *q, const struct exporter *x, const struct export_spec *spec, char *err,
                               size_t err_size)
{
    int e = refuse(q, x, spec, err, err_size);
    if (e)
        return e;
    struct lane *l = lane_new(x, spec, &q->opt.lane[spec->signal]);
    if (!l) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    e = x->open(spec, &l->self, err, err_size);
    if (!e && q->opt.spool.dir && x->encode)
        e = lane_spool_open(l, spec, &q->opt.spool, err, err_size);
    if (!e && (e = lane_start(l)))
        snprintf(err, err_size, "cannot start a thread: %s", errno_name(e));
    if (e)
        lane_free(l);
    else
        q->lanes[q->n++] = l;
    return e;
}

u64 export_queues_close(struct export_queues *q, u64 deadline_ms)
{
    u64 lost = 0, stop = clock_boot_ns() + deadline_ms * NSEC_PER_MSEC + 1;
    if (!q)
        return 0;
    for (u32 i = 0; i < q->n; i++)
        lane_stop(q->lanes[i], stop);
    for (u32 i = 0; i < q->n; i++)
        lost += lane_join(q->lanes[i]);
    free(q);
    return lost;
}
