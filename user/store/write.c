/* Writing. Traces get small row numbers in the order in which they come, so that the index over spans grows at its end; a bounded
 * table remembers the numbers of the traces that are being written. */
#include "store/internal.h"

#define TRACES_KNOWN    16384
#define RESOURCES_KNOWN 4096

static const char *const statements[ST_MAX] = {
    [ST_SPAN] = "INSERT INTO spans VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17)",
    [ST_TRACE_FIND] = "SELECT id FROM traces WHERE trace_id=?1",
    [ST_TRACE_NEW] =
        "INSERT INTO traces(trace_id,start,\"end\",spans,errors,name,service,rooted) VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
    [ST_TRACE_ADD] = "UPDATE traces SET start=min(start,?2),\"end\"=max(\"end\",?3),spans=spans+?4,errors=errors+?5,"
                     "name=iif(?8>rooted,?6,name),service=iif(?8>rooted,?7,service),rooted=max(rooted,?8) WHERE id=?1",
    [ST_RESOURCE_FIND] = "SELECT id FROM resources WHERE attrs=?1",
    [ST_RESOURCE_NEW] = "INSERT INTO resources(service,attrs) VALUES(?1,?2)",
    [ST_LOG] = "INSERT INTO logs VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
};

struct known_trace {
    s64 row; /* 0: not in the file yet */
    u64 start, end;
    u32 spans, errors; /* of this batch */
    u8 rooted;         /* 2: has its root's name, 1: a first span's of this host, 0: any */
    const struct span *namer;
    u32 slot; /* in the batch's list + 1 */
};

int statements_prepare(struct store *s)
{
    for (int i = 0; i < ST_MAX; i++) {
        int rc = sqlite3_prepare_v3(s->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &s->st[i], NULL);
        if (rc != SQLITE_OK)
            return store_fail(s, rc);
    }
    return 0;
}

int store_forget(struct store *s)
{
    struct table *traces = table_new(
        &(struct table_spec){ .key_size = TRACE_ID_LEN, .value_size = sizeof(struct known_trace), .max = TRACES_KNOWN });
    struct table *resources = table_new(&(struct table_spec){ .key_size = 8, .value_size = 8, .max = RESOURCES_KNOWN });
    s->stale = !traces || !resources;
    if (s->stale) {
        table_free(traces);
        table_free(resources);
        snprintf(s->why, sizeof(s->why), "out of memory");
        return -ENOMEM;
    }
    table_free(s->traces);
    table_free(s->resources);
    s->traces = traces;
    s->resources = resources;
    return 0;
}

static int run(struct store *s, enum statement which, s64 *ret_first)
{
    sqlite3_stmt *st = s->st[which];
    int rc = sqlite3_step(st);
    if (rc == SQLITE_ROW && ret_first)
        *ret_first = sqlite3_column_int64(st, 0);
    int code = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : store_fail(s, rc);
    sqlite3_reset(st);
    return code;
}

static void bind_text(sqlite3_stmt *st, int at, const char *text)
{
    if (text && *text)
        sqlite3_bind_text(st, at, text, -1, SQLITE_STATIC);
    else
        sqlite3_bind_null(st, at);
}

static void bind_json(sqlite3_stmt *st, int at, const struct json *t)
{
    if (t->n)
        sqlite3_bind_text(st, at, t->p, (int)t->n, SQLITE_STATIC);
    else
        sqlite3_bind_null(st, at);
}

/* A row for each different set of attributes, found again in later runs. */
static int resource_row(struct store *s, const struct resource *r, s64 *ret)
{
    bool fresh;
    s64 *known = r ? table_put(s->resources, &r->id, &fresh) : NULL;
    *ret = known ? *known : 0;
    if (!r || *ret)
        return 0;
    text_attrs(&s->attrs, r->attrs.v, r->attrs.n);
    if (s->attrs.failed)
        return -ENOMEM;
    bind_json(s->st[ST_RESOURCE_FIND], 1, &s->attrs);
    int code = run(s, ST_RESOURCE_FIND, ret);
    if (!code && !*ret) {
        bind_text(s->st[ST_RESOURCE_NEW], 1, resource_service(r));
        bind_json(s->st[ST_RESOURCE_NEW], 2, &s->attrs);
        code = run(s, ST_RESOURCE_NEW, NULL);
        *ret = sqlite3_last_insert_rowid(s->db);
    }
    if (!code && known)
        *known = *ret;
    return code;
}

static bool is_zero(const u8 *p, size_t n)
{
    while (n--)
        if (*p++)
            return false;
    return true;
}

static u8 rooted_of(const struct span *s) { return is_zero(s->parent_id, SPAN_ID_LEN) ? 2 : s->remote_parent; }

static void trace_bind(sqlite3_stmt *st, const struct known_trace *t)
{
    sqlite3_bind_int64(st, 2, (s64)t->start);
    sqlite3_bind_int64(st, 3, (s64)t->end);
    sqlite3_bind_int64(st, 4, t->spans);
    sqlite3_bind_int64(st, 5, t->errors);
    bind_text(st, 6, t->namer->name);
    bind_text(st, 7, resource_service(t->namer->resource));
    sqlite3_bind_int64(st, 8, t->rooted);
}

/* The trace's row, made when it is new. What this batch adds to it is written once, at the batch's end. */
static int trace_row(struct store *s, const struct span *first, struct known_trace *t)
{
    sqlite3_bind_blob(s->st[ST_TRACE_FIND], 1, first->id.trace_id, TRACE_ID_LEN, SQLITE_STATIC);
    int code = run(s, ST_TRACE_FIND, &t->row);
    if (code || t->row)
        return code;
    struct known_trace none = { .start = first->start_ns, .end = first->end_ns, .namer = first };
    sqlite3_bind_blob(s->st[ST_TRACE_NEW], 1, first->id.trace_id, TRACE_ID_LEN, SQLITE_STATIC);
    trace_bind(s->st[ST_TRACE_NEW], &none);
    code = run(s, ST_TRACE_NEW, NULL);
    t->row = sqlite3_last_insert_rowid(s->db);
    return code;
}

static int trace_note(struct store *s, const struct span *sp, s64 *ret_row, struct known_trace **list, u32 *n)
{
    bool fresh;
    struct known_trace *t = table_put(s->traces, sp->id.trace_id, &fresh);
    int code = !t ? -ENOMEM : t->row ? 0 : trace_row(s, sp, t);
    if (code)
        return code;
    if (!t->slot) {
        *t =
            (struct known_trace){ .row = t->row, .start = sp->start_ns, .end = sp->end_ns, .namer = sp, .rooted = rooted_of(sp) };
        list[(*n)++] = t;
        t->slot = *n;
    }
    t->start = min_u64(t->start, sp->start_ns);
    t->end = max_u64(t->end, sp->end_ns);
    t->spans++;
    t->errors += sp->status == STATUS_ERROR;
    if (rooted_of(sp) > t->rooted)
        t->rooted = rooted_of(sp), t->namer = sp;
    *ret_row = t->row;
    return 0;
}

static int span_insert(struct store *s, const struct span *sp, s64 trace, s64 resource)
{
    sqlite3_stmt *st = s->st[ST_SPAN];
    text_attrs(&s->attrs, sp->attrs.v, sp->attrs.n);
    text_events(&s->events, sp);
    text_links(&s->links, sp);
    if (s->attrs.failed || s->events.failed || s->links.failed)
        return -ENOMEM;
    sqlite3_bind_int64(st, 1, trace);
    sqlite3_bind_blob(st, 2, sp->id.span_id, SPAN_ID_LEN, SQLITE_STATIC);
    if (is_zero(sp->parent_id, SPAN_ID_LEN))
        sqlite3_bind_null(st, 3);
    else
        sqlite3_bind_blob(st, 3, sp->parent_id, SPAN_ID_LEN, SQLITE_STATIC);
    sqlite3_bind_int64(st, 4, resource);
    sqlite3_bind_int64(st, 5, sp->kind);
    sqlite3_bind_int64(st, 6, sp->status);
    sqlite3_bind_int64(st, 7, sp->id.flags | (sp->remote_parent ? 0x200 : 0));
    sqlite3_bind_int64(st, 8, (s64)sp->start_ns);
    sqlite3_bind_int64(st, 9, (s64)sp->end_ns);
    bind_text(st, 10, sp->name);
    bind_text(st, 11, sp->scope);
    bind_text(st, 12, sp->status_message);
    sqlite3_bind_int64(st, 13, sp->join);
    bind_text(st, 14, sp->tracestate);
    bind_json(st, 15, &s->attrs);
    bind_json(st, 16, &s->events);
    bind_json(st, 17, &s->links);
    return run(s, ST_SPAN, NULL);
}

static int traces_update(struct store *s, struct known_trace **list, u32 n)
{
    int code = 0;
    for (u32 i = 0; i < n; i++) {
        list[i]->slot = 0;
        if (code)
            continue;
        sqlite3_bind_int64(s->st[ST_TRACE_ADD], 1, list[i]->row);
        trace_bind(s->st[ST_TRACE_ADD], list[i]);
        code = run(s, ST_TRACE_ADD, NULL);
    }
    return code;
}

/* What a rolled-back transaction had made is not in the file: the tables must not remember it. */
static int transaction_end(struct store *s, int code)
{
    if (!code)
        code = store_exec(s, "COMMIT");
    if (!code)
        return 0;
    char why[sizeof(s->why)];
    memcpy(why, s->why, sizeof(why));
    (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    memcpy(s->why, why, sizeof(why));
    (void)store_forget(s);
    return code;
}

/* One that could not even be rolled back, for want of memory, is rolled back now. */
static int transaction_begin(struct store *s)
{
    int code = sqlite3_get_autocommit(s->db) ? 0 : store_exec(s, "ROLLBACK");
    if (!code && s->stale)
        code = store_forget(s);
    return code ? code : store_exec(s, "BEGIN IMMEDIATE");
}

#define BATCH 1024 /* below TRACES_KNOWN: a trace of this batch is never forgotten in it */

static int spans_write(struct store *s, struct span *const *v, size_t n)
{
    struct known_trace *list[BATCH];
    u32 traces = 0;
    int code = transaction_begin(s);
    if (code)
        return code;
    for (size_t i = 0; !code && i < n; i++) {
        s64 resource, trace;
        code = resource_row(s, v[i]->resource, &resource);
        if (!code)
            code = trace_note(s, v[i], &trace, list, &traces);
        if (!code)
            code = span_insert(s, v[i], trace, resource);
    }
    int update = traces_update(s, list, code ? 0 : traces);
    for (u32 i = 0; i < traces; i++)
        list[i]->slot = 0;
    return transaction_end(s, code ? code : update);
}

int store_add_spans(struct store *s, struct span *const *v, size_t n)
{
    int code = 0;
    for (size_t at = 0; !code && at < n; at += BATCH)
        code = spans_write(s, v + at, min_u64(BATCH, n - at));
    return code;
}

static int log_insert(struct store *s, const struct log_record *l)
{
    sqlite3_stmt *st = s->st[ST_LOG];
    s64 resource;
    int code = resource_row(s, l->resource, &resource);
    if (code)
        return code;
    text_attrs(&s->attrs, l->attrs.v, l->attrs.n);
    if (s->attrs.failed)
        return -ENOMEM;
    sqlite3_bind_int64(st, 1, (s64)(l->time_ns ? l->time_ns : l->observed_ns));
    sqlite3_bind_null(st, 2);
    sqlite3_bind_null(st, 3);
    if (span_context_valid(&l->context)) {
        sqlite3_bind_blob(st, 2, l->context.trace_id, TRACE_ID_LEN, SQLITE_STATIC);
        sqlite3_bind_blob(st, 3, l->context.span_id, SPAN_ID_LEN, SQLITE_STATIC);
    }
    sqlite3_bind_int64(st, 4, l->severity);
    bind_text(st, 5, l->severity_text);
    bind_text(st, 6, l->scope);
    sqlite3_bind_int64(st, 7, resource);
    sqlite3_bind_text(st, 8, l->body, (int)l->body_len, SQLITE_STATIC);
    bind_json(st, 9, &s->attrs);
    return run(s, ST_LOG, NULL);
}

int store_add_logs(struct store *s, struct log_record *const *v, size_t n)
{
    int code = transaction_begin(s);
    if (code)
        return code;
    for (size_t i = 0; !code && i < n; i++)
        code = log_insert(s, v[i]);
    return transaction_end(s, code);
}
