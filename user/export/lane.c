/* A lane: a bounded ring of references, a thread, and one batch in hand.
 *
 *   waiting   the thread sleeps until a batch is full, its oldest item has waited delay_ms, or the end is announced
 *   sending   outside the lock; producers never wait for a receiver
 *   refused   for good: counted; asked to come back: exponential back-off with jitter, not before the receiver's own word,
 *             until retry_for_ms have passed since the first attempt
 *   closing   the same, until the deadline; what is left then is counted as unreachable
 *
 * A full ring drops the newest item: what is already waiting may be the cause of what comes. A receiver that is away is
 * reported once, and once when it is back. */
#include "export/lane.h"
#include "base/log.h"
#include "self/ledger.h"

#include <signal.h>
#include <time.h>

#define BACKOFF_MIN_MS 500
#define BACKOFF_MAX_MS 30000
#define LIVE_TICK_MS   100
#define GRIPE_EVERY_NS (60 * NSEC_PER_SEC)
#define REST_NS        (60 * NSEC_PER_SEC)

/* --- what differs by signal --- */

static void *span_keep(void *item) { return span_ref(item); }
static void *span_drop(void *item) { return span_unref(item); }
static void *log_keep(void *item) { return log_ref(item); }
static void *log_drop(void *item) { return log_unref(item); }
static void *metrics_keep(void *item) { return metric_batch_ref(item); }
static void *metrics_drop(void *item) { return metric_batch_unref(item); }
static u64 one(const void *item) { return 1; }
static u64 metrics_weight(const void *item) { return ((const struct metric_batch *)item)->n_points; }

static const struct kind {
    const char *noun;
    void *(*keep)(void *item);
    void *(*drop)(void *item);
    u64 (*weight)(const void *item); /* in the ledger's terms */
    u32 max_queue, max_batch;        /* defaults */
} kinds[SIGNAL_MAX] = {
    [SIGNAL_TRACES] = { "spans", span_keep, span_drop, one, 8192, BATCH_MAX },
    [SIGNAL_LOGS] = { "log records", log_keep, log_drop, one, 8192, BATCH_MAX },
    [SIGNAL_METRICS] = { "metric points", metrics_keep, metrics_drop, metrics_weight, 64, 1 },
};

static const struct kind *kind_of(const struct lane *l) { return &kinds[l->signal]; }

const char *lane_noun(const struct lane *l) { return kind_of(l)->noun; }

u64 lane_hand_weight(const struct lane *l, size_t n)
{
    u64 sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += kind_of(l)->weight(l->hand[i]);
    return sum;
}

_Static_assert(LEDGER_spans_dropped_spool_corrupt + 3 == LEDGER_spans_exported + 3 * (CAUSE_MAX + 1),
               "ledger.def keeps the order");

void lane_count_lost(struct lane *l, enum export_cause cause, u64 n)
{
    __atomic_fetch_add(&l->lost, n, __ATOMIC_RELAXED);
    ledger_add_at(LEDGER_spans_dropped_queue + 3 * cause + l->signal, n);
}

static u64 lane_lost(const struct lane *l) { return __atomic_load_n(&l->lost, __ATOMIC_RELAXED); }

static u64 stop_at(const struct lane *l) { return lane_stop_at(l); }

/* Sleeps on the condition until `until` (boot clock); the lock is held. */
static void lane_sleep(struct lane *l, pthread_cond_t *wake, u64 until)
{
    u64 now = clock_boot_ns();
    struct timespec ts;
    if (until <= now)
        return;
    clock_gettime(CLOCK_MONOTONIC, &ts); /* waits are short: suspend time does not matter here */
    u64 at = (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec + (until - now);
    ts = (struct timespec){ .tv_sec = (time_t)(at / NSEC_PER_SEC), .tv_nsec = (long)(at % NSEC_PER_SEC) };
    pthread_cond_timedwait(wake, &l->lock, &ts);
}

static size_t lane_take(struct lane *l)
{
    size_t n = min_u64(l->count, l->opt.max_batch);
    for (size_t i = 0; i < n; i++)
        l->hand[i] = l->ring[(l->head + i) % l->opt.max_queue];
    l->weight -= min_u64(lane_hand_weight(l, n), l->weight);
    l->head = (u32)((l->head + n) % l->opt.max_queue);
    l->count -= (u32)n;
    l->oldest_ns = clock_boot_ns();
    return n;
}

static size_t lane_take_locked(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    size_t n = lane_take(l);
    pthread_mutex_unlock(&l->lock);
    return n;
}

/* The next batch, or 0 when it is time to tick or to end. */
static size_t lane_wait(struct lane *l)
{
    u64 delay = (l->x->live ? 0 : l->opt.delay_ms) * NSEC_PER_MSEC, nap = clock_boot_ns();
    nap += l->x->live ? LIVE_TICK_MS * NSEC_PER_MSEC : NSEC_PER_SEC;
    pthread_mutex_lock(&l->lock);
    while (!l->stop_at && l->count < l->opt.max_batch) {
        u64 now = clock_boot_ns(), until = l->count ? l->oldest_ns + delay : nap;
        if (now >= until)
            break;
        lane_sleep(l, &l->wake, until);
    }
    size_t n = lane_take(l);
    pthread_mutex_unlock(&l->lock);
    return n;
}

u32 lane_waiting(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    u32 n = l->count;
    pthread_mutex_unlock(&l->lock);
    return n;
}

void lane_is_down(struct lane *l, size_t in_hand, const struct export_reply *r)
{
    if (l->down_since)
        return;
    l->down_since = clock_boot_ns();
    log_warn("export", "cannot reach %s: %s (retrying, %zu %s waiting; %llu dropped so far)", l->label,
             r->why[0] ? r->why : "no reason given", in_hand + lane_waiting(l), lane_noun(l), (unsigned long long)lane_lost(l));
}

static void lane_is_back(struct lane *l)
{
    if (!l->down_since)
        return;
    log_warn("export", "reached %s again after %.1f s (%u %s waiting; %llu dropped so far)", l->label,
             (double)(clock_boot_ns() - l->down_since) / 1e9, lane_waiting(l), kind_of(l)->noun,
             (unsigned long long)lane_lost(l));
    l->down_since = 0;
}

/* At most one line a minute about losses; the counters tell the rest. */
void lane_gripe(struct lane *l, u64 n, const char *what, const char *why, const char *next)
{
    u64 now = clock_boot_ns(), due = __atomic_load_n(&l->next_gripe, __ATOMIC_RELAXED);
    if (now < due ||
        !__atomic_compare_exchange_n(&l->next_gripe, &due, now + GRIPE_EVERY_NS, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        return;
    log_warn("export", "%s: %llu %s %s%s%s (%s; %llu dropped so far)", l->label, (unsigned long long)n, kind_of(l)->noun, what,
             *why ? ": " : "", why, next, (unsigned long long)lane_lost(l));
}

static void lane_refused(struct lane *l, u64 n, enum export_cause cause, const char *why)
{
    if (!n)
        return;
    lane_count_lost(l, cause == CAUSE_QUEUE ? CAUSE_REFUSED : cause, n);
    lane_gripe(l, n, "refused for good", why, "they are lost, later ones are tried");
}

void lane_unreachable(struct lane *l, u64 n, const char *why)
{
    if (!n)
        return;
    lane_count_lost(l, CAUSE_UNREACHABLE, n);
    lane_gripe(l, n, "given up", why, stop_at(l) ? "wftrace is ending" : "later ones are tried");
}

/* When to try again, or 0: never. Half of the pause is jitter, so that many tracers do not come back together. */
u64 lane_retry_at(struct lane *l, u64 give_up, u32 attempt, u64 after_ms)
{
    u64 now = clock_boot_ns(), pause = min_u64(BACKOFF_MAX_MS, (u64)BACKOFF_MIN_MS << min_u64(attempt, 10));
    u64 stop = stop_at(l);
    pause = pause / 2 + hash_u64(now) % (pause / 2 + 1);
    if (stop) /* short of time: our own patience shrinks, the receiver's word counts */
        pause = min_u64(pause, max_u64((stop > now ? stop - now : 0) / NSEC_PER_MSEC / 4, 50));
    u64 at = now + max_u64(pause, after_ms) * NSEC_PER_MSEC;
    if (stop && at >= stop)
        return 0;
    return at < give_up ? at : 0;
}

/* Waits for the next attempt. The end of wftrace, when announced meanwhile, cuts a pause of our own short; one that the receiver
 * asked for is kept to, or there is no other attempt. */
bool lane_retry_wait(struct lane *l, pthread_cond_t *wake, u64 until, u64 not_before)
{
    bool again = true;
    pthread_mutex_lock(&l->lock);
    bool ending = l->stop_at != 0;
    while (clock_boot_ns() < until && again) {
        if (!ending && l->stop_at) {
            again = not_before < l->stop_at;
            until = min_u64(until, max_u64(not_before, clock_boot_ns()));
        }
        if (again)
            lane_sleep(l, wake, until);
    }
    pthread_mutex_unlock(&l->lock);
    return again;
}

struct batch lane_hand_batch(struct lane *l, size_t n)
{
    struct batch b = { .n = n, .stop_at = &l->stop_at, .signal = l->signal };
    if (l->signal == SIGNAL_TRACES)
        b.spans = (struct span **)l->hand;
    else if (l->signal == SIGNAL_LOGS)
        b.logs = (struct log_record **)l->hand;
    else
        b.metrics = (struct metric_batch **)l->hand;
    return b;
}

enum export_result exporter_send(const struct exporter *x, void *self, const struct batch *b, struct export_reply *ret)
{
    struct slice body;
    if (x->send)
        return x->send(self, b, ret);
    int e = x->encode(self, b, &body);
    if (!e)
        return x->deliver(self, body, b->stop_at, ret);
    snprintf(ret->why, sizeof(ret->why), "cannot encode the batch: %s", errno_name(e));
    return EXPORT_RETRY;
}

static enum export_result call_counted(struct lane *l, u64 from, enum export_result r)
{
    __atomic_fetch_add(&l->calls, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&l->failures, r != EXPORT_OK, __ATOMIC_RELAXED);
    __atomic_fetch_add(&l->busy_ns, clock_boot_ns() - from, __ATOMIC_RELAXED);
    return r;
}

enum export_result lane_call(struct lane *l, struct slice body, struct export_reply *ret)
{
    u64 from = clock_boot_ns();
    return call_counted(l, from, l->x->deliver(l->self, body, &l->stop_at, ret));
}

void lane_report(struct lane *l, struct export_report *ret)
{
    struct spool_state st = { 0 };
    if (l->spool)
        spool_state(l->spool, &st);
    *ret = (struct export_report){ .label = l->label, .signal = l->signal };
    ret->v[REPORT_WAITING] = lane_waiting(l);
    ret->v[REPORT_CAPACITY] = l->opt.max_queue;
    ret->v[REPORT_LOST] = lane_lost(l);
    ret->v[REPORT_SPOOL_BYTES] = st.bytes;
    ret->v[REPORT_SPOOL_ITEMS] = st.items;
    ret->v[REPORT_CALLS] = __atomic_load_n(&l->calls, __ATOMIC_RELAXED);
    ret->v[REPORT_FAILURES] = __atomic_load_n(&l->failures, __ATOMIC_RELAXED);
    ret->v[REPORT_BUSY_NS] = __atomic_load_n(&l->busy_ns, __ATOMIC_RELAXED);
}

/* One attempt. A body that was made is kept for the next. */
static enum export_result attempt(struct lane *l, const struct batch *b, struct slice *body, struct export_reply *ret)
{
    int e = 0;
    u64 from = clock_boot_ns();
    if (l->x->send)
        return call_counted(l, from, l->x->send(l->self, b, ret));
    if (!body->n && (e = l->x->encode(l->self, b, body))) {
        *body = slice_of(NULL, 0);
        snprintf(ret->why, sizeof(ret->why), "cannot encode the batch: %s", errno_name(e));
        return EXPORT_RETRY;
    }
    return lane_call(l, *body, ret);
}

/* A receiver of traces alone gets the other signals when one address stands for all three. That is told once and costs a
 * request a minute; it is no loss that the closing line speaks of. The ledger has it. */
static bool lane_no_place(struct lane *l, enum export_result result, u64 weight, const struct export_reply *r)
{
    if (!l->implied || result != EXPORT_DROP || r->cause != CAUSE_NOWHERE)
        return false;
    if (!l->rests_until)
        log_warn("export", "%s takes no %s: %s (left out; asked again every minute)", l->label, lane_noun(l), r->why);
    __atomic_store_n(&l->rests_until, clock_boot_ns() + REST_NS, __ATOMIC_RELAXED);
    ledger_add_at(LEDGER_spans_dropped_queue + 3 * CAUSE_NOWHERE + l->signal, weight);
    lane_is_back(l);
    return true;
}

bool lane_rests(struct lane *l, u64 weight)
{
    if (clock_boot_ns() >= __atomic_load_n(&l->rests_until, __ATOMIC_RELAXED))
        return false;
    ledger_add_at(LEDGER_spans_dropped_queue + 3 * CAUSE_NOWHERE + l->signal, weight);
    return true;
}

/* What an answer other than «come again» means for `weight` items. */
void lane_settle(struct lane *l, enum export_result result, u64 weight, const struct export_reply *r)
{
    if (lane_no_place(l, result, weight, r))
        return;
    if (l->rests_until) {
        log_warn("export", "%s takes %s now", l->label, lane_noun(l));
        __atomic_store_n(&l->rests_until, 0, __ATOMIC_RELAXED);
    }
    u64 refused = result == EXPORT_OK ? min_u64(r->refused, weight) : weight;
    ledger_add_at(LEDGER_spans_exported + l->signal, weight - refused);
    lane_is_back(l);
    lane_refused(l, refused, result == EXPORT_OK ? CAUSE_PARTIAL : r->cause, r->why);
}

static void lane_deliver(struct lane *l, size_t n)
{
    struct batch b = lane_hand_batch(l, n);
    struct slice body = { 0 };
    u64 give_up = clock_boot_ns() + l->opt.retry_for_ms * NSEC_PER_MSEC, weight = lane_hand_weight(l, n);
    if (lane_rests(l, weight))
        return;
    for (u32 tries = 0;; tries++) {
        struct export_reply r = { 0 };
        enum export_result result = attempt(l, &b, &body, &r);
        if (result != EXPORT_RETRY) {
            lane_settle(l, result, weight, &r);
            return;
        }
        lane_is_down(l, n, &r);
        u64 at = lane_retry_at(l, give_up, tries, r.after_ms), not_before = clock_boot_ns() + r.after_ms * NSEC_PER_MSEC;
        if (!at || !lane_retry_wait(l, &l->wake, at, not_before)) {
            lane_unreachable(l, weight, r.why);
            return;
        }
        ledger_add(export_retries, 1);
    }
}

static bool lane_over(struct lane *l)
{
    u64 stop = stop_at(l);
    return stop && (clock_boot_ns() >= stop || !lane_waiting(l));
}

size_t lane_next(struct lane *l, bool wait) { return wait ? lane_wait(l) : lane_take_locked(l); }

void lane_release(struct lane *l, size_t n)
{
    for (size_t i = 0; i < n; i++)
        kind_of(l)->drop(l->hand[i]);
}

static void *lane_run(void *arg)
{
    struct lane *l = arg;
    if (l->spool) {
        lane_run_spool(l);
    } else {
        while (!lane_over(l)) {
            size_t n = lane_wait(l);
            if (n)
                lane_deliver(l, n);
            lane_release(l, n);
            if (l->x->tick)
                l->x->tick(l->self, clock_wall_ns());
        }
        for (size_t n; (n = lane_next(l, false)); lane_release(l, n)) /* only past the deadline */
            lane_unreachable(l, lane_hand_weight(l, n), "the deadline has passed");
    }
    l->x->close(l->self); /* here, where no signal (SIGPIPE) can reach */
    l->self = NULL;
    return NULL;
}

void lane_push(struct lane *l, void *item)
{
    u64 weight = kind_of(l)->weight(item);
    pthread_mutex_lock(&l->lock);
    bool heavy = l->max_weight && l->count && l->weight + weight > l->max_weight; /* one alone always goes */
    bool full = l->count >= l->opt.max_queue || heavy || l->stop_at;
    bool tell = !full && (!l->count || l->count + 1 == l->opt.max_batch);
    if (!full) {
        if (!l->count)
            l->oldest_ns = clock_boot_ns();
        l->ring[(l->head + l->count++) % l->opt.max_queue] = kind_of(l)->keep(item);
        l->weight += weight;
    }
    if (tell)
        pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    if (full)
        lane_count_lost(l, CAUSE_QUEUE, weight);
}

/* --- making and ending --- */

static u32 first_of(u32 a, u32 b, u32 c) { return a ? a : b ? b : c; }

static u32 at_most(u32 n, u32 most) { return most && most < n ? most : n; }

static struct lane_options options_settle(const struct lane_options *own, const struct lane_options *base,
                                          const struct lane_options *most, const struct kind *k)
{
    struct lane_options o = {
        .max_queue = first_of(own->max_queue, base->max_queue, k->max_queue),
        .max_batch = first_of(own->max_batch, base->max_batch, k->max_batch),
        .delay_ms = first_of(own->delay_ms, base->delay_ms, 100),
        .retry_for_ms = own->retry_for_ms    ? own->retry_for_ms
                        : base->retry_for_ms ? base->retry_for_ms
                                             : 300000,
    };
    o.max_queue = at_most(o.max_queue, most->max_queue);
    o.max_batch = (u32)min_u64(at_most(o.max_batch, most->max_batch), min_u64(BATCH_MAX, o.max_queue));
    return o;
}

struct lane *lane_new(const struct exporter *x, const struct export_spec *spec, const struct export_queue_options *base)
{
    pthread_condattr_t attr;
    struct lane *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->x = x;
    l->signal = spec->signal;
    l->implied = spec->implied;
    l->opt = options_settle(&spec->lane, &base->lane[spec->signal], &base->most[spec->signal], kind_of(l));
    l->max_weight = spec->signal == SIGNAL_METRICS ? base->most_points : 0;
    l->ring = calloc(l->opt.max_queue, sizeof(*l->ring));
    if (!l->ring || lane_spec_copy(&l->spec, spec)) {
        free(l->ring);
        free(l);
        return NULL;
    }
    snprintf(l->label, sizeof(l->label), "%s%.180s", *spec->unix_socket ? "unix:" : "",
             *spec->unix_socket ? spec->unix_socket
             : *spec->target    ? spec->target
                                : x->name);
    l->label[strcspn(l->label, "?#")] = 0; /* a query may hold a key */
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &attr);
    pthread_cond_init(&l->more, &attr);
    pthread_mutex_init(&l->turn, NULL);
    pthread_condattr_destroy(&attr);
    return l;
}

/* Exporter threads take no signals: those belong to the main thread. */
int lane_start(struct lane *l)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = -pthread_create(&l->thread, NULL, lane_run, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e;
}

void lane_free(struct lane *l)
{
    if (l->self)
        l->x->close(l->self);
    if (l->spool)
        spool_close(l->spool);
    pthread_cond_destroy(&l->wake);
    pthread_cond_destroy(&l->more);
    pthread_mutex_destroy(&l->turn);
    pthread_mutex_destroy(&l->lock);
    lane_spec_done(&l->spec);
    free(l->ring);
    free(l);
}

void lane_stop(struct lane *l, u64 deadline)
{
    pthread_mutex_lock(&l->lock);
    __atomic_store_n(&l->stop_at, deadline, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&l->wake);
    pthread_cond_broadcast(&l->more);
    pthread_mutex_unlock(&l->lock);
}

bool lane_try_join(struct lane *l, u64 *ret_lost)
{
    if (pthread_tryjoin_np(l->thread, NULL))
        return false;
    *ret_lost = lane_lost(l);
    lane_free(l);
    return true;
}

u64 lane_join(struct lane *l)
{
    pthread_join(l->thread, NULL);
    if (l->spool)
        l->spool = spool_close(l->spool); /* it may have a last loss to tell */
    u64 lost = lane_lost(l);
    lane_free(l);
    return lost;
}
