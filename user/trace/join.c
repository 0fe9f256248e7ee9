/* Both ends on one host: the client's n-th byte is the server's n-th byte.
 *
 * Addresses, ports and the stream offset of a request's first byte name one request on both sides, exactly, when both
 * saw the connection from its start. The two records come from two processors in either order, so whoever comes second
 * makes the tie; a server span that already has children keeps its trace and is linked instead. */
#include "trace/internal.h"
#include <sys/socket.h>

struct join_entry {
    struct weak client, server;
};

static u64 join_hash(const struct exchange *x)
{
    const struct conn_info *c = x->conn;
    struct {
        u8 from[16], to[16];
        u64 pos, inodes;
        u16 from_port, to_port, family, tls;
    } k;
    memset(&k, 0, sizeof(k));
    bool server = c->role == CONN_SERVER;
    memcpy(k.from, server ? c->remote : c->local, 16);
    memcpy(k.to, server ? c->local : c->remote, 16);
    k.from_port = server ? c->remote_port : c->local_port;
    k.to_port = server ? c->local_port : c->remote_port;
    k.family = c->family;
    k.pos = x->request_pos;
    k.tls = c->tls;
    if (c->family == AF_UNIX)
        k.inodes = server ? c->peer_inode << 32 ^ c->inode : c->inode << 32 ^ c->peer_inode;
    return hash_bytes(&k, sizeof(k), 0);
}

void join_offer(struct tracer *t, struct activity *a, const struct exchange *x)
{
    bool server = slot_of(a)->of == OF_SERVER;
    if (x->conn->was_open || (x->conn->family == AF_UNIX && !x->conn->peer_inode))
        return;
    u64 hash = join_hash(x);
    struct join_entry *j = table_put(t->joins, &hash, NULL);
    if (!j)
        return;
    *(server ? &j->server : &j->client) = weak_to(a);
    slot_of(a)->join_hash = hash;
    struct activity *c = weak_get(j->client), *s = weak_get(j->server);
    if (c && s && s->span->join == JOIN_ROOT)
        activity_adopt(t, s, c, JOIN_SOCKET);
}
