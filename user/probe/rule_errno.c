/* Where errno is (see rule_ops.c for the way it is read). Forms of __errno_location that are understood, x86-64:
 *
 *     mov slot(%rip),%rax; add %fs:0,%rax; ret        glibc, shared: offset in a GOT slot
 *     mov $off,%rax;       add %fs:0,%rax; ret        glibc, static: offset known
 *     mov %fs:0,%rax;      add $off,%rax; ret         musl: offset in the thread's own block
 */
#include "probe/rule_sites.h"

#include <elf.h>

static const u8 add_fs0[] = { 0x64, 0x48, 0x03, 0x04, 0x25, 0, 0, 0, 0 };
static const u8 mov_fs0[] = { 0x64, 0x48, 0x8b, 0x04, 0x25, 0, 0, 0, 0 };
static const u8 endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };

static s32 load_s32(const u8 *p)
{
    s32 v;
    memcpy(&v, p, sizeof(v));
    return v;
}

static bool has_bytes(struct slice s, size_t at, const u8 *bytes, size_t n)
{
    return s.n >= at + n && !memcmp(s.p + at, bytes, n);
}

/* 1: *ret_slot is the vaddr of the GOT slot; 2: *ret_off is the offset; 0: not understood. */
static int errno_code(const struct elf_image *image, u64 *ret_slot, s32 *ret_off)
{
    static const u8 mov_rip[] = { 0x48, 0x8b, 0x05 }, mov_imm[] = { 0x48, 0xc7, 0xc0 }, add_imm8[] = { 0x48, 0x83, 0xc0 };
    struct elf_symbol f;
    if (elf_symbol(image, "__errno_location", &f))
        return 0;
    u64 at = f.value;
    struct slice code = elf_bytes(image, at, 32);
    if (has_bytes(code, 0, endbr64, 4)) {
        code = slice_from(code, 4);
        at += 4;
    }
    if (has_bytes(code, 0, mov_rip, 3) && has_bytes(code, 7, add_fs0, 9)) {
        *ret_slot = at + 7 + (u64)(s64)load_s32(code.p + 3);
        return 1;
    }
    if (has_bytes(code, 0, mov_imm, 3) && has_bytes(code, 7, add_fs0, 9)) {
        *ret_off = load_s32(code.p + 3);
        return 2;
    }
    if (has_bytes(code, 0, mov_fs0, 9) && has_bytes(code, 9, add_imm8, 3) && code.n > 12) {
        *ret_off = (int8_t)code.p[12];
        return 2;
    }
    return 0;
}

struct slot_search {
    const struct elf_image *image, *libc;
    struct slice symbols, names;
    u64 slot, function;
    int rank; /* of what was found; higher is surer */
};

/* How sure it is that the slot holds libc's function when our code runs: bound at start (GLOB_DAT), one version only,
 * never interposed. A lazily bound __errno_location slot is right by the time errno was touched through it. */
static int slot_rank(u32 type, const char *name, const struct elf_symbol *f)
{
    if (f->type == STT_GNU_IFUNC || f->type == STT_OBJECT)
        return 0;
    if (!strcmp(name, "__cxa_finalize"))
        return type == R_X86_64_GLOB_DAT ? 5 : 0;
    if (!strcmp(name, "__errno_location"))
        return type == R_X86_64_GLOB_DAT ? 4 : 2;
    if (!strcmp(name, "__libc_start_main"))
        return type == R_X86_64_GLOB_DAT ? 3 : 0;
    return 0;
}

static void slot_look(struct slot_search *s, const struct elf_section *section)
{
    for (size_t at = 0; at + sizeof(Elf64_Rela) <= section->bytes.n; at += sizeof(Elf64_Rela)) {
        Elf64_Rela rel;
        Elf64_Sym sym;
        memcpy(&rel, section->bytes.p + at, sizeof(rel));
        u32 type = ELF64_R_TYPE(rel.r_info);
        u64 index = ELF64_R_SYM(rel.r_info);
        if ((type != R_X86_64_GLOB_DAT && type != R_X86_64_JUMP_SLOT) || index >= s->symbols.n / sizeof(sym))
            continue;
        memcpy(&sym, s->symbols.p + index * sizeof(sym), sizeof(sym));
        struct slice name = slice_from(s->names, sym.st_name);
        struct elf_symbol f;
        if (!name.n || !memchr(name.p, 0, name.n) || name.p[0] != '_' || elf_symbol(s->libc, (const char *)name.p, &f))
            continue;
        int rank = slot_rank(type, (const char *)name.p, &f);
        if (rank <= s->rank)
            continue;
        s->rank = rank;
        s->slot = rel.r_offset;
        s->function = f.value;
    }
}

static bool slot_find(struct slot_search *s)
{
    struct elf_section section;
    if (!elf_section(s->image, ".dynsym", &section))
        return false;
    s->symbols = section.bytes;
    if (!elf_section(s->image, ".dynstr", &section))
        return false;
    s->names = section.bytes;
    static const char *const relocations[] = { ".rela.dyn", ".rela.plt" };
    for (size_t i = 0; i < ARRAY_LEN(relocations); i++)
        if (elf_section(s->image, relocations[i], &section))
            slot_look(s, &section);
    return s->rank > 0;
}

static int libc_open(const char *root, struct elf_image **ret)
{
    static const char *const paths[] = { "/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/usr/lib/libc.so.6",
                                         "/lib/ld-musl-x86_64.so.1" };
    char path[512];
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        snprintf(path, sizeof(path), "%s%s", root ? root : "", paths[i]);
        if (!elf_open(path, ret))
            return 0;
    }
    return -ENOENT;
}

void errno_find(const struct elf_image *image, const char *root, struct ops_place *p)
{
    u64 slot = 0;
    s32 off = 0;
    p->err_no.ok = false;
    if (elf_machine(image) != ELF_X86_64)
        return;
    int form = errno_code(image, &slot, &off); /* libc itself, or a static program */
    if (form) {
        p->err_no.direct = form == 2;
        p->err_no.offset = off;
        p->err_no.ok = form == 2; /* inside libc.so the probed code's own slot would need other steps: not supported */
        return;
    }
    cleanup(elf_closep) struct elf_image *libc = NULL;
    if (libc_open(root, &libc))
        return;
    form = errno_code(libc, &slot, &off);
    struct slot_search s = { .image = image, .libc = libc };
    if (form == 2) {
        p->err_no.direct = p->err_no.ok = true;
        p->err_no.offset = off;
    } else if (form == 1 && slot_find(&s)) {
        p->err_no.image_slot = (s32)(s64)(s.slot - p->vaddr);
        p->err_no.libc_slot = (s32)(s64)(slot - s.function);
        p->err_no.direct = false;
        p->err_no.ok = true;
    }
}
