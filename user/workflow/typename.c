/* type_info names of thrown C++ objects: class names, nested and std ones. Anything richer (templates) stays as it is. */
#include "workflow/internal.h"

static bool put_word(struct slice *in, char *out, size_t size, size_t *at)
{
    size_t n = 0, digits = 0;
    while (digits < in->n && digits < 4 && in->p[digits] >= '0' && in->p[digits] <= '9')
        n = n * 10 + (size_t)(in->p[digits++] - '0');
    if (!digits || !n || in->n - digits < n || *at + n + 3 > size)
        return false;
    if (*at) {
        memcpy(out + *at, "::", 2);
        *at += 2;
    }
    memcpy(out + *at, in->p + digits, n);
    *at += n;
    out[*at] = 0;
    *in = slice_from(*in, digits + n);
    return true;
}

static bool decode(struct slice in, char *out, size_t size)
{
    size_t at = 0;
    bool nested = slice_starts(in, "N");
    in = slice_from(in, nested);
    if (slice_starts(in, "St") && size > 4) {
        memcpy(out, "std", 4);
        at = 3;
        in = slice_from(in, 2);
    }
    do {
        if (!put_word(&in, out, size, &at))
            return false;
    } while (nested && in.n && in.p[0] != 'E');
    return in.n == (nested ? 1u : 0u);
}

void type_readable(struct slice mangled, char *out, size_t size)
{
    static const struct {
        const char *code, *name;
    } basic[] = { { "i", "int" },          { "PKc", "const char*" }, { "l", "long" },
                  { "j", "unsigned int" }, { "d", "double" },        { "b", "bool" } };
    char text[160];
    mangled = slice_from(mangled, slice_starts(mangled, "*"));
    for (size_t i = 0; i < ARRAY_LEN(basic); i++)
        if (slice_eq(mangled, basic[i].code)) {
            snprintf(out, size, "%s", basic[i].name);
            return;
        }
    if (decode(mangled, text, sizeof(text)))
        snprintf(out, size, "%s", text);
    else
        snprintf(out, size, "%.*s", (int)min_u64(mangled.n, size - 1), mangled.n ? (const char *)mangled.p : "");
}
