/* Resources: made once per process, shared by its spans. */
#include "trace/span.h"
#include "self/ledger.h"

static u32 live, limit = UINT32_MAX; /* atomic */

void resource_pool_limit(u32 max) { __atomic_store_n(&limit, max, __ATOMIC_RELAXED); }

struct resource *resource_new(void)
{
    static u64 last_id;
    if (__atomic_load_n(&live, __ATOMIC_RELAXED) >= __atomic_load_n(&limit, __ATOMIC_RELAXED)) {
        ledger_add(resources_dropped, 1);
        return NULL;
    }
    struct resource *r = calloc(1, sizeof(*r));
    if (!r)
        return NULL;
    __atomic_add_fetch(&live, 1, __ATOMIC_RELAXED);
    r->refs = 1;
    r->id = __atomic_add_fetch(&last_id, 1, __ATOMIC_RELAXED);
    r->attrs = (struct attr_set){ .v = r->attr_v, .max = ARRAY_LEN(r->attr_v), .text = r->text_v, .text_max = sizeof(r->text_v) };
    return r;
}

struct resource *resource_ref(struct resource *r)
{
    if (r)
        __atomic_add_fetch(&r->refs, 1, __ATOMIC_RELAXED);
    return r;
}

struct resource *resource_unref(struct resource *r)
{
    if (r && !__atomic_sub_fetch(&r->refs, 1, __ATOMIC_ACQ_REL)) {
        __atomic_sub_fetch(&live, 1, __ATOMIC_RELAXED);
        free(r);
    }
    return NULL;
}

const char *resource_service(const struct resource *r)
{
    const struct attr *a = r ? attr_get(&r->attrs, "service.name") : NULL;
    return a && a->type == ATTR_STR && a->len ? a->s : "unknown_service";
}
