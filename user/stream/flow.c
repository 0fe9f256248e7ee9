/* The order of a flow: pieces by offset, what is missing, what comes twice, runs and patience. */
#include "stream/internal.h"

void flow_init(struct flow *f, struct stream *s, struct conn_info *conn, u64 verdict_id)
{
    *f = (struct flow){
        .stream = s, .conn = conn, .verdict_id = verdict_id, .last_dir = -1, .joined = conn->was_open, .unsure = conn->was_open
    };
}

static void verdict(struct flow *f, bool ignore, u32 budget)
{
    struct verdict_sink *v = f->stream->verdicts;
    if (v && f->verdict_id)
        v->set(v, f->verdict_id, ignore, budget);
}

/* Only marks: bytes at hand may be borrowed from what would be freed (flow_settle does that). */
void flow_ignore(struct flow *f)
{
    if (f->mode == FLOW_IGNORED)
        return;
    pair_end_all(f, EXCHANGE_LOST, f->stream->now, 0, false);
    f->mode = FLOW_IGNORED;
    ledger_add(conns_ignored, 1);
    verdict(f, true, 0);
}

/* A parser has asked to see bodies: from now on the kernel leaves nothing out. */
void flow_want_all(struct flow *f)
{
    struct verdict_sink *v = f->stream->verdicts;
    if (f->whole)
        return;
    f->whole = true;
    verdict(f, false, 0);
    if (v && v->set_tls && f->plaintext && f->ssl)
        v->set_tls(v, f->conn->tgid, f->ssl);
}

/* From here on, ciphertext: only its lengths and first bytes are of use, to find the session it belongs to. */
void flow_turn_tls(struct flow *f)
{
    f->mode = FLOW_TLS;
    f->conn->tls = true;
    verdict(f, false, 64);
}

static void state_free(struct flow *f)
{
    if (f->state && f->protocol && f->protocol->done)
        f->protocol->done(f->state);
    free(f->state);
    f->state = NULL;
    f->protocol = NULL;
}

static void flow_settle(struct flow *f)
{
    if (f->mode != FLOW_IGNORED && f->mode != FLOW_TLS)
        return;
    if (!f->state && !f->half[0].hold && !f->half[1].hold && !f->half[0].stash && !f->half[1].stash)
        return;
    half_clear(f, DIR_SEND);
    half_clear(f, DIR_RECV);
    state_free(f);
}

void flow_speak(struct flow *f, const struct protocol *p, bool client)
{
    void *state = calloc(1, p->state_size);
    state_free(f);
    if (!state) {
        flow_ignore(f);
        return;
    }
    f->protocol = p;
    f->state = state;
    f->client = client;
    f->mode = FLOW_KNOWN;
    f->whole = false;
    if (f->conn->role == CONN_UNKNOWN)
        f->conn->role = client ? CONN_CLIENT : CONN_SERVER;
    p->init(state,
            &(struct session){ .server = !client, .tls = f->plaintext, .joined = f->joined, .privacy = f->stream->o.privacy });
    verdict(f, false, p->want);
}

static void run_begins(struct flow *f, enum dir d, u64 time)
{
    struct half *h = &f->half[d], *other = &f->half[!d];
    h->new_run = true;
    if (h->sync && !h->hole && h->hold) /* what is held didn't lead anywhere */
        hold_drop(&f->stream->holds, &h->hold, h->hold->n);
    h->sync_run = true;
    if (f->mode != FLOW_KNOWN)
        return;
    if (flow_side(f, d) == SIDE_RESPONSE) {
        h->waived = f->first != NULL;
        return;
    }
    if (other->waiting_since && time > other->waiting_since + (f->unsure ? 0 : RACE_NS))
        half_flush(f, !d);
    if (other->told && other->lossy)
        pair_answer_partly(f, other);
    if (f->doubt && !other->told) {
        pair_end_all(f, EXCHANGE_LOST, time, 0, false);
        if (f->protocol->settle)
            f->protocol->settle(f->state);
        f->doubt = false;
    }
}

static void flow_bytes(struct flow *f, enum dir d, struct slice bytes, const struct stamp *stamp)
{
    struct half *h = &f->half[d], *other = &f->half[!d];
    if (f->mode == FLOW_KNOWN)
        half_take(f, d, bytes, stamp);
    else if (f->mode == FLOW_SNIFF)
        detect(f, d, bytes, stamp);
    else
        h->end += bytes.n;
    h->new_run = false;
    if (f->mode == FLOW_KNOWN && other->waiting_since && f->first && flow_side(f, d) == SIDE_REQUEST)
        half_flush(f, !d);
}

static void flow_gap(struct flow *f, enum dir d, u64 n, const struct stamp *stamp)
{
    struct half *h = &f->half[d];
    if (f->mode == FLOW_KNOWN) {
        half_gap(f, d, n, stamp);
        return;
    }
    if (h->hold)
        hold_drop(&f->stream->holds, &h->hold, h->hold->n);
    h->end += n;
}

static void hole_close(struct flow *f, enum dir d, u64 upto, const struct stamp *stamp)
{
    struct half *h = &f->half[d];
    u64 to = min_u64(upto, h->hole);
    if (h->hole && to > h->end)
        flow_gap(f, d, to - h->end, stamp);
    if (to >= h->hole)
        h->hole = 0;
}

/* ---- pieces that came too early ---- */

static bool stash_piece(struct flow *f, enum dir d, const struct chunk *c)
{
    struct half *h = &f->half[d];
    struct hold_pool *pool = &f->stream->holds;
    if (h->n_stash >= STASH_MAX || pool->held + c->bytes.n > pool->max)
        return false;
    struct piece *p = malloc(sizeof(*p) + c->bytes.n), **link = &h->stash;
    if (!p)
        return false;
    *p = (struct piece){
        .pos = c->pos, .since = c->stamp.time, .len = c->len, .n = (u32)c->bytes.n, .tail = c->tail, .stamp = c->stamp
    };
    if (c->bytes.n)
        memcpy(p->bytes, c->bytes.p, c->bytes.n);
    while (*link && (*link)->pos <= p->pos)
        link = &(*link)->next;
    p->next = *link;
    *link = p;
    h->n_stash++;
    pool->held += sizeof(*p) + p->n;
    return true;
}

static void chunk_take(struct flow *f, enum dir d, const struct chunk *c);

static void stash_run(struct flow *f, enum dir d, bool all)
{
    struct half *h = &f->half[d];
    while (h->stash && (all || h->stash->pos <= h->end)) {
        struct piece *p = h->stash;
        h->stash = p->next;
        h->n_stash--;
        f->stream->holds.held -= sizeof(*p) + p->n;
        chunk_take(
            f, d,
            &(struct chunk){ .pos = p->pos, .len = p->len, .tail = p->tail, .bytes = { p->bytes, p->n }, .stamp = p->stamp });
        free(p);
    }
}

/* ---- one piece ---- */

static void call_remainder(struct flow *f, enum dir d, u64 call_end, const struct stamp *stamp)
{
    struct half *h = &f->half[d];
    if (call_end <= h->end)
        return;
    if (f->mode == FLOW_KNOWN && call_end - h->end > h->skip)
        half_cut(f, d);
    if (f->mode != FLOW_KNOWN || (call_end - h->end <= h->skip && !h->show))
        flow_gap(f, d, call_end - h->end, stamp);
    else
        h->hole = call_end; /* its tail may follow */
}

/* In order, or beyond all patience: what lies between is missing. */
static void chunk_take(struct flow *f, enum dir d, const struct chunk *c)
{
    struct half *h = &f->half[d];
    u64 captured_end = c->pos + c->bytes.n, call_end = c->tail ? captured_end : c->pos + max_u64(c->len, c->bytes.n);
    if (c->pos > h->end) {
        flow_gap(f, d, c->pos - h->end, &c->stamp);
        h->sync_run = false; /* the run's first bytes are among the lost */
    }
    if (captured_end > h->end)
        flow_bytes(f, d, slice_from(c->bytes, h->end - c->pos), &c->stamp);
    call_remainder(f, d, call_end, &c->stamp);
}

static bool too_early(const struct flow *f, const struct half *h, const struct chunk *c)
{
    return f->mode == FLOW_KNOWN && c->pos > h->end && c->pos - h->end > h->skip && !h->hole &&
           (!f->stream->lost_at || c->stamp.time > f->stream->lost_at + PATIENCE_NS); /* what is lost is not waited for */
}

void flow_data(struct flow *f, enum dir d, const struct chunk *c)
{
    struct half *h = &f->half[d];
    struct chunk piece = *c;
    bool first = !h->seen;
    if (first) {
        h->seen = true;
        h->end = f->joined || f->mode != FLOW_KNOWN ? c->pos : 0;
    }
    if (c->pos > h->end ? c->pos - h->end > h->skip : first && c->pos > 0)
        f->unsure = true;
    hole_close(f, !d, UINT64_MAX, &f->half[!d].last);
    if (f->half[!d].stash && c->stamp.time > f->half[!d].stash->since + PATIENCE_NS)
        stash_run(f, !d, true);
    hole_close(f, d, c->tail ? c->pos : UINT64_MAX, &c->stamp);
    if (f->last_dir != (int8_t)d) {
        f->last_dir = (int8_t)d;
        run_begins(f, d, c->stamp.time);
    }
    if (!too_early(f, h, &piece) || !stash_piece(f, d, &piece)) {
        if (h->stash && c->pos > h->end)
            stash_run(f, d, true);
        chunk_take(f, d, &piece);
    }
    stash_run(f, d, h->stash && c->stamp.time > h->stash->since + PATIENCE_NS);
    flow_settle(f);
}

static void half_tick(struct flow *f, enum dir d, u64 now)
{
    struct half *h = &f->half[d];
    if (h->hole)
        hole_close(f, d, UINT64_MAX, &h->last);
    if (h->stash && now > h->stash->since + PATIENCE_NS)
        stash_run(f, d, true);
    if (h->waiting_since && now > h->waiting_since + PATIENCE_NS)
        half_flush(f, d);
}

void flow_tick(struct flow *f, u64 now)
{
    half_tick(f, DIR_SEND, now);
    half_tick(f, DIR_RECV, now);
    flow_settle(f);
}

/* `err`: the connection broke, so nothing ends by it. */
static void half_eof(struct flow *f, enum dir d, u32 err)
{
    struct half *h = &f->half[d];
    if (h->hole)
        hole_close(f, d, UINT64_MAX, &h->last);
    stash_run(f, d, true);
    if (f->mode != FLOW_KNOWN)
        return;
    half_flush(f, d);
    if (f->mode != FLOW_KNOWN || !f->protocol->eof || !h->begun || flow_side(f, d) != SIDE_RESPONSE)
        return;
    message_clear(f->stream->scratch);
    enum parse_status end = f->protocol->eof(f->state, SIDE_RESPONSE, f->stream->scratch);
    if (h->msg)
        message_add(h->msg, f->stream->scratch);
    if (end == PARSE_DONE && h->told && !err)
        pair_answer_partly(f, h);
    else if (end == PARSE_MESSAGE && !h->told)
        pair_answer(f, h, h->end, f->stream->scratch);
}

void flow_end(struct flow *f, enum exchange_end how, u64 time, u32 err)
{
    if (how == EXCHANGE_CLOSED && f->mode == FLOW_KNOWN) {
        enum dir asks = f->client ? DIR_SEND : DIR_RECV;
        half_eof(f, asks, err);
        half_eof(f, !asks, err);
        struct half *answers = &f->half[!asks];
        if (f->doubt || answers->sync || answers->lossy)
            how = EXCHANGE_LOST; /* the rest of the answer may be among the bytes that were not captured */
        else
            pair_answer_cut(f, answers, time, err);
    }
    pair_end_all(f, how, time, err, false);
    half_clear(f, DIR_SEND);
    half_clear(f, DIR_RECV);
    state_free(f);
    f->mode = FLOW_IGNORED;
}
