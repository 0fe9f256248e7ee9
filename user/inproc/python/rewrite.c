/* CPython 3.8 to 3.11: watched code with calls of hooks in it.
 *
 * The code object of a watched function gets instructions of ours and stays what it was otherwise: one frame per call, the
 * same names, constants (ours are appended), line numbers and exception handlers.
 *
 *     at the start     START; then the whole body stands in a handler
 *     RETURN_VALUE     END before it, with a copy of the value
 *     the handler      FAIL, then the exception goes on as if it had not been caught: same traceback, same context
 *     YIELD_VALUE      SUSPEND before, RESUME after it, also when an exception is thrown in there
 *     await            what is awaited is relayed (hooks.c): the interpreter resumes it without running our code
 *
 * Instructions of ours have the line of the one that they go with, so a tracer sees no line that was not there. */
#include "rewrite.h"

/* What differs between versions is small enough for a table of numbers (opcode.h of each) and two encodings of lines. */
enum {
    POP_TOP = 1,
    ROT_TWO = 2,
    PUSH_NULL = 2,
    DUP_TOP = 4,
    NOP = 9,
    UNARY_POSITIVE = 10,
    YIELD_FROM = 72,
    RETURN_VALUE = 83,
    YIELD_VALUE = 86,
    POP_BLOCK = 87,
    END_FINALLY_38 = 88,
    SWAP = 99,
    LOAD_CONST = 100,
    RERAISE_39 = 48,
    RERAISE = 119,
    COPY = 120,
    SETUP_FINALLY = 122,
    SEND = 123,
    LOAD_FAST = 124,
    DELETE_FAST = 126,
    GEN_START = 129,
    CALL_FUNCTION = 131,
    LOAD_DEREF = 136,
    LOAD_DEREF_311 = 137,
    DELETE_DEREF = 138,
    DELETE_DEREF_311 = 139,
    SETUP_WITH = 143,
    EXTENDED_ARG = 144,
    RESUME = 151,
    SETUP_ASYNC_WITH = 154,
    PRECALL = 166,
    CALL = 171
};
#define BLOCKS_MAX 8 /* nested handlers that are left alone with; the interpreter's limit is 20 and two are ours */

/* Code units of inline cache after an instruction (3.11). */
static u32 caches(u8 op)
{
    if (py_minor < 11)
        return 0;
    switch (op) {
    case 60:
    case 92:
    case 122:
    case PRECALL:
        return 1; /* STORE_SUBSCR UNPACK_SEQUENCE BINARY_OP */
    case 107:
        return 2; /* COMPARE_OP */
    case 25:
    case 95:
    case 106:
    case CALL:
        return 4; /* BINARY_SUBSCR STORE_ATTR LOAD_ATTR */
    case 116:
        return 5; /* LOAD_GLOBAL */
    case 160:
        return 10; /* LOAD_METHOD */
    }
    return 0;
}

static enum jump jump_of(u8 op)
{
    if (py_minor == 11) {
        static const u8 forward[] = { 93, 110, 111, 112, 114, 115, 123, 128, 129 }, back[] = { 134, 140, 173, 174, 175, 176 };
        return memchr(forward, op, sizeof forward) ? JUMP_FORWARD : memchr(back, op, sizeof back) ? JUMP_BACK : JUMP_NONE;
    }
    static const u8 relative[] = { 93, 110, 122, 143, 154 }, absolute[] = { 111, 112, 113, 114, 115 };
    if (memchr(relative, op, sizeof relative) || (op == 162 && py_minor == 8))
        return JUMP_FORWARD;
    return memchr(absolute, op, sizeof absolute) || (op == 121 && py_minor > 8) ? JUMP_ABSOLUTE : JUMP_NONE;
}

/* Jump arguments count bytes up to 3.9, code units since. */
static u32 jump_unit(void) { return py_minor < 10 ? 2 : 1; }

static int decode(struct code *c, const u8 *p, size_t n)
{
    c->in = calloc(n / 2 + 1, sizeof *c->in);
    c->at = calloc(n / 2 + 1, sizeof *c->at);
    if (!c->in || !c->at)
        return -ENOMEM;
    c->units = (u32)(n / 2);
    for (u32 unit = 0, start = 0, arg = 0; unit < c->units; start = unit, arg = 0) {
        while (p[unit * 2] == EXTENDED_ARG && unit + 1 < c->units)
            arg = (arg | p[unit++ * 2 + 1]) << 8;
        u8 op = p[unit * 2];
        u32 next = unit + 1 + caches(op);
        for (u32 u = start; u < next && u < c->units; u++)
            c->at[u] = c->n_in;
        c->in[c->n_in++] = (struct instr){ .op = op, .arg = arg | p[unit * 2 + 1], .start = start, .next = next, .target = -1 };
        unit = next;
    }
    c->at[c->units] = c->n_in;
    for (u32 i = 0; i < c->n_in; i++) {
        struct instr *in = &c->in[i];
        enum jump j = jump_of(in->op);
        if (j == JUMP_NONE)
            continue;
        u32 delta = in->arg / jump_unit(), to = j == JUMP_ABSOLUTE ? delta : j == JUMP_BACK ? in->next - delta : in->next + delta;
        if (to >= c->units)
            return -EINVAL;
        in->target = (s32)c->at[to];
    }
    return 0;
}

static struct instr *put(struct code *c, u8 op, u32 arg)
{
    if (c->n_out == c->cap) {
        u32 cap = c->cap ? c->cap * 2 : 256;
        struct instr *more = realloc(c->out, cap * sizeof *more);
        if (!more) {
            c->failed = true;
            return &c->spare;
        }
        c->out = more;
        c->cap = cap;
    }
    struct instr *in = &c->out[c->n_out++];
    *in = (struct instr){ .op = op, .arg = arg, .target = -1, .label = -1, .from = c->from, .handler = c->handler };
    return in;
}

static void put_values(struct code *c, bool load)
{
    for (u32 i = 0; load && i < c->site->n_vars; i++)
        put(c, c->var_op[i], c->var_arg[i]);
}

/* hook(values…), its result thrown away. */
static void put_call(struct code *c, int hook, bool load)
{
    u32 n = load ? c->site->n_vars : 0;
    if (py_minor >= 11)
        put(c, PUSH_NULL, 0);
    put(c, LOAD_CONST, c->first_hook + (u32)hook);
    put_values(c, load);
    if (py_minor >= 11) {
        put(c, PRECALL, n);
        put(c, CALL, n);
    } else {
        put(c, CALL_FUNCTION, n);
    }
    put(c, POP_TOP, 0);
}

/* [value] → [value], with hook(value, values…) called. */
static void put_call_with(struct code *c, int hook, bool load)
{
    u32 n = 1 + (load ? c->site->n_vars : 0);
    if (py_minor >= 11) {
        put(c, COPY, 1);
        put(c, PUSH_NULL, 0);
        put(c, SWAP, 2);
        put(c, LOAD_CONST, c->first_hook + (u32)hook);
        put(c, SWAP, 2);
        put_values(c, load);
        put(c, PRECALL, n);
        put(c, CALL, n);
    } else {
        put(c, DUP_TOP, 0);
        put(c, LOAD_CONST, c->first_hook + (u32)hook);
        put(c, ROT_TWO, 0);
        put_values(c, load);
        put(c, CALL_FUNCTION, n);
    }
    put(c, POP_TOP, 0);
}

/* [awaited, None] → [relay of it, None] */
static void put_relay(struct code *c)
{
    if (py_minor >= 11) {
        put(c, SWAP, 2);
        put(c, PUSH_NULL, 0);
        put(c, SWAP, 2);
        put(c, LOAD_CONST, c->first_hook + HOOK_AWAIT);
        put(c, SWAP, 2);
        put(c, PRECALL, 1);
        put(c, CALL, 1);
        put(c, SWAP, 2);
    } else {
        put(c, ROT_TWO, 0);
        put(c, LOAD_CONST, c->first_hook + HOOK_AWAIT);
        put(c, ROT_TWO, 0);
        put(c, CALL_FUNCTION, 1);
        put(c, ROT_TWO, 0);
    }
}

static u32 new_label(struct code *c)
{
    if (c->n_labels == LABELS_MAX)
        c->failed = true;
    return c->n_labels < LABELS_MAX ? c->n_labels++ : 0;
}

/* A yield with SUSPEND and RESUME around it; `i` is the index of YIELD_VALUE. Returns the index of the last instruction used. */
static u32 put_yield(struct code *c, u32 i)
{
    struct yield_catch *y = c->n_catches < LABELS_MAX ? &c->catches[c->n_catches++] : NULL;
    if (!y) {
        c->failed = true;
        return i;
    }
    *y = (struct yield_catch){ .label = new_label(c), .handler = c->handler };
    put_call(c, HOOK_SUSPEND, false);
    if (py_minor < 11)
        put(c, SETUP_FINALLY, 0)->label = (s32)y->label;
    c->handler = py_minor < 11 ? c->handler : handler_add(c, -1, (s32)y->label, handler_depth(c, c->handler), true);
    put(c, YIELD_VALUE, c->in[i].arg);
    if (py_minor >= 11) {
        c->entry[++i] = c->n_out;
        put(c, RESUME, c->in[i].arg);
    } else {
        put(c, POP_BLOCK, 0);
    }
    c->handler = y->handler;
    put_call(c, HOOK_RESUME, false);
    return i;
}

/* The instruction after YIELD_VALUE tells an await's from a yield's (3.11). */
static bool is_plain_yield(const struct code *c, u32 i)
{
    if (py_minor < 11)
        return true;
    return i + 1 < c->n_in && c->in[i + 1].op == RESUME && (c->in[i + 1].arg & 3) < 2;
}

static void put_again(struct code *c)
{
    if (py_minor == 8) {
        put(c, END_FINALLY_38, 0);
    } else {
        put(c, py_minor == 9 ? RERAISE_39 : RERAISE, py_minor == 9 ? 0 : 1);
    }
}

static void put_body(struct code *c, u32 first)
{
    for (u32 i = first; i < c->n_in; i++) {
        const struct instr *in = &c->in[i];
        c->from = i;
        c->handler = c->covered[i] ? c->covered[i] : c->ours;
        c->entry[i] = c->n_out;
        if (in->op == RETURN_VALUE) {
            put_call_with(c, HOOK_END, c->load_late);
            if (py_minor < 11)
                put(c, POP_BLOCK, 0);
        } else if (in->op == YIELD_FROM && py_minor < 11) {
            put_relay(c);
        } else if (in->op == SEND && py_minor >= 11) {
            put_relay(c);
            c->entry[i] = c->n_out; /* its loop comes back to here */
        } else if (in->op == YIELD_VALUE && is_plain_yield(c, i)) {
            i = put_yield(c, i);
            continue;
        }
        put(c, in->op, in->arg)->target = in->target;
    }
}

static void put_fail(struct code *c)
{
    bool values = c->load_late && c->site->n_vars && c->site->watch->stages & 1 << STAGE_FAIL;
    if (values) {
        put_call(c, HOOK_FAIL, true);
    } else {
        put(c, LOAD_CONST, c->first_hook + HOOK_FAIL_PLAIN);
        put(c, UNARY_POSITIVE, 0);
        put(c, POP_TOP, 0);
    }
}

/* The handlers of ours, behind everything else. */
static void put_handlers(struct code *c, u32 fail_label)
{
    c->from = c->n_in;
    if (py_minor < 10)
        put(c, NOP, 0); /* the line begins here and is never run: no line event */
    for (u32 i = 0; i < c->n_catches; i++) {
        c->handler = c->catches[i].handler;
        c->label[c->catches[i].label] = c->n_out;
        put_call(c, HOOK_RESUME, false);
        put_again(c);
    }
    c->handler = 0;
    c->label[fail_label] = c->n_out;
    if (py_minor < 11) {
        put_fail(c); /* what is handled is known to the interpreter */
    } else {
        put_call_with(c, HOOK_FAIL, c->load_late); /* it lies on the stack alone */
    }
    put_again(c);
}

/* Where the body starts: what stands before belongs to the making of the frame. */
static u32 body_start(const struct code *c)
{
    if (py_minor == 10)
        return c->n_in && c->in[0].op == GEN_START;
    for (u32 i = 0; py_minor >= 11 && i < c->n_in; i++)
        if (c->in[i].op == RESUME && (c->in[i].arg & 3) == 0)
            return i + 1;
    return 0;
}

static void build(struct code *c)
{
    u32 first = body_start(c), fail = new_label(c);
    for (u32 i = 0; i < first; i++) {
        c->from = i;
        c->entry[i] = c->n_out;
        put(c, c->in[i].op, c->in[i].arg)->target = c->in[i].target;
    }
    c->from = first < c->n_in ? first : first - 1;
    if (py_minor < 11) {
        put(c, SETUP_FINALLY, 0)->label = (s32)fail;
    } else {
        c->ours = handler_add(c, -1, (s32)fail, 0, true);
        c->handler = c->ours;
    }
    put_call(c, HOOK_START, true);
    put_body(c, first);
    put_handlers(c, fail);
}

static u32 ext_args(u32 arg) { return arg > 0xffffff ? 3 : arg > 0xffff ? 2 : arg > 0xff ? 1 : 0; }

/* Offsets depend on the sizes of jumps and these on offsets: sizes only grow, so this ends. */
static void lay_out(struct code *c)
{
    for (bool changed = true; changed;) {
        u32 unit = 0;
        changed = false;
        for (u32 i = 0; i < c->n_out; i++) {
            c->out[i].start = unit;
            unit += c->out[i].ext + 1 + caches(c->out[i].op);
            c->out[i].next = unit;
        }
        c->out_units = unit;
        for (u32 i = 0; i < c->n_out; i++) {
            struct instr *in = &c->out[i];
            if (in->target >= 0 || in->label >= 0) {
                u32 to = c->out[in->label >= 0 ? c->label[in->label] : c->entry[in->target]].start;
                enum jump j = jump_of(in->op);
                in->arg = (j == JUMP_ABSOLUTE ? to : j == JUMP_BACK ? in->next - to : to - in->next) * jump_unit();
            }
            u32 ext = ext_args(in->arg);
            if (ext <= in->ext)
                continue;
            in->ext = ext;
            changed = true;
        }
    }
}

static PyObject *encode(struct code *c)
{
    cleanup(freep) u8 *bytes = calloc(c->out_units, 2);
    if (!bytes)
        return NULL;
    for (u32 i = 0; i < c->n_out; i++) {
        const struct instr *in = &c->out[i];
        u8 *p = bytes + in->start * 2;
        for (u32 e = in->ext; e; e--, p += 2) {
            p[0] = EXTENDED_ARG;
            p[1] = (u8)(in->arg >> 8 * e);
        }
        p[0] = in->op;
        p[1] = (u8)in->arg;
    }
    return PyBytes_FromStringAndSize((char *)bytes, c->out_units * 2);
}

/* How a value of the site is loaded: from its variable, or its cell when an inner function uses it too. */
static void plan_values(struct code *c)
{
    cleanup(py_unrefp) PyObject *names = PyObject_GetAttrString(c->site->code, "co_varnames");
    cleanup(py_unrefp) PyObject *cells = PyObject_GetAttrString(c->site->code, "co_cellvars");
    c->load_late = true;
    for (u32 v = 0; v < c->site->n_vars; v++) {
        bool deref = false;
        u32 index = 0;
        while (PyTuple_GetItem(names, index) != c->site->vars[v])
            index++;
        for (Py_ssize_t i = 0; i < PyTuple_Size(cells); i++) {
            cleanup(py_unrefp) PyObject *same = PyObject_CallMethod(PyTuple_GetItem(cells, i), "__eq__", "O", c->site->vars[v]);
            if (same != Py_True)
                continue;
            deref = true;
            if (py_minor < 11)
                index = (u32)i;
            break;
        }
        c->var_op[v] = deref ? (py_minor < 11 ? LOAD_DEREF : LOAD_DEREF_311) : LOAD_FAST;
        c->var_arg[v] = index;
    }
    /* A function that deletes its variables may have none left at the end. */
    u8 gone = py_minor < 11 ? DELETE_DEREF : DELETE_DEREF_311;
    for (u32 i = 0; i < c->n_in; i++)
        if (c->in[i].op == DELETE_FAST || c->in[i].op == gone)
            c->load_late = false;
}

static bool too_deep(const struct code *c)
{
    int depth = 0, deepest = 0;
    for (u32 i = 0; py_minor < 11 && i < c->n_in; i++) {
        u8 op = c->in[i].op;
        if (op == SETUP_FINALLY || op == SETUP_WITH || op == SETUP_ASYNC_WITH)
            depth++;
        if (op == POP_BLOCK && depth)
            depth--;
        if (depth > deepest)
            deepest = depth;
    }
    return deepest > BLOCKS_MAX;
}

static PyObject *constants_with_hooks(struct code *c, PyObject *old)
{
    PyObject *consts = PyTuple_New(PyTuple_Size(old) + HOOK_MAX);
    c->first_hook = (u32)PyTuple_Size(old);
    for (Py_ssize_t i = 0; consts && i < PyTuple_Size(old); i++)
        PyTuple_SetItem(consts, i, py_ref(PyTuple_GetItem(old, i)));
    for (int h = 0; consts && h < HOOK_MAX; h++) {
        PyObject *hook = hook_new(c->site, h);
        if (hook) {
            PyTuple_SetItem(consts, c->first_hook + h, hook);
        } else {
            Py_DecRef(take_ptr(consts));
        }
    }
    return consts;
}

static PyObject *replace(struct code *c, PyObject *consts)
{
    cleanup(py_unrefp) PyObject *code = encode(c), *lines = lines_encode(c),
                                *depth = PyObject_GetAttrString(c->site->code, "co_stacksize");
    cleanup(py_unrefp) PyObject *handlers = py_minor >= 11 ? handlers_encode(c) : py_none();
    cleanup(py_unrefp) PyObject *with = PyDict_New(), *none = PyTuple_New(0);
    cleanup(py_unrefp) PyObject *method = PyObject_GetAttrString(c->site->code, "replace");
    cleanup(py_unrefp) PyObject *deeper = depth ? PyLong_FromLong(PyLong_AsLong(depth) + 10 + c->site->n_vars) : NULL;
    if (!code || !lines || !handlers || !with || !none || !method || !deeper)
        return NULL;
    PyDict_SetItemString(with, "co_code", code);
    PyDict_SetItemString(with, "co_consts", consts);
    PyDict_SetItemString(with, "co_stacksize", deeper);
    PyDict_SetItemString(with, py_minor < 10 ? "co_lnotab" : "co_linetable", lines);
    if (py_minor >= 11)
        PyDict_SetItemString(with, "co_exceptiontable", handlers);
    return PyObject_Call(method, none, with);
}

/* The line of the handlers of ours in 3.8 and 3.9, which know no code without one: a debugger cannot be told to jump there. */
static s32 before_function(const struct code *c)
{
    cleanup(py_unrefp) PyObject *first = PyObject_GetAttrString(c->site->code, "co_firstlineno");
    return first ? (s32)PyLong_AsLong(first) - 1 : 0;
}

static PyObject *rewrite(struct code *c, const char **ret_why)
{
    cleanup(py_unrefp) PyObject *bytes = PyObject_GetAttrString(c->site->code, "co_code");
    cleanup(py_unrefp) PyObject *old = PyObject_GetAttrString(c->site->code, "co_consts");
    char *p = NULL;
    Py_ssize_t n = 0;
    if (!bytes || !old || PyBytes_AsStringAndSize(bytes, &p, &n) < 0 || decode(c, (u8 *)p, (size_t)n) < 0 || !c->n_in)
        return NULL;
    c->entry = calloc(c->n_in + 1, sizeof *c->entry);
    c->covered = calloc(c->n_in + 1, sizeof *c->covered);
    c->loc = calloc(c->n_in + 1, sizeof *c->loc);
    if (!c->entry || !c->covered || !c->loc || lines_decode(c) < 0 || (py_minor >= 11 && handlers_decode(c) < 0))
        return NULL;
    c->loc[c->n_in].line = py_minor < 10 ? before_function(c) : -1;
    if (too_deep(c)) {
        *ret_why = "too many nested handlers";
        return NULL;
    }
    plan_values(c);
    cleanup(py_unrefp) PyObject *consts = constants_with_hooks(c, old);
    if (!consts)
        return NULL;
    build(c);
    if (c->failed) {
        *ret_why = "too many yields";
        return NULL;
    }
    lay_out(c);
    return replace(c, consts);
}

PyObject *rewrite_code(struct site *s, const char **ret_why)
{
    struct code c = { .site = s };
    *ret_why = "code not understood";
    PyObject *made = rewrite(&c, ret_why);
    if (!made)
        PyErr_Clear();
    free(c.in);
    free(c.out);
    free(c.at);
    free(c.entry);
    free(c.covered);
    free(c.loc);
    free(c.handlers);
    return made;
}
