/* The places of the user's rules: asks rule_sites what they want in a file, writes each site's read program into the map and
 * attaches it, cookie = site number. Where the kernel has no cookies, each site gets its own copy of the programs with
 * the number built in. A return goes before its entry, so that no entry is left without the chance of a return. */
#include "probe/internal.h"
#include "probe/rule_sites.h"

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

/* The object whose programs serve this site. */
static int site_object(struct probes *p, u32 number, struct bpf_object **ret)
{
    if (feature_has(FEATURE_COOKIE)) {
        *ret = p->objects[OBJ_PROBE];
        return 0;
    }
    struct bpf_object **v = reallocarray(p->site_objects, p->site_objects_count + 1, sizeof(*v));
    if (!v)
        return -ENOMEM;
    p->site_objects = v;
    int err = loader_site_object(p, number, ret);
    if (!err)
        p->site_objects[p->site_objects_count++] = *ret;
    return err;
}

static int site_attach(struct probes *p, const struct rule_site *s, const char *path)
{
    struct site program = s->program;
    struct bpf_object *o = NULL;
    program.n_strings = program_strings(&program);
    int err = loader_sites(p);
    if (err)
        return err;
    if (bpf_map_update_elem(p->sites_fd, &s->number, &program, BPF_ANY))
        return -errno;
    err = site_object(p, s->number, &o);
    if (err)
        return err;
    struct link_spec link = { .path = path,
                              .offset = s->offset,
                              .cookie = s->number,
                              .semaphore = s->semaphore,
                              .is_return = s->hook == RULE_HOOK_RETURN };
    return link_user(p, bpf_object__find_program_by_name(o, hook_program[s->hook]), &link);
}

static bool returns(const struct rule_site *s) { return s->hook == RULE_HOOK_RETURN || s->hook == RULE_HOOK_EXIT; }

void sites_attach(struct probes *p, const struct elf_image *image, const char *seen_path, const char *open_path)
{
    struct rule_site *v = NULL;
    char root[32] = "";
    if (!p->rules || !rule_sites_wanted(p->rules, seen_path))
        return;
    if (sscanf(open_path, "/proc/%31[0-9]/", root) == 1) {
        char pid[32];
        memcpy(pid, root, sizeof(pid));
        snprintf(root, sizeof(root), "/proc/%.15s/root", pid);
    }
    struct rule_env env = {
        .kernel = feature_kernel(), .new_nops = feature_has(FEATURE_OPTIMISED_NOP), .root = root, .note = rule_note
    };
    int n = rule_sites(p->rules, image, seen_path, &env, &v);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < n; i++) {
            int err = returns(&v[i]) == (pass == 0) ? site_attach(p, &v[i], open_path) : 0;
            if (err)
                log_warn("rules", "cannot probe %s at offset %#llx: %s (goes on without it)", seen_path,
                         (unsigned long long)v[i].offset, errno_name(err));
        }
    }
    free(v);
}

int probes_rules(struct probes *p, const struct rules *rules, char *err, size_t err_size)
{
    if (!feature_has(FEATURE_UPROBE)) {
        snprintf(err, err_size, "this kernel has no uprobes: rules on functions and USDT probes cannot be attached");
        return -EOPNOTSUPP;
    }
    p->rules = rules;
    for (size_t i = 0; i < rules->n; i++) {
        const struct rule *r = &rules->v[i];
        bool file = (r->at == AT_NATIVE || r->at == AT_USDT) && r->object[0] == '/' && !strpbrk(r->object, "*?[");
        if (file && image_visit_path(p, r->object) == -ENOENT)
            log_info("rules", "%s:%d: %s is not there yet", r->file, r->line, r->object);
    }
    return 0;
}
