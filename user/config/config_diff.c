/* Two configurations side by side: what a reload finds changed. The text that is in force decides, not where it was written. */
#include "config/config_internal.h"

static bool scalar_null(const struct config_node *n) { return !n || config_node_null(n); }

static bool node_same(const struct config_node *a, const struct config_node *b)
{
    if (scalar_null(a) || scalar_null(b))
        return scalar_null(a) && scalar_null(b);
    if (a->type != b->type || a->n != b->n)
        return false;
    bool same = a->type != NODE_SCALAR || (!strcmp(a->text, b->text) && a->plain == b->plain);
    for (size_t i = 0; same && i < a->n; i++)
        same = a->type == NODE_SEQUENCE ? node_same(a->items[i], b->items[i])
                                        : node_same(a->entries[i].value, config_node_get(b, a->entries[i].key));
    return same;
}

static const struct config_node *exact(const struct config *c, const char *path)
{
    bool there;
    const struct config_node *n = config_node_at(c, path, &there);
    return there ? n : NULL;
}

bool config_same(const struct config *a, const struct config *b, const char *path)
{
    return node_same(exact(a, path), exact(b, path));
}

/* --- what needs a restart --- */
struct finder {
    char *ret;
    size_t size, used, n;
};

static const char *scalar_text(const struct config_key *k, const struct config_node *n)
{
    return scalar_null(n) ? k->fallback : n->type == NODE_SCALAR ? n->text : NULL;
}

static bool key_same(const struct config_key *k, const struct config_node *a, const struct config_node *b)
{
    const char *x = scalar_text(k, a), *y = scalar_text(k, b);
    return node_same(a, b) || (x && y && !strcmp(x, y));
}

static void found(struct finder *f, const char *path)
{
    f->n++;
    if (f->used + strlen(path) + 3 < f->size)
        f->used += (size_t)snprintf(f->ret + f->used, f->size - f->used, "%s%s", f->used ? ", " : "", path);
}

static void look(struct finder *f, const struct config_group *g, const struct config_node *a, const struct config_node *b,
                 const char *path, bool all)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct config_key *k = &g->keys[i];
        const struct config_node *x = a && a->type == NODE_MAP ? config_node_get(a, k->name) : NULL;
        const struct config_node *y = b && b->type == NODE_MAP ? config_node_get(b, k->name) : NULL;
        bool mine = all || k->flags & KEY_RESTART;
        char below[512];
        if (!x && !y)
            continue;
        snprintf(below, sizeof(below), "%s%s%s", path, *path ? "." : "", k->name);
        if (k->type == CONFIG_GROUP)
            look(f, k->group, x, y, below, mine);
        else if (mine && !key_same(k, x, y))
            found(f, below);
    }
}

size_t config_restarts(const struct config *old, const struct config *now, char *ret, size_t size)
{
    struct finder f = { .ret = ret, .size = size };
    *ret = 0;
    look(&f, &config_root_group, old->state->root, now->state->root, "", false);
    return f.n;
}
