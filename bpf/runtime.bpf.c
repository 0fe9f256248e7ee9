/* Runtimes: who made which unit, what crossed a queue, which greenlet runs, and that libraries were mapped. */
#include "ring.bpf.h"

char LICENSE[] SEC("license") = "GPL";

static __always_inline void edge_put(const struct target *t, u64 child)
{
    struct rec_edge *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
    if (!r) {
        ring_lost(STAT_ring_full_unit);
        return;
    }
    hdr_fill_often(&r->h, t, REC_EDGE, sizeof(*r));
    r->parent = r->h.unit;
    r->child = child;
    ring_submit(r);
}

static __always_inline void take_put(const struct target *t, u64 key)
{
    struct rec_take r = {};
    hdr_fill(&r.h, t, REC_TAKE, sizeof(r));
    r.key = key;
    ring_put(r, STAT_ring_full_unit);
}

static __always_inline void put_put(const struct target *t, u64 key)
{
    struct rec_put r = {};
    if (!key)
        return;
    hdr_fill(&r.h, t, REC_PUT, sizeof(r));
    r.key = key;
    ring_put(r, STAT_ring_full_unit);
}

/* PyContext_CopyCurrent() → the new context, made by the current one. */
SEC("uretprobe") int py_copy_context(struct pt_regs *ctx)
{
    struct target *t = target_current();
    u64 child = PT_REGS_RC(ctx);
    if (t && child)
        edge_put(t, child);
    return 0;
}

/* SimpleQueue.put(self, args…): the item is the first of a vector, or the argument itself. */
SEC("uprobe") int py_put_vector(struct pt_regs *ctx)
{
    struct target *t = target_current();
    u64 item = 0;
    if (!t || bpf_probe_read_user(&item, sizeof(item), (void *)PT_REGS_PARM2(ctx)))
        return 0;
    put_put(t, item);
    return 0;
}
SEC("uprobe") int py_put_direct(struct pt_regs *ctx)
{
    struct target *t = target_current();
    if (t)
        put_put(t, PT_REGS_PARM2(ctx));
    return 0;
}

SEC("uprobe") int py_get(struct pt_regs *ctx)
{
    struct target *t = target_current();
    if (t)
        take_put(t, 0);
    return 0;
}
SEC("uretprobe") int py_get_done(struct pt_regs *ctx)
{
    struct target *t = target_current();
    u64 item = PT_REGS_RC(ctx);
    if (t && item)
        take_put(t, item);
    return 0;
}

/* A greenlet takes over the thread. The argument that holds it differs by method: `this` after a hidden return pointer. */
static __always_inline int greenlet_runs(u64 unit)
{
    if (!target_current())
        return 0;
    u32 tid = bpf_get_current_pid_tgid();
    bpf_map_update_elem(&unit_of_tid, &tid, &unit, BPF_ANY);
    return 0;
}
SEC("uprobe") int greenlet_switch_arg0(struct pt_regs *ctx) { return greenlet_runs(PT_REGS_PARM1(ctx)); }
SEC("uprobe") int greenlet_switch_arg1(struct pt_regs *ctx) { return greenlet_runs(PT_REGS_PARM2(ctx)); }

SEC("uprobe") int greenlet_new(struct pt_regs *ctx)
{
    struct target *t = target_current();
    u64 child = PT_REGS_PARM1(ctx);
    if (t && child)
        edge_put(t, child);
    return 0;
}

/* The dynamic linker tells debuggers that its list of objects changed; user space looks what came. */
SEC("uprobe") int mapped(struct pt_regs *ctx)
{
    struct target *t = target_current();
    if (!t)
        return 0;
    struct rec_mapped *r = bpf_ringbuf_reserve(&ring, sizeof(*r), 0);
    if (!r) {
        ring_lost(STAT_ring_full_unit);
        return 0;
    }
    hdr_fill(&r->h, t, REC_MAPPED, sizeof(*r));
    ring_submit_urgent(r);
    return 0;
}
