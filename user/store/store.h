/* The embedded store: traces and log records in one SQLite file (WAL: read by anybody while it is written).
 *
 *     resources(id, service, attrs)                     attrs: JSON object
 *     traces(id, trace_id, start, end, spans, errors, name, service)     times in ns since 1970
 *     spans(trace, span_id, parent_id, resource, kind, status, flags, start, end, name, scope, message, by, tracestate,
 *           attrs, events, links)
 *     logs(time, trace_id, span_id, severity, severity_text, scope, resource, body, attrs)
 *
 * The schema's number is PRAGMA user_version; PRAGMA application_id says that the file is ours. One connection belongs to one
 * thread; several may be open. A batch is one transaction. Retention goes by whole traces, oldest first; freed pages are used
 * again, so the file stays below max_bytes (plus the journal, 16 MB at most). */
#ifndef WF_STORE_STORE_H
#define WF_STORE_STORE_H

#include "trace/signal.h"

#define STORE_VERSION 1

struct store_options {
    const char *path; /* NULL: store_default_path() */
    bool read_only;   /* the file must be there */
    u64 max_bytes;    /* default 1 GB */
    u64 max_age_ns;   /* default 7 days */
};
struct store;
/* $XDG_STATE_HOME/wftrace/store.db, ~/.local/state/…, for a service without a home /var/lib/wftrace/store.db. */
void store_default_path(char *out, size_t size);
/* Makes the file (0600) and its folder (0700). -ENOENT, -EACCES, -EBADMSG (damaged, or not a store), -EPROTO (another version's),
 * each with a sentence in err that says what to do. */
int store_open(const struct store_options *o, struct store **ret, char *err, size_t err_size);
struct store *store_close(struct store *s); /* NULL is fine */

/* All or nothing. -ENOSPC, -EBUSY, -EBADMSG, -EIO; store_why() has SQLite's words. */
int store_add_spans(struct store *s, struct span *const *v, size_t n);
int store_add_logs(struct store *s, struct log_record *const *v, size_t n);
const char *store_why(const struct store *s);
/* What is too old, and what is too much, goes. Cheap when nothing is. */
int store_trim(struct store *s, u64 now_wall_ns);
u64 store_bytes(struct store *s); /* in use */

/* --- reading --- */

#define STORE_ATTRS 8
struct store_query {
    u32 last; /* newest first; 0: all */
    bool errors;
    const char *service, *name; /* globs (SQLite's GLOB); `service`: of any of its spans, `name`: of any of its spans */
    u64 since_ns;               /* wall: started then or later */
    u64 min_ns;                 /* duration */
    struct {
        const char *key, *value;
    } attr[STORE_ATTRS]; /* spans' or resources' */
    u32 n_attrs;
};
struct store_trace {
    u8 trace_id[TRACE_ID_LEN];
    u64 start_ns, end_ns, spans, errors;
    const char *name, *service;
};
typedef bool (*store_trace_fn)(void *arg, const struct store_trace *t); /* false: enough */
int store_each_trace(struct store *s, const struct store_query *q, store_trace_fn fn, void *arg);
/* The trace whose id begins with `hex` (lower or upper case). -ENOENT: none; -EEXIST: several; -EINVAL: no hex. */
int store_find(struct store *s, const char *hex, u8 ret_id[TRACE_ID_LEN]);
/* Its spans by start, as they were (attributes, events, links, resource); the callee does not keep them. */
typedef bool (*store_span_fn)(void *arg, struct span *s);
int store_each_span(struct store *s, const u8 trace_id[TRACE_ID_LEN], store_span_fn fn, void *arg);

#endif
