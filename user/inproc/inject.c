/* The steps of inject.h: look, ask, wake, wait for the answer.
 *
 * What the process runs is one line that executes attach.py of the bridge's folder in a namespace of its own; that writes its
 * result into a file beside the watch file which we have made for it. Nobody's word but that file's is taken. */
#include "inject.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "python_process.h"
#include "remote_call.h"

#define PATHS_MAX 1024

struct attempt {
    pid_t pid;
    const char *dir, *action, *watch;
    char result[PATHS_MAX], script[PATHS_MAX]; /* as the process sees them; files of ours */
    char line[PATHS_MAX * 5];
    char *err;
    size_t err_size;
};

static int fail(struct attempt *a, int err, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int fail(struct attempt *a, int err, const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    vsnprintf(a->err, a->err_size, format, ap);
    va_end(ap);
    return err;
}

static const char *seen(const struct attempt *a, const char *path, char *buffer, size_t n)
{
    snprintf(buffer, n, "/proc/%d/root%s", a->pid, path);
    return buffer;
}

/* Paths go into a line of Python between quotes. */
static bool is_plain(const char *path) { return path[0] == '/' && strlen(path) < PATHS_MAX - 32 && !strpbrk(path, "\"'\\\n\r"); }

static long status_number(pid_t pid, const char *key)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    cleanup(fclosep) FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            return strtol(line + strlen(key), NULL, 10);
    return -1;
}

static int look(struct attempt *a)
{
    char path[PATHS_MAX + 32];
    long tracer = status_number(a->pid, "TracerPid:");
    if (tracer < 0)
        return fail(a, -ESRCH, "no process %d", a->pid);
    if (tracer)
        return fail(a, -EBUSY, "process %ld (a debugger?) traces it", tracer);
    if (status_number(a->pid, "Seccomp:") == 1)
        return fail(a, -EPERM, "it runs in strict seccomp mode");
    if (!is_plain(a->dir) || !is_plain(a->watch))
        return fail(a, -EINVAL, "a path that is not absolute, too long, or has quotes in it");
    snprintf(path, sizeof path, "/proc/%d/root%s/attach.py", a->pid, a->dir);
    if (access(path, R_OK) < 0)
        return fail(a, -EACCES, "it does not see %s: put the bridge into its file system", a->dir);
    if (access(seen(a, a->watch, path, sizeof path), R_OK) < 0)
        return fail(a, -EACCES, "it does not see %s", a->watch);
    return 0;
}

/* Made by us, because the process may not be allowed to make files there; it only writes. */
static int file_make(struct attempt *a, const char *path, mode_t mode, const char *text)
{
    char there[PATHS_MAX + 32];
    unlink(seen(a, path, there, sizeof there));
    cleanup(closep) int fd = open(there, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return fail(a, -errno, "cannot make %s: %s", path, strerror(errno));
    size_t n = strlen(text);
    if (fchmod(fd, mode) < 0 || write(fd, text, n) != (ssize_t)n)
        return fail(a, -EIO, "cannot write %s", path);
    return 0;
}

static int prepare(struct attempt *a)
{
    snprintf(a->result, sizeof a->result, "%s.%d.result", a->watch, a->pid);
    snprintf(a->script, sizeof a->script, "%s.%d.py", a->watch, a->pid);
    snprintf(a->line, sizeof a->line,
             "exec(compile(open('%s/attach.py').read(), '%s/attach.py', 'exec'), {'DIR': '%s', 'WATCH': '%s', 'RESULT': '%s', "
             "'ACTION': '%s'})\n",
             a->dir, a->dir, a->dir, a->watch, a->result, a->action);
    int err = file_make(a, a->result, 0622, "");
    return err ? err : file_make(a, a->script, 0644, a->line);
}

static void tidy(struct attempt *a, bool all)
{
    char there[PATHS_MAX + 32];
    if (!all)
        return; /* it may still come to it */
    unlink(seen(a, a->result, there, sizeof there));
    unlink(seen(a, a->script, there, sizeof there));
}

/* 1 and *ret once the process has answered. */
static int answer(struct attempt *a, int *ret)
{
    char there[PATHS_MAX + 32], text[32] = "";
    cleanup(closep) int fd = open(seen(a, a->result, there, sizeof there), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0 || !strchr(text, '\n'))
        return 0;
    *ret = (int)strtol(text, NULL, 10);
    return 1;
}

static bool wait_answer(struct attempt *a, int ms, int *ret)
{
    for (int waited = 0; waited <= ms; waited += 5) {
        if (answer(a, ret))
            return true;
        usleep(5000);
    }
    return false;
}

/* Queues the line in the process, or nothing much where the interpreter knows the script already, and has the main thread come
 * to it at once if it waits where that can be done. */
static int ask_by_ptrace(struct attempt *a, const struct python_process *p, bool queued)
{
    cleanup(remote_closep) struct remote *r = NULL;
    int err = remote_open(a->pid, &r);
    if (err == -EPERM)
        return fail(a, err, "not allowed to trace it (another user's process, or kernel.yama.ptrace_scope)");
    if (err == -EAGAIN)
        return fail(a, err, "its main thread made no system call in two seconds: no safe place to stop it at");
    if (err == -ENOTSUP)
        return fail(a, err, "no way into a running process of this version on this machine");
    if (err)
        return fail(a, err, "cannot stop its main thread: %s", strerror(-err));
    u64 text = 0, result = 0, state = 0;
    err = remote_text(r, queued ? "pass" : a->line, &text);
    if (!err)
        err = remote_call(r, p->add_pending_call, p->run_simple_string, text, &result);
    if (!err && (int)result)
        return fail(a, -EAGAIN, "its queue of pending calls is full");
    if (!err && remote_waits(r)) {
        err = remote_call(r, p->gil_ensure, 0, 0, &state);
        if (!err)
            err = remote_text(r, "pass", &text);
        if (!err)
            err = remote_call(r, p->run_simple_string, text, 0, &result); /* running anything runs what is pending */
        if (!err)
            err = remote_call(r, p->gil_release, state, 0, &result);
    } else if (!err) {
        remote_interrupt(r);
    }
    return err ? fail(a, err, "its main thread could not be made to call: %s", strerror(-err)) : 0;
}

static int ask(struct attempt *a, int *ret_answer)
{
    struct python_process p;
    int err = python_process_find(a->pid, &p);
    if (err == -ENOENT || err == -ESRCH)
        return fail(a, -ESRCH, "no process %d", a->pid);
    if (err)
        return fail(a, err, err == -ENOEXEC ? "no CPython in it" : "cannot be looked into: %s", strerror(-err));
    bool queued = python_process_run_script(&p, a->script) == 0;
    if (queued && wait_answer(a, 200, ret_answer))
        return 0;
    err = ask_by_ptrace(a, &p, queued);
    if (err && !queued)
        return err;
    if (err)
        a->err[0] = 0;
    if (wait_answer(a, 10000, ret_answer))
        return 0;
    return fail(a, -ETIMEDOUT, "its main thread has not run Python for ten seconds; the bridge %ss when it does", a->action);
}

static int explain(struct attempt *a, int answer)
{
    if (answer == 1)
        return fail(a, -EALREADY, "the bridge is in it already");
    if (answer == -ENOTSUP)
        return fail(a, answer, "the bridge serves CPython 3.8 to 3.14, not free-threaded builds");
    if (answer < 0)
        return fail(a, answer, "the bridge refused: %s", strerror(-answer));
    return 0;
}

static int run(struct attempt *a)
{
    int answer = 0, err = look(a);
    if (!err)
        err = prepare(a);
    if (err)
        return err;
    err = ask(a, &answer);
    tidy(a, err != -ETIMEDOUT);
    return err ? err : explain(a, answer);
}

int bridge_inject(pid_t pid, const char *dir, const char *watch_file, char *err, size_t err_size)
{
    struct attempt a = { .pid = pid, .dir = dir, .watch = watch_file, .action = "install", .err = err, .err_size = err_size };
    return run(&a);
}

int bridge_eject(pid_t pid, const char *dir, const char *watch_file, char *err, size_t err_size)
{
    struct attempt a = { .pid = pid, .dir = dir, .watch = watch_file, .action = "uninstall", .err = err, .err_size = err_size };
    return run(&a);
}
