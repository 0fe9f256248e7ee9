/* A batch as a page. Prometheus wants all series of a name together, whatever service they are of, so metrics are ordered by
 * their translated name first. A resource is job and instance (service.name, service.instance.id; a process without one is
 * host:pid), the rest of it is in target_info. An exponential histogram becomes a classic one: neighbouring buckets are merged
 * until few are left, which loses resolution and nothing else. */
#include "export/prometheus.h"

#include <fnmatch.h>
#include <math.h>

#define EXP_BUCKETS 32 /* of an exponential histogram, at most */

struct identity {
    const struct resource *resource;
    char job[256], instance[272];
};
struct family {
    char name[PROMETHEUS_NAME];
    const struct metric *m;
    const struct identity *id;
    u32 order;
};
struct page {
    struct json *j;
    const struct prometheus_options *o;
    struct prometheus_form form;
    bool escaped;               /* names of labels too */
    char name[PROMETHEUS_NAME]; /* of the family at hand */
    const struct metric *m;
    const struct identity *id;
    struct json labels; /* of the point at hand: a="b",c="d" */
};

static bool is_counter(const struct metric *m) { return m->kind == METRIC_SUM && m->monotonic; }

static void number(struct json *j, double d)
{
    char text[40];
    if (isnan(d) || isinf(d)) {
        json_raw(j, isnan(d) ? "NaN" : d > 0 ? "+Inf" : "-Inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    json_raw(j, text);
}

/* The le of a bucket: OpenMetrics wants a float to look like one. */
static void bound_text(double d, bool openmetrics, char *out, size_t size)
{
    if (isinf(d)) {
        snprintf(out, size, "+Inf");
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(out, size, "%.*g", digits, d);
        if (strtod(out, NULL) == d)
            break;
    }
    if (openmetrics && !strpbrk(out, ".e"))
        strncat(out, ".0", size - strlen(out) - 1);
}

static void escaped_text(struct json *j, const char *s, size_t n, bool quotes)
{
    const char *special = quotes ? "\n\\\"" : "\n\\";
    for (size_t run; n; s += run, n -= run) {
        for (run = 0; run < n && s[run] && !strchr(special, s[run]);)
            run++;
        json_bytes(j, s, run);
        if (run == n)
            return;
        json_raw(j, s[run] == '\n' ? "\\n" : s[run] == '\\' ? "\\\\" : s[run] ? "\\\"" : "");
        run++;
    }
}

static void value_text(struct json *j, const struct attr *a)
{
    char text[40];
    switch ((enum attr_type)a->type) {
    case ATTR_STR:
        escaped_text(j, a->s, a->len, true);
        break;
    case ATTR_INT:
        json_fmt(j, "%lld", (long long)a->i);
        break;
    case ATTR_DOUBLE:
        bound_text(a->d, false, text, sizeof(text));
        json_raw(j, text);
        break;
    case ATTR_BOOL:
        json_raw(j, a->b ? "true" : "false");
        break;
    case ATTR_STRV: /* as JSON, escaped once more */
        json_raw(j, "[");
        for (const char *s = a->s; s < a->s + a->len; s += strlen(s) + 1) {
            json_raw(j, s == a->s ? "\\\"" : ",\\\"");
            escaped_text(j, s, strlen(s), true);
            json_raw(j, "\\\"");
        }
        json_raw(j, "]");
        break;
    }
}

/* --- labels --- */

struct label {
    char name[PROMETHEUS_NAME];
    const struct attr *a;
    const char *text; /* instead of an attribute */
};
#define LABELS_MAX 64
struct labels {
    struct label v[LABELS_MAX];
    u32 n;
};

static void label_add(struct page *p, struct labels *l, const char *key, const struct attr *a, const char *text)
{
    if (l->n == LABELS_MAX || (text && !*text))
        return;
    prometheus_label(key, p->escaped, l->v[l->n].name);
    l->v[l->n].a = a;
    l->v[l->n++].text = text;
}

static int by_label(const void *a, const void *b)
{
    const struct label *l = a, *r = b;
    int names = strcmp(l->name, r->name);
    return names ? names : strcmp(l->a ? l->a->key : "", r->a ? r->a->key : "");
}

static void label_value(struct json *j, const struct label *l)
{
    if (l->text)
        escaped_text(j, l->text, strlen(l->text), true);
    else
        value_text(j, l->a);
}

static void label_name(struct json *j, const char *name)
{
    if (prometheus_is_legacy(name, false)) {
        json_raw(j, name);
        return;
    }
    json_raw(j, "\"");
    escaped_text(j, name, strlen(name), true);
    json_raw(j, "\"");
}

/* Keys that became one name share its label, their values joined by ';' in the keys' order. */
static void labels_write(struct json *j, struct labels *l)
{
    j->n = 0;
    qsort(l->v, l->n, sizeof(*l->v), by_label);
    for (u32 i = 0; i < l->n; i++) {
        bool again = i && !strcmp(l->v[i].name, l->v[i - 1].name);
        if (again) {
            json_raw(j, ";");
        } else {
            json_raw(j, i ? "," : "");
            label_name(j, l->v[i].name);
            json_raw(j, "=\"");
        }
        label_value(j, &l->v[i]);
        if (i + 1 == l->n || strcmp(l->v[i].name, l->v[i + 1].name))
            json_raw(j, "\"");
    }
}

static const char *resource_text(const struct resource *r, const char *key)
{
    const struct attr *a = r ? attr_get(&r->attrs, key) : NULL;
    return a && a->type == ATTR_STR ? a->s : NULL;
}

static void identity_of(const struct resource *r, struct identity *out)
{
    const char *space = resource_text(r, "service.namespace"), *id = resource_text(r, "service.instance.id");
    const char *host = resource_text(r, "host.name");
    const struct attr *pid = r ? attr_get(&r->attrs, "process.pid") : NULL;
    snprintf(out->job, sizeof(out->job), "%s%s%s", space ? space : "", space ? "/" : "", resource_service(r));
    if (pid && pid->type == ATTR_INT) /* one process of the service: its own instance */
        snprintf(out->instance, sizeof(out->instance), "%s:%lld", id ? id : host ? host : "", (long long)pid->i);
    else
        snprintf(out->instance, sizeof(out->instance), "%s", id ? id : host ? host : "");
}

static int by_identity(const void *a, const void *b)
{
    const struct identity *l = *(struct identity *const *)a, *r = *(struct identity *const *)b;
    int job = strcmp(l->job, r->job), instance = job ? job : strcmp(l->instance, r->instance);
    return instance ? instance : l < r ? -1 : 1;
}

/* Two resources with the same job and instance (a user's service.instance.id, say) would make a page that no Prometheus takes:
 * the second one is told apart by a number. */
static void identities_part(struct identity *v, size_t n)
{
    struct identity **order = malloc((n + 1) * sizeof(*order));
    u32 again = 1;
    for (size_t i = 0; order && i < n; i++)
        order[i] = &v[i];
    if (order)
        qsort(order, n, sizeof(*order), by_identity);
    for (size_t i = 1; order && i < n; i++) {
        struct identity *first = order[i - again];
        bool same = !strcmp(order[i]->job, first->job) && !strcmp(order[i]->instance, first->instance);
        again = same ? again + 1 : 1;
        if (same)
            snprintf(order[i]->instance + strlen(order[i]->instance), 16, "#%u", again);
    }
    free(order);
}

/* One for each resource of the batch, in its order. The number of them; NULL: no memory. */
static struct identity *identities_make(const struct metric_batch *b, size_t *ret_n)
{
    struct identity *v = malloc((b->n + 1) * sizeof(*v));
    size_t n = 0;
    for (size_t i = 0; v && i < b->n; i++) {
        if (n && v[n - 1].resource == b->metrics[i].resource)
            continue;
        v[n].resource = b->metrics[i].resource;
        identity_of(v[n].resource, &v[n]);
        n++;
    }
    if (v)
        identities_part(v, n);
    *ret_n = n;
    return v;
}

/* The first pattern that fits decides; «!» in front leaves out. */
static bool is_chosen(const struct prometheus_options *o, const char *key)
{
    for (u32 i = 0; i < o->n_labels; i++) {
        bool out = o->labels[i][0] == '!';
        if (!fnmatch(o->labels[i] + out, key, 0))
            return !out;
    }
    return false;
}

static void labels_of(struct page *p, const struct metric *m, const struct metric_point *point, char *scope, struct labels *l)
{
    l->n = 0;
    label_add(p, l, "job", NULL, p->id->job);
    label_add(p, l, "instance", NULL, p->id->instance);
    for (u16 i = 0; point && i < point->n_attrs; i++)
        label_add(p, l, point->attrs[i].key, &point->attrs[i], NULL);
    for (u16 i = 0; m->resource && i < m->resource->attrs.n; i++)
        if (is_chosen(p->o, m->resource->attrs.v[i].key))
            label_add(p, l, m->resource->attrs.v[i].key, &m->resource->attrs.v[i], NULL);
    if (p->o->no_scope)
        return;
    scope_name(m->scope, scope, 128);
    label_add(p, l, "otel.scope.name", NULL, scope);
    label_add(p, l, "otel.scope.version", NULL, WF_VERSION);
}

/* --- samples --- */

/* name{labels,extra="…"} and a blank. A name that old Prometheus does not know goes inside the braces, in quotes. */
static void sample_begin(struct page *p, const char *suffix, const char *extra, const char *extra_value)
{
    char name[PROMETHEUS_NAME + 16];
    snprintf(name, sizeof(name), "%s%s", p->name, suffix);
    bool legacy = prometheus_is_legacy(name, true);
    json_raw(p->j, legacy ? name : "{");
    if (legacy)
        json_raw(p->j, "{");
    else
        label_name(p->j, name);
    json_raw(p->j, legacy || !p->labels.n ? "" : ",");
    json_bytes(p->j, p->labels.p, p->labels.n);
    if (extra) {
        json_raw(p->j, p->labels.n || !legacy ? "," : "");
        json_raw(p->j, extra);
        json_raw(p->j, "=\"");
        json_raw(p->j, extra_value);
        json_raw(p->j, "\"");
    }
    json_raw(p->j, "} ");
}

/* «# {trace_id="…",span_id="…"} 0.3 1700000000.1», OpenMetrics only. */
static void exemplar_write(struct page *p, const struct exemplar *x)
{
    if (!p->form.openmetrics || !x)
        return;
    json_raw(p->j, " # {");
    if (span_context_valid(&x->context)) {
        json_raw(p->j, "trace_id=");
        json_hex(p->j, x->context.trace_id, TRACE_ID_LEN);
        json_raw(p->j, ",span_id=");
        json_hex(p->j, x->context.span_id, SPAN_ID_LEN);
    }
    json_raw(p->j, "} ");
    number(p->j, x->value);
    json_fmt(p->j, " %llu.%03llu", (unsigned long long)(x->time_ns / NSEC_PER_SEC),
             (unsigned long long)(x->time_ns % NSEC_PER_SEC / NSEC_PER_MSEC));
}

/* The newest exemplar in (low, high]. */
static const struct exemplar *exemplar_in(const struct metric_point *p, double low, double high)
{
    const struct exemplar *best = NULL;
    for (u16 i = 0; i < p->n_exemplars; i++)
        if (p->exemplars[i].value > low && p->exemplars[i].value <= high && (!best || best->time_ns < p->exemplars[i].time_ns))
            best = &p->exemplars[i];
    return best;
}

static void number_write(struct page *p, const struct metric_point *point)
{
    sample_begin(p, is_counter(p->m) ? "_total" : "", NULL, NULL);
    if (point->is_int)
        json_fmt(p->j, "%lld", (long long)point->i);
    else
        number(p->j, point->d);
    if (is_counter(p->m))
        exemplar_write(p, exemplar_in(point, -INFINITY, INFINITY));
    json_raw(p->j, "\n");
}

static void bucket_write(struct page *p, const struct metric_point *point, double low, double high, u64 sum)
{
    char le[40];
    bound_text(high, p->form.openmetrics, le, sizeof(le));
    sample_begin(p, "_bucket", "le", le);
    json_fmt(p->j, "%llu", (unsigned long long)sum);
    exemplar_write(p, exemplar_in(point, low, high));
    json_raw(p->j, "\n");
}

static void explicit_write(struct page *p, const struct metric_point *point)
{
    u64 sum = 0;
    for (u32 i = 0; i <= point->n_bounds; i++) {
        sum += point->counts[i];
        bucket_write(p, point, i ? point->bounds[i - 1] : -INFINITY, i < point->n_bounds ? point->bounds[i] : INFINITY, sum);
    }
}

static u32 side_shift(const struct exp_buckets *b)
{
    u32 by = 0;
    while (b->n && ((b->offset + (s32)b->n - 1) >> by) - (b->offset >> by) + 1 > EXP_BUCKETS / 2)
        by++;
    return by;
}

/* One side, from the smallest value to the largest; for the negative one that is from its last bucket to its first. */
static u64 side_write(struct page *p, const struct metric_point *point, const struct exp_buckets *b, bool negative, double *low,
                      u64 sum)
{
    u32 by = side_shift(b);
    for (u32 i = 0; i < b->n; i++) {
        u32 at = negative ? b->n - 1 - i : i;
        s32 group = (b->offset + (s32)at) >> by;
        bool last = i + 1 == b->n || (b->offset + (s32)(negative ? at - 1 : at + 1)) >> by != group;
        sum += b->counts[at];
        if (!last)
            continue;
        double high = exp2(ldexp((double)(negative ? group : group + 1), (int)by - point->scale));
        bucket_write(p, point, *low, negative ? -high : high, sum);
        *low = negative ? -high : high;
    }
    return sum;
}

static void exponential_write(struct page *p, const struct metric_point *point)
{
    double low = -INFINITY;
    u64 sum = side_write(p, point, &point->negative, true, &low, 0);
    if (point->zero_count) {
        sum += point->zero_count;
        bucket_write(p, point, low, 0, sum);
        low = 0;
    }
    sum = side_write(p, point, &point->positive, false, &low, sum);
    bucket_write(p, point, low, INFINITY, sum);
}

static void histogram_write(struct page *p, const struct metric_point *point)
{
    if (p->m->kind == METRIC_HISTOGRAM)
        explicit_write(p, point);
    else
        exponential_write(p, point);
    sample_begin(p, "_sum", NULL, NULL);
    number(p->j, point->sum);
    json_raw(p->j, "\n");
    sample_begin(p, "_count", NULL, NULL);
    json_fmt(p->j, "%llu\n", (unsigned long long)point->count);
}

/* --- families --- */

static const char *type_of(const struct metric *m)
{
    if (m->kind == METRIC_HISTOGRAM || m->kind == METRIC_EXP_HISTOGRAM)
        return "histogram";
    return is_counter(m) ? "counter" : "gauge";
}

static void header_line(struct page *p, const char *what, const char *text)
{
    char name[PROMETHEUS_NAME + 16];
    snprintf(name, sizeof(name), "%s%s", p->name, is_counter(p->m) && !p->form.openmetrics ? "_total" : "");
    json_raw(p->j, "# ");
    json_raw(p->j, what);
    json_raw(p->j, prometheus_is_legacy(name, true) ? " " : " \"");
    escaped_text(p->j, name, strlen(name), true);
    json_raw(p->j, prometheus_is_legacy(name, true) ? " " : "\" ");
    escaped_text(p->j, text, strlen(text), p->form.openmetrics);
    json_raw(p->j, "\n");
}

static void family_begin(struct page *p)
{
    char unit[96];
    size_t n = strlen(p->name);
    header_line(p, "TYPE", type_of(p->m));
    prometheus_unit(p->m->unit, unit, sizeof(unit));
    size_t k = strlen(unit);
    if (p->form.openmetrics && k && n > k && p->name[n - k - 1] == '_' && !strcmp(p->name + n - k, unit))
        header_line(p, "UNIT", unit);
    if (*p->m->description)
        header_line(p, "HELP", p->m->description);
}

static void metric_write(struct page *p)
{
    struct labels *l = malloc(sizeof(*l));
    char scope[128];
    for (u32 i = 0; l && i < p->m->n_points && !p->j->failed; i++) {
        labels_of(p, p->m, &p->m->points[i], scope, l);
        labels_write(&p->labels, l);
        if (p->m->kind == METRIC_HISTOGRAM || p->m->kind == METRIC_EXP_HISTOGRAM)
            histogram_write(p, &p->m->points[i]);
        else
            number_write(p, &p->m->points[i]);
    }
    if (!l)
        p->j->failed = true;
    free(l);
}

static int by_family(const void *a, const void *b)
{
    const struct family *l = a, *r = b;
    int names = strcmp(l->name, r->name);
    return names ? names : l->order < r->order ? -1 : 1;
}

/* Metrics that share a name but not a type cannot share a page: the first one's type wins. */
static void families_write(struct page *p, const struct family *f, size_t n)
{
    const struct metric *first = NULL;
    for (size_t i = 0; i < n; i++) {
        bool fresh = !i || strcmp(f[i].name, f[i - 1].name);
        p->m = f[i].m;
        p->id = f[i].id;
        memcpy(p->name, f[i].name, sizeof(p->name));
        if (fresh) {
            first = f[i].m;
            family_begin(p);
        }
        if (!strcmp(type_of(first), type_of(f[i].m)))
            metric_write(p);
    }
}

static void target_info(struct page *p, const struct identity *ids, size_t n)
{
    static const struct metric info = { .name = "target", .unit = "", .description = "Target metadata", .kind = METRIC_GAUGE };
    if (!n || p->o->no_target_info)
        return;
    struct labels *l = malloc(sizeof(*l));
    if (!l) {
        p->j->failed = true;
        return;
    }
    p->m = &info;
    snprintf(p->name, sizeof(p->name), p->form.openmetrics ? "target" : "target_info");
    header_line(p, "TYPE", p->form.openmetrics ? "info" : "gauge");
    header_line(p, "HELP", info.description);
    for (size_t i = 0; i < n; i++) {
        const struct resource *r = ids[i].resource;
        if (!r)
            continue;
        l->n = 0;
        label_add(p, l, "job", NULL, ids[i].job);
        label_add(p, l, "instance", NULL, ids[i].instance);
        for (u16 k = 0; k < r->attrs.n; k++)
            if (strcmp(r->attrs.v[k].key, "service.name") && strcmp(r->attrs.v[k].key, "service.namespace") &&
                strcmp(r->attrs.v[k].key, "service.instance.id"))
                label_add(p, l, r->attrs.v[k].key, &r->attrs.v[k], NULL);
        labels_write(&p->labels, l);
        sample_begin(p, p->form.openmetrics ? "_info" : "", NULL, NULL);
        json_raw(p->j, "1\n");
    }
    free(l);
}

void prometheus_write(struct json *j, const struct metric_batch *b, const struct prometheus_options *o,
                      struct prometheus_form form)
{
    bool translated = o->translation == TRANSLATE_ESCAPE || o->translation == TRANSLATE_ESCAPE_SUFFIX;
    struct page p = { .j = j, .o = o, .form = form, .escaped = translated || !form.utf8, .labels = { .max = 256u << 10 } };
    size_t n;
    struct family *f = malloc((b->n + 1) * sizeof(*f));
    struct identity *ids = identities_make(b, &n), *id = ids;
    if (!f || !ids) {
        j->failed = true;
        free(ids);
        free(f);
        return;
    }
    for (size_t i = 0; i < b->n; i++) {
        f[i].m = &b->metrics[i];
        while (id->resource != f[i].m->resource)
            id++;
        f[i].id = id;
        f[i].order = (u32)i;
        prometheus_name(f[i].m, o->translation, form.utf8, f[i].name);
    }
    qsort(f, b->n, sizeof(*f), by_family);
    target_info(&p, ids, n);
    families_write(&p, f, b->n);
    if (form.openmetrics)
        json_raw(j, "# EOF\n");
    j->failed |= p.labels.failed;
    json_done(&p.labels);
    free(ids);
    free(f);
}
