/* «errors,slow=5s,name=nightly*,ratio=0.05»: tail rules in one word, for the command line. */
#include "pipeline/tail.h"

#include <math.h>

#define BAD(...) (snprintf(err, err_size, __VA_ARGS__), -EINVAL)

static int duration(struct slice text, u64 *ret)
{
    static const struct {
        const char *name;
        u64 ns;
    } units[] = { { "ms", NSEC_PER_MSEC }, { "s", NSEC_PER_SEC }, { "m", 60 * NSEC_PER_SEC }, { "h", 3600 * NSEC_PER_SEC } };
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t n = strlen(units[i].name);
        u64 v;
        if (text.n <= n || memcmp(text.p + text.n - n, units[i].name, n) || slice_u64(slice_head(text, text.n - n), &v))
            continue;
        if (!v || v > 31536000ull * NSEC_PER_SEC / units[i].ns)
            return -EINVAL;
        *ret = v * units[i].ns;
        return 0;
    }
    return -EINVAL;
}

static int ratio(struct slice text, double *ret)
{
    char copy[32], *end;
    if (!text.n || text.n >= sizeof(copy))
        return -EINVAL;
    memcpy(copy, text.p, text.n);
    copy[text.n] = 0;
    double v = strtod(copy, &end);
    if (*end || !isfinite(v) || v < 0 || v > 1)
        return -EINVAL;
    *ret = v;
    return 0;
}

static int take(struct slice item, struct tail_options *o, const char **names, char *err, size_t err_size)
{
    if (slice_eq(item, "errors"))
        o->errors = true;
    else if (slice_starts(item, "slow=") && !duration(slice_from(item, 5), &o->slow_ns))
        return 0;
    else if (slice_starts(item, "ratio=") && !ratio(slice_from(item, 6), &o->ratio))
        return 0;
    else if (slice_starts(item, "name=") && item.n > 5 && o->n_names < TAIL_NAMES)
        return (names[o->n_names++] = strndup((const char *)item.p + 5, item.n - 5)) ? 0 : -ENOMEM;
    else
        return BAD("'%.*s' is no tail rule; write errors, slow=5s, name=GLOB or ratio=0.05, with commas",
                   (int)min_u64(item.n, 80), (const char *)item.p);
    return 0;
}

int tail_parse(const char *text, struct tail_options *ret, char *err, size_t err_size)
{
    struct tail_options o = { .enabled = true };
    const char **names = calloc(TAIL_NAMES, sizeof(*names));
    int code = names ? 0 : -ENOMEM;
    struct slice rest = slice_str(text);
    if (!rest.n)
        code = BAD("no tail rule; write errors, slow=5s, name=GLOB or ratio=0.05, with commas");
    while (!code && rest.n) {
        ptrdiff_t comma = slice_find(rest, ',');
        code = take(comma < 0 ? rest : slice_head(rest, (size_t)comma), &o, names, err, err_size);
        rest = comma < 0 ? slice_of(NULL, 0) : slice_from(rest, (size_t)comma + 1);
    }
    if (code) {
        for (size_t i = 0; names && i < o.n_names; i++)
            free((char *)(uintptr_t)names[i]);
        free(names);
        return code;
    }
    o.names = names;
    *ret = o;
    return 0;
}
