/* Segments in their order; see spool.h. The oldest is read, the newest is written, and they may be the same. */
#include "export/spool_segment.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_DEFAULT (16u << 20)
#define BYTES_DEFAULT   (256ull << 20)
#define AGE_DEFAULT_NS  (24ull * 3600 * NSEC_PER_SEC)
#define REWIND_BYTES    (1u << 20) /* a segment that was sent to its end is begun anew beyond this */

struct spool {
    pthread_mutex_t lock;
    struct spool_options opt; /* every number set */
    int dir, lock_fd;
    struct segment *first, *last; /* last: written to, when `writing` */
    bool writing;
    u64 next_item; /* number of the item that is written next; they begin at 1 */
    u64 expect;    /* number of the item that is read next: a higher one means damage in between */
    u64 handed;    /* items of the record that spool_next() gave out, until spool_done() */
    u64 handed_of; /* the segment it is in */
    u64 orphaned;  /* items of it, when its segment was dropped meanwhile: lost unless it is done after all */
    u64 bytes;
    spool_lost_fn lost;
    void *arg;
    u8 *body;
    size_t room;
};

static void tell_lost(struct spool *s, enum export_cause cause, u64 items)
{
    if (items)
        s->lost(s->arg, cause, items);
}

static void sync_if(const struct spool *s, enum spool_fsync at_least, int fd)
{
    if (s->opt.fsync >= at_least)
        fdatasync(fd);
}

/* --- segments --- */

static void segment_unlink(struct spool *s, struct segment *g)
{
    char name[32];
    segment_name(g->number, name, sizeof(name));
    unlinkat(s->dir, name, 0);
    s->bytes -= min_u64(s->bytes, g->size);
}

static void first_remove(struct spool *s)
{
    struct segment *g = s->first;
    s->first = g->next;
    if (s->last == g) {
        s->last = NULL;
        s->writing = false;
    }
    segment_unlink(s, g);
    segment_free(g);
}

static void segment_put(struct spool *s, struct segment *g)
{
    if (s->last)
        s->last->next = g;
    else
        s->first = g;
    s->last = g;
    s->bytes += g->size;
}

static int segment_begin(struct spool *s)
{
    struct segment *g;
    if (s->writing)
        sync_if(s, SPOOL_FSYNC_SEGMENT, s->last->fd);
    int e = segment_create(s->dir, s->next_item, &g);
    if (e)
        return e;
    sync_if(s, SPOOL_FSYNC_SEGMENT, s->dir);
    segment_put(s, g);
    s->writing = true;
    return 0;
}

/* Oldest first, until `more` bytes fit. What of it was not sent yet is lost. */
static void make_room(struct spool *s, u64 more)
{
    while (s->first && s->bytes + more > s->opt.max_bytes) {
        u64 out = s->handed_of == s->first->number ? min_u64(s->handed, s->first->items) : 0;
        tell_lost(s, CAUSE_SPOOL_FULL, s->first->items - out);
        s->orphaned += out;
        s->handed -= out;
        s->expect = max_u64(s->expect, s->first->end_item);
        first_remove(s);
    }
}

/* --- opening --- */

static int dir_open(const char *dir, const char *name, char *err, size_t err_size)
{
    char path[1200];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    (void)mkdir(dir, 0700);
    (void)mkdir(path, 0700);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        int e = -errno;
        snprintf(err, err_size, "cannot use the spool %s: %s", path, errno_name(e));
        return e;
    }
    return fd;
}

static int dir_lock(int dir, const char *name, char *err, size_t err_size)
{
    int fd = openat(dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 && !flock(fd, LOCK_EX | LOCK_NB))
        return fd;
    int e = errno == EWOULDBLOCK ? -EBUSY : -errno;
    if (fd >= 0)
        close(fd);
    if (e == -EBUSY)
        snprintf(err, err_size, "the spool %s is in use by another wftrace; give this one a directory of its own", name);
    else
        snprintf(err, err_size, "cannot lock the spool %s: %s", name, errno_name(e));
    return e;
}

static int by_number(const void *a, const void *b)
{
    u64 x = *(const u64 *)a, y = *(const u64 *)b;
    return x < y ? -1 : x > y;
}

/* The numbers of all segments, sorted; the caller frees. */
static int dir_list(int dir, u64 **ret, size_t *ret_n)
{
    int fd = dup(dir);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    size_t n = 0, room = 0;
    u64 *list = NULL;
    if (!d)
        return -errno;
    for (struct dirent *e; (e = readdir(d));) {
        char *end;
        u64 number = strtoull(e->d_name, &end, 16);
        if (strlen(e->d_name) != 20 || strcmp(end, ".seg"))
            continue;
        if (n == room) {
            u64 *more = realloc(list, (room = room ? 2 * room : 64) * sizeof(*list));
            if (!more) {
                free(list);
                closedir(d);
                return -ENOMEM;
            }
            list = more;
        }
        list[n++] = number;
    }
    closedir(d);
    if (n)
        qsort(list, n, sizeof(*list), by_number);
    *ret = list;
    *ret_n = n;
    return 0;
}

static int spool_load(struct spool *s)
{
    u64 *list = NULL;
    size_t n = 0;
    int e = dir_list(s->dir, &list, &n);
    for (size_t i = 0; i < n && !e; i++) {
        struct segment *g;
        e = segment_scan(s->dir, list[i], &g);
        if (e)
            break;
        s->next_item = max_u64(s->next_item, g->end_item);
        if (g->size) {
            segment_put(s, g);
            continue;
        }
        segment_unlink(s, g); /* begun and never written to: its name is wanted again */
        segment_free(g);
    }
    free(list);
    s->expect = s->first ? s->first->number : s->next_item;
    return e;
}

static void options_settle(struct spool_options *o)
{
    o->max_bytes = o->max_bytes ? o->max_bytes : BYTES_DEFAULT;
    o->max_age_ns = o->max_age_ns ? o->max_age_ns : AGE_DEFAULT_NS;
    o->segment_bytes = o->segment_bytes ? o->segment_bytes : SEGMENT_DEFAULT;
    o->segment_bytes = (u32)min_u64(o->segment_bytes, max_u64(o->max_bytes / 8, 1));
}

int spool_open(const struct spool_options *o, const char *name, spool_lost_fn lost, void *arg, struct spool **ret, char *err,
               size_t err_size)
{
    struct spool *s = calloc(1, sizeof(*s));
    if (!s) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    *s = (struct spool){ .opt = *o, .lost = lost, .arg = arg, .lock_fd = -1, .next_item = 1 };
    pthread_mutex_init(&s->lock, NULL);
    options_settle(&s->opt);
    int e = s->dir = dir_open(o->dir, name, err, err_size);
    if (e >= 0)
        e = s->lock_fd = dir_lock(s->dir, name, err, err_size);
    if (e >= 0 && (e = spool_load(s)))
        snprintf(err, err_size, "cannot read the spool %s: %s", name, errno_name(e));
    if (e < 0) {
        spool_close(s);
        return e;
    }
    make_room(s, 0);
    *ret = s;
    return 0;
}

/* What was on its way to the receiver when its segment went, and did not arrive. */
static void orphan_lost(struct spool *s)
{
    u64 items = s->orphaned;
    s->handed = s->orphaned = 0;
    tell_lost(s, CAUSE_SPOOL_FULL, items);
}

struct spool *spool_close(struct spool *s)
{
    orphan_lost(s);
    if (s->writing)
        sync_if(s, SPOOL_FSYNC_SEGMENT, s->last->fd);
    while (s->first) {
        struct segment *g = s->first;
        s->first = g->next;
        if (!g->records)
            segment_unlink(s, g); /* nothing waits in it: what was damaged in it has been told or never will be */
        segment_free(g);
    }
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    if (s->dir >= 0)
        close(s->dir);
    pthread_mutex_destroy(&s->lock);
    free(s->body);
    free(s);
    return NULL;
}

/* --- writing --- */

static int append_locked(struct spool *s, struct slice body, u64 items)
{
    u64 need = sizeof(struct record_head) + body.n;
    if (need > s->opt.max_bytes || body.n > SPOOL_BODY_MAX)
        return -EFBIG;
    if (s->writing && s->last->size && s->last->size + need > s->opt.segment_bytes) {
        sync_if(s, SPOOL_FSYNC_SEGMENT, s->last->fd);
        s->writing = false;
    }
    make_room(s, need);
    int e = s->writing ? 0 : segment_begin(s);
    if (e)
        return e;
    struct record_head h = { .first = s->next_item, .items = (u32)items, .wall_ns = clock_wall_ns() };
    e = segment_append(s->last, &h, body);
    if (e)
        return e;
    sync_if(s, SPOOL_FSYNC_ALWAYS, s->last->fd);
    s->bytes += need;
    s->next_item += items;
    return 0;
}

int spool_append(struct spool *s, struct slice body, u64 items)
{
    pthread_mutex_lock(&s->lock);
    int e = append_locked(s, body, items);
    pthread_mutex_unlock(&s->lock);
    return e;
}

/* --- reading --- */

static int body_read(struct spool *s, const struct segment *g, u64 at, const struct record_head *h)
{
    if (h->length > s->room) { /* at most the file's own size: segment_find() saw to it */
        u8 *p = realloc(s->body, h->length);
        if (!p)
            return -ENOMEM;
        s->body = p;
        s->room = h->length;
    }
    ssize_t n = pread(g->fd, s->body, h->length, (off_t)(at + sizeof(*h)));
    return n == (ssize_t)h->length && crc32c(0, s->body, h->length) == h->body_crc ? 0 : -EBADMSG;
}

static bool too_old(const struct spool *s, u64 wall_ns)
{
    u64 now = clock_wall_ns();
    return now > wall_ns && now - wall_ns > s->opt.max_age_ns; /* a clock that went back makes nothing old */
}

static void expect_item(struct spool *s, u64 number)
{
    if (number > s->expect)
        tell_lost(s, CAUSE_SPOOL_CORRUPT, number - s->expect);
    s->expect = max_u64(s->expect, number);
}

/* The first segment holds nothing more. */
static void first_finish(struct spool *s)
{
    struct segment *g = s->first;
    bool written = g == s->last && s->writing;
    expect_item(s, g->next ? g->next->number : s->next_item);
    g->cursor = g->size;
    g->records = g->items = 0;
    if (!written || g->size > REWIND_BYTES)
        first_remove(s);
}

/* 1: a record that can be sent, in s->body; 0: look further; -errno */
static int take_record(struct spool *s, struct segment *g, u64 at, const struct record_head *h, struct spool_record *ret)
{
    expect_item(s, h->first);
    int e = h->state == RECORD_DONE ? -EALREADY : too_old(s, h->wall_ns) ? -ETIME : body_read(s, g, at, h);
    if (e == -ENOMEM)
        return e;
    if (!e) {
        s->handed = h->items;
        s->handed_of = g->number;
        *ret = (struct spool_record){ slice_of(s->body, h->length), h->items, h->wall_ns, h->first, g->number, at };
        return 1;
    }
    s->expect = max_u64(s->expect, h->first + h->items);
    if (e == -EALREADY) {
        g->cursor = at + sizeof(*h) + h->length;
        return 0;
    }
    tell_lost(s, e == -ETIME ? CAUSE_SPOOL_AGE : CAUSE_SPOOL_CORRUPT, h->items);
    segment_done(g, at, h);
    return 0;
}

static int next_locked(struct spool *s, struct spool_record *ret)
{
    while (s->first) {
        struct segment *g = s->first;
        struct record_head h;
        u64 at = segment_find(g, g->cursor, &h);
        if (at < g->size) {
            int r = take_record(s, g, at, &h, ret);
            if (r)
                return r;
            continue;
        }
        bool newest = g == s->last && s->writing;
        first_finish(s);
        if (newest)
            return 0;
    }
    return 0;
}

int spool_next(struct spool *s, struct spool_record *ret)
{
    pthread_mutex_lock(&s->lock);
    orphan_lost(s);
    int r = next_locked(s, ret);
    pthread_mutex_unlock(&s->lock);
    return r;
}

void spool_done(struct spool *s, const struct spool_record *r)
{
    pthread_mutex_lock(&s->lock);
    struct segment *g = s->first;
    struct record_head h = { .length = (u32)r->body.n, .items = (u32)r->items };
    if (g && g->number == r->segment) {
        segment_done(g, r->offset, &h);
        s->expect = max_u64(s->expect, r->first + r->items);
    }
    s->handed = s->orphaned = 0;
    pthread_mutex_unlock(&s->lock);
}

void spool_state(struct spool *s, struct spool_state *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = (struct spool_state){ .bytes = s->bytes };
    for (struct segment *g = s->first; g; g = g->next) {
        ret->records += g->records;
        ret->items += g->items;
        if (g->records && !ret->oldest_ns)
            ret->oldest_ns = g->oldest_ns;
    }
    pthread_mutex_unlock(&s->lock);
}
