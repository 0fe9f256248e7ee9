/* Where the bytes of the present socket call lie in user memory, from the call's registers. sock_send_length and its like
 * do not say; the system call's number decides which registers to believe, and a number that is not listed
 * (sendfile, splice, io_uring) means that the bytes are not to be had here. */
#ifndef WF_BPF_IOV_H
#define WF_BPF_IOV_H

#include "maps.bpf.h"

#define IOV_MAX 8

enum user_kind { USER_NONE = 0, USER_BUF, USER_IOV };
struct user_bytes {
    u64 base; /* BUF: the bytes; IOV: struct iovec[] */
    u32 kind, count;
};
struct user_iovec {
    u64 base, len;
};

#if defined(__TARGET_ARCH_x86)
#define REGS_NR(r)   ((s64)BPF_CORE_READ(r, orig_ax))
#define REGS_ARG1(r) BPF_CORE_READ(r, si)
#define REGS_ARG2(r) BPF_CORE_READ(r, dx)
#define THREAD_SIZE  16384 /* used below 5.15 only, where it holds without KASAN */
#define NR_BUF(n)    ((n) == 0 || (n) == 1 || (n) == 44 || (n) == 45)
#define NR_IOV(n)    ((n) == 19 || (n) == 20 || (n) == 327 || (n) == 328)
#define NR_MSG(n)    ((n) == 46 || (n) == 47)
#define NR_MMSG(n)   ((n) == 299 || (n) == 307)
static __always_inline bool task_is_compat(struct task_struct *t)
{
    return BPF_CORE_READ(t, thread_info.status) & 2; /* TS_COMPAT */
}
#else
#define REGS_NR(r)   ((s64)BPF_CORE_READ(r, syscallno))
#define REGS_ARG1(r) BPF_CORE_READ(r, regs[1])
#define REGS_ARG2(r) BPF_CORE_READ(r, regs[2])
#define THREAD_SIZE  16384
#define NR_BUF(n)    ((n) == 63 || (n) == 64 || (n) == 206 || (n) == 207)
#define NR_IOV(n)    ((n) == 65 || (n) == 66 || (n) == 286 || (n) == 287)
#define NR_MSG(n)    ((n) == 211 || (n) == 212)
#define NR_MMSG(n)   ((n) == 243 || (n) == 269)
static __always_inline bool task_is_compat(struct task_struct *t)
{
    return BPF_CORE_READ(t, thread_info.flags) >> 22 & 1; /* TIF_32BIT */
}
#endif

static __always_inline struct pt_regs *task_regs(struct task_struct *t)
{
    if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs))
        return (void *)bpf_task_pt_regs(bpf_get_current_task_btf());
    return (void *)((u64)BPF_CORE_READ(t, stack) + THREAD_SIZE - sizeof(struct pt_regs));
}

static __always_inline struct user_bytes user_msghdr(u64 msg)
{
    struct {
        u64 iov, count;
    } m;
    struct user_bytes none = {};
    if (bpf_probe_read_user(&m, sizeof(m), (void *)(msg + 16)))
        return none;
    return (struct user_bytes){ .base = m.iov, .kind = USER_IOV, .count = m.count > IOV_MAX ? IOV_MAX : m.count };
}

static __always_inline struct user_bytes user_bytes_of_call(void)
{
    struct task_struct *t = (void *)bpf_get_current_task();
    struct user_bytes u = {};
    if (task_is_compat(t))
        return u;
    struct pt_regs *r = task_regs(t);
    s64 nr = REGS_NR(r);
    u64 a1 = REGS_ARG1(r), a2 = REGS_ARG2(r);
    if (NR_BUF(nr))
        return (struct user_bytes){ .base = a1, .kind = USER_BUF, .count = 1 };
    if (NR_IOV(nr))
        return (struct user_bytes){ .base = a1, .kind = USER_IOV, .count = a2 > IOV_MAX ? IOV_MAX : a2 };
    if (NR_MSG(nr))
        return user_msghdr(a1);
    if (NR_MMSG(nr) && (u32)a2 == 1) /* of several messages we could not tell which one this is */
        return user_msghdr(a1);
    return u;
}

/* Room to gather a scattered call: twice what one call may give, so that (offset < half) + (length ≤ half) is in bounds. The
 * programs that use it do not nest and are not preempted by themselves; one value per direction. The loop's state
 * lives here too: what the verifier reads back from a map is unknown to it, so the turns of the loop converge. */
#define GATHER_MAX  16384
#define GATHER_HALF (GATHER_MAX - 16)
struct gather {
    u32 off, want;
    u64 skip;
    u8 bytes[2 * GATHER_HALF];
};
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 2);
    __type(key, u32);
    __type(value, struct gather);
} gathers SEC(".maps");

/* One segment; false when there is nothing more to do. */
static __always_inline bool gather_segment(struct gather *g, u64 iov)
{
    struct user_iovec v;
    u64 off = g->off, skip = g->skip;
    if (off >= g->want || off >= GATHER_HALF || bpf_probe_read_user(&v, sizeof(v), (void *)iov))
        return false;
    if (skip >= v.len) {
        g->skip = skip - v.len;
        return true;
    }
    g->skip = 0;
    u64 n = v.len - skip, left = g->want - off;
    if (n > left)
        n = left;
    asm volatile("" : "+r"(n), "+r"(off));
    if (n > GATHER_HALF || off >= GATHER_HALF)
        return false;
    if (bpf_probe_read_user(g->bytes + off, n, (void *)(v.base + skip))) {
        stat_add(STAT_read_fault, 1);
        return false;
    }
    g->off = off + n;
    return true;
}

/* Copies bytes [skip, skip + want) of the call into the gather; how many came. */
static __always_inline u32 gather_iov(struct gather *g, const struct user_bytes *u, u64 skip, u32 want)
{
    g->off = 0;
    g->skip = skip;
    g->want = want;
    for (u32 i = 0; i < IOV_MAX; i++) {
        if (i >= u->count || !gather_segment(g, u->base + i * sizeof(struct user_iovec)))
            break;
    }
    return g->off;
}

#endif
