/* needs: base trace self stream protocol ingest */
/* Whose activity is it: one test per rule of docs/architecture.md's «Parents», each with the case that must stay without
 * a parent beside the case that has one. */
#include "trace/internal.h"
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <cmocka.h>

#define PID 100
static struct span *got[256];
static size_t n_got;
static struct span_sink sink;
static struct tracer *t;
static u64 now = 1000;

static void on_ended(struct span_sink *s, struct span *span) { got[n_got++] = span; }

static int setup(void **state)
{
    sink.ended = on_ended;
    n_got = 0;
    now = 1000;
    t = tracer_new(&(struct tracer_options){ .seed = { 1, 2 }, .wall_minus_boot = 0 }, &sink);
    return 0;
}

static int teardown(void **state)
{
    t = tracer_free(t);
    for (size_t i = 0; i < n_got; i++)
        span_unref(got[i]);
    return 0;
}

static struct event ev(enum event_type type, u32 tgid, u32 tid, u64 unit)
{
    now += 1000;
    return (struct event){ .type = type, .time = now, .tgid = tgid, .tid = tid, .unit = unit };
}

static void feed(struct event e) { tracer_event(t, &e); }

static void spawn_as(u32 pid, const char *seen, const char *runtime, const char *more)
{
    static char info[128];
    int n = snprintf(info, sizeof(info), "exe=/bin/x%cseen=%s%c%s%c%s", 0, seen, 0, runtime, 0, more);
    struct event e = ev(EVENT_PROCINFO, pid, pid, 0);
    e.procinfo.text = slice_of(info, (size_t)n + 1);
    if (!strcmp(seen, "start")) {
        struct event x = ev(EVENT_EXEC, pid, pid, 0);
        x.exec.filename = slice_str("/bin/x");
        feed(x);
    }
    feed(e);
}

static void spawn(u32 pid, bool python, const char *seen) { spawn_as(pid, seen, python ? "python=3.11" : "k=v", "k=v"); }

static void edge(u32 tid, u64 parent, u64 child)
{
    struct event e = ev(EVENT_EDGE, PID, tid, parent);
    e.edge.parent = parent;
    e.edge.child = child;
    feed(e);
}

static void hand(enum event_type type, u32 tid, u64 unit, u64 key)
{
    struct event e = ev(type, PID, tid, unit);
    e.handover.key = key;
    feed(e);
}

static void thread_made(u32 by, u32 tid)
{
    struct event f = ev(EVENT_FORK, PID, by, 0);
    f.fork.child_tgid = PID;
    f.fork.child_tid = tid;
    f.fork.thread = true;
    feed(f);
}

static const struct protocol fake = { .name = "fake" };
struct call {
    struct conn_info c;
    struct exchange x;
    struct message m;
    void *handle;
};

static struct call *call_begin(bool server, u64 conn, u32 tid, u64 unit, const char *traceparent)
{
    struct call *k = calloc(1, sizeof(*k));
    struct event data = ev(EVENT_DATA, PID, tid, unit);
    feed(data);
    k->c = (struct conn_info){
        .id = conn, .family = AF_INET, .role = server ? CONN_SERVER : CONN_CLIENT, .tgid = PID, .was_open = true
    };
    k->x = (struct exchange){ .protocol = &fake, .conn = &k->c, .start = now, .tid = tid, .unit = unit };
    message_clear(&k->m);
    snprintf(k->m.name, sizeof(k->m.name), "%s", server ? "server" : "client");
    snprintf(k->m.traceparent, sizeof(k->m.traceparent), "%s", traceparent ? traceparent : "");
    struct exchange_sink *s = tracer_exchanges(t);
    k->handle = s->begin(s, &k->x, &k->m);
    return k;
}

/* Ends the call; the span is the last in got[], unless it waits for its thread's answer. */
static struct span *call_end(struct call *k, u32 tid)
{
    now += 1000;
    struct exchange_answer a = { .how = EXCHANGE_ANSWERED, .first = now, .last = now, .tid = tid };
    struct exchange_sink *s = tracer_exchanges(t);
    struct activity *act = k->handle;
    struct span *span = act->span;
    s->end(s, k->handle, &k->x, NULL, &a);
    free(k);
    return span;
}

static void has_parent(const struct span *child, const struct span_context *parent, enum join join)
{
    assert_memory_equal(child->parent_id, parent->span_id, 8);
    assert_memory_equal(child->id.trace_id, parent->trace_id, 16);
    assert_int_equal(child->join, join);
}

static void has_none(const struct span *child)
{
    static const u8 zero[8];
    assert_memory_equal(child->parent_id, zero, 8);
    assert_int_equal(child->join, JOIN_UNKNOWN);
}

#define ID(k) (((struct activity *)(k)->handle)->span->id)

static void same_thread(void **state)
{
    spawn(PID, false, "start");
    struct call *a = call_begin(true, 1, 101, 0, NULL);
    struct span_context id = ID(a);
    has_parent(call_end(call_begin(false, 2, 101, 0, NULL), 101), &id, JOIN_UNIT);
    call_end(a, 101);
}

/* One event loop, two requests open: nobody can tell. */
static void two_requests_on_a_thread(void **state)
{
    spawn(PID, false, "start");
    struct call *a = call_begin(true, 1, 101, 0, NULL), *b = call_begin(true, 3, 101, 0, NULL);
    struct span_context second = ID(b);
    has_none(call_end(call_begin(false, 2, 101, 0, NULL), 101));
    call_end(a, 101);
    has_parent(call_end(call_begin(false, 2, 101, 0, NULL), 101), &second, JOIN_UNIT);
    call_end(b, 101);
}

static void asyncio_context(void **state)
{
    spawn(PID, true, "start");
    edge(101, 0x10, 0x20); /* the loop makes the connection's reader context */
    edge(101, 0x10, 0x21);
    struct call *a = call_begin(true, 1, 101, 0x20, NULL), *b;
    struct span_context ia = ID(a), ib;
    edge(101, 0x20, 0x30); /* a's task */
    b = call_begin(true, 2, 101, 0x21, NULL);
    ib = ID(b);
    edge(101, 0x21, 0x31);
    edge(101, 0x30, 0x40); /* gather: a child of a's task */
    has_parent(call_end(call_begin(false, 9, 101, 0x31, NULL), 101), &ib, JOIN_EDGE);
    has_parent(call_end(call_begin(false, 9, 101, 0x40, NULL), 101), &ia, JOIN_EDGE);
    has_parent(call_end(call_begin(false, 9, 105, 0x30, NULL), 105), &ia, JOIN_EDGE); /* to_thread */
    call_end(a, 101);
    has_none(call_end(call_begin(false, 9, 101, 0x40, NULL), 101)); /* the label died with its request */
    call_end(b, 101);
}

/* uvloop reads in the base context; one server context makes every request's task right after. */
static void uvloop_reads_in_the_base_context(void **state)
{
    spawn(PID, true, "start");
    edge(101, 0x5, 0x20); /* the server's context */
    edge(101, 0x5, 0x60); /* a background task's */
    struct call *a = call_begin(true, 1, 101, 0x7, NULL);
    struct span_context ia = ID(a);
    edge(101, 0x20, 0x30);
    edge(101, 0x20, 0x32);
    struct call *b = call_begin(true, 2, 101, 0x7, NULL);
    struct span_context ib = ID(b);
    edge(101, 0x20, 0x31);
    edge(101, 0x60, 0x70); /* the background task is not the first maker since the read */
    has_parent(call_end(call_begin(false, 9, 101, 0x30, NULL), 101), &ia, JOIN_EDGE);
    has_parent(call_end(call_begin(false, 9, 101, 0x31, NULL), 101), &ib, JOIN_EDGE);
    has_none(call_end(call_begin(false, 9, 101, 0x70, NULL), 101));
    struct call *c = call_begin(true, 3, 101, 0x7, NULL);
    edge(101, 0x60, 0x71); /* … and has been seen to act by itself since */
    has_none(call_end(call_begin(false, 9, 101, 0x71, NULL), 101));
    call_end(a, 101);
    call_end(b, 101);
    call_end(c, 101);
}

/* Requests read in one go on one connection: the task made then is the first one's. Its successor makes the next task after its
 * answer: of which request, nobody told. */
static void uvloop_pipelined(void **state)
{
    spawn(PID, true, "start");
    edge(101, 0x5, 0x20);
    struct call *a = call_begin(true, 1, 101, 0x7, NULL), *b = calloc(1, sizeof(*b));
    struct span_context ia = ID(a);
    *b = *a; /* no event in between */
    b->x.number = 1;
    b->handle = tracer_exchanges(t)->begin(tracer_exchanges(t), &b->x, &b->m);
    edge(101, 0x20, 0x30);
    has_parent(call_end(call_begin(false, 9, 101, 0x30, NULL), 101), &ia, JOIN_EDGE);
    call_end(a, 101);
    edge(101, 0x30, 0x31);
    has_none(call_end(call_begin(false, 9, 101, 0x31, NULL), 101));
    call_end(b, 101);
}

static void executor_hand_over(void **state)
{
    spawn(PID, true, "start");
    struct call *a = call_begin(true, 1, 101, 0, NULL), *b = call_begin(true, 2, 102, 0, NULL);
    struct span_context ia = ID(a), ib = ID(b);
    hand(EVENT_TAKE, 110, 0, 0);
    hand(EVENT_PUT, 101, 0, 0xaaa);
    hand(EVENT_PUT, 102, 0, 0xbbb);
    hand(EVENT_TAKE, 110, 0, 0xbbb);
    hand(EVENT_TAKE, 111, 0, 0xaaa);
    has_parent(call_end(call_begin(false, 9, 110, 0, NULL), 110), &ib, JOIN_EDGE);
    has_parent(call_end(call_begin(false, 9, 111, 0, NULL), 111), &ia, JOIN_EDGE);
    hand(EVENT_TAKE, 110, 0, 0); /* waits again: the label ends */
    has_none(call_end(call_begin(false, 9, 110, 0, NULL), 110));
    hand(EVENT_PUT, 101, 0, 0xccc);
    hand(EVENT_PUT, 102, 0, 0xccc); /* one object queued twice: poison */
    hand(EVENT_TAKE, 110, 0, 0xccc);
    has_none(call_end(call_begin(false, 9, 110, 0, NULL), 110));
    call_end(a, 101);
    call_end(b, 102);
}

static void pool_closure_by_answer(void **state)
{
    spawn(PID, false, "start");
    struct call *a = call_begin(true, 1, 101, 0, NULL), *b = call_begin(true, 2, 101, 0, NULL);
    struct span_context ib = ID(b), ia = ID(a);
    struct span *one = call_end(call_begin(false, 9, 110, 0, NULL), 110);
    size_t before = n_got;
    struct call *running = call_begin(false, 8, 111, 0, NULL);
    call_end(b, 110);
    assert_int_equal(n_got, before + 2);
    has_parent(one, &ib, JOIN_ANSWER);
    struct span *other = call_end(running, 111);
    call_end(a, 111);
    has_parent(other, &ia, JOIN_ANSWER);
}

/* A call that began before the request was read cannot be its work. */
static void closure_needs_order(void **state)
{
    spawn(PID, false, "start");
    struct call *a = call_begin(true, 1, 101, 0, NULL);
    struct span *early = call_end(call_begin(false, 9, 110, 0, NULL), 110);
    struct call *b = call_begin(true, 2, 101, 0, NULL);
    call_end(b, 110);
    has_none(early);
    call_end(a, 101);
}

static void processes(void **state)
{
    spawn(PID, false, "start");
    struct event f = ev(EVENT_FORK, PID, PID, 0);
    f.fork.child_tgid = f.fork.child_tid = 200;
    feed(f);
    struct event x = ev(EVENT_EXEC, 200, 200, 0);
    x.exec.filename = slice_str("/usr/bin/sleep");
    x.exec.ppid = PID;
    feed(x);
    struct event end = ev(EVENT_EXIT, 200, 200, 0);
    end.exit.status = 3 << 8;
    feed(end);
    assert_int_equal(n_got, 1);
    struct span *child = got[0];
    assert_string_equal(child->name, "sleep");
    assert_int_equal(attr_get(&child->attrs, "process.exit.code")->i, 3);
    assert_int_equal(child->status, STATUS_ERROR);
    end = ev(EVENT_EXIT, PID, PID, 0);
    end.exit.status = 9;
    feed(end);
    assert_int_equal(n_got, 2);
    has_parent(child, &got[1]->id, JOIN_PROCESS);
    assert_string_equal(attr_get(&got[1]->attrs, "wftrace.process.signal")->s, "SIGKILL");
    assert_int_equal(got[1]->join, JOIN_ROOT);
}

static void run_piped(u32 pid, u32 ppid, const char *name, u64 in, u64 out)
{
    struct event f = ev(EVENT_FORK, ppid, ppid, 0), x = ev(EVENT_EXEC, pid, pid, 0), p = ev(EVENT_PIPES, pid, pid, 0);
    f.fork.child_tgid = f.fork.child_tid = pid;
    feed(f);
    if (!name) /* a subshell */
        return;
    x.exec.filename = slice_str(name);
    x.exec.ppid = ppid;
    feed(x);
    p.pipes.in = in;
    p.pipes.out = out;
    if (in || out)
        feed(p);
}

static const struct span *ended(u32 pid)
{
    feed(ev(EVENT_EXIT, pid, pid, 0));
    return got[n_got - 1];
}

static void links_are(const struct span *s, const struct span *a, const struct span *b)
{
    const struct span *want[] = { a, b };
    size_t n = !!a + !!b;
    assert_int_equal(s->n_links, n);
    for (size_t i = 0; i < n; i++) {
        assert_memory_equal(s->links[i].to.span_id, want[i]->id.span_id, SPAN_ID_LEN);
        assert_string_equal(s->links[i].why, "pipe");
    }
}

/* a | b | ( c; d ) | e, in whatever order they come; what b starts has b's ends and is no member. */
static void pipelines(void **state)
{
    spawn(PID, false, "start");
    run_piped(202, PID, "/bin/b", 11, 12);
    run_piped(201, PID, "/bin/a", 0, 11);
    run_piped(210, 202, "/bin/of-b", 11, 12);
    const struct span *a = ended(201), *of_b = ended(210), *b = ended(202);
    run_piped(203, PID, NULL, 0, 0);
    run_piped(204, 203, "/bin/c", 12, 13);
    const struct span *c = ended(204);
    run_piped(206, PID, "/bin/e", 13, 0);
    run_piped(205, 203, "/bin/d", 12, 13);
    const struct span *d = ended(205), *e = ended(206);
    run_piped(207, PID, "/bin/f", 14, 14); /* reads what it writes itself */
    run_piped(208, PID, "/bin/g", 0, 0);
    links_are(b, a, NULL);
    links_are(of_b, NULL, NULL);
    links_are(c, b, NULL);
    links_are(d, b, NULL);
    links_are(e, c, d);
    links_are(ended(207), NULL, NULL);
    links_are(ended(208), NULL, NULL);
}

/* The number of a process that has ended is another's, whose fork nobody told of: its maker's child it is not. */
static void a_number_used_again(void **state)
{
    spawn(PID, false, "start");
    struct event f = ev(EVENT_FORK, PID, PID, 0);
    f.fork.child_tgid = f.fork.child_tid = 200;
    feed(f);
    for (u32 ppid = PID;; ppid = 1) {
        struct event x = ev(EVENT_EXEC, 200, 200, 0);
        x.exec.filename = slice_str("/bin/x");
        x.exec.ppid = ppid;
        feed(x);
        feed(ev(EVENT_EXIT, 200, 200, 0));
        if (ppid == 1)
            break;
    }
    assert_int_equal(n_got, 2);
    assert_int_equal(got[0]->join, JOIN_PROCESS);
    assert_int_equal(got[1]->join, JOIN_ROOT);
    assert_int_equal(attr_get(&got[1]->attrs, "process.parent_pid")->i, 1);
}

/* A process whose end was lost is ended when its number comes again; what waits on its thread's number is let go. */
static void a_number_whose_end_was_lost(void **state)
{
    spawn(PID, false, "start");
    struct call *a = call_begin(true, 1, 101, 0, NULL);
    struct event x = ev(EVENT_EXEC, 200, 200, 0);
    x.exec.filename = slice_str("/bin/x");
    feed(x);
    call_end(call_begin(false, 9, 110, 0, NULL), 110);
    assert_int_equal(n_got, 0);
    struct event f = ev(EVENT_FORK, PID, PID, 0);
    f.fork.child_tgid = f.fork.child_tid = 200;
    feed(f);
    assert_int_equal(n_got, 1);
    assert_non_null(attr_get(&got[0]->attrs, "wftrace.unfinished"));
    thread_made(PID, 110);
    assert_int_equal(n_got, 2);
    has_none(got[1]);
    call_end(a, 101);
}

/* Events that come without a pause do not keep calls waiting for an answer that never comes. */
static void closure_expires_under_load(void **state)
{
    spawn(PID, false, "start");
    struct call *a = call_begin(true, 1, 101, 0, NULL);
    call_end(call_begin(false, 9, 110, 0, NULL), 110);
    for (int i = 0; i < 70; i++) {
        now += NSEC_PER_SEC;
        feed(ev(EVENT_DATA, PID, 101, 0));
        tracer_tick(t, now, 0);
        assert_int_equal(n_got, i < 60 ? 0 : n_got);
    }
    assert_int_equal(n_got, 1);
    call_end(a, 101);
}

static void subprocess_of_a_request(void **state)
{
    spawn(PID, false, "start");
    struct call *a = call_begin(true, 1, 101, 0, NULL);
    struct span_context ia = ID(a);
    struct event f = ev(EVENT_FORK, PID, 101, 0);
    f.fork.child_tgid = f.fork.child_tid = 200;
    feed(f);
    struct event x = ev(EVENT_EXEC, 200, 200, 0);
    x.exec.filename = slice_str("/bin/ship");
    feed(x);
    struct event end = ev(EVENT_EXIT, 200, 200, 0);
    feed(end);
    has_parent(got[0], &ia, JOIN_EDGE);
    f = ev(EVENT_FORK, PID, 102, 0); /* by a thread of which nothing is known, while a request is served */
    f.fork.child_tgid = f.fork.child_tid = 201;
    feed(f);
    x = ev(EVENT_EXEC, 201, 201, 0);
    x.exec.filename = slice_str("/bin/ship");
    feed(x);
    feed(ev(EVENT_EXIT, 201, 201, 0));
    has_none(got[1]);
    call_end(a, 101);
}

static void context_on_the_wire(void **state)
{
    spawn(PID, false, "start");
    struct span *s = call_end(call_begin(true, 1, 101, 0, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), 101);
    char id[33];
    hex_encode(s->id.trace_id, 16, id);
    assert_string_equal(id, "0af7651916cd43dd8448eb211c80319c");
    assert_true(s->remote_parent);
    assert_int_equal(s->join, JOIN_WIRE);
    s = call_end(call_begin(true, 1, 101, 0, "00-00000000000000000000000000000000-b7ad6b7169203331-01"), 101);
    assert_int_equal(s->join, JOIN_ROOT);
}

/* Joined late: a context nobody saw made has only what it reads itself. */
static void attached_late(void **state)
{
    spawn(PID, true, "attach");
    struct call *a = call_begin(true, 1, 101, 0x20, NULL);
    struct span_context ia = ID(a);
    has_none(call_end(call_begin(false, 9, 101, 0x99, NULL), 101));
    has_parent(call_end(call_begin(false, 9, 101, 0x20, NULL), 101), &ia, JOIN_UNIT);
    call_end(a, 101);
}

static void traceparents(void **state)
{
    static const struct {
        const char *text;
        bool ok;
    } cases[] = {
        { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", true },
        { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", false }, /* version 00 has no more */
        { "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x", true },  /* a later one may */
        { "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false },
        { "00-0AF7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", false }, /* lower case only */
        { "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01", false },
        { "00-0af7651916cd43dd8448eb211c80319c-b7ad6b716920333-01", false },
        { "", false },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span_context c;
        assert_int_equal(traceparent_parse(slice_str(cases[i].text), &c) == 0, cases[i].ok);
    }
    struct span_context c;
    char out[56];
    assert_int_equal(traceparent_parse(slice_str(cases[0].text), &c), 0);
    traceparent_format(&c, out);
    assert_string_equal(out, cases[0].text);
}

static void baggage_is_chosen_decoded_and_bounded(void **state)
{
    static const char *const keys[] = { "user.id", "request.id" };
    static const struct {
        const char *text, *user, *request;
    } cases[] = {
        { "user.id=42, request.id=r%2D1;ttl=5;x , other=secret", "42", "r-1" },
        { "user.id=%E2%9C%93a%2Cb,user.id=second",
          "\xe2\x9c\x93"
          "a,b",
          NULL },
        { "=x,user.id,, ;,request.id=", NULL, "" },
        { "USER.ID=1,user.id2=2,xuser.id=3", NULL, NULL },
        { "user.id=%4,request.id=%zz%", "%4", "%zz%" },
        { "user.id=%ff%00b", "\xef\xbf\xbd", NULL }, /* no UTF-8, then a NUL */
        { "", NULL, NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct span *s = span_new();
        baggage_take(&s->attrs, slice_str(cases[i].text), keys, ARRAY_LEN(keys));
        const struct attr *user = attr_get(&s->attrs, "user.id"), *request = attr_get(&s->attrs, "request.id");
        assert_int_equal(user != NULL, cases[i].user != NULL);
        assert_int_equal(request != NULL, cases[i].request != NULL);
        if (user)
            assert_memory_equal(user->s, cases[i].user, strlen(cases[i].user));
        if (request)
            assert_string_equal(request->s, cases[i].request);
        assert_int_equal(s->attrs.n, (user != NULL) + (request != NULL));
        span_unref(s);
    }
    char big[4096] = "user.id=";
    memset(big + 8, 'a', sizeof(big) - 9);
    struct span *s = span_new();
    baggage_take(&s->attrs, slice_str(big), keys, ARRAY_LEN(keys));
    assert_int_equal(attr_get(&s->attrs, "user.id")->len, 256);
    baggage_take(&s->attrs, slice_str("request.id=1"), keys, 0);
    assert_int_equal(s->attrs.n, 1);
    span_unref(s);
}

/* What a request brings, by what is read of it. */
static void context_is_read_as_asked(void **state)
{
    static const char *const keys[] = { "user.id" };
    static const char parent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    struct tracer_options o = { .seed = { 1, 2 }, .no_traceparent = true, .baggage = keys, .n_baggage = 1 };
    struct tracer *was = t;
    t = tracer_new(&o, &sink);
    struct call *k = calloc(1, sizeof(*k));
    for (int server = 0; server < 2; server++) {
        k->c = (struct conn_info){ .id = 9, .family = AF_INET, .role = server ? CONN_SERVER : CONN_CLIENT, .tgid = PID };
        k->x = (struct exchange){ .protocol = &fake, .conn = &k->c, .start = now, .tid = 101 };
        message_clear(&k->m);
        strcpy(k->m.traceparent, parent);
        strcpy(k->m.baggage, "user.id=7");
        struct exchange_sink *s = tracer_exchanges(t);
        struct activity *a = s->begin(s, &k->x, &k->m);
        assert_int_equal(attr_get(&a->span->attrs, "user.id") != NULL, server); /* what comes in, not what goes out */
        assert_int_not_equal(a->span->join, JOIN_WIRE);
        s->end(s, a, &k->x, NULL, &(struct exchange_answer){ .how = EXCHANGE_ANSWERED, .first = now, .last = now, .tid = 101 });
    }
    free(k);
    tracer_free(t);
    t = was;
}

/* Who asked travels: to what the request does, and to what that does; not to what another does, nor over what a span says itself. */
static void baggage_goes_down(void **state)
{
    static const char *const keys[] = { "user.id", "request.id" };
    struct tracer_options o = { .seed = { 1, 2 }, .baggage = keys, .n_baggage = 2 };
    struct tracer *was = t;
    struct call *k = calloc(1, sizeof(*k));
    struct attr own[2];
    char text[64];
    struct attr_set says = { .v = own, .max = 2, .text = text, .text_max = sizeof(text) };
    t = tracer_new(&o, &sink);
    k->c = (struct conn_info){ .id = 9, .family = AF_INET, .role = CONN_SERVER, .tgid = PID };
    k->x = (struct exchange){ .protocol = &fake, .conn = &k->c, .start = now, .tid = 101 };
    message_clear(&k->m);
    strcpy(k->m.baggage, "user.id=7,request.id=r,other=x");
    struct exchange_sink *s = tracer_exchanges(t);
    struct activity *request = s->begin(s, &k->x, &k->m);
    struct activity *step =
        activity_begin(t, &(struct activity_start){ .time = now, .tgid = PID, .tid = 101, .name = slice_str("s"), .push = true });
    attr_str(&says, "request.id", slice_str("mine"));
    struct activity *below = activity_begin(
        t, &(struct activity_start){ .time = now, .tgid = PID, .tid = 101, .name = slice_str("b"), .attrs = &says });
    struct activity *elsewhere =
        activity_begin(t, &(struct activity_start){ .time = now, .tgid = PID + 9, .tid = PID + 9, .name = slice_str("e") });
    assert_string_equal(attr_get(&step->span->attrs, "user.id")->s, "7");
    assert_string_equal(attr_get(&step->span->attrs, "request.id")->s, "r");
    assert_string_equal(attr_get(&below->span->attrs, "user.id")->s, "7");
    assert_string_equal(attr_get(&below->span->attrs, "request.id")->s, "mine");
    assert_null(attr_get(&below->span->attrs, "other"));
    assert_null(attr_get(&elsewhere->span->attrs, "user.id"));
    activity_adopt(t, elsewhere, step, JOIN_ENGINE);
    assert_string_equal(attr_get(&elsewhere->span->attrs, "user.id")->s, "7");
    activity_end(t, elsewhere, now);
    activity_end(t, below, now);
    activity_end(t, step, now);
    s->end(s, request, &k->x, NULL, &(struct exchange_answer){ .how = EXCHANGE_ANSWERED, .first = now, .last = now, .tid = 101 });
    free(k);
    tracer_free(t);
    t = was;
}

/* threading.Thread in a handler is the handler's work; a native thread too. */
static void a_new_thread_inherits(void **state)
{
    static const char *const runtimes[] = { "k=v", "python=3.11" };
    for (size_t i = 0; i < ARRAY_LEN(runtimes); i++) {
        spawn_as(PID, "start", runtimes[i], "handover=1");
        struct call *a = call_begin(true, 1, 101, 0, NULL);
        struct span_context ia = ID(a);
        thread_made(101, 120);
        has_parent(call_end(call_begin(false, 9, 120, 0, NULL), 120), &ia, JOIN_EDGE);
        thread_made(120, 121);
        has_parent(call_end(call_begin(false, 9, 121, 0, NULL), 121), &ia, JOIN_EDGE);
        call_end(a, 101);
        assert_int_equal(call_end(call_begin(false, 9, 121, 0, NULL), 121)->join, JOIN_PROCESS); /* the request is over */
    }
}

/* Without probes on the queue a pool's thread would keep the label of the request that made it, whatever it works on. */
static void a_new_thread_of_an_unprobed_python(void **state)
{
    char text[32];
    spawn(PID, true, "start");
    struct call *a = call_begin(true, 1, 101, 0, NULL);
    struct span_context ia = ID(a);
    thread_made(101, 120);
    has_none(call_end(call_begin(false, 9, 120, 0, NULL), 120));
    struct event late = ev(EVENT_FORK, PID, 101, 0); /* made before the probes sat, read from the ring after */
    snprintf(text, sizeof(text), "handover=%llu", (unsigned long long)now + 1);
    spawn_as(PID, "attach", "python=3.11", text);
    late.fork.child_tgid = PID;
    late.fork.child_tid = 121;
    late.fork.thread = true;
    feed(late);
    has_none(call_end(call_begin(false, 9, 121, 0, NULL), 121));
    thread_made(101, 122);
    has_parent(call_end(call_begin(false, 9, 122, 0, NULL), 122), &ia, JOIN_EDGE);
    spawn(PID, true, "start"); /* another program: nothing is known of its queue */
    thread_made(101, 123);
    has_none(call_end(call_begin(false, 9, 123, 0, NULL), 123));
    call_end(a, 101);
}

/* Goroutines move between threads: what a thread read or made says nothing of what runs on it now. */
static void threads_of_go(void **state)
{
    spawn_as(PID, "start", "go=1", "k=v");
    struct call *a = call_begin(true, 1, 101, 0, NULL);
    has_none(call_end(call_begin(false, 9, 101, 0, NULL), 101));
    thread_made(101, 120);
    struct span *other = call_end(call_begin(false, 9, 120, 0, NULL), 120);
    has_none(other);
    call_end(a, 120);
    has_none(other);
    struct call *idle = call_begin(false, 9, 101, 0, NULL); /* nobody is served: it is the process's own */
    assert_int_equal(((struct activity *)idle->handle)->span->join, JOIN_PROCESS);
    call_end(idle, 101);
}

/* An event loop: one request open does not mean that it is the one that runs. A call under way does hold the thread. */
static void event_loop_of_node(void **state)
{
    spawn_as(PID, "start", "node=1", "k=v");
    u64 before = ledger_get(parents_ambiguous);
    struct call *a = call_begin(true, 1, 101, 0, NULL);
    has_none(call_end(call_begin(false, 9, 101, 0, NULL), 101));
    assert_int_equal(ledger_get(parents_ambiguous), before + 1);
    struct activity *inside = activity_begin(t, &(struct activity_start){ .time = ++now,
                                                                          .tgid = PID,
                                                                          .tid = 101,
                                                                          .kind = SPAN_INTERNAL,
                                                                          .scope = "rule",
                                                                          .name = slice_str("add"),
                                                                          .push = true });
    struct span_context ii = inside->span->id;
    has_parent(call_end(call_begin(false, 9, 101, 0, NULL), 101), &ii, JOIN_UNIT);
    activity_end(t, inside, ++now);
    call_end(a, 101);
}

/* Somebody sets the clock while an activity runs: its duration is what it was; a clock that is slewed is followed. */
static void the_clock_is_set_meanwhile(void **state)
{
    static const struct {
        s64 by;
        u64 lasted;
    } cases[] = { { -3600 * (s64)NSEC_PER_SEC, 1000000 }, { 3600 * (s64)NSEC_PER_SEC, 1000000 }, { 2000000, 3000000 } };
    spawn(PID, false, "start");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        tracer_tick(t, now, 4000 * (s64)NSEC_PER_SEC);
        struct activity *a = activity_begin(
            t, &(struct activity_start){
                   .time = ++now, .tgid = PID, .tid = PID, .kind = SPAN_INTERNAL, .scope = "rule", .name = slice_str("set") });
        u64 from = now;
        tracer_tick(t, now + 500000, 4000 * (s64)NSEC_PER_SEC + cases[i].by);
        activity_end(t, a, now += 1000000);
        struct span *s = got[n_got - 1];
        assert_int_equal(s->start_ns, from + 4000 * NSEC_PER_SEC);
        assert_int_equal(s->end_ns - s->start_ns, cases[i].lasted);
    }
}

/* A servlet's thread reads its request itself; a thread it makes may belong to a pool. */
static void threads_of_java(void **state)
{
    spawn_as(PID, "start", "java=1", "k=v");
    struct call *a = call_begin(true, 1, 101, 0, NULL);
    struct span_context ia = ID(a);
    has_parent(call_end(call_begin(false, 9, 101, 0, NULL), 101), &ia, JOIN_UNIT);
    thread_made(101, 120);
    has_none(call_end(call_begin(false, 9, 120, 0, NULL), 120));
    call_end(a, 101);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(the_clock_is_set_meanwhile),
        T(same_thread),
        T(two_requests_on_a_thread),
        T(asyncio_context),
        T(uvloop_reads_in_the_base_context),
        T(uvloop_pipelined),
        T(executor_hand_over),
        T(pool_closure_by_answer),
        T(closure_needs_order),
        T(processes),
        T(pipelines),
        T(a_number_used_again),
        T(a_number_whose_end_was_lost),
        T(closure_expires_under_load),
        T(subprocess_of_a_request),
        T(context_on_the_wire),
        T(attached_late),
        T(traceparents),
        T(baggage_is_chosen_decoded_and_bounded),
        T(baggage_goes_down),
        T(context_is_read_as_asked),
        T(a_new_thread_inherits),
        T(a_new_thread_of_an_unprobed_python),
        T(threads_of_go),
        T(event_loop_of_node),
        T(threads_of_java),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
