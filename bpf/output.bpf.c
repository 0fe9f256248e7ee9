/* What a process writes to its standard output and error (and to log files that user space names by descriptor), taken at the
 * entry of libc's write and writev. The descriptor is asked first: it is an argument and costs nothing to look at, so the
 * other writes of the host leave after a few instructions. A call that then fails is told all the same. */
#include "files.bpf.h"

char LICENSE[] SEC("license") = "GPL";

#define WRITE_MAX   16384
#define WRITE_PARTS 8

/* Descriptors of log files, by process. */
struct output_key {
    u32 tgid, fd;
};
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, struct output_key);
    __type(value, u32);
} output_files SEC(".maps");

const volatile u32 output_std = 1;   /* standard output and error */
const volatile u32 output_named = 0; /* log files */

static __always_inline struct target *output_wanted(u32 fd)
{
    bool std = output_std && (fd == 1 || fd == 2);
    if (!std && !output_named)
        return 0;
    struct target *t = target_current();
    if (!t || std)
        return t;
    struct output_key k = { .tgid = bpf_get_current_pid_tgid() >> 32, .fd = fd };
    return bpf_map_lookup_elem(&output_files, &k) ? t : 0;
}

/* Where a descriptor leads now: a shell moves them about between fork and exec. */
static __always_inline void output_leads_to(struct rec_write *r)
{
    struct inode *inode = fd_inode(r->fd);
    if (!inode)
        return;
    r->mode = BPF_CORE_READ(inode, i_mode);
    r->inode = (r->mode & S_KIND) == S_CHAR ? BPF_CORE_READ(inode, i_rdev) : BPF_CORE_READ(inode, i_ino);
}

static __always_inline void output_put(const struct target *t, u32 fd, u64 buf, u64 len, bool more)
{
    struct rec_write r = {};
    u64 n = len < WRITE_MAX ? len : WRITE_MAX;
    hdr_fill(&r.h, t, REC_WRITE, sizeof(r) + n);
    if (more)
        r.h.flags |= REC_F_MORE;
    r.fd = fd;
    output_leads_to(&r);
    r.orig_len = len;
    r.cap_len = n;
    ring_put_bytes(r, n, buf, bpf_probe_read_user, STAT_ring_full_write);
}

SEC("uprobe") int output_write(struct pt_regs *ctx)
{
    u32 fd = PT_REGS_PARM1(ctx);
    struct target *t = output_wanted(fd);
    u64 len = PT_REGS_PARM3(ctx);
    if (t && len && len < 1u << 31)
        output_put(t, fd, PT_REGS_PARM2(ctx), len, false);
    return 0;
}

struct output_part {
    u64 base, len;
};

SEC("uprobe") int output_writev(struct pt_regs *ctx)
{
    u32 fd = PT_REGS_PARM1(ctx);
    struct target *t = output_wanted(fd);
    u64 iov = PT_REGS_PARM2(ctx), count = PT_REGS_PARM3(ctx);
    if (!t)
        return 0;
    for (u32 i = 0; i < WRITE_PARTS; i++) {
        struct output_part p = {};
        if (i >= count || bpf_probe_read_user(&p, sizeof(p), (void *)(iov + i * sizeof(p))))
            break;
        if (p.len && p.len < 1u << 31)
            output_put(t, fd, p.base, p.len, i + 1 < count && i + 1 < WRITE_PARTS);
    }
    return 0;
}
