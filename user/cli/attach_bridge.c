/* See attach_bridge.h. Children that a served process forks later have the helper already; those that exec another Python don't. */
#include "cli/attach_bridge.h"
#include "base/log.h"
#include "base/procfs.h"
#include "cli/proc.h"
#include "inproc/inject.h"

#include <dirent.h>
#include <unistd.h>

void attach_bridge_open(struct attach_bridge *b, const struct options *o, struct agent *a)
{
    bool wanted = rules_want_bridge(agent_rules(a));
    *b = (struct attach_bridge){ 0 };
    if (wanted && o->bridge == BRIDGE_AUTO)
        log_warn("bridge", "rules on Python functions see nothing in a running process without --bridge on");
    if (!wanted || o->bridge != BRIDGE_ALWAYS)
        return;
    launch_prepare(&b->launch, o, a);
    b->on = b->launch.dir[0] != 0;
}

static bool is_known(const struct attach_bridge *b, const struct proc *p)
{
    for (size_t i = 0; i < b->n; i++)
        if (b->v[i].pid == p->pid && b->v[i].start == p->start)
            return true;
    return false;
}

static const struct proc *proc_of(const struct proc *v, size_t n, pid_t pid)
{
    for (size_t i = 0; i < n; i++)
        if (v[i].pid == pid)
            return &v[i];
    return NULL;
}

static bool belongs(const struct proc *p, const struct proc *v, size_t n, const pid_t *pids, size_t n_pids)
{
    for (int hops = 0; p && hops < 32; hops++, p = proc_of(v, n, p->ppid))
        for (size_t i = 0; i < n_pids; i++)
            if (pids[i] == p->pid)
                return true;
    return false;
}

/* Those that have ended give their room back. */
static void forget_ended(struct attach_bridge *b, const struct proc *v, size_t n)
{
    size_t left = 0;
    for (size_t i = 0; i < b->n; i++) {
        const struct proc *p = proc_of(v, n, b->v[i].pid);
        if (p && p->start == b->v[i].start)
            b->v[left++] = b->v[i];
    }
    b->n = left;
}

static void take_one(struct attach_bridge *b, const struct proc *p)
{
    char err[256] = "";
    int code = bridge_inject(p->pid, b->launch.helper, b->launch.watch, err, sizeof(err));
    if (code && code != -ETIMEDOUT)
        log_warn("bridge", "process %d: %s (left alone)", p->pid, err[0] ? err : errno_name(code));
    else if (code)
        log_warn("bridge", "process %d: %s", p->pid, err);
    b->v[b->n].pid = p->pid;
    b->v[b->n].start = p->start;
    b->v[b->n++].in = !code || code == -ETIMEDOUT;
}

void attach_bridge_take(struct attach_bridge *b, const pid_t *pids, size_t n_pids)
{
    cleanup(freep) struct proc *v = NULL;
    size_t n = 0;
    if (!b->on || proc_all(&v, &n))
        return;
    if (b->n == ATTACH_BRIDGE_MAX)
        forget_ended(b, v, n);
    for (size_t i = 0; i < n && b->n < ATTACH_BRIDGE_MAX; i++)
        if (!strncmp(v[i].runtime, "python", 6) && !is_known(b, &v[i]) && belongs(&v[i], v, n, pids, n_pids))
            take_one(b, &v[i]);
}

/* --- for run --- */

#define YOUNG_NS (300 * NSEC_PER_MSEC) /* an interpreter that is being made can't be asked */

struct line {
    pid_t pid, ppid;
    u64 start;
};

static size_t lines_read(struct line *v, size_t max)
{
    size_t n = 0;
    DIR *d = opendir("/proc");
    for (struct dirent *e; d && n < max && (e = readdir(d));) {
        struct pid_stat st;
        u64 pid;
        if (slice_u64(slice_str(e->d_name), &pid) || pid_stat((u32)pid, &st))
            continue;
        v[n].pid = (pid_t)pid;
        v[n].ppid = (pid_t)st.ppid;
        v[n++].start = st.start;
    }
    if (d)
        closedir(d);
    return n;
}

static bool is_below(const struct line *p, const struct line *v, size_t n, pid_t command)
{
    for (int hops = 0; p && hops < 32; hops++) {
        if (p->ppid == command)
            return true;
        const struct line *up = NULL;
        for (size_t i = 0; i < n && !up; i++)
            up = v[i].pid == p->ppid ? &v[i] : NULL;
        p = up;
    }
    return false;
}

/* Whoever has the name of the watch file in its environment brought the helper, or was told not to. */
static bool has_brought(pid_t pid)
{
    static const char name[] = "WFTRACE_BRIDGE_WATCH=";
    cleanup(freep) char *text = NULL;
    char path[64];
    size_t n;
    snprintf(path, sizeof(path), "/proc/%d/environ", pid);
    return read_small_file(path, 1 << 20, &text, &n) || memmem(text, n, name, sizeof(name) - 1);
}

void attach_bridge_below(struct attach_bridge *b, const struct launch *l, const struct options *o)
{
    *b = (struct attach_bridge){ .launch = *l, .on = l->dir[0] && o->bridge == BRIDGE_ALWAYS };
}

void attach_bridge_look(struct attach_bridge *b, pid_t command)
{
    static struct line v[8192];
    u64 ticks = (u64)sysconf(_SC_CLK_TCK), now = clock_boot_ns();
    size_t n = b->on ? lines_read(v, ARRAY_LEN(v)) : 0;
    for (size_t i = 0; i < n && b->n < ATTACH_BRIDGE_MAX; i++) {
        struct proc p = { .pid = v[i].pid, .start = v[i].start };
        bool young = now < v[i].start * (NSEC_PER_SEC / ticks) + YOUNG_NS;
        if (young || is_known(b, &p) || !is_below(&v[i], v, n, command) || has_brought(p.pid))
            continue;
        if (!proc_read(p.pid, &p) && p.start == v[i].start && !strncmp(p.runtime, "python", 6))
            take_one(b, &p);
    }
}

/* A process that waits in a call of ours would die if we went. */
static void wait_for_asked(void)
{
    if (bridge_inject_busy())
        log_warn("bridge", "waiting: a process is still in a call that it was made to make, and would end with us");
    while (bridge_inject_busy())
        usleep(20000);
}

void attach_bridge_close(struct attach_bridge *b, const struct options *o, struct agent *a)
{
    if (!b->on)
        return;
    launch_report(&b->launch, o, a);
    for (size_t i = 0; i < b->n; i++) {
        char err[256] = "";
        u64 start;
        if (!b->v[i].in || proc_start(b->v[i].pid, &start) || start != b->v[i].start)
            continue;
        int code = bridge_eject(b->v[i].pid, b->launch.helper, b->launch.watch, err, sizeof(err));
        if (code)
            log_warn("bridge", "process %d: taking the helper out: %s (it is silent from now on)", b->v[i].pid,
                     err[0] ? err : errno_name(code));
    }
    wait_for_asked();
    launch_done(&b->launch);
}
