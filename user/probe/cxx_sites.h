/* C++ exceptions and Rust panics: whether they can pass through the functions of an image, and where they are thrown
 * and caught.
 *
 * A uretprobe replaces the return address of a frame. An unwinder that walks through such a frame reads the kernel's
 * trampoline address, finds no unwind table for it and gives up: C++ ends in std::terminate, Rust in an abort «failed to
 * initiate panic». So an image that can be unwound through must get exit probes (place_returns) and not uretprobes, and the
 * missing return of a thrown-through call is closed by the throw / catch sites here. */
#ifndef WF_PROBE_CXX_SITES_H
#define WF_PROBE_CXX_SITES_H

#include "probe/place.h"

enum cxx_role {
    CXX_THROW,   /* __cxa_throw(object, type_info *, destructor): type name = *(char **)(arg 1 + 8), mangled */
    CXX_RETHROW, /* __cxa_rethrow(): no arguments */
    CXX_CATCH,   /* __cxa_begin_catch(_Unwind_Exception *): the frames above are gone */
    CXX_RESUME,  /* _Unwind_Resume: a landing pad ran its destructors and goes on unwinding */
    RUST_PANIC,  /* a panic starts */
    RUST_CATCH,  /* catch_unwind or the thread's outermost frame took it */
};

struct cxx_site {
    enum cxx_role role;
    const char *function;
    struct place place;
};

enum { CXX_SITES_MAX = 16 };
struct cxx_plan {
    bool can_unwind; /* exceptions or panics may pass through functions of this image: no uretprobes in it */
    bool cxx, rust;  /* which runtime it imports or defines */
    u32 count;
    struct cxx_site sites[CXX_SITES_MAX]; /* defined here, not merely imported: libstdc++ or a static program */
};

void cxx_sites(const struct elf_image *image, u32 kernel, struct cxx_plan *ret);

#endif
