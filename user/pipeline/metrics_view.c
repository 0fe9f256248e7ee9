/* Instruments and their streams. What each view says overrides what the instrument says, field by field (SDK specification,
 * «View»); a metric that no view selects has its default stream. */
#include "pipeline/metrics_internal.h"

#include <fnmatch.h>

#define EXP_SIZE  160
#define EXP_SCALE 20

static const double seconds[] = { 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10 };

static bool view_selects(const struct metric_view *v, const struct instrument_spec *spec)
{
    if (v->select_name && fnmatch(v->select_name, spec->name, FNM_CASEFOLD))
        return false;
    if (v->select_type != METER_ANY && v->select_type != spec->type)
        return false;
    return !v->select_unit || !strcmp(v->select_unit, spec->unit);
}

static bool listed(const char *const *list, size_t n, const char *key)
{
    for (size_t i = 0; i < n; i++)
        if (!fnmatch(list[i], key, 0))
            return true;
    return false;
}

static void stream_keys(struct metrics *m, struct stream *st, const struct instrument_spec *spec, const struct metric_view *v)
{
    bool opt_in = false;
    for (const char *const *k = spec->keys; k && *k; k++) {
        if (!**k) {
            opt_in = true;
            continue;
        }
        bool want = v && v->include ? listed(v->include, v->n_include, *k) : !opt_in;
        if (!want || (v && listed(v->exclude, v->n_exclude, *k)) || st->n_keys == STREAM_KEYS)
            continue;
        u8 id = key_id(&m->keys, *k);
        if (id != KEY_NONE)
            st->keys[st->n_keys++] = id;
    }
}

/* False: no memory. */
static bool stream_histogram(struct metrics *m, struct stream *st, const struct instrument_spec *spec,
                             const struct metric_view *v, enum metric_aggregation how)
{
    if (how == AGGREGATE_EXPONENTIAL) {
        st->kind = METRIC_EXP_HISTOGRAM;
        st->max_size = v && v->max_size ? (u32)min_u64(max_u64(v->max_size, 2), EXP_SIZE_MAX) : EXP_SIZE;
        st->max_scale = v && v->max_size ? v->max_scale : EXP_SCALE;
        st->max_scale = st->max_scale > EXP_SCALE ? EXP_SCALE : st->max_scale < -10 ? -10 : st->max_scale;
        return true;
    }
    bool own = v && v->aggregation == AGGREGATE_EXPLICIT && v->bounds;
    const double *bounds = own ? v->bounds : spec->bounds ? spec->bounds : seconds;
    size_t n = own ? v->n_bounds : spec->bounds ? spec->n_bounds : ARRAY_LEN(seconds);
    st->kind = METRIC_HISTOGRAM;
    st->n_bounds = (u32)min_u64(n, BOUNDS_MAX);
    double *copy = malloc((st->n_bounds + 1) * sizeof(*copy));
    if (copy)
        memcpy(copy, bounds, st->n_bounds * sizeof(*copy));
    st->bounds = copy;
    return copy;
}

static enum metric_aggregation aggregation_of(const struct metrics *m, const struct instrument_spec *spec,
                                              const struct metric_view *v)
{
    if (v && v->aggregation != AGGREGATE_DEFAULT)
        return v->aggregation;
    if (spec->type == METER_HISTOGRAM)
        return m->o.exponential ? AGGREGATE_EXPONENTIAL : AGGREGATE_EXPLICIT;
    return spec->type == METER_GAUGE ? AGGREGATE_LAST : AGGREGATE_SUM;
}

static u32 limit_of(const struct metrics *m, const struct instrument_spec *spec, const struct metric_view *v)
{
    u32 own = m->o.limits[spec->type];
    return v && v->limit ? v->limit : own ? own : m->o.limits[METER_ANY];
}

static bool stream_make(struct metrics *m, const struct instrument_spec *spec, const struct metric_view *v)
{
    enum metric_aggregation how = aggregation_of(m, spec, v);
    if (how == AGGREGATE_DROP)
        return true;
    if (m->n_streams == STREAMS_MAX)
        return false;
    struct stream *st = &m->streams[m->n_streams];
    *st = (struct stream){ .name = intern(v && v->name ? v->name : spec->name),
                           .unit = intern(spec->unit ? spec->unit : ""),
                           .description = intern(v && v->description ? v->description
                                                 : spec->description ? spec->description
                                                                     : ""),
                           .scope = intern(spec->scope),
                           .instrument = spec->type,
                           .is_int = spec->is_int,
                           .monotonic = spec->type == METER_COUNTER || spec->type == METER_HISTOGRAM,
                           .limit = limit_of(m, spec, v),
                           .id = m->n_streams };
    stream_keys(m, st, spec, v);
    if (how == AGGREGATE_EXPLICIT || how == AGGREGATE_EXPONENTIAL) {
        if (!stream_histogram(m, st, spec, v, how))
            return false;
    } else {
        st->kind = how == AGGREGATE_LAST ? METRIC_GAUGE : METRIC_SUM;
    }
    m->n_streams++;
    return true;
}

static struct instrument *instrument_known(struct metrics *m, const struct instrument_spec *spec)
{
    for (struct instrument *in = m->instruments; in; in = in->next)
        if (!strcmp(in->name, spec->name) && in->type == spec->type)
            return in;
    return NULL;
}

struct instrument *instrument_make(struct metrics *m, const struct instrument_spec *spec)
{
    struct instrument *in = instrument_known(m, spec);
    if (in || !(in = calloc(1, sizeof(*in))))
        return in;
    *in = (struct instrument){ .name = intern(spec->name), .type = spec->type, .is_int = spec->is_int, .first = m->n_streams };
    bool selected = false, room = true;
    for (size_t i = 0; i < m->o.n_views && room; i++) {
        if (!view_selects(&m->o.views[i], spec))
            continue;
        selected = true;
        room = stream_make(m, spec, &m->o.views[i]);
    }
    if (!selected)
        room = stream_make(m, spec, NULL);
    in->n = m->n_streams - in->first;
    in->next = m->instruments;
    m->instruments = in;
    return room ? in : NULL;
}
