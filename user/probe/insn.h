/* x86-64 instructions, as far as placing a probe needs them: length, kind, what moves rsp, what overwrites an argument
 * register, and what the kernel's uprobe code does with a breakpoint there.
 *
 * What the kernel emulates instead of single-stepping (arch/x86/kernel/uprobes.c, push_xol_ops and branch_xol_ops), 5.10 to 7.x:
 *   push r64 (50+r, 41 50+r)         always (since 4.15)
 *   nop (90, also f3 90)             always
 *   jmp rel, jcc rel, call rel       always; with a 66 prefix the attach is refused
 *   66 90                            since 6.2; refused before
 *   0f 1f /0 (the kernel's own nops) since 6.16; single-stepped before; 6.18 turns a 5-byte one into a call, which
 *                                    writes below rsp and so breaks a red zone in the middle of a leaf function
 *   everything else, endbr64 too     single-stepped (~20× dearer); refused with a segment (2e 36 3e 26) or lock prefix */
#ifndef WF_PROBE_INSN_H
#define WF_PROBE_INSN_H

#include "base/base.h"

enum insn_kind {
    INSN_OTHER,
    INSN_PUSH,     /* push r64 */
    INSN_POP,      /* pop r64 */
    INSN_NOP,      /* 90, 66 90, 0f 1f /0 */
    INSN_ENDBR,    /* endbr64 */
    INSN_JMP,      /* direct */
    INSN_JCC,      /* direct, also loop / jrcxz */
    INSN_CALL,     /* direct */
    INSN_RET,      /* ret, ret imm16 */
    INSN_JMP_REG,  /* indirect */
    INSN_CALL_REG, /* indirect */
    INSN_SUB_RSP,  /* sub rsp, imm and other constant moves of rsp */
    INSN_LEAVE,
    INSN_STOP, /* ud2, int3, hlt: control does not go on */
    INSN_SYSCALL,
};

enum insn_emulation {
    INSN_STEPPED,      /* single-stepped out of line */
    INSN_EMULATED,     /* on every kernel from 5.10 */
    INSN_EMULATED_NEW, /* multi-byte nop: emulated on 6.16 and later, single-stepped or refused before */
    INSN_REFUSED,      /* the kernel will not put a probe here */
};

/* Bits of insn.writes and of the masks in place.h: the integer argument registers in order. */
enum { ARG_RDI = 1, ARG_RSI = 2, ARG_RDX = 4, ARG_RCX = 8, ARG_R8 = 16, ARG_R9 = 32, ARG_ALL = 63 };

struct insn {
    u8 length; /* 1…15 bytes */
    enum insn_kind kind;
    enum insn_emulation emulation;
    u8 writes;         /* ARG_* possibly written; too many rather than too few */
    bool rsp_known;    /* rsp_delta holds; false: rsp is set in a way not followed (and, lea from rbp, leave, …) */
    s32 rsp_delta;     /* what the instruction adds to rsp; a call counts as 0 (it comes back) */
    s32 target;        /* JMP, JCC, CALL: relative to the start of this instruction */
    bool rbp_is_rsp;   /* mov rbp, rsp */
    bool writes_rbp;   /* in any other way */
    bool rsp_from_rbp; /* rsp becomes rbp + rbp_offset: mov rsp, rbp; lea disp(rbp), rsp; leave (offset 8) */
    s32 rbp_offset;
};

/* Decodes one instruction. -EINVAL for an encoding that 64-bit mode lacks, -EMSGSIZE when it does not end within `n`. */
int insn_decode(const u8 *bytes, size_t n, struct insn *ret);

#endif
