/* Which protocol does a connection speak, and who asks? The first bytes of each run of either direction are shown to every
 * protocol. Where the kernel knows who connected, a protocol that would turn the roles around is not believed. */
#include "stream/internal.h"

/* A record header of TLS 1.0-1.3 (RFC 8446 5.1): type 20-23, version 3.0-3.4, at most 2^14 + 2048 bytes. */
bool looks_tls(struct slice head)
{
    return head.n >= 5 && head.p[0] >= 0x14 && head.p[0] <= 0x17 && head.p[1] == 3 && head.p[2] <= 4 &&
           load_be16(head.p + 3) <= 18432 && load_be16(head.p + 3) > 0;
}

static bool may_be_tls(struct slice head)
{
    static const u8 low[] = { 0x14, 3, 0 }, high[] = { 0x17, 3, 4 };
    for (size_t i = 0; i < head.n && i < 3; i++)
        if (head.p[i] < low[i] || head.p[i] > high[i])
            return false;
    return head.n < 5 || looks_tls(head);
}

static bool role_fits(const struct flow *f, bool client)
{
    return f->conn->role == CONN_UNKNOWN || (f->conn->role == CONN_CLIENT) == client;
}

/* 1: found; 0: more bytes may tell; -1: nobody's */
static int sniff_all(struct flow *f, enum dir d, struct slice head)
{
    bool maybe = false;
    for (size_t i = 0; protocols[i]; i++) {
        enum sniff s = protocols[i]->sniff(head);
        if (s == SNIFF_FORM)
            s = f->conn->role == CONN_UNKNOWN ? SNIFF_NO : SNIFF_REQUEST;
        bool client = (s == SNIFF_REQUEST) == (d == DIR_SEND);
        maybe |= s == SNIFF_MAYBE;
        if ((s != SNIFF_REQUEST && s != SNIFF_RESPONSE) || !role_fits(f, client))
            continue;
        flow_speak(f, protocols[i], client);
        return 1;
    }
    return maybe ? 0 : -1;
}

static void run_forget(struct flow *f)
{
    for (int d = 0; d < 2; d++)
        if (f->half[d].hold)
            hold_drop(&f->stream->holds, &f->half[d].hold, f->half[d].hold->n);
}

void detect(struct flow *f, enum dir d, struct slice bytes, const struct stamp *stamp)
{
    struct half *h = &f->half[d];
    if (h->new_run) {
        run_forget(f);
        f->run_dead = false;
        if (f->runs++ >= SNIFF_RUNS) {
            flow_ignore(f);
            return;
        }
    }
    h->end += bytes.n;
    if (f->run_dead || !bytes.n)
        return;
    f->run_dead = !hold_add(&f->stream->holds, &h->hold, bytes, stamp);
    if (f->run_dead || !h->hold)
        return;
    struct slice head = slice_of(h->hold->bytes, h->hold->n);
    if (!f->plaintext && looks_tls(head)) {
        flow_turn_tls(f);
        return;
    }
    int found = sniff_all(f, d, head);
    if (found > 0 && f->mode == FLOW_KNOWN)
        half_run_held(f, d);
    else if (found < 0 ? f->plaintext || !may_be_tls(head) : h->hold->n >= SNIFF_BYTES) {
        f->run_dead = true;
        hold_drop(&f->stream->holds, &h->hold, h->hold->n);
    }
}
