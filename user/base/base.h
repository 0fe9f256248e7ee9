/* The vocabulary that every file speaks: integers, slices, cleanup, small arithmetic. No policy lives here. */
#ifndef WF_BASE_BASE_H
#define WF_BASE_BASE_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int32_t s32;
typedef int64_t s64;

#define ARRAY_LEN(a)                    (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define UNUSED(x)                       ((void)(x))
#define NSEC_PER_SEC                    1000000000ull
#define NSEC_PER_MSEC                   1000000ull

/* Ownership is declared at the variable: `cleanup(freep) char *s = …`, and moved by name: `return take_ptr(s);`. */
#define cleanup(fn) __attribute__((cleanup(fn)))
#define take_ptr(p)                                                                                                              \
    ({                                                                                                                           \
        __typeof__(p) taken_ = (p);                                                                                              \
        (p) = NULL;                                                                                                              \
        taken_;                                                                                                                  \
    })
void freep(void *pointer_to_pointer);
void closep(int *fd);
void fclosep(FILE **f);

/* A borrowed run of bytes. It never owns and is never NUL-terminated by right. */
struct slice {
    const u8 *p;
    size_t n;
};

static inline struct slice slice_of(const void *p, size_t n) { return (struct slice){ p, n }; }
static inline struct slice slice_str(const char *s) { return (struct slice){ (const u8 *)s, s ? strlen(s) : 0 }; }
/* The part from `off` on; empty when `off` lies past the end. */
static inline struct slice slice_from(struct slice s, size_t off)
{
    return off >= s.n ? slice_of(s.p + s.n, 0) : slice_of(s.p + off, s.n - off);
}
static inline struct slice slice_head(struct slice s, size_t n) { return slice_of(s.p, n < s.n ? n : s.n); }
static inline bool slice_eq(struct slice s, const char *lit)
{
    size_t n = strlen(lit);
    return s.n == n && (!n || !memcmp(s.p, lit, n)); /* an empty one may have no bytes at all */
}
static inline bool slice_starts(struct slice s, const char *lit)
{
    size_t n = strlen(lit);
    return s.n >= n && !memcmp(s.p, lit, n);
}
bool slice_ieq(struct slice s, const char *lit); /* ASCII case-insensitive */
bool slice_istarts(struct slice s, const char *lit);
ptrdiff_t slice_find(struct slice s, u8 byte); /* index or -1 */
struct slice slice_trim(struct slice s);       /* without spaces and tabs at either end */
int slice_u64(struct slice s, u64 *ret);       /* whole decimal number; -EINVAL, -ERANGE */

static inline u64 min_u64(u64 a, u64 b) { return a < b ? a : b; }
static inline u64 max_u64(u64 a, u64 b) { return a > b ? a : b; }

static inline u16 load_be16(const u8 *p) { return (u16)(p[0] << 8 | p[1]); }
static inline u32 load_be32(const u8 *p) { return (u32)p[0] << 24 | (u32)p[1] << 16 | (u32)p[2] << 8 | p[3]; }
static inline u64 load_be64(const u8 *p) { return (u64)load_be32(p) << 32 | load_be32(p + 4); }

u64 hash_bytes(const void *p, size_t n, u64 seed);
static inline u64 hash_u64(u64 x)
{
    x ^= x >> 33;
    x *= 0xff51afd7ed558ccdull;
    x ^= x >> 33;
    x *= 0xc4ceb9fe1a85ec53ull;
    return x ^ x >> 33;
}

/* Symbolic errno for messages: err may be negative. "EPERM", "ENOENT", …; never NULL. */
const char *errno_name(int err);

/* Reads a whole small file (procfs too) into a NUL-terminated buffer that the caller frees; at most `max` bytes are
 * kept. -errno on failure. */
int read_small_file(const char *path, size_t max, char **ret_text, size_t *ret_len);

/* Clocks, ns. Events carry boot time; spans carry wall time. */
u64 clock_boot_ns(void);
u64 clock_wall_ns(void);

/* Length of the well-formed UTF-8 sequence at s, in a C string: 1 to 4; 0 when it is none. */
size_t utf8_len(const u8 *s);

/* The candidate nearest to `word` by edit distance, or NULL when nothing is near enough to suggest. */
const char *nearest_word(const char *word, const char *const *candidates, size_t n);

#endif
