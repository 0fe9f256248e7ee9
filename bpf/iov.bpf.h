/* Where the bytes of the present socket call lie in user memory, from the call's registers. sock_send_length and its like
 * do not say; the system call's number decides which registers to believe, and a number that is not listed
 * (sendfile, splice, io_uring) means that the bytes are not to be had here. */
#ifndef WF_BPF_IOV_H
#define WF_BPF_IOV_H

#include "unit.bpf.h"

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
#define REGS_NR      orig_ax
#define REGS_ARG1    si
#define REGS_ARG2    dx
#define THREAD_SIZE  16384                                   /* used below 5.15 only, where it holds without KASAN */
#define COMPAT(task) READ_TASK(task, thread_info.status) & 2 /* TS_COMPAT */
#define NR_BUF(n)    ((n) == 0 || (n) == 1 || (n) == 44 || (n) == 45)
#define NR_IOV(n)    ((n) == 19 || (n) == 20 || (n) == 327 || (n) == 328)
#define NR_MSG(n)    ((n) == 46 || (n) == 47)
#define NR_MMSG(n)   ((n) == 299 || (n) == 307)
#else
#define REGS_NR      syscallno
#define REGS_ARG1    regs[1]
#define REGS_ARG2    regs[2]
#define THREAD_SIZE  16384
#define COMPAT(task) READ_TASK(task, thread_info.flags) >> 22 & 1 /* TIF_32BIT */
#define NR_BUF(n)    ((n) == 63 || (n) == 64 || (n) == 206 || (n) == 207)
#define NR_IOV(n)    ((n) == 65 || (n) == 66 || (n) == 286 || (n) == 287)
#define NR_MSG(n)    ((n) == 211 || (n) == 212)
#define NR_MMSG(n)   ((n) == 243 || (n) == 269)
#endif

/* The present system call; `nr` -1 for a 32-bit one, whose numbers are others. */
struct syscall {
    s64 nr;
    u64 a1, a2;
};

static __always_inline struct syscall syscall_now(void)
{
    struct syscall c = { .nr = -1 };
    if (task_is_typed()) {
        struct task_struct *t = bpf_get_current_task_btf();
#define READ_TASK(t, field) ((t)->field)
        if (COMPAT(t))
            return c;
#undef READ_TASK
        struct pt_regs *r = (void *)bpf_task_pt_regs(t);
        return (struct syscall){ (s64)r->REGS_NR, r->REGS_ARG1, r->REGS_ARG2 };
    }
    struct task_struct *t = (void *)bpf_get_current_task();
#define READ_TASK(t, field) BPF_CORE_READ(t, field)
    if (COMPAT(t))
        return c;
#undef READ_TASK
    struct pt_regs *r = (void *)((u64)BPF_CORE_READ(t, stack) + THREAD_SIZE - sizeof(struct pt_regs));
    return (struct syscall){ (s64)BPF_CORE_READ(r, REGS_NR), BPF_CORE_READ(r, REGS_ARG1), BPF_CORE_READ(r, REGS_ARG2) };
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
    struct syscall c = syscall_now();
    if (NR_BUF(c.nr))
        return (struct user_bytes){ .base = c.a1, .kind = USER_BUF, .count = 1 };
    if (NR_IOV(c.nr))
        return (struct user_bytes){ .base = c.a1, .kind = USER_IOV, .count = c.a2 > IOV_MAX ? IOV_MAX : c.a2 };
    if (NR_MSG(c.nr))
        return user_msghdr(c.a1);
    if (NR_MMSG(c.nr) && (u32)c.a2 == 1) /* of several messages we could not tell which one this is */
        return user_msghdr(c.a1);
    return (struct user_bytes){ .kind = USER_NONE };
}

/* Where a data record is put together before it goes out in one piece: the record, and behind it room for (offset < low) +
 * (length ≤ max); a segment that would begin above that is left out. One value for each program that may be interrupted by
 * another one of them: a program does not interrupt itself. The loop's state lives here too: what the verifier reads back from
 * a map is unknown to it, so the turns of the loop converge. */
#define GATHER_MAX 16384
#define GATHER_LOW (GATHER_MAX - 224) /* a per-CPU value may have 32 KiB in all */
enum { GATHER_INET, GATHER_INET6, GATHER_UNIX, GATHER_PAGE, GATHER_FORMS };
struct gather {
    struct user_iovec v[IOV_MAX];
    u64 skip;
    u32 off, want;
    struct rec_data r;
    u8 bytes[GATHER_LOW + GATHER_MAX];
};
struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 2 * GATHER_FORMS);
    __type(key, u32);
    __type(value, struct gather);
} gathers SEC(".maps");

/* One segment; false when there is nothing more to do. */
static __always_inline bool gather_segment(struct gather *g, const struct user_iovec *v)
{
    u64 off = g->off, skip = g->skip, len = v->len;
    if (off >= g->want || off >= GATHER_LOW)
        return false;
    if (skip >= len) {
        g->skip = skip - len;
        return true;
    }
    g->skip = 0;
    u64 n = len - skip, left = g->want - off;
    if (n > left)
        n = left;
    asm volatile("" : "+r"(n), "+r"(off));
    if (n > GATHER_MAX || off >= GATHER_LOW)
        return false;
    if (bpf_probe_read_user(g->bytes + off, n, (void *)(v->base + skip))) {
        stat_add(STAT_read_fault, 1);
        return false;
    }
    g->off = off + n;
    return true;
}

/* Copies bytes [skip, skip + want) of the call behind the record; g->off says how many came. */
static __always_inline void gather_call(struct gather *g, u64 base, u32 count, u64 skip, u32 want)
{
    g->off = 0;
    g->skip = skip;
    g->want = want;
    u64 size = (u64)count * sizeof(g->v[0]);
    asm volatile("" : "+r"(size)); /* else the bound is checked on another copy than the one used */
    if (size > sizeof(g->v) || bpf_probe_read_user(g->v, size, (void *)base))
        return;
    for (u32 i = 0; i < IOV_MAX; i++) {
        if (i >= count || !gather_segment(g, &g->v[i]))
            break;
    }
}

static __always_inline void gather_buffer(struct gather *g, u64 base, u32 want)
{
    u64 n = want;
    g->off = 0;
    asm volatile("" : "+r"(n));
    if (n <= GATHER_MAX && !bpf_probe_read_user(g->bytes, n, (void *)base))
        g->off = n;
    else
        stat_add(STAT_read_fault, 1);
}

#endif
