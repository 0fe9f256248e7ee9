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
    struct origin { /* what the lane was made of */
        u64 all, place;
    } made_of[LANES_MAX];
    u32 n_retired;
    struct lane *retired[LANES_MAX]; /* told to end by a swap, not yet gone */
    struct origin retired_of[LANES_MAX];
    u64 lost; /* by those that are gone */
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

static void on_dropped(struct span_sink *sink, struct span *s)
{
    struct export_queues *q = container_of(sink, struct export_queues, spans);
    for (u32 i = 0; i < q->n; i++)
        if (q->lanes[i]->x->dropped)
            q->lanes[i]->x->dropped(q->lanes[i]->self, s);
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
    if (q->opt.spool.dir && !(q->opt.spool.dir = strdup(q->opt.spool.dir))) {
        free(q);
        return -ENOMEM;
    }
    q->spans = (struct span_sink){ .started = on_started, .ended = on_ended, .dropped = on_dropped };
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

static u64 hash_text(const char *text, u64 seed) { return text ? hash_bytes(text, strlen(text) + 1, seed) : seed + 1; }

static struct origin origin_of(const struct export_spec *s)
{
    const char *const texts[] = { s->headers, s->certificate, s->client_certificate, s->client_key, s->compression, s->proxy };
    const u64 numbers[] = { s->timeout_ms,     s->json,           s->gzip_level,    s->insecure_skip_verify,
                            s->lane.max_queue, s->lane.max_batch, s->lane.delay_ms, s->lane.retry_for_ms };
    struct origin o = { .place = hash_text(s->unix_socket, hash_text(s->target, hash_text(s->kind, s->signal))) };
    o.all = hash_bytes(numbers, sizeof(numbers), o.place);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        o.all = hash_text(texts[i], o.all);
    return o;
}

static int lane_make(struct export_queues *q, const struct exporter *x, const struct export_spec *spec, struct lane **ret,
                     char *err, size_t err_size)
{
    int e = refuse(q, x, spec, err, err_size);
    if (e)
        return e;
    struct lane *l = lane_new(x, spec, &q->opt);
    if (!l) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    e = x->open(&l->spec, &l->self, err, err_size);
    if (!e && q->opt.spool.dir && x->encode)
        e = lane_spool_open(l, spec, &q->opt.spool, err, err_size);
    if (!e && (e = lane_start(l)))
        snprintf(err, err_size, "cannot start a thread: %s", errno_name(e));
    if (e)
        lane_free(l);
    else
        *ret = l;
    return e;
}

int export_queues_add_exporter(struct export_queues *q, const struct exporter *x, const struct export_spec *spec, char *err,
                               size_t err_size)
{
    struct lane *l;
    int e = lane_make(q, x, spec, &l, err, err_size);
    if (e)
        return e;
    q->made_of[q->n] = origin_of(spec);
    q->lanes[q->n++] = l;
    return 0;
}

/* --- swapping --- */
static void retired_reap(struct export_queues *q)
{
    u32 left = 0;
    for (u32 i = 0; i < q->n_retired; i++) {
        u64 lost = 0;
        if (lane_try_join(q->retired[i], &lost)) {
            q->lost += lost;
        } else {
            q->retired_of[left] = q->retired_of[i];
            q->retired[left++] = q->retired[i];
        }
    }
    q->n_retired = left;
}

/* The lane that goes on for a spec: the very same, or one that writes to the same local place; -1: none. */
static int lane_kept(const struct export_queues *q, const struct export_spec *s, u32 taken)
{
    struct origin o = origin_of(s);
    for (u32 i = 0; i < q->n; i++)
        if (!(taken & 1u << i) && (q->made_of[i].all == o.all ||
                                   (q->made_of[i].place == o.place && !q->lanes[i]->x->encode && !q->lanes[i]->x->pulled)))
            return (int)i;
    return -1;
}

/* Whether a lane that is about to end, or has not ended yet, has the spool that a new one for `s` would open. */
static bool spool_taken(const struct export_queues *q, const struct export_spec *s, u32 kept)
{
    const struct exporter *x = exporter_by_name(s->kind);
    u64 place = origin_of(s).place;
    bool taken = false;
    if (!q->opt.spool.dir || !x || !x->encode)
        return false;
    for (u32 i = 0; i < q->n; i++)
        taken |= !(kept & 1u << i) && q->made_of[i].place == place;
    for (u32 i = 0; i < q->n_retired; i++)
        taken |= q->retired_of[i].place == place;
    return taken;
}

static int swap_refused(struct export_queues *q, const struct export_spec *specs, size_t n, u32 *ret_kept, char *err,
                        size_t err_size)
{
    u32 kept = 0, fresh = 0;
    if (n > LANES_MAX && snprintf(err, err_size, "more than %d exporters", LANES_MAX))
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        int at = lane_kept(q, &specs[i], kept);
        *(at < 0 ? &fresh : &kept) |= 1u << (at < 0 ? i : (size_t)at);
    }
    *ret_kept = kept;
    retired_reap(q);
    for (size_t i = 0; i < n; i++)
        if (fresh & 1u << i && spool_taken(q, &specs[i], kept)) {
            snprintf(err, err_size, "%s to %s: other settings for the same receiver need a restart, its spool is in use",
                     specs[i].kind, specs[i].target[0] ? specs[i].target : specs[i].unix_socket);
            return -EBUSY;
        }
    if (q->n_retired + q->n > LANES_MAX && snprintf(err, err_size, "exporters of earlier changes still deliver; try again later"))
        return -EBUSY;
    return 0;
}

static void lane_retire(struct export_queues *q, u32 i)
{
    struct lane *l = q->lanes[i];
    lane_stop(l, clock_boot_ns() + l->opt.retry_for_ms * NSEC_PER_MSEC + 1);
    q->retired_of[q->n_retired] = q->made_of[i];
    q->retired[q->n_retired++] = l;
}

int export_queues_swap(struct export_queues *q, const struct export_spec *specs, size_t n, char *err, size_t err_size)
{
    struct lane *lanes[LANES_MAX];
    struct origin made_of[LANES_MAX];
    u32 kept, used = 0, fresh = 0; /* fresh: bits of lanes[] */
    int e = swap_refused(q, specs, n, &kept, err, err_size);
    size_t i = 0;
    for (; i < n && !e; i++) {
        int at = lane_kept(q, &specs[i], used);
        used |= at < 0 ? 0 : 1u << at;
        made_of[i] = at < 0 ? origin_of(&specs[i]) : q->made_of[at];
        if (at >= 0)
            lanes[i] = q->lanes[at];
        else if (!(e = lane_make(q, exporter_by_name(specs[i].kind), &specs[i], &lanes[i], err, err_size)))
            fresh |= 1u << i;
    }
    if (e) { /* nothing was pushed to the new ones: they end at once */
        for (size_t k = 0; k < i; k++)
            if (fresh & 1u << k) {
                lane_stop(lanes[k], clock_boot_ns() + 1);
                (void)lane_join(lanes[k]);
            }
        return e;
    }
    for (u32 k = 0; k < q->n; k++)
        if (!(kept & 1u << k))
            lane_retire(q, k);
    memcpy(q->lanes, lanes, n * sizeof(*lanes));
    memcpy(q->made_of, made_of, n * sizeof(*made_of));
    q->n = (u32)n;
    return 0;
}

u64 export_queues_close(struct export_queues *q, u64 deadline_ms)
{
    u64 lost = 0, stop = clock_boot_ns() + deadline_ms * NSEC_PER_MSEC + 1;
    if (!q)
        return 0;
    for (u32 i = 0; i < q->n; i++)
        lane_stop(q->lanes[i], stop);
    for (u32 i = 0; i < q->n_retired; i++)
        lane_stop(q->retired[i], stop);
    for (u32 i = 0; i < q->n; i++)
        lost += lane_join(q->lanes[i]);
    for (u32 i = 0; i < q->n_retired; i++)
        lost += lane_join(q->retired[i]);
    lost += q->lost;
    free((char *)(uintptr_t)q->opt.spool.dir);
    free(q);
    return lost;
}
