/* Open activities: a pool with weak references, begin and end, and the hand-over of finished spans.
 *
 * Slots live in chunks that are never freed while the tracer lives, so that a weak reference may always look at its
 * target's generation. */
#include "trace/internal.h"

#define CLOCK_STEP_NS (100 * NSEC_PER_MSEC) /* more than the clock is slewed by in a long activity */
#define CHUNK         256

static struct activity *slot_take(struct tracer *t)
{
    if (!t->free) {
        if (t->n_chunks * CHUNK >= t->o.max_open)
            return NULL;
        struct activity_slot **grown = realloc(t->chunks, (t->n_chunks + 1) * sizeof(*grown));
        if (!grown)
            return NULL;
        t->chunks = grown;
        struct activity_slot *chunk = calloc(CHUNK, sizeof(*chunk));
        if (!chunk)
            return NULL;
        t->chunks[t->n_chunks++] = chunk;
        for (size_t i = 0; i < CHUNK; i++) {
            chunk[i].a.below = t->free;
            t->free = &chunk[i].a;
        }
    }
    struct activity *a = t->free;
    t->free = a->below;
    u32 generation = a->generation + 1;
    memset(slot_of(a), 0, sizeof(struct activity_slot));
    a->generation = generation;
    a->open = true;
    t->open++;
    return a;
}

static void slot_give(struct tracer *t, struct activity *a)
{
    a->open = false;
    a->generation++;
    a->span = NULL;
    a->below = t->free;
    t->free = a;
    t->open--;
}

static void set_root(struct tracer *t, struct span *s)
{
    id_make(t, s->id.trace_id, TRACE_ID_LEN);
    s->id.flags = 1;
    memset(s->parent_id, 0, SPAN_ID_LEN);
}

static void set_parent(struct span *s, const struct span_context *p, const char *state, bool remote)
{
    memcpy(s->id.trace_id, p->trace_id, TRACE_ID_LEN);
    memcpy(s->parent_id, p->span_id, SPAN_ID_LEN);
    s->id.flags = p->flags;
    s->remote_parent = remote;
    if (state != s->tracestate)
        span_set_tracestate(s, state);
}

/* Something began or ended: whoever waits for it is not stuck. */
static void touch_above(struct activity *a, u64 time)
{
    for (int hops = 0; a && hops < 64; hops++, a = weak_get(slot_of(a)->parent))
        slot_of(a)->touched = time;
}

static void set_origin(struct tracer *t, struct activity *a, const struct activity_start *s, const struct parent *p)
{
    bool known = s->parent && span_context_valid(s->parent);
    struct span *span = a->span;
    span->join = known ? s->join : p->join;
    if (s->new_trace) {
        const struct span_context *caller = known ? s->parent : p->a ? &p->a->span->id : NULL;
        set_root(t, span);
        if (caller)
            span_add_link(span, caller, join_name[span->join]);
        span->join = JOIN_ROOT;
    } else if (s->trace) {
        set_root(t, span);
        span->join = JOIN_WIRE;
    } else if (known) {
        set_parent(span, s->parent, s->tracestate, true);
    } else if (p->a) {
        set_parent(span, &p->a->span->id, p->a->span->tracestate, p->a->tgid != s->tgid && p->join == JOIN_ENGINE);
        slot_of(a)->parent = weak_to(p->a);
        slot_of(p->a)->children++;
        touch_above(p->a, s->time);
    } else {
        set_root(t, span);
    }
    if (s->trace)
        memcpy(span->id.trace_id, s->trace->trace_id, TRACE_ID_LEN);
}

struct activity *activity_open(struct tracer *t, const struct activity_start *s, enum activity_of of, const struct parent *p)
{
    struct activity *a = slot_take(t);
    struct span *span = a ? span_new() : NULL;
    if (!span) {
        if (a)
            slot_give(t, a);
        ledger_add(spans_dropped_open, 1);
        return NULL;
    }
    a->span = span;
    span_expect(span, s->attrs ? s->attrs->n + 8u : 0); /* a message's, and those of its connection */
    a->start = s->time;
    a->told_end = 0;
    a->tgid = s->tgid;
    a->tid = s->tid;
    a->unit = s->unit;
    slot_of(a)->of = of;
    id_make(t, span->id.span_id, SPAN_ID_LEN);
    span->rule = s->rule;
    set_origin(t, a, s, p);
    span->kind = s->kind;
    span->scope = s->scope;
    span->tgid = s->tgid;
    span->tid = s->tid;
    span->start_ns = tracer_wall(t, s->time);
    span->resource = resource_ref(tracer_resource(t, s->tgid));
    span_set_name(span, s->name);
    if (s->attrs)
        attr_set_copy(&span->attrs, s->attrs);
    struct activity *above = weak_get(slot_of(a)->parent);
    if (above)
        baggage_inherit(&span->attrs, &above->span->attrs, t->o.baggage, t->o.n_baggage);
    ledger_add(spans_started, 1);
    if (s->push)
        unit_push(t, a);
    return a;
}

void activity_started(struct tracer *t, struct activity *a)
{
    if (t->sink->started)
        t->sink->started(t->sink, a->span);
}

struct activity *activity_begin(struct tracer *t, const struct activity_start *s)
{
    struct parent p = { .a = s->owner, .join = s->join };
    if (!s->parent && !s->owner)
        p = parent_find(t, s->tgid, s->tid, s->unit);
    struct activity *a = activity_open(t, s, OF_OTHER, &p);
    if (a && !s->started_later)
        activity_started(t, a);
    return a;
}

void activity_adopt(struct tracer *t, struct activity *child, struct activity *parent, enum join join)
{
    if (slot_of(child)->children) { /* others carry its trace id already: tie, don't move */
        span_add_link(child->span, &parent->span->id, join_name[join]);
        return;
    }
    set_parent(child->span, &parent->span->id, parent->span->tracestate, parent->tgid != child->tgid);
    child->span->join = join;
    slot_of(child)->parent = weak_to(parent);
    slot_of(parent)->children++;
    baggage_inherit(&child->span->attrs, &parent->span->attrs, t->o.baggage, t->o.n_baggage);
}

struct activity *activity_current(struct tracer *t, u32 tgid, u32 tid, u64 unit)
{
    enum join join;
    return unit_label(t, tgid, tid, unit, &join);
}

struct activity *activity_parent(struct activity *a) { return weak_get(slot_of(a)->parent); }

void activity_suspend(struct tracer *t, struct activity *a)
{
    if (a->pushed)
        unit_pop(t, a);
}

void activity_resume(struct tracer *t, struct activity *a, u32 tid, u64 unit)
{
    if (a->pushed)
        unit_pop(t, a);
    a->tid = tid;
    a->unit = unit;
    unit_push_again(t, a);
}

static void hand_on(struct tracer *t, struct activity *a)
{
    struct span *span = a->span;
    slot_give(t, a);
    ledger_add(spans_ended, 1);
    t->sink->ended(t->sink, span);
}

/* Wall time of the end. Where somebody set the clock meanwhile, the duration is what it truly was. */
static u64 end_of(const struct tracer *t, const struct activity *a, u64 time)
{
    u64 start = a->span->start_ns, steady = start + (time - a->start), end = tracer_wall(t, time);
    bool stepped = end > steady ? end - steady > CLOCK_STEP_NS : steady - end > CLOCK_STEP_NS;
    return stepped ? steady : max_u64(end, start);
}

void activity_restart(struct tracer *t, struct activity *a, u64 time)
{
    a->start = time;
    a->span->start_ns = tracer_wall(t, time);
}

void activity_end(struct tracer *t, struct activity *a, u64 time)
{
    if (!a->open || slot_of(a)->done)
        return;
    if (a->pushed)
        unit_pop(t, a);
    if (a->told_end && a->told_end < time)
        time = a->told_end;
    a->span->end_ns = end_of(t, a, time < a->start ? a->start : time);
    touch_above(weak_get(slot_of(a)->parent), time);
    if (slot_of(a)->join_hash)
        table_del(t->joins, &slot_of(a)->join_hash);
    slot_of(a)->done = true;
    if (!slot_of(a)->waiting)
        hand_on(t, a);
}

void activity_release(struct tracer *t, struct activity *a)
{
    slot_of(a)->waiting = false;
    if (slot_of(a)->done)
        hand_on(t, a);
}

void activities_finish(struct tracer *t)
{
    for (u32 c = 0; c < t->n_chunks; c++) {
        for (u32 i = 0; i < CHUNK; i++) {
            struct activity_slot *slot = &t->chunks[c][i];
            if (!slot->a.open)
                continue;
            slot->waiting = false;
            if (slot->done) {
                hand_on(t, &slot->a);
                continue;
            }
            attr_bool(&slot->a.span->attrs, "wftrace.unfinished", true);
            activity_end(t, &slot->a, t->now);
        }
    }
}

void tracer_each_open(struct tracer *t, void (*see)(void *to, const struct span *s), void *to)
{
    for (u32 c = 0; c < t->n_chunks; c++)
        for (u32 i = 0; i < CHUNK; i++)
            if (t->chunks[c][i].a.open && !t->chunks[c][i].done)
                see(to, t->chunks[c][i].a.span);
}

void tracer_each_running(struct tracer *t, u64 now, u64 least, void (*see)(void *to, const struct running *r), void *to)
{
    for (u32 c = 0; c < t->n_chunks; c++)
        for (u32 i = 0; i < CHUNK; i++) {
            struct activity_slot *s = &t->chunks[c][i];
            if (!s->a.open || s->done || now < s->a.start || now - s->a.start < least)
                continue;
            u64 last = max_u64(s->a.start, s->touched);
            see(to, &(struct running){ s->a.span, now - s->a.start, now > last ? now - last : 0, &s->note });
        }
}

void activities_free(struct tracer *t)
{
    for (u32 c = 0; c < t->n_chunks; c++)
        free(t->chunks[c]);
    free(t->chunks);
}
