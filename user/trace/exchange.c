/* Exchanges → spans: a request that our end received is a SERVER span and becomes its unit's current activity; one that
 * our end sent is a CLIENT span and a leaf. Attributes come from the parser; addresses and outcome are added here. */
#include "trace/internal.h"
#include <sys/socket.h>

static void set_network(struct span *s, const struct conn_info *c, bool server)
{
    char peer[48], mine[48];
    conn_address(c, true, peer);
    conn_address(c, false, mine);
    if (c->family == AF_UNIX) {
        attr_str(&s->attrs, "network.transport", slice_str("unix"));
        return;
    }
    attr_str(&s->attrs, "network.transport", slice_str("tcp"));
    attr_str(&s->attrs, "network.type", slice_str(strchr(peer, ':') ? "ipv6" : "ipv4"));
    attr_str(&s->attrs, "network.peer.address", slice_str(peer));
    attr_int(&s->attrs, "network.peer.port", c->remote_port);
    if (!attr_get(&s->attrs, "server.address"))
        attr_str(&s->attrs, "server.address", slice_str(server ? mine : peer));
    if (!attr_get(&s->attrs, "server.port"))
        attr_int(&s->attrs, "server.port", server ? c->local_port : c->remote_port);
    if (server) {
        attr_str(&s->attrs, "client.address", slice_str(peer));
        attr_int(&s->attrs, "client.port", c->remote_port);
    }
}

/* url.scheme says what the user typed; a client's url.full is made of what is known. */
static void set_url(struct span *s, const struct conn_info *c, bool server)
{
    const struct attr *path = attr_get(&s->attrs, "url.path");
    if (!path)
        return;
    const char *scheme = c->tls ? "https" : "http", *path_text = path->s;
    attr_str(&s->attrs, "url.scheme", slice_str(scheme));
    const struct attr *host = attr_get(&s->attrs, "server.address"), *port = attr_get(&s->attrs, "server.port");
    const struct attr *query = attr_get(&s->attrs, "url.query");
    if (server || !host || host->type != ATTR_STR)
        return;
    char url[1024], port_text[16] = "";
    if (port && port->type == ATTR_INT && port->i != (c->tls ? 443 : 80))
        snprintf(port_text, sizeof(port_text), ":%lld", (long long)port->i);
    bool v6 = strchr(host->s, ':');
    snprintf(url, sizeof(url), "%s://%s%s%s%s%s%s%s", scheme, v6 ? "[" : "", host->s, v6 ? "]" : "", port_text, path_text,
             query ? "?" : "", query ? query->s : "");
    attr_str(&s->attrs, "url.full", slice_str(url));
}

static void count_request(struct tracer *t, u32 tgid, int by)
{
    struct process *p = process_get(t, tgid);
    if (p && (by > 0 || p->requests))
        p->requests += (u32)by;
}

static void *on_begin(struct exchange_sink *sink, const struct exchange *x, const struct message *m)
{
    struct tracer *t = container_of(sink, struct tracer, exchanges);
    bool server = x->conn->role == CONN_SERVER;
    if (m->no_span)
        return NULL;
    struct span_context wire;
    bool known = !t->o.no_traceparent && !traceparent_parse(slice_str(m->traceparent), &wire);
    struct activity_start start = {
        .time = x->start,
        .tgid = x->conn->tgid,
        .tid = x->tid,
        .unit = x->unit,
        .kind = server ? SPAN_SERVER : SPAN_CLIENT,
        .scope = x->protocol->name,
        .name = slice_str(m->name),
        .parent = server && known ? &wire : NULL,
        .join = JOIN_WIRE,
        .tracestate = m->tracestate,
        .attrs = &m->attrs,
    };
    struct parent p = { .join = JOIN_ROOT };
    if (!server)
        p = parent_find(t, start.tgid, start.tid, start.unit);
    struct activity *a = activity_open(t, &start, server ? OF_SERVER : OF_CLIENT, &p);
    if (!a)
        return NULL;
    slot_of(a)->conn = x->conn->id;
    set_network(a->span, x->conn, server);
    set_url(a->span, x->conn, server);
    if (server) {
        baggage_take(&a->span->attrs, slice_str(m->baggage), t->o.baggage, t->o.n_baggage);
        unit_push(t, a);
        count_request(t, a->tgid, 1);
    } else if (p.wait) {
        unit_wait(t, a);
    }
    if (server) /* its trace may be the client's */
        join_offer(t, a, x);
    activity_started(t, a);
    if (!server)
        join_offer(t, a, x);
    return a;
}

/* What a message's end added to the span. */
static void take_message(struct span *s, const struct message *m)
{
    if (!m)
        return;
    attr_set_copy(&s->attrs, &m->attrs);
    if (m->name[0])
        span_set_name(s, slice_str(m->name));
}

static void take_marks(struct tracer *t, struct span *s, const struct span_marks *from)
{
    struct span_marks *m = from && from->n ? span_marks_new(from->name, from->key, from->n) : NULL;
    if (!m)
        return;
    for (u16 i = 0; i < from->n; i++)
        span_mark(m, tracer_wall(t, from->at[i].time_ns), from->at[i].size);
    m->dropped = from->dropped;
    span_set_marks(s, m);
}

static void set_outcome(struct tracer *t, struct span *s, const struct message *r, const struct exchange_answer *a)
{
    take_message(s, a->asked);
    if (a->how == EXCHANGE_LOST) {
        attr_str(&s->attrs, "wftrace.answer", slice_str("not seen"));
        return;
    }
    take_message(s, r);
    take_marks(t, s, r ? r->marks : NULL);
    if (a->how == EXCHANGE_CLOSED) {
        const char *type = a->err ? errno_name((int)a->err) : "connection_closed";
        attr_str(&s->attrs, "error.type", slice_str(type));
        span_set_error(
            s, slice_str(r ? "the connection ended in the middle of the answer" : "the connection ended before the answer"));
        return;
    }
    if (!r || !r->error_type)
        return;
    attr_str(&s->attrs, "error.type", slice_str(r->error_type));
    span_set_error(s, slice_str(r->error_message));
    if (r->error_message)
        span_add_exception(s, tracer_wall(t, a->last), slice_str(r->error_type), slice_str(r->error_message), slice_of(NULL, 0));
}

static void on_end(struct exchange_sink *sink, void *handle, const struct exchange *x, const struct message *r,
                   const struct exchange_answer *answer)
{
    struct tracer *t = container_of(sink, struct tracer, exchanges);
    struct activity *a = handle;
    if (!a)
        return;
    bool server = slot_of(a)->of == OF_SERVER;
    set_outcome(t, a->span, r, answer);
    if (server && answer->how == EXCHANGE_ANSWERED)
        unit_answered(t, a, a->tgid, answer->tid, a->start);
    if (server)
        count_request(t, a->tgid, -1);
    activity_end(t, a, answer->last);
}

static void on_connected(struct exchange_sink *sink, const struct conn_info *c, u64 begin, u64 end, u32 err, u32 tid, u64 unit)
{
    struct tracer *t = container_of(sink, struct tracer, exchanges);
    if (!err)
        return;
    struct activity_start start = {
        .time = begin ? begin : end,
        .tgid = c->tgid,
        .tid = tid,
        .unit = unit,
        .kind = SPAN_CLIENT,
        .scope = "connect",
        .name = slice_str("connect"),
    };
    struct parent p = parent_find(t, c->tgid, tid, unit);
    struct activity *a = activity_open(t, &start, OF_CLIENT, &p);
    if (!a)
        return;
    set_network(a->span, c, false);
    attr_str(&a->span->attrs, "error.type", slice_str(errno_name((int)err)));
    span_set_error(a->span, slice_str(strerror((int)err)));
    activity_started(t, a);
    activity_end(t, a, end);
}

void exchanges_init(struct tracer *t)
{
    t->exchanges = (struct exchange_sink){ .begin = on_begin, .end = on_end, .connected = on_connected };
}
