/* What a process has mapped: /proc/PID/maps as text → entries → modules. */
#ifndef WF_PROBE_MAPS_H
#define WF_PROBE_MAPS_H

#include "probe/elf.h"

enum map_kind { MAP_KIND_ANON, MAP_KIND_FILE, MAP_KIND_MEMFD, MAP_KIND_SPECIAL /* [stack], [vdso], [heap] */ };

struct map_entry {
    u64 start, end, offset;
    u64 inode;
    u32 dev_major, dev_minor;
    bool read, write, exec, shared;
    bool deleted; /* the file is gone from its directory: open it through map_files */
    enum map_kind kind;
    struct slice path; /* into the text; octal escapes (\012) kept, without " (deleted)" */
};

/* Takes the next line of `text`; false at the end. Malformed lines are passed over. */
bool maps_next(struct slice *text, struct map_entry *ret);

struct map_segment {
    u64 start, end, offset;
    bool exec;
};
enum { MAP_SEGMENTS_MAX = 16 };
struct map_module { /* one file, whichever number of mappings it has */
    u64 inode;
    u32 dev_major, dev_minor;
    bool deleted, memfd, exec; /* exec: some mapping is executable */
    char *path;                /* as the process sees it; unescaped */
    u32 segment_count;
    struct map_segment segments[MAP_SEGMENTS_MAX];
};
struct maps {
    struct map_module *modules;
    u32 count;
    u32 dropped; /* modules or segments beyond the bounds */
};
enum { MAPS_MODULES_MAX = 4096 };

/* Modules (files only) out of a maps text, in address order of their first mapping. -ENOMEM. */
int maps_parse(struct slice text, struct maps *ret);
/* The same for a live process; -errno (-ENOENT, -ESRCH when it is gone). */
int maps_read(int pid, struct maps *ret);
void maps_done(struct maps *maps);

/* The module that has `address` mapped, or NULL. */
const struct map_module *maps_find(const struct maps *maps, u64 address);
/* Opens the module's file as the process `pid` sees it: by its path when device and inode are still those of the mapping,
 * else through map_files, which is exactly the mapped file even when deleted, replaced, or on an overlay (needs
 * CAP_SYS_ADMIN or CAP_CHECKPOINT_RESTORE). -errno. */
int maps_open(int pid, const struct map_module *module, struct elf_image **ret);
/* A path by which the kernel and libbpf can open the file of the module: "/proc/PID/root/path" or "/proc/PID/map_files/A-B". */
int maps_module_path(int pid, const struct map_module *module, char *out, size_t size);

/* file offset ↔ runtime address by this module's segments. -ENOENT when not mapped. */
int maps_offset_to_address(const struct map_module *module, u64 file_offset, u64 *ret);
int maps_address_to_offset(const struct map_module *module, u64 address, u64 *ret);
/* vaddr of the image → runtime address in this module (load bias). -ENOENT. */
int maps_vaddr_to_address(const struct map_module *module, const struct elf_image *image, u64 vaddr, u64 *ret);

#endif
