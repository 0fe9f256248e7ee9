/* Who is running: the target, and its current unit below the thread (design idea 3). */
#ifndef WF_BPF_UNIT_H
#define WF_BPF_UNIT_H

#include "maps.bpf.h"

/* The target that the current task belongs to, or NULL. The first thing that every program asks. */
static __always_inline struct target *target_current(void)
{
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    return bpf_map_lookup_elem(&targets, &tgid);
}

#if defined(__TARGET_ARCH_x86)
#define THREAD_POINTER thread.fsbase
#else
#define THREAD_POINTER thread.uw.tp_value
#endif

/* Whether the task and its registers come with their types (5.15): a field is then a load, without a helper's call. */
static __always_inline bool task_is_typed(void) { return bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_task_pt_regs); }

/* Discovery: whoever starts a program, or listens, is a target until user space has looked. */
static __always_inline struct target *candidate_new(void)
{
    struct control *c = control_get();
    if (!c || !c->discover)
        return 0;
    u32 tgid = bpf_get_current_pid_tgid() >> 32;
    struct target t = { .flags = TARGET_F_FOLLOW | TARGET_F_DATA | TARGET_F_PROC };
    if (bpf_map_update_elem(&targets, &tgid, &t, BPF_ANY))
        stat_add(STAT_target_table_full, 1);
    return bpf_map_lookup_elem(&targets, &tgid);
}

static __always_inline u64 thread_pointer(void)
{
    if (task_is_typed())
        return bpf_get_current_task_btf()->THREAD_POINTER;
    return BPF_CORE_READ((struct task_struct *)bpf_get_current_task(), THREAD_POINTER);
}

static __always_inline u64 unit_by_path(const struct target *t)
{
    u64 p = thread_pointer() + (s64)t->path[0];
    for (int i = 1; i <= 4; i++) {
        if (bpf_probe_read_user(&p, sizeof(p), (void *)p) || !p)
            return 0;
        if (i >= t->steps || i >= 4)
            return p;
        p += (s64)t->path[i & 3];
    }
    return 0;
}

/* The thread ends, or its image does: the next one of this number runs no greenlet yet. */
static __always_inline void unit_forget(const struct target *t)
{
    u32 tid = bpf_get_current_pid_tgid();
    if (t->unit_kind == UNIT_SWITCHED)
        bpf_map_delete_elem(&unit_of_tid, &tid);
}

static __always_inline u64 unit_current(const struct target *t)
{
    if (t->unit_kind == UNIT_PATH)
        return unit_by_path(t);
    if (t->unit_kind == UNIT_SWITCHED) {
        u32 tid = bpf_get_current_pid_tgid();
        u64 *u = bpf_map_lookup_elem(&unit_of_tid, &tid);
        return u ? *u : 0;
    }
    return 0;
}

#endif
