/* Probe hits → activities.
 *
 * Every thread (or unit on it) has a stack of calls under way, matched by the stack pointer at their first instruction:
 * stacks grow downward, so a call whose sp lies below that of something that happens now is gone, whether or not its
 * return was seen. That settles recursion (same function, other sp), longjmp and exceptions (no return), and lost
 * records. What settles more exactly where exceptions are concerned are hits at the throw (its type), at a landing pad that
 * goes on unwinding and at the catch (the moment). Two calls with the same sp: a tail call of another function is a
 * child; the same function again means that the first one's return was missed.
 *
 * A USDT pair has no sp of its own (begin and end may sit in different functions): it lies on the same stack, is ended by its
 * `until` alone, and is passed over when calls are unwound. */
#include "workflow/internal.h"
#include "workflow/bridge.h"
#include "base/owners.h"
#include "base/table.h"
#include "self/ledger.h"

#include <sys/wait.h>

#define THREADS_MAX 16384
#define FRAMES_MAX  65536
#define DEPTH_MAX   512

struct frame {
    struct frame *below;
    u64 sp;
    const struct rule *rule;
    const char *function; /* interned */
    struct activity *a;   /* NULL: `when` did not hold, or no room */
    u32 generation;
    u64 lost; /* of the workflow when it began */
    bool usdt;
};
struct thread_key {
    u32 tgid, tid;
    u64 unit;
};
struct thread {
    struct thread_key key;
    struct owned of_thread, of_process;
    struct frame *top;
    u16 depth;
    bool thrown;    /* an exception is on its way */
    char type[128]; /* of the last one */
};
struct workflow {
    const struct rules *rules;
    struct rule_plan *plans; /* by rule id */
    size_t planned;
    struct tracer *tracer;
    struct table *threads;
    struct owners *owners; /* of its entries: threads and processes */
    struct bridge *bridge;
    struct frame *free;
    u32 frames;
    u64 lost, now;
};

/* --- frames --- */
static struct frame *frame_take(struct workflow *w)
{
    struct frame *f = w->free;
    if (f)
        w->free = f->below;
    else if (w->frames == FRAMES_MAX || !(f = malloc(sizeof(*f))))
        return NULL;
    else
        w->frames++;
    memset(f, 0, sizeof(*f));
    return f;
}

static void frame_give(struct workflow *w, struct frame *f)
{
    f->below = w->free;
    w->free = f;
}

/* The frame's span while its activity is open. */
static struct span *frame_span(const struct frame *f)
{
    return f->a && f->a->open && f->a->generation == f->generation ? f->a->span : NULL;
}

static void frame_end(struct workflow *w, struct frame *f, u64 time)
{
    struct span *s = frame_span(f);
    if (s) {
        describe_name(f->rule, s);
        activity_end(w->tracer, f->a, time);
    }
    frame_give(w, f);
}

enum leave { LEAVE_UNWOUND, LEAVE_EXITED };

/* A call ended without its return being seen: an exception, a longjmp, a lost record, the end of the thread. */
static void frame_abandon(struct workflow *w, const struct thread *t, struct frame *f, u64 time, enum leave how)
{
    struct span *s = frame_span(f);
    if (!s)
        ;
    else if (t->thrown)
        describe_exception(f->rule, s, tracer_wall(w->tracer, time), slice_str(t->type));
    else if (how == LEAVE_EXITED || w->lost != f->lost)
        attr_bool(&s->attrs, "wftrace.unfinished", true);
    else {
        span_set_error(s, slice_str("left without returning"));
        attr_str(&s->attrs, "error.type", slice_str("unwound"));
    }
    frame_end(w, f, time);
}

/* Ends the calls that lie deeper than sp (or at it). */
static void unwind(struct workflow *w, struct thread *t, u64 sp, bool inclusive, u64 time)
{
    for (struct frame **at = &t->top; *at;) {
        struct frame *f = *at;
        if (f->usdt) {
            at = &f->below;
            continue;
        }
        if (f->sp > sp || (f->sp == sp && !inclusive))
            return;
        *at = f->below;
        t->depth--;
        frame_abandon(w, t, f, time, LEAVE_UNWOUND);
    }
}

/* --- activities --- */
static void activity_start_from(struct workflow *w, const struct event *e, const struct rule *r, struct frame *f, bool push)
{
    const struct rule_plan *p = &w->plans[r->id];
    if (!describe_when(r, p, e))
        return;
    f->a = activity_begin(w->tracer, &(struct activity_start){ .time = e->time,
                                                               .tgid = e->tgid,
                                                               .tid = e->tid,
                                                               .unit = e->unit,
                                                               .kind = r->kind ? r->kind : SPAN_INTERNAL,
                                                               .scope = r->pack ? r->pack : "rule",
                                                               .rule = r->id + 1,
                                                               .started_later = true,
                                                               .push = push });
    if (!f->a)
        return;
    f->generation = f->a->generation;
    struct span *s = f->a->span;
    attr_str(&s->attrs, ACTIVITY_TYPE, slice_str(r->type));
    if (f->function && !f->usdt)
        attr_str(&s->attrs, "code.function.name", slice_str(f->function));
    describe_attributes(r, p, PLAN_ENTRY, e, s);
    describe_outcome(r, p, PLAN_ENTRY, e, s);
    describe_name(r, s);
    activity_started(w->tracer, f->a);
}

static struct frame *frame_push(struct workflow *w, struct thread *t, const struct event *e, const struct rule *r,
                                const char *function, bool usdt)
{
    struct frame *f = t->depth < DEPTH_MAX ? frame_take(w) : NULL;
    if (!f) {
        ledger_add(spans_dropped_open, 1);
        return NULL;
    }
    *f = (struct frame){ .below = t->top, .sp = e->hit.sp, .rule = r, .function = function, .lost = w->lost, .usdt = usdt };
    activity_start_from(w, e, r, f, true);
    t->top = f;
    t->depth++;
    return f;
}

/* --- hits --- */
static void on_entry(struct workflow *w, struct thread *t, const struct event *e, const struct rule *r,
                     const struct site_row *row)
{
    unwind(w, t, e->hit.sp, false, e->time);
    struct frame *top = t->top;
    if (top && !top->usdt && top->sp == e->hit.sp && top->function == row->function && top->rule == r)
        unwind(w, t, e->hit.sp, true, e->time);
    frame_push(w, t, e, r, row->function, false);
}

/* The call that returns now, taken off the stack; those deeper than it are gone. */
static struct frame *frame_match(struct workflow *w, struct thread *t, const struct event *e, const struct rule *r,
                                 const char *function)
{
    unwind(w, t, e->hit.sp, false, e->time);
    for (struct frame **at = &t->top; *at; at = &(*at)->below) {
        struct frame *f = *at;
        if (!f->usdt && f->sp != e->hit.sp)
            break;
        if (f->usdt || f->rule != r || f->function != function)
            continue;
        *at = f->below;
        t->depth--;
        return f;
    }
    ledger_add(hits_unmatched, rule_begins(r, e->time)); /* of one that began nothing here no end is missed */
    return NULL;
}

static void on_return(struct workflow *w, struct thread *t, const struct event *e, const struct rule *r,
                      const struct site_row *row)
{
    struct frame *f = frame_match(w, t, e, r, row->function);
    struct span *s = f ? frame_span(f) : NULL;
    if (s && row->role == SITE_RETURN) {
        const struct rule_plan *p = &w->plans[r->id];
        describe_attributes(r, p, PLAN_RETURN, e, s);
        describe_outcome(r, p, PLAN_RETURN, e, s);
    }
    if (f)
        frame_end(w, f, e->time);
}

static void on_point(struct workflow *w, const struct event *e, const struct rule *r, const struct site_row *row)
{
    struct frame f = { .rule = r, .function = row->function, .usdt = true };
    activity_start_from(w, e, r, &f, false);
    struct span *s = frame_span(&f);
    if (!s)
        return;
    describe_outcome(r, &w->plans[r->id], PLAN_RETURN, NULL, s);
    activity_end(w->tracer, f.a, e->time);
}

static void on_until(struct workflow *w, struct thread *t, const struct event *e, const struct rule *r)
{
    for (struct frame **at = &t->top; *at; at = &(*at)->below) {
        struct frame *f = *at;
        if (!f->usdt || f->rule != r)
            continue;
        *at = f->below;
        t->depth--;
        struct span *s = frame_span(f);
        if (s)
            describe_outcome(r, &w->plans[r->id], PLAN_RETURN, NULL, s);
        frame_end(w, f, e->time);
        return;
    }
    ledger_add(hits_unmatched, rule_begins(r, e->time));
}

/* Exceptions and panics. The hit's sp is that of the runtime function's caller less its return address, so calls at that
 * very sp are gone as well. */
static void on_runtime(struct workflow *w, struct thread *t, const struct event *e, enum site_role role)
{
    switch (role) {
    case SITE_THROW:
        t->thrown = true;
        snprintf(t->type, sizeof(t->type), "exception");
        if (e->hit.n && !(e->hit.failed & 1) && e->hit.strings & 1 && e->hit.s[0].n)
            type_readable(e->hit.s[0], t->type, sizeof(t->type));
        return;
    case SITE_PANIC:
        t->thrown = true;
        snprintf(t->type, sizeof(t->type), "panic");
        return;
    case SITE_RETHROW:
        t->thrown = true;
        if (!t->type[0])
            snprintf(t->type, sizeof(t->type), "exception");
        return;
    case SITE_CATCH:
    case SITE_PANIC_CATCH:
        unwind(w, t, e->hit.sp, true, e->time);
        t->thrown = false;
        return;
    case SITE_RESUME:
        unwind(w, t, e->hit.sp, true, e->time);
        return;
    default:
        return;
    }
}

/* A process owns under the number 0, which is no thread's. */
static u64 owner_of(u32 tgid, u32 tid) { return (u64)tgid << 32 | tid; }

static struct thread *thread_put(struct workflow *w, const struct thread_key *key)
{
    bool fresh = false;
    struct thread *t = table_put(w->threads, key, &fresh);
    if (!t || !fresh)
        return t;
    t->key = *key;
    if (owners_add(w->owners, owner_of(key->tgid, key->tid), &t->of_thread) &&
        owners_add(w->owners, owner_of(key->tgid, 0), &t->of_process))
        return t;
    table_del(w->threads, key);
    return NULL;
}

static void on_hit(struct workflow *w, const struct event *e)
{
    const struct site_row *row = site_get(w->rules->sites, e->hit.site);
    struct thread_key key = { e->tgid, e->tid, e->unit };
    ledger_add(hits, 1);
    if (row && row->rule == RULE_LEAVING)
        return;
    if (!row || (row->rule != NO_RULE && row->rule >= w->rules->n)) {
        ledger_add(hits_unmatched, 1);
        return;
    }
    const struct rule *r = row->rule == NO_RULE ? NULL : &w->rules->v[row->rule];
    bool begins = row->role == SITE_ENTRY || row->role == SITE_BEGIN;
    if (r && (begins || row->role == SITE_POINT) && !rule_begins(r, e->time)) /* another set of rules has it */
        return;
    if (row->role == SITE_POINT && r) {
        on_point(w, e, r, row);
        return;
    }
    struct thread *t = begins ? thread_put(w, &key) : table_get(w->threads, &key);
    if (!t) {
        if (r && rule_begins(r, e->time)) /* a throw in a thread without activities is nobody's */
            ledger_add(hits_unmatched, 1);
        return;
    }
    if (!r)
        on_runtime(w, t, e, row->role);
    else if (row->role == SITE_ENTRY)
        on_entry(w, t, e, r, row);
    else if (row->role == SITE_BEGIN)
        frame_push(w, t, e, r, row->function, true);
    else if (row->role == SITE_UNTIL)
        on_until(w, t, e, r);
    else
        on_return(w, t, e, r, row);
}

/* --- ends of threads --- */
static void thread_empty(struct workflow *w, struct thread *t, u64 time)
{
    while (t->top) {
        struct frame *f = t->top;
        t->top = f->below;
        frame_abandon(w, t, f, time, LEAVE_EXITED);
    }
    t->depth = 0;
}

static void threads_leave(struct workflow *w, const struct event *e, bool all)
{
    struct owned *x;
    while ((x = owners_first(w->owners, owner_of(e->tgid, all ? 0 : e->tid)))) {
        struct thread *t = all ? container_of(x, struct thread, of_process) : container_of(x, struct thread, of_thread);
        struct thread_key key = t->key;
        thread_empty(w, t, e->time);
        table_del(w->threads, &key);
    }
}

static void thread_drop(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    struct workflow *w = arg;
    struct thread *t = value;
    UNUSED(key);
    if (cause == TABLE_EVICTED)
        thread_empty(w, t, w->now);
    owners_remove(w->owners, &t->of_thread);
    owners_remove(w->owners, &t->of_process);
}

void workflow_event(struct workflow *w, const struct event *e)
{
    w->lost += e->lost;
    w->now = max_u64(w->now, e->time);
    bridge_event(w->bridge, e);
    if (e->type == EVENT_HIT)
        on_hit(w, e);
    else if (e->type == EVENT_EXEC)
        threads_leave(w, e, true);
    else if (e->type == EVENT_EXIT)
        threads_leave(w, e, !e->exit.thread);
}

void workflow_tick(struct workflow *w, u64 now_boot) { w->now = max_u64(w->now, now_boot); }

bool workflow_watch(const struct workflow *w, size_t i, struct workflow_watch *ret) { return bridge_state(w->bridge, i, ret); }
void workflow_notes(const struct workflow *w, struct workflow_notes *ret) { bridge_notes(w->bridge, ret); }

static void plans_make(struct workflow *w)
{
    char err[160];
    for (; w->planned < w->rules->n; w->planned++) /* checked when the rules were read */
        (void)rule_plan_make(&w->rules->v[w->planned], &w->plans[w->planned], err, sizeof(err));
}

struct workflow *workflow_new(const struct rules *rules, struct tracer *tracer)
{
    struct workflow *w = calloc(1, sizeof(*w));
    if (!w)
        return NULL;
    w->rules = rules;
    w->tracer = tracer;
    w->plans = calloc(RULES_SLOTS, sizeof(*w->plans)); /* what isn't used isn't touched */
    w->threads = table_new(&(struct table_spec){ .key_size = sizeof(struct thread_key),
                                                 .value_size = sizeof(struct thread),
                                                 .max = THREADS_MAX,
                                                 .drop = thread_drop,
                                                 .arg = w });
    w->owners = owners_new(2 * THREADS_MAX);
    w->bridge = bridge_new(rules, tracer);
    if (!w->plans || !w->threads || !w->owners || !w->bridge)
        return workflow_free(w);
    plans_make(w);
    return w;
}

int workflow_reserve(struct workflow *w, size_t n_rules) { return bridge_reserve(w->bridge, n_rules); }

bool workflow_rules_taken(struct workflow *w)
{
    plans_make(w);
    return bridge_rules_taken(w->bridge);
}

int workflow_watches_write(const struct workflow *w, FILE *out) { return bridge_watches_write(w->bridge, out); }

static bool thread_uses(void *arg, const void *key, void *value)
{
    bool *used = arg;
    UNUSED(key);
    for (const struct frame *f = ((struct thread *)value)->top; f; f = f->below)
        used[f->rule->id] = true;
    return true;
}

void workflow_used(struct workflow *w, bool used[RULES_SLOTS])
{
    if (table_count(w->threads))
        table_each(w->threads, thread_uses, used);
}

static bool thread_forget(void *arg, const void *key, void *value)
{
    struct workflow *w = arg;
    struct thread *t = value;
    UNUSED(key);
    while (t->top) {
        struct frame *f = t->top;
        t->top = f->below;
        frame_give(w, f);
    }
    return true;
}

struct workflow *workflow_free(struct workflow *w)
{
    if (!w)
        return NULL;
    if (w->threads)
        table_each(w->threads, thread_forget, w);
    table_free(w->threads);
    owners_free(w->owners);
    while (w->free) {
        struct frame *f = w->free;
        w->free = f->below;
        free(f);
    }
    bridge_free(w->bridge);
    free(w->plans);
    free(w);
    return NULL;
}
