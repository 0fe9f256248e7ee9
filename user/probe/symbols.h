/* The function that a user means by the name in `native:/path:NAME`.
 *
 * NAME may be the symbol itself (mangled or plain, also name@VERSION), a readable C++ or Rust name with its parameter list
 * (`ns::f(int)`), without it (`ns::f`: all overloads and ABI clones), or a glob over either when it holds `*` or `?`.
 * Compiler-made parts of a function (.cold, .part.N) are left out unless asked for by exact name. */
#ifndef WF_PROBE_SYMBOLS_H
#define WF_PROBE_SYMBOLS_H

#include "probe/elf.h"

/* Functions that match, one per address, ordered by address; returns how many there are (may exceed `max`; counted up
 * to 2,048), 0 for none. */
size_t symbols_match(const struct elf_image *image, const char *name, struct elf_symbol *out, size_t max);

/* The `max` nearest function names for a message (readable form), best first, into caller's buffers of 128 bytes; how many. */
size_t symbols_nearest(const struct elf_image *image, const char *name, char (*out)[128], size_t max);

#endif
