/* Watched code, found by its qualified name.
 *
 * In the tree of code objects that a module's code is, before the module runs: so what decorators make of a function does not
 * matter, and local functions are found too. Two doors lead here, imports.c and main.c; what is loaded already is found in the
 * collector's list of all functions. */
#include "bridge.h"

/* Hash table by code: a site is found by what it watches and by what stands in its place. */
static struct {
    PyObject *code;
    struct site *site;
} * sites;
static u32 sites_size, sites_used;

/* 3.11 and older: constants of outer code objects that were exchanged, to be exchanged back. */
struct exchange {
    PyObject *tuple;
    Py_ssize_t index;
    struct site *site;
};
static struct exchange *exchanges;
static u32 n_exchanges;

static u32 home(PyObject *code) { return (u32)(((uintptr_t)code >> 4) * 0x9e3779b97f4a7c15ull >> 40) & (sites_size - 1); }

struct site *site_find(PyObject *code)
{
    if (!sites_used)
        return NULL;
    for (u32 i = home(code); sites[i].code; i = (i + 1) & (sites_size - 1))
        if (sites[i].code == code)
            return sites[i].site;
    return NULL;
}

static void site_put(PyObject *code, struct site *s)
{
    u32 i = home(code);
    while (sites[i].code)
        i = (i + 1) & (sites_size - 1);
    sites[i].code = code;
    sites[i].site = s;
    sites_used++;
}

static bool sites_grow(void)
{
    if (sites_used * 2 + 2 < sites_size)
        return true;
    u32 old_size = sites_size;
    __typeof__(sites) old = sites, bigger = calloc(old_size ? old_size * 2 : 256, sizeof *bigger);
    if (!bigger)
        return false;
    sites = bigger;
    sites_size = old_size ? old_size * 2 : 256;
    sites_used = 0;
    for (u32 i = 0; i < old_size; i++)
        if (old[i].code)
            site_put(old[i].code, old[i].site);
    free(old);
    return true;
}

static long code_number(PyObject *code, const char *name)
{
    cleanup(py_unrefp) PyObject *n = PyObject_GetAttrString(code, name);
    return n ? PyLong_AsLong(n) : 0;
}

/* Arguments as they stand first among the code's variables: positional, keyword-only, *args, **kwargs. */
static long n_arguments(PyObject *code)
{
    long flags = code_number(code, "co_flags");
    return code_number(code, "co_argcount") + code_number(code, "co_kwonlyargcount") + !!(flags & 4) + !!(flags & 8);
}

/* The variable that an attribute starts at; NULL when this code has no such argument. */
static PyObject *argument(PyObject *code, const struct expr *e)
{
    cleanup(py_unrefp) PyObject *names = PyObject_GetAttrString(code, "co_varnames");
    long n = n_arguments(code);
    if (!names || e->root != ROOT_ARG)
        return NULL;
    if (e->position >= 0)
        return e->position < n ? PyTuple_GetItem(names, e->position) : NULL;
    for (long i = 0; i < n; i++) {
        cleanup(py_unrefp) PyObject *same = PyObject_CallMethod(PyTuple_GetItem(names, i), "__eq__", "O", e->name);
        if (same == Py_True)
            return PyTuple_GetItem(names, i);
    }
    return NULL;
}

static u8 slot_of(struct site *s, PyObject *var)
{
    for (u8 i = 0; i < s->n_vars; i++)
        if (s->vars[i] == var)
            return i;
    if (s->n_vars == ARRAY_LEN(s->vars))
        return 0xff;
    s->vars[s->n_vars] = var;
    return s->n_vars++;
}

static struct site *site_drop(struct site *s)
{
    Py_DecRef(s->code);
    free(s->var);
    free(s->slot);
    free(s);
    return NULL;
}

struct site *site_new(PyObject *code, struct watch *w, const char *module, const char *qualname)
{
    struct site *s = sites_grow() ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return NULL;
    *s = (struct site){
        .code = py_ref(code), .watch = w, .var = calloc(w->n_attrs + 1u, sizeof *s->var), .slot = calloc(w->n_attrs + 1u, 1)
    };
    if (!s->var || !s->slot || asprintf(&s->function, "%s:%s", module, qualname) < 0)
        return site_drop(s);
    for (u32 i = 0; i < w->n_attrs; i++) {
        s->var[i] = argument(code, &w->attrs[i].expr); /* lives as long as the code does */
        s->slot[i] = s->var[i] ? slot_of(s, s->var[i]) : 0xff;
    }
    site_put(code, s);
    return s;
}

static void say_bound(struct watch *w, const struct site *s)
{
    if (w->bound)
        return;
    w->bound = true;
    note("bound=%u %s", w->id, s->function);
}

/* Puts a watch on code. Returns what shall stand in the code's place: itself, or on 3.11 and older its rewritten form. */
static PyObject *bind_code(const char *module, const char *qualname, PyObject *code, struct watch *w)
{
    struct site *s = site_find(code);
    if (s)
        return s->replaced ? s->replaced : code;
    const char *why = "out of memory";
    if (!(s = site_new(code, w, module, qualname)))
        return code;
    if (py_minor >= 12) {
        if (monitor_site(s, true) == 0)
            say_bound(w, s);
        return code;
    }
    s->replaced = rewrite_code(s, &why);
    if (s->replaced && sites_grow()) {
        site_put(s->replaced, s);
        say_bound(w, s);
        return s->replaced;
    }
    note("failed=%u %s: %s", w->id, s->function, why);
    s->watch = NULL;
    return code;
}

/* Changes a constant in place: the tuple belongs to code that has not begun to run, or is only read from. */
#define TUPLE_ITEMS 24
static bool exchange(PyObject *tuple, Py_ssize_t i, PyObject *from, PyObject *to)
{
    PyObject **items = (PyObject **)((char *)tuple + TUPLE_ITEMS);
    if (PyTuple_GetItem(tuple, i) != from || items[i] != from)
        return false;
    items[i] = py_ref(to);
    Py_DecRef(from);
    return true;
}

static void exchange_code(PyObject *tuple, Py_ssize_t i, PyObject *code, PyObject *to)
{
    struct exchange *more = realloc(exchanges, (n_exchanges + 1) * sizeof *more);
    if (!more)
        return;
    exchanges = more;
    if (!exchange(tuple, i, code, to))
        return;
    exchanges[n_exchanges++] = (struct exchange){ py_ref(tuple), i, site_find(code) };
}

enum { CO_OPTIMIZED = 1 };
static void bind_inner(const char *module, const char *prefix, PyObject *code, int depth);

/* One code object among another's constants: first what is inside it, then itself. */
static PyObject *bind_one(const char *module, const char *prefix, PyObject *code, int depth)
{
    cleanup(py_unrefp) PyObject *name = PyObject_GetAttrString(code, "co_name");
    cleanup(py_unrefp) PyObject *known = py_minor >= 11 ? PyObject_GetAttrString(code, "co_qualname") : NULL;
    const char *short_name = name ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
    if (!short_name)
        return code;
    cleanup(freep) char *full = NULL;
    const char *qualname = known ? PyUnicode_AsUTF8AndSize(known, NULL) : NULL;
    if (!qualname) {
        if (asprintf(&full, "%s%s", prefix, short_name) < 0)
            return code;
        qualname = full;
    }
    bool function = code_number(code, "co_flags") & CO_OPTIMIZED;
    cleanup(freep) char *inner = NULL;
    if (asprintf(&inner, function ? "%s.<locals>." : "%s.", qualname) < 0)
        return code;
    bind_inner(module, inner, code, depth + 1);
    struct watch *w = function ? watch_match(module, qualname, short_name) : NULL;
    return w ? bind_code(module, qualname, code, w) : code;
}

static void bind_inner(const char *module, const char *prefix, PyObject *code, int depth)
{
    cleanup(py_unrefp) PyObject *consts = depth < 64 ? PyObject_GetAttrString(code, "co_consts") : NULL;
    for (Py_ssize_t i = 0; consts && i < PyTuple_Size(consts); i++) {
        PyObject *inner = PyTuple_GetItem(consts, i);
        if (py_type(inner) != &PyCode_Type)
            continue;
        PyObject *now = bind_one(module, prefix, inner, depth);
        if (now != inner)
            exchange_code(consts, i, inner, now);
    }
}

/* A rule that names a function which its module does not have was perhaps mistyped: the tracer is told what there is. */
#define NAMES_MAX 256
static void say_names(u16 id, const char *prefix, PyObject *code, int *left)
{
    cleanup(py_unrefp) PyObject *consts = PyObject_GetAttrString(code, "co_consts");
    for (Py_ssize_t i = 0; consts && i < PyTuple_Size(consts) && *left > 0; i++) {
        PyObject *inner = PyTuple_GetItem(consts, i);
        cleanup(py_unrefp) PyObject *name = py_type(inner) == &PyCode_Type ? PyObject_GetAttrString(inner, "co_name") : NULL;
        const char *text = text_utf8(name);
        if (!text || text[0] == '<')
            continue;
        bool function = code_number(inner, "co_flags") & CO_OPTIMIZED;
        cleanup(freep) char *full = NULL;
        if (asprintf(&full, "%s%s%s", prefix, text, function ? ".<locals>." : ".") < 0)
            return;
        *left -= 1; /* which bounds the depth as well */
        if (function)
            note("name=%u %s%s", id, prefix, text);
        say_names(id, full, inner, left);
    }
}

static void say_missing(const char *module, PyObject *code)
{
    for (struct watch *w = watches; w && tracer_present(); w = w->next) {
        int left = NAMES_MAX;
        if (!w->bound && !w->pattern && !strcmp(w->module, module))
            say_names(w->id, "", code, &left);
    }
}

void bind_tree(const char *module, PyObject *code)
{
    if (py_type(code) != &PyCode_Type)
        return;
    struct quiet q = quiet_enter();
    bind_inner(module, "", code, 0);
    say_missing(module, code);
    quiet_leave(&q);
}

/* The module that a function was defined in, from its globals: __module__ may have been copied by a decorator. */
static const char *function_module(PyObject *function)
{
    PyObject *globals = PyFunction_GetGlobals(function), *name = globals ? PyDict_GetItemString(globals, "__name__") : NULL;
    return text_utf8(name);
}

/* Up to 3.10 only the function knows its qualified name; a decorator may have given it another's. */
static char *function_prefix(PyObject *function, PyObject *code)
{
    cleanup(py_unrefp) PyObject *qualname = PyObject_GetAttrString(function, py_minor >= 11 ? "__name__" : "__qualname__");
    cleanup(py_unrefp) PyObject *name = PyObject_GetAttrString(code, "co_name");
    const char *q = qualname ? PyUnicode_AsUTF8AndSize(qualname, NULL) : NULL,
               *n = name ? PyUnicode_AsUTF8AndSize(name, NULL) : NULL;
    if (!q || !n)
        return NULL;
    size_t have = strlen(q), tail = strlen(n);
    if (py_minor >= 11)
        return strdup("");
    if (have < tail || strcmp(q + have - tail, n) || (have > tail && q[have - tail - 1] != '.'))
        return NULL;
    char *prefix = strdup(q);
    if (prefix)
        prefix[have - tail] = 0;
    return prefix;
}

static void bind_function(PyObject *function, const char *only)
{
    const char *module = function_module(function);
    if (!module || (only && strcmp(module, only)) || !watch_wants_module(module))
        return;
    PyObject *code = PyFunction_GetCode(function);
    cleanup(freep) char *prefix = function_prefix(function, code);
    if (!prefix)
        return;
    PyObject *now = bind_one(module, prefix, code, 0);
    if (now != code)
        PyObject_SetAttrString(function, "__code__", now);
}

static PyObject *all_objects(void)
{
    cleanup(py_unrefp) PyObject *gc = PyImport_ImportModule("gc");
    return gc ? PyObject_CallMethod(gc, "get_objects", NULL) : NULL;
}

void bind_loaded(const char *module)
{
    struct quiet q = quiet_enter();
    cleanup(py_unrefp) PyObject *objects = all_objects();
    for (Py_ssize_t i = 0; objects && i < PyList_Size(objects); i++) {
        PyObject *o = PyList_GetItem(objects, i);
        if (py_type(o) == &PyFunction_Type)
            bind_function(o, module);
        PyErr_Clear();
    }
    quiet_leave(&q);
}

static void functions_undo(void)
{
    cleanup(py_unrefp) PyObject *objects = all_objects();
    for (Py_ssize_t i = 0; objects && i < PyList_Size(objects); i++) {
        PyObject *o = PyList_GetItem(objects, i);
        if (py_type(o) != &PyFunction_Type)
            continue;
        PyObject *code = PyFunction_GetCode(o);
        struct site *s = site_find(code);
        if (s && s->replaced == code)
            PyObject_SetAttrString(o, "__code__", s->code);
    }
}

/* Takes everything back. Sites stay in memory: code that runs right now may still call their hooks. */
void sites_undo(void)
{
    struct quiet q = quiet_enter();
    if (py_minor < 12)
        functions_undo();
    for (u32 i = 0; i < n_exchanges; i++) {
        struct exchange *e = &exchanges[i];
        if (e->site && e->site->replaced)
            (void)exchange(e->tuple, e->index, e->site->replaced, e->site->code);
        Py_DecRef(e->tuple);
    }
    free(exchanges);
    exchanges = NULL;
    n_exchanges = 0;
    for (u32 i = 0; i < sites_size; i++) {
        if (!sites[i].code)
            continue;
        if (py_minor >= 12)
            (void)monitor_site(sites[i].site, false);
        sites[i].site->watch = NULL;
    }
    free(sites);
    sites = NULL;
    sites_size = sites_used = 0;
    quiet_leave(&q);
}
