/* needs: base config probe ingest stream protocol workflow trace pipeline export store self cli inproc gen */
#include "base/procfs.h"
#include "cli/cli.h"
#include "cli/enlist.h"
#include "workflow/packs.h"
#include "cli/proc.h"
#include "cli/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#define WORDS(...) ((char *[]){ __VA_ARGS__, NULL })

static struct options o;
static char err[1024];

static int parse(const char *command, char **words)
{
    int n = 0;
    while (words[n])
        n++;
    o = (struct options){ 0 };
    err[0] = 0;
    return options_parse(command_by_name(command), n, words, &o, err, sizeof(err));
}

static void forms_of_an_option(void **state)
{
    UNUSED(state);
    assert_int_equal(parse("attach", WORDS("--pid", "12", "--pid=13", "-p", "14", "-p15", "-q", "--service=a=b")), 0);
    assert_int_equal(o.n_select, 4);
    for (u32 i = 0; i < 4; i++)
        assert_int_equal(o.select[i].number, 12 + i);
    assert_true(o.quiet);
    assert_string_equal(o.agent.service, "a=b");
}

static void the_command_keeps_its_own_options(void **state)
{
    UNUSED(state);
    assert_int_equal(parse("run", WORDS("-q", "make", "-j4", "--quiet", "--", "x")), 0);
    assert_int_equal(o.n_rest, 5);
    assert_string_equal(o.rest[0], "make");
    assert_string_equal(o.rest[1], "-j4");
    assert_string_equal(o.rest[3], "--");
    assert_null(o.rest[5]);
    assert_int_equal(parse("run", WORDS("--", "--odd-name", "-x")), 0);
    assert_string_equal(o.rest[0], "--odd-name");
    assert_int_equal(o.n_rest, 2);
}

static void words_may_stand_between_options(void **state)
{
    UNUSED(state);
    assert_int_equal(parse("replay", WORDS("a.wfcap", "--service", "s", "-q")), 0);
    assert_int_equal(o.n_rest, 1);
    assert_string_equal(o.rest[0], "a.wfcap");
    assert_string_equal(o.agent.service, "s");
}

static void what_is_wrong_is_named(void **state)
{
    static const struct {
        const char *command, *word, *says;
    } cases[] = {
        { "run", "--exprot=console", "--export" },
        { "run", "--servce=x", "did you mean --service" },
        { "run", "--service", "wants a value" },
        { "run", "--quiet=1", "takes no value" },
        { "run", "--pid=1", "run takes no --pid" },
        { "run", "-Z", "no option -Z" },
        { "run", "--for=soon", "not a duration" },
        { "run", "--privacy=on", "strict or off" },
        { "run", "--export=consle", "console" },
        { "run", "--config=", "wants a file" },
        { "run", "--sample=1.5", "ratio from 0 to 1" },
        { "run", "--bridge=maybe", "auto, on or off" },
        { "run", "--packs=celry", "there is no pack" },
        { "run", "--propagate=http", "not in this version" },
        { "attach", "--pid=banana", "banana" },
        { "attach", "--pid=0", "process id" },
        { "attach", "--port=65536", "port" },
        { "attach", "--container=ab", "4 digits" },
        { "attach", "--pid=-1", "-1" },
        { "list", "--capture=x", "list takes no --capture" },
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(parse(cases[i].command, WORDS((char *)(uintptr_t)cases[i].word)), -EINVAL);
        if (!strstr(err, cases[i].says))
            fail_msg("%s %s says: %s", cases[i].command, cases[i].word, err);
    }
}

static void defaults_of_later_options_are_taken(void **state)
{
    UNUSED(state);
    assert_int_equal(parse("run", WORDS("--sample", "1", "--bridge=off", "--propagate=off", "true")), 0);
    assert_int_equal(o.n_rest, 1);
}

static void lists_have_ceilings(void **state)
{
    char *words[2 * CLI_SELECTORS + 4];
    int n = 0;
    UNUSED(state);
    for (int i = 0; i <= CLI_SELECTORS; i++)
        words[n++] = (char *)(uintptr_t) "--pid=7";
    words[n] = NULL;
    assert_int_equal(parse("attach", words), -EINVAL);
    assert_int_equal(o.n_select, CLI_SELECTORS);
}

static void durations(void **state)
{
    static const struct {
        const char *text;
        int code;
        u64 ns;
    } cases[] = {
        { "10", 0, 10000000000ull },
        { "10s", 0, 10000000000ull },
        { "500ms", 0, 500000000ull },
        { "2m", 0, 120000000000ull },
        { "1h", 0, 3600000000000ull },
        { "0", -ERANGE, 0 },
        { "", -EINVAL, 0 },
        { "s", -EINVAL, 0 },
        { "1d", -EINVAL, 0 },
        { "-1s", -EINVAL, 0 },
        { "1.5s", -EINVAL, 0 },
        { "99999999h", -ERANGE, 0 },
        { "99999999999999999999s", -ERANGE, 0 },
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        u64 ns = 0;
        assert_int_equal(duration_parse(cases[i].text, &ns), cases[i].code);
        assert_int_equal(ns, cases[i].ns);
    }
}

static void names_of_groups(void **state)
{
    static const struct {
        const char *path, *unit, *container;
    } cases[] = {
        { "/system.slice/nginx.service", "nginx.service", "" },
        { "/user.slice/user-1000.slice/session-3.scope", "session-3.scope", "" },
        { "/docker/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "",
          "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
        { "/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope", "",
          "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
        { "/kubepods.slice/kubepods-pod1.slice/"
          "cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope",
          "", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
        { "/system.slice/containerd.service/"
          "kubepods:cri-containerd:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
          "containerd.service", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef" },
        { "/init.scope", "", "" },
        { "/", "", "" },
        { "", "", "" },
        { "//deadbeef//", "", "" },
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char unit[128], container[80];
        cgroup_read_names(cases[i].path, unit, sizeof(unit), container, sizeof(container));
        assert_string_equal(unit, cases[i].unit);
        assert_string_equal(container, cases[i].container);
    }
}

static void test_script(void **state)
{
    UNUSED(state);
#define ARGS(text) text, sizeof(text)
    static const struct {
        const char *program, *args;
        size_t len;
        const char *script;
    } cases[] = {
        { "python3.11",
          ARGS("python3\0app.py\0--port\0"
               "80"),
          "app.py" },
        { "python3",
          ARGS("python3\0-X\0"
               "dev\0-u\0-W\0ignore\0/srv/app.py"),
          "/srv/app.py" },
        { "python3", ARGS("python3\0-Xdev\0app.py"), "app.py" },
        { "python3", ARGS("python3\0-m\0gunicorn\0shop:app"), "gunicorn" },
        { "python3", ARGS("python3\0-c\0print(1)\0x.py"), "" },
        { "python3", ARGS("python3\0-X"), "" },
        { "python3", ARGS("python3"), "" },
        { "python3", ARGS("python3\0\0\0app.py"), "app.py" },
        { "node", ARGS("node\0-r\0./early.js\0server.js"), "server.js" },
        { "java", ARGS("java\0-Xmx1g\0-cp\0a.jar:b.jar\0shop.Main"), "shop.Main" },
        { "java", ARGS("java\0-jar\0shop.jar"), "shop.jar" },
        { "bash", ARGS("bash\0-o\0pipefail\0run.sh"), "run.sh" },
        { "sh", ARGS("sh\0-c\0sleep 1"), "" },
        { "shutdown", ARGS("shutdown\0now"), "" },
        { "cat", ARGS("cat\0app.py"), "" },
        { "", "", 0, "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char script[256];
        script_find(cases[i].program, cases[i].args, cases[i].len, script, sizeof(script));
        assert_string_equal(script, cases[i].script);
    }
}

static void stat_lines(void **state)
{
    struct pid_stat st;
    UNUSED(state);
    assert_int_equal(pid_stat_parse("7 (a) b (c)) S 3 7 7 0 -1 4194560 1 0 2 0 3 4 0 0 20 0 5 0 4711 6 7", &st), 0);
    assert_string_equal(st.comm, "a) b (c)");
    assert_true(st.ppid == 3 && st.start == 4711 && st.minor_faults == 1 && st.major_faults == 2 && st.user == 3);
    assert_true(st.system == 4 && st.threads == 5 && st.vm_bytes == 6 && st.rss_pages == 7);
    assert_int_equal(pid_stat_parse("7 (short) S 3", &st), -EINVAL);
    assert_int_equal(pid_stat_parse(")(", &st), -EINVAL);
    assert_int_equal(pid_stat_parse("", &st), -EINVAL);
    assert_int_equal(pid_stat((u32)getpid(), &st), 0);
    assert_int_equal(st.ppid, getppid());
    assert_int_equal(pid_stat(4194303, &st), -ENOENT);
}

static void selectors(void **state)
{
    struct proc p = { .pid = 42,
                      .comm = "gunicorn: maste",
                      .exe = "/usr/bin/python3.11",
                      .script = "/srv/shop/app.py",
                      .args = "python3 /srv/shop/app.py --port 80",
                      .cgroup = "/system.slice/shop.service",
                      .unit = "shop.service",
                      .container = "0123456789abcdef0123456789abcdef",
                      .ports = { 80, 443 },
                      .n_ports = 2 };
    static const struct {
        struct selector s;
        bool hit;
    } cases[] = {
        { { SELECT_PID, "42", 42 }, true },
        { { SELECT_PID, "43", 43 }, false },
        { { SELECT_NAME, "python*", 0 }, true },
        { { SELECT_NAME, "app.py", 0 }, true },
        { { SELECT_NAME, "app", 0 }, false },
        { { SELECT_NAME, "*--port 80", 0 }, true },
        { { SELECT_NAME, "/srv/*", 0 }, true },
        { { SELECT_PORT, "443", 443 }, true },
        { { SELECT_PORT, "44", 44 }, false },
        { { SELECT_CGROUP, "/system.slice", 0 }, true },
        { { SELECT_CGROUP, "/sys/fs/cgroup/system.slice/shop.service/", 0 }, true },
        { { SELECT_CGROUP, "/system.sli", 0 }, false },
        { { SELECT_UNIT, "shop", 0 }, true },
        { { SELECT_UNIT, "shop.service", 0 }, true },
        { { SELECT_UNIT, "sho", 0 }, false },
        { { SELECT_UNIT, "sh*.service", 0 }, true },
        { { SELECT_CONTAINER, "0123", 0 }, true },
        { { SELECT_CONTAINER, "1234", 0 }, false },
    };
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        if (selector_matches(&cases[i].s, &p) != cases[i].hit)
            fail_msg("selector %s", cases[i].s.text);
}

static void this_process_is_read(void **state)
{
    struct proc p;
    u64 start = 0;
    UNUSED(state);
    assert_int_equal(proc_read(getpid(), &p), 0);
    assert_int_equal(p.ppid, getppid());
    assert_string_equal(p.runtime, "test_cli");
    assert_int_equal(proc_start(getpid(), &start), 0);
    assert_int_equal(start, p.start);
    assert_int_equal(proc_read(4194303, &p), -ESRCH);
}

static void printed(void (*print)(FILE *, const char *), const char *in, const char *want)
{
    char text[256] = "";
    FILE *f = fmemopen(text, sizeof(text), "w");
    print(f, in);
    fclose(f);
    assert_string_equal(text, want);
}

static void cell5(FILE *f, const char *text) { print_cell(f, text, 5); }

static void hostile_text_is_printable(void **state)
{
    UNUSED(state);
    printed(json_print, "a\"b\\c\n\x1b", "\"a\\\"b\\\\c\\n\\u001b\"");
    printed(json_print, "\xc3\xa9\xff\xc0\x80", "\"\xc3\xa9\\ufffd\\ufffd\\ufffd\"");
    printed(json_print, "\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"");
    printed(cell5, "ab", "ab   ");
    printed(cell5, "abcdef", "abcd…");
    printed(cell5, "\x1b[2J", "?[2J ");
    printed(cell5, "h\xc3\xa9h\xc3\xa9h\xc3\xa9", "h\xc3\xa9h\xc3\xa9…");
}

static void every_command_is_complete(void **state)
{
    UNUSED(state);
    for (const struct command *const *c = commands; *c; c++) {
        assert_non_null((*c)->run);
        assert_true((*c)->summary[0] && strlen((*c)->summary) <= 66);
        assert_ptr_equal(command_by_name((*c)->name), *c);
    }
    for (const char *const *l = later_commands; *l; l++)
        assert_null(command_by_name(*l));
    for (const struct option *a = option_table; a->name; a++)
        for (const struct option *b = a + 1; b->name; b++) {
            for (const struct command *const *c = commands; *c && !strcmp(a->name, b->name); c++)
                assert_false((a->group & (*c)->takes) && (b->group & (*c)->takes)); /* one meaning in each command */
            assert_false(a->letter && a->letter == b->letter);
        }
}

static void touch(const char *dir, const char *name, mode_t mode)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    for (char *p = path + strlen(dir) + 1; (p = strchr(p, '/')); p++) {
        *p = 0;
        (void)mkdir(path, 0755);
        *p = '/';
    }
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    close(fd);
}

static bool kept(const char *word, const char *pack, enum bridge_choice bridge, const char *packs)
{
    struct options choice = { .bridge = bridge, .packs = packs };
    struct rules r = { 0 };
    struct enlist e;
    char why[512];
    bool keep = false;
    assert_int_equal(packs_load(&r, why, sizeof(why)), 0);
    enlist_command(&e, &choice, word);
    for (size_t i = 0; i < r.n_packs; i++)
        if (!strcmp(r.packs[i].name, pack))
            keep = enlist_keep(&e, &r.packs[i]);
    enlist_done(&e);
    rules_done(&r);
    return keep;
}

/* A pack is in force where its engine is installed; the user's word goes before that. */
static void packs_in_force(void **state)
{
    UNUSED(state);
    char dir[] = "/tmp/wftrace-test-XXXXXX", python[64], script[64], elsewhere[64];
    assert_non_null(mkdtemp(dir));
    touch(dir, "venv/bin/python", 0755);
    touch(dir, "venv/lib/python3.12/site-packages/langgraph/types.py", 0644);
    touch(dir, "other/bin/python", 0755);
    snprintf(python, sizeof(python), "%s/venv/bin/python", dir);
    snprintf(script, sizeof(script), "%s/script", dir);
    snprintf(elsewhere, sizeof(elsewhere), "%s/other/bin/python", dir);
    FILE *f = fopen(script, "w");
    assert_non_null(f);
    fprintf(f, "#!%s -u\n", python);
    fclose(f);
    assert_int_equal(chmod(script, 0755), 0);
    char *path = strdup(getenv("PATH")), *home = getenv("HOME") ? strdup(getenv("HOME")) : NULL;
    setenv("PATH", "/nonexistent", 1);
    setenv("HOME", dir, 1);
    unsetenv("VIRTUAL_ENV");
    unsetenv("CONDA_PREFIX");
    unsetenv("PYTHONPATH");
    assert_true(kept(python, "langgraph", BRIDGE_AUTO, NULL));
    assert_true(kept(script, "langgraph", BRIDGE_AUTO, NULL));
    assert_false(kept(python, "spiffworkflow", BRIDGE_AUTO, NULL));
    assert_false(kept(elsewhere, "langgraph", BRIDGE_AUTO, NULL));
    assert_true(kept(elsewhere, "langgraph", BRIDGE_ALWAYS, NULL));
    assert_false(kept(python, "langgraph", BRIDGE_NEVER, NULL));
    assert_false(kept(python, "langgraph", BRIDGE_AUTO, "off"));
    assert_false(kept(python, "langgraph", BRIDGE_AUTO, "spiffworkflow"));
    assert_true(kept(elsewhere, "spiffworkflow", BRIDGE_AUTO, "langgraph,spiffworkflow"));
    setenv("PATH", path, 1);
    if (home)
        setenv("HOME", home, 1);
    free(path);
    free(home);
    snprintf(script, sizeof(script), "rm -r %s", dir);
    assert_int_equal(system(script), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_script),
        cmocka_unit_test(packs_in_force),
        cmocka_unit_test(forms_of_an_option),
        cmocka_unit_test(the_command_keeps_its_own_options),
        cmocka_unit_test(words_may_stand_between_options),
        cmocka_unit_test(what_is_wrong_is_named),
        cmocka_unit_test(defaults_of_later_options_are_taken),
        cmocka_unit_test(lists_have_ceilings),
        cmocka_unit_test(durations),
        cmocka_unit_test(names_of_groups),
        cmocka_unit_test(stat_lines),
        cmocka_unit_test(selectors),
        cmocka_unit_test(this_process_is_read),
        cmocka_unit_test(hostile_text_is_printable),
        cmocka_unit_test(every_command_is_complete),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
