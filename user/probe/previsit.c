/* What a program will map, looked at before it does. A probe that is attached when the linker has told of a library misses the
 * library's first milliseconds; but what a program maps at its start is written down: its interpreter, the libraries that it
 * and they need, the modules of a Python. Before a command of `run` is let go, and at each exec, that is followed the way the
 * dynamic linker does it. Every file is followed once; each look has TIME_MS. What can't be known ahead (dlopen, another root or
 * mount namespace) is left to the scan of the maps. */
#include "probe/internal.h"
#include "probe/elf.h"
#include "probe/py_sites.h"
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TIME_MS = 50, FILES_MAX = 256, NEEDED_MAX = 128, SHEBANG_MAX = 256, CACHE_MAX = 16 << 20 };

struct ahead {
    struct probes *p;
    u64 deadline;
    char *files[FILES_MAX];                 /* real paths, a queue */
    struct image_ref by[FILES_MAX], holder; /* who needs a file; of those that are found now */
    u32 count, next;
    char *cache; /* of ld.so */
    size_t cache_len;
    bool cache_read;
    char prefix[PATH_MAX]; /* a Python's: the environment it was called in */
};

static bool wanted(const struct probes *p) { return !(p->options.no_tls && p->options.no_runtime && !p->rules); }

static void ahead_add(struct ahead *a, const char *path)
{
    char *real = a->count < FILES_MAX ? realpath(path, NULL) : NULL;
    for (u32 i = 0; real && i < a->count; i++) {
        if (!strcmp(a->files[i], real)) {
            free(real);
            return;
        }
    }
    if (!real)
        return;
    a->by[a->count] = a->holder;
    a->files[a->count++] = real;
}

static void add_glob(struct ahead *a, const char *pattern)
{
    glob_t found = { 0 };
    if (glob(pattern, 0, NULL, &found))
        return;
    for (size_t i = 0; i < found.gl_pathc && i < 8; i++)
        ahead_add(a, found.gl_pathv[i]);
    globfree(&found);
}

/* ---- where a library is ---- */

/* /etc/ld.so.cache, format 1.1 (dl-cache.h): 20 bytes of magic, u32 entries, …, 48 in all; then entries of 24 bytes: flags, name
 * and path as offsets from the header. */
enum { CACHE_HEAD = 48, CACHE_ENTRY = 24 };

static struct slice cache_of(struct ahead *a)
{
    if (!a->cache_read && read_small_file("/etc/ld.so.cache", CACHE_MAX, &a->cache, &a->cache_len))
        a->cache_len = 0;
    a->cache_read = true;
    static const char magic[] = "glibc-ld.so.cache1.1";
    const u8 *at = a->cache_len ? memmem(a->cache, a->cache_len, magic, sizeof(magic) - 1) : NULL;
    return at ? slice_of(at, a->cache_len - (size_t)(at - (const u8 *)a->cache)) : slice_of(NULL, 0);
}

static const char *cache_string(struct slice cache, size_t entry, size_t field)
{
    u32 offset;
    memcpy(&offset, cache.p + entry + field, sizeof(offset));
    if (offset >= cache.n || slice_find(slice_from(cache, offset), 0) < 0)
        return "";
    return (const char *)cache.p + offset;
}

/* A library may be there in variants for several processors: all of them. */
static bool add_cached(struct ahead *a, const char *name)
{
    struct slice cache = cache_of(a);
    u32 n = 0;
    bool found = false;
    if (cache.n >= CACHE_HEAD)
        memcpy(&n, cache.p + 20, sizeof(n));
    for (u32 i = 0; i < n && CACHE_HEAD + ((size_t)i + 1) * CACHE_ENTRY <= cache.n; i++) {
        size_t entry = CACHE_HEAD + (size_t)i * CACHE_ENTRY;
        if (strcmp(cache_string(cache, entry, 4), name))
            continue;
        ahead_add(a, cache_string(cache, entry, 8));
        found = true;
    }
    return found;
}

static bool add_in(struct ahead *a, const char *dir, size_t dir_len, const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%.*s/%s", (int)dir_len, dir, name);
    if (n >= (int)sizeof(path) || access(path, F_OK))
        return false;
    ahead_add(a, path);
    return true;
}

/* One directory of a run path; $ORIGIN is the directory of the file that has it. */
static bool add_in_runpath(struct ahead *a, struct slice dir, const char *origin, const char *name)
{
    char path[PATH_MAX];
    const char *slash = strrchr(origin, '/');
    size_t skip = slice_starts(dir, "$ORIGIN") ? 7 : slice_starts(dir, "${ORIGIN}") ? 9 : 0;
    if (!skip)
        return dir.n && dir.p[0] == '/' && add_in(a, (const char *)dir.p, dir.n, name);
    int n =
        snprintf(path, sizeof(path), "%.*s%.*s", (int)(slash - origin), origin, (int)(dir.n - skip), (const char *)dir.p + skip);
    return n < (int)sizeof(path) && add_in(a, path, (size_t)n, name);
}

static bool add_on_path(struct ahead *a, const char *dirs, const char *origin, const char *name)
{
    for (struct slice left = slice_str(dirs); left.n;) {
        ptrdiff_t colon = slice_find(left, ':');
        struct slice dir = slice_head(left, colon < 0 ? left.n : (size_t)colon);
        left = slice_from(left, dir.n + 1);
        if (add_in_runpath(a, dir, origin, name))
            return true;
    }
    return false;
}

static void add_needed(struct ahead *a, const struct elf_image *elf, const char *origin, const char *name)
{
    static const char standard[] =
        "/lib/x86_64-linux-gnu:/usr/lib/x86_64-linux-gnu:/lib/aarch64-linux-gnu:/usr/lib/aarch64-linux-gnu:/lib64:"
        "/usr/lib64:/lib:/usr/lib:/usr/local/lib";
    const char *runpath = elf_runpath(elf), *given = getenv("LD_LIBRARY_PATH");
    if (strchr(name, '/'))
        ahead_add(a, name);
    else if (!(runpath && add_on_path(a, runpath, origin, name)) && !(given && add_on_path(a, given, origin, name)) &&
             !add_cached(a, name))
        (void)add_on_path(a, standard, origin, name);
}

/* ---- what a file leads to ---- */

/* Modules that a Python loads soon and by itself; packages with compiled parts that matter, in its environment. */
static void add_python(struct ahead *a, const struct py_plan *py, const char *at)
{
    static const char *const beside[] = { "%.*s/../lib/python%d.%d/lib-dynload/_ssl.*.so",
                                          "%.*s/python%d.%d/lib-dynload/_ssl.*.so" };
    static const char *const packages[] = { "%s/lib/python%d.%d/site-packages/greenlet/_greenlet.*.so",
                                            "%s/lib/python%d.%d/site-packages/*.libs/libssl*" };
    const char *slash = strrchr(at, '/');
    char pattern[PATH_MAX + 128];
    for (size_t i = 0; i < ARRAY_LEN(beside); i++) {
        snprintf(pattern, sizeof(pattern), beside[i], (int)(slash - at), at, py->major, py->minor);
        add_glob(a, pattern);
    }
    for (size_t i = 0; a->prefix[0] && i < ARRAY_LEN(packages); i++) {
        snprintf(pattern, sizeof(pattern), packages[i], a->prefix, py->major, py->minor);
        add_glob(a, pattern);
    }
}

/* A Python keeps what it loads later; what is needed at once is mapped by whoever needs it, and held by that. */
static void follow_python(struct ahead *a, struct image *image, const char *path)
{
    a->holder = (struct image_ref){ image, image->serial };
    add_python(a, image->py, path);
    a->holder = (struct image_ref){ 0 };
}

static void follow(struct ahead *a, u32 number)
{
    const char *path = a->files[number];
    struct image *image = image_visit_ahead(a->p, path), *by = image_deref(&a->by[number]);
    if (!image)
        return;
    if (by && by != image && !(image->py && image->py->runtime)) /* no Python holds another: none would ever go */
        image_hold(a->p, &by->needs, image);
    if (image->py && image->py->runtime)
        follow_python(a, image, path);
    if (image->ahead)
        return;
    image->ahead = true;
    cleanup(elf_closep) struct elf_image *elf = NULL;
    struct elf_section interpreter;
    if (elf_open(path, &elf))
        return;
    if (elf_section(elf, ".interp", &interpreter) && slice_find(interpreter.bytes, 0) > 0)
        ahead_add(a, (const char *)interpreter.bytes.p);
    const char *name;
    for (unsigned i = 0; i < NEEDED_MAX && (name = elf_needed(elf, i)); i++)
        add_needed(a, elf, path, name);
}

static void follow_all(struct ahead *a)
{
    while (a->next < a->count && clock_boot_ns() < a->deadline)
        follow(a, a->next++);
}

static void ahead_done(struct ahead *a)
{
    for (u32 i = 0; i < a->count; i++)
        free(a->files[i]);
    free(a->cache);
}

/* ---- programs ---- */

static bool find_program(const char *word, char *out, size_t size)
{
    const char *dirs = getenv("PATH");
    if (strchr(word, '/'))
        return snprintf(out, size, "%s", word) < (int)size && !access(out, X_OK);
    for (struct slice left = slice_str(dirs ? dirs : "/bin:/usr/bin"); left.n;) {
        ptrdiff_t colon = slice_find(left, ':');
        struct slice dir = slice_head(left, colon < 0 ? left.n : (size_t)colon);
        struct stat st;
        left = slice_from(left, dir.n + 1);
        int n = snprintf(out, size, "%.*s/%s", (int)dir.n, dir.n ? (const char *)dir.p : ".", word);
        if (n < (int)size && !access(out, X_OK) && !stat(out, &st) && S_ISREG(st.st_mode))
            return true;
    }
    return false;
}

/* The program of "#!/usr/bin/env -S NAME=value python3 -u"; false when it is no script. */
static bool script_program(const char *path, char *out, size_t size)
{
    char line[SHEBANG_MAX];
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
    if (fd >= 0)
        close(fd);
    if (n < 3 || line[0] != '#' || line[1] != '!')
        return false;
    line[n] = 0;
    line[strcspn(line, "\n")] = 0;
    char *rest = NULL, *word = strtok_r(line + 2, " \t", &rest);
    const char *base = word ? strrchr(word, '/') : NULL;
    if (base && !strcmp(base, "/env")) {
        do
            word = strtok_r(NULL, " \t", &rest);
        while (word && (word[0] == '-' || strchr(word, '=')));
    }
    return word && find_program(word, out, size);
}

/* /x/venv/bin/python → /x/venv: a virtual environment is where its python was called from. */
static void take_prefix(struct ahead *a, const char *path)
{
    snprintf(a->prefix, sizeof(a->prefix), "%s", path);
    for (int i = 0; i < 2; i++) {
        char *slash = strrchr(a->prefix, '/');
        *(slash ? slash : a->prefix) = 0;
    }
}

static void add_program(struct ahead *a, const char *path)
{
    char at[PATH_MAX], next[PATH_MAX];
    snprintf(at, sizeof(at), "%s", path);
    for (int i = 0; i < 4 && script_program(at, next, sizeof(next)); i++)
        memcpy(at, next, sizeof(at));
    take_prefix(a, at);
    ahead_add(a, at);
}

static void previsit(struct probes *p, const char *path, const char *exe)
{
    struct ahead a = { .p = p, .deadline = clock_boot_ns() + TIME_MS * NSEC_PER_MSEC };
    if (path)
        add_program(&a, path);
    if (exe)
        ahead_add(&a, exe);
    follow_all(&a);
    log_debug("probe", "looked ahead at %u of %u files of %s", a.next, a.count, path ? path : exe);
    ahead_done(&a);
}

void probes_previsit(struct probes *p, const char *word)
{
    char path[PATH_MAX];
    const char *preload = getenv("LD_PRELOAD");
    if (!wanted(p) || !find_program(word, path, sizeof(path)))
        return;
    previsit(p, path, NULL);
    if (preload && preload[0] == '/' && !strpbrk(preload, ": "))
        previsit(p, NULL, preload);
}

/* Does it see our files under their names? One that is gone is taken to have. */
static bool same_files(u32 tgid)
{
    struct stat ours, its;
    char path[64], root[8];
    snprintf(path, sizeof(path), "/proc/%u/ns/mnt", tgid);
    if (stat(path, &its) || stat("/proc/self/ns/mnt", &ours))
        return true;
    snprintf(path, sizeof(path), "/proc/%u/root", tgid);
    return its.st_ino == ours.st_ino && its.st_dev == ours.st_dev && readlink(path, root, sizeof(root)) == 1;
}

void previsit_exec(struct probes *p, u32 tgid, struct slice filename)
{
    char link[64], exe[PATH_MAX], path[PATH_MAX];
    if (!wanted(p) || !same_files(tgid))
        return;
    snprintf(link, sizeof(link), "/proc/%u/exe", tgid);
    ssize_t n = readlink(link, exe, sizeof(exe) - 1);
    exe[n > 0 ? n : 0] = 0;
    const struct image *image = n > 0 ? image_visit_ahead(p, exe) : NULL;
    if (image && image->ahead && !image->py)
        return;
    snprintf(path, sizeof(path), "%.*s", (int)min_u64(filename.n, sizeof(path) - 1), (const char *)filename.p);
    bool named = path[0] == '/';
    if (named || n > 0)
        previsit(p, named ? path : NULL, n > 0 ? exe : NULL);
}
