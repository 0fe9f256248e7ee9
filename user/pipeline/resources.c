/* The copy of a resource by its number; the least recently used one is forgotten first. Where there is no memory for a copy that
 * is needed, none goes on at all: what a processor takes out does not leave for want of memory. */
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

/* The change is tried on a draft, so that what stays as it is needs no memory. 0: *ret, NULL when nothing changes; -ENOMEM. */
static int copy_of(struct resources *r, const struct resource *from, struct resource **ret)
{
    struct attr v[ARRAY_LEN(from->attr_v)];
    char text[sizeof(from->text_v)];
    struct attr_set draft = { .v = v, .text = text, .max = ARRAY_LEN(v), .text_max = sizeof(text) };
    attr_set_copy(&draft, &from->attrs);
    *ret = NULL;
    if (!r->change(r->arg, &draft))
        return 0;
    if (!(*ret = resource_new()))
        return -ENOMEM;
    attr_set_copy(&(*ret)->attrs, &draft);
    return 0;
}

struct resource *resources_take(struct resources *r, struct resource *from)
{
    bool fresh;
    struct resource *copy = NULL;
    struct known_resource *k = from ? table_get(r->known, &from->id) : NULL;
    if (!from)
        return NULL;
    if (!k) {
        if (copy_of(r, from, &copy))
            return resource_unref(from);
        if ((k = table_put(r->known, &from->id, &fresh)))
            k->copy = resource_ref(copy);
    } else {
        copy = resource_ref(k->copy);
    }
    if (!copy)
        return from;
    resource_unref(from);
    return copy;
}
