/* wftrace rules check|list: rule files read as `run` would read them. */
#include "cli/cli.h"
#include "config/watch.h"
#include "probe/rule_sites.h"
#include "workflow/packs.h"

#include <sys/utsname.h>

static const char *place_name(enum rule_place at)
{
    static const char *const names[] = { "native", "usdt", "exec", "python", "go", "http" };
    return at < ARRAY_LEN(names) ? names[at] : "?";
}

static int compile_all(const struct rules *r, char *err, size_t err_size)
{
    struct watch_book book = { 0 };
    int code = watch_book_make(r, &book, err, err_size);
    watch_book_done(&book);
    if (code)
        return code;
    struct rule_plan plan;
    char why[400];
    for (size_t i = 0; i < r->n; i++) {
        if (!rule_plan_make(&r->v[i], &plan, why, sizeof(why)))
            continue;
        snprintf(err, err_size, "%s:%d: %s", r->v[i].file, r->v[i].line, why);
        return -EINVAL;
    }
    return 0;
}

/* Where each rule would attach on this machine. A place that isn't there is no error of the file's form, but it is what
 * somebody who checks wants to know: status 1. */
static int check_places(const struct rules *r, bool quiet)
{
    struct utsname u = { 0 };
    unsigned major = 0, minor = 0;
    (void)uname(&u);
    (void)sscanf(u.release, "%u.%u", &major, &minor);
    FILE *out = quiet ? fopen("/dev/null", "we") : stdout;
    u32 kernel = (major & 0xffff) << 16 | (minor & 0xffff);
    int nowhere = out ? rules_check(r, kernel, kernel >= (6u << 16 | 16), out) : 0;
    if (quiet && out)
        fclose(out);
    if (nowhere <= 0 && !quiet)
        printf("%zu rule%s, all fine\n", r->n, r->n == 1 ? "" : "s");
    return nowhere > 0 ? -ENOENT : 0;
}

static void print_rule(const struct rule *r)
{
    printf("%-28s %-11s %s:%s%s%s%s%s\n", r->name, r->type, place_name(r->at), r->object, r->provider[0] ? ":" : "", r->provider,
           r->symbol[0] ? ":" : "", r->symbol);
    for (size_t i = 0; i < r->n_attrs; i++)
        printf("    %s\n", r->attrs[i].key);
}

static void print_packs(const struct rules *r)
{
    for (size_t i = 0; i < r->n_packs; i++) {
        const struct pack *p = &r->packs[i];
        printf("pack %s: %s %s%s\n", p->name, p->engine, p->versions, p->enabled ? "" : " (off)");
        for (size_t k = 0; k < r->n; k++)
            if (r->v[k].pack == p->name)
                printf("  %-12s %-24s %-11s %s:%s%s%s\n", r->v[k].label ? r->v[k].label : "", r->v[k].name, r->v[k].type,
                       place_name(r->v[k].at), r->v[k].object, r->v[k].symbol[0] ? ":" : "", r->v[k].symbol);
    }
}

/* The packs of this binary come first, for a user's file may speak of them; what is shown is the rest. */
static int load_all(struct rules *r, const struct options *o, size_t *ret_own, char *err, size_t err_size)
{
    int code = packs_load(r, err, err_size);
    *ret_own = r->n;
    for (int i = 1; i < o->n_rest && !code; i++)
        code = rules_load(r, o->rest[i], err, err_size);
    return code ? code : compile_all(r, err, err_size);
}

static int rules_main(struct options *o)
{
    struct rules r = { 0 };
    char err[2048] = "";
    size_t own = 0;
    bool list = !strcmp(o->rest[0], "list");
    if (!list && strcmp(o->rest[0], "check"))
        return usage_error(NULL, "rules: '%s'? It is: wftrace rules check FILE…, wftrace rules list FILE…", o->rest[0]);
    if (!list && o->n_rest < 2)
        return usage_error(NULL, "rules %s: which file?", o->rest[0]);
    int code = load_all(&r, o, &own, err, sizeof(err));
    struct rules shown = { .v = r.v + own, .n = r.n - own, .sites = r.sites };
    if (code)
        complain("%s", err);
    else if (!list)
        code = check_places(&shown, o->quiet);
    else if (o->n_rest < 2)
        print_packs(&r);
    for (size_t i = 0; list && !code && i < shown.n; i++)
        print_rule(&shown.v[i]);
    rules_done(&r);
    return code == -ENOENT && !err[0] ? EXIT_RUNTIME : code ? EXIT_USAGE : EXIT_FINE;
}

const struct command command_rules = {
    .name = "rules",
    .usage = "check FILE… | list [FILE…]",
    .summary = "read rule files and say what is wrong, or what they watch",
    .more = "An error names file, line, column and, for a mistyped word, the nearest right one. Symbols are looked up when a\n"
            "trace starts, not here. Without files, list shows the packs of this wftrace and the labels of their activities.",
    .takes = 0,
    .min_rest = 1,
    .max_rest = -1,
    .rest_name = "check or list",
    .run = rules_main,
};
