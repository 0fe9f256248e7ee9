/* The door of imports: a finder in front of sys.meta_path asks those behind it, and wraps the loader of a watched module, so that
 * its code comes past here before it runs. A loader that has no code to give (an extension module, one of a tool's own) is
 * looked at when it has run. */
#include "bridge.h"

static void unwrap(PyObject *self, const char *method)
{
    PyObject_SetAttrString(PyTuple_GetItem(self, 0), method, NULL);
    PyErr_Clear();
}

/* get_code of a watched module's loader: (loader, its own get_code). It takes itself away again at the first call. */
static PyObject *loader_get_code(PyObject *self, PyObject *name)
{
    PyObject *code = PyObject_CallFunctionObjArgs(PyTuple_GetItem(self, 1), name, NULL);
    if (!code)
        return NULL;
    const char *module = text_utf8(name);
    if (module && bridge_on && watch_wants_module(module))
        bind_tree(module, code);
    unwrap(self, "get_code");
    return code;
}
/* exec_module or load_module of a loader that has no get_code: (loader, its own, the name). */
static PyObject *loader_exec(PyObject *self, PyObject *module)
{
    PyObject *result = PyObject_CallFunctionObjArgs(PyTuple_GetItem(self, 1), module, NULL);
    const char *name = result ? text_utf8(PyTuple_GetItem(self, 2)) : NULL;
    if (name && bridge_on)
        bind_loaded(name);
    return result;
}
static PyMethodDef get_code_def = { "get_code", loader_get_code, METH_O, NULL };
static PyMethodDef exec_def = { "exec_module", loader_exec, METH_O, NULL };

static bool wrap(PyObject *loader, const char *method, PyMethodDef *def, PyObject *name)
{
    cleanup(py_unrefp) PyObject *own = PyObject_GetAttrString(loader, method);
    if (!own) {
        PyErr_Clear();
        return false;
    }
    cleanup(py_unrefp) PyObject *self = PyTuple_Pack(3, loader, own, name);
    cleanup(py_unrefp) PyObject *wrapped = self ? PyCFunction_NewEx(def, self, NULL) : NULL;
    int err = wrapped ? PyObject_SetAttrString(loader, method, wrapped) : -1;
    PyErr_Clear();
    return err == 0;
}

static bool is_source_loader(PyObject *loader)
{
    cleanup(py_unrefp) PyObject *get_code = PyObject_GetAttrString(py_type(loader), "get_code");
    cleanup(py_unrefp) PyObject *exec = PyObject_GetAttrString(py_type(loader), "exec_module");
    cleanup(py_unrefp) PyObject *home_module = exec ? PyObject_GetAttrString(exec, "__module__") : NULL;
    PyErr_Clear();
    return get_code && home_module && py_flags(home_module) & Py_TPFLAGS_UNICODE &&
           !PyUnicode_CompareWithASCIIString(home_module, "_frozen_importlib_external");
}

static void wrap_loader(PyObject *loader, PyObject *name)
{
    if (py_flags(loader) & Py_TPFLAGS_TYPE)
        return; /* frozen and built-in modules */
    if (is_source_loader(loader) && wrap(loader, "get_code", &get_code_def, name))
        return;
    if (!wrap(loader, "exec_module", &exec_def, name))
        (void)wrap(loader, "load_module", &exec_def, name);
}

static PyObject *finder; /* our place in sys.meta_path */

static PyObject *find_elsewhere(PyObject *args, PyObject *kwargs)
{
    PyObject *finders = PySys_GetObject("meta_path");
    for (Py_ssize_t i = 0; finders && i < PyList_Size(finders); i++) {
        cleanup(py_unrefp) PyObject *other = py_ref(PyList_GetItem(finders, i));
        cleanup(py_unrefp) PyObject *find = other == finder ? NULL : PyObject_GetAttrString(other, "find_spec");
        if (!find) {
            PyErr_Clear();
            continue;
        }
        PyObject *spec = PyObject_Call(find, args, kwargs);
        if (spec != Py_None)
            return spec;
        Py_DecRef(spec);
    }
    return py_none();
}

static PyObject *find_spec(PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *name = PyTuple_Size(args) ? PyTuple_GetItem(args, 0) : kwargs ? PyDict_GetItemString(kwargs, "fullname") : NULL;
    const char *module = text_utf8(name);
    if (!module || !bridge_on || !watch_wants_module(module))
        return py_none();
    PyObject *spec = find_elsewhere(args, kwargs);
    if (!spec || spec == Py_None)
        return spec;
    struct quiet q = quiet_enter();
    cleanup(py_unrefp) PyObject *loader = PyObject_GetAttrString(spec, "loader");
    if (loader && loader != Py_None)
        wrap_loader(loader, name);
    quiet_leave(&q);
    return spec;
}

static PyObject *no_op(PyObject *self, PyObject *args) { return py_none(); }
int imports_open(void)
{
    static PyMethodDef methods[] = { { "find_spec", find_spec, METH_VARARGS | METH_KEYWORDS, NULL },
                                     { "invalidate_caches", no_op, METH_NOARGS, NULL },
                                     { 0 } };
    static PyType_Slot slots[] = { { Py_tp_methods, methods }, { 0 } };
    static PyType_Spec spec = { "_wftrace.Finder", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT, slots };
    cleanup(py_unrefp) PyObject *type = finder ? NULL : PyType_FromSpec(&spec);
    if (!finder)
        finder = type ? PyObject_CallFunctionObjArgs(type, NULL) : NULL;
    PyObject *finders = PySys_GetObject("meta_path");
    return finder && finders && !PyList_Insert(finders, 0, finder) ? 0 : -EIO;
}

void imports_close(void)
{
    PyObject *finders = PySys_GetObject("meta_path");
    cleanup(py_unrefp) PyObject *gone = finders && finder ? PyObject_CallMethod(finders, "remove", "O", finder) : NULL;
    PyErr_Clear();
}
