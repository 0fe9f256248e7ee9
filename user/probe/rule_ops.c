/* Values of a plan → read operations of a site, by calling convention or by the note of a USDT probe.
 *
 * errno has no fixed address: it is thread-local in libc, at an offset from the thread pointer that differs from program
 * to program. libc's own __errno_location() adds that offset out of a GOT slot, so the site walks the same way in the
 * running process: this image's GOT slot of some libc function → that function's address → libc's slot (a constant
 * distance away in this build of libc) → offset → thread pointer + offset. The image's slot is found from the
 * instruction pointer, which lies in the image only while the probe sits in it: hence exits, not uretprobes. */
#include "probe/insn.h"
#include "probe/rule_sites.h"
#include "probe/usdt.h"

static_assert(PLAN_VALUES == HIT_VALUES, "slots of a plan are values of a hit");
static_assert(SITE_ROWS == SITES_MAX, "rows of the book are entries of the map");
static_assert(sizeof(struct read_op) == 8, "abi");

enum { X86_AX = 0, X86_SP = 7, X86_IP = 16, ARM_SP = 31, ARM_PC = 32 };
static const u8 x86_arg[] = { 5, 4, 3, 2, 8, 9 }; /* di si dx cx r8 r9 */
static const u8 x86_dwarf[] = { 0, 3, 2, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16 };

struct emitter {
    struct site *site;
    bool full;
};

static void emit(struct emitter *e, enum read_kind kind, u8 arg, u8 size, s64 off)
{
    if (e->site->n_ops == SITE_OPS || off != (s32)off) {
        e->full = true;
        return;
    }
    e->site->ops[e->site->n_ops++] = (struct read_op){ .kind = (u8)kind, .arg = arg, .size = size, .off = (s32)off };
}

u32 rule_ops_registers(const struct value_plan *v)
{
    u32 mask = 0;
    for (u8 i = 0; i < v->n; i++)
        if (v->v[i].root == SOURCE_ARG && v->v[i].arg < 6)
            mask |= 1u << v->v[i].arg;
    return mask;
}

/* An argument of a function on the way in. */
static void emit_argument(struct emitter *e, const struct ops_place *p, u8 n)
{
    u32 in_registers = p->machine == ELF_X86_64 ? 6 : 8;
    if (n < in_registers) {
        emit(e, READ_REG, p->machine == ELF_X86_64 ? x86_arg[n] : n, 0, 0);
        return;
    }
    s64 return_address = p->machine == ELF_X86_64 ? 8 : 0;
    emit(e, READ_STACK, 0, 0, return_address + 8 * (n - in_registers));
    emit(e, READ_DEREF, 0, 8, 0);
}

static u8 dwarf_register(const struct ops_place *p, u8 reg)
{
    if (p->machine == ELF_AARCH64)
        return reg;
    return x86_dwarf[reg < ARRAY_LEN(x86_dwarf) ? reg : 0];
}

static int emit_usdt(struct emitter *e, const struct ops_place *p, u8 n)
{
    if (n >= p->usdt->arg_count)
        return -ENOTSUP;
    const struct usdt_arg *a = &p->usdt->args[n];
    switch (a->kind) {
    case USDT_CONST:
        emit(e, READ_CONST, 0, 0, a->offset);
        return 0;
    case USDT_REG:
        emit(e, READ_REG, dwarf_register(p, a->reg), 0, 0);
        if (a->shift) /* ah, bh …: no operation shifts */
            return -ENOTSUP;
        emit(e, READ_EXTEND, a->is_signed, a->size, 0);
        return 0;
    case USDT_MEM:
        break;
    }
    s64 off = a->offset;
    if (a->index != USDT_NO_REG) {
        emit(e, READ_REG, dwarf_register(p, a->index), 0, 0);
        emit(e, READ_SAVE, 0, 0, 0);
    }
    if (a->reg == USDT_RIP) {
        emit(e, READ_REG, p->machine == ELF_X86_64 ? X86_IP : ARM_PC, 0, 0);
        off -= (s64)p->vaddr;
    } else if (a->reg == USDT_NO_REG) {
        emit(e, READ_CONST, 0, 0, 0);
    } else {
        emit(e, READ_REG, dwarf_register(p, a->reg), 0, 0);
    }
    if (a->index != USDT_NO_REG)
        emit(e, READ_INDEX, a->scale, 0, 0);
    emit(e, READ_DEREF, a->is_signed, a->size, off);
    return 0;
}

static int emit_errno(struct emitter *e, const struct ops_place *p)
{
    if (!p->err_no.ok)
        return -ENOTSUP;
    if (!p->err_no.direct) {
        emit(e, READ_REG, X86_IP, 0, 0);
        emit(e, READ_DEREF, 0, 8, p->err_no.image_slot);
        emit(e, READ_DEREF, 0, 8, p->err_no.libc_slot);
        emit(e, READ_SAVE, 0, 0, 0);
    }
    emit(e, READ_TLS, 0, 0, p->err_no.direct ? p->err_no.offset : 0);
    if (!p->err_no.direct)
        emit(e, READ_INDEX, 1, 0, 0);
    emit(e, READ_DEREF, 1, 4, 0);
    return 0;
}

static int emit_root(struct emitter *e, const struct ops_place *p, const struct source *s)
{
    switch (s->root) {
    case SOURCE_ARG:
        if (p->usdt)
            return emit_usdt(e, p, s->arg);
        emit_argument(e, p, s->arg);
        return 0;
    case SOURCE_RET:
        emit(e, READ_REG, 0, 0, 0); /* ax, x0 */
        return 0;
    case SOURCE_ERRNO:
        return emit_errno(e, p);
    case SOURCE_CONST:
        emit(e, READ_CONST, 0, 0, s->number);
        return 0;
    default:
        return -ENOTSUP;
    }
}

/* The last load is as wide as the value; those before it fetch pointers. */
static void emit_steps(struct emitter *e, const struct source *s)
{
    for (u8 i = 0; i < s->n_steps; i++) {
        bool last = i + 1 == s->n_steps, scalar = s->type < TYPE_STR;
        u8 size = last && scalar ? (s->size ? s->size : 4) : 8;
        bool is_signed = s->type == TYPE_INT || s->type == TYPE_DEFAULT;
        if (s->steps[i].load)
            emit(e, READ_DEREF, last && scalar && is_signed, size, s->steps[i].off);
        else
            emit(e, READ_ADD, 0, 0, s->steps[i].off);
    }
}

static void emit_end(struct emitter *e, const struct source *s, u8 slot, s8 len_slot, bool usdt)
{
    bool loaded = s->n_steps && s->steps[s->n_steps - 1].load;
    if (s->type >= TYPE_STR) {
        e->site->n_strings++;
        if (len_slot >= 0)
            emit(e, READ_BYTES, slot, (u8)len_slot, 0);
        else
            emit(e, READ_STR, slot, 0, 0);
        return;
    }
    bool typed = s->type != TYPE_DEFAULT || !usdt; /* a USDT argument has the width of its note */
    u8 size = s->size ? s->size : 4;
    if (!loaded && typed && size < 8 && s->root != SOURCE_CONST && s->root != SOURCE_ERRNO)
        emit(e, READ_EXTEND, s->type == TYPE_INT || s->type == TYPE_DEFAULT, size, 0);
    emit(e, READ_STORE, slot, 0, 0);
}

/* A value that cannot be had here is left out: its slot then reads as absent, since every value that was read raises
 * n_values or is marked failed. It is filled with a read that fails. */
static void emit_absent(struct emitter *e, u8 slot)
{
    emit(e, READ_CONST, 0, 0, 0);
    emit(e, READ_DEREF, 0, 1, 0);
    emit(e, READ_STORE, slot, 0, 0);
}

int rule_ops(const struct value_plan *v, const struct ops_place *p, struct site *ret)
{
    struct site site = { .stack_shift = ret->stack_shift, .phase = ret->phase };
    struct emitter e = { .site = &site };
    int absent = 0;
    for (u8 i = 0; i < v->n; i++) {
        u8 before = site.n_ops;
        if (emit_root(&e, p, &v->v[i])) {
            site.n_ops = before;
            emit_absent(&e, i);
            absent = -ENOTSUP;
            continue;
        }
        emit_steps(&e, &v->v[i]);
        emit_end(&e, &v->v[i], i, v->len_slot[i], p->usdt);
    }
    if (e.full)
        return -E2BIG;
    *ret = site;
    return absent;
}
