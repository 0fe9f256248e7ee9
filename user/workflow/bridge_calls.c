/* The calls that are open, by their number and by their process: where one is kept, found by id, and how it ends when nobody says so.
 *
 * When a process ends, the calls that it had open end with it, at that time: as lost, with the signal. */
#include "workflow/bridge_internal.h"
#include "self/ledger.h"

#include <sys/wait.h>

struct span *call_span(const struct call *c)
{
    return c->a && c->a->open && c->a->generation == c->generation ? c->a->span : NULL;
}

void call_link(struct bridge *b, struct call *c)
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

void call_ids(struct bridge *b, struct call *c)
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
        c->ids[i] =
            id->reach == ID_TO_CHILD ? id_key_handed(c->rule->pack, c->tgid, text) : id_key_of(c->rule->pack, id->space, text);
        ids_add(b->ids, &c->ids[i], c->a);
    }
}

/* What its function does after the end that the engine told is no work of it. */
static void set_active_time(const struct call *c, struct span *s, u64 time)
{
    u64 ran = c->active + (c->suspended ? 0 : time - c->since), end = c->a->told_end ? min_u64(c->a->told_end, time) : time;
    attr_double(&s->attrs, "wftrace.active_time", (double)min_u64(ran, end > c->a->start ? end - c->a->start : 0) / 1e9);
}

/* Name, time of work, ids: what every end has in common. The call is gone afterwards. */
void call_finish(struct bridge *b, struct call *c, u64 time)
{
    struct span *s = call_span(c);
    if (s) {
        describe_name(c->rule, s);
        if (c->was_suspended && (!c->lasting || c->rule->lasts_failed))
            set_active_time(c, s, time);
        for (u8 i = 0; i < c->rule->n_ids; i++)
            if (c->ids[i].a | c->ids[i].b)
                ids_ended(b->ids, &c->ids[i], s, time);
        activity_end(b->tracer, c->a, time);
    }
    b->failed_lasting -= c->lasting && c->rule->lasts_failed;
    for (u8 i = 0; c->lasting && i < RULE_IDS; i++)
        table_del(b->lasting, &c->ids[i]);
    call_unlink(b, c);
}

void call_drop(void *arg, const void *key, void *value, enum table_drop_cause cause)
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

void call_delete(struct bridge *b, struct call *c)
{
    struct call_key key = { c->tgid, c->activity };
    table_del(b->calls, &key);
}

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
void calls_lose(struct bridge *b, const struct event *e)
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
