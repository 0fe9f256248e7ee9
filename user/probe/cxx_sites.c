/* See cxx_sites.h. What was tried (kernel 6.18): a uretprobe on a frame that a C++ exception leaves → «terminate called after
 * throwing»; on a frame that a Rust 1.95 panic leaves → «failed to initiate panic, error 5». The same programs run without it. */
#include "probe/cxx_sites.h"

struct known {
    const char *name;
    bool part; /* Rust mangles its runtime's names since 2025: the name is part of the symbol */
    enum cxx_role role;
};

static const struct known knowns[] = {
    { "__cxa_throw", false, CXX_THROW },           { "__cxa_rethrow", false, CXX_RETHROW },
    { "__cxa_begin_catch", false, CXX_CATCH },     { "_Unwind_Resume", false, CXX_RESUME },
    { "rust_panic", false, RUST_PANIC },           { "7___rustc10rust_panic", true, RUST_PANIC },
    { "__rust_panic_cleanup", false, RUST_CATCH }, { "7___rustc20___rust_panic_cleanup", true, RUST_CATCH },
};

struct collect {
    const struct elf_image *image;
    u32 kernel;
    struct cxx_plan *plan;
    bool cxx_personality, rust_personality;
};

static bool is_known(const struct known *k, const char *name)
{
    return k->part ? strstr(name, k->name) != NULL : !strcmp(name, k->name);
}

static void site_add(struct collect *c, const struct elf_symbol *s, enum cxx_role role)
{
    struct cxx_plan *plan = c->plan;
    struct cxx_site site = { .role = role, .function = s->name };
    if (plan->count == CXX_SITES_MAX || place_entry(c->image, s, ARG_RDI | ARG_RSI | c->kernel, &site.place))
        return;
    for (u32 i = 0; i < plan->count; i++)
        if (plan->sites[i].place.file_offset == site.place.file_offset)
            return;
    plan->sites[plan->count++] = site;
}

static bool collect_visit(void *arg, const struct elf_symbol *s)
{
    struct collect *c = arg;
    if ((s->name[0] != '_' && s->name[0] != 'r') || strstr(s->name, ".cold"))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(knowns); i++)
        if (is_known(&knowns[i], s->name))
            site_add(c, s, knowns[i].role);
    c->cxx_personality |= !strcmp(s->name, "__gxx_personality_v0");
    c->rust_personality |= strstr(s->name, "rust_eh_personality") != NULL;
    return true;
}

static bool imports_cxx(const struct elf_image *image)
{
    return elf_imports(image, "__gxx_personality_v0") || elf_imports(image, "__cxa_throw") ||
           elf_imports(image, "__cxa_begin_catch");
}

/* A stripped Rust program still says in .comment who compiled it. */
static bool rust_comment(const struct elf_image *image)
{
    struct elf_section s;
    return elf_section(image, ".comment", &s) && s.bytes.n && memmem(s.bytes.p, s.bytes.n, "rustc version", 13);
}

/* A stripped static program: tables for landing pads and nobody to import a personality from. */
static bool nameless_tables(const struct elf_image *image)
{
    struct elf_section s;
    return elf_section(image, ".gcc_except_table", &s) && !elf_section(image, ".symtab", &s) && !elf_needed(image, 0) &&
           !elf_soname(image);
}

void cxx_sites(const struct elf_image *image, u32 kernel, struct cxx_plan *ret)
{
    struct cxx_plan plan = { 0 };
    struct collect c = { .image = image, .kernel = kernel, .plan = &plan };
    elf_symbols_each(image, collect_visit, &c);
    plan.cxx = c.cxx_personality || imports_cxx(image);
    plan.rust = c.rust_personality || rust_comment(image);
    plan.can_unwind = plan.cxx || plan.rust || nameless_tables(image);
    *ret = plan;
}
