/* What /proc tells of a process, as one record that stands before its first other record, in captures too: so a replay needs no
 * /proc. A process that is already gone gets what its exec record said. Only such environment variables are taken
 * as name a service or carry a trace; never the whole environment. */
#include "probe/internal.h"
#include "base/procfs.h"
#include <dirent.h>
#include <unistd.h>

struct text {
    u8 *p;
    size_t n, max;
};

static void text_add(struct text *t, const char *key, struct slice value)
{
    size_t k = strlen(key);
    if (!value.n || t->n + k + value.n + 2 > t->max)
        return;
    memcpy(t->p + t->n, key, k);
    t->p[t->n + k] = '=';
    memcpy(t->p + t->n + k + 1, value.p, value.n);
    t->n += k + 1 + value.n;
    t->p[t->n++] = 0;
}
static void text_u64(struct text *t, const char *key, u64 v)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%llu", (unsigned long long)v);
    text_add(t, key, slice_str(digits));
}

/* Arguments with \x1f between them; the last NUL goes. */
static void add_args(struct text *t, struct slice raw)
{
    u8 args[4096];
    size_t n = min_u64(raw.n, sizeof(args));
    memcpy(args, raw.p, n);
    while (n && !args[n - 1])
        n--;
    for (size_t i = 0; i < n; i++) {
        if (!args[i])
            args[i] = 0x1f;
    }
    text_add(t, "args", slice_of(args, n));
}

static bool env_wanted(struct slice var)
{
    static const char *const names[] = { "OTEL_",        "TRACEPARENT=",    "TRACESTATE=",          "BAGGAGE=",      "HOSTNAME=",
                                         "VIRTUAL_ENV=", "INVOCATION_ID=",  "TRIGGER_UNIT=",        "AIRFLOW_CTX_",  "WFTRACE_",
                                         "POD_",         "KUBERNETES_POD_", "CONTAINER_",           "SERVICE_NAME=", "K_SERVICE=",
                                         "CELERY_",      "DAGSTER_RUN_",    "PREFECT__FLOW_RUN_ID=" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_starts(var, names[i]))
            return true;
    }
    return false;
}

static void add_environment(struct text *t, u32 tgid)
{
    cleanup(freep) char *env = NULL;
    size_t n = 0;
    if (pid_file(tgid, "environ", 1 << 17, &env, &n))
        return;
    struct slice left = slice_of(env, n);
    while (left.n) {
        ptrdiff_t end = slice_find(left, 0), eq;
        struct slice var = slice_head(left, end < 0 ? left.n : (size_t)end);
        left = slice_from(left, var.n + 1);
        if (!env_wanted(var) || (eq = slice_find(var, '=')) < 1 || eq > 80)
            continue;
        char key[96];
        snprintf(key, sizeof(key), "env.%.*s", (int)eq, (const char *)var.p);
        text_add(t, key, slice_from(var, (size_t)eq + 1));
    }
}

static bool is_hex(u8 c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); }

/* The container's id: the last run of 64 hexadecimal digits in a cgroup path (docker, containerd, cri-o, podman). */
static struct slice find_container(struct slice path)
{
    for (size_t end = path.n; end >= 64; end--) {
        size_t run = 0;
        while (run < end && is_hex(path.p[end - 1 - run]))
            run++;
        if (run == 64)
            return slice_of(path.p + end - 64, 64);
    }
    return slice_of(path.p, 0);
}

/* Who runs it, by the name that it gives to its control groups. */
static const char *find_runtime(struct slice path)
{
    static const char *const names[][2] = {
        { "docker-", "docker" }, { "/docker/", "docker" }, { "cri-containerd-", "containerd" },
        { "crio-", "cri-o" },    { "libpod-", "podman" },  { "/containerd/", "containerd" }
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (memmem(path.p, path.n, names[i][0], strlen(names[i][0])))
            return names[i][1];
    }
    return NULL;
}

/* The pod's uid: behind "pod" in the path of a node's kubelet, with _ for - under systemd. */
static bool find_pod(struct slice path, char out[40])
{
    const u8 *at = path.p, *end = path.p + path.n;
    while (at < end && (at = memmem(at, (size_t)(end - at), "pod", 3))) {
        size_t n = 0;
        for (at += 3; at + n < end && n < 36 && (is_hex(at[n]) || at[n] == '-' || at[n] == '_'); n++)
            out[n] = at[n] == '_' ? '-' : (char)at[n];
        out[n] = 0;
        if (n == 36)
            return true;
    }
    return false;
}

/* The innermost path component that ends in ".service" (or ".scope" for sessions is left alone). */
static struct slice find_unit(struct slice path)
{
    static const char suffix[] = ".service";
    struct slice found = { 0 };
    for (size_t from = 0; from < path.n;) {
        struct slice rest = slice_from(path, from);
        ptrdiff_t at = slice_find(rest, '/');
        struct slice part = slice_head(rest, at < 0 ? rest.n : (size_t)at);
        size_t s = sizeof(suffix) - 1;
        if (part.n > s && !memcmp(part.p + part.n - s, suffix, s))
            found = part;
        from += part.n + 1;
    }
    return found;
}

static void add_cgroup(struct text *t, u32 tgid)
{
    cleanup(freep) char *text = NULL;
    size_t n = 0;
    struct slice container = { 0 }, unit = { 0 };
    const char *runtime = NULL;
    char pod[40];
    bool in_pod = false;
    if (pid_file(tgid, "cgroup", 16384, &text, &n))
        return;
    for (struct slice left = slice_of(text, n); left.n;) {
        ptrdiff_t end = slice_find(left, '\n');
        struct slice line = slice_head(left, end < 0 ? left.n : (size_t)end);
        left = slice_from(left, line.n + 1);
        if (!container.n && (container = find_container(line)).n) {
            runtime = find_runtime(line);
            in_pod = find_pod(line, pod);
        }
        if (!unit.n)
            unit = find_unit(line);
    }
    text_add(t, "container.id", container);
    if (runtime)
        text_add(t, "container.runtime.name", slice_str(runtime));
    if (in_pod)
        text_add(t, "k8s.pod.uid", slice_str(pod));
    text_add(t, "unit", unit);
}

static void add_stat(struct text *t, u32 tgid)
{
    struct pid_stat st;
    if (pid_stat(tgid, &st))
        return;
    text_add(t, "comm", slice_str(st.comm));
    text_u64(t, "ppid", st.ppid);
    text_u64(t, "start", st.start * (NSEC_PER_SEC / (u64)sysconf(_SC_CLK_TCK)));
}

static void add_uid(struct text *t, u32 tgid)
{
    cleanup(freep) char *status = NULL;
    size_t n = 0;
    unsigned uid;
    char *line = pid_file(tgid, "status", 8192, &status, &n) ? NULL : strstr(status, "\nUid:");
    if (line && sscanf(line, "\nUid: %u", &uid) == 1)
        text_u64(t, "uid", uid);
    line = status ? strstr(status, "\nNSpid:") : NULL;
    if (line)
        text_add(t, "nspid", slice_trim(slice_of(line + 7, strcspn(line + 7, "\n"))));
}

/* "3.11": what the mapped Python says, else the executable's name. */
static void add_python(struct text *t, const struct proc_runtime *r, const char *exe)
{
    const char *base = strrchr(exe, '/');
    unsigned major = r->major, minor = r->minor;
    char version[16];
    if (!major && (!base || sscanf(base, "/python%u.%u", &major, &minor) != 2))
        return;
    snprintf(version, sizeof(version), "%u.%u", major, minor);
    text_add(t, "python", slice_str(version));
}

static void add_runtime(struct text *t, const struct proc_runtime *r, const char *exe)
{
    add_python(t, r, exe);
    if (r->handover)
        text_u64(t, "handover", r->handover);
    if (r->go)
        text_u64(t, "go", 1);
    if (r->node)
        text_u64(t, "node", 1);
    if (r->java)
        text_u64(t, "java", 1);
}

/* Where its standard streams lead: "/dev/pts/1", "pipe:[123]", a path. */
static void add_streams(struct text *t, u32 tgid)
{
    char link[1024], name[16];
    for (int fd = 0; fd < 3; fd++) {
        snprintf(name, sizeof(name), "fd/%d", fd);
        if (!pid_link(tgid, name, link, sizeof(link)))
            continue;
        snprintf(name, sizeof(name), "fd%d", fd);
        text_add(t, name, slice_str(link));
    }
}

size_t procinfo_make(const struct proc *proc, u64 time, const struct exec_facts *exec, u8 *out)
{
    u32 tgid = proc->tgid;
    struct rec_hdr h = { .type = REC_PROCINFO, .time = time, .tgid = tgid, .tid = tgid };
    struct text t = { .p = out + sizeof(h), .max = PROCINFO_MAX - sizeof(h) };
    char link[4096];
    if (pid_link(tgid, "exe", link, sizeof(link)))
        text_add(&t, "exe", slice_str(link));
    else if (exec && exec->filename.n)
        text_add(&t, "exe", exec->filename);
    add_runtime(&t, &proc->runtime, link);
    if (pid_link(tgid, "cwd", link, sizeof(link)))
        text_add(&t, "cwd", slice_str(link));
    cleanup(freep) char *args = NULL;
    size_t n = 0;
    if (exec && exec->args.n)
        add_args(&t, exec->args);
    else if (!pid_file(tgid, "cmdline", 4096, &args, &n))
        add_args(&t, slice_of(args, n));
    add_stat(&t, tgid);
    add_uid(&t, tgid);
    add_cgroup(&t, tgid);
    add_streams(&t, tgid);
    add_environment(&t, tgid);
    text_add(&t, "seen", slice_str(proc->started ? "start" : "attach"));
    h.len = (u32)(sizeof(h) + t.n);
    memcpy(out, &h, sizeof(h));
    return h.len;
}
