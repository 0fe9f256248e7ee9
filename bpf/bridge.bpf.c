/* The helper inside a Python process calls an empty function with each of its events; this sits on it and copies the event.
 *
 * It is called by the hundred thousand, so nothing is asked for twice: the event's first words and the running context come in registers
 * (bridge_abi.h), and an event without values is never read from memory. */
#include "ring.bpf.h"
#include "user/inproc/python/bridge_abi.h"

char LICENSE[] SEC("license") = "GPL";

/* Of greenlets the switches tell. */
static __always_inline u64 unit_of(const struct target *t, u64 context)
{
    return t->unit_kind == UNIT_PATH ? context : unit_current(t);
}

struct rec_bridge_short {
    struct rec_bridge r;
    u64 head, activity;
};

SEC("uprobe") int bridge(struct pt_regs *ctx)
{
    u64 id = bpf_get_current_pid_tgid(), head = PT_REGS_PARM2(ctx), size = head & 0xffff;
    u32 tgid = id >> 32;
    struct target *t = bpf_map_lookup_elem(&targets, &tgid);
    if (!t)
        return 0;
    if (size < sizeof(struct bridge_event) || size > BRIDGE_EVENT_MAX) {
        stat_add(STAT_read_fault, 1);
        return 0;
    }
    u64 unit = unit_of(t, PT_REGS_PARM4(ctx));
    if (size == sizeof(struct bridge_event)) {
        struct rec_bridge_short *put = bpf_ringbuf_reserve(&ring, sizeof(*put), 0);
        if (!put) {
            ring_lost(STAT_ring_full_bridge);
            return 0;
        }
        hdr_fill_as(&put->r.h, REC_BRIDGE, sizeof(*put), tgid, id, unit, 0);
        put->r.orig_len = put->r.cap_len = sizeof(struct bridge_event);
        put->head = head;
        put->activity = PT_REGS_PARM3(ctx);
        ring_submit(put);
        return 0;
    }
    struct rec_bridge r = { .orig_len = size, .cap_len = size };
    hdr_fill_as(&r.h, REC_BRIDGE, sizeof(r) + size, tgid, id, unit, 0);
    ring_put_bytes(r, size, PT_REGS_PARM1(ctx), bpf_probe_read_user, STAT_ring_full_bridge);
    return 0;
}
