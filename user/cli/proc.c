/* Reads /proc the cheap way: a handful of small files a process; maps only to see whether OpenSSL is in it. */
#include "cli/proc.h"
#include "base/procfs.h"

#include <ctype.h>
#include <dirent.h>
#include <unistd.h>

#define SMALL 65536

int proc_start(pid_t pid, u64 *ret)
{
    struct pid_stat st;
    int err = pid_stat((u32)pid, &st);
    if (err)
        return err == -ENOENT ? -ESRCH : err;
    *ret = st.start;
    return 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool is_hex_id(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isxdigit((u8)s[i]))
            return false;
    return n == 64 || n == 32;
}

static bool ends_with(const char *s, size_t n, const char *tail)
{
    size_t m = strlen(tail);
    return n > m && !memcmp(s + n - m, tail, m);
}

/* One component: docker-<id>.scope, cri-containerd-<id>.scope, libpod-<id>.scope, <id>, NAME.service. */
static void component_read(const char *s, size_t n, char *unit, size_t unit_size, char *container, size_t container_size)
{
    bool scope = ends_with(s, n, ".scope");
    size_t body = scope ? n - 6 : n, at = body;
    while (at && isxdigit((u8)s[at - 1]))
        at--;
    if (is_hex_id(s + at, body - at) && (at == 0 || s[at - 1] == '-' || s[at - 1] == ':'))
        snprintf(container, container_size, "%.*s", (int)(body - at), s + at);
    else if (ends_with(s, n, ".service") || (scope && memcmp(s, "init.", 5)))
        snprintf(unit, unit_size, "%.*s", (int)min_u64(n, unit_size - 1), s);
}

void cgroup_read_names(const char *path, char *unit, size_t unit_size, char *container, size_t container_size)
{
    unit[0] = container[0] = 0;
    for (const char *p = path; *p;) {
        p += *p == '/';
        size_t n = strcspn(p, "/");
        if (n)
            component_read(p, n, unit, unit_size, container, container_size);
        p += n;
    }
}

/* "0::/path" is cgroup v2's line; on a hybrid system it may be "/" while systemd's own hierarchy knows more. */
static void cgroup_read(struct proc *p)
{
    cleanup(freep) char *text = NULL;
    if (pid_file((u32)p->pid, "cgroup", SMALL, &text, NULL))
        return;
    for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *path = strchr(line, ':');
        path = path ? strchr(path + 1, ':') : NULL;
        if (path && (!p->cgroup[0] || !strcmp(p->cgroup, "/")))
            snprintf(p->cgroup, sizeof(p->cgroup), "%s", path + 1);
    }
    cgroup_read_names(p->cgroup, p->unit, sizeof(p->unit), p->container, sizeof(p->container));
}

/* Programs that run a file named by an argument, and their options that take the next word. */
static const struct interpreter {
    const char *name;
    const char *with_value[12];
    const char *code; /* options with which there is no file */
} interpreters[] = {
    { "python", { "-X", "-W", "--check-hash-based-pycs" }, "-c" },
    { "pypy", { "-X", "-W" }, "-c" },
    { "node", { "-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions" }, "-e" },
    { "java",
      { "-cp", "-classpath", "--class-path", "-p", "--module-path", "--add-modules", "--add-opens", "--add-exports" },
      "" },
    { "ruby", { "-I", "-r", "-C" }, "-e" },
    { "perl", { "-I" }, "-e" },
    { "php", { "-c", "-d", "-z", "-S", "-t" }, "-r" },
    { "bash", { "-o", "+o", "-O", "+O", "--rcfile", "--init-file" }, "-c" },
    { "dash", { "-o", "+o" }, "-c" },
    { "sh", { "-o", "+o" }, "-c" },
};

/* "python3.11" and "php8.2" are, "shutdown" is none. */
static const struct interpreter *interpreter_of(const char *program)
{
    for (size_t i = 0; i < ARRAY_LEN(interpreters); i++) {
        size_t n = strlen(interpreters[i].name);
        if (!strncmp(program, interpreters[i].name, n) && strchr("0123456789.-", program[n])) /* or its end */
            return &interpreters[i];
    }
    return NULL;
}

static bool takes_word(const struct interpreter *x, const char *option)
{
    for (size_t i = 0; i < ARRAY_LEN(x->with_value) && x->with_value[i]; i++)
        if (!strcmp(x->with_value[i], option))
            return true;
    return false;
}

void script_find(const char *program, const char *args, size_t len, char *ret, size_t size)
{
    const struct interpreter *x = interpreter_of(program);
    *ret = 0;
    for (size_t at = strnlen(args, len) + 1; x && at < len; at += strnlen(args + at, len - at) + 1) {
        const char *word = args + at;
        if (!strcmp(word, x->code))
            return;
        if (takes_word(x, word))
            at += strnlen(word, len - at) + 1;
        else if (*word && *word != '-' && *word != '+') {
            snprintf(ret, size, "%s", word);
            return;
        }
    }
}

static void args_read(struct proc *p)
{
    cleanup(freep) char *text = NULL;
    size_t len = 0;
    if (pid_file((u32)p->pid, "cmdline", sizeof(p->args) - 1, &text, &len))
        return;
    script_find(p->exe[0] ? base_name(p->exe) : p->comm, text, len, p->script, sizeof(p->script));
    while (len && !text[len - 1])
        len--;
    for (size_t i = 0; i < len; i++)
        p->args[i] = text[i] ? text[i] : ' ';
    p->args[len] = 0;
}

static void exe_read(struct proc *p)
{
    char link[64];
    snprintf(link, sizeof(link), "/proc/%d/exe", p->pid);
    ssize_t n = readlink(link, p->exe, sizeof(p->exe) - 1);
    p->exe[n > 0 ? n : 0] = 0;
    if (ends_with(p->exe, strlen(p->exe), " (deleted)"))
        p->exe[strlen(p->exe) - 10] = 0;
}

static void runtime_read(struct proc *p)
{
    const char *name = p->exe[0] ? base_name(p->exe) : p->comm;
    if (!strncmp(name, "python", 6))
        snprintf(p->runtime, sizeof(p->runtime), "python%s%.20s", name[6] ? " " : "", name + 6);
    else
        snprintf(p->runtime, sizeof(p->runtime), "%.40s", name);
}

/* libpython in maps names the version when the program is just "python" or embeds it. */
static void maps_read_names(struct proc *p)
{
    cleanup(freep) char *text = NULL;
    if (pid_file((u32)p->pid, "maps", 4 << 20, &text, NULL))
        return;
    p->openssl = strstr(text, "/libssl") || !strncmp(p->runtime, "node", 4);
    const char *lib = strstr(text, "/libpython");
    if (lib && strncmp(p->runtime, "python ", 7)) {
        lib += strlen("/libpython");
        snprintf(p->runtime, sizeof(p->runtime), "python %.*s", (int)min_u64(strspn(lib, "0123456789."), 8), lib);
        size_t n = strlen(p->runtime);
        if (p->runtime[n - 1] == '.')
            p->runtime[n - 1] = 0;
    } else if (strstr(text, "/libjvm.so")) {
        snprintf(p->runtime, sizeof(p->runtime), "java");
    }
}

int proc_read_brief(pid_t pid, struct proc *ret)
{
    struct pid_stat st;
    *ret = (struct proc){ .pid = pid };
    int err = pid_stat((u32)pid, &st);
    if (err)
        return err == -ENOENT ? -ESRCH : err;
    snprintf(ret->comm, sizeof(ret->comm), "%s", st.comm);
    ret->ppid = (pid_t)st.ppid;
    ret->start = st.start;
    if (pid == 2 || ret->ppid == 2)
        return -ENOTSUP;
    exe_read(ret);
    args_read(ret);
    cgroup_read(ret);
    return 0;
}

int proc_read(pid_t pid, struct proc *ret)
{
    struct proc p;
    int err = proc_read_brief(pid, &p);
    if (err)
        return err;
    runtime_read(&p);
    maps_read_names(&p);
    *ret = p;
    return 0;
}

static int pid_compare(const void *a, const void *b) { return ((const struct proc *)a)->pid - ((const struct proc *)b)->pid; }

int proc_all(struct proc **ret, size_t *ret_n)
{
    DIR *d = opendir("/proc");
    if (!d)
        return -errno;
    cleanup(freep) struct proc *v = NULL;
    size_t n = 0, room = 0;
    int err = 0;
    for (struct dirent *e; !err && (e = readdir(d));) {
        u64 pid;
        if (slice_u64(slice_str(e->d_name), &pid) || (pid_t)pid == getpid())
            continue;
        if (n == room) {
            struct proc *bigger = reallocarray(v, room = room ? room * 2 : 64, sizeof(*v));
            err = bigger ? 0 : -ENOMEM;
            v = bigger ? bigger : v;
        }
        if (!err && !proc_read((pid_t)pid, &v[n]))
            n++;
    }
    closedir(d);
    if (err)
        return err;
    if (n)
        qsort(v, n, sizeof(*v), pid_compare);
    *ret = take_ptr(v);
    *ret_n = n;
    return 0;
}

/* --- listening ports: /proc/PID/net/tcp of each network namespace gives inode → port, the fds give inode → process --- */

struct listener {
    u64 inode;
    u16 port;
};
struct listeners {
    struct listener *v;
    size_t n, room;
};

static void listeners_add(struct listeners *l, const char *line)
{
    unsigned port, state;
    unsigned long long inode;
    if (sscanf(line, " %*[^:]: %*[^:]:%x %*[^ ] %x %*s %*s %*s %*s %*s %llu", &port, &state, &inode) != 3 || state != 0x0a)
        return;
    if (l->n == l->room) {
        size_t room = l->room ? l->room * 2 : 64;
        struct listener *bigger = reallocarray(l->v, room, sizeof(*bigger));
        if (!bigger)
            return;
        l->v = bigger;
        l->room = room;
    }
    l->v[l->n++] = (struct listener){ inode, (u16)port };
}

static void listeners_of(struct listeners *l, pid_t pid)
{
    static const char *const files[] = { "net/tcp", "net/tcp6" };
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        cleanup(freep) char *text = NULL;
        if (pid_file((u32)pid, files[i], 64 << 20, &text, NULL))
            continue;
        for (char *save, *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
            listeners_add(l, line);
    }
}

static void port_note(struct proc *p, u16 port)
{
    for (u32 i = 0; i < p->n_ports; i++)
        if (p->ports[i] == port)
            return;
    if (p->n_ports < PROC_PORTS)
        p->ports[p->n_ports++] = port;
}

static void ports_from_fds(struct proc *p, const struct listeners *l)
{
    char path[320], link[64];
    snprintf(path, sizeof(path), "/proc/%d/fd", p->pid);
    DIR *d = opendir(path);
    if (!d)
        return;
    for (struct dirent *e; (e = readdir(d));) {
        unsigned long long inode;
        snprintf(path, sizeof(path), "/proc/%d/fd/%s", p->pid, e->d_name);
        ssize_t n = readlink(path, link, sizeof(link) - 1);
        if (n <= 0)
            continue;
        link[n] = 0;
        if (sscanf(link, "socket:[%llu]", &inode) != 1)
            continue;
        for (size_t i = 0; i < l->n; i++)
            if (l->v[i].inode == inode)
                port_note(p, l->v[i].port);
    }
    closedir(d);
}

static u64 netns_of(pid_t pid)
{
    char path[64], link[64];
    unsigned long long id = 0;
    snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
    ssize_t n = readlink(path, link, sizeof(link) - 1);
    if (n > 0) {
        link[n] = 0;
        (void)sscanf(link, "net:[%llu]", &id);
    }
    return id;
}

void proc_ports(struct proc *v, size_t n)
{
    u64 seen[256];
    size_t n_seen = 0;
    struct listeners l = { 0 };
    for (size_t i = 0; i < n; i++) {
        u64 ns = netns_of(v[i].pid);
        bool known = !ns || n_seen == ARRAY_LEN(seen);
        for (size_t k = 0; k < n_seen && !known; k++)
            known = seen[k] == ns;
        if (known)
            continue;
        seen[n_seen++] = ns;
        listeners_of(&l, v[i].pid);
    }
    for (size_t i = 0; i < n && l.n; i++)
        ports_from_fds(&v[i], &l);
    free(l.v);
}
