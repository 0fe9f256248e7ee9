/* The grammar of `at:` and `until:`:
 *
 *     native:OBJECT:SYMBOL      OBJECT: path, file name or glob, without a colon; SYMBOL may hold colons (ns::f)
 *     usdt:OBJECT:PROVIDER:NAME
 *     exec:GLOB
 *     python:MODULE:QUALNAME    both patterns of fnmatch; QUALNAME as in __qualname__ ("Runner.run", "f.<locals>.g")
 */
#include "config/rules.h"

#include <fnmatch.h>

const char *const rule_place_name[] = { "native", "usdt", "exec", "python", "go", "http" };

static int copy(struct slice s, char *out, size_t size, const char *what, char *err, size_t err_size)
{
    if (!s.n || s.n >= size) {
        snprintf(err, err_size, s.n ? "the %s is too long" : "the %s is missing", what);
        return -EINVAL;
    }
    memcpy(out, s.p, s.n);
    out[s.n] = 0;
    return 0;
}

/* Cuts the text up to the next colon off the front. False without one: then all of it. */
static bool cut(struct slice *text, struct slice *ret)
{
    ptrdiff_t colon = slice_find(*text, ':');
    *ret = colon < 0 ? *text : slice_head(*text, (size_t)colon);
    *text = slice_from(*text, colon < 0 ? text->n : (size_t)colon + 1);
    return colon >= 0;
}

static int parse_provider(struct slice text, char *provider, size_t provider_size, char *name, size_t name_size, char *err,
                          size_t err_size)
{
    struct slice p;
    if (!cut(&text, &p)) {
        snprintf(err, err_size, "a USDT probe is written usdt:OBJECT:PROVIDER:NAME");
        return -EINVAL;
    }
    int code = copy(p, provider, provider_size, "provider", err, err_size);
    return code ? code : copy(text, name, name_size, "probe's name", err, err_size);
}

static int unknown_place(struct slice word, char *err, size_t err_size)
{
    char text[40];
    snprintf(text, sizeof(text), "%.*s", (int)min_u64(word.n, 39), word.n ? (const char *)word.p : "");
    const char *near = nearest_word(text, rule_place_name, AT_HTTP + 1);
    if (near)
        snprintf(err, err_size, "«%s:» is no kind of place (did you mean «%s:»?)", text, near);
    else
        snprintf(err, err_size,
                 "«%s» is no place: native:OBJECT:SYMBOL, usdt:OBJECT:PROVIDER:NAME, exec:GLOB or python:MODULE:QUALNAME", text);
    return -EINVAL;
}

static int copy_python(struct slice s, char *out, size_t size, const char *what, char *err, size_t err_size)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] == ':' || s.p[i] == 0x7f) {
            snprintf(err, err_size, "a %s holds no blanks and no colon", what);
            return -EINVAL;
        }
    return copy(s, out, size, what, err, err_size);
}

static int parse_python(struct slice text, struct slice module, struct rule *r, char *err, size_t err_size)
{
    if (slice_find(module, '/') >= 0) {
        snprintf(err, err_size, "a module is written with dots (app.jobs), not as a path");
        return -EINVAL;
    }
    int code = copy_python(module, r->object, sizeof(r->object), "module", err, err_size);
    return code ? code : copy_python(text, r->symbol, sizeof(r->symbol), "function", err, err_size);
}

static const char *how_written(enum rule_place at)
{
    switch (at) {
    case AT_NATIVE:
        return "a function is written native:OBJECT:SYMBOL, OBJECT being a path, a file name or a glob";
    case AT_PYTHON:
        return "a Python function is written python:MODULE:QUALNAME, as in python:app.jobs:Runner.run";
    default:
        return "a USDT probe is written usdt:OBJECT:PROVIDER:NAME";
    }
}

int place_parse(struct slice text, struct rule *r, char *err, size_t err_size, size_t *ret_column)
{
    struct slice all = text, word, object;
    cut(&text, &word);
    *ret_column = 0;
    size_t at = 0;
    while (at <= AT_HTTP && !slice_eq(word, rule_place_name[at]))
        at++;
    if (at > AT_HTTP)
        return unknown_place(word, err, err_size);
    r->at = (enum rule_place)at;
    if (at > AT_PYTHON) {
        snprintf(err, err_size, "«%s:» is not supported yet (native:, usdt:, exec: and python: are)", rule_place_name[at]);
        return -EINVAL;
    }
    *ret_column = (size_t)(text.p - all.p);
    if (at == AT_EXEC)
        return copy(text, r->object, sizeof(r->object), "program (a glob over its path or name)", err, err_size);
    if (!cut(&text, &object)) {
        snprintf(err, err_size, "%s", how_written(r->at));
        return -EINVAL;
    }
    if (at == AT_PYTHON)
        return parse_python(text, object, r, err, err_size);
    int code = copy(object, r->object, sizeof(r->object), "object (path, file name or glob)", err, err_size);
    if (code)
        return code;
    *ret_column = (size_t)(text.p - all.p);
    return at == AT_NATIVE ? copy(text, r->symbol, sizeof(r->symbol), "symbol", err, err_size)
                           : parse_provider(text, r->provider, sizeof(r->provider), r->symbol, sizeof(r->symbol), err, err_size);
}

static int until_python(struct slice text, struct rule *r, char *err, size_t err_size)
{
    struct slice module;
    text = slice_from(text, slice_starts(text, "python:") ? 7 : 0);
    if (!cut(&text, &module)) {
        snprintf(err, err_size, "%s", how_written(AT_PYTHON));
        return -EINVAL;
    }
    int code = copy_python(module, r->end_provider, sizeof(r->end_provider), "module", err, err_size);
    return code ? code : copy_python(text, r->end_symbol, sizeof(r->end_symbol), "function", err, err_size);
}

/* "PROVIDER:NAME", or the long form usdt:OBJECT:PROVIDER:NAME with the object of `at:`. */
int until_parse(struct slice text, struct rule *r, char *err, size_t err_size, size_t *ret_column)
{
    *ret_column = 0;
    if (r->at == AT_PYTHON)
        return until_python(text, r, err, err_size);
    if (r->at != AT_USDT) {
        snprintf(err, err_size, "«until» belongs to usdt: and python: places; functions end when they return");
        return -EINVAL;
    }
    if (slice_starts(text, "usdt:")) {
        struct slice object;
        text = slice_from(text, 5);
        cut(&text, &object);
        if (!slice_eq(object, r->object)) {
            snprintf(err, err_size, "the end must be in the same object as the start");
            return -EINVAL;
        }
    }
    return parse_provider(text, r->end_provider, sizeof(r->end_provider), r->end_symbol, sizeof(r->end_symbol), err, err_size);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* The user may name the program through a symbolic link; the kernel tells the file behind it. */
static bool resolves_to(const char *object, const char *path)
{
    cleanup(freep) char *real = realpath(object, NULL);
    return real && !strcmp(real, path);
}

bool rule_object_matches(const char *object, const char *path)
{
    const char *subject = strchr(object, '/') ? path : base_name(path);
    if (!strcmp(object, subject))
        return true;
    if (strpbrk(object, "*?["))
        return !fnmatch(object, subject, 0);
    if (strchr(object, '/'))
        return resolves_to(object, path);
    /* libssl or libssl.so means libssl.so.3 as well */
    size_t n = strlen(object);
    if (strncmp(object, "lib", 3) || strncmp(subject, object, n))
        return false;
    return !strncmp(subject + n, ".so", 3) || (n > 3 && !strcmp(object + n - 3, ".so") && subject[n] == '.');
}
