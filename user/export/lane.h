/* One exporter's way for one signal: a bounded ring of references, a thread, one batch in hand. Private to queue.c and
 * lane.c. */
#ifndef WF_EXPORT_LANE_H
#define WF_EXPORT_LANE_H

#include "export/exporter.h"

#include <pthread.h>

#define BATCH_MAX 512

struct lane {
    const struct exporter *x;
    void *self;
    enum signal signal;
    struct lane_options opt; /* every field set */
    char label[200];
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    void **ring;
    u32 head, count;            /* under lock */
    u64 oldest_ns;              /* boot time at which the ring stopped being empty */
    u64 stop_at;                /* 0: running. Else the deadline, boot clock; read without the lock by send() */
    u64 lost;                   /* atomic: items of any cause */
    u64 down_since, next_gripe; /* thread only, boot clock */
    void *hand[BATCH_MAX];
};

/* NULL on no memory. The exporter is opened by the caller (l->self). */
struct lane *lane_new(const struct exporter *x, const struct export_spec *spec, const struct lane_options *base);
int lane_start(struct lane *l); /* -errno */
/* Takes its own reference when there is room, else counts. */
void lane_push(struct lane *l, void *item);
u32 lane_waiting(struct lane *l);
void lane_stop(struct lane *l, u64 deadline_boot_ns); /* announces the end */
u64 lane_join(struct lane *l);                        /* waits for it and frees; items lost */
void lane_free(struct lane *l);                       /* one that was never started */

#endif
