/* The control's public face: opening, targets, verdicts, and the turn of the reader. Records pass through here on
 * their way: EXEC, MAPPED and EXIT are acted upon, and a process is introduced (PROCINFO) before its first record. */
#include "probe/internal.h"
#include <unistd.h>

static void on_record(void *arg, const void *record, size_t len);

static struct probe_options options_with_defaults(const struct probe_options *o)
{
    struct probe_options r = o ? *o : (struct probe_options){ 0 };
    r.ring_bytes = r.ring_bytes ? r.ring_bytes : 8u << 20;
    r.capture_call = r.capture_call ? r.capture_call : 16384;
    r.capture_budget = r.capture_budget ? r.capture_budget : 32768;
    r.max_targets = r.max_targets ? r.max_targets : 65536;
    r.max_conns = r.max_conns ? r.max_conns : 65536;
    return r;
}

int probes_open(const struct probe_options *o, struct probes **ret, char *err, size_t err_size)
{
    int e = feature_verdict(err, err_size);
    if (e)
        return e;
    struct probes *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    p->options = options_with_defaults(o);
    e = loader_open(p, err, err_size);
    if (!e) {
        e = ring_open(bpf_object__find_map_fd_by_name(p->objects[OBJ_PROC], "ring"), &p->control->sleeping, on_record, p,
                      &p->ring);
        if (!e)
            e = images_open(p);
        if (!e)
            e = targets_open(p);
        if (e)
            snprintf(err, err_size, "cannot set up the reader: %s", errno_name(e));
    }
    if (e) {
        probes_close(p);
        return e;
    }
    features_rest();
    *ret = p;
    return 0;
}

struct probes *probes_close(struct probes *p)
{
    if (!p)
        return NULL;
    p->ring = ring_close(p->ring);
    p->procs = table_free(p->procs); /* they hold images, and those links */
    images_free(p);
    loader_close(p);
    p->rejected = table_free(p->rejected);
    p->output_fds = table_free(p->output_fds);
    free(p);
    return NULL;
}

int probes_verdict(struct probes *p, u64 conn, enum probe_verdict v, u32 budget)
{
    static const u32 modes[] = { [PROBE_HEAD] = VERDICT_HEAD, [PROBE_IGNORE] = VERDICT_IGNORE, [PROBE_ALL] = VERDICT_ALL };
    struct verdict value = { .mode = modes[v], .budget = budget };
    int err = bpf_map_update_elem(p->verdicts_fd, &conn, &value, BPF_ANY);
    __atomic_add_fetch(&p->control->generation, 1, __ATOMIC_RELEASE);
    return err;
}

int probes_file(struct probes *p, const char *path) { return image_visit_path(p, path); }

int probes_verdict_tls(struct probes *p, u32 tgid, u64 ssl)
{
    struct tls_session_key key = { .ssl = ssl, .tgid = tgid };
    u32 yes = 1;
    int fd = p->objects[OBJ_TLS] ? bpf_object__find_map_fd_by_name(p->objects[OBJ_TLS], "tls_whole") : -ENOENT;
    return fd < 0 ? fd : bpf_map_update_elem(fd, &key, &yes, BPF_ANY);
}

void probes_forget(struct probes *p, u64 conn) { bpf_map_delete_elem(p->verdicts_fd, &conn); }

/* Introduces the process of a record. An EXEC introduces it anew: it is another program now. */
static void introduce(struct probes *p, struct proc *proc, const struct rec_hdr *h)
{
    u8 out[PROCINFO_MAX];
    struct exec_facts facts = { 0 };
    const struct rec_exec *x = (const void *)h;
    bool is_exec = h->type == REC_EXEC && h->len >= sizeof(*x) + x->filename_len + x->args_len;
    if (is_exec) {
        const u8 *payload = (const u8 *)(x + 1);
        facts.filename = slice_of(payload, x->filename_len ? x->filename_len - 1u : 0);
        facts.args = slice_of(payload + x->filename_len, x->args_len);
        proc->started = true;
    }
    proc->informed = true;
    size_t n = procinfo_make(proc, h->time, is_exec ? &facts : NULL, out);
    p->take(p->take_arg, out, n);
}

/* An exec's file name; empty when there is none. */
static struct slice exec_filename(const struct rec_hdr *h)
{
    const struct rec_exec *x = (const void *)h;
    bool whole = h->len >= sizeof(*x) && h->len >= sizeof(*x) + x->filename_len;
    return whole && x->filename_len ? slice_of((const u8 *)(x + 1), x->filename_len - 1u) : slice_of(NULL, 0);
}

/* Looks at what is mapped; tells again when that says more of the runtime than was told. */
static void scan(struct probes *p, const struct rec_hdr *h)
{
    struct proc *proc = targets_scan(p, h->tgid) ? targets_proc(p, h->tgid) : NULL;
    if (proc && proc->informed)
        introduce(p, proc, h);
}

static void after_record(struct probes *p, const struct rec_hdr *h)
{
    switch (h->type) {
    case REC_FORK: {
        const struct rec_fork *f = (const void *)h;
        struct proc *child = f->child_tgid == f->child_tid ? targets_proc(p, f->child_tgid) : NULL;
        if (child) {
            targets_renew(p, f->child_tgid); /* the id may have been someone else's */
            const struct proc *maker = targets_proc(p, h->tgid);
            struct proc_runtime same = maker ? maker->runtime : (struct proc_runtime){ 0 };
            *child = (struct proc){ .tgid = f->child_tgid, .started = true, .runtime = same };
            if (maker)
                images_copy(p, &child->holds, &maker->holds);
        }
        break;
    }
    case REC_EXEC:
        previsit_exec(p, h->tgid, exec_filename(h));
        scan(p, h);
        break;
    case REC_MAPPED:
        scan(p, h);
        break;
    case REC_EXIT:
        if (!(h->flags & REC_F_THREAD))
            targets_forget(p, h->tgid);
        break;
    }
}

static void on_record(void *arg, const void *record, size_t len)
{
    struct probes *p = arg;
    const struct rec_hdr *h = record;
    if (len < sizeof(*h) || !discover_passes(p, h))
        return;
    struct proc *proc = targets_proc(p, h->tgid);
    if (proc && h->type == REC_EXEC)
        targets_renew(p, h->tgid);
    if (proc && (!proc->informed || h->type == REC_EXEC))
        introduce(p, proc, h);
    p->take(p->take_arg, record, len);
    after_record(p, h);
}

int probes_poll(struct probes *p, int timeout_ms, void (*take)(void *arg, const void *record, size_t len), void *arg)
{
    p->take = take;
    p->take_arg = arg;
    targets_retry(p);
    images_sweep(p);
    return ring_turn(p->ring, timeout_ms);
}

/* What recursion made the kernel leave out (bpf_prog_info.recursion_misses, Linux 5.12). */
u64 probes_missed(struct probes *p)
{
    struct bpf_program *prog;
    u64 sum = 0;
    static const enum object hooked[] = { OBJ_PROC, OBJ_SOCK };
    for (size_t i = 0; i < ARRAY_LEN(hooked); i++) {
        if (!p->objects[hooked[i]])
            continue;
        bpf_object__for_each_program(prog, p->objects[hooked[i]])
        {
            struct bpf_prog_info info = { 0 };
            u32 size = sizeof(info);
            const char *name = bpf_program__name(prog);
            bool followed = strstr(name, "_first") || strstr(name, "_second"); /* what it misses the next one takes */
            if (!followed && bpf_program__fd(prog) >= 0 && !bpf_prog_get_info_by_fd(bpf_program__fd(prog), &info, &size))
                sum += info.recursion_misses;
        }
    }
    return sum;
}

void probes_stats(struct probes *p, u64 *ret, size_t n, const char *const **ret_names)
{
    static const char *const names[] = {
#define STAT(name, help) #name,
#include "bpf/stats.def"
#undef STAT
        NULL
    };
    int cpus = libbpf_num_possible_cpus();
    u64 *values = calloc(cpus > 0 ? (size_t)cpus : 1, sizeof(*values));
    if (ret_names)
        *ret_names = names;
    for (u32 i = 0; i < n; i++) {
        ret[i] = 0;
        if (!values || cpus <= 0 || i >= ARRAY_LEN(names) - 1 || bpf_map_lookup_elem(p->stats_fd, &i, values))
            continue;
        for (int c = 0; c < cpus; c++)
            ret[i] += values[c];
        if (!strcmp(names[i], "hook_missed"))
            ret[i] = probes_missed(p);
    }
    free(values);
}
