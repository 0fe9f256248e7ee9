/* Processes: made, replaced their image, renamed, chosen by the OOM killer, gone.
 *
 * Each hook has two forms with one body: tp_btf, and raw tracepoint for kernels whose policy refuses the typed one. Both hand
 * over the tracepoint's arguments as words; the body reads through CO-RE and so suits either. A follower's child
 * becomes a target here, before it runs its first instruction; its last thread takes it out. */
#include "chain.bpf.h"
#include "files.bpf.h"

char LICENSE[] SEC("license") = "GPL";

#define EXEC_FILENAME     256
#define EXEC_ARGS         2048
#define SIGNAL_GROUP_EXIT 4
#define PAGE_SIZE         4096

#define TWO_FORMS(hook, body)                                                                                                    \
    SEC("tp_btf/" #hook) int hook##_tp_btf(u64 *ctx) { return body(ctx); }                                                       \
    SEC("raw_tp/" #hook) int hook##_raw_tp(u64 *ctx) { return body(ctx); }

static __always_inline int on_fork(u64 *ctx)
{
    struct target *t = target_current();
    if (!t || !(t->flags & TARGET_F_PROC))
        return 0;
    struct task_struct *child = (void *)ctx[1];
    struct rec_fork r = {};
    r.child_tgid = BPF_CORE_READ(child, tgid);
    r.child_tid = BPF_CORE_READ(child, pid);
    if (t->flags & TARGET_F_FOLLOW && r.child_tgid == r.child_tid) {
        struct target copy = *t;
        copy.moved[DATA_SEND] = copy.moved[DATA_RECV] = 0;
        if (bpf_map_update_elem(&targets, &r.child_tgid, &copy, BPF_ANY))
            stat_add(STAT_target_table_full, 1);
    }
    hdr_fill(&r.h, t, REC_FORK, sizeof(r));
    ring_put(r, STAT_ring_full_proc);
    return 0;
}
TWO_FORMS(sched_process_fork, on_fork)
CHAIN(sched_process_fork, CHAIN_FORK, target_current(), on_fork(ctx), on_fork(ctx), on_fork(ctx))

/* One exec record whose reservation leaves `room` bytes for the arguments (a macro: the size must be a constant). */
#define EXEC_PUT(head, filename, args, room)                                                                                     \
    do {                                                                                                                         \
        u8 *p = bpf_ringbuf_reserve(&ring, sizeof(struct rec_exec) + EXEC_FILENAME + (room), 0);                                 \
        if (!p) {                                                                                                                \
            ring_lost(STAT_ring_full_proc);                                                                                      \
            return 0;                                                                                                            \
        }                                                                                                                        \
        long fn = bpf_probe_read_kernel_str(p + sizeof(head), EXEC_FILENAME, filename);                                          \
        if (fn < 0 || fn > EXEC_FILENAME)                                                                                        \
            fn = 0;                                                                                                              \
        u64 an = (head).args_full;                                                                                               \
        if (an > (room))                                                                                                         \
            an = (room);                                                                                                         \
        asm volatile("" : "+r"(an), "+r"(fn));                                                                                   \
        if (fn >= 0 && fn <= EXEC_FILENAME && an <= (room) && bpf_probe_read_user(p + sizeof(head) + fn, an, (void *)(args))) {  \
            an = 0;                                                                                                              \
            stat_add(STAT_read_fault, 1);                                                                                        \
        }                                                                                                                        \
        (head).filename_len = fn;                                                                                                \
        (head).args_len = an;                                                                                                    \
        (head).h.len = sizeof(head) + fn + an;                                                                                   \
        __builtin_memcpy(p, &(head), sizeof(head));                                                                              \
        ring_submit_urgent(p);                                                                                                   \
    } while (0)

static __always_inline void put_pipes(struct target *t, u16 flags)
{
    struct rec_pipes r = {};
    hdr_fill(&r.h, t, REC_PIPES, sizeof(r));
    r.h.flags = flags;
    r.in = fd_pipe(0);
    r.out = fd_pipe(1);
    if (r.in || r.out)
        ring_put(r, STAT_ring_full_proc);
}

static __always_inline int on_exec(u64 *ctx)
{
    struct target *t = target_current();
    u16 flags = 0;
    if (!t) {
        t = candidate_new();
        flags = REC_F_CANDIDATE;
    }
    if (!t || !(t->flags & TARGET_F_PROC))
        return 0;
    struct task_struct *task = (void *)ctx[0];
    struct linux_binprm *bprm = (void *)ctx[2];
    unit_forget(t);
    t->unit_kind = UNIT_THREAD; /* another image: what was known of its runtime is gone */
    struct rec_exec r = {};
    hdr_fill(&r.h, t, REC_EXEC, sizeof(r));
    r.h.flags = flags;
    r.ppid = BPF_CORE_READ(task, real_parent, tgid);
    r.uid = BPF_CORE_READ(task, cred, uid.val);
    const char *filename = BPF_CORE_READ(bprm, filename);
    u64 args = BPF_CORE_READ(task, mm, arg_start);
    u64 end = BPF_CORE_READ(task, mm, arg_end);
    r.args_full = end > args ? end - args : 0;
    if (r.args_full <= 256)
        EXEC_PUT(r, filename, args, 256);
    else
        EXEC_PUT(r, filename, args, EXEC_ARGS);
    put_pipes(t, flags);
    return 0;
}
TWO_FORMS(sched_process_exec, on_exec)
CHAIN(sched_process_exec, CHAIN_EXEC, true, on_exec(ctx), on_exec(ctx), on_exec(ctx))

/* CPU time: the exact sum from the scheduler, split in the proportion of the tick counters. */
static __always_inline void exit_times(struct rec_exit *r, struct task_struct *task, struct task_struct *leader)
{
    struct signal_struct *sig = BPF_CORE_READ(task, signal);
    u64 user = BPF_CORE_READ(sig, utime) + BPF_CORE_READ(task, utime);
    u64 sys = BPF_CORE_READ(sig, stime) + BPF_CORE_READ(task, stime);
    u64 sum = BPF_CORE_READ(sig, sum_sched_runtime) + BPF_CORE_READ(task, se.sum_exec_runtime);
    if (leader != task) { /* a dead leader waits for its threads and is not in the signal's sums yet */
        user += BPF_CORE_READ(leader, utime);
        sys += BPF_CORE_READ(leader, stime);
        sum += BPF_CORE_READ(leader, se.sum_exec_runtime);
    }
    u64 ticks = (user + sys) >> 10;
    r->stime = ticks ? (sum >> 10) * (((sys >> 10) << 10) / ticks) : 0;
    if (r->stime > sum)
        r->stime = sum;
    r->utime = sum - r->stime;
}

static __always_inline void exit_process(struct rec_exit *r, struct task_struct *task)
{
    struct task_struct *leader = BPF_CORE_READ(task, group_leader);
    struct signal_struct *sig = BPF_CORE_READ(task, signal);
    r->status =
        BPF_CORE_READ(sig, flags) & SIGNAL_GROUP_EXIT ? BPF_CORE_READ(sig, group_exit_code) : BPF_CORE_READ(leader, exit_code);
    r->start = BPF_CORE_READ(leader, start_boottime);
    r->rss_peak = BPF_CORE_READ(sig, maxrss) * PAGE_SIZE;
    if (bpf_core_field_exists(task->ioac.read_bytes)) {
        r->read_bytes = BPF_CORE_READ(task, ioac.read_bytes) + BPF_CORE_READ(sig, ioac.read_bytes);
        r->write_bytes = BPF_CORE_READ(task, ioac.write_bytes) + BPF_CORE_READ(sig, ioac.write_bytes);
    }
    exit_times(r, task, leader);
}

/* signal->live has been decremented before this tracepoint. Two threads may both find it 0; whoever takes the
 * target out of the table speaks for the process. */
static __always_inline int on_exit(u64 *ctx)
{
    struct target *t = target_current();
    if (!t || !(t->flags & TARGET_F_PROC))
        return 0;
    struct task_struct *task = (void *)ctx[0];
    struct rec_exit r = {};
    u32 tgid = BPF_CORE_READ(task, tgid);
    hdr_fill(&r.h, t, REC_EXIT, sizeof(r));
    r.ppid = BPF_CORE_READ(task, real_parent, tgid);
    unit_forget(t);
    if (BPF_CORE_READ(task, signal, live.counter) == 0) {
        if (bpf_map_delete_elem(&targets, &tgid))
            return 0;
        exit_process(&r, task);
    } else {
        r.h.flags |= REC_F_THREAD;
        r.status = BPF_CORE_READ(task, exit_code);
        r.start = BPF_CORE_READ(task, start_boottime);
    }
    ring_put(r, STAT_ring_full_proc);
    return 0;
}
TWO_FORMS(sched_process_exit, on_exit)
CHAIN(sched_process_exit, CHAIN_EXIT, target_current(), on_exit(ctx), on_exit(ctx), on_exit(ctx))

static __always_inline int on_rename(u64 *ctx)
{
    struct target *t = target_current();
    if (!t || !(t->flags & TARGET_F_PROC))
        return 0;
    struct task_struct *task = (void *)ctx[0];
    if (bpf_core_field_exists(task->in_execve) && BPF_CORE_READ_BITFIELD_PROBED(task, in_execve))
        return 0; /* part of an exec, which tells the name itself */
    struct rec_comm r = {};
    hdr_fill(&r.h, t, REC_COMM, sizeof(r));
    r.h.tgid = BPF_CORE_READ(task, tgid);
    r.h.tid = BPF_CORE_READ(task, pid);
    bpf_probe_read_kernel_str(r.comm, sizeof(r.comm), (void *)ctx[1]);
    ring_put(r, STAT_ring_full_proc);
    return 0;
}
TWO_FORMS(task_rename, on_rename)
CHAIN(task_rename, CHAIN_RENAME, target_current(), on_rename(ctx), on_rename(ctx), on_rename(ctx))

/* Runs in whichever task met the end of memory; the victim is the tracepoint's argument. */
static __always_inline int on_victim(u64 *ctx)
{
    u32 victim;
    if (bpf_core_field_exists(((struct trace_event_raw_mark_victim *)0)->__data_loc_comm))
        victim = BPF_CORE_READ((struct task_struct *)ctx[0], tgid);
    else
        victim = ctx[0];
    struct target *t = bpf_map_lookup_elem(&targets, &victim);
    if (!t)
        return 0;
    struct rec_oom r = {};
    hdr_fill_as(&r.h, REC_OOM, sizeof(r), victim, victim, 0, 0);
    r.victim = victim;
    ring_put(r, STAT_ring_full_proc);
    return 0;
}
TWO_FORMS(mark_victim, on_victim)
