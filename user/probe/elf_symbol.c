/* Symbols, versions, relocations and function extents of an image. Tables come from section headers; a file without them is read
 * through PT_DYNAMIC, where only a hash table tells how many dynamic symbols there are. */
#include "probe/elf_internal.h"

/* --- setup ------------------------------------------------------------------------------------------------------ */

static struct slice dynamic_part(const struct elf_image *image, s64 address_tag, s64 size_tag)
{
    u64 vaddr, size;
    if (!elf_dynamic_tag(image, address_tag, &vaddr) || !elf_dynamic_tag(image, size_tag, &size))
        return slice_of(image->file.p, 0);
    return elf_bytes(image, vaddr, size);
}

/* The GNU hash holds chains per bucket; the largest chain start, followed to its end, gives the number of symbols. */
static u64 gnu_hash_symbols(const struct elf_image *image, u64 vaddr)
{
    u32 buckets, base, bloom, last = 0, word = 0;
    if (elf_u32(image, vaddr, &buckets) || elf_u32(image, vaddr + 4, &base) || elf_u32(image, vaddr + 8, &bloom))
        return 0;
    u64 bucket_at = vaddr + 16 + 8ull * bloom, chain_at = bucket_at + 4ull * buckets;
    for (u32 i = 0; i < buckets; i++) {
        if (elf_u32(image, bucket_at + 4ull * i, &word))
            return 0;
        last = word > last ? word : last;
    }
    if (last < base)
        return base;
    for (;; last++) {
        if (elf_u32(image, chain_at + 4ull * (last - base), &word))
            return 0;
        if (word & 1)
            return (u64)last + 1;
    }
}

static u64 dynamic_symbol_count(const struct elf_image *image)
{
    u64 hash;
    u32 chains;
    if (elf_dynamic_tag(image, DT_HASH, &hash) && !elf_u32(image, hash + 4, &chains))
        return chains;
    return elf_dynamic_tag(image, DT_GNU_HASH, &hash) ? gnu_hash_symbols(image, hash) : 0;
}

static void dynsym_from_dynamic(struct elf_image *image)
{
    u64 symbols;
    if (!image->dynsym.strings.n)
        image->dynsym.strings = elf_string_table(dynamic_part(image, DT_STRTAB, DT_STRSZ));
    if (image->dynsym.symbols.n || !elf_dynamic_tag(image, DT_SYMTAB, &symbols))
        return;
    u64 count = min_u64(dynamic_symbol_count(image), image->file.n / sizeof(Elf64_Sym));
    image->dynsym.symbols = elf_bytes(image, symbols, count * sizeof(Elf64_Sym));
}

static void tables_from_sections(struct elf_image *image)
{
    struct elf_section s, strings;
    for (unsigned i = 0; elf_section_at(image, i, &s); i++) {
        struct elf_symtab *t = s.type == SHT_DYNSYM ? &image->dynsym : s.type == SHT_SYMTAB ? &image->symtab : NULL;
        if (!t || t->symbols.n)
            continue;
        Elf64_Shdr sh;
        memcpy(&sh, image->sections.p + (size_t)i * sizeof(sh), sizeof(sh));
        if (!elf_section_at(image, sh.sh_link, &strings))
            continue;
        t->symbols = s.bytes;
        t->strings = elf_string_table(strings.bytes);
    }
}

void elf_symbols_setup(struct elf_image *image)
{
    tables_from_sections(image);
    dynsym_from_dynamic(image);
    u64 at;
    if (elf_dynamic_tag(image, DT_VERSYM, &at))
        image->versym = elf_bytes(image, at, image->dynsym.symbols.n / sizeof(Elf64_Sym) * 2);
    if (elf_dynamic_tag(image, DT_VERDEF, &at))
        image->verdef = elf_bytes(image, at, SIZE_MAX);
    image->relas[0] = dynamic_part(image, DT_RELA, DT_RELASZ);
    image->relas[1] = dynamic_part(image, DT_JMPREL, DT_PLTRELSZ);
    image->relr = dynamic_part(image, DT_RELR, DT_RELRSZ);
}

/* --- symbols ---------------------------------------------------------------------------------------------------- */

static bool symbol_read(const struct elf_symtab *t, size_t i, Elf64_Sym *ret)
{
    if (i >= t->symbols.n / sizeof(*ret))
        return false;
    memcpy(ret, t->symbols.p + i * sizeof(*ret), sizeof(*ret));
    return true;
}

static bool symbol_is_defined(const Elf64_Sym *s)
{
    u8 type = ELF64_ST_TYPE(s->st_info);
    return s->st_shndx != SHN_UNDEF && s->st_shndx != SHN_ABS && s->st_value && type != STT_SECTION && type != STT_FILE &&
           type != STT_TLS;
}

static struct elf_symbol symbol_of(const struct elf_image *image, const struct elf_symtab *t, const Elf64_Sym *s)
{
    return (struct elf_symbol){
        .name = elf_string_in(t->strings, s->st_name),
        .value = s->st_value,
        .size = s->st_size,
        .type = ELF64_ST_TYPE(s->st_info),
        .bind = ELF64_ST_BIND(s->st_info),
        .dynamic = t == &image->dynsym,
    };
}

/* The name of version `index` in .gnu.version_d; "" when absent. */
static const char *version_name(const struct elf_image *image, u16 index)
{
    struct slice s = image->verdef;
    for (unsigned guard = 0; guard < 4096 && s.n >= sizeof(Elf64_Verdef); guard++) {
        Elf64_Verdef d;
        Elf64_Verdaux aux;
        memcpy(&d, s.p, sizeof(d));
        struct slice a = slice_from(s, d.vd_aux);
        if ((d.vd_ndx & 0x7fff) == index && a.n >= sizeof(aux)) {
            memcpy(&aux, a.p, sizeof(aux));
            return elf_string_in(image->dynsym.strings, aux.vda_name);
        }
        if (!d.vd_next)
            break;
        s = slice_from(s, d.vd_next);
    }
    return "";
}

/* Without a version asked for, the one that new programs link to: an old one has the hidden bit (memcpy@GLIBC_2.2.5). */
static bool version_matches(const struct elf_image *image, const struct elf_symtab *t, size_t i, const char *version)
{
    u16 index;
    if (t != &image->dynsym || i >= image->versym.n / 2)
        return !version;
    memcpy(&index, image->versym.p + 2 * i, 2);
    return version ? !strcmp(version_name(image, index & 0x7fff), version) : !(index & 0x8000);
}

static int table_find(const struct elf_image *image, const struct elf_symtab *t, struct slice name, const char *version,
                      struct elf_symbol *ret)
{
    Elf64_Sym s;
    for (size_t i = 0; symbol_read(t, i, &s); i++) {
        if (!symbol_is_defined(&s) || s.st_name >= t->strings.n || t->strings.n - s.st_name <= name.n)
            continue;
        const char *n = elf_string_in(t->strings, s.st_name);
        if (n[0] != (char)name.p[0] || strncmp(n, (const char *)name.p, name.n) || n[name.n] ||
            !version_matches(image, t, i, version))
            continue;
        *ret = symbol_of(image, t, &s);
        return 0;
    }
    return -ENOENT;
}

int elf_symbol(const struct elf_image *image, const char *name, struct elf_symbol *ret)
{
    const char *at = strchr(name, '@');
    struct slice base = slice_of(name, at ? (size_t)(at - name) : strlen(name));
    const char *version = !at ? NULL : at[1] == '@' ? at + 2 : at + 1;
    if (!base.n)
        return -ENOENT;
    if (!table_find(image, &image->dynsym, base, version, ret))
        return 0; /* hidden versions only: .symtab has them, or they must be asked for */
    /* .symtab spells versions into the name, so look there for the whole word too. */
    if (at && !table_find(image, &image->symtab, slice_str(name), NULL, ret))
        return 0;
    return at ? -ENOENT : table_find(image, &image->symtab, base, NULL, ret);
}

bool elf_imports(const struct elf_image *image, const char *name)
{
    Elf64_Sym s;
    for (size_t i = 0; symbol_read(&image->dynsym, i, &s); i++)
        if (s.st_shndx == SHN_UNDEF && !strcmp(elf_string_in(image->dynsym.strings, s.st_name), name))
            return true;
    return false;
}

static bool table_each(const struct elf_image *image, const struct elf_symtab *t,
                       bool (*visit)(void *, const struct elf_symbol *), void *arg)
{
    Elf64_Sym s;
    for (size_t i = 0; symbol_read(t, i, &s); i++) {
        struct elf_symbol symbol = symbol_of(image, t, &s);
        if (symbol_is_defined(&s) && symbol.name[0] && !visit(arg, &symbol))
            return false;
    }
    return true;
}

void elf_symbols_each(const struct elf_image *image, bool (*visit)(void *arg, const struct elf_symbol *symbol), void *arg)
{
    if (table_each(image, &image->dynsym, visit, arg))
        (void)table_each(image, &image->symtab, visit, arg);
}

struct cover {
    u64 vaddr;
    struct elf_symbol best;
};

static bool cover_visit(void *arg, const struct elf_symbol *s)
{
    struct cover *c = arg;
    bool function = s->type == STT_FUNC || s->type == STT_GNU_IFUNC;
    bool near = s->value <= c->vaddr && (!s->size || c->vaddr - s->value < s->size);
    if (function && near && (!c->best.name || s->value > c->best.value || (s->value == c->best.value && !c->best.size)))
        c->best = *s;
    return true;
}

int elf_symbol_at(const struct elf_image *image, u64 vaddr, struct elf_symbol *ret)
{
    struct cover c = { .vaddr = vaddr };
    elf_symbols_each(image, cover_visit, &c);
    if (!c.best.name)
        return -ENOENT;
    *ret = c.best;
    return 0;
}

/* --- function extents out of .eh_frame_hdr (LSB 10.6.2) --------------------------------------------------------- */

/* Only the encodings that linkers write: table of (s32 datarel pc, s32 datarel FDE), FDEs with pcrel s32. */
static u64 fde_size(const struct elf_image *image, u64 fde, u64 pc)
{
    u32 begin, range;
    if (elf_u32(image, fde + 8, &begin) || elf_u32(image, fde + 12, &range))
        return 0;
    return fde + 8 + (u64)(s64)(s32)begin == pc ? range : 0;
}

static u64 eh_table_entry(const struct elf_image *image, u64 i, u64 *ret_fde)
{
    u32 pc = 0, fde = 0;
    u64 at = image->eh_frame_hdr + 12 + 8 * i;
    if (elf_u32(image, at, &pc) || elf_u32(image, at + 4, &fde))
        return UINT64_MAX;
    *ret_fde = image->eh_frame_hdr + (u64)(s64)(s32)fde;
    return image->eh_frame_hdr + (u64)(s64)(s32)pc;
}

static u64 eh_function_size(const struct elf_image *image, u64 vaddr)
{
    struct slice head = elf_bytes(image, image->eh_frame_hdr, 12);
    u32 count;
    u64 fde = 0;
    if (!image->eh_frame_hdr || head.n < 12 || head.p[0] != 1 || head.p[2] != 0x03 || head.p[3] != 0x3b)
        return 0;
    memcpy(&count, head.p + 8, 4);
    u64 low = 0, high = count;
    while (low < high) {
        u64 mid = low + (high - low) / 2, pc = eh_table_entry(image, mid, &fde);
        if (pc == vaddr)
            return fde_size(image, fde, pc);
        if (pc < vaddr)
            low = mid + 1;
        else
            high = mid;
    }
    return 0;
}

u64 elf_function_size(const struct elf_image *image, u64 vaddr)
{
    struct elf_symbol s;
    if (!elf_symbol_at(image, vaddr, &s) && s.value == vaddr && s.size)
        return s.size;
    return eh_function_size(image, vaddr);
}

/* --- relocations ------------------------------------------------------------------------------------------------ */

struct reloc_walk {
    bool (*visit)(void *arg, u64 slot, u64 value);
    void *arg;
};

static bool rela_value(const struct elf_image *image, const Elf64_Rela *r, u64 *ret)
{
    u32 type = ELF64_R_TYPE(r->r_info);
    bool x86 = image->machine == ELF_X86_64;
    if (type == (x86 ? R_X86_64_RELATIVE : R_AARCH64_RELATIVE)) {
        *ret = (u64)r->r_addend;
        return true;
    }
    bool plain = type == (x86 ? R_X86_64_64 : R_AARCH64_ABS64), got = type == (x86 ? R_X86_64_GLOB_DAT : R_AARCH64_GLOB_DAT);
    Elf64_Sym s;
    if ((!plain && !got) || !symbol_read(&image->dynsym, ELF64_R_SYM(r->r_info), &s) || !symbol_is_defined(&s))
        return false;
    *ret = s.st_value + (u64)(got && x86 ? 0 : r->r_addend);
    return true;
}

static bool relas_each(const struct elf_image *image, struct slice table, const struct reloc_walk *w)
{
    Elf64_Rela r;
    u64 value;
    for (; table.n >= sizeof(r); table = slice_from(table, sizeof(r))) {
        memcpy(&r, table.p, sizeof(r));
        if (rela_value(image, &r, &value) && !w->visit(w->arg, r.r_offset, value))
            return false;
    }
    return true;
}

static bool relr_slot(const struct elf_image *image, u64 slot, const struct reloc_walk *w)
{
    u64 value;
    return elf_u64(image, slot, &value) || w->visit(w->arg, slot, value);
}

/* SHT_RELR (gABI): an even word is a slot, an odd one a bitmap over the 63 words after the last slot. */
static bool relr_each(const struct elf_image *image, const struct reloc_walk *w)
{
    u64 word, next = 0;
    for (struct slice t = image->relr; t.n >= 8; t = slice_from(t, 8)) {
        memcpy(&word, t.p, 8);
        if (!(word & 1)) {
            if (!relr_slot(image, word, w))
                return false;
            next = word + 8;
            continue;
        }
        for (unsigned bit = 1; bit < 64; bit++)
            if (word >> bit & 1 && !relr_slot(image, next + 8ull * (bit - 1), w))
                return false;
        next += 63 * 8;
    }
    return true;
}

/* Fixed-address programs have their pointers in the file: every aligned word that looks like one. */
static bool words_each(const struct elf_image *image, const struct elf_segment *s, const struct reloc_walk *w)
{
    u64 at = (s->vaddr + 7) & ~7ull, word;
    struct slice bytes = elf_bytes(image, at, SIZE_MAX);
    for (; bytes.n >= 8; bytes = slice_from(bytes, 8), at += 8) {
        memcpy(&word, bytes.p, 8);
        if (word >= image->loads[0].vaddr && elf_bytes(image, word, 1).n && !w->visit(w->arg, at, word))
            return false;
    }
    return true;
}

void elf_pointers_each(const struct elf_image *image, bool (*visit)(void *arg, u64 slot, u64 value), void *arg)
{
    struct reloc_walk w = { visit, arg };
    for (unsigned i = 0; i < ELF_RELAS_MAX; i++)
        if (!relas_each(image, image->relas[i], &w))
            return;
    if (!relr_each(image, &w) || image->type != ET_EXEC)
        return;
    for (u32 i = 0; i < image->load_count; i++)
        if (image->loads[i].flags & PF_W && !words_each(image, &image->loads[i], &w))
            return;
}

struct pointer_query {
    u64 slot, value;
    bool found;
};

static bool pointer_visit(void *arg, u64 slot, u64 value)
{
    struct pointer_query *q = arg;
    if (slot != q->slot)
        return true;
    q->value = value;
    q->found = true;
    return false;
}

int elf_pointer(const struct elf_image *image, u64 vaddr, u64 *ret)
{
    struct pointer_query q = { .slot = vaddr };
    if (image->type == ET_EXEC && !elf_u64(image, vaddr, &q.value) && elf_bytes(image, q.value, 1).n)
        q.found = true;
    else
        elf_pointers_each(image, pointer_visit, &q);
    if (!q.found)
        return -ENOENT;
    *ret = q.value;
    return 0;
}
