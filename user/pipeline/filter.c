/* filter: what any of `drop` fits goes, and what none of `keep` fits, when there are any. */
#include "pipeline/match.h"

struct filter {
    struct match *drop, *keep;
    size_t n_drop, n_keep;
};

static int matches_copy(const struct match *from, size_t n, struct match **ret, size_t *ret_n)
{
    int code = 0;
    *ret = calloc(n ? n : 1, sizeof(**ret));
    if (!*ret)
        return -ENOMEM;
    for (; *ret_n < n && !code; *ret_n += !code)
        code = match_copy(&(*ret)[*ret_n], &from[*ret_n]);
    return code;
}

static void matches_free(struct match *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        match_done(&v[i]);
    free(v);
}

static void filter_close(void *self)
{
    struct filter *f = self;
    matches_free(f->drop, f->n_drop);
    matches_free(f->keep, f->n_keep);
    free(f);
}

static int filter_open(const struct processor_spec *spec, void **ret, char *err, size_t err_size)
{
    const struct filter_options *o = &spec->filter;
    struct filter *f = calloc(1, sizeof(*f));
    if (!f)
        return -ENOMEM;
    if (!o->n_drop && !o->n_keep) {
        free(f);
        snprintf(err, err_size, "filter: neither `drop` nor `keep` says anything");
        return -EINVAL;
    }
    int code = matches_copy(o->drop, o->n_drop, &f->drop, &f->n_drop);
    if (!code)
        code = matches_copy(o->keep, o->n_keep, &f->keep, &f->n_keep);
    if (code)
        filter_close(f);
    else
        *ret = f;
    return code;
}

static enum fate filter_on_span(void *self, struct span *s)
{
    const struct filter *f = self;
    bool keep = !f->n_keep;
    for (size_t i = 0; i < f->n_drop; i++)
        if (match_span(&f->drop[i], s))
            return FATE_DROP;
    for (size_t i = 0; i < f->n_keep && !keep; i++)
        keep = match_span(&f->keep[i], s);
    return keep ? FATE_KEEP : FATE_DROP;
}

static enum fate filter_on_log(void *self, struct log_record *l)
{
    const struct filter *f = self;
    bool keep = !f->n_keep;
    for (size_t i = 0; i < f->n_drop; i++)
        if (match_log(&f->drop[i], l))
            return FATE_DROP;
    for (size_t i = 0; i < f->n_keep && !keep; i++)
        keep = match_log(&f->keep[i], l);
    return keep ? FATE_KEEP : FATE_DROP;
}

const struct processor processor_filter = {
    .name = "filter",
    .help = "drops spans and log records by service, name, attribute, kind, duration, severity",
    .open = filter_open,
    .on_span = filter_on_span,
    .on_log = filter_on_log,
    .close = filter_close,
};
