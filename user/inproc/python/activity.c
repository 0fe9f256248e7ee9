/* Which watched calls are open: a hash table from frame to activity.
 *
 * A frame is the only name that a call has for its whole life, through every yield and await. It may end unseen (a generator
 * that is thrown away in 3.13 and later runs no code), so a frame that begins anew takes an old entry over. */
#include "bridge.h"

#define ACTIVITIES_MAX (1u << 20) /* open at once; further calls are not watched */

static struct activity *table;
static u32 table_size, table_used;
static u64 next_id; /* never begins anew: a fork's child goes on counting */

static u32 home(PyObject *frame) { return (u32)(((uintptr_t)frame >> 4) * 0x9e3779b97f4a7c15ull >> 40) & (table_size - 1); }

struct activity *activity_find(PyObject *frame)
{
    if (!table_used)
        return NULL;
    for (u32 i = home(frame); table[i].frame; i = (i + 1) & (table_size - 1))
        if (table[i].frame == frame)
            return &table[i];
    return NULL;
}

static bool grow(void)
{
    if (table_used * 2 < table_size)
        return true;
    u32 old_size = table_size, size = old_size ? old_size * 2 : 1024;
    if (size > ACTIVITIES_MAX * 2)
        return false;
    struct activity *old = table, *bigger = calloc(size, sizeof *bigger);
    if (!bigger)
        return false;
    table = bigger;
    table_size = size;
    for (u32 i = 0; i < old_size; i++) {
        if (!old[i].frame)
            continue;
        u32 k = home(old[i].frame);
        while (table[k].frame)
            k = (k + 1) & (size - 1);
        table[k] = old[i];
    }
    free(old);
    return true;
}

struct activity *activity_open(PyObject *frame, struct site *site)
{
    struct activity *a = activity_find(frame);
    if (a)
        activity_close(a);
    if (!grow())
        return NULL;
    u32 i = home(frame);
    while (table[i].frame)
        i = (i + 1) & (table_size - 1);
    table[i] = (struct activity){ .frame = frame,
                                  .site = site,
                                  .id = watches_book << BRIDGE_BOOK | (++next_id & ((1ull << BRIDGE_BOOK) - 1)) };
    table_used++;
    return &table[i];
}

/* Takes the entry out and moves later ones of its chain up, so that no gap cuts them off. */
void activity_close(struct activity *a)
{
    PyObject *weak = a->weak;
    u32 hole = (u32)(a - table), mask = table_size - 1;
    for (u32 i = (hole + 1) & mask; table[i].frame; i = (i + 1) & mask) {
        u32 wants = home(table[i].frame);
        if (((i - wants) & mask) < ((i - hole) & mask))
            continue;
        table[hole] = table[i];
        hole = i;
    }
    table[hole] = (struct activity){ 0 };
    table_used--;
    Py_DecRef(weak);
}

void activities_clear(void)
{
    for (u32 i = 0; i < table_size; i++)
        Py_DecRef(table[i].weak);
    free(table);
    table = NULL;
    table_size = table_used = 0;
}
