/* The door of __main__: its first frame, told by a global PY_START (monitor.c) or, before 3.12, by a profile function that leaves
 * as soon as it has seen it.
 *
 * That may be a tool that runs the program as another __main__ (python -m cProfile, -m pdb, -m coverage run). So where a rule names a
 * function that the first one does not have, an audit hook waits for code that is given to exec() and comes from the file of
 * sys.argv[0]. A hook cannot be taken away again; afterwards it looks at one flag. */
#include "bridge.h"

static bool waits;

static const char *base_name(PyObject *text)
{
    const char *path = text_utf8(text), *slash = path ? strrchr(path, '/') : NULL;
    return slash ? slash + 1 : path;
}

static bool runs_in_importlib(void)
{
    PyObject *globals = PyEval_GetGlobals();
    const char *name = globals ? text_utf8(PyDict_GetItemString(globals, "__name__")) : NULL;
    return name && !strncmp(name, "importlib.", 10);
}

static bool is_program(PyObject *code)
{
    PyObject *argv = PySys_GetObject("argv");
    cleanup(py_unrefp) PyObject *name = PyObject_GetAttrString(code, "co_name");
    cleanup(py_unrefp) PyObject *file = PyObject_GetAttrString(code, "co_filename");
    if (!name || !file || !argv || !(py_flags(argv) & Py_TPFLAGS_LIST) || PyList_Size(argv) < 1)
        return false;
    const char *program = base_name(PyList_GetItem(argv, 0)), *from = base_name(file);
    return !PyUnicode_CompareWithASCIIString(name, "<module>") && program && from && !strcmp(program, from) &&
           !runs_in_importlib();
}

static int on_audit(const char *event, PyObject *args, void *unused)
{
    if (!waits || strcmp(event, "exec") || !bridge_on || !main_interpreter())
        return 0;
    struct quiet q = quiet_enter();
    PyObject *code = PyTuple_Size(args) > 0 ? PyTuple_GetItem(args, 0) : NULL;
    if (code && py_type(code) == &PyCode_Type && is_program(code)) {
        waits = false;
        bind_tree("__main__", code);
    }
    quiet_leave(&q);
    return 0;
}

static void wait_for_another(void)
{
    static bool hooked;
    if (!watch_missing("__main__"))
        return;
    hooked = hooked || PySys_AddAuditHook(on_audit, NULL) == 0;
    PyErr_Clear();
    waits = hooked;
}

bool main_begins(PyObject *frame, PyObject *code)
{
    cleanup(py_unrefp) PyObject *name = PyObject_GetAttrString(code, "co_name");
    if (!name || PyUnicode_CompareWithASCIIString(name, "<module>"))
        return false;
    cleanup(py_unrefp) PyObject *globals = PyObject_GetAttrString(frame, "f_globals");
    PyObject *module = globals ? PyDict_GetItemString(globals, "__name__") : NULL;
    if (!module || !(py_flags(module) & Py_TPFLAGS_UNICODE) || PyUnicode_CompareWithASCIIString(module, "__main__"))
        return false;
    bind_tree("__main__", code);
    wait_for_another();
    return true;
}

/* 3.11 and older: the profiler's door, open until the first frame of __main__ begins. */
static int on_profile(PyObject *self, PyObject *frame, int what, PyObject *arg)
{
    if (what)
        return 0; /* a call is 0 */
    struct quiet q = quiet_enter();
    cleanup(py_unrefp) PyObject *code = PyObject_GetAttrString(frame, "f_code");
    bool found = code && main_begins(frame, code);
    quiet_leave(&q);
    if (found)
        PyEval_SetProfile(NULL, NULL);
    return 0;
}

int main_open(void)
{
    if (!watch_wants_module("__main__"))
        return 0;
    if (py_minor >= 12)
        return monitor_main(true);
    PyEval_SetProfile(on_profile, NULL);
    return 0;
}

void main_close(void) { waits = false; }
