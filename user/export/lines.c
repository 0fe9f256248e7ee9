/* A full disk is the error to expect: the batch is then given up (counted by the queue), and the next one is tried anew. */
#include "export/lines.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

struct line_file {
    struct line_file *next;
    u32 refs; /* under list_lock */
    char path[1024];
    u64 rotate_bytes; /* 0: never */
    u32 keep;
    pthread_mutex_t lock;
    int fd;
    bool regular; /* a torn line can be taken back, and it can be rotated */
};

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct line_file *files;

/* --- files --- */

static int file_begin(struct line_file *f)
{
    struct stat st;
    int fd = open(f->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    if (f->fd >= 0)
        close(f->fd);
    f->fd = fd;
    f->regular = !fstat(fd, &st) && S_ISREG(st.st_mode);
    return 0;
}

static int file_new(const struct export_spec *spec, struct line_file **ret)
{
    struct line_file *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    *f = (struct line_file){ .fd = -1, .rotate_bytes = spec->rotate_bytes, .keep = spec->keep ? spec->keep : 5 };
    strcpy(f->path, spec->target);
    int e = file_begin(f);
    if (e) {
        free(f);
        return e;
    }
    pthread_mutex_init(&f->lock, NULL);
    f->next = files;
    files = f;
    *ret = f;
    return 0;
}

static int file_share(const struct export_spec *spec, struct line_file **ret)
{
    int e = 0;
    pthread_mutex_lock(&list_lock);
    struct line_file *f = files;
    while (f && strcmp(f->path, spec->target))
        f = f->next;
    if (!f)
        e = file_new(spec, &f);
    if (!e) {
        f->refs++;
        *ret = f;
    }
    pthread_mutex_unlock(&list_lock);
    return e;
}

static void file_leave(struct line_file *f)
{
    pthread_mutex_lock(&list_lock);
    bool last = !--f->refs;
    for (struct line_file **at = &files; last && *at; at = &(*at)->next)
        if (*at == f) {
            *at = f->next;
            break;
        }
    pthread_mutex_unlock(&list_lock);
    if (!last)
        return;
    close(f->fd);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

/* FILE.4 → FILE.5, … FILE → FILE.1; the one beyond `keep` goes. What can't be renamed stays and grows. */
static void file_rotate(struct line_file *f)
{
    char from[1100], to[1100];
    for (u32 i = f->keep; i > 0; i--) {
        snprintf(to, sizeof(to), "%s.%u", f->path, i);
        snprintf(from, sizeof(from), i > 1 ? "%s.%u" : "%s", f->path, i - 1);
        if (rename(from, to) && i == 1)
            return;
    }
    (void)file_begin(f);
}

/* The file that the path names now, with room for `more` bytes. */
static void file_settle(struct line_file *f, size_t more)
{
    struct stat here, there;
    if (!f->regular || fstat(f->fd, &here))
        return;
    if (stat(f->path, &there) || there.st_ino != here.st_ino || there.st_dev != here.st_dev)
        (void)file_begin(f); /* on failure the old one goes on */
    else if (f->rotate_bytes && here.st_size && (u64)here.st_size + more > f->rotate_bytes)
        file_rotate(f);
}

/* --- writing --- */

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

static int file_write(struct line_file *f, const char *p, size_t n)
{
    struct stat st;
    pthread_mutex_lock(&f->lock);
    file_settle(f, n);
    bool restore = f->regular && !fstat(f->fd, &st);
    int e = write_all(f->fd, p, n);
    if (e && restore && ftruncate(f->fd, st.st_size))
        e = -errno;
    pthread_mutex_unlock(&f->lock);
    return e;
}

int lines_open(struct lines *l, const struct export_spec *spec, char *err, size_t err_size)
{
    *l = (struct lines){ .fd = -1, .json.max = LINES_MAX };
    bool standard_error = !*spec->target, standard_output = !strcmp(spec->target, "-");
    if (standard_error || standard_output) {
        l->fd = standard_output ? STDOUT_FILENO : STDERR_FILENO;
        strcpy(l->name, standard_output ? "standard output" : "standard error");
        return 0;
    }
    snprintf(l->name, sizeof(l->name), "%.60s", spec->target);
    int e = file_share(spec, &l->file);
    if (e)
        snprintf(err, err_size, "cannot write %s: %s", spec->target, errno_name(e));
    return e;
}

enum export_result lines_write(struct lines *l, struct export_reply *ret)
{
    const char *text = l->json.p ? l->json.p : "";
    int e = l->json.failed ? -ENOMEM : l->file ? file_write(l->file, text, l->json.n) : write_all(l->fd, text, l->json.n);
    l->json.n = 0;
    l->json.failed = false;
    if (!e)
        return EXPORT_OK;
    snprintf(ret->why, sizeof(ret->why), "cannot write %s: %s", l->name, errno_name(e));
    ret->cause = CAUSE_WRITE;
    return EXPORT_DROP;
}

void lines_close(struct lines *l)
{
    if (l->file)
        file_leave(l->file);
    json_done(&l->json);
    grouping_done(&l->group);
}

int lines_exporter_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    struct lines *l = malloc(sizeof(*l));
    if (!l) {
        snprintf(err, err_size, "out of memory");
        return -ENOMEM;
    }
    int e = lines_open(l, spec, err, err_size);
    if (e)
        free(l);
    else
        *ret = l;
    return e;
}

void lines_exporter_close(void *self)
{
    lines_close(self);
    free(self);
}
