/* Units: who owns the work that runs now.
 *
 * Four primitives (docs/architecture.md): the current unit rides on every record; an edge makes a child inherit its
 * maker's label; a hand-over carries a label by the very object that crosses a queue; closure by answer gives a native
 * pool thread's calls to the request that the thread answers next. A label is a weak reference: it dies with its
 * request. An inherited label also ends at the unit's first queue wait. Wake-ups and timing are never evidence.
 *
 * A runtime unit made under our eyes that has no label has no parent. One we never saw made is a thread's base context
 * (then the thread's label holds), or, in a process joined late, nobody knows (then it only has what it reads itself). */
#include "trace/internal.h"

struct handover_key {
    u64 tgid, item;
};
struct handover {
    struct weak label;
    bool poisoned;
};

static struct unit_key key_thread(u32 tgid, u32 tid) { return (struct unit_key){ tgid, 0, tid }; }
static struct unit_key key_runtime(u32 tgid, u64 unit) { return (struct unit_key){ tgid, 1, unit }; }

struct unit_key unit_resolve(struct tracer *t, u32 tgid, u32 tid, u64 unit)
{
    struct unit_key key = key_runtime(tgid, unit);
    if (!unit)
        return key_thread(tgid, tid);
    if (table_peek(t->units, &key))
        return key;
    struct process *p = table_peek(t->processes, &tgid);
    return p && p->from_start ? key_thread(tgid, tid) : key;
}

struct unit *unit_get(struct tracer *t, struct unit_key key) { return table_put(t->units, &key, NULL); }

/* The one request that a unit's open activities speak of; NULL when there are several. Requests pipelined on one
 * connection are worked on in order, so the oldest is meant. */
static struct activity *sole_request(const struct unit *u)
{
    struct activity *oldest = NULL;
    for (struct activity *a = u->top; a; a = a->below) {
        if (slot_of(a)->of != OF_SERVER)
            continue;
        if (oldest && slot_of(oldest)->conn != slot_of(a)->conn)
            return NULL;
        oldest = a;
    }
    return oldest;
}

/* Label of one unit; *ret_two when two are plausible. */
static struct activity *label_of(const struct unit *u, enum join *ret_join, bool *ret_two)
{
    if (u->top) {
        struct activity *a = u->top;
        if (slot_of(a)->of == OF_SERVER && u->requests > 1 && !(a = sole_request(u))) {
            *ret_two = true;
            return NULL;
        }
        *ret_join = JOIN_UNIT;
        return a;
    }
    *ret_join = JOIN_EDGE;
    return weak_get(u->inherited);
}

/* What a native thread carries says nothing where goroutines move between threads, and of an event loop's requests it does not say
 * which one runs: there only a call that has not returned (a rule's activity) still holds the thread. */
static struct activity *thread_label(const struct process *p, const struct unit *u, enum join *ret_join, bool *ret_two)
{
    if (p && p->go)
        return NULL;
    if (p && p->node && u->top && slot_of(u->top)->of == OF_SERVER) {
        *ret_two = true;
        return NULL;
    }
    return label_of(u, ret_join, ret_two);
}

static struct activity *label_find(struct tracer *t, u32 tgid, u32 tid, u64 unit, enum join *ret_join, bool *ret_two)
{
    struct unit_key key = unit_resolve(t, tgid, tid, unit);
    struct unit *u = table_get(t->units, &key);
    if (!u || key.of)
        return u ? label_of(u, ret_join, ret_two) : NULL;
    return thread_label(table_peek(t->processes, &tgid), u, ret_join, ret_two);
}

struct activity *unit_label(struct tracer *t, u32 tgid, u32 tid, u64 unit, enum join *ret_join)
{
    bool two = false;
    return label_find(t, tgid, tid, unit, ret_join, &two);
}

static struct activity *process_label(struct tracer *t, u32 tgid, bool *ret_serving)
{
    for (int hops = 0; hops < 32; hops++) {
        struct process *p = table_peek(t->processes, &tgid);
        if (!p)
            return NULL;
        if (p->requests)
            *ret_serving = true;
        if (p->activity && p->activity->open)
            return p->activity;
        struct activity *maker = weak_get(p->maker);
        if (maker)
            return maker;
        if (!p->ppid || p->ppid == tgid)
            return NULL;
        tgid = p->ppid;
    }
    return NULL;
}

/* May the calls of this thread be told by its next answer? Only a native pool thread: it read no request itself, and no
 * runtime below the thread multiplexes work on it. */
static bool answers_later(struct tracer *t, u32 tgid, u32 tid)
{
    struct process *p = table_peek(t->processes, &tgid);
    if (!p || p->python || p->go || p->node || p->java || !p->requests)
        return false;
    struct unit_key key = key_thread(tgid, tid);
    struct unit *u = table_peek(t->units, &key);
    return !u || !u->received;
}

struct parent parent_find(struct tracer *t, u32 tgid, u32 tid, u64 unit)
{
    struct parent p = { .join = JOIN_UNKNOWN };
    bool two = false, serving = false;
    p.a = label_find(t, tgid, tid, unit, &p.join, &two);
    if (p.a)
        return p;
    p.join = JOIN_UNKNOWN;
    if (two) {
        ledger_add(parents_ambiguous, 1);
        return p;
    }
    struct activity *process = process_label(t, tgid, &serving);
    if (serving) { /* some request's work, but whose? */
        p.wait = !unit && answers_later(t, tgid, tid);
        return p;
    }
    if (process)
        return (struct parent){ process, JOIN_PROCESS, false };
    return p;
}

struct activity *tracer_current(struct tracer *t, u32 tgid, u32 tid, u64 unit, bool *ret_certain)
{
    enum join join;
    bool two = false, serving = false;
    struct activity *a = label_find(t, tgid, tid, unit, &join, &two);
    const struct process *p = table_peek(t->processes, &tgid);
    *ret_certain = a || !p || !p->worked;
    if (a || two)
        return a;
    struct activity *process = process_label(t, tgid, &serving);
    return serving ? NULL : process;
}

void unit_push(struct tracer *t, struct activity *a)
{
    struct activity_slot *slot = slot_of(a);
    slot->key = unit_resolve(t, a->tgid, a->tid, a->unit);
    struct unit *u = unit_get(t, slot->key);
    if (!u)
        return;
    a->below = u->top;
    u->top = a;
    a->pushed = true;
    struct process *p = slot->of == OF_PROCESS ? NULL : table_peek(t->processes, &a->tgid);
    if (p)
        p->worked = true;
    if (slot->of != OF_SERVER)
        return;
    u->requests++;
    u->received = true;
    u->inherited = (struct weak){ 0 };
    struct unit *thread = unit_get(t, key_thread(a->tgid, a->tid));
    if (!thread)
        return;
    thread->received = true;
    struct activity *fresh = weak_get(thread->fresh);
    if (fresh && slot_of(fresh)->conn == slot->conn)
        return; /* pipelined: the task made next works on the one read first */
    thread->fresh = weak_to(a);
    thread->fresh_maker = 0;
}

static bool descends(struct activity *a, const struct activity *from)
{
    for (int hops = 0; a && hops < 64; hops++) {
        if (a == from)
            return true;
        a = weak_get(slot_of(a)->parent);
    }
    return false;
}

/* When an exception is thrown into a chain of coroutines, the innermost runs again first. */
void unit_push_again(struct tracer *t, struct activity *a)
{
    slot_of(a)->key = unit_resolve(t, a->tgid, a->tid, a->unit);
    struct unit *u = unit_get(t, slot_of(a)->key);
    if (!u)
        return;
    struct activity **at = &u->top;
    while (*at && descends(*at, a))
        at = &(*at)->below;
    a->below = *at;
    *at = a;
    a->pushed = true;
}

void unit_pop(struct tracer *t, struct activity *a)
{
    a->pushed = false;
    struct unit *u = table_peek(t->units, &slot_of(a)->key);
    if (!u)
        return;
    for (struct activity **at = &u->top; *at; at = &(*at)->below) {
        if (*at != a)
            continue;
        *at = a->below;
        if (slot_of(a)->of == OF_SERVER)
            u->requests--;
        return;
    }
}

void unit_drop(void *tracer, const void *key, void *value, enum table_drop_cause cause)
{
    struct tracer *t = tracer;
    struct unit *u = value;
    if (cause == TABLE_EVICTED)
        ledger_add(units_evicted, 1);
    for (struct activity *a = u->top; a; a = a->below)
        a->pushed = false;
    for (struct activity *a; cause != TABLE_CLOSED && (a = u->pending);) {
        u->pending = a->below;
        activity_release(t, a);
    }
}

/* The number or the address is used again. */
static void unit_reset(struct tracer *t, struct unit *u)
{
    unit_drop(t, NULL, u, TABLE_DELETED);
    memset(u, 0, sizeof(*u));
}

/* ---- edges ---- */

/* uvloop reads outside the context that then serves the request: all its connections share one context, which makes the
 * request's task at once. So the first context that makes another after a request was read on the thread makes it for
 * that request, provided that it never acts itself (no bytes, no hand-over, no child at any other time). */
static struct activity *fresh_request(struct tracer *t, const struct event *e, struct unit *maker)
{
    struct unit_key key = key_thread(e->tgid, e->tid);
    struct unit *thread = table_peek(t->units, &key);
    struct activity *request = thread ? weak_get(thread->fresh) : NULL;
    bool first = request && (!thread->fresh_maker || thread->fresh_maker == e->edge.parent);
    if (!maker || maker->acts || !first) {
        if (maker)
            maker->acts = true;
        if (thread)
            thread->fresh = (struct weak){ 0 };
        return NULL;
    }
    thread->fresh_maker = e->edge.parent;
    return request;
}

static void fresh_forget(struct tracer *t, const struct event *e)
{
    struct unit_key key = key_thread(e->tgid, e->tid);
    struct unit *thread = table_peek(t->units, &key);
    if (thread)
        thread->fresh = (struct weak){ 0 };
}

static void on_edge(struct tracer *t, const struct event *e)
{
    enum join join;
    bool two = false;
    struct activity *label = label_find(t, e->tgid, e->tid, e->edge.parent, &join, &two);
    if (!label || two)
        label = fresh_request(t, e, e->edge.parent ? unit_get(t, key_runtime(e->tgid, e->edge.parent)) : NULL);
    else
        fresh_forget(t, e);
    struct unit *child = unit_get(t, key_runtime(e->tgid, e->edge.child));
    if (!child)
        return;
    unit_reset(t, child);
    child->inherited = weak_to(label);
}

static void on_put(struct tracer *t, const struct event *e)
{
    struct handover_key key = { e->tgid, e->handover.key };
    bool fresh;
    struct handover *h = table_put(t->handovers, &key, &fresh);
    if (!h)
        return;
    if (!fresh) {
        h->poisoned = true;
        ledger_add(handovers_poisoned, 1);
        return;
    }
    enum join join;
    h->label = weak_to(unit_label(t, e->tgid, e->tid, e->unit, &join));
}

static void on_take(struct tracer *t, const struct event *e)
{
    struct unit *u = unit_get(t, unit_resolve(t, e->tgid, e->tid, e->unit));
    if (!u)
        return;
    u->inherited = (struct weak){ 0 };
    if (!e->handover.key)
        return;
    struct handover_key key = { e->tgid, e->handover.key };
    struct handover *h = table_peek(t->handovers, &key);
    if (h && !h->poisoned)
        u->inherited = h->label;
    if (h)
        table_del(t->handovers, &key);
}

/* A pool's thread outlives the request in which it was made; its label ends when it takes from the queue. Where those takes
 * aren't seen (yet), a new thread has no label. */
static bool thread_inherits(struct tracer *t, const struct event *e)
{
    struct process *p = e->fork.thread ? table_peek(t->processes, &e->tgid) : NULL;
    if (!p)
        return true;
    if (p->go || p->node || p->java)
        return false;
    return !p->python || (p->handover && e->time >= p->handover);
}

static void on_fork(struct tracer *t, const struct event *e)
{
    enum join join;
    struct activity *label = unit_label(t, e->tgid, e->tid, e->unit, &join);
    struct unit *child = unit_get(t, key_thread(e->fork.child_tgid, e->fork.child_tid));
    if (!child)
        return;
    unit_reset(t, child);
    child->inherited = thread_inherits(t, e) ? weak_to(label) : (struct weak){ 0 };
}

void units_event(struct tracer *t, const struct event *e)
{
    if (e->type != EVENT_EDGE) {
        struct unit_key key = key_runtime(e->tgid, e->unit);
        struct unit *u = e->unit ? table_peek(t->units, &key) : NULL;
        if (u)
            u->acts = true;
        fresh_forget(t, e);
    }
    switch (e->type) {
    case EVENT_EDGE:
        return on_edge(t, e);
    case EVENT_PUT:
        return on_put(t, e);
    case EVENT_TAKE:
        return on_take(t, e);
    case EVENT_FORK:
        return on_fork(t, e);
    case EVENT_EXEC: {
        struct unit_key key = key_thread(e->tgid, e->tid);
        table_del(t->units, &key);
        return;
    }
    case EVENT_EXIT: {
        struct unit_key key = key_thread(e->tgid, e->tid);
        table_del(t->units, &key);
        return;
    }
    default:
        return;
    }
}

/* ---- closure by answer ---- */

void unit_wait(struct tracer *t, struct activity *a)
{
    struct unit *u = unit_get(t, key_thread(a->tgid, a->tid));
    if (!u || u->n_pending >= PENDING_MAX)
        return;
    a->below = u->pending;
    u->pending = a;
    u->n_pending++;
    slot_of(a)->waiting = true;
}

void unit_answered(struct tracer *t, struct activity *request, u32 tgid, u32 tid, u64 request_start)
{
    struct unit_key key = key_thread(tgid, tid);
    struct unit *u = table_peek(t->units, &key);
    if (!u)
        return;
    for (struct activity *a; (a = u->pending);) {
        u->pending = a->below;
        u->n_pending--;
        if (a->start >= request_start && a != request)
            activity_adopt(t, a, request, JOIN_ANSWER);
        activity_release(t, a);
    }
}

static bool expire_unit(void *tracer, const void *key, void *value)
{
    struct tracer *t = tracer;
    struct unit *u = value;
    for (struct activity **at = &u->pending, *a; (a = *at);) {
        if (t->now - a->start < 60 * NSEC_PER_SEC) {
            at = &a->below;
            continue;
        }
        *at = a->below;
        u->n_pending--;
        activity_release(t, a);
    }
    return true;
}

void pending_expire(struct tracer *t) { table_each(t->units, expire_unit, t); }
