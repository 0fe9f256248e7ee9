/* Three programs on one tracepoint, of which one does the work.
 *
 * Since Linux 7.0 a tracepoint may be preempted (its guard is SRCU), and the kernel leaves a program out on a CPU on which another task was
 * stopped in it (__bpf_trace_run(): recursion_misses). On a busy machine that took 8 of 100 calls. So a second program does what the
 * first was not asked for, and a third what both were not; a mark at the task says that it is done. All three are left out together
 * only where three tasks were stopped, one in each; the third's misses are an upper bound of that. */
#ifndef WF_BPF_CHAIN_H
#define WF_BPF_CHAIN_H

#include "maps.bpf.h"

struct {
    __uint(type, BPF_MAP_TYPE_TASK_STORAGE); /* 5.11 */
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, int);
    __type(value, u32);
} chain_marks SEC(".maps");

enum { CHAIN_SEND = 1, CHAIN_RECV = 2, CHAIN_FORK = 4, CHAIN_EXEC = 8, CHAIN_EXIT = 16, CHAIN_RENAME = 32 };

static __always_inline bool chain_is_done(u32 mark, bool last)
{
    u32 *marks = bpf_task_storage_get(&chain_marks, bpf_get_current_task_btf(), 0, 0), had = marks ? *marks : 0;
    if (marks && last)
        *marks = had & ~mark;
    return had & mark;
}
/* False: it can't be marked, so the last one has to do it. */
static __always_inline bool chain_mark(u32 mark)
{
    u32 *marks = bpf_task_storage_get(&chain_marks, bpf_get_current_task_btf(), 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
    if (marks)
        *marks |= mark;
    return marks;
}
static __always_inline int chain_again(int done)
{
    stat_add(STAT_hook_again, 1);
    return done;
}

/* `gate`: whether the event can be of any interest, the same for all three. */
#define CHAIN(hook, mark, gate, first, second, third)                                                                            \
    SEC("tp_btf/" #hook) int hook##_first(u64 *ctx) { return (gate) && chain_mark(mark) ? (first) : 0; }                         \
    SEC("tp_btf/" #hook) int hook##_second(u64 *ctx)                                                                             \
    {                                                                                                                            \
        return (gate) && !chain_is_done(mark, false) && chain_mark(mark) ? chain_again(second) : 0;                              \
    }                                                                                                                            \
    SEC("tp_btf/" #hook) int hook##_third(u64 *ctx) { return (gate) && !chain_is_done(mark, true) ? chain_again(third) : 0; }
/* Of hooks that may come in a soft interrupt the task is not the one concerned; what they do changes nothing the second time. */
#define CHAIN_SAME(hook, body)                                                                                                   \
    SEC("tp_btf/" #hook) int hook##_first(u64 *ctx) { return body; }                                                             \
    SEC("tp_btf/" #hook) int hook##_second(u64 *ctx) { return body; }                                                            \
    SEC("tp_btf/" #hook) int hook##_third(u64 *ctx) { return body; }

#endif
