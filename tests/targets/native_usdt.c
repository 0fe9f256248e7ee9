/* USDT probes with semaphores: arguments are only computed while a tracer is there. See rules/native_usdt.yaml.
 * Prints how often each semaphore was seen raised, so that a test knows the tracer raised and lowered it.
 * Usage: native_usdt ROUNDS (then waits for a line on stdin when ROUNDS is negative). */
#define _SDT_HAS_SEMAPHORES 1
#include <stdio.h>
#include <stdlib.h>
#include <sys/sdt.h>
#include <unistd.h>

__extension__ unsigned short shop_job__start_semaphore __attribute__((unused, section(".probes"), visibility("hidden")));
__extension__ unsigned short shop_job__done_semaphore __attribute__((unused, section(".probes"), visibility("hidden")));
__extension__ unsigned short shop_tick_semaphore __attribute__((unused, section(".probes"), visibility("hidden")));

static volatile unsigned short *const start_raised = &shop_job__start_semaphore;

static int job(int number, const char *name)
{
    int raised = *start_raised != 0;
    if (raised)
        STAP_PROBE2(shop, job__start, number, name);
    usleep(500);
    if (shop_tick_semaphore)
        STAP_PROBE1(shop, tick, number * 10);
    if (shop_job__done_semaphore)
        STAP_PROBE2(shop, job__done, number, number % 3 == 2 ? -5 : 0);
    return raised;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? atoi(argv[1]) : 3, raised = 0;
    for (int i = 0; i < rounds; i++)
        raised += job(i, i % 2 ? "odd" : "even");
    printf("done %d raised %d\n", rounds, raised);
    return 0;
}
