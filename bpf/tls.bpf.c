/* TLS plaintext at the library's own read and write calls: (object, buffer, length[, length out]) in argument registers 0 to
 * 3, the same in OpenSSL, its forks and its internal halves. A write is taken at its entry (as much as was asked for), a read
 * at its return, for which the entry is remembered per thread and depth (a read may call a callback that reads). */
#include "ring.bpf.h"

char LICENSE[] SEC("license") = "GPL";

#define CALL_MAX 16384
#define TAIL_MAX 512 /* of a call's end, beyond the budget */

struct tls_stream {
    u64 pos[2];
    u64 run_bytes;
    u32 run_dir, pad;
    u64 len, head[8], tail; /* of the last write while nothing was read: its length, first and last bytes */
};
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, struct tls_session_key);
    __type(value, struct tls_stream);
} tls_streams SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, struct tls_session_key);
    __type(value, u32);
} tls_whole SEC(".maps");

#define TLS_DEPTH 4
struct tls_call {
    u64 ssl, buf, len_out;
};
struct tls_key_call {
    u64 thread;
    u32 depth, pad;
};
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 8192);
    __type(key, struct tls_key_call);
    __type(value, struct tls_call);
} tls_calls SEC(".maps");
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, u64);
    __type(value, u32);
} tls_depth SEC(".maps");

static __always_inline struct tls_stream *tls_stream_get(u64 ssl)
{
    struct tls_session_key k = { .ssl = ssl, .tgid = bpf_get_current_pid_tgid() >> 32 };
    struct tls_stream *s = bpf_map_lookup_elem(&tls_streams, &k);
    if (s)
        return s;
    struct tls_stream fresh = {};
    bpf_map_update_elem(&tls_streams, &k, &fresh, BPF_NOEXIST);
    return bpf_map_lookup_elem(&tls_streams, &k);
}

/* A write during the handshake cannot go out yet and is called again until the handshake is done, while nothing can have
 * been read. The same bytes once more before the first byte read are therefore the same write; Node hands them over from
 * another buffer the second time, so the place says nothing. Compared are the length, the first 64 bytes and the last 8.
 * What follows the first read is never taken for a repetition. */
static __always_inline bool tls_is_retry(u64 ssl, u64 buf, u64 len)
{
    struct tls_stream *s = tls_stream_get(ssl);
    u64 head[8] = {}, tail = 0, n = len < sizeof(head) ? len : sizeof(head);
    if (!s || s->pos[DATA_RECV])
        return false;
    asm volatile("" : "+r"(n));
    if (n <= sizeof(head))
        bpf_probe_read_user(head, n, (void *)buf);
    if (len > sizeof(head))
        bpf_probe_read_user(&tail, sizeof(tail), (void *)(buf + len - sizeof(tail)));
    u64 differs = (s->len ^ len) | (s->tail ^ tail);
#pragma unroll
    for (int i = 0; i < 8; i++) {
        differs |= s->head[i] ^ head[i];
        s->head[i] = head[i];
    }
    s->len = len;
    s->tail = tail;
    return !differs && s->pos[DATA_SEND];
}

static __always_inline bool tls_is_whole(u64 ssl)
{
    struct tls_session_key k = { .ssl = ssl, .tgid = bpf_get_current_pid_tgid() >> 32 };
    return bpf_map_lookup_elem(&tls_whole, &k) != NULL;
}

static __always_inline int tls_put(const struct target *t, u64 ssl, u64 buf, u64 len, u32 dir)
{
    struct tls_stream *s = tls_stream_get(ssl);
    struct control *ctl = control_get();
    if (!s || !ctl || !len || len > 1u << 31)
        return 0;
    struct rec_tls r = {};
    dir &= 1;
    if (s->run_dir != dir) {
        s->run_dir = dir;
        s->run_bytes = 0;
    }
    u64 left = ctl->budget > s->run_bytes ? ctl->budget - s->run_bytes : 0;
    if (left < len && tls_is_whole(ssl))
        left = len;
    u64 n = len < left ? len : left;
    n = n < ctl->call_max ? n : ctl->call_max;
    n = n < CALL_MAX ? n : CALL_MAX;
    r.ssl = ssl;
    r.pos = s->pos[dir];
    r.orig_len = len;
    r.cap_len = n;
    r.dir = dir;
    s->pos[dir] += len;
    s->run_bytes += len;
    hdr_fill(&r.h, t, REC_TLS, sizeof(r) + n);
    ring_put_bytes(r, n, buf, bpf_probe_read_user, STAT_ring_full_tls);
    if (n == len)
        return 0;
    u64 tail = len - n < TAIL_MAX ? len - n : TAIL_MAX;
    stat_add(STAT_budget_bytes, len - n - tail);
    r.h.flags = REC_F_TAIL;
    r.h.len = sizeof(r) + tail;
    r.pos += len - tail;
    r.cap_len = tail;
    ring_put_bytes(r, tail, buf + len - tail, bpf_probe_read_user, STAT_ring_full_tls);
    return 0;
}

SEC("uprobe") int tls_write(struct pt_regs *ctx)
{
    struct target *t = target_current();
    if (!t || !(t->flags & TARGET_F_DATA))
        return 0;
    u64 ssl = PT_REGS_PARM1(ctx), buf = PT_REGS_PARM2(ctx), len = PT_REGS_PARM3(ctx);
    return tls_is_retry(ssl, buf, len) ? 0 : tls_put(t, ssl, buf, len, DATA_SEND);
}

SEC("uprobe") int tls_read(struct pt_regs *ctx)
{
    struct target *t = target_current();
    if (!t || !(t->flags & TARGET_F_DATA))
        return 0;
    u64 id = bpf_get_current_pid_tgid();
    u32 *depth = bpf_map_lookup_elem(&tls_depth, &id);
    struct tls_key_call k = { .thread = id, .depth = depth ? *depth : 0 };
    struct tls_call c = { PT_REGS_PARM1(ctx), PT_REGS_PARM2(ctx), PT_REGS_PARM4(ctx) };
    u32 next = k.depth + 1;
    if (k.depth < TLS_DEPTH)
        bpf_map_update_elem(&tls_calls, &k, &c, BPF_ANY);
    bpf_map_update_elem(&tls_depth, &id, &next, BPF_ANY);
    return 0;
}

/* Takes back the innermost remembered call; false when there is none. */
static __always_inline bool tls_call_take(struct tls_call *ret)
{
    u64 id = bpf_get_current_pid_tgid();
    u32 *depth = bpf_map_lookup_elem(&tls_depth, &id);
    if (!depth || !*depth)
        return false;
    struct tls_key_call k = { .thread = id, .depth = *depth - 1 };
    if (k.depth)
        *depth = k.depth;
    else
        bpf_map_delete_elem(&tls_depth, &id);
    struct tls_call *c = bpf_map_lookup_elem(&tls_calls, &k);
    if (!c)
        return false;
    *ret = *c;
    bpf_map_delete_elem(&tls_calls, &k);
    return true;
}

SEC("uretprobe") int tls_read_done(struct pt_regs *ctx) /* the count is the return value */
{
    struct target *t = target_current();
    struct tls_call c;
    int n = PT_REGS_RC(ctx);
    if (!t || !tls_call_take(&c) || n <= 0)
        return 0;
    return tls_put(t, c.ssl, c.buf, n, DATA_RECV);
}

SEC("uretprobe") int tls_read_ex_done(struct pt_regs *ctx) /* the count is where an argument pointed */
{
    struct target *t = target_current();
    struct tls_call c;
    u64 n = 0;
    if (!t || !tls_call_take(&c) || (int)PT_REGS_RC(ctx) <= 0 || bpf_probe_read_user(&n, sizeof(n), (void *)c.len_out))
        return 0;
    return tls_put(t, c.ssl, c.buf, n, DATA_RECV);
}

SEC("uprobe") int tls_free(struct pt_regs *ctx)
{
    if (!target_current())
        return 0;
    struct tls_session_key k = { .ssl = PT_REGS_PARM1(ctx), .tgid = bpf_get_current_pid_tgid() >> 32 };
    bpf_map_delete_elem(&tls_streams, &k);
    bpf_map_delete_elem(&tls_whole, &k);
    return 0;
}
