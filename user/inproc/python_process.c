/* Finding CPython in a process, and PEP 768.
 *
 * Every build exports its C interface, stripped or not: from the program itself or from a libpython. The file is read through
 * /proc/PID/map_files, so neither containers nor deleted files matter. The offsets of PEP 768 stand at the start of
 * _PyRuntime (Include/internal/pycore_debug_offsets.h of 3.14). */
#include "python_process.h"

#include <elf.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "probe/elf.h"

int memory_read(pid_t pid, u64 at, void *to, size_t n)
{
    struct iovec here = { to, n }, there = { (void *)(uintptr_t)at, n };
    ssize_t got = process_vm_readv(pid, &here, 1, &there, 1, 0);
    return got < 0 ? -errno : (size_t)got == n ? 0 : -EFAULT;
}
int memory_write(pid_t pid, u64 at, const void *from, size_t n)
{
    struct iovec here = { (void *)(uintptr_t)from, n }, there = { (void *)(uintptr_t)at, n };
    ssize_t put = process_vm_writev(pid, &here, 1, &there, 1, 0);
    return put < 0 ? -errno : (size_t)put == n ? 0 : -EFAULT;
}

static u64 symbol_at(const struct elf_image *image, const char *name, u64 bias)
{
    struct elf_symbol s;
    return elf_symbol(image, name, &s) == 0 ? s.value + bias : 0;
}

static int find_in(pid_t pid, u64 start, u64 end, struct python_process *ret)
{
    char path[96];
    snprintf(path, sizeof path, "/proc/%d/map_files/%llx-%llx", pid, (unsigned long long)start, (unsigned long long)end);
    cleanup(elf_closep) struct elf_image *image = NULL;
    if (elf_open(path, &image) < 0)
        return -ENOEXEC;
    u64 bias = elf_is_shared(image) ? start - elf_load_vaddr(image) : 0;
    *ret = (struct python_process){
        .pid = pid,
        .add_pending_call = symbol_at(image, "Py_AddPendingCall", bias),
        .run_simple_string = symbol_at(image, "PyRun_SimpleString", bias),
        .gil_ensure = symbol_at(image, "PyGILState_Ensure", bias),
        .gil_release = symbol_at(image, "PyGILState_Release", bias),
        .runtime = symbol_at(image, "_PyRuntime", bias),
    };
    return ret->add_pending_call && ret->run_simple_string && ret->gil_ensure && ret->gil_release ? 0 : -ENOEXEC;
}

/* A file with the interpreter in it is called python… or libpython…, or is the program itself (embedding, frozen programs). */
int python_process_find(pid_t pid, struct python_process *ret)
{
    char path[64], exe[512] = "", line[1024];
    snprintf(path, sizeof path, "/proc/%d/exe", pid);
    ssize_t n = readlink(path, exe, sizeof exe - 1);
    if (n > 0)
        exe[n] = 0;
    snprintf(path, sizeof path, "/proc/%d/maps", pid);
    cleanup(fclosep) FILE *maps = fopen(path, "re");
    if (!maps)
        return -errno;
    while (fgets(line, sizeof line, maps)) {
        char file[512] = "";
        unsigned long long start, end, offset;
        if (sscanf(line, "%llx-%llx %*s %llx %*s %*s %511[^\n]", &start, &end, &offset, file) < 4 || offset)
            continue;
        const char *base = strrchr(file, '/');
        if (!base || (strcmp(file, exe) && !strstr(base, "python")))
            continue;
        if (find_in(pid, start, end, ret) == 0)
            return 0;
    }
    return -ENOEXEC;
}

/* Words of _Py_DebugOffsets after its cookie. */
enum { DEBUG_VERSION = 1, DEBUG_FREE_THREADED = 2, DEBUG_INTERPRETERS = 5, DEBUG_THREADS_MAIN = 10, DEBUG_WORDS = 95 };
struct debugger_support {
    u64 eval_breaker, support, enabled, pending_call, script_path, script_path_size;
};
#define PLEASE_STOP (1u << 5) /* _PY_EVAL_PLEASE_STOP_BIT */

static int offsets_read(const struct python_process *p, u64 words[DEBUG_WORDS], struct debugger_support *ret)
{
    if (!p->runtime || memory_read(p->pid, p->runtime, words, 8 * DEBUG_WORDS) < 0)
        return -ENOTSUP;
    if (memcmp(words, "xdebugpy", 8) || words[DEBUG_VERSION] >> 16 != 0x030e)
        return -ENOTSUP; /* the layout is 3.14's */
    if (words[DEBUG_FREE_THREADED])
        return -ENOTSUP;
    memcpy(ret, &words[DEBUG_WORDS - 6], sizeof *ret);
    return ret->script_path_size >= 64 && ret->script_path_size <= 4096 ? 0 : -ENOTSUP;
}

int python_process_run_script(const struct python_process *p, const char *script)
{
    u64 words[DEBUG_WORDS], interpreter = 0, thread = 0, breaker = 0;
    struct debugger_support d;
    int enabled = 0, one = 1, err = offsets_read(p, words, &d);
    if (err)
        return err;
    if (strlen(script) >= d.script_path_size)
        return -ENAMETOOLONG;
    if (memory_read(p->pid, p->runtime + words[DEBUG_INTERPRETERS], &interpreter, 8) < 0 || !interpreter ||
        memory_read(p->pid, interpreter + words[DEBUG_THREADS_MAIN], &thread, 8) < 0 || !thread ||
        memory_read(p->pid, interpreter + d.enabled, &enabled, sizeof enabled) < 0 || !enabled)
        return -ENOTSUP;
    u64 support = thread + d.support;
    if ((err = memory_write(p->pid, support + d.script_path, script, strlen(script) + 1)) < 0 ||
        (err = memory_write(p->pid, support + d.pending_call, &one, sizeof one)) < 0 ||
        (err = memory_read(p->pid, thread + d.eval_breaker, &breaker, 8)) < 0)
        return err;
    breaker |= PLEASE_STOP;
    return memory_write(p->pid, thread + d.eval_breaker, &breaker, 8);
}
