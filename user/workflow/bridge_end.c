/* END and FAIL: of the call itself, of activities that outlast their call (`until:`), and of those that another call ends. */
#include "workflow/bridge_internal.h"
#include "self/ledger.h"

/* The function is over, its activity goes on. False: it has no id by which it could be ended. */
static bool call_lasts(struct bridge *b, struct call *c, u64 time)
{
    for (u8 i = 0; i < RULE_IDS; i++) {
        struct call_key *key = c->ids[i].a | c->ids[i].b ? table_put(b->lasting, &c->ids[i], NULL) : NULL;
        if (!key)
            continue;
        *key = (struct call_key){ c->tgid, c->activity };
        c->lasting = true;
    }
    if (!c->lasting)
        return false;
    b->failed_lasting += c->rule->lasts_failed;
    c->active += c->suspended ? 0 : time - c->since;
    c->suspended = true;
    activity_suspend(b->tracer, c->a);
    return true;
}

/* What a failed activity still had going on fails with it; what had failed ends with it in any case. */
static void lasting_end(struct bridge *b, const struct call *parent, u64 time)
{
    const struct span *why = call_span(parent);
    bool any = why && table_count(b->lasting) && (why->status == STATUS_ERROR || b->failed_lasting);
    struct call **first = any ? table_peek(b->processes, &parent->tgid) : NULL;
    for (struct call *c = first ? *first : NULL, *next; c; c = next) {
        struct span *s = call_span(c);
        next = c->next;
        if (!c->lasting || !s || memcmp(s->parent_id, why->id.span_id, SPAN_ID_LEN))
            continue;
        bool own = c->rule->lasts_failed; /* its failure is its own */
        if (why->status != STATUS_ERROR && !own)
            continue;
        const struct attr *type = attr_get(&why->attrs, "error.type");
        if (!own)
            set_failure(s, type && type->type == ATTR_STR ? type->s : "failed", why->status_message ? why->status_message : "");
        call_finish(b, c, time);
        call_delete(b, c);
    }
}

/* Whether the call at hand ends activities of this rule at all. */
static bool ends_now(struct bridge *b, const struct rule *r)
{
    for (u8 i = 0; i < r->n_until_when; i++)
        if (!values_condition(&b->values, &r->until_when[i], &b->book->slots[r->id].until_when[i]))
            return false;
    return true;
}

/* A call that ends activities of other rules has ended. */
void calls_end_others(struct bridge *b, const struct watch *w, u64 time, bool failed)
{
    for (u8 i = 0; i < w->n_ends; i++) {
        const struct rule *r = &b->rules->v[w->ends[i]];
        struct event_value v;
        char room[32];
        if (!ends_now(b, r) || !values_get(&b->values, &r->until_id.from, &b->book->slots[r->id].until_id, &v))
            continue;
        struct id_key id = id_key_of(r->pack, r->until_id.space, values_text(&v, room, sizeof(room)));
        struct call_key *key = table_peek(b->lasting, &id);
        struct call *c = key ? table_peek(b->calls, key) : NULL;
        struct span *s = c && c->rule == r ? call_span(c) : NULL;
        if (!s)
            continue;
        if (failed)
            call_set_exception(b, s, time, true);
        else
            call_describe_late(b, c, s);
        call_finish(b, c, time);
        call_delete(b, c);
    }
}

void call_end(struct bridge *b, const struct event *e, struct call *c, bool failed)
{
    struct span *s = call_span(c);
    if (s) {
        call_set_values(b, c, s);
        call_describe_end(b, c, s, e->time, failed);
        call_ids(b, c);
        if (c->lost != b->lost)
            attr_bool(&s->attrs, "wftrace.lossy", true);
        if (failed == c->rule->lasts_failed && c->rule->end_symbol[0] && call_lasts(b, c, e->time))
            return;
        lasting_end(b, c, e->time);
    }
    call_finish(b, c, e->time);
    call_delete(b, c);
}
