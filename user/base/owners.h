/* Which entries belong to whom: lists inside the entries' values, found by their owner, so that the end of a thread or a process costs
 * what it owned and not a walk through a table.
 *
 *     struct session { struct owned of_process; … };
 *     owners_add(o, tgid, &session->of_process);            false on no memory
 *     while ((x = owners_first(o, tgid)))                   oldest first
 *         … table_del(…), whose drop callback calls owners_remove(o, x)
 */
#ifndef WF_BASE_OWNERS_H
#define WF_BASE_OWNERS_H

#include "base/base.h"

/* In the value; zeroed: in no list. It may not move while it is in one. */
struct owned {
    struct owned *older, *newer;
    u64 owner;
    bool in;
};

struct owners;
struct owners *owners_new(u32 max);           /* as many owners as there can be entries; NULL on no memory */
struct owners *owners_free(struct owners *o); /* after its entries; returns NULL */
bool owners_add(struct owners *o, u64 owner, struct owned *x);
void owners_remove(struct owners *o, struct owned *x);   /* nothing when it is in no list */
struct owned *owners_first(struct owners *o, u64 owner); /* the oldest, or NULL */

#endif
