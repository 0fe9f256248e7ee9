/* Declared probes: one entry, one return and one point program run a site's short list of read operations (abi.h).
 *
 * Which site: the attach cookie, or below 5.15 a constant set before load (the loader then loads one object per site). */
#include "ring.bpf.h"

char LICENSE[] SEC("license") = "GPL";

volatile const u32 fixed_site = 0;
volatile const u32 may_sleep = 0; /* loaded as sleepable: may wait for a page that the program has not touched yet */

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SITES_MAX);
    __type(key, u32);
    __type(value, struct site);
} sites SEC(".maps");

static __always_inline u64 cookie_of(void *ctx)
{
    if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_get_attach_cookie))
        return bpf_get_attach_cookie(ctx);
    return fixed_site;
}

#if defined(__TARGET_ARCH_x86)
#define R(name)   __builtin_offsetof(struct pt_regs, name)
#define REGISTERS 17
static const volatile u8 register_at[32] = { R(ax), R(bx),  R(cx),  R(dx),  R(si),  R(di),  R(bp),  R(sp), R(r8),
                                             R(r9), R(r10), R(r11), R(r12), R(r13), R(r14), R(r15), R(ip) };
#else
#define REGISTERS 33
#endif

static __always_inline u64 register_read(struct pt_regs *ctx, u8 number)
{
    u64 v = 0;
#if defined(__TARGET_ARCH_x86)
    u32 off = register_at[number & 31];
#else
    u32 off = (number & 63) * 8;
#endif
    if (number < REGISTERS)
        bpf_probe_read_kernel(&v, sizeof(v), (u8 *)ctx + off);
    return v;
}

static __always_inline u64 extend(u64 v, u8 size, u8 is_signed)
{
    u32 bits = size >= 8 || size == 0 ? 0 : 64 - 8 * size;
    v <<= bits & 63;
    return is_signed ? (u64)((s64)v >> (bits & 63)) : v >> (bits & 63);
}

/* The state of one run: what the operations work on. It lies in the reservation, behind the strings: what the verifier
 * reads back from there is unknown to it, so the runs of one operation converge instead of multiplying. */
struct run {
    u64 v, saved;
    u32 slot; /* next free string slot */
    u32 bad;  /* the present v could not be read */
};

static __always_inline void op_string(struct run *s, struct rec_hit *hit, u8 *strings, u32 slots, struct read_op op)
{
    u32 i = op.arg & 7, slot = s->slot;
    long n = 0;
    if (slot >= slots) {
        hit->failed |= 1 << i;
        return;
    }
    u8 *to = strings + (slot & 7) * HIT_STR;
    if (op.kind == READ_STR) {
        u8 first;
        n = bpf_probe_read_user_str(to, HIT_STR, (void *)s->v) - 1;
        if (n < 0 && may_sleep && !bpf_copy_from_user(&first, 1, (void *)s->v))
            n = bpf_probe_read_user_str(to, HIT_STR, (void *)s->v) - 1;
    } else {
        u64 want = hit->v[op.size & 7];
        want = want > HIT_STR ? HIT_STR : want;
        n = bpf_probe_read_user(to, want, (void *)s->v) ? -1 : (long)want;
    }
    if (s->bad || n < 0 || n > HIT_STR) {
        hit->failed |= 1 << i;
        n = 0;
    }
    hit->strings |= 1 << i;
    hit->v[i] = slot;
    hit->str_len[i] = n;
    s->slot = slot + 1;
}

static __always_inline void op_store(struct run *s, struct rec_hit *hit, u8 arg)
{
    u32 i = arg & 7;
    hit->v[i] = s->v;
    if (s->bad)
        hit->failed |= 1 << i;
    if (hit->n_values <= i)
        hit->n_values = i + 1;
}

static __always_inline void op_deref(struct run *s, struct read_op op)
{
    u64 v = 0;
    if (bpf_probe_read_user(&v, op.size <= 8 ? op.size : 8, (void *)(s->v + (s64)op.off))) {
        s->bad = 1;
        v = 0;
    }
    s->v = extend(v, op.size, op.arg == 1);
}

static __always_inline void op_source(struct run *s, u64 v)
{
    s->v = v;
    s->bad = 0;
}

static __always_inline bool op_run(struct run *s, struct pt_regs *ctx, struct rec_hit *hit, u8 *strings, u32 slots,
                                   struct read_op op)
{
    s64 off = op.off;
    switch (op.kind) {
    case READ_REG:
        op_source(s, register_read(ctx, op.arg) + off);
        return true;
    case READ_STACK:
        op_source(s, hit->sp + off);
        return true;
    case READ_TLS:
        op_source(s, thread_pointer() + off);
        return true;
    case READ_CONST:
        op_source(s, off);
        return true;
    case READ_DEREF:
        op_deref(s, op);
        return true;
    case READ_ADD:
        s->v += off;
        return true;
    case READ_EXTEND:
        s->v = extend(s->v, op.size, op.arg == 1);
        return true;
    case READ_STORE:
        op_store(s, hit, op.arg);
        return true;
    case READ_STR:
    case READ_BYTES:
        op_string(s, hit, strings, slots, op);
        if (hit->n_values <= (op.arg & 7))
            hit->n_values = (op.arg & 7) + 1;
        return true;
    case READ_INDEX:
        s->v += s->saved * op.arg;
        return true;
    case READ_SAVE:
        s->saved = s->v;
        return true;
    }
    return false;
}

/* A function of its own so that the three sizes share it; `slots` is a constant at each call, which the verifier follows. */
static __noinline int ops_run(struct pt_regs *ctx, struct site *site, struct rec_hit *hit, u32 slots)
{
    if (!site || !hit)
        return 0;
    u8 *strings = (u8 *)(hit + 1);
    struct run *s = (void *)(strings + slots * HIT_STR);
    s->v = s->saved = 0;
    s->slot = s->bad = 0;
    for (u32 i = 0; i < SITE_OPS; i++) {
        if (i >= site->n_ops || !op_run(s, ctx, hit, strings, slots, site->ops[i]))
            break;
    }
    hit->h.len = sizeof(*hit) + (s->slot & 15) * HIT_STR;
    return 0;
}

#define HIT_PUT(SLOTS)                                                                                                           \
    do {                                                                                                                         \
        struct rec_hit *hit = bpf_ringbuf_reserve(&ring, sizeof(*hit) + (SLOTS)*HIT_STR + sizeof(struct run), 0);                \
        if (!hit) {                                                                                                              \
            ring_lost(STAT_ring_full_hit);                                                                                       \
            return 0;                                                                                                            \
        }                                                                                                                        \
        __builtin_memset(hit, 0, sizeof(*hit));                                                                                  \
        hdr_fill(&hit->h, t, REC_HIT, sizeof(*hit));                                                                             \
        hit->site = number;                                                                                                      \
        hit->phase = phase;                                                                                                      \
        hit->sp = PT_REGS_SP(ctx) + (s64)site->stack_shift;                                                                      \
        ops_run(ctx, site, hit, SLOTS);                                                                                          \
        ring_submit(hit);                                                                                                        \
    } while (0)

static __always_inline int on_hit(struct pt_regs *ctx, u8 phase)
{
    struct target *t = target_current();
    if (!t)
        return 0;
    u32 number = cookie_of(ctx);
    struct site *site = bpf_map_lookup_elem(&sites, &number);
    if (!site)
        return 0;
    if (site->n_strings == 0)
        HIT_PUT(0);
    else if (site->n_strings <= 2)
        HIT_PUT(2);
    else
        HIT_PUT(8);
    return 0;
}

SEC("uprobe") int hit_entry(struct pt_regs *ctx) { return on_hit(ctx, HIT_ENTRY); }
SEC("uretprobe") int hit_return(struct pt_regs *ctx) { return on_hit(ctx, HIT_RETURN); }
/* The same two phases where a probe sits on an instruction of its own: on each `ret`, on a USDT nop. */
SEC("uprobe") int hit_exit(struct pt_regs *ctx) { return on_hit(ctx, HIT_RETURN); }
SEC("uprobe") int hit_point(struct pt_regs *ctx) { return on_hit(ctx, HIT_POINT); }
