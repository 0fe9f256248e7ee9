/* What the Python bridge (a small extension module inside a Python process) and the tracer say to each other. Shared by the
 * extension, the BPF side (bpf/bridge.bpf.c) and the tracer (ingest/decode.c); fixed-width fields only.
 *
 * Towards the tracer: the extension exports one function, `wftrace_bridge2(ev, head, activity, context)`, which is a nop and a
 * return. A BPF program sits on the nop. With nobody there the call does nothing. `ev` is the event; `head` and `activity` are its first
 * two words once more, so that an event without values need not be read from memory; `context` is the address of the
 * running thread's contextvars context, for a tracer that knows this interpreter's layout to be the one below.
 *
 * Towards the extension: a watch file, UTF-8 text, fields separated by tabs, one line each; WFTRACE_BRIDGE_WATCH names it.
 *     wftrace-bridge 3 BOOK                        six hexadecimal digits: which list this is; without them it is not asked
 *     watch  ID  MODULE  QUALNAME                  patterns of fnmatch; QUALNAME as in __qualname__ ("f.<locals>.g")
 *     attr   INDEX  entry|return|fail  EXPRESSION  of the watch above; INDEX counts from 0 within it
 *     when   RULE  INDEX  TEST  CONSTANT           of the watch above and its attribute INDEX, which is one of `entry` and stands before;
 *                                                  TEST is < <= > >= == != ~ !~, CONSTANT null, a whole number, or a text behind one "
 *     start                                        of the watch above: nothing is said of its calls but START
 * RULE counts from 0: if each rule of `when` lines has one that is not met (base/condition.h), nothing is said of the call. What cannot be
 * read, or told here, does not count: then the tracer decides. Version 2 has no `when`, `start` and `caller`; helpers of that version refuse 3.
 * An EXPRESSION is `ROOT[.NAME | [INT] | ["KEY"]]…`, or `len(…)`, `type(…)` (qualified type name), `str(…)`, `id(…)` of one.
 * ROOT is `self`, `cls`, an argument's name after `arg.`, `arg0`…, `ret`, `exception`, `global.NAME` (of the function's module), or,
 * alone and at entry, `caller` (`caller[1]`: who called that one, up to 7): "module:qualname" of the Python function that called this one, of a generator or coroutine the one that
 * takes its first step; None if there is none. Before 3.11 one that is not watched is "module:name".
 * Reading runs no user code that it can avoid: attributes and items only, no calls; what fails is left out and counted. */
#ifndef WF_BRIDGE_ABI_H
#define WF_BRIDGE_ABI_H

#ifdef __bpf__
#include "vmlinux.h"
#else
#include <linux/types.h>
#endif

#define BRIDGE_SYMBOL    "wftrace_bridge2" /* another name when the arguments change: a probe must not meet an older object */
#define BRIDGE_VERSION   2
#define BRIDGE_BOOK      40   /* activity >> this: BOOK of the watch file, 0 for none; version 1 had the process there */
#define BRIDGE_EVENT_MAX 2048 /* bytes of one event, header included; an attribute that does not fit is left out */
#define BRIDGE_ATTR_TEXT 512  /* bytes of one text; what is longer is cut */

enum bridge_kind {
    BRIDGE_START = 1, /* the call begins (a coroutine or generator: its first step) */
    BRIDGE_END,       /* it returned */
    BRIDGE_FAIL,      /* an exception left it */
    BRIDGE_SUSPEND,   /* it awaits or has yielded: it does not run, and nothing that starts now is its child */
    BRIDGE_RESUME,    /* it runs again */
    BRIDGE_NOTE,      /* about the bridge itself: watch = 0; attribute 0 is a line "key=value" (see below) */
};
/* Notes: "loaded=3.12.4", "bound=ID MODULE:QUALNAME" at the first function bound to a watch, "failed=ID reason" for one that
 * could not be, "attr_failed=ID INDEX" at the first failure of each,
 * "name=ID QUALNAME" for what a module has that has not the function named, "unloaded=". */

struct bridge_event {
    __u16 size;         /* of the whole event */
    __u8 version, kind; /* BRIDGE_VERSION: of the event, not of the watch file */
    __u16 watch;        /* ID of its line in the watch file */
    __u8 n_attrs;
    __u8 dropped;   /* attributes that did not fit or could not be read */
    __u64 activity; /* BOOK and a number: unique in this process, the same from START to END or FAIL */
    /* struct bridge_attr … */
};

enum bridge_type { BRIDGE_TEXT = 1, BRIDGE_INT, BRIDGE_DOUBLE, BRIDGE_BOOL, BRIDGE_NONE };
/* Indexes at and above this are not of the watch file. */
#define BRIDGE_ATTR_ERROR_TYPE    250 /* qualified name of the exception's type */
#define BRIDGE_ATTR_ERROR_MESSAGE 251 /* str() of it, first 512 bytes */
#define BRIDGE_ATTR_ERROR_WHERE   252 /* "file:line function" of the innermost frame of the traceback */
#define BRIDGE_ATTR_FUNCTION      253 /* "module:qualname" of what was called; at START of pattern watches */

struct bridge_attr {
    __u8 index, type;
    __u16 len; /* bytes of value: text without NUL, 8 of INT and DOUBLE, 1 of BOOL, 0 of NONE */
    /* value, padded to 4 bytes */
};

/* Where CPython keeps what its interface does not tell: X(minor version, autoTSSkey in _PyRuntime, `context` in PyThreadState). Read from
 * the debug information of 3.8.18, 3.9.18, 3.10.13, 3.11.7, 3.12.1, 3.13.0; 3.14 from a live process. They hold for normal builds:
 * debug and free-threaded ones lay the same structures out otherwise. */
#define PYTHON_LAYOUTS(X)                                                                                                        \
    X(8, 1392, 240)                                                                                                              \
    X(9, 584, 240) X(10, 584, 240) X(11, 592, 224) X(12, 1544, 208) X(13, 2160, 208) X(14, 2336, 208)

#endif
