/* Events from inside Python processes → activities.
 *
 * A call has a number that is unique in its process; START, SUSPEND, RESUME, END and FAIL name it, so nothing is matched by order:
 * coroutines interleave, and an exception thrown into a chain of them wakes the innermost first. The first rule of the watch whose
 * `when` holds describes the call; where none does, there is no activity and what the call does belongs to its caller.
 *
 * A rule with `until:` makes an activity that outlives its call: it goes on, on no unit, until another function ends that names the
 * same id, or until its parent fails.
 *
 * A call that is suspended is not on its unit: what starts there meanwhile is not its child, and the time is not its work. When a
 * process ends, the calls that it had open end with it, at that time: as lost, with the signal. */
#include "workflow/bridge.h"
#include "workflow/internal.h"
#include "base/table.h"
#include "self/ledger.h"

#include <sys/wait.h>

enum { CALLS_MAX = 65536, PROCESSES_MAX = 16384 };

struct call_key {
    u64 tgid, activity;
};
struct call {
    struct call *next, *prev; /* in its process */
    u32 tgid;
    u64 activity;
    const struct rule *rule;
    const struct rule_slots *slots;
    struct activity *a;
    u32 generation;
    bool suspended, was_suspended;
    bool lasting;      /* its function has returned; `until` will end it */
    u64 since, active; /* boot ns of the last start or resume; ns it ran before that */
    u64 lost;          /* records lost when it began */
    struct id_key ids[RULE_IDS];
};
struct watch_state {
    u32 bound;
    bool values_failed;
    char why[160];
};
struct bridge {
    const struct rules *rules;
    struct tracer *tracer;
    struct watch_book book;
    struct watch_state *states;
    struct table *calls, *processes; /* processes: tgid → its first call */
    struct table *lasting;           /* id → call_key */
    struct ids *ids;
    struct workflow_notes notes;
    struct values values; /* of the event at hand */
    u64 lost, now;
};

/* --- calls --- */
static struct span *call_span(const struct call *c)
{
    return c->a && c->a->open && c->a->generation == c->generation ? c->a->span : NULL;
}

static void call_link(struct bridge *b, struct call *c)
{
    struct call **first = table_put(b->processes, &c->tgid, NULL);
    if (!first)
        return;
    c->next = *first;
    if (c->next)
        c->next->prev = c;
    *first = c;
}

static void call_unlink(struct bridge *b, struct call *c)
{
    struct call **first = table_peek(b->processes, &c->tgid);
    if (c->next)
        c->next->prev = c->prev;
    if (c->prev)
        c->prev->next = c->next;
    else if (first && *first == c)
        *first = c->next;
    c->next = c->prev = NULL;
}

static void call_ids(struct bridge *b, struct call *c)
{
    for (u8 i = 0; i < c->rule->n_ids; i++) {
        const struct rule_id *id = &c->rule->ids[i];
        struct event_value v;
        char room[32];
        if (!values_get(&b->values, &id->from, &c->slots->ids[i], &v) || v.type == VALUE_NONE)
            continue;
        struct slice text = values_text(&v, room, sizeof(room));
        if (!text.n)
            continue;
        c->ids[i] = id_key_of(c->rule->pack, id->space, text);
        ids_add(b->ids, &c->ids[i], c->a);
    }
}

/* Name, time of work, ids: what every end has in common. The call is gone afterwards. */
static void call_finish(struct bridge *b, struct call *c, u64 time)
{
    struct span *s = call_span(c);
    if (s) {
        describe_name(c->rule, s);
        if (c->was_suspended && !c->lasting)
            attr_double(&s->attrs, "wftrace.active_time", (double)(c->active + (c->suspended ? 0 : time - c->since)) / 1e9);
        for (u8 i = 0; i < c->rule->n_ids; i++)
            if (c->ids[i].a | c->ids[i].b)
                ids_ended(b->ids, &c->ids[i], s, time);
        activity_end(b->tracer, c->a, time);
    }
    for (u8 i = 0; c->lasting && i < RULE_IDS; i++)
        table_del(b->lasting, &c->ids[i]);
    call_unlink(b, c);
}

static void call_drop(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    struct bridge *b = arg;
    struct call *c = value;
    UNUSED(key);
    if (cause != TABLE_EVICTED)
        return;
    struct span *s = call_span(c);
    ledger_add(bridge_calls_evicted, 1);
    if (s)
        attr_bool(&s->attrs, "wftrace.unfinished", true);
    call_finish(b, c, b->now);
}

/* --- START --- */
static const struct rule *rule_of(struct bridge *b, const struct watch *w)
{
    for (u8 i = 0; i < w->n_rules; i++) {
        const struct rule *r = &b->rules->v[w->rules[i]];
        const struct rule_slots *s = &b->book.slots[r->id];
        bool holds = true;
        for (u8 k = 0; k < r->n_when && holds; k++)
            holds = values_condition(&b->values, &r->when[k], &s->when[k]);
        if (holds)
            return r;
    }
    return NULL;
}

/* The first of the ids asked for that is known. *ret_first: the first that there is, known or not. */
static bool id_known(struct bridge *b, const struct rule *r, const struct rule_id *ids, const struct source_slots *slots, u8 n,
                     struct id_owner *ret, struct id_key *ret_first)
{
    bool any = false;
    for (u8 i = 0; i < n; i++) {
        struct event_value v;
        char room[32];
        if (!values_get(&b->values, &ids[i].from, &slots[i], &v))
            continue;
        struct slice text = values_text(&v, room, sizeof(room));
        struct id_key key = id_key_of(r->pack, ids[i].space, text);
        if (!text.n)
            continue;
        if (!any)
            *ret_first = key;
        any = true;
        if (ids_find(b->ids, &key, ret))
            return true;
    }
    return false;
}

/* Between being asked for and being begun: by the engine's own word, or from the producer's end. */
static void set_queue_wait(struct bridge *b, struct span *s, u64 start, const struct event_value *at, const struct id_owner *from)
{
    u64 wall = tracer_wall(b->tracer, start), queued = 0;
    bool told = at && values_time(at, &queued);
    if (!told && from && from->kind == SPAN_PRODUCER)
        queued = tracer_wall(b->tracer, from->end ? from->end : from->start);
    if (queued && queued <= wall)
        attr_double(&s->attrs, "wftrace.queue.wait", (double)(wall - queued) / 1e9);
}

static void link_ids(struct bridge *b, const struct call *c, struct id_owner *ret_from, bool *ret_found)
{
    for (u8 i = 0; i < c->rule->n_links; i++) {
        struct id_key unknown;
        if (!id_known(b, c->rule, &c->rule->links[i], &c->slots->links[i], 1, ret_from, &unknown))
            continue;
        span_add_link(c->a->span, &ret_from->id, join_name[JOIN_ENGINE]);
        *ret_found = true;
    }
}

static void set_code(struct span *s, const struct values *v, const struct watch *w)
{
    char text[320];
    struct slice f = v->function;
    if (f.n)
        snprintf(text, sizeof(text), "%.*s", (int)min_u64(f.n, sizeof(text) - 1), (const char *)f.p);
    else
        snprintf(text, sizeof(text), "%.150s:%.150s", w->module, w->function);
    char *colon = strchr(text, ':');
    if (colon)
        *colon = '.';
    attr_str(&s->attrs, "code.function.name", slice_str(text));
}

static void set_values(struct bridge *b, const struct call *c, struct span *s)
{
    for (u8 i = 0; i < c->rule->n_attrs; i++) {
        const struct rule_attr *a = &c->rule->attrs[i];
        struct event_value v;
        if (values_get(&b->values, &a->from, &c->slots->attr[i], &v))
            values_set(s, a->key, &v);
    }
}

static void set_constants(const struct rule *r, struct span *s)
{
    for (u8 i = 0; i < r->n_attrs; i++) {
        const struct source *from = &r->attrs[i].from;
        if (from->root == SOURCE_CONST && from->text)
            attr_str(&s->attrs, r->attrs[i].key, slice_str(from->text));
        else if (from->root == SOURCE_CONST)
            attr_int(&s->attrs, r->attrs[i].key, from->number);
    }
}

/* When it began: by the engine's word, if that is before the call and within a day of it. */
static u64 started(struct bridge *b, const struct event *e, const struct rule *r)
{
    const struct source_slots *slots = &b->book.slots[r->id].started_at;
    u64 wall = tracer_wall(b->tracer, e->time), said;
    struct event_value v;
    if (!r->started_at.n_expr || !values_get(&b->values, &r->started_at, slots, &v) || !values_time(&v, &said) || said >= wall)
        return e->time;
    u64 before = wall - said;
    return before < 86400 * NSEC_PER_SEC && before < e->time ? e->time - before : e->time;
}

/* The trace that the engine says this is in, and the span there that it is below. */
static bool handed_on(struct bridge *b, const struct rule *r, struct span_context *ret)
{
    const struct source_slots *slots = &b->book.slots[r->id].traceparent;
    struct event_value v;
    return r->traceparent.n_expr && values_get(&b->values, &r->traceparent, slots, &v) && v.type == VALUE_TEXT &&
           !traceparent_parse(v.text, ret);
}

static struct activity *begin(struct bridge *b, const struct event *e, const struct rule *r, const struct id_owner *parent)
{
    struct span_context wire;
    bool told = !parent && handed_on(b, r, &wire);
    bool above = told && wire.flags & 1; /* else nobody tells of that span: this is the first of its trace */
    return activity_begin(b->tracer, &(struct activity_start){ .time = started(b, e, r),
                                                               .tgid = e->tgid,
                                                               .tid = e->tid,
                                                               .unit = e->unit,
                                                               .kind = r->kind ? r->kind : SPAN_INTERNAL,
                                                               .scope = r->pack ? r->pack : "rule",
                                                               .started_later = true,
                                                               .push = true,
                                                               .owner = parent ? parent->open : NULL,
                                                               .parent = parent && !parent->open ? &parent->id
                                                                         : above                 ? &wire
                                                                                                 : NULL,
                                                               .join = above ? JOIN_WIRE : JOIN_ENGINE,
                                                               .new_trace = r->new_trace && !above,
                                                               .trace = told && !above ? &wire : NULL,
                                                               .rule = r->id + 1 });
}

static void describe_start(struct bridge *b, struct call *c, const struct watch *w, const struct event *e,
                           const struct id_owner *parent)
{
    struct span *s = c->a->span;
    struct id_owner from = parent ? *parent : (struct id_owner){ 0 };
    bool found = parent != NULL;
    struct event_value at;
    attr_str(&s->attrs, ACTIVITY_TYPE, slice_str(c->rule->type));
    set_code(s, &b->values, w);
    set_constants(c->rule, s);
    set_values(b, c, s);
    link_ids(b, c, &from, &found);
    bool told = c->rule->queued_at.n_expr && values_get(&b->values, &c->rule->queued_at, &c->slots->queued_at, &at);
    set_queue_wait(b, s, c->a->start, told ? &at : NULL, found ? &from : NULL);
    describe_name(c->rule, s);
}

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
        bool known = id_known(b, r, r->ids, b->book.slots[r->id].ids, r->n_ids, &found, &unknown);
        return known && found.open && into_owner(b, r, found.open) ? found.open : NULL;
    }
    struct activity *a = activity_current(b->tracer, e->tgid, e->tid, e->unit);
    for (int hops = 0; a && hops < 16; hops++, a = activity_parent(a))
        if (into_owner(b, r, a))
            return a;
    return NULL;
}

static bool take_caught(struct bridge *b, const struct call *c);
static void set_exception(struct bridge *b, struct span *s, u64 time, bool error);

static void add_into(struct bridge *b, const struct event *e, const struct rule *r)
{
    struct activity *a = into_activity(b, e, r);
    if (!a)
        return;
    struct call as = { .rule = r, .slots = &b->book.slots[r->id] };
    set_constants(r, a->span);
    set_values(b, &as, a->span);
    if (r->caught[0].n_expr && take_caught(b, &as))
        set_exception(b, a->span, e->time, true);
    describe_name(into_owner(b, r, a), a->span);
}

static void on_start(struct bridge *b, const struct event *e, const struct watch *w)
{
    const struct rule *r = rule_of(b, w);
    struct id_owner owner;
    struct id_key asked = { 0 };
    bool fresh;
    if (r && r->into)
        add_into(b, e, r);
    if (!r || r->into)
        return;
    const struct rule_slots *slots = &b->book.slots[r->id];
    struct call_key key = { e->tgid, e->bridge.activity };
    struct call *c = table_put(b->calls, &key, &fresh);
    if (!c)
        return;
    if (!fresh) /* its end was lost */
        call_finish(b, c, e->time);
    bool known = id_known(b, r, r->parents, slots->parents, r->n_parents, &owner, &asked);
    *c = (struct call){
        .tgid = e->tgid, .activity = e->bridge.activity, .rule = r, .slots = slots, .since = e->time, .lost = b->lost
    };
    c->a = begin(b, e, r, known ? &owner : NULL);
    if (!c->a) {
        table_del(b->calls, &key);
        return;
    }
    c->generation = c->a->generation;
    call_link(b, c);
    if (!known && (asked.a | asked.b))
        ids_wait(b->ids, &asked, c->a);
    describe_start(b, c, w, e, known ? &owner : NULL);
    activity_started(b->tracer, c->a);
    call_ids(b, c);
}

/* --- END, FAIL --- */
/* A generator that is closed before its end was not wrong. */
static bool is_close(struct slice type) { return slice_eq(type, "GeneratorExit") || slice_eq(type, "builtins.GeneratorExit"); }

static struct slice plain_type(struct slice type) { return slice_starts(type, "builtins.") ? slice_from(type, 9) : type; }

/* An exception that the call caught and keeps is told like one that left it. */
static bool take_caught(struct bridge *b, const struct call *c)
{
    struct event_value type, text;
    if (!values_get(&b->values, &c->rule->caught[0], &c->slots->caught[0], &type) || type.type != VALUE_TEXT ||
        slice_eq(type.text, "NoneType"))
        return false;
    b->values.error_type = type.text;
    if (values_get(&b->values, &c->rule->caught[1], &c->slots->caught[1], &text) && text.type == VALUE_TEXT)
        b->values.error_message = text.text;
    return true;
}

/* A rule, or one into it, may have told the engine's own type and text. */
static bool error_told(const struct span *s, const char *key, struct slice *ret)
{
    const struct attr *a = attr_get(&s->attrs, key);
    if (!a || a->type != ATTR_STR)
        return false;
    *ret = slice_of(a->s, a->len);
    return true;
}

static void set_error(struct span *s, struct slice type, struct slice message)
{
    error_told(s, "error.message", &message);
    span_set_error(s, message.n ? message : type);
    if (!error_told(s, "error.type", &type))
        attr_str(&s->attrs, "error.type", type);
}

static bool condition_fails(struct bridge *b, const struct call *c, u8 i, struct span *s, bool failed, bool told)
{
    const struct rule_condition *k = &c->rule->errors[i];
    char word[128], message[512];
    bool says = true; /* true and false are no type of an error */
    if (k->test == TEST_EXCEPTION)
        return failed && !is_close(b->values.error_type);
    if (k->left.root == SOURCE_ATTR) {
        if (!attr_holds(k, s, word, sizeof(word)))
            return false;
        snprintf(message, sizeof(message), "%s is %s", k->left.text, word);
    } else {
        struct event_value v;
        char room[32];
        if (!values_condition(&b->values, k, &c->slots->error[i]))
            return false;
        if (told) /* the exception itself says more */
            return true;
        struct slice text = slice_of("", 0);
        if (values_get(&b->values, &k->left, &c->slots->error[i], &v))
            text = values_text(&v, room, sizeof(room)), says = v.type != VALUE_BOOL;
        snprintf(word, sizeof(word), "%.*s", (int)min_u64(text.n, 100), text.n ? (const char *)text.p : "");
        snprintf(message, sizeof(message), "%.300s is %s", k->left.expr[0], word[0] ? word : "null");
    }
    set_error(s, slice_str(word[0] && says ? word : "failed"), slice_str(message));
    return true;
}

static void set_exception(struct bridge *b, struct span *s, u64 time, bool error)
{
    const struct values *v = &b->values;
    struct slice type = plain_type(v->error_type);
    span_add_exception(s, tracer_wall(b->tracer, time), type, v->error_message, v->error_where);
    if (error)
        set_error(s, type, v->error_message);
}

static void describe_end(struct bridge *b, const struct call *c, struct span *s, u64 time, bool failed)
{
    bool told = failed || take_caught(b, c);
    bool error = !c->rule->error_given && told && !is_close(b->values.error_type);
    for (u8 i = 0; i < c->rule->n_errors && !error; i++)
        error = condition_fails(b, c, i, s, failed, told);
    if (told && !is_close(b->values.error_type))
        set_exception(b, s, time, error);
}

static void call_delete(struct bridge *b, struct call *c)
{
    struct call_key key = { c->tgid, c->activity };
    table_del(b->calls, &key);
}

/* The function returned, its activity goes on. False: it has no id by which it could be ended. */
static bool call_lasts(struct bridge *b, struct call *c)
{
    for (u8 i = 0; i < RULE_IDS; i++) {
        struct call_key *key = c->ids[i].a | c->ids[i].b ? table_put(b->lasting, &c->ids[i], NULL) : NULL;
        if (!key)
            continue;
        *key = (struct call_key){ c->tgid, c->activity };
        c->lasting = true;
    }
    if (c->lasting)
        activity_suspend(b->tracer, c->a);
    return c->lasting;
}

/* What a failed activity still had going on fails with it. */
static void lasting_fail(struct bridge *b, const struct call *parent, u64 time)
{
    const struct span *why = call_span(parent);
    struct call **first =
        table_count(b->lasting) && why && why->status == STATUS_ERROR ? table_peek(b->processes, &parent->tgid) : NULL;
    for (struct call *c = first ? *first : NULL, *next; c; c = next) {
        struct span *s = call_span(c);
        next = c->next;
        if (!c->lasting || !s || memcmp(s->parent_id, why->id.span_id, SPAN_ID_LEN))
            continue;
        const struct attr *type = attr_get(&why->attrs, "error.type");
        set_failure(s, type && type->type == ATTR_STR ? type->s : "failed", why->status_message ? why->status_message : "");
        call_finish(b, c, time);
        call_delete(b, c);
    }
}

/* Whether the call at hand ends activities of this rule at all. */
static bool ends_now(struct bridge *b, const struct rule *r)
{
    for (u8 i = 0; i < r->n_until_when; i++)
        if (!values_condition(&b->values, &r->until_when[i], &b->book.slots[r->id].until_when[i]))
            return false;
    return true;
}

/* What became of it, when its own call is long gone: by the attributes it was given since. */
static void describe_attributes_end(struct bridge *b, const struct call *c, struct span *s)
{
    for (u8 i = 0; i < c->rule->n_errors; i++)
        if (c->rule->errors[i].left.root == SOURCE_ATTR && condition_fails(b, c, i, s, false, false))
            return;
}

/* A call that ends activities of other rules has ended. */
static void end_others(struct bridge *b, const struct watch *w, u64 time, bool failed)
{
    for (u8 i = 0; i < w->n_ends; i++) {
        const struct rule *r = &b->rules->v[w->ends[i]];
        struct event_value v;
        char room[32];
        if (!ends_now(b, r) || !values_get(&b->values, &r->until_id.from, &b->book.slots[r->id].until_id, &v))
            continue;
        struct id_key id = id_key_of(r->pack, r->until_id.space, values_text(&v, room, sizeof(room)));
        struct call_key *key = table_peek(b->lasting, &id);
        struct call *c = key ? table_peek(b->calls, key) : NULL;
        struct span *s = c && c->rule == r ? call_span(c) : NULL;
        if (!s)
            continue;
        if (failed)
            set_exception(b, s, time, true);
        else
            describe_attributes_end(b, c, s);
        call_finish(b, c, time);
        call_delete(b, c);
    }
}

static void on_end(struct bridge *b, const struct event *e, struct call *c, bool failed)
{
    struct span *s = call_span(c);
    if (s) {
        set_values(b, c, s);
        describe_end(b, c, s, e->time, failed);
        call_ids(b, c);
        if (c->lost != b->lost)
            attr_bool(&s->attrs, "wftrace.lossy", true);
        if (!failed && c->rule->end_symbol[0] && call_lasts(b, c))
            return;
        lasting_fail(b, c, e->time);
    }
    call_finish(b, c, e->time);
    call_delete(b, c);
}

static void on_suspend(struct bridge *b, const struct event *e, struct call *c)
{
    if (c->suspended)
        return;
    c->suspended = c->was_suspended = true;
    c->active += e->time - c->since;
    if (call_span(c))
        activity_suspend(b->tracer, c->a);
}

static void on_resume(struct bridge *b, const struct event *e, struct call *c)
{
    if (c->suspended)
        c->since = e->time;
    c->suspended = false;
    if (call_span(c))
        activity_resume(b->tracer, c->a, e->tid, e->unit);
}

/* --- notes --- */
static struct watch_state *state_of(struct bridge *b, struct slice *text)
{
    u64 n;
    ptrdiff_t blank = slice_find(*text, ' ');
    struct slice number = blank < 0 ? *text : slice_head(*text, (size_t)blank);
    *text = slice_from(*text, number.n + 1);
    return !slice_u64(number, &n) && n >= 1 && n <= b->book.n ? &b->states[n - 1] : NULL;
}

static void on_note(struct bridge *b)
{
    struct slice text = b->values.there[0] ? b->values.by_index[0].text : slice_of("", 0);
    ptrdiff_t eq = slice_find(text, '=');
    struct slice key = slice_head(text, eq < 0 ? text.n : (size_t)eq), value = slice_from(text, key.n + 1);
    ledger_add(bridge_notes, 1);
    if (slice_eq(key, "loaded")) {
        if (!b->notes.loaded++)
            snprintf(b->notes.version, sizeof(b->notes.version), "%.*s", (int)min_u64(value.n, 20), (const char *)value.p);
        return;
    }
    struct watch_state *state = state_of(b, &value);
    if (!state)
        return;
    if (slice_eq(key, "bound"))
        state->bound++;
    else if (slice_eq(key, "attr_failed"))
        state->values_failed = true;
    else if (slice_eq(key, "failed") && !state->why[0])
        snprintf(state->why, sizeof(state->why), "%.*s", (int)min_u64(value.n, sizeof(state->why) - 1), (const char *)value.p);
}

/* --- the end of a process --- */
static void call_lose(struct bridge *b, struct call *c, const struct event *e)
{
    struct span *s = call_span(c);
    u32 status = e->type == EVENT_EXIT ? e->exit.status : 0;
    char type[32] = "lost", message[96];
    int sig = WTERMSIG((int)status), code = WEXITSTATUS((int)status);
    if (!s)
        return;
    ledger_add(calls_lost, 1);
    attr_bool(&s->attrs, "wftrace.lost", true);
    if (sig) {
        const char *name = sigabbrev_np(sig);
        snprintf(type, sizeof(type), name ? "SIG%s" : "signal", name);
        snprintf(message, sizeof(message), "lost: its process was ended by signal %d (%s)", sig, type);
    } else if (code) {
        snprintf(message, sizeof(message), "lost: its process exited with code %d", code);
    } else {
        attr_bool(&s->attrs, "wftrace.unfinished", true);
        return;
    }
    set_failure(s, type, message);
}

/* Newest first, so children end before their parents. */
static void process_leave(struct bridge *b, const struct event *e)
{
    struct call **first = table_peek(b->processes, &e->tgid);
    for (struct call *c = first ? *first : NULL, *next; c; c = next) {
        struct call_key key = { c->tgid, c->activity };
        next = c->next;
        call_lose(b, c, e);
        call_finish(b, c, e->time);
        table_del(b->calls, &key);
    }
    table_del(b->processes, &e->tgid);
}

/* The end of a call that made no activity; with `when:` it cannot be told which rule held at its start. */
static void add_ends_into(struct bridge *b, const struct event *e, const struct watch *w)
{
    if (e->bridge.phase != BRIDGE_SAYS_END && e->bridge.phase != BRIDGE_SAYS_FAIL)
        return;
    for (u8 i = 0; i < w->n_rules; i++)
        if (b->rules->v[w->rules[i]].into && !b->rules->v[w->rules[i]].n_when)
            add_into(b, e, &b->rules->v[w->rules[i]]);
}

static void on_call(struct bridge *b, const struct event *e)
{
    bool watched = e->bridge.watch >= 1 && e->bridge.watch <= b->book.n;
    const struct watch *w = watched ? &b->book.v[e->bridge.watch - 1] : NULL;
    if (e->bridge.phase == BRIDGE_SAYS_START) {
        if (w)
            on_start(b, e, w);
        return;
    }
    struct call *c = table_get(b->calls, &(struct call_key){ e->tgid, e->bridge.activity });
    bool failed = e->bridge.phase == BRIDGE_SAYS_FAIL;
    if (w && w->n_ends && (failed || e->bridge.phase == BRIDGE_SAYS_END))
        end_others(b, w, e->time, failed);
    if (!c && w && w->into)
        add_ends_into(b, e, w);
    if (!c || c->lasting) {
        if (!w || (w->always && !w->into))
            ledger_add(bridge_unmatched, 1);
        return;
    }
    if (e->bridge.phase == BRIDGE_SAYS_SUSPEND)
        on_suspend(b, e, c);
    else if (e->bridge.phase == BRIDGE_SAYS_RESUME)
        on_resume(b, e, c);
    else
        on_end(b, e, c, failed);
}

void bridge_event(struct bridge *b, const struct event *e)
{
    b->lost += e->lost;
    b->now = max_u64(b->now, e->time);
    if (e->type == EVENT_EXEC || (e->type == EVENT_EXIT && !e->exit.thread))
        process_leave(b, e);
    if (e->type != EVENT_BRIDGE)
        return;
    ledger_add(bridge_events, 1);
    if (e->bridge.dropped)
        ledger_add(bridge_values_dropped, e->bridge.dropped);
    values_read(e, &b->values);
    if (e->bridge.phase == BRIDGE_SAYS_NOTE)
        on_note(b);
    else
        on_call(b, e);
}

/* --- life --- */
struct bridge *bridge_new(const struct rules *rules, struct tracer *tracer)
{
    char err[256];
    struct bridge *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->rules = rules;
    b->tracer = tracer;
    int code = watch_book_make(rules, &b->book, err, sizeof(err)); /* -E2BIG was told when the rules were read */
    b->states = calloc(b->book.n + 1, sizeof(*b->states));
    b->calls = table_new(&(struct table_spec){
        .key_size = sizeof(struct call_key), .value_size = sizeof(struct call), .max = CALLS_MAX, .drop = call_drop, .arg = b });
    b->processes = table_new(&(struct table_spec){ .key_size = 4, .value_size = sizeof(struct call *), .max = PROCESSES_MAX });
    b->lasting = table_new(
        &(struct table_spec){ .key_size = sizeof(struct id_key), .value_size = sizeof(struct call_key), .max = CALLS_MAX });
    b->ids = ids_new(tracer);
    return code || !b->lasting || !b->states || !b->calls || !b->processes || !b->ids ? bridge_free(b) : b;
}

struct bridge *bridge_free(struct bridge *b)
{
    if (!b)
        return NULL;
    table_free(b->calls);
    table_free(b->processes);
    table_free(b->lasting);
    ids_free(b->ids);
    watch_book_done(&b->book);
    free(b->states);
    free(b);
    return NULL;
}

bool bridge_state(const struct bridge *b, size_t i, struct workflow_watch *ret)
{
    if (i >= b->book.n)
        return false;
    const struct watch *w = &b->book.v[i];
    *ret = (struct workflow_watch){ .module = w->module,
                                    .function = w->function,
                                    .rule = w->rules[0],
                                    .bound = b->states[i].bound,
                                    .values_failed = b->states[i].values_failed };
    memcpy(ret->why, b->states[i].why, sizeof(ret->why));
    return true;
}

void bridge_notes(const struct bridge *b, struct workflow_notes *ret) { *ret = b->notes; }
