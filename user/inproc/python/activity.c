/* Which watched calls are open: a hash table from frame to activity, and what is said when one begins, rests and ends.
 *
 * A frame is the only name that a call has for its whole life, through every yield and await. It may end unseen (a generator
 * that is thrown away in 3.13 and later runs no code), so a frame that begins anew takes an old entry over. */
#include <unistd.h>

#include "bridge.h"

#define ACTIVITIES_MAX (1u << 20) /* open at once; further calls are not watched */

static struct activity *table;
static u32 table_size, table_used;
static u64 next_id, id_process;

static void process_changed(void) { id_process = (u64)getpid() << 40; }
/* glibc has the first in its library (the second is in each program), musl the second. */
__attribute__((weak)) int __register_atfork(void (*)(void), void (*)(void), void (*)(void), void *);
__attribute__((weak)) int pthread_atfork(void (*)(void), void (*)(void), void (*)(void));
void activity_fork_init(void)
{
    static bool registered;
    process_changed();
    if (registered)
        return;
    registered = true;
    if (__register_atfork) {
        __register_atfork(NULL, NULL, process_changed, NULL);
    } else if (pthread_atfork) {
        pthread_atfork(NULL, NULL, process_changed);
    }
}

static u32 home(PyObject *frame) { return (u32)(((uintptr_t)frame >> 4) * 0x9e3779b97f4a7c15ull >> 40) & (table_size - 1); }

struct activity *activity_find(PyObject *frame)
{
    if (!table_used)
        return NULL;
    for (u32 i = home(frame); table[i].frame; i = (i + 1) & (table_size - 1))
        if (table[i].frame == frame)
            return &table[i];
    return NULL;
}

static bool grow(void)
{
    if (table_used * 2 < table_size)
        return true;
    u32 old_size = table_size, size = old_size ? old_size * 2 : 1024;
    if (size > ACTIVITIES_MAX * 2)
        return false;
    struct activity *old = table, *bigger = calloc(size, sizeof *bigger);
    if (!bigger)
        return false;
    table = bigger;
    table_size = size;
    for (u32 i = 0; i < old_size; i++) {
        if (!old[i].frame)
            continue;
        u32 k = home(old[i].frame);
        while (table[k].frame)
            k = (k + 1) & (size - 1);
        table[k] = old[i];
    }
    free(old);
    return true;
}

struct activity *activity_open(PyObject *frame, struct site *site)
{
    struct activity *a = activity_find(frame);
    if (a)
        activity_close(a);
    if (!grow())
        return NULL;
    u32 i = home(frame);
    while (table[i].frame)
        i = (i + 1) & (table_size - 1);
    table[i] = (struct activity){ .frame = frame, .site = site, .id = id_process | (++next_id & ((1ull << 40) - 1)) };
    table_used++;
    return &table[i];
}

/* Takes the entry out and moves later ones of its chain up, so that no gap cuts them off. */
void activity_close(struct activity *a)
{
    PyObject *weak = a->weak;
    u32 hole = (u32)(a - table), mask = table_size - 1;
    for (u32 i = (hole + 1) & mask; table[i].frame; i = (i + 1) & mask) {
        u32 wants = home(table[i].frame);
        if (((i - wants) & mask) < ((i - hole) & mask))
            continue;
        table[hole] = table[i];
        hole = i;
    }
    table[hole] = (struct activity){ 0 };
    table_used--;
    Py_DecRef(weak);
}

void activities_clear(void)
{
    for (u32 i = 0; i < table_size; i++)
        Py_DecRef(table[i].weak);
    free(table);
    table = NULL;
    table_size = table_used = 0;
}

static PyObject *root_value(const struct call *c, const struct attr *a, u32 i)
{
    PyObject *o = NULL;
    switch (a->expr.root) {
    case ROOT_RET:
        return c->ret ? py_ref(c->ret) : NULL;
    case ROOT_EXCEPTION:
        return c->exception ? py_ref(c->exception) : NULL;
    case ROOT_GLOBAL:
        o = PyEval_GetGlobals();
        o = o ? PyDict_GetItemWithError(o, a->expr.name) : NULL;
        return o ? py_ref(o) : NULL;
    }
    if (!c->site->var[i])
        return NULL;
    if (PyFrame_GetVar)
        return PyFrame_GetVar(c->frame, c->site->var[i]);
    return c->values && c->site->slot[i] != 0xff ? py_ref(c->values[c->site->slot[i]]) : NULL;
}

static void add_attributes(struct event *ev, const struct call *c, enum stage stage)
{
    struct watch *w = c->site->watch;
    if (!(w->stages & 1 << stage))
        return;
    for (u32 i = 0; i < w->n_attrs; i++) {
        struct attr *a = &w->attrs[i];
        if (a->stage != stage)
            continue;
        cleanup(py_unrefp) PyObject *root = root_value(c, a, i);
        cleanup(py_unrefp) PyObject *value = root ? expr_read(&a->expr, root) : NULL;
        u8 dropped = ev->head.dropped;
        if (value && event_add_object(ev, a->index, value))
            continue;
        PyErr_Clear();
        if (ev->head.dropped == dropped)
            ev->head.dropped += dropped < 255;
        if (a->failed)
            continue;
        a->failed = true;
        note("attr_failed=%u %u", w->id, a->index);
    }
}

/* The caller's exception, if there is one, is the same afterwards: nothing that is read here may change it. */
static void send(struct event *ev, const struct call *c, enum stage stage)
{
    if (c->site->watch->stages & 1 << stage) {
        struct quiet q = quiet_enter();
        add_attributes(ev, c, stage);
        quiet_leave(&q);
    }
    event_send(ev);
}

void call_start(const struct call *c)
{
    struct activity *a = activity_open(c->frame, c->site);
    if (!a || !tracer_present())
        return;
    struct event ev;
    event_start(&ev, BRIDGE_START, c->site->watch, a->id);
    if (c->site->watch->pattern)
        event_add(&ev, BRIDGE_ATTR_FUNCTION, BRIDGE_TEXT, c->site->function, strlen(c->site->function));
    send(&ev, c, STAGE_ENTRY);
}

void call_end(const struct call *c)
{
    struct activity *a = activity_find(c->frame);
    if (!a)
        return;
    u64 id = a->id;
    activity_close(a);
    if (!tracer_present())
        return;
    struct event ev;
    event_start(&ev, BRIDGE_END, c->site->watch, id);
    send(&ev, c, STAGE_RETURN);
}

static PyObject *attr_step(PyObject *take, const char *name)
{
    PyObject *o = take ? PyObject_GetAttrString(take, name) : NULL;
    Py_DecRef(take);
    return o;
}

/* "file:line function" of the innermost frame. Deep recursion is followed for a bounded number of frames. */
static void add_where(struct event *ev, PyObject *exception)
{
    PyObject *tb = PyException_GetTraceback(exception);
    for (int i = 0; tb && i < 2000; i++) {
        PyObject *next = PyObject_GetAttrString(tb, "tb_next");
        if (!next || next == Py_None) {
            Py_DecRef(next);
            break;
        }
        Py_DecRef(tb);
        tb = next;
    }
    if (!tb)
        return;
    cleanup(py_unrefp) PyObject *line = PyObject_GetAttrString(tb, "tb_lineno");
    cleanup(py_unrefp) PyObject *code = attr_step(attr_step(tb, "tb_frame"), "f_code");
    cleanup(py_unrefp) PyObject *file = code ? PyObject_GetAttrString(code, "co_filename") : NULL;
    cleanup(py_unrefp) PyObject *name = code ? PyObject_GetAttrString(code, "co_name") : NULL;
    if (!line || !file || !name)
        return;
    cleanup(py_unrefp) PyObject *text = text_join("%s:%s %s", PyTuple_Pack(3, file, line, name));
    if (text)
        event_add_object(ev, BRIDGE_ATTR_ERROR_WHERE, text);
}

static void add_error(struct event *ev, PyObject *exception)
{
    cleanup(py_unrefp) PyObject *type = type_name(py_type(exception));
    if (type)
        event_add_object(ev, BRIDGE_ATTR_ERROR_TYPE, type);
    PyErr_Clear();
    cleanup(py_unrefp) PyObject *message = PyObject_Str(exception);
    if (message)
        event_add_object(ev, BRIDGE_ATTR_ERROR_MESSAGE, message);
    PyErr_Clear();
    add_where(ev, exception);
    PyErr_Clear();
}

void call_fail(const struct call *c)
{
    struct activity *a = activity_find(c->frame);
    if (!a)
        return;
    u64 id = a->id;
    activity_close(a);
    if (!tracer_present())
        return;
    struct event ev;
    event_start(&ev, BRIDGE_FAIL, c->site->watch, id);
    struct quiet q = quiet_enter();
    if (c->exception)
        add_error(&ev, c->exception);
    add_attributes(&ev, c, STAGE_FAIL);
    quiet_leave(&q);
    event_send(&ev);
}

void fail_by_name(struct activity *a, const char *type)
{
    struct event ev;
    event_start(&ev, BRIDGE_FAIL, a->site->watch, a->id);
    event_add(&ev, BRIDGE_ATTR_ERROR_TYPE, BRIDGE_TEXT, type, strlen(type));
    activity_close(a);
    if (tracer_present())
        event_send(&ev);
}

static void turn(PyObject *frame, bool suspended)
{
    struct activity *a = activity_find(frame);
    if (!a || a->suspended == suspended)
        return;
    a->suspended = suspended;
    if (!tracer_present())
        return;
    struct bridge_event ev = { .size = sizeof ev,
                               .version = BRIDGE_VERSION,
                               .kind = suspended ? BRIDGE_SUSPEND : BRIDGE_RESUME,
                               .watch = a->site->watch->id,
                               .activity = a->id };
    wftrace_bridge(&ev);
}
void call_suspend(PyObject *frame) { turn(frame, true); }
void call_resume(PyObject *frame) { turn(frame, false); }
