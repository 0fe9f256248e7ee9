/* What is hit, so that the cost of a hit can be measured: reads lines «KIND N» and answers with the CPU ns that one of N turns
 * of this thread, and its children, took. Functions of one known instruction each decide what a probe on them costs. x86-64. */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sdt.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* begins with a nop; with a push (emulated by the kernel); with an instruction that it must single-step */
__asm__(".text\n"
        ".globl at_nop\n.type at_nop,@function\nat_nop: nop\n mov %rdi,%rax\n ret\n.size at_nop,.-at_nop\n"
        ".globl at_push\n.type at_push,@function\nat_push: push %rbx\n mov %rdi,%rax\n pop %rbx\n ret\n.size at_push,.-at_push\n"
        ".globl at_step\n.type at_step,@function\nat_step: lea 1(%rdi),%rax\n ret\n.size at_step,.-at_step\n");
long at_nop(long n), at_push(long n), at_step(long n);

static int here, there; /* both ends of one TCP connection */
static char request[120], answer[160];

static void connect_both(void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof(a);
    int yes = 1, l = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(l, (void *)&a, n) || listen(l, 1) || getsockname(l, (void *)&a, &n))
        exit(1);
    here = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(here, (void *)&a, n) || (there = accept(l, NULL, NULL)) < 0)
        exit(1);
    setsockopt(here, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    setsockopt(there, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    close(l);
    memset(request, 'a', sizeof(request));
    memset(answer, 'b', sizeof(answer));
    memcpy(request, "GET / HTTP/1.1\r\nHost: x\r\nX: ", 28);
    memcpy(request + sizeof(request) - 4, "\r\n\r\n", 4);
    memcpy(answer, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\nX: ", 41);
    memcpy(answer + 56, "\r\n\r\n", 4);
}

/* Two sends, one of them scattered, and two receives. */
static void turn_socket(void)
{
    char in[256];
    struct iovec v[2] = { { answer, 60 }, { answer + 60, sizeof(answer) - 60 } };
    if (send(here, request, sizeof(request), 0) < 0 || recv(there, in, sizeof(in), 0) < 0 || writev(there, v, 2) < 0 ||
        recv(here, in, sizeof(in), 0) < 0)
        exit(1);
}

static void turn_fork(void)
{
    pid_t pid = vfork();
    if (!pid)
        _exit(0);
    waitpid(pid, NULL, 0);
}

static void turn_exec(void)
{
    char *argv[] = { "true", NULL }, *env[] = { NULL };
    pid_t pid;
    if (!posix_spawn(&pid, "/bin/true", NULL, NULL, argv, env))
        waitpid(pid, NULL, 0);
}

#ifdef UNWINDS /* what a C++ program has: no uretprobes then, but a probe on each `ret` */
int __gxx_personality_v0;
#endif

static volatile long sink;
static void turn_nop(void) { sink = at_nop(1); }
static void turn_push(void) { sink = at_push(1); }
static void turn_step(void) { sink = at_step(1); }
static void turn_usdt(void) { STAP_PROBE1(bench, point, 1); }

static const struct {
    const char *name;
    void (*turn)(void);
} kinds[] = { { "socket", turn_socket }, { "fork", turn_fork }, { "exec", turn_exec }, { "nop", turn_nop },
              { "push", turn_push },     { "step", turn_step }, { "usdt", turn_usdt } };

/* Of this thread and the children that were waited for. */
static long long cpu_ns(void)
{
    struct timespec t;
    struct rusage r;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    getrusage(RUSAGE_CHILDREN, &r);
    return (t.tv_sec + r.ru_utime.tv_sec + r.ru_stime.tv_sec) * 1000000000ll + t.tv_nsec +
           (r.ru_utime.tv_usec + r.ru_stime.tv_usec) * 1000ll;
}

int main(void)
{
    char kind[16];
    long n;
    connect_both();
    while (scanf("%15s %ld", kind, &n) == 2) {
        void (*turn)(void) = NULL;
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
            if (!strcmp(kind, kinds[i].name))
                turn = kinds[i].turn;
        if (!turn || n <= 0)
            return 1;
        long long began = cpu_ns();
        for (long i = 0; i < n; i++)
            turn();
        printf("%.1f\n", (double)(cpu_ns() - began) / (double)n);
        fflush(stdout);
    }
    return 0;
}
