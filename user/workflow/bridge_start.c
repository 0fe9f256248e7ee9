/* START: a call becomes an activity. The first rule of its watch whose `when` holds describes it; where none does, there is no
 * activity and what the call does belongs to its caller. */
#include "workflow/bridge_internal.h"

static const struct rule *rule_of(struct bridge *b, const struct watch *w)
{
    for (u8 i = 0; i < w->n_rules; i++) {
        const struct rule *r = &b->rules->v[w->rules[i]];
        const struct rule_slots *s = &b->book->slots[r->id];
        bool holds = rule_in_force(r);
        for (u8 k = 0; k < r->n_when && holds; k++)
            holds = values_condition(&b->values, &r->when[k], &s->when[k]);
        if (holds)
            return r;
    }
    return NULL;
}

/* Who handed this id down: asked of the processes above, the nearest first (there may be a launcher between). */
static bool handed_down(struct bridge *b, const struct rule *r, u32 tgid, struct slice text, struct id_owner *ret)
{
    for (int hops = 0; hops < 4 && (tgid = tracer_parent_process(b->tracer, tgid)); hops++) {
        struct id_key key = id_key_handed(r->pack, tgid, text);
        if (ids_find_sole(b->ids, &key, ret))
            return true;
    }
    return false;
}

/* The first of the ids asked for that is known. *ret_first: the first that there is, known or not. */
bool id_known(struct bridge *b, const struct rule *r, u32 tgid, const struct rule_id *ids, const struct source_slots *slots, u8 n,
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
        if (ids[i].reach == ID_FROM_PARENT && handed_down(b, r, tgid, text, ret))
            return true;
        if (!text.n || ids[i].reach == ID_FROM_PARENT)
            continue;
        if (!any)
            *ret_first = key;
        any = true;
        if (ids_find(b->ids, &key, ret))
            return true;
    }
    return false;
}

void call_set_wait(struct bridge *b, struct span *s, u64 start, const struct event_value *at, const struct id_owner *from)
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
        if (!id_known(b, c->rule, c->tgid, &c->rule->links[i], &c->slots->links[i], 1, ret_from, &unknown))
            continue;
        span_add_link(c->a->span, &ret_from->id, join_name[JOIN_ENGINE]);
        *ret_found = true;
    }
}

u64 moment_told(struct bridge *b, const struct event *e, const struct source *from, const struct source_slots *slots)
{
    u64 wall = tracer_wall(b->tracer, e->time), said;
    struct event_value v;
    if (!from->n_expr || !values_get(&b->values, from, slots, &v) || !values_time(&v, &said) || said >= wall)
        return 0;
    u64 before = wall - said;
    return before < 86400 * NSEC_PER_SEC && before < e->time ? e->time - before : 0;
}

/* The trace that the engine says this is in, and the span there that it is below. */
static bool handed_on(struct bridge *b, const struct rule *r, struct span_context *ret)
{
    const struct source_slots *slots = &b->book->slots[r->id].traceparent;
    struct event_value v;
    return r->traceparent.n_expr && values_get(&b->values, &r->traceparent, slots, &v) && v.type == VALUE_TEXT &&
           !traceparent_parse(v.text, ret);
}

static struct activity *begin(struct bridge *b, const struct event *e, const struct rule *r, const struct id_owner *parent)
{
    struct span_context wire;
    bool told = !parent && handed_on(b, r, &wire);
    bool above = told && wire.flags & 1; /* else nobody tells of that span: this is the first of its trace */
    return activity_begin(b->tracer, &(struct activity_start){
                                         .time = moment_told(b, e, &r->started_at, &b->book->slots[r->id].started_at) ?: e->time,
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
                                         .new_trace = r->new_trace && !above && !parent,
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
    call_set_code(s, &b->values, w);
    call_set_constants(c->rule, s);
    call_set_values(b, c, s);
    link_ids(b, c, &from, &found);
    bool told = c->rule->queued_at.n_expr && values_get(&b->values, &c->rule->queued_at, &c->slots->queued_at, &at);
    call_set_wait(b, s, c->a->start, told ? &at : NULL, found ? &from : NULL);
    describe_name(c->rule, s);
}

void call_begin(struct bridge *b, const struct event *e, const struct watch *w)
{
    const struct rule *r = rule_of(b, w);
    struct id_owner owner;
    struct id_key asked = { 0 };
    bool fresh;
    if (r && r->into)
        into_add(b, e, r);
    if (!r || r->into)
        return;
    const struct rule_slots *slots = &b->book->slots[r->id];
    struct call_key key = { e->tgid, e->bridge.activity };
    struct call *c = table_put(b->calls, &key, &fresh);
    if (!c)
        return;
    if (!fresh) /* its end was lost */
        call_finish(b, c, e->time);
    bool known = id_known(b, r, e->tgid, r->parents, slots->parents, r->n_parents, &owner, &asked);
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
