/* Rules with `into:`: no activity of their own, but words about another that is open. */
#include "workflow/bridge_internal.h"

/* The rule of that activity if it is one that `into` means. */
static const struct rule *into_owner(const struct bridge *b, const struct rule *r, const struct activity *a)
{
    u32 n = a->span->rule;
    const struct rule *owner = n && n <= b->rules->n ? &b->rules->v[n - 1] : NULL;
    return owner && owner->label == r->into && owner->pack == r->pack ? owner : NULL;
}

/* `into:` the open activity with this id, wherever it runs; without `id:` the innermost that this call belongs to. */
static struct activity *into_activity(struct bridge *b, const struct event *e, const struct rule *r)
{
    struct id_owner found;
    struct id_key unknown;
    if (r->n_ids) {
        bool known = id_known(b, r, e->tgid, r->ids, b->book->slots[r->id].ids, r->n_ids, &found, &unknown);
        return known && found.open && into_owner(b, r, found.open) ? found.open : NULL;
    }
    struct activity *a = activity_current(b->tracer, e->tgid, e->tid, e->unit);
    for (int hops = 0; a && hops < 16; hops++, a = activity_parent(a))
        if (into_owner(b, r, a))
            return a;
    return NULL;
}

/* The time that it waited ends where it starts. */
static void move_start(struct bridge *b, struct activity *a, u64 start)
{
    const struct attr *wait = attr_get(&a->span->attrs, "wftrace.queue.wait");
    double seconds = wait ? wait->d + ((double)start - (double)a->start) / 1e9 : -1;
    activity_restart(b->tracer, a, start);
    if (seconds >= 0)
        attr_double(&a->span->attrs, "wftrace.queue.wait", seconds);
}

/* What the engine says of the times of an activity that it is at. */
static void set_moments(struct bridge *b, const struct event *e, const struct rule *r, struct activity *a)
{
    const struct rule_slots *slots = &b->book->slots[r->id];
    u64 started = moment_told(b, e, &r->started_at, &slots->started_at),
        ended = moment_told(b, e, &r->ended_at, &slots->ended_at);
    struct event_value at;
    if (r->ended_now && e->bridge.phase == BRIDGE_SAYS_START)
        ended = e->time;
    if (started)
        move_start(b, a, started);
    if (ended)
        a->told_end = ended;
    if (r->queued_at.n_expr && values_get(&b->values, &r->queued_at, &slots->queued_at, &at))
        call_set_wait(b, a->span, a->start, &at, NULL);
}

void into_add(struct bridge *b, const struct event *e, const struct rule *r)
{
    struct activity *a = into_activity(b, e, r);
    if (!a)
        return;
    struct call as = { .rule = r, .slots = &b->book->slots[r->id] };
    call_set_constants(r, a->span);
    call_set_values(b, &as, a->span);
    set_moments(b, e, r, a);
    if (r->caught[0].n_expr && call_take_caught(b, &as))
        call_set_exception(b, a->span, e->time, true);
    describe_name(into_owner(b, r, a), a->span);
}

/* The end of a call that made no activity; with `when:` it cannot be told which rule held at its start. */
void into_add_end(struct bridge *b, const struct event *e, const struct watch *w)
{
    if (e->bridge.phase != BRIDGE_SAYS_END && e->bridge.phase != BRIDGE_SAYS_FAIL)
        return;
    for (u8 i = 0; i < w->n_rules; i++) {
        const struct rule *r = &b->rules->v[w->rules[i]];
        if (r->into && !r->n_when && rule_in_force(r))
            into_add(b, e, r);
    }
}
