/* Tail rules. One table of traces by the hash of their id; the undecided ones are in one of two lists, both oldest first:
 * `running` has something open, `idle` waits for stragglers. What is kept goes through one queue of spans, `out`, from
 * which ticks hand on as much as the exporters can take. */
#include "pipeline/tail.h"
#include "base/table.h"
#include "pipeline/sampler.h"
#include "self/ledger.h"

#include <fnmatch.h>

#define AT_ONCE 64 /* spans of a small trace are handed on when it is decided */

enum state { UNDECIDED, KEPT, DROPPED };

struct chain {
    struct span *first, *last;
};

struct trace {
    struct trace *prev, *next; /* in a list while undecided */
    struct list *in;
    u8 state;
    bool foreign; /* its first span has a parent elsewhere that told no `th` */
    u64 key;
    u32 open;
    u64 first_ns, last_ns, touched_ns, randomness;
    const char *rule; /* KEPT: by which; NULL: by none, there were no rules any more */
    u64 th;           /* KEPT: threshold of that rule; 0 for those that keep all */
    struct chain spans;
};

struct list {
    struct trace *first, *last;
};

struct tail {
    struct tail_options o;
    bool off, bulk; /* bulk: many are decided at once: ticks hand them on */
    char *names[TAIL_NAMES];
    u64 threshold;
    struct span_sink *next;
    struct table *traces;
    struct list running, idle;
    struct chain out;
    u64 now, bytes;
    u32 spans;
};

/* --- lists --- */

static void list_del(struct trace *t)
{
    struct list *l = t->in;
    if (!l)
        return;
    *(t->prev ? &t->prev->next : &l->first) = t->next;
    *(t->next ? &t->next->prev : &l->last) = t->prev;
    t->in = NULL;
}

static void list_add(struct list *l, struct trace *t)
{
    list_del(t);
    t->prev = l->last;
    t->next = NULL;
    *(l->last ? &l->last->next : &l->first) = t;
    l->last = t;
    t->in = l;
}

static void chain_add(struct chain *c, struct span *s)
{
    s->next = NULL;
    *(c->last ? &c->last->next : &c->first) = s;
    c->last = s;
}

static struct span *chain_take(struct chain *c)
{
    struct span *s = c->first;
    if (s && !(c->first = s->next))
        c->last = NULL;
    return s;
}

/* --- handing on --- */

static void mark(struct span *s, const char *rule, u64 th, bool foreign)
{
    u64 had;
    if (!rule)
        return;
    bool known = tracestate_th(s->tracestate, &had);
    attr_str(&s->attrs, "wftrace.sampling.rule", slice_str(rule));
    if (known ? th > had : !foreign)
        sampling_set_th(s, th);
}

static void hold(struct tail *t, struct chain *c, struct span *s)
{
    chain_add(c, s);
    t->bytes += s->bytes;
    t->spans++;
}

/* The first of a chain, no longer counted; or NULL. */
static struct span *unhold(struct tail *t, struct chain *c)
{
    struct span *s = chain_take(c);
    if (s) {
        t->bytes -= s->bytes;
        t->spans--;
    }
    return s;
}

static void drop(struct span *s)
{
    ledger_add(spans_tail_dropped, 1);
    span_unref(s);
}

static bool is_full(const struct tail *t) { return t->bytes > t->o.max_bytes || t->spans > t->o.max_spans; }

static void release(struct tail *t, u32 budget)
{
    for (struct span *s; (budget || is_full(t)) && (s = unhold(t, &t->out)); budget -= budget > 0)
        t->next->ended(t->next, s);
}

/* --- deciding --- */

static void settle(struct tail *t, struct trace *tr, enum state state, const char *rule, u64 th)
{
    u32 n = 0;
    bool direct = !t->out.first && !t->bulk;
    list_del(tr);
    tr->state = state;
    tr->rule = rule;
    tr->th = th;
    for (struct span *s; (s = unhold(t, &tr->spans)); n++) {
        if (state == DROPPED) {
            drop(s);
            continue;
        }
        mark(s, rule, th, tr->foreign);
        hold(t, &t->out, s);
    }
    if (direct && n <= AT_ONCE)
        release(t, n);
    if (state == KEPT)
        ledger_add(tail_kept, 1);
    else
        ledger_add(tail_dropped, 1);
}

static void settle_by_ratio(struct tail *t, struct trace *tr)
{
    if (t->threshold < SAMPLING_BITS && tr->randomness >= t->threshold)
        settle(t, tr, KEPT, "ratio", t->threshold);
    else
        settle(t, tr, DROPPED, NULL, 0);
}

static bool is_slow(const struct tail *t, u64 from, u64 to) { return t->o.slow_ns && to > from && to - from >= t->o.slow_ns; }

static bool is_named(const struct tail *t, const char *name)
{
    for (size_t i = 0; i < t->o.n_names; i++)
        if (!fnmatch(t->names[i], name, 0))
            return true;
    return false;
}

/* Full: who waits for stragglers is decided as it is; then the oldest running one is kept. */
static void make_room(struct tail *t)
{
    while (is_full(t)) {
        if (t->out.first) {
            release(t, 0);
            continue;
        }
        struct trace *tr = t->idle.first;
        if (tr) {
            settle_by_ratio(t, tr);
        } else {
            for (tr = t->running.first; tr && !tr->spans.first;)
                tr = tr->next;
            if (!tr)
                return;
            settle(t, tr, KEPT, "overflow", 0);
        }
        ledger_add(tail_overflow, 1);
        release(t, 0);
    }
}

/* --- traces --- */

static u64 key_of(const struct span *s) { return hash_bytes(s->id.trace_id, TRACE_ID_LEN, 0) | 1; }

static struct trace *trace_get(struct tail *t, const struct span *s, u64 key)
{
    bool fresh = false;
    struct trace *tr = t->off ? table_get(t->traces, &key) : table_put(t->traces, &key, &fresh);
    if (!tr)
        return NULL;
    if (fresh) {
        u64 th;
        tr->key = key;
        tr->first_ns = s->start_ns;
        tr->randomness = sampling_randomness(s);
        tr->foreign = t->o.head_unknown || (s->remote_parent && !tracestate_th(s->tracestate, &th));
    }
    if (s->start_ns < tr->first_ns)
        tr->first_ns = s->start_ns;
    tr->touched_ns = t->now;
    if (tr->state == UNDECIDED && !tr->open)
        list_add(&t->idle, tr); /* to its end: it waits anew */
    return tr;
}

static void trace_drop(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    struct tail *t = arg;
    struct trace *tr = value;
    UNUSED(key);
    if (tr->state != UNDECIDED)
        return;
    if (cause == TABLE_EVICTED)
        ledger_add(tail_overflow, 1);
    if (tr->open && tr->spans.first)
        settle(t, tr, KEPT, "overflow", 0);
    else
        settle_by_ratio(t, tr);
}

void tail_started(struct tail *t, struct span *s)
{
    u64 key = key_of(s);
    if (s->start_ns > t->now)
        t->now = s->start_ns;
    struct trace *tr = trace_get(t, s, key);
    if (!tr)
        return;
    s->pipeline_note = key;
    if (!tr->open++ && tr->state == UNDECIDED)
        list_add(&t->running, tr);
    if (tr->state == UNDECIDED && is_named(t, s->name))
        settle(t, tr, KEPT, "name", 0);
}

/* The trace that it was counted in when it started: it may have moved to another since. */
static void count_end(struct tail *t, struct span *s)
{
    struct trace *tr = s->pipeline_note ? table_peek(t->traces, &s->pipeline_note) : NULL;
    s->pipeline_note = 0;
    if (tr && tr->open && !--tr->open && tr->state == UNDECIDED) {
        tr->touched_ns = t->now;
        list_add(&t->idle, tr);
    }
}

void tail_ended(struct tail *t, struct span *s)
{
    if (s->end_ns > t->now)
        t->now = s->end_ns;
    count_end(t, s);
    struct trace *tr = s->id.flags & 1 ? trace_get(t, s, key_of(s)) : NULL;
    if (!tr && t->off && s->id.flags & 1) {
        t->next->ended(t->next, s);
        return;
    }
    if (!tr) {
        if (s->id.flags & 1)
            ledger_add(spans_tail_dropped, 1);
        span_unref(s);
        return;
    }
    if (s->end_ns > tr->last_ns)
        tr->last_ns = s->end_ns;
    if (tr->state != KEPT && !t->off) {
        bool was_dropped = tr->state == DROPPED;
        if (t->o.errors && s->status == STATUS_ERROR)
            settle(t, tr, KEPT, "error", 0);
        else if (!was_dropped && is_slow(t, tr->first_ns, tr->last_ns))
            settle(t, tr, KEPT, "slow", 0);
        else if (!was_dropped && is_named(t, s->name))
            settle(t, tr, KEPT, "name", 0);
    }
    if (tr->state == UNDECIDED) {
        hold(t, &tr->spans, s);
        make_room(t);
    } else if (tr->state == KEPT) {
        mark(s, tr->rule, tr->th, tr->foreign);
        t->next->ended(t->next, s);
    } else {
        drop(s);
    }
}

void tail_tick(struct tail *t, u64 now, u32 budget)
{
    u64 wait = (u64)t->o.wait_ms * NSEC_PER_MSEC;
    bool went_back = now + wait < t->now; /* the clock was set back: what is idle has waited long enough */
    for (struct trace *tr; (tr = t->running.first) && is_slow(t, tr->first_ns, now);)
        settle(t, tr, KEPT, "slow", 0);
    for (struct trace *tr; (tr = t->idle.first) && (went_back || now >= tr->touched_ns + wait);)
        settle_by_ratio(t, tr);
    t->now = now;
    release(t, budget);
}

bool tail_finish(struct tail *t, u32 budget)
{
    for (struct trace *tr; (tr = t->running.first);)
        settle_by_ratio(t, tr);
    for (struct trace *tr; (tr = t->idle.first);)
        settle_by_ratio(t, tr);
    u32 before = t->spans;
    release(t, budget);
    return t->out.first && t->spans < before;
}

/* --- other rules --- */

static bool move_trace(void *arg, const void *key, void *value)
{
    struct tail *to = arg;
    struct trace *old = value, *tr = table_put(to->traces, key, NULL);
    for (struct span *s; !tr && (s = unhold(to, &old->spans));)
        drop(s);
    if (!tr)
        return true;
    *tr = *old;
    tr->in = NULL;
    return true;
}

static void move_list(struct tail *to, struct list *list, const struct list *old)
{
    for (const struct trace *o = old->first; o; o = o->next) {
        struct trace *tr = table_peek(to->traces, &o->key);
        if (tr && tr->state == UNDECIDED)
            list_add(list, tr);
    }
}

static const char *judge(const struct tail *t, const struct trace *tr)
{
    for (const struct span *s = tr->spans.first; s; s = s->next) {
        if (t->o.errors && s->status == STATUS_ERROR)
            return "error";
        if (is_named(t, s->name))
            return "name";
    }
    return is_slow(t, tr->first_ns, tr->last_ns) ? "slow" : NULL;
}

static void judge_list(struct tail *t, struct list *l)
{
    for (struct trace *tr = l->first, *next; tr; tr = next) {
        const char *rule = judge(t, tr);
        next = tr->next;
        if (rule)
            settle(t, tr, KEPT, rule, 0);
    }
}

/* The old one's entries are gone with it, without another word. */
static bool forget_trace(void *arg, const void *key, void *value)
{
    struct trace *tr = value;
    UNUSED(arg), UNUSED(key);
    tr->state = DROPPED;
    return true;
}

void tail_take(struct tail *to, struct tail *from)
{
    to->out = from->out;
    to->bytes = from->bytes;
    to->spans = from->spans;
    to->now = from->now;
    table_each(from->traces, move_trace, to); /* in the order of their last use: a smaller table decides the oldest */
    move_list(to, &to->running, &from->running);
    move_list(to, &to->idle, &from->idle);
    from->out = (struct chain){ 0 };
    table_each(from->traces, forget_trace, NULL);
    tail_free(from);
    to->bulk = true;
    judge_list(to, &to->running);
    judge_list(to, &to->idle);
    to->bulk = false;
    make_room(to);
}

void tail_off(struct tail *t)
{
    t->off = t->bulk = true;
    for (struct trace *tr; (tr = t->running.first);)
        settle(t, tr, KEPT, NULL, 0);
    for (struct trace *tr; (tr = t->idle.first);)
        settle(t, tr, KEPT, NULL, 0);
}

bool tail_passes(struct tail *t, const struct span *s)
{
    u64 key = key_of(s);
    const struct trace *tr = table_peek(t->traces, &key);
    return !tr || tr->state != DROPPED;
}

struct left {
    struct tail *t;
    bool any;
};

static bool trace_is_left(void *arg, const void *key, void *value)
{
    struct left *l = arg;
    const struct trace *tr = value;
    if (tr->open && tr->state == DROPPED)
        l->any = true;
    else if (!tr->open)
        table_del(l->t->traces, key);
    return true;
}

bool tail_over(struct tail *t)
{
    struct left l = { t, t->out.first != NULL };
    if (!l.any)
        table_each(t->traces, trace_is_left, &l);
    return !l.any;
}

u64 tail_bytes(const struct tail *t) { return t->bytes; }
u32 tail_spans(const struct tail *t) { return t->spans; }

static void defaults(struct tail_options *o)
{
    o->wait_ms = o->wait_ms ? o->wait_ms : 2000;
    o->max_bytes = o->max_bytes ? o->max_bytes : 64u << 20;
    o->max_spans = o->max_spans ? o->max_spans : 200000;
    o->max_traces = o->max_traces ? o->max_traces : 65536;
    o->n_names = min_u64(o->n_names, TAIL_NAMES);
}

struct tail *tail_new(const struct tail_options *o, struct span_sink *next)
{
    struct tail *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->o = *o;
    defaults(&t->o);
    t->next = next;
    t->threshold = sampling_threshold(o->ratio);
    t->traces = table_new(&(struct table_spec){
        .key_size = 8, .value_size = sizeof(struct trace), .max = t->o.max_traces, .drop = trace_drop, .arg = t });
    bool fine = t->traces;
    for (size_t i = 0; i < t->o.n_names; i++)
        fine &= (t->names[i] = strdup(o->names[i])) != NULL;
    return fine ? t : tail_free(t);
}

struct tail *tail_free(struct tail *t)
{
    if (!t)
        return NULL;
    if (t->traces)
        t->traces = table_free(t->traces);
    for (struct span *s; (s = unhold(t, &t->out));)
        drop(s);
    for (size_t i = 0; i < t->o.n_names; i++)
        free(t->names[i]);
    free(t);
    return NULL;
}
