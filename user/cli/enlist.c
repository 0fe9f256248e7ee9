/* See enlist.h. Nothing is run to find out: only the places where Pythons keep packages are looked at. */
#include "cli/enlist.h"
#include "workflow/packs.h"

#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <unistd.h>

/* --- --packs --- */
static bool named(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',')
        if (strcspn(p, ",") == n && !memcmp(p, name, n))
            return true;
    return false;
}

int packs_check(const char *value, char *err, size_t err_size)
{
    const char *names[PACKS_MAX];
    struct pack_text p;
    size_t n = 0;
    if (!strcmp(value, "off"))
        return 0;
    while (n < PACKS_MAX && pack_builtin(n, &p))
        names[n++] = p.name;
    for (const char *at = value; *at; at += strcspn(at, ","), at += *at == ',') {
        char word[64];
        size_t i = 0;
        snprintf(word, sizeof(word), "%.*s", (int)min_u64(strcspn(at, ","), 63), at);
        while (i < n && strcmp(names[i], word))
            i++;
        if (i < n)
            continue;
        const char *near = nearest_word(word, names, n);
        snprintf(err, err_size, near ? "--packs %s: there is no pack %s; did you mean %s?" : "--packs %s: there is no pack %s%s",
                 value, word, near ? near : "");
        return -1;
    }
    return 0;
}

/* --- where packages are --- */
static void add_site(struct enlist *e, const char *path)
{
    bool other_root = !strncmp(path, "/proc/", 6); /* its links are not ours to follow */
    char *real = e->n == ENLIST_SITES ? NULL : other_root ? strdup(path) : realpath(path, NULL);
    for (size_t i = 0; real && i < e->n; i++)
        if (!strcmp(e->sites[i], real)) {
            free(real);
            return;
        }
    if (real)
        e->sites[e->n++] = real;
}

static void add_glob(struct enlist *e, const char *pattern)
{
    glob_t found = { 0 };
    if (!glob(pattern, 0, NULL, &found))
        for (size_t i = 0; i < found.gl_pathc; i++)
            add_site(e, found.gl_pathv[i]);
    globfree(&found);
}

static void add_prefix(struct enlist *e, const char *root, const char *prefix)
{
    static const char *const forms[] = { "%s%s/lib/python3*/site-packages", "%s%s/lib/python3*/dist-packages",
                                         "%s%s/lib64/python3*/site-packages", "%s%s/local/lib/python3*/dist-packages" };
    char pattern[PATH_MAX];
    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        if (snprintf(pattern, sizeof(pattern), forms[i], root, prefix) < (int)sizeof(pattern))
            add_glob(e, pattern);
}

/* /x/venv/bin/python → /x/venv */
static void add_prefix_of(struct enlist *e, const char *root, const char *program)
{
    char prefix[PATH_MAX];
    snprintf(prefix, sizeof(prefix), "%s", program);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(prefix, '/');
        *(slash ? slash : prefix) = 0;
    }
    add_prefix(e, root, prefix);
    const char *shims = strstr(prefix, "/.pyenv");
    char versions[PATH_MAX];
    if (shims && snprintf(versions, sizeof(versions), "%s%.*s/.pyenv/versions/*", root, (int)(shims - prefix), prefix) > 0)
        add_prefix(e, "", versions);
}

static void add_python(struct enlist *e, const char *path)
{
    char real[PATH_MAX];
    add_prefix_of(e, "", path);
    if (realpath(path, real))
        add_prefix_of(e, "", real);
}

static void add_dirs(struct enlist *e, const char *dirs, const char *suffix)
{
    for (const char *p = dirs; p && *p; p += strcspn(p, ":"), p += *p == ':') {
        char path[PATH_MAX];
        snprintf(path, sizeof(path), "%.*s%s", (int)strcspn(p, ":"), p, suffix);
        if (*suffix && !access(path, X_OK))
            add_python(e, path);
        else if (!*suffix && path[0])
            add_site(e, path);
    }
}

static void add_home(struct enlist *e, const char *root, const char *home)
{
    char prefix[PATH_MAX];
    if (home && *home && snprintf(prefix, sizeof(prefix), "%s/.local", home) < (int)sizeof(prefix))
        add_prefix(e, root, prefix);
}

static bool find_program(const char *word, char out[PATH_MAX])
{
    if (strchr(word, '/'))
        return snprintf(out, PATH_MAX, "%s", word) < PATH_MAX && !access(out, X_OK);
    for (const char *p = getenv("PATH"); p && *p; p += strcspn(p, ":"), p += *p == ':')
        if (snprintf(out, PATH_MAX, "%.*s/%s", (int)strcspn(p, ":"), p, word) < PATH_MAX && !access(out, X_OK))
            return true;
    return false;
}

/* The interpreter that a script's first line names. */
static bool shebang(const char *path, char out[PATH_MAX])
{
    char line[PATH_MAX] = "";
    cleanup(closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
    if (n < 3 || line[0] != '#' || line[1] != '!')
        return false;
    line[n] = 0;
    char *word = line + 2 + strspn(line + 2, " \t");
    word[strcspn(word, " \t\r\n")] = 0;
    return word[0] == '/' && snprintf(out, PATH_MAX, "%s", word) < PATH_MAX;
}

void enlist_command(struct enlist *e, const struct options *o, const char *word)
{
    char path[PATH_MAX], interpreter[PATH_MAX];
    const char *prefix;
    *e = (struct enlist){ .o = o, .all = o->bridge == BRIDGE_ALWAYS };
    if (find_program(word, path)) {
        add_python(e, path);
        if (shebang(path, interpreter))
            add_python(e, interpreter);
    }
    if ((prefix = getenv("VIRTUAL_ENV")))
        add_prefix(e, "", prefix);
    if ((prefix = getenv("CONDA_PREFIX")))
        add_prefix(e, "", prefix);
    add_prefix(e, "", ".venv");
    add_dirs(e, getenv("PYTHONPATH"), "");
    add_dirs(e, getenv("PATH"), "/python3");
    add_home(e, "", getenv("HOME"));
}

/* sys.prefix of a process is told by the folder that its libraries lie in, or by where its python was called from. */
void enlist_process(struct enlist *e, const struct options *o, pid_t pid)
{
    char root[64], link[64], exe[PATH_MAX];
    cleanup(freep) char *maps = NULL, *command = NULL;
    size_t len = 0;
    *e = (struct enlist){ .o = o };
    snprintf(root, sizeof(root), "/proc/%d/root", pid);
    snprintf(link, sizeof(link), "/proc/%d/exe", pid);
    ssize_t n = readlink(link, exe, sizeof(exe) - 1);
    if (n > 0) {
        exe[n] = 0;
        add_prefix_of(e, root, exe);
    }
    snprintf(link, sizeof(link), "/proc/%d/cmdline", pid);
    if (!read_small_file(link, 4096, &command, &len) && command[0] == '/')
        add_prefix_of(e, root, command);
    snprintf(link, sizeof(link), "/proc/%d/maps", pid);
    if (read_small_file(link, 4 << 20, &maps, &len))
        return;
    for (char *save, *line = strtok_r(maps, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *path = strchr(line, '/'), *end = path ? strstr(path, "-packages/") : NULL, site[PATH_MAX];
        if (end && snprintf(site, sizeof(site), "%s%.*s", root, (int)(end + 9 - path), path) < (int)sizeof(site))
            add_site(e, site);
    }
}

void enlist_done(struct enlist *e)
{
    for (size_t i = 0; i < e->n; i++)
        free(e->sites[i]);
    e->n = 0;
}

/* A pack that needs nothing inside processes costs nothing where its engine isn't. */
bool enlist_keep(void *enlist, const struct pack *p)
{
    const struct enlist *e = enlist;
    if (e->o->packs)
        return strcmp(e->o->packs, "off") && named(e->o->packs, p->name);
    if (!p->enabled)
        return false;
    if (!p->n_python || e->all)
        return true;
    for (size_t i = 0; e->o->bridge != BRIDGE_NEVER && i < e->n; i++)
        if (pack_in_site(p, e->sites[i]))
            return true;
    return false;
}
