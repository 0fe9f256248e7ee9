/* See sites.h. */
#include "config/sites.h"

int site_add(struct site_book *b, const struct site_row *row)
{
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
