/* What a process is called, as its user would: the resource of its spans.
 *
 * service.name, first that is there: --service, OTEL_SERVICE_NAME, service.name of OTEL_RESOURCE_ATTRIBUTES, the systemd
 * unit (services only), the module or script a Python, Node, Java, shell, Perl or Ruby launcher runs («uvicorn
 * shop.api:app» → shop.api), the program's file name (of a shell: the name it was called by, for sh is dash on some). */
#include "trace/internal.h"
#include <sys/utsname.h>
#include <unistd.h>

#define WORDS 32

static struct slice file_stem(struct slice path, const char *const *endings)
{
    for (size_t i = path.n; i > 0; i--) {
        if (path.p[i - 1] == '/') {
            path = slice_from(path, i);
            break;
        }
    }
    for (; endings && *endings; endings++) {
        size_t n = strlen(*endings);
        if (path.n > n && !memcmp(path.p + path.n - n, *endings, n))
            return slice_head(path, path.n - n);
    }
    return path;
}

static size_t split_words(struct slice text, struct slice out[WORDS])
{
    size_t n = 0;
    while (text.n && n < WORDS) {
        ptrdiff_t end = slice_find(text, 0x1f);
        out[n++] = end < 0 ? text : slice_head(text, (size_t)end);
        text = end < 0 ? slice_of(NULL, 0) : slice_from(text, (size_t)end + 1);
    }
    return n;
}

/* "shop.api:app" and "shop.api:create()" → shop.api */
static struct slice module_of(struct slice word)
{
    ptrdiff_t colon = slice_find(word, ':');
    return colon > 0 ? slice_head(word, (size_t)colon) : word;
}

static bool server_launcher(struct slice stem)
{
    static const char *const known[] = { "uvicorn", "gunicorn", "hypercorn", "granian", "daphne", "waitress-serve", "flask" };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (slice_eq(stem, known[i]))
            return true;
    return false;
}

/* The application a launcher was given: the first word that looks like module:object. */
static struct slice launched_app(const struct slice *words, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ptrdiff_t colon = slice_find(words[i], ':');
        if (colon > 0 && words[i].p[0] != '-' && !(words[i].p[colon - 1] >= '0' && words[i].p[colon - 1] <= '9') &&
            slice_find(words[i], '/') < 0)
            return module_of(words[i]);
    }
    return slice_of(NULL, 0);
}

static struct slice python_name(const struct slice *words, size_t n)
{
    static const char *const endings[] = { ".py", ".pyz", NULL };
    for (size_t i = 1; i < n; i++) {
        bool module = slice_eq(words[i], "-m") && i + 1 < n;
        if (slice_eq(words[i], "-c"))
            break;
        if (!module && words[i].n && words[i].p[0] == '-') {
            i += slice_eq(words[i], "-W") || slice_eq(words[i], "-X");
            continue;
        }
        struct slice name = module ? words[i + 1] : file_stem(words[i], endings);
        if (server_launcher(name)) {
            struct slice app = launched_app(words + i + 1 + module, n - i - 1 - module);
            return app.n ? app : name;
        }
        return name;
    }
    return slice_of(NULL, 0);
}

static bool one_of(struct slice word, const char *const *list)
{
    for (; *list; list++)
        if (slice_eq(word, *list))
            return true;
    return false;
}

/* The script of «sh -e deploy.sh», «perl tool.pl»; a command given as text (-c, -e) has no name. */
static struct slice script_name(const struct slice *words, size_t n, bool shell)
{
    static const char *const endings[] = { ".sh", ".bash", ".pl", ".rb", NULL };
    static const char *const with_value[] = { "-o", "+o", "-O", "+O", "--rcfile", "--init-file", "-I", NULL };
    for (size_t i = 1; i < n && words[i].n; i++) {
        struct slice w = words[i];
        if (w.p[0] != '-' && w.p[0] != '+')
            return file_stem(w, endings);
        bool options = w.n > 1 && w.p[1] != '-';
        if (slice_eq(w, "-s") || (options && slice_find(w, shell ? 'c' : 'e') > 0))
            break;
        i += one_of(w, with_value);
    }
    struct slice called = n && words[0].n ? file_stem(words[0], NULL) : slice_of(NULL, 0);
    return called.n && called.p[0] == '-' ? slice_from(called, 1) : called;
}

static struct slice launcher_name(struct slice exe, const struct slice *words, size_t n)
{
    static const char *const js[] = { ".mjs", ".cjs", ".js", ".ts", NULL }, *const jar[] = { ".jar", NULL };
    static const char *const shells[] = { "sh", "dash", "bash", "ash", "ksh", "zsh", NULL };
    struct slice name = { 0 };
    bool shell = one_of(exe, shells);
    if (shell || slice_eq(exe, "perl") || slice_eq(exe, "ruby"))
        name = script_name(words, n, shell);
    else if (slice_starts(exe, "python") || slice_starts(exe, "pypy"))
        name = python_name(words, n);
    else if (slice_eq(exe, "node") && n > 1 && words[1].n && words[1].p[0] != '-')
        name = file_stem(words[1], js);
    else if (slice_eq(exe, "java"))
        for (size_t i = 1; i + 1 < n && !name.n; i++)
            if (slice_eq(words[i], "-jar"))
                name = file_stem(words[i + 1], jar);
    return name.n ? name : exe;
}

/* key=value,key=value with percent-decoding (OTEL_RESOURCE_ATTRIBUTES, W3C baggage form). */
static void resource_attributes(struct resource *r, struct slice text)
{
    while (text.n) {
        ptrdiff_t comma = slice_find(text, ',');
        struct slice pair = comma < 0 ? text : slice_head(text, (size_t)comma);
        text = comma < 0 ? slice_of(NULL, 0) : slice_from(text, (size_t)comma + 1);
        ptrdiff_t eq = slice_find(pair, '=');
        struct slice key = slice_trim(eq > 0 ? slice_head(pair, (size_t)eq) : slice_of(NULL, 0));
        struct slice value = slice_trim(eq > 0 ? slice_from(pair, (size_t)eq + 1) : slice_of(NULL, 0));
        char name[128], out[512];
        size_t n = 0;
        if (!key.n || key.n >= sizeof(name))
            continue;
        for (size_t i = 0; i < value.n && n < sizeof(out); i++) {
            u8 byte;
            if (value.p[i] == '%' && i + 2 < value.n && !hex_decode((const char *)value.p + i + 1, 2, &byte)) {
                out[n++] = (char)byte;
                i += 2;
            } else {
                out[n++] = (char)value.p[i];
            }
        }
        memcpy(name, key.p, key.n);
        name[key.n] = 0;
        attr_str(&r->attrs, intern(name), slice_of(out, n));
    }
}

static void host_attributes(struct resource *r, struct slice procinfo)
{
    struct utsname un;
    struct slice host = procinfo_get(procinfo, "host");
    if (uname(&un))
        return;
    attr_str(&r->attrs, "host.name", host.n ? host : slice_str(un.nodename));
    attr_str(&r->attrs, "host.arch",
             slice_str(!strcmp(un.machine, "x86_64")    ? "amd64"
                       : !strcmp(un.machine, "aarch64") ? "arm64"
                                                        : un.machine));
    attr_str(&r->attrs, "os.type", slice_str("linux"));
}

static void copy_if(struct resource *r, const char *key, struct slice procinfo, const char *name)
{
    struct slice v = procinfo_get(procinfo, name);
    if (v.n)
        attr_str(&r->attrs, key, v);
}

struct resource *service_resource(const struct tracer_options *o, u32 tgid, struct slice info)
{
    struct resource *r = resource_new();
    if (!r)
        return NULL;
    struct slice words[WORDS];
    size_t n = split_words(procinfo_get(info, "args"), words);
    struct slice exe = file_stem(procinfo_get(info, "exe"), NULL);
    struct slice unit = procinfo_get(info, "unit"), name = launcher_name(exe.n ? exe : procinfo_get(info, "comm"), words, n);
    if (unit.n > 8 && !memcmp(unit.p + unit.n - 8, ".service", 8))
        name = slice_head(unit, unit.n - 8);
    attr_str(&r->attrs, "service.name", name.n ? name : slice_str("unknown_service"));
    resource_attributes(r, procinfo_get(info, "env.OTEL_RESOURCE_ATTRIBUTES"));
    copy_if(r, "service.name", info, "env.OTEL_SERVICE_NAME");
    if (o->service)
        attr_str(&r->attrs, "service.name", slice_str(o->service));
    attr_int(&r->attrs, "process.pid", tgid);
    copy_if(r, "process.executable.path", info, "exe");
    if (exe.n)
        attr_str(&r->attrs, "process.executable.name", exe);
    if (procinfo_get(info, "python").n) {
        attr_str(&r->attrs, "process.runtime.name", slice_str("cpython"));
        copy_if(r, "process.runtime.version", info, "python");
        attr_str(&r->attrs, "telemetry.sdk.language", slice_str("python"));
    }
    copy_if(r, "container.id", info, "container.id");
    copy_if(r, "container.runtime.name", info, "container.runtime.name");
    copy_if(r, "k8s.pod.uid", info, "k8s.pod.uid");
    host_attributes(r, info);
    attr_str(&r->attrs, "telemetry.distro.name", slice_str("wftrace"));
    attr_str(&r->attrs, "telemetry.distro.version", slice_str(WF_VERSION));
    if (o->resource)
        attr_set_copy(&r->attrs, &o->resource->attrs);
    if (o->resource && o->service)
        attr_str(&r->attrs, "service.name", slice_str(o->service));
    return r;
}
