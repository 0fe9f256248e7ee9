/* What the files of store/ share. */
#ifndef WF_STORE_INTERNAL_H
#define WF_STORE_INTERNAL_H

#include "base/json.h"
#include "base/table.h"
#include "store/store.h"

#include <sqlite3.h>

enum statement { ST_SPAN, ST_TRACE_FIND, ST_TRACE_NEW, ST_TRACE_ADD, ST_RESOURCE_FIND, ST_RESOURCE_NEW, ST_LOG, ST_MAX };

struct store {
    sqlite3 *db;
    sqlite3_stmt *st[ST_MAX];
    u64 max_bytes, max_age_ns, next_trim;
    s64 resources_most;               /* so many, and the unused ones are looked for */
    struct table *traces;             /* trace id → its row and what this batch adds */
    struct table *resources;          /* resource->id → row */
    bool stale;                       /* the two tell of rows that are not in the file: store_forget() is due */
    struct json attrs, events, links; /* of one row; their room is kept */
    char why[200];
    char path[1024];
};

/* errno of a result of SQLite's, its words in s->why. */
int store_fail(struct store *s, int rc);
int store_exec(struct store *s, const char *sql);
int store_number(struct store *s, const char *sql, s64 *ret); /* the first column of the first row */

/* write.c */
int statements_prepare(struct store *s);
int store_forget(struct store *s); /* what is known of rows: they may be gone. -ENOMEM: not yet; before the next write */

/* encode.c */
void text_attrs(struct json *j, const struct attr *v, size_t n); /* JSON object; the text is begun anew */
void text_events(struct json *j, const struct span *s);          /* JSON array; empty when there are none */
void text_links(struct json *j, const struct span *s);

#endif
