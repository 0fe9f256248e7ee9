/* See owners.h. An owner is in the table while it has an entry. */
#include "base/owners.h"
#include "base/table.h"

struct owners {
    struct table *lists;
};
struct list {
    struct owned *oldest, *newest;
};

struct owners *owners_new(u32 max)
{
    struct owners *o = calloc(1, sizeof(*o));
    if (!o)
        return NULL;
    o->lists = table_new(&(struct table_spec){ .key_size = sizeof(u64), .value_size = sizeof(struct list), .max = max });
    return o->lists ? o : owners_free(o);
}

struct owners *owners_free(struct owners *o)
{
    if (o)
        table_free(o->lists);
    free(o);
    return NULL;
}

bool owners_add(struct owners *o, u64 owner, struct owned *x)
{
    struct list *l = table_put(o->lists, &owner, NULL);
    if (!l)
        return false;
    *x = (struct owned){ .older = l->newest, .owner = owner, .in = true };
    if (l->newest)
        l->newest->newer = x;
    else
        l->oldest = x;
    l->newest = x;
    return true;
}

void owners_remove(struct owners *o, struct owned *x)
{
    struct list *l = x->in ? table_peek(o->lists, &x->owner) : NULL;
    if (x->older)
        x->older->newer = x->newer;
    else if (l && l->oldest == x)
        l->oldest = x->newer;
    if (x->newer)
        x->newer->older = x->older;
    else if (l && l->newest == x)
        l->newest = x->older;
    if (l && !l->oldest)
        table_del(o->lists, &x->owner);
    *x = (struct owned){ 0 };
}

struct owned *owners_first(struct owners *o, u64 owner)
{
    struct list *l = table_peek(o->lists, &owner);
    return l ? l->oldest : NULL;
}
