/* Events in, flows fed. A connection is known by its id from its first record of any kind; what CONN told of it is told to
 * the sink once, when CONN comes or, for a connection whose CONN was lost, never. */
#include "stream/internal.h"

#include <arpa/inet.h>
#include <sys/socket.h>

void conn_address(const struct conn_info *c, bool remote, char out[48])
{
    const u8 *a = remote ? c->remote : c->local;
    static const u8 mapped[12] = { [10] = 0xff, [11] = 0xff };
    out[0] = 0;
    if (c->family == AF_INET)
        inet_ntop(AF_INET, a, out, 48);
    else if (c->family == AF_INET6 && !memcmp(a, mapped, sizeof(mapped)))
        inet_ntop(AF_INET, a + 12, out, 48);
    else if (c->family == AF_INET6)
        inet_ntop(AF_INET6, a, out, 48);
}

static void conn_drop(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    struct stream *s = arg;
    struct conn *c = value;
    if (cause == TABLE_EVICTED)
        ledger_add(conns_evicted, 1);
    if (cause != TABLE_DELETED) {
        tls_conn_closed(s, c, EXCHANGE_LOST, s->now, 0);
        flow_end(&c->flow, EXCHANGE_LOST, s->now, 0);
    }
}

struct stream *stream_new(const struct stream_options *o, struct exchange_sink *sink, struct verdict_sink *verdicts)
{
    struct stream *s = calloc(1, sizeof(*s));
    if (!s)
        return NULL;
    s->o = *o;
    s->o.max_conns = o->max_conns ? o->max_conns : 65536;
    s->o.max_open = o->max_open ? o->max_open : 4096;
    s->o.max_buffered = o->max_buffered ? o->max_buffered : 16u << 20;
    s->holds.max = s->o.max_buffered;
    s->sink = sink;
    s->verdicts = verdicts;
    s->scratch = malloc(sizeof(*s->scratch));
    s->conns = table_new(&(struct table_spec){
        .key_size = sizeof(u64), .value_size = sizeof(struct conn), .max = s->o.max_conns, .drop = conn_drop, .arg = s });
    if (!s->scratch || !s->conns || tls_init(s))
        return stream_free(s);
    return s;
}

struct stream *stream_free(struct stream *s)
{
    if (!s)
        return NULL;
    tls_free(s);
    if (s->conns)
        table_free(s->conns);
    while (s->n_spares)
        free(s->spares[--s->n_spares]);
    while (s->free_asked) {
        struct asked *a = s->free_asked;
        s->free_asked = a->next;
        free(a);
    }
    hold_pool_free(&s->holds);
    free(s->scratch);
    free(s);
    return NULL;
}

static struct conn *conn_of(struct stream *s, u64 id, const struct event *e)
{
    bool fresh = false;
    struct conn *c = table_put(s->conns, &id, &fresh);
    if (!c || !fresh)
        return c;
    ledger_add(conns_opened, 1);
    c->info = (struct conn_info){ .id = id, .tgid = e->tgid, .was_open = true };
    flow_init(&c->flow, s, &c->info, id);
    return c;
}

static void on_conn(struct stream *s, const struct event *e)
{
    struct conn *c = conn_of(s, e->conn.id, e);
    if (!c)
        return;
    bool tls = c->info.tls;
    c->info =
        (struct conn_info){ .id = e->conn.id,
                            .inode = e->conn.inode,
                            .peer_inode = e->conn.peer_inode,
                            .family = e->conn.family,
                            .local_port = e->conn.local_port,
                            .remote_port = e->conn.remote_port,
                            .role = e->conn.role ? e->conn.role : c->info.role, /* what its bytes told, if they came first */
                            .tls = tls,
                            .was_open = e->conn.was_open,
                            .tgid = e->tgid };
    memcpy(c->info.local, e->conn.local, 16);
    memcpy(c->info.remote, e->conn.remote, 16);
    c->flow.joined = c->flow.unsure = e->conn.was_open;
    if (!c->announced && s->sink->connected)
        s->sink->connected(s->sink, &c->info, e->conn.start ? e->conn.start : e->time, e->time, e->conn.err, e->tid, e->unit);
    c->announced = true;
    if (!e->conn.err)
        return;
    tls_conn_closed(s, c, EXCHANGE_CLOSED, e->time, e->conn.err);
    flow_end(&c->flow, EXCHANGE_CLOSED, e->time, e->conn.err);
    table_del(s->conns, &e->conn.id);
}

static void on_data(struct stream *s, const struct event *e)
{
    struct conn *c = conn_of(s, e->data.conn, e);
    if (!c)
        return;
    ledger_add(bytes_in, e->data.bytes.n);
    flow_data(&c->flow, e->data.dir,
              &(struct chunk){ .pos = e->data.pos,
                               .len = e->data.len,
                               .tail = e->data.tail,
                               .bytes = e->data.bytes,
                               .stamp = { .time = e->time, .unit = e->unit, .tid = e->tid } });
    tls_neighbour(s, c, e);
}

static void on_close(struct stream *s, const struct event *e)
{
    struct conn *c = table_peek(s->conns, &e->close.conn);
    if (!c)
        return;
    tls_conn_closed(s, c, EXCHANGE_CLOSED, e->time, e->close.err);
    flow_end(&c->flow, EXCHANGE_CLOSED, e->time, e->close.err);
    table_del(s->conns, &e->close.conn);
}

void stream_event(struct stream *s, const struct event *e)
{
    s->now = max_u64(s->now, e->time);
    if (e->lost)
        s->lost_at = e->time;
    switch (e->type) {
    case EVENT_CONN:
        on_conn(s, e);
        break;
    case EVENT_DATA:
        on_data(s, e);
        break;
    case EVENT_CLOSE:
        on_close(s, e);
        break;
    case EVENT_TLS:
        ledger_add(bytes_in, e->tls.bytes.n);
        tls_piece(s, e);
        break;
    case EVENT_EXIT:
        if (!e->exit.thread)
            tls_process_gone(s, e->tgid, e->time);
        break;
    default:
        break;
    }
}

static bool tick_conn(void *arg, const void *key, void *value)
{
    struct stream *s = arg;
    struct conn *c = value;
    flow_tick(&c->flow, s->now);
    return true;
}

void stream_tick(struct stream *s, u64 now_boot)
{
    s->now = max_u64(s->now, now_boot);
    table_each(s->conns, tick_conn, s);
    tls_tick(s, s->now);
}

void stream_privacy(struct stream *s, struct privacy p) { s->o.privacy = p; }
