/* See launch.h. */
#include "cli/launch.h"
#include "base/log.h"
#include "inproc/way_in.h"
#include "workflow/workflow.h"

#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static void env_add(struct launch *l, const char *name, const char *value)
{
    size_t room = sizeof(l->env) - l->env_len;
    int n = snprintf(l->env + l->env_len, room, "%s=%s", name, value);
    if (n > 0 && (size_t)n < room)
        l->env_len += (size_t)n + 1;
}

/* Beside the program where it is built, or where it is installed. */
bool helper_find(char *out, size_t size)
{
    static const char *const places[] = { "inproc/python", "../lib/wftrace/python" };
    char exe[PATH_MAX], path[PATH_MAX + 64];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
    exe[n > 0 ? n : 0] = 0;
    char *slash = strrchr(exe, '/');
    for (size_t i = 0; slash && i < ARRAY_LEN(places); i++) {
        snprintf(path, sizeof(path), "%.*s/%s/_wftrace.abi3.so", (int)(slash - exe), exe, places[i]);
        if (access(path, R_OK))
            continue;
        path[strlen(path) - strlen("/_wftrace.abi3.so")] = 0;
        char *real = realpath(path, NULL);
        bool fits = real && snprintf(out, size, "%s", real) < (int)size;
        free(real);
        return fits;
    }
    return false;
}

/* A list in the environment with our own in front of what is there. */
static void env_put_first(struct launch *l, const char *name, const char *ours)
{
    char value[LAUNCH_ENV / 2];
    const char *old = getenv(name);
    bool more = old && *old;
    if (snprintf(value, sizeof(value), "%s%s%s", ours, more ? ":" : "", more ? old : "") < (int)sizeof(value))
        env_add(l, name, value);
}

/* The helper's folder stands first on PYTHONPATH. A command that ignores that gets LD_PRELOAD, which others are spared unless the
 * user says `on`: some programs (those built with a sanitizer) do not bear it. */
static void env_fill(struct launch *l, const char *helper, const struct options *o)
{
    char preload[PATH_MAX + 32];
    env_add(l, "WFTRACE_BRIDGE_WATCH", l->watch);
    env_put_first(l, "PYTHONPATH", helper);
    snprintf(preload, sizeof(preload), "%s/wftrace_preload.so", helper);
    if (o->bridge == BRIDGE_ALWAYS || python_is_isolated(o->rest))
        env_put_first(l, "LD_PRELOAD", preload);
}

/* The folder is made for this run alone; what it holds is no secret (the traced program may be another user's), but only its owner
 * may write. */
static int watch_file(const char *path, const struct agent *a, char *err, size_t err_size)
{
    cleanup(fclosep) FILE *f = fopen(path, "wxe");
    int code = !f || fchmod(fileno(f), 0644) ? -errno : agent_watches(a, f);
    if (code)
        snprintf(err, err_size, "cannot write %s: %s", path, errno_name(code));
    return code;
}

static int watch_write(struct launch *l, const struct agent *a, char *err, size_t err_size)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(l->dir, sizeof(l->dir), "%s/wftrace-XXXXXX", tmp && *tmp == '/' && strlen(tmp) < 40 ? tmp : "/tmp");
    if (!mkdtemp(l->dir)) {
        snprintf(err, err_size, "cannot make %s: %s", l->dir, errno_name(errno));
        l->dir[0] = 0;
        return -EIO;
    }
    snprintf(l->watch, sizeof(l->watch), "%s/watch", l->dir);
    if (chmod(l->dir, 0755)) {
        snprintf(err, err_size, "cannot open %s to others: %s", l->dir, errno_name(errno));
        return -EIO;
    }
    return watch_file(l->watch, a, err, err_size);
}

void launch_renew(const struct launch *l, const struct options *o, const struct agent *a)
{
    char err[256] = "", fresh[sizeof(l->watch) + 8];
    bool wanted = rules_want_bridge(agent_rules(a));
    if (!l->dir[0] && wanted && o->bridge != BRIDGE_NEVER)
        log_warn("bridge", "needs a restart to take effect: rules on Python functions (there were none when tracing began)");
    if (!l->dir[0])
        return;
    snprintf(fresh, sizeof(fresh), "%s.new", l->watch);
    if (watch_file(fresh, a, err, sizeof(err)) || rename(fresh, l->watch)) {
        log_warn("bridge", "%s (Pythons that start now are told the old rules)", err[0] ? err : errno_name(errno));
        unlink(fresh);
    }
}

static void say(const struct options *o, const struct agent *a)
{
    const struct rules *r = agent_rules(a);
    size_t own = 0;
    if (o->quiet)
        return;
    for (size_t i = 0; i < r->n; i++)
        own += r->v[i].at == AT_PYTHON && !r->v[i].pack;
    fprintf(stderr, "wftrace: bridge: Python processes are watched from inside for");
    for (size_t i = 0; i < r->n_packs; i++)
        if (r->packs[i].n_python)
            fprintf(stderr, " %s", r->packs[i].name);
    if (own)
        fprintf(stderr, " %zu rule%s", own, own == 1 ? "" : "s");
    fprintf(stderr, " (--bridge off forbids it)\n");
}

void launch_prepare(struct launch *l, const struct options *o, struct agent *a)
{
    char err[256] = "", object[PATH_MAX + 32];
    *l = (struct launch){ 0 };
    if (!rules_want_bridge(agent_rules(a)))
        return;
    if (o->bridge == BRIDGE_NEVER) {
        log_warn("bridge", "--bridge off: the rules on Python functions see nothing");
        return;
    }
    if (!helper_find(l->helper, sizeof(l->helper))) {
        log_warn("bridge", "the helper for Python (_wftrace.abi3.so) is not installed beside wftrace: the rules on Python "
                           "functions see nothing");
        return;
    }
    if (watch_write(l, a, err, sizeof(err))) {
        log_warn("bridge", "%s (goes on without rules on Python functions)", err);
        launch_done(l);
        return;
    }
    env_fill(l, l->helper, o);
    snprintf(object, sizeof(object), "%s/_wftrace.abi3.so", l->helper);
    int code = agent_file(a, object);
    if (code)
        log_warn("bridge", "%s: %s (no events from Python processes)", object, errno_name(code));
    say(o, a);
}

/* --- the closing words --- */
struct words {
    char text[64][128];
    const char *v[64];
    size_t n;
};

static void words_add(struct words *w, const char *word)
{
    if (w->n == ARRAY_LEN(w->v))
        return;
    snprintf(w->text[w->n], sizeof(w->text[0]), "%s", word);
    w->v[w->n] = w->text[w->n];
    w->n++;
}

/* Modules that could have been meant: those of other rules that came, and the files beside the program. */
static void words_collect(struct words *w, const struct agent *a)
{
    struct workflow_watch watch;
    w->n = 0;
    for (size_t i = 0; agent_watch(a, i, &watch); i++)
        if (watch.bound)
            words_add(w, watch.module);
    DIR *d = opendir(".");
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t n = strlen(e->d_name);
        if (n <= 3 || n > 100 || strcmp(e->d_name + n - 3, ".py"))
            continue;
        e->d_name[n - 3] = 0;
        words_add(w, e->d_name);
    }
    if (d)
        closedir(d);
}

static void report_one(const struct workflow_watch *w, const struct rule *r, const struct words *near)
{
    const char *like = nearest_word(w->module, near->v, near->n);
    if (w->why[0])
        complain("%s:%d: python:%s:%s: %s", r->file, r->line, w->module, w->function, w->why);
    else if (w->near[0])
        complain("%s:%d: python:%s:%s never came (did you mean %s:%s?)", r->file, r->line, w->module, w->function, w->module,
                 w->near);
    else if (like && strcmp(like, w->module))
        complain("%s:%d: python:%s:%s never came (did you mean %s?)", r->file, r->line, w->module, w->function, like);
    else
        complain("%s:%d: python:%s:%s never came: no such module was imported, or it has no such function", r->file, r->line,
                 w->module, w->function);
}

void launch_report(const struct launch *l, const struct options *o, struct agent *a)
{
    struct workflow_notes notes;
    struct workflow_watch w;
    struct words near;
    if (!l->dir[0] || o->quiet)
        return;
    agent_notes(a, &notes);
    words_collect(&near, a);
    bool any = false;
    for (size_t i = 0; agent_watch(a, i, &w); i++) {
        const struct rule *r = &agent_rules(a)->v[w.rule];
        if (r->pack)
            continue;
        any = true;
        if (notes.loaded && !w.bound)
            report_one(&w, r, &near);
        if (w.values_failed)
            log_info("bridge", "%s:%d: a value of %s:%s could not be read at least once (left out)", r->file, r->line, w.module,
                     w.function);
    }
    if (any && notes.loaded && notes.missed)
        complain("%u Python process%s did not take the bridge in (the first: %s)%s", notes.missed, notes.missed == 1 ? "" : "es",
                 notes.missed_first, o->bridge == BRIDGE_AUTO ? ": --bridge on reaches those that ignore PYTHONPATH" : "");
    if (any && !notes.loaded)
        complain("no Python process took the bridge in: the rules on Python functions saw nothing");
}

void launch_done(struct launch *l)
{
    if (!l->dir[0])
        return;
    unlink(l->watch);
    rmdir(l->dir);
    l->dir[0] = 0;
}
