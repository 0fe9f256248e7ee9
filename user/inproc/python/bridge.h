/* The bridge inside: what its files share. Everything here runs under the interpreter's lock, which also guards all state.
 *
 *   watch.c     the watch file → struct watch, struct attr
 *   when.c      its conditions: which calls are of no interest
 *   expr.c      expressions: compiled once, read without running user code where that can be avoided
 *   event.c     the nop that the tracer probes; building an event
 *   activity.c  which calls are open: frame → activity
 *   call.c      what is said of them
 *   monitor.c   CPython 3.12+: sys.monitoring on the code of watched functions
 *   rewrite.c   CPython 3.8–3.11: watched code with calls of hooks in it
 *   hooks.c     those hooks, and the iterator that stands between an await and what it awaits
 *   bind.c      watched code by its name: in a module's code, among what is loaded
 *   imports.c   the door of imported modules
 *   main.c      the door of __main__
 *   module.c    install, uninstall, the Python module */
#ifndef WF_BRIDGE_H
#define WF_BRIDGE_H

#include "base/condition.h"
#include "bridge_abi.h"
#include "capi.h"

enum root { ROOT_ARG, ROOT_RET, ROOT_EXCEPTION, ROOT_GLOBAL, ROOT_CALLER };
enum form { FORM_PLAIN, FORM_LEN, FORM_TYPE, FORM_STR, FORM_ID };
enum stage { STAGE_ENTRY, STAGE_RETURN, STAGE_FAIL, STAGE_TEST }; /* TEST: at entry, before the others */
#define STEPS_MAX 12
#define ATTRS_MAX 64
#define WATCH_MAX 4096

struct expr {
    u8 root, form, n_steps;
    int position;              /* ROOT_ARG: of the argument, or -1: by name; ROOT_CALLER: how many callers further up */
    PyObject *name;            /* ROOT_ARG, ROOT_GLOBAL */
    PyObject *step[STEPS_MAX]; /* attribute name or item key */
    bool item[STEPS_MAX];
};
struct attr {
    struct expr expr;
    u8 index, stage;
    bool failed; /* said once */
};
struct test {
    u8 rule, index; /* of the attribute that it asks */
    struct condition is;
};
struct watch {
    struct watch *next;
    u16 id, n_attrs;
    u8 n_tests;
    u8 stages; /* 1 << stage of its attributes */
    bool exact_module, pattern, bound, only_start;
    char *module, *qualname;
    struct attr *attrs;
    struct test *tests;
    u32 rules; /* 1 << rule of its tests */
};
/* One code object under a watch. `var` says per attribute which variable of the code it starts at (NULL: none). */
struct site {
    PyObject *code, *replaced; /* what is watched; 3.11 and older: what runs instead */
    struct watch *watch;
    PyObject **var;
    u8 *slot; /* 3.11 and older: index into the values that a hook was given; 0xff: none */
    PyObject *vars[8];
    u8 n_vars;
    char *function; /* "module:qualname" */
};

extern int py_minor;   /* 8 … 14 */
extern bool bridge_on; /* false after uninstall: hooks that are left in running code do nothing */
extern struct watch *watches;
extern u64 watches_book; /* which list they are */

/* module.c */
bool main_interpreter(void); /* what is held here is of one interpreter */

/* module.c: 0, 1 when it is on already, or -errno with nothing changed. The interpreter's lock is held. `loaded_too`: what has
 * been imported before counts as well. */
int wftrace_bridge_install(const char *path, bool loaded_too) __attribute__((visibility("default")));

/* watch.c: -errno; on a fault of the text *ret_line is the line. */
int watches_read(const char *path, int *ret_line);
struct watch *watch_match(const char *module, const char *qualname, const char *name);
bool watch_wants_module(const char *module);
bool watch_missing(const char *module); /* one that names a function of it is not bound */
void watches_free(void);                /* those that are being read stay in memory */
extern u32 watches_reading;             /* calls whose values are being read */

/* expr.c */
int expr_compile(struct expr *e, const char *text);
void expr_free(struct expr *e);
/* What expression `e` is, from its root's value; NULL with no error set when it cannot be read. */
PyObject *expr_read(const struct expr *e, PyObject *root);
PyObject *type_name(PyObject *type);                       /* "module.qualname", builtins by their name alone */
PyObject *text_join(const char *format, PyObject *values); /* format % values; takes the tuple */

/* event.c */
struct event {
    struct bridge_event head;
    u8 attrs[BRIDGE_EVENT_MAX - sizeof(struct bridge_event)];
};
extern void *const bridge_site; /* the nop */
void event_init(void);          /* py_minor is known and served */
bool tracer_present(void);      /* somebody sits on the nop */
void event_start(struct event *ev, enum bridge_kind kind, const struct watch *w, u64 activity);
bool event_add(struct event *ev, u8 index, u8 type, const void *value, size_t n);
bool event_add_object(struct event *ev, u8 index, PyObject *value);
const char *text_utf8(PyObject *o); /* NULL with no error set: no text, or none that UTF-8 has */
void event_send(const struct bridge_event *ev);
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Runs `body` with the current exception put aside, and with the bridge silent on this thread. */
struct quiet {
    PyObject *type, *value, *trace;
};
extern __thread int quiet_depth;
struct quiet quiet_enter(void);
void quiet_leave(struct quiet *q);
void error_swallow(void); /* of what was read: the program must not see it */

/* when.c: -EINVAL: not understood; -ENOMEM. */
int when_add(struct watch *w, u32 rule, u32 index, const char *test, const char *constant);
void when_free(struct watch *w);
/* False: by what `ev` has been given so far, nothing comes of the call. */
bool when_holds(const struct watch *w, const struct event *ev);

/* activity.c */
struct activity {
    PyObject *frame; /* key, not owned */
    struct site *site;
    u64 id;
    PyObject *weak; /* on the generator, 3.13+ */
    bool suspended;
};
struct activity *activity_open(PyObject *frame, struct site *site); /* NULL: the table is full */
struct activity *activity_find(PyObject *frame);
void activity_close(struct activity *a);
void activities_clear(void);

/* call.c */
/* What a hook knows of the call: a frame (3.12+) or the values of the site's variables (3.11 and older). */
struct call {
    struct site *site;
    PyObject *frame;
    PyObject *const *values;
    PyObject *ret, *exception;
};
void call_start(const struct call *c);
void call_end(const struct call *c);
void call_fail(const struct call *c);
void call_suspend(PyObject *frame);
void call_resume(PyObject *frame);
void fail_by_name(struct activity *a, const char *type);

/* monitor.c: CPython 3.12+. -errno with a note said. */
int monitor_init(void);
int monitor_site(struct site *s, bool on);
int monitor_main(bool on); /* one global PY_START until __main__ begins */
void monitor_done(void);
extern PyObject *monitor_sites; /* code → site */

/* rewrite.c, hooks.c: 3.11 and older */
int hooks_init(void);
PyObject *hook_new(struct site *s, int which);
enum { HOOK_START, HOOK_END, HOOK_FAIL, HOOK_SUSPEND, HOOK_RESUME, HOOK_AWAIT, HOOK_FAIL_PLAIN, HOOK_MAX };
/* A code object like `code` with the hooks in it; NULL with *ret_why when that cannot be. */
PyObject *rewrite_code(struct site *s, const char **ret_why);

/* bind.c */
void bind_tree(const char *module, PyObject *code); /* a module's code, before it runs */
void bind_loaded(const char *module);               /* NULL: every loaded module */
struct site *site_new(PyObject *code, struct watch *w, const char *module, const char *qualname);
void sites_undo(void);
/* Finds a site by its code object. */
struct site *site_find(PyObject *code);

/* imports.c, main.c: -errno */
int imports_open(void);
void imports_close(void);
int main_open(void);
void main_close(void);
bool main_begins(PyObject *frame, PyObject *code); /* true: that was the first frame of __main__ */

#endif
