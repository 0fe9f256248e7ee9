/* A set of rules takes the place of another while what the old one began is open. */
#include "config/rules.h"

/* Where it was written makes no other rule of it. Rules are made in zeroed memory and their text is interned. */
static bool rule_same(const struct rule *a, const struct rule *b)
{
    if (a->at != b->at || a->name != b->name || a->label != b->label || a->pack != b->pack || strcmp(a->object, b->object) ||
        strcmp(a->symbol, b->symbol)) /* most are told apart here */
        return false;
    struct rule x = *a, y = *b;
    x.id = y.id = 0;
    x.file = y.file = NULL;
    x.line = y.line = 0;
    x.retired = y.retired = x.replaced = y.replaced = false;
    x.since = y.since = 0;
    x.from = y.from = x.until = y.until = 0;
    return !memcmp(&x, &y, sizeof(x));
}

bool rules_same(const struct rules *r, const struct rules *fresh)
{
    const struct rule *one;
    size_t i = 0;
    for (; i < fresh->n && (one = rules_in_order(r, i)); i++)
        if (!rule_same(one, &fresh->v[i]))
            return false;
    return i == fresh->n && !rules_in_order(r, i);
}

static bool room_make(struct rules *r)
{
    if (!r->v)
        r->v = calloc(RULES_SLOTS, sizeof(*r->v));
    if (!r->sites)
        r->sites = calloc(1, sizeof(*r->sites));
    return r->v && r->sites;
}

int rules_fit(struct rules *r, struct rules *fresh)
{
    cleanup(freep) bool *taken = calloc(RULES_SLOTS, sizeof(*taken));
    size_t n = r->n;
    free(fresh->fit);
    fresh->fit = calloc(fresh->n + 1, sizeof(*fresh->fit));
    if (!taken || !fresh->fit || !room_make(r))
        return -ENOMEM;
    for (size_t i = 0; i < fresh->n; i++) {
        size_t at = 0;
        while (at < r->n && (taken[at] || !rule_same(&r->v[at], &fresh->v[i])))
            at++;
        at = at < r->n ? at : n++;
        if (at >= RULES_SLOTS)
            return -ENOSPC;
        taken[at] = true;
        fresh->v[i].id = fresh->fit[i] = (u32)at;
    }
    return 0;
}

static void rule_put(struct rules *r, const struct rule *fresh)
{
    struct rule *to = &r->v[fresh->id];
    bool there = fresh->id < r->n, was_retired = there && to->retired;
    u32 since = there && !was_retired ? to->since : r->generation;
    if (there && !was_retired) {
        to->file = fresh->file;
        to->line = fresh->line;
    } else {
        *to = *fresh;
    }
    to->since = since;
    to->retired = to->replaced = false;
}

static bool watched_still(const struct rules *r, const struct rule *gone)
{
    const struct rule *one;
    for (size_t i = 0; gone->at == AT_PYTHON && (one = rules_in_order(r, i)); i++)
        if (one->at == AT_PYTHON && !strcmp(one->object, gone->object) && !strcmp(one->symbol, gone->symbol))
            return true;
    return false;
}

void rules_take(struct rules *r, struct rules *fresh)
{
    bool stays[RULES_SLOTS] = { false };
    size_t n = r->n;
    r->generation++;
    for (size_t i = 0; i < fresh->n; i++) { /* r->n is the old one until they are all in */
        rule_put(r, &fresh->v[i]);
        stays[fresh->v[i].id] = true;
        n = max_u64(n, fresh->v[i].id + 1u);
    }
    r->n = n;
    free(r->order);
    r->n_order = fresh->n;
    r->order = take_ptr(fresh->fit);
    for (size_t i = 0; i < n; i++)
        r->v[i].retired = !stays[i];
    for (size_t i = 0; i < n; i++)
        r->v[i].replaced = r->v[i].retired && watched_still(r, &r->v[i]);
    memcpy(r->packs, fresh->packs, sizeof(r->packs));
    r->n_packs = fresh->n_packs;
    rules_done(fresh);
}

const struct rule *rules_in_order(const struct rules *r, size_t i)
{
    if (i >= (r->order ? r->n_order : r->n))
        return NULL;
    return &r->v[r->order ? r->order[i] : i];
}

void rules_switch(struct rules *r, u64 now)
{
    for (size_t i = 0; i < r->n; i++) {
        struct rule *one = &r->v[i];
        if (one->retired)
            one->until = one->until ? one->until : now;
        else if (one->since == r->generation)
            one->from = now, one->until = 0;
    }
}
