/* One direction's bytes → messages. A half is fed in order; what the parser can't use yet is held, with its stamps.
 * Bytes that a parser skips need not have been captured. Where bytes are missing that it needs, it is told to make do
 * with what it has (cut), and then to find its feet in what follows (resync). */
#include "stream/internal.h"

#define IDLE_MAX 8192 /* results in a row that use no byte: a parser that runs wild */

/* The bytes at hand: held ones with their marks, or an event's with its one stamp. */
struct source {
    struct slice in;
    size_t off;
    u64 base; /* stream offset of in.p[0] */
    const struct hold *hold;
    const struct stamp *stamp;
};

enum side flow_side(const struct flow *f, enum dir d) { return (d == DIR_SEND) == f->client ? SIDE_REQUEST : SIDE_RESPONSE; }

static struct stamp source_stamp(const struct source *src, size_t at)
{
    return src->hold ? hold_stamp(src->hold, at) : *src->stamp;
}

static void mark_begun(const struct flow *f, struct half *h, const struct source *src, size_t used)
{
    if (h->begun)
        return;
    h->begun = true;
    h->told = h->ends = h->lossy = false;
    h->orphan = !f->first;
    h->begun_at = src->base + src->off;
    h->first = used ? source_stamp(src, src->off) : h->last;
}

static void mark_over(struct half *h) { h->begun = h->told = h->ends = h->lossy = false; }

/* The one before never ended: a new head says that it did. */
static void end_unended(struct flow *f, enum side side, struct half *h)
{
    if (h->told && side == SIDE_RESPONSE)
        pair_answer_partly(f, h);
    if (h->told)
        mark_over(h);
}

static void tell_head(struct flow *f, enum side side, struct half *h)
{
    h->told = true;
    h->bad = 0;
    if (side == SIDE_REQUEST)
        pair_request(f, h);
    else
        h->msg = scratch_keep(f->stream);
}

static void tell_done(struct flow *f, enum side side, struct half *h, u64 end)
{
    struct message *m = f->stream->scratch, *begun = h->msg;
    bool told = h->told;
    if (side == SIDE_REQUEST) {
        if (told)
            pair_request_done(f, h, end);
        mark_over(h);
        return;
    }
    h->msg = NULL;
    if (begun) {
        message_add(begun, m);
    }
    if (told)
        pair_answer(f, h, end, begun ? begun : m);
    message_give(f->stream, begun);
    mark_over(h);
}

/* A message in one, all of it here: no copy of it is kept. */
static void tell_message(struct flow *f, enum side side, struct half *h, u64 end)
{
    h->bad = 0;
    if (side == SIDE_REQUEST) {
        pair_request(f, h);
        message_clear(f->stream->scratch);
        pair_request_done(f, h, end);
    } else {
        pair_answer(f, h, end, f->stream->scratch);
    }
    mark_over(h);
}

/* Skipped bytes, or how many of them are missing, for a parser that wants to see them. */
static void show(struct flow *f, enum dir d, struct slice bytes, u64 missing, u64 time)
{
    if (f->half[d].show && (bytes.n || missing) && f->protocol && f->protocol->body)
        f->protocol->body(f->state, flow_side(f, d), bytes, missing, time);
}

/* Takes the bytes that a result used and skips. */
static void source_take(struct flow *f, enum dir d, struct source *src, const struct parse_result *r)
{
    struct half *h = &f->half[d];
    size_t n = r->used < src->in.n - src->off ? r->used : src->in.n - src->off;
    src->off += n;
    size_t skipped = (size_t)min_u64(r->skip, src->in.n - src->off);
    h->show = r->show;
    if (r->show) {
        flow_want_all(f);
        show(f, d, slice_head(slice_from(src->in, src->off), skipped), 0, skipped ? source_stamp(src, src->off).time : 0);
    }
    src->off += skipped;
    h->skip = r->skip - skipped;
    if (n + skipped)
        h->last = source_stamp(src, src->off - 1);
}

static void bad(struct flow *f, enum side side, struct half *h, struct source *src)
{
    ledger_add(messages_bad, 1);
    mark_over(h);
    message_give(f->stream, h->msg);
    h->msg = NULL;
    pair_end_all(f, EXCHANGE_LOST, f->stream->now, 0, false);
    f->doubt = true;
    src->off += src->off < src->in.n;
    h->sync = true;
    h->lost = 0;
    if (++h->bad >= BAD_MAX)
        flow_ignore(f);
}

static void switch_over(struct flow *f, struct half *h, const char *to)
{
    mark_over(h);
    pair_end_all(f, EXCHANGE_LOST, f->stream->now, 0, false);
    if (to && !strcmp(to, "tls")) {
        flow_turn_tls(f);
        return;
    }
    const struct protocol *next = to ? protocol_by_name(to) : NULL;
    if (next)
        flow_speak(f, next, f->client);
    else
        flow_ignore(f);
}

/* One answer of the parser. false: it waits for more bytes. */
static bool apply(struct flow *f, enum dir d, struct source *src, const struct parse_result *r)
{
    struct half *h = &f->half[d];
    enum side side = flow_side(f, d);
    switch (r->status) {
    case PARSE_MORE:
        if (r->used)
            mark_begun(f, h, src, r->used);
        source_take(f, d, src, r);
        return false;
    case PARSE_NEXT:
        mark_begun(f, h, src, r->used);
        source_take(f, d, src, r);
        return true;
    case PARSE_SKIP:
        if (!h->told)
            mark_over(h);
        source_take(f, d, src, r);
        return true;
    case PARSE_HEAD:
    case PARSE_MESSAGE:
        end_unended(f, side, h);
        mark_begun(f, h, src, r->used);
        source_take(f, d, src, r);
        if (r->status == PARSE_MESSAGE && !h->skip) {
            tell_message(f, side, h, src->base + src->off);
            return true;
        }
        tell_head(f, side, h);
        message_clear(f->stream->scratch);
        h->ends = r->status == PARSE_MESSAGE;
        return true;
    case PARSE_DONE:
        source_take(f, d, src, r);
        if (!(h->ends = h->skip > 0))
            tell_done(f, side, h, src->base + src->off);
        return true;
    case PARSE_BAD:
        bad(f, side, h, src);
        return true;
    case PARSE_SWITCH:
        source_take(f, d, src, r);
        switch_over(f, h, r->switch_to);
        return true;
    }
    return false;
}

/* true: the parser stands on firm ground at src->off */
static bool find_feet(struct flow *f, enum dir d, struct source *src)
{
    struct half *h = &f->half[d];
    struct slice rest = slice_from(src->in, src->off);
    if (!h->sync)
        return true;
    if (!rest.n)
        return false;
    bool run = h->sync_run && src->off == 0;
    ptrdiff_t at = f->protocol->resync(f->state, flow_side(f, d), rest, h->lost, run);
    if (at < 0) {
        if (rest.n > SNIFF_BYTES) {
            src->off += rest.n - 256;
            h->sync_run = false;
        }
        return false;
    }
    src->off += (size_t)at < rest.n ? (size_t)at : rest.n;
    h->sync = h->sync_run = false;
    h->lost = 0;
    ledger_add(resyncs, 1);
    return true;
}

/* An answer with nobody who asked: its request's record may be on its way. */
static bool must_wait(struct flow *f, enum dir d, const struct source *src)
{
    struct half *h = &f->half[d];
    if (flow_side(f, d) == SIDE_REQUEST || f->first || h->begun || h->waived || !src->in.n)
        return false;
    if (!h->waiting_since)
        h->waiting_since = source_stamp(src, 0).time;
    return true;
}

static void run_parser(struct flow *f, enum dir d, struct source *src)
{
    struct half *h = &f->half[d];
    unsigned idle = 0;
    while (f->mode == FLOW_KNOWN && !h->skip && find_feet(f, d, src)) {
        size_t before = src->off;
        message_clear(f->stream->scratch);
        f->stream->scratch->time = src->off < src->in.n ? source_stamp(src, src->off).time : h->last.time;
        struct parse_result r = f->protocol->parse(f->state, flow_side(f, d), slice_from(src->in, src->off), f->stream->scratch);
        bool nothing = !r.used && !r.skip && (r.status == PARSE_NEXT || r.status == PARSE_SKIP);
        if (nothing || !apply(f, d, src, &r))
            break;
        idle = src->off == before ? idle + 1 : 0;
        if (idle > IDLE_MAX)
            flow_ignore(f);
    }
}

static void half_run(struct flow *f, enum dir d, struct slice direct, const struct stamp *stamp)
{
    struct half *h = &f->half[d];
    struct source src = { .hold = h->hold, .stamp = stamp };
    src.in = h->hold ? slice_of(h->hold->bytes, h->hold->n) : direct;
    src.base = h->end - src.in.n;
    if (!must_wait(f, d, &src))
        run_parser(f, d, &src);
    if (f->mode != FLOW_KNOWN)
        src.off = src.in.n;
    struct slice rest = slice_from(src.in, src.off);
    if (h->hold)
        hold_drop(&f->stream->holds, &h->hold, src.off);
    else if (rest.n && !hold_add(&f->stream->holds, &h->hold, rest, stamp)) {
        h->sync = true;
        h->lost += rest.n;
        ledger_add(gap_bytes, rest.n);
    }
}

/* The skipped bytes of the running message are all past. */
static void skip_over(struct flow *f, enum dir d, const struct stamp *stamp)
{
    struct half *h = &f->half[d];
    if (h->ends) {
        message_clear(f->stream->scratch);
        tell_done(f, flow_side(f, d), h, h->end);
    }
    half_run(f, d, (struct slice){ (const u8 *)"", 0 }, stamp);
}

/* Counts n bytes as seen that the parser skips. bytes.n 0: they are missing. */
static u64 skip_take(struct flow *f, enum dir d, struct slice bytes, u64 n, const struct stamp *stamp)
{
    struct half *h = &f->half[d];
    u64 k = min_u64(h->skip, n);
    show(f, d, slice_head(bytes, k), bytes.n ? 0 : k, stamp->time);
    h->skip -= k;
    h->end += k;
    if (k)
        h->last = *stamp;
    return k;
}

static struct slice skip_bytes(struct flow *f, enum dir d, struct slice bytes, const struct stamp *stamp)
{
    struct half *h = &f->half[d];
    for (u64 k; bytes.n && f->mode == FLOW_KNOWN && (k = skip_take(f, d, bytes, bytes.n, stamp));) {
        bytes = slice_from(bytes, k);
        if (!h->skip)
            skip_over(f, d, stamp);
    }
    return bytes;
}

/* What is held has no room for more: it is told as it is, and the rest of it is lost. */
static bool hold_more(struct flow *f, enum dir d, struct slice bytes, const struct stamp *stamp)
{
    struct half *h = &f->half[d];
    if (!h->hold || hold_add(&f->stream->holds, &h->hold, bytes, stamp))
        return true;
    if (h->waiting_since)
        half_flush(f, d);
    half_cut(f, d);
    half_gap(f, d, 0, stamp);
    return false;
}

void half_take(struct flow *f, enum dir d, struct slice bytes, const struct stamp *stamp)
{
    struct half *h = &f->half[d];
    bytes = skip_bytes(f, d, bytes, stamp);
    if (!hold_more(f, d, bytes, stamp))
        bytes = skip_bytes(f, d, bytes, stamp);
    if (!bytes.n || f->mode != FLOW_KNOWN) {
        h->end += bytes.n;
        return;
    }
    h->end += bytes.n;
    half_run(f, d, bytes, stamp);
}

/* The protocol's cut() may tell a message from the held bytes; then they are used up. */
void half_cut(struct flow *f, enum dir d)
{
    struct half *h = &f->half[d];
    if (f->mode != FLOW_KNOWN || !h->hold || !f->protocol->cut || h->sync || h->waiting_since)
        return;
    struct source src = { .in = slice_of(h->hold->bytes, h->hold->n), .base = h->end - h->hold->n, .hold = h->hold };
    message_clear(f->stream->scratch);
    f->stream->scratch->time = source_stamp(&src, 0).time;
    struct parse_result r = f->protocol->cut(f->state, flow_side(f, d), src.in, f->stream->scratch);
    if (r.status == PARSE_MORE || r.status == PARSE_BAD)
        return;
    r.used = src.in.n;
    apply(f, d, &src, &r);
    hold_drop(&f->stream->holds, &h->hold, src.off);
}

/* Bytes that the parser needed are gone: whose answer is whose, from here on? */
static void gap_doubts(struct flow *f, enum dir d)
{
    struct half *h = &f->half[d];
    h->lossy = h->begun;
    f->unsure = true;
    f->doubt = true;
    if (flow_side(f, d) == SIDE_RESPONSE)
        pair_end_all(f, EXCHANGE_LOST, f->stream->now, 0, h->begun);
}

static u64 gap_skip(struct flow *f, enum dir d, u64 n, const struct stamp *stamp)
{
    struct half *h = &f->half[d];
    u64 all = 0;
    for (u64 k; all < n && (k = skip_take(f, d, (struct slice){ 0 }, n - all, stamp));) {
        all += k;
        if (!h->skip)
            skip_over(f, d, stamp);
    }
    return all;
}

void half_gap(struct flow *f, enum dir d, u64 n, const struct stamp *stamp)
{
    struct half *h = &f->half[d];
    n -= gap_skip(f, d, n, stamp);
    u64 held = h->hold ? h->hold->n : 0;
    if (!n && !held)
        return;
    if (n) {
        half_cut(f, d);
        n -= gap_skip(f, d, n, stamp);
        if (!n)
            return;
        held = h->hold ? h->hold->n : 0;
    }
    hold_drop(&f->stream->holds, &h->hold, held);
    h->waiting_since = 0;
    h->end += n;
    h->lost += n + held;
    h->sync = true;
    ledger_add(gap_bytes, n + held);
    gap_doubts(f, d);
}

void half_run_held(struct flow *f, enum dir d)
{
    if (f->half[d].hold)
        half_run(f, d, (struct slice){ 0 }, &f->half[d].last);
}

void half_flush(struct flow *f, enum dir d)
{
    struct half *h = &f->half[d];
    h->waived = true;
    h->waiting_since = 0;
    half_run_held(f, d);
}

void half_clear(struct flow *f, enum dir d)
{
    struct half *h = &f->half[d];
    if (h->hold)
        hold_drop(&f->stream->holds, &h->hold, h->hold->n);
    while (h->stash) {
        struct piece *p = h->stash;
        h->stash = p->next;
        f->stream->holds.held -= sizeof(*p) + p->n;
        free(p);
    }
    message_give(f->stream, h->msg);
    *h = (struct half){ .end = h->end, .seen = h->seen, .last = h->last };
}
