/* libiberty's demangler reads Itanium C++, Rust v0 and Rust legacy names. It works in memory of its own and bounds its
 * recursion; the length cut keeps a hostile name from expanding without end. */
#include "probe/demangle.h"

#include <libiberty/demangle.h>

enum { NAME_MAX_LENGTH = 1024 };

static bool is_mangled(const char *name) { return name[0] == '_' && (name[1] == 'Z' || name[1] == 'R'); }

/* "core::fmt::h0123456789abcdef" ends in a hash that changes with each build. */
static void cut_rust_hash(char *name)
{
    size_t n = strlen(name);
    if (n > 19 && !strncmp(name + n - 19, "::h", 3) && strspn(name + n - 16, "0123456789abcdef") == 16)
        name[n - 19] = 0;
}

bool demangle(const char *mangled, bool arguments, char *out, size_t size)
{
    if (!size || !is_mangled(mangled) || strnlen(mangled, NAME_MAX_LENGTH + 1) > NAME_MAX_LENGTH)
        return false;
    cleanup(freep) char *name = cplus_demangle(mangled, DMGL_AUTO | DMGL_ANSI | (arguments ? DMGL_PARAMS : DMGL_NO_OPTS));
    if (!name)
        return false;
    cut_rust_hash(name);
    snprintf(out, size, "%s", name);
    return true;
}
