/* A bounded hash table with least-recently-used eviction: fixed-size keys and values, a ceiling stated at creation,
 * storage that grows in chunks up to that ceiling and never per entry. Values do not move while they live.
 *
 *     struct table *t = table_new(&(struct table_spec){ .key_size = 8, .value_size = sizeof(struct conn),
 *                                                       .max = 65536, .drop = conn_drop, .arg = shard });
 *     struct conn *c = table_get(t, &id);          NULL when absent; marks it used
 *     struct conn *c = table_put(t, &id, &fresh);  finds or makes (zeroed); evicts the oldest when full; NULL on no memory
 *     table_del(t, &id);
 */
#ifndef WF_BASE_TABLE_H
#define WF_BASE_TABLE_H

#include "base/base.h"

enum table_drop_cause { TABLE_DELETED, TABLE_EVICTED, TABLE_CLOSED };

struct table_spec {
    u32 key_size;   /* bytes; keys are compared as bytes, so zero their padding */
    u32 value_size; /* bytes */
    u32 max;        /* entries */
    void (*drop)(void *arg, const void *key, void *value, enum table_drop_cause cause); /* may be NULL */
    void *arg;
};

struct table;
struct table *table_new(const struct table_spec *spec); /* NULL on no memory */
struct table *table_free(struct table *t);              /* drops every entry (TABLE_CLOSED); returns NULL */
void *table_get(struct table *t, const void *key);
void *table_peek(struct table *t, const void *key); /* without marking it used */
void *table_put(struct table *t, const void *key, bool *ret_fresh);
bool table_del(struct table *t, const void *key); /* true when it was there */
u32 table_count(const struct table *t);
u64 table_evicted(const struct table *t);
/* Oldest first; `visit` may delete the entry it is given and no other. Stops when it returns false. */
void table_each(struct table *t, bool (*visit)(void *arg, const void *key, void *value), void *arg);

#endif
