/* Choosing the instruction for a probe: see place.h for why. Entry places come from a walk along the straight line from the
 * entry, exits from one linear sweep that follows rsp through direct branches. */
#include "probe/place.h"

#include <limits.h>

enum {
    WALK_MAX = 96,        /* bytes of prologue looked at */
    BODY_MAX = 256 << 10, /* longest function swept */
    BODY_GUESS = 512,     /* swept for back edges when nobody knows the size */
};

/* The function's bytes as far as they are known; *ret_whole: its true extent and not a guess. */
static struct slice function_body(const struct elf_image *image, const struct elf_symbol *symbol, bool *ret_whole)
{
    u64 size = symbol->size ? symbol->size : elf_function_size(image, symbol->value);
    *ret_whole = size && size <= BODY_MAX;
    if (!elf_is_code(image, symbol->value))
        return slice_of(NULL, 0);
    return elf_bytes(image, symbol->value, size ? min_u64(size, BODY_MAX) : BODY_GUESS);
}

/* --- entry ------------------------------------------------------------------------------------------------------ */

/* Does a direct branch of the function land in (0, delta]? Then a probe at delta would fire on each turn of that loop. */
static bool branch_lands_in(struct slice body, u32 delta)
{
    struct insn i;
    for (size_t at = 0; at < body.n;) {
        if (insn_decode(body.p + at, body.n - at, &i)) {
            at++; /* data among code: go on, a false target only makes the choice dearer */
            continue;
        }
        s64 target = (s64)at + i.target;
        if ((i.kind == INSN_JMP || i.kind == INSN_JCC) && target > 0 && target <= (s64)delta)
            return true;
        at += i.length;
    }
    return false;
}

struct walk {
    u32 at, steps;
    s32 shift; /* bytes rsp moved down */
    u8 clobbered;
    struct insn insn;
    const char *why;
};

static bool ends_straight_line(enum insn_kind kind)
{
    return kind == INSN_JMP || kind == INSN_JCC || kind == INSN_CALL || kind == INSN_RET || kind == INSN_JMP_REG ||
           kind == INSN_CALL_REG || kind == INSN_STOP || kind == INSN_SYSCALL;
}

static bool is_cheap(const struct insn *i, u32 want)
{
    return i->emulation == INSN_EMULATED || (i->emulation == INSN_EMULATED_NEW && want & PLACE_NEW_NOPS);
}

/* A probed 5-byte nop becomes a call into a trampoline (6.16+). That writes below rsp, and a child made by fork has the call but
 * not the trampoline: it dies of SIGSEGV there (seen on 6.18). No probe of ours sits on one. */
static bool nop_is_unsafe(const struct insn *i) { return i->kind == INSN_NOP && i->length == 5; }

/* Walks to the first emulable instruction; false with why when it must not be reached. */
static bool walk_prologue(struct slice code, u32 want, struct walk *w)
{
    for (; w->at < WALK_MAX; w->at += w->insn.length, w->steps++) {
        if (insn_decode(code.p + w->at, code.n - w->at, &w->insn)) {
            w->why = "fall back: instruction not decoded";
            return false;
        }
        if (w->clobbered & want & PLACE_ARGS) {
            w->why = "fall back: an argument register is overwritten first";
            return false;
        }
        if (want & PLACE_RETURN && w->shift) {
            w->why = "fall back: the stack moves first and the return is wanted";
            return false;
        }
        if (is_cheap(&w->insn, want) && !nop_is_unsafe(&w->insn))
            return true;
        if (ends_straight_line(w->insn.kind)) {
            w->why = "fall back: nothing to emulate before control leaves";
            return false;
        }
        if (!w->insn.rsp_known) {
            w->why = "fall back: the stack pointer moves in an unknown way";
            return false;
        }
        w->shift -= w->insn.rsp_delta;
        w->clobbered |= w->insn.writes;
    }
    w->why = "fall back: prologue too long";
    return false;
}

static const char *why_chosen(enum insn_kind kind, bool first)
{
    switch (kind) {
    case INSN_PUSH:
        return first ? "push at entry" : "first push";
    case INSN_NOP:
        return "nop";
    case INSN_JCC:
        return "first conditional jump";
    case INSN_CALL:
        return "first call";
    default:
        return "jump";
    }
}

/* A nop changes nothing, so what is behind it is as good as the entry. */
static u32 behind_nops(struct slice body)
{
    struct insn i;
    u32 at = 0;
    while (at < 64 && !insn_decode(body.p + at, body.n - at, &i) && nop_is_unsafe(&i) && at + i.length < body.n)
        at += i.length;
    return at;
}

static void place_x86(struct slice body, u32 want, struct place *p)
{
    struct walk w = { .why = NULL };
    bool found = walk_prologue(body, want, &w);
    if (found && w.at && branch_lands_in(body, w.at)) {
        found = false;
        w.why = "fall back: a loop comes back before the place";
    }
    if (!found) {
        p->why = w.why;
        p->delta = behind_nops(body);
        return;
    }
    p->delta = w.at;
    p->stack_shift = w.shift;
    p->args_intact = (u8)(ARG_ALL & ~w.clobbered);
    p->emulated = true;
    p->return_legal = !w.shift;
    p->why = why_chosen(w.insn.kind, !w.at);
    if (w.insn.kind == INSN_CALL)
        p->call_target = p->vaddr + w.at + (u64)(s64)w.insn.target;
}

static const char *aarch64_note(struct slice body)
{
    u32 word = 0;
    if (body.n >= 4)
        memcpy(&word, body.p, 4);
    if ((word & 0xffffff3f) == 0xd503241f)
        return "entry (bti)";
    return word == 0xd503233f || word == 0xd503237f ? "entry (paciasp)" : "entry";
}

int place_entry(const struct elf_image *image, const struct elf_symbol *symbol, u32 want, struct place *ret)
{
    bool whole;
    struct slice body = function_body(image, symbol, &whole);
    struct place p = { .vaddr = symbol->value, .args_intact = ARG_ALL, .return_legal = true };
    if (symbol->type == 10 /* STT_GNU_IFUNC */)
        return -EOPNOTSUPP;
    if (!body.n || elf_vaddr_to_offset(image, symbol->value, &p.file_offset))
        return -ENOENT;
    if (elf_machine(image) == ELF_X86_64)
        place_x86(body, want, &p);
    else
        p.why = aarch64_note(body);
    p.vaddr += p.delta;
    p.file_offset += p.delta;
    *ret = p;
    return 0;
}

int place_call_target(const struct elf_image *image, const struct elf_symbol *symbol, u32 max_bytes, u64 *ret)
{
    bool whole;
    struct insn i;
    struct slice body = slice_head(function_body(image, symbol, &whole), max_bytes);
    for (size_t at = 0; elf_machine(image) == ELF_X86_64 && at < body.n; at += i.length) {
        if (insn_decode(body.p + at, body.n - at, &i) || i.kind == INSN_RET || i.kind == INSN_JMP_REG)
            break;
        if (i.kind == INSN_CALL) {
            *ret = symbol->value + at + (u64)(s64)i.target;
            return elf_is_code(image, *ret) ? 0 : -ENOENT;
        }
    }
    return -ENOENT;
}

/* --- exits ------------------------------------------------------------------------------------------------------ */

enum { DEPTH_UNKNOWN = INT_MIN };

/* rsp below its value at entry, by offset, as far as direct branches tell; the frame pointer's own depth beside it. */
struct sweep {
    const struct elf_image *image;
    u64 entry;
    struct slice body;
    s32 *depth_at; /* body.n entries, for branch targets */
    s32 depth, rbp_depth;
    struct place_return *out;
    size_t max, count;
    u32 missed;
};

static void exit_add(struct sweep *s, size_t at, enum place_exit kind, bool emulated)
{
    u64 offset;
    if (elf_vaddr_to_offset(s->image, s->entry + at, &offset))
        return;
    if (s->count < s->max)
        s->out[s->count] = (struct place_return){ .file_offset = offset, .kind = kind, .emulated = emulated };
    s->count++;
}

static bool is_inside(const struct sweep *s, s64 target) { return target >= 0 && target < (s64)s->body.n; }

static void depth_note(struct sweep *s, s64 target)
{
    if (is_inside(s, target) && s->depth_at[target] == DEPTH_UNKNOWN)
        s->depth_at[target] = s->depth;
}

static void depth_step(struct sweep *s, const struct insn *i)
{
    if (i->rsp_from_rbp)
        s->depth = s->rbp_depth == DEPTH_UNKNOWN ? DEPTH_UNKNOWN : s->rbp_depth - i->rbp_offset;
    else if (!i->rsp_known)
        s->depth = DEPTH_UNKNOWN;
    else if (s->depth != DEPTH_UNKNOWN)
        s->depth -= i->rsp_delta;
    if (i->rbp_is_rsp)
        s->rbp_depth = s->depth;
}

/* A direct jump out of the function is a tail call when the stack is as at entry; out of a .cold part it is a way back. */
static void sweep_jump(struct sweep *s, size_t at, const struct insn *i)
{
    s64 target = (s64)at + i->target;
    depth_note(s, target);
    if (is_inside(s, target))
        return;
    if (i->kind == INSN_JMP && s->depth == 0)
        exit_add(s, at, PLACE_TAIL_JUMP, i->emulation == INSN_EMULATED);
    else if (s->depth == DEPTH_UNKNOWN || (i->kind == INSN_JCC && s->depth == 0))
        s->missed++;
}

static void sweep_insn(struct sweep *s, size_t at, const struct insn *i)
{
    switch (i->kind) {
    case INSN_RET:
        exit_add(s, at, PLACE_RET, false);
        break;
    case INSN_JMP:
    case INSN_JCC:
        sweep_jump(s, at, i);
        break;
    case INSN_JMP_REG: /* a jump table keeps its frame; with the stack as at entry it may as well leave */
        if (s->depth == 0)
            s->missed++;
        break;
    default:
        break;
    }
    depth_step(s, i);
    if (i->kind == INSN_RET || i->kind == INSN_JMP || i->kind == INSN_JMP_REG || i->kind == INSN_STOP)
        s->depth = DEPTH_UNKNOWN; /* until a branch target says more */
}

static void sweep_x86(struct sweep *s)
{
    struct insn i;
    for (size_t at = 0; at < s->body.n;) {
        if (insn_decode(s->body.p + at, s->body.n - at, &i)) {
            s->missed++;
            at++;
            continue;
        }
        if (s->depth == DEPTH_UNKNOWN)
            s->depth = s->depth_at[at];
        sweep_insn(s, at, &i);
        at += i.length;
    }
}

static void sweep_aarch64(struct sweep *s)
{
    u32 word;
    for (size_t at = 0; at + 4 <= s->body.n; at += 4) {
        memcpy(&word, s->body.p + at, 4);
        if ((word & 0xfffffc1f) == 0xd65f0000 || word == 0xd65f0bff || word == 0xd65f0fff) /* ret, retaa, retab */
            exit_add(s, at, PLACE_RET, false);
    }
}

int place_returns(const struct elf_image *image, const struct elf_symbol *symbol, struct place_return *out, size_t max,
                  u32 *ret_missed)
{
    bool whole;
    struct sweep s = { .image = image, .entry = symbol->value, .rbp_depth = DEPTH_UNKNOWN, .out = out, .max = max };
    s.body = function_body(image, symbol, &whole);
    if (!whole || !s.body.n)
        return -ENOENT;
    cleanup(freep) s32 *depths = malloc(s.body.n * sizeof(*depths)); /* at most 1 MiB: BODY_MAX */
    if (!depths)
        return -ENOMEM;
    for (size_t i = 0; i < s.body.n; i++)
        depths[i] = DEPTH_UNKNOWN;
    s.depth_at = depths;
    if (elf_machine(image) == ELF_X86_64)
        sweep_x86(&s);
    else
        sweep_aarch64(&s);
    if (ret_missed)
        *ret_missed = s.missed;
    return (int)s.count;
}
