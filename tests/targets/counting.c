/* Calls work(n) for n = 0, 1, … in stages of 20, until a file is there; then says how often. The file's name is its argument. */
#include <stdio.h>
#include <unistd.h>

#define KEEP      __attribute__((noinline, visibility("default")))
#define BARRIER() __asm__ volatile("" ::: "memory")

KEEP int work(int n)
{
    usleep(300);
    BARRIER();
    return n;
}

KEEP int stage(int first)
{
    for (int n = first; n < first + 20; n++)
        work(n);
    BARRIER();
    return first;
}

int main(int argc, char **argv)
{
    int n = 0;
    if (argc < 2)
        return 2;
    for (; access(argv[1], F_OK); n += 20)
        stage(n);
    printf("%d\n", n);
    return 0;
}
