/* Readable names for C++ (Itanium ABI) and Rust (legacy and v0) symbols, through libiberty. */
#ifndef WF_PROBE_DEMANGLE_H
#define WF_PROBE_DEMANGLE_H

#include "base/base.h"

/* The readable form of `mangled` into `out`, cut to `size` with NUL. False, and out untouched, when the name is not mangled
 * (or longer than is sane). With `arguments`, C++ parameter lists are kept; Rust hashes never are. */
bool demangle(const char *mangled, bool arguments, char *out, size_t size);

#endif
