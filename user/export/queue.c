/* The pipeline's end. Every exporter has a lane: a bounded ring of span references, a thread, and one batch in hand.
 *
 *   waiting   the thread sleeps until a batch is full, its oldest span has waited delay_ms, or the end is announced
 *   sending   outside the lock; producers never wait for a receiver
 *   refused   for good: counted; asked to come back: exponential back-off with jitter, not before the receiver's own word,
 *             until retry_for_ms have passed since the first attempt
 *   closing   the same, until the deadline; what is left then is counted as unreachable
 *
 * A full ring drops the newest span: what is already waiting may be the cause of what comes. A receiver that is away is
 * reported once, and once when it is back. */
#include "export/exporter.h"
#include "base/log.h"
#include "self/ledger.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#define LANES_MAX      8
#define BATCH_MAX      512
#define BACKOFF_MIN_MS 500
#define BACKOFF_MAX_MS 30000
#define LIVE_TICK_MS   100
#define GRIPE_EVERY_NS (60 * NSEC_PER_SEC)

struct lane {
    const struct exporter *x;
    void *self;
    const struct export_queue_options *opt;
    char label[200];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct span **ring;
    u32 head, count; /* under lock */
    u64 oldest_ns;   /* boot time at which the ring stopped being empty */
    u64 stop_at;     /* 0: running. Else the deadline, boot clock; read without the lock by send() */
    u64 lost_queue, lost_refused, lost_unreachable;
    u64 down_since, next_gripe; /* thread only, boot clock */
    struct span *hand[BATCH_MAX];
};

struct export_queues {
    struct span_sink sink;
    struct export_queue_options opt;
    u32 n;
    struct lane *lanes[LANES_MAX];
};

static u64 lane_lost(const struct lane *l)
{
    return __atomic_load_n(&l->lost_queue, __ATOMIC_RELAXED) + l->lost_refused + l->lost_unreachable;
}

static u64 stop_at(const struct lane *l) { return __atomic_load_n(&l->stop_at, __ATOMIC_ACQUIRE); }

/* Sleeps on the lane's condition until `until` (boot clock); the lock is held. */
static void lane_sleep(struct lane *l, u64 until)
{
    u64 now = clock_boot_ns();
    struct timespec ts;
    if (until <= now)
        return;
    clock_gettime(CLOCK_MONOTONIC, &ts); /* waits are short: suspend time does not matter here */
    u64 at = (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec + (until - now);
    ts = (struct timespec){ .tv_sec = (time_t)(at / NSEC_PER_SEC), .tv_nsec = (long)(at % NSEC_PER_SEC) };
    pthread_cond_timedwait(&l->wake, &l->lock, &ts);
}

static size_t lane_take(struct lane *l)
{
    size_t n = min_u64(l->count, l->opt->max_batch);
    for (size_t i = 0; i < n; i++)
        l->hand[i] = l->ring[(l->head + i) % l->opt->max_queue];
    l->head = (u32)((l->head + n) % l->opt->max_queue);
    l->count -= (u32)n;
    l->oldest_ns = clock_boot_ns();
    return n;
}

/* The next batch, or 0 when it is time to tick or to end. */
static size_t lane_wait(struct lane *l)
{
    u64 delay = (l->x->live ? 0 : l->opt->delay_ms) * NSEC_PER_MSEC, nap = clock_boot_ns();
    nap += l->x->live ? LIVE_TICK_MS * NSEC_PER_MSEC : NSEC_PER_SEC;
    pthread_mutex_lock(&l->lock);
    while (!l->stop_at && l->count < l->opt->max_batch) {
        u64 now = clock_boot_ns(), until = l->count ? l->oldest_ns + delay : nap;
        if (now >= until)
            break;
        lane_sleep(l, until);
    }
    size_t n = lane_take(l);
    pthread_mutex_unlock(&l->lock);
    return n;
}

static void hand_release(struct lane *l, size_t n)
{
    for (size_t i = 0; i < n; i++)
        span_unref(l->hand[i]);
}

static u32 lane_waiting(struct lane *l)
{
    pthread_mutex_lock(&l->lock);
    u32 n = l->count;
    pthread_mutex_unlock(&l->lock);
    return n;
}

static void lane_is_down(struct lane *l, size_t in_hand, const struct export_reply *r)
{
    if (l->down_since)
        return;
    l->down_since = clock_boot_ns();
    log_warn("export", "cannot reach %s: %s (retrying, %zu spans waiting; %llu dropped so far)", l->label,
             r->why[0] ? r->why : "no reason given", in_hand + lane_waiting(l), (unsigned long long)lane_lost(l));
}

static void lane_is_back(struct lane *l)
{
    if (!l->down_since)
        return;
    log_warn("export", "reached %s again after %.1f s (%u spans waiting; %llu dropped so far)", l->label,
             (double)(clock_boot_ns() - l->down_since) / 1e9, lane_waiting(l), (unsigned long long)lane_lost(l));
    l->down_since = 0;
}

/* At most one line a minute about losses; the counters tell the rest. */
static void lane_gripe(struct lane *l, u64 n, const char *what, const char *why, const char *next)
{
    u64 now = clock_boot_ns();
    if (now < l->next_gripe)
        return;
    l->next_gripe = now + GRIPE_EVERY_NS;
    log_warn("export", "%s: %llu spans %s%s%s (%s; %llu dropped so far)", l->label, (unsigned long long)n, what, *why ? ": " : "",
             why, next, (unsigned long long)lane_lost(l));
}

static void lane_refused(struct lane *l, u64 n, const char *why)
{
    if (!n)
        return;
    l->lost_refused += n;
    ledger_add(spans_dropped_refused, n);
    lane_gripe(l, n, "refused for good", why, "they are lost, later ones are tried");
}

static void lane_unreachable(struct lane *l, u64 n, const char *why)
{
    if (!n)
        return;
    l->lost_unreachable += n;
    ledger_add(spans_dropped_unreachable, n);
    lane_gripe(l, n, "given up", why, stop_at(l) ? "wftrace is ending" : "later ones are tried");
}

/* When to try again, or 0: never. Half of the pause is jitter, so that many tracers do not come back together. */
static u64 retry_at(struct lane *l, u64 first, u32 attempt, u64 after_ms)
{
    u64 now = clock_boot_ns(), pause = min_u64(BACKOFF_MAX_MS, (u64)BACKOFF_MIN_MS << min_u64(attempt, 10));
    u64 give_up = first + l->opt->retry_for_ms * NSEC_PER_MSEC, stop = stop_at(l);
    pause = pause / 2 + hash_u64(now) % (pause / 2 + 1);
    if (stop) /* short of time: our own patience shrinks, the receiver's word counts */
        pause = min_u64(pause, max_u64((stop > now ? stop - now : 0) / NSEC_PER_MSEC / 4, 50));
    u64 at = now + max_u64(pause, after_ms) * NSEC_PER_MSEC;
    if (stop && at >= stop)
        return 0;
    return at < give_up ? at : 0;
}

/* Waits for the next attempt. The end of wftrace, when announced meanwhile, cuts a pause of our own short. */
static void retry_wait(struct lane *l, u64 until, u64 not_before)
{
    bool ending;
    pthread_mutex_lock(&l->lock);
    ending = l->stop_at != 0;
    while (clock_boot_ns() < until) {
        if (!ending && l->stop_at)
            until = min_u64(until, max_u64(not_before, clock_boot_ns()));
        lane_sleep(l, until);
    }
    pthread_mutex_unlock(&l->lock);
}

static void lane_deliver(struct lane *l, size_t n)
{
    struct batch b = { .spans = l->hand, .n = n, .stop_at = &l->stop_at };
    u64 first = clock_boot_ns();
    for (u32 attempt = 0;; attempt++) {
        struct export_reply r = { 0 };
        enum export_result result = l->x->send(l->self, &b, &r);
        if (result == EXPORT_OK) {
            u64 refused = min_u64(r.refused, n);
            ledger_add(spans_exported, n - refused);
            lane_is_back(l);
            lane_refused(l, refused, r.why);
            return;
        }
        if (result == EXPORT_DROP) {
            lane_is_back(l);
            lane_refused(l, n, r.why);
            return;
        }
        lane_is_down(l, n, &r);
        u64 at = retry_at(l, first, attempt, r.after_ms), not_before = clock_boot_ns() + r.after_ms * NSEC_PER_MSEC;
        if (!at) {
            lane_unreachable(l, n, r.why);
            return;
        }
        ledger_add(export_retries, 1);
        retry_wait(l, at, not_before);
    }
}

static bool lane_over(struct lane *l)
{
    u64 stop = stop_at(l);
    return stop && (clock_boot_ns() >= stop || !lane_waiting(l));
}

static void *lane_run(void *arg)
{
    struct lane *l = arg;
    while (!lane_over(l)) {
        size_t n = lane_wait(l);
        if (n)
            lane_deliver(l, n);
        hand_release(l, n);
        if (l->x->tick)
            l->x->tick(l->self, clock_wall_ns());
    }
    for (size_t n; (n = lane_take(l));) { /* only past the deadline */
        lane_unreachable(l, n, "the deadline has passed");
        hand_release(l, n);
    }
    l->x->close(l->self); /* here, where no signal (SIGPIPE) can reach */
    l->self = NULL;
    return NULL;
}

/* True: the lane keeps the span. */
static bool lane_push(struct lane *l, struct span *s)
{
    pthread_mutex_lock(&l->lock);
    bool full = l->count >= l->opt->max_queue || l->stop_at;
    bool tell = !full && (!l->count || l->count + 1 == l->opt->max_batch);
    if (!full) {
        if (!l->count)
            l->oldest_ns = clock_boot_ns();
        l->ring[(l->head + l->count++) % l->opt->max_queue] = s;
    }
    if (tell)
        pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    if (full) {
        __atomic_fetch_add(&l->lost_queue, 1, __ATOMIC_RELAXED);
        ledger_add(spans_dropped_queue, 1);
    }
    return !full;
}

static void on_started(struct span_sink *sink, struct span *s)
{
    struct export_queues *q = container_of(sink, struct export_queues, sink);
    for (u32 i = 0; i < q->n; i++)
        if (q->lanes[i]->x->started)
            q->lanes[i]->x->started(q->lanes[i]->self, s);
}

static void on_ended(struct span_sink *sink, struct span *s)
{
    struct export_queues *q = container_of(sink, struct export_queues, sink);
    for (u32 i = 0; i < q->n; i++) {
        span_ref(s);
        if (!lane_push(q->lanes[i], s))
            span_unref(s);
    }
    span_unref(s);
}

int export_queues_new(const struct export_queue_options *o, struct export_queues **ret)
{
    struct export_queues *q = calloc(1, sizeof(*q));
    if (!q)
        return -ENOMEM;
    q->opt = o ? *o : (struct export_queue_options){ 0 };
    q->opt.delay_ms = q->opt.delay_ms ? q->opt.delay_ms : 100;
    q->opt.max_queue = q->opt.max_queue ? q->opt.max_queue : 8192;
    q->opt.max_batch = (u32)min_u64(q->opt.max_batch ? q->opt.max_batch : BATCH_MAX, min_u64(BATCH_MAX, q->opt.max_queue));
    q->opt.retry_for_ms = q->opt.retry_for_ms ? q->opt.retry_for_ms : 300000;
    q->sink = (struct span_sink){ .started = on_started, .ended = on_ended };
    *ret = q;
    return 0;
}

struct span_sink *export_queues_sink(struct export_queues *q) { return &q->sink; }

static const struct exporter *exporter_find(const char *kind)
{
    for (size_t i = 0; exporters[i]; i++)
        if (!strcmp(exporters[i]->name, kind))
            return exporters[i];
    return NULL;
}

static void lane_free(struct lane *l)
{
    if (l->self)
        l->x->close(l->self);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l->ring);
    free(l);
}

/* Exporter threads take no signals: those belong to the main thread. */
static int lane_start(struct lane *l)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = -pthread_create(&l->thread, NULL, lane_run, l);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return e;
}

static struct lane *lane_new(struct export_queues *q, const struct exporter *x, const struct export_spec *spec)
{
    pthread_condattr_t attr;
    struct lane *l = calloc(1, sizeof(*l));
    if (!l || !(l->ring = calloc(q->opt.max_queue, sizeof(*l->ring)))) {
        free(l);
        return NULL;
    }
    l->x = x;
    l->opt = &q->opt;
    snprintf(l->label, sizeof(l->label), "%.180s", *spec->target ? spec->target : x->name);
    l->label[strcspn(l->label, "?#")] = 0; /* a query may hold a key */
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&l->wake, &attr);
    pthread_condattr_destroy(&attr);
    return l;
}

int export_queues_add(struct export_queues *q, const struct export_spec *spec, char *err, size_t err_size)
{
    return export_queues_add_exporter(q, exporter_find(spec->kind), spec, err, err_size);
}

int export_queues_add_exporter(struct export_queues *q, const struct exporter *x, const struct export_spec *spec, char *err,
                               size_t err_size)
{
    if (!x || q->n == LANES_MAX) {
        snprintf(err, err_size, x ? "more than %d exporters" : "no such exporter", LANES_MAX);
        return -EINVAL;
    }
    struct lane *l = lane_new(q, x, spec);
    if (!l) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    int e = x->open(spec, &l->self, err, err_size);
    if (!e && (e = lane_start(l)))
        snprintf(err, err_size, "cannot start a thread: %s", errno_name(e));
    if (e)
        lane_free(l);
    else
        q->lanes[q->n++] = l;
    return e;
}

u64 export_queues_close(struct export_queues *q, u64 deadline_ms)
{
    u64 lost = 0, stop = clock_boot_ns() + deadline_ms * NSEC_PER_MSEC + 1;
    if (!q)
        return 0;
    for (u32 i = 0; i < q->n; i++) {
        struct lane *l = q->lanes[i];
        pthread_mutex_lock(&l->lock);
        __atomic_store_n(&l->stop_at, stop, __ATOMIC_RELEASE);
        pthread_cond_signal(&l->wake);
        pthread_mutex_unlock(&l->lock);
    }
    for (u32 i = 0; i < q->n; i++) {
        pthread_join(q->lanes[i]->thread, NULL);
        lost += lane_lost(q->lanes[i]);
        lane_free(q->lanes[i]);
    }
    free(q);
    return lost;
}
