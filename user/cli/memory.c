#include "cli/memory.h"
#include "base/log.h"
#include "self/ledger.h"

#include <fcntl.h>
#include <malloc.h>
#include <unistd.h>

#define WORD_EVERY_NS (60 * NSEC_PER_SEC)
#define TRIM_EVERY_NS NSEC_PER_SEC
#define SPANS_LEAST   (64 * SPAN_LEAST)
/* Bytes of one, at most or nearly so, with its place in a table. */
#define COST_SERIES  1024
#define COST_OPEN    160  /* an activity beside its span */
#define COST_WAITING 2048 /* a span in a queue: usually half of it; so that there is room for what begins */
#define COST_POINT   400
#define COST_ENCODED (24 << 10) /* a span in its three forms: structs, message, compressed */
#define COST_CONN    640
#define COST_UNIT    160
#define COST_PROCESS 256

/* Thousandths of what is beyond the base. The ring has up to a sixteenth. */
enum share {
    SHARE_SPANS = 440, /* a sixteenth of it for those that grow beyond the ceiling */
    SHARE_OPEN = 60,
    SHARE_RESOURCES = 80,
    SHARE_LOGS = 60,
    SHARE_SERIES = 40,
    SHARE_POINTS = 40,
    SHARE_BUFFERED = 40,
    SHARE_ENCODED = 80,
    SHARE_CONNS = 50,
    SHARE_UNITS = 30,
    SHARE_PROCESSES = 15,
    SHARE_TAIL = 80, /* of the spans */
};
_Static_assert(SHARE_SPANS + SHARE_OPEN + SHARE_RESOURCES + SHARE_LOGS + SHARE_SERIES + SHARE_POINTS + SHARE_BUFFERED +
                       SHARE_ENCODED + SHARE_CONNS + SHARE_UNITS + SHARE_PROCESSES <=
                   1000 - 1000 / 16,
               "more is given away than there is");

static u64 part(u64 bytes, u64 thousandths, u64 cost, u64 least, u64 most)
{
    return min_u64(max_u64(bytes / 1000 * thousandths / cost, least), most);
}

struct memory_plan memory_plan_of(u64 limit, size_t n_exporters)
{
    struct memory_plan p = { .limit = max_u64(limit, MEMORY_LEAST), .ring_bytes = 8u << 20 };
    u64 rest = p.limit - MEMORY_BASE, lanes = max_u64(n_exporters, 1);
    while (p.ring_bytes > 1u << 20 && p.ring_bytes > rest / 16)
        p.ring_bytes /= 2;
    p.span_bytes = part(rest, SHARE_SPANS, 1, 1 << 20, UINT64_MAX) / 17 * 16;
    p.open = (u32)part(rest, SHARE_OPEN, COST_OPEN, 512, 1u << 20);
    p.resources = (u32)part(rest, SHARE_RESOURCES, sizeof(struct resource), 128, 65536);
    p.log_bytes = part(rest, SHARE_LOGS, 1, 1 << 20, 64u << 20);
    p.tail_bytes = part(rest, SHARE_TAIL, 1, 1 << 20, 64u << 20);
    p.series = (u32)part(rest, SHARE_SERIES, COST_SERIES, 256, 20000);
    p.points = part(rest, SHARE_POINTS, COST_POINT, 1024, UINT32_MAX);
    p.buffered_bytes = part(rest, SHARE_BUFFERED, 1, 512 << 10, 16u << 20);
    p.batch = (u32)part(rest, SHARE_ENCODED, COST_ENCODED * lanes, 16, 512);
    p.queue = (u32)min_u64(p.span_bytes / COST_WAITING, 8192);
    p.conns = (u32)part(rest, SHARE_CONNS, COST_CONN, 1024, 65536);
    p.units = (u32)part(rest, SHARE_UNITS, COST_UNIT, 2048, 65536);
    p.processes = (u32)part(rest, SHARE_PROCESSES, COST_PROCESS, 512, 16384);
    return p;
}

static u64 number_in(const char *path)
{
    cleanup(freep) char *text = NULL;
    size_t n;
    u64 v = 0;
    if (!read_small_file(path, 64, &text, &n))
        (void)slice_u64(slice_trim(slice_of(text, n)), &v);
    return v;
}

/* The least memory.max from our own group upwards; 0: none. (cgroup v2; v1 has no such path and no answer here.) */
static u64 group_limit(void)
{
    cleanup(freep) char *text = NULL;
    char path[4200];
    u64 least = 0;
    size_t n;
    if (read_small_file("/proc/self/cgroup", 1 << 16, &text, &n))
        return 0;
    char *own = !strncmp(text, "0::", 3) ? text : strstr(text, "\n0::");
    if (!own)
        return 0;
    own = strchr(own, '/');
    if (!own)
        return 0;
    own[strcspn(own, "\n")] = 0;
    for (char *end = own + strlen(own); end >= own; end = *own ? strrchr(own, '/') : NULL) {
        if (!end)
            break;
        *end = 0;
        snprintf(path, sizeof(path), "/sys/fs/cgroup%.4000s/memory.max", own);
        u64 v = number_in(path);
        least = v && (!least || v < least) ? v : least;
    }
    return least;
}

u64 memory_default(void)
{
    u64 group = group_limit();
    return max_u64(group && group / 4 * 3 < MEMORY_DEFAULT ? group / 4 * 3 : MEMORY_DEFAULT, MEMORY_LEAST);
}

static void lower(u32 *v, u32 to) { *v = *v && *v < to ? *v : to; }
static void lower64(u64 *v, u64 to) { *v = *v && *v < to ? *v : to; }

void memory_plan_apply(const struct memory_plan *p, struct agent_options *o)
{
    lower(&o->probe.ring_bytes, p->ring_bytes);
    lower64(&o->pipeline.tail.max_bytes, p->tail_bytes);
    lower(&o->meters.max_series, p->series);
    for (int i = 0; i < SIGNAL_MAX; i++) {
        lower(&o->queues.most[i].max_queue, i == SIGNAL_METRICS ? 64 : p->queue);
        lower(&o->queues.most[i].max_batch, p->batch);
    }
    lower64(&o->queues.most_points, p->points);
    lower(&o->max_conns, p->conns);
    lower64(&o->max_buffered, p->buffered_bytes);
    lower(&o->max_processes, p->processes);
    lower(&o->max_units, p->units);
    lower(&o->max_open, p->open);
}

/* --- the watch --- */

static u64 slack(const struct memory_plan *p) { return max_u64(p->limit / 8, 6u << 20); }

u64 memory_step(const struct memory_plan *p, u64 ceiling, u64 resident, u64 live)
{
    if (resident > p->limit - slack(p)) /* what lives is not taken back; less than that may begin */
        return max_u64(min_u64(ceiling, live) / 8 * 7, SPANS_LEAST);
    if (resident < p->limit - 2 * slack(p))
        return min_u64(ceiling + ceiling / 8 + SPAN_LEAST, p->span_bytes);
    return ceiling;
}

static void pools_set(const struct memory_watch *w)
{
    const struct memory_plan *p = &w->plan;
    span_pool_limit(w->spans);
    double part = (double)w->spans / (double)p->span_bytes;
    resource_pool_limit((u32)max_u64((u64)(p->resources * part), 64));
    log_pool_limit((u64)((double)p->log_bytes * part));
}

void memory_watch_begin(struct memory_watch *w, const struct memory_plan *p)
{
    *w = (struct memory_watch){ .plan = *p, .spans = p->span_bytes, .fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC) };
    mallopt(M_ARENA_MAX, 2); /* an arena for each thread would keep what each of them once gave back */
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
    pools_set(w);
}

static u64 resident(int fd)
{
    char text[128];
    unsigned long pages = 0;
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return 0;
    text[n] = 0;
    return sscanf(text, "%*u %lu", &pages) == 1 ? (u64)pages * (u64)sysconf(_SC_PAGESIZE) : 0;
}

void memory_watch_tick(struct memory_watch *w, u64 now_boot)
{
    if (w->fd < 0)
        return;
    u64 bytes = resident(w->fd);
    u64 before = w->spans;
    w->spans = memory_step(&w->plan, before, bytes, span_pool_bytes());
    if (w->spans == before)
        return;
    pools_set(w);
    if (w->spans > before)
        return;
    ledger_add(memory_tight, 1);
    if (now_boot >= w->next_trim) {
        malloc_trim(0);
        w->next_trim = now_boot + TRIM_EVERY_NS;
    }
    if (now_boot >= w->next_word)
        log_warn("memory", "%llu of %llu MB are in use (fewer spans are begun until there is room; they are counted)",
                 (unsigned long long)(bytes >> 20), (unsigned long long)(w->plan.limit >> 20));
    w->next_word = max_u64(w->next_word, now_boot + WORD_EVERY_NS);
}

void memory_watch_end(struct memory_watch *w)
{
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
}
