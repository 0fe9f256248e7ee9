/* The places of the user's rules: asks rule_sites what they want in a file, writes each site's read program into the map and
 * attaches it, cookie = site number. Where the kernel has no cookies, each site gets its own copy of the programs with
 * the number built in. A return goes before its entry, so that no entry is left without the chance of a return. */
#include "probe/internal.h"
#include "probe/rule_sites.h"
#include "self/ledger.h"
#include <pthread.h>
#include <signal.h>

static const char *const hook_program[] = {
    [RULE_HOOK_ENTRY] = "hit_entry",
    [RULE_HOOK_RETURN] = "hit_return",
    [RULE_HOOK_EXIT] = "hit_exit",
    [RULE_HOOK_POINT] = "hit_point",
};

static void rule_note(void *arg, const struct rule *r, const char *sentence)
{
    UNUSED(arg);
    log_warn("rules", "%s:%d: %s", r->file, r->line, sentence);
}

static u8 program_strings(const struct site *s)
{
    u8 n = 0;
    for (unsigned i = 0; i < s->n_ops && i < SITE_OPS; i++)
        n += s->ops[i].kind == READ_STR || s->ops[i].kind == READ_BYTES;
    return n;
}

struct site_link {
    u32 rule, number;
    u64 image; /* its serial */
    struct bpf_link *link;
    struct bpf_object *own; /* without cookies: one for each site, else NULL */
};

static int site_link_add(struct probes *p, const struct site_link *l)
{
    if (p->n_site_links == p->site_links_room) {
        u32 room = p->site_links_room ? p->site_links_room * 2 : 32;
        struct site_link *v = reallocarray(p->site_links, room, sizeof(*v));
        if (!v)
            return -ENOMEM;
        p->site_links = v;
        p->site_links_room = room;
    }
    p->site_links[p->n_site_links++] = *l;
    ledger_add(links_attached, 1);
    return 0;
}

static void site_link_done(struct site_link *l)
{
    bpf_link__destroy(l->link);
    bpf_object__close(l->own);
}

static int site_attach(struct probes *p, struct image *image, const struct rule_site *s, const char *path)
{
    struct site program = s->program;
    struct site_link l = { .rule = s->rule, .number = s->number, .image = image->serial };
    program.n_strings = program_strings(&program);
    int err = loader_sites(p);
    if (err)
        return err;
    if (bpf_map_update_elem(p->sites_fd, &s->number, &program, BPF_ANY))
        return -errno;
    if (!feature_has(FEATURE_COOKIE))
        err = loader_site_object(p, s->number, &l.own);
    if (err)
        return err;
    struct link_spec link = { .path = path,
                              .offset = s->offset,
                              .cookie = s->number,
                              .semaphore = s->semaphore,
                              .is_return = s->hook == RULE_HOOK_RETURN };
    struct bpf_object *o = l.own ? l.own : p->objects[OBJ_PROBE];
    err = link_make(bpf_object__find_program_by_name(o, hook_program[s->hook]), &link, &l.link);
    if (!err)
        err = site_link_add(p, &l);
    if (err)
        site_link_done(&l);
    image->n_sites += !err;
    return err;
}

static bool returns(const struct rule_site *s) { return s->hook == RULE_HOOK_RETURN || s->hook == RULE_HOOK_EXIT; }

bool sites_due(const struct probes *p, const struct image *image, const char *seen_path)
{
    if (!p->rules || image->rules >= (s64)p->rules->generation)
        return false;
    return rule_sites_wanted(p->rules, seen_path, image->rules);
}

void sites_attach(struct probes *p, struct image *image, const struct elf_image *elf, const char *seen_path,
                  const char *open_path)
{
    struct rule_site *v = NULL;
    char root[32] = "";
    if (!p->rules)
        return;
    s64 after = image->rules;
    image->rules = p->rules->generation;
    if (!rule_sites_wanted(p->rules, seen_path, after))
        return;
    if (sscanf(open_path, "/proc/%31[0-9]/", root) == 1) {
        char pid[32];
        memcpy(pid, root, sizeof(pid));
        snprintf(root, sizeof(root), "/proc/%.15s/root", pid);
    }
    struct rule_env env = { .kernel = feature_kernel(),
                            .new_nops = feature_has(FEATURE_OPTIMISED_NOP),
                            .after = after,
                            .runtime = !image->throws,
                            .root = root,
                            .note = rule_note };
    image->throws |= rules_native(p->rules);
    int n = rule_sites(p->rules, elf, seen_path, &env, &v);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < n; i++) {
            int err = returns(&v[i]) == (pass == 0) ? site_attach(p, image, &v[i], open_path) : 0;
            if (err)
                log_warn("rules", "cannot probe %s at offset %#llx: %s (goes on without it)", seen_path,
                         (unsigned long long)v[i].offset, errno_name(err));
        }
    }
    free(v);
}

/* --- rules and files that come and go --- */

/* Detaching waits for the kernel, a tenth of a second each: not on the reader's thread. */
struct site_drop {
    struct site_drop *next;
    pthread_t thread;
    u32 n;
    struct site_link v[];
};

static void *drop_run(void *arg)
{
    struct site_drop *d = arg;
    for (u32 i = 0; i < d->n; i++)
        site_link_done(&d->v[i]);
    return NULL;
}

static void drop_done(struct probes *p, struct site_drop *d)
{
    for (u32 i = 0; i < d->n && !p->options.keep_numbers; i++)
        site_free(p->rules->sites, d->v[i].number); /* it may be given again */
    free(d);
}

static void drops_reap(struct probes *p, bool wait)
{
    for (struct site_drop **at = &p->drop, *d; (d = *at);) {
        if (wait ? pthread_join(d->thread, NULL) : pthread_tryjoin_np(d->thread, NULL)) {
            at = &d->next;
            continue;
        }
        *at = d->next;
        drop_done(p, d);
    }
}

static void drop_start(struct probes *p, struct site_drop *d)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int err = pthread_create(&d->thread, NULL, drop_run, d);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (err) {
        drop_run(d);
        drop_done(p, d);
        return;
    }
    d->next = p->drop;
    p->drop = d;
}

/* Which links are let go of: those of some rules, or of one image. */
struct choice {
    bool (*gone)(const void *arg, u32 rule); /* NULL: by image */
    const void *arg;
    u64 image;
};

static bool chosen(const struct choice *c, const struct site_link *l)
{
    return c->gone ? c->gone(c->arg, l->rule) : l->image == c->image;
}

static void links_let_go(struct probes *p, const struct choice *c)
{
    u32 left = 0, n = 0;
    drops_reap(p, false);
    for (u32 i = 0; i < p->n_site_links; i++)
        n += chosen(c, &p->site_links[i]);
    struct site_drop *d = n ? calloc(1, sizeof(*d) + n * sizeof(d->v[0])) : NULL;
    if (!d) /* out of memory: they stay attached; what they say is not heard */
        return;
    for (u32 i = 0; i < p->n_site_links; i++) {
        if (!chosen(c, &p->site_links[i])) {
            p->site_links[left++] = p->site_links[i];
            continue;
        }
        d->v[d->n++] = p->site_links[i];
        site_leave(p->rules->sites, p->site_links[i].number);
    }
    p->n_site_links = left;
    ledger_add(links_detached, n);
    drop_start(p, d);
}

void probes_rules_drop(struct probes *p, bool (*gone)(const void *arg, u32 rule), const void *arg)
{
    links_let_go(p, &(struct choice){ .gone = gone, .arg = arg });
}

void sites_release(struct probes *p, struct image *image)
{
    if (image->n_sites)
        links_let_go(p, &(struct choice){ .image = image->serial });
    image->n_sites = 0;
}

bool sites_retiring(struct probes *p)
{
    drops_reap(p, false);
    return p->drop;
}

void sites_settle(struct probes *p) { drops_reap(p, true); }

void sites_close(struct probes *p)
{
    drops_reap(p, true);
    for (u32 i = 0; i < p->n_site_links; i++)
        (void)link_keep(p, take_ptr(p->site_links[i].link));
}

void sites_close_objects(struct probes *p)
{
    for (u32 i = 0; i < p->n_site_links; i++)
        bpf_object__close(p->site_links[i].own);
    free(p->site_links);
}

struct numbers {
    u32 *v;
    size_t n;
};

static bool take_number(void *arg, const void *key, void *value)
{
    struct numbers *all = arg;
    UNUSED(key);
    all->v[all->n++] = ((const struct proc *)value)->tgid;
    return true;
}

/* A look moves the process in its table, so not while that is walked. */
static void scan_processes(struct probes *p)
{
    struct numbers all = { .v = calloc(table_count(p->procs) + 1, sizeof(*all.v)) };
    if (all.v)
        table_each(p->procs, take_number, &all);
    for (size_t i = 0; i < all.n; i++)
        (void)targets_scan(p, all.v[i]);
    free(all.v);
}

static void visit_named(struct probes *p)
{
    for (size_t i = 0; i < p->rules->n; i++) {
        const struct rule *r = &p->rules->v[i];
        bool file = (r->at == AT_NATIVE || r->at == AT_USDT) && !r->retired && r->object[0] == '/' && !strpbrk(r->object, "*?[");
        if (file && image_visit_path(p, r->object) == -ENOENT)
            log_info("rules", "%s:%d: %s is not there yet", r->file, r->line, r->object);
    }
}

void probes_rules_taken(struct probes *p, const struct rules *rules)
{
    p->rules = rules;
    visit_named(p);
    scan_processes(p);
}

int probes_rules_possible(char *err, size_t err_size)
{
    if (feature_has(FEATURE_UPROBE))
        return 0;
    snprintf(err, err_size, "this kernel has no uprobes: rules on functions and USDT probes cannot be attached");
    return -EOPNOTSUPP;
}

int probes_rules(struct probes *p, const struct rules *rules, char *err, size_t err_size)
{
    int code = probes_rules_possible(err, err_size);
    if (code)
        return code;
    p->rules = rules;
    visit_named(p);
    return 0;
}
