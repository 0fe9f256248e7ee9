/* .note.stapsdt (SystemTap wiki, UserSpaceProbeImplementation): owner "stapsdt", type 3; descriptor = three addresses (site, base as
 * linked, semaphore), then provider, name and arguments, each NUL-terminated. Arguments are in the assembler's spelling: N@OP, N the
 * size in bytes, negative when signed. */
#include "probe/usdt.h"

#include <ctype.h>

enum { NOTE_STAPSDT = 3, SITES_MAX = 65536 };

/* --- registers by name ------------------------------------------------------------------------------------------ */

struct reg_name {
    const char *names; /* 64, 32, 16, 8 bit, and the high byte where there is one */
    u8 number;         /* DWARF */
};
static const struct reg_name x86_names[] = {
    { "rax eax ax al ah", 0 }, { "rdx edx dx dl dh", 1 }, { "rcx ecx cx cl ch", 2 },
    { "rbx ebx bx bl bh", 3 }, { "rsi esi si sil", 4 },   { "rdi edi di dil", 5 },
    { "rbp ebp bp bpl", 6 },   { "rsp esp sp spl", 7 },   { "rip", USDT_RIP },
};

static bool word_in(const char *list, struct slice word)
{
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, " ");
        if (n == word.n && !memcmp(p, word.p, n))
            return true;
        p += n + strspn(p + n, " ");
    }
    return false;
}

/* r8 … r15 with an optional d, w or b. */
static bool numbered_x86(struct slice w, u8 *ret)
{
    u64 n;
    if (w.n > 2 && strchr("dwb", w.p[w.n - 1]))
        w.n--;
    if (w.n < 2 || w.p[0] != 'r' || slice_u64(slice_from(w, 1), &n) || n < 8 || n > 15)
        return false;
    *ret = (u8)n;
    return true;
}

static bool register_x86(struct slice w, u8 *ret, u8 *ret_shift)
{
    *ret_shift = w.n == 2 && w.p[1] == 'h' ? 8 : 0;
    for (size_t i = 0; i < ARRAY_LEN(x86_names); i++)
        if (word_in(x86_names[i].names, w)) {
            *ret = x86_names[i].number;
            return true;
        }
    return numbered_x86(w, ret);
}

static bool register_aarch64(struct slice w, u8 *ret)
{
    u64 n;
    if (slice_eq(w, "sp") || slice_eq(w, "wsp")) {
        *ret = 31;
        return true;
    }
    if (w.n < 2 || (w.p[0] != 'x' && w.p[0] != 'w') || slice_u64(slice_from(w, 1), &n) || n > 30)
        return false;
    *ret = (u8)n;
    return true;
}

/* --- the operand grammar ---------------------------------------------------------------------------------------- */

struct scan {
    const struct elf_image *image;
    enum elf_machine machine;
    struct slice s;
};

static bool take_char(struct scan *c, char want)
{
    if (!c->s.n || c->s.p[0] != (u8)want)
        return false;
    c->s = slice_from(c->s, 1);
    return true;
}

static void skip_spaces(struct scan *c)
{
    while (take_char(c, ' '))
        ;
}

static struct slice take_word(struct scan *c)
{
    size_t n = 0;
    while (n < c->s.n && (isalnum(c->s.p[n]) || strchr("_.$@", c->s.p[n])) && c->s.p[n])
        n++;
    struct slice w = slice_head(c->s, n);
    c->s = slice_from(c->s, n);
    return w;
}

/* Decimal or 0x…, with sign; wraps as the assembler does. */
static bool take_integer(struct scan *c, s64 *ret)
{
    struct scan at = *c;
    bool negative = take_char(&at, '-');
    if (!negative)
        (void)take_char(&at, '+');
    unsigned base = at.s.n > 2 && at.s.p[0] == '0' && (at.s.p[1] | 0x20) == 'x' ? 16 : 10;
    if (base == 16)
        at.s = slice_from(at.s, 2);
    u64 value = 0;
    size_t digits = 0;
    for (; at.s.n && isxdigit(at.s.p[0]) && digits < 20; digits++) {
        u8 d = at.s.p[0];
        if (base == 10 && !isdigit(d))
            break;
        value = value * base + (isdigit(d) ? d - '0' : (d | 0x20) - 'a' + 10);
        at.s = slice_from(at.s, 1);
    }
    if (!digits)
        return false;
    *c = at;
    *ret = (s64)(negative ? 0 - value : value);
    return true;
}

static bool take_register(struct scan *c, u8 *ret, u8 *ret_shift)
{
    *ret_shift = 0;
    if (c->machine == ELF_AARCH64)
        return register_aarch64(take_word(c), ret);
    return take_char(c, '%') && register_x86(take_word(c), ret, ret_shift);
}

/* A sum of numbers and symbols before "(": -8, 4+buf, buf+4, buf. *ret_symbolic when a symbol's vaddr is in it. */
static bool take_displacement(struct scan *c, s64 *ret, bool *ret_symbolic)
{
    char name[256];
    struct elf_symbol symbol;
    *ret = 0;
    *ret_symbolic = false;
    while (c->s.n && c->s.p[0] != '(') {
        s64 number;
        if (take_integer(c, &number)) {
            *ret = (s64)((u64)*ret + (u64)number);
            continue;
        }
        (void)take_char(c, '+');
        struct slice w = take_word(c);
        if (!w.n || w.n >= sizeof(name) || !c->image)
            return false;
        memcpy(name, w.p, w.n);
        name[w.n] = 0;
        if (elf_symbol(c->image, name, &symbol))
            return false;
        *ret = (s64)((u64)*ret + symbol.value);
        *ret_symbolic = true;
    }
    return true;
}

/* disp(base), disp(base,index,scale), disp(,index,scale) */
static bool take_memory_x86(struct scan *c, struct usdt_arg *a)
{
    u8 shift;
    bool symbolic;
    s64 scale = 1;
    if (!take_displacement(c, &a->offset, &symbolic) || !take_char(c, '('))
        return false;
    a->kind = USDT_MEM;
    a->reg = a->index = USDT_NO_REG;
    if (c->s.n && c->s.p[0] == '%' && !take_register(c, &a->reg, &shift))
        return false;
    skip_spaces(c);
    if (take_char(c, ',')) {
        skip_spaces(c);
        if (!take_register(c, &a->index, &shift))
            return false;
        skip_spaces(c);
        if (take_char(c, ',') && !take_integer(c, &scale))
            return false;
    }
    a->scale = (u8)scale;
    /* symbol(%rip) is the symbol's own address; a bare number(%rip) would need the site and nobody writes it. */
    bool rip_ok = a->reg != USDT_RIP || symbolic;
    return take_char(c, ')') && rip_ok && (scale == 1 || scale == 2 || scale == 4 || scale == 8);
}

/* [x0], [x0, 16], [x0, #16], [x0, x1], [x0, w1, sxtw 2] is not read */
static bool take_memory_aarch64(struct scan *c, struct usdt_arg *a)
{
    u8 shift;
    a->kind = USDT_MEM;
    a->index = USDT_NO_REG;
    a->scale = 1;
    if (!take_char(c, '[') || !take_register(c, &a->reg, &shift))
        return false;
    skip_spaces(c);
    if (take_char(c, ',')) {
        skip_spaces(c);
        (void)take_char(c, '#');
        if (!take_integer(c, &a->offset) && !take_register(c, &a->index, &shift))
            return false;
    }
    skip_spaces(c);
    return take_char(c, ']');
}

static bool take_operand(struct scan *c, struct usdt_arg *a)
{
    bool x86 = c->machine == ELF_X86_64;
    a->index = USDT_NO_REG;
    a->scale = 1;
    if (x86 && c->s.n && c->s.p[0] == '%') {
        a->kind = USDT_REG;
        return take_register(c, &a->reg, &a->shift) && a->reg != USDT_RIP;
    }
    if (x86 ? take_char(c, '$') : c->s.n && (isdigit(c->s.p[0]) || c->s.p[0] == '-')) {
        a->kind = USDT_CONST;
        a->reg = USDT_NO_REG;
        return take_integer(c, &a->offset);
    }
    if (x86)
        return take_memory_x86(c, a);
    if (c->s.n && c->s.p[0] == '[')
        return take_memory_aarch64(c, a);
    a->kind = USDT_REG;
    return take_register(c, &a->reg, &a->shift);
}

static bool take_arg(struct scan *c, struct usdt_arg *ret)
{
    s64 size = 8;
    struct usdt_arg a = { 0 };
    struct scan sized = *c;
    if (take_integer(&sized, &size) && take_char(&sized, '@'))
        *c = sized;
    else
        size = 8; /* "N@" may be left out */
    a.is_signed = size < 0;
    size = size < 0 ? -size : size;
    if (size != 1 && size != 2 && size != 4 && size != 8)
        return false;
    a.size = (u8)size;
    if (!take_operand(c, &a))
        return false;
    *ret = a;
    return !c->s.n || c->s.p[0] == ' ';
}

int usdt_parse_args(enum elf_machine machine, const struct elf_image *image, const char *text, struct usdt_arg *out, size_t max,
                    bool *ret_ok)
{
    struct scan c = { image, machine, slice_str(text) };
    size_t n = 0;
    bool ok = true;
    for (skip_spaces(&c); c.s.n && ok; skip_spaces(&c)) {
        struct usdt_arg a;
        ok = n < max && take_arg(&c, &a);
        if (ok)
            out[n++] = a;
    }
    *ret_ok = ok;
    return (int)n;
}

/* --- notes ------------------------------------------------------------------------------------------------------ */

static enum usdt_site_kind site_kind(const struct elf_image *image, u64 vaddr)
{
    struct slice s = elf_bytes(image, vaddr, 5);
    if (elf_machine(image) == ELF_AARCH64)
        return s.n >= 4 && !memcmp(s.p, "\x1f\x20\x03\xd5", 4) ? USDT_NOP1 : USDT_OTHER;
    if (s.n >= 5 && !memcmp(s.p, "\x0f\x1f\x44\x00\x00", 5))
        return USDT_NOP5;
    return s.n && s.p[0] == 0x90 ? USDT_NOP1 : USDT_OTHER;
}

static const char *take_string(struct slice *s)
{
    ptrdiff_t end = slice_find(*s, 0);
    if (end < 0)
        return NULL;
    const char *text = (const char *)s->p;
    *s = slice_from(*s, (size_t)end + 1);
    return text;
}

/* `moved`: vaddr of .stapsdt.base in the file, 0 when it has none. */
static bool site_parse(const struct elf_image *image, struct slice desc, u64 moved, struct usdt_site *ret)
{
    u64 at[3]; /* site, base as linked, semaphore */
    struct usdt_site site = { 0 };
    if (desc.n < sizeof(at))
        return false;
    memcpy(at, desc.p, sizeof(at));
    u64 shift = moved && at[1] ? moved - at[1] : 0;
    struct slice text = slice_from(desc, sizeof(at));
    site.provider = take_string(&text);
    site.name = site.provider ? take_string(&text) : NULL;
    site.arguments = site.name ? take_string(&text) : NULL;
    site.vaddr = at[0] + shift;
    if (!site.arguments || !elf_is_code(image, site.vaddr) || elf_vaddr_to_offset(image, site.vaddr, &site.file_offset))
        return false;
    site.semaphore_vaddr = at[2] ? at[2] + shift : 0;
    if (site.semaphore_vaddr && elf_vaddr_to_offset(image, site.semaphore_vaddr, &site.semaphore_offset))
        return false;
    site.kind = site_kind(image, site.vaddr);
    site.arg_count = (u8)usdt_parse_args(elf_machine(image), image, site.arguments, site.args, USDT_ARGS_MAX, &site.args_ok);
    *ret = site;
    return true;
}

/* Takes one note off `notes`: its descriptor when it is ours, else empty. False at the end. */
static bool note_next(struct slice *notes, struct slice *ret_desc)
{
    u32 head[3]; /* name size, descriptor size, type */
    if (notes->n < sizeof(head))
        return false;
    memcpy(head, notes->p, sizeof(head));
    u64 name = sizeof(head), desc = name + (((u64)head[0] + 3) & ~3ull), end = desc + (((u64)head[1] + 3) & ~3ull);
    if (desc + head[1] > notes->n)
        return false;
    bool ours = head[2] == NOTE_STAPSDT && head[0] == 8 && !memcmp(notes->p + name, "stapsdt", 8);
    *ret_desc = ours ? slice_of(notes->p + desc, head[1]) : slice_of(notes->p, 0);
    *notes = slice_from(*notes, end);
    return true;
}

int usdt_each(const struct elf_image *image, bool (*visit)(void *arg, const struct usdt_site *site), void *arg)
{
    struct elf_section notes, base;
    struct slice desc;
    int bad = 0;
    if (!elf_section(image, ".note.stapsdt", &notes))
        return -ENOENT;
    u64 moved = elf_section(image, ".stapsdt.base", &base) ? base.vaddr : 0;
    for (unsigned n = 0; n < SITES_MAX && note_next(&notes.bytes, &desc); n++) {
        struct usdt_site site;
        if (!desc.n || !site_parse(image, desc, moved, &site))
            bad++;
        else if (!visit(arg, &site))
            break;
    }
    return bad;
}

struct find {
    const char *provider, *name;
    struct usdt_site *out;
    size_t max, count;
};

static bool find_visit(void *arg, const struct usdt_site *site)
{
    struct find *f = arg;
    if ((f->provider && strcmp(f->provider, site->provider)) || strcmp(f->name, site->name))
        return true;
    if (f->count < f->max)
        f->out[f->count] = *site;
    f->count++;
    return true;
}

size_t usdt_find(const struct elf_image *image, const char *provider, const char *name, struct usdt_site *out, size_t max)
{
    struct find f = { provider, name, out, max, 0 };
    (void)usdt_each(image, find_visit, &f);
    return f.count;
}
