/* Chained hash over entries that live in chunks and are named by a 32-bit index: an index survives growth of everything
 * around it, so values never move and the chains cost four bytes a link. The list of use runs through all live entries,
 * oldest at its head. Buckets double when the load passes one; the hash is seeded per table, so that keys taken from a
 * traced byte stream can't be chosen to collide. */
#include "base/table.h"

#include <sys/random.h>

#define NONE        UINT32_MAX
#define CHUNK_BYTES 16384u

struct entry {
    u32 hash;
    u32 chain; /* next in the bucket, or next free one */
    u32 older, newer;
    u8 data[] __attribute__((aligned(8))); /* key, padding, value */
};

struct table {
    struct table_spec spec;
    u64 seed, evicted;
    u32 value_off, entry_size;
    u32 per_chunk;              /* a power of two */
    u32 made, count, free_head; /* entries ever carved, live, list of the given back */
    u32 oldest, newest;
    u32 n_buckets; /* a power of two */
    u32 *buckets;
    u8 **chunks;
};

static struct entry *entry_at(const struct table *t, u32 i)
{
    return (struct entry *)(t->chunks[i / t->per_chunk] + (size_t)(i % t->per_chunk) * t->entry_size);
}

static void *entry_value(const struct table *t, struct entry *e) { return e->data + t->value_off; }

static u32 *buckets_new(u32 n)
{
    u32 *b = malloc(n * sizeof(*b));
    if (b)
        memset(b, 0xff, n * sizeof(*b));
    return b;
}

struct table *table_new(const struct table_spec *spec)
{
    if (!spec->key_size || !spec->max || spec->max == NONE)
        return NULL;
    struct table *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->spec = *spec;
    t->value_off = (spec->key_size + 7) & ~7u;
    t->entry_size = (u32)((sizeof(struct entry) + t->value_off + spec->value_size + 7) & ~(size_t)7);
    t->per_chunk = 1;
    while (t->per_chunk * 2 * t->entry_size <= CHUNK_BYTES && t->per_chunk < spec->max)
        t->per_chunk *= 2;
    t->free_head = t->oldest = t->newest = NONE;
    t->n_buckets = 16;
    t->buckets = buckets_new(t->n_buckets);
    t->chunks = calloc((spec->max - 1) / t->per_chunk + 1, sizeof(*t->chunks));
    if (getrandom(&t->seed, sizeof(t->seed), GRND_NONBLOCK) != sizeof(t->seed))
        t->seed = clock_boot_ns() ^ (u64)(uintptr_t)t;
    return t->buckets && t->chunks ? t : table_free(t);
}

static void use_unlink(struct table *t, struct entry *e)
{
    if (e->older == NONE)
        t->oldest = e->newer;
    else
        entry_at(t, e->older)->newer = e->newer;
    if (e->newer == NONE)
        t->newest = e->older;
    else
        entry_at(t, e->newer)->older = e->older;
}

static void use_append(struct table *t, struct entry *e, u32 i)
{
    e->older = t->newest;
    e->newer = NONE;
    if (t->newest == NONE)
        t->oldest = i;
    else
        entry_at(t, t->newest)->newer = i;
    t->newest = i;
}

static u32 key_hash(const struct table *t, const void *key) { return (u32)hash_bytes(key, t->spec.key_size, t->seed); }

static u32 table_find(const struct table *t, const void *key, u32 hash)
{
    u32 i = t->buckets[hash & (t->n_buckets - 1)];
    while (i != NONE) {
        struct entry *e = entry_at(t, i);
        if (e->hash == hash && !memcmp(e->data, key, t->spec.key_size))
            return i;
        i = e->chain;
    }
    return NONE;
}

void *table_peek(struct table *t, const void *key)
{
    u32 i = table_find(t, key, key_hash(t, key));
    return i == NONE ? NULL : entry_value(t, entry_at(t, i));
}

static void *entry_touch(struct table *t, u32 i)
{
    struct entry *e = entry_at(t, i);
    if (t->newest != i) {
        use_unlink(t, e);
        use_append(t, e, i);
    }
    return entry_value(t, e);
}

void *table_get(struct table *t, const void *key)
{
    u32 i = table_find(t, key, key_hash(t, key));
    return i == NONE ? NULL : entry_touch(t, i);
}

/* The entry leaves every list before its owner hears of it, so that the callback may use the table. */
static void entry_drop(struct table *t, u32 i, enum table_drop_cause cause)
{
    struct entry *e = entry_at(t, i);
    u32 *link = &t->buckets[e->hash & (t->n_buckets - 1)];
    while (*link != i)
        link = &entry_at(t, *link)->chain;
    *link = e->chain;
    use_unlink(t, e);
    t->count--;
    if (t->spec.drop)
        t->spec.drop(t->spec.arg, e->data, entry_value(t, e), cause);
    e->chain = t->free_head;
    t->free_head = i;
}

/* A missed doubling only makes chains longer, so a failure here is no failure. */
static void buckets_grow(struct table *t)
{
    if (t->count < t->n_buckets || t->n_buckets > UINT32_MAX / 4)
        return;
    u32 n = t->n_buckets * 2, *fresh = buckets_new(n);
    if (!fresh)
        return;
    for (u32 i = t->oldest; i != NONE; i = entry_at(t, i)->newer) {
        struct entry *e = entry_at(t, i);
        e->chain = fresh[e->hash & (n - 1)];
        fresh[e->hash & (n - 1)] = i;
    }
    free(t->buckets);
    t->buckets = fresh;
    t->n_buckets = n;
}

static u32 entry_carve(struct table *t)
{
    if (t->free_head != NONE) {
        u32 i = t->free_head;
        t->free_head = entry_at(t, i)->chain;
        return i;
    }
    if (t->made >= t->spec.max) /* only from inside a drop callback, while its entry is between two lists */
        return NONE;
    if (t->made % t->per_chunk == 0) {
        u8 *chunk = malloc((size_t)t->per_chunk * t->entry_size);
        if (!chunk)
            return NONE;
        t->chunks[t->made / t->per_chunk] = chunk;
    }
    return t->made++;
}

void *table_put(struct table *t, const void *key, bool *ret_fresh)
{
    u32 hash = key_hash(t, key), i = table_find(t, key, hash);
    if (i != NONE) {
        if (ret_fresh)
            *ret_fresh = false;
        return entry_touch(t, i);
    }
    while (t->count >= t->spec.max) {
        t->evicted++;
        entry_drop(t, t->oldest, TABLE_EVICTED);
    }
    i = entry_carve(t);
    if (i == NONE)
        return NULL;
    buckets_grow(t);
    struct entry *e = entry_at(t, i);
    memset(e, 0, t->entry_size);
    memcpy(e->data, key, t->spec.key_size);
    e->hash = hash;
    u32 *bucket = &t->buckets[hash & (t->n_buckets - 1)];
    e->chain = *bucket;
    *bucket = i;
    use_append(t, e, i);
    t->count++;
    if (ret_fresh)
        *ret_fresh = true;
    return entry_value(t, e);
}

bool table_del(struct table *t, const void *key)
{
    u32 i = table_find(t, key, key_hash(t, key));
    if (i != NONE)
        entry_drop(t, i, TABLE_DELETED);
    return i != NONE;
}

u32 table_count(const struct table *t) { return t->count; }
u64 table_evicted(const struct table *t) { return t->evicted; }

void table_each(struct table *t, bool (*visit)(void *arg, const void *key, void *value), void *arg)
{
    for (u32 i = t->oldest, next; i != NONE; i = next) {
        struct entry *e = entry_at(t, i);
        next = e->newer;
        if (!visit(arg, e->data, entry_value(t, e)))
            return;
    }
}

struct table *table_free(struct table *t)
{
    if (!t)
        return NULL;
    while (t->oldest != NONE)
        entry_drop(t, t->oldest, TABLE_CLOSED);
    for (u32 c = 0; t->chunks && c < (t->made + t->per_chunk - 1) / t->per_chunk; c++)
        free(t->chunks[c]);
    free(t->chunks);
    free(t->buckets);
    free(t);
    return NULL;
}
