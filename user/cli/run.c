/* wftrace run: the command is forked at once but waits on a pipe until it is a target, so that its first instruction is
 * seen. Its standard streams, environment, signal dispositions and process group are those that wftrace was given.
 *
 * Signals. Both are in one process group, so Ctrl-C on the terminal reaches the command by itself and wftrace only
 * takes note; a signal sent to wftrace alone is passed on. wftrace ends when the command has ended: what
 * its descendants still do is watched for a moment (DRAIN_MS), then everything is flushed. */
#include "cli/attach_bridge.h"
#include "cli/enlist.h"
#include "cli/launch.h"
#include "cli/session.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define QUIET_MS 50
#define DRAIN_MS 300
#define LOOK_NS  (250 * NSEC_PER_MSEC)

struct child {
    pid_t pid;
    int go;     /* closed without a byte: the child leaves */
    int status; /* of waitpid once ended */
    bool ended;
};

/* What the parent says: "g", then NAME=value with a NUL each, for the environment. Nothing: leave. */
static bool child_told(int go)
{
    static char told[LAUNCH_ENV + 1];
    size_t n = 0;
    for (ssize_t got; n < sizeof(told) && (got = read(go, told + n, sizeof(told) - n)) != 0;) {
        if (got < 0 && errno != EINTR)
            break;
        n += got > 0 ? (size_t)got : 0;
    }
    for (size_t at = 1; at < n; at += strlen(told + at) + 1)
        putenv(told + at);
    return n > 0;
}

static void child_become(char **argv)
{
    execvp(argv[0], argv);
    int err = errno;
    fprintf(stderr, "wftrace: %s: %s\n", argv[0], err == ENOENT ? "command not found" : strerror(err));
    _exit(err == ENOENT ? 127 : 126);
}

static void child_exec(int go, char **argv)
{
    if (!child_told(go))
        _exit(EXIT_RUNTIME);
    child_become(argv);
}

static int child_make(char **argv, struct child *ret)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC))
        return -errno;
    pid_t pid = fork();
    if (pid < 0) {
        int err = -errno;
        close(pipe_fds[0]);
        close(pipe_fds[1]);
        return err;
    }
    if (!pid) {
        close(pipe_fds[1]);
        child_exec(pipe_fds[0], argv);
    }
    close(pipe_fds[0]);
    *ret = (struct child){ .pid = pid, .go = pipe_fds[1] };
    return 0;
}

static void child_release(struct child *c, const struct launch *l)
{
    char told[LAUNCH_ENV + 1] = "g";
    if (l)
        memcpy(told + 1, l->env, l->env_len);
    if (l && write(c->go, told, 1 + l->env_len) != (ssize_t)(1 + l->env_len))
        complain("run: cannot start the command: %s", errno_name(errno));
    close(c->go);
    c->go = -1;
}

static bool child_poll(struct child *c, int flags)
{
    pid_t got;
    while (!c->ended && (got = waitpid(c->pid, &c->status, flags)) < 0 && errno == EINTR && !session_signal.stop)
        ;
    if (!c->ended && got == c->pid)
        c->ended = true;
    return c->ended;
}

static void signals_pass_on(struct child *c)
{
    int number = session_signal.stop;
    if (!number)
        return;
    session_signal.stop = 0;
    if (!session_signal.from_terminal && !c->ended)
        kill(c->pid, number);
}

static void trace_until_end(struct options *o, struct agent *a, struct child *c, const struct launch *l, u64 until)
{
    static struct attach_bridge bridge; /* large */
    u64 look = clock_boot_ns() + LOOK_NS;
    attach_bridge_below(&bridge, l, o);
    while (!child_poll(c, WNOHANG) && (!until || clock_boot_ns() < until)) {
        signals_pass_on(c);
        if (session_reload(o, a, NULL))
            launch_renew(l, o, a);
        if (bridge.on && clock_boot_ns() >= look) {
            attach_bridge_look(&bridge, c->pid);
            look = clock_boot_ns() + LOOK_NS;
        }
        if (agent_turn(a, SESSION_TURN_MS) < 0)
            break;
    }
    if (c->ended)
        agent_drain(a, QUIET_MS, DRAIN_MS);
}

/* --for is over and the command isn't: tracing has ended, the command is let be, and its status is still ours. */
static void wait_untraced(struct child *c)
{
    while (!child_poll(c, 0))
        signals_pass_on(c);
}

static int status_of(const struct child *c)
{
    return WIFSIGNALED(c->status) ? 128 + WTERMSIG(c->status) : WEXITSTATUS(c->status);
}

static int run_traced(struct options *o, struct child *c)
{
    struct agent *a = NULL;
    struct enlist packs;
    struct launch l = { 0 };
    enlist_command(&packs, o, o->rest[0]);
    o->agent.keep_pack = enlist_keep;
    o->agent.keep_arg = &packs;
    int code = session_open(o, &a);
    if (!code) {
        launch_prepare(&l, o, a);
        int err = agent_target(a, c->pid);
        if (err) {
            complain("run: cannot make the command a target: %s", errno_name(err));
            agent_close(a, NULL);
            code = EXIT_RUNTIME;
        } else {
            agent_previsit(a, o->rest[0]);
        }
    }
    child_release(c, code ? NULL : &l);
    if (code) {
        enlist_done(&packs);
        launch_done(&l);
        child_poll(c, 0);
        return code;
    }
    u64 until = o->for_ns ? clock_boot_ns() + o->for_ns : 0;
    trace_until_end(o, a, c, &l, until);
    if (!c->ended)
        session_signal.stop = 0;
    launch_report(&l, o, a);
    enlist_done(&packs);
    (void)session_close(o, a);
    launch_done(&l);
    if (!c->ended) {
        session_signals_catch();
        wait_untraced(c);
    }
    return status_of(c);
}

static int run_main(struct options *o)
{
    struct child c;
    int code = session_read(o);
    if (code)
        return code;
    if (config_off(o->config)) { /* as if wftrace had not been there */
        if (!o->quiet)
            complain("disabled by the configuration: the command runs untraced");
        child_become(o->rest);
    }
    int err = child_make(o->rest, &c);
    if (err) {
        complain("run: cannot make a process: %s", errno_name(err));
        return EXIT_RUNTIME;
    }
    session_signals_catch();
    return run_traced(o, &c);
}

const struct command command_run = {
    .name = "run",
    .usage = "[options] [--] CMD [ARG…]",
    .summary = "trace a command and all its children; exit with its status",
    .more = "The command runs as without wftrace: same standard streams, same signals, same status (128 + N when signal N\n"
            "ended it, 127 when it was not found, 126 when it cannot be run). The tree of its activities is drawn on\n"
            "standard error; when that is no terminal, each finished activity is one line.\n\n"
            "wftrace ends when the command ends; children it leaves behind are traced for a moment more. With --for,\n"
            "tracing stops after that time and the command goes on untraced. Ctrl-C goes to the command.\n\n"
            "TRACEPARENT and TRACESTATE in the environment, if set, are the parent of everything.",
    .takes = TAKES_RULES | TAKES_EXPORT | TAKES_LIVE | TAKES_JSON,
    .rest_is_command = true,
    .min_rest = 1,
    .max_rest = -1,
    .rest_name = "the command to run",
    .run = run_main,
};
