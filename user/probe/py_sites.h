/* CPython seen from outside: is this image a runtime, which one, and where are the few words and functions that say which
 * unit of work runs (engines.md B4, units.md 2). Plain data for a BPF program.
 *
 * The current context of a thread: tstate = *(fsbase + tsd_base + tsd_stride * key) with
 * key = *(u32 *)(_PyRuntime + tss_key_off + 4), then *(tstate + context_off).
 * Context edges: PyContext_CopyCurrent's return value (child) and the current context (parent). Executors: the item of
 * _queue.SimpleQueue.put/get. gevent: g_switchstack and the UserGreenlet constructor. */
#ifndef WF_PROBE_PY_SITES_H
#define WF_PROBE_PY_SITES_H

#include "probe/place.h"

enum py_role {
    PY_COPY_CONTEXT,    /* return: rax = the new context */
    PY_QUEUE_PUT,       /* entry: self = arg 0; the item is *(args = arg item_arg) */
    PY_QUEUE_GET,       /* entry: the thread waits; return: rax = the item (borrowable until the caller drops it) or NULL */
    PY_GREENLET_SWITCH, /* entry: arg this_arg = the greenlet that runs from now on; no return probe, ever */
    PY_GREENLET_NEW,    /* entry: arg 0 = the new greenlet, made by the current one */
};

struct py_site {
    enum py_role role;
    const char *function; /* for doctor */
    struct place place;
    bool wants_entry, wants_return;
    u8 object_arg; /* argument number: PUT: of the vector whose word 0 is the item (0xff: the argument itself is the item, see item_direct) */
    bool item_direct; /* PUT: object_arg is the item itself and not a vector */
};

enum { PY_SITES_MAX = 12 };
struct py_plan {
    bool runtime;     /* defines PyContext_CopyCurrent and _PyRuntime: the interpreter itself */
    bool asyncio;     /* holds the _asyncio module */
    bool units_ok;    /* the offsets of this version are known and nothing speaks against them */
    int major, minor; /* 0.0 when unknown */
    bool debug, free_threaded;
    u64 runtime_vaddr;        /* _PyRuntime */
    u32 tss_key_off;          /* offset of autoTSSkey in _PyRuntime: {int initialized; pthread_key_t key} */
    u32 tstate_context_off;   /* PyThreadState.context */
    s32 tsd_base, tsd_stride; /* glibc x86-64: slot = fsbase + 0x310 + 16 * key + 8; base includes the 8 */
    u32 count;
    struct py_site sites[PY_SITES_MAX];
    const char *why_not; /* when units_ok is false for a runtime */
};

/* Fills *ret with whatever of the above the image holds: the runtime, the _queue and _asyncio modules (own file or built
 * in), greenlet.
 * False when it holds none. `kernel` adds PLACE_NEW_NOPS where it holds. */
bool py_sites(const struct elf_image *image, u32 kernel, struct py_plan *ret);

/* The C function of a method in a PyMethodDef table of the image (`name` "put" with a docstring that begins "put(" …).
 * How it works on stripped code: find the string, find the pointer slot that the dynamic linker fills with its address; the next
 * slot is the function. vaddr; -ENOENT; -ENOTUNIQ when several tables have such a name and none of them has every name of
 * `siblings` (NULL-terminated list) too. */
int py_method(const struct elf_image *image, const char *name, const char *const *siblings, u64 *ret);

#endif
