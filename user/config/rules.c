/* The set of rules: its life, and the reading of files. The YAML form is rules_yaml.c's. */
#include "config/rules_yaml.h"

const char *const rule_types[] = { "workflow", "task",    "decision", "validation", "llm",
                                   "tool",     "storage", "process",  "custom",     NULL };

#define RULES_FILE_MAX (1 << 20)

void rules_done(struct rules *r)
{
    free(r->v);
    free(r->sites);
    memset(r, 0, sizeof(*r));
}

static int rules_append(struct rules *r, const struct rules *more)
{
    if (!r->sites)
        r->sites = calloc(1, sizeof(*r->sites));
    struct rule *v = realloc(r->v, (r->n + more->n + 1) * sizeof(*v));
    if (v)
        r->v = v;
    if (!v || !r->sites)
        return -ENOMEM;
    for (size_t i = 0; i < more->n; i++) {
        v[r->n] = more->v[i];
        v[r->n].id = (u32)r->n;
        r->n++;
    }
    return 0;
}

int rules_parse(struct rules *r, const char *name, const char *text, size_t len, char *err, size_t err_size)
{
    struct rules more = { 0 };
    if (err_size)
        err[0] = 0;
    int code = rules_yaml(&more, name, slice_of(text, len), err, err_size);
    if (!code && r->n + more.n > RULES_MAX) {
        snprintf(err, err_size, "%s: more than %d activities in all", name, RULES_MAX);
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
