/* See py_sites.h. */
#include "probe/py_sites.h"

#include "inproc/python/bridge_abi.h"

#include <ctype.h>

struct layout {
    int minor;
    u32 tss_key_off, context_off;
};
#define X(minor_, tss, context) { .minor = minor_, .tss_key_off = tss, .context_off = context },
static const struct layout layouts[] = { PYTHON_LAYOUTS(X) };
#undef X

/* --- version ---------------------------------------------------------------------------------------------------- */

static bool version_from_symbol(const struct elf_image *image, struct py_plan *p)
{
    struct elf_symbol s;
    u32 word;
    if (elf_symbol(image, "Py_Version", &s) || elf_u32(image, s.value, &word) || word >> 24 != 3)
        return false;
    p->major = 3;
    p->minor = word >> 16 & 255;
    return true;
}

static bool version_from_soname(const struct elf_image *image, struct py_plan *p)
{
    const char *name = elf_soname(image);
    return name && sscanf(name, "libpython%2d.%2d", &p->major, &p->minor) == 2 && p->major == 3;
}

/* PY_VERSION as it lies in read-only data: NUL, "3.9.2", then NUL, + or a pre-release letter. */
static int version_text(const u8 *p, size_t n)
{
    size_t at = 3;
    int minor = 0, digits = 0;
    if (n < 8 || p[0] || p[1] != '3' || p[2] != '.')
        return 0;
    for (; at < n && isdigit(p[at]) && digits < 2; at++, digits++)
        minor = minor * 10 + (p[at] - '0');
    if (!digits || at + 2 >= n || p[at] != '.' || !isdigit(p[at + 1]))
        return 0;
    for (at++; at < n && isdigit(p[at]); at++)
        ;
    bool ends = at < n && (!p[at] || strchr("+abr", p[at]));
    return ends && minor >= 8 && minor <= 14 ? minor : 0;
}

static bool version_from_text(const struct elf_image *image, struct py_plan *p)
{
    struct elf_section s;
    if (!elf_section(image, ".rodata", &s))
        return false;
    const u8 *at = s.bytes.p, *end = at + s.bytes.n;
    while (at < end && (at = memmem(at, (size_t)(end - at), "\0003.", 3))) {
        int minor = version_text(at, (size_t)(end - at));
        if (minor) {
            p->major = 3;
            p->minor = minor;
            return true;
        }
        at++;
    }
    return false;
}

static bool needs_musl(const struct elf_image *image)
{
    const char *name;
    for (unsigned i = 0; (name = elf_needed(image, i)); i++)
        if (strstr(name, "musl"))
            return true;
    return false;
}

static const char *layout_fill(const struct elf_image *image, struct py_plan *p)
{
    if (p->debug || p->free_threaded)
        return p->debug ? "debug build: other structure layout" : "free-threaded build: other structure layout";
    if (elf_machine(image) != ELF_X86_64)
        return "thread slots are known on x86-64 only";
    if (needs_musl(image))
        return "musl keeps thread slots elsewhere";
    for (size_t i = 0; i < ARRAY_LEN(layouts); i++)
        if (p->major == 3 && layouts[i].minor == p->minor) {
            p->tss_key_off = layouts[i].tss_key_off;
            p->tstate_context_off = layouts[i].context_off;
            p->tsd_base = 0x310 + 8;
            p->tsd_stride = 16;
            return NULL;
        }
    return p->minor ? "this Python version is not in the table" : "version not found";
}

/* --- sites ------------------------------------------------------------------------------------------------------ */

static void site_add(struct py_plan *p, const struct elf_image *image, u64 vaddr, u32 want, struct py_site site)
{
    struct elf_symbol s = { .name = site.function, .value = vaddr };
    if (p->count == PY_SITES_MAX || place_entry(image, &s, want, &site.place))
        return;
    for (u32 i = 0; i < p->count; i++)
        if (p->sites[i].place.file_offset == site.place.file_offset && p->sites[i].role == site.role)
            return;
    p->sites[p->count++] = site;
}

static void runtime_fill(const struct elf_image *image, u32 kernel, struct py_plan *p)
{
    struct elf_symbol copy, runtime, any;
    if (elf_symbol(image, "PyContext_CopyCurrent", &copy) || elf_symbol(image, "_PyRuntime", &runtime))
        return;
    p->runtime = true;
    p->runtime_vaddr = runtime.value;
    if (!version_from_symbol(image, p) && !version_from_soname(image, p) && !version_from_text(image, p))
        p->major = p->minor = 0;
    p->debug = !elf_symbol(image, "_Py_NegativeRefcount", &any) || !elf_symbol(image, "_Py_RefTotal", &any);
    p->free_threaded = !elf_symbol(image, "_Py_MergeZeroLocalRefcount", &any);
    p->why_not = layout_fill(image, p);
    p->units_ok = !p->why_not;
    site_add(p, image, copy.value, PLACE_RETURN | kernel,
             (struct py_site){ .role = PY_COPY_CONTEXT, .function = "PyContext_CopyCurrent", .wants_return = true });
}

/* Every vectorcall form of put has the items in its second argument: (self, args, nargs, kwnames), 3.8 to 3.14. */
static void queue_fill(const struct elf_image *image, u32 kernel, struct py_plan *p)
{
    static const char *const siblings[] = { "put", "put_nowait", "get", "get_nowait", "qsize", NULL };
    u64 at;
    for (int i = 0; i < 2; i++)
        if (!py_method(image, siblings[i], siblings, &at))
            site_add(p, image, at, ARG_RDI | ARG_RSI | kernel,
                     (struct py_site){ .role = PY_QUEUE_PUT,
                                       .function = i ? "SimpleQueue.put_nowait" : "SimpleQueue.put",
                                       .wants_entry = true,
                                       .object_arg = 1 });
    for (int i = 0; i < 2; i++)
        if (!py_method(image, siblings[2 + i], siblings, &at))
            site_add(p, image, at, PLACE_RETURN | kernel,
                     (struct py_site){ .role = PY_QUEUE_GET,
                                       .function = i ? "SimpleQueue.get_nowait" : "SimpleQueue.get",
                                       .wants_entry = true,
                                       .wants_return = true });
}

static bool holds_queue(const struct elf_image *image, bool runtime)
{
    struct elf_symbol s;
    struct elf_section rodata;
    if (!elf_symbol(image, "PyInit__queue", &s))
        return true;
    return runtime && elf_section(image, ".rodata", &rodata) && rodata.bytes.n &&
           memmem(rodata.bytes.p, rodata.bytes.n, "_queue.SimpleQueue", 18);
}

struct greenlet_walk {
    const struct elf_image *image;
    u32 kernel;
    struct py_plan *plan;
};

/* g_switchstack returns a structure, so `this` is its second argument; constructors come as C1 and C2, often one address. */
static bool greenlet_visit(void *arg, const struct elf_symbol *s)
{
    struct greenlet_walk *w = arg;
    if (!strcmp(s->name, "_ZN8greenlet8Greenlet13g_switchstackEv"))
        site_add(w->plan, w->image, s->value, ARG_RDI | ARG_RSI | w->kernel,
                 (struct py_site){ .role = PY_GREENLET_SWITCH,
                                   .function = "greenlet::Greenlet::g_switchstack",
                                   .wants_entry = true,
                                   .object_arg = 1 });
    if (strchr(s->name, '.')) /* .cold parts are no entries */
        return true;
    if (!strncmp(s->name, "_ZN8greenlet12UserGreenletC1E", 29) || !strncmp(s->name, "_ZN8greenlet12UserGreenletC2E", 29))
        site_add(
            w->plan, w->image, s->value, ARG_RDI | w->kernel,
            (struct py_site){ .role = PY_GREENLET_NEW, .function = "greenlet::UserGreenlet::UserGreenlet", .wants_entry = true });
    return true;
}

bool py_sites(const struct elf_image *image, u32 kernel, struct py_plan *ret)
{
    struct py_plan plan = { 0 };
    struct elf_symbol s;
    runtime_fill(image, kernel, &plan);
    if (holds_queue(image, plan.runtime))
        queue_fill(image, kernel, &plan);
    if (!elf_symbol(image, "PyInit__greenlet", &s))
        elf_symbols_each(image, greenlet_visit, &(struct greenlet_walk){ image, kernel, &plan });
    plan.asyncio = !elf_symbol(image, "PyInit__asyncio", &s);
    *ret = plan;
    return plan.runtime || plan.count || plan.asyncio;
}

/* --- PyMethodDef { const char *name; PyCFunction meth; int flags; const char *doc; } ----------------------------- */

enum { METHOD_SIZE = 32, TABLE_SPAN = 32, NAMES_MAX = 64, HITS_MAX = 16 };

struct method_search {
    u64 names[NAMES_MAX]; /* vaddrs at which the name lies; linkers merge it into the tails of longer strings */
    size_t name_count;
    u64 slots[HITS_MAX];
    size_t slot_count;
};

static void names_find(const struct elf_image *image, const char *name, struct method_search *m)
{
    struct elf_section s;
    size_t length = strlen(name) + 1;
    for (unsigned i = 0; elf_section_at(image, i, &s); i++) {
        if (!s.vaddr || !s.bytes.n || (strncmp(s.name, ".rodata", 7) && strcmp(s.name, ".data.rel.ro.local")))
            continue;
        const u8 *at = s.bytes.p, *end = at + s.bytes.n;
        for (; at < end && m->name_count < NAMES_MAX && (at = memmem(at, (size_t)(end - at), name, length)); at++)
            m->names[m->name_count++] = s.vaddr + (u64)(at - s.bytes.p);
    }
}

static bool slot_visit(void *arg, u64 slot, u64 value)
{
    struct method_search *m = arg;
    for (size_t i = 0; i < m->name_count; i++)
        if (m->names[i] == value && m->slot_count < HITS_MAX)
            m->slots[m->slot_count++] = slot;
    return true;
}

static const char *entry_name(const struct elf_image *image, u64 slot)
{
    u64 name, function;
    bool whole = !elf_pointer(image, slot, &name) && !elf_pointer(image, slot + 8, &function) && elf_is_code(image, function);
    return whole ? elf_string(image, name) : NULL;
}

/* Looks one way through the table around `slot`, as long as there are entries: a table ends in an empty one. */
static bool table_has_towards(const struct elf_image *image, u64 slot, s64 step, const char *name)
{
    const char *text;
    for (unsigned i = 0; i < TABLE_SPAN && (text = entry_name(image, slot)); i++, slot += (u64)step)
        if (!strcmp(text, name))
            return true;
    return false;
}

static bool table_has(const struct elf_image *image, u64 slot, const char *name)
{
    return table_has_towards(image, slot, METHOD_SIZE, name) || table_has_towards(image, slot, -(s64)METHOD_SIZE, name);
}

static bool table_has_all(const struct elf_image *image, u64 slot, const char *const *siblings)
{
    for (; siblings && *siblings; siblings++)
        if (!table_has(image, slot, *siblings))
            return false;
    return true;
}

int py_method(const struct elf_image *image, const char *name, const char *const *siblings, u64 *ret)
{
    struct method_search m = { .name_count = 0 };
    u64 function, found = 0;
    names_find(image, name, &m);
    if (m.name_count)
        elf_pointers_each(image, slot_visit, &m);
    for (size_t i = 0; i < m.slot_count; i++) {
        if (elf_pointer(image, m.slots[i] + 8, &function) || !elf_is_code(image, function) ||
            !table_has_all(image, m.slots[i], siblings))
            continue;
        if (found && found != function)
            return -ENOTUNIQ;
        found = function;
    }
    if (!found)
        return -ENOENT;
    *ret = found;
    return 0;
}
