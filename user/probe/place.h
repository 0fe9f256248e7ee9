/* Where in a function a probe is cheap and still true.
 *
 * A uprobe on an instruction that the kernel emulates costs a twentieth of one that it must single-step, and most functions
 * start with one that it must step (endbr64, sub rsp, mov). So an entry probe may sit a few instructions in: on the
 * first emulable instruction of the straight line from the entry, as long as the arguments asked for are still in
 * their registers, rsp has moved by a known amount, and no branch of the function comes back into that stretch.
 *
 * A uretprobe replaces the word at (rsp) when the entry breakpoint is hit, so it may share such a place only where rsp
 * has not moved. And the replaced return address breaks unwinding: a C++ exception or a Rust panic that must unwind through
 * a frame under a uretprobe finds a trampoline instead of a caller and ends in std::terminate / abort (see
 * cxx_sites.h). Functions of such images get probes on their exits instead (place_returns). */
#ifndef WF_PROBE_PLACE_H
#define WF_PROBE_PLACE_H

#include "probe/elf.h"
#include "probe/insn.h"

enum {
    PLACE_ARGS = ARG_ALL,    /* mask: which of ARG_RDI … ARG_R9 must be intact */
    PLACE_RETURN = 1 << 8,   /* a uretprobe or session will share the place: rsp must not have moved */
    PLACE_NEW_NOPS = 1 << 9, /* the kernel emulates multi-byte nops (6.16+) */
};

struct place {
    u64 file_offset;   /* of the instruction to probe */
    u64 vaddr;         /* the same as vaddr */
    u32 delta;         /* bytes after the function's entry */
    s32 stack_shift;   /* bytes that rsp moved down since entry: the return address is at rsp + stack_shift */
    u8 args_intact;    /* ARG_* still as the caller passed them */
    bool emulated;     /* no single step; false: the dear fall-back at +0 */
    bool return_legal; /* the return address is at (rsp) */
    u64 call_target;   /* vaddr called when the place is a direct call, else 0 */
    const char *why;   /* for doctor: "push", "jcc after 3 instructions", "fall back: rdi overwritten", … */
};

/* Chooses the place for `symbol`; falls back to +0. `want` is PLACE_*. -ENOENT when the symbol has no code in the file,
 * -EOPNOTSUPP for an ifunc, whose address is its resolver. */
int place_entry(const struct elf_image *image, const struct elf_symbol *symbol, u32 want, struct place *ret);

/* The first direct call within the first `max_bytes` of the function, passing over conditional branches: how a thin public
 * wrapper leads to its stripped body. vaddr in *ret; -ENOENT. */
int place_call_target(const struct elf_image *image, const struct elf_symbol *symbol, u32 max_bytes, u64 *ret);

enum place_exit { PLACE_RET, PLACE_TAIL_JUMP /* rax is not the return value yet */ };
struct place_return {
    u64 file_offset;
    enum place_exit kind;
    bool emulated; /* a tail jmp rel; ret itself is single-stepped */
};
/* Every exit of the function body by linear sweep; the return address is at (rsp) on each. Returns the count, which may be more
 * than `max` (only `max` are stored). *ret_missed (may be NULL) counts exits that cannot be probed truly: conditional
 * tail jumps, indirect jumps that may leave, undecodable stretches. -ENOENT without code or size. */
int place_returns(const struct elf_image *image, const struct elf_symbol *symbol, struct place_return *out, size_t max,
                  u32 *ret_missed);

#endif
