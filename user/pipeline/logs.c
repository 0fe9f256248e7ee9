/* Writes → lines → records. A stream is a descriptor of a process; an assembly is what one unit has begun to write to it and
 * not finished: half a line, or a traceback that is printed line by line. Most writes are whole lines and pass
 * through without either. */
#include "pipeline/logs.h"
#include "base/table.h"
#include "pipeline/logs_line.h"
#include "self/ledger.h"

#include <sys/stat.h>

#define ASSEMBLIES_MAX 256
#define PATIENCE_NS    (100 * NSEC_PER_MSEC)
#define DEV_NULL       (1u << 20 | 3)
#define FLUSHED_BYTES  1024 /* a call of that much that ends in mid-line was a buffer */

enum leads_to { TO_UNKNOWN, TO_TERMINAL, TO_FILE, TO_PIPE, TO_SOCKET, TO_NOTHING };

struct program {
    enum leads_to to[3];
    u64 pipe[3];     /* TO_PIPE: its inode */
    bool unbuffered; /* a Python that was told so */
    bool shell;      /* what it puts behind a pipe of its own making is data on the way */
    bool captured;   /* it runs behind such a pipe */
    double tokens;
    u64 filled; /* boot ns */
};
struct stream_key {
    u32 tgid, fd;
};
struct out_stream {
    bool buffered; /* seen to collect lines */
};
struct assembly_key {
    u32 tgid, fd, tid, pad;
    u64 unit;
};
struct assembly {
    u64 time; /* boot ns of its first bytes */
    u64 last;
    struct span_context context;
    struct activity *owner; /* with its generation: it may have ended */
    u32 generation;
    enum log_block block;
    u32 n;
    char text[LOG_BODY];
};
struct logs {
    struct logs_options o;
    struct tracer *tracer;
    struct log_sink *sink;
    struct table *programs, *streams, *assemblies, *readers; /* readers: pipes that somebody reads as standard input */
    u64 now;
};

/* One call's bytes on their way into records. */
struct writing {
    struct logs *l;
    struct assembly_key key;
    struct out_stream *stream;
    struct activity *owner; /* NULL: not known, or not to be believed */
    struct span_context context;
    u64 time; /* boot ns */
    bool cut;
};

/* --- processes --- */

static enum leads_to leads_to(struct slice link, u64 *ret_pipe)
{
    *ret_pipe = 0;
    if (!link.n)
        return TO_UNKNOWN;
    if (slice_starts(link, "pipe:[")) {
        (void)slice_u64(slice_of(link.p + 6, link.n - 7), ret_pipe);
        return TO_PIPE;
    }
    if (slice_starts(link, "/dev/pts/") || slice_starts(link, "/dev/tty") || slice_starts(link, "/dev/console"))
        return TO_TERMINAL;
    if (slice_starts(link, "socket:["))
        return TO_SOCKET;
    return slice_eq(link, "/dev/null") ? TO_NOTHING : TO_FILE;
}

static bool python_unbuffered(struct slice info)
{
    struct slice args = procinfo_get(info, "args");
    if (procinfo_get(info, "env.PYTHONUNBUFFERED").n)
        return true;
    for (size_t i = 0; i + 3 < args.n; i++) {
        if (args.p[i] == 0x1f && args.p[i + 1] == '-' && args.p[i + 2] == 'u' && args.p[i + 3] == 0x1f)
            return true;
    }
    return false;
}

static bool is_shell(struct slice comm)
{
    static const char *const names[] = { "sh", "bash", "dash", "zsh", "ash", "ksh", "busybox", "make" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_eq(comm, names[i]))
            return true;
    }
    return false;
}

/* Its standard output is a pipe that its shell made for it: $(…), a | b. */
static bool is_captured(struct logs *l, const struct program *p, struct slice ppid)
{
    u64 number = 0;
    (void)slice_u64(ppid, &number);
    u32 parent = (u32)number;
    const struct program *shell = table_peek(l->programs, &parent);
    if (!shell || p->to[1] != TO_PIPE)
        return false;
    if (shell->captured && shell->pipe[1] == p->pipe[1])
        return true;
    return shell->shell && shell->pipe[1] != p->pipe[1] && shell->pipe[2] != p->pipe[1];
}

static void on_procinfo(struct logs *l, const struct event *e)
{
    static const char *const names[] = { "fd0", "fd1", "fd2" };
    struct program *p = table_put(l->programs, &e->tgid, NULL);
    if (!p || !procinfo_get(e->procinfo.text, "fd1").n) /* gone already: what it had from its maker stands */
        return;
    for (int fd = 0; fd < 3; fd++)
        p->to[fd] = leads_to(procinfo_get(e->procinfo.text, names[fd]), &p->pipe[fd]);
    p->unbuffered = python_unbuffered(e->procinfo.text);
    p->shell = is_shell(procinfo_get(e->procinfo.text, "comm"));
    p->captured = is_captured(l, p, procinfo_get(e->procinfo.text, "ppid"));
    if (p->to[0] == TO_PIPE)
        (void)table_put(l->readers, &p->pipe[0], NULL);
}

/* A forked process that has told nothing of itself yet has its parent's descriptors. */
static void on_fork(struct logs *l, const struct event *e)
{
    const struct program *maker = table_peek(l->programs, &e->tgid);
    if (e->fork.thread || !maker)
        return;
    struct program copy = *maker, *child = table_put(l->programs, &e->fork.child_tgid, NULL);
    if (child)
        *child = copy;
}

/* By what the kernel saw at the write; a shell's fork that has not told of itself has its maker's row. */
static bool is_log(struct logs *l, const struct program *p, const struct event *e)
{
    u32 fd = e->write.fd;
    if (fd > 2 || !p)
        return true;
    if (p->to[fd] == TO_NOTHING || (S_ISCHR(e->write.mode) && e->write.inode == DEV_NULL))
        return false;
    if (!S_ISFIFO(e->write.mode))
        return true;
    u64 pipe = e->write.inode;
    bool data = p->captured && pipe == p->pipe[1];
    data |= p->shell && pipe != p->pipe[1] && pipe != p->pipe[2];
    return !data && !table_get(l->readers, &pipe);
}

/* A bucket of one second's records. */
static bool within_rate(struct logs *l, u32 tgid, u64 now)
{
    struct program *p = l->o.rate ? table_put(l->programs, &tgid, NULL) : NULL;
    if (!p)
        return true;
    double fresh = p->filled ? (double)(now - min_u64(p->filled, now)) / 1e9 * l->o.rate : l->o.rate;
    p->tokens = p->tokens + fresh > l->o.rate ? l->o.rate : p->tokens + fresh;
    p->filled = now;
    if (p->tokens < 1)
        return false;
    p->tokens -= 1;
    return true;
}

/* --- records --- */

/* A program's own JSON may give these names to numbers. */
static struct slice text_attr(const struct attr_set *set, const char *key)
{
    const struct attr *a = attr_get(set, key);
    return a && a->type == ATTR_STR ? slice_of(a->s, a->len) : slice_of(NULL, 0);
}

/* What a log tells of an exception is an event of the span that is still open, unless the span has it already. */
static void note_exception(const struct writing *w, const struct log_record *r)
{
    struct slice type = text_attr(&r->attrs, "exception.type");
    struct span *s = w->owner ? w->owner->span : NULL;
    if (!type.n || !s || s->n_events >= SPAN_EVENTS)
        return;
    for (u8 i = 0; i < s->n_events; i++) {
        const struct span_event *e = &s->events[i];
        for (u8 k = 0; k < e->n_attrs; k++) {
            if (!strcmp(e->attrs[k].key, "exception.type") && slice_eq(type, e->attrs[k].s))
                return;
        }
    }
    span_add_exception(s, tracer_wall(w->l->tracer, w->time), type, text_attr(&r->attrs, "exception.message"),
                       text_attr(&r->attrs, "exception.stacktrace"));
}

static void describe(const struct writing *w, struct log_record *r, u64 wall)
{
    static const struct span_context none;
    struct logs *l = w->l;
    bool own = memcmp(r->context.trace_id, none.trace_id, TRACE_ID_LEN) != 0;
    r->observed_ns = wall;
    r->time_ns = r->time_ns ? r->time_ns : wall;
    r->scope = w->key.fd == 1 ? "stdout" : w->key.fd == 2 ? "stderr" : "file";
    r->resource = resource_ref(tracer_resource(l->tracer, w->key.tgid));
    if (!own)
        r->context = w->context;
    if (w->key.fd <= 2)
        attr_str(&r->attrs, "log.iostream", slice_str(r->scope));
    attr_int(&r->attrs, "thread.id", w->key.tid);
    if (w->cut)
        attr_bool(&r->attrs, "wftrace.log.cut", true);
    if (!own && !span_context_valid(&w->context))
        ledger_add(logs_unattributed, 1);
}

static void emit(const struct writing *w, struct slice text)
{
    struct logs *l = w->l;
    while (text.n && (text.p[text.n - 1] == '\n' || text.p[text.n - 1] == '\r'))
        text.n--;
    if (!text.n)
        return;
    u64 wall = tracer_wall(l->tracer, w->time);
    struct log_record *r = within_rate(l, w->key.tgid, w->time) ? log_line_record(text, wall) : NULL;
    ledger_add(logs_seen, 1);
    if (!r) {
        ledger_add(logs_dropped_rate, 1);
        return;
    }
    if (r->severity && r->severity < l->o.min_severity) {
        ledger_add(logs_dropped_severity, 1);
        log_unref(r);
        return;
    }
    describe(w, r, wall);
    note_exception(w, r);
    l->sink->emit(l->sink, r);
}

/* --- assembling --- */

static void assembly_out(struct logs *l, const struct assembly_key *key, struct assembly *a)
{
    bool there = a->owner && a->owner->open && a->owner->generation == a->generation;
    struct writing w = { .l = l, .key = *key, .context = a->context, .time = a->time, .owner = there ? a->owner : NULL };
    emit(&w, slice_of(a->text, a->n));
    a->n = 0;
}

static void assembly_drop(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    struct assembly_key k;
    memcpy(&k, key, sizeof(k));
    if (cause == TABLE_EVICTED)
        assembly_out(arg, &k, value);
}

/* A traceback waits for another that may follow from it; its activity does not wait. */
static void note_early(const struct writing *w, struct slice text)
{
    struct log_record *r = w->owner ? log_line_record(text, 0) : NULL;
    if (r)
        note_exception(w, r);
    log_unref(r);
}

/* Keeps the end of a call's bytes until more of it comes. */
static void keep(const struct writing *w, struct slice rest, enum log_block block)
{
    struct assembly *a = table_put(w->l->assemblies, &w->key, NULL);
    if (!a || rest.n > sizeof(a->text)) {
        emit(w, rest);
        if (a)
            table_del(w->l->assemblies, &w->key);
        return;
    }
    a->time = w->time;
    a->context = w->context;
    a->owner = w->owner;
    a->generation = w->owner ? w->owner->generation : 0;
    memmove(a->text, rest.p, rest.n);
    a->n = (u32)rest.n;
    a->block = block;
    a->last = w->l->now;
    if (block == LOG_BLOCK_RAISED)
        note_early(w, slice_of(a->text, a->n));
}

static void forget(const struct writing *w) { (void)table_del(w->l->assemblies, &w->key); }

static struct slice line_at(struct slice text, size_t at, bool *ret_whole)
{
    struct slice rest = slice_from(text, at);
    ptrdiff_t end = slice_find(rest, '\n');
    *ret_whole = end >= 0;
    return slice_head(rest, end < 0 ? rest.n : (size_t)end);
}

static u32 records_in(struct slice text)
{
    enum log_block block = LOG_BLOCK_NONE;
    u32 n = 0;
    bool whole, more = false;
    for (size_t at = 0; at < text.n;) {
        struct slice line = line_at(text, at, &whole);
        n += line.n && log_line_kind(line, more, at > 0, &block) == LOG_LINE_NEW;
        more |= line.n > 0;
        at += line.n + 1;
    }
    return n;
}

/* A program that writes several records in one call has collected them, and whose each of them is it does not say; one that fills
 * a buffer to its brim does so always. */
static void judge(struct writing *w, const struct event *e)
{
    struct slice bytes = e->write.bytes;
    bool whole = bytes.n && bytes.p[bytes.n - 1] == '\n', brim = bytes.n % 4096 == 0;
    if (bytes.n && !w->cut && !e->write.more && (brim || (!whole && bytes.n >= FLUSHED_BYTES)))
        w->stream->buffered = true;
    if (!w->stream->buffered && records_in(bytes) < 2)
        return;
    w->context = (struct span_context){ 0 };
    w->owner = NULL;
}

/* `from`: where this call's bytes begin in the text; before it lies what `kept` has begun. */
static void split(const struct writing *w, const struct writing *kept, struct slice text, size_t from, enum log_block block)
{
    size_t begun = 0;
    const struct writing *whose = from ? kept : w;
    bool has = from > 0, whole = true;
    for (size_t at = from ? min_u64(from, text.n) : 0; at < text.n;) {
        bool inside = from && at == from && text.p[from - 1] != '\n'; /* the rest of a kept line */
        struct slice line = line_at(text, at, &whole);
        if (!inside && log_line_kind(line, has, at > from, &block) == LOG_LINE_NEW && has) {
            emit(whose, slice_of(text.p + begun, at - begun));
            whose = w;
            begun = at;
        }
        has = true;
        at += line.n + 1;
    }
    struct slice rest = slice_from(text, begun);
    if (!rest.n)
        return forget(w);
    if (!w->cut && (!whole || block != LOG_BLOCK_NONE))
        return keep(whose, rest, block);
    emit(whose, rest);
    forget(w);
}

static void attribute(struct writing *w, const struct event *e, const struct program *p)
{
    bool certain, maybe = p && !p->unbuffered && e->write.fd == 1 && p->to[1] != TO_TERMINAL;
    struct activity *a = tracer_current(w->l->tracer, e->tgid, e->tid, e->unit, &certain);
    if (!a || (maybe && !certain))
        return;
    w->owner = a;
    w->context = a->span->id;
}

static void on_write(struct logs *l, const struct event *e)
{
    struct program *p = table_get(l->programs, &e->tgid);
    struct stream_key sk = { e->tgid, e->write.fd };
    struct out_stream unknown = { .buffered = true }; /* no memory: the lines are taken, without ids */
    if (!is_log(l, p, e))
        return ledger_add(logs_not_logs, 1);
    struct writing w = { .l = l,
                         .key = { .tgid = e->tgid, .fd = e->write.fd, .tid = e->tid, .unit = e->unit },
                         .stream = table_put(l->streams, &sk, NULL),
                         .time = e->time,
                         .cut = e->write.len > e->write.bytes.n };
    if (!w.stream)
        w.stream = &unknown;
    attribute(&w, e, p);
    judge(&w, e);
    const struct assembly *a = table_peek(l->assemblies, &w.key);
    u8 joined[LOG_BODY * 2];
    struct slice text = e->write.bytes;
    struct writing kept = w;
    size_t from = a ? a->n : 0;
    enum log_block block = a ? a->block : LOG_BLOCK_NONE;
    if (from) {
        text = slice_of(joined, from + min_u64(text.n, sizeof(joined) - from));
        memcpy(joined, a->text, from);
        memcpy(joined + from, e->write.bytes.p, text.n - from);
        kept.time = a->time;
        kept.context = a->context;
        kept.owner = a->owner && a->owner->open && a->owner->generation == a->generation ? a->owner : NULL;
    }
    if (e->write.more)
        return keep(from ? &kept : &w, text, block);
    split(&w, &kept, text, from, block);
}

/* --- ends --- */

struct leaving {
    struct logs *l;
    u32 tgid;       /* 0: any */
    u64 older_than; /* boot ns */
};

static bool leave(void *arg, const void *key, void *value)
{
    struct leaving *v = arg;
    struct assembly *a = value;
    struct assembly_key k;
    memcpy(&k, key, sizeof(k));
    if ((v->tgid && k.tgid != v->tgid) || a->last > v->older_than)
        return true;
    assembly_out(v->l, &k, a);
    table_del(v->l->assemblies, key);
    return true;
}

static void leave_all(struct logs *l, u32 tgid, u64 older_than)
{
    struct leaving v = { l, tgid, older_than };
    if (table_count(l->assemblies))
        table_each(l->assemblies, leave, &v);
}

static void on_end(struct logs *l, const struct event *e)
{
    if (e->exit.thread)
        return;
    leave_all(l, e->tgid, UINT64_MAX);
    for (u32 fd = 1; fd < 3; fd++)
        table_del(l->streams, &(struct stream_key){ e->tgid, fd });
    table_del(l->programs, &e->tgid);
}

void logs_event(struct logs *l, const struct event *e)
{
    l->now = max_u64(l->now, e->time);
    switch (e->type) {
    case EVENT_WRITE:
        return on_write(l, e);
    case EVENT_PROCINFO:
        return on_procinfo(l, e);
    case EVENT_FORK:
        return on_fork(l, e);
    case EVENT_EXIT:
        return on_end(l, e);
    default:
        return;
    }
}

void logs_tick(struct logs *l, u64 now_boot)
{
    l->now = max_u64(l->now, now_boot);
    leave_all(l, 0, l->now > PATIENCE_NS ? l->now - PATIENCE_NS : 0);
}

struct logs *logs_new(const struct logs_options *o, struct tracer *tracer, struct log_sink *sink)
{
    struct logs *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->o = *o;
    l->tracer = tracer;
    l->sink = sink;
    u32 max = o->max_streams ? o->max_streams : 8192;
    l->programs = table_new(&(struct table_spec){ .key_size = sizeof(u32), .value_size = sizeof(struct program), .max = max });
    l->streams = table_new(
        &(struct table_spec){ .key_size = sizeof(struct stream_key), .value_size = sizeof(struct out_stream), .max = max });
    l->readers = table_new(&(struct table_spec){ .key_size = sizeof(u64), .value_size = sizeof(u64), .max = max });
    l->assemblies = table_new(&(struct table_spec){ .key_size = sizeof(struct assembly_key),
                                                    .value_size = sizeof(struct assembly),
                                                    .max = ASSEMBLIES_MAX,
                                                    .drop = assembly_drop,
                                                    .arg = l });
    return l->programs && l->streams && l->readers && l->assemblies ? l : logs_free(l);
}

struct logs *logs_free(struct logs *l)
{
    if (!l)
        return NULL;
    if (l->assemblies)
        leave_all(l, 0, UINT64_MAX);
    table_free(l->assemblies);
    table_free(l->programs);
    table_free(l->streams);
    table_free(l->readers);
    free(l);
    return NULL;
}

void logs_change(struct logs *l, const struct logs_options *o)
{
    l->o.min_severity = o->min_severity;
    l->o.rate = o->rate;
}
