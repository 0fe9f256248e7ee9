/* A lane with a disk spool. Two threads:
 *
 *   packer   ring → batch → encode → append to the spool. Never waits for the receiver, so the ring stays short.
 *   sender   the oldest record of the spool → receiver → done. Tries for as long as the spool keeps the record.
 *
 * Every batch goes through the spool, also while the receiver is well: what kill -9 can take is what waits for company in the
 * ring (delay_ms), and the order on the wire is that of the spool, over restarts too. Of a segment that was sent at once little
 * ever reaches the disk itself. Where the spool can't be written (full disk), the packer delivers by itself once the spool has
 * run empty; until then the ring fills and drops are counted there. At the end the packer empties the ring into the spool,
 * whatever the deadline; the sender goes on until the spool is empty or the deadline has come, and what is left is the next
 * process's. */
#include "export/lane.h"
#include "base/log.h"
#include "self/ledger.h"

#include <signal.h>
#include <unistd.h>

#define ENCODE_TRIES 20
#define PAUSE_US     100000

static void on_lost(void *arg, enum export_cause cause, u64 items)
{
    struct lane *l = arg;
    lane_count_lost(l, cause, items);
    lane_gripe(l, items,
               cause == CAUSE_SPOOL_FULL  ? "dropped: the spool is full"
               : cause == CAUSE_SPOOL_AGE ? "dropped: too old"
                                          : "lost: the spool is damaged",
               "", "later ones are sent");
}

int lane_spool_open(struct lane *l, const struct export_spec *spec, const struct spool_options *o, char *err, size_t err_size)
{
    char name[64], id[sizeof(spec->target) + sizeof(spec->unix_socket) + 2];
    snprintf(id, sizeof(id), "%s %s", spec->target, spec->unix_socket);
    snprintf(name, sizeof(name), "%s%s-%s-%08x", l->x->name, spec->json ? "-json" : "", signal_name[l->signal],
             (u32)hash_bytes(id, strlen(id), 0));
    int e = spool_open(o, name, on_lost, l, &l->spool, err, err_size);
    if (e)
        return e;
    struct spool_state st;
    spool_state(l->spool, &st);
    if (!st.records)
        return 0;
    ledger_add_at(LEDGER_spans_recovered + l->signal, st.items);
    log_info("export", "%s: %llu %s of an earlier run are in the spool", l->label, (unsigned long long)st.items, lane_noun(l));
    return 0;
}

static bool past_deadline(const struct lane *l)
{
    u64 stop = lane_stop_at(l);
    return stop && clock_boot_ns() >= stop;
}

/* --- the packer --- */

static bool batch_encode(struct lane *l, size_t n, struct slice *ret)
{
    struct batch b = lane_hand_batch(l, n);
    for (int i = 0; i < ENCODE_TRIES; i++) {
        if (!l->x->encode(l->self, &b, ret))
            return true;
        usleep(PAUSE_US); /* no memory: it may come back */
    }
    lane_unreachable(l, lane_hand_weight(l, n), "no memory to encode them");
    return false;
}

static void tell_sender(struct lane *l, bool last)
{
    pthread_mutex_lock(&l->lock);
    l->appended++;
    l->packed |= last;
    pthread_cond_signal(&l->more);
    pthread_mutex_unlock(&l->lock);
}

/* The spool can't take it. True: it went to the receiver itself, or was refused for good. */
static bool deliver_directly(struct lane *l, struct slice body, u64 weight)
{
    struct spool_state st;
    struct export_reply r = { 0 };
    enum export_result result = EXPORT_RETRY;
    pthread_mutex_lock(&l->turn);
    spool_state(l->spool, &st);
    if (!st.records) {
        result = lane_call(l, body, &r);
        if (result == EXPORT_RETRY)
            lane_is_down(l, weight, &r);
        else
            lane_settle(l, result, weight, &r);
    }
    pthread_mutex_unlock(&l->turn);
    return result != EXPORT_RETRY;
}

static void body_keep(struct lane *l, struct slice body, u64 weight)
{
    for (;;) {
        int e = spool_append(l->spool, body, weight);
        if (!e) {
            ledger_add_at(LEDGER_spans_spooled + l->signal, weight);
            tell_sender(l, false);
            return;
        }
        if (e == -EFBIG) {
            on_lost(l, CAUSE_SPOOL_FULL, weight);
            return;
        }
        lane_gripe(l, weight, "can't be kept in the spool", errno_name(e), "they stay in memory until it can or they are sent");
        if (deliver_directly(l, body, weight))
            return;
        if (past_deadline(l)) {
            lane_unreachable(l, weight, "the spool can't be written and the deadline has passed");
            return;
        }
        usleep(PAUSE_US);
    }
}

static void pack(struct lane *l, size_t n)
{
    struct slice body;
    u64 weight = lane_hand_weight(l, n);
    if (weight && !lane_rests(l, weight) && batch_encode(l, n, &body))
        body_keep(l, body, weight);
}

/* --- the sender --- */

/* Waits for something beyond what was there at `seen`. False: there will be nothing any more. */
static bool wait_for_more(struct lane *l, u64 seen)
{
    struct timespec ts;
    pthread_mutex_lock(&l->lock);
    clock_gettime(CLOCK_MONOTONIC, &ts);
    ts.tv_sec++;
    bool over = l->packed && l->appended == seen;
    if (!over && l->appended == seen)
        pthread_cond_timedwait(&l->more, &l->lock, &ts);
    pthread_mutex_unlock(&l->lock);
    return !over;
}

static u64 appended(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    u64 n = l->appended;
    pthread_mutex_unlock(&l->lock);
    return n;
}

/* False: the time is up. */
static bool send_record(struct lane *l, const struct spool_record *rec, u32 *tries)
{
    struct export_reply r = { 0 };
    if (lane_rests(l, rec->items)) {
        spool_done(l->spool, rec);
        return true;
    }
    pthread_mutex_lock(&l->turn);
    enum export_result result = lane_call(l, rec->body, &r);
    if (result == EXPORT_RETRY)
        lane_is_down(l, rec->items, &r);
    else
        lane_settle(l, result, rec->items, &r);
    pthread_mutex_unlock(&l->turn);
    if (result != EXPORT_RETRY) {
        spool_done(l->spool, rec);
        *tries = 0;
        return true;
    }
    u64 now = clock_boot_ns(), at = lane_retry_at(l, UINT64_MAX, (*tries)++, r.after_ms);
    if (!at || !lane_retry_wait(l, &l->more, at, now + r.after_ms * NSEC_PER_MSEC))
        return false;
    ledger_add(export_retries, 1);
    return true;
}

static void *sender_run(void *arg)
{
    struct lane *l = arg;
    struct spool_record rec;
    u32 tries = 0;
    while (!past_deadline(l)) {
        u64 seen = appended(l);
        int n = spool_next(l->spool, &rec);
        if (n < 0)
            usleep(PAUSE_US);
        else if (n ? !send_record(l, &rec, &tries) : !wait_for_more(l, seen))
            break;
    }
    return NULL;
}

static void tell_rest(struct lane *l)
{
    struct spool_state st;
    spool_state(l->spool, &st);
    if (st.items)
        log_warn("export", "%s: %llu %s stay in the spool for the next start", l->label, (unsigned long long)st.items,
                 lane_noun(l));
}

void lane_run_spool(struct lane *l)
{
    pthread_t sender;
    bool sending = !pthread_create(&sender, NULL, sender_run, l); /* without one, all waits for a later start */
    if (!sending)
        log_error("export", "%s: no thread to send with (all goes into the spool)", l->label);
    while (!lane_stop_at(l) || lane_waiting(l)) {
        size_t n = lane_next(l, !lane_stop_at(l));
        if (n)
            pack(l, n);
        lane_release(l, n);
    }
    tell_sender(l, true);
    if (sending)
        pthread_join(sender, NULL);
    tell_rest(l);
}
