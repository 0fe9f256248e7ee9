/* Spans and their pool. A span is some 5 KB; a few hundred spare ones are kept, the rest goes back to the allocator, so
 * that a burst is not paid for ever. The ceiling counts the live ones. Spans are made by one thread and given back by
 * another, hence the lock. */
#include "trace/span.h"
#include "self/ledger.h"

#include <pthread.h>

#define SPARE_MAX         512
#define NAME_MAX_BYTES    512
#define MESSAGE_MAX_BYTES 1024

static struct {
    pthread_mutex_t lock;
    struct span *spare;
    u32 n_spare, live, limit;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .limit = 65536 };

const char *const join_name[JOIN_MAX] = {
    [JOIN_ROOT] = "root",       [JOIN_WIRE] = "wire",       [JOIN_ENV] = "env",       [JOIN_ENGINE] = "engine",
    [JOIN_UNIT] = "unit",       [JOIN_EDGE] = "edge",       [JOIN_ANSWER] = "answer", [JOIN_SOCKET] = "socket",
    [JOIN_PROCESS] = "process", [JOIN_UNKNOWN] = "unknown",
};

/* An unused span with the count of live ones raised; NULL at the ceiling. *ret_make: the caller must allocate. */
static struct span *pool_take(bool *ret_make)
{
    struct span *s = NULL;
    pthread_mutex_lock(&pool.lock);
    *ret_make = pool.live < pool.limit && !pool.spare;
    if (pool.live < pool.limit) {
        pool.live++;
        s = pool.spare;
        if (s) {
            pool.spare = s->next_free;
            pool.n_spare--;
        }
    }
    pthread_mutex_unlock(&pool.lock);
    return s;
}

static void pool_give(struct span *s)
{
    pthread_mutex_lock(&pool.lock);
    pool.live--;
    bool keep = s && pool.n_spare < SPARE_MAX;
    if (keep) {
        s->next_free = pool.spare;
        pool.spare = s;
        pool.n_spare++;
    }
    pthread_mutex_unlock(&pool.lock);
    if (!keep)
        free(s);
}

void span_pool_limit(u32 max_spans)
{
    pthread_mutex_lock(&pool.lock);
    pool.limit = max_spans;
    pthread_mutex_unlock(&pool.lock);
}

u32 span_pool_live(void)
{
    pthread_mutex_lock(&pool.lock);
    u32 n = pool.live;
    pthread_mutex_unlock(&pool.lock);
    return n;
}

/* The arena and the attribute slots stay dirty: nothing beyond their counts is ever read. */
static void span_reset(struct span *s)
{
    memset(s, 0, offsetof(struct span, attr_v));
    memset(s->events, 0, offsetof(struct span, text_v) - offsetof(struct span, events));
    s->next_free = NULL;
    s->refs = 1;
    s->name = "";
    s->scope = "";
    s->attrs = (struct attr_set){ .v = s->attr_v, .max = SPAN_ATTRS, .text = s->text_v, .text_max = sizeof(s->text_v) };
}

struct span *span_new(void)
{
    bool make;
    struct span *s = pool_take(&make);
    if (make && !(s = malloc(sizeof(*s)))) {
        pool_give(NULL);
        return NULL;
    }
    if (s)
        span_reset(s);
    return s;
}

struct span *span_ref(struct span *s)
{
    __atomic_add_fetch(&s->refs, 1, __ATOMIC_RELAXED);
    return s;
}

struct span *span_unref(struct span *s)
{
    if (!s || __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL))
        return NULL;
    if (s->attrs.dropped)
        ledger_add(attrs_dropped, s->attrs.dropped);
    s->resource = resource_unref(s->resource);
    pool_give(s);
    return NULL;
}

void span_set_name(struct span *s, struct slice name)
{
    char *text = attr_text_cut(&s->attrs, name, NAME_MAX_BYTES);
    if (text)
        s->name = text;
}

void span_set_error(struct span *s, struct slice message)
{
    s->status = STATUS_ERROR;
    s->status_message = message.n ? attr_text_cut(&s->attrs, message, MESSAGE_MAX_BYTES) : NULL;
}

static void event_add_text(struct span *s, struct span_event *e, const char *key, struct slice text, size_t max)
{
    if (!text.n)
        return;
    char *copy = e->n_attrs < SPAN_EVENT_ATTRS ? attr_text_cut(&s->attrs, text, max) : NULL;
    if (!copy || !*copy) {
        s->attrs.dropped++;
        return;
    }
    e->attrs[e->n_attrs++] = (struct attr){ .key = key, .type = ATTR_STR, .len = (u16)strlen(copy), .s = copy };
}

void span_add_exception(struct span *s, u64 time_ns, struct slice type, struct slice message, struct slice stacktrace)
{
    if (s->n_events == SPAN_EVENTS) {
        s->dropped_events += s->dropped_events < UINT8_MAX;
        return;
    }
    struct span_event *e = &s->events[s->n_events++];
    *e = (struct span_event){ .name = "exception", .time_ns = time_ns };
    event_add_text(s, e, "exception.type", type, NAME_MAX_BYTES);
    event_add_text(s, e, "exception.message", message, MESSAGE_MAX_BYTES);
    event_add_text(s, e, "exception.stacktrace", stacktrace, SPAN_TEXT);
}

bool span_add_link(struct span *s, const struct span_context *to, const char *why)
{
    if (s->n_links == SPAN_LINKS) {
        s->dropped_links += s->dropped_links < UINT8_MAX;
        return false;
    }
    s->links[s->n_links++] = (struct span_link){ .to = *to, .why = why };
    return true;
}

void hex_encode(const u8 *in, size_t n, char *out)
{
    static const char digit[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = digit[in[i] >> 4];
        out[2 * i + 1] = digit[in[i] & 15];
    }
    out[2 * n] = 0;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(const char *in, size_t n, u8 *out)
{
    if (n % 2)
        return -EINVAL;
    for (size_t i = 0; i < n; i++)
        if (hex_digit(in[i]) < 0)
            return -EINVAL;
    for (size_t i = 0; i < n / 2; i++)
        out[i] = (u8)(hex_digit(in[2 * i]) << 4 | hex_digit(in[2 * i + 1]));
    return 0;
}
