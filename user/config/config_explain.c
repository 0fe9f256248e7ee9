/* What is in force, key by key, and where it came from. It walks the table and the tree side by side, as the reader does, so it
 * can't say anything else than what was read. Never a secret: keys that hold one, variables that sound like one, and
 * user and password of a URL are not shown. */
#include "config/config_internal.h"

struct explainer {
    FILE *to;
    bool json, any;
};

/* --- one line --- */
static void origin_text(const struct config_place *at, char *ret, size_t size)
{
    if (!at || at->origin == ORIGIN_DEFAULT)
        snprintf(ret, size, "default");
    else if (at->origin == ORIGIN_FILE)
        snprintf(ret, size, "%s:%u", at->name, at->line);
    else
        snprintf(ret, size, "%s", at->name);
}

static void line(struct explainer *e, const char *path, const char *value, const struct config_place *at, const char *remark)
{
    char where[300];
    origin_text(at, where, sizeof(where));
    if (!e->json) {
        fprintf(e->to, "%s = ", path);
        for (const char *p = value ? value : "-"; *p; p++)
            fputc((u8)*p < 0x20 || *p == 0x7f ? ' ' : *p, e->to);
        fprintf(e->to, "   # %s%s%s\n", where, remark ? "; " : "", remark ? remark : "");
        return;
    }
    fprintf(e->to, "%s\n  {\"key\": ", e->any ? "," : "");
    e->any = true;
    json_print(e->to, path);
    fputs(", \"value\": ", e->to);
    if (value)
        json_print(e->to, value);
    else
        fputs("null", e->to);
    static const char *const origins[] = { "file", "env", "flag", "default" };
    fprintf(e->to, ", \"origin\": \"%s\", \"where\": ", origins[at ? at->origin : ORIGIN_DEFAULT]);
    json_print(e->to, where);
    if (remark) {
        fputs(", \"remark\": ", e->to);
        json_print(e->to, remark);
    }
    fputc('}', e->to);
}

/* --- values --- */
static const char *without_user(const char *text, char *buf, size_t size)
{
    const char *sep = strstr(text, "://");
    size_t n = sep ? strcspn(sep + 3, "/?# ") : 0;
    const char *at = sep ? memrchr(sep + 3, '@', n) : NULL;
    if (!at)
        return text;
    snprintf(buf, size, "%.*s<secret>%s", (int)(sep + 3 - text), text, at);
    return buf;
}

static const char *value_text(const struct config_key *k, const struct config_node *n, char *buf, size_t size)
{
    if ((k->flags & KEY_SECRET) || n->masked)
        return *n->text ? "<secret>" : "";
    return without_user(n->text, buf, size);
}

static void list_text(const struct config_key *k, const struct config_node *n, char *buf, size_t size)
{
    size_t used = (size_t)snprintf(buf, size, "[");
    for (size_t i = 0; i < n->n && used < size; i++) {
        char part[512];
        const struct config_node *v = n->items[i];
        used += (size_t)snprintf(buf + used, size - used, "%s%s", i ? ", " : "",
                                 v->type == NODE_SCALAR ? value_text(k, v, part, sizeof(part)) : "…");
    }
    if (used < size - 1)
        snprintf(buf + used, size - used, "]");
}

static void explain_group(struct explainer *e, const struct config_group *g, const struct config_node *n, const char *path);

static void explain_default(struct explainer *e, const struct config_key *k, const char *path)
{
    char text[200];
    if (k->type == CONFIG_GROUP && (k->flags & KEY_ALWAYS)) {
        explain_group(e, k->group, NULL, path);
        return;
    }
    snprintf(text, sizeof(text), "(%s)", k->unset ? k->unset : "none");
    line(e, path, k->fallback ? k->fallback : k->unset ? text : NULL, NULL, NULL);
}

static void explain_items(struct explainer *e, const struct config_key *k, const struct config_node *n, const char *path)
{
    for (size_t i = 0; i < n->n; i++) {
        char item[600];
        snprintf(item, sizeof(item), "%s[%zu]", path, i);
        explain_group(e, k->group, n->items[i], item);
    }
}

static void explain_key(struct explainer *e, const struct config_key *k, const struct config_node *n, const char *path)
{
    char text[2048];
    bool list = n && n->type == NODE_SEQUENCE, group = k->type == CONFIG_GROUP;
    if (!n || (config_node_null(n) && !group)) {
        explain_default(e, k, path);
    } else if (k->type == CONFIG_GROUPS && list) {
        explain_items(e, k, n, path);
    } else if (group && (!k->group->n || (config_node_null(n) && !k->group->n))) {
        line(e, path, "{}", &n->at, k->ignored);
    } else if (group) {
        explain_group(e, k->group, n, path);
    } else if (k->type == CONFIG_PART || k->type == CONFIG_ANY) {
        snprintf(text, sizeof(text), "(%zu item%s)", n->n, n->n == 1 ? "" : "s");
        line(e, path, n->type == NODE_SCALAR ? n->text : text, &n->at, k->ignored);
    } else if (list) {
        list_text(k, n, text, sizeof(text));
        line(e, path, text, &n->at, k->ignored);
    } else {
        line(e, path, value_text(k, n, text, sizeof(text)), &n->at, k->ignored);
    }
}

static void explain_group(struct explainer *e, const struct config_group *g, const struct config_node *n, const char *path)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct config_key *k = &g->keys[i];
        const struct config_node *v = n ? config_node_get(n, k->name) : NULL;
        char below[512];
        if ((g->one_of || k->type == CONFIG_ANY) && !v)
            continue;
        snprintf(below, sizeof(below), "%s%s%s", path, *path ? "." : "", k->name);
        explain_key(e, k, v, below);
    }
}

void config_explain(const struct config *c, bool json, FILE *to)
{
    struct explainer e = { .to = to, .json = json };
    fputs(json ? "[" : "", to);
    explain_group(&e, &config_root_group, c->state->root, "");
    fputs(json ? "\n]\n" : "", to);
}

const struct config_node *config_node_at(const struct config *c, const char *path, bool *ret_exact)
{
    const struct config_node *n = c->state->root, *next = n;
    while (*path && next) {
        char word[128];
        size_t len = strcspn(path, ".[");
        u64 i = 0;
        snprintf(word, sizeof(word), "%.*s", (int)len, path);
        next = len ? config_node_get(n, word) : n;
        path += len;
        if (*path == '[') {
            (void)slice_u64(slice_of(path + 1, strcspn(path + 1, "]")), &i);
            next = next && next->type == NODE_SEQUENCE && i < next->n ? next->items[i] : NULL;
            path += strcspn(path, "]") + 1;
        }
        n = next ? next : n;
        path += *path == '.';
    }
    *ret_exact = next != NULL;
    return n;
}

bool config_given(const struct config *c, const char *path)
{
    bool exact;
    const struct config_node *n = config_node_at(c, path, &exact);
    return exact && n->at.origin != ORIGIN_DEFAULT && !config_node_null(n);
}

const char *config_where(const struct config *c, const char *path, char *ret, size_t size)
{
    bool exact;
    const struct config_node *n = config_node_at(c, path, &exact);
    origin_text(&n->at, ret, size);
    if (n->at.origin == ORIGIN_FILE && strlen(ret) + 12 < size)
        snprintf(ret + strlen(ret), size - strlen(ret), ":%u", n->at.column);
    return ret;
}
