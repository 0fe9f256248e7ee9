/* See progress.h. What was said of an activity is kept in its note: how often it was called running, and whether it is stuck. */
#include "pipeline/progress.h"
#include "self/ledger.h"

#define SCAN_NS    NSEC_PER_SEC
#define NOTE_STUCK (1ull << 63)
#define TYPE       "wftrace.activity.type"

/* The engine's ids: attributes that say by their name that they are one. */
static void copy_ids(struct attr_set *to, const struct attr_set *from)
{
    for (u16 i = 0; i < from->n; i++) {
        const struct attr *a = &from->v[i];
        size_t n = strlen(a->key);
        if (n < 3 || (strcmp(a->key + n - 3, ".id") && strcmp(a->key + n - 3, "_id") && strcmp(a->key + n - 3, "pid")))
            continue;
        if (a->type == ATTR_STR)
            attr_str(to, a->key, slice_of(a->s, a->len));
        else if (a->type == ATTR_INT)
            attr_int(to, a->key, a->i);
    }
}

static void say(const struct progress *p, const struct running *r, const char *event, const char *words, u8 severity)
{
    char text[512];
    if (!p->o.log || !p->sink)
        return;
    int n = snprintf(text, sizeof(text), "%s: %.300s, open for %llu s", words, r->span->name,
                     (unsigned long long)(r->open_ns / NSEC_PER_SEC));
    struct log_record *l = log_new(slice_of(text, (size_t)n));
    if (!l)
        return;
    const struct attr *type = attr_get(&r->span->attrs, TYPE);
    l->time_ns = l->observed_ns = tracer_wall(p->tracer, p->now);
    l->severity = severity;
    snprintf(l->severity_text, sizeof(l->severity_text), "%s", severity > 9 ? "WARN" : "INFO");
    l->context = r->span->id;
    l->event_name = event;
    l->scope = "wftrace";
    l->resource = resource_ref(r->span->resource);
    attr_str(&l->attrs, "wftrace.activity.name", slice_str(r->span->name));
    attr_str(&l->attrs, TYPE, slice_of(type->s, type->len));
    attr_double(&l->attrs, "wftrace.activity.open_time", (double)r->open_ns / 1e9);
    attr_double(&l->attrs, "wftrace.activity.quiet_time", (double)r->quiet_ns / 1e9);
    copy_ids(&l->attrs, &r->span->attrs);
    ledger_add(logs_seen, 1);
    p->sink->emit(p->sink, l);
}

static void see_running(void *to, const struct running *r)
{
    const struct progress *p = to;
    const struct attr *type = attr_get(&r->span->attrs, TYPE);
    u64 said = *r->note & ~NOTE_STUCK;
    bool was_stuck = *r->note & NOTE_STUCK;
    if (!type || type->type != ATTR_STR)
        return;
    if (p->o.running_after_ns && r->open_ns / p->o.running_after_ns > said) {
        said = r->open_ns / p->o.running_after_ns;
        say(p, r, "wftrace.activity.running", "still running", 9);
    }
    bool stuck = p->o.stuck_after_ns && r->quiet_ns >= p->o.stuck_after_ns;
    if (stuck && !was_stuck) {
        attr_bool(&r->span->attrs, "wftrace.activity.stuck", true);
        say(p, r, "wftrace.activity.stuck", "stuck", 13);
    }
    *r->note = said | (stuck ? NOTE_STUCK : 0);
}

void progress_tick(struct progress *p, u64 now_boot)
{
    u64 least = p->o.running_after_ns;
    if (!least || (p->o.stuck_after_ns && p->o.stuck_after_ns < least))
        least = p->o.stuck_after_ns;
    if (!least || now_boot < p->next)
        return;
    p->now = now_boot;
    p->next = now_boot + SCAN_NS;
    tracer_each_running(p->tracer, now_boot, least, see_running, p);
}
