/* Probes on user functions: one perf event each, for every process that maps the file (the programs look the process up
 * and leave). All links are kept until the end: detaching costs an RCU grace period each. */
#include "probe/internal.h"

int link_keep(struct probes *p, struct bpf_link *link)
{
    if (p->link_count == p->link_room) {
        u32 room = p->link_room ? p->link_room * 2 : 64;
        struct bpf_link **v = reallocarray(p->links, room, sizeof(*v));
        if (!v) {
            bpf_link__destroy(link);
            return -ENOMEM;
        }
        p->links = v;
        p->link_room = room;
    }
    p->links[p->link_count++] = link;
    return 0;
}

int link_user(struct probes *p, struct bpf_program *prog, const struct link_spec *s)
{
    LIBBPF_OPTS(bpf_uprobe_opts, o, .retprobe = s->is_return, .bpf_cookie = feature_has(FEATURE_COOKIE) ? s->cookie : 0,
                .ref_ctr_offset = s->semaphore);
    if (!prog)
        return -ENOENT;
    struct bpf_link *l = bpf_program__attach_uprobe_opts(prog, -1, s->path, s->offset, &o);
    if (!l)
        return -errno;
    return link_keep(p, l);
}
