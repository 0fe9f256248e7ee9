/* Probes on user functions, for every process that maps the file (the programs look the process up and leave): a
 * uprobe_multi link where the kernel has it (6.6), else a perf event. All links but those of rules are kept until the end: detaching waits for
 * a grace period each, a tenth of a second, so several threads wait side by side (perf events wait in turn whatever we do). */
#include "probe/internal.h"
#include <pthread.h>

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

static struct bpf_link *attach_multi(struct bpf_program *prog, const struct link_spec *s)
{
    const unsigned long offset = s->offset, semaphore = s->semaphore;
    const __u64 cookie = s->cookie;
    LIBBPF_OPTS(bpf_uprobe_multi_opts, o, .retprobe = s->is_return, .offsets = &offset, .cookies = &cookie, .cnt = 1,
                .ref_ctr_offsets = s->semaphore ? &semaphore : NULL);
    return bpf_program__attach_uprobe_multi(prog, -1, s->path, NULL, &o);
}

static struct bpf_link *attach_single(struct bpf_program *prog, const struct link_spec *s)
{
    LIBBPF_OPTS(bpf_uprobe_opts, o, .retprobe = s->is_return, .bpf_cookie = feature_has(FEATURE_COOKIE) ? s->cookie : 0,
                .ref_ctr_offset = s->semaphore);
    return bpf_program__attach_uprobe_opts(prog, -1, s->path, s->offset, &o);
}

int link_make(struct bpf_program *prog, const struct link_spec *s, struct bpf_link **ret)
{
    if (!prog)
        return -ENOENT;
    struct bpf_link *l = feature_has(FEATURE_UPROBE_MULTI) ? attach_multi(prog, s) : attach_single(prog, s);
    if (!l)
        return -errno;
    *ret = l;
    return 0;
}

int link_user(struct probes *p, struct bpf_program *prog, const struct link_spec *s)
{
    struct bpf_link *l = NULL;
    int err = link_make(prog, s, &l);
    return err ? err : link_keep(p, l);
}

struct closing {
    struct probes *p;
    u32 next; /* taken by whichever thread comes */
};

static void *closing_run(void *arg)
{
    struct closing *c = arg;
    for (u32 i; (i = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED)) < c->p->link_count;)
        bpf_link__destroy(c->p->links[i]);
    return NULL;
}

void links_close(struct probes *p)
{
    pthread_t threads[32];
    u32 n = 0;
    struct closing c = { .p = p };
    while (n < ARRAY_LEN(threads) && n + 1 < p->link_count && !pthread_create(&threads[n], NULL, closing_run, &c))
        n++;
    closing_run(&c);
    while (n)
        pthread_join(threads[--n], NULL);
    free(p->links);
    p->links = NULL;
    p->link_count = 0;
}
