/* Opening: the file, its schema, what is wrong with it. */
#include "store/internal.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define APPLICATION_ID 0x77667472 /* "wftr" */

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

int store_number(struct store *s, const char *pragma, s64 *ret)
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
    /* Only before the first table, outside a transaction. Large pages: fewer of them are copied to the journal and back. */
    int code = store_exec(s, "PRAGMA page_size=16384;PRAGMA auto_vacuum=INCREMENTAL");
    s64 version = 0;
    if (!code)
        code = store_exec(s, "BEGIN IMMEDIATE");
    if (!code)
        code = store_number(s, "PRAGMA user_version", &version); /* somebody else may have made it meanwhile */
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
    int code = store_number(s, "PRAGMA application_id", &id);
    if (!code)
        code = store_number(s, "PRAGMA user_version", &version);
    if (!code)
        code = store_number(s, "SELECT count(*) FROM sqlite_master", &tables);
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
    if (!code)
        code = statements_prepare(s);
    return code ? code : store_forget(s);
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
    s->attrs.max = s->events.max = s->links.max = SIZE_MAX / 2;
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
    json_done(&s->attrs);
    json_done(&s->events);
    json_done(&s->links);
    free(s);
    return NULL;
}
