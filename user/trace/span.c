/* Spans and their pool. Spare spans and areas are kept for the next ones, up to a few hundred of a size; the rest goes back to
 * the allocator, so that a burst is not paid for ever. The ceiling counts the bytes of what lives. Spans are made by one
 * thread and given back by another, hence the lock.
 *
 * Within a span everything lies one behind the other in the newest area: texts, arrays of attributes, events, links. Nothing
 * moves: an array that is too small is copied, and the old one left behind. */
#include "trace/internal.h"

#include <pthread.h>

#define NAME_MAX_BYTES    512
#define MESSAGE_MAX_BYTES 1024
#define ATTRS_FIRST       12

struct span_area {
    struct span_area *older; /* also: the next spare one */
    u32 size;                /* number in `sizes` */
    char data[] __attribute__((aligned(8)));
};

/* What an area holds, beside its head. Together with a span's own room it is what SPAN_MOST says. */
static const struct {
    u16 bytes, spare_max;
} sizes[] = { { 496, 512 }, { 1040, 256 }, { 2048, 128 }, { SPAN_TEXT, 64 } };
#define N_SIZES   ARRAY_LEN(sizes)
#define SPARE_MAX 512

static struct {
    pthread_mutex_t lock;
    struct span *spare;
    struct span_area *areas[N_SIZES];
    u32 n_spare, n_areas[N_SIZES];
    u64 live, limit;
} pool = { .lock = PTHREAD_MUTEX_INITIALIZER, .limit = 256u << 20 };

const char *const join_name[JOIN_MAX] = {
    [JOIN_ROOT] = "root",       [JOIN_WIRE] = "wire",       [JOIN_ENV] = "env",       [JOIN_ENGINE] = "engine",
    [JOIN_UNIT] = "unit",       [JOIN_EDGE] = "edge",       [JOIN_ANSWER] = "answer", [JOIN_SOCKET] = "socket",
    [JOIN_PROCESS] = "process", [JOIN_UNKNOWN] = "unknown",
};

/* An unused span and its bytes counted; NULL at the ceiling. *ret_make: the caller must allocate. */
static struct span *pool_take(bool *ret_make)
{
    struct span *s = NULL;
    pthread_mutex_lock(&pool.lock);
    bool room = pool.live + SPAN_LEAST <= pool.limit;
    *ret_make = room && !pool.spare;
    if (room) {
        pool.live += SPAN_LEAST;
        s = pool.spare;
        if (s) {
            pool.spare = s->next;
            pool.n_spare--;
        }
    }
    pthread_mutex_unlock(&pool.lock);
    return s;
}

/* Keeps what may be spared and makes *areas the others; whether the span itself is one of them. */
static bool pool_keep(struct span *s, struct span_area **areas)
{
    struct span_area *others = NULL;
    for (struct span_area *a = *areas, *older; a; a = older) {
        bool keep = pool.n_areas[a->size] < sizes[a->size].spare_max;
        struct span_area **to = keep ? &pool.areas[a->size] : &others;
        pool.n_areas[a->size] += keep;
        older = a->older;
        a->older = *to;
        *to = a;
    }
    *areas = others;
    if (pool.n_spare >= SPARE_MAX)
        return false;
    s->next = pool.spare;
    pool.spare = s;
    pool.n_spare++;
    return true;
}

static void pool_give(struct span *s)
{
    struct span_area *areas = s->areas;
    pthread_mutex_lock(&pool.lock);
    pool.live -= s->bytes;
    bool keep = pool_keep(s, &areas);
    pthread_mutex_unlock(&pool.lock);
    for (struct span_area *older; areas; areas = older) {
        older = areas->older;
        free(areas);
    }
    if (!keep)
        free(s);
}

static struct span_area *area_take(u32 size)
{
    u64 bytes = sizeof(struct span_area) + sizes[size].bytes;
    struct span_area *a = NULL;
    pthread_mutex_lock(&pool.lock);
    bool room = pool.live + bytes <= pool.limit + pool.limit / 16;
    if (room && (a = pool.areas[size])) {
        pool.areas[size] = a->older;
        pool.n_areas[size]--;
    }
    pool.live += room ? bytes : 0;
    pthread_mutex_unlock(&pool.lock);
    if (!room || a || (a = malloc(bytes)))
        return a;
    pthread_mutex_lock(&pool.lock);
    pool.live -= bytes;
    pthread_mutex_unlock(&pool.lock);
    return NULL;
}

void span_pool_limit(u64 bytes)
{
    pthread_mutex_lock(&pool.lock);
    pool.limit = bytes;
    pthread_mutex_unlock(&pool.lock);
}

u64 span_pool_bytes(void)
{
    pthread_mutex_lock(&pool.lock);
    u64 n = pool.live;
    pthread_mutex_unlock(&pool.lock);
    return n;
}

/* The room stays dirty: nothing beyond what is used is ever read. */
static void span_reset(struct span *s)
{
    memset(s, 0, offsetof(struct span, room));
    s->refs = 1;
    s->bytes = SPAN_LEAST;
    s->name = s->scope = s->tracestate = "";
    s->attrs = (struct attr_set){ .text = s->room, .text_max = SPAN_ROOM, .grows = true };
}

struct span *span_new(void)
{
    bool make;
    struct span *s = pool_take(&make);
    if (make && !(s = malloc(sizeof(*s)))) {
        pthread_mutex_lock(&pool.lock);
        pool.live -= SPAN_LEAST;
        pthread_mutex_unlock(&pool.lock);
        return NULL;
    }
    if (s)
        span_reset(s);
    return s;
}

/* --- room --- */

static u32 marks_bytes(const struct span_marks *m) { return m ? (u32)(sizeof(*m) + m->max * sizeof(m->at[0])) : 0; }

/* The size of the next area: twice the one before it, or what `need` asks for; N_SIZES: none. */
static u32 size_next(const struct span *s, size_t need)
{
    u32 next = s->areas ? (u32)min_u64(s->areas->size + 1, N_SIZES - 1) : 0, own = s->bytes - marks_bytes(s->marks);
    for (u32 i = next; i < N_SIZES; i++)
        if (sizes[i].bytes >= need && own + sizeof(struct span_area) + sizes[i].bytes <= SPAN_MOST)
            return i;
    for (u32 i = 0; i < next; i++)
        if (sizes[i].bytes >= need && own + sizeof(struct span_area) + sizes[i].bytes <= SPAN_MOST)
            return i;
    return N_SIZES;
}

bool span_grow(struct attr_set *set, size_t need)
{
    struct span *s = container_of(set, struct span, attrs);
    u32 size = size_next(s, need);
    struct span_area *a = size < N_SIZES ? area_take(size) : NULL;
    if (!a)
        return false;
    a->size = size;
    a->older = s->areas;
    s->areas = a;
    s->bytes += (u32)(sizeof(*a) + sizes[size].bytes);
    set->text = a->data;
    set->text_max = sizes[size].bytes;
    set->used = 0;
    return true;
}

/* For structs; texts are put by attr.c. */
static void *room_take(struct span *s, size_t n)
{
    size_t at = (s->attrs.used + 7u) & ~(size_t)7;
    if (at + n > s->attrs.text_max) {
        if (!span_grow(&s->attrs, n))
            return NULL;
        at = 0;
    }
    s->attrs.used = (u16)(at + n);
    return s->attrs.text + at;
}

static bool attrs_make(struct span *s, size_t max)
{
    struct attr *v = room_take(s, max * sizeof(*v));
    if (!v)
        return false;
    if (s->attrs.n)
        memcpy(v, s->attrs.v, s->attrs.n * sizeof(*v));
    s->attrs.v = v;
    s->attrs.max = (u16)max;
    return true;
}

bool span_grow_attrs(struct attr_set *set)
{
    struct span *s = container_of(set, struct span, attrs);
    if (set->max >= SPAN_ATTRS)
        return false;
    return attrs_make(s, set->max ? min_u64(set->max * 2u, SPAN_ATTRS) : ATTRS_FIRST);
}

void span_expect(struct span *s, size_t attrs)
{
    if (!s->attrs.max && attrs)
        (void)attrs_make(s, min_u64(attrs, SPAN_ATTRS));
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
    free(take_ptr(s->marks));
    pool_give(s);
    return NULL;
}

void span_set_name(struct span *s, struct slice name)
{
    if (slice_eq(name, s->name))
        return;
    char *text = attr_text_cut(&s->attrs, name, NAME_MAX_BYTES);
    if (text)
        s->name = text;
}

void span_set_tracestate(struct span *s, const char *state)
{
    struct slice all = slice_str(state);
    const char *text = all.n ? attr_text(&s->attrs, slice_head(all, min_u64(all.n, TRACESTATE_ROOM - 1))) : "";
    if (text)
        s->tracestate = text;
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

/* Most have one event or none: room for one, then for all. NULL: no room for another. */
static void *list_room(struct span *s, void *list, size_t n, size_t each, size_t most)
{
    if (n > 1)
        return n < most ? list : NULL;
    void *grown = room_take(s, (n ? most : 1) * each);
    if (grown && n)
        memcpy(grown, list, n * each);
    return grown;
}

void span_add_exception(struct span *s, u64 time_ns, struct slice type, struct slice message, struct slice stacktrace)
{
    struct span_event *list = list_room(s, s->events, s->n_events, sizeof(*list), SPAN_EVENTS);
    if (!list) {
        s->dropped_events += s->dropped_events < UINT8_MAX;
        return;
    }
    s->events = list;
    struct span_event *e = &s->events[s->n_events++];
    *e = (struct span_event){ .name = "exception", .time_ns = time_ns };
    event_add_text(s, e, "exception.type", type, NAME_MAX_BYTES);
    event_add_text(s, e, "exception.message", message, MESSAGE_MAX_BYTES);
    event_add_text(s, e, "exception.stacktrace", stacktrace, SPAN_TEXT);
}

struct span_marks *span_marks_new(const char *name, const char *key, u16 max)
{
    struct span_marks *m = malloc(sizeof(*m) + max * sizeof(m->at[0]));
    if (m)
        *m = (struct span_marks){ .name = name, .key = key, .max = max };
    return m;
}

void span_set_marks(struct span *s, struct span_marks *marks)
{
    u32 bytes = marks_bytes(marks);
    pthread_mutex_lock(&pool.lock);
    bool room = !s->marks && pool.live + bytes <= pool.limit + pool.limit / 16;
    pool.live += room ? bytes : 0;
    pthread_mutex_unlock(&pool.lock);
    if (!room) {
        free(marks);
        return;
    }
    s->marks = marks;
    s->bytes += bytes;
}

void span_mark(struct span_marks *m, u64 time, u32 size)
{
    if (m->n < m->max)
        m->at[m->n++] = (struct span_mark){ time, size };
    else
        m->dropped += m->dropped < UINT32_MAX;
}

u32 span_event_count(const struct span *s) { return s->n_events + (s->marks ? s->marks->n : 0u); }

u32 span_event_dropped(const struct span *s) { return s->dropped_events + (s->marks ? s->marks->dropped : 0u); }

const struct span_event *span_event_at(const struct span *s, u32 i, struct span_event *room)
{
    if (i < s->n_events)
        return &s->events[i];
    const struct span_mark *m = &s->marks->at[i - s->n_events];
    room->name = s->marks->name;
    room->time_ns = m->time_ns;
    room->n_attrs = 1;
    room->attrs[0] = (struct attr){ .key = s->marks->key, .type = ATTR_INT, .i = m->size };
    return room;
}

bool span_add_link(struct span *s, const struct span_context *to, const char *why)
{
    struct span_link *list = list_room(s, s->links, s->n_links, sizeof(*list), SPAN_LINKS);
    if (!list) {
        s->dropped_links += s->dropped_links < UINT8_MAX;
        return false;
    }
    s->links = list;
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
