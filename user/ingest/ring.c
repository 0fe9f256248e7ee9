/* Draining the ring in batches. epoll on a ring is level-triggered and would wake us for every record, so the kernel side
 * submits without waking; we look again by time, and are woken early only when an eighth of the ring waits (the kernel
 * sees control.sleeping). The step grows from 1 to 10 ms while the ring stays empty, so an idle tracer costs nothing
 * and a busy one reads large batches.
 *
 * The ring is mapped by ourselves, for two reasons. libbpf maps its pages twice in full so that no record is cut by the end;
 * one record's length beyond the end is enough, and every mapped page counts as our memory. And it tells the kernel after each
 * record how far it has read, which takes the line from the processor that writes; we tell it in steps. */
#include "ingest/ring.h"
#include "bpf/abi.h"
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <unistd.h>

enum { STEP_MIN = 1, STEP_MAX = 10 };
enum { RECORD_MAX = 64 * 1024 }; /* longer than any record */

struct ring_reader {
    u64 *consumer;       /* a page of its own, ours to write */
    const u64 *producer; /* a page, and behind it the data */
    const u8 *data;
    size_t size, mapped, page;
    u64 told; /* how far the kernel thinks that we are */
    int epoll;
    u32 *sleeping;
    void (*take)(void *arg, const void *record, size_t len);
    void *arg;
    int step_ms;
};

static int ring_map(struct ring_reader *r, int fd)
{
    struct bpf_map_info info = { 0 };
    u32 len = sizeof(info);
    if (bpf_obj_get_info_by_fd(fd, &info, &len))
        return -errno;
    r->page = (size_t)sysconf(_SC_PAGESIZE);
    r->size = info.max_entries;
    r->mapped = r->page + r->size + min_u64(r->size, RECORD_MAX);
    void *consumer = mmap(NULL, r->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (consumer == MAP_FAILED)
        return -errno;
    r->consumer = consumer;
    void *rest = mmap(NULL, r->mapped, PROT_READ, MAP_SHARED, fd, (off_t)r->page);
    if (rest == MAP_FAILED)
        return -errno;
    r->producer = rest;
    r->data = (const u8 *)rest + r->page;
    return 0;
}

static int ring_epoll(struct ring_reader *r, int fd)
{
    struct epoll_event ev = { .events = EPOLLIN };
    r->epoll = epoll_create1(EPOLL_CLOEXEC);
    return r->epoll < 0 || epoll_ctl(r->epoll, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

int ring_open(int map_fd, u32 *sleeping, void (*take)(void *arg, const void *record, size_t len), void *arg,
              struct ring_reader **ret)
{
    struct ring_reader *r = calloc(1, sizeof(*r));
    if (!r)
        return -ENOMEM;
    *r = (struct ring_reader){ .sleeping = sleeping, .take = take, .arg = arg, .step_ms = STEP_MIN, .epoll = -1 };
    int err = ring_map(r, map_fd);
    if (!err)
        err = ring_epoll(r, map_fd);
    if (err) {
        ring_close(r);
        return err;
    }
    *ret = r;
    return 0;
}

struct ring_reader *ring_close(struct ring_reader *r)
{
    if (!r)
        return NULL;
    closep(&r->epoll);
    if (r->producer)
        munmap((void *)r->producer, r->mapped);
    if (r->consumer)
        munmap(r->consumer, r->page);
    free(r);
    return NULL;
}

static void ring_tell(struct ring_reader *r, u64 at)
{
    r->told = at;
    __atomic_store_n(r->consumer, at, __ATOMIC_RELEASE);
}

/* A header that claims more than was reserved is handed on as it is; decode refuses it. */
static void ring_record(struct ring_reader *r, const void *data, size_t size)
{
    const struct rec_hdr *h = data;
    size_t len = size >= sizeof(*h) && h->len <= size ? h->len : size;
    r->take(r->arg, data, len);
}

/* What waits, at most a ring full, so that time goes on under any load. In the ring a record has a header of its own: 4 bytes of
 * length with the bits BUSY (not submitted yet) and DISCARD, 4 of the kernel's; all rounded up to 8. */
static int ring_consume(struct ring_reader *r)
{
    u64 at = __atomic_load_n(r->consumer, __ATOMIC_ACQUIRE), end = at + r->size;
    int n = 0;
    while (at < __atomic_load_n(r->producer, __ATOMIC_ACQUIRE) && at < end) {
        const u8 *head = r->data + (at & (r->size - 1));
        u32 len = __atomic_load_n((const u32 *)(const void *)head, __ATOMIC_ACQUIRE);
        if (len & BPF_RINGBUF_BUSY_BIT)
            break;
        u32 size = len & ~BPF_RINGBUF_DISCARD_BIT;
        if (!(len & BPF_RINGBUF_DISCARD_BIT)) {
            ring_record(r, head + BPF_RINGBUF_HDR_SZ, size);
            n++;
        }
        at += (size + BPF_RINGBUF_HDR_SZ + 7) & ~7u;
        if (at - r->told >= r->size / 32)
            ring_tell(r, at);
    }
    ring_tell(r, at);
    return n;
}

static int ring_sleep(struct ring_reader *r, int ms)
{
    struct epoll_event ev;
    __atomic_store_n(r->sleeping, 1, __ATOMIC_RELEASE);
    int n = epoll_wait(r->epoll, &ev, 1, ms);
    __atomic_store_n(r->sleeping, 0, __ATOMIC_RELEASE);
    return n < 0 && errno != EINTR ? -errno : 0;
}

int ring_turn(struct ring_reader *r, int timeout_ms)
{
    int n = ring_consume(r);
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
    n = ring_consume(r);
    r->step_ms = n ? STEP_MIN : r->step_ms < STEP_MAX ? r->step_ms + 1 : STEP_MAX;
    return n;
}
