/* `rules check`: for each rule where it would attach on this machine now. */
#include "probe/rule_sites.h"
#include "probe/usdt.h"

#include <glob.h>

enum { IMAGES_MAX = 16 };

struct check {
    FILE *out;
    u32 kernel;
    bool new_nops;
    int placed;
};

static void say_placed(void *arg, const struct rule *r, const char *sentence)
{
    struct check *c = arg;
    UNUSED(r);
    c->placed++;
    fprintf(c->out, "    %s\n", sentence);
}

static void say_note(void *arg, const struct rule *r, const char *sentence)
{
    struct check *c = arg;
    UNUSED(r);
    fprintf(c->out, "    note: %s\n", sentence);
}

/* --- names taken from values --- */
static void warn_cardinality(const struct rule *r, FILE *out)
{
    for (u8 i = 0; i < r->n_attrs; i++) {
        char word[140];
        snprintf(word, sizeof(word), "{%s}", r->attrs[i].key);
        if (r->attrs[i].from.root != SOURCE_CONST && strstr(r->name, word))
            fprintf(out, "    warning: the name holds %s: make sure that it takes few different values; backends group by name\n",
                    word);
    }
}

/* --- what is not there --- */
struct probe_names {
    char words[64][128];
    const char *list[64];
    size_t n;
};
static bool collect_probe(void *arg, const struct usdt_site *s)
{
    struct probe_names *p = arg;
    char word[128];
    snprintf(word, sizeof(word), "%.50s:%.70s", s->provider, s->name);
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->words[i], word))
            return true;
    memcpy(p->words[p->n], word, sizeof(word));
    p->list[p->n] = p->words[p->n];
    return ++p->n < ARRAY_LEN(p->words);
}

static void say_probes(struct check *c, const struct elf_image *image, const struct rule *r)
{
    struct probe_names *p = calloc(1, sizeof(*p));
    char word[640];
    if (!p)
        return;
    usdt_each(image, collect_probe, p);
    snprintf(word, sizeof(word), "%s:%s", r->provider, r->symbol);
    const char *near = p->n ? nearest_word(word, p->list, p->n) : NULL;
    fprintf(c->out, "    no USDT probe «%s» here", word);
    if (near)
        fprintf(c->out, "; nearest name: %s", near);
    else if (p->n)
        fprintf(c->out, "; it has %zu, such as %s", p->n, p->words[0]);
    else
        fprintf(c->out, "; it has none at all");
    fputc('\n', c->out);
    free(p);
}

/* --- images --- */
static int check_image(struct check *c, const struct rule *r, const char *path)
{
    cleanup(elf_closep) struct elf_image *image = NULL;
    int err = elf_open(path, &image);
    if (err) {
        fprintf(c->out, "    %s: %s\n", path, err == -ENOEXEC ? "no ELF file of this kind of machine" : errno_name(err));
        return err;
    }
    struct rule only = *r;
    struct site_book *book = calloc(1, sizeof(*book));
    struct rules one = { .v = &only, .n = 1, .sites = book };
    struct rule_env env = { .kernel = c->kernel,
                            .new_nops = c->new_nops,
                            .after = -1,
                            .runtime = true,
                            .root = "",
                            .note = say_note,
                            .placed = say_placed,
                            .arg = c };
    struct rule_site *v = NULL;
    only.id = 0;
    snprintf(only.object, sizeof(only.object), "%s", path);
    fprintf(c->out, "  %s\n", path);
    int before = c->placed;
    err = book ? rule_sites(&one, image, path, &env, &v) : -ENOMEM;
    free(v);
    free(book);
    if (err < 0)
        fprintf(c->out, "    %s\n", errno_name(err));
    else if (c->placed == before && r->at == AT_USDT)
        say_probes(c, image, r);
    return 0;
}

/* Files that the object may mean: a path, a glob of paths, or a file name in the usual folders. */
static int find_files(const char *object, glob_t *g)
{
    static const char *const folders[] = { "/usr/bin",
                                           "/usr/sbin",
                                           "/usr/lib/x86_64-linux-gnu",
                                           "/lib/x86_64-linux-gnu",
                                           "/usr/lib/aarch64-linux-gnu",
                                           "/usr/lib64",
                                           "/usr/lib",
                                           "/usr/local/bin",
                                           "/usr/local/lib" };
    if (strchr(object, '/'))
        return glob(object, 0, NULL, g);
    bool library = !strncmp(object, "lib", 3) && !strpbrk(object, "*?[");
    char pattern[640];
    int code = GLOB_NOMATCH;
    for (size_t i = 0; i < ARRAY_LEN(folders) && code; i++) {
        size_t n = strlen(object);
        bool so = n > 3 && !strcmp(object + n - 3, ".so");
        snprintf(pattern, sizeof(pattern), "%s/%s%s", folders[i], object,
                 !library                ? ""
                 : so                    ? "*"
                 : strstr(object, ".so") ? ""
                                         : ".so*");
        code = glob(pattern, 0, NULL, g);
    }
    return code;
}

static bool check_files(struct check *c, const struct rule *r)
{
    glob_t g = { 0 };
    if (!strcmp(r->object, "*") || find_files(r->object, &g)) {
        bool exact = strchr(r->object, '/') && !strpbrk(r->object, "*?[");
        fprintf(c->out,
                exact ? "  %s: there is no such file\n" : "  %s: no file to look at now; matched when a process maps one\n",
                r->object);
        return !exact;
    }
    int before = c->placed;
    for (size_t i = 0; i < g.gl_pathc && i < IMAGES_MAX; i++)
        check_image(c, r, g.gl_pathv[i]);
    if (g.gl_pathc > IMAGES_MAX)
        fprintf(c->out, "    … and %zu files more\n", g.gl_pathc - IMAGES_MAX);
    globfree(&g);
    return c->placed > before;
}

int rules_check(const struct rules *r, u32 kernel, bool new_nops, FILE *out)
{
    struct check c = { .out = out, .kernel = kernel, .new_nops = new_nops };
    int nowhere = 0, metrics = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct rule *rule = &r->v[i];
        fprintf(out, "%s:%d: %s (%s, %s)\n", rule->file, rule->line, rule->name, rule->type, rule_place_name[rule->at]);
        if (rule->at == AT_EXEC)
            fprintf(out, "  commands that match %s\n", rule->object);
        else if (rule->at == AT_PYTHON)
            fprintf(out, "  %s:%s, when a Python process imports it (by the bridge)\n", rule->object, rule->symbol);
        else if (!check_files(&c, rule))
            nowhere++;
        warn_cardinality(rule, out);
        metrics += rule->n_metrics > 0;
    }
    if (metrics)
        fprintf(out, "note: %d activities make metrics\n", metrics);
    return nowhere;
}
