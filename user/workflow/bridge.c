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
#include "workflow/bridge_internal.h"
#include "self/ledger.h"

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

static struct watch_state *state_of(struct bridge *b, struct slice *text, const char **ret_function)
{
    u64 n;
    ptrdiff_t blank = slice_find(*text, ' ');
    struct slice number = blank < 0 ? *text : slice_head(*text, (size_t)blank);
    *text = slice_from(*text, number.n + 1);
    struct issue *of = slice_u64(number, &n) ? NULL : issue_of(b, n);
    if (of)
        *ret_function = of->book.v[n - of->first].function;
    return of ? &of->states[n - of->first] : NULL;
}

static void keep_nearest(struct watch_state *state, const char *function, struct slice name)
{
    char text[sizeof(state->near)];
    const char *const both[] = { state->near, text };
    snprintf(text, sizeof(text), "%.*s", (int)min_u64(name.n, sizeof(text) - 1), (const char *)name.p);
    if (nearest_word(function, both, 2) == text)
        memcpy(state->near, text, sizeof(text));
}

static void on_note(struct bridge *b, const struct event *e)
{
    struct slice text = b->values.there[0] ? b->values.by_index[0].text : slice_of("", 0);
    ptrdiff_t eq = slice_find(text, '=');
    struct slice key = slice_head(text, eq < 0 ? text.n : (size_t)eq), value = slice_from(text, key.n + 1);
    ledger_add(bridge_notes, 1);
    if (slice_eq(key, "loaded")) {
        python_loaded(b, e->tgid);
        if (!b->notes.loaded++)
            snprintf(b->notes.version, sizeof(b->notes.version), "%.*s", (int)min_u64(value.n, 20), (const char *)value.p);
        return;
    }
    if (slice_eq(key, "failed") && slice_starts(value, "0 ") && !b->notes.refused[0])
        snprintf(b->notes.refused, sizeof(b->notes.refused), "process %u: %.*s", e->tgid, (int)min_u64(value.n - 2, 100),
                 (const char *)value.p + 2);
    const char *function = NULL;
    struct watch_state *state = state_of(b, &value, &function);
    if (!state)
        return;
    if (slice_eq(key, "name"))
        keep_nearest(state, function, value);
    else if (slice_eq(key, "bound"))
        state->bound++;
    else if (slice_eq(key, "attr_failed"))
        state->values_failed = true;
    else if (slice_eq(key, "failed") && !state->why[0])
        snprintf(state->why, sizeof(state->why), "%.*s", (int)min_u64(value.n, sizeof(state->why) - 1), (const char *)value.p);
}

static void on_call(struct bridge *b, const struct event *e)
{
    const struct issue *of = issue_of(b, e->bridge.watch);
    const struct watch *w = of ? &of->book.v[e->bridge.watch - of->first] : NULL;
    if (of)
        b->book = &of->book;
    if (e->bridge.phase == BRIDGE_SAYS_START) {
        if (w)
            call_begin(b, e, w);
        return;
    }
    struct call *c = table_get(b->calls, &(struct call_key){ e->tgid, e->bridge.activity });
    bool failed = e->bridge.phase == BRIDGE_SAYS_FAIL;
    if (w && w->n_ends && (failed || e->bridge.phase == BRIDGE_SAYS_END))
        calls_end_others(b, w, e->time, failed);
    if (!c && w && w->into)
        into_add_end(b, e, w);
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
        call_end(b, e, c, failed);
}

/* Its numbers of watches and values are those of another list: other rules, or another wftrace. */
static bool is_foreign(struct bridge *b, const struct event *e)
{
    if (issue_known(b, e->bridge.book))
        return false;
    ledger_add(bridge_foreign, 1);
    b->notes.foreign = b->notes.foreign ? b->notes.foreign : e->tgid;
    return true;
}

void bridge_event(struct bridge *b, const struct event *e)
{
    b->lost += e->lost;
    b->now = max_u64(b->now, e->time);
    if (e->type == EVENT_EXEC || (e->type == EVENT_EXIT && !e->exit.thread)) {
        calls_lose(b, e);
        python_ended(b, e->tgid);
    }
    if (e->type == EVENT_EXEC)
        python_started(b, e);
    if (e->type != EVENT_BRIDGE)
        return;
    ledger_add(bridge_events, 1);
    if (e->bridge.dropped)
        ledger_add(bridge_values_dropped, e->bridge.dropped);
    if (is_foreign(b, e))
        return;
    values_read(e, &b->values);
    if (e->bridge.phase == BRIDGE_SAYS_NOTE)
        on_note(b, e);
    else
        on_call(b, e);
}

struct bridge *bridge_new(const struct rules *rules, struct tracer *tracer)
{
    struct bridge *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->rules = rules;
    b->tracer = tracer;
    int code = bridge_reserve(b, rules->n);
    if (!code && !bridge_rules_taken(b))
        code = -E2BIG;
    b->calls = table_new(&(struct table_spec){
        .key_size = sizeof(struct call_key), .value_size = sizeof(struct call), .max = CALLS_MAX, .drop = call_drop, .arg = b });
    b->processes = table_new(&(struct table_spec){ .key_size = 4, .value_size = sizeof(struct call *), .max = PROCESSES_MAX });
    b->lasting = table_new(
        &(struct table_spec){ .key_size = sizeof(struct id_key), .value_size = sizeof(struct call_key), .max = CALLS_MAX });
    b->pythons = pythons_new();
    b->ids = ids_new(tracer);
    return code || !b->lasting || !b->calls || !b->processes || !b->pythons || !b->ids ? bridge_free(b) : b;
}

struct bridge *bridge_free(struct bridge *b)
{
    if (!b)
        return NULL;
    table_free(b->calls);
    table_free(b->processes);
    table_free(b->lasting);
    table_free(b->pythons);
    ids_free(b->ids);
    issues_done(b);
    free(b);
    return NULL;
}

void bridge_notes(const struct bridge *b, struct workflow_notes *ret) { *ret = b->notes; }
