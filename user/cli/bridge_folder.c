/* See bridge_folder.h. */
#include "cli/bridge_folder.h"
#include "base/log.h"
#include "cli/launch.h"
#include "workflow/workflow.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(char *err, size_t err_size, const char *path, int code)
{
    snprintf(err, err_size, "bridge_folder: %s: %s", path, errno_name(code));
    return code;
}

/* What `fill` writes becomes PATH/NAME as a whole or not at all. Everybody may read it, whatever the umask says. */
static int file_put(const char *path, const char *name, int (*fill)(void *arg, int fd), void *arg, char *err, size_t err_size)
{
    char to[PATH_MAX], new[PATH_MAX];
    if (snprintf(to, sizeof(to), "%s/%s", path, name) >= (int)sizeof(to) ||
        snprintf(new, sizeof(new), "%s/.%s.new", path, name) >= (int)sizeof(new))
        return fail(err, err_size, path, -ENAMETOOLONG);
    unlink(new);
    cleanup(closep) int fd = open(new, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return fail(err, err_size, new, -errno);
    int code = fill(arg, fd);
    if (!code && (fchmod(fd, 0644) || rename(new, to)))
        code = -errno;
    if (code)
        unlink(new);
    return code ? fail(err, err_size, to, code) : 0;
}

static int fill_copy(void *arg, int to)
{
    char buffer[16384];
    cleanup(closep) int from = open(arg, O_RDONLY | O_CLOEXEC);
    ssize_t n = from < 0 ? -1 : 0;
    while (from >= 0 && (n = read(from, buffer, sizeof(buffer))) > 0)
        if (write(to, buffer, (size_t)n) != n)
            return errno ? -errno : -EIO;
    return n < 0 ? -errno : 0;
}

static int fill_watches(void *arg, int to)
{
    int fd = dup(to);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "we");
    if (!f)
        return -errno;
    int code = agent_watches(arg, f);
    return fclose(f) && !code ? -EIO : code;
}

/* The folder may stand in this one place already: an image with the helper in it. */
static bool is_same(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int helper_copy(const char *path, const char *helper, char *err, size_t err_size)
{
    static const char *const files[] = { "_wftrace.abi3.so", "sitecustomize.py", "attach.py", "wftrace_preload.so" };
    char from[PATH_MAX + 32];
    int code = 0;
    for (size_t i = 0; i < ARRAY_LEN(files) && !code && !is_same(path, helper); i++) {
        snprintf(from, sizeof(from), "%s/%s", helper, files[i]);
        code = file_put(path, files[i], fill_copy, from, err, err_size);
    }
    return code;
}

void bridge_folder_renew(const struct bridge_folder *f, struct agent *a)
{
    char err[512];
    if (f->path[0] && file_put(f->path, "watch", fill_watches, a, err, sizeof(err)))
        log_warn("bridge", "%s (Pythons that start now are told the old rules)", err);
}

int bridge_folder_fill(struct bridge_folder *f, struct agent *a, const char *path, char *err, size_t err_size)
{
    char helper[PATH_MAX], object[PATH_MAX + 32];
    *f = (struct bridge_folder){ 0 };
    if (!path)
        return 0;
    if (path[0] != '/' || strlen(path) >= sizeof(f->path))
        return fail(err, err_size, path, -EINVAL);
    if (!helper_find(helper, sizeof(helper)))
        return fail(err, err_size, "_wftrace.abi3.so beside wftrace", -ENOENT);
    if (mkdir(path, 0755) && errno != EEXIST)
        return fail(err, err_size, path, -errno);
    int code = helper_copy(path, helper, err, err_size);
    if (!code)
        code = file_put(path, "watch", fill_watches, a, err, err_size);
    if (code)
        return code;
    snprintf(object, sizeof(object), "%s/_wftrace.abi3.so", path);
    code = agent_file(a, object);
    if (code)
        return fail(err, err_size, object, code);
    memcpy(f->path, path, strlen(path));
    log_info("bridge", "%s has the helper and the watch list for Pythons with PYTHONPATH=%s", path, path);
    return 0;
}

void bridge_folder_say(struct bridge_folder *f, const struct agent *a)
{
    struct workflow_notes n;
    if (!f->path[0] || (f->told_foreign && f->told_refused))
        return;
    agent_notes(a, &n);
    if (n.foreign && !f->told_foreign)
        log_warn("bridge",
                 "process %u (maybe others) has the watch list of other rules or another wftrace: its Python functions are not "
                 "seen until it starts anew",
                 n.foreign);
    if (n.refused[0] && !f->told_refused)
        log_warn("bridge", "a helper did not start: %s", n.refused);
    f->told_foreign |= n.foreign != 0;
    f->told_refused |= n.refused[0] != 0;
}
