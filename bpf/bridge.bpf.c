/* The helper inside a Python process calls an empty function with each of its events; this sits on it and copies the event. */
#include "ring.bpf.h"
#include "user/inproc/python/bridge_abi.h"

char LICENSE[] SEC("license") = "GPL";

SEC("uprobe") int bridge(struct pt_regs *ctx)
{
    struct target *t = target_current();
    const void *event = (const void *)PT_REGS_PARM1(ctx);
    u16 size = 0;
    if (!t)
        return 0;
    if (bpf_probe_read_user(&size, sizeof(size), event) || size < sizeof(struct bridge_event) || size > BRIDGE_EVENT_MAX) {
        stat_add(STAT_read_fault, 1);
        return 0;
    }
    struct rec_bridge r = { .orig_len = size, .cap_len = size };
    hdr_fill(&r.h, t, REC_BRIDGE, sizeof(r) + size);
    ring_put_bytes(r, (u64)size, event, bpf_probe_read_user, STAT_ring_full_bridge);
    return 0;
}
