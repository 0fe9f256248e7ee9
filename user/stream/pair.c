/* Requests and their answers: first in, first out, per connection. A request's exchange begins when its head is known and
 * ends with its last answer. Housekeeping (no_span) waits in the same line but is shown only if it fails. Where bytes
 * were lost so that an answer could belong to another request, exchanges end as LOST: no answer beats a wrong one. */
#include "stream/internal.h"

struct message *scratch_keep(struct stream *s)
{
    struct message *other = s->n_spares ? s->spares[--s->n_spares] : malloc(sizeof(*other));
    if (!other)
        return NULL;
    struct message *kept = s->scratch;
    message_clear(other);
    s->scratch = other;
    return kept;
}

void message_give(struct stream *s, struct message *m)
{
    if (m && s->n_spares < ARRAY_LEN(s->spares))
        s->spares[s->n_spares++] = m;
    else
        free(m);
}

static void asked_give(struct stream *s, struct asked *a)
{
    message_give(s, a->kept);
    message_give(s, a->early);
    a->next = s->free_asked;
    s->free_asked = a;
    s->n_free_asked++;
    if (s->n_free_asked > 256) {
        s->free_asked = a->next;
        s->n_free_asked--;
        free(a);
    }
}

static struct asked *asked_new(struct flow *f)
{
    struct stream *s = f->stream;
    struct asked *a = s->free_asked;
    if (a) {
        s->free_asked = a->next;
        s->n_free_asked--;
    } else if (!(a = malloc(sizeof(*a)))) {
        return NULL;
    }
    *a = (struct asked){ 0 };
    if (f->last)
        f->last->next = a;
    else
        f->first = a;
    f->last = a;
    f->n_open++;
    return a;
}

static struct asked *asked_shift(struct flow *f)
{
    struct asked *a = f->first;
    f->first = a->next;
    if (!f->first)
        f->last = NULL;
    f->n_open--;
    return a;
}

static void asked_unlink_last(struct flow *f)
{
    struct asked **link = &f->first, *before = NULL;
    while (*link != f->last) {
        before = *link;
        link = &before->next;
    }
    *link = NULL;
    f->last = before;
    f->n_open--;
}

static void begin_shown(struct flow *f, struct asked *a, const struct message *m)
{
    struct exchange_sink *sink = f->stream->sink;
    a->handle = sink->begin ? sink->begin(sink, &a->x, m) : NULL;
}

void pair_request(struct flow *f, struct half *h)
{
    struct stream *s = f->stream;
    struct message *m = s->scratch;
    bool doubtful = f->doubt;
    u64 waiting = f->half[f->client ? DIR_RECV : DIR_SEND].waiting_since;
    if (f->n_open >= s->o.max_open) {
        ledger_add(exchanges_dropped, f->n_open);
        pair_end_all(f, EXCHANGE_LOST, h->last.time, 0, false);
        f->doubt = doubtful = true;
    }
    ledger_add(messages, 1);
    struct asked *a = asked_new(f);
    if (!a)
        return;
    a->x = (struct exchange){ .protocol = f->protocol,
                              .conn = f->conn,
                              .number = f->number++,
                              .request_pos = h->begun_at,
                              .start = waiting ? min_u64(h->first.time, waiting) : h->first.time,
                              .tid = h->first.tid,
                              .unit = h->first.unit };
    a->left = m->answers;
    a->doubtful = doubtful;
    a->hidden = m->no_span;
    if (a->hidden) {
        a->kept = m->silent ? NULL : scratch_keep(s);
        return;
    }
    ledger_add(exchanges, 1);
    begin_shown(f, a, m);
}

/* Calls end() and gives `a`, already unlinked, back. */
static void asked_end(struct flow *f, struct asked *a, struct message *answer, struct exchange_answer *how)
{
    struct stream *s = f->stream;
    if (a->hidden && answer && answer->error_type && a->kept) {
        ledger_add(exchanges, 1);
        a->kept->no_span = false;
        begin_shown(f, a, a->kept);
        a->hidden = false;
    } else if (!a->hidden) {
        how->asked = a->kept;
    }
    if (!a->hidden) {
        if (how->how != EXCHANGE_ANSWERED)
            ledger_add(exchanges_unanswered, 1);
        const struct half *asks = &f->half[f->client ? DIR_SEND : DIR_RECV];
        if (!a->last)
            a->bytes = asks->end > a->x.request_pos ? asks->end - a->x.request_pos : 0;
        how->request_last = a->last ? a->last : max_u64(asks->last.time, a->x.start);
        how->request_bytes = a->bytes;
        how->response_bytes = a->answer_bytes;
        if (s->sink->end)
            s->sink->end(s->sink, a->handle, &a->x, answer, how);
    }
    asked_give(s, a);
}

void pair_request_done(struct flow *f, struct half *h, u64 end)
{
    struct asked *a = f->last;
    if (!a || a->last)
        return; /* answered before it was whole */
    struct stream *s = f->stream;
    a->last = h->last.time;
    a->bytes = end - h->begun_at;
    if (a->left == 0) {
        asked_unlink_last(f);
        asked_end(f, a, NULL,
                  &(struct exchange_answer){ .first = a->last, .last = a->last, .tid = h->last.tid, .unit = h->last.unit });
        return;
    }
    if (!a->kept && !a->hidden && s->scratch->attrs.n)
        a->kept = scratch_keep(s);
}

static void answer_count(struct asked *a, const struct half *h, u64 end)
{
    a->answer_bytes += end - h->begun_at;
    if (!a->answer_first)
        a->answer_first = h->first.time;
}

void pair_answer(struct flow *f, struct half *h, u64 end, struct message *m)
{
    struct stream *s = f->stream;
    struct asked *a = f->first;
    ledger_add(messages, 1);
    if (m->interim)
        return;
    if (!a || h->orphan) {
        ledger_add(answers_unasked, 1);
        return;
    }
    answer_count(a, h, end);
    if (a->left > 1) {
        a->left--;
        if (m->error_type && !a->early && m == s->scratch)
            a->early = scratch_keep(s);
        return;
    }
    asked_shift(f);
    f->unsure = f->unsure && f->first;
    struct message *answer = a->early ? a->early : m;
    struct exchange_answer how = { .how = a->doubtful ? EXCHANGE_LOST : EXCHANGE_ANSWERED,
                                   .first = a->answer_first,
                                   .last = h->last.time,
                                   .tid = h->last.tid,
                                   .unit = h->last.unit };
    asked_end(f, a, a->doubtful ? NULL : answer, &how);
}

void pair_answer_partly(struct flow *f, struct half *h)
{
    struct message *m = h->msg;
    h->msg = NULL;
    h->begun = h->told = h->ends = h->lossy = false;
    if (!m)
        return;
    pair_answer(f, h, h->end - (h->hold ? h->hold->n : 0), m);
    message_give(f->stream, m);
}

void pair_answer_cut(struct flow *f, struct half *h, u64 time, u32 err)
{
    struct message *m = h->msg;
    struct asked *a = f->first;
    h->msg = NULL;
    if (!m)
        return;
    if (a && !m->interim && !h->orphan && !a->doubtful && a->left <= 1) {
        answer_count(a, h, h->end);
        asked_shift(f);
        asked_end(f, a, m,
                  &(struct exchange_answer){ .how = EXCHANGE_CLOSED,
                                             .first = a->answer_first,
                                             .last = time,
                                             .err = err,
                                             .tid = h->last.tid,
                                             .unit = h->last.unit });
    }
    message_give(f->stream, m);
}

void pair_end_all(struct flow *f, enum exchange_end how, u64 time, u32 err, bool keep_first)
{
    struct asked *kept = keep_first && f->first ? asked_shift(f) : NULL;
    while (f->first) {
        struct asked *a = asked_shift(f);
        asked_end(
            f, a, NULL,
            &(struct exchange_answer){ .how = how, .first = time, .last = time, .err = err, .tid = a->x.tid, .unit = a->x.unit });
    }
    if (kept) {
        kept->next = NULL;
        f->first = f->last = kept;
        f->n_open = 1;
    }
}
