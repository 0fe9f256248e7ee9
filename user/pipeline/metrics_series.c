/* The series: from a reading (attributes by key number) to the aggregate it belongs to, in one probe of a table in the steady
 * state. Only a series seen for the first time allocates. Slots are found by hash, then compared value by value. */
#include "pipeline/metrics_internal.h"

#include <math.h>

#define EXP_EXEMPLARS 20

/* --- keys --- */

u8 key_id(struct keys *k, const char *name)
{
    for (u32 i = 0; i < k->n; i++)
        if (!strcmp(k->name[i], name))
            return (u8)i;
    if (k->n == KEYS_MAX)
        return KEY_NONE;
    k->name[k->n] = intern(name);
    return (u8)k->n++;
}

static u8 key_look(const struct keys *k, const char *text)
{
    for (u32 i = 0; i < k->n; i++)
        if (!strcmp(k->name[i], text))
            return (u8)i;
    return KEY_NONE;
}

u8 key_find(struct keys *k, const char *text)
{
    u32 at = (u32)(hash_u64((u64)(uintptr_t)text) & (KEY_CACHE - 1));
    if (k->cache[at].text != text) {
        k->cache[at].text = text;
        k->cache[at].id = key_look(k, text);
    }
    return k->cache[at].id;
}

static u64 attr_hash(const struct attr *a)
{
    if (a->type == ATTR_STR || a->type == ATTR_STRV)
        return hash_bytes(a->s, a->len, a->type);
    return hash_u64((a->type == ATTR_BOOL ? a->b : (u64)a->i) + a->type);
}

void reading_put(struct reading *r, u8 key, const struct attr *a)
{
    if (!r->have[key]) {
        if (r->n == sizeof(r->touched))
            return;
        r->touched[r->n++] = key;
    }
    r->have[key] = a;
    r->hash[key] = attr_hash(a);
}

void reading_clear(struct reading *r)
{
    while (r->n)
        r->have[r->touched[--r->n]] = NULL;
}

static bool attr_same(const struct attr *a, const struct attr *b)
{
    if (a->type != b->type)
        return false;
    if (a->type == ATTR_STR || a->type == ATTR_STRV)
        return a->len == b->len && !memcmp(a->s, b->s, a->len);
    return a->type == ATTR_BOOL ? a->b == b->b : a->i == b->i;
}

/* --- owners --- */

/* What tells one process of a service from another does not belong to the service. */
static bool of_service(const char *key) { return strncmp(key, "process.", 8) || !strncmp(key, "process.runtime.", 16); }

static u64 service_hash(const struct resource *r)
{
    u64 h = 1;
    for (u16 i = 0; i < r->attrs.n; i++)
        if (of_service(r->attrs.v[i].key))
            h += hash_u64(attr_hash(&r->attrs.v[i]) ^ hash_bytes(r->attrs.v[i].key, strlen(r->attrs.v[i].key), 7));
    return h;
}

/* A UUID of this run and this service (RFC 9562, version 8): the same in all its metrics, another for its next instance. */
static void instance_of(const struct metrics *m, u64 hash, char out[37])
{
    u64 id[2] = { hash_bytes(m->o.instance, strlen(m->o.instance), hash),
                  hash_bytes(m->o.instance, strlen(m->o.instance), ~hash) };
    u8 raw[16];
    char hex[33];
    memcpy(raw, id, sizeof(raw));
    raw[6] = (u8)((raw[6] & 0x0f) | 0x80);
    raw[8] = (u8)((raw[8] & 0x3f) | 0x80);
    hex_encode(raw, sizeof(raw), hex);
    snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
}

static struct resource *service_resource_of(const struct metrics *m, const struct resource *from, u64 hash)
{
    char instance[37];
    struct resource *r = resource_new();
    struct attr v[ARRAY_LEN(r->attr_v)];
    struct attr_set kept = { .v = v, .max = ARRAY_LEN(v) };
    if (!r)
        return NULL;
    for (u16 i = 0; from && i < from->attrs.n; i++)
        if (of_service(from->attrs.v[i].key))
            v[kept.n++] = from->attrs.v[i];
    attr_set_copy(&r->attrs, &kept);
    if (!attr_get(&r->attrs, "service.name"))
        attr_str(&r->attrs, "service.name", slice_str("unknown_service"));
    instance_of(m, hash, instance);
    if (!attr_get(&r->attrs, "service.instance.id"))
        attr_str(&r->attrs, "service.instance.id", slice_str(instance));
    return r;
}

static struct metric_owner *owner_make(struct metrics *m, const struct resource *r, u64 hash)
{
    struct metric_owner *o = calloc(1, sizeof(*o) + m->n_streams * (sizeof(*o->n_series) + sizeof(*o->spill)));
    if (!o)
        return NULL;
    o->spill = (struct series **)(o + 1);
    o->n_series = (u32 *)(o->spill + m->n_streams);
    o->hash = hash;
    o->resource = service_resource_of(m, r, hash);
    if (!o->resource) {
        free(o);
        return NULL;
    }
    m->owners[m->n_owners++] = o;
    return o;
}

/* The last owner is for whoever comes when the table is full: it has the name of nobody. */
static struct metric_owner *owner_find(struct metrics *m, const struct resource *r)
{
    u64 hash = r ? service_hash(r) : 0;
    for (u32 i = 0; i < m->n_owners; i++)
        if (m->owners[i]->hash == hash)
            return m->owners[i];
    if (m->n_owners < RESOURCE_MAX - 1)
        return owner_make(m, r, hash);
    for (u32 i = 0; i < m->n_owners; i++)
        if (!m->owners[i]->hash)
            return m->owners[i];
    return m->n_owners < RESOURCE_MAX ? owner_make(m, NULL, 0) : NULL;
}

struct metric_owner *owner_get(struct metrics *m, struct resource *r)
{
    u64 id = r ? r->id : 0;
    u32 at = (u32)(id % ARRAY_LEN(m->owner_cache));
    if (m->owner_cache[at].id != id || !m->owner_cache[at].owner) {
        m->owner_cache[at].owner = owner_find(m, r);
        m->owner_cache[at].id = id;
    }
    struct metric_owner *o = m->owner_cache[at].owner;
    if (o)
        o->used = m->now;
    return o;
}

/* --- finding --- */

static bool series_is(const struct series *s, const struct stream *st, const struct metric_owner *o, const struct reading *r,
                      const struct keys *k)
{
    u16 at = 0;
    if (s->stream != st || s->owner != o || s->spill)
        return false;
    for (u8 i = 0; i < st->n_keys; i++) {
        const struct attr *a = r->have[st->keys[i]];
        if (!a)
            continue;
        if (at == s->n_attrs || s->attrs[at].key != k->name[st->keys[i]] || !attr_same(a, &s->attrs[at]))
            return false;
        at++;
    }
    return at == s->n_attrs;
}

static u32 exemplars_of(const struct metrics *m, const struct stream *st)
{
    if (m->o.exemplars == EXEMPLARS_NONE || st->kind == METRIC_GAUGE || st->instrument == METER_UPDOWN)
        return 0;
    if (st->kind == METRIC_HISTOGRAM)
        return st->n_bounds + 1;
    return st->kind == METRIC_EXP_HISTOGRAM ? (u32)min_u64(EXP_EXEMPLARS, st->max_size) : 1;
}

static void histogram_clear(struct histogram *h, u32 n_counts)
{
    h->count = 0;
    h->sum = 0;
    h->min = INFINITY;
    h->max = -INFINITY;
    if (h->counts)
        memset(h->counts, 0, n_counts * sizeof(*h->counts));
}

/* A series and its attributes, text and exemplars in one piece of memory. */
static struct series *series_alloc(struct metrics *m, const struct stream *st, const struct attr *const *v, u16 n)
{
    size_t text = 0;
    u32 n_ex = exemplars_of(m, st), n_counts = st->kind == METRIC_HISTOGRAM ? st->n_bounds + 1 : 0;
    for (u16 i = 0; i < n; i++)
        text += v[i]->type == ATTR_STR || v[i]->type == ATTR_STRV ? v[i]->len + 1u : 0;
    struct series *s =
        calloc(1, sizeof(*s) + n * sizeof(*s->attrs) + n_ex * sizeof(struct exemplar) + n_counts * sizeof(u64) + text);
    if (!s)
        return NULL;
    s->attrs = (struct attr *)(s + 1);
    s->exemplars = (struct exemplar *)(s->attrs + n);
    u64 *counts = (u64 *)(s->exemplars + n_ex);
    char *out = (char *)(counts + n_counts);
    s->n_attrs = n;
    s->n_exemplars = (u16)n_ex;
    for (u16 i = 0; i < n; i++) {
        s->attrs[i] = *v[i];
        if (v[i]->type != ATTR_STR && v[i]->type != ATTR_STRV)
            continue;
        s->attrs[i].s = memcpy(out, v[i]->s, v[i]->len);
        out += v[i]->len + 1;
    }
    if (n_counts)
        s->now.h.counts = counts;
    if (st->kind == METRIC_HISTOGRAM || st->kind == METRIC_EXP_HISTOGRAM)
        histogram_clear(&s->now.h, n_counts);
    s->now.h.exp.max_size = st->kind == METRIC_EXP_HISTOGRAM ? st->max_size : s->now.h.exp.max_size;
    if (st->kind == METRIC_EXP_HISTOGRAM)
        s->now.h.exp.scale = st->max_scale;
    s->fresh_min = INFINITY;
    s->fresh_max = -INFINITY;
    return s;
}

static void slot_put(struct metrics *m, u64 hash, struct series *s)
{
    u32 at = (u32)hash & m->slot_mask;
    while (m->slots[at].s)
        at = (at + 1) & m->slot_mask;
    m->slots[at] = (struct series_slot){ hash, s };
}

static void series_join(struct metrics *m, struct series *s, u64 hash, const struct stream *st, struct metric_owner *o)
{
    s->hash = hash;
    s->stream = st;
    s->owner = o;
    s->start_ns = m->now;
    s->made = m->made++;
    o->n_series[st->id]++;
    o->live++;
    m->n_series++;
    slot_put(m, hash, s);
}

/* The series for everything beyond the limit. It may be made when the table is full: one per stream and owner, so the table
 * has room for it. */
static struct series *series_spill(struct metrics *m, const struct stream *st, struct metric_owner *o, u64 hash)
{
    static const struct attr overflow = { .key = "otel.metric.overflow", .type = ATTR_BOOL, .b = true };
    const struct attr *v[] = { &overflow };
    ledger_add(metric_overflows, 1);
    if (o->spill[st->id])
        return o->spill[st->id];
    if (m->n_series >= m->slot_mask / 4 * 3)
        return NULL;
    struct series *s = series_alloc(m, st, v, 1);
    if (!s)
        return NULL;
    s->spill = true;
    o->spill[st->id] = s;
    series_join(m, s, hash, st, o);
    return s;
}

static struct series *series_make(struct metrics *m, const struct stream *st, struct metric_owner *o, const struct reading *r,
                                  u64 hash)
{
    const struct attr *v[STREAM_KEYS];
    u16 n = 0;
    if (o->n_series[st->id] + !o->spill[st->id] >= st->limit || m->n_series >= m->o.max_series)
        return series_spill(m, st, o, hash);
    for (u8 i = 0; i < st->n_keys; i++)
        if (r->have[st->keys[i]])
            v[n++] = r->have[st->keys[i]];
    struct series *s = series_alloc(m, st, v, n);
    if (!s)
        return NULL;
    for (u16 i = 0, j = 0; j < n; i++)
        if (r->have[st->keys[i]])
            s->attrs[j++].key = m->keys.name[st->keys[i]];
    series_join(m, s, hash, st, o);
    return s;
}

static struct series *series_get(struct metrics *m, const struct stream *st, struct metric_owner *o, const struct reading *r)
{
    u64 hash = hash_u64(o->hash + st->id);
    for (u8 i = 0; i < st->n_keys; i++)
        if (r->have[st->keys[i]])
            hash = (hash ^ r->hash[st->keys[i]]) * 0x9e3779b97f4a7c15ull + i;
    hash ^= hash >> 32;
    for (u32 at = (u32)hash & m->slot_mask; m->slots[at].s; at = (at + 1) & m->slot_mask)
        if (m->slots[at].hash == hash && series_is(m->slots[at].s, st, o, r, &m->keys))
            return m->slots[at].s;
    return series_make(m, st, o, r, hash);
}

/* --- adding --- */

static u32 bucket_of(const struct stream *st, double value)
{
    u32 low = 0, high = st->n_bounds; /* the first bound >= value */
    while (low < high) {
        u32 middle = (low + high) / 2;
        if (st->bounds[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void exemplar_put(struct metrics *m, struct series *s, u32 at, double value, const struct span *span)
{
    if (!s->n_exemplars || !span || (m->o.exemplars == EXEMPLARS_TRACE_BASED && !(span->id.flags & 1)))
        return;
    s->exemplars[at % s->n_exemplars] = (struct exemplar){ span->end_ns ? span->end_ns : m->now, value, span->id };
}

static u32 histogram_add(const struct stream *st, struct series *s, double value)
{
    struct histogram *h = &s->now.h;
    u32 at = 0;
    if (st->kind == METRIC_HISTOGRAM)
        h->counts[at = bucket_of(st, value)]++;
    else if (!exp_record(&h->exp, value))
        return ledger_add(metric_values_dropped, 1), 0;
    else
        at = (u32)hash_u64(h->count);
    h->count++;
    h->sum += value;
    h->min = value < h->min ? value : h->min;
    h->max = value > h->max ? value : h->max;
    s->fresh_min = value < s->fresh_min ? value : s->fresh_min;
    s->fresh_max = value > s->fresh_max ? value : s->fresh_max;
    return at;
}

static void series_add(struct metrics *m, struct series *s, double value, const struct span *span)
{
    const struct stream *st = s->stream;
    u32 at = 0;
    if (st->kind == METRIC_HISTOGRAM || st->kind == METRIC_EXP_HISTOGRAM)
        at = histogram_add(st, s, value);
    else if (st->kind == METRIC_GAUGE)
        s->now = st->is_int ? (union aggregate){ .i = (s64)value } : (union aggregate){ .d = value };
    else if (st->is_int)
        s->now.i += (s64)value;
    else
        s->now.d += value;
    s->touched_ns = m->now;
    s->changed = true;
    exemplar_put(m, s, at, value, span);
}

void instrument_record(struct metrics *m, const struct instrument *in, struct metric_owner *o, double value, const struct span *s)
{
    if (!isfinite(value) || (value < 0 && in->type == METER_COUNTER)) {
        ledger_add(metric_values_bad, 1);
        return;
    }
    for (u32 i = 0; i < in->n; i++) {
        struct series *to = series_get(m, &m->streams[in->first + i], o, &m->reading);
        if (to)
            series_add(m, to, value, s);
        else
            ledger_add(metric_values_dropped, 1);
    }
}

/* --- forgetting --- */

static struct series *series_drop(struct metrics *m, struct series *s)
{
    if (s->spill)
        s->owner->spill[s->stream->id] = NULL;
    s->owner->n_series[s->stream->id]--;
    s->owner->live--;
    m->n_series--;
    bool exponential = s->stream->kind == METRIC_EXP_HISTOGRAM;
    if (exponential)
        exp_clear(&s->now.h.exp);
    if (s->pushed && exponential)
        exp_clear(&s->pushed->h.exp);
    free(s->pushed);
    free(s);
    return NULL;
}

/* The clock may have been set back meanwhile. */
static bool expired(const struct metrics *m, u64 used) { return m->now > used && m->now - used >= m->o.expire_ns; }

static void owner_drop(struct metrics *m, u32 i)
{
    resource_unref(m->owners[i]->resource);
    free(m->owners[i]);
    m->owners[i] = m->owners[--m->n_owners];
}

static void owners_sweep(struct metrics *m)
{
    for (u32 i = 0; i < m->n_owners;) {
        struct metric_owner *o = m->owners[i];
        if (o->live || !expired(m, o->used))
            i++;
        else
            owner_drop(m, i);
    }
    memset(m->owner_cache, 0, sizeof(m->owner_cache));
}

void series_set_back(struct metrics *m, u64 back_ns)
{
    for (u32 i = 0; i <= m->slot_mask; i++) {
        struct series *s = m->slots[i].s;
        if (s) {
            s->start_ns -= min_u64(back_ns, s->start_ns);
            s->touched_ns -= min_u64(back_ns, s->touched_ns);
        }
    }
    for (u32 i = 0; i < m->n_owners; i++)
        m->owners[i]->used -= min_u64(back_ns, m->owners[i]->used);
}

void series_zero(struct metrics *m, const struct instrument *in)
{
    for (u32 i = 0; i <= m->slot_mask; i++) {
        struct series *s = m->slots[i].s;
        if (s && s->stream->id >= in->first && s->stream->id < in->first + in->n)
            s->now.i = 0;
    }
}

/* What was not touched for long and has been told to whoever pushes. Open addressing: the table is filled anew. */
void series_sweep(struct metrics *m)
{
    u32 kept = 0, n = m->slot_mask + 1;
    struct series **all = malloc((m->n_series + 1) * sizeof(*all));
    if (!all)
        return;
    for (u32 i = 0; i < n; i++) {
        struct series *s = m->slots[i].s;
        if (!s)
            continue;
        bool told = !m->o.push || !s->changed;
        if (told && expired(m, s->touched_ns))
            series_drop(m, s);
        else
            all[kept++] = s;
    }
    memset(m->slots, 0, n * sizeof(*m->slots));
    for (u32 i = 0; i < kept; i++)
        slot_put(m, all[i]->hash, all[i]);
    free(all);
    owners_sweep(m);
}

void series_free_all(struct metrics *m)
{
    for (u32 i = 0; m->slots && i <= m->slot_mask; i++)
        if (m->slots[i].s)
            series_drop(m, m->slots[i].s);
    while (m->n_owners)
        owner_drop(m, m->n_owners - 1);
    free(m->slots);
    m->slots = NULL;
}
