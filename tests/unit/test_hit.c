/* needs: base config workflow trace self stream protocol ingest */
/* Hits → activities, with the real tracer: nesting by stack pointer, recursion, threads, missed returns, exceptions, tail
 * calls, USDT pairs, outcomes, exec rules. */
#include "workflow/workflow.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct bed {
    struct rules rules;
    struct tracer *tracer;
    struct workflow *w;
    struct span_sink sink;
    struct span *got[64];
    int n;
    u64 now;
    u32 tid;
};

static void keep(struct span_sink *sink, struct span *s)
{
    struct bed *b = container_of(sink, struct bed, sink);
    assert_true(b->n < 64);
    b->got[b->n++] = s;
}

static void drop(struct span_sink *sink, struct span *s)
{
    UNUSED(sink);
    span_unref(s);
}

static const char text[] =
    "activities:\n"
    "  - { name: outer, at: 'native:/b:outer', attributes: { who: arg0:str, res: ret }, error: ret < 0 }\n" /* 0 */
    "  - { name: 'inner {n}', at: 'native:/b:inner', attributes: { n: arg0 } }\n"                           /* 1 */
    "  - { name: io, at: 'native:/b:io', attributes: { e: errno }, error: errno }\n"                        /* 2 */
    "  - { name: pair, at: 'usdt:/b:p:begin', until: p:end, attributes: { n: arg0 } }\n"                    /* 3 */
    "  - { name: tick, at: 'usdt:/b:p:tick', attributes: { n: arg0 } }\n"                                   /* 4 */
    "  - { name: 'run {who}', type: process, at: 'exec:tar*', attributes: { who: 'argv[1]', c: exit }, error: exit != 2 }\n"
    "  - { name: big, at: 'native:/b:big', attributes: { n: arg0 }, when: arg0 > 10, error: attr.n == 99 }\n"; /* 6 */

enum {
    S_OUTER,
    S_OUTER_RET,
    S_INNER,
    S_INNER_RET,
    S_IO,
    S_IO_RET,
    S_BEGIN,
    S_UNTIL,
    S_TICK,
    S_BIG,
    S_BIG_RET,
    S_THROW,
    S_CATCH,
    S_INNER_TAIL
};

static int bed_open(void **state)
{
    struct bed *b = calloc(1, sizeof(*b));
    char err[1024];
    assert_int_equal(rules_parse(&b->rules, "t", text, sizeof(text) - 1, err, sizeof(err)), 0);
    static const struct {
        u32 rule;
        enum site_role role;
        const char *f;
    } rows[] = {
        { 0, SITE_ENTRY, "outer" },
        { 0, SITE_RETURN, "outer" },
        { 1, SITE_ENTRY, "inner" },
        { 1, SITE_RETURN, "inner" },
        { 2, SITE_ENTRY, "io" },
        { 2, SITE_RETURN, "io" },
        { 3, SITE_BEGIN, "p:begin" },
        { 3, SITE_UNTIL, "p:end" },
        { 4, SITE_POINT, "p:tick" },
        { 6, SITE_ENTRY, "big" },
        { 6, SITE_RETURN, "big" },
        { NO_RULE, SITE_THROW, "__cxa_throw" },
        { NO_RULE, SITE_CATCH, "__cxa_begin_catch" },
        { 1, SITE_TAIL, "inner" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        site_add(b->rules.sites, &(struct site_row){ rows[i].rule, rows[i].role, intern(rows[i].f), intern("/b") });
    b->sink.ended = keep;
    b->tracer = tracer_new(&(struct tracer_options){ .wall_minus_boot = 1000, .seed = { 1, 2 } }, &b->sink);
    b->w = workflow_new(&b->rules, b->tracer);
    b->now = 1000;
    b->tid = 7;
    *state = b;
    return 0;
}

static int bed_close(void **state)
{
    struct bed *b = *state;
    workflow_free(b->w);
    tracer_free(b->tracer);
    for (int i = 0; i < b->n; i++)
        span_unref(b->got[i]);
    rules_done(&b->rules);
    free(b);
    return 0;
}

static void send(struct bed *b, struct event *e)
{
    e->time = b->now += 10;
    e->tgid = 7;
    e->tid = b->tid;
    tracer_event(b->tracer, e);
    workflow_event(b->w, e);
}
static void hit(struct bed *b, u32 site, u64 sp, int n, s64 v0, s64 v1)
{
    struct event e = { .type = EVENT_HIT };
    e.hit.site = site;
    e.hit.sp = sp;
    e.hit.n = (u8)n;
    e.hit.v[0] = (u64)v0;
    e.hit.v[1] = (u64)v1;
    send(b, &e);
}
static void hit_text(struct bed *b, u32 site, u64 sp, const char *s)
{
    struct event e = { .type = EVENT_HIT };
    e.hit.site = site;
    e.hit.sp = sp;
    e.hit.n = 1;
    e.hit.strings = 1;
    e.hit.s[0] = slice_str(s);
    send(b, &e);
}
static bool child_of(const struct span *c, const struct span *p) { return !memcmp(c->parent_id, p->id.span_id, SPAN_ID_LEN); }
static const char *str(const struct span *s, const char *key)
{
    const struct attr *a = attr_get(&s->attrs, key);
    return a && a->type == ATTR_STR ? a->s : "";
}
static s64 num(const struct span *s, const char *key)
{
    const struct attr *a = attr_get(&s->attrs, key);
    assert_non_null(a);
    assert_int_equal(a->type, ATTR_INT);
    return a->i;
}

static void nested(void **state)
{
    struct bed *b = *state;
    hit_text(b, S_OUTER, 1000, "Ada");
    hit(b, S_INNER, 900, 1, 5, 0);
    hit(b, S_INNER, 800, 1, 4, 0); /* recursion */
    hit(b, S_INNER_RET, 800, 0, 0, 0);
    hit(b, S_INNER_RET, 900, 0, 0, 0);
    hit(b, S_OUTER_RET, 1000, 1, -3, 0);
    assert_int_equal(b->n, 3);
    assert_string_equal(b->got[0]->name, "inner 4");
    assert_true(child_of(b->got[0], b->got[1]) && child_of(b->got[1], b->got[2]));
    assert_string_equal(str(b->got[2], "who"), "Ada");
    assert_int_equal(num(b->got[2], "res"), -3);
    assert_int_equal(b->got[2]->status, STATUS_ERROR);
    assert_string_equal(str(b->got[2], "error.type"), "-3");
    assert_string_equal(str(b->got[2], "code.function.name"), "outer");
    assert_int_equal(b->got[0]->status, STATUS_UNSET);
    assert_int_equal(b->got[2]->end_ns - b->got[2]->start_ns, 50);
}

static void threads_apart(void **state)
{
    struct bed *b = *state;
    hit_text(b, S_OUTER, 1000, "a");
    b->tid = 8;
    hit(b, S_INNER, 900, 1, 1, 0);
    hit(b, S_OUTER_RET, 1000, 1, 0, 0); /* not this thread's: but calls deeper than 1000 are gone */
    assert_int_equal(b->n, 1);
    assert_false(!strcmp(b->got[0]->name, "outer"));
    b->tid = 7;
    hit(b, S_OUTER_RET, 1000, 1, 0, 0);
    assert_int_equal(b->n, 2);
    assert_false(child_of(b->got[0], b->got[1]));
}

static void missed_returns(void **state)
{
    struct bed *b = *state;
    hit_text(b, S_OUTER, 1000, "a");
    hit(b, S_INNER, 900, 1, 1, 0);
    hit(b, S_INNER, 900, 1, 2, 0); /* the same place again: the first was left by longjmp */
    assert_int_equal(b->n, 1);
    assert_string_equal(str(b->got[0], "error.type"), "unwound");
    hit(b, S_OUTER_RET, 1000, 1, 0, 0);
    assert_int_equal(b->n, 3);
    assert_string_equal(b->got[1]->name, "inner 2");
    assert_true(child_of(b->got[1], b->got[2]));
    /* after a loss nobody can say that it was an error */
    hit(b, S_INNER, 900, 1, 3, 0);
    struct event lost = { .type = EVENT_COMM, .lost = 4 };
    send(b, &lost);
    hit(b, S_INNER, 950, 1, 4, 0);
    assert_string_equal(b->got[3]->name, "inner 3");
    assert_int_equal(b->got[3]->status, STATUS_UNSET);
    assert_non_null(attr_get(&b->got[3]->attrs, "wftrace.unfinished"));
}

static void exceptions(void **state)
{
    struct bed *b = *state;
    hit_text(b, S_OUTER, 1000, "a");
    hit(b, S_INNER, 900, 1, 1, 0);
    hit(b, S_INNER, 800, 1, 2, 0);
    hit_text(b, S_THROW, 700, "N4shop7TooMuchE");
    hit(b, S_CATCH, 950, 0, 0, 0); /* in outer: both inners are gone, outer goes on */
    u64 caught = b->now;
    assert_int_equal(b->n, 2);
    assert_string_equal(b->got[0]->name, "inner 2");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(b->got[i]->status, STATUS_ERROR);
        assert_string_equal(str(b->got[i], "error.type"), "shop::TooMuch");
        assert_int_equal(b->got[i]->n_events, 1);
        assert_int_equal(b->got[i]->end_ns, caught + 1000);
    }
    hit(b, S_OUTER_RET, 1000, 1, 0, 0);
    assert_int_equal(b->got[2]->status, STATUS_UNSET);
    /* a rule with its own idea of an error shows the exception and is no error */
    hit_text(b, S_OUTER, 1000, "b");
    hit_text(b, S_THROW, 700, "St13runtime_error");
    hit(b, S_CATCH, 1100, 0, 0, 0);
    assert_int_equal(b->got[3]->status, STATUS_UNSET);
    assert_int_equal(b->got[3]->n_events, 1);
}

static void err_no(void **state)
{
    struct bed *b = *state;
    hit(b, S_IO, 1000, 0, 0, 0);
    hit(b, S_IO_RET, 1000, 2, 2, -1); /* slots: errno, ret */
    hit(b, S_IO, 1000, 0, 0, 0);
    hit(b, S_IO_RET, 1000, 2, 2, 5); /* errno is stale */
    assert_int_equal(b->n, 2);
    assert_string_equal(str(b->got[0], "error.type"), "ENOENT");
    assert_int_equal(num(b->got[0], "e"), 2);
    assert_non_null(strstr(b->got[0]->status_message, "No such file"));
    assert_int_equal(b->got[1]->status, STATUS_UNSET);
    assert_null(attr_get(&b->got[1]->attrs, "e"));
}

static void usdt(void **state)
{
    struct bed *b = *state;
    hit(b, S_BEGIN, 500, 1, 3, 0);
    hit(b, S_INNER, 900, 1, 1, 0); /* shallower: the pair is no call and stays */
    hit(b, S_TICK, 880, 1, 9, 0);
    hit(b, S_INNER_RET, 900, 0, 0, 0);
    hit(b, S_UNTIL, 480, 0, 0, 0);
    assert_int_equal(b->n, 3);
    assert_string_equal(b->got[0]->name, "tick");
    assert_int_equal(b->got[0]->end_ns, b->got[0]->start_ns);
    assert_true(child_of(b->got[0], b->got[1]) && child_of(b->got[1], b->got[2]));
    assert_int_equal(num(b->got[2], "n"), 3);
}

static void conditions(void **state)
{
    struct bed *b = *state;
    hit(b, S_BIG, 1000, 1, 10, 0);
    hit(b, S_BIG_RET, 1000, 0, 0, 0);
    assert_int_equal(b->n, 0);
    hit(b, S_BIG, 1000, 1, 99, 0);
    hit(b, S_BIG_RET, 1000, 0, 0, 0);
    assert_int_equal(b->n, 1);
    assert_int_equal(b->got[0]->status, STATUS_ERROR);
    assert_string_equal(str(b->got[0], "error.type"), "99");
}

static void tail_and_exit(void **state)
{
    struct bed *b = *state;
    hit(b, S_INNER, 900, 1, 1, 0);
    hit(b, S_INNER_TAIL, 900, 0, 0, 0);
    assert_int_equal(b->n, 1);
    hit_text(b, S_OUTER, 1000, "a");
    struct event e = { .type = EVENT_EXIT };
    send(b, &e);
    bool seen = false;
    for (int i = 0; i < b->n; i++)
        seen |= !strcmp(b->got[i]->name, "outer") && attr_get(&b->got[i]->attrs, "wftrace.unfinished");
    assert_true(seen);
}

static int unfinished(const struct bed *b)
{
    int n = 0;
    for (int i = 0; i < b->n; i++)
        n += attr_get(&b->got[i]->attrs, "wftrace.unfinished") != NULL;
    return n;
}

static void leave_as(struct bed *b, u32 tgid, u32 tid, bool thread)
{
    struct event e = { .type = EVENT_EXIT, .tgid = tgid, .tid = tid, .time = b->now += 10, .exit.thread = thread };
    workflow_event(b->w, &e);
}

/* A thread's end takes its own calls, those of its units too, and nobody else's; a process's end takes the rest. */
static void leaving(void **state)
{
    struct bed *b = *state;
    for (b->tid = 7; b->tid < 12; b->tid++) {
        for (u64 unit = 0; unit < 3; unit++) {
            struct event e = { .type = EVENT_HIT, .unit = unit * 16 };
            e.hit.site = S_OUTER;
            e.hit.sp = 1000;
            send(b, &e);
        }
    }
    leave_as(b, 8, 9, true); /* another process */
    leave_as(b, 8, 9, false);
    leave_as(b, 7, 99, true); /* a thread that owns nothing */
    assert_int_equal(unfinished(b), 0);
    leave_as(b, 7, 9, true);
    assert_int_equal(unfinished(b), 3);
    leave_as(b, 7, 9, true);
    assert_int_equal(unfinished(b), 3);
    b->tid = 10;
    hit_text(b, S_OUTER_RET, 1000, "");
    assert_int_equal(unfinished(b), 3); /* the others still go on, and return */
    assert_int_equal(b->n, 4);
    leave_as(b, 7, 7, false);
    assert_int_equal(unfinished(b), 3 + 4 * 3 - 1);
    leave_as(b, 7, 7, false);
    assert_int_equal(b->n, 15);
}

static void hostile(void **state)
{
    struct bed *b = *state;
    for (int i = 0; i < 2000; i++) /* deeper than is kept */
        hit(b, S_INNER, 1000000 - (u64)i, 1, i, 0);
    hit(b, S_OUTER_RET, 1, 8, 0, 0); /* a return without an entry, unknown sites, values that were not read */
    hit(b, 4000000, 1, 8, 0, 0);
    hit(b, 900, 1, 8, 0, 0);
    assert_int_equal(b->n, 0);
    b->w = workflow_free(b->w);
    b->w = workflow_new(&b->rules, b->tracer);
    struct event e = { .type = EVENT_HIT };
    e.hit.site = S_INNER;
    e.hit.sp = 5;
    e.hit.n = 8;
    e.hit.failed = 0xff;
    send(b, &e);
    hit(b, S_INNER_RET, 5, 0, 0, 0);
    assert_int_equal(b->n, 1);
    assert_null(attr_get(&b->got[0]->attrs, "n"));
    b->sink.ended = drop; /* the 512 that are open */
}

static void commands(void **state)
{
    struct bed *b = *state;
    static const char args[] = "/usr/bin/tar\0-cf\0x";
    struct slice a = slice_of(args, sizeof(args) - 1);
    const struct exec_image tar = { slice_str("/usr/bin/tar"), a, "make", 7, slice_of("", 0) },
                            cat = { slice_str("/usr/bin/cat"), a, "", 0, slice_of("", 0) }, none = { .args = a };
    const struct rule *r = workflow_exec_rule(&b->rules, &tar);
    assert_non_null(r);
    assert_null(workflow_exec_rule(&b->rules, &cat));
    assert_null(workflow_exec_rule(&b->rules, &none));
    struct span *s = span_new();
    workflow_exec_begin(r, &tar, s);
    assert_string_equal(s->name, "run -cf");
    s->status = STATUS_ERROR;
    workflow_exec_end(r, 2 << 8, s);
    assert_int_equal(s->status, STATUS_UNSET); /* the rule says that 2 is fine */
    assert_int_equal(num(s, "c"), 2);
    workflow_exec_end(r, 9, s);
    assert_string_equal(str(s, "error.type"), "SIGKILL");
    span_unref(s);
}

#define T(f) cmocka_unit_test_setup_teardown(f, bed_open, bed_close)
int main(void)
{
    const struct CMUnitTest tests[] = { T(nested),     T(threads_apart), T(missed_returns), T(exceptions), T(err_no), T(usdt),
                                        T(conditions), T(tail_and_exit), T(leaving),        T(commands),   T(hostile) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
