/* The few functions behind base.h that are too long to sit in a header. */
#include "base/base.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

void freep(void *pointer_to_pointer)
{
    void *p;
    memcpy(&p, pointer_to_pointer, sizeof(p));
    free(p);
}

void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

void fclosep(FILE **f)
{
    if (*f)
        fclose(*f);
}

static u8 ascii_lower(u8 c) { return c >= 'A' && c <= 'Z' ? c | 0x20 : c; }

bool slice_istarts(struct slice s, const char *lit)
{
    size_t n = strlen(lit);
    if (s.n < n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (ascii_lower(s.p[i]) != ascii_lower((u8)lit[i]))
            return false;
    return true;
}

bool slice_ieq(struct slice s, const char *lit) { return s.n == strlen(lit) && slice_istarts(s, lit); }

ptrdiff_t slice_find(struct slice s, u8 byte)
{
    const u8 *hit = s.n ? memchr(s.p, byte, s.n) : NULL;
    return hit ? hit - s.p : -1;
}

static bool is_blank(u8 c) { return c == ' ' || c == '\t'; }

struct slice slice_trim(struct slice s)
{
    while (s.n && is_blank(s.p[0]))
        s = slice_of(s.p + 1, s.n - 1);
    while (s.n && is_blank(s.p[s.n - 1]))
        s.n--;
    return s;
}

int slice_u64(struct slice s, u64 *ret)
{
    u64 value = 0;
    if (!s.n)
        return -EINVAL;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return -EINVAL;
        if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, s.p[i] - '0', &value))
            return -ERANGE;
    }
    *ret = value;
    return 0;
}

/* Eight bytes at a time through the 64-bit finaliser; the length goes in first, so that zero padding counts. */
u64 hash_bytes(const void *p, size_t n, u64 seed)
{
    const u8 *at = p;
    u64 h = hash_u64(seed ^ (n * 0x9e3779b97f4a7c15ull)), word;
    for (; n >= sizeof(word); n -= sizeof(word), at += sizeof(word)) {
        memcpy(&word, at, sizeof(word));
        h = hash_u64(h ^ word) + 0x9e3779b97f4a7c15ull;
    }
    if (n) {
        word = 0;
        memcpy(&word, at, n);
        h = hash_u64(h ^ word);
    }
    return h;
}

const char *errno_name(int err)
{
    const char *name = strerrorname_np(err < 0 ? (int)(0u - (unsigned)err) : err);
    return name ? name : "E?";
}

int read_small_file(const char *path, size_t max, char **ret_text, size_t *ret_len)
{
    cleanup(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t room = max < 4096 ? max : 4096, len = 0;
    cleanup(freep) char *text = malloc(room + 1);
    if (!text)
        return -ENOMEM;
    for (;;) {
        if (len == room) {
            if (room == max)
                break;
            room = room > max / 2 ? max : room * 2;
            char *bigger = realloc(text, room + 1);
            if (!bigger)
                return -ENOMEM;
            text = bigger;
        }
        ssize_t got = read(fd, text + len, room - len);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (!got)
            break;
        len += (size_t)got;
    }
    text[len] = 0;
    *ret_text = take_ptr(text);
    if (ret_len)
        *ret_len = len;
    return 0;
}

static u64 clock_ns(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (u64)ts.tv_sec * NSEC_PER_SEC + (u64)ts.tv_nsec;
}

u64 clock_boot_ns(void) { return clock_ns(CLOCK_BOOTTIME); }
u64 clock_wall_ns(void) { return clock_ns(CLOCK_REALTIME); }

#define WORD_MAX 64

static u32 min3(u32 a, u32 b, u32 c) { return a < b ? (a < c ? a : c) : (b < c ? b : c); }

/* Edit distance where swapping two neighbours counts once (the commonest slip of a typist); both ≤ WORD_MAX. */
static u32 word_distance(const char *a, size_t na, const char *b, size_t nb)
{
    u32 rows[3][WORD_MAX + 1];
    u32 *older = rows[0], *old = rows[1], *now = rows[2];
    for (size_t j = 0; j <= nb; j++)
        old[j] = (u32)j;
    for (size_t i = 1; i <= na; i++) {
        now[0] = (u32)i;
        for (size_t j = 1; j <= nb; j++) {
            u8 x = ascii_lower((u8)a[i - 1]), y = ascii_lower((u8)b[j - 1]);
            now[j] = min3(old[j] + 1, now[j - 1] + 1, old[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == ascii_lower((u8)b[j - 2]) && ascii_lower((u8)a[i - 2]) == y && older[j - 2] + 1 < now[j])
                now[j] = older[j - 2] + 1;
        }
        u32 *spare = older;
        older = old, old = now, now = spare;
    }
    return old[nb];
}

const char *nearest_word(const char *word, const char *const *candidates, size_t n)
{
    size_t len = strlen(word);
    if (!len || len > WORD_MAX)
        return NULL;
    u32 best = (u32)(len < 3 ? 1 : len / 3 + 1);
    const char *ret = NULL;
    for (size_t i = 0; i < n; i++) {
        size_t other = candidates[i] ? strlen(candidates[i]) : 0;
        if (!other || other > WORD_MAX)
            continue;
        u32 d = word_distance(word, len, candidates[i], other);
        if (d >= len && d >= other) /* nothing in common */
            continue;
        if (ret ? d < best : d <= best) {
            best = d;
            ret = candidates[i];
        }
    }
    return ret;
}

size_t utf8_len(const u8 *s)
{
    size_t n = *s < 0x80 ? 1 : (*s & 0xe0) == 0xc0 ? 2 : (*s & 0xf0) == 0xe0 ? 3 : (*s & 0xf8) == 0xf0 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((n == 2 && *s < 0xc2) || (n == 3 && *s == 0xe0 && s[1] < 0xa0) || (n == 3 && *s == 0xed && s[1] > 0x9f) ||
        (n == 4 && (*s > 0xf4 || (*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] > 0x8f))))
        return 0;
    return n;
}
