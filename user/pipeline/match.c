/* Globs are fnmatch(3)s. What a signal does not have (a body of a span, a kind of a record) never matches. */
#include "pipeline/match.h"

#include <fnmatch.h>

static int text_copy(const char **text)
{
    if (!*text)
        return 0;
    *text = strdup(*text);
    return *text ? 0 : -ENOMEM;
}

int match_copy(struct match *to, const struct match *from)
{
    struct match m = *from;
    int code = text_copy(&m.service) | text_copy(&m.name) | text_copy(&m.body) | text_copy(&m.attr) | text_copy(&m.value);
    if (code)
        match_done(&m);
    else
        *to = m;
    return code ? -ENOMEM : 0;
}

void match_done(struct match *m)
{
    free((char *)(uintptr_t)m->service);
    free((char *)(uintptr_t)m->name);
    free((char *)(uintptr_t)m->body);
    free((char *)(uintptr_t)m->attr);
    free((char *)(uintptr_t)m->value);
    *m = (struct match){ 0 };
}

const char *attr_as_text(const struct attr *a, char *buf, size_t size)
{
    switch ((enum attr_type)a->type) {
    case ATTR_STR:
        return a->s;
    case ATTR_INT:
        snprintf(buf, size, "%lld", (long long)a->i);
        return buf;
    case ATTR_DOUBLE:
        snprintf(buf, size, "%.17g", a->d);
        return buf;
    case ATTR_BOOL:
        return a->b ? "true" : "false";
    case ATTR_STRV:
        return NULL;
    }
    return NULL;
}

static bool glob(const char *pattern, const char *text) { return !pattern || (text && !fnmatch(pattern, text, 0)); }

static bool has_attr(const struct match *m, const struct attr_set *attrs, const struct resource *r)
{
    char buf[48];
    if (!m->attr)
        return true;
    const struct attr *a = attr_get(attrs, m->attr);
    if (!a && r)
        a = attr_get(&r->attrs, m->attr);
    return a && (!m->value || glob(m->value, attr_as_text(a, buf, sizeof(buf))));
}

/* What joined a span to its parent is a number until it is exported; here it can be asked like any attribute. */
static bool span_has_attr(const struct match *m, const struct span *s)
{
    if (!m->attr || strcmp(m->attr, "wftrace.parent.by") != 0)
        return has_attr(m, &s->attrs, s->resource);
    return s->join < JOIN_MAX && glob(m->value, join_name[s->join]);
}

bool match_span(const struct match *m, const struct span *s)
{
    u64 took = s->end_ns > s->start_ns ? s->end_ns - s->start_ns : 0;
    return (!m->kind || m->kind == s->kind) && (!m->error || s->status == STATUS_ERROR) && took >= m->min_ns &&
           (!m->max_ns || took <= m->max_ns) && glob(m->name, s->name) && glob(m->service, resource_service(s->resource)) &&
           span_has_attr(m, s) && !m->body;
}

bool match_log(const struct match *m, const struct log_record *l)
{
    return l->severity >= m->min_severity && (!m->max_severity || l->severity <= m->max_severity) &&
           glob(m->name, l->event_name ? l->event_name
                         : m->name     ? ""
                                       : NULL) &&
           glob(m->body, l->body) && glob(m->service, resource_service(l->resource)) && has_attr(m, &l->attrs, l->resource) &&
           !m->kind && !m->error;
}
