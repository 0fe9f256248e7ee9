/* Activities of a C program: nested, recursive, on threads, failing. A fixed run, so that its tree is known exactly.
 * Prints nothing but «done». See rules/native_c.yaml. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define KEEP      __attribute__((noinline, visibility("default")))
#define BARRIER() __asm__ volatile("" ::: "memory")

struct order {
    int number;
    int lines;
    const char *customer;
};

KEEP int check_stock(const char *item, int count)
{
    BARRIER();
    return (int)strlen(item) + count;
}

KEEP int charge(const struct order *o, long cents)
{
    BARRIER();
    if (cents < 0) {
        errno = ERANGE;
        return -1;
    }
    return o->number;
}

KEEP int place_order(struct order *o, long cents)
{
    int stock = 0;
    for (int i = 0; i < o->lines; i++)
        stock += check_stock(i ? "chair" : "lamp", i);
    int got = charge(o, cents);
    BARRIER();
    return got < 0 ? got : stock;
}

KEEP unsigned walk(unsigned depth)
{
    unsigned below = depth ? walk(depth - 1) : 0;
    BARRIER();
    return below + 1;
}

KEEP int thread_job(int which)
{
    struct order o = { .number = 100 + which, .lines = 1, .customer = "thread" };
    int got = place_order(&o, 5);
    BARRIER();
    return got;
}

static void *thread_main(void *arg)
{
    thread_job((int)(long)arg);
    return NULL;
}

int main(void)
{
    struct order good = { .number = 7, .lines = 2, .customer = "Ada" }, bad = { .number = 8, .lines = 1, .customer = "Bob" };
    place_order(&good, 1999);
    place_order(&bad, -1);
    walk(4);
    pthread_t t[3];
    for (long i = 0; i < 3; i++)
        pthread_create(&t[i], NULL, thread_main, (void *)i);
    for (int i = 0; i < 3; i++)
        pthread_join(t[i], NULL);
    puts("done");
    return 0;
}
