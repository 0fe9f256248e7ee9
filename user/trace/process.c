/* Processes: who made whom, and the span of each that ran a program.
 *
 * A process that called exec is an activity from its first exec to its end; the last image names it. A mere fork becomes
 * one only when its end tells something: a status other than 0, a signal. Its calls belong to its maker meanwhile. */
#include "trace/internal.h"
#include <signal.h>

struct process *process_get(struct tracer *t, u32 tgid)
{
    bool fresh;
    struct process *p = table_put(t->processes, &tgid, &fresh);
    if (p && fresh)
        p->tgid = tgid;
    return p;
}

/* The process that the record speaks of: its number may have been another's, whose successor's fork nobody told of. */
static struct process *process_now(struct tracer *t, const struct event *e)
{
    struct process *p = process_get(t, e->tgid);
    if (!p || !p->ended || e->time <= p->ended)
        return p;
    table_del(t->processes, &e->tgid);
    return process_get(t, e->tgid);
}

void process_drop(void *tracer, const void *key, void *value, enum table_drop_cause cause)
{
    struct process *p = value;
    if (cause != TABLE_CLOSED && p->activity && p->activity->open) { /* its end was lost, or is yet to come */
        attr_bool(&p->activity->span->attrs, "wftrace.unfinished", true);
        activity_end(tracer, p->activity, ((struct tracer *)tracer)->now);
    }
    p->resource = resource_unref(p->resource);
}

static struct slice base_name(struct slice path)
{
    for (size_t i = path.n; i > 0; i--)
        if (path.p[i - 1] == '/')
            return slice_from(path, i);
    return path;
}

/* Name, arguments: known at exec, again when one image replaces another. */
static void describe_image(struct tracer *t, struct process *p, const struct event *e, const struct exec_image *image)
{
    struct span *s = p->activity->span;
    struct slice exe = e->exec.filename, words[64];
    if (p->execs > 1 && slot_of(p->activity)->children) { /* what it already did, it did under its first name */
        attr_str(&s->attrs, "wftrace.process.replaced_by", base_name(exe));
        return;
    }
    size_t n = 0;
    struct slice rest = e->exec.args;
    while (rest.n && n < ARRAY_LEN(words)) {
        ptrdiff_t end = slice_find(rest, 0);
        words[n++] = end < 0 ? rest : slice_head(rest, (size_t)end);
        rest = end < 0 ? slice_of(NULL, 0) : slice_from(rest, (size_t)end + 1);
    }
    attr_str(&s->attrs, "process.executable.name", base_name(exe));
    attr_str(&s->attrs, "process.executable.path", exe);
    attr_int(&s->attrs, "process.pid", p->tgid);
    attr_int(&s->attrs, "process.parent_pid", p->ppid);
    if (n)
        attr_str(&s->attrs, "process.command", words[0]);
    if (t->o.keep_values)
        attr_strv(&s->attrs, "process.command_args", words, n);
    else
        attr_int(&s->attrs, "process.args_count", (s64)n);
    span_set_name(s, exe.n ? base_name(exe) : slice_str("process"));
    if (p->exec_rule)
        t->o.exec.begin(p->exec_rule, image, s);
}

/* The image, or for a script that was run by its name the interpreter: the kernel makes that the first argument, and the
 * script's name the second, or the third behind an option. */
static struct slice program_run(const struct event *e)
{
    struct slice first = { 0 }, rest = e->exec.args;
    for (int i = 0; i < 3 && rest.n; i++) {
        ptrdiff_t nul = slice_find(rest, 0);
        struct slice word = nul < 0 ? rest : slice_head(rest, (size_t)nul);
        if (!i)
            first = word;
        else if (word.n == e->exec.filename.n && !memcmp(word.p, e->exec.filename.p, word.n))
            return first;
        rest = nul < 0 ? slice_of("", 0) : slice_from(rest, word.n + 1);
    }
    return e->exec.filename;
}

/* Remembers which program runs here now, and which one it was made by: for those that we did not see being forked the
 * parent's. */
static void name_image(struct tracer *t, struct process *p, const struct event *e)
{
    struct process *above = p->made_by[0] ? NULL : table_peek(t->processes, &p->ppid);
    struct slice name = base_name(program_run(e));
    if (above)
        memcpy(p->made_by, above->image, sizeof(p->made_by));
    else if (!p->made_by[0] && p->ppid == 1)
        snprintf(p->made_by, sizeof(p->made_by), "init");
    snprintf(p->image, sizeof(p->image), "%.*s", (int)min_u64(name.n, sizeof(p->image) - 1), name.n ? (const char *)name.p : "");
}

/* What the record itself tells, in PROCINFO's form: all there will be of a process that is gone before anyone looks. */
static struct resource *resource_of_exec(struct tracer *t, const struct event *e)
{
    char text[1024];
    size_t exe = min_u64(e->exec.filename.n, 255), room = sizeof(text) - exe - 16;
    size_t args = min_u64(e->exec.args.n, room);
    int n = snprintf(text, sizeof(text), "exe=%.*s%cargs=", (int)exe, (const char *)e->exec.filename.p, 0);
    for (size_t i = 0; i < args; i++)
        text[n++] = e->exec.args.p[i] ? (char)e->exec.args.p[i] : '\x1f';
    text[n++] = 0;
    return service_resource(&t->o, e->tgid, slice_of(text, (size_t)n));
}

/* TRACEPARENT in the environment speaks of this process only if it was set for it, not inherited by all. */
static const struct span_context *env_parent(struct tracer *t, const struct process *p)
{
    struct process *maker = table_peek(t->processes, &p->ppid);
    const struct span_context *above = maker && span_context_valid(&maker->env) ? &maker->env : &t->o.root;
    return span_context_valid(&p->env) && memcmp(p->env.span_id, above->span_id, SPAN_ID_LEN) ? &p->env : NULL;
}

static struct activity *process_begin(struct tracer *t, struct process *p, const struct event *e, bool new_trace)
{
    struct activity *maker = weak_get(p->maker);
    struct activity_start start = {
        .time = e->time,
        .tgid = e->tgid,
        .tid = e->tid,
        .kind = SPAN_INTERNAL,
        .scope = "process",
        .name = e->exec.filename.n ? base_name(e->exec.filename) : slice_str("process"),
        .join = JOIN_ENV,
        .new_trace = new_trace,
        .parent = env_parent(t, p),
    };
    struct parent parent = maker ? (struct parent){ maker, JOIN_EDGE, false } : parent_find(t, p->ppid, p->ppid, 0);
    if (!parent.a && !start.parent && span_context_valid(&t->o.root))
        start.parent = &t->o.root, start.tracestate = t->o.root_state;
    struct process *above = table_peek(t->processes, &p->ppid);
    if (!parent.a && !(above && above->requests)) /* some request's work, but whose? stays unknown */
        parent.join = JOIN_ROOT;
    return activity_open(t, &start, OF_PROCESS, &parent);
}

static void runtime_clear(struct process *p)
{
    p->python = p->go = p->node = p->java = false;
    p->handover = 0;
}

static void on_exec(struct tracer *t, const struct event *e)
{
    struct process *p = process_now(t, e);
    if (!p)
        return;
    p->from_start = true;
    p->pipe_in = p->pipe_out = 0; /* told next, if they are pipes */
    if (!p->ppid)                 /* who forked it is its parent, also when init has adopted it since */
        p->ppid = e->exec.ppid;
    if (p->informed != e->time) { /* nobody could look: the record must do */
        runtime_clear(p);
        resource_unref(p->resource);
        p->resource = resource_of_exec(t, e);
    }
    name_image(t, p, e);
    bool informed = t->info.tgid == e->tgid && t->info.time == e->time, new_trace = false;
    struct exec_image image = { .exe = e->exec.filename,
                                .args = e->exec.args,
                                .parent = p->made_by,
                                .uid = e->exec.uid,
                                .procinfo = informed ? slice_of(t->info.text, t->info.n) : slice_of("", 0) };
    const void *rule = t->o.exec.match ? t->o.exec.match(t->o.exec.arg, &image, &new_trace) : NULL;
    bool begun = !p->activity || !p->activity->open;
    if (begun)
        p->activity = process_begin(t, p, e, new_trace);
    p->execs++;
    if (p->activity && !(p->execs > 1 && slot_of(p->activity)->children))
        p->exec_rule = rule;
    if (p->activity)
        describe_image(t, p, e, &image);
    if (p->activity && begun)
        activity_started(t, p->activity);
}

/* wait(2) status → attributes, status, error type. */
static void describe_end(struct process *p, struct span *s, const struct event *e)
{
    u32 status = e->exit.status;
    int sig = status & 0x7f, code = (status >> 8) & 0xff;
    char type[32] = "", text[64];
    if (sig) {
        const char *abbrev = sigabbrev_np(sig);
        snprintf(type, sizeof(type), p->oom ? "OOM" : abbrev ? "SIG%s" : "signal", abbrev);
        snprintf(text, sizeof(text), p->oom ? "killed: out of memory" : "ended by signal %d (%s)", sig, type);
        attr_str(&s->attrs, "wftrace.process.signal", slice_str(p->oom ? "SIGKILL" : type));
        attr_int(&s->attrs, "process.exit.code", 128 + sig);
        if (status & 0x80)
            attr_bool(&s->attrs, "wftrace.process.core_dumped", true);
        if (p->oom)
            attr_bool(&s->attrs, "wftrace.process.oom_killed", true);
    } else {
        attr_int(&s->attrs, "process.exit.code", code);
        if (code) {
            snprintf(type, sizeof(type), "%d", code);
            snprintf(text, sizeof(text), "exit code %d", code);
        }
    }
    if (type[0]) {
        attr_str(&s->attrs, "error.type", slice_str(type));
        span_set_error(s, slice_str(text));
    }
    if (e->exit.utime || e->exit.stime) {
        attr_double(&s->attrs, "wftrace.cpu.user_s", (double)e->exit.utime / 1e9);
        attr_double(&s->attrs, "wftrace.cpu.system_s", (double)e->exit.stime / 1e9);
    }
    if (e->exit.rss_peak)
        attr_int(&s->attrs, "wftrace.memory.peak_bytes", (s64)e->exit.rss_peak);
}

/* A fork without exec, worth a span after the fact. */
static struct activity *late_span(struct tracer *t, struct process *p, const struct event *e)
{
    struct activity *maker = weak_get(p->maker);
    struct activity_start start = {
        .time = p->born ? p->born : e->time,
        .tgid = p->tgid,
        .tid = p->tgid,
        .kind = SPAN_INTERNAL,
        .scope = "process",
        .name = slice_str(p->comm[0] ? p->comm : "process"),
    };
    struct parent parent = maker ? (struct parent){ maker, JOIN_EDGE, false } : parent_find(t, p->ppid, p->ppid, 0);
    struct activity *a = activity_open(t, &start, OF_PROCESS, &parent);
    if (a) {
        attr_int(&a->span->attrs, "process.pid", p->tgid);
        attr_int(&a->span->attrs, "process.parent_pid", p->ppid);
        attr_bool(&a->span->attrs, "wftrace.process.forked_only", true);
        activity_started(t, a);
    }
    return a;
}

static void on_exit_(struct tracer *t, const struct event *e)
{
    if (e->exit.thread)
        return;
    struct process *p = table_peek(t->processes, &e->tgid);
    if (!p)
        return;
    if (!p->ppid)
        p->ppid = e->exit.ppid;
    if (!p->activity && p->from_start && e->exit.status)
        p->activity = late_span(t, p, e);
    if (p->activity && p->activity->open) {
        describe_end(p, p->activity->span, e);
        if (p->exec_rule)
            t->o.exec.end(p->exec_rule, e->exit.status, p->activity->span);
        activity_end(t, p->activity, e->time);
    }
    p->activity = NULL;
    p->ended = e->time;
    p->resource = resource_unref(p->resource);
}

static void on_fork(struct tracer *t, const struct event *e)
{
    if (e->fork.thread)
        return;
    struct process *maker = process_get(t, e->tgid);
    struct process like = maker ? *maker : (struct process){ 0 }; /* making the child may evict it */
    u32 child = e->fork.child_tgid;
    table_del(t->processes, &child);
    struct process *p = process_get(t, child);
    if (!p)
        return;
    enum join join;
    p->ppid = e->tgid;
    p->born = e->time;
    p->from_start = true;
    p->python = like.python;
    p->go = like.go;
    p->node = like.node;
    p->java = like.java;
    p->handover = like.handover;
    memcpy(p->comm, like.comm, sizeof(p->comm));
    memcpy(p->image, like.image, sizeof(p->image));
    memcpy(p->made_by, like.image, sizeof(p->made_by));
    p->maker = weak_to(unit_label(t, e->tgid, e->tid, e->unit, &join));
}

static void read_runtime(struct process *p, struct slice text)
{
    runtime_clear(p);
    p->python = procinfo_get(text, "python").n > 0;
    p->go = procinfo_get(text, "go").n > 0;
    p->node = procinfo_get(text, "node").n > 0;
    p->java = procinfo_get(text, "java").n > 0;
    (void)slice_u64(procinfo_get(text, "handover"), &p->handover);
}

static void on_procinfo(struct tracer *t, const struct event *e)
{
    struct process *p = process_now(t, e);
    if (!p)
        return;
    struct slice text = e->procinfo.text, seen = procinfo_get(text, "seen");
    read_runtime(p, text);
    if (slice_eq(seen, "attach"))
        p->from_start = false;
    u64 ppid = 0;
    if (!p->ppid && !slice_u64(procinfo_get(text, "ppid"), &ppid))
        p->ppid = (u32)ppid;
    struct slice comm = slice_head(procinfo_get(text, "comm"), sizeof(p->comm) - 1);
    if (comm.n) {
        memset(p->comm, 0, sizeof(p->comm));
        memcpy(p->comm, comm.p, comm.n);
    }
    if (traceparent_parse(procinfo_get(text, "env.TRACEPARENT"), &p->env))
        p->env = (struct span_context){ 0 };
    if (!procinfo_get(text, "exe").n)
        return;
    p->informed = t->info.time = e->time;
    t->info.tgid = e->tgid;
    t->info.n = (u16)min_u64(text.n, sizeof(t->info.text));
    memcpy(t->info.text, text.p, t->info.n);
    resource_unref(p->resource);
    p->resource = service_resource(&t->o, e->tgid, text);
    if (!p->activity || !p->activity->open)
        return;
    struct span *s = p->activity->span;
    resource_unref(s->resource);
    s->resource = resource_ref(p->resource ? p->resource : t->unknown);
}

void processes_event(struct tracer *t, const struct event *e)
{
    switch (e->type) {
    case EVENT_FORK:
        return on_fork(t, e);
    case EVENT_EXEC:
        return on_exec(t, e);
    case EVENT_EXIT:
        return on_exit_(t, e);
    case EVENT_PROCINFO:
        return on_procinfo(t, e);
    case EVENT_COMM: {
        struct process *p = e->tid == e->tgid ? process_get(t, e->tgid) : NULL;
        if (p) {
            memset(p->comm, 0, sizeof(p->comm));
            if (e->comm.comm.n)
                memcpy(p->comm, e->comm.comm.p, min_u64(e->comm.comm.n, sizeof(p->comm) - 1));
        }
        return;
    }
    case EVENT_PIPES: {
        struct process *p = table_peek(t->processes, &e->tgid);
        if (p)
            pipes_seen(t, p, e->pipes.in, e->pipes.out);
        break;
    }
    case EVENT_OOM: {
        struct process *p = table_peek(t->processes, &e->oom.victim);
        if (p)
            p->oom = true;
        return;
    }
    default:
        return;
    }
}

u32 tracer_parent_process(struct tracer *t, u32 tgid)
{
    const struct process *p = table_peek(t->processes, &tgid);
    return p ? p->ppid : 0;
}

struct resource *tracer_resource(struct tracer *t, u32 tgid)
{
    struct process *p = process_get(t, tgid);
    if (!p)
        return t->unknown;
    for (u32 at = tgid, hops = 0; !p->resource && hops < 8; hops++) { /* a fork is its maker's service */
        struct process *up = table_peek(t->processes, &at);
        if (!up)
            break;
        if (up->resource && !p->execs)
            p->resource = resource_ref(up->resource);
        at = up->ppid;
    }
    if (!p->resource)
        p->resource = service_resource(&t->o, tgid, slice_of(NULL, 0));
    return p->resource ? p->resource : t->unknown;
}

struct each_process {
    void (*see)(void *to, u32 tgid, struct resource *r);
    void *to;
};

static bool visit_process(void *arg, const void *key, void *value)
{
    const struct each_process *each = arg;
    const struct process *p = value;
    if (p->resource) /* it goes with the process */
        each->see(each->to, p->tgid, p->resource);
    return true;
}

void tracer_each_process(struct tracer *t, void (*see)(void *to, u32 tgid, struct resource *r), void *to)
{
    struct each_process each = { see, to };
    table_each(t->processes, visit_process, &each);
}
