/* Processes: who is a target, what is mapped in each, and how its current unit is read.
 *
 * Probes are attached per file and for every process at once, so a process start costs one read of its maps and one look
 * into the table of files already visited. What differs per process is only the path to its current unit, which
 * needs the load address of its Python and a key that Python makes while it starts; until then we look again. */
#include "probe/internal.h"
#include "probe/maps.h"
#include "probe/py_sites.h"
#include "base/procfs.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PROCS_MAX = 65536, RETRY_MS = 3, TRIES_MAX = 250 };

static void proc_drop(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    struct probes *p = arg;
    struct proc *proc = value;
    UNUSED(key), UNUSED(cause);
    p->pending -= proc->unit_wait;
    images_release(p, &proc->holds);
}

int targets_open(struct probes *p)
{
    p->procs = table_new(&(struct table_spec){
        .key_size = sizeof(u32), .value_size = sizeof(struct proc), .max = PROCS_MAX, .drop = proc_drop, .arg = p });
    return p->procs ? 0 : -ENOMEM;
}

struct proc *targets_proc(struct probes *p, u32 tgid)
{
    bool fresh = false;
    struct proc *proc = table_put(p->procs, &tgid, &fresh);
    if (proc && fresh)
        proc->tgid = tgid;
    return proc;
}

static int target_unit_set(struct probes *p, u32 tgid, const struct target *unit)
{
    struct target t;
    int err = bpf_map_lookup_elem(p->targets_fd, &tgid, &t);
    if (err)
        return err;
    t.unit_kind = unit->unit_kind;
    t.steps = unit->steps;
    memcpy(t.path, unit->path, sizeof(t.path));
    return bpf_map_update_elem(p->targets_fd, &tgid, &t, BPF_EXIST);
}

static bool process_read(u32 tgid, u64 address, void *to, size_t n)
{
    struct iovec here = { to, n }, there = { (void *)(uintptr_t)address, n };
    return process_vm_readv((pid_t)tgid, &here, 1, &there, 1, 0) == (ssize_t)n;
}

/* autoTSSkey is {int initialised; pthread_key_t key}. True when the unit's path is known and written. */
static bool unit_try(struct probes *p, struct proc *proc)
{
    struct {
        s32 initialised;
        u32 key;
    } tss;
    if (!process_read(proc->tgid, proc->unit_key_address, &tss, sizeof(tss)) || !tss.initialised || tss.key >= 32)
        return false;
    struct target t = proc->unit;
    t.path[0] += t.path[2] * (s32)tss.key; /* path[2] held the stride until now */
    t.path[2] = 0;
    return !target_unit_set(p, proc->tgid, &t);
}

/* tstate = *(fs + base + stride * key); context = *(tstate + off). */
static void unit_of_python(struct probes *p, struct proc *proc, const struct py_plan *py, u64 runtime)
{
    proc->unit = (struct target){ .unit_kind = UNIT_PATH,
                                  .steps = 2,
                                  .path = { py->tsd_base, (s32)py->tstate_context_off, py->tsd_stride } };
    proc->unit_key_address = runtime + py->tss_key_off;
    proc->tries = 0;
    proc->unit_wait = !unit_try(p, proc);
    p->pending += proc->unit_wait;
}

static bool plan_has(const struct py_plan *py, enum py_role role)
{
    for (u32 i = 0; i < py->count; i++) {
        if (py->sites[i].role == role)
            return true;
    }
    return false;
}

static void runtime_add(struct proc_runtime *r, const struct image *image)
{
    r->go |= image->go;
    r->node |= image->node;
    r->java |= image->java;
    if (!r->handover)
        r->handover = image->handover;
    if (image->py && image->py->runtime && image->py->minor) {
        r->major = (u8)image->py->major;
        r->minor = (u8)image->py->minor;
    }
}

/* What is mapped of it tells what a process does its work in. */
struct found {
    bool greenlets, gevent, asyncio;
};

static void module_visit(struct probes *p, struct proc *proc, const struct map_module *m, struct found *f)
{
    struct image *image = image_visit(p, (pid_t)proc->tgid, m);
    f->gevent |= strstr(m->path, "/gevent/") != NULL;
    if (image) {
        runtime_add(&proc->runtime, image);
        image_hold(p, &proc->holds, image);
    }
    if (!image || !image->py)
        return;
    f->greenlets |= plan_has(image->py, PY_GREENLET_SWITCH);
    f->asyncio |= image->py->asyncio;
    if (!image->py->runtime || !image->py->units_ok || proc->unit.unit_kind)
        return;
    cleanup(elf_closep) struct elf_image *elf = NULL;
    u64 runtime;
    if (!maps_open((int)proc->tgid, m, &elf) && !maps_vaddr_to_address(m, elf, image->py->runtime_vaddr, &runtime))
        unit_of_python(p, proc, image->py, runtime);
}

static void unit_forget(struct probes *p, struct proc *proc)
{
    p->pending -= proc->unit_wait;
    proc->unit_wait = false;
    proc->unit = (struct target){ 0 };
}

/* Another image in the same process: what was known of its runtime is gone (the kernel side has dropped it too). */
void targets_renew(struct probes *p, u32 tgid)
{
    struct proc *proc = targets_proc(p, tgid);
    if (!proc)
        return;
    unit_forget(p, proc);
    images_release(p, &proc->holds);
    proc->runtime = (struct proc_runtime){ 0 };
}

void targets_forget(struct probes *p, u32 tgid) { (void)table_del(p->procs, &tgid); }

static void modules_visit(struct probes *p, struct proc *proc, const struct maps *maps, struct found *f)
{
    for (u32 i = 0; i < maps->count; i++) {
        if (maps->modules[i].exec)
            module_visit(p, proc, &maps->modules[i], f);
    }
}

/* Greenlets carry their own work with gevent and its like. SQLAlchemy only borrows them within an asyncio task, whose context they
 * share: there contexts still tell. The modules come one after another, so it may be told differently later. */
static void unit_choose(struct probes *p, struct proc *proc, const struct maps *maps, struct found *f)
{
    bool switched = f->greenlets && (f->gevent || !f->asyncio);
    if (switched == (proc->unit.unit_kind == UNIT_SWITCHED))
        return;
    unit_forget(p, proc);
    if (!switched) {
        modules_visit(p, proc, maps, f);
        return;
    }
    proc->unit = (struct target){ .unit_kind = UNIT_SWITCHED };
    target_unit_set(p, proc->tgid, &proc->unit);
}

bool targets_scan(struct probes *p, u32 tgid)
{
    struct maps maps = { 0 };
    struct proc *proc = targets_proc(p, tgid);
    struct found found = { 0 };
    if (!proc || (p->options.no_tls && p->options.no_runtime && !p->rules) || maps_read((int)tgid, &maps))
        return false;
    struct proc_runtime before = proc->runtime;
    modules_visit(p, proc, &maps, &found);
    unit_choose(p, proc, &maps, &found);
    maps_done(&maps);
    return memcmp(&before, &proc->runtime, sizeof(before));
}

static bool retry_one(void *arg, const void *key, void *value)
{
    struct probes *p = arg;
    struct proc *proc = value;
    UNUSED(key);
    if (!proc->unit_wait)
        return true;
    if (unit_try(p, proc) || ++proc->tries >= TRIES_MAX) {
        proc->unit_wait = false;
        p->pending--;
    }
    return p->pending > 0;
}

void targets_retry(struct probes *p)
{
    u64 now = clock_boot_ns();
    if (!p->pending || now - p->pending_at < RETRY_MS * NSEC_PER_MSEC)
        return;
    p->pending_at = now;
    table_each(p->procs, retry_one, p);
}

static u32 parent_of(u32 tgid)
{
    struct pid_stat st;
    return pid_stat(tgid, &st) ? 0 : st.ppid;
}

static int target_add(struct probes *p, u32 tgid, bool follow)
{
    struct target t = { .flags = TARGET_F_DATA | TARGET_F_PROC | (follow ? TARGET_F_FOLLOW : 0) };
    if (p->rejected)
        (void)table_del(p->rejected, &tgid);
    if (!bpf_map_lookup_elem(p->targets_fd, &tgid, &(struct target){ 0 }))
        return 0;
    if (bpf_map_update_elem(p->targets_fd, &tgid, &t, BPF_ANY))
        return -errno;
    targets_scan(p, tgid);
    return 0;
}

/* Children that run already; each pass finds one more generation. A child made meanwhile is added by the kernel. */
static void target_add_children(struct probes *p, u32 tgid, int depth)
{
    DIR *d = depth < 16 ? opendir("/proc") : NULL;
    for (struct dirent *e; d && (e = readdir(d));) {
        u64 child;
        if (slice_u64(slice_str(e->d_name), &child) || parent_of((u32)child) != tgid)
            continue;
        if (!target_add(p, (u32)child, true))
            target_add_children(p, (u32)child, depth + 1);
    }
    if (d)
        closedir(d);
}

int probes_target(struct probes *p, pid_t tgid, bool follow)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)tgid);
    if (access(path, F_OK))
        return -ESRCH;
    int err = target_add(p, (u32)tgid, follow);
    if (!err && follow)
        target_add_children(p, (u32)tgid, 0);
    return err;
}

int probes_moved(struct probes *p, u32 tgid, u64 ret[2])
{
    struct target t;
    if (bpf_map_lookup_elem(p->targets_fd, &tgid, &t))
        return -ESRCH;
    memcpy(ret, t.moved, sizeof(t.moved));
    return 0;
}

int probes_untarget(struct probes *p, pid_t tgid)
{
    u32 key = (u32)tgid;
    targets_forget(p, key);
    return bpf_map_delete_elem(p->targets_fd, &key) ? -errno : 0;
}

static bool forget_introduction(void *arg, const void *key, void *value)
{
    UNUSED(arg), UNUSED(key);
    ((struct proc *)value)->informed = false;
    return true;
}

void probes_introduce(struct probes *p) { table_each(p->procs, forget_introduction, NULL); }
