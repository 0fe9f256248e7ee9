/* Bytes that a parser could not use yet. Sizes double from 2 KiB up to HOLD_MAX; small ones are pooled. When there are
 * more stretches than marks, the newest mark takes the younger bytes too: a time may then be early, never late. */
#include "stream/internal.h"

#define HOLD_FIRST 2048
#define POOLED_MAX 64

static struct hold *hold_new(struct hold_pool *pool, u32 cap)
{
    if (cap == HOLD_FIRST && pool->free) {
        struct hold *h = pool->free;
        pool->free = h->next_free;
        pool->n_free--;
        return h;
    }
    return malloc(sizeof(struct hold) + cap);
}

static void hold_give(struct hold_pool *pool, struct hold *h)
{
    if (h->cap == HOLD_FIRST && pool->n_free < POOLED_MAX) {
        h->next_free = pool->free;
        pool->free = h;
        pool->n_free++;
        return;
    }
    free(h);
}

static bool hold_grow(struct hold_pool *pool, struct hold **h, size_t need)
{
    struct hold *old = *h;
    u32 cap = HOLD_FIRST;
    while (cap < need)
        cap *= 2;
    if (old && old->cap >= cap)
        return true;
    if (pool->held + cap > pool->max)
        return false;
    struct hold *fresh = hold_new(pool, cap);
    if (!fresh)
        return false;
    pool->held += cap;
    fresh->n = fresh->n_marks = 0;
    if (old) {
        memcpy(fresh, old, sizeof(*old) + old->n);
        pool->held -= old->cap;
        hold_give(pool, old);
    }
    fresh->cap = cap;
    *h = fresh;
    return true;
}

bool hold_add(struct hold_pool *pool, struct hold **h, struct slice bytes, const struct stamp *stamp)
{
    size_t have = *h ? (*h)->n : 0;
    if (!bytes.n)
        return true;
    if (have + bytes.n > HOLD_MAX || !hold_grow(pool, h, have + bytes.n))
        return false;
    struct hold *b = *h;
    if (b->n_marks < HOLD_MARKS) {
        b->marks[b->n_marks].at = b->n;
        b->marks[b->n_marks++].stamp = *stamp;
    }
    memcpy(b->bytes + b->n, bytes.p, bytes.n);
    b->n += (u32)bytes.n;
    return true;
}

struct stamp hold_stamp(const struct hold *h, size_t at)
{
    u32 i = h->n_marks - 1;
    while (i && h->marks[i].at > at)
        i--;
    return h->marks[i].stamp;
}

void hold_drop(struct hold_pool *pool, struct hold **h, size_t n)
{
    struct hold *b = *h;
    if (!b || !n)
        return;
    if (n >= b->n) {
        pool->held -= b->cap;
        hold_give(pool, b);
        *h = NULL;
        return;
    }
    u32 keep = 0;
    while (keep + 1 < b->n_marks && b->marks[keep + 1].at <= n)
        keep++;
    memmove(b->marks, b->marks + keep, (b->n_marks - keep) * sizeof(b->marks[0]));
    b->n_marks -= keep;
    for (u32 i = 0; i < b->n_marks; i++)
        b->marks[i].at = b->marks[i].at < n ? 0 : b->marks[i].at - (u32)n;
    b->n -= (u32)n;
    memmove(b->bytes, b->bytes + n, b->n);
}

void hold_pool_free(struct hold_pool *pool)
{
    while (pool->free) {
        struct hold *h = pool->free;
        pool->free = h->next_free;
        free(h);
    }
    pool->n_free = 0;
}
