/* Opening, writing, trimming. Traces get small row numbers in the order in which they come, so that the index over spans grows
 * at its end; a bounded table remembers the numbers of the traces that are being written. */
#include "store/internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x77667472 /* "wftr" */
#define TRACES_KNOWN   16384
#define TRIM_EVERY_NS  (10 * NSEC_PER_SEC)
#define TRIM_TRACES    256 /* at a time, when there is too much */

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

static const char schema[] =
    "CREATE TABLE resources(id INTEGER PRIMARY KEY, service TEXT, attrs TEXT UNIQUE);"
    "CREATE TABLE traces(id INTEGER PRIMARY KEY, trace_id BLOB UNIQUE, start INTEGER, \"end\" INTEGER, spans INTEGER,"
    " errors INTEGER, name TEXT, service TEXT, rooted INTEGER);"
    "CREATE TABLE spans(trace INTEGER, span_id BLOB, parent_id BLOB, resource INTEGER, kind INTEGER, status INTEGER,"
    " flags INTEGER, start INTEGER, \"end\" INTEGER, name TEXT, scope TEXT, message TEXT, by INTEGER, tracestate TEXT,"
    " attrs TEXT, events TEXT, links TEXT);"
    "CREATE INDEX spans_trace ON spans(trace);"
    "CREATE INDEX traces_start ON traces(start);"
    "CREATE TABLE logs(time INTEGER, trace_id BLOB, span_id BLOB, severity INTEGER, severity_text TEXT, scope TEXT,"
    " resource INTEGER, body TEXT, attrs TEXT);"
    "CREATE INDEX logs_time ON logs(time);"
    "CREATE INDEX logs_trace ON logs(trace_id) WHERE trace_id IS NOT NULL;";

struct known_trace {
    s64 row; /* 0: not in the file yet */
    u64 start, end;
    u32 spans, errors; /* of this batch */
    u8 rooted;         /* 2: has its root's name, 1: a first span's of this host, 0: any */
    const struct span *namer;
    u32 slot; /* in the batch's list + 1 */
};

int store_fail(struct store *s, int rc)
{
    snprintf(s->why, sizeof(s->why), "%.180s", sqlite3_errmsg(s->db));
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return -EBADMSG;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_PERM:
    case SQLITE_READONLY:
        return -EACCES;
    case SQLITE_CANTOPEN:
        return -ENOENT;
    }
    return -EIO;
}

int store_exec(struct store *s, const char *sql)
{
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : store_fail(s, rc);
}

const char *store_why(const struct store *s) { return s->why; }

void store_default_path(char *out, size_t size)
{
    const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
    if (state && *state == '/')
        snprintf(out, size, "%s/wftrace/store.db", state);
    else if (home && *home == '/' && home[1])
        snprintf(out, size, "%s/.local/state/wftrace/store.db", home);
    else
        snprintf(out, size, "/var/lib/wftrace/store.db");
}

/* --- opening --- */

static int number_of(struct store *s, const char *pragma, s64 *ret)
{
    sqlite3_stmt *st;
    int rc = sqlite3_prepare_v2(s->db, pragma, -1, &st, NULL);
    if (rc == SQLITE_OK) {
        rc = sqlite3_step(st);
        if (rc == SQLITE_ROW)
            *ret = sqlite3_column_int64(st, 0);
    }
    sqlite3_finalize(st);
    return rc == SQLITE_ROW ? 0 : store_fail(s, rc);
}

static int folder_make(const char *path)
{
    char dir[1024];
    snprintf(dir, sizeof(dir), "%s", path);
    for (char *p = strchr(dir + 1, '/'); p; p = strchr(p + 1, '/')) {
        *p = 0;
        if (mkdir(dir, 0700) && errno != EEXIST)
            return -errno;
        *p = '/';
    }
    int fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    close(fd);
    return 0;
}

static int schema_make(struct store *s)
{
    char pragmas[128];
    int code = store_exec(s, "PRAGMA auto_vacuum=INCREMENTAL"); /* only before the first table, outside a transaction */
    s64 version = 0;
    if (!code)
        code = store_exec(s, "BEGIN IMMEDIATE");
    if (!code)
        code = number_of(s, "PRAGMA user_version", &version); /* somebody else may have made it meanwhile */
    if (code || version)
        return store_exec(s, "ROLLBACK"), code;
    snprintf(pragmas, sizeof(pragmas), "PRAGMA application_id=%d;PRAGMA user_version=%d;COMMIT", APPLICATION_ID, STORE_VERSION);
    code = store_exec(s, schema);
    if (!code)
        code = store_exec(s, pragmas);
    if (code)
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

/* 0: ours. What is wrong is said in err. */
static int file_check(struct store *s, bool make, char *err, size_t err_size)
{
    s64 id = 0, version = 0, tables = 0;
    int code = number_of(s, "PRAGMA application_id", &id);
    if (!code)
        code = number_of(s, "PRAGMA user_version", &version);
    if (!code)
        code = number_of(s, "SELECT count(*) FROM sqlite_master", &tables);
    if (!code && make && !tables && !version) {
        code = schema_make(s);
        id = APPLICATION_ID, version = STORE_VERSION;
    }
    if (code == -EBADMSG)
        snprintf(
            err, err_size,
            "%s is damaged or no store (%s); move it away and a new one is made, or save what is left: sqlite3 '%s' .recover",
            s->path, s->why, s->path);
    else if (code)
        snprintf(err, err_size, "%s: %s", s->path, s->why);
    else if (id != APPLICATION_ID)
        code = -EBADMSG, snprintf(err, err_size, "%s is %s, not a store of wftrace's; name another file", s->path,
                                  tables ? "another program's database" : "empty");
    else if (version != STORE_VERSION)
        code = -EPROTO,
        snprintf(
            err, err_size,
            "%s is a store of version %lld, this wftrace has version %d; name another file, or use the wftrace that wrote it",
            s->path, (long long)version, STORE_VERSION);
    return code;
}

static int store_prepare(struct store *s)
{
    int code = store_exec(s, "PRAGMA journal_mode=WAL;PRAGMA synchronous=NORMAL;PRAGMA journal_size_limit=16777216;"
                             "PRAGMA cache_size=-16384;PRAGMA temp_store=MEMORY");
    for (int i = 0; !code && i < ST_MAX; i++) {
        int rc = sqlite3_prepare_v3(s->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT, &s->st[i], NULL);
        if (rc != SQLITE_OK)
            code = store_fail(s, rc);
    }
    s->traces = table_new(
        &(struct table_spec){ .key_size = TRACE_ID_LEN, .value_size = sizeof(struct known_trace), .max = TRACES_KNOWN });
    s->resources = table_new(&(struct table_spec){ .key_size = 8, .value_size = 8, .max = 4096 });
    return code ? code : s->traces && s->resources ? 0 : -ENOMEM;
}

static int open_steps(struct store *s, const struct store_options *o, char *err, size_t err_size)
{
    int code = o->read_only ? (access(s->path, R_OK) ? -errno : 0) : folder_make(s->path);
    if (code == -ENOENT && o->read_only)
        return snprintf(err, err_size, "there is no store at %s; write one with --export store", s->path), code;
    if (code)
        return snprintf(err, err_size, "%s: %s", s->path, errno_name(code)), code;
    int rc = sqlite3_open_v2(s->path, &s->db, (o->read_only ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX,
                             NULL);
    if (rc != SQLITE_OK)
        return code = store_fail(s, rc), snprintf(err, err_size, "%s: %s", s->path, s->why), code;
    sqlite3_busy_timeout(s->db, 5000);
    code = file_check(s, !o->read_only, err, err_size);
    if (code || o->read_only)
        return code;
    code = store_prepare(s);
    if (code)
        snprintf(err, err_size, "%s: %s", s->path, s->why);
    return code;
}

int store_open(const struct store_options *o, struct store **ret, char *err, size_t err_size)
{
    struct store *s = calloc(1, sizeof(*s));
    if (!s)
        return snprintf(err, err_size, "out of memory"), -ENOMEM;
    if (o->path && *o->path)
        snprintf(s->path, sizeof(s->path), "%s", o->path);
    else
        store_default_path(s->path, sizeof(s->path));
    s->max_bytes = o->max_bytes ? o->max_bytes : 1ull << 30;
    s->max_age_ns = o->max_age_ns ? o->max_age_ns : 7 * 86400 * NSEC_PER_SEC;
    int code = open_steps(s, o, err, err_size);
    if (code)
        store_close(s);
    else
        *ret = s;
    return code;
}

struct store *store_close(struct store *s)
{
    if (!s)
        return NULL;
    for (int i = 0; i < ST_MAX; i++)
        sqlite3_finalize(s->st[i]);
    sqlite3_close(s->db);
    if (s->traces)
        table_free(s->traces);
    if (s->resources)
        table_free(s->resources);
    free(s->attrs.p);
    free(s->events.p);
    free(s->links.p);
    free(s);
    return NULL;
}

/* --- writing --- */

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

static void bind_json(sqlite3_stmt *st, int at, const struct text *t)
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
    struct table *traces = table_new(
        &(struct table_spec){ .key_size = TRACE_ID_LEN, .value_size = sizeof(struct known_trace), .max = TRACES_KNOWN });
    struct table *resources = table_new(&(struct table_spec){ .key_size = 8, .value_size = 8, .max = 4096 });
    if (traces && resources) {
        table_free(s->traces);
        table_free(s->resources);
        s->traces = traces;
        s->resources = resources;
    }
    return code;
}

#define BATCH 1024 /* below TRACES_KNOWN: a trace of this batch is never forgotten in it */

static int spans_write(struct store *s, struct span *const *v, size_t n)
{
    struct known_trace *list[BATCH];
    u32 traces = 0;
    int code = store_exec(s, "BEGIN IMMEDIATE");
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
    int code = store_exec(s, "BEGIN IMMEDIATE");
    if (code)
        return code;
    for (size_t i = 0; !code && i < n; i++)
        code = log_insert(s, v[i]);
    return transaction_end(s, code);
}

/* --- retention --- */

u64 store_bytes(struct store *s)
{
    s64 pages = 0, free_pages = 0, size = 0;
    if (number_of(s, "PRAGMA page_count", &pages) || number_of(s, "PRAGMA freelist_count", &free_pages) ||
        number_of(s, "PRAGMA page_size", &size))
        return 0;
    return (u64)(pages - free_pages) * (u64)size;
}

/* Traces that started before `before`, oldest first, at most `most`. */
static int drop_oldest(struct store *s, u64 before, u32 most, u32 *ret_n)
{
    char sql[1024];
    snprintf(sql, sizeof(sql),
             "BEGIN IMMEDIATE;"
             "CREATE TEMP TABLE IF NOT EXISTS gone(id INTEGER PRIMARY KEY, start INTEGER);DELETE FROM gone;"
             "INSERT INTO gone SELECT id,start FROM traces WHERE start<%lld ORDER BY start LIMIT %u;"
             "DELETE FROM spans WHERE trace IN (SELECT id FROM gone);"
             "DELETE FROM traces WHERE id IN (SELECT id FROM gone);"
             "DELETE FROM logs WHERE time<=(SELECT max(start) FROM gone);"
             "COMMIT",
             (long long)min_u64(before, INT64_MAX), most);
    int code = store_exec(s, sql);
    if (code)
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    s64 n = 0;
    if (!code)
        code = number_of(s, "SELECT count(*) FROM gone", &n);
    *ret_n = (u32)n;
    return code;
}

static void forget_rows(struct store *s)
{
    struct table *fresh = table_new(
        &(struct table_spec){ .key_size = TRACE_ID_LEN, .value_size = sizeof(struct known_trace), .max = TRACES_KNOWN });
    if (!fresh)
        return;
    table_free(s->traces);
    s->traces = fresh;
}

int store_trim(struct store *s, u64 now)
{
    u32 n = TRIM_TRACES, rounds = 0;
    int code = 0;
    bool any = false;
    u64 bytes = store_bytes(s);
    if (bytes < s->max_bytes && now < s->next_trim && s->next_trim - now <= TRIM_EVERY_NS)
        return 0;
    s->next_trim = now + TRIM_EVERY_NS;
    u64 oldest = now > s->max_age_ns ? now - s->max_age_ns : 0;
    for (; !code && n == TRIM_TRACES && rounds<64; rounds++, any |= n> 0)
        code = drop_oldest(s, oldest, TRIM_TRACES, &n);
    for (n = 1; !code && n && rounds < 128 && (bytes = store_bytes(s)) > s->max_bytes; rounds++, any |= n > 0)
        code = drop_oldest(s, INT64_MAX, TRIM_TRACES, &n);
    if (any) {
        forget_rows(s);
        (void)sqlite3_exec(s->db, "PRAGMA incremental_vacuum(256)", NULL, NULL, NULL);
    }
    return code;
}
