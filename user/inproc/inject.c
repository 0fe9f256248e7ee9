/* The steps of inject.h: look, ask, wake, wait for the answer.
 *
 * What the process runs is one line that executes attach.py of the bridge's folder in a namespace of its own; that writes its
 * result into a file beside the watch file which we have made for it. Nobody's word but that file's is taken.
 *
 * A thread that was made to call something cannot be let go before it has returned, and what it calls may have to wait: for the
 * interpreter's lock, that some C code keeps. So a thread of ours holds it, for as long as that takes, and whoever asked
 * waits no longer than CALL_MS. */
#include "inject.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "python_process.h"
#include "remote_call.h"

#define PATHS_MAX 1024
#define CALL_MS   8000

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

/* Outlives its asker when the process does not come back in time. */
struct asking {
    struct attempt a; /* its `err` is ours */
    struct python_process p;
    bool queued;
    const char *_Atomic step; /* what the process was made to call; NULL: it is being stopped */
    char err[256];
    int result;
    enum { ASK_UNDER_WAY, ASK_DONE, ASK_LEFT } state; /* whoever comes second gives it up */
};
static u32 asking_left;

/* Queues the line in the process, or nothing much where the interpreter knows the script already, and has the main thread come
 * to it at once if it waits where that can be done. */
static int make_call(struct asking *q)
{
    struct attempt *a = &q->a;
    const struct python_process *p = &q->p;
    const bool queued = q->queued;
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
    q->step = "Py_AddPendingCall";
    if (!err)
        err = remote_call(r, p->add_pending_call, p->run_simple_string, text, &result);
    if (!err && (int)result)
        return fail(a, -EAGAIN, "its queue of pending calls is full");
    if (!err && remote_waits(r)) {
        q->step = "PyGILState_Ensure";
        err = remote_call(r, p->gil_ensure, 0, 0, &state);
        q->step = "PyRun_SimpleString";
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

static bool asking_ends(struct asking *q, int as)
{
    int from = ASK_UNDER_WAY;
    return __atomic_compare_exchange_n((int *)&q->state, &from, as, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

static void *asking_run(void *arg)
{
    struct asking *q = arg;
    q->result = make_call(q);
    if (!asking_ends(q, ASK_DONE)) {
        free(q);
        __atomic_fetch_sub(&asking_left, 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* The first word of a file of its main thread; of syscall its number, or "running". */
static const char *thread_word(pid_t pid, const char *file, char *buffer, size_t n)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task/%d/%s", pid, pid, file);
    cleanup(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, buffer, n - 1);
    buffer[got > 0 ? got : 0] = 0;
    buffer[strcspn(buffer, " \n")] = 0;
    return buffer[0] ? buffer : "unknown";
}

static int asking_late(struct attempt *a, const char *step)
{
    char call[64], where[64];
    return fail(a, -ETIMEDOUT,
                "its main thread has been in %s for %d seconds (system call %s, waiting in %s), and is let go when that returns",
                step ? step : "a stop", CALL_MS / 1000, thread_word(a->pid, "syscall", call, sizeof call),
                thread_word(a->pid, "wchan", where, sizeof where));
}

/* Signals are for others of our threads. */
static int asking_start(struct asking *q)
{
    pthread_t thread;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = -pthread_create(&thread, NULL, asking_run, q);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!err)
        pthread_detach(thread);
    return err;
}

static int asking_finish(struct asking *q, struct attempt *a)
{
    int result = q->result;
    if (result)
        (void)fail(a, result, "%s", q->err);
    free(q);
    return result;
}

static int ask_by_ptrace(struct attempt *a, const struct python_process *p, bool queued)
{
    struct asking *q = calloc(1, sizeof *q);
    if (!q)
        return -ENOMEM;
    q->a = *a;
    q->a.err = q->err;
    q->a.err_size = sizeof q->err;
    q->p = *p;
    q->queued = queued;
    int err = asking_start(q);
    if (err) {
        free(q);
        return fail(a, err, "no thread to ask it with: %s", strerror(-err));
    }
    for (int waited_us = 0; waited_us < CALL_MS * 1000; waited_us += 500) {
        if (__atomic_load_n((int *)&q->state, __ATOMIC_ACQUIRE) == ASK_DONE)
            return asking_finish(q, a);
        usleep(500);
    }
    const char *step = q->step;
    __atomic_fetch_add(&asking_left, 1, __ATOMIC_RELEASE);
    if (asking_ends(q, ASK_LEFT))
        return asking_late(a, step);
    __atomic_fetch_sub(&asking_left, 1, __ATOMIC_RELEASE);
    return asking_finish(q, a);
}

bool bridge_inject_busy(void) { return __atomic_load_n(&asking_left, __ATOMIC_ACQUIRE); }

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
