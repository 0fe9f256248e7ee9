/* TLS: plaintext comes from the library's read and write calls, keyed by (process, SSL object); ciphertext from the sockets.
 * Which session lies on which connection is told by one thread's neighbouring calls: after a write of n plaintext bytes
 * its thread sends at least n + 17 bytes that begin with a record header; before a read its thread received such bytes.
 * That holds with the socket under OpenSSL and with memory BIOs, where one thread serves many connections.
 *
 * Strict: a neighbour counts only when nothing of another session or connection came between. One piece of evidence binds
 * a session that is free to a connection that is free; two in a row that contradict the binding replace it. Until
 * a session is bound its pieces wait, for PATIENCE_NS and up to WAIT_BYTES; then they are parsed as a connection with
 * unknown addresses, which a later binding still gives its name to. */
#include "stream/internal.h"

#define SESSIONS_MAX 16384
#define THREADS_MAX  4096
#define WAIT_BYTES   32768
#define RECORD_COST  17 /* least that a record adds to its plaintext */
#define NEIGHBOUR_NS (50 * NSEC_PER_MSEC)
#define BLIND_CALLS  64 /* ciphertext calls after which a connection without a session is ignored */

struct session_key {
    u64 tgid, ssl;
};

struct waiting_piece {
    struct waiting_piece *next;
    enum dir dir;
    u64 pos;
    u32 len, n;
    bool tail;
    struct stamp stamp;
    u8 bytes[];
};

struct tls_session {
    struct session_key key;
    struct owned of_process;
    struct conn_info info; /* its own until it is bound, then the connection's */
    struct flow flow;
    u64 conn;  /* bound to; 0: not */
    u64 rival; /* connection that the last evidence spoke for instead */
    u64 waiting_since;
    struct waiting_piece *first, **link;
    u32 waiting_bytes;
    u8 evidence, against;
    bool released; /* parsed, bound or not */
};

/* The last TLS-like call of a thread that nobody has claimed. */
struct tls_thread {
    struct session_key wrote; /* session that wrote and whose send is awaited; ssl 0: none or unclear */
    u64 wrote_bytes, wrote_at;
    u64 received, received_at; /* connection; 0: none or unclear */
};

static struct tls_session *session_peek(struct stream *s, u64 tgid, u64 ssl)
{
    struct session_key k = { tgid, ssl };
    return table_peek(s->sessions, &k);
}

static struct tls_thread *thread_of(struct stream *s, u32 tid)
{
    u64 key = tid;
    return table_put(s->threads, &key, NULL);
}

static struct conn *conn_peek(struct stream *s, u64 id) { return id ? table_peek(s->conns, &id) : NULL; }

static void session_feed(struct tls_session *t, const struct waiting_piece *p)
{
    flow_data(&t->flow, p->dir,
              &(struct chunk){ .pos = p->pos, .len = p->len, .tail = p->tail, .bytes = { p->bytes, p->n }, .stamp = p->stamp });
}

static void session_release(struct stream *s, struct tls_session *t)
{
    t->released = true;
    while (t->first) {
        struct waiting_piece *p = t->first;
        t->first = p->next;
        session_feed(t, p);
        s->holds.held -= sizeof(*p) + p->n;
        free(p);
    }
    t->waiting_bytes = 0;
    t->link = &t->first;
}

static void session_unbind(struct stream *s, struct tls_session *t)
{
    struct conn *c = conn_peek(s, t->conn);
    if (c)
        c->bound = false;
    t->conn = 0;
    t->evidence = t->against = 0;
}

static void session_end(struct stream *s, struct tls_session *t, enum exchange_end how, u64 time, u32 err)
{
    if (how == EXCHANGE_CLOSED)
        session_release(s, t);
    while (t->first) {
        struct waiting_piece *p = t->first;
        t->first = p->next;
        s->holds.held -= sizeof(*p) + p->n;
        free(p);
    }
    flow_end(&t->flow, how, time, err);
    session_unbind(s, t);
}

static void session_drop(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    struct stream *s = arg;
    struct tls_session *t = value;
    if (cause != TABLE_DELETED)
        session_end(s, t, EXCHANGE_LOST, s->now, 0);
    owners_remove(s->session_owners, &t->of_process);
}

int tls_init(struct stream *s)
{
    s->sessions = table_new(&(struct table_spec){ .key_size = sizeof(struct session_key),
                                                  .value_size = sizeof(struct tls_session),
                                                  .max = SESSIONS_MAX,
                                                  .drop = session_drop,
                                                  .arg = s });
    s->session_owners = owners_new(SESSIONS_MAX);
    s->threads =
        table_new(&(struct table_spec){ .key_size = sizeof(u64), .value_size = sizeof(struct tls_thread), .max = THREADS_MAX });
    return s->sessions && s->session_owners && s->threads ? 0 : -ENOMEM;
}

void tls_free(struct stream *s)
{
    if (s->sessions)
        table_free(s->sessions);
    if (s->threads)
        table_free(s->threads);
    s->session_owners = owners_free(s->session_owners);
    s->sessions = s->threads = NULL;
}

/* ---- evidence ---- */

static void bind_to(struct stream *s, struct tls_session *t, const struct session_key *k, struct conn *c)
{
    session_unbind(s, t);
    t->conn = c->info.id;
    t->evidence = 1;
    t->info = c->info;
    t->info.tls = c->info.tls = true;
    c->bound = true;
    c->tls_key[0] = k->tgid;
    c->tls_key[1] = k->ssl;
    session_release(s, t);
}

/* Believed, once bound, after a second piece: the ciphertext has nothing more to say. */
static void evidence_for(struct stream *s, struct tls_session *t, struct conn *c)
{
    t->against = 0;
    if (t->evidence == 1 && s->verdicts)
        s->verdicts->set(s->verdicts, c->info.id, true, 0);
    t->evidence += t->evidence < 255;
}

static void evidence(struct stream *s, const struct session_key *k, struct conn *c)
{
    struct tls_session *t = table_peek(s->sessions, k);
    if (!t || c->flow.mode != FLOW_TLS || c->info.tgid != k->tgid)
        return;
    if (t->conn == c->info.id) {
        evidence_for(s, t, c);
        return;
    }
    struct tls_session *holder = c->bound ? session_peek(s, c->tls_key[0], c->tls_key[1]) : NULL;
    bool contested = t->conn || (holder && holder != t);
    t->against = t->rival == c->info.id ? (u8)(t->against + (t->against < 255)) : 1;
    t->rival = c->info.id;
    if (contested && t->against < 2)
        return;
    if (holder && holder != t)
        session_unbind(s, holder);
    bind_to(s, t, k, c);
}

static void sent(struct stream *s, struct conn *c, const struct event *e, struct tls_thread *th, bool records)
{
    struct session_key k = th->wrote;
    bool fits = k.ssl && records && k.tgid == e->tgid && e->data.len >= th->wrote_bytes + RECORD_COST &&
                e->time <= th->wrote_at + NEIGHBOUR_NS;
    th->wrote = (struct session_key){ 0 };
    th->wrote_bytes = 0;
    if (fits)
        evidence(s, &k, c);
}

/* Ciphertext of a connection whose TLS library isn't traced is of no use to anybody. */
static void count_blind(struct conn *c)
{
    if (!c->bound && ++c->tls_calls == BLIND_CALLS)
        flow_ignore(&c->flow);
}

void tls_neighbour(struct stream *s, struct conn *c, const struct event *e)
{
    if (c->flow.mode != FLOW_TLS)
        return;
    struct tls_thread *th = thread_of(s, e->tid);
    if (!th)
        return;
    bool records = looks_tls(e->data.bytes);
    if (e->data.dir == DIR_SEND) {
        sent(s, c, e, th, records);
    } else {
        th->received = c->info.id;
        th->received_at = e->time;
    }
    count_blind(c);
}

static void wrote(struct tls_thread *th, const struct session_key *k, const struct event *e)
{
    bool other = th->wrote.ssl && (th->wrote.ssl != k->ssl || th->wrote.tgid != k->tgid);
    if (other && e->time <= th->wrote_at + NEIGHBOUR_NS) {
        th->wrote = (struct session_key){ 0 }; /* two sessions wrote and nothing was sent: whose send comes next is unclear */
        th->wrote_bytes = 0;
        return;
    }
    th->wrote_bytes = other || !th->wrote.ssl ? e->tls.len : th->wrote_bytes + e->tls.len;
    th->wrote = *k;
    th->wrote_at = e->time;
}

static void take_evidence(struct stream *s, const struct session_key *k, const struct event *e)
{
    struct tls_thread *th = thread_of(s, e->tid);
    if (!th)
        return;
    if (e->tls.dir == DIR_SEND) {
        wrote(th, k, e);
        return;
    }
    struct conn *c = e->time <= th->received_at + NEIGHBOUR_NS ? conn_peek(s, th->received) : NULL;
    th->received = 0; /* one read is one piece of evidence: later ones may drain what came before */
    if (c)
        evidence(s, k, c);
}

/* ---- pieces ---- */

static bool session_wait(struct stream *s, struct tls_session *t, const struct event *e)
{
    size_t n = e->tls.bytes.n;
    if (t->waiting_bytes + n > WAIT_BYTES || s->holds.held + n > s->holds.max)
        return false;
    struct waiting_piece *p = malloc(sizeof(*p) + n);
    if (!p)
        return false;
    *p = (struct waiting_piece){ .dir = e->tls.dir,
                                 .pos = e->tls.pos,
                                 .len = e->tls.len,
                                 .n = (u32)n,
                                 .tail = e->tls.tail,
                                 .stamp = { .time = e->time, .unit = e->unit, .tid = e->tid } };
    if (n)
        memcpy(p->bytes, e->tls.bytes.p, n);
    *t->link = p;
    t->link = &p->next;
    t->waiting_bytes += (u32)n;
    s->holds.held += sizeof(*p) + n;
    if (!t->waiting_since)
        t->waiting_since = e->time;
    return true;
}

static void session_begin(struct stream *s, struct tls_session *t, const struct event *e)
{
    *t = (struct tls_session){ .key = t->key,
                               .of_process = t->of_process,
                               .info = { .tgid = e->tgid, .tls = true, .was_open = true } };
    t->link = &t->first;
    flow_init(&t->flow, s, &t->info, 0);
    t->flow.plaintext = true;
    t->flow.ssl = e->tls.ssl;
}

/* The library made a new object where an old one was: offsets begin anew. */
static bool began_anew(const struct tls_session *t, const struct event *e)
{
    const struct half *h = &t->flow.half[e->tls.dir];
    return e->tls.pos == 0 && !e->tls.tail && h->seen && h->end > 0;
}

static void release_unbound(struct stream *s, struct tls_session *t)
{
    ledger_add(tls_unbound, 1);
    session_release(s, t);
}

/* False: no memory, and the entry is gone again. */
static bool session_own(struct stream *s, struct tls_session *t, const struct session_key *k)
{
    t->key = *k;
    t->link = &t->first;
    bool owned = owners_add(s->session_owners, k->tgid, &t->of_process);
    if (!owned)
        table_del(s->sessions, k);
    return owned;
}

void tls_piece(struct stream *s, const struct event *e)
{
    struct session_key k = { e->tgid, e->tls.ssl };
    bool fresh = false;
    struct tls_session *t = table_put(s->sessions, &k, &fresh);
    if (!t || (fresh && !session_own(s, t, &k)))
        return;
    if (!fresh && began_anew(t, e)) {
        session_end(s, t, EXCHANGE_CLOSED, e->time, 0);
        fresh = true;
    }
    if (fresh)
        session_begin(s, t, e);
    take_evidence(s, &k, e);
    bool late = t->waiting_since && e->time > t->waiting_since + PATIENCE_NS;
    if (!t->released && !late && session_wait(s, t, e))
        return;
    if (!t->released)
        release_unbound(s, t);
    flow_data(&t->flow, e->tls.dir,
              &(struct chunk){ .pos = e->tls.pos,
                               .len = e->tls.len,
                               .tail = e->tls.tail,
                               .bytes = e->tls.bytes,
                               .stamp = { .time = e->time, .unit = e->unit, .tid = e->tid } });
}

void tls_conn_closed(struct stream *s, struct conn *c, enum exchange_end how, u64 time, u32 err)
{
    struct session_key k = { c->tls_key[0], c->tls_key[1] };
    struct tls_session *t = c->bound ? table_peek(s->sessions, &k) : NULL;
    if (!t || t->conn != c->info.id)
        return;
    session_end(s, t, how, time, err);
    table_del(s->sessions, &k);
}

void tls_process_gone(struct stream *s, u32 tgid, u64 time)
{
    struct owned *x;
    while ((x = owners_first(s->session_owners, tgid))) {
        struct tls_session *t = container_of(x, struct tls_session, of_process);
        struct session_key k = t->key;
        session_end(s, t, EXCHANGE_CLOSED, time, 0);
        table_del(s->sessions, &k);
    }
}

static bool tick_session(void *arg, const void *key, void *value)
{
    struct stream *s = arg;
    struct tls_session *t = value;
    if (!t->released && s->now > t->waiting_since + PATIENCE_NS)
        release_unbound(s, t);
    flow_tick(&t->flow, s->now);
    return true;
}

void tls_tick(struct stream *s, u64 now)
{
    UNUSED(now);
    table_each(s->sessions, tick_session, s);
}
