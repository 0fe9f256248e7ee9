/* Sockets: what moves on TCP and Unix streams of targets, and how connections begin and end.
 *
 * Forms, best first: the tracepoints sock_send_length / sock_recv_length (6.3; one for every family and call), function exit
 * (fexit), and kprobe + kretprobe on the families' sendmsg / recvmsg. One body. The families' functions are
 * taken rather than sock_sendmsg, which compilers inline into its callers. */
#include "chain.bpf.h"
#include "conn.bpf.h"
#include "iov.bpf.h"

char LICENSE[] SEC("license") = "GPL";

#define MSG_PEEK 2
/* Of a call's end, beyond the budget: enough for a parser to find where a message ends; and while nobody has decided, or all is
 * wanted, for what stands last in a document. */
#define TAIL_MAX  64
#define TAIL_LONG 512

/* Completes the record in `g` with bytes [skip, skip + want) of the call and sends it. */
static __noinline int data_put(struct gather *g, u64 base, u32 segments, u64 skip, u32 want)
{
    if (!g)
        return 0;
    if (want == 0)
        g->off = 0;
    else if (segments)
        gather_call(g, base, segments, skip, want);
    else
        gather_buffer(g, base + skip, want);
    u64 n = g->off;
    if (want && !n)
        g->r.h.flags |= REC_F_NODATA;
    asm volatile("" : "+r"(n));
    if (n > GATHER_MAX)
        return 0;
    g->r.h.len = sizeof(g->r) + n;
    g->r.cap_len = n;
    if (bpf_ringbuf_output(&ring, &g->r, sizeof(g->r) + n, ring_wake(g->r.h.time)))
        ring_lost(STAT_ring_full_data);
    return 0;
}

/* How much of a call of `len` bytes the verdict lets through. */
static __always_inline u32 data_allowed(struct conn *c, const struct control *ctl, u32 len, u32 dir)
{
    if (c->run_dir != dir) {
        c->run_dir = dir;
        c->run_bytes = 0;
    }
    u64 left = c->mode == VERDICT_ALL ? len : c->budget > c->run_bytes ? c->budget - c->run_bytes : 0;
    c->run_bytes += len;
    u32 n = left < len ? left : len;
    u32 most = ctl->call_max < GATHER_MAX ? ctl->call_max : GATHER_MAX;
    return n < most ? n : most;
}

/* `which` program of the direction asks, and whether the verifier knows sk's type: constants. */
static __always_inline int on_data(struct sock *sk, int ret, int flags, u32 dir, u32 which, bool typed)
{
    if (ret <= 0 || flags & MSG_PEEK)
        return 0;
    struct target *t = target_current();
    struct control *ctl = control_get();
    if (!t || !ctl || !(t->flags & TARGET_F_DATA))
        return 0;
    struct conn *c = conn_get(sk, t, typed);
    if (!c)
        return 0;
    dir &= 1;
    u64 pos = c->pos[dir];
    c->pos[dir] = pos + ret;
    if (!c->is_unix)
        __sync_fetch_and_add(&t->moved[dir], ret);
    conn_verdict(c, ctl);
    if (c->mode == VERDICT_IGNORE)
        return 0;
    u32 slot = 2 * which + dir;
    struct gather *g = bpf_map_lookup_elem(&gathers, &slot);
    if (!g)
        return 0;
    struct user_bytes u = user_bytes_of_call();
    u32 allowed = data_allowed(c, ctl, ret, dir);
    hdr_fill_often(&g->r.h, t, REC_DATA, 0);
    g->r.conn = c->id;
    g->r.pos = pos;
    g->r.orig_len = ret;
    g->r.dir = dir;
    if (u.kind == USER_NONE) {
        g->r.h.flags = REC_F_NODATA;
        stat_add(STAT_nodata, 1);
        return data_put(g, 0, 0, 0, 0);
    }
    u32 segments = u.kind == USER_IOV ? u.count : 0;
    if (allowed)
        data_put(g, u.base, segments, 0, allowed);
    if (allowed == (u32)ret)
        return 0;
    u32 most = c->mode == VERDICT_ALL || c->budget == ctl->budget ? TAIL_LONG : TAIL_MAX;
    u32 tail = (u32)ret - allowed < most ? (u32)ret - allowed : most;
    stat_add(STAT_budget_bytes, (u32)ret - allowed - tail);
    g->r.h.flags = REC_F_TAIL;
    g->r.pos = pos + ret - tail;
    return data_put(g, u.base, segments, (u32)ret - tail, tail);
}

SEC("tp_btf/sock_send_length") int sock_send_length_tp_btf(u64 *ctx)
{
    return on_data((void *)ctx[0], (int)ctx[1], (int)ctx[2], DATA_SEND, 0, true);
}
SEC("tp_btf/sock_recv_length") int sock_recv_length_tp_btf(u64 *ctx)
{
    return on_data((void *)ctx[0], (int)ctx[1], (int)ctx[2], DATA_RECV, 0, true);
}

/* This form has one program a direction and family, so the others' rooms are free. */
#define DATA_OF_CALL(dir, room) on_data((void *)ctx[0], (int)ctx[1], (int)ctx[2], dir, room, true)
CHAIN(sock_send_length, CHAIN_SEND, target_current(), DATA_OF_CALL(DATA_SEND, 0), DATA_OF_CALL(DATA_SEND, 1),
      DATA_OF_CALL(DATA_SEND, 2))
CHAIN(sock_recv_length, CHAIN_RECV, target_current(), DATA_OF_CALL(DATA_RECV, 0), DATA_OF_CALL(DATA_RECV, 1),
      DATA_OF_CALL(DATA_RECV, 2))

/* Function forms: (struct socket *, struct msghdr *, size_t[, int flags]). */
static __always_inline struct sock *sock_of(void *socket) { return BPF_CORE_READ((struct socket *)socket, sk); }
#define SOCK_TYPED(arg) (((struct socket *)(arg))->sk)

#define SEND_FUNCTION(fn, which)                                                                                                 \
    SEC("fexit/" #fn) int fn##_fexit(u64 *ctx) { return on_data(SOCK_TYPED(ctx[0]), (int)ctx[3], 0, DATA_SEND, which, true); }   \
    SEC("kprobe/" #fn) int fn##_k(struct pt_regs *ctx) { return call_begin((void *)PT_REGS_PARM1(ctx), 0); }                     \
    SEC("kretprobe/" #fn) int fn##_kr(struct pt_regs *ctx) { return call_end((int)PT_REGS_RC(ctx), DATA_SEND); }

#define RECV_FUNCTION(fn, which)                                                                                                 \
    SEC("fexit/" #fn) int fn##_fexit(u64 *ctx)                                                                                   \
    {                                                                                                                            \
        return on_data(SOCK_TYPED(ctx[0]), (int)ctx[4], (int)ctx[3], DATA_RECV, which, true);                                    \
    }                                                                                                                            \
    SEC("kprobe/" #fn) int fn##_k(struct pt_regs *ctx)                                                                           \
    {                                                                                                                            \
        return call_begin((void *)PT_REGS_PARM1(ctx), (int)PT_REGS_PARM4(ctx));                                                  \
    }                                                                                                                            \
    SEC("kretprobe/" #fn) int fn##_kr(struct pt_regs *ctx) { return call_end((int)PT_REGS_RC(ctx), DATA_RECV); }

struct call {
    u64 sk;
    u64 flags;
};
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 4096);
    __type(key, u64); /* pid_tgid */
    __type(value, struct call);
} calls SEC(".maps");

static __always_inline int call_begin(void *socket, int flags)
{
    if (!target_current())
        return 0;
    u64 key = bpf_get_current_pid_tgid();
    struct call c = { .sk = (u64)sock_of(socket), .flags = (u32)flags };
    bpf_map_update_elem(&calls, &key, &c, BPF_ANY);
    return 0;
}

static __always_inline int call_end(int ret, u32 dir)
{
    u64 key = bpf_get_current_pid_tgid();
    struct call *p = bpf_map_lookup_elem(&calls, &key);
    if (!p)
        return 0;
    struct call c = *p;
    bpf_map_delete_elem(&calls, &key);
    return on_data((void *)c.sk, ret, (int)c.flags, dir, 0, false);
}

SEND_FUNCTION(inet_sendmsg, GATHER_INET)
SEND_FUNCTION(inet6_sendmsg, GATHER_INET6)
SEND_FUNCTION(unix_stream_sendmsg, GATHER_UNIX)
RECV_FUNCTION(inet_recvmsg, GATHER_INET)
RECV_FUNCTION(inet6_recvmsg, GATHER_INET6)
RECV_FUNCTION(unix_stream_recvmsg, GATHER_UNIX)

/* sendfile before 6.5: (struct socket *, struct page *, int offset, size_t, int flags). No user memory to read. */
SEC("fexit/inet_sendpage") int inet_sendpage_fexit(u64 *ctx)
{
    return on_data(SOCK_TYPED(ctx[0]), (int)ctx[5], 0, DATA_SEND, GATHER_PAGE, true);
}
SEC("kprobe/inet_sendpage") int inet_sendpage_k(struct pt_regs *ctx) { return call_begin((void *)PT_REGS_PARM1(ctx), 0); }
SEC("kretprobe/inet_sendpage") int inet_sendpage_kr(struct pt_regs *ctx) { return call_end((int)PT_REGS_RC(ctx), DATA_SEND); }

/* ---- lifecycle ---- */

static __always_inline void birth_note(u64 key, u32 role, u64 who)
{
    struct birth b = { .start = bpf_ktime_get_boot_ns(), .tgid = who >> 32, .tid = who, .role = role };
    bpf_map_update_elem(&births, &key, &b, BPF_ANY);
}

/* An attempt to connect came to nothing. */
static __always_inline void connect_failed(struct sock *sk, u64 key)
{
    struct birth *b = bpf_map_lookup_elem(&births, &key);
    int err = BPF_CORE_READ(sk, sk_err);
    if (!b || b->role != ROLE_CLIENT || !err)
        return;
    struct rec_conn r = {};
    hdr_fill_as(&r.h, REC_CONN, sizeof(r), b->tgid, b->tid, 0, 0);
    conn_describe(sk, &r);
    r.conn = conn_id_new();
    r.role = ROLE_CLIENT;
    r.start = b->start;
    r.err = err;
    r.inode = sock_inode(sk);
    ring_put(r, STAT_ring_full_conn);
}

static __always_inline void conn_closed(struct sock *sk, u64 key)
{
    struct conn *c = bpf_map_lookup_elem(&conns, &key);
    if (!c)
        return;
    struct rec_close r = {};
    hdr_fill_as(&r.h, REC_CLOSE, sizeof(r), c->tgid, c->tid, 0, 0);
    r.conn = c->id;
    r.sent = c->pos[DATA_SEND];
    r.received = c->pos[DATA_RECV];
    r.err = c->err;
    bpf_map_delete_elem(&conns, &key);
    ring_put(r, STAT_ring_full_conn);
}

/* The state turns to CLOSE as soon as the peer resets, in soft interrupt, maybe while the process is still inside the call
 * whose bytes we then hear of. So the end is told when the socket goes away; only its error is kept until then (reading
 * it clears it). MPTCP's outer sockets have no such tracepoint and end here. */
static __always_inline void conn_errs(struct sock *sk, u64 key)
{
    struct conn *c = bpf_map_lookup_elem(&conns, &key);
    if (!c)
        return;
    int err = BPF_CORE_READ(sk, sk_err);
    if (err)
        c->err = err;
    if (BPF_CORE_READ(sk, sk_protocol) == IPPROTO_MPTCP)
        conn_closed(sk, key);
}

/* Services are often known by their port alone, and that not before now. */
static __always_inline void on_listen(struct sock *sk)
{
    struct control *c = control_get();
    if (!c || !c->discover)
        return;
    struct target *t = target_current();
    struct rec_listen r = {};
    u16 flags = t ? 0 : REC_F_CANDIDATE;
    if (!t)
        t = candidate_new();
    if (!t)
        return;
    hdr_fill(&r.h, t, REC_LISTEN, sizeof(r));
    r.h.flags = flags;
    r.port = BPF_CORE_READ(sk, __sk_common.skc_num);
    ring_put(r, STAT_ring_full_proc);
}

static __always_inline int on_state(u64 *ctx)
{
    struct sock *sk = (void *)ctx[0];
    int old = ctx[1], now = ctx[2];
    u64 key = (u64)sk;
    if (now == TCP_LISTEN) {
        on_listen(sk);
    } else if (now == TCP_SYN_SENT) {
        conn_closed(sk, key); /* the same socket connects anew */
        if (target_current())
            birth_note(key, ROLE_CLIENT, bpf_get_current_pid_tgid());
    } else if (old == TCP_SYN_RECV && now == TCP_ESTABLISHED) {
        birth_note(key, ROLE_SERVER, 0);
    } else if (now == TCP_CLOSE) {
        if (old == TCP_SYN_SENT)
            connect_failed(sk, key);
        conn_errs(sk, key);
        bpf_map_delete_elem(&births, &key);
    }
    return 0;
}
SEC("tp_btf/inet_sock_set_state") int inet_sock_set_state_tp_btf(u64 *ctx) { return on_state(ctx); }
CHAIN_SAME(inet_sock_set_state, on_state(ctx))
SEC("raw_tp/inet_sock_set_state") int inet_sock_set_state_raw_tp(u64 *ctx) { return on_state(ctx); }

static __always_inline int on_destroy(u64 *ctx)
{
    conn_closed((void *)ctx[0], ctx[0]);
    return 0;
}
SEC("tp_btf/tcp_destroy_sock") int tcp_destroy_sock_tp_btf(u64 *ctx) { return on_destroy(ctx); }
CHAIN_SAME(tcp_destroy_sock, on_destroy(ctx))
SEC("raw_tp/tcp_destroy_sock") int tcp_destroy_sock_raw_tp(u64 *ctx) { return on_destroy(ctx); }
