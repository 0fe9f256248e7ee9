/* See sites.h. */
#include "config/sites.h"

int site_add(struct site_book *b, const struct site_row *row)
{
    for (u32 i = 0; b->free && i < b->n; i++) {
        if (b->v[i].rule != RULE_GONE)
            continue;
        b->v[i] = *row;
        b->free--;
        return (int)i;
    }
    if (b->n == SITE_ROWS) {
        b->refused++;
        return -ENOSPC;
    }
    b->v[b->n] = *row;
    __atomic_store_n(&b->n, b->n + 1, __ATOMIC_RELEASE);
    return (int)b->n - 1;
}

const struct site_row *site_get(const struct site_book *b, u32 number)
{
    return b && number < __atomic_load_n(&b->n, __ATOMIC_ACQUIRE) ? &b->v[number] : NULL;
}

void site_leave(struct site_book *b, u32 number)
{
    if (number < b->n && b->v[number].rule != RULE_GONE)
        b->v[number].rule = RULE_LEAVING;
}

void site_free(struct site_book *b, u32 number)
{
    if (number >= b->n || b->v[number].rule == RULE_GONE)
        return;
    b->v[number].rule = RULE_GONE;
    b->free++;
}
