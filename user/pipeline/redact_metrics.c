/* Metrics are shared and not to be written to: where something must go, the collection is copied as far as it differs, in one
 * chain of blocks that lives as long as the copy; the rest still points into the original. */
#include "pipeline/redact.h"
#include "self/ledger.h"

#define TEXT_MOST 4096 /* bytes of one attribute that are looked at; a longer one is replaced whole */

struct block {
    struct block *next;
    u8 data[];
};

struct copy {
    struct metric_batch b;
    struct metric_batch *from; /* a reference */
    struct block *blocks;
    bool failed;
};

static void copy_free(struct metric_batch *b)
{
    struct copy *c = container_of(b, struct copy, b);
    for (size_t i = 0; i < b->n; i++)
        resource_unref(b->metrics[i].resource);
    for (struct block *k = c->blocks, *next; k; k = next) {
        next = k->next;
        free(k);
    }
    metric_batch_unref(c->from);
    free(c);
}

static void *block_new(struct copy *c, size_t bytes)
{
    struct block *k = malloc(sizeof(*k) + bytes);
    if (!k) {
        c->failed = true;
        return NULL;
    }
    k->next = c->blocks;
    c->blocks = k;
    return k->data;
}

/* A copy of the whole batch's metrics, points still shared. */
static struct copy *copy_new(struct metric_batch *from)
{
    struct copy *c = calloc(1, sizeof(*c));
    struct metric *v = c ? block_new(c, from->n * sizeof(*v)) : NULL;
    if (!v) {
        free(c);
        return NULL;
    }
    memcpy(v, from->metrics, from->n * sizeof(*v));
    c->b = (struct metric_batch){ .refs = 1,
                                  .time_ns = from->time_ns,
                                  .metrics = v,
                                  .n = from->n,
                                  .n_points = from->n_points,
                                  .pull = from->pull,
                                  .free = copy_free };
    for (size_t i = 0; i < from->n; i++)
        if (v[i].resource)
            resource_ref(v[i].resource);
    c->from = from;
    return c;
}

/* Does redacting change it? `out` then holds the new attribute, its text in `text`. */
static bool attr_differs(struct redact *r, const struct attr *a, struct attr *out, char text[TEXT_MOST + 1])
{
    u64 before = r->found;
    *out = *a;
    if (a->type == ATTR_STR || a->type == ATTR_STRV) {
        size_t n = min_u64(a->len, TEXT_MOST);
        memcpy(text, a->s, n);
        text[n] = 0;
        out->s = text;
        out->len = (u16)n;
    }
    redact_attr(r, out);
    if (a->len > TEXT_MOST && (a->type == ATTR_STR || a->type == ATTR_STRV)) {
        *out = (struct attr){ .key = out->key, .type = ATTR_STR, .len = sizeof(REDACTED) - 1, .s = REDACTED };
        return true;
    }
    return r->found != before || out->key != a->key;
}

static bool point_differs(struct redact *r, const struct metric_point *p)
{
    char text[TEXT_MOST + 1];
    struct attr out;
    for (u16 i = 0; i < p->n_attrs; i++)
        if (attr_differs(r, &p->attrs[i], &out, text))
            return true;
    return false;
}

static void point_copy(struct redact *r, struct copy *c, struct metric_point *p)
{
    char text[TEXT_MOST + 1];
    struct attr *v = block_new(c, p->n_attrs * sizeof(*v));
    if (!v)
        return;
    for (u16 i = 0; i < p->n_attrs; i++) {
        if (!attr_differs(r, &p->attrs[i], &v[i], text)) {
            v[i] = p->attrs[i];
            continue;
        }
        if (v[i].type != ATTR_STR && v[i].type != ATTR_STRV)
            continue;
        char *own = block_new(c, v[i].len + 1u);
        if (!own)
            return;
        memcpy(own, v[i].s, v[i].len);
        own[v[i].len] = 0;
        v[i].s = own;
    }
    p->attrs = v;
}

/* False: no memory. */
static bool metric_clean(struct redact *r, struct copy **c, struct metric_batch *from, size_t i)
{
    const struct metric *m = &from->metrics[i];
    struct metric_point *points = NULL;
    for (u32 k = 0; k < m->n_points; k++) {
        if (!point_differs(r, &m->points[k]))
            continue;
        if (!*c && !(*c = copy_new(from)))
            return false;
        if (!points) {
            points = block_new(*c, m->n_points * sizeof(*points));
            if (!points)
                return false;
            memcpy(points, m->points, m->n_points * sizeof(*points));
            (*c)->b.metrics[i].points = points;
        }
        point_copy(r, *c, &points[k]);
    }
    return true;
}

struct metric_batch *redact_metrics(struct redact *r, struct metric_batch *b)
{
    struct copy *c = NULL;
    bool failed = false;
    for (size_t i = 0; i < b->n && !failed; i++) {
        struct resource *had = b->metrics[i].resource, *clean;
        failed = !metric_clean(r, &c, b, i);
        clean = had ? resources_take(&r->resources, resource_ref(had)) : NULL;
        if (clean == had) {
            resource_unref(clean);
            continue;
        }
        if (!clean || (!c && !(c = copy_new(b)))) {
            resource_unref(clean);
            failed = true;
            continue;
        }
        resource_unref(c->b.metrics[i].resource);
        c->b.metrics[i].resource = clean;
    }
    if (!failed && !(c && c->failed))
        return c ? &c->b : b;
    ledger_add(metric_collections_failed, 1);
    if (c) /* no memory for a clean copy: nothing goes out rather than a secret */
        metric_batch_unref(&c->b);
    else
        metric_batch_unref(b);
    return NULL;
}
