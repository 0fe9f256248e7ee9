/* dump [-q] [-p PID] [-f FORCE] [-r RING_BYTES] [-b BUDGET] [-c CALL] [-R RULES] -- CMD…: runs CMD as a target (or follows PID)
 * and prints every event, one line each; at the end one line with the counts and the kernel's counters. The proof of the
 * kernel side, and everyone's aid in looking at it. Exit status: CMD's. */
#include "config/rules.h"
#include "ingest/event.h"
#include "probe/probe.h"
#include "base/log.h"
#include <arpa/inet.h>
#include <ctype.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t stop;
static u32 lost_seen;
static u64 counts[EVENT_MAX + 1], lost_total;
static bool quiet;
static u32 followed; /* -p: its end is the end */

static void show_bytes(const char *label, struct slice s)
{
    printf(" %s=\"", label);
    for (size_t i = 0; i < s.n && i < 160; i++) {
        if (isprint(s.p[i]) && s.p[i] != '"' && s.p[i] != '\\')
            putchar(s.p[i]);
        else
            printf("\\x%02x", s.p[i]);
    }
    printf(s.n > 160 ? "…\"" : "\"");
}

static void show_address(u16 family, const u8 *a, u16 port)
{
    char text[64] = "?";
    if (family == 2 || family == 10)
        inet_ntop(family, a, text, sizeof(text));
    printf(" %s:%u", text, port);
}

static void show_hit(const struct event *e)
{
    printf(" site=%u phase=%s sp=%#llx", e->hit.site, (const char *[]){ "entry", "return", "point" }[e->hit.phase],
           (unsigned long long)e->hit.sp);
    for (unsigned i = 0; i < e->hit.n; i++) {
        char label[8];
        snprintf(label, sizeof(label), "v%u", i);
        if (e->hit.failed >> i & 1)
            printf(" %s=!", label);
        else if (e->hit.strings >> i & 1)
            show_bytes(label, e->hit.s[i]);
        else
            printf(" %s=%lld", label, (long long)e->hit.v[i]);
    }
}

static const char *role_name(enum role r) { return (const char *[]){ "unknown", "client", "server" }[r]; }

static void show_body(const struct event *e)
{
    switch (e->type) {
    case EVENT_FORK:
        printf(" child=%u/%u%s", e->fork.child_tgid, e->fork.child_tid, e->fork.thread ? " thread" : "");
        break;
    case EVENT_EXEC:
        printf(" ppid=%u uid=%u%s", e->exec.ppid, e->exec.uid, e->exec.args_cut ? " cut" : "");
        show_bytes("file", e->exec.filename);
        show_bytes("args", e->exec.args);
        break;
    case EVENT_EXIT:
        printf(" status=%u ppid=%u%s utime=%llu stime=%llu rss=%llu start=%llu", e->exit.status, e->exit.ppid,
               e->exit.thread ? " thread" : "", (unsigned long long)e->exit.utime, (unsigned long long)e->exit.stime,
               (unsigned long long)e->exit.rss_peak, (unsigned long long)e->exit.start);
        break;
    case EVENT_COMM:
        show_bytes("comm", e->comm.comm);
        break;
    case EVENT_OOM:
        printf(" victim=%u", e->oom.victim);
        break;
    case EVENT_CONN:
        printf(" conn=%llx inode=%llu peer=%llu family=%u role=%s err=%u%s", (unsigned long long)e->conn.id,
               (unsigned long long)e->conn.inode, (unsigned long long)e->conn.peer_inode, e->conn.family, role_name(e->conn.role),
               e->conn.err, e->conn.was_open ? " open" : "");
        show_address(e->conn.family, e->conn.local, e->conn.local_port);
        show_address(e->conn.family, e->conn.remote, e->conn.remote_port);
        break;
    case EVENT_DATA:
        printf(" conn=%llx %s pos=%llu len=%u cap=%zu%s%s", (unsigned long long)e->data.conn,
               e->data.dir == DIR_SEND ? "send" : "recv", (unsigned long long)e->data.pos, e->data.len, e->data.bytes.n,
               e->data.tail ? " tail" : "", e->data.nodata ? " nodata" : "");
        show_bytes("bytes", e->data.bytes);
        break;
    case EVENT_CLOSE:
        printf(" conn=%llx sent=%llu received=%llu err=%u", (unsigned long long)e->close.conn, (unsigned long long)e->close.sent,
               (unsigned long long)e->close.received, e->close.err);
        break;
    case EVENT_TLS:
        printf(" ssl=%llx %s pos=%llu len=%u cap=%zu", (unsigned long long)e->tls.ssl, e->tls.dir == DIR_SEND ? "send" : "recv",
               (unsigned long long)e->tls.pos, e->tls.len, e->tls.bytes.n);
        show_bytes("bytes", e->tls.bytes);
        break;
    case EVENT_HIT:
        show_hit(e);
        break;
    case EVENT_EDGE:
        printf(" parent=%llx child=%llx", (unsigned long long)e->edge.parent, (unsigned long long)e->edge.child);
        break;
    case EVENT_PUT:
    case EVENT_TAKE:
        printf(" key=%llx", (unsigned long long)e->handover.key);
        break;
    case EVENT_PROCINFO:
        for (size_t at = 0; at < e->procinfo.text.n; at += strlen((const char *)e->procinfo.text.p + at) + 1)
            printf(" %s", (const char *)e->procinfo.text.p + at);
        break;
    default:
        break;
    }
}

static void take(void *arg, const void *record, size_t len)
{
    struct event e;
    UNUSED(arg);
    int err = event_decode(record, len, &lost_seen, &e);
    if (err) {
        printf("BAD %s\n", errno_name(err));
        counts[EVENT_MAX]++;
        return;
    }
    counts[e.type]++;
    lost_total += e.lost;
    if (e.type == EVENT_EXIT && !e.exit.thread && e.tgid == followed)
        stop = 1;
    if (quiet)
        return;
    printf("%llu.%09llu %s %u/%u", (unsigned long long)(e.time / NSEC_PER_SEC), (unsigned long long)(e.time % NSEC_PER_SEC),
           event_name[e.type], e.tgid, e.tid);
    if (e.unit)
        printf(" unit=%llx", (unsigned long long)e.unit);
    if (e.lost)
        printf(" LOST=%u", e.lost);
    show_body(&e);
    putchar('\n');
}

static void summary(struct probes *p)
{
    const char *const *names;
    u64 values[64];
    probes_stats(p, values, 64, &names);
    printf("TOTAL");
    for (int i = 0; i < EVENT_MAX; i++)
        printf(" %s=%llu", event_name[i], (unsigned long long)counts[i]);
    printf(" bad=%llu lost=%llu\nKERNEL", (unsigned long long)counts[EVENT_MAX], (unsigned long long)lost_total);
    for (int i = 0; names[i] && i < 64; i++)
        printf(" %s=%llu", names[i], (unsigned long long)values[i]);
    printf("\n");
}

static void on_signal(int sig)
{
    UNUSED(sig);
    stop = 1;
}

/* The command waits for a byte before it becomes CMD, so that it is a target from its first instruction. */
static pid_t command_start(char **argv, int *ret_go)
{
    int go[2];
    if (pipe(go))
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        char c;
        close(go[1]);
        if (read(go[0], &c, 1) != 1)
            _exit(127);
        close(go[0]);
        execvp(argv[0], argv);
        perror(argv[0]);
        _exit(127);
    }
    close(go[0]);
    *ret_go = go[1];
    return pid;
}

static int drain(struct probes *p)
{
    int quiet_turns = 0;
    while (quiet_turns < 5)
        quiet_turns = probes_poll(p, 10, take, NULL) > 0 ? 0 : quiet_turns + 1;
    summary(p);
    return 0;
}

static int run_command(struct probes *p, char **argv)
{
    int go = -1, status = 0;
    pid_t pid = command_start(argv, &go);
    if (pid < 0 || probes_target(p, pid, true) || write(go, "x", 1) != 1)
        return 1;
    close(go);
    while (!stop && waitpid(pid, &status, WNOHANG) == 0)
        probes_poll(p, 50, take, NULL);
    drain(p);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int follow_pid(struct probes *p, pid_t pid)
{
    int err = probes_target(p, pid, true);
    followed = (u32)pid;
    while (!err && !stop && !kill(pid, 0))
        probes_poll(p, 50, take, NULL);
    return err ? 1 : drain(p);
}

static int usage(void)
{
    fprintf(stderr,
            "usage: dump [-q] [-v] [-p PID] [-f FORCE] [-r RING] [-b BUDGET] [-c CALL] [-R RULES] [-i IDLE_MS] [--] CMD…\n");
    return 2;
}

int main(int argc, char **argv)
{
    struct probe_options o = { 0 };
    struct rules rules = { 0 };
    struct probes *p = NULL;
    char err[1024] = "";
    pid_t pid = 0;
    const char *rules_path = NULL;
    for (int c; (c = getopt(argc, argv, "+qvp:f:r:b:c:R:i:")) != -1;) {
        switch (c) {
        case 'q':
            quiet = true;
            break;
        case 'v':
            log_level = LOG_DEBUG;
            break;
        case 'p':
            pid = atoi(optarg);
            break;
        case 'f':
            o.force = optarg;
            break;
        case 'r':
            o.ring_bytes = (u32)atoi(optarg);
            break;
        case 'b':
            o.capture_budget = (u32)atoi(optarg);
            break;
        case 'c':
            o.capture_call = (u32)atoi(optarg);
            break;
        case 'i':
            o.image_idle_ms = (u32)atoi(optarg);
            break;
        case 'R':
            rules_path = optarg;
            break;
        default:
            return usage();
        }
    }
    if (optind >= argc && !pid)
        return usage();
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    signal(SIGINT, on_signal), signal(SIGTERM, on_signal);
    if ((rules_path && rules_load(&rules, rules_path, err, sizeof(err))) || probes_open(&o, &p, err, sizeof(err)) ||
        (rules_path && probes_rules(p, &rules, err, sizeof(err)))) {
        fprintf(stderr, "dump: %s\n", err);
        return 3;
    }
    fprintf(stderr, "dump: ready\n");
    int rc = pid ? follow_pid(p, pid) : run_command(p, argv + optind);
    fflush(stdout);
    probes_close(p);
    rules_done(&rules);
    return rc;
}
