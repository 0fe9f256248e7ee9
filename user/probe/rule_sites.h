/* For an image file and the rules: where to probe. The glue between rules (what is meant), the ELF reader (where it is)
 * and the loader (which attaches the list with cookie = site number).
 *
 * Returns of a function are watched in one of two ways. A uretprobe is exact, tail calls included, but replaces the
 * return address: it must not be used in an image through which exceptions may pass (cxx_sites.h), and it runs in the
 * caller, where the image's load address is not known, which reading errno needs. Otherwise a probe sits on every `ret`. */
#ifndef WF_PROBE_RULE_SITES_H
#define WF_PROBE_RULE_SITES_H

#include "bpf/abi.h"
#include "config/rules.h"
#include "probe/elf.h"

enum rule_hook {
    RULE_HOOK_ENTRY,  /* program hit_entry, a uprobe */
    RULE_HOOK_RETURN, /* program hit_return, a uretprobe */
    RULE_HOOK_EXIT,   /* program hit_exit, a uprobe on an instruction that leaves */
    RULE_HOOK_POINT,  /* program hit_point, a uprobe */
};
struct rule_site {
    u32 rule;   /* id, or NO_RULE */
    u32 number; /* site number = cookie = index in the map `sites` */
    enum rule_hook hook;
    u64 offset;    /* file offset */
    u64 semaphore; /* file offset, 0 none */
    u32 delta;     /* bytes after the function's entry */
    bool emulated; /* cheap: no single step */
    struct site program;
};
struct rule_env {
    u32 kernel;       /* feature_kernel(): major << 16 | minor */
    bool new_nops;    /* the kernel emulates multi-byte nops */
    s64 after;        /* only rules that came after this generation of the set; -1: all */
    bool runtime;     /* with the exception runtime that is in the image, for native rules */
    const char *root; /* prefix under which the process's files are, "" or "/proc/PID/root": where libc is looked for */
    void (*note)(void *arg, const struct rule *r, const char *sentence); /* may be NULL: what cannot be had, for the log */
    void (*placed)(void *arg, const struct rule *r,
                   const char *sentence); /* may be NULL: where a probe goes, for `rules check` */
    void *arg;
};
/* What the rules want in this image. `path` as the process sees it. Adds rows to r->sites. Gives the sites in an array
 * that the caller frees; count or -errno (-ENOMEM, -ENOSPC when the book is full: what fits is given, count > 0 then). */
int rule_sites(const struct rules *r, const struct elf_image *image, const char *path, const struct rule_env *env,
               struct rule_site **ret);
/* Whether any rule could mean this file: ask before opening it. Also true for images that may hold an exception runtime
 * when there are native rules (libstdc++, or the program itself). */
bool rule_sites_wanted(const struct rules *r, const char *path, s64 after);
bool rules_native(const struct rules *r); /* some rule in force is on a function */

/* Lowers a plan to operations. rule_ops.c. */
struct usdt_site;
struct ops_place {
    enum elf_machine machine;
    const struct usdt_site *usdt; /* arguments by note; NULL: by the calling convention */
    u64 vaddr;                    /* of the probed instruction */
    struct {
        bool ok, direct;
        s32 image_slot, libc_slot, offset;
    } err_no; /* from errno_find() */
};
int rule_ops(const struct value_plan *v, const struct ops_place *p, struct site *ret); /* -E2BIG, -ENOTSUP */
/* ARG_* mask of the argument registers that the values need. */
u32 rule_ops_registers(const struct value_plan *v);
/* How to read errno at `vaddr` of the image; p->err_no.ok tells. */
void errno_find(const struct elf_image *image, const char *root, struct ops_place *p);

/* Prints for each rule where it would attach, or the nearest names when it is not there; what `rules check` shows. The
 * number of rules that name a place which is not there. Uses the rules' book of sites: check a set, or trace with it. */
int rules_check(const struct rules *r, u32 kernel, bool new_nops, FILE *out);

#endif
