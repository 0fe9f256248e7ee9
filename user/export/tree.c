/* The structure: nodes by id in a bounded table, linked to parents and siblings. Span ids come from our own tracers but
 * also from files, so a chain of parents may be hostile: depth is limited and a cycle is never closed. */
#include "export/tree.h"
#include "base/table.h"

#define DEPTH_MAX    64
#define SETTLE_NS    (150 * NSEC_PER_MSEC) /* late children of an ended root: their answers are parsed just now */
#define ORPHAN_NS    (2 * NSEC_PER_SEC)    /* how long a parent may keep us waiting */
#define LONG_ROOT_NS (3 * NSEC_PER_SEC)    /* a root older than this gives its branches out one by one */

struct key {
    u8 trace_id[TRACE_ID_LEN], span_id[SPAN_ID_LEN];
};

struct tree {
    struct table *nodes;
    struct node *first, *last; /* tops */
    u32 running;
};

static void siblings_ends(struct tree *t, struct node *parent, struct node ***ret_first, struct node ***ret_last)
{
    *ret_first = parent ? &parent->first : &t->first;
    *ret_last = parent ? &parent->last : &t->last;
}

static void open_add(struct node *n, s32 delta, u64 now)
{
    for (u32 depth = 0; n && depth <= DEPTH_MAX; n = n->parent, depth++) {
        n->open = (u32)((s32)n->open + delta);
        if (now > n->changed_ns)
            n->changed_ns = now;
    }
}

static void node_unlink(struct tree *t, struct node *n)
{
    struct node **first, **last;
    siblings_ends(t, n->parent, &first, &last);
    *(n->prev ? &n->prev->next : first) = n->next;
    *(n->next ? &n->next->prev : last) = n->prev;
    if (n->parent)
        open_add(n->parent, -(s32)n->open, 0);
    n->parent = n->prev = n->next = NULL;
}

/* Among its siblings by time of start; most come in order, so the search begins at the end. */
static void node_link(struct tree *t, struct node *n, struct node *parent)
{
    struct node **first, **last, *after;
    siblings_ends(t, parent, &first, &last);
    after = *last;
    while (parent && after && after->start_ns > n->start_ns)
        after = after->prev;
    n->parent = parent;
    n->prev = after;
    n->next = after ? after->next : *first;
    *(n->next ? &n->next->prev : last) = n;
    *(after ? &after->next : first) = n;
    if (parent)
        open_add(parent, (s32)n->open, n->changed_ns);
}

/* Pushed out of memory, or forgotten: what hangs below stays, as tops of their own. */
static void node_drop(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    struct tree *t = arg;
    struct node *n = value;
    if (cause == TABLE_CLOSED)
        return;
    while (n->first) {
        struct node *child = n->first;
        node_unlink(t, child);
        child->under = false;
        node_link(t, child, NULL);
    }
    if (n->running)
        t->running--;
    if (n->parent && cause == TABLE_EVICTED) {
        n->parent->shown++;
        n->parent->shown_failed += n->failed;
    }
    node_unlink(t, n);
}

struct tree *tree_new(u32 max_nodes)
{
    struct tree *t = calloc(1, sizeof(*t));
    if (!t)
        return NULL;
    t->nodes = table_new(&(struct table_spec){ .key_size = sizeof(struct key),
                                               .value_size = sizeof(struct node),
                                               .max = max_nodes < DEPTH_MAX ? DEPTH_MAX : max_nodes,
                                               .drop = node_drop,
                                               .arg = t });
    return t->nodes ? t : tree_free(t);
}

struct tree *tree_free(struct tree *t)
{
    if (t)
        table_free(t->nodes);
    free(t);
    return NULL;
}

static struct key key_of(const u8 *trace_id, const u8 *span_id)
{
    struct key k;
    memcpy(k.trace_id, trace_id, TRACE_ID_LEN);
    memcpy(k.span_id, span_id, SPAN_ID_LEN);
    return k;
}

static struct node *node_at(struct tree *t, struct key k, u64 now)
{
    bool fresh;
    struct node *n = table_put(t->nodes, &k, &fresh);
    if (!n || !fresh)
        return n;
    memcpy(n->trace_id, k.trace_id, TRACE_ID_LEN);
    memcpy(n->span_id, k.span_id, SPAN_ID_LEN);
    n->start_ns = n->changed_ns = now;
    node_link(t, n, NULL);
    return n;
}

/* May n hang below parent? Not below itself, and not too deep. */
static bool may_hang(const struct node *n, const struct node *parent)
{
    u32 depth = 0;
    for (; parent; parent = parent->parent)
        if (parent == n || ++depth >= DEPTH_MAX)
            return false;
    return true;
}

static void node_attach(struct tree *t, struct node *n, u64 now)
{
    struct key own = key_of(n->trace_id, n->span_id), up = key_of(n->trace_id, n->parent_id);
    struct node *parent = node_at(t, up, now);
    if (!parent || table_peek(t->nodes, &own) != n || n->parent == parent || !may_hang(n, parent))
        return;
    if (!parent->seen && parent->start_ns > n->start_ns)
        parent->start_ns = n->start_ns;
    node_unlink(t, n);
    n->under = true;
    node_link(t, n, parent);
}

static void node_fill(struct node *n, const struct span *s)
{
    static const u8 zero[SPAN_ID_LEN];
    n->seen = true;
    n->start_ns = s->start_ns;
    n->remote_parent = s->remote_parent;
    n->has_parent = memcmp(s->parent_id, zero, SPAN_ID_LEN) != 0;
    memcpy(n->parent_id, s->parent_id, SPAN_ID_LEN);
    text_copy(n->name, sizeof(n->name), s->name, true);
    text_copy(n->service, sizeof(n->service), resource_service(s->resource), true);
}

static struct node *node_update(struct tree *t, const struct span *s, bool running, u64 now)
{
    struct node *n = node_at(t, key_of(s->id.trace_id, s->id.span_id), now);
    if (!n)
        return NULL;
    node_fill(n, s);
    if (n->running != running) {
        t->running += running ? 1u : -1u;
        open_add(n, running ? 1 : -1, now);
    } else {
        open_add(n, 0, now);
    }
    n->running = running;
    n->by_rule = s->rule != 0;
    return n;
}

void tree_start(struct tree *t, const struct span *s)
{
    u64 now = clock_wall_ns();
    struct node *n = node_update(t, s, true, now);
    if (n && n->has_parent)
        node_attach(t, n, now);
}

void tree_end(struct tree *t, const struct span *s)
{
    u64 now = clock_wall_ns();
    struct node *n = node_update(t, s, false, now);
    if (!n)
        return;
    n->end_ns = s->end_ns > s->start_ns ? s->end_ns : s->start_ns;
    n->failed = s->status == STATUS_ERROR;
    span_detail(s, n->detail, sizeof(n->detail));
    span_says(s, n->message, sizeof(n->message));
    if (n->has_parent)
        node_attach(t, n, now);
}

/* A node with something below it stays, ended, to hold that together: its children name it as their parent. */
void tree_drop(struct tree *t, const struct span *s)
{
    struct key k = key_of(s->id.trace_id, s->id.span_id);
    struct node *n = table_peek(t->nodes, &k);
    if (n && n->first)
        tree_end(t, s);
    else if (n)
        table_del(t->nodes, &k);
}

u32 tree_running(const struct tree *t) { return t->running; }
struct node *tree_tops(struct tree *t) { return t->first; }

static bool is_settled(const struct node *n, u64 now, u64 wait) { return !n->open && now >= n->changed_ns + wait; }

static struct node *ready_branch(struct node *top, u64 now)
{
    if (top->seen && (!top->running || now < top->start_ns + LONG_ROOT_NS))
        return NULL;
    for (struct node *c = top->first; c; c = c->next) {
        if (top->seen && is_settled(c, now, SETTLE_NS))
            return c;
        struct node *deeper = ready_branch(c, now); /* make calls make: the chain of running ones is short */
        if (deeper)
            return deeper;
    }
    return NULL;
}

struct node *tree_ready(struct tree *t, u64 now, bool final)
{
    for (struct node *n = t->first; n; n = n->next) {
        if (final || is_settled(n, now, n->seen ? SETTLE_NS : ORPHAN_NS))
            return n;
        struct node *branch = ready_branch(n, now);
        if (branch)
            return branch;
    }
    return NULL;
}

void tree_forget(struct tree *t, struct node *branch)
{
    struct node *parent = branch->parent, *n = branch;
    if (parent) {
        parent->shown++;
        parent->shown_failed += branch->failed;
    }
    while (n) { /* leaves first, without recursion */
        while (n->first)
            n = n->first;
        struct node *up = n == branch ? NULL : n->parent;
        struct key k = key_of(n->trace_id, n->span_id);
        table_del(t->nodes, &k);
        n = up;
    }
}
