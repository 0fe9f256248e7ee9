/* needs: base self trace stream protocol ingest store */
#include "store/internal.h"

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define WALL (1700000000ull * NSEC_PER_SEC)

static char dir[64], path[128];

static int setup(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/wf-store-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof(path), "%s/deep/er/s.db", dir);
    return 0;
}

static int teardown(void **state)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf %s", dir);
    return system(command);
}

static struct store *opened(bool read_only)
{
    struct store *s = NULL;
    char err[512] = "";
    if (store_open(&(struct store_options){ .path = path, .read_only = read_only }, &s, err, sizeof(err)))
        fail_msg("%s", err);
    return s;
}

static struct resource *resource_named(const char *service)
{
    struct resource *r = resource_new();
    attr_str(&r->attrs, "service.name", slice_str(service));
    attr_int(&r->attrs, "process.pid", 77);
    return r;
}

static struct span *span_of(u8 trace, u8 id, u8 parent, const char *name, u64 start, u64 took)
{
    struct span *s = span_new();
    memset(s->id.trace_id, trace, TRACE_ID_LEN);
    s->id.span_id[0] = id;
    s->parent_id[0] = parent;
    s->id.flags = 1;
    s->kind = SPAN_SERVER;
    s->start_ns = WALL + start;
    s->end_ns = WALL + start + took;
    s->resource = resource_named("shop");
    s->scope = "http1";
    span_set_name(s, slice_str(name));
    return s;
}

static void add(struct store *s, struct span *sp)
{
    assert_int_equal(store_add_spans(s, &sp, 1), 0);
    span_unref(sp);
}

struct seen {
    u32 n;
    struct store_trace last;
    char name[64], service[64], list[256];
};

static bool trace_seen(void *arg, const struct store_trace *t)
{
    struct seen *seen = arg;
    size_t at = strlen(seen->list);
    seen->n++;
    seen->last = *t;
    snprintf(seen->name, sizeof(seen->name), "%s", t->name);
    snprintf(seen->service, sizeof(seen->service), "%s", t->service);
    snprintf(seen->list + at, sizeof(seen->list) - at, "%02x ", t->trace_id[0]);
    return true;
}

static struct seen query(struct store *s, struct store_query q)
{
    struct seen seen = { 0 };
    assert_int_equal(store_each_trace(s, &q, trace_seen, &seen), 0);
    return seen;
}

static bool span_same(void *arg, struct span *s)
{
    const struct span *w = *(struct span **)arg;
    assert_memory_equal(&s->id, &w->id, sizeof(s->id));
    assert_memory_equal(s->parent_id, w->parent_id, SPAN_ID_LEN);
    assert_string_equal(s->name, w->name);
    assert_string_equal(s->scope, w->scope);
    assert_string_equal(s->status_message, w->status_message);
    assert_string_equal(s->tracestate, w->tracestate);
    assert_int_equal(s->kind, w->kind);
    assert_int_equal(s->status, w->status);
    assert_int_equal(s->join, w->join);
    assert_int_equal(s->remote_parent, w->remote_parent);
    assert_int_equal(s->start_ns, w->start_ns);
    assert_int_equal(s->end_ns, w->end_ns);
    assert_int_equal(s->attrs.n, w->attrs.n);
    for (u16 i = 0; i < w->attrs.n; i++) {
        const struct attr *a = &w->attrs.v[i], *b = attr_get(&s->attrs, a->key);
        assert_non_null(b);
        assert_int_equal(a->type, b->type);
        if (a->type == ATTR_STR || a->type == ATTR_STRV) {
            assert_int_equal(a->len, b->len);
            assert_memory_equal(a->s, b->s, a->len);
        } else if (a->type == ATTR_BOOL) {
            assert_int_equal(a->b, b->b);
        } else {
            assert_memory_equal(&a->i, &b->i, 8);
        }
    }
    struct span_event room;
    assert_int_equal(s->n_events, 1);
    assert_int_equal(span_event_count(s), 9);
    assert_int_equal(span_event_at(s, 8, &room)->time_ns, 107);
    assert_string_equal(room.name, "gen_ai.chunk");
    assert_string_equal(room.attrs[0].key, "size");
    assert_int_equal(room.attrs[0].i, 7);
    assert_string_equal(s->events[0].attrs[1].s, "no \"more\"\n");
    assert_int_equal(s->n_links, 1);
    assert_memory_equal(s->links[0].to.span_id, w->links[0].to.span_id, SPAN_ID_LEN);
    assert_string_equal(s->links[0].why, "edge");
    assert_string_equal(resource_service(s->resource), "shop");
    assert_int_equal(s->tgid, 77);
    return true;
}

static void a_span_comes_back_as_it_was(void **state)
{
    struct store *s = opened(false);
    struct stat st;
    struct span *w = span_of(0xab, 1, 2, "POST \"/x\"\\", 5, 10);
    struct slice list[] = { slice_str("a"), slice_str(""), slice_str("c\"d") };
    attr_str(&w->attrs, "text", slice_str("tab\tquote\" backslash\\ \xc3\xa9"));
    attr_int(&w->attrs, "int", INT64_MIN);
    attr_double(&w->attrs, "pi", 3.141592653589793);
    attr_double(&w->attrs, "two", 2.0);
    attr_bool(&w->attrs, "yes", true);
    attr_strv(&w->attrs, "list", list, 3);
    span_set_error(w, slice_str("it's broken"));
    span_add_exception(w, 9, slice_str("E"), slice_str("no \"more\"\n"), slice_of(NULL, 0));
    span_set_marks(w, span_marks_new("gen_ai.chunk", "size", 8));
    for (u32 i = 0; i < 8; i++)
        span_mark(w->marks, 100 + i, i);
    span_add_link(w, &(struct span_context){ { 1 }, { 2 }, 0 }, "edge");
    span_set_tracestate(w, "a=b");
    w->remote_parent = true;
    w->join = JOIN_WIRE;
    assert_int_equal(store_add_spans(s, &w, 1), 0);
    assert_int_equal(store_each_span(s, w->id.trace_id, span_same, &w), 0);
    span_unref(w);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    store_close(s);
}

static void traces_add_up_over_batches(void **state)
{
    struct store *s = opened(false);
    struct span *child = span_of(1, 2, 1, "child", 10, 20), *root = span_of(1, 1, 0, "root", 0, 100);
    span_set_error(child, slice_str("x"));
    add(s, child);
    struct seen seen = query(s, (struct store_query){ 0 });
    assert_string_equal(seen.name, "child");
    add(s, root);
    seen = query(s, (struct store_query){ 0 });
    assert_int_equal(seen.n, 1);
    assert_string_equal(seen.name, "root");
    assert_string_equal(seen.service, "shop");
    assert_int_equal(seen.last.spans, 2);
    assert_int_equal(seen.last.errors, 1);
    assert_int_equal(seen.last.start_ns, WALL);
    assert_int_equal(seen.last.end_ns, WALL + 100);
    store_close(s);
    s = opened(false); /* a later run goes on with the same trace and resource */
    add(s, span_of(1, 3, 1, "late", 90, 50));
    seen = query(s, (struct store_query){ 0 });
    assert_int_equal(seen.n, 1);
    assert_int_equal(seen.last.spans, 3);
    assert_string_equal(seen.name, "root");
    store_close(s);
}

static void questions(void **state)
{
    struct store *s = opened(false);
    for (u8 i = 1; i <= 5; i++) {
        struct span *sp = span_of(i, 1, 0, i % 2 ? "GET /odd" : "GET /even", i * NSEC_PER_SEC, i * NSEC_PER_MSEC);
        attr_int(&sp->attrs, "http.response.status_code", 200 + i);
        attr_bool(&sp->attrs, "cached", i == 3);
        if (i == 4)
            span_set_error(sp, slice_str("x"));
        if (i == 5) {
            resource_unref(sp->resource);
            sp->resource = resource_named("billing");
        }
        add(s, sp);
    }
    assert_string_equal(query(s, (struct store_query){ 0 }).list, "05 04 03 02 01 ");
    assert_string_equal(query(s, (struct store_query){ .last = 2 }).list, "05 04 ");
    assert_string_equal(query(s, (struct store_query){ .errors = true }).list, "04 ");
    assert_string_equal(query(s, (struct store_query){ .service = "bill*" }).list, "05 ");
    assert_string_equal(query(s, (struct store_query){ .name = "*even" }).list, "04 02 ");
    assert_string_equal(query(s, (struct store_query){ .since_ns = WALL + 4 * NSEC_PER_SEC }).list, "05 04 ");
    assert_string_equal(query(s, (struct store_query){ .min_ns = 4 * NSEC_PER_MSEC }).list, "05 04 ");
    assert_string_equal(query(s, (struct store_query){ .attr = { { "http.response.status_code", "203" } }, .n_attrs = 1 }).list,
                        "03 ");
    assert_string_equal(query(s, (struct store_query){ .attr = { { "cached", "true" } }, .n_attrs = 1 }).list, "03 ");
    assert_string_equal(
        query(s, (struct store_query){ .attr = { { "service.name", "billing" }, { "cached", "false" } }, .n_attrs = 2 }).list,
        "05 ");
    assert_string_equal(query(s, (struct store_query){ .name = "x' OR 1=1 --" }).list, "");
    u8 id[TRACE_ID_LEN];
    assert_int_equal(store_find(s, "03", id), 0);
    assert_int_equal(id[15], 3);
    assert_int_equal(store_find(s, "0", id), -EEXIST);
    assert_int_equal(store_find(s, "09", id), -ENOENT);
    assert_int_equal(store_find(s, "xy", id), -EINVAL);
    assert_int_equal(store_find(s, "", id), -EINVAL);
    store_close(s);
}

static void read_while_written(void **state)
{
    struct store *w = opened(false);
    add(w, span_of(1, 1, 0, "one", 0, 1));
    struct store *r = opened(true);
    assert_int_equal(query(r, (struct store_query){ 0 }).n, 1);
    add(w, span_of(2, 1, 0, "two", 0, 1));
    assert_int_equal(query(r, (struct store_query){ 0 }).n, 2);
    struct store *second = opened(false); /* the lane of the logs */
    struct log_record *l = log_new(slice_str("a line"));
    l->time_ns = WALL;
    l->resource = resource_named("shop");
    assert_int_equal(store_add_logs(second, &l, 1), 0);
    log_unref(l);
    add(w, span_of(3, 1, 0, "three", 0, 1));
    assert_int_equal(query(r, (struct store_query){ 0 }).n, 3);
    store_close(second);
    store_close(r);
    store_close(w);
}

static void the_old_goes(void **state)
{
    struct store *s = opened(false);
    add(s, span_of(1, 1, 0, "old", 0, 1));
    add(s, span_of(2, 1, 0, "new", 8 * 86400 * NSEC_PER_SEC, 1));
    assert_int_equal(store_trim(s, WALL + 8 * 86400 * NSEC_PER_SEC), 0);
    assert_string_equal(query(s, (struct store_query){ 0 }).list, "02 ");
    add(s, span_of(1, 2, 1, "straggler", 0, 1)); /* its trace is gone: a new row, no error */
    assert_int_equal(query(s, (struct store_query){ 0 }).n, 2);
    store_close(s);
}

static void size_is_bounded(void **state)
{
    struct store *s = NULL;
    char err[256], big[2000];
    assert_int_equal(store_open(&(struct store_options){ .path = path, .max_bytes = 4 << 20 }, &s, err, sizeof(err)), 0);
    memset(big, 'x', sizeof(big));
    for (u32 i = 0; i < 6000; i++) {
        struct span *sp = span_of(0, 1, 0, "x", i * NSEC_PER_SEC, 1);
        memcpy(sp->id.trace_id, &(u32){ i + 1 }, 4);
        attr_str(&sp->attrs, "big", slice_of(big, sizeof(big)));
        add(s, sp);
        assert_int_equal(store_trim(s, WALL + i * NSEC_PER_SEC), 0);
    }
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_true(store_bytes(s) <= 5 << 20);
    assert_true(st.st_size <= 8 << 20);
    struct seen seen = query(s, (struct store_query){ .last = 1 });
    u32 newest;
    memcpy(&newest, seen.last.trace_id, 4);
    assert_int_equal(newest, 6000);
    assert_true(query(s, (struct store_query){ 0 }).n > 500);
    store_close(s);
}

static bool service_same(void *arg, struct span *s)
{
    assert_string_equal(resource_service(s->resource), arg);
    return true;
}

/* Descriptions of processes go with the last span that had them; who lives keeps its own. */
static void resources_go_with_their_spans(void **state)
{
    struct store *s = opened(false);
    struct resource *lasting = resource_named("lasting");
    u64 day = 86400 * NSEC_PER_SEC;
    s64 n = 0;
    for (u32 i = 0; i < 1500; i++) {
        char name[32];
        struct span *sp = span_of(0, 1, 0, "x", i, 1);
        snprintf(name, sizeof(name), "short-%u", i);
        memcpy(sp->id.trace_id, &(u32){ i + 1 }, 4);
        resource_unref(sp->resource);
        sp->resource = i ? resource_named(name) : resource_ref(lasting);
        add(s, sp);
    }
    for (u8 i = 0; i < 2; i++) { /* the second is written after the unused ones are gone */
        struct span *sp = span_of(200, i + 1, i, "now", 8 * day, 1);
        resource_unref(sp->resource);
        sp->resource = resource_ref(lasting);
        add(s, sp);
        assert_int_equal(store_trim(s, WALL + 8 * day), 0);
    }
    assert_int_equal(store_number(s, "SELECT count(*) FROM resources", &n), 0);
    assert_int_equal(n, 1);
    u8 id[TRACE_ID_LEN];
    memset(id, 200, sizeof(id));
    assert_int_equal(store_each_span(s, id, service_same, (void *)(uintptr_t) "lasting"), 0);
    resource_unref(lasting);
    store_close(s);
}

/* A write that fails leaves nothing behind and does not stop the next. */
static void a_full_disk_loses_only_what_is_told(void **state)
{
    struct store *s = opened(false);
    struct rlimit was, now;
    struct span *v[200];
    add(s, span_of(1, 1, 0, "before", 0, 1));
    for (u32 i = 0; i < 200; i++) {
        v[i] = span_of(2, (u8)i, 0, "x", i, 1);
        for (u32 k = 0; k < 20; k++) {
            char key[16];
            snprintf(key, sizeof(key), "k%u", k);
            attr_str(&v[i]->attrs, intern(key),
                     slice_str("0123456789012345678901234567890123456789012345678901234567890123456789"));
        }
    }
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &was);
    now = (struct rlimit){ 150000, was.rlim_max };
    setrlimit(RLIMIT_FSIZE, &now);
    assert_true(store_add_spans(s, v, 200) < 0);
    assert_true(*store_why(s));
    assert_int_equal(query(s, (struct store_query){ 0 }).n, 1);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_int_equal(store_add_spans(s, v, 200), 0);
    struct seen seen = query(s, (struct store_query){ 0 });
    assert_int_equal(seen.n, 2);
    assert_string_equal(seen.list, "02 01 ");
    for (u32 i = 0; i < 200; i++)
        span_unref(v[i]);
    store_close(s);
}

static int open_error(const char *file, bool read_only, char *err, size_t size)
{
    struct store *s = NULL;
    int code = store_open(&(struct store_options){ .path = file, .read_only = read_only }, &s, err, size);
    store_close(s);
    return code;
}

static void what_is_no_store_is_told(void **state)
{
    char err[600], file[160];
    snprintf(file, sizeof(file), "%s/none.db", dir);
    assert_int_equal(open_error(file, true, err, sizeof(err)), -ENOENT);
    assert_non_null(strstr(err, "--export store"));
    int fd = open(file, O_CREAT | O_WRONLY, 0600);
    for (int i = 0; i < 100; i++)
        assert_int_equal(write(fd, "this is no database. ", 21), 21);
    close(fd);
    assert_int_equal(open_error(file, false, err, sizeof(err)), -EBADMSG);
    assert_non_null(strstr(err, "move it away"));
    store_close(opened(false));
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=99", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(open_error(path, false, err, sizeof(err)), -EPROTO);
    assert_non_null(strstr(err, "version 99"));
    assert_int_equal(sqlite3_exec(db, "PRAGMA user_version=1;PRAGMA application_id=5", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    assert_int_equal(open_error(path, false, err, sizeof(err)), -EBADMSG);
    assert_non_null(strstr(err, "another program's database"));
}

/* Damage in the middle: an error, no crash, at every page. */
static void damage_is_an_error(void **state)
{
    struct store *s = opened(false);
    for (u32 i = 0; i < 300; i++)
        add(s, span_of((u8)(i + 1), (u8)i, 0, "a name of some length for a span", i, 1));
    store_close(s);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    u32 failed = 0;
    for (off_t at = 0; at < st.st_size; at += 4096) {
        u8 old[4096], junk[4096];
        int fd = open(path, O_RDWR);
        assert_int_equal(pread(fd, old, 4096, at), 4096);
        memset(junk, 0xa5, sizeof(junk));
        assert_int_equal(pwrite(fd, junk, 4096, at), 4096);
        close(fd);
        char err[600];
        struct store *d = NULL;
        int code = store_open(&(struct store_options){ .path = path }, &d, err, sizeof(err));
        if (!code) {
            struct seen seen = { 0 };
            struct store_query q = { .name = "*", .attr = { { "a", "b" } } };
            struct span *sp = span_of(9, 9, 0, "x", 0, 1);
            code = store_each_trace(d, &q, trace_seen, &seen);
            code = code ? code : store_add_spans(d, &sp, 1);
            span_unref(sp);
        }
        failed += code != 0;
        store_close(d);
        fd = open(path, O_RDWR);
        assert_int_equal(pwrite(fd, old, 4096, at), 4096);
        close(fd);
    }
    assert_true(failed > 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_span_comes_back_as_it_was),
        T(traces_add_up_over_batches),
        T(questions),
        T(read_while_written),
        T(the_old_goes),
        T(size_is_bounded),
        T(resources_go_with_their_spans),
        T(a_full_disk_loses_only_what_is_told),
        T(what_is_no_store_is_told),
        T(damage_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
