/* Draining the ring in batches. epoll on a ring is level-triggered and would wake us for every record, so the kernel side
 * submits without waking; we look again by time, and are woken early only when an eighth of the ring waits (the kernel
 * sees control.sleeping). The step grows from 1 to 10 ms while the ring stays empty, so an idle tracer costs nothing
 * and a busy one reads large batches. */
#include "ingest/ring.h"
#include "bpf/abi.h"
#include <bpf/libbpf.h>
#include <sys/epoll.h>

enum { STEP_MIN = 1, STEP_MAX = 10 };

struct ring_reader {
    struct ring_buffer *rb;
    u32 *sleeping;
    void (*take)(void *arg, const void *record, size_t len);
    void *arg;
    int step_ms;
};

/* libbpf's callback: one record. A header that claims more than was reserved is handed on as it is; decode refuses it. */
static int ring_record(void *ctx, void *data, size_t size)
{
    struct ring_reader *r = ctx;
    const struct rec_hdr *h = data;
    size_t len = size >= sizeof(*h) && h->len <= size ? h->len : size;
    r->take(r->arg, data, len);
    return 0;
}

int ring_open(int map_fd, u32 *sleeping, void (*take)(void *arg, const void *record, size_t len), void *arg,
              struct ring_reader **ret)
{
    struct ring_reader *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    *r = (struct ring_reader){ .sleeping = sleeping, .take = take, .arg = arg, .step_ms = STEP_MIN };
    r->rb = ring_buffer__new(map_fd, ring_record, r, NULL);
    if (!r->rb) {
        int err = errno;
        free(r);
        return -err;
    }
    *ret = r;
    return 0;
}

struct ring_reader *ring_close(struct ring_reader *r)
{
    if (r) {
        ring_buffer__free(r->rb);
        free(r);
    }
    return NULL;
}

static int ring_sleep(struct ring_reader *r, int ms)
{
    struct epoll_event ev;
    __atomic_store_n(r->sleeping, 1, __ATOMIC_RELEASE);
    int n = epoll_wait(ring_buffer__epoll_fd(r->rb), &ev, 1, ms);
    __atomic_store_n(r->sleeping, 0, __ATOMIC_RELEASE);
    return n < 0 && errno != EINTR ? -errno : 0;
}

int ring_turn(struct ring_reader *r, int timeout_ms)
{
    int n = ring_buffer__consume(r->rb);
    if (n) {
        r->step_ms = STEP_MIN;
        return n;
    }
    if (timeout_ms <= 0)
        return 0;
    int step = r->step_ms < timeout_ms ? r->step_ms : timeout_ms;
    int err = ring_sleep(r, step);
    if (err)
        return err;
    n = ring_buffer__consume(r->rb);
    r->step_ms = n ? STEP_MIN : r->step_ms < STEP_MAX ? r->step_ms + 1 : STEP_MAX;
    return n;
}
