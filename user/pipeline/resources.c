/* The copy of a resource by its number; the least recently used one is forgotten first. */
#include "pipeline/resources.h"

#define RESOURCES 4096

struct known_resource {
    struct resource *copy; /* NULL: as it was */
};

static void known_drop(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    UNUSED(arg), UNUSED(key), UNUSED(cause);
    resource_unref(((struct known_resource *)value)->copy);
}

int resources_init(struct resources *r, bool (*change)(void *arg, struct attr_set *attrs), void *arg)
{
    r->change = change;
    r->arg = arg;
    r->known = table_new(
        &(struct table_spec){ .key_size = 8, .value_size = sizeof(struct known_resource), .max = RESOURCES, .drop = known_drop });
    return r->known ? 0 : -ENOMEM;
}

void resources_done(struct resources *r)
{
    if (r->known)
        r->known = table_free(r->known);
}

static struct resource *copy_of(struct resources *r, const struct resource *from)
{
    struct resource *c = resource_new();
    if (!c)
        return NULL;
    attr_set_copy(&c->attrs, &from->attrs);
    return r->change(r->arg, &c->attrs) ? c : resource_unref(c);
}

struct resource *resources_take(struct resources *r, struct resource *from)
{
    bool fresh;
    struct known_resource *k = from ? table_put(r->known, &from->id, &fresh) : NULL;
    if (!k)
        return from;
    if (fresh)
        k->copy = copy_of(r, from);
    if (!k->copy)
        return from;
    resource_ref(k->copy);
    resource_unref(from);
    return k->copy;
}
