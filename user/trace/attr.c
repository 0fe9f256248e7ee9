/* Attribute sets. The arena only grows: a value set again reuses its old room when it fits and leaves it behind when it
 * does not, since a set lives for one message or span. Text is made valid UTF-8 here, once, because protobuf and JSON
 * receivers refuse a whole batch for one bad byte; a NUL counts as bad, for the wire code works on C strings. */
#include "trace/internal.h"

#include <pthread.h>

/* Length of the well-formed sequence at p (RFC 3629, Unicode table 3-7), or 0; *ret_bad is then the length of the
 * maximal part that one U+FFFD stands for. */
static size_t utf8_sequence(const u8 *p, size_t n, size_t *ret_bad)
{
    u8 c = p[0], low = 0x80, high = 0xbf;
    size_t want = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    *ret_bad = 1;
    if (want < 2)
        return c ? want : 0;
    if (c == 0xe0)
        low = 0xa0;
    else if (c == 0xed)
        high = 0x9f;
    else if (c == 0xf0)
        low = 0x90;
    else if (c == 0xf4)
        high = 0x8f;
    for (size_t i = 1; i < want; i++, low = 0x80, high = 0xbf) {
        *ret_bad = i;
        if (i >= n || p[i] < low || p[i] > high)
            return 0;
    }
    return want;
}

static size_t ascii_run(const u8 *p, size_t n)
{
    size_t i = 0;
    for (u64 w; i + 8 <= n; i += 8) {
        memcpy(&w, p + i, 8);
        if ((w & 0x8080808080808080ull) || ((w - 0x0101010101010101ull) & ~w & 0x8080808080808080ull))
            break;
    }
    while (i < n && p[i] && p[i] < 0x80)
        i++;
    return i;
}

/* Copies what fits, whole characters only; *ret_cut tells whether something did not. */
static size_t utf8_copy(char *out, size_t room, struct slice in, bool *ret_cut)
{
    size_t o = 0;
    *ret_cut = false;
    for (size_t i = 0; i < in.n;) {
        size_t run = ascii_run(in.p + i, in.n - i), fits = min_u64(run, room - o);
        memcpy(out + o, in.p + i, fits);
        o += fits, i += fits;
        if ((*ret_cut = fits < run) || i == in.n)
            break;
        size_t bad, good = utf8_sequence(in.p + i, in.n - i, &bad), len = good ? good : 3;
        if ((*ret_cut = len > room - o))
            break;
        memcpy(out + o, good ? (const char *)in.p + i : "\xef\xbf\xbd", len);
        o += len, i += good ? good : bad;
    }
    return o;
}

static size_t arena_room(const struct attr_set *set) { return (size_t)(set->text_max - set->used); }

static inline char *arena_put(struct attr_set *set, struct slice s, size_t max, size_t *ret_len, bool *ret_lost)
{
    char *at = set->text + set->used;
    *ret_len = 0;
    *ret_lost = true;
    if (!arena_room(set))
        return NULL;
    *ret_len = utf8_copy(at, min_u64(arena_room(set) - 1, max), s, ret_lost);
    at[*ret_len] = 0;
    return at;
}

/* In a span's next area; the second time for what stands for bad bytes and is longer than they. */
static __attribute__((noinline)) char *arena_put_elsewhere(struct attr_set *set, struct slice s, size_t max, size_t *ret_len,
                                                           bool *ret_lost)
{
    char *at = NULL;
    for (size_t longer = 1; *ret_lost && longer <= 3; longer += 2) {
        size_t need = min_u64(min_u64(longer * s.n, max) + 1, SPAN_TEXT);
        if (need > arena_room(set) && span_grow(set, need))
            at = arena_put(set, s, max, ret_len, ret_lost);
    }
    return at ? at : arena_put(set, s, max, ret_len, ret_lost);
}

/* As attr_text, and `cut` allows less than all; at most `max` bytes. */
static inline char *arena_add(struct attr_set *set, struct slice s, size_t max, bool cut, size_t *ret_len)
{
    bool lost;
    char *at = arena_put(set, s, max, ret_len, &lost);
    if (lost && set->grows)
        at = arena_put_elsewhere(set, s, max, ret_len, &lost);
    if (!at || (lost && !cut))
        return NULL;
    set->used = (u16)(set->used + *ret_len + 1);
    return at;
}

char *attr_text(struct attr_set *set, struct slice s)
{
    size_t len;
    return arena_add(set, s, UINT16_MAX, false, &len);
}

char *attr_text_cut(struct attr_set *set, struct slice s, size_t max)
{
    size_t len;
    return arena_add(set, s, max, true, &len);
}

static bool key_same(const char *a, const char *b) { return a == b || (a[0] == b[0] && !strcmp(a, b)); }

static struct attr *attr_find(const struct attr_set *set, const char *key)
{
    for (u16 i = 0; i < set->n; i++)
        if (key_same(set->v[i].key, key))
            return &set->v[i];
    return NULL;
}

const struct attr *attr_get(const struct attr_set *set, const char *key) { return attr_find(set, key); }

void attr_drop(struct attr_set *set, const char *key)
{
    struct attr *a = attr_find(set, key);
    if (a)
        memmove(a, a + 1, (size_t)(&set->v[--set->n] - a) * sizeof(*a));
}

static bool attr_lost(struct attr_set *set)
{
    if (set->dropped < UINT16_MAX)
        set->dropped++;
    return false;
}

/* The place for a key's value: its old one or the next free one (not taken until attr_put). NULL: full. */
static __attribute__((noinline)) bool attr_more(struct attr_set *set) { return set->grows && span_grow_attrs(set); }

static inline struct attr *attr_slot(struct attr_set *set, const char *key)
{
    struct attr *a = attr_find(set, key);
    if (a)
        return a;
    return set->n < set->max || attr_more(set) ? &set->v[set->n] : NULL;
}

/* Into the place that attr_slot() told. */
static inline bool attr_put(struct attr_set *set, struct attr *a, struct attr value)
{
    if (!a)
        return attr_lost(set);
    if (a == &set->v[set->n])
        set->n++;
    *a = value;
    return true;
}

bool attr_str(struct attr_set *set, const char *key, struct slice value)
{
    struct attr *a = attr_slot(set, key);
    size_t len;
    if (!a || value.n > UINT16_MAX)
        return attr_lost(set);
    bool again = a != &set->v[set->n] && a->type == ATTR_STR;
    if (again && (const char *)value.p == a->s && value.n == a->len)
        return true;
    if (again) { /* into the old room when the new text fits there; value may not lie in this arena at that place */
        bool cut;
        const u8 *old = (const u8 *)a->s;
        bool apart = value.p + value.n <= old || value.p >= old + a->len + 1;
        if (apart && value.n <= a->len && ascii_run(value.p, value.n) == value.n) {
            a->len = (u16)utf8_copy((char *)(uintptr_t)a->s, a->len, value, &cut);
            ((char *)(uintptr_t)a->s)[a->len] = 0;
            return true;
        }
    }
    const char *s = arena_add(set, value, UINT16_MAX - 1, false, &len);
    if (!s)
        return attr_lost(set);
    return attr_put(set, a, (struct attr){ .key = key, .type = ATTR_STR, .len = (u16)len, .s = s });
}

bool attr_int(struct attr_set *set, const char *key, s64 value)
{
    return attr_put(set, attr_slot(set, key), (struct attr){ .key = key, .type = ATTR_INT, .i = value });
}

bool attr_double(struct attr_set *set, const char *key, double value)
{
    return attr_put(set, attr_slot(set, key), (struct attr){ .key = key, .type = ATTR_DOUBLE, .d = value });
}

bool attr_bool(struct attr_set *set, const char *key, bool value)
{
    return attr_put(set, attr_slot(set, key), (struct attr){ .key = key, .type = ATTR_BOOL, .b = value });
}

/* Back to back in the arena that there is. */
static bool strv_put(struct attr_set *set, const struct slice *values, size_t n)
{
    u16 start = set->used;
    bool grows = set->grows, fits = true;
    size_t len;
    set->grows = false;
    for (size_t i = 0; fits && i < n; i++)
        fits = arena_add(set, values[i], UINT16_MAX - 1, false, &len);
    set->grows = grows;
    if (!fits)
        set->used = start;
    return fits;
}

static size_t strv_most(const struct slice *values, size_t n)
{
    size_t most = 0;
    for (size_t i = 0; i < n; i++)
        most += 3 * values[i].n + 1; /* a bad byte becomes three */
    return most;
}

bool attr_strv(struct attr_set *set, const char *key, const struct slice *values, size_t n)
{
    struct attr *a = attr_slot(set, key);
    if (!a)
        return attr_lost(set);
    u16 start = set->used;
    if (!strv_put(set, values, n)) {
        if (!set->grows || !span_grow(set, min_u64(strv_most(values, n), SPAN_TEXT)))
            return attr_lost(set);
        start = set->used;
        if (!strv_put(set, values, n))
            return attr_lost(set);
    }
    return attr_put(set, a,
                    (struct attr){ .key = key, .type = ATTR_STRV, .len = (u16)(set->used - start), .s = set->text + start });
}

static bool attr_copy_text(struct attr_set *to, const struct attr *a)
{
    size_t need = (size_t)a->len + (a->type == ATTR_STR); /* a list's own NULs are in its length */
    if (a->type == ATTR_STR)
        return attr_str(to, a->key, slice_of(a->s, a->len));
    struct attr *at = attr_slot(to, a->key);
    if (!at || (need > arena_room(to) && !(to->grows && span_grow(to, need))))
        return attr_lost(to);
    struct attr copy = *a;
    copy.s = memcpy(to->text + to->used, a->s, need);
    to->used = (u16)(to->used + need);
    return attr_put(to, at, copy);
}

void attr_set_copy(struct attr_set *to, const struct attr_set *from)
{
    for (u16 i = 0; i < from->n; i++) {
        const struct attr *a = &from->v[i];
        if (a->type == ATTR_STR || a->type == ATTR_STRV)
            attr_copy_text(to, a);
        else
            attr_put(to, attr_slot(to, a->key), *a);
    }
    to->dropped = (u16)min_u64((u64)to->dropped + from->dropped, UINT16_MAX);
}

/* Interned keys: published once, read without a lock, never taken back. The ceiling is there because a rule may build
 * keys from data; beyond it every new key shares one name. */
#define INTERN_BUCKETS 4096
#define INTERN_MAX     65536
struct interned {
    struct interned *next;
    char text[];
};
static struct interned *intern_buckets[INTERN_BUCKETS];
static u32 intern_count;
static pthread_mutex_t intern_lock = PTHREAD_MUTEX_INITIALIZER;

static const char *intern_find(struct interned **bucket, const char *key)
{
    for (struct interned *e = __atomic_load_n(bucket, __ATOMIC_ACQUIRE); e; e = e->next)
        if (!strcmp(e->text, key))
            return e->text;
    return NULL;
}

static const char *intern_add(struct interned **bucket, const char *key)
{
    size_t n = strlen(key) + 1;
    struct interned *e = intern_count < INTERN_MAX ? malloc(sizeof(*e) + n) : NULL;
    if (!e)
        return "wftrace.key_overflow";
    memcpy(e->text, key, n);
    e->next = *bucket;
    __atomic_store_n(bucket, e, __ATOMIC_RELEASE);
    intern_count++;
    return e->text;
}

const char *intern(const char *key)
{
    struct interned **bucket = &intern_buckets[hash_bytes(key, strlen(key), 0) % INTERN_BUCKETS];
    const char *hit = intern_find(bucket, key);
    if (hit)
        return hit;
    pthread_mutex_lock(&intern_lock);
    hit = intern_find(bucket, key);
    if (!hit)
        hit = intern_add(bucket, key);
    pthread_mutex_unlock(&intern_lock);
    return hit;
}
