/* Collections: the series as they are now, copied into one arena, ordered by resource, scope and metric. A batch is whole and
 * immutable; nothing in it points back into the stage, so exporters may keep it as long as they like.
 *
 * Delta is the difference to what the push reader saw last; what did not change is left out. Up-down counters and gauges are
 * cumulative for every reader, as the specification's «delta» preference has it. */
#include "pipeline/metrics_internal.h"

#include <math.h>
#include <unistd.h>

#define CHUNK (64u << 10)

struct chunk {
    struct chunk *next;
    size_t used, room;
    u8 data[] __attribute__((aligned(16)));
};

struct builder {
    struct metrics *m;
    bool pull, delta, failed;
    u64 now, since;
    struct chunk *chunks;
    struct metric *metrics;
    size_t n, room;
    u64 n_points;
};

static void *take(struct builder *b, size_t bytes)
{
    bytes = (max_u64(bytes, 1) + 15) & ~(size_t)15;
    if (!b->chunks || b->chunks->used + bytes > b->chunks->room) {
        size_t room = max_u64(bytes, CHUNK);
        struct chunk *c = malloc(sizeof(*c) + room);
        if (!c) {
            b->failed = true;
            return NULL;
        }
        *c = (struct chunk){ .next = b->chunks, .room = room };
        b->chunks = c;
    }
    void *p = b->chunks->data + b->chunks->used;
    b->chunks->used += bytes;
    return p;
}

static void *keep(struct builder *b, const void *from, size_t bytes)
{
    void *p = take(b, bytes);
    return p && bytes ? memcpy(p, from, bytes) : p;
}

static const struct attr *keep_attrs(struct builder *b, const struct attr *v, u16 n)
{
    struct attr *out = keep(b, v, n * sizeof(*v));
    for (u16 i = 0; out && i < n; i++) {
        if (out[i].type != ATTR_STR && out[i].type != ATTR_STRV)
            continue;
        char *text = take(b, v[i].len + 1u);
        if (!text)
            return NULL;
        memcpy(text, v[i].s, v[i].len);
        text[v[i].len] = 0;
        out[i].s = text;
    }
    return out;
}

static bool metric_room(struct builder *b)
{
    if (b->n < b->room)
        return true;
    size_t room = b->room ? 2 * b->room : 64;
    struct metric *v = realloc(b->metrics, room * sizeof(*v));
    if (!v) {
        b->failed = true;
        return false;
    }
    b->metrics = v;
    b->room = room;
    return true;
}

/* At the end of the list; left out where there is no memory. */
static void metric_add(struct builder *b, const struct metric *like)
{
    if (!metric_room(b))
        return;
    struct metric *out = &b->metrics[b->n++];
    *out = *like;
    out->resource = resource_ref(like->resource);
    b->n_points += like->n_points;
}

/* --- series --- */

static bool has_delta(const struct stream *st) { return st->instrument == METER_COUNTER || st->instrument == METER_HISTOGRAM; }

static void keep_exemplars(struct builder *b, const struct series *s, struct metric_point *p)
{
    u16 n = 0;
    for (u16 i = 0; i < s->n_exemplars; i++)
        n += s->exemplars[i].time_ns > b->since;
    struct exemplar *v = n ? take(b, n * sizeof(*v)) : NULL;
    if (!v)
        return;
    for (u16 i = 0, at = 0; i < s->n_exemplars && at < n; i++)
        if (s->exemplars[i].time_ns > b->since)
            v[at++] = s->exemplars[i];
    p->exemplars = v;
    p->n_exemplars = n;
}

static void keep_side(struct builder *b, const struct exp_side *s, struct exp_buckets *out)
{
    u32 from = 0, n = s->n;
    while (n && !s->counts[from]) /* what a difference has emptied at the ends */
        from++, n--;
    while (n && !s->counts[from + n - 1])
        n--;
    *out = (struct exp_buckets){ n ? s->first + (s32)from : 0, n, n ? keep(b, s->counts + from, n * sizeof(*s->counts)) : NULL };
}

static void point_histogram(struct builder *b, const struct series *s, const struct histogram *h, struct metric_point *p)
{
    const struct stream *st = s->stream;
    p->count = h->count;
    p->sum = h->sum;
    p->min = b->delta ? s->fresh_min : h->min;
    p->max = b->delta ? s->fresh_max : h->max;
    if (st->kind == METRIC_HISTOGRAM) {
        p->n_bounds = st->n_bounds;
        p->bounds = st->bounds; /* moved into the arena with the metric */
        p->counts = keep(b, h->counts, (st->n_bounds + 1) * sizeof(*h->counts));
        return;
    }
    p->scale = h->exp.scale;
    p->zero_count = h->exp.zero;
    keep_side(b, &h->exp.positive, &p->positive);
    keep_side(b, &h->exp.negative, &p->negative);
}

static bool pushed_make(struct series *s)
{
    const struct stream *st = s->stream;
    u32 n = st->kind == METRIC_HISTOGRAM ? st->n_bounds + 1 : 0;
    if (s->pushed)
        return true;
    s->pushed = calloc(1, sizeof(*s->pushed) + n * sizeof(u64));
    if (s->pushed && n)
        s->pushed->h.counts = (u64 *)(s->pushed + 1);
    if (s->pushed && st->kind == METRIC_EXP_HISTOGRAM) {
        s->pushed->h.exp.scale = st->max_scale;
        s->pushed->h.exp.max_size = st->max_size;
    }
    return s->pushed;
}

/* False: no memory, and all is as it was. */
static bool histogram_store(const struct stream *st, struct histogram *to, const struct histogram *from)
{
    if (st->kind == METRIC_EXP_HISTOGRAM && !exp_copy(&to->exp, &from->exp))
        return false;
    if (st->kind == METRIC_HISTOGRAM)
        memcpy(to->counts, from->counts, (st->n_bounds + 1) * sizeof(*to->counts));
    to->count = from->count;
    to->sum = from->sum;
    return true;
}

static void delta_histogram(struct builder *b, struct series *s, struct metric_point *p)
{
    const struct stream *st = s->stream;
    const struct histogram *before = &s->pushed->h;
    struct histogram diff = s->now.h;
    u64 counts[BOUNDS_MAX + 1];
    diff.count -= before->count;
    diff.sum -= before->sum;
    if (st->kind == METRIC_HISTOGRAM) {
        for (u32 i = 0; i <= st->n_bounds; i++)
            counts[i] = s->now.h.counts[i] - before->counts[i];
        diff.counts = counts;
        point_histogram(b, s, &diff, p);
        return;
    }
    diff.exp.positive = diff.exp.negative = (struct exp_side){ 0 };
    if (exp_copy(&diff.exp, &s->now.h.exp)) {
        exp_subtract(&diff.exp, &before->exp);
        point_histogram(b, s, &diff, p);
    } else {
        b->failed = true;
    }
    exp_clear(&diff.exp);
}

static void point_sum(const struct series *s, bool delta, struct metric_point *p)
{
    p->is_int = s->stream->is_int;
    if (p->is_int)
        p->i = s->now.i - (delta ? s->pushed->i : 0);
    else
        p->d = s->now.d - (delta ? s->pushed->d : 0);
}

/* The push reader has it: what is told next begins here. False: no memory, and it has not been told. */
static bool point_told(struct series *s, bool delta)
{
    bool histogram = s->stream->kind == METRIC_HISTOGRAM || s->stream->kind == METRIC_EXP_HISTOGRAM;
    if (delta && histogram && !histogram_store(s->stream, &s->pushed->h, &s->now.h))
        return false;
    if (delta && !histogram)
        *s->pushed = s->now;
    s->changed = false;
    s->fresh_min = INFINITY;
    s->fresh_max = -INFINITY;
    return true;
}

static void point_make(struct builder *b, struct series *s, bool delta, struct metric_point *p)
{
    const struct stream *st = s->stream;
    *p = (struct metric_point){ .n_attrs = s->n_attrs, .start_ns = s->start_ns, .time_ns = b->now };
    if (delta && b->m->pushed_at > s->start_ns)
        p->start_ns = b->m->pushed_at;
    p->attrs = keep_attrs(b, s->attrs, s->n_attrs);
    if (st->kind == METRIC_GAUGE || st->kind == METRIC_SUM)
        point_sum(s, delta, p);
    else if (delta)
        delta_histogram(b, s, p);
    else
        point_histogram(b, s, &s->now.h, p);
    if (st->kind == METRIC_GAUGE)
        p->start_ns = 0;
    keep_exemplars(b, s, p);
}

/* False: no memory for this one; it comes whole with the next collection. */
static bool point_fill(struct builder *b, struct series *s, struct metric_point *p)
{
    bool delta = b->delta && has_delta(s->stream), before = b->failed;
    b->failed = delta && !pushed_make(s);
    if (!b->failed)
        point_make(b, s, delta, p);
    if (!b->failed && !b->pull)
        b->failed = !point_told(s, delta);
    bool whole = !b->failed;
    b->failed |= before;
    return whole;
}

static int by_metric(const void *left, const void *right)
{
    const struct series *a = *(struct series *const *)left, *b = *(struct series *const *)right;
    if (a->owner != b->owner)
        return a->owner->resource->id < b->owner->resource->id ? -1 : 1;
    if (a->stream != b->stream) {
        int scope = strcmp(a->stream->scope, b->stream->scope);
        return scope ? scope : a->stream->id < b->stream->id ? -1 : 1;
    }
    return a->made < b->made ? -1 : 1;
}

static void metric_of_run(struct builder *b, struct series **v, u32 n)
{
    const struct stream *st = v[0]->stream;
    struct metric_point *points = take(b, n * sizeof(*points));
    const double *bounds = st->kind == METRIC_HISTOGRAM ? keep(b, st->bounds, st->n_bounds * sizeof(*bounds)) : NULL;
    u32 kept = 0;
    if (!points || (st->kind == METRIC_HISTOGRAM && !bounds) || !metric_room(b))
        return;
    for (u32 i = 0; i < n; i++)
        kept += point_fill(b, v[i], &points[kept]);
    for (u32 i = 0; i < kept && bounds; i++)
        points[i].bounds = bounds;
    if (kept)
        metric_add(b, &(struct metric){ .name = st->name,
                                        .unit = st->unit,
                                        .description = st->description,
                                        .scope = st->scope,
                                        .resource = v[0]->owner->resource,
                                        .kind = st->kind,
                                        .monotonic = st->kind == METRIC_SUM && st->monotonic,
                                        .delta = b->delta && has_delta(st),
                                        .n_points = kept,
                                        .points = points });
}

static void add_series(struct builder *b)
{
    struct metrics *m = b->m;
    u32 n = 0;
    struct series **v = malloc((m->n_series + 1) * sizeof(*v));
    if (!v) {
        b->failed = true;
        return;
    }
    for (u32 i = 0; i <= m->slot_mask; i++) {
        struct series *s = m->slots[i].s;
        if (s && !(b->delta && has_delta(s->stream) && !s->changed))
            v[n++] = s;
    }
    qsort(v, n, sizeof(*v), by_metric);
    for (u32 from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && v[to]->owner == v[from]->owner && v[to]->stream == v[from]->stream;)
            to++;
        metric_of_run(b, v + from, to - from);
    }
    free(v);
}

/* --- numbers that others keep --- */

static void add_number(struct builder *b, const struct metric_number *v, u32 n)
{
    struct metric_point *points = take(b, n * sizeof(*points));
    for (u32 i = 0; points && i < n; i++) {
        points[i] = (struct metric_point){ .attrs = keep_attrs(b, v[i].attrs, v[i].n_attrs),
                                           .n_attrs = v[i].n_attrs,
                                           .start_ns = v->type == METER_GAUGE ? 0 : b->m->o.start_ns,
                                           .time_ns = b->now,
                                           .is_int = !v[i].is_double };
        if (v[i].is_double)
            points[i].d = v[i].d;
        else
            points[i].i = v[i].i;
    }
    if (points && !b->failed)
        metric_add(b, &(struct metric){ .name = v->name,
                                        .unit = v->unit,
                                        .description = v->description,
                                        .scope = "self",
                                        .resource = b->m->self,
                                        .kind = v->type == METER_GAUGE ? METRIC_GAUGE : METRIC_SUM,
                                        .monotonic = v->type == METER_COUNTER,
                                        .n_points = n,
                                        .points = points });
}

static void add_numbers(struct builder *b)
{
    struct metrics *m = b->m;
    size_t n = m->o.numbers ? m->o.numbers(m->o.arg, m->numbers, METRIC_NUMBERS) : 0;
    for (size_t from = 0, to; from < n; from = to) { /* points of one metric stand together */
        for (to = from + 1; to < n && !strcmp(m->numbers[to].name, m->numbers[from].name);)
            to++;
        add_number(b, &m->numbers[from], (u32)(to - from));
    }
}

/* --- process.* --- */

struct process_metric {
    const char *name, *unit, *text;
    bool monotonic;
    u8 n;
    const char *key, *value[2];
};
enum { CPU, MEMORY, VIRTUAL, THREADS, DESCRIPTORS, DISK, FAULTS, NETWORK, PROCESS_METRICS };
static const struct process_metric process_metrics[PROCESS_METRICS] = {
    [CPU] = { "process.cpu.time",
              "s",
              "Total CPU seconds broken down by different CPU modes.",
              true,
              2,
              "cpu.mode",
              { "user", "system" } },
    [MEMORY] = { "process.memory.usage", "By", "The amount of physical memory in use.", false, 1, NULL, { NULL } },
    [VIRTUAL] = { "process.memory.virtual", "By", "The amount of committed virtual memory.", false, 1, NULL, { NULL } },
    [THREADS] = { "process.thread.count", "{thread}", "Process threads count.", false, 1, NULL, { NULL } },
    [DESCRIPTORS] = { "process.unix.file_descriptor.count",
                      "{file_descriptor}",
                      "Number of unix file descriptors in use by the process.",
                      false,
                      1,
                      NULL,
                      { NULL } },
    [DISK] = { "process.disk.io", "By", "Disk bytes transferred.", true, 2, "disk.io.direction", { "read", "write" } },
    [FAULTS] = { "process.paging.faults",
                 "{fault}",
                 "Number of page faults the process has made.",
                 true,
                 2,
                 "system.paging.fault.type",
                 { "minor", "major" } },
    [NETWORK] = { "process.network.io",
                  "By",
                  "Network bytes transferred.",
                  true,
                  2,
                  "network.io.direction",
                  { "transmit", "receive" } },
};

static bool has_value(const struct process_numbers *p, u32 metric)
{
    return metric == DISK ? p->io : metric == NETWORK ? p->net : true;
}

static void process_values(const struct process_numbers *p, u64 out[PROCESS_METRICS][2])
{
    out[MEMORY][0] = p->rss;
    out[VIRTUAL][0] = p->vm;
    out[THREADS][0] = p->threads;
    out[DESCRIPTORS][0] = p->fds;
    out[DISK][0] = p->read_bytes;
    out[DISK][1] = p->write_bytes;
    out[FAULTS][0] = p->minor_faults;
    out[FAULTS][1] = p->major_faults;
    out[NETWORK][0] = p->sent;
    out[NETWORK][1] = p->received;
}

static void add_process_metric(struct builder *b, const struct process_numbers *p, const struct process_metric *k, const u64 v[2])
{
    struct metric_point *points = take(b, k->n * sizeof(*points));
    double tick = (double)sysconf(_SC_CLK_TCK);
    u64 start = p->start_ns ? p->start_ns : b->m->o.start_ns;
    if (k == &process_metrics[NETWORK]) /* counted since we look */
        start = max_u64(start, b->m->o.start_ns);
    for (u8 i = 0; points && i < k->n; i++) {
        struct attr a = { .key = k->key, .type = ATTR_STR, .len = k->key ? (u16)strlen(k->value[i]) : 0, .s = k->value[i] };
        points[i] = (struct metric_point){ .attrs = keep_attrs(b, &a, k->key != NULL),
                                           .n_attrs = k->key != NULL,
                                           .start_ns = start,
                                           .time_ns = b->now,
                                           .is_int = k != &process_metrics[CPU] };
        if (points[i].is_int)
            points[i].i = (s64)v[i];
        else
            points[i].d = (double)(i ? p->system_ticks : p->user_ticks) / tick;
    }
    if (points && !b->failed)
        metric_add(b, &(struct metric){ .name = k->name,
                                        .unit = k->unit,
                                        .description = k->text,
                                        .scope = "process",
                                        .resource = p->resource,
                                        .kind = METRIC_SUM,
                                        .monotonic = k->monotonic,
                                        .n_points = k->n,
                                        .points = points });
}

static void add_processes(struct builder *b)
{
    const struct process_numbers *p;
    for (u32 i = 0; (p = processes_get(b->m, i)); i++) {
        u64 values[PROCESS_METRICS][2] = { 0 };
        if (!p->fresh)
            continue;
        process_values(p, values);
        for (u32 k = 0; k < PROCESS_METRICS; k++)
            if (has_value(p, k))
                add_process_metric(b, p, &process_metrics[k], values[k]);
    }
}

/* --- the whole --- */

static void chunks_free(struct chunk *c)
{
    for (struct chunk *next; c; c = next) {
        next = c->next;
        free(c);
    }
}

static void batch_free(struct metric_batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        resource_unref(b->metrics[i].resource);
    chunks_free(b->arena);
    free(b->metrics);
    free(b);
}

static void collect(struct metrics *m, bool pull)
{
    struct builder b = { .m = m, .pull = pull, .delta = !pull && m->o.delta, .now = m->now, .since = pull ? 0 : m->pushed_at };
    struct metric_batch *out = calloc(1, sizeof(*out));
    if (!out) { /* nothing is told, so nothing is lost: the next one has it */
        ledger_add(metric_collections_failed, 1);
        return;
    }
    derive_open_spans(m);
    add_series(&b);
    add_processes(&b);
    add_numbers(&b);
    if (!pull)
        m->pushed_at = m->now;
    if (b.failed)
        ledger_add(metric_collections_failed, 1);
    *out = (struct metric_batch){ 1, m->now, b.metrics, b.n, b.n_points, pull, b.chunks, batch_free };
    ledger_add(metric_points, out->n_points);
    m->sink->emit(m->sink, out);
}

void collect_push(struct metrics *m) { collect(m, false); }
void collect_pull(struct metrics *m) { collect(m, true); }
