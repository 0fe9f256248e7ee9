/* See rule_sites.h: rules × image → places to probe. */
#include "probe/rule_sites.h"
#include "probe/cxx_sites.h"
#include "probe/demangle.h"
#include "probe/symbols.h"
#include "probe/usdt.h"
#include "trace/span.h"

#include <stdarg.h>

enum { FUNCTIONS_MAX = 64, EXITS_MAX = 64, USDT_SITES_MAX = 64 };

struct builder {
    const struct rules *rules;
    const struct elf_image *image;
    const char *path;
    const struct rule_env *env;
    struct cxx_plan cxx;
    struct rule_site *v;
    size_t n, room;
    int err;
};

typedef void teller(void *arg, const struct rule *r, const char *sentence);
static void tell(struct builder *b, teller *to, const struct rule *r, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
static void tell(struct builder *b, teller *to, const struct rule *r, const char *fmt, ...)
{
    char text[400];
    if (!to)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    to(b->env->arg, r, text);
}
#define note(b, r, ...)   tell(b, (b)->env->note, r, __VA_ARGS__)
#define placed(b, r, ...) tell(b, (b)->env->placed, r, __VA_ARGS__)

static struct rule_site *site_new(struct builder *b, u32 rule, enum site_role role, const char *function)
{
    if (b->n == b->room) {
        size_t room = b->room ? b->room * 2 : 16;
        struct rule_site *v = realloc(b->v, room * sizeof(*v));
        if (!v) {
            b->err = -ENOMEM;
            return NULL;
        }
        b->v = v;
        b->room = room;
    }
    struct site_row row = { .rule = rule, .role = role, .function = intern(function), .file = intern(b->path) };
    int number = site_add(b->rules->sites, &row);
    if (number < 0) {
        b->err = number;
        return NULL;
    }
    struct rule_site *s = &b->v[b->n++];
    *s = (struct rule_site){ .number = (u32)number, .rule = rule };
    return s;
}

static void site_ops(struct builder *b, const struct rule *r, const struct value_plan *values, const struct ops_place *p,
                     struct rule_site *s)
{
    int err = rule_ops(values, p, &s->program);
    if (err == -ENOTSUP)
        note(b, r, "some values can't be read here and are left out");
    else if (err)
        note(b, r, "too many values for one probe: none is read");
}

static void readable(const char *symbol, char *out, size_t size)
{
    if (!demangle(symbol, false, out, size))
        snprintf(out, size, "%s", symbol);
}

/* --- functions --- */
static void add_exits(struct builder *b, const struct rule *r, const struct rule_plan *plan, const struct elf_symbol *f,
                      const char *name)
{
    struct place_return exits[EXITS_MAX];
    u32 missed = 0;
    int n = place_returns(b->image, f, exits, EXITS_MAX, &missed);
    if (n <= 0 || missed)
        note(b, r, "%s: not every way out can be probed; such a call ends when its thread is next seen", name);
    for (int i = 0; i < n && i < EXITS_MAX; i++) {
        bool tail = exits[i].kind == PLACE_TAIL_JUMP;
        struct rule_site *s = site_new(b, r->id, tail ? SITE_TAIL : SITE_RETURN, name);
        if (!s)
            return;
        s->hook = RULE_HOOK_EXIT;
        s->offset = exits[i].file_offset;
        s->emulated = exits[i].emulated;
        s->program.phase = HIT_RETURN;
        struct ops_place p = { .machine = elf_machine(b->image) };
        if (tail || elf_offset_to_vaddr(b->image, s->offset, &p.vaddr))
            continue;
        if (plan->err_no >= 0)
            errno_find(b->image, b->env->root, &p);
        site_ops(b, r, &plan->at[PLAN_RETURN], &p, s);
    }
}

static void add_uretprobe(struct builder *b, const struct rule *r, const struct rule_plan *plan, const struct place *at,
                          const char *name)
{
    struct rule_site *s = site_new(b, r->id, SITE_RETURN, name);
    if (!s)
        return;
    s->hook = RULE_HOOK_RETURN;
    s->offset = at->file_offset;
    s->delta = at->delta;
    s->emulated = at->emulated;
    s->program.phase = HIT_RETURN;
    s->program.stack_shift = elf_machine(b->image) == ELF_X86_64 ? -8 : 0; /* the return address is off the stack */
    struct ops_place p = { .machine = elf_machine(b->image), .vaddr = at->vaddr };
    site_ops(b, r, &plan->at[PLAN_RETURN], &p, s);
}

static void add_function(struct builder *b, const struct rule *r, const struct rule_plan *plan, const struct elf_symbol *f)
{
    char name[256];
    struct place at;
    bool by_exits = b->cxx.can_unwind || plan->err_no >= 0;
    u32 want =
        rule_ops_registers(&plan->at[PLAN_ENTRY]) | (b->env->new_nops ? PLACE_NEW_NOPS : 0) | (by_exits ? 0 : PLACE_RETURN);
    readable(f->name, name, sizeof(name));
    if (elf_machine(b->image) == ELF_AARCH64) {
        if (elf_vaddr_to_offset(b->image, f->value, &at.file_offset))
            return;
        at = (struct place){
            .file_offset = at.file_offset, .vaddr = f->value, .emulated = true, .return_legal = true, .why = "entry"
        };
    } else if (place_entry(b->image, f, want, &at)) {
        note(b, r, "%s has no code in %s", name, b->path);
        return;
    }
    struct rule_site *s = site_new(b, r->id, SITE_ENTRY, name);
    if (!s)
        return;
    s->hook = RULE_HOOK_ENTRY;
    s->offset = at.file_offset;
    s->delta = at.delta;
    s->emulated = at.emulated;
    s->program.phase = HIT_ENTRY;
    s->program.stack_shift = at.stack_shift;
    struct ops_place p = { .machine = elf_machine(b->image), .vaddr = at.vaddr };
    site_ops(b, r, &plan->at[PLAN_ENTRY], &p, s);
    if (by_exits)
        add_exits(b, r, plan, f, name);
    else
        add_uretprobe(b, r, plan, &at, name);
    placed(b, r, "%s at 0x%llx, +%u %s, returns by %s", name, (unsigned long long)f->value, at.delta,
           at.emulated ? "emulated" : "single-stepped", by_exits ? "exits" : "uretprobe");
    if (plan->err_no >= 0) {
        errno_find(b->image, b->env->root, &p);
        if (!p.err_no.ok)
            note(b, r, "errno can't be read in %s: its C library is not understood", b->path);
    }
}

/* Globs look into many files, most of which don't have the function; who names one file wants to know. */
static void note_absent(struct builder *b, const struct rule *r)
{
    char near[3][128], text[320];
    if (strpbrk(r->object, "*?[") || strpbrk(r->symbol, "*?"))
        return;
    size_t n = symbols_nearest(b->image, r->symbol, near, ARRAY_LEN(near)), at = 0;
    text[0] = 0;
    for (size_t i = 0; i < n && at < sizeof(text); i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%.100s", i ? ", " : "; nearest names: ", near[i]);
    note(b, r, "no function «%.100s» in %.100s%s", r->symbol, b->path, text);
}

static void add_native(struct builder *b, const struct rule *r, const struct rule_plan *plan)
{
    struct elf_symbol found[FUNCTIONS_MAX];
    size_t n = symbols_match(b->image, r->symbol, found, FUNCTIONS_MAX);
    if (!n)
        note_absent(b, r);
    if (n > FUNCTIONS_MAX)
        note(b, r, "%zu functions match; the first %d are watched", n, FUNCTIONS_MAX);
    for (size_t i = 0; i < n && i < FUNCTIONS_MAX && !b->err; i++)
        add_function(b, r, plan, &found[i]);
}

/* --- USDT --- */
static void add_usdt_probe(struct builder *b, const struct rule *r, const struct value_plan *values, const char *provider,
                           const char *probe, enum site_role role)
{
    struct usdt_site *found = calloc(USDT_SITES_MAX, sizeof(*found));
    size_t n = found ? usdt_find(b->image, provider, probe, found, USDT_SITES_MAX) : 0;
    for (size_t i = 0; i < n && i < USDT_SITES_MAX && !b->err; i++) {
        char name[256];
        snprintf(name, sizeof(name), "%s:%s", provider, probe);
        struct rule_site *s = site_new(b, r->id, role, name);
        if (!s)
            break;
        s->hook = RULE_HOOK_POINT;
        s->offset = found[i].file_offset;
        s->semaphore = found[i].semaphore_offset;
        s->emulated = found[i].kind != USDT_OTHER;
        s->program.phase = HIT_POINT;
        struct ops_place p = { .machine = elf_machine(b->image), .usdt = &found[i], .vaddr = found[i].vaddr };
        site_ops(b, r, values, &p, s);
        placed(b, r, "%s at 0x%llx, %u arguments%s", name, (unsigned long long)found[i].vaddr, found[i].arg_count,
               found[i].semaphore_offset ? ", with a semaphore" : "");
    }
    free(found);
}

static void add_usdt(struct builder *b, const struct rule *r, const struct rule_plan *plan)
{
    static const struct value_plan none;
    bool pair = r->end_symbol[0];
    add_usdt_probe(b, r, &plan->at[PLAN_ENTRY], r->provider, r->symbol, pair ? SITE_BEGIN : SITE_POINT);
    if (pair)
        add_usdt_probe(b, r, &none, r->end_provider, r->end_symbol, SITE_UNTIL);
}

/* --- exception runtimes --- */
static void add_runtime(struct builder *b)
{
    static const enum site_role roles[] = {
        [CXX_THROW] = SITE_THROW,   [CXX_RETHROW] = SITE_RETHROW, [CXX_CATCH] = SITE_CATCH,
        [CXX_RESUME] = SITE_RESUME, [RUST_PANIC] = SITE_PANIC,    [RUST_CATCH] = SITE_PANIC_CATCH,
    };
    /* the thrown type's mangled name: *(char **)(type_info + 8) */
    static const struct value_plan thrown = {
        .n = 1,
        .len_slot = { -1 },
        .v = { { .root = SOURCE_ARG, .arg = 1, .n_steps = 1, .steps = { { 8, true } }, .type = TYPE_STR, .size = 8 } }
    };
    static const struct value_plan none;
    for (u32 i = 0; i < b->cxx.count && i < CXX_SITES_MAX && !b->err; i++) {
        const struct cxx_site *c = &b->cxx.sites[i];
        struct rule_site *s = site_new(b, NO_RULE, roles[c->role], c->function);
        if (!s)
            return;
        s->hook = RULE_HOOK_POINT;
        s->offset = c->place.file_offset;
        s->delta = c->place.delta;
        s->emulated = c->place.emulated;
        s->program.phase = HIT_POINT;
        s->program.stack_shift = c->place.stack_shift;
        struct ops_place p = { .machine = elf_machine(b->image), .vaddr = c->place.vaddr };
        (void)rule_ops(c->role == CXX_THROW ? &thrown : &none, &p, &s->program);
    }
}

bool rules_native(const struct rules *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->v[i].at == AT_NATIVE && !r->v[i].retired)
            return true;
    return false;
}

static bool may_hold_runtime(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return !strncmp(name, "libstdc++.so", 12) || !strncmp(name, "libc++abi.so", 12) || !strncmp(name, "libgcc_s.so", 11);
}

static bool rule_wants(const struct rule *r, const char *path, s64 after)
{
    return (r->at == AT_NATIVE || r->at == AT_USDT) && !r->retired && r->since > after && rule_object_matches(r->object, path);
}

bool rule_sites_wanted(const struct rules *r, const char *path, s64 after)
{
    for (size_t i = 0; i < r->n; i++)
        if (rule_wants(&r->v[i], path, after))
            return true;
    return may_hold_runtime(path) && rules_native(r);
}

int rule_sites(const struct rules *r, const struct elf_image *image, const char *path, const struct rule_env *env,
               struct rule_site **ret)
{
    struct builder b = { .rules = r, .image = image, .path = path, .env = env };
    if (!r->n || !r->sites)
        return 0;
    cxx_sites(image, env->kernel, &b.cxx);
    for (size_t i = 0; i < r->n && !b.err; i++) {
        const struct rule *rule = &r->v[i];
        struct rule_plan plan;
        char err[160];
        if (!rule_wants(rule, path, env->after) || rule_plan_make(rule, &plan, err, sizeof(err)))
            continue;
        if (rule->at == AT_NATIVE)
            add_native(&b, rule, &plan);
        else
            add_usdt(&b, rule, &plan);
    }
    if (env->runtime && rules_native(r) && !b.err)
        add_runtime(&b);
    if (!b.n) {
        free(b.v);
        return b.err;
    }
    *ret = b.v;
    return (int)b.n;
}
