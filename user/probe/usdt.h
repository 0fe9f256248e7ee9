/* USDT probes: the .note.stapsdt notes that <sys/sdt.h> leaves in a binary.
 *
 * One probe name may have many sites (inlining, macros), each with its own argument locations. Addresses in notes are as
 * linked; if the file was prelinked since, .stapsdt.base says by how much they moved. */
#ifndef WF_PROBE_USDT_H
#define WF_PROBE_USDT_H

#include "probe/elf.h"

enum { USDT_ARGS_MAX = 12 };
enum usdt_kind { USDT_CONST, USDT_REG, USDT_MEM };

/* Registers by their number in the DWARF ABI: x86-64 0 rax 1 rdx 2 rcx 3 rbx 4 rsi 5 rdi 6 rbp 7 rsp 8–15 r8–r15 16 rip;
 * aarch64 0–30 x0–x30, 31 sp. USDT_NO_REG when absent. */
enum { USDT_NO_REG = 255, USDT_RIP = 16 };

struct usdt_arg {
    u8 size; /* 1, 2, 4, 8 bytes */
    bool is_signed;
    enum usdt_kind kind;
    u8 reg;     /* REG: the register; MEM: the base or USDT_NO_REG / USDT_RIP */
    u8 shift;   /* REG: bits to shift right first (8 for ah, bh, ch, dh), else 0 */
    u8 index;   /* MEM: index register or USDT_NO_REG */
    u8 scale;   /* MEM: 1, 2, 4, 8 */
    s64 offset; /* MEM: displacement (RIP and symbol-relative: already the vaddr, with reg = USDT_RIP); CONST: the value */
};

enum usdt_site_kind { USDT_NOP1, USDT_NOP5, USDT_OTHER };

struct usdt_site {
    const char *provider, *name, *arguments; /* borrowed from the image */
    u64 vaddr, file_offset;
    u64 semaphore_vaddr, semaphore_offset; /* 0: none */
    enum usdt_site_kind kind;
    u8 arg_count;
    bool args_ok; /* false: an argument is in a form we do not read (float register …); arg_count tells those before it */
    struct usdt_arg args[USDT_ARGS_MAX];
};

/* Visits every site; stops when `visit` returns false. Returns how many were malformed and passed over, or -ENOENT without notes. */
int usdt_each(const struct elf_image *image, bool (*visit)(void *arg, const struct usdt_site *site), void *arg);
/* All sites of provider:name (provider may be NULL for any). Returns how many there are (may exceed max). */
size_t usdt_find(const struct elf_image *image, const char *provider, const char *name, struct usdt_site *out, size_t max);
/* One argument string ("-4@%eax 8@-8(%rbp,%rcx,8) 4@$5", "8@[sp, 16] -4@w0"). The count of those understood from the left. `image` resolves
 * symbol(%rip) and may be NULL. *ret_ok tells whether all were understood. */
int usdt_parse_args(enum elf_machine machine, const struct elf_image *image, const char *text, struct usdt_arg *out, size_t max,
                    bool *ret_ok);

#endif
