/* needs: base config workflow trace self stream protocol ingest */
/* Events from inside Python processes → activities, with the real tracer: interleaved coroutines, suspended time, choice of rule by
 * `when`, outcomes, engines' ids across processes, queue waits, ends with the process, packs and their overrides, hostile input. */
#include "config/watch.h"
#include "workflow/workflow.h"
#include "self/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char text[] =
    "pack: demo\n"
    "engine: Demo\n"
    "match: { python: demo, exe: [demo, demod] }\n"
    "activities:\n"
    "  - { name: '{graph}.run', label: graph, type: workflow, at: 'python:demo.graph:Graph.run', when: arg.depth == 0,\n"
    "      attributes: { graph: self.name or self.id, n: 'len(arg.inputs)', out: ret.status, try: arg.retries + 1 },\n"
    "      error: [ exception, 'ret.status == \"bad\"' ], metrics: [ { histogram: demo.time, of: duration, attributes: graph } ] "
    "}\n"
    "  - { name: 'gate {taken}', label: gate, type: decision, at: 'python:demo.graph:Node.run', when: 'type(self) ~ "
    "\"*.Gate\"',\n"
    "      attributes: { taken: 'after self.children[0].name', kind: typename(self) } }\n"
    "  - { name: 'node {node}', label: node, type: task, at: 'python:demo.graph:Node.run', attributes: { node: self.name },\n"
    "      error: 'type(exception) !~ \"demo.Retry\"' }\n"
    "  - { name: send, kind: producer, at: 'python:demo.queue:send', id: { message: arg.id } }\n"
    "  - { name: work, kind: consumer, at: 'python:demo.queue:work', id: arg.id, link_id: { message: arg.id }, queued_at: "
    "arg.at,\n"
    "      parent_id: [ arg.parent, { message: arg.id } ] }\n"
    "  - { name: sub, type: workflow, at: 'python:demo.sub:start', id: { sub: arg.id }, until: 'python:demo.sub:finish',\n"
    "      until_id: { sub: self.id } }\n"
    "  - { name: in sub, at: 'python:demo.sub:step', parent_id: { sub: arg.sub } }\n"
    "  - { into: gate, at: 'python:demo.graph:taken', when: arg.static == false,\n"
    "      attributes: { outcome: 'arg.to[0].node or arg.to[0]' } }\n"
    "  - { name: job, at: 'python:demo.queue:job', trace: new, parent_id: { message: arg.message } }\n"
    "  - { name: try, label: try, at: 'python:demo.queue:try', id: { try: arg.id }, attributes: { state: 'ret.state or \"fine\"' "
    "},\n"
    "      caught: ret.error, error: 'ret.state == \"bad\"' }\n"
    "  - { into: try, at: 'python:demo.queue:stop', id: { try: self.id }, attributes: { stopped: arg.why } }\n"
    "  - { name: 'flow {flow}', label: flow, type: workflow, at: 'python:demo.flow:Flow.set', when: 'arg.state == \"running\"',\n"
    "      trace: new, traceparent: arg.wire, started_at: arg.begun, id: { flow: 'join(self.flow, self.no)' },\n"
    "      until: 'python:demo.flow:Flow.set', until_when: 'arg.state ~ \"@(done|failed)\"',\n"
    "      until_id: { flow: 'join(self.flow, self.no)' }, attributes: { flow: self.flow, state: arg.state },\n"
    "      error: 'attr.state == \"failed\"' }\n"
    "  - { into: flow, at: 'python:demo.flow:Flow.set', when: 'arg.state ~ \"@(done|failed)\"',\n"
    "      id: { flow: 'join(self.flow, self.no)' }, attributes: { state: arg.state } }\n"
    "  - { name: 'in {flow}', at: 'python:demo.flow:part', parent_id: { flow: 'join(arg.flow, arg.no)' },\n"
    "      attributes: { flow: 'join(arg.flow, arg.no)' } }\n"
    "  - { into: node, at: 'python:demo.graph:keep', caught: arg.exc }\n"
    "  - { name: ask, kind: client, at: 'python:demo.pipe:ask', id: { to_child: 'join(self.last + 1, arg.tool)' },\n"
    "      attributes: { ask: 'join(self.last + 1)' } }\n"
    "  - { name: serve, kind: server, at: 'python:demo.pipe:serve', parent_id: { from_parent: 'join(arg.id, arg.tool)' } }\n"
    "  - { into: node, at: 'python:demo.graph:say', started_at: arg.begun, ended_at: arg.ended, queued_at: arg.asked,\n"
    "      attributes: { error.type: type(arg.exc) } }\n"
    "  - { name: duty, label: duty, at: 'python:demo.duty:run', queued_at: arg.at, error: [ exception, 'attr.state == "
    "\"failed\"' ],\n"
    "      attributes: { state: '\"\"' } }\n"
    "  - { into: duty, at: 'python:demo.duty:tell', started_at: arg.begun, ended_at: now, caught: arg.exc,\n"
    "      attributes: { state: arg.state } }\n"
    "  - { name: 'lap {lap}', label: lap, at: 'python:demo.lap:run', id: { lap: arg.id }, attributes: { lap: arg.id },\n"
    "      lasts: failed, until: 'python:demo.lap:book', until_id: { lap: arg.id } }\n"
    "  - { into: lap, at: 'python:demo.lap:book', id: { lap: arg.id }, ended_at: arg.at }\n";

enum {
    W_GRAPH = 1,
    W_NODE,
    W_SEND,
    W_WORK,
    W_SUB,
    W_FINISH,
    W_STEP,
    W_TAKEN,
    W_JOB,
    W_TRY,
    W_STOP,
    W_SET,
    W_PART,
    W_KEEP,
    W_ASK,
    W_SERVE,
    W_SAY,
    W_DUTY,
    W_TELL,
    W_LAP,
    W_BOOK
};

struct bed {
    struct rules rules;
    struct watch_book book;
    struct tracer *tracer;
    struct workflow *w;
    struct span_sink sink;
    struct span *got[64];
    int n, n_started;
    char started[8][64]; /* name and type as samplers and the live tree see them */
    u64 now, unit;
    u32 tgid, tid;
    u8 values[1024];
    size_t used;
};

static void keep(struct span_sink *sink, struct span *s)
{
    struct bed *b = container_of(sink, struct bed, sink);
    assert_true(b->n < 64);
    b->got[b->n++] = s;
}

static void note(struct span_sink *sink, struct span *s)
{
    struct bed *b = container_of(sink, struct bed, sink);
    const struct attr *type = attr_get(&s->attrs, "wftrace.activity.type");
    if (b->n_started < 8)
        snprintf(b->started[b->n_started++], sizeof(b->started[0]), "%.40s/%.16s", s->name, type ? type->s : "");
}

static int bed_open(void **state)
{
    struct bed *b = calloc(1, sizeof(*b));
    char err[2048];
    int code = rules_parse(&b->rules, "t", text, sizeof(text) - 1, err, sizeof(err));
    if (code)
        print_message("%s\n", err);
    assert_int_equal(code, 0);
    assert_int_equal(watch_book_make(&b->rules, &b->book, err, sizeof(err)), 0);
    b->sink.ended = keep;
    b->sink.started = note;
    b->tracer = tracer_new(&(struct tracer_options){ .wall_minus_boot = 5000000000000, .seed = { 1, 2 } }, &b->sink);
    b->w = workflow_new(&b->rules, b->tracer);
    b->now = NSEC_PER_SEC;
    b->tgid = b->tid = 7;
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
    watch_book_done(&b->book);
    rules_done(&b->rules);
    free(b);
    return 0;
}

/* --- events, with values by their expression --- */
static void put(struct bed *b, u8 index, u8 type, const void *p, u16 n)
{
    u8 head[4] = { index, type, (u8)n, (u8)(n >> 8) };
    memcpy(b->values + b->used, head, 4);
    if (n)
        memcpy(b->values + b->used + 4, p, n);
    b->used += 4 + (((size_t)n + 3) & ~3ul);
}
static u8 index_of(struct bed *b, int watch, const char *expr, enum source_moment_python m)
{
    const struct watch *w = &b->book.v[watch - 1];
    for (u8 i = 0; i < w->n_attrs; i++)
        if (!strcmp(w->attrs[i].expr, expr) && w->attrs[i].moment == m)
            return i;
    fail_msg("watch %d does not read %s", watch, expr);
    return 0;
}
static void str_at(struct bed *b, int w, const char *expr, enum source_moment_python m, const char *v)
{
    put(b, index_of(b, w, expr, m), 1, v, (u16)strlen(v));
}
static void int_at(struct bed *b, int w, const char *expr, s64 v) { put(b, index_of(b, w, expr, READ_AT_ENTRY), 2, &v, 8); }
static void none_at(struct bed *b, int w, const char *expr) { put(b, index_of(b, w, expr, READ_AT_ENTRY), 5, NULL, 0); }

static void send(struct bed *b, struct event *e)
{
    e->time = b->now += NSEC_PER_MSEC;
    e->tgid = b->tgid;
    e->tid = b->tid;
    e->unit = b->unit;
    tracer_event(b->tracer, e);
    workflow_event(b->w, e);
}
static void call(struct bed *b, enum bridge_phase phase, u16 watch, u64 activity)
{
    struct event e = { .type = EVENT_BRIDGE,
                       .bridge = {
                           .phase = phase, .watch = watch, .activity = activity, .values = slice_of(b->values, b->used) } };
    send(b, &e);
    b->used = 0;
}
static void node_start(struct bed *b, u64 activity, const char *name)
{
    str_at(b, W_NODE, "type(self)", READ_AT_ENTRY, "demo.graph.Node");
    str_at(b, W_NODE, "self.name", READ_AT_ENTRY, name);
    call(b, BRIDGE_SAYS_START, W_NODE, activity);
}
static void graph_start(struct bed *b, u64 activity, s64 depth)
{
    int_at(b, W_GRAPH, "arg.depth", depth);
    none_at(b, W_GRAPH, "self.name");
    str_at(b, W_GRAPH, "self.id", READ_AT_ENTRY, "order");
    int_at(b, W_GRAPH, "len(arg.inputs)", 3);
    int_at(b, W_GRAPH, "arg.retries", 1);
    call(b, BRIDGE_SAYS_START, W_GRAPH, activity);
}
static void fail_with(struct bed *b, u16 watch, u64 activity, const char *type, const char *message)
{
    if (watch == W_NODE)
        str_at(b, W_NODE, "type(exception)", READ_AT_FAIL, type);
    put(b, VALUE_ERROR_TYPE, 1, type, (u16)strlen(type));
    put(b, VALUE_ERROR_MESSAGE, 1, message, (u16)strlen(message));
    put(b, VALUE_ERROR_WHERE, 1, "a.py:3 f", 8);
    call(b, BRIDGE_SAYS_FAIL, watch, activity);
}
static void exit_with(struct bed *b, u32 status)
{
    struct event e = { .type = EVENT_EXIT, .exit = { .status = status } };
    send(b, &e);
}

static const struct span *named(struct bed *b, const char *name)
{
    const struct span *found = NULL;
    for (int i = 0; i < b->n; i++)
        if (!strcmp(b->got[i]->name, name)) {
            assert_null(found);
            found = b->got[i];
        }
    if (!found)
        for (int i = 0; i < b->n; i++)
            print_message("there is %s\n", b->got[i]->name);
    assert_non_null(found);
    return found;
}
static const char *str(const struct span *s, const char *key)
{
    const struct attr *a = attr_get(&s->attrs, key);
    return a && a->type == ATTR_STR ? a->s : "-";
}
static void assert_child(const struct span *child, const struct span *parent)
{
    assert_memory_equal(child->parent_id, parent->id.span_id, SPAN_ID_LEN);
    assert_memory_equal(child->id.trace_id, parent->id.trace_id, TRACE_ID_LEN);
}

static void try_start(struct bed *b, u64 activity, const char *id)
{
    str_at(b, W_TRY, "arg.id", READ_AT_ENTRY, id);
    call(b, BRIDGE_SAYS_START, W_TRY, activity);
}
static void try_end(struct bed *b, u64 activity, const char *state, const char *type, const char *message)
{
    u8 at = index_of(b, W_TRY, "ret.state", READ_AT_RETURN);
    put(b, at, state ? 1 : 5, state ? state : "", state ? (u16)strlen(state) : 0);
    str_at(b, W_TRY, "type(ret.error)", READ_AT_RETURN, type);
    str_at(b, W_TRY, "str(ret.error)", READ_AT_RETURN, message);
    call(b, BRIDGE_SAYS_END, W_TRY, activity);
}

static void flow_set(struct bed *b, u64 activity, const char *flow, s64 no, const char *to, const char *wire, const char *begun)
{
    str_at(b, W_SET, "self.flow", READ_AT_ENTRY, flow);
    int_at(b, W_SET, "self.no", no);
    str_at(b, W_SET, "arg.state", READ_AT_ENTRY, to);
    if (wire)
        str_at(b, W_SET, "arg.wire", READ_AT_ENTRY, wire);
    if (begun)
        str_at(b, W_SET, "arg.begun", READ_AT_ENTRY, begun);
    call(b, BRIDGE_SAYS_START, W_SET, activity);
    str_at(b, W_SET, "self.flow", READ_AT_RETURN, flow);
    put(b, index_of(b, W_SET, "self.no", READ_AT_RETURN), 2, &no, 8);
    str_at(b, W_SET, "arg.state", READ_AT_RETURN, to);
    call(b, BRIDGE_SAYS_END, W_SET, activity);
}
static void part(struct bed *b, u64 activity, const char *flow, s64 no)
{
    str_at(b, W_PART, "arg.flow", READ_AT_ENTRY, flow);
    if (no)
        int_at(b, W_PART, "arg.no", no);
    call(b, BRIDGE_SAYS_START, W_PART, activity);
    call(b, BRIDGE_SAYS_END, W_PART, activity);
}

/* --- tests --- */
/* Begun and ended by two calls of one function that says the state; known by two values together; one that has no number is no part. */
static void until_when(void **state)
{
    struct bed *b = *state;
    flow_set(b, 1, "a", 1, "running", NULL, NULL);
    flow_set(b, 2, "b", 1, "running", NULL, NULL);
    flow_set(b, 3, "a", 1, "queued", NULL, NULL);
    flow_set(b, 4, "c", 1, "done", NULL, NULL); /* never seen to begin */
    assert_int_equal(b->n, 0);
    b->tgid = b->tid = 8;
    part(b, 1, "a", 1);
    part(b, 2, "b", 1);
    part(b, 3, "z", 0);
    flow_set(b, 4, "a", 1, "failed", NULL, NULL);
    flow_set(b, 5, "b", 1, "done", NULL, NULL);
    assert_int_equal(b->n, 5);
    assert_child(named(b, "in a/1"), named(b, "flow a"));
    assert_child(named(b, "in b/1"), named(b, "flow b"));
    assert_null(attr_get(&b->got[2]->attrs, "flow"));
    const struct span *a = named(b, "flow a"), *good = named(b, "flow b");
    assert_string_equal(str(a, "state"), "failed");
    assert_int_equal(a->status, STATUS_ERROR);
    assert_string_equal(str(a, "error.type"), "failed");
    assert_int_equal(good->status, STATUS_UNSET);
    assert_string_equal(str(good, "state"), "done");
}

/* The engine's own trace context and start: its trace, below its span only if that is told of; no time after the call's own. */
static void handed_on(void **state)
{
    struct bed *b = *state;
    struct span_context wire;
    const char *told = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
               *untold = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
    assert_int_equal(traceparent_parse(slice_str(told), &wire), 0);
    flow_set(b, 1, "a", 1, "running", told, "1970-01-01 02:23:20.25+01:00");
    flow_set(b, 2, "b", 1, "running", untold, "1970-01-01T02:23:20");
    flow_set(b, 3, "c", 1, "running", "00-00000000000000000000000000000000-b7ad6b7169203331-01", "None");
    for (u64 i = 0; i < 3; i++)
        flow_set(b, 4 + i, (const char *[]){ "a", "b", "c" }[i], 1, "done", NULL, NULL);
    const struct span *a = named(b, "flow a"), *first = named(b, "flow b"), *own = named(b, "flow c");
    assert_memory_equal(a->id.trace_id, wire.trace_id, TRACE_ID_LEN);
    assert_memory_equal(a->parent_id, wire.span_id, SPAN_ID_LEN);
    assert_int_equal(a->start_ns, 5000250000000);
    assert_memory_equal(first->id.trace_id, wire.trace_id, TRACE_ID_LEN);
    assert_memory_equal(first->parent_id, "\0\0\0\0\0\0\0", SPAN_ID_LEN);
    assert_int_equal(first->id.flags, 1);
    assert_true(first->start_ns > 5001000000000); /* «02:23:20» would be later */
    assert_memory_not_equal(own->id.trace_id, wire.trace_id, TRACE_ID_LEN);
    assert_true(own->start_ns > 5001000000000);
}

/* The call keeps its exception: an error where the rule says that it failed, else an event; a word where there is no state. */
static void caught(void **state)
{
    struct bed *b = *state;
    try_start(b, 1, "a");
    try_end(b, 1, "bad", "demo.Refused", "no such order");
    try_start(b, 2, "b");
    try_end(b, 2, "again", "demo.Retry", "in 3 s");
    try_start(b, 3, "c");
    try_end(b, 3, NULL, "NoneType", "None");
    const struct span *bad = b->got[0], *again = b->got[1], *fine = b->got[2];
    assert_string_equal(str(bad, "error.type"), "demo.Refused");
    assert_string_equal(bad->status_message, "no such order");
    assert_int_equal(bad->n_events, 1);
    assert_string_equal(str(again, "state"), "again");
    assert_int_equal(again->status, STATUS_UNSET);
    assert_int_equal(again->n_events, 1);
    assert_string_equal(str(fine, "state"), "fine");
    assert_int_equal(fine->status, STATUS_UNSET);
    assert_int_equal(fine->n_events, 0);
}

/* Values for an activity that runs in another process, by its id; when that has ended they are nobody's. */
static void into_by_id(void **state)
{
    struct bed *b = *state;
    try_start(b, 1, "a");
    b->tgid = b->tid = 8;
    for (u64 i = 5; i < 7; i++) {
        str_at(b, W_STOP, "self.id", READ_AT_ENTRY, i == 5 ? "a" : "nobody");
        str_at(b, W_STOP, "arg.why", READ_AT_ENTRY, i == 5 ? "revoked" : "wrong");
        call(b, BRIDGE_SAYS_START, W_STOP, i);
        call(b, BRIDGE_SAYS_END, W_STOP, i);
    }
    b->tgid = b->tid = 7;
    try_end(b, 1, NULL, "NoneType", "None");
    b->tgid = b->tid = 8;
    str_at(b, W_STOP, "self.id", READ_AT_ENTRY, "a");
    str_at(b, W_STOP, "arg.why", READ_AT_ENTRY, "late");
    call(b, BRIDGE_SAYS_START, W_STOP, 9);
    assert_int_equal(b->n, 1);
    assert_string_equal(str(b->got[0], "stopped"), "revoked");
}

/* A function that is handed the exception tells it of the activity in which it runs; no exception is no error. */
static void caught_into(void **state)
{
    struct bed *b = *state;
    graph_start(b, 1, 0);
    for (u64 i = 2; i < 4; i++) {
        node_start(b, i, i == 2 ? "a" : "b");
        str_at(b, W_KEEP, "type(arg.exc)", READ_AT_ENTRY, i == 2 ? "builtins.ValueError" : "NoneType");
        str_at(b, W_KEEP, "str(arg.exc)", READ_AT_ENTRY, i == 2 ? "no such order" : "None");
        call(b, BRIDGE_SAYS_START, W_KEEP, i + 10);
        call(b, BRIDGE_SAYS_END, W_KEEP, i + 10);
        call(b, BRIDGE_SAYS_END, W_NODE, i);
    }
    const struct span *bad = b->got[0], *fine = b->got[1];
    assert_string_equal(str(bad, "error.type"), "ValueError");
    assert_string_equal(bad->status_message, "no such order");
    assert_int_equal(bad->status, STATUS_ERROR);
    assert_int_equal(bad->n_events, 1);
    assert_int_equal(fine->status, STATUS_UNSET);
    assert_int_equal(fine->n_events, 0);
}

/* The engine's own times of the activity at hand; what it said of a failure that was got over is gone at a good end. */
static void told_into(void **state)
{
    struct bed *b = *state;
    for (u64 i = 1; i < 4; i++) {
        node_start(b, i, "a");
        b->now += 2 * NSEC_PER_SEC;
        str_at(b, W_SAY, "arg.begun", READ_AT_ENTRY, i == 1 ? "1970-01-01 01:23:22.5" : "1970-01-01 09:00:00");
        str_at(b, W_SAY, "arg.asked", READ_AT_ENTRY, "1970-01-01 01:23:21");
        str_at(b, W_SAY, "type(arg.exc)", READ_AT_ENTRY, "builtins.ValueError");
        call(b, BRIDGE_SAYS_START, W_SAY, i + 10);
        b->now += 2 * NSEC_PER_SEC;
        if (i == 1)
            str_at(b, W_SAY, "arg.ended", READ_AT_ENTRY, "1970-01-01 01:23:23.5");
        call(b, BRIDGE_SAYS_START, W_SAY, i + 20);
        if (i == 3)
            fail_with(b, W_NODE, i, "demo.Wrapped", "no such order");
        else
            call(b, BRIDGE_SAYS_END, W_NODE, i);
    }
    const struct span *told = b->got[0], *late = b->got[1], *bad = b->got[2];
    assert_int_equal(told->start_ns, 5002500000000);
    assert_int_equal(told->end_ns, 5003500000000);
    assert_float_equal(attr_get(&told->attrs, "wftrace.queue.wait")->d, 1.5, 1e-6);
    assert_null(attr_get(&told->attrs, "error.type"));
    assert_true(late->end_ns - late->start_ns >= 4 * NSEC_PER_SEC); /* a time to come is none */
    assert_string_equal(str(bad, "error.type"), "ValueError");
}

/* A later start leaves more time in the queue; `now` is when the call began that said so; an exception told before is not replaced by
 * what a condition finds, and without one it is. */
static void told_now(void **state)
{
    struct bed *b = *state;
    for (u64 i = 1; i < 3; i++) {
        str_at(b, W_DUTY, "arg.at", READ_AT_ENTRY, "1970-01-01 01:23:20.5");
        call(b, BRIDGE_SAYS_START, W_DUTY, i);
        b->now += 2 * NSEC_PER_SEC;
        str_at(b, W_TELL, "arg.begun", READ_AT_ENTRY, i == 1 ? "1970-01-01 01:23:22.5" : "1970-01-01 01:23:25.5");
        str_at(b, W_TELL, "arg.state", READ_AT_ENTRY, "failed");
        if (i == 1) {
            str_at(b, W_TELL, "type(arg.exc)", READ_AT_ENTRY, "builtins.ValueError");
            str_at(b, W_TELL, "str(arg.exc)", READ_AT_ENTRY, "no such order");
        }
        call(b, BRIDGE_SAYS_START, W_TELL, i + 10);
        u64 told = 5000000000000 + b->now;
        b->now += NSEC_PER_SEC;
        call(b, BRIDGE_SAYS_END, W_TELL, i + 10);
        call(b, BRIDGE_SAYS_END, W_DUTY, i);
        assert_int_equal(b->got[i - 1]->end_ns, told);
        assert_int_equal(b->got[i - 1]->status, STATUS_ERROR);
    }
    const struct span *raised = b->got[0], *failed = b->got[1];
    assert_int_equal(raised->start_ns, 5002500000000);
    assert_float_equal(attr_get(&raised->attrs, "wftrace.queue.wait")->d, 2, 1e-6);
    assert_float_equal(attr_get(&failed->attrs, "wftrace.queue.wait")->d, 5, 1e-6);
    assert_string_equal(str(raised, "error.type"), "ValueError");
    assert_string_equal(raised->status_message, "no such order");
    assert_string_equal(str(failed, "error.type"), "failed");
    assert_string_equal(failed->status_message, "state is failed");
}

static void values_and_outcome(void **state)
{
    struct bed *b = *state;
    graph_start(b, 1, 0);
    node_start(b, 2, "a");
    call(b, BRIDGE_SAYS_END, W_NODE, 2);
    node_start(b, 3, "b");
    fail_with(b, W_NODE, 3, "builtins.ValueError", "bad z");
    node_start(b, 4, "c");
    fail_with(b, W_NODE, 4, "demo.Retry", "again");
    str_at(b, W_GRAPH, "ret.status", READ_AT_RETURN, "bad");
    call(b, BRIDGE_SAYS_END, W_GRAPH, 1);
    const struct span *g = named(b, "order.run"), *fail = named(b, "node b"), *again = named(b, "node c");
    assert_child(named(b, "node a"), g);
    assert_child(fail, g);
    assert_string_equal(str(g, "error.type"), "bad");
    assert_int_equal(attr_get(&g->attrs, "n")->i, 3);
    assert_int_equal(attr_get(&g->attrs, "try")->i, 2);
    assert_string_equal(str(g, "wftrace.activity.type"), "workflow");
    assert_string_equal(str(g, "code.function.name"), "demo.graph.Graph.run");
    assert_string_equal(g->scope, "demo");
    assert_int_equal(g->rule, 1);
    assert_string_equal(str(fail, "error.type"), "ValueError");
    assert_string_equal(fail->status_message, "bad z");
    assert_int_equal(fail->n_events, 1);
    assert_int_equal(again->status, STATUS_UNSET);
    assert_int_equal(again->n_events, 1);
}

/* `when` chooses among rules on one function; where none holds, the call's children are its caller's. */
/* Who sees an activity when it starts sees what is known by then; a name that lacks a value is never shown as a template. */
static void shown_as_it_starts(void **state)
{
    struct bed *b = *state;
    graph_start(b, 1, 0);
    str_at(b, W_NODE, "type(self)", READ_AT_ENTRY, "demo.graph.Gate");
    call(b, BRIDGE_SAYS_START, W_NODE, 2);
    node_start(b, 3, "pay");
    assert_int_equal(b->n_started, 3);
    assert_string_equal(b->started[0], "order.run/workflow");
    assert_string_equal(b->started[1], "demo.graph.Node.run/decision");
    assert_string_equal(b->started[2], "node pay/task");
    call(b, BRIDGE_SAYS_END, W_NODE, 3);
    str_at(b, W_NODE, "self.children[0].name", READ_AT_RETURN, "left");
    call(b, BRIDGE_SAYS_END, W_NODE, 2);
    named(b, "gate left");
    call(b, BRIDGE_SAYS_START, W_SEND, 4); /* nothing to fill in */
    assert_string_equal(b->started[3], "send/custom");
}

static void choice(void **state)
{
    struct bed *b = *state;
    graph_start(b, 1, 0);
    graph_start(b, 2, 1); /* depth 1: no activity */
    str_at(b, W_NODE, "type(self)", READ_AT_ENTRY, "demo.graph.Gate");
    call(b, BRIDGE_SAYS_START, W_NODE, 3);
    str_at(b, W_TAKEN, "arg.to[0]", READ_AT_ENTRY, "west");
    int_at(b, W_TAKEN, "arg.static", 0);
    call(b, BRIDGE_SAYS_START, W_TAKEN, 8);
    call(b, BRIDGE_SAYS_END, W_TAKEN, 8);
    str_at(b, W_NODE, "self.children[0].name", READ_AT_RETURN, "left");
    call(b, BRIDGE_SAYS_END, W_NODE, 3);
    call(b, BRIDGE_SAYS_END, W_GRAPH, 2);
    call(b, BRIDGE_SAYS_END, W_GRAPH, 1);
    const struct span *gate = named(b, "gate left");
    assert_int_equal(b->n, 2);
    assert_child(gate, named(b, "order.run"));
    assert_string_equal(str(gate, "kind"), "Gate");
    assert_string_equal(str(gate, "outcome"), "west");
    assert_string_equal(str(gate, "wftrace.activity.type"), "decision");
}

static void suspended(void **state)
{
    struct bed *b = *state;
    graph_start(b, 1, 0);
    node_start(b, 2, "waits");
    call(b, BRIDGE_SAYS_SUSPEND, W_NODE, 2);
    node_start(b, 3, "other");
    b->now += 50 * NSEC_PER_MSEC;
    call(b, BRIDGE_SAYS_RESUME, W_NODE, 2);
    node_start(b, 4, "under");
    call(b, BRIDGE_SAYS_END, W_NODE, 4);
    call(b, BRIDGE_SAYS_END, W_NODE, 2);
    call(b, BRIDGE_SAYS_END, W_NODE, 3);
    call(b, BRIDGE_SAYS_END, W_GRAPH, 1);
    const struct span *waits = named(b, "node waits"), *g = named(b, "order.run");
    assert_child(named(b, "node other"), g);
    assert_child(waits, g);
    assert_child(named(b, "node under"), waits);
    double active = attr_get(&waits->attrs, "wftrace.active_time")->d;
    assert_true(active > 0.0015 && active < 0.01);
    assert_null(attr_get(&g->attrs, "wftrace.active_time"));
}

/* An exception thrown into a chain of coroutines wakes the innermost first; what it then starts is still its own. */
static void inner_wakes_first(void **state)
{
    struct bed *b = *state;
    node_start(b, 1, "outer");
    node_start(b, 2, "inner");
    call(b, BRIDGE_SAYS_SUSPEND, W_NODE, 2);
    call(b, BRIDGE_SAYS_SUSPEND, W_NODE, 1);
    call(b, BRIDGE_SAYS_RESUME, W_NODE, 2);
    call(b, BRIDGE_SAYS_RESUME, W_NODE, 1);
    node_start(b, 3, "cleanup");
    call(b, BRIDGE_SAYS_END, W_NODE, 3);
    fail_with(b, W_NODE, 2, "asyncio.exceptions.CancelledError", "");
    fail_with(b, W_NODE, 1, "asyncio.exceptions.CancelledError", "");
    assert_child(named(b, "node cleanup"), named(b, "node inner"));
    assert_child(named(b, "node inner"), named(b, "node outer"));
}

/* A generator made outside runs inside another call: what it starts is its own all the same. */
static void generator_elsewhere(void **state)
{
    struct bed *b = *state;
    node_start(b, 1, "generator");
    call(b, BRIDGE_SAYS_SUSPEND, W_NODE, 1);
    node_start(b, 2, "loop");
    call(b, BRIDGE_SAYS_RESUME, W_NODE, 1);
    node_start(b, 3, "in");
    call(b, BRIDGE_SAYS_END, W_NODE, 3);
    fail_with(b, W_NODE, 1, "GeneratorExit", "");
    call(b, BRIDGE_SAYS_END, W_NODE, 2);
    assert_child(named(b, "node in"), named(b, "node generator"));
    assert_int_equal(named(b, "node generator")->status, STATUS_UNSET);
    assert_int_equal(named(b, "node generator")->n_events, 0);
}

static void work(struct bed *b, u64 activity, const char *id, const char *parent)
{
    str_at(b, W_WORK, "arg.id", READ_AT_ENTRY, id);
    if (parent)
        str_at(b, W_WORK, "arg.parent", READ_AT_ENTRY, parent);
    call(b, BRIDGE_SAYS_START, W_WORK, activity);
}

static void ids_across_processes(void **state)
{
    struct bed *b = *state;
    work(b, 1, "task-1", NULL);
    str_at(b, W_SEND, "arg.id", READ_AT_ENTRY, "task-2");
    call(b, BRIDGE_SAYS_START, W_SEND, 2);
    call(b, BRIDGE_SAYS_END, W_SEND, 2);
    call(b, BRIDGE_SAYS_END, W_WORK, 1); /* has ended when its child comes */
    b->now += 30 * NSEC_PER_MSEC;
    b->tgid = b->tid = 8;
    work(b, 1, "task-2", "task-1");
    call(b, BRIDGE_SAYS_END, W_WORK, 1);
    const struct span *first = b->got[1], *second = b->got[2];
    assert_child(second, first);
    assert_int_equal(second->join, JOIN_ENGINE);
    assert_true(second->remote_parent);
    assert_int_equal(second->n_links, 1);
    assert_memory_equal(second->links[0].to.span_id, b->got[0]->id.span_id, SPAN_ID_LEN);
    double wait = attr_get(&second->attrs, "wftrace.queue.wait")->d;
    assert_true(wait > 0.03 && wait < 0.04);
}

static void is_child(struct bed *b, u32 tgid, u32 ppid)
{
    b->tgid = b->tid = ppid;
    send(b, &(struct event){ .type = EVENT_FORK, .fork = { .child_tgid = tgid, .child_tid = tgid } });
}

static void ask(struct bed *b, u32 tgid, u64 activity, s64 last, const char *tool)
{
    b->tgid = b->tid = tgid;
    int_at(b, W_ASK, "self.last", last);
    str_at(b, W_ASK, "arg.tool", READ_AT_ENTRY, tool);
    call(b, BRIDGE_SAYS_START, W_ASK, activity);
    b->unit++; /* the next is somebody else's */
}

static const struct span *serve(struct bed *b, u32 tgid, u64 activity, s64 id, const char *tool)
{
    b->tgid = b->tid = tgid;
    int_at(b, W_SERVE, "arg.id", id);
    str_at(b, W_SERVE, "arg.tool", READ_AT_ENTRY, tool);
    call(b, BRIDGE_SAYS_START, W_SERVE, activity);
    call(b, BRIDGE_SAYS_END, W_SERVE, activity);
    return b->got[b->n - 1];
}

/* Numbers that each pair of processes counts for itself: a child asks those above it, and takes no answer from two. */
static void handed_to_children(void **state)
{
    struct bed *b = *state;
    is_child(b, 8, 7);
    is_child(b, 9, 8); /* a launcher is between */
    is_child(b, 20, 19);
    ask(b, 7, 1, 4, "a");
    ask(b, 19, 1, 4, "a"); /* of another family */
    const struct span *child = serve(b, 9, 1, 5, "a"), *cousin = serve(b, 20, 1, 5, "a"), *other = serve(b, 9, 2, 6, "a"),
                      *stranger = serve(b, 30, 1, 5, "a");
    u64 before = ledger_get(engine_ids_ambiguous);
    ask(b, 7, 2, 4, "a"); /* the same again, of another session: whose is it? */
    const struct span *twice = serve(b, 9, 3, 5, "a");
    assert_int_equal(ledger_get(engine_ids_ambiguous), before + 1);
    b->tgid = b->tid = 7;
    call(b, BRIDGE_SAYS_END, W_ASK, 2);
    call(b, BRIDGE_SAYS_END, W_ASK, 1);
    const struct span *late = serve(b, 9, 4, 5, "a"); /* nobody asks any more */
    b->tgid = b->tid = 19;
    call(b, BRIDGE_SAYS_END, W_ASK, 1);
    const struct span *mine = NULL, *theirs = NULL;
    for (int i = 0; i < b->n; i++)
        if (!strcmp(b->got[i]->name, "ask"))
            *(b->got[i]->tgid == 19 ? &theirs : &mine) = b->got[i]; /* mine: the one that ended last was the first */
    assert_string_equal(str(mine, "ask"), "5");
    assert_child(child, mine);
    assert_child(cousin, theirs);
    assert_int_equal(child->join, JOIN_ENGINE);
    const struct span *alone[] = { other, stranger, twice, late };
    for (size_t i = 0; i < ARRAY_LEN(alone); i++)
        assert_int_not_equal(alone[i]->join, JOIN_ENGINE);
}

/* No parent's id: the message's producer is the parent then. */
static void second_choice(void **state)
{
    struct bed *b = *state;
    str_at(b, W_SEND, "arg.id", READ_AT_ENTRY, "x");
    call(b, BRIDGE_SAYS_START, W_SEND, 1);
    b->tgid = b->tid = 8;
    work(b, 1, "x", NULL);
    call(b, BRIDGE_SAYS_END, W_WORK, 1);
    b->tgid = b->tid = 7;
    call(b, BRIDGE_SAYS_END, W_SEND, 1);
    assert_child(b->got[0], b->got[1]);
}

/* The parent becomes known while the child is open. */
static void parent_comes_later(void **state)
{
    struct bed *b = *state;
    work(b, 1, "child", "late");
    b->tgid = b->tid = 8;
    work(b, 1, "late", NULL);
    call(b, BRIDGE_SAYS_END, W_WORK, 1);
    b->tgid = b->tid = 7;
    call(b, BRIDGE_SAYS_END, W_WORK, 1);
    assert_child(b->got[1], b->got[0]);
    assert_int_equal(b->got[1]->join, JOIN_ENGINE);
}

/* `trace: new`: linked to its caller; but below the one that its parent_id names, if that is known. */
static void own_trace(void **state)
{
    struct bed *b = *state;
    str_at(b, W_SEND, "arg.id", READ_AT_ENTRY, "m1");
    call(b, BRIDGE_SAYS_START, W_SEND, 8);
    call(b, BRIDGE_SAYS_END, W_SEND, 8);
    node_start(b, 1, "caller");
    str_at(b, W_JOB, "arg.message", READ_AT_ENTRY, "not seen");
    call(b, BRIDGE_SAYS_START, W_JOB, 2);
    node_start(b, 3, "in job");
    call(b, BRIDGE_SAYS_END, W_NODE, 3);
    call(b, BRIDGE_SAYS_END, W_JOB, 2);
    call(b, BRIDGE_SAYS_END, W_NODE, 1);
    const struct span *job = named(b, "job"), *caller = named(b, "node caller");
    assert_memory_not_equal(job->id.trace_id, caller->id.trace_id, TRACE_ID_LEN);
    assert_int_equal(job->join, JOIN_ROOT);
    assert_memory_equal(job->links[0].to.span_id, caller->id.span_id, SPAN_ID_LEN);
    assert_child(named(b, "node in job"), job);
    node_start(b, 4, "beside");
    str_at(b, W_JOB, "arg.message", READ_AT_ENTRY, "m1");
    call(b, BRIDGE_SAYS_START, W_JOB, 5);
    call(b, BRIDGE_SAYS_END, W_JOB, 5);
    assert_child(b->got[b->n - 1], named(b, "send"));
    assert_int_equal(b->got[b->n - 1]->n_links, 0);
}

static void sub_start(struct bed *b, u64 activity, const char *id)
{
    str_at(b, W_SUB, "arg.id", READ_AT_ENTRY, id);
    call(b, BRIDGE_SAYS_START, W_SUB, activity);
    call(b, BRIDGE_SAYS_END, W_SUB, activity);
}
static void finish(struct bed *b, u64 activity, const char *id)
{
    call(b, BRIDGE_SAYS_START, W_FINISH, activity);
    str_at(b, W_FINISH, "self.id", READ_AT_RETURN, id);
    call(b, BRIDGE_SAYS_END, W_FINISH, activity);
}

/* An activity goes on after its function has returned, until another names its id; by the clock, not on its unit. */
static void until(void **state)
{
    struct bed *b = *state;
    graph_start(b, 1, 0);
    sub_start(b, 2, "s1");
    node_start(b, 3, "beside");
    call(b, BRIDGE_SAYS_END, W_NODE, 3);
    str_at(b, W_STEP, "arg.sub", READ_AT_ENTRY, "s1");
    call(b, BRIDGE_SAYS_START, W_STEP, 4);
    call(b, BRIDGE_SAYS_END, W_STEP, 4);
    finish(b, 5, "other");
    assert_int_equal(b->n, 2);
    finish(b, 6, "s1");
    assert_int_equal(b->n, 3);
    u64 ended = tracer_wall(b->tracer, b->now);
    finish(b, 7, "s1");
    sub_start(b, 8, "s2"); /* its parent fails */
    fail_with(b, W_GRAPH, 1, "builtins.KeyError", "k");
    assert_int_equal(b->n, 5);
    const struct span *sub = b->got[2], *g = named(b, "order.run");
    assert_string_equal(sub->name, "sub");
    assert_child(sub, g);
    assert_child(named(b, "in sub"), sub);
    assert_child(named(b, "node beside"), g);
    assert_int_equal(sub->end_ns, ended);
    assert_null(attr_get(&sub->attrs, "wftrace.active_time"));
    assert_string_equal(str(b->got[3], "error.type"), "KeyError");
}

static void lap_start(struct bed *b, u64 activity, const char *id)
{
    str_at(b, W_LAP, "arg.id", READ_AT_ENTRY, id);
    call(b, BRIDGE_SAYS_START, W_LAP, activity);
}
static void book(struct bed *b, u64 activity, const char *id)
{
    str_at(b, W_BOOK, "arg.id", READ_AT_ENTRY, id);
    str_at(b, W_BOOK, "arg.at", READ_AT_ENTRY, "1970-01-01 01:23:22.5");
    call(b, BRIDGE_SAYS_START, W_BOOK, activity);
    str_at(b, W_BOOK, "arg.id", READ_AT_RETURN, id);
    call(b, BRIDGE_SAYS_END, W_BOOK, activity);
}

/* `lasts: failed`: what failed goes on until it is put in the books, or until its parent ends; what returned ends there. */
static void until_booked(void **state)
{
    struct bed *b = *state;
    graph_start(b, 1, 0);
    lap_start(b, 2, "a");
    call(b, BRIDGE_SAYS_SUSPEND, W_LAP, 2);
    call(b, BRIDGE_SAYS_RESUME, W_LAP, 2);
    fail_with(b, W_LAP, 2, "builtins.KeyError", "a");
    b->now += 2 * NSEC_PER_SEC;
    node_start(b, 3, "beside");
    call(b, BRIDGE_SAYS_END, W_NODE, 3);
    book(b, 4, "other");
    assert_int_equal(b->n, 1);
    book(b, 5, "a");
    book(b, 6, "a"); /* and once more */
    assert_int_equal(b->n, 2);
    lap_start(b, 7, "b");
    book(b, 8, "b");
    assert_int_equal(b->n, 2);
    call(b, BRIDGE_SAYS_END, W_LAP, 7);
    lap_start(b, 9, "c");
    fail_with(b, W_LAP, 9, "builtins.ValueError", "c");
    assert_int_equal(b->n, 3);
    call(b, BRIDGE_SAYS_END, W_GRAPH, 1);
    assert_int_equal(b->n, 5);
    const struct span *a = named(b, "lap a"), *good = named(b, "lap b"), *left = named(b, "lap c"), *g = named(b, "order.run");
    assert_int_equal(a->end_ns, 5002500000000);
    assert_string_equal(str(a, "error.type"), "KeyError");
    assert_float_equal(attr_get(&a->attrs, "wftrace.active_time")->d, 0.002, 1e-6);
    assert_child(a, g);
    assert_child(named(b, "node beside"), g);
    assert_int_equal(good->status, STATUS_UNSET);
    assert_string_equal(str(left, "error.type"), "ValueError");
    assert_int_equal(left->end_ns, g->end_ns);
    assert_int_equal(g->status, STATUS_UNSET);
}

static void lost_with_its_process(void **state)
{
    struct bed *b = *state;
    graph_start(b, 1, 0);
    node_start(b, 2, "killed");
    exit_with(b, 9);
    assert_int_equal(b->n, 2);
    const struct span *killed = named(b, "node killed");
    assert_string_equal(str(killed, "error.type"), "SIGKILL");
    assert_int_equal(killed->end_ns, tracer_wall(b->tracer, b->now));
    assert_int_equal(named(b, "order.run")->status, STATUS_ERROR);
    graph_start(b, 1, 0); /* the same number in a later process */
    exit_with(b, 3 << 8);
    assert_string_equal(str(b->got[2], "error.type"), "lost");
    node_start(b, 1, "left");
    exit_with(b, 0);
    assert_int_equal(named(b, "node left")->status, STATUS_UNSET);
    assert_true(attr_get(&named(b, "node left")->attrs, "wftrace.unfinished")->b);
}

static void hostile(void **state)
{
    struct bed *b = *state;
    u64 before = ledger_get(bridge_unmatched);
    call(b, BRIDGE_SAYS_END, W_SEND, 99);
    call(b, BRIDGE_SAYS_RESUME, 0, 99);
    call(b, BRIDGE_SAYS_START, 500, 1);
    call(b, BRIDGE_SAYS_START, W_NODE, 2); /* no values at all: the last rule has no `when` */
    call(b, BRIDGE_SAYS_START, W_NODE, 2); /* twice */
    call(b, BRIDGE_SAYS_RESUME, W_NODE, 2);
    call(b, BRIDGE_SAYS_SUSPEND, W_NODE, 2);
    call(b, BRIDGE_SAYS_SUSPEND, W_NODE, 2);
    call(b, BRIDGE_SAYS_END, W_GRAPH, 2); /* under another watch's name */
    put(b, 0, 1, "bound=77 x", 10);
    call(b, BRIDGE_SAYS_NOTE, 0, 0);
    put(b, 0, 1, "=", 1);
    call(b, BRIDGE_SAYS_NOTE, 0, 0);
    put(b, 0, 5, NULL, 0);
    call(b, BRIDGE_SAYS_NOTE, 0, 0);
    assert_int_equal(b->n, 2);
    assert_true(ledger_get(bridge_unmatched) >= before + 2);
}

static void notes(void **state)
{
    struct bed *b = *state;
    struct workflow_notes n;
    struct workflow_watch w;
    put(b, 0, 1, "loaded=3.12.4", 13);
    call(b, BRIDGE_SAYS_NOTE, 0, 0);
    put(b, 0, 1, "bound=2 demo.graph:Node.run", 27);
    call(b, BRIDGE_SAYS_NOTE, 0, 0);
    put(b, 0, 1, "failed=3 no code", 16);
    call(b, BRIDGE_SAYS_NOTE, 0, 0);
    workflow_notes(b->w, &n);
    assert_int_equal(n.loaded, 1);
    assert_string_equal(n.version, "3.12.4");
    assert_true(workflow_watch(b->w, 1, &w));
    assert_int_equal(w.bound, 1);
    assert_true(workflow_watch(b->w, 2, &w));
    assert_string_equal(w.why, "no code");
    assert_false(workflow_watch(b->w, 99, &w));
}

/* The numbers in the events of a process with another watch list mean something else: nothing is made of them. */
static void other_lists(void **state)
{
    struct bed *b = *state;
    struct workflow_notes n;
    u64 before = ledger_get(bridge_foreign);
    struct event e = { .type = EVENT_BRIDGE,
                       .tgid = b->tgid,
                       .tid = b->tid,
                       .time = b->now,
                       .bridge = {
                           .phase = BRIDGE_SAYS_START, .watch = W_JOB, .activity = 1, .book = watch_book_id(&b->book, 1) ^ 1 } };
    workflow_event(b->w, &e);
    e.time += 1000, e.bridge.phase = BRIDGE_SAYS_END;
    workflow_event(b->w, &e);
    assert_int_equal(b->n, 0);
    assert_int_equal(ledger_get(bridge_foreign), before + 2);
    workflow_notes(b->w, &n);
    assert_int_equal(n.foreign, b->tgid);
    e.time += 1000, e.bridge.phase = BRIDGE_SAYS_START, e.bridge.book = watch_book_id(&b->book, 1);
    workflow_event(b->w, &e);
    e.time += 1000, e.bridge.phase = BRIDGE_SAYS_END;
    workflow_event(b->w, &e);
    assert_int_equal(b->n, 1);
    put(b, 0, 1, "failed=0 watch file, line 1: of another version", 47);
    call(b, BRIDGE_SAYS_NOTE, 0, 0);
    workflow_notes(b->w, &n);
    assert_non_null(strstr(n.refused, "of another version"));
}

static void watch_file(void **state)
{
    struct bed *b = *state;
    char *out = NULL;
    size_t n;
    FILE *f = open_memstream(&out, &n);
    assert_int_equal(watch_book_write(&b->book, 1, f), 0);
    fclose(f);
    char head[64];
    u32 id = watch_book_id(&b->book, 1);
    snprintf(head, sizeof(head), "wftrace-bridge 3 %06x\nwatch\t1\tdemo.graph\tGraph.run\n", id);
    assert_true(id && id < 1 << 24 && id != watch_book_id(&b->book, 2) && !strncmp(out, head, strlen(head)));
    assert_non_null(strstr(out, "\treturn\tself.children[0].name\n"));
    assert_non_null(strstr(out, "\tfail\tself.children[0].name\n"));
    assert_non_null(strstr(out, "\tentry\ttype(self)\n"));
    free(out);
}

static int parse(struct rules *r, const char *yaml, char *err, size_t size);

/* Which conditions are the helper's: those that it can decide, and only where nothing comes of a call that meets none. */
static void watch_file_when(void **state)
{
    UNUSED(state);
    static const struct {
        const char *rules, *lines;
    } t[] = {
        { "{ name: a, at: 'python:m:f', when: arg.n > -3 }", "when\t0\t0\t>\t-3\n" },
        { "{ name: a, at: 'python:m:f', when: 'caller !~ \"m:g*\"', attributes: { n: arg.n } }", "when\t0\t1\t!~\t\"m:g*\n" },
        { "{ name: a, at: 'python:m:f', when: [ 'caller[0] != \"m:g\"', 'caller[2] == null' ] }",
          "when\t0\t0\t!=\t\"m:g\nwhen\t0\t1\t==\tnull\n" },
        { "{ name: a, at: 'python:m:f', when: [ arg.n == null, 'arg.s == \"x y\"', arg.b != true ] }",
          "when\t0\t0\t==\tnull\nwhen\t0\t1\t==\t\"x y\nwhen\t0\t2\t!=\t1\n" },
        { "{ name: a, at: 'python:m:f', when: [ 'arg.n or arg.m == 1', len(arg.s) > 0 ] }", "when\t0\t2\t>\t0\n" },
        { "{ name: a, at: 'python:m:f', when: arg.n == 1 }, { name: b, at: 'python:m:f', when: arg.m == 2 }",
          "when\t0\t0\t==\t1\nwhen\t1\t1\t==\t2\n" },
        { "{ name: a, at: 'python:m:f', when: arg.n == 1 }, { name: b, at: 'python:m:f' }", "" },
        { "{ name: a, at: 'python:m:f', when: arg.n + 1 == 1 }", "" },
        { "{ name: a, at: 'python:m:f', when: 'arg.n or \"x\" == \"x\"' }", "" },
        { "{ name: a, at: 'python:m:f', when: 'typename(arg.n) == \"x\"' }", "" },
        { "{ name: a, at: 'python:m:f', when: 'arg.n ~ \"[ab]\"' }", "" },
        { "{ name: a, at: 'python:m:f', when: 'join(arg.n, arg.m) == \"a/b\"' }", "" },
        { "{ name: a, at: 'python:m:f', when: arg.n == 1, id: arg.i, until: 'python:m:f', until_id: arg.i }", "" },
        { "{ name: a, label: a, at: 'python:m:f', when: arg.n == 1 }, { into: a, at: 'python:m:f' }", "" },
        { "{ name: a, label: a, at: 'python:m:g' }, { into: a, at: 'python:m:f', when: arg.n == 2, attributes: { r: ret.r } }",
          "when\t0\t1\t==\t2\nstart\n" },
        { "{ name: a, label: a, at: 'python:m:f', when: arg.n == 1 }, { into: a, at: 'python:m:f', when: arg.n == 2 }",
          "when\t0\t0\t==\t1\nwhen\t1\t0\t==\t2\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct rules r = { 0 };
        struct watch_book book;
        char yaml[400], err[1024], *out = NULL;
        size_t n;
        snprintf(yaml, sizeof(yaml), "activities: [ %s ]", t[i].rules);
        if (parse(&r, yaml, err, sizeof(err)) || watch_book_make(&r, &book, err, sizeof(err)))
            fail_msg("%s: %s", t[i].rules, err);
        FILE *f = open_memstream(&out, &n);
        assert_int_equal(watch_book_write(&book, 1, f), 0);
        fclose(f);
        const char *lines = strstr(out, "when\t");
        if (strcmp(lines ? lines : "", t[i].lines))
            fail_msg("%s: %s", t[i].rules, out);
        free(out);
        watch_book_done(&book);
        rules_done(&r);
    }
}

static int parse(struct rules *r, const char *yaml, char *err, size_t size)
{
    return rules_parse(r, "u", yaml, strlen(yaml), err, size);
}
static bool no_demo(void *arg, const struct pack *p)
{
    UNUSED(arg);
    return strcmp(p->name, "demo") != 0;
}

static void overrides(void **state)
{
    struct bed *b = *state;
    char err[1024];
    assert_int_equal(b->rules.n_packs, 1);
    assert_string_equal(b->rules.packs[0].python[0], "demo");
    assert_int_equal(b->rules.packs[0].n_exe, 2);
    assert_int_equal(parse(&b->rules,
                           "packs: { demo: { node: { name: 'N {node} {x}', attributes: { x: self.x, node: self.id } } } }", err,
                           sizeof(err)),
                     0);
    assert_string_equal(b->rules.v[2].name, "N {node} {x}");
    assert_int_equal(b->rules.v[2].n_attrs, 2);
    assert_string_equal(b->rules.v[2].attrs[0].from.expr[0], "self.id");
    assert_int_equal(b->rules.v[2].n_errors, 1);
    assert_int_equal(parse(&b->rules, "packs: { dem: { enabled: false } }", err, sizeof(err)), -EINVAL);
    assert_non_null(strstr(err, "did you mean «demo»"));
    assert_int_equal(parse(&b->rules, "packs: { demo: { nod: { name: x } } }", err, sizeof(err)), -EINVAL);
    assert_non_null(strstr(err, "u:1:18: pack demo has no activity «nod» (did you mean «node»?)"));
    assert_int_equal(parse(&b->rules, "packs: { demo: { enabled: false } }", err, sizeof(err)), 0);
    assert_false(b->rules.packs[0].enabled);
    u8 n;
    assert_string_equal(rule_metrics(&b->rules, 0, &n)->name, "demo.time");
    assert_int_equal(n, 1);
    assert_string_equal(b->rules.v[0].metrics[0].attrs[0], "graph");
    assert_int_equal(parse(&b->rules, "activities: [ { name: mine, at: 'python:m:f' } ]", err, sizeof(err)), 0);
    rules_keep_packs(&b->rules, no_demo, NULL);
    assert_int_equal(b->rules.n, 1);
    assert_int_equal(b->rules.v[0].id, 0);
    assert_true(rules_want_bridge(&b->rules));
}

static void mistakes(void **state)
{
    UNUSED(state);
    static const struct {
        const char *yaml, *says;
    } t[] = {
        { "attributes: { a: slf.x }", "value «slf» is not known (did you mean «self»?)" },
        { "attributes: { a: arg }", "a name is missing: arg.NAME" },
        { "attributes: { a: self. }", "an attribute's name is missing" },
        { "attributes: { a: 'self[x]' }", "an index is a number or a \"key\"" },
        { "attributes: { a: 'len(self' }", "«)» is missing" },
        { "attributes: { a: self.x() }", "is not understood here" },
        { "attributes: { a: self.x or ret }", "read at one moment" },
        { "attributes: { a: after ret.x }", "«after» is for arguments" },
        { "when: ret == 1", "only arguments are known" },
        { "when: self.x", "a comparison is missing" },
        { "attributes: { a: caller.name }", "«caller» is a text" },
        { "attributes: { a: 'caller[8]' }", "counted from 0 to 7" },
        { "attributes: { a: 'caller[1' }", "counted from 0 to 7" },
        { "attributes: { a: 'caller[1].name' }", "«caller» is a text" },
        { "attributes: { a: str(caller) }", "«caller» is a text" },
        { "attributes: { a: after caller }", "«after» is for arguments" },
        { "error: errno", "is for functions (native:)" },
        { "error: self.x ~ 3", "a pattern is a" },
        { "until: p:x", "«until» needs «id» and «until_id»" },
        { "parent_id: ret.id", "only arguments are known" },
        { "parent_id: 'join(arg.a, arg.b'", "«,» or «)» is missing" },
        { "parent_id: 'join(arg.a, ret.b)'", "read at one moment" },
        { "until_when: exception", "asks values of the call" },
        { "lasts: failed", "«lasts» needs «until»" },
        { "lasts: long", "lasts «long» is not known" },
        { "parent_id: { to_child: arg.a }", "«to_child» stands in «id»" },
        { "id: { from_parent: arg.a }", "«from_parent» in «parent_id»" },
        { "link_id: { to_child: arg.a }", "can't be «to_child»" },
        { "attributes: { a: 'join(self.a, self.b + 1)' }", "«,» or «)» is missing" },
        { "started_at: ret.at", "something that the call is given" },
        { "ended_at: arg.at", "told of the activity that «into» names" },
        { "ended_at: now", "told of the activity that «into» names" },
        { "trace: old", "trace «old» is not known" },
        { "metrics: [ { counter: a, attributes: [ zz ] } ]", "there is no attribute «zz»" },
        { "metrics: [ { histogram: a } ]", "needs «of»" },
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        struct rules r = { 0 };
        char yaml[400], err[1024];
        snprintf(yaml, sizeof(yaml), "activities: [ { name: x, at: 'python:m:f', %s } ]", t[i].yaml);
        int code = parse(&r, yaml, err, sizeof(err));
        if (code != -EINVAL || !strstr(err, t[i].says))
            fail_msg("%s: %d %s", t[i].yaml, code, err);
        rules_done(&r);
    }
}

#define T(f) cmocka_unit_test_setup_teardown(f, bed_open, bed_close)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(values_and_outcome),
        T(choice),
        T(shown_as_it_starts),
        T(caught),
        T(caught_into),
        T(into_by_id),
        T(told_into),
        T(told_now),
        T(suspended),
        T(inner_wakes_first),
        T(generator_elsewhere),
        T(ids_across_processes),
        T(handed_to_children),
        T(second_choice),
        T(own_trace),
        T(notes),
        T(lost_with_its_process),
        T(parent_comes_later),
        T(hostile),
        T(until),
        T(until_when),
        T(until_booked),
        T(handed_on),
        T(other_lists),
        T(watch_file),
        cmocka_unit_test(watch_file_when),
        T(overrides),
        T(mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
