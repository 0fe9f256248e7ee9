/* The engines' own ids. An id lives in a name space of its pack and names the newest activity that said it is its own, also after
 * that has ended: a child may come later, from another process. Who asks for an id that is not known waits for it, while it is
 * open. The key of an entry is a hash of 128 bits, so that an id of any length costs the same. */
#include "workflow/bridge.h"
#include "base/table.h"
#include "self/ledger.h"

enum { IDS_MAX = 65536, WAITING_MAX = 4 };

struct reference {
    struct activity *a;
    u32 generation;
};
struct entry {
    bool known;
    u32 open; /* activities that said it and have not ended */
    struct id_owner owner;
    struct reference who;
    struct reference waiting[WAITING_MAX];
    u8 n_waiting;
};
struct ids {
    struct tracer *tracer;
    struct table *table;
};

static void dropped(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    UNUSED(arg), UNUSED(key), UNUSED(value);
    if (cause == TABLE_EVICTED)
        ledger_add(engine_ids_evicted, 1);
}

struct ids *ids_new(struct tracer *t)
{
    struct ids *i = calloc(1, sizeof(*i));
    if (!i)
        return NULL;
    i->tracer = t;
    i->table = table_new(&(struct table_spec){
        .key_size = sizeof(struct id_key), .value_size = sizeof(struct entry), .max = IDS_MAX, .drop = dropped });
    return i->table ? i : ids_free(i);
}

struct ids *ids_free(struct ids *i)
{
    if (i)
        table_free(i->table);
    free(i);
    return NULL;
}

struct id_key id_key_of(const char *pack, const char *space, struct slice text)
{
    u64 scope = hash_bytes(space, strlen(space), pack ? hash_bytes(pack, strlen(pack), 1) : 2);
    return (struct id_key){ hash_bytes(text.p, text.n, scope), hash_bytes(text.p, text.n, ~scope) };
}

struct id_key id_key_handed(const char *pack, u32 tgid, struct slice text)
{
    char space[32];
    snprintf(space, sizeof(space), "to_child %u", tgid);
    return id_key_of(pack, space, text);
}

static struct activity *still_open(struct reference r)
{
    return r.a && r.a->open && r.a->generation == r.generation ? r.a : NULL;
}

static void adopt_waiting(struct ids *i, struct entry *e, struct activity *parent)
{
    for (u8 k = 0; k < e->n_waiting; k++) {
        struct activity *child = still_open(e->waiting[k]);
        if (child && child != parent)
            activity_adopt(i->tracer, child, parent, JOIN_ENGINE);
    }
    e->n_waiting = 0;
}

void ids_add(struct ids *i, const struct id_key *key, const struct activity *a)
{
    struct entry *e = table_put(i->table, key, NULL);
    if (!e)
        return;
    ledger_add(engine_ids, 1);
    e->known = true;
    e->open++;
    e->owner = (struct id_owner){ .id = a->span->id, .tgid = a->tgid, .start = a->start, .kind = a->span->kind };
    e->who = (struct reference){ (struct activity *)a, a->generation };
    adopt_waiting(i, e, e->who.a);
}

void ids_ended(struct ids *i, const struct id_key *key, const struct span *s, u64 time)
{
    struct entry *e = table_peek(i->table, key);
    if (e && e->open)
        e->open--;
    if (e && e->known && !memcmp(e->owner.id.span_id, s->id.span_id, SPAN_ID_LEN)) {
        e->owner.end = time;
        e->owner.id = s->id;
    }
}

bool ids_find(struct ids *i, const struct id_key *key, struct id_owner *ret)
{
    struct entry *e = table_get(i->table, key);
    if (!e || !e->known)
        return false;
    *ret = e->owner;
    ret->open = still_open(e->who);
    if (ret->open) /* it may have moved to another trace since */
        ret->id = ret->open->span->id;
    return true;
}

bool ids_find_sole(struct ids *i, const struct id_key *key, struct id_owner *ret)
{
    struct entry *e = table_peek(i->table, key);
    if (!e || !e->known || !still_open(e->who))
        return false;
    if (e->open != 1) {
        ledger_add(engine_ids_ambiguous, 1);
        return false;
    }
    return ids_find(i, key, ret);
}

void ids_wait(struct ids *i, const struct id_key *key, const struct activity *a)
{
    struct entry *e = table_put(i->table, key, NULL);
    ledger_add(engine_ids_unknown, 1);
    if (!e)
        return;
    u8 at = 0;
    while (at < e->n_waiting && still_open(e->waiting[at]))
        at++;
    if (at == WAITING_MAX)
        return;
    e->waiting[at] = (struct reference){ (struct activity *)a, a->generation };
    e->n_waiting = (u8)max_u64(e->n_waiting, at + 1u);
}
