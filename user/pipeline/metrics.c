/* The metrics stage's assembly and its readers. */
#include "pipeline/metrics.h"
#include "pipeline/metrics_internal.h"

#include <sys/random.h>

#define READ_BUDGET_NS (2 * NSEC_PER_MSEC)

static void defaults(struct metrics_options *o)
{
    if (!o->interval_ns)
        o->interval_ns = 60 * NSEC_PER_SEC;
    if (!o->limits[METER_ANY])
        o->limits[METER_ANY] = 2000;
    if (!o->max_series)
        o->max_series = 20000;
    if (!o->expire_ns)
        o->expire_ns = 900 * NSEC_PER_SEC;
    if (!o->instance[0]) { /* a random UUID, RFC 9562 version 4 */
        u8 id[16] = { 0 };
        char hex[33];
        (void)!getrandom(id, sizeof(id), 0);
        id[6] = (u8)((id[6] & 0x0f) | 0x40);
        id[8] = (u8)((id[8] & 0x3f) | 0x80);
        hex_encode(id, sizeof(id), hex);
        snprintf(o->instance, sizeof(o->instance), "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    }
}

static struct resource *self_resource(const struct metrics *m)
{
    struct resource *r = resource_new();
    if (!r)
        return NULL;
    attr_str(&r->attrs, "service.name", slice_str("wftrace"));
    attr_str(&r->attrs, "service.version", slice_str(WF_VERSION));
    attr_str(&r->attrs, "service.instance.id", slice_str(m->o.instance));
    return r;
}

/* Room for max_series, and as much again for overflow series, at a load below a half. */
static bool slots_make(struct metrics *m)
{
    u32 n = 1024;
    while (n < 4 * m->o.max_series)
        n *= 2;
    m->slots = calloc(n, sizeof(*m->slots));
    m->slot_mask = n - 1;
    return m->slots;
}

static void begin_at(struct metrics *m, u64 wall_ns)
{
    m->now = m->o.start_ns = wall_ns;
    m->push_due = wall_ns + m->o.interval_ns;
    m->sweep_due = wall_ns + m->o.expire_ns / 4;
}

struct metrics *metrics_new(const struct metrics_options *o, struct metric_sink *sink)
{
    struct metrics *m = calloc(1, sizeof(*m));
    if (!m)
        return NULL;
    m->o = *o;
    defaults(&m->o);
    m->sink = sink;
    begin_at(m, o->start_ns);
    m->asked = metric_asked();
    m->streams = calloc(STREAMS_MAX, sizeof(*m->streams));
    m->numbers = calloc(METRIC_NUMBERS, sizeof(*m->numbers));
    m->self = self_resource(m);
    bool fine = m->streams && m->numbers && m->self && slots_make(m) && processes_open(m) && derive_open(m) && graph_open(m);
    if (!fine) {
        m->o.push = m->o.pull = false;
        return metrics_free(m);
    }
    m->o.views = NULL; /* borrowed until here */
    m->o.rules = NULL;
    return m;
}

struct metrics *metrics_free(struct metrics *m)
{
    if (!m)
        return NULL;
    if (m->o.push || m->o.pull) {
        processes_begin(m);
        while (!processes_read(m, READ_BUDGET_NS))
            ;
    }
    if (m->o.push)
        collect_push(m);
    if (m->o.pull)
        collect_pull(m);
    graph_close(m);
    series_free_all(m);
    derive_close(m);
    processes_close(m);
    resource_unref(m->self);
    free(m->numbers);
    free(m->streams);
    free(m);
    return NULL;
}

struct metrics *metrics_forget(struct metrics *m)
{
    if (m)
        m->o.push = m->o.pull = false;
    return metrics_free(m);
}

void metrics_span_started(struct metrics *m, const struct span *s) { graph_started(m, s); }

void metrics_span_ended(struct metrics *m, const struct span *s)
{
    derive_span(m, s);
    graph_ended(m, s);
}

/* The clock may step: a reader is never more than one interval away. */
static bool push_is_due(struct metrics *m)
{
    if (m->push_due > m->now + m->o.interval_ns)
        m->push_due = m->now + m->o.interval_ns;
    if (!m->o.push || m->now < m->push_due)
        return false;
    m->push_due = m->now + m->o.interval_ns;
    return true;
}

static void sweep(struct metrics *m)
{
    if (m->sweep_due > m->now + m->o.expire_ns)
        m->sweep_due = m->now + m->o.expire_ns / 4;
    if (m->now < m->sweep_due)
        return;
    m->sweep_due = m->now + m->o.expire_ns / 4;
    series_sweep(m);
}

void metrics_tick(struct metrics *m, u64 wall_ns)
{
    bool idle = !m->want_push && !m->want_pull;
    u64 asked = metric_asked();
    if (!m->o.start_ns)
        begin_at(m, wall_ns);
    if (wall_ns < m->now) { /* nothing may begin after it was read */
        u64 back = m->now - wall_ns;
        m->o.start_ns -= min_u64(back, m->o.start_ns - 1);
        m->pushed_at -= min_u64(back, m->pushed_at);
        series_set_back(m, back);
    }
    m->now = wall_ns;
    if (push_is_due(m))
        m->want_push = true;
    if (m->o.pull && asked != m->asked)
        m->want_pull = true;
    m->asked = asked;
    if (idle)
        sweep(m);
    if (!m->want_push && !m->want_pull)
        return;
    if (idle)
        processes_begin(m);
    if (!processes_read(m, READ_BUDGET_NS))
        return;
    if (m->want_push)
        collect_push(m);
    if (m->want_pull)
        collect_pull(m);
    m->want_push = m->want_pull = false;
}

u32 metrics_series(const struct metrics *m) { return m->n_series; }

const char *metrics_instance(const struct metrics *m) { return m->o.instance; }
