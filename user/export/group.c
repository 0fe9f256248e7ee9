/* What both OTLP encoders ask about spans: which belong together, and the derived fields. */
#include "export/encode.h"

static int scope_compare(const struct span *a, const struct span *b)
{
    return a->scope == b->scope ? 0 : strcmp(a->scope ? a->scope : "", b->scope ? b->scope : "");
}

static u64 resource_id(const struct span *s) { return s->resource ? s->resource->id : 0; }

bool same_resource(const struct span *a, const struct span *b) { return resource_id(a) == resource_id(b); }
bool same_scope(const struct span *a, const struct span *b) { return same_resource(a, b) && !scope_compare(a, b); }

static int span_compare(const struct span *a, const struct span *b)
{
    u64 x = resource_id(a), y = resource_id(b);
    return x != y ? (x < y ? -1 : 1) : scope_compare(a, b);
}

/* Bottom-up merge sort: stable, and one pass of comparisons when the batch is in order already, as most are. */
static void merge_runs(const struct span **from, const struct span **to, size_t n, size_t width)
{
    for (size_t lo = 0; lo < n; lo += 2 * width) {
        size_t mid = min_u64(lo + width, n), hi = min_u64(lo + 2 * width, n), a = lo, b = mid;
        for (size_t o = lo; o < hi; o++)
            to[o] = a < mid && (b >= hi || span_compare(from[a], from[b]) <= 0) ? from[a++] : from[b++];
    }
}

static bool is_ordered(const struct grouping *g)
{
    for (size_t i = 1; i < g->n; i++)
        if (span_compare(g->v[i - 1], g->v[i]) > 0)
            return false;
    return true;
}

int grouping_make(struct grouping *g, const struct batch *b)
{
    if (g->room < b->n) {
        const struct span **v = realloc(g->v, 2 * b->n * sizeof(*v)); /* the second half is the sort's other bank */
        if (!v)
            return -ENOMEM;
        g->v = v;
        g->room = b->n;
    }
    g->n = b->n;
    for (size_t i = 0; i < b->n; i++)
        g->v[i] = b->spans[i];
    if (is_ordered(g))
        return 0;
    const struct span **from = g->v, **to = g->v + g->room, **swap;
    for (size_t width = 1; width < g->n; width *= 2) {
        merge_runs(from, to, g->n, width);
        swap = from, from = to, to = swap;
    }
    if (from != g->v)
        memcpy(g->v, from, g->n * sizeof(*from));
    return 0;
}

void grouping_done(struct grouping *g)
{
    free(g->v);
    *g = (struct grouping){ 0 };
}

size_t grouping_run(const struct grouping *g, size_t from, bool (*same)(const struct span *, const struct span *))
{
    size_t end = from;
    while (end < g->n && same(g->v[from], g->v[end]))
        end++;
    return end;
}

void scope_name(const struct span *s, char *out, size_t size)
{
    bool named = s->scope && *s->scope;
    snprintf(out, size, "wftrace%s%s", named ? "/" : "", named ? s->scope : "");
}

u32 span_flags(const struct span *s) { return s->id.flags | OTEL_FLAG_HAS_REMOTE | (s->remote_parent ? OTEL_FLAG_REMOTE : 0); }

bool span_is_root(const struct span *s)
{
    static const u8 zero[SPAN_ID_LEN];
    return !memcmp(s->parent_id, zero, sizeof(zero));
}

const char *span_tracestate(const struct span *s)
{
    size_t n = strnlen(s->tracestate, sizeof(s->tracestate));
    for (size_t i = 0; i < n; i++)
        if (s->tracestate[i] < 0x20 || s->tracestate[i] > 0x7e)
            return "";
    return n < sizeof(s->tracestate) ? s->tracestate : "";
}
