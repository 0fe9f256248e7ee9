/* A full disk is the error to expect: the batch is then given up (counted by the queue), and the next one is tried anew. */
#include "export/lines.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

int lines_open(struct lines *l, const char *target, char *err, size_t err_size)
{
    struct stat st;
    *l = (struct lines){ .fd = -1, .json.max = LINES_MAX };
    bool standard_error = !*target, standard_output = !strcmp(target, "-");
    if (standard_error || standard_output) {
        l->fd = standard_output ? STDOUT_FILENO : STDERR_FILENO;
        strcpy(l->name, standard_output ? "standard output" : "standard error");
        return 0;
    }
    snprintf(l->name, sizeof(l->name), "%.60s", target);
    l->fd = open(target, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (l->fd < 0) {
        int e = -errno;
        snprintf(err, err_size, "cannot write %s: %s", target, errno_name(e));
        return e;
    }
    l->own = true;
    l->regular = !fstat(l->fd, &st) && S_ISREG(st.st_mode);
    return 0;
}

static int write_all(int fd, const char *p, size_t n)
{
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EAGAIN) {
            if (poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 5000) <= 0)
                return -EAGAIN;
            continue;
        }
        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0)
            p += done, n -= (size_t)done;
    }
    return 0;
}

enum export_result lines_write(struct lines *l, struct export_reply *ret)
{
    struct stat st;
    bool restore = l->regular && !fstat(l->fd, &st);
    int e = l->json.failed ? -ENOMEM : write_all(l->fd, l->json.p ? l->json.p : "", l->json.n);
    l->json.n = 0;
    l->json.failed = false;
    if (!e)
        return EXPORT_OK;
    if (restore && ftruncate(l->fd, st.st_size))
        e = -errno;
    snprintf(ret->why, sizeof(ret->why), "cannot write %s: %s", l->name, errno_name(e));
    ret->cause = CAUSE_WRITE;
    return EXPORT_DROP;
}

void lines_close(struct lines *l)
{
    if (l->own)
        close(l->fd);
    json_done(&l->json);
    grouping_done(&l->group);
}
