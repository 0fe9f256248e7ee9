/* needs: base config probe ingest stream protocol workflow trace self */
/* CPython from outside: each Python of this machine is run, says id() of its current context, and the words that py_sites names must
 * lead to the same address. The method table finder is checked on an image made here and against symbols. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <glob.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "probe/maps.h"
#include "probe/py_sites.h"

/* Two method tables; only one of them is a queue's. */
struct method {
    const char *name;
    void (*function)(void);
    int flags;
    const char *doc;
};
extern const struct method wf_queue_methods[], wf_file_methods[];
void wf_put(void), wf_get(void), wf_other_put(void);
void wf_put(void) { __asm__ volatile("nop"); }
void wf_get(void) { __asm__ volatile("nop; nop"); }
void wf_other_put(void) { __asm__ volatile("nop; nop; nop"); }
const struct method wf_queue_methods[] = {
    { "get", wf_get, 0, "get" }, { "put", wf_put, 0, "put" }, { "qsize", wf_get, 0, "" }, { 0 }
};
const struct method wf_file_methods[] = { { "open", wf_get, 0, "" }, { "put", wf_other_put, 0, "output" }, { 0 } };

static void test_method_tables(void **state)
{
    UNUSED(state);
    cleanup(elf_closep) struct elf_image *self = NULL;
    static const char *const siblings[] = { "get", "qsize", NULL }, *const wrong[] = { "get", "never_a_method", NULL };
    struct elf_symbol s;
    u64 at;
    assert_int_equal(elf_open("/proc/self/exe", &self), 0);
    assert_int_equal(elf_symbol(self, "wf_put", &s), 0);
    assert_int_equal(py_method(self, "put", siblings, &at), 0);
    assert_int_equal(at, s.value);
    assert_int_equal(py_method(self, "put", NULL, &at), -ENOTUNIQ);
    assert_int_equal(py_method(self, "put", wrong, &at), -ENOENT);
    assert_int_equal(py_method(self, "never_a_method", NULL, &at), -ENOENT);
}

/* Every _queue module here: found by table, and where symbols are left, the very same functions. */
static void test_queue_modules(void **state)
{
    UNUSED(state);
    static const char *const names[] = { "put", "put_nowait", "get", "get_nowait" };
    static const char *const siblings[] = { "put", "put_nowait", "get", "get_nowait", "qsize", NULL };
    glob_t g = { 0 };
    glob("/usr/lib/python3*/lib-dynload/_queue.*.so", 0, NULL, &g);
    glob("/usr/local/lib/python3*/lib-dynload/_queue.*.so", GLOB_APPEND, NULL, &g);
    glob("~/.pyenv/versions/3.*/lib/python3.*/lib-dynload/_queue.*.so", GLOB_APPEND | GLOB_TILDE, NULL, &g);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        cleanup(elf_closep) struct elf_image *image = NULL;
        struct py_plan plan;
        if (strstr(g.gl_pathv[i], "python3.7") || elf_open(g.gl_pathv[i], &image))
            continue;
        assert_true(py_sites(image, 0, &plan));
        assert_int_equal(plan.count, 4);
        for (u32 k = 0; k < 4; k++) {
            char name[64];
            struct elf_symbol s;
            u64 at;
            snprintf(name, sizeof(name), "_queue_SimpleQueue_%s", names[k]);
            assert_int_equal(py_method(image, names[k], siblings, &at), 0);
            if (!elf_symbol(image, name, &s))
                assert_int_equal(at, s.value);
            assert_true(plan.sites[k].place.emulated);
        }
    }
    printf("%zu modules\n", g.gl_pathc);
    globfree(&g);
}

/* Where asyncio is, greenlets alone (SQLAlchemy's) say nothing of the units. */
static void test_asyncio_modules(void **state)
{
    UNUSED(state);
    static const char *const patterns[] = { "/usr/lib/python3*/lib-dynload/_asyncio.*.so",
                                            "/usr/lib/python3*/lib-dynload/_json.*.so" };
    for (size_t k = 0; k < ARRAY_LEN(patterns); k++) {
        glob_t g = { 0 };
        glob(patterns[k], 0, NULL, &g);
        for (size_t i = 0; i < g.gl_pathc; i++) {
            cleanup(elf_closep) struct elf_image *image = NULL;
            struct py_plan plan = { 0 };
            if (elf_open(g.gl_pathv[i], &image))
                continue;
            assert_int_equal(py_sites(image, 0, &plan), k == 0);
            assert_int_equal(plan.asyncio, k == 0);
            assert_false(plan.runtime || plan.count);
        }
        globfree(&g);
    }
}

/* --- live --------------------------------------------------------------------------------------------------------- */

static bool read_word(pid_t pid, u64 at, void *out, size_t n)
{
    struct iovec local = { out, n }, remote = { (void *)(uintptr_t)at, n };
    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)n;
}

static u64 fsbase_of(pid_t pid)
{
    struct user_regs_struct regs = { 0 };
    if (ptrace(PTRACE_ATTACH, pid, 0, 0))
        return 0;
    waitpid(pid, NULL, 0);
    ptrace(PTRACE_GETREGS, pid, 0, &regs);
    ptrace(PTRACE_DETACH, pid, 0, 0);
    return regs.fs_base;
}

/* The context that the plan's words lead to. */
static u64 context_by_plan(pid_t pid, const struct py_plan *plan, u64 runtime)
{
    u32 key;
    u64 tstate, context;
    bool ok = read_word(pid, runtime + plan->tss_key_off + 4, &key, 4) &&
              read_word(pid, fsbase_of(pid) + (u64)plan->tsd_base + (u64)plan->tsd_stride * key, &tstate, 8) &&
              read_word(pid, tstate + plan->tstate_context_off, &context, 8);
    return ok ? context : 0;
}

static u64 find_and_read(pid_t pid, struct py_plan *plan)
{
    struct maps maps;
    u64 context = 0, runtime;
    assert_int_equal(maps_read(pid, &maps), 0);
    for (u32 i = 0; i < maps.count && !context; i++) {
        cleanup(elf_closep) struct elf_image *image = NULL;
        if (!maps.modules[i].exec || maps_open(pid, &maps.modules[i], &image) || !py_sites(image, 0, plan) || !plan->runtime)
            continue;
        if (!maps_vaddr_to_address(&maps.modules[i], image, plan->runtime_vaddr, &runtime))
            context = context_by_plan(pid, plan, runtime);
    }
    maps_done(&maps);
    return context;
}

static pid_t python_start(const char *python, int *ret_in, FILE **ret_out)
{
    static const char program[] = "import contextvars,sys\n"
                                  "c=contextvars.copy_context()\n"
                                  "c.run(lambda: (print(sys.version_info[1], id(c), flush=True), sys.stdin.read()))\n";
    int in[2], out[2];
    if (pipe(in) || pipe(out))
        return -1;
    pid_t pid = fork();
    if (!pid) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        close(in[1]);
        execl(python, python, "-E", "-S", "-c", program, NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    *ret_in = in[1];
    *ret_out = fdopen(out[0], "r");
    return pid;
}

static bool check_python(const char *python)
{
    int in = -1, minor = 0;
    unsigned long id = 0;
    cleanup(fclosep) FILE *out = NULL;
    struct py_plan plan = { 0 };
    pid_t pid = python_start(python, &in, &out);
    bool up = pid > 0 && fscanf(out, "%d %lu", &minor, &id) == 2;
    u64 seen = up ? find_and_read(pid, &plan) : 0;
    close(in);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    if (!up || minor < 8)
        return false;
    printf("%s: 3.%d, context %lx, seen %lx %s\n", python, minor, id, (unsigned long)seen, plan.why_not ? plan.why_not : "");
    assert_int_equal(plan.minor, minor);
    assert_true(plan.units_ok);
    assert_int_equal(seen, id);
    return true;
}

static void test_live_contexts(void **state)
{
    UNUSED(state);
    glob_t g = { 0 };
    unsigned done = 0;
    glob("/usr/bin/python3.[0-9]*", 0, NULL, &g);
    glob("/usr/local/bin/python3.[0-9]*", GLOB_APPEND, NULL, &g);
    glob("~/.pyenv/versions/3.*/bin/python3.[0-9]*", GLOB_APPEND | GLOB_TILDE, NULL, &g);
    for (size_t i = 0; i < g.gl_pathc; i++)
        if (strspn(strrchr(g.gl_pathv[i], '/') + 7, "0123456789.") == strlen(strrchr(g.gl_pathv[i], '/') + 7))
            done += check_python(g.gl_pathv[i]);
    globfree(&g);
    if (!done)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_method_tables), cmocka_unit_test(test_queue_modules),
                                        cmocka_unit_test(test_asyncio_modules), cmocka_unit_test(test_live_contexts) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
