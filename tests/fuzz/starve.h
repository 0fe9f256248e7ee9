/* Memory that runs out, for alloc*.c: linked with --wrap, so that only our code and static libraries fail. While armed, the
 * allocation of number fail_at (from 1; 0: none) fails, and all after it if for_good. Threads may allocate at the same time. */
#ifndef WF_FUZZ_STARVE_H
#define WF_FUZZ_STARVE_H

#include "base/base.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

static struct {
    bool armed, for_good;
    u32 fail_at;
    u32 asked, failed; /* so far */
} memory;

static bool refuse(void)
{
    if (!__atomic_load_n(&memory.armed, __ATOMIC_ACQUIRE))
        return false;
    u32 asked = __atomic_add_fetch(&memory.asked, 1, __ATOMIC_RELAXED);
    if (!memory.fail_at || (memory.for_good ? asked < memory.fail_at : asked != memory.fail_at))
        return false;
    __atomic_add_fetch(&memory.failed, 1, __ATOMIC_RELAXED);
    errno = ENOMEM;
    return true;
}

void *__wrap_malloc(size_t n) { return refuse() ? NULL : __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t size) { return refuse() ? NULL : __real_calloc(n, size); }
void *__wrap_realloc(void *p, size_t n) { return refuse() ? NULL : __real_realloc(p, n); }
char *__wrap_strdup(const char *s) { return refuse() ? NULL : __real_strdup(s); }
char *__wrap_strndup(const char *s, size_t n) { return refuse() ? NULL : __real_strndup(s, n); }

static void memory_arm(u32 fail_at, bool for_good)
{
    memory.for_good = for_good;
    memory.fail_at = fail_at;
    memory.asked = memory.failed = 0;
    __atomic_store_n(&memory.armed, true, __ATOMIC_RELEASE);
}
static void memory_disarm(void) { __atomic_store_n(&memory.armed, false, __ATOMIC_RELEASE); }

static u32 passed, failed;

static void verdict(const char *what, bool ok)
{
    passed += ok;
    failed += !ok;
    if (!ok)
        printf("FAILED %s\n", what);
}

/* Runs it with the first allocation failing, then every `step`th, until none does (*ret_more stays false). */
static inline void each_of(const char *name, u32 step, bool (*run)(bool *ret_more, u32 n, bool for_good))
{
    bool ok = true, more = true;
    u32 n = 1, most = 20000;
    for (; more && n < most; n += step) {
        bool after;
        bool one = run(&more, n, false), all = run(&after, n, true);
        if (!one || !all)
            printf("%s: allocation %u%s\n", name, n, one ? " and all after it" : "");
        ok = ok && one && all;
    }
    verdict(name, ok && n > 2 && n < most);
}
static inline void each(const char *name, bool (*run)(bool *ret_more, u32 n, bool for_good)) { each_of(name, 1, run); }

#endif
