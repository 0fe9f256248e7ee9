/* Log files: which descriptors of traced processes lead to one. Asked of /proc every now and then, so the first lines of a
 * file that is opened in between are missed; a descriptor that leads elsewhere by now is taken out again. */
#include "probe/internal.h"
#include <dirent.h>
#include <fnmatch.h>
#include <unistd.h>

#define FDS_MAX     4096
#define DESCRIPTORS 1024 /* looked at of one process */

struct fd_key {
    u32 tgid, fd;
};
struct scan {
    struct probes *p;
    const char *const *patterns;
    size_t n;
    int map;
    u32 round;
};

static bool named(const struct scan *s, const char *path)
{
    for (size_t i = 0; i < s->n; i++) {
        if (!fnmatch(s->patterns[i], path, 0))
            return true;
    }
    return false;
}

static void descriptor(struct scan *s, u32 tgid, const char *number)
{
    char at[64], path[512];
    u64 fd;
    u32 one = 1;
    snprintf(at, sizeof(at), "/proc/%u/fd/%.20s", tgid, number);
    ssize_t n = slice_u64(slice_str(number), &fd) || fd < 3 ? -1 : readlink(at, path, sizeof(path) - 1);
    if (n <= 0 || path[0] != '/')
        return;
    path[n] = 0;
    if (!named(s, path))
        return;
    struct fd_key key = { tgid, (u32)fd };
    bool fresh = false;
    u32 *round = table_put(s->p->output_fds, &key, &fresh);
    if (round && fresh)
        (void)bpf_map_update_elem(s->map, &key, &one, BPF_ANY);
    if (round)
        *round = s->round;
}

static bool process(void *arg, const void *key, void *value)
{
    const struct proc *proc = value;
    char dir[64];
    UNUSED(key);
    snprintf(dir, sizeof(dir), "/proc/%u/fd", proc->tgid);
    DIR *d = opendir(dir);
    u32 n = 0;
    for (struct dirent *e; d && n < DESCRIPTORS && (e = readdir(d)); n++)
        descriptor(arg, proc->tgid, e->d_name);
    if (d)
        closedir(d);
    return true;
}

static bool forget_old(void *arg, const void *key, void *value)
{
    struct scan *s = arg;
    if (*(u32 *)value == s->round)
        return true;
    (void)bpf_map_delete_elem(s->map, key);
    table_del(s->p->output_fds, key);
    return true;
}

void probes_output_scan(struct probes *p, const char *const *patterns, size_t n)
{
    struct bpf_object *o = p->objects[OBJ_OUTPUT];
    struct scan s = { .p = p, .patterns = patterns, .n = n, .round = ++p->output_round };
    s.map = o ? bpf_object__find_map_fd_by_name(o, "output_files") : -ENOENT;
    if (!p->output_fds)
        p->output_fds =
            table_new(&(struct table_spec){ .key_size = sizeof(struct fd_key), .value_size = sizeof(u32), .max = FDS_MAX });
    if (s.map < 0 || !p->output_fds)
        return;
    table_each(p->procs, process, &s);
    table_each(p->output_fds, forget_old, &s);
}
