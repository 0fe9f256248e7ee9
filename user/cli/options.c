/* Options: `--name value`, `--name=value`, `-x value`, `-xvalue`, flags together (`-qv`), `--` ends them. */
#include "cli/cli.h"

#define SENTENCE(...) (snprintf(err, err_size, __VA_ARGS__), -1)

struct words {
    int argc;
    char **argv;
    int at;
};

static bool option_is_for(const struct option *opt, const struct command *c)
{
    return (opt->group & (c->takes | TAKES_COMMON)) != 0;
}

static const struct option *option_named(const struct command *c, const char *name, size_t len)
{
    for (const struct option *opt = option_table; opt->name; opt++)
        if (option_is_for(opt, c) && strlen(opt->name) == len && !memcmp(opt->name, name, len))
            return opt;
    return NULL;
}

static const struct option *option_lettered(const struct command *c, char letter)
{
    for (const struct option *opt = option_table; opt->name; opt++)
        if (option_is_for(opt, c) && opt->letter == letter)
            return opt;
    return NULL;
}

static int option_unknown(const struct command *c, const char *word, char *err, size_t err_size)
{
    const char *names[64];
    char bare[128];
    size_t n = 0;
    snprintf(bare, sizeof(bare), "%s", word);
    bare[strcspn(bare, "=")] = 0;
    for (const struct option *opt = option_table; opt->name && n < ARRAY_LEN(names); opt++)
        if (option_is_for(opt, c) && opt->help)
            names[n++] = opt->name;
    const char *near = nearest_word(bare, names, n);
    for (const struct option *opt = option_table; opt->name; opt++)
        if (!strcmp(opt->name, bare))
            return SENTENCE("%s takes no --%s", c->name, bare);
    if (near)
        return SENTENCE("%s: no option --%s; did you mean --%s?", c->name, bare, near);
    return SENTENCE("%s: no option --%s", c->name, bare);
}

static int value_missing(const struct option *opt, char *err, size_t err_size)
{
    return SENTENCE("--%s wants a value: --%s %s", opt->name, opt->name, opt->value);
}

static int parse_long(const struct command *c, struct words *w, struct options *o, char *err, size_t err_size)
{
    const char *word = w->argv[w->at++] + 2;
    size_t len = strcspn(word, "=");
    const struct option *opt = option_named(c, word, len);
    if (!opt)
        return option_unknown(c, word, err, err_size);
    if (!opt->value)
        return word[len] ? SENTENCE("--%s takes no value", opt->name) : option_take(opt, o, NULL, err, err_size);
    if (word[len])
        return option_take(opt, o, word + len + 1, err, err_size);
    if (w->at == w->argc)
        return value_missing(opt, err, err_size);
    return option_take(opt, o, w->argv[w->at++], err, err_size);
}

static int parse_letters(const struct command *c, struct words *w, struct options *o, char *err, size_t err_size)
{
    for (const char *p = w->argv[w->at++] + 1; *p; p++) {
        const struct option *opt = option_lettered(c, *p);
        if (!opt)
            return SENTENCE("%s: no option -%c; wftrace help %s lists them", c->name, *p, c->name);
        int code = 0;
        if (!opt->value)
            code = option_take(opt, o, NULL, err, err_size);
        else if (p[1])
            return option_take(opt, o, p + 1, err, err_size);
        else
            return w->at == w->argc ? value_missing(opt, err, err_size) : option_take(opt, o, w->argv[w->at++], err, err_size);
        if (code)
            return code;
    }
    return 0;
}

/* Words that are no options are moved to the front, in order, unless the first one ends the options. */
static int parse_words(const struct command *c, struct words *w, struct options *o, char *err, size_t err_size)
{
    while (w->at < w->argc) {
        char *word = w->argv[w->at];
        int code = 0;
        if (!strcmp(word, "--")) {
            w->at++;
            break;
        }
        if (word[0] == '-' && word[1] == '-')
            code = parse_long(c, w, o, err, err_size);
        else if (word[0] == '-' && word[1])
            code = parse_letters(c, w, o, err, err_size);
        else if (c->rest_is_command)
            break;
        else
            o->rest[o->n_rest++] = w->argv[w->at++];
        if (code)
            return -EINVAL;
    }
    while (w->at < w->argc)
        o->rest[o->n_rest++] = w->argv[w->at++];
    o->rest[o->n_rest] = NULL; /* argv ends with NULL: there is room */
    return 0;
}

int options_parse(const struct command *c, int argc, char **argv, struct options *ret, char *err, size_t err_size)
{
    struct words w = { argc, argv, 0 };
    ret->rest = argv;
    ret->n_rest = 0;
    return parse_words(c, &w, ret, err, err_size);
}

static const struct {
    const char *name;
    u64 ns;
} units[] = {
    { "ms", NSEC_PER_MSEC },    { "s", NSEC_PER_SEC },        { "", NSEC_PER_SEC },
    { "m", 60 * NSEC_PER_SEC }, { "h", 3600 * NSEC_PER_SEC },
};

int duration_parse(const char *text, u64 *ret_ns)
{
    size_t digits = strspn(text, "0123456789");
    u64 n;
    int err = slice_u64(slice_of(text, digits), &n);
    if (err)
        return err;
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (strcmp(units[i].name, text + digits))
            continue;
        if (!n || n > 366ull * 86400 * NSEC_PER_SEC / units[i].ns)
            return -ERANGE;
        *ret_ns = n * units[i].ns;
        return 0;
    }
    return -EINVAL;
}
