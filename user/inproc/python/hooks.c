/* CPython 3.8 to 3.11: what rewritten code calls.
 *
 * A hook is a built-in function whose `self` carries the site. It stands among the code's constants, and a program may pickle
 * its functions by value (cloudpickle does, for other machines), so the pair reduces to something of the standard library that
 * does no harm there: `"".format` takes anything and is thrown away; for the await hook, which must give back what it gets,
 * `typing.cast` with its type filled in; for the one that is an operand, 0.
 *
 * An await or `yield from` hands what it waits for to the interpreter, which then resumes it without running our code. So a
 * relay of ours stands in between: it passes send, throw and close on, and says when the call rests and when it runs. All
 * other attributes are those of what it stands for. */
#include "bridge.h"

struct hook_self {
    PyObject base;
    struct site *site;
    u8 which;
};
struct relay {
    PyObject base;
    PyObject *inner, *frame; /* the frame is a key: a program may keep us (cr_await) for longer than it lives */
    u64 id;
};
static PyObject *hook_type, *relay_type;

static struct site *site_of(PyObject *self)
{
    struct site *s = ((struct hook_self *)self)->site;
    return quiet_depth || !bridge_on || !s->watch ? NULL : s;
}

static PyObject *hook_start(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site *s = site_of(self);
    if (s)
        call_start(&(struct call){ .site = s, .frame = PyEval_GetFrame(), .values = args });
    return py_none();
}
static PyObject *hook_end(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site *s = site_of(self);
    if (s)
        call_end(&(struct call){ .site = s, .frame = PyEval_GetFrame(), .ret = args[0], .values = n > 1 ? args + 1 : NULL });
    return py_none();
}
static PyObject *hook_fail(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    struct site *s = site_of(self);
    if (!s)
        return py_none();
    cleanup(py_unrefp) PyObject *type = NULL, *value = NULL, *trace = NULL;
    bool given = py_minor >= 11;
    if (!given)
        PyErr_GetExcInfo(&type, &value, &trace);
    call_fail(&(struct call){
        .site = s, .frame = PyEval_GetFrame(), .exception = given ? args[0] : value, .values = n > given ? args + given : NULL });
    return py_none();
}
/* The same as `+hook`, for handlers that need no values: an operator checks no recursion limit, and the exception that is on its
 * way may be that one. */
static PyObject *hook_fail_plain(PyObject *self) { return hook_fail(self, NULL, 0); }
static PyObject *hook_suspend(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    if (site_of(self))
        call_suspend(PyEval_GetFrame());
    return py_none();
}
static PyObject *hook_resume(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    if (site_of(self))
        call_resume(PyEval_GetFrame());
    return py_none();
}

static PyObject *hook_await(PyObject *self, PyObject *const *args, Py_ssize_t n)
{
    PyObject *frame = PyEval_GetFrame();
    struct activity *a = site_of(self) ? activity_find(frame) : NULL;
    if (!a)
        return py_ref(args[0]);
    u64 id = a->id;
    PyObject *(*alloc)(PyObject *, Py_ssize_t) = PyType_GetSlot(relay_type, Py_tp_alloc);
    struct relay *r = (struct relay *)alloc(relay_type, 0);
    if (!r) {
        PyErr_Clear();
        return py_ref(args[0]);
    }
    r->inner = py_ref(args[0]);
    r->frame = frame;
    r->id = id;
    return &r->base;
}

static PyMethodDef hook_defs[HOOK_MAX] = {
    [HOOK_START] = { "format", hook_start, METH_FASTCALL, NULL },
    [HOOK_END] = { "format", hook_end, METH_FASTCALL, NULL },
    [HOOK_FAIL] = { "format", hook_fail, METH_FASTCALL, NULL },
    [HOOK_SUSPEND] = { "format", hook_suspend, METH_FASTCALL, NULL },
    [HOOK_RESUME] = { "format", hook_resume, METH_FASTCALL, NULL },
    [HOOK_AWAIT] = { "__call__", hook_await, METH_FASTCALL, NULL },
};

/* What the hook is elsewhere: getattr(this, the method's name). */
static PyObject *hook_reduce(PyObject *self, PyObject *unused)
{
    u8 which = ((struct hook_self *)self)->which;
    if (which == HOOK_FAIL_PLAIN)
        return Py_BuildValue("(O(i))", &PyLong_Type, 0);
    if (which != HOOK_AWAIT)
        return Py_BuildValue("(O(s))", &PyUnicode_Type, "");
    cleanup(py_unrefp) PyObject *typing = PyImport_ImportModule("typing"), *functools = PyImport_ImportModule("functools");
    cleanup(py_unrefp) PyObject *cast = typing ? PyObject_GetAttrString(typing, "cast") : NULL;
    cleanup(py_unrefp) PyObject *partial = functools ? PyObject_GetAttrString(functools, "partial") : NULL;
    return cast && partial ? Py_BuildValue("(O(OO))", partial, cast, Py_None) : NULL;
}

static void hook_dealloc(PyObject *self)
{
    PyObject *type = py_type(self);
    PyObject_Free(self);
    Py_DecRef(type);
}

static void relay_turn(const struct relay *r, bool suspended)
{
    struct activity *a = activity_find(r->frame);
    if (a && a->id == r->id)
        (suspended ? call_suspend : call_resume)(r->frame);
}

static PyObject *relay_pass(struct relay *r, PyObject *result)
{
    if (result)
        relay_turn(r, true);
    return result;
}

/* tp_iternext of any type: before 3.10 a static type's slots cannot be asked for, but they have not moved since 3.8 (checked
 * by hooks_init on a type of ours). */
#define TP_ITERNEXT 224
typedef PyObject *(*iternextfunc)(PyObject *);
static iternextfunc iternext_of(PyObject *type)
{
    if (py_minor >= 10)
        return PyType_GetSlot(type, Py_tp_iternext);
    return *(iternextfunc *)((char *)type + TP_ITERNEXT);
}

static PyObject *relay_send(PyObject *self, PyObject *value);
static PyObject *relay_next(PyObject *self)
{
    struct relay *r = (struct relay *)self;
    iternextfunc next = iternext_of(py_type(r->inner));
    if (!next)
        return relay_send(self, Py_None); /* a coroutine */
    relay_turn(r, false);
    return relay_pass(r, next(r->inner)); /* NULL without an error is an end, and stays one */
}

static PyObject *relay_send(PyObject *self, PyObject *value)
{
    struct relay *r = (struct relay *)self;
    relay_turn(r, false);
    return relay_pass(r, PyObject_CallMethod(r->inner, "send", "(O)", value));
}

static PyObject *relay_throw(PyObject *self, PyObject *args)
{
    struct relay *r = (struct relay *)self;
    cleanup(py_unrefp) PyObject *throw = PyObject_GetAttrString(r->inner, "throw");
    if (!throw)
        return NULL;
    relay_turn(r, false);
    return relay_pass(r, PyObject_CallObject(throw, args));
}

static PyObject *relay_close(PyObject *self, PyObject *unused)
{
    struct relay *r = (struct relay *)self;
    cleanup(py_unrefp) PyObject *close = PyObject_GetAttrString(r->inner, "close");
    relay_turn(r, false); /* the exception goes to the frame next */
    if (!close) {         /* an iterator may have none */
        PyErr_Clear();
        return py_none();
    }
    return PyObject_CallObject(close, NULL);
}

static PyObject *relay_self(PyObject *self) { return py_ref(self); }

static PyObject *relay_getattr(PyObject *self, PyObject *name)
{
    static const char *const own[] = { "send", "throw", "close", "__next__", "__iter__", "__await__" };
    bool ours = false;
    for (u32 i = 0; i < ARRAY_LEN(own); i++)
        ours |= !PyUnicode_CompareWithASCIIString(name, own[i]);
    if (!ours)
        return PyObject_GetAttr(((struct relay *)self)->inner, name);
    /* Who asks whether there is a `throw` is told the truth about what we stand for. */
    cleanup(py_unrefp) PyObject *theirs = PyObject_GetAttr(((struct relay *)self)->inner, name);
    if (theirs)
        return PyObject_GenericGetAttr(self, name);
    if (!PyUnicode_CompareWithASCIIString(name, "throw"))
        relay_turn((struct relay *)self, false); /* then the frame gets it */
    return NULL;
}

typedef int (*visitproc)(PyObject *, void *);
static int relay_traverse(PyObject *self, visitproc visit, void *arg)
{
    struct relay *r = (struct relay *)self;
    int err = r->inner ? visit(r->inner, arg) : 0;
    return err || py_minor < 9 ? err : visit(py_type(self), arg);
}

void PyObject_GC_UnTrack(void *);
void PyObject_GC_Del(void *);
static void relay_dealloc(PyObject *self)
{
    PyObject *type = py_type(self), *inner = ((struct relay *)self)->inner;
    PyObject_GC_UnTrack(self);
    PyObject_GC_Del(self);
    Py_DecRef(inner);
    Py_DecRef(type);
}

PyObject *hook_new(struct site *s, int which)
{
    PyObject *(*alloc)(PyObject *, Py_ssize_t) = PyType_GetSlot(hook_type, Py_tp_alloc);
    struct hook_self *self = (struct hook_self *)alloc(hook_type, 0);
    if (!self)
        return NULL;
    self->site = s;
    self->which = (u8)which;
    if (which == HOOK_FAIL_PLAIN)
        return &self->base;
    PyObject *hook = PyCFunction_NewEx(&hook_defs[which], &self->base, NULL);
    Py_DecRef(&self->base);
    return hook;
}

int hooks_init(void)
{
    static PyMethodDef hook_methods[] = { { "__reduce__", hook_reduce, METH_NOARGS, NULL }, { 0 } };
    static PyType_Slot hook_slots[] = {
        { Py_tp_dealloc, hook_dealloc }, { Py_tp_methods, hook_methods }, { Py_nb_positive, hook_fail_plain }, { 0 }
    };
    static PyType_Spec hook_spec = { "_wftrace.Hook", sizeof(struct hook_self), 0, Py_TPFLAGS_DEFAULT, hook_slots };
    static PyMethodDef relay_methods[] = { { "send", relay_send, METH_O, NULL },
                                           { "throw", relay_throw, METH_VARARGS, NULL },
                                           { "close", relay_close, METH_NOARGS, NULL },
                                           { 0 } };
    static PyType_Slot relay_slots[] = { { Py_tp_dealloc, relay_dealloc }, { Py_tp_traverse, relay_traverse },
                                         { Py_tp_iter, relay_self },       { Py_tp_iternext, relay_next },
                                         { Py_am_await, relay_self },      { Py_tp_getattro, relay_getattr },
                                         { Py_tp_methods, relay_methods }, { 0 } };
    static PyType_Spec relay_spec = { "_wftrace.Relay", sizeof(struct relay), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                                      relay_slots };
    if (hook_type)
        return 0;
    hook_type = PyType_FromSpec(&hook_spec);
    relay_type = PyType_FromSpec(&relay_spec);
    if (!hook_type || !relay_type)
        return -ENOMEM;
    return *(iternextfunc *)((char *)relay_type + TP_ITERNEXT) == relay_next ? 0 : -ENOSYS;
}
