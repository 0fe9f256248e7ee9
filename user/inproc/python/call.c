/* What is said of a watched call when it begins, rests, runs again and ends: the event, with the values that its rule wants. */
#include "bridge.h"

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

/* `up` callers further than the one that called; NULL: there is none. */
static PyObject *frame_back(PyObject *frame, int up)
{
    PyObject *back = py_ref(frame);
    for (; back && up >= 0; up--) {
        PyObject *next = PyFrame_GetBack ? PyFrame_GetBack(back) : PyObject_GetAttrString(back, "f_back");
        Py_DecRef(back);
        back = next;
        if (back == Py_None)
            Py_DecRef(take_ptr(back));
    }
    return back;
}

/* "module:qualname" of what called; no object is made for it. Before 3.11 code knows its last name only, that which is watched its whole. */
static bool add_caller(struct event *ev, u8 index, PyObject *frame, int up)
{
    cleanup(py_unrefp) PyObject *back = frame_back(frame, up);
    if (!back)
        return event_add(ev, index, BRIDGE_NONE, "", 0);
    cleanup(py_unrefp) PyObject *code = PyFrame_GetCode ? PyFrame_GetCode(back) : PyObject_GetAttrString(back, "f_code");
    const struct site *s = code ? site_find(code) : NULL;
    if (s)
        return event_add(ev, index, BRIDGE_TEXT, s->function, strlen(s->function));
    cleanup(py_unrefp) PyObject *globals = PyObject_GetAttrString(back, "f_globals");
    cleanup(py_unrefp) PyObject *name = code ? PyObject_GetAttrString(code, py_minor >= 11 ? "co_qualname" : "co_name") : NULL;
    const char *module = globals ? text_utf8(PyDict_GetItemString(globals, "__name__")) : NULL, *function = text_utf8(name);
    char text[BRIDGE_ATTR_TEXT + 8]; /* event_add cuts */
    if (!module || !function)
        return false;
    int n = snprintf(text, sizeof text, "%s:%s", module, function);
    return event_add(ev, index, BRIDGE_TEXT, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
}

static bool add_value(struct event *ev, const struct call *c, const struct attr *a, u32 i)
{
    if (a->expr.root == ROOT_CALLER)
        return c->frame && add_caller(ev, a->index, c->frame, a->expr.position);
    cleanup(py_unrefp) PyObject *root = root_value(c, a, i);
    cleanup(py_unrefp) PyObject *value = root ? expr_read(&a->expr, root) : NULL;
    return value && event_add_object(ev, a->index, value);
}

static void add_attribute(struct event *ev, const struct call *c, const struct watch *w, u32 i)
{
    struct attr *a = &w->attrs[i];
    u8 dropped = ev->head.dropped;
    if (add_value(ev, c, a, i))
        return;
    error_swallow();
    if (ev->head.dropped == dropped)
        ev->head.dropped += dropped < 255;
    if (a->failed)
        return;
    a->failed = true;
    note("attr_failed=%u %u", w->id, a->index);
}

static void add_attributes(struct event *ev, const struct call *c, const struct watch *w, enum stage stage)
{
    for (u32 i = 0; i < w->n_attrs; i++)
        if (w->attrs[i].stage == stage)
            add_attribute(ev, c, w, i);
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
    error_swallow();
    cleanup(py_unrefp) PyObject *message = PyObject_Str(exception);
    if (message)
        event_add_object(ev, BRIDGE_ATTR_ERROR_MESSAGE, message);
    error_swallow();
    add_where(ev, exception);
    error_swallow();
}

/* The last word on a call, or its first: what has been read of it so far is in `ev`. Reading may run code of the program's, and
 * that another thread, which may take the bridge out: `w` was asked for before (watches outlive their readers). The caller's exception,
 * if there is one, is the same afterwards. */
static void send(struct event *ev, const struct call *c, const struct watch *w, enum stage stage)
{
    bool fails = stage == STAGE_FAIL && c->exception;
    if (fails || w->stages & 1 << stage) {
        struct quiet q = quiet_enter();
        watches_reading++;
        if (fails)
            add_error(ev, c->exception);
        if (w->stages & 1 << stage)
            add_attributes(ev, c, w, stage);
        watches_reading--;
        quiet_leave(&q);
    }
    event_send(&ev->head);
}

/* Reads what the rules ask first: false if none of them wants this call. */
static bool is_wanted(struct event *ev, const struct call *c, const struct watch *w)
{
    struct quiet q = quiet_enter();
    watches_reading++;
    bool wanted = true;
    for (u32 i = 0; i < w->n_attrs && wanted; i++) {
        if (w->attrs[i].stage != STAGE_TEST)
            continue;
        add_attribute(ev, c, w, i);
        wanted = when_holds(w, ev);
    }
    watches_reading--;
    quiet_leave(&q);
    return wanted;
}

/* From here on it is as if it were not watched. */
static void leave(PyObject *frame, u64 id)
{
    struct activity *a = activity_find(frame);
    if (a && a->id == id)
        activity_close(a);
}

void call_start(const struct call *c)
{
    const struct watch *w = c->site->watch;
    struct activity *a = activity_open(c->frame, c->site);
    if (!a || !tracer_present())
        return;
    struct event ev;
    event_start(&ev, BRIDGE_START, w, a->id);
    if (w->pattern)
        event_add(&ev, BRIDGE_ATTR_FUNCTION, BRIDGE_TEXT, c->site->function, strlen(c->site->function));
    if (w->n_tests && !is_wanted(&ev, c, w)) {
        leave(c->frame, ev.head.activity);
        return;
    }
    send(&ev, c, w, STAGE_ENTRY);
    if (w->only_start)
        leave(c->frame, ev.head.activity);
}

static void finish(const struct call *c, enum bridge_kind kind, enum stage stage)
{
    const struct watch *w = c->site->watch;
    struct activity *a = activity_find(c->frame);
    if (!a)
        return;
    u64 id = a->id;
    activity_close(a);
    if (!tracer_present())
        return;
    struct event ev;
    event_start(&ev, kind, w, id);
    send(&ev, c, w, stage);
}
void call_end(const struct call *c) { finish(c, BRIDGE_END, STAGE_RETURN); }
void call_fail(const struct call *c) { finish(c, BRIDGE_FAIL, STAGE_FAIL); }

void fail_by_name(struct activity *a, const char *type)
{
    struct event ev;
    event_start(&ev, BRIDGE_FAIL, a->site->watch, a->id);
    event_add(&ev, BRIDGE_ATTR_ERROR_TYPE, BRIDGE_TEXT, type, strlen(type));
    activity_close(a);
    if (tracer_present())
        event_send(&ev.head);
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
    event_send(&ev);
}
void call_suspend(PyObject *frame) { turn(frame, true); }
void call_resume(PyObject *frame) { turn(frame, false); }
