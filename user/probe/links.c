/* Probes on user functions, for every process that maps the file (the programs look the process up and leave): a
 * uprobe_multi link where the kernel has it (6.6), else a perf event. Detaching waits for a grace period each, a tenth of a
 * second: those of a file that nobody maps any more are closed by a thread of their own, and at the end several threads
 * wait side by side (perf events wait in turn whatever we do). */
#include "probe/internal.h"
#include "self/ledger.h"
#include <pthread.h>
#include <signal.h>

struct closer {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t turn; /* there is something to do, or nothing any more */
    struct link_list todo;
    bool busy, stop;
};

static int list_add(struct link_list *l, struct bpf_link *link)
{
    if (l->n == l->room) {
        u32 room = l->room ? l->room * 2 : 8;
        struct bpf_link **v = reallocarray(l->v, room, sizeof(*v));
        if (!v)
            return -ENOMEM;
        l->v = v;
        l->room = room;
    }
    l->v[l->n++] = link;
    return 0;
}

static void list_move(struct link_list *to, struct link_list *from)
{
    for (u32 i = 0; i < from->n; i++)
        if (list_add(to, from->v[i]))
            bpf_link__destroy(from->v[i]);
    free(from->v);
    *from = (struct link_list){ 0 };
}

int link_keep(struct probes *p, struct bpf_link *link)
{
    int err = list_add(p->looking ? &p->looking->links : &p->links, link);
    if (err)
        bpf_link__destroy(link);
    return err;
}

void links_move(struct probes *p, struct link_list *l) { list_move(&p->links, l); }

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
    if (!err)
        err = link_keep(p, l);
    ledger_add(links_attached, !err);
    return err;
}

/* --- closing some, while the others stay --- */

static void *closer_run(void *arg)
{
    struct closer *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        if (!c->todo.n) {
            pthread_cond_wait(&c->turn, &c->lock);
            continue;
        }
        struct link_list now = c->todo;
        c->todo = (struct link_list){ 0 };
        c->busy = true;
        pthread_mutex_unlock(&c->lock);
        for (u32 i = 0; i < now.n; i++)
            bpf_link__destroy(now.v[i]);
        free(now.v);
        pthread_mutex_lock(&c->lock);
        c->busy = false;
        pthread_cond_broadcast(&c->turn);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* Signals are for the thread that reads. */
static struct closer *closer_new(void)
{
    struct closer *c = calloc(1, sizeof(*c));
    sigset_t all, before;
    if (!c)
        return NULL;
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->turn, NULL);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&c->thread, NULL, closer_run, c);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (err) {
        free(c);
        return NULL;
    }
    return c;
}

void links_retire(struct probes *p, struct link_list *l)
{
    if (!l->n)
        return;
    ledger_add(links_detached, l->n);
    if (!p->closer)
        p->closer = closer_new();
    if (!p->closer) {
        links_move(p, l); /* no thread: at the end, then */
        return;
    }
    pthread_mutex_lock(&p->closer->lock);
    list_move(&p->closer->todo, l);
    pthread_cond_broadcast(&p->closer->turn);
    pthread_mutex_unlock(&p->closer->lock);
}

bool links_retiring(struct probes *p)
{
    if (!p->closer)
        return false;
    pthread_mutex_lock(&p->closer->lock);
    bool some = p->closer->busy || p->closer->todo.n;
    pthread_mutex_unlock(&p->closer->lock);
    return some;
}

void links_settle(struct probes *p)
{
    struct closer *c = p->closer;
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    while (c->busy || c->todo.n)
        pthread_cond_wait(&c->turn, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

static void closer_free(struct probes *p)
{
    struct closer *c = take_ptr(p->closer);
    if (!c)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->turn);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    links_move(p, &c->todo);
    pthread_cond_destroy(&c->turn);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* --- closing all --- */

struct closing {
    struct link_list *links;
    u32 next; /* taken by whichever thread comes */
};

static void *closing_run(void *arg)
{
    struct closing *c = arg;
    for (u32 i; (i = __atomic_fetch_add(&c->next, 1, __ATOMIC_RELAXED)) < c->links->n;)
        bpf_link__destroy(c->links->v[i]);
    return NULL;
}

void links_close(struct probes *p)
{
    pthread_t threads[32];
    u32 n = 0;
    closer_free(p);
    struct closing c = { .links = &p->links };
    while (n < ARRAY_LEN(threads) && n + 1 < p->links.n && !pthread_create(&threads[n], NULL, closing_run, &c))
        n++;
    closing_run(&c);
    while (n)
        pthread_join(threads[--n], NULL);
    free(p->links.v);
    p->links = (struct link_list){ 0 };
}
