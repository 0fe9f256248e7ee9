/* The inside of struct elf_image, for elf.c and elf_symbol.c only. Every slice here lies within the file. */
#ifndef WF_PROBE_ELF_INTERNAL_H
#define WF_PROBE_ELF_INTERNAL_H

#include "probe/elf.h"
#include <elf.h>

enum { ELF_LOADS_MAX = 64, ELF_RELAS_MAX = 3 };

struct elf_segment {
    u64 vaddr, offset, file_size, mem_size;
    u32 flags; /* PF_* */
};

struct elf_symtab {
    struct slice symbols; /* Elf64_Sym */
    struct slice strings; /* ends with NUL or is empty */
};

struct elf_image {
    struct slice file;
    bool mapped;
    enum elf_machine machine;
    u16 type;
    bool interpreter;
    struct elf_segment loads[ELF_LOADS_MAX];
    u32 load_count;
    struct slice sections; /* Elf64_Shdr */
    struct slice section_names;
    struct slice dynamic; /* Elf64_Dyn */
    struct slice notes[4];
    u32 note_count;
    u64 eh_frame_hdr; /* vaddr, 0 when absent */
    struct elf_symtab dynsym, symtab;
    struct slice versym, verdef;
    struct slice relas[ELF_RELAS_MAX]; /* Elf64_Rela */
    struct slice relr;
};

/* The part of the file [offset, offset + size), empty unless all of it is there. */
struct slice elf_file_part(const struct elf_image *image, u64 offset, u64 size);
/* Cuts a string table after its last NUL, so that any offset inside it is a terminated string. */
struct slice elf_string_table(struct slice raw);
/* A string of such a table; "" outside. */
const char *elf_string_in(struct slice table, u64 offset);
/* First DT_`tag` in *ret; false when absent. */
bool elf_dynamic_tag(const struct elf_image *image, s64 tag, u64 *ret);
void elf_symbols_setup(struct elf_image *image);

#endif
