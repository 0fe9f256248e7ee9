/* A native thread pool, the kind that gives a tracer no hint: one epoll thread reads requests, a mutex + condition
 * variable queue hands them to workers, a worker asks Redis and writes the answer itself.
 * Usage: pool_server PORT REDIS_PORT WORKERS. GET /pool/ID answers with the ids of the calls made. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define MAX_JOBS 1024
#define MAX_FDS  4096

struct job {
    int fd;
    char rid[64];
};
static struct job queue[MAX_JOBS];
static unsigned head, tail;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t more = PTHREAD_COND_INITIALIZER;
static int epoll_fd, redis_port;
static char inbox[MAX_FDS][2048];
static size_t inbox_len[MAX_FDS];

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void put_job(int fd, const char *rid)
{
    pthread_mutex_lock(&lock);
    if (tail - head == MAX_JOBS)
        die("queue full");
    struct job *j = &queue[tail++ % MAX_JOBS];
    j->fd = fd;
    snprintf(j->rid, sizeof j->rid, "%s", rid);
    pthread_cond_signal(&more);
    pthread_mutex_unlock(&lock);
}

static struct job take_job(void)
{
    pthread_mutex_lock(&lock);
    while (head == tail)
        pthread_cond_wait(&more, &lock);
    struct job j = queue[head++ % MAX_JOBS];
    pthread_mutex_unlock(&lock);
    return j;
}

static int connect_redis(void)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(redis_port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    if (connect(fd, (void *)&to, sizeof to))
        die("connect redis");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void ask_redis(int fd, const char *key)
{
    char buf[256];
    int n = snprintf(buf, sizeof buf, "*2\r\n$3\r\nGET\r\n$%zu\r\n%s\r\n", strlen(key), key);
    if (send(fd, buf, n, 0) != n || recv(fd, buf, sizeof buf, 0) != 5)
        die("redis");
}

static void *work(void *arg)
{
    int redis = connect_redis();
    for (;;) {
        struct job j = take_job();
        char a[80], b[80], out[512];
        snprintf(a, sizeof a, "%s.r1", j.rid);
        snprintf(b, sizeof b, "%s.r2", j.rid);
        ask_redis(redis, a);
        ask_redis(redis, b);
        int n = snprintf(out, sizeof out, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s,%s", strlen(a) + strlen(b) + 1, a, b);
        if (send(j.fd, out, n, MSG_NOSIGNAL) != n)
            perror("send");
    }
    return arg;
}

static void on_input(int fd)
{
    ssize_t n = recv(fd, inbox[fd] + inbox_len[fd], sizeof inbox[fd] - 1 - inbox_len[fd], MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        inbox_len[fd] = 0;
        close(fd);
        return;
    }
    inbox_len[fd] += n;
    inbox[fd][inbox_len[fd]] = 0;
    if (!strstr(inbox[fd], "\r\n\r\n"))
        return;
    char rid[64] = "none";
    sscanf(inbox[fd], "GET /pool/%63s", rid);
    inbox_len[fd] = 0;
    put_job(fd, rid);
}

static int listen_on(int port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (void *)&at, sizeof at) || listen(fd, 512))
        die("listen");
    return fd;
}

static void watch(int fd)
{
    struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e))
        die("epoll_ctl");
}

static void serve(int listener)
{
    struct epoll_event ev[64];
    for (;;) {
        int n = epoll_wait(epoll_fd, ev, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = ev[i].data.fd;
            if (fd != listener) {
                on_input(fd);
            } else if ((fd = accept(listener, NULL, NULL)) >= 0 && fd < MAX_FDS) {
                inbox_len[fd] = 0;
                watch(fd);
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc != 4)
        return fprintf(stderr, "usage: pool_server PORT REDIS_PORT WORKERS\n"), 2;
    redis_port = atoi(argv[2]);
    epoll_fd = epoll_create1(0);
    int listener = listen_on(atoi(argv[1]));
    watch(listener);
    for (int i = 0; i < atoi(argv[3]); i++) {
        pthread_t t;
        if (pthread_create(&t, NULL, work, NULL))
            die("pthread_create");
    }
    serve(listener);
}
