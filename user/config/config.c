/* Files, variables and flags → one tree → one config. */
#include "config/config_internal.h"

static struct config_node *files_read(struct config_state *s, const struct config_input *in)
{
    struct config_node *root = NULL;
    for (size_t i = 0; i < in->n_files; i++) {
        struct config_node *n = config_file_read(s, in->files[i]);
        if (n && n->type != NODE_MAP) {
            config_mistake(s, &n->at, "a configuration is a mapping of keys to values, starting with file_format: \"1.1\"");
            continue;
        }
        root = n ? config_node_merge(s, root, n) : root;
    }
    return root;
}

static int flags_apply(struct config_state *s, const struct config_input *in, struct config_node *root)
{
    for (size_t i = 0; i < in->n_flags; i++) {
        struct config_place at = { .origin = ORIGIN_FLAG, .name = in->flags[i].flag };
        int err = config_node_set(s, root, in->flags[i].path, in->flags[i].value, at);
        if (err)
            return err;
    }
    return 0;
}

static struct config *build(struct config_state *s, const struct config_input *in)
{
    struct config_node *root = in->n_files ? files_read(s, in) : config_env_read(s);
    if (s->mistakes->n || !root || flags_apply(s, in, root))
        return NULL;
    struct config *c = config_alloc(s, sizeof(*c));
    if (!c)
        return NULL;
    s->root = root;
    config_read_group(s, &config_root_group, root, c);
    c->state = s;
    return c;
}

static void count_left_out(struct config_says *to, const char *what)
{
    if (!to->left_out)
        return;
    char tail[64];
    int n = snprintf(tail, sizeof(tail), "\n… and %u more %s", to->left_out, what);
    size_t at = min_u64(to->used, sizeof(to->text) - (size_t)n - 1);
    memcpy(to->text + at, tail, (size_t)n + 1);
    to->used = at + (size_t)n;
}

static int no_memory(struct config_says *to)
{
    to->used = (size_t)snprintf(to->text, sizeof(to->text), "out of memory\n");
    to->n = 1;
    return -ENOMEM;
}

int config_load(const struct config_input *in, struct config **ret, struct config_says *mistakes, struct config_says *notes)
{
    struct config_state *s = calloc(1, sizeof(*s));
    mistakes->used = notes->used = mistakes->n = notes->n = mistakes->left_out = notes->left_out = 0;
    mistakes->text[0] = notes->text[0] = 0;
    if (!s)
        return no_memory(mistakes);
    s->in = in;
    s->mistakes = mistakes;
    s->notes = notes;
    struct config *c = build(s, in);
    count_left_out(mistakes, "mistakes");
    count_left_out(notes, "notes");
    s->in = NULL;
    s->mistakes = s->notes = NULL;
    if (!c || mistakes->n) {
        config_state_free(s);
        return mistakes->n ? -EINVAL : no_memory(mistakes);
    }
    *ret = c;
    return 0;
}

struct config *config_free(struct config *c)
{
    if (c)
        config_state_free(c->state); /* c itself is in it */
    return NULL;
}

void *config_keep(struct config *c, size_t size) { return config_alloc(c->state, size); }

bool config_off(const struct config *c) { return c->disabled || !c->wftrace->enabled; }
