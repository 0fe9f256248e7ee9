/* The nop that the tracer probes, and events from first byte to hand-over.
 *
 * A breakpoint or call on the nop shows in our own text, so one load tells whether anybody listens. With nobody there no event
 * is built and no attribute is read. */
#include <stdarg.h>

#include "bridge.h"

/* One byte: every kernel emulates it. A nop of five is turned into a call by newer kernels, and a child that a fork makes then has
 * the call without its target (seen on 6.18: SIGSEGV in the child); older ones single-step it. Some room
 * behind it, for the jump that takes the probe's part in tests. */
#if defined(__x86_64__)
#define SITE_NOP  "nop"
#define SITE_BYTE 0x90
#elif defined(__aarch64__)
#define SITE_NOP  "nop"
#define SITE_BYTE 0x1f
#endif
__asm__(".text\n.globl wftrace_bridge2\n.type wftrace_bridge2,%function\n.p2align 4\nwftrace_bridge2:\n " SITE_NOP
        "\n ret\n .p2align 4\n.size wftrace_bridge2,.-wftrace_bridge2\n");

extern void wftrace_bridge2(const struct bridge_event *ev, u64 head, u64 activity, u64 context)
    __attribute__((visibility("default")));
void *const bridge_site = (void *)wftrace_bridge2;

__thread int quiet_depth;

/* Another build may have something else there; it is inside the structure in all. */
static size_t context_off;
void event_init(void)
{
#define X(minor, tss, context) [minor] = context,
    static const u16 offs[] = { PYTHON_LAYOUTS(X) };
#undef X
    context_off = offs[py_minor];
}

bool tracer_present(void) { return *(volatile const u8 *)(uintptr_t)wftrace_bridge2 != SITE_BYTE; }

void event_start(struct event *ev, enum bridge_kind kind, const struct watch *w, u64 activity)
{
    ev->head = (struct bridge_event){
        .size = sizeof ev->head, .version = BRIDGE_VERSION, .kind = (u8)kind, .watch = w ? w->id : 0, .activity = activity
    };
}

bool event_add(struct event *ev, u8 index, u8 type, const void *value, size_t n)
{
    if (type == BRIDGE_TEXT && n > BRIDGE_ATTR_TEXT) {
        for (n = BRIDGE_ATTR_TEXT; n && (((const u8 *)value)[n] & 0xc0) == 0x80; n--)
            ; /* not in the middle of a character */
    }
    size_t padded = (n + 3) & ~(size_t)3, off = ev->head.size;
    if (off + sizeof(struct bridge_attr) + padded > sizeof *ev || ev->head.n_attrs == 255) {
        ev->head.dropped += ev->head.dropped < 255;
        return false;
    }
    u8 *p = (u8 *)ev + off;
    memcpy(p, &(struct bridge_attr){ .index = index, .type = type, .len = (u16)n }, sizeof(struct bridge_attr));
    memcpy(p + sizeof(struct bridge_attr), value, n);
    memset(p + sizeof(struct bridge_attr) + n, 0, padded - n);
    ev->head.size = (u16)(off + sizeof(struct bridge_attr) + padded);
    ev->head.n_attrs++;
    return true;
}

const char *text_utf8(PyObject *o)
{
    const char *text = o && py_flags(o) & Py_TPFLAGS_UNICODE ? PyUnicode_AsUTF8AndSize(o, NULL) : NULL;
    PyErr_Clear();
    return text;
}

static bool add_text(struct event *ev, u8 index, PyObject *text)
{
    cleanup(py_unrefp) PyObject *cut = NULL, *bytes = NULL;
    if (PyUnicode_GetLength(text) > BRIDGE_ATTR_TEXT) /* the UTF-8 form is kept in the object: never that of a huge one */
        text = cut = PyUnicode_Substring(text, 0, BRIDGE_ATTR_TEXT);
    Py_ssize_t n = 0;
    const char *p = text ? PyUnicode_AsUTF8AndSize(text, &n) : NULL;
    if (!p && text) { /* lone surrogates */
        PyErr_Clear();
        bytes = PyUnicode_AsEncodedString(text, "utf-8", "replace");
        if (!bytes || PyBytes_AsStringAndSize(bytes, (char **)&p, &n) < 0)
            p = NULL;
    }
    return p && event_add(ev, index, BRIDGE_TEXT, p, (size_t)n);
}

/* Text, integers, floats, booleans, None and bytes; anything else is said to be unreadable (a rule can ask for its str()). */
bool event_add_object(struct event *ev, u8 index, PyObject *value)
{
    if (value == Py_None)
        return event_add(ev, index, BRIDGE_NONE, "", 0);
    if (value == Py_True || value == Py_False)
        return event_add(ev, index, BRIDGE_BOOL, &(u8){ value == Py_True }, 1);
    unsigned long flags = py_flags(value);
    if (flags & Py_TPFLAGS_UNICODE)
        return add_text(ev, index, value);
    if (flags & Py_TPFLAGS_LONG) {
        int overflow = 0;
        s64 n = PyLong_AsLongLongAndOverflow(value, &overflow);
        return !overflow && event_add(ev, index, BRIDGE_INT, &n, sizeof n);
    }
    if (py_type(value) == &PyFloat_Type) {
        double d = PyFloat_AsDouble(value);
        return event_add(ev, index, BRIDGE_DOUBLE, &d, sizeof d);
    }
    if (flags & Py_TPFLAGS_BYTES) {
        char *p = NULL;
        Py_ssize_t n = 0;
        return PyBytes_AsStringAndSize(value, &p, &n) == 0 &&
               event_add(ev, index, BRIDGE_TEXT, p, n > BRIDGE_ATTR_TEXT ? BRIDGE_ATTR_TEXT : (size_t)n);
    }
    return false;
}

void event_send(const struct bridge_event *ev)
{
    u64 head, context;
    memcpy(&head, ev, sizeof head);
    memcpy(&context, (char *)PyThreadState_Get() + context_off, sizeof context);
    wftrace_bridge2(ev, head, ev->activity, context);
}

void note(const char *format, ...)
{
    if (!tracer_present())
        return;
    char text[BRIDGE_ATTR_TEXT];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    struct event ev;
    event_start(&ev, BRIDGE_NOTE, NULL, watches_book << BRIDGE_BOOK);
    event_add(&ev, 0, BRIDGE_TEXT, text, n < (int)sizeof text ? (size_t)n : sizeof text - 1);
    event_send(&ev.head);
}

/* Python runs signal handlers between any two instructions, also in a property that we have read: a Ctrl-C that came there is the
 * program's, and comes again when it goes on. */
void error_swallow(void)
{
    if (PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_KeyboardInterrupt))
        PyErr_SetInterrupt();
    PyErr_Clear();
}

struct quiet quiet_enter(void)
{
    struct quiet q = { 0 };
    quiet_depth++;
    PyErr_Fetch(&q.type, &q.value, &q.trace);
    return q;
}
void quiet_leave(struct quiet *q)
{
    PyErr_Clear();
    PyErr_Restore(q->type, q->value, q->trace);
    quiet_depth--;
}
