/* What the OTLP encoders ask about a batch: which items belong together, and the derived fields of spans. */
#include "export/encode.h"

static int scope_compare(const char *a, const char *b) { return a == b ? 0 : strcmp(a ? a : "", b ? b : ""); }
static u64 resource_id(const struct group_item *i) { return i->resource ? i->resource->id : 0; }

bool same_resource(const struct group_item *a, const struct group_item *b) { return resource_id(a) == resource_id(b); }
bool same_scope(const struct group_item *a, const struct group_item *b)
{
    return same_resource(a, b) && !scope_compare(a->scope, b->scope);
}

static int item_compare(const struct group_item *a, const struct group_item *b)
{
    u64 x = resource_id(a), y = resource_id(b);
    return x != y ? (x < y ? -1 : 1) : scope_compare(a->scope, b->scope);
}

/* Bottom-up merge sort: stable, and one pass of comparisons when the batch is in order already, as most are. */
static void merge_runs(const struct group_item *from, struct group_item *to, size_t n, size_t width)
{
    for (size_t lo = 0; lo < n; lo += 2 * width) {
        size_t mid = min_u64(lo + width, n), hi = min_u64(lo + 2 * width, n), a = lo, b = mid;
        for (size_t o = lo; o < hi; o++)
            to[o] = a < mid && (b >= hi || item_compare(&from[a], &from[b]) <= 0) ? from[a++] : from[b++];
    }
}

static bool is_ordered(const struct grouping *g)
{
    for (size_t i = 1; i < g->n; i++)
        if (item_compare(&g->v[i - 1], &g->v[i]) > 0)
            return false;
    return true;
}

static void sort(struct grouping *g)
{
    struct group_item *from = g->v, *to = g->v + g->room, *swap;
    for (size_t width = 1; width < g->n; width *= 2) {
        merge_runs(from, to, g->n, width);
        swap = from, from = to, to = swap;
    }
    if (from != g->v)
        memcpy(g->v, from, g->n * sizeof(*from));
}

static void fill_metrics(struct grouping *g, const struct batch *b)
{
    for (size_t i = 0; i < b->n; i++)
        for (size_t k = 0; k < b->metrics[i]->n; k++) {
            const struct metric *m = &b->metrics[i]->metrics[k];
            g->v[g->n++] = (struct group_item){ m, m->resource, m->scope };
        }
}

static void fill(struct grouping *g, const struct batch *b)
{
    g->n = 0;
    if (b->signal == SIGNAL_METRICS)
        fill_metrics(g, b);
    for (size_t i = 0; i < b->n && b->signal == SIGNAL_TRACES; i++)
        g->v[g->n++] = (struct group_item){ b->spans[i], b->spans[i]->resource, b->spans[i]->scope };
    for (size_t i = 0; i < b->n && b->signal == SIGNAL_LOGS; i++)
        g->v[g->n++] = (struct group_item){ b->logs[i], b->logs[i]->resource, b->logs[i]->scope };
}

static size_t items_of(const struct batch *b)
{
    size_t n = b->n;
    if (b->signal == SIGNAL_METRICS)
        for (size_t i = n = 0; i < b->n; i++)
            n += b->metrics[i]->n;
    return n;
}

int grouping_make(struct grouping *g, const struct batch *b)
{
    size_t n = items_of(b);
    if (g->room < n) {
        struct group_item *v = realloc(g->v, 2 * n * sizeof(*v)); /* the second half is the sort's other bank */
        if (!v)
            return -ENOMEM;
        g->v = v;
        g->room = n;
    }
    fill(g, b);
    if (!is_ordered(g))
        sort(g);
    return 0;
}

void grouping_done(struct grouping *g)
{
    free(g->v);
    *g = (struct grouping){ 0 };
}

size_t grouping_run(const struct grouping *g, size_t from, bool (*same)(const struct group_item *, const struct group_item *))
{
    size_t end = from;
    while (end < g->n && same(&g->v[from], &g->v[end]))
        end++;
    return end;
}

size_t grouping_count(const struct grouping *g, size_t from, size_t to,
                      bool (*same)(const struct group_item *, const struct group_item *))
{
    size_t n = 0;
    for (; from < to; n++)
        from = grouping_run(g, from, same);
    return n;
}

void scope_name(const char *scope, char *out, size_t size)
{
    bool named = scope && *scope;
    snprintf(out, size, "wftrace%s%s", named ? "/" : "", named ? scope : "");
}

u32 span_flags(const struct span *s) { return s->id.flags | OTEL_FLAG_HAS_REMOTE | (s->remote_parent ? OTEL_FLAG_REMOTE : 0); }

bool span_is_root(const struct span *s)
{
    static const u8 zero[SPAN_ID_LEN];
    return !memcmp(s->parent_id, zero, sizeof(zero));
}

const char *span_tracestate(const struct span *s)
{
    for (const char *p = s->tracestate; *p; p++)
        if (*p < 0x20 || *p > 0x7e)
            return "";
    return s->tracestate;
}
