/* The module `_wftrace`, and what starts and ends the bridge.
 *
 *     install(path)   reads the watch file; -errno as OSError's text; False when it is on already
 *     uninstall()     everything is as it was before
 *     site            address of the nop */
#include "bridge.h"

int py_minor;
bool bridge_on;

bool main_interpreter(void)
{
    void *(*current)(void) = PyInterpreterState_Get ? PyInterpreterState_Get : _PyInterpreterState_Get;
    return current && current() == PyInterpreterState_Main();
}

/* "3.12.4 (main, …" → 12. Anything but the main interpreter of CPython 3.8 to 3.14 with its lock is refused. */
static int version_check(void)
{
    const char *v = Py_GetVersion();
    py_minor = strncmp(v, "3.", 2) ? 0 : (int)strtol(v + 2, NULL, 10);
    if (py_minor < 8 || py_minor > 14 || strstr(v, "free-threading"))
        return -ENOTSUP;
    PyObject *implementation = PySys_GetObject("implementation");
    cleanup(py_unrefp) PyObject *name = implementation ? PyObject_GetAttrString(implementation, "name") : NULL;
    bool cpython = name && !PyUnicode_CompareWithASCIIString(name, "cpython");
    PyErr_Clear();
    return cpython && main_interpreter() ? 0 : -ENOTSUP;
}

static void bridge_uninstall(void)
{
    if (!bridge_on)
        return;
    note("unloaded=");
    bridge_on = false;
    imports_close();
    main_close();
    sites_undo();
    if (py_minor >= 12)
        monitor_done();
    activities_clear();
    watches_free();
}

static int start(const char *path, bool loaded_too)
{
    int line = 0, err = version_check();
    if (err)
        return err;
    event_init();
    if ((err = watches_read(path, &line)) < 0) {
        note("failed=0 watch file, line %d: %s", line, err == -EPROTO ? "of another version" : strerror(-err));
        return err;
    }
    bridge_on = true;
    if ((err = py_minor >= 12 ? monitor_init() : hooks_init()) < 0) {
        note("failed=0 %s", py_minor >= 12 ? "no free tool id in sys.monitoring" : "interpreter not understood");
        return err;
    }
    err = imports_open();
    if (!err && !loaded_too) /* else __main__ runs already */
        err = main_open();
    char version[16] = { 0 };
    memcpy(version, Py_GetVersion(), strcspn(Py_GetVersion(), " +") < 15 ? strcspn(Py_GetVersion(), " +") : 15);
    if (!err)
        note("loaded=%s", version);
    return err;
}

int wftrace_bridge_install(const char *path, bool loaded_too)
{
    if (bridge_on)
        return 1;
    struct quiet q = quiet_enter();
    int err = start(path, loaded_too);
    if (!err && loaded_too)
        bind_loaded(NULL);
    if (err) {
        bridge_uninstall();
        watches_free();
    }
    quiet_leave(&q);
    return err;
}

static PyObject *py_install(PyObject *self, PyObject *args)
{
    PyObject *path = PyTuple_Size(args) ? PyTuple_GetItem(args, 0) : NULL;
    bool loaded_too = PyTuple_Size(args) > 1 && PyObject_IsTrue(PyTuple_GetItem(args, 1));
    const char *p = path ? PyUnicode_AsUTF8AndSize(path, NULL) : NULL;
    if (!p && !PyErr_Occurred())
        PyErr_SetString(PyExc_TypeError, "install(path)");
    if (!p)
        return NULL;
    return PyLong_FromLong(wftrace_bridge_install(p, loaded_too));
}
static PyObject *py_uninstall(PyObject *self, PyObject *unused)
{
    bridge_uninstall();
    return py_none();
}

__attribute__((visibility("default"))) PyObject *PyInit__wftrace(void);
PyObject *PyInit__wftrace(void)
{
    static PyMethodDef methods[] = { { "install", py_install, METH_VARARGS, "install(path, loaded_too=False) -> 0, 1 or -errno" },
                                     { "uninstall", py_uninstall, METH_NOARGS, "take everything back" },
                                     { 0 } };
    static PyModuleDef def = { .base.refcnt = 1, .name = "_wftrace", .size = -1, .methods = methods };
    PyObject *module = PyModule_Create2(&def, PYTHON_API_VERSION);
    cleanup(py_unrefp) PyObject *site = PyLong_FromUnsignedLongLong((uintptr_t)bridge_site);
    if (module && site)
        PyObject_SetAttrString(module, "site", site);
    return module;
}
