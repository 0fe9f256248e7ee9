/* The way in for a Python that ignores its environment (-I, -E, -S, or a script whose first line says so): LD_PRELOAD of this
 * object, which every program that the command starts will load too. So it needs no library, has one constructor, and that
 * returns at once unless the program is CPython.
 *
 * There, before the interpreter starts, the table of built-in modules gets another starter for `_codecs`, which every version
 * needs early and once. That queues a pending call; it runs as soon as Python code does, before anything of the user's, and
 * loads the bridge from beside this file. An audit hook could do the same but would stay, and cost every audited call. */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct inittab {
    const char *name;
    void *(*init)(void);
};
extern struct inittab *PyImport_Inittab __attribute__((weak));
int Py_AddPendingCall(int (*)(void *), void *) __attribute__((weak));

static void *(*own_init)(void);

/* The folder of this object, with `name` in it. */
static bool beside(const char *name, char *out, size_t size)
{
    Dl_info info;
    if (!dladdr((void *)&own_init, &info) || !info.dli_fname)
        return false;
    const char *slash = strrchr(info.dli_fname, '/');
    return slash && snprintf(out, size, "%.*s/%s", (int)(slash - info.dli_fname), info.dli_fname, name) < (int)size;
}

static int load(void *unused)
{
    char path[4096], watch[4096];
    const char *given = getenv("WFTRACE_BRIDGE_WATCH");
    (void)unused;
    void *bridge = beside("_wftrace.abi3.so", path, sizeof path) ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    int (*install)(const char *, bool) = bridge ? (int (*)(const char *, bool))dlsym(bridge, "wftrace_bridge_install") : NULL;
    if (install && (given || beside("watch", watch, sizeof watch)))
        (void)install(given ? given : watch, false);
    return 0;
}

static void *init_codecs(void)
{
    static bool done;
    void *module = own_init();
    if (!done && module)
        (void)Py_AddPendingCall(load, NULL);
    done = true;
    return module;
}

__attribute__((constructor)) static void preloaded(void)
{
    if (!&PyImport_Inittab || !Py_AddPendingCall)
        return;
    for (struct inittab *t = PyImport_Inittab; t && t->name; t++) {
        if (strcmp(t->name, "_codecs") || !t->init)
            continue;
        own_init = t->init;
        t->init = init_codecs;
        return;
    }
}
