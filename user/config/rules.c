/* The set of rules: its life, and the reading of files. The YAML form is rules_yaml.c's. */
#include "config/rules_yaml.h"

const char *const rule_types[] = { "workflow", "task",    "decision", "validation", "llm",
                                   "tool",     "storage", "process",  "custom",     NULL };

#define RULES_FILE_MAX (1 << 20)

void rules_done(struct rules *r)
{
    free(r->v);
    free(r->sites);
    free(r->order);
    free(r->fit);
    memset(r, 0, sizeof(*r));
}

static int rules_append(struct rules *r, const struct rules *more)
{
    if (!r->sites)
        r->sites = calloc(1, sizeof(*r->sites));
    if (!r->v)
        r->v = calloc(RULES_SLOTS, sizeof(*r->v)); /* for all there will be: rules don't move. What isn't used isn't touched */
    struct rule *v = r->v;
    if (!v || !r->sites)
        return -ENOMEM;
    for (size_t i = 0; i < more->n; i++) {
        v[r->n] = more->v[i];
        v[r->n].id = (u32)r->n;
        r->n++;
    }
    if (more->n_packs && more->packs[0].name[0]) {
        r->packs[r->n_packs] = more->packs[0];
        r->packs[r->n_packs++].n_rules = (u16)more->n;
    }
    return 0;
}

int rules_parse(struct rules *r, const char *name, const char *text, size_t len, char *err, size_t err_size)
{
    struct rules more = { 0 };
    if (err_size)
        err[0] = 0;
    int code = rules_yaml(&more, r, name, slice_of(text, len), err, err_size);
    if (!code && r->n + more.n > RULES_MAX) {
        snprintf(err, err_size, "%s: more than %d activities in all", name, RULES_MAX);
        code = -EINVAL;
    }
    if (!code && more.n_packs && r->n_packs == PACKS_MAX) {
        snprintf(err, err_size, "%s: more than %d packs in all", name, PACKS_MAX);
        code = -EINVAL;
    }
    if (!code)
        code = rules_append(r, &more);
    if (code == -ENOMEM)
        snprintf(err, err_size, "%s: out of memory", name);
    rules_done(&more);
    return code;
}

int rules_load(struct rules *r, const char *path, char *err, size_t err_size)
{
    cleanup(freep) char *text = NULL;
    size_t len = 0;
    int code = read_small_file(path, RULES_FILE_MAX, &text, &len);
    if (code) {
        snprintf(err, err_size, "%s: %s: %s", path, errno_name(code), strerror(-code));
        return code;
    }
    if (len == RULES_FILE_MAX) {
        snprintf(err, err_size, "%s: larger than 1 MiB", path);
        return -EFBIG;
    }
    return rules_parse(r, path, text, len, err, err_size);
}

static const struct pack *pack_of(const struct rules *r, const char *name)
{
    for (size_t i = 0; name && i < r->n_packs; i++)
        if (r->packs[i].name == name)
            return &r->packs[i];
    return NULL;
}

void rules_keep_packs(struct rules *r, bool (*keep)(void *arg, const struct pack *p), void *arg)
{
    bool kept[PACKS_MAX];
    size_t n = 0;
    for (size_t i = 0; i < r->n_packs; i++)
        kept[i] = keep(arg, &r->packs[i]);
    for (size_t i = 0; i < r->n; i++) {
        const struct pack *p = pack_of(r, r->v[i].pack);
        if (p && !kept[p - r->packs])
            continue;
        if (n != i)
            r->v[n] = r->v[i];
        r->v[n].id = (u32)n;
        n++;
    }
    r->n = n;
    n = 0;
    for (size_t i = 0; i < r->n_packs; i++)
        if (kept[i])
            r->packs[n++] = r->packs[i];
    r->n_packs = n;
}

bool rules_want_bridge(const struct rules *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->v[i].at == AT_PYTHON && !r->v[i].retired)
            return true;
    return false;
}

const struct rule_metric *rule_metrics(const struct rules *r, u32 id, u8 *ret_n)
{
    bool known = id < r->n;
    *ret_n = known ? r->v[id].n_metrics : 0;
    return known ? r->v[id].metrics : NULL;
}
