/* wftrace attach: running processes become targets, with the children they make from now on. A number is not a process:
 * the start time is read before and after a target is made, and a pidfd says when it has ended. With --name, --port,
 * --cgroup, --unit or --container, processes that come later are taken in too (looked for once a second). */
#include "cli/attach_bridge.h"
#include "cli/enlist.h"
#include "cli/session.h"
#include "cli/target.h"

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TARGETS_MAX 4096
#define LOOK_NS     NSEC_PER_SEC
#define IDLE_NS     (5 * NSEC_PER_SEC) /* so long without a span: that is worth a word */

extern const struct command command_attach;

struct target {
    pid_t pid;
    u64 start;
    int pidfd; /* -1: ended, or none to be had */
    bool ended;
};

struct attach {
    struct options *o;
    struct agent *agent;
    struct target *targets;
    size_t n, alive;
    u64 next_look;
    bool full; /* said so */
    struct attach_bridge bridge;
};

static const char *selector_name(enum selector_kind kind)
{
    static const char *const names[] = { "pid", "name", "port", "cgroup", "unit", "container" };
    return names[kind];
}

static bool is_known(const struct attach *t, const struct proc *p)
{
    for (size_t i = 0; i < t->n; i++)
        if (t->targets[i].pid == p->pid && t->targets[i].start == p->start)
            return true;
    return false;
}

/* Those that have ended give their room back when it is needed; until then they tell how many there were. */
static bool targets_room(struct attach *t)
{
    size_t left = 0;
    for (size_t i = 0; t->n == TARGETS_MAX && i < t->n; i++)
        if (!t->targets[i].ended)
            t->targets[left++] = t->targets[i];
    t->n = t->n == TARGETS_MAX ? left : t->n;
    return t->n < TARGETS_MAX;
}

/* A child of a target is followed by the kernel side already. */
static int target_add(struct attach *t, const struct proc *p)
{
    u64 start_now = 0;
    if (is_known(t, p))
        return 0;
    if (!targets_room(t))
        return -ENOSPC;
    int pidfd = (int)syscall(SYS_pidfd_open, p->pid, 0);
    int err = agent_target(t->agent, p->pid);
    if (err || proc_start(p->pid, &start_now) || start_now != p->start) {
        if (!err)
            agent_untarget(t->agent, p->pid); /* another process by now */
        closep(&pidfd);
        return err ? err : -ESRCH;
    }
    t->targets[t->n++] = (struct target){ .pid = p->pid, .start = p->start, .pidfd = pidfd };
    t->alive++;
    return 0;
}

static bool any_matches(const struct options *o, const struct proc *p, bool later)
{
    for (size_t i = 0; i < o->n_select; i++)
        if (!(later && o->select[i].kind == SELECT_PID) && selector_matches(&o->select[i], p))
            return true;
    return false;
}

static int look(struct attach *t, bool later)
{
    cleanup(freep) struct proc *v = NULL;
    size_t n = 0;
    int err = proc_all(&v, &n);
    if (err)
        return err;
    if (selectors_need_ports(t->o))
        proc_ports(v, n);
    for (size_t i = 0; i < n; i++) {
        if (!any_matches(t->o, &v[i], later))
            continue;
        err = target_add(t, &v[i]);
        if (err == -ENOSPC && !t->full)
            complain("attach: %d processes are traced, that is the most: others are left out until some end", TARGETS_MAX);
        t->full |= err == -ENOSPC;
        if (err && err != -ESRCH && err != -ENOSPC)
            complain("attach: process %d: %s (left out)", v[i].pid, errno_name(err));
    }
    return 0;
}

/* A named pid must be there before anything is loaded; the other selectors may match nothing yet only when another
 * process may still come, and then that is said. */
static int check_selectors(struct options *o, struct proc *v, size_t n)
{
    for (size_t i = 0; i < o->n_select; i++) {
        const struct selector *s = &o->select[i];
        bool hit = false;
        for (size_t k = 0; k < n && !hit; k++)
            hit = selector_matches(s, &v[k]);
        if (hit)
            continue;
        if (s->kind == SELECT_PID) {
            bool self = (pid_t)s->number == getpid();
            complain(self ? "process %u is this wftrace itself" : "no process %u to trace here", s->number);
            return EXIT_RUNTIME;
        }
        if (!o->quiet)
            complain("nothing matches --%s %s yet; waiting for it", selector_name(s->kind), s->text);
    }
    return EXIT_FINE;
}

static int check_first(struct options *o)
{
    cleanup(freep) struct proc *v = NULL;
    size_t n = 0;
    int err = proc_all(&v, &n);
    if (err) {
        complain("cannot read /proc: %s", errno_name(err));
        return EXIT_RUNTIME;
    }
    if (selectors_need_ports(o))
        proc_ports(v, n);
    return check_selectors(o, v, n);
}

static void note_ends(struct attach *t)
{
    for (size_t i = 0; i < t->n; i++) {
        struct target *g = &t->targets[i];
        struct pollfd p = { .fd = g->pidfd, .events = POLLIN };
        u64 start;
        if (g->ended)
            continue;
        bool over = g->pidfd >= 0 ? poll(&p, 1, 0) > 0 : proc_start(g->pid, &start) || start != g->start;
        if (!over)
            continue;
        g->ended = true;
        t->alive--;
        closep(&g->pidfd);
        g->pidfd = -1;
    }
}

/* From here on nothing of a target is missed. Scripts and tests wait for this line. */
static void say_attached(const struct attach *t)
{
    if (t->o->quiet || !t->n)
        return;
    fprintf(stderr, "wftrace: attached to %zu process%s%s\n", t->n, t->n == 1 ? "" : "es",
            t->o->for_ns ? "" : "; Ctrl-C detaches");
}

/* Silence may be the truth, or a protocol that is not known: say which are. */
static void say_idle(const struct attach *t, bool ended)
{
    struct agent_summary s = { 0 };
    agent_summary_of(t->agent, &s);
    if (s.spans || t->o->quiet || !t->n)
        return;
    fprintf(stderr, "wftrace: nothing %s: no HTTP/1.1, PostgreSQL or Redis message, no new process, no rule's function\n",
            ended ? "was seen" : "seen yet");
}

/* Puts the helper into what is a target now, or a child of one, and is not yet served. */
static void bridge_take(struct attach *t)
{
    pid_t pids[TARGETS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        if (!t->targets[i].ended)
            pids[n++] = t->targets[i].pid;
    attach_bridge_take(&t->bridge, pids, n);
}

static int attach_loop(struct attach *t)
{
    bool watch = selectors_watch(t->o);
    u64 until = t->o->for_ns ? clock_boot_ns() + t->o->for_ns : UINT64_MAX;
    u64 idle = clock_boot_ns() + IDLE_NS;
    int n = 0;
    t->next_look = clock_boot_ns() + LOOK_NS;
    say_attached(t);
    while (!session_signal.stop && clock_boot_ns() < until && (watch || t->alive) && n >= 0) {
        n = agent_turn(t->agent, SESSION_TURN_MS);
        note_ends(t);
        if (session_reload(t->o, t->agent, NULL))
            launch_renew(&t->bridge.launch, t->o, t->agent);
        if (clock_boot_ns() >= idle) {
            say_idle(t, false);
            idle = UINT64_MAX;
        }
        if (watch && clock_boot_ns() >= t->next_look) {
            (void)look(t, true);
            bridge_take(t);
            t->next_look = clock_boot_ns() + LOOK_NS;
        }
    }
    if (n < 0)
        complain("attach: reading records: %s", errno_name(n));
    agent_drain(t->agent, 20, 300);
    say_idle(t, true);
    return n < 0 ? EXIT_RUNTIME : EXIT_FINE;
}

static int attach_traced(struct attach *t)
{
    int code = session_open(t->o, &t->agent);
    if (code)
        return code;
    attach_bridge_open(&t->bridge, t->o, t->agent);
    int err = look(t, false);
    if (!err)
        bridge_take(t);
    if (err)
        complain("attach: %s", errno_name(err));
    else if (!t->n && !selectors_watch(t->o))
        complain("attach: every process named has ended");
    else
        code = attach_loop(t);
    attach_bridge_close(&t->bridge, t->o, t->agent);
    int closed = session_close(t->o, t->agent);
    return err ? EXIT_RUNTIME : code ? code : closed;
}

static int attach_main(struct options *o)
{
    if (!o->n_select)
        return usage_error(&command_attach,
                           "attach to what? --pid N, --name GLOB, --port N, …; wftrace list shows what there is");
    int code = session_read(o);
    if (code)
        return code;
    if (config_off(o->config)) {
        if (!o->quiet)
            complain("disabled by the configuration: nothing is attached");
        return EXIT_FINE;
    }
    code = check_first(o);
    if (code)
        return code;
    struct attach t = { .o = o, .targets = calloc(TARGETS_MAX, sizeof(struct target)) };
    if (!t.targets)
        return EXIT_RUNTIME;
    struct enlist packs = { .o = o, .all = o->bridge == BRIDGE_ALWAYS };
    o->agent.keep_pack = enlist_keep;
    o->agent.keep_arg = &packs;
    session_signals_catch();
    code = attach_traced(&t);
    for (size_t i = 0; i < t.n; i++)
        closep(&t.targets[i].pidfd);
    free(t.targets);
    return code;
}

const struct command command_attach = {
    .name = "attach",
    .usage = "[options] --pid N | --name GLOB | --port N | --cgroup PATH | --unit NAME | --container ID",
    .summary = "trace running processes and the children they make",
    .more = "Targets may be named several times and in several ways. --name compares with the program's and the script's own\n"
            "name, or with the whole command line when it holds a space or a slash. With anything but --pid, processes\n"
            "that come later are taken in too.\n\n"
            "Ends on Ctrl-C, after --for, or when all processes named by --pid have ended. The processes go on untouched.",
    .takes = TAKES_RULES | TAKES_EXPORT | TAKES_LIVE | TAKES_TARGET | TAKES_JSON,
    .max_rest = 0,
    .run = attach_main,
};
