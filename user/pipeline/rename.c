/* rename: span names by pattern, for names that hold what belongs into attributes. */
#include "pipeline/match.h"
#include "pipeline/pattern.h"

#include <ctype.h>

#define NAME_MAX_BYTES 512

struct rename_rule {
    struct pattern *pattern;
    char *name;
};
struct rename {
    struct match when;
    size_t n;
    struct rename_rule rules[];
};

struct out {
    char text[NAME_MAX_BYTES];
    size_t n;
};

static void out_add(struct out *o, struct slice s)
{
    size_t n = min_u64(s.n, sizeof(o->text) - o->n);
    if (n)
        memcpy(o->text + o->n, s.p, n);
    o->n += n;
}

/* {attr}: its text, or nothing. Returns what follows the brace. */
static const char *out_attr(struct out *o, const char *at, const struct span *s)
{
    const char *end = strchr(at, '}');
    char key[128], buf[48];
    if (!end || (size_t)(end - at) >= sizeof(key)) {
        out_add(o, slice_of("{", 1));
        return at;
    }
    memcpy(key, at, (size_t)(end - at));
    key[end - at] = 0;
    const struct attr *a = attr_get(&s->attrs, key);
    const char *text = a ? attr_as_text(a, buf, sizeof(buf)) : NULL;
    if (text)
        out_add(o, slice_str(text));
    return end + 1;
}

static void expand(struct out *o, const char *name, const struct slice *g, size_t groups, const struct span *s)
{
    for (const char *p = name; *p;) {
        if (p[0] == '$' && isdigit((u8)p[1])) {
            size_t i = (size_t)(p[1] - '0');
            if (i < groups)
                out_add(o, g[i]);
            p += 2;
        } else if (*p == '{') {
            p = out_attr(o, p + 1, s);
        } else {
            out_add(o, slice_of(p++, 1));
        }
    }
}

static enum fate rename_on_span(void *self, struct span *s)
{
    struct rename *r = self;
    struct slice g[PATTERN_GROUPS];
    if (!match_span(&r->when, s))
        return FATE_KEEP;
    for (size_t i = 0; i < r->n; i++) {
        size_t groups = pattern_match(r->rules[i].pattern, slice_str(s->name), 0, g);
        if (!groups)
            continue;
        struct out o = { .n = 0 };
        expand(&o, r->rules[i].name, g, groups, s);
        if (o.n)
            span_set_name(s, slice_of(o.text, o.n));
        break;
    }
    return FATE_KEEP;
}

static void rename_close(void *self)
{
    struct rename *r = self;
    for (size_t i = 0; i < r->n; i++) {
        pattern_free(r->rules[i].pattern);
        free(r->rules[i].name);
    }
    match_done(&r->when);
    free(r);
}

static int rename_open(const struct processor_spec *spec, void **ret, char *err, size_t err_size)
{
    const struct rename_options *o = &spec->rename;
    struct rename *r = calloc(1, sizeof(*r) + o->n * sizeof(r->rules[0]));
    if (!r)
        return -ENOMEM;
    int code = match_copy(&r->when, &o->when);
    for (size_t i = 0; !code && i < o->n; i++) {
        r->n++;
        if (!o->steps[i].pattern || !o->steps[i].name || !*o->steps[i].name) {
            snprintf(err, err_size, "rename: a step wants a pattern and a name");
            code = -EINVAL;
            break;
        }
        code = pattern_new(o->steps[i].pattern, &r->rules[i].pattern, err, err_size);
        if (!code && !(r->rules[i].name = strdup(o->steps[i].name)))
            code = -ENOMEM;
    }
    if (code)
        rename_close(r);
    else
        *ret = r;
    return code;
}

const struct processor processor_rename = {
    .name = "rename",
    .help = "writes span names anew by pattern: groups as $1, attributes as {key}",
    .open = rename_open,
    .on_span = rename_on_span,
    .close = rename_close,
};
