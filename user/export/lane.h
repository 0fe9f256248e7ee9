/* One exporter's way for one signal: a bounded ring of references, a thread, one batch in hand. Private to queue.c, lane.c and
 * lane_spool.c. */
#ifndef WF_EXPORT_LANE_H
#define WF_EXPORT_LANE_H

#include "export/spool.h"

#include <pthread.h>

#define BATCH_MAX 512

struct lane {
    const struct exporter *x;
    void *self;
    enum signal signal;
    struct export_spec spec; /* its own: what `self` borrows from */
    struct lane_options opt; /* every field set */
    char label[200];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    void **ring;
    u32 head, count;              /* under lock */
    u64 weight, max_weight;       /* under lock: of what waits, in the ledger's terms; max 0: no ceiling but opt.max_queue */
    u64 oldest_ns;                /* boot time at which the ring stopped being empty */
    u64 stop_at;                  /* 0: running. Else the deadline, boot clock; read without the lock by send() */
    u64 lost;                     /* atomic: items of any cause */
    u64 down_since;               /* who delivers only, boot clock */
    bool implied;                 /* as export_spec.implied */
    u64 rests_until;              /* atomic, boot clock: an implied signal that the receiver has no place for; 0: it has */
    u64 next_gripe;               /* atomic */
    struct spool *spool;          /* NULL: none */
    pthread_mutex_t turn;         /* with a spool: who holds it may deliver */
    pthread_cond_t more;          /* with a spool: something was appended */
    u64 appended;                 /* with a spool, under lock: times that the packer called */
    bool packed;                  /* with a spool, under lock: nothing more will be appended */
    u64 calls, failures, busy_ns; /* atomic: of the exporter, those that want another try, time in them */
    void *hand[BATCH_MAX];
};

int lane_spec_copy(struct export_spec *to, const struct export_spec *from); /* -ENOMEM */
void lane_spec_done(struct export_spec *s);
/* NULL on no memory. The exporter is opened by the caller (l->self), with l->spec. */
struct lane *lane_new(const struct exporter *x, const struct export_spec *spec, const struct export_queue_options *base);
int lane_start(struct lane *l); /* -errno */
/* Takes its own reference when there is room, else counts. */
void lane_push(struct lane *l, void *item);
u32 lane_waiting(struct lane *l);
void lane_stop(struct lane *l, u64 deadline_boot_ns); /* announces the end */
u64 lane_join(struct lane *l);                        /* waits for it and frees; items lost */
bool lane_try_join(struct lane *l, u64 *ret_lost);    /* false: it still works. After lane_stop() */
void lane_free(struct lane *l);                       /* one that was never started */

void lane_report(struct lane *l, struct export_report *ret);

/* --- for lane_spool.c --- */
/* deliver() of a body, its time and outcome counted. */
enum export_result lane_call(struct lane *l, struct slice body, struct export_reply *ret);
/* True: the receiver has no place for this signal and is not asked again yet; `weight` items are counted as such. */
bool lane_rests(struct lane *l, u64 weight);
static inline u64 lane_stop_at(const struct lane *l) { return __atomic_load_n(&l->stop_at, __ATOMIC_ACQUIRE); }
int lane_spool_open(struct lane *l, const struct export_spec *spec, const struct spool_options *o, char *err, size_t err_size);
void lane_run_spool(struct lane *l);         /* the lane's thread; returns at the end */
size_t lane_next(struct lane *l, bool wait); /* the next batch into l->hand; 0: time to look around */
void lane_release(struct lane *l, size_t n); /* lets go of it */
struct batch lane_hand_batch(struct lane *l, size_t n);
u64 lane_hand_weight(const struct lane *l, size_t n); /* items in the ledger's terms */
const char *lane_noun(const struct lane *l);
void lane_count_lost(struct lane *l, enum export_cause cause, u64 n);
void lane_unreachable(struct lane *l, u64 n, const char *why);
void lane_gripe(struct lane *l, u64 n, const char *what, const char *why, const char *next);
void lane_is_down(struct lane *l, size_t in_hand, const struct export_reply *r);
/* What an answer other than «come again» means for `weight` items. */
void lane_settle(struct lane *l, enum export_result result, u64 weight, const struct export_reply *r);
/* When, on the boot clock, if before `give_up`; 0: never. */
u64 lane_retry_at(struct lane *l, u64 give_up, u32 attempt, u64 after_ms);
/* False: not to be tried again, wftrace ends before the receiver wants to be asked. */
bool lane_retry_wait(struct lane *l, pthread_cond_t *wake, u64 until, u64 not_before);

#endif
