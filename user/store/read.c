/* Reading: traces that fit a question, and one trace's spans made whole again. JSON is taken apart by SQLite's json_each. */
#include "store/internal.h"

#include <stdarg.h>

/* --- traces --- */

struct where {
    char sql[4096];
    size_t n;
    const char *bind[4 + 2 * STORE_ATTRS];
    int n_bind;
};

static void where_add(struct where *w, const char *condition, const char *one, const char *two)
{
    w->n += (size_t)snprintf(w->sql + w->n, sizeof(w->sql) - w->n, " AND %s", condition);
    if (one)
        w->bind[w->n_bind++] = one;
    if (two)
        w->bind[w->n_bind++] = two;
}

static void where_number(struct where *w, const char *what, u64 value)
{
    w->n += (size_t)snprintf(w->sql + w->n, sizeof(w->sql) - w->n, " AND %s>=%lld", what, (long long)min_u64(value, INT64_MAX));
}

static void where_build(struct where *w, const struct store_query *q)
{
    w->n =
        (size_t)snprintf(w->sql, sizeof(w->sql), "SELECT trace_id,start,\"end\",spans,errors,name,service FROM traces t WHERE 1");
    if (q->errors)
        where_add(w, "errors>0", NULL, NULL);
    if (q->since_ns)
        where_number(w, "start", q->since_ns);
    if (q->min_ns)
        where_number(w, "\"end\"-start", q->min_ns);
    if (q->service)
        where_add(w, "EXISTS(SELECT 1 FROM spans s JOIN resources r ON r.id=s.resource WHERE s.trace=t.id AND r.service GLOB ?)",
                  q->service, NULL);
    if (q->name)
        where_add(w, "EXISTS(SELECT 1 FROM spans s WHERE s.trace=t.id AND s.name GLOB ?)", q->name, NULL);
    for (u32 i = 0; i < q->n_attrs && i < STORE_ATTRS; i++)
        where_add(
            w,
            "EXISTS(SELECT 1 FROM spans s LEFT JOIN resources r ON r.id=s.resource,"
            "(SELECT ? AS k, ? AS v) WHERE s.trace=t.id AND ("
            "EXISTS(SELECT 1 FROM json_each(s.attrs) j WHERE j.key=k AND CASE j.type WHEN 'true' THEN 'true' WHEN 'false' THEN "
            "'false' ELSE CAST(j.value AS TEXT) END=v) OR "
            "EXISTS(SELECT 1 FROM json_each(r.attrs) j WHERE j.key=k AND CAST(j.value AS TEXT)=v)))",
            q->attr[i].key, q->attr[i].value);
    w->n += (size_t)snprintf(w->sql + w->n, sizeof(w->sql) - w->n, " ORDER BY start DESC LIMIT %lld",
                             q->last ? (long long)q->last : -1ll);
}

static const char *column_text(sqlite3_stmt *st, int i)
{
    const char *text = (const char *)sqlite3_column_text(st, i);
    return text ? text : "";
}

static bool column_id(sqlite3_stmt *st, int i, u8 *out, int n)
{
    memset(out, 0, (size_t)n);
    if (sqlite3_column_type(st, i) != SQLITE_BLOB || sqlite3_column_bytes(st, i) != n)
        return false;
    memcpy(out, sqlite3_column_blob(st, i), (size_t)n);
    return true;
}

int store_each_trace(struct store *s, const struct store_query *q, store_trace_fn fn, void *arg)
{
    struct where w = { .n_bind = 0 };
    sqlite3_stmt *st;
    where_build(&w, q);
    int rc = sqlite3_prepare_v2(s->db, w.sql, -1, &st, NULL);
    if (rc != SQLITE_OK)
        return store_fail(s, rc);
    for (int i = 0; i < w.n_bind; i++)
        sqlite3_bind_text(st, i + 1, w.bind[i], -1, SQLITE_STATIC);
    while ((rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct store_trace t = { .start_ns = (u64)sqlite3_column_int64(st, 1),
                                 .end_ns = (u64)sqlite3_column_int64(st, 2),
                                 .spans = (u64)sqlite3_column_int64(st, 3),
                                 .errors = (u64)sqlite3_column_int64(st, 4),
                                 .name = column_text(st, 5),
                                 .service = column_text(st, 6) };
        if (column_id(st, 0, t.trace_id, TRACE_ID_LEN) && !fn(arg, &t)) {
            rc = SQLITE_DONE;
            break;
        }
    }
    int code = rc == SQLITE_DONE ? 0 : store_fail(s, rc);
    sqlite3_finalize(st);
    return code;
}

int store_find(struct store *s, const char *hex, u8 ret_id[TRACE_ID_LEN])
{
    u8 low[TRACE_ID_LEN], high[TRACE_ID_LEN];
    char text[2 * TRACE_ID_LEN + 1];
    size_t n = strlen(hex);
    sqlite3_stmt *st;
    if (!n || n > 2 * TRACE_ID_LEN)
        return -EINVAL;
    for (int fill = 0; fill < 2; fill++) {
        memset(text, fill ? 'f' : '0', sizeof(text));
        memcpy(text, hex, n);
        if (hex_decode(text, 2 * TRACE_ID_LEN, fill ? high : low))
            return -EINVAL;
    }
    int rc = sqlite3_prepare_v2(s->db, "SELECT trace_id FROM traces WHERE trace_id BETWEEN ?1 AND ?2 LIMIT 2", -1, &st, NULL);
    if (rc != SQLITE_OK)
        return store_fail(s, rc);
    sqlite3_bind_blob(st, 1, low, TRACE_ID_LEN, SQLITE_STATIC);
    sqlite3_bind_blob(st, 2, high, TRACE_ID_LEN, SQLITE_STATIC);
    u8 found[TRACE_ID_LEN];
    int rows = 0, code = 0;
    while ((rc = sqlite3_step(st)) == SQLITE_ROW)
        if (!rows++)
            column_id(st, 0, found, TRACE_ID_LEN);
    if (rc != SQLITE_DONE)
        code = store_fail(s, rc);
    sqlite3_finalize(st);
    if (code)
        return code;
    if (rows != 1)
        return rows ? -EEXIST : -ENOENT;
    memcpy(ret_id, found, TRACE_ID_LEN);
    return 0;
}

/* --- spans --- */

struct reader {
    struct store *s;
    sqlite3_stmt *each, *inner; /* json_each over an object; over a list in it */
    s64 resource_row;
    struct resource *resource;
};

static void list_read(struct reader *r, struct attr_set *set, const char *key, const char *json)
{
    struct slice v[64];
    char *keep[64];
    size_t n = 0;
    sqlite3_bind_text(r->inner, 1, json, -1, SQLITE_TRANSIENT);
    while (sqlite3_step(r->inner) == SQLITE_ROW && n < ARRAY_LEN(v)) {
        keep[n] = strdup(column_text(r->inner, 3));
        if (keep[n])
            v[n] = slice_str(keep[n]), n++;
    }
    sqlite3_reset(r->inner);
    attr_strv(set, key, v, n);
    while (n)
        free(keep[--n]);
}

/* Columns of json_each: key, type, atom, value. */
static void attrs_read(struct reader *r, struct attr_set *set, const char *json)
{
    if (!json || !*json)
        return;
    sqlite3_bind_text(r->each, 1, json, -1, SQLITE_TRANSIENT);
    while (sqlite3_step(r->each) == SQLITE_ROW) {
        const char *key = intern(column_text(r->each, 0)), *type = column_text(r->each, 1);
        if (!strcmp(type, "text"))
            attr_str(set, key, slice_of(column_text(r->each, 3), (size_t)sqlite3_column_bytes(r->each, 3)));
        else if (!strcmp(type, "integer"))
            attr_int(set, key, sqlite3_column_int64(r->each, 3));
        else if (!strcmp(type, "real"))
            attr_double(set, key, sqlite3_column_double(r->each, 3));
        else if (!strcmp(type, "true") || !strcmp(type, "false"))
            attr_bool(set, key, *type == 't');
        else if (!strcmp(type, "array"))
            list_read(r, set, key, column_text(r->each, 3));
    }
    sqlite3_reset(r->each);
}

static void resource_read(struct reader *r, s64 row, const char *json)
{
    if (r->resource && row == r->resource_row)
        return;
    r->resource = resource_unref(r->resource);
    r->resource = resource_new();
    r->resource_row = row;
    if (r->resource)
        attrs_read(r, &r->resource->attrs, json);
}

/* What is no exception is a mark: columns time, name, key, size, how many events there are. */
static void mark_read(struct span *sp, sqlite3_stmt *st)
{
    if (!sp->marks)
        span_set_marks(sp, span_marks_new(intern(column_text(st, 4)), intern(column_text(st, 5)),
                                          (u16)min_u64((u64)sqlite3_column_int64(st, 7), UINT16_MAX)));
    if (sp->marks)
        span_mark(sp->marks, (u64)sqlite3_column_int64(st, 0), (u32)sqlite3_column_int64(st, 6));
}

static void events_read(struct store *s, struct span *sp, const char *json)
{
    sqlite3_stmt *st;
    if (!json || !*json ||
        sqlite3_prepare_v2(s->db,
                           "SELECT json_extract(e.value,'$.time'),json_extract(e.value,'$.attrs.\"exception.type\"'),"
                           "json_extract(e.value,'$.attrs.\"exception.message\"'),"
                           "json_extract(e.value,'$.attrs.\"exception.stacktrace\"'),json_extract(e.value,'$.name'),"
                           "(SELECT key FROM json_each(e.value,'$.attrs')),(SELECT value FROM json_each(e.value,'$.attrs')),"
                           "json_array_length(?1) FROM json_each(?1) AS e",
                           -1, &st, NULL) != SQLITE_OK)
        return;
    sqlite3_bind_text(st, 1, json, -1, SQLITE_TRANSIENT);
    while (sqlite3_step(st) == SQLITE_ROW)
        if (strcmp(column_text(st, 4), "exception"))
            mark_read(sp, st);
        else
            span_add_exception(sp, (u64)sqlite3_column_int64(st, 0), slice_str(column_text(st, 1)), slice_str(column_text(st, 2)),
                               slice_str(column_text(st, 3)));
    sqlite3_finalize(st);
}

static void links_read(struct store *s, struct span *sp, const char *json)
{
    sqlite3_stmt *st;
    if (!json || !*json ||
        sqlite3_prepare_v2(
            s->db,
            "SELECT json_extract(value,'$.trace'),json_extract(value,'$.span'),json_extract(value,'$.by') FROM json_each(?1)", -1,
            &st, NULL) != SQLITE_OK)
        return;
    sqlite3_bind_text(st, 1, json, -1, SQLITE_TRANSIENT);
    while (sqlite3_step(st) == SQLITE_ROW) {
        struct span_context c = { .flags = 0 };
        const char *trace = column_text(st, 0), *span = column_text(st, 1);
        if (strlen(trace) == 2 * TRACE_ID_LEN && strlen(span) == 2 * SPAN_ID_LEN &&
            !hex_decode(trace, 2 * TRACE_ID_LEN, c.trace_id) && !hex_decode(span, 2 * SPAN_ID_LEN, c.span_id))
            span_add_link(sp, &c, intern(column_text(st, 2)));
    }
    sqlite3_finalize(st);
}

static struct span *span_read(struct reader *r, sqlite3_stmt *st, const u8 *trace_id)
{
    struct span *sp = span_new();
    if (!sp)
        return NULL;
    u32 flags = (u32)sqlite3_column_int(st, 5);
    memcpy(sp->id.trace_id, trace_id, TRACE_ID_LEN);
    column_id(st, 0, sp->id.span_id, SPAN_ID_LEN);
    column_id(st, 1, sp->parent_id, SPAN_ID_LEN);
    sp->kind = (u8)sqlite3_column_int(st, 3);
    sp->status = (u8)sqlite3_column_int(st, 4);
    sp->id.flags = (u8)flags;
    sp->remote_parent = flags & 0x200;
    sp->start_ns = (u64)sqlite3_column_int64(st, 6);
    sp->end_ns = (u64)sqlite3_column_int64(st, 7);
    span_set_name(sp, slice_str(column_text(st, 8)));
    sp->scope = intern(column_text(st, 9));
    if (*column_text(st, 10))
        sp->status_message = attr_text_cut(&sp->attrs, slice_str(column_text(st, 10)), 1024);
    sp->join = (u8)min_u64((u64)sqlite3_column_int(st, 11), JOIN_MAX - 1);
    span_set_tracestate(sp, column_text(st, 12));
    attrs_read(r, &sp->attrs, column_text(st, 13));
    events_read(r->s, sp, column_text(st, 14));
    links_read(r->s, sp, column_text(st, 15));
    resource_read(r, sqlite3_column_int64(st, 2), column_text(st, 16));
    sp->resource = r->resource ? resource_ref(r->resource) : NULL;
    const struct attr *pid = r->resource ? attr_get(&r->resource->attrs, "process.pid") : NULL;
    sp->tgid = pid && pid->type == ATTR_INT ? (u32)pid->i : 0;
    return sp;
}

static int reader_open(struct reader *r, sqlite3_stmt **st)
{
    static const char each[] = "SELECT key,type,atom,value FROM json_each(?1)";
    static const char spans[] =
        "SELECT s.span_id,s.parent_id,s.resource,s.kind,s.status,s.flags,s.start,s.\"end\",s.name,s.scope,"
        "s.message,s.by,s.tracestate,s.attrs,s.events,s.links,r.attrs FROM traces t JOIN spans s ON s.trace=t.id "
        "LEFT JOIN resources r ON r.id=s.resource WHERE t.trace_id=?1 ORDER BY s.start,s.rowid";
    int rc = sqlite3_prepare_v2(r->s->db, each, -1, &r->each, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(r->s->db, each, -1, &r->inner, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(r->s->db, spans, -1, st, NULL);
    return rc == SQLITE_OK ? 0 : store_fail(r->s, rc);
}

int store_each_span(struct store *s, const u8 trace_id[TRACE_ID_LEN], store_span_fn fn, void *arg)
{
    struct reader r = { .s = s };
    sqlite3_stmt *st = NULL;
    int rc = SQLITE_DONE, code = reader_open(&r, &st);
    if (!code)
        sqlite3_bind_blob(st, 1, trace_id, TRACE_ID_LEN, SQLITE_STATIC);
    while (!code && (rc = sqlite3_step(st)) == SQLITE_ROW) {
        struct span *sp = span_read(&r, st, trace_id);
        if (!sp) {
            code = -ENOMEM;
            break;
        }
        bool more = fn(arg, sp);
        span_unref(sp);
        if (!more) {
            rc = SQLITE_DONE;
            break;
        }
    }
    if (!code && rc != SQLITE_DONE)
        code = store_fail(s, rc);
    sqlite3_finalize(st);
    sqlite3_finalize(r.each);
    sqlite3_finalize(r.inner);
    resource_unref(r.resource);
    return code;
}
