/* Loading: seven objects that share their maps. The first one makes a map, the later ones reuse it by name. Processes and
 * sockets are always loaded; TLS, output, runtimes, rules and the bridge with the first place that wants them (verifying costs time). Of each hook
 * only the programs of the chosen form are loaded, so a form that this kernel refuses is never shown to its verifier. */
#include "probe/internal.h"
#include "proc.skel.h"
#include "sock.skel.h"
#include "tls.skel.h"
#include "probe.skel.h"
#include "runtime.skel.h"
#include "bridge.skel.h"
#include "output.skel.h"
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct {
    const char *name;
    const void *(*bytes)(size_t *size);
} object_table[OBJ_MAX] = {
    [OBJ_PROC] = { "wf_proc", proc_bpf__elf_bytes },
    [OBJ_SOCK] = { "wf_sock", sock_bpf__elf_bytes },
    [OBJ_TLS] = { "wf_tls", tls_bpf__elf_bytes },
    [OBJ_PROBE] = { "wf_probe", probe_bpf__elf_bytes },
    [OBJ_RUNTIME] = { "wf_runtime", runtime_bpf__elf_bytes },
    [OBJ_BRIDGE] = { "wf_bridge", bridge_bpf__elf_bytes },
    [OBJ_OUTPUT] = { "wf_output", output_bpf__elf_bytes },
};

/* libbpf's own words go to the debug log; the last of them explains a failure. */
static char libbpf_last[256];
static int libbpf_say(enum libbpf_print_level level, const char *fmt, va_list args)
{
    char line[1024];
    if (level == LIBBPF_DEBUG)
        return 0;
    vsnprintf(line, sizeof(line), fmt, args);
    line[strcspn(line, "\n")] = 0;
    snprintf(libbpf_last, sizeof(libbpf_last), "%.255s", line);
    log_debug("libbpf", "%s", line);
    return 0;
}

static int object_sizes(struct probes *p, struct bpf_object *o)
{
    const struct {
        const char *map;
        u32 size;
    } sizes[] = {
        { "ring", p->options.ring_bytes },
        { "targets", p->options.max_targets },
        { "conns", p->options.max_conns },
        { "verdicts", p->options.max_conns },
    };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct bpf_map *m = bpf_object__find_map_by_name(o, sizes[i].map);
        int err = m ? bpf_map__set_max_entries(m, sizes[i].size) : 0;
        if (err)
            return err;
    }
    return 0;
}

static bool map_is_own(const char *name) { return strchr(name, '.') != NULL; } /* .rodata and the like */

static int object_reuse_maps(struct probes *p, struct bpf_object *o)
{
    struct bpf_map *m;
    bpf_object__for_each_map(m, o)
    {
        const char *name = bpf_map__name(m);
        for (int i = 0; i < OBJ_MAX && !map_is_own(name); i++) {
            struct bpf_map *first =
                p->objects[i] && p->objects[i] != o ? bpf_object__find_map_by_name(p->objects[i], name) : NULL;
            int err = first ? bpf_map__reuse_fd(m, bpf_map__fd(first)) : 0;
            if (err)
                return err;
            if (first)
                break;
        }
    }
    return 0;
}

static bool hook_wants(const struct hook_form *row, const char *program)
{
    for (size_t i = 0; row && i < HOOK_PROGS && row->progs[i]; i++) {
        size_t n = strlen(row->progs[i]);
        if (strncmp(program, row->progs[i], n) || !feature_has(FEATURE_BTF))
            continue;
        bool same = !program[n] || (row->form == FORM_KPROBE && !strcmp(program + n, "r")); /* fn_k and fn_kr */
        bool there = form_is_tracepoint(row->form) || feature_function(row->functions[i]);
        if (same && there)
            return true;
    }
    return false;
}

/* A program on user functions says before it is verified by which kind of link it will be attached. */
static void object_by_uprobe_multi(struct bpf_object *o)
{
    struct bpf_program *prog;
    bpf_object__for_each_program(prog, o)
        bpf_program__set_expected_attach_type(prog, feature_has(FEATURE_UPROBE_MULTI) ? BPF_TRACE_UPROBE_MULTI : 0);
}

/* Kernel hooks: what the chosen form needs. User-space programs: all. */
static void object_choose(struct probes *p, enum object which, struct bpf_object *o)
{
    struct bpf_program *prog;
    if (which != OBJ_PROC && which != OBJ_SOCK) {
        object_by_uprobe_multi(o);
        return;
    }
    bool chained = false;
    bpf_object__for_each_program(prog, o)
    {
        bool wanted = false;
        for (size_t i = 0; i < hook_count && !wanted; i++) {
            const struct hook_form *row = NULL;
            if (hook_table[i].object == which && hook_pick(&hook_table[i], p->options.force, &row) < FORM_MAX)
                wanted = hook_wants(row, bpf_program__name(prog));
        }
        bpf_program__set_autoload(prog, wanted);
        chained |= wanted && strstr(bpf_program__name(prog), "_third");
    }
    struct bpf_map *marks = bpf_object__find_map_by_name(o, "chain_marks"); /* a kind that 5.10 does not have */
    if (marks && !chained)
        bpf_map__set_autocreate(marks, false);
}

typedef __typeof__(((struct probe_bpf *)0)->rodata) probe_constants;

/* The constants of an opened probe object, to be set before it is loaded; NULL when it has none. */
static probe_constants site_constants(struct bpf_object *o)
{
    struct bpf_map *m;
    size_t room = 0;
    bpf_object__for_each_map(m, o)
    {
        if (!strstr(bpf_map__name(m), ".rodata"))
            continue;
        void *first = bpf_map__initial_value(m, &room);
        return first && room >= sizeof(*(probe_constants)0) ? first : NULL;
    }
    return NULL;
}

/* Declared probes may wait for a page that the program has not touched yet, where links for many allow it (6.6). */
static void object_sleepable(struct bpf_object *o)
{
    probe_constants c = site_constants(o);
    struct bpf_program *prog;
    if (!c)
        return;
    *(u32 *)&c->may_sleep = 1;
    bpf_object__for_each_program(prog, o) bpf_program__set_flags(prog, bpf_program__flags(prog) | BPF_F_SLEEPABLE);
}

/* Which descriptors are asked for: constants, so that the other half of the program is not even there. */
static void object_output(const struct probes *p, struct bpf_object *o)
{
    struct bpf_map *m;
    size_t room = 0;
    bpf_object__for_each_map(m, o)
    {
        if (!strstr(bpf_map__name(m), ".rodata"))
            continue;
        __typeof__(((struct output_bpf *)0)->rodata) c = bpf_map__initial_value(m, &room);
        if (!c || room < sizeof(*c))
            return;
        *(u32 *)&c->output_std = p->options.output;
        *(u32 *)&c->output_named = p->options.output_files;
    }
}

static int object_try(struct probes *p, enum object which, bool sleepable)
{
    size_t size;
    const void *bytes = object_table[which].bytes(&size);
    LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = object_table[which].name);
    struct bpf_object *o = bpf_object__open_mem(bytes, size, &opts);
    if (!o)
        return -errno;
    object_choose(p, which, o);
    if (sleepable)
        object_sleepable(o);
    if (which == OBJ_OUTPUT)
        object_output(p, o);
    int err = object_sizes(p, o);
    if (!err)
        err = object_reuse_maps(p, o);
    if (!err)
        err = bpf_object__load(o);
    if (err) {
        bpf_object__close(o);
        return err;
    }
    p->objects[which] = o;
    return 0;
}

static int object_load(struct probes *p, enum object which)
{
    bool sleepable = which == OBJ_PROBE && feature_has(FEATURE_UPROBE_MULTI);
    int err = object_try(p, which, sleepable);
    return err && sleepable ? object_try(p, which, false) : err;
}

int loader_site_object(struct probes *p, u32 site, struct bpf_object **ret)
{
    size_t size;
    const void *bytes = object_table[OBJ_PROBE].bytes(&size);
    LIBBPF_OPTS(bpf_object_open_opts, opts, .object_name = "wf_site");
    struct bpf_object *o = bpf_object__open_mem(bytes, size, &opts);
    if (!o)
        return -errno;
    object_by_uprobe_multi(o);
    probe_constants constants = site_constants(o);
    int err = constants ? 0 : -EINVAL;
    if (!err) {
        *(u32 *)&constants->fixed_site = site;
        err = object_reuse_maps(p, o);
    }
    if (!err)
        err = bpf_object__load(o);
    if (err) {
        bpf_object__close(o);
        return err;
    }
    *ret = o;
    return 0;
}

static int object_need(struct probes *p, enum object which)
{
    if (p->objects[which] || p->refused[which])
        return p->refused[which];
    int err = object_load(p, which);
    features_rest();
    p->refused[which] = err;
    if (err)
        log_warn("probe", "cannot load %s: %s (%s)", object_table[which].name, errno_name(err), libbpf_last);
    return err;
}

struct bpf_program *loader_program(struct probes *p, enum object o, const char *name)
{
    return !object_need(p, o) ? bpf_object__find_program_by_name(p->objects[o], name) : NULL;
}

static int loader_attach(struct probes *p, enum object which)
{
    struct bpf_program *prog;
    bpf_object__for_each_program(prog, p->objects[which])
    {
        if (!bpf_program__autoload(prog))
            continue;
        struct bpf_link *l = bpf_program__attach(prog);
        if (!l) {
            log_warn("probe", "%s: cannot attach: %s (goes on without it)", bpf_program__name(prog), errno_name(errno));
            continue;
        }
        int err = link_keep(p, l);
        if (err)
            return err;
    }
    return 0;
}

static int map_fd(struct probes *p, enum object o, const char *name)
{
    return bpf_object__find_map_fd_by_name(p->objects[o], name);
}

static int loader_control(struct probes *p)
{
    int fd = map_fd(p, OBJ_PROC, "control");
    void *page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        return -errno;
    p->control = page;
    p->control->wake_bytes = p->options.ring_bytes / 8;
    p->control->call_max = p->options.capture_call;
    p->control->budget = p->options.capture_budget;
    p->control->generation = 1;
    return 0;
}

int loader_open(struct probes *p, char *err, size_t err_size)
{
    struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY };
    setrlimit(RLIMIT_MEMLOCK, &all); /* maps count against it below 5.11; elsewhere it may fail and needn't work */
    libbpf_set_print(libbpf_say);
    for (int i = 0; i <= OBJ_SOCK; i++) {
        int e = object_load(p, i);
        if (e) {
            snprintf(err, err_size, "cannot load %s: %s (%s)", object_table[i].name, errno_name(e), libbpf_last);
            return e;
        }
    }
    p->targets_fd = map_fd(p, OBJ_PROC, "targets");
    p->stats_fd = map_fd(p, OBJ_PROC, "stats");
    p->unit_fd = map_fd(p, OBJ_PROC, "unit_of_tid");
    p->verdicts_fd = map_fd(p, OBJ_SOCK, "verdicts");
    p->sites_fd = -1;
    int e = loader_control(p);
    for (int i = 0; !e && i <= OBJ_SOCK; i++)
        e = loader_attach(p, i);
    if (e)
        snprintf(err, err_size, "cannot set up the kernel side: %s", errno_name(e));
    return e;
}

int loader_sites(struct probes *p)
{
    int err = object_need(p, OBJ_PROBE);
    if (!err)
        p->sites_fd = map_fd(p, OBJ_PROBE, "sites");
    return err;
}

void loader_close(struct probes *p)
{
    sites_close(p);
    links_close(p);
    sites_close_objects(p);
    if (p->control)
        munmap(p->control, (size_t)sysconf(_SC_PAGESIZE));
    for (int i = 0; i < OBJ_MAX; i++)
        bpf_object__close(p->objects[i]);
}
