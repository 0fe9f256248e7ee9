/* Every map that two objects share; the loader lets the later ones reuse what the first made (by name). Sizes marked
 * «set before load» are placeholders. */
#ifndef WF_BPF_MAPS_H
#define WF_BPF_MAPS_H

#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include "abi.h"

enum stat_id {
#define STAT(name, help) STAT_##name,
#include "stats.def"
#undef STAT
    STAT_MAX
};

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, 1 << 24); /* set before load */
} ring SEC(".maps");

/* One page that user space maps: what both sides tell each other without a system call. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1);
    __type(key, u32);
    __type(value, struct control);
} control SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 65536); /* set before load */
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, u32);
    __type(value, struct target);
} targets SEC(".maps");

/* Which unit runs on a thread where a switch announces it (greenlets). */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, u32);
    __type(value, u64);
} unit_of_tid SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, STAT_MAX);
    __type(key, u32);
    __type(value, u64);
} stats SEC(".maps");

static __always_inline void stat_add(u32 id, u64 n)
{
    u64 *v = bpf_map_lookup_elem(&stats, &id);
    if (v)
        *v += n;
}

static __always_inline struct control *control_get(void)
{
    u32 zero = 0;
    return bpf_map_lookup_elem(&control, &zero);
}

#endif
