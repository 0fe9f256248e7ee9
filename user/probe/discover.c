/* Discovery: with it on, every exec on the host makes its process a target in the kernel, so that nothing of it is missed, and
 * is put to the user of probes/ before any other record of it. Who is not wanted leaves the table again; what the ring
 * still holds of it, and of children that it made meanwhile, is dropped here.
 *
 * One node, one discoverer: BPF maps are seen across all containers of a host, so a map with a name of ours and a pid in it says
 * who is there. It goes with its process, however that ends. */
#include "probe/internal.h"
#include <signal.h>
#include <unistd.h>

#define REJECTED_MAX 16384
#define LOCK_NAME    "wf_node"

int probes_discover(struct probes *p, const struct probe_discovery *d)
{
    if (!p->rejected)
        p->rejected = table_new(&(struct table_spec){ .key_size = sizeof(u32), .value_size = sizeof(u32), .max = REJECTED_MAX });
    if (!p->rejected)
        return -ENOMEM;
    p->discovery = *d;
    p->control->discover = 1;
    return 0;
}

static bool reject(struct probes *p, u32 tgid)
{
    (void)bpf_map_delete_elem(p->targets_fd, &tgid);
    (void)table_put(p->rejected, &tgid, NULL);
    targets_forget(p, tgid);
    return false;
}

/* The process that this record makes; 0: none. */
static u32 child_of(const struct rec_hdr *h)
{
    const struct rec_fork *f = (const void *)h;
    return h->type == REC_FORK && h->len >= sizeof(*f) && f->child_tgid == f->child_tid ? f->child_tgid : 0;
}

/* The child of one that is wanted. The kernel told no end of one that was let go before and had the same number. */
static bool pass_child(struct probes *p, const struct rec_hdr *h)
{
    u32 child = child_of(h);
    if (child)
        table_del(p->rejected, &child);
    return true;
}

/* A child of one that was not wanted is not wanted either, until it is another program. */
static void reject_child(struct probes *p, const struct rec_hdr *h)
{
    u32 child = child_of(h);
    if (child)
        reject(p, child);
}

bool discover_passes(struct probes *p, const struct rec_hdr *h)
{
    u32 tgid = h->tgid;
    if (!p->rejected)
        return true;
    const struct rec_listen *l = (const void *)h;
    u32 port = h->type == REC_LISTEN && h->len >= sizeof(*l) ? l->port : 0;
    if (h->type == REC_EXEC || port) {
        bool candidate = h->flags & REC_F_CANDIDATE || table_peek(p->rejected, &tgid);
        table_del(p->rejected, &tgid);
        return p->discovery.wants(p->discovery.arg, (pid_t)tgid, port, !candidate) || reject(p, tgid);
    }
    if (!table_peek(p->rejected, &tgid))
        return pass_child(p, h);
    reject_child(p, h);
    if (h->type == REC_EXIT && !(h->flags & REC_F_THREAD))
        table_del(p->rejected, &tgid);
    return false;
}

static pid_t lock_holder(u32 id)
{
    struct bpf_map_info info = { 0 };
    u32 size = sizeof(info), zero = 0, pid = 0;
    int fd = bpf_map_get_fd_by_id(id);
    if (fd < 0)
        return 0;
    bool ours = !bpf_obj_get_info_by_fd(fd, &info, &size) && !strcmp(info.name, LOCK_NAME);
    if (ours && bpf_map_lookup_elem(fd, &zero, &pid))
        pid = 0;
    close(fd);
    return ours && pid != (u32)getpid() ? (pid_t)pid : 0;
}

int probes_node_lock(pid_t *ret_other)
{
    u32 zero = 0, pid = (u32)getpid();
    int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, LOCK_NAME, sizeof(u32), sizeof(u32), 1, NULL);
    if (fd < 0)
        return -errno;
    (void)bpf_map_update_elem(fd, &zero, &pid, BPF_ANY);
    for (u32 id = 0; !bpf_map_get_next_id(id, &id);) {
        pid_t other = lock_holder(id);
        if (!other)
            continue;
        *ret_other = other;
        close(fd);
        return -EBUSY;
    }
    return fd;
}
