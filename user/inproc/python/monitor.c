/* CPython 3.12 and later: sys.monitoring (PEP 669).
 *
 * Watched code objects get local events: the interpreter rewrites their instructions and nobody else's. Two events cannot be
 * local, PY_UNWIND and PY_THROW; they are on while anything is watched, and cost a look-up for each frame that an exception
 * leaves. One free tool id is taken; the ones that debuggers, coverage and profilers use by convention are not. */
#include "bridge.h"

enum { EV_START, EV_RESUME, EV_RETURN, EV_YIELD, EV_THROW, EV_UNWIND, EV_MAX };
static const char *const event_name[EV_MAX] = { "PY_START", "PY_RESUME", "PY_RETURN", "PY_YIELD", "PY_THROW", "PY_UNWIND" };
static long event_bit[EV_MAX];
static PyObject *monitoring, *tool;
static bool waiting_for_main, global_on;

static struct site *site_here(PyObject *code) { return quiet_depth || !bridge_on ? NULL : site_find(code); }

static PyObject *on_start(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site *s = site_here(args[0]);
    if (s) {
        call_start(&(struct call){ .site = s, .frame = PyEval_GetFrame() });
    } else if (waiting_for_main && main_begins(PyEval_GetFrame(), args[0])) {
        monitor_main(false);
    }
    return py_none();
}
static PyObject *on_return(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site *s = site_here(args[0]);
    if (s)
        call_end(&(struct call){ .site = s, .frame = PyEval_GetFrame(), .ret = args[2] });
    return py_none();
}
static PyObject *on_unwind(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site *s = site_here(args[0]);
    if (s)
        call_fail(&(struct call){ .site = s, .frame = PyEval_GetFrame(), .exception = args[2] });
    return py_none();
}
static PyObject *on_resume(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    if (site_here(args[0]))
        call_resume(PyEval_GetFrame());
    return py_none();
}

/* 3.13 and later close a generator that rests outside any `try` without running it, and no event tells: the end of the
 * generator object does. */
static PyObject *generator_gone(PyObject *self, PyObject *weak)
{
    struct activity *a = activity_find((PyObject *)(uintptr_t)PyLong_AsUnsignedLongLong(self));
    if (a && a->weak == weak)
        fail_by_name(a, "GeneratorExit");
    return py_none();
}
static PyMethodDef gone_def = { "generator_gone", generator_gone, METH_O, NULL };

static void watch_generator(PyObject *frame, struct activity *a)
{
    struct quiet q = quiet_enter();
    u64 id = a->id;
    cleanup(py_unrefp) PyObject *generator = PyFrame_GetGenerator(frame), *key = PyLong_FromUnsignedLongLong((uintptr_t)frame);
    cleanup(py_unrefp) PyObject *callback = key ? PyCFunction_NewEx(&gone_def, key, NULL) : NULL;
    PyObject *weak = generator && callback ? PyWeakref_NewRef(generator, callback) : NULL;
    a = activity_find(frame);
    if (a && a->id == id && !a->weak) {
        a->weak = weak;
    } else {
        Py_DecRef(weak);
    }
    quiet_leave(&q);
}

static PyObject *on_yield(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    if (!site_here(args[0]))
        return py_none();
    PyObject *frame = PyEval_GetFrame();
    call_suspend(frame);
    struct activity *a = py_minor >= 13 ? activity_find(frame) : NULL;
    if (a && !a->weak)
        watch_generator(frame, a);
    return py_none();
}

static PyMethodDef callbacks[EV_MAX] = {
    [EV_START] = { "on_start", on_start, METH_FASTCALL, NULL },    [EV_RESUME] = { "on_resume", on_resume, METH_FASTCALL, NULL },
    [EV_RETURN] = { "on_return", on_return, METH_FASTCALL, NULL }, [EV_YIELD] = { "on_yield", on_yield, METH_FASTCALL, NULL },
    [EV_THROW] = { "on_throw", on_resume, METH_FASTCALL, NULL },   [EV_UNWIND] = { "on_unwind", on_unwind, METH_FASTCALL, NULL },
};

static int call_ok(PyObject *result)
{
    if (!result)
        PyErr_Clear();
    Py_DecRef(result);
    return result ? 0 : -EIO;
}

/* By convention 0 is for debuggers, 1 coverage, 2 profilers, 5 optimizers (there are none). 3 and 4 are what programs take for
 * themselves, by number, and would not get: last. */
static int take_tool(void)
{
    static const long order[] = { 5, 4, 3 };
    for (u32 i = 0; i < ARRAY_LEN(order); i++) {
        Py_DecRef(tool);
        tool = PyLong_FromLong(order[i]);
        if (call_ok(PyObject_CallMethod(monitoring, "use_tool_id", "Os", tool, "wftrace")) == 0)
            return 0;
    }
    Py_DecRef(take_ptr(tool)); /* the last one asked for is somebody else's */
    return -EBUSY;
}

int monitor_init(void)
{
    monitoring = PySys_GetObject("monitoring");
    if (monitoring)
        py_ref(monitoring);
    cleanup(py_unrefp) PyObject *events = monitoring ? PyObject_GetAttrString(monitoring, "events") : NULL;
    for (u32 i = 0; i < EV_MAX; i++) {
        cleanup(py_unrefp) PyObject *bit = events ? PyObject_GetAttrString(events, event_name[i]) : NULL;
        if (!bit)
            return -ENOSYS;
        event_bit[i] = PyLong_AsLong(bit);
    }
    if (take_tool() < 0)
        return -EBUSY;
    for (u32 i = 0; i < EV_MAX; i++) {
        cleanup(py_unrefp) PyObject *callback = PyCFunction_NewEx(&callbacks[i], NULL, NULL);
        if (call_ok(PyObject_CallMethod(monitoring, "register_callback", "OlO", tool, event_bit[i], callback)) < 0)
            return -EIO;
    }
    return 0;
}

static int set_global(void)
{
    long bits = (global_on ? event_bit[EV_UNWIND] | event_bit[EV_THROW] : 0) | (waiting_for_main ? event_bit[EV_START] : 0);
    return call_ok(PyObject_CallMethod(monitoring, "set_events", "Ol", tool, bits));
}

int monitor_site(struct site *s, bool on)
{
    long bits = on ? event_bit[EV_START] | event_bit[EV_RESUME] | event_bit[EV_RETURN] | event_bit[EV_YIELD] : 0;
    int err = call_ok(PyObject_CallMethod(monitoring, "set_local_events", "OOl", tool, s->code, bits));
    if (err || !on || global_on)
        return err;
    global_on = true;
    return set_global();
}

int monitor_main(bool on)
{
    waiting_for_main = on;
    return set_global();
}

void monitor_done(void)
{
    waiting_for_main = global_on = false;
    if (!tool) {
        Py_DecRef(take_ptr(monitoring));
        return;
    }
    (void)set_global();
    for (u32 i = 0; i < EV_MAX; i++)
        (void)call_ok(PyObject_CallMethod(monitoring, "register_callback", "OlO", tool, event_bit[i], Py_None));
    (void)call_ok(PyObject_CallMethod(monitoring, "free_tool_id", "O", tool));
    Py_DecRef(monitoring);
    Py_DecRef(tool);
    monitoring = tool = NULL;
}
