/* Reserve, fill, submit: the only way into the ring.
 *
 * A reservation's size must be a constant, so a record takes the smallest class that holds it and says its true length
 * in the header. A reservation that fails is counted under its cause and in control.lost, which stamps every later
 * record. The reader is woken only when it sleeps and an eighth of the ring waits (it also wakes by time). */
#ifndef WF_BPF_RING_H
#define WF_BPF_RING_H

#include "unit.bpf.h"

static __always_inline void hdr_fill_as(struct rec_hdr *h, u16 type, u32 len, u32 tgid, u32 tid, u64 unit, u64 cgroup)
{
    struct control *c = control_get();
    h->type = type;
    h->flags = 0;
    h->len = len;
    h->time = bpf_ktime_get_boot_ns();
    h->tgid = tgid;
    h->tid = tid;
    h->unit = unit;
    h->cgroup = cgroup;
    h->lost = c ? c->lost : 0;
    h->pad = 0;
}

/* For the records that come by the thousand: whose process they belong to says its cgroup. */
static __always_inline void hdr_fill_often(struct rec_hdr *h, const struct target *t, u16 type, u32 len)
{
    u64 id = bpf_get_current_pid_tgid();
    hdr_fill_as(h, type, len, id >> 32, id, unit_current(t), 0);
}

static __always_inline void hdr_fill(struct rec_hdr *h, const struct target *t, u16 type, u32 len)
{
    u64 id = bpf_get_current_pid_tgid();
    hdr_fill_as(h, type, len, id >> 32, id, unit_current(t), bpf_get_current_cgroup_id());
}

static __always_inline void ring_lost(u32 cause)
{
    struct control *c = control_get();
    if (c)
        __sync_fetch_and_add(&c->lost, 1);
    stat_add(cause, 1);
}

/* Asking how much waits touches what the reader writes, so only one record in sixteen asks; which one the clock decides. */
#define WAKE_SELDOM 0xf0
static __always_inline u64 ring_wake(u64 time)
{
    struct control *c = control_get();
    if (time & WAKE_SELDOM || !c || !c->sleeping || bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA) <= c->wake_bytes)
        return BPF_RB_NO_WAKEUP;
    c->sleeping = 0;
    return BPF_RB_FORCE_WAKEUP;
}

static __always_inline void ring_submit(void *record)
{
    struct rec_hdr *h = record;
    bpf_ringbuf_submit(record, ring_wake(h->time));
}

/* For what user space must act upon before the process goes on: a new image, a new library. */
static __always_inline void ring_submit_urgent(void *record)
{
    struct control *c = control_get();
    u64 how = BPF_RB_NO_WAKEUP;
    if (c && c->sleeping) {
        c->sleeping = 0;
        how = BPF_RB_FORCE_WAKEUP;
    }
    bpf_ringbuf_submit(record, how);
}

/* A record without payload, from a struct on the stack. */
#define ring_put(rec, cause)                                                                                                     \
    ({                                                                                                                           \
        typeof(rec) *put_ = bpf_ringbuf_reserve(&ring, sizeof(rec), 0);                                                          \
        if (put_) {                                                                                                              \
            *put_ = (rec);                                                                                                       \
            ring_submit(put_);                                                                                                   \
        } else {                                                                                                                 \
            ring_lost(cause);                                                                                                    \
        }                                                                                                                        \
    })

/* One size class of ring_put_bytes. `n` is a variable of the caller, at most `class` in this arm; the barrier keeps the
 * compiler from moving the bound away from where the verifier looks for it. */
#define RING_CLASS(rec, n, src, reader, cause, class)                                                                            \
    do {                                                                                                                         \
        u64 n_ = (n);                                                                                                            \
        asm volatile("" : "+r"(n_));                                                                                             \
        if (n_ <= (class)) {                                                                                                     \
            u8 *put_ = bpf_ringbuf_reserve(&ring, sizeof(rec) + (class), 0);                                                     \
            if (!put_) {                                                                                                         \
                ring_lost(cause);                                                                                                \
                break;                                                                                                           \
            }                                                                                                                    \
            typeof(rec) *fixed_ = (void *)put_;                                                                                  \
            *fixed_ = (rec);                                                                                                     \
            if (reader(put_ + sizeof(rec), n_, (void *)(src))) {                                                                 \
                fixed_->cap_len = 0;                                                                                             \
                fixed_->h.len = sizeof(rec);                                                                                     \
                fixed_->h.flags |= REC_F_NODATA;                                                                                 \
                stat_add(STAT_read_fault, 1);                                                                                    \
            }                                                                                                                    \
            ring_submit(put_);                                                                                                   \
        }                                                                                                                        \
    } while (0)

/* A record with `n` payload bytes from `src`, read by bpf_probe_read_user or _kernel. */
#define ring_put_bytes(rec, n, src, reader, cause)                                                                               \
    do {                                                                                                                         \
        if ((n) == 0)                                                                                                            \
            ring_put(rec, cause);                                                                                                \
        else if ((n) <= 128)                                                                                                     \
            RING_CLASS(rec, n, src, reader, cause, 128);                                                                         \
        else if ((n) <= 384)                                                                                                     \
            RING_CLASS(rec, n, src, reader, cause, 384);                                                                         \
        else if ((n) <= 1024)                                                                                                    \
            RING_CLASS(rec, n, src, reader, cause, 1024);                                                                        \
        else if ((n) <= 4096)                                                                                                    \
            RING_CLASS(rec, n, src, reader, cause, 4096);                                                                        \
        else                                                                                                                     \
            RING_CLASS(rec, n, src, reader, cause, 16384);                                                                       \
    } while (0)

#endif
