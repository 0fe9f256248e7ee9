/* needs: base config workflow trace self stream protocol ingest */
/* Packs of programs that run programs: what is recognised by which program made which, and what is said of a command. */
#include "trace/internal.h"
#include "workflow/packs.h"
#include "workflow/workflow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct rules rules;
static struct span_sink sink;
static struct span *got[32];
static size_t n_got;
static struct tracer *t;
static u64 now;

static void on_ended(struct span_sink *s, struct span *span)
{
    UNUSED(s);
    assert_true(n_got < ARRAY_LEN(got));
    got[n_got++] = span;
}

static int setup(void **state)
{
    char err[512] = "";
    UNUSED(state);
    sink.ended = on_ended;
    n_got = 0;
    now = 1000;
    int code = packs_load(&rules, err, sizeof(err));
    if (code)
        fail_msg("%s", err);
    t = tracer_new(&(struct tracer_options){ .seed = { 1, 2 }, .exec = workflow_exec_hooks(&rules) }, &sink);
    return 0;
}

static int teardown(void **state)
{
    UNUSED(state);
    t = tracer_free(t);
    for (size_t i = 0; i < n_got; i++)
        span_unref(got[i]);
    rules_done(&rules);
    return 0;
}

static void fork_(u32 maker, u32 child)
{
    struct event e = { .type = EVENT_FORK, .time = ++now, .tgid = maker, .tid = maker };
    e.fork.child_tgid = e.fork.child_tid = child;
    tracer_event(t, &e);
}

/* `args`: blanks between them; a comma is a blank within one. */
static void exec_(u32 pid, u32 ppid, const char *exe, const char *args, const char *info, size_t n_info)
{
    char text[256];
    size_t n = (size_t)snprintf(text, sizeof(text), "%s", args) + 1;
    for (size_t i = 0; i + 1 < n; i++)
        text[i] = text[i] == ' ' ? 0 : text[i] == ',' ? ' ' : text[i];
    struct event e = { .type = EVENT_PROCINFO, .time = ++now, .tgid = pid, .tid = pid };
    e.procinfo.text = slice_of(info, n_info);
    if (n_info)
        tracer_event(t, &e);
    struct event x = { .type = EVENT_EXEC, .time = now, .tgid = pid, .tid = pid };
    x.exec.ppid = ppid;
    x.exec.uid = 33;
    x.exec.filename = slice_str(exe);
    x.exec.args = slice_of(text, n);
    tracer_event(t, &x);
}

static const struct span *exit_(u32 pid, u32 status)
{
    struct event e = { .type = EVENT_EXIT, .time = ++now, .tgid = pid, .tid = pid };
    size_t before = n_got;
    e.exit.status = status;
    tracer_event(t, &e);
    assert_int_equal(n_got, before + 1);
    return got[before];
}

static const char *text_of(const struct span *s, const char *key)
{
    const struct attr *a = attr_get(&s->attrs, key);
    return a ? a->s : "";
}

/* What is said of one command of a make. */
static const char *named(const char *exe, const char *args)
{
    static u32 pid = 1000;
    exec_(10, 9, "/usr/bin/make", "make -j 4 -C sub all X=1 install", "", 0);
    fork_(10, ++pid);
    exec_(pid, 10, exe, args, "", 0);
    const struct span *s = exit_(pid, 0);
    assert_string_equal(text_of(s, "wftrace.activity.type"), "task");
    assert_string_equal(text_of(s, "make.command"), s->name);
    return s->name;
}

static void make_commands(void **state)
{
    UNUSED(state);
    assert_string_equal(named("/usr/bin/gcc", "gcc -c a.c"), "gcc");
    assert_string_equal(named("/bin/sh", "/bin/sh -c gcc,-c,a.c,&&,strip,a"), "gcc");
    assert_string_equal(named("/bin/sh", "/bin/sh -c cd,sub,&&,CC=x,/usr/bin/ld,-r"), "ld");
    assert_string_equal(named("/bin/bash", "bash -e -u -o pipefail -c tar,xf,a.tar"), "tar");
    assert_string_equal(named("/bin/bash", "bash -eo pipefail ci/build.sh -c x"), "build.sh");
    assert_string_equal(named("/bin/sh", "/bin/sh -ec cc"), "cc");
    assert_string_equal(named("/bin/sh", "/bin/sh -c for,i,in,1;do,x;done"), "sh"); /* nothing but the shell's own words */
    assert_string_equal(named("/bin/sh", "/bin/sh -c \"$X\",y"), "sh");
    assert_string_equal(named("/bin/sh", "/bin/sh -c"), "sh");
    assert_string_equal(named("/bin/sh", "/bin/sh -c cd,x"), "sh");
    assert_string_equal(named("/bin/sh", ""), "sh");
    assert_string_equal(named("./gen.sh", "/bin/bash ./gen.sh out"), "gen.sh");
    const struct span *run = exit_(10, 2 << 8);
    assert_string_equal(run->name, "make");
    assert_string_equal(text_of(run, "wftrace.activity.type"), "workflow");
    assert_string_equal(text_of(run, "make.goals"), "all install");
    assert_string_equal(text_of(run, "error.type"), "2");
}

static void scripts(void **state)
{
    UNUSED(state);
    exec_(20, 1, "./deploy.sh", "/bin/sh ./deploy.sh", "", 0);
    fork_(20, 21); /* a subshell, which forks again */
    fork_(21, 22);
    exec_(22, 21, "/bin/cp", "cp a b", "", 0);
    const struct span *cp = exit_(22, 0);
    assert_string_equal(text_of(cp, "shell.command"), "cp");
    assert_string_equal(text_of(cp, "wftrace.activity.type"), "task");
    fork_(20, 23);
    exec_(23, 20, "/usr/bin/python3", "python3 x.py", "", 0);
    fork_(23, 24);
    exec_(24, 23, "/usr/bin/git", "git log", "", 0);
    assert_string_equal(text_of(exit_(24, 0), "wftrace.activity.type"), ""); /* a Python's command is no shell's */
    exit_(23, 0);
    const struct span *script = exit_(20, 9);
    assert_string_equal(script->name, "deploy.sh");
    assert_string_equal(text_of(script, "wftrace.activity.type"), "workflow");
    assert_string_equal(text_of(script, "error.type"), "SIGKILL");
    assert_memory_equal(cp->parent_id, script->id.span_id, SPAN_ID_LEN);
}

static void cron_jobs(void **state)
{
    UNUSED(state);
    exec_(30, 1, "/usr/sbin/cron", "cron -f", "", 0);
    fork_(30, 31);
    fork_(31, 32);
    exec_(32, 31, "/bin/sh", "/bin/sh -c /opt/backup.sh,--all,>/dev/null", "", 0);
    fork_(31, 33);
    exec_(33, 31, "/usr/sbin/sendmail", "/usr/sbin/sendmail -i root", "", 0);
    assert_string_equal(exit_(33, 0)->name, "sendmail");
    const struct span *job = exit_(32, 1 << 8);
    const struct span *daemon = exit_(30, 0);
    assert_string_equal(job->name, "cron backup.sh");
    assert_int_equal(attr_get(&job->attrs, "process.real_user.id")->i, 33);
    assert_int_equal(job->join, JOIN_ROOT);
    assert_memory_not_equal(job->id.trace_id, daemon->id.trace_id, TRACE_ID_LEN);
    assert_int_equal(job->n_links, 1);
    assert_memory_equal(job->links[0].to.trace_id, daemon->id.trace_id, TRACE_ID_LEN);
}

/* As PROCINFO tells of a service that a timer started; its children have inherited the variable and are no jobs. */
static void systemd_timers(void **state)
{
    static const char info[] = "exe=/usr/bin/rsync\0seen=start\0unit=backup.service\0env.INVOCATION_ID=7c0f9e64a1b24a6c8f\0"
                               "env.TRIGGER_UNIT=backup.timer\0",
                      plain[] = "exe=/usr/bin/rsync\0seen=start\0unit=web.service\0env.INVOCATION_ID=7c0f\0";
    UNUSED(state);
    exec_(40, 1, "/usr/bin/rsync", "rsync -a", info, sizeof(info) - 1);
    fork_(40, 41);
    exec_(41, 40, "/usr/bin/ssh", "ssh host", info, sizeof(info) - 1);
    assert_string_equal(text_of(exit_(41, 0), "wftrace.activity.type"), "");
    const struct span *job = exit_(40, 0);
    assert_string_equal(job->name, "backup.service");
    assert_string_equal(text_of(job, "wftrace.activity.type"), "workflow");
    assert_string_equal(text_of(job, "systemd.timer"), "backup.timer");
    assert_string_equal(text_of(job, "systemd.invocation_id"), "7c0f9e64a1b24a6c8f");
    exec_(42, 1, "/usr/bin/rsync", "rsync --daemon", plain, sizeof(plain) - 1);
    assert_string_equal(text_of(exit_(42, 0), "wftrace.activity.type"), "");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = { T(make_commands), T(scripts), T(cron_jobs), T(systemd_timers) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
