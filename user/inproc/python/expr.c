/* Expressions over arguments, results and exceptions: compiled once, read at every call.
 *
 * A step by attribute uses the generic look-up: instance dictionary, slots, class attributes and descriptors (a property runs,
 * because the rule names it), never a __getattr__ or __getattribute__ of the user's. A step by item on a list, tuple or dict
 * reads the container itself; on anything else it is the object's own __getitem__. */
#include "bridge.h"

static char *cut(const char *from, size_t n)
{
    char *s = malloc(n + 1);
    if (!s)
        return NULL;
    memcpy(s, from, n);
    s[n] = 0;
    return s;
}

static PyObject *text_of(const char *from, size_t n)
{
    cleanup(freep) char *s = cut(from, n);
    return s ? PyUnicode_InternFromString(s) : NULL;
}

/* «[12]», «[-1]», «["key"]»: returns what follows, or NULL. */
static const char *item_step(struct expr *e, const char *p)
{
    PyObject *key = NULL;
    if (*p == '"') {
        const char *end = strchr(++p, '"');
        if (!end)
            return NULL;
        key = text_of(p, (size_t)(end - p));
        p = end + 1;
    } else {
        char *end;
        long n = strtol(p, &end, 10);
        if (end == p)
            return NULL;
        key = PyLong_FromLong(n);
        p = end;
    }
    if (!key)
        return NULL;
    e->item[e->n_steps] = true;
    e->step[e->n_steps++] = key;
    return *p == ']' ? p + 1 : NULL;
}

static int steps_compile(struct expr *e, const char *p)
{
    while (*p) {
        if (e->n_steps == STEPS_MAX)
            return -E2BIG;
        if (*p == '[') {
            if (!(p = item_step(e, p + 1)))
                return -EINVAL;
            continue;
        }
        size_t n = *p == '.' ? strcspn(p + 1, ".[") : 0;
        if (!n)
            return -EINVAL;
        e->step[e->n_steps] = text_of(p + 1, n);
        if (!e->step[e->n_steps])
            return -ENOMEM;
        e->n_steps++;
        p += n + 1;
    }
    return 0;
}

static int name_root(struct expr *e, enum root root, const char *p)
{
    size_t n = strcspn(p, ".[");
    e->root = (u8)root;
    e->name = n ? text_of(p, n) : NULL;
    return e->name ? steps_compile(e, p + n) : -EINVAL;
}

static int root_compile(struct expr *e, const char *p)
{
    size_t n = strcspn(p, ".[");
    if (!strncmp(p, "arg.", 4))
        return name_root(e, ROOT_ARG, p + 4);
    if (!strncmp(p, "global.", 7))
        return name_root(e, ROOT_GLOBAL, p + 7);
    if ((n == 4 && !memcmp(p, "self", 4)) || (n == 3 && !memcmp(p, "cls", 3))) {
        e->position = 0;
    } else if (n == 3 && !memcmp(p, "ret", 3)) {
        e->root = ROOT_RET;
    } else if (n == 9 && !memcmp(p, "exception", 9)) {
        e->root = ROOT_EXCEPTION;
    } else if (n == 6 && !memcmp(p, "caller", 6)) {
        bool further = p[n] == '[' && p[n + 1] >= '0' && p[n + 1] <= '7' && !strcmp(p + n + 2, "]");
        e->root = ROOT_CALLER;
        e->position = further ? p[n + 1] - '0' : 0;
        return e->form == FORM_PLAIN && (further || !p[n]) ? 0 : -EINVAL;
    } else if (n > 3 && n < 6 && !memcmp(p, "arg", 3) && strspn(p + 3, "0123456789") == n - 3) {
        e->position = (int)strtol(p + 3, NULL, 10);
    } else {
        return -EINVAL;
    }
    return steps_compile(e, p + n);
}

int expr_compile(struct expr *e, const char *text)
{
    static const struct {
        const char *name;
        enum form form;
    } forms[] = { { "len(", FORM_LEN }, { "type(", FORM_TYPE }, { "str(", FORM_STR }, { "id(", FORM_ID } };
    *e = (struct expr){ .position = -1 };
    size_t n = strlen(text), skip = 0;
    for (u32 i = 0; i < ARRAY_LEN(forms); i++) {
        skip = strlen(forms[i].name);
        if (n <= skip || strncmp(text, forms[i].name, skip) || text[n - 1] != ')')
            continue;
        e->form = (u8)forms[i].form;
        n -= skip + 1;
        break;
    }
    cleanup(freep) char *inner = cut(text + (e->form ? skip : 0), n);
    int err = inner ? root_compile(e, inner) : -ENOMEM;
    PyErr_Clear();
    if (err < 0)
        expr_free(e);
    return err;
}

void expr_free(struct expr *e)
{
    Py_DecRef(e->name);
    for (u32 i = 0; i < e->n_steps; i++)
        Py_DecRef(e->step[i]);
    *e = (struct expr){ 0 };
}

/* Does the type look attributes up its own way, in Python code? Only a heap type's slot can be asked in all versions. */
static PyObject *read_attribute(PyObject *o, PyObject *name)
{
    unsigned long flags = py_flags(o);
    if (flags & Py_TPFLAGS_HEAPTYPE && !(flags & Py_TPFLAGS_TYPE))
        return PyObject_GenericGetAttr(o, name);
    return PyObject_GetAttr(o, name);
}

static PyObject *read_item(PyObject *o, PyObject *key)
{
    unsigned long flags = py_flags(o);
    PyObject *found = NULL;
    if (flags & Py_TPFLAGS_DICT) {
        found = PyDict_GetItemWithError(o, key);
    } else if (flags & (Py_TPFLAGS_LIST | Py_TPFLAGS_TUPLE) && py_flags(key) & Py_TPFLAGS_LONG) {
        bool list = flags & Py_TPFLAGS_LIST;
        Py_ssize_t n = list ? PyList_Size(o) : PyTuple_Size(o), i = PyLong_AsLong(key);
        i += i < 0 ? n : 0;
        if (i < 0 || i >= n)
            return NULL;
        found = list ? PyList_GetItem(o, i) : PyTuple_GetItem(o, i);
    } else {
        return PyObject_GetItem(o, key);
    }
    return found ? py_ref(found) : NULL;
}

PyObject *text_join(const char *format, PyObject *values)
{
    cleanup(py_unrefp) PyObject *f = PyUnicode_FromString(format);
    PyObject *text = f && values ? PyObject_CallMethod(f, "__mod__", "(O)", values) : NULL;
    Py_DecRef(values);
    return text;
}

PyObject *type_name(PyObject *type)
{
    cleanup(py_unrefp) PyObject *name = PyObject_GetAttrString(type, "__qualname__");
    cleanup(py_unrefp) PyObject *module = PyObject_GetAttrString(type, "__module__");
    PyErr_Clear();
    if (!name || !module || !(py_flags(module) & Py_TPFLAGS_UNICODE) || !PyUnicode_CompareWithASCIIString(module, "builtins"))
        return name ? py_ref(name) : NULL;
    return text_join("%s.%s", PyTuple_Pack(2, module, name));
}

static PyObject *form_of(enum form form, PyObject *o)
{
    switch (form) {
    case FORM_LEN: {
        Py_ssize_t n = PyObject_Size(o);
        return n < 0 ? NULL : PyLong_FromLong(n);
    }
    case FORM_TYPE:
        return type_name(py_type(o));
    case FORM_STR:
        return o == Py_None ? py_ref(o) : PyObject_Str(o);
    case FORM_ID:
        return PyLong_FromUnsignedLongLong((uintptr_t)o);
    case FORM_PLAIN:
        break;
    }
    return py_ref(o);
}

PyObject *expr_read(const struct expr *e, PyObject *root)
{
    cleanup(py_unrefp) PyObject *o = py_ref(root);
    for (u32 i = 0; i < e->n_steps; i++) {
        if (o == Py_None) /* what is behind nothing is nothing */
            return py_ref(o);
        PyObject *next = e->item[i] ? read_item(o, e->step[i]) : read_attribute(o, e->step[i]);
        Py_DecRef(o);
        if (!(o = next)) {
            error_swallow();
            return NULL;
        }
    }
    PyObject *value = form_of((enum form)e->form, o);
    if (!value)
        error_swallow();
    return value;
}
