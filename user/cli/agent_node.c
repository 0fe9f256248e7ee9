/* wftrace agent: the node agent. What is traced is said by the configuration's targets; processes that are there are taken
 * at the start, later ones from their first instruction or from when they listen (probe/discover.c). SIGHUP reads the
 * configuration anew: processes that are excluded by it are let go, others come in; SIGTERM and Ctrl-C flush and end. */
#include "base/log.h"
#include "cli/bridge_folder.h"
#include "cli/enlist.h"
#include "cli/session.h"
#include "cli/target.h"
#include "self/ledger.h"

#include <fnmatch.h>
#include <unistd.h>

extern const struct command command_agent;

struct node {
    struct options *o;
    struct agent *agent;
    const struct config_targets *targets; /* of o->config */
    struct bridge_folder folder;
    char own[512]; /* our executable: another wftrace is no target either */
};

/* --- who --- */

static bool field_matches(enum selector_kind kind, const char *text, const struct proc *p)
{
    return !text || selector_matches(&(struct selector){ .kind = kind, .text = text }, p);
}

static bool port_is(const struct config_target *t, const struct proc *p, u32 port)
{
    if (t->port == CONFIG_UNSET)
        return true;
    return (u32)t->port == port || selector_matches(&(struct selector){ .kind = SELECT_PORT, .number = (u32)t->port }, p);
}

static bool target_is(const struct config_target *t, const struct proc *p, u32 port)
{
    return field_matches(SELECT_NAME, t->name, p) && field_matches(SELECT_CGROUP, t->cgroup, p) &&
           field_matches(SELECT_CONTAINER, t->container, p) && field_matches(SELECT_UNIT, t->unit, p) &&
           (!t->exe || !fnmatch(t->exe, p->exe, 0)) && port_is(t, p, port);
}

static bool any_is(const struct config_target *v, size_t n, const struct proc *p, u32 port)
{
    for (size_t i = 0; i < n; i++)
        if (target_is(&v[i], p, port))
            return true;
    return false;
}

enum wanted { WANTED_NO, WANTED_YES, WANTED_IF_KNOWN };

static enum wanted wanted(const struct node *n, const struct proc *p, u32 port)
{
    if (p->pid == getpid() || (p->exe[0] && !strcmp(p->exe, n->own)))
        return WANTED_NO;
    if (any_is(n->targets->exclude.v, n->targets->exclude.n, p, port))
        return WANTED_NO;
    return any_is(n->targets->include.v, n->targets->include.n, p, port) ? WANTED_YES : WANTED_IF_KNOWN;
}

/* In the reader's turn, for each program that starts and each process that begins to listen. */
static bool on_candidate(void *arg, pid_t tgid, u32 port, bool known)
{
    struct node *n = arg;
    struct proc p;
    if (proc_read_brief(tgid, &p)) { /* it is gone: no more is to be known */
        ledger_add(targets_gone, !known);
        return known;
    }
    enum wanted w = wanted(n, &p, port);
    bool yes = w == WANTED_YES || (w == WANTED_IF_KNOWN && known);
    ledger_add(targets_found, yes && !known);
    return yes;
}

/* --- those that are there --- */

struct census {
    struct proc *v;
    size_t n;
    enum wanted *w;
};

static const struct proc *census_find(const struct census *c, pid_t pid, size_t *ret_at)
{
    size_t low = 0, high = c->n; /* by pid */
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (c->v[mid].pid < pid)
            low = mid + 1;
        else
            high = mid;
    }
    *ret_at = low;
    return low < c->n && c->v[low].pid == pid ? &c->v[low] : NULL;
}

/* By its own name or by that of an ancestor; the nearest one that says something decides. */
static bool census_wants(const struct census *c, size_t i)
{
    for (int hops = 0; hops < 64; hops++) {
        if (c->w[i] != WANTED_IF_KNOWN)
            return c->w[i] == WANTED_YES;
        if (!census_find(c, c->v[i].ppid, &i))
            return false;
    }
    return false;
}

static int census_take(struct node *n, struct census *ret)
{
    struct census c = { 0 };
    int err = proc_all(&c.v, &c.n);
    if (err)
        return err;
    proc_ports(c.v, c.n);
    c.w = calloc(c.n + 1, sizeof(*c.w));
    if (!c.w) {
        free(c.v);
        return -ENOMEM;
    }
    for (size_t i = 0; i < c.n; i++)
        c.w[i] = wanted(n, &c.v[i], 0);
    *ret = c;
    return 0;
}

/* Makes the table of targets what the configuration says now. `anew`: let go of those that are none any more. */
static int targets_apply(struct node *n, bool anew)
{
    struct census c;
    size_t found = 0;
    int err = census_take(n, &c);
    if (err)
        return err;
    for (size_t i = 0; i < c.n; i++) {
        bool yes = census_wants(&c, i);
        if (yes && !agent_target(n->agent, c.v[i].pid))
            found++;
        else if (!yes && anew)
            (void)agent_untarget(n->agent, c.v[i].pid);
    }
    free(c.v);
    free(c.w);
    log_info("agent", "%zu processes are traced, %s; those that come are looked at as they start", found,
             anew ? "by the new configuration" : "of those that are there");
    return 0;
}

/* --- life --- */

static int names_targets(const struct config *c, char *err, size_t err_size)
{
    if (c->wftrace->targets && c->wftrace->targets->include.n)
        return 0;
    snprintf(err, err_size, "it names no targets");
    return -EINVAL;
}

static void reload(struct node *n)
{
    if (!session_reload(n->o, n->agent, names_targets))
        return;
    bridge_folder_renew(&n->folder, n->agent);
    n->targets = n->o->config->wftrace->targets;
    int code = targets_apply(n, true);
    if (code)
        log_error("agent", "reading /proc: %s (targets stay as they were)", errno_name(code));
}

static int node_loop(struct node *n)
{
    int turned = 0;
    while (!session_signal.stop && turned >= 0) {
        turned = agent_turn(n->agent, SESSION_TURN_MS);
        bridge_folder_say(&n->folder, n->agent);
        reload(n);
    }
    if (turned < 0)
        complain("agent: reading records: %s", errno_name(turned));
    agent_drain(n->agent, 20, 300);
    return turned < 0 ? EXIT_RUNTIME : EXIT_FINE;
}

/* Pythons that start from now on take the helper in by their own environment. */
static void folder_fill(struct node *n)
{
    char err[512];
    if (n->o->bridge != BRIDGE_NEVER &&
        bridge_folder_fill(&n->folder, n->agent, n->o->config->wftrace->bridge_folder, err, sizeof(err)))
        log_error("bridge", "%s (goes on without rules on Python functions)", err);
}

static int node_traced(struct node *n)
{
    struct enlist packs = { .o = n->o, .all = true };
    if (n->o->config->wftrace->bridge_folder && n->o->bridge != BRIDGE_NEVER) {
        n->o->agent.keep_pack = enlist_keep;
        n->o->agent.keep_arg = &packs;
    }
    int code = session_open(n->o, &n->agent);
    if (code)
        return code;
    folder_fill(n);
    int err = agent_discover(n->agent, &(struct probe_discovery){ on_candidate, n });
    if (!err)
        err = targets_apply(n, false);
    if (err)
        complain("agent: %s", errno_name(err));
    else if (!n->o->quiet)
        fprintf(stderr, "wftrace: agent ready\n");
    code = err ? EXIT_RUNTIME : node_loop(n);
    int closed = session_close(n->o, n->agent);
    return code ? code : closed;
}

static int node_alone(struct node *n)
{
    pid_t other = 0;
    cleanup(closep) int lock = probes_node_lock(&other);
    if (lock == -EBUSY) {
        complain("another wftrace agent runs on this node (process %d in its own numbering): one is enough, it serves all",
                 other);
        return EXIT_RUNTIME;
    }
    if (lock < 0) {
        complain("agent: cannot make a BPF map: %s (root, or CAP_BPF and CAP_SYS_ADMIN, is needed)", errno_name(lock));
        return EXIT_PRIVILEGE;
    }
    return node_traced(n);
}

static int agent_main(struct options *o)
{
    struct node n = { .o = o };
    int code = session_read(o);
    if (code)
        return code;
    if (config_off(o->config)) {
        complain("disabled by the configuration: nothing is attached");
        return EXIT_FINE;
    }
    n.targets = o->config->wftrace->targets;
    if (!n.targets || !n.targets->include.n)
        return usage_error(&command_agent, "the configuration names no targets: wftrace: targets: include: [{ name: python3 }]");
    ssize_t len = readlink("/proc/self/exe", n.own, sizeof(n.own) - 1);
    n.own[len > 0 ? len : 0] = 0;
    session_signals_catch();
    session_signals_reload();
    return node_alone(&n);
}

const struct command command_agent = {
    .name = "agent",
    .usage = "--config FILE [options]",
    .summary = "node agent: trace what the configuration names, as it comes",
    .more = "Targets stand in the configuration: wftrace: targets: include and exclude, each a list of name, exe, port, cgroup,\n"
            "container, unit; all that one entry gives must hold. Children of a target are traced with it.\n\n"
            "SIGHUP reads the configuration anew. One agent serves a host; a second one is refused.",
    .takes = TAKES_RULES | TAKES_EXPORT | TAKES_LIVE,
    .max_rest = 0,
    .run = agent_main,
};
