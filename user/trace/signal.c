/* Log records and their pool: three sizes of body, so that a line of 100 bytes does not take room for 16 KB. The ceiling is
 * in bytes and counts the live ones and the spare ones. Records are made by one thread and given back by another. */
#include "trace/signal.h"

#include <pthread.h>

#define SPARE_BYTES (4u << 20) /* kept for the next burst */

static const u32 body_class[] = { 512, 2048, LOG_BODY };

static struct {
    pthread_mutex_t lock;
    struct log_record *spare[ARRAY_LEN(body_class)];
    u64 bytes, spare_bytes, limit;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .limit = 64u << 20 };

const char *const signal_name[SIGNAL_MAX] = { "traces", "logs", "metrics" };

static size_t record_bytes(size_t class) { return sizeof(struct log_record) + body_class[class] + 1; }

static size_t class_of(size_t bytes)
{
    size_t c = 0;
    while (c + 1 < ARRAY_LEN(body_class) && body_class[c] < bytes)
        c++;
    return c;
}

/* A record of the class, or NULL: *ret_make tells whether to allocate one, already counted. */
static struct log_record *pool_take(size_t class, bool *ret_make)
{
    size_t bytes = record_bytes(class);
    pthread_mutex_lock(&pool.lock);
    struct log_record *l = pool.spare[class];
    if (l) {
        pool.spare[class] = l->next_free;
        pool.spare_bytes -= bytes;
    }
    *ret_make = !l && pool.bytes + bytes <= pool.limit;
    if (*ret_make)
        pool.bytes += bytes;
    pthread_mutex_unlock(&pool.lock);
    return l;
}

static void pool_give(struct log_record *l, size_t class)
{
    size_t bytes = record_bytes(class);
    pthread_mutex_lock(&pool.lock);
    bool keep = l && pool.spare_bytes + bytes <= SPARE_BYTES;
    if (keep) {
        l->next_free = pool.spare[class];
        pool.spare[class] = l;
        pool.spare_bytes += bytes;
    } else {
        pool.bytes -= bytes;
    }
    pthread_mutex_unlock(&pool.lock);
    if (!keep)
        free(l);
}

void log_pool_limit(u64 max_bytes)
{
    pthread_mutex_lock(&pool.lock);
    pool.limit = max_bytes;
    pthread_mutex_unlock(&pool.lock);
}

static void record_body(struct log_record *l, struct slice body)
{
    struct attr one = { 0 };
    struct attr_set as = { .v = &one, .max = 1, .text = l->body, .text_max = (u16)(l->body_room + 1) };
    const char *text = attr_text_cut(&as, body, l->body_room);
    l->body_len = text ? (u32)strlen(text) : 0;
}

struct log_record *log_new(struct slice body)
{
    bool make;
    size_t class = class_of(body.n);
    struct log_record *l = pool_take(class, &make);
    if (make && !(l = malloc(record_bytes(class))))
        pool_give(NULL, class);
    if (!l)
        return NULL;
    memset(l, 0, offsetof(struct log_record, attr_v));
    l->refs = 1;
    l->scope = "";
    l->attrs = (struct attr_set){ .v = l->attr_v, .max = LOG_ATTRS, .text = l->text_v, .text_max = sizeof(l->text_v) };
    l->body_room = body_class[class];
    l->body[0] = 0;
    record_body(l, body);
    return l;
}

struct log_record *log_ref(struct log_record *l)
{
    __atomic_add_fetch(&l->refs, 1, __ATOMIC_RELAXED);
    return l;
}

struct log_record *log_unref(struct log_record *l)
{
    if (!l || __atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL))
        return NULL;
    l->resource = resource_unref(l->resource);
    pool_give(l, class_of(l->body_room));
    return NULL;
}

struct metric_batch *metric_batch_ref(struct metric_batch *b)
{
    __atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
    return b;
}

struct metric_batch *metric_batch_unref(struct metric_batch *b)
{
    if (b && !__atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL))
        b->free(b);
    return NULL;
}

static u64 asked;
void metric_ask(void) { __atomic_add_fetch(&asked, 1, __ATOMIC_RELEASE); }
u64 metric_asked(void) { return __atomic_load_n(&asked, __ATOMIC_ACQUIRE); }
