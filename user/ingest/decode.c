/* Record → event, the one place where a record's bounds are checked. A record comes from the kernel or from a capture file, and
 * a capture file may say anything: every length inside is held against the record's own. */
#include "ingest/event.h"
#include "bpf/abi.h"
#include "inproc/python/bridge_abi.h"
#include "self/ledger.h"

const char *const event_name[EVENT_MAX] = { "fork",   "exec",  "exit",   "comm",  "oom",     "conn", "data",
                                            "close",  "tls",   "hit",    "edge",  "put",     "take", "mapped",
                                            "bridge", "write", "listen", "pipes", "procinfo" };

#define AF_INET_  2
#define AF_INET6_ 10

/* A record known to be at least as long as its struct; what lies behind it. */
struct input {
    const void *record;
    struct slice payload;
};

static int decode_fork(struct input in, struct event *e)
{
    const struct rec_fork *r = in.record;
    e->fork.child_tgid = r->child_tgid;
    e->fork.child_tid = r->child_tid;
    e->fork.thread = r->child_tgid == e->tgid;
    return 0;
}

static int decode_exec(struct input in, struct event *e)
{
    const struct rec_exec *r = in.record;
    if ((size_t)r->filename_len + r->args_len > in.payload.n)
        return -EBADMSG;
    e->exec.ppid = r->ppid;
    e->exec.uid = r->uid;
    e->exec.filename = slice_head(in.payload, r->filename_len);
    if (e->exec.filename.n && !e->exec.filename.p[e->exec.filename.n - 1])
        e->exec.filename.n--;
    e->exec.args = slice_head(slice_from(in.payload, r->filename_len), r->args_len);
    e->exec.args_cut = r->args_full > r->args_len;
    return 0;
}

static int decode_exit(struct input in, struct event *e)
{
    const struct rec_exit *r = in.record;
    e->exit.status = r->status;
    e->exit.ppid = r->ppid;
    e->exit.thread = r->h.flags & REC_F_THREAD;
    e->exit.start = r->start;
    e->exit.utime = r->utime;
    e->exit.stime = r->stime;
    e->exit.rss_peak = r->rss_peak;
    e->exit.read_bytes = r->read_bytes;
    e->exit.write_bytes = r->write_bytes;
    return 0;
}

static int decode_comm(struct input in, struct event *e)
{
    const struct rec_comm *r = in.record;
    e->comm.comm = slice_of(r->comm, strnlen(r->comm, sizeof(r->comm)));
    return 0;
}

static int decode_pipes(struct input in, struct event *e)
{
    const struct rec_pipes *r = in.record;
    e->pipes.in = r->in;
    e->pipes.out = r->out;
    return 0;
}

static int decode_oom(struct input in, struct event *e)
{
    e->oom.victim = ((const struct rec_oom *)in.record)->victim;
    return 0;
}

/* A dual-stack socket shows an IPv4 peer as ::ffff:a.b.c.d; what is behind it is IPv4. */
static void unmap_ipv4(struct event *e)
{
    static const u8 prefix[12] = { [10] = 0xff, [11] = 0xff };
    if (e->conn.family != AF_INET6_ || memcmp(e->conn.remote, prefix, sizeof(prefix)))
        return;
    e->conn.family = AF_INET_;
    memcpy(e->conn.remote, e->conn.remote + 12, 4);
    memset(e->conn.remote + 4, 0, 12);
    if (!memcmp(e->conn.local, prefix, sizeof(prefix)))
        memcpy(e->conn.local, e->conn.local + 12, 4);
    memset(e->conn.local + 4, 0, 12);
}

static int decode_conn(struct input in, struct event *e)
{
    const struct rec_conn *r = in.record;
    if (r->role > ROLE_SERVER)
        return -EBADMSG;
    e->conn.id = r->conn;
    e->conn.inode = r->inode;
    e->conn.peer_inode = r->peer_inode;
    e->conn.start = r->start;
    e->conn.family = r->family;
    e->conn.role = (enum role)r->role;
    e->conn.local_port = r->local_port;
    e->conn.remote_port = r->remote_port;
    e->conn.err = r->err;
    e->conn.netns = r->netns;
    e->conn.was_open = r->h.flags & REC_F_OPEN;
    memcpy(e->conn.local, r->local, sizeof(r->local));
    memcpy(e->conn.remote, r->remote, sizeof(r->remote));
    unmap_ipv4(e);
    return 0;
}

static int decode_data(struct input in, struct event *e)
{
    const struct rec_data *r = in.record;
    if (r->cap_len > in.payload.n || r->cap_len > r->orig_len || r->dir > DATA_RECV)
        return -EBADMSG;
    e->data.conn = r->conn;
    e->data.pos = r->pos;
    e->data.len = r->orig_len;
    e->data.dir = (enum dir)r->dir;
    e->data.tail = r->h.flags & REC_F_TAIL;
    e->data.nodata = r->h.flags & REC_F_NODATA;
    e->data.bytes = slice_head(in.payload, r->cap_len);
    return 0;
}

static int decode_close(struct input in, struct event *e)
{
    const struct rec_close *r = in.record;
    e->close.conn = r->conn;
    e->close.sent = r->sent;
    e->close.received = r->received;
    e->close.err = r->err;
    return 0;
}

static int decode_tls(struct input in, struct event *e)
{
    const struct rec_tls *r = in.record;
    if (r->cap_len > in.payload.n || r->cap_len > r->orig_len || r->dir > DATA_RECV)
        return -EBADMSG;
    e->tls.ssl = r->ssl;
    e->tls.pos = r->pos;
    e->tls.len = r->orig_len;
    e->tls.dir = (enum dir)r->dir;
    e->tls.tail = r->h.flags & REC_F_TAIL;
    e->tls.bytes = slice_head(in.payload, r->cap_len);
    return 0;
}

static int decode_hit(struct input in, struct event *e)
{
    const struct rec_hit *r = in.record;
    if (r->n_values > HIT_VALUES || r->phase > HIT_POINT)
        return -EBADMSG;
    e->hit.site = r->site;
    e->hit.phase = (enum phase)r->phase;
    e->hit.n = r->n_values;
    e->hit.strings = r->strings;
    e->hit.failed = r->failed;
    e->hit.sp = r->sp;
    for (unsigned i = 0; i < HIT_VALUES; i++) {
        e->hit.v[i] = r->v[i];
        e->hit.s[i] = slice_of(in.payload.p, 0);
        if (!(r->strings >> i & 1))
            continue;
        if (r->v[i] >= HIT_VALUES || r->str_len[i] > HIT_STR || (r->v[i] + 1) * HIT_STR > in.payload.n)
            return -EBADMSG;
        e->hit.s[i] = slice_of(in.payload.p + r->v[i] * HIT_STR, r->str_len[i]);
    }
    return 0;
}

static int decode_edge(struct input in, struct event *e)
{
    const struct rec_edge *r = in.record;
    e->edge.parent = r->parent;
    e->edge.child = r->child;
    return 0;
}
static int decode_put(struct input in, struct event *e)
{
    e->handover.key = ((const struct rec_put *)in.record)->key;
    return 0;
}
static int decode_take(struct input in, struct event *e)
{
    e->handover.key = ((const struct rec_take *)in.record)->key;
    return 0;
}
static int decode_mapped(struct input in, struct event *e)
{
    UNUSED(in);
    UNUSED(e);
    return 0;
}
/* One value behind another; the caller's slice holds whole ones only once decode_bridge has walked it. */
bool event_value_next(struct slice *values, struct event_value *ret)
{
    static const enum value_type types[] = { [BRIDGE_TEXT] = VALUE_TEXT,
                                             [BRIDGE_INT] = VALUE_INT,
                                             [BRIDGE_DOUBLE] = VALUE_DOUBLE,
                                             [BRIDGE_BOOL] = VALUE_BOOL,
                                             [BRIDGE_NONE] = VALUE_NONE };
    static const u8 sizes[] = { [BRIDGE_INT] = 8, [BRIDGE_DOUBLE] = 8, [BRIDGE_BOOL] = 1, [BRIDGE_NONE] = 0 };
    struct bridge_attr a;
    if (values->n < sizeof(a))
        return false;
    memcpy(&a, values->p, sizeof(a));
    size_t padded = ((size_t)a.len + 3) & ~3ul;
    if (a.type < BRIDGE_TEXT || a.type > BRIDGE_NONE || padded > values->n - sizeof(a) || a.len > BRIDGE_EVENT_MAX ||
        (a.type != BRIDGE_TEXT && a.len != sizes[a.type]))
        return false;
    struct slice v = slice_of(values->p + sizeof(a), a.len);
    *ret = (struct event_value){ .index = a.index, .type = types[a.type] };
    if (a.type == BRIDGE_TEXT)
        ret->text = v;
    else if (a.type == BRIDGE_INT)
        memcpy(&ret->i, v.p, sizeof(ret->i));
    else if (a.type == BRIDGE_DOUBLE)
        memcpy(&ret->d, v.p, sizeof(ret->d));
    else if (a.type == BRIDGE_BOOL)
        ret->i = v.p[0] != 0;
    *values = slice_from(*values, sizeof(a) + padded);
    return true;
}

static int decode_bridge(struct input in, struct event *e)
{
    const struct rec_bridge *r = in.record;
    struct bridge_event b;
    struct event_value value;
    if (r->cap_len > in.payload.n || r->cap_len < sizeof(b))
        return -EBADMSG;
    memcpy(&b, in.payload.p, sizeof(b));
    if ((b.version != BRIDGE_VERSION && b.version != 1) || b.kind < BRIDGE_START || b.kind > BRIDGE_NOTE || b.size > r->cap_len ||
        b.size < sizeof(b))
        return -EBADMSG;
    e->bridge.phase = (enum bridge_phase)(b.kind - BRIDGE_START);
    e->bridge.watch = b.watch;
    e->bridge.dropped = b.dropped;
    e->bridge.activity = b.activity;
    e->bridge.book = b.version == 1 ? 0 : (u32)(b.activity >> BRIDGE_BOOK);
    e->bridge.values = slice_of(in.payload.p + sizeof(b), b.size - sizeof(b));
    struct slice left = e->bridge.values;
    for (u8 i = 0; i < b.n_attrs; i++)
        if (!event_value_next(&left, &value))
            return -EBADMSG;
    e->bridge.values.n -= left.n;
    return 0;
}

static int decode_write(struct input in, struct event *e)
{
    const struct rec_write *r = in.record;
    if (r->cap_len > in.payload.n || r->cap_len > r->orig_len)
        return -EBADMSG;
    e->write.fd = r->fd;
    e->write.mode = r->mode;
    e->write.inode = r->inode;
    e->write.len = r->orig_len;
    e->write.more = r->h.flags & REC_F_MORE;
    e->write.bytes = slice_head(in.payload, r->cap_len);
    return 0;
}
static int decode_listen(struct input in, struct event *e)
{
    e->listen.port = (u16)((const struct rec_listen *)in.record)->port;
    return 0;
}
static int decode_procinfo(struct input in, struct event *e)
{
    if (in.payload.n && in.payload.p[in.payload.n - 1])
        return -EBADMSG;
    e->procinfo.text = in.payload;
    return 0;
}

static const struct decoder {
    size_t size;
    enum event_type type;
    int (*decode)(struct input in, struct event *e);
} decoders[] = {
    [REC_FORK] = { sizeof(struct rec_fork), EVENT_FORK, decode_fork },
    [REC_EXEC] = { sizeof(struct rec_exec), EVENT_EXEC, decode_exec },
    [REC_EXIT] = { sizeof(struct rec_exit), EVENT_EXIT, decode_exit },
    [REC_COMM] = { sizeof(struct rec_comm), EVENT_COMM, decode_comm },
    [REC_OOM] = { sizeof(struct rec_oom), EVENT_OOM, decode_oom },
    [REC_CONN] = { sizeof(struct rec_conn), EVENT_CONN, decode_conn },
    [REC_DATA] = { sizeof(struct rec_data), EVENT_DATA, decode_data },
    [REC_CLOSE] = { sizeof(struct rec_close), EVENT_CLOSE, decode_close },
    [REC_TLS] = { sizeof(struct rec_tls), EVENT_TLS, decode_tls },
    [REC_HIT] = { sizeof(struct rec_hit), EVENT_HIT, decode_hit },
    [REC_EDGE] = { sizeof(struct rec_edge), EVENT_EDGE, decode_edge },
    [REC_PUT] = { sizeof(struct rec_put), EVENT_PUT, decode_put },
    [REC_TAKE] = { sizeof(struct rec_take), EVENT_TAKE, decode_take },
    [REC_MAPPED] = { sizeof(struct rec_mapped), EVENT_MAPPED, decode_mapped },
    [REC_BRIDGE] = { sizeof(struct rec_bridge), EVENT_BRIDGE, decode_bridge },
    [REC_WRITE] = { sizeof(struct rec_write), EVENT_WRITE, decode_write },
    [REC_LISTEN] = { sizeof(struct rec_listen), EVENT_LISTEN, decode_listen },
    [REC_PIPES] = { sizeof(struct rec_pipes), EVENT_PIPES, decode_pipes },
    [REC_PROCINFO] = { sizeof(struct rec_hdr), EVENT_PROCINFO, decode_procinfo },
};

static int decode_into(const void *record, size_t len, struct event *e)
{
    const struct rec_hdr *h = record;
    if (len < sizeof(*h) || h->len > len || h->len < sizeof(*h))
        return -EBADMSG;
    if (h->type >= ARRAY_LEN(decoders) || !decoders[h->type].decode)
        return -ENOTSUP;
    const struct decoder *d = &decoders[h->type];
    if (h->len < d->size)
        return -EBADMSG;
    *e = (struct event){ .type = d->type, .time = h->time, .tgid = h->tgid, .tid = h->tid, .unit = h->unit, .cgroup = h->cgroup };
    return d->decode((struct input){ record, slice_of((const u8 *)record + d->size, h->len - d->size) }, e);
}

int event_decode(const void *record, size_t len, u32 *lost_seen, struct event *ret)
{
    struct event e;
    int err = decode_into(record, len, &e);
    ledger_add(records_seen, 1);
    if (err) {
        ledger_add(records_bad, 1);
        return err;
    }
    ledger_add(records_decoded, 1);
    const struct rec_hdr *h = record;
    if (h->type != REC_PROCINFO) { /* made in user space: knows nothing of losses */
        e.lost = h->lost - *lost_seen < 1u << 31 ? h->lost - *lost_seen : 0;
        *lost_seen = e.lost ? h->lost : *lost_seen;
        ledger_add(records_lost, e.lost);
    }
    *ret = e;
    return 0;
}

struct slice procinfo_get(struct slice text, const char *key)
{
    size_t k = strlen(key);
    while (text.n) {
        ptrdiff_t end = slice_find(text, 0);
        struct slice line = slice_head(text, end < 0 ? text.n : (size_t)end);
        if (line.n > k && !memcmp(line.p, key, k) && line.p[k] == '=')
            return slice_from(line, k + 1);
        text = slice_from(text, line.n + 1);
    }
    return slice_of(NULL, 0);
}
