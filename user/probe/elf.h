/* ELF images of traced programs: bounds-checked look-ups over a read-only mapping.
 *
 * Every byte comes from a file that the traced side owns, so nothing is believed: each table is cut to the file once, when
 * the image is opened, and each later access goes through elf_bytes / elf_string. 64-bit little-endian x86-64 and
 * aarch64 only. A library without section headers is read through PT_DYNAMIC. The image may be truncated by its owner
 * while we hold it mapped; elf_guard() turns the SIGBUS of such a page into zeros.
 *
 * Vocabulary: *vaddr* is an address as the file's program headers say; *file offset* is what uprobes want; a *runtime*
 * address is vaddr + load bias (see maps.h). */
#ifndef WF_PROBE_ELF_H
#define WF_PROBE_ELF_H

#include "base/base.h"

enum elf_machine { ELF_X86_64, ELF_AARCH64 };

struct elf_symbol {
    const char *name; /* borrowed from the image, NUL-terminated; without version */
    u64 value;        /* vaddr */
    u64 size;         /* bytes; 0 when the file does not say (assembly) */
    u8 type;          /* STT_*: STT_FUNC, STT_OBJECT, STT_GNU_IFUNC … */
    u8 bind;          /* STB_* */
    bool dynamic;     /* from .dynsym */
};

struct elf_image;

/* Maps `path` (also /proc/PID/root/…, /proc/PID/map_files/…). -errno; -ENOEXEC when it is no ELF of ours. */
int elf_open(const char *path, struct elf_image **ret);
/* The same over bytes that the caller keeps alive (tests, fuzzing). */
int elf_open_bytes(struct slice bytes, struct elf_image **ret);
struct elf_image *elf_close(struct elf_image *image); /* NULL is fine; returns NULL */
void elf_closep(struct elf_image **image);
/* Once per process: a SIGBUS inside a mapped image becomes a page of zeros; any other goes on to its old handler. */
int elf_guard(void);

enum elf_machine elf_machine(const struct elf_image *image);
bool elf_is_shared(const struct elf_image *image);        /* ET_DYN: shared object or PIE */
bool elf_has_interpreter(const struct elf_image *image);  /* PT_INTERP: a program, or a library that can be run */
u64 elf_load_vaddr(const struct elf_image *image);        /* lowest PT_LOAD vaddr, page-aligned down */
struct slice elf_build_id(const struct elf_image *image); /* empty when there is none */
const char *elf_soname(const struct elf_image *image);    /* DT_SONAME or NULL */
const char *elf_runpath(const struct elf_image *image);   /* DT_RUNPATH, else DT_RPATH, or NULL; $ORIGIN not expanded */
/* The i-th DT_NEEDED, NULL past the end. */
const char *elf_needed(const struct elf_image *image, unsigned i);

int elf_vaddr_to_offset(const struct elf_image *image, u64 vaddr, u64 *ret); /* -ENOENT outside the file-backed part */
int elf_offset_to_vaddr(const struct elf_image *image, u64 offset,
                        u64 *ret); /* -ENOENT outside every PT_LOAD; an executable segment wins */
/* vaddr - file offset of the PT_LOAD that a mapping of [offset, offset + size) with this executability comes from; mappings
 * start at page borders, so a neighbour's bytes may be in them. -ENOENT. */
int elf_load_delta(const struct elf_image *image, u64 offset, u64 size, bool exec, u64 *ret);
bool elf_is_code(const struct elf_image *image, u64 vaddr); /* in an executable PT_LOAD */
/* File bytes at `vaddr`: as many as the segment holds, at most `max`; empty when unmapped or bss. */
struct slice elf_bytes(const struct elf_image *image, u64 vaddr, size_t max);
int elf_u32(const struct elf_image *image, u64 vaddr, u32 *ret); /* -ENOENT */
int elf_u64(const struct elf_image *image, u64 vaddr, u64 *ret);
const char *elf_string(const struct elf_image *image, u64 vaddr); /* NULL unless it ends with NUL inside the segment */
/* A pointer slot: what the dynamic linker will put there (RELATIVE relocation, packed RELR too), else the stored value; a
 * vaddr. 0 and -ENOENT for slots that are symbolic or absent. */
int elf_pointer(const struct elf_image *image, u64 vaddr, u64 *ret);

/* Every pointer slot of the data segments with the vaddr it will hold: RELATIVE, RELR and relocations against symbols
 * defined here; in a fixed-address program, every aligned word of the writable segments that points into the file's code or
 * read-only data. Stops when `visit` returns false. */
void elf_pointers_each(const struct elf_image *image, bool (*visit)(void *arg, u64 slot, u64 value), void *arg);

struct elf_section {
    const char *name;
    u32 type; /* SHT_* */
    u64 vaddr, offset, size, entry_size;
    struct slice bytes; /* empty for SHT_NOBITS */
};
bool elf_section(const struct elf_image *image, const char *name, struct elf_section *ret);
bool elf_section_at(const struct elf_image *image, unsigned i, struct elf_section *ret); /* false past the end */

/* A defined symbol by exact name, functions, ifuncs and objects alike; `name@VERSION` and `name@@VERSION` pick by
 * version. .dynsym first, then .symtab. -ENOENT. */
int elf_symbol(const struct elf_image *image, const char *name, struct elf_symbol *ret);
/* True when the image imports `name` (undefined in .dynsym). */
bool elf_imports(const struct elf_image *image, const char *name);
/* Every defined symbol with a value, .dynsym then .symtab (so many come twice); stops when `visit` returns false. */
void elf_symbols_each(const struct elf_image *image, bool (*visit)(void *arg, const struct elf_symbol *symbol), void *arg);
/* The function that covers `vaddr` (largest value ≤ vaddr, size respected when known). -ENOENT. */
int elf_symbol_at(const struct elf_image *image, u64 vaddr, struct elf_symbol *ret);
/* Extent of the function at `vaddr` for stripped code: from symbols, else .eh_frame_hdr / .eh_frame FDEs; 0 when neither
 * knows. Bytes. */
u64 elf_function_size(const struct elf_image *image, u64 vaddr);

#endif
