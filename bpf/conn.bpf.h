/* Connections: one value per socket, keyed by the sock's address and believed only while the socket's inode is the
 * same. Positions count from the first sight. A socket's role is noted when its state changes, before any data. */
#ifndef WF_BPF_CONN_H
#define WF_BPF_CONN_H

#include "ring.bpf.h"
#include <bpf/bpf_endian.h>

#define AF_UNIX         1
#define AF_INET         2
#define AF_INET6        10
#define SOCK_STREAM     1
#define IPPROTO_TCP     6
#define IPPROTO_MPTCP   262
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT    2
#define TCP_SYN_RECV    3
#define TCP_CLOSE       7
#define TCP_LISTEN      10

struct conn {
    u64 id, inode;
    u64 pos[2];
    u64 run_bytes; /* in the present run of one direction */
    u32 tgid, tid;
    u32 generation; /* of the cached verdict */
    u32 mode, budget;
    u8 run_dir, role, is_unix, pad;
    u16 err; /* the socket's, when its state turned to CLOSE */
};
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 65536); /* set before load */
    __type(key, u64);           /* struct sock * */
    __type(value, struct conn);
} conns SEC(".maps");

/* What a state change told of a socket before it was first seen to move data. */
struct birth {
    u64 start;
    u32 tgid, tid; /* of the connecting thread; 0 for an accepted socket (soft interrupt) */
    u32 role, pad;
};
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, 16384);
    __type(key, u64);
    __type(value, struct birth);
} births SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 65536); /* set before load */
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, u64); /* connection id */
    __type(value, struct verdict);
} verdicts SEC(".maps");

static __always_inline u64 sock_inode_typed(struct sock *sk) { return sk->sk_socket->file->f_inode->i_ino; }

static __always_inline u64 sock_inode(struct sock *sk)
{
    struct socket_alloc *s = (void *)BPF_CORE_READ(sk, sk_socket);
    return s ? BPF_CORE_READ(s, vfs_inode.i_ino) : 0;
}

/* Unique until reboot: the time and the CPU of the first sight. */
static __always_inline u64 conn_id_new(void) { return bpf_ktime_get_boot_ns() << 8 | (bpf_get_smp_processor_id() & 255); }

/* A Unix socket that was accepted carries its listener's name and talks to one without a name. */
static __always_inline void conn_unix(struct sock *sk, struct rec_conn *r)
{
    struct unix_sock *u = (void *)sk;
    struct unix_sock *peer = (void *)BPF_CORE_READ(u, peer);
    if (!peer)
        return;
    r->peer_inode = sock_inode((struct sock *)peer);
    void *own = BPF_CORE_READ(u, addr), *other = BPF_CORE_READ(peer, addr);
    if (own && !other)
        r->role = ROLE_SERVER;
    else if (!own && other)
        r->role = ROLE_CLIENT;
}

static __always_inline void conn_addresses(struct sock *sk, struct rec_conn *r)
{
    r->local_port = BPF_CORE_READ(sk, __sk_common.skc_num);
    r->remote_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
    if (r->family == AF_INET) {
        u32 a = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr), b = BPF_CORE_READ(sk, __sk_common.skc_daddr);
        __builtin_memcpy(r->local, &a, 4);
        __builtin_memcpy(r->remote, &b, 4);
    } else if (r->family == AF_INET6) {
        BPF_CORE_READ_INTO(&r->local, sk, __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
        BPF_CORE_READ_INTO(&r->remote, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr8);
    }
}

/* The parts of a REC_CONN that the socket itself tells. */
static __always_inline void conn_describe(struct sock *sk, struct rec_conn *r)
{
    r->family = BPF_CORE_READ(sk, __sk_common.skc_family);
    r->sock_type = SOCK_STREAM;
    r->netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
    if (r->family == AF_UNIX)
        conn_unix(sk, r);
    else
        conn_addresses(sk, r);
}

static __always_inline bool conn_is_stream(struct sock *sk)
{
    if (BPF_CORE_READ(sk, sk_type) != SOCK_STREAM)
        return false;
    u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);
    if (family == AF_UNIX)
        return true;
    u16 protocol = BPF_CORE_READ(sk, sk_protocol);
    return (family == AF_INET || family == AF_INET6) && (protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP);
}

/* Notes a new connection and tells of it. NULL when it cannot be remembered, is no stream or the kernel's own socket. */
static __noinline struct conn *conn_first_sight(struct sock *sk, const struct target *t)
{
    u64 key = (u64)sk, id = bpf_get_current_pid_tgid(), inode = sock_inode(sk);
    struct socket *s = BPF_CORE_READ(sk, sk_socket);
    if (!t || !conn_is_stream(sk) || !s || !BPF_CORE_READ(s, file))
        return 0;
    struct rec_conn r = {};
    hdr_fill(&r.h, t, REC_CONN, sizeof(r));
    conn_describe(sk, &r);
    struct birth *b = bpf_map_lookup_elem(&births, &key);
    if (b) {
        r.role = b->role;
        r.start = b->start;
    } else if (r.family != AF_UNIX) {
        r.h.flags |= REC_F_OPEN;
    }
    r.conn = conn_id_new();
    r.inode = inode;
    struct conn c = { .id = r.conn,
                      .inode = inode,
                      .tgid = id >> 32,
                      .tid = id,
                      .role = r.role,
                      .is_unix = r.family == AF_UNIX,
                      .generation = ~0u };
    if (bpf_map_update_elem(&conns, &key, &c, BPF_ANY)) {
        stat_add(STAT_conn_table_full, 1);
        return 0;
    }
    ring_put(r, STAT_ring_full_conn);
    return bpf_map_lookup_elem(&conns, &key);
}

/* A TCP entry goes when its socket does, so finding it is enough; a Unix socket's end is not seen, so its address may
 * be another's by now. What is no stream is never found and costs one look more. */
static __always_inline struct conn *conn_get(struct sock *sk, const struct target *t, bool typed)
{
    u64 key = (u64)sk;
    struct conn *c = bpf_map_lookup_elem(&conns, &key);
    if (c && (!c->is_unix || c->inode == (typed ? sock_inode_typed(sk) : sock_inode(sk))))
        return c;
    return conn_first_sight(sk, t);
}

/* Refreshes the cached verdict when user space has changed any. */
static __always_inline void conn_verdict(struct conn *c, const struct control *ctl)
{
    if (c->generation == ctl->generation)
        return;
    u64 id = c->id;
    struct verdict *v = bpf_map_lookup_elem(&verdicts, &id);
    c->mode = v ? v->mode : VERDICT_HEAD;
    c->budget = v ? v->budget : ctl->budget;
    c->generation = ctl->generation;
}

#endif
