/* Records in one file. See spool.h for the form. */
#include "export/spool_segment.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define SEARCH_CHUNK 65536u

static u32 crc_table[256];

static void crc_prepare(void)
{
    for (u32 i = 0; i < 256; i++) {
        u32 c = i;
        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        crc_table[i] = c;
    }
}

u32 crc32c(u32 crc, const void *p, size_t n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, crc_prepare);
    const u8 *b = p;
    crc = ~crc;
    for (size_t i = 0; i < n; i++)
        crc = crc >> 8 ^ crc_table[(crc ^ b[i]) & 0xff];
    return ~crc;
}

int segment_name(u64 number, char *out, size_t size) { return snprintf(out, size, "%016llx.seg", (unsigned long long)number); }

static u32 head_crc(const struct record_head *h) { return crc32c(0, h, offsetof(struct record_head, head_crc)); }

/* A header is whole when its checksum says so and its body ends within the file. */
static bool head_at(const struct segment *g, u64 at, struct record_head *h)
{
    if (at + sizeof(*h) > g->size || pread(g->fd, h, sizeof(*h), (off_t)at) != (ssize_t)sizeof(*h))
        return false;
    return h->magic == RECORD_MAGIC && h->head_crc == head_crc(h) && h->length <= SPOOL_BODY_MAX &&
           at + sizeof(*h) + h->length <= g->size;
}

/* After damage: the next place where the magic stands and a whole header with it. */
static u64 head_search(const struct segment *g, u64 from, struct record_head *h)
{
    static const u32 magic = RECORD_MAGIC;
    u8 buf[SEARCH_CHUNK];
    for (u64 at = from; at + sizeof(*h) <= g->size;) {
        ssize_t n = pread(g->fd, buf, sizeof(buf), (off_t)at);
        if (n < (ssize_t)sizeof(magic))
            break;
        for (u8 *p = buf; (p = memmem(p, (size_t)(buf + n - p), &magic, sizeof(magic))); p++)
            if (head_at(g, at + (u64)(p - buf), h))
                return at + (u64)(p - buf);
        at += (u64)n - (sizeof(magic) - 1);
    }
    return g->size;
}

u64 segment_find(const struct segment *g, u64 at, struct record_head *h)
{
    return at < g->size && head_at(g, at, h) ? at : head_search(g, at, h);
}

struct segment *segment_free(struct segment *g)
{
    if (g && g->fd >= 0)
        close(g->fd);
    free(g);
    return NULL;
}

static int segment_open(int dir, u64 number, int flags, struct segment **ret)
{
    char name[32];
    segment_name(number, name, sizeof(name));
    struct segment *g = calloc(1, sizeof(*g));
    if (!g)
        return -ENOMEM;
    g->number = number;
    g->fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | flags, 0600);
    if (g->fd < 0) {
        int e = -errno;
        free(g);
        return e;
    }
    *ret = g;
    return 0;
}

int segment_create(int dir, u64 number, struct segment **ret)
{
    int e = segment_open(dir, number, O_CREAT | O_EXCL, ret);
    if (!e)
        (*ret)->end_item = number;
    return e;
}

/* What stands behind the last whole record: a write that did not end. */
static u64 torn_items(const struct segment *g, u64 at)
{
    struct record_head h;
    if (at >= g->size)
        return 0;
    bool readable = pread(g->fd, &h, sizeof(h), (off_t)at) == (ssize_t)sizeof(h) && h.magic == RECORD_MAGIC;
    return readable && h.head_crc == head_crc(&h) ? h.items : 1;
}

static void segment_count(struct segment *g)
{
    struct record_head h;
    u64 end = 0;
    g->end_item = g->number;
    for (u64 at = segment_find(g, 0, &h); at < g->size; at = segment_find(g, end, &h)) {
        end = at + sizeof(h) + h.length;
        g->end_item = h.first + h.items;
        if (h.state == RECORD_DONE)
            continue;
        g->records++;
        g->items += h.items;
        g->oldest_ns = g->oldest_ns ? g->oldest_ns : h.wall_ns;
    }
    g->end_item += torn_items(g, end);
}

int segment_scan(int dir, u64 number, struct segment **ret)
{
    struct segment *g;
    struct stat st;
    int e = segment_open(dir, number, 0, &g);
    if (e)
        return e;
    if (fstat(g->fd, &st) || !S_ISREG(st.st_mode)) {
        segment_free(g);
        return -EINVAL;
    }
    g->size = (u64)st.st_size;
    segment_count(g);
    *ret = g;
    return 0;
}

int segment_append(struct segment *g, struct record_head *h, struct slice body)
{
    h->magic = RECORD_MAGIC;
    h->length = (u32)body.n;
    h->body_crc = crc32c(0, body.p, body.n);
    h->head_crc = head_crc(h);
    h->state = 0;
    struct iovec v[] = { { h, sizeof(*h) }, { (void *)(uintptr_t)body.p, body.n } };
    size_t want = sizeof(*h) + body.n;
    ssize_t n = pwritev(g->fd, v, 2, (off_t)g->size);
    if (n != (ssize_t)want) { /* a disk that fills up in mid-record */
        int e = n < 0 ? -errno : -ENOSPC;
        if (ftruncate(g->fd, (off_t)g->size))
            return -EIO; /* the torn record has no whole body: reading passes over it */
        return e;
    }
    g->size += want;
    g->records++;
    g->items += h->items;
    g->end_item = h->first + h->items;
    g->oldest_ns = g->oldest_ns ? g->oldest_ns : h->wall_ns;
    return 0;
}

void segment_done(struct segment *g, u64 offset, const struct record_head *h)
{
    static const u32 done = RECORD_DONE;
    if (pwrite(g->fd, &done, sizeof(done), (off_t)(offset + offsetof(struct record_head, state))) != (ssize_t)sizeof(done))
        g->cursor = offset + sizeof(*h) + h->length; /* not on disk: sent again after a restart, not now */
    g->cursor = max_u64(g->cursor, offset + sizeof(*h) + h->length);
    g->records -= g->records > 0;
    g->items -= min_u64(g->items, h->items);
}
