/* Files that targets have mapped: what each offers to probe, looked at once per file (device, inode, time and size, so a
 * replaced file is a new one) and attached for all processes at once. */
#include "probe/internal.h"
#include "probe/maps.h"
#include "probe/py_sites.h"
#include "probe/tls_sites.h"
#include "inproc/python/bridge_abi.h"
#include "self/ledger.h"
#include <glob.h>
#include <sys/stat.h>

enum { IMAGES_MAX = 16384 };

static void image_drop(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    struct probes *p = arg;
    struct image *image = value;
    if (cause == TABLE_EVICTED)
        ledger_add(images_evicted, 1);
    if (cause == TABLE_CLOSED) {
        links_move(p, &image->links);
    } else {
        memcpy(p->retired, key, sizeof(*p->retired));
        links_retire(p, &image->links);
        sites_release(p, image);
    }
    images_release(p, &image->needs);
    free(image->py);
    image->serial = 0;
}

int images_open(struct probes *p)
{
    elf_guard();
    p->retired = calloc(1, sizeof(*p->retired));
    p->images = table_new(&(struct table_spec){ .key_size = sizeof(struct image_key),
                                                .value_size = sizeof(struct image),
                                                .max = IMAGES_MAX,
                                                .drop = image_drop,
                                                .arg = p });
    return p->images && p->retired ? 0 : -ENOMEM;
}

void images_free(struct probes *p)
{
    p->images = table_free(p->images);
    free(take_ptr(p->retired));
}

/* Attaches one program and says what came of it: a place that cannot be probed is worth a line, not a failure. */
static int attach_at(struct probes *p, enum object o, const char *program, const char *path, const struct place *at,
                     bool is_return, const char *function)
{
    struct link_spec s = { .path = path, .offset = at->file_offset, .is_return = is_return };
    int err = link_user(p, loader_program(p, o, program), &s);
    if (err)
        log_warn("probe", "cannot probe %s in %s: %s (goes on without it)", function, path, errno_name(err));
    else
        log_debug("probe", "%s on %s+%u in %s (%s)", program, function, at->delta, path, at->why ? at->why : "");
    return err;
}

static u32 place_features(void) { return feature_has(FEATURE_OPTIMISED_NOP) ? PLACE_NEW_NOPS : 0; }

static void attach_tls(struct probes *p, const struct elf_image *elf, const char *path)
{
    struct tls_plan plan = { 0 };
    if (p->options.no_tls || !tls_sites(elf, place_features(), &plan))
        return;
    for (u32 i = 0; i < plan.count; i++) {
        const struct tls_site *s = &plan.sites[i];
        const char *done = s->role == TLS_READ ? "tls_read_done" : "tls_read_ex_done";
        if (s->role == TLS_WRITE || s->role == TLS_FREE) {
            attach_at(p, OBJ_TLS, s->role == TLS_WRITE ? "tls_write" : "tls_free", path, &s->place, false, s->function);
            continue;
        }
        /* The return first: an entry without its return would leave calls behind. */
        attach_at(p, OBJ_TLS, done, path, &s->place, true, s->function);
        attach_at(p, OBJ_TLS, "tls_read", path, &s->place, false, s->function);
    }
}

/* A libc, or a program with one inside. A libpthread before glibc 2.34 has a write of its own. */
static bool is_libc(const struct elf_image *elf)
{
    static const char *const names[] = { "libc.so", "libpthread.so", "libc.musl", "ld-musl" };
    const char *soname = elf_soname(elf);
    if (!soname)
        return !elf_needed(elf, 0) && !elf_is_shared(elf);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!strncmp(soname, names[i], strlen(names[i])))
            return true;
    }
    return false;
}

static void attach_output(struct probes *p, const struct elf_image *elf, const char *path)
{
    static const char *const functions[][2] = { { "write", "output_write" }, { "writev", "output_writev" } };
    if (!(p->options.output || p->options.output_files) || !is_libc(elf))
        return;
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        struct elf_symbol s;
        struct place at;
        u32 want = ARG_RDI | ARG_RSI | ARG_RDX | place_features();
        if (!elf_symbol(elf, functions[i][0], &s) && !place_entry(elf, &s, want, &at))
            attach_at(p, OBJ_OUTPUT, functions[i][1], path, &at, false, functions[i][0]);
    }
}

static const char *runtime_entry(const struct py_site *s)
{
    switch (s->role) {
    case PY_QUEUE_PUT:
        return s->item_direct ? "py_put_direct" : "py_put_vector";
    case PY_QUEUE_GET:
        return "py_get";
    case PY_GREENLET_SWITCH:
        return s->object_arg == 1 ? "greenlet_switch_arg1" : "greenlet_switch_arg0";
    case PY_GREENLET_NEW:
        return "greenlet_new";
    default:
        return NULL;
    }
}

/* True: it holds the queue, and what goes in and comes out of it is seen. */
static bool attach_runtime(struct probes *p, const struct py_plan *plan, const char *path)
{
    bool puts = false, gets = false, failed = false;
    for (u32 i = 0; i < plan->count; i++) {
        const struct py_site *s = &plan->sites[i];
        const char *entry = s->wants_entry ? runtime_entry(s) : NULL;
        int err = 0;
        if (s->wants_return && s->role != PY_GREENLET_SWITCH)
            err = attach_at(p, OBJ_RUNTIME, s->role == PY_QUEUE_GET ? "py_get_done" : "py_copy_context", path, &s->place, true,
                            s->function);
        if (entry)
            err = attach_at(p, OBJ_RUNTIME, entry, path, &s->place, false, s->function) ?: err;
        puts |= s->role == PY_QUEUE_PUT;
        gets |= s->role == PY_QUEUE_GET;
        failed |= err && (s->role == PY_QUEUE_PUT || s->role == PY_QUEUE_GET);
    }
    return puts && gets && !failed;
}

static void attach_python(struct probes *p, const struct elf_image *elf, const char *path, struct image *image)
{
    struct py_plan plan = { 0 };
    if (p->options.no_runtime || !py_sites(elf, place_features(), &plan))
        return;
    image->py = malloc(sizeof(plan));
    if (!image->py)
        return;
    *image->py = plan;
    if (attach_runtime(p, &plan, path))
        image->handover = clock_boot_ns();
    if (plan.runtime && !plan.units_ok)
        log_warn("probe", "%s: asyncio contexts are not readable: %s (threads are the units)", path,
                 plan.why_not ? plan.why_not : "unknown version");
}

static int image_key(const char *path, struct image_key *ret);
static void image_look(struct probes *p, struct image *image, const char *path, const char *seen_as);
static void image_look_again(struct probes *p, struct image *image, const char *path, const char *seen_as);

/* One whose links are just being closed is waited for, or a call would be told twice. */
static struct image *image_entry(struct probes *p, const struct image_key *key)
{
    bool fresh = false;
    if (table_count(p->images) == IMAGES_MAX && !table_peek(p->images, key))
        images_room(p);
    struct image *image = table_put(p->images, key, &fresh);
    if (image && fresh) {
        image->serial = ++p->image_serial;
        if (!memcmp(key, p->retired, sizeof(*key))) {
            links_settle(p);
            sites_settle(p);
        }
    }
    return image;
}

/* The file's entry, looked at. NULL with *ret_err when it can't be read or remembered. */
static struct image *image_of(struct probes *p, const char *path, const char *seen_as, int *ret_err)
{
    struct image_key key;
    int err = image_key(path, &key);
    struct image *image = err ? NULL : image_entry(p, &key);
    if (image && !image->looked)
        image_look(p, image, path, seen_as);
    else if (image && sites_due(p, image, seen_as))
        image_look_again(p, image, path, seen_as);
    if (!image)
        *ret_err = err ? err : -ENOMEM;
    return image;
}

/* For the one that needs them. When the queue of the last of them was probed; 0: none was. */
static u64 visit_glob(struct probes *p, struct image *needs, const char *pattern)
{
    glob_t found = { 0 };
    u64 handover = 0;
    if (glob(pattern, 0, NULL, &found))
        return 0;
    for (size_t i = 0; i < found.gl_pathc && i < 4; i++) {
        int err;
        struct image *image = image_of(p, found.gl_pathv[i], found.gl_pathv[i], &err);
        if (image)
            image_hold(p, &needs->needs, image);
        handover = image ? max_u64(handover, image->handover) : handover;
    }
    globfree(&found);
    return handover;
}

/* A Python loads these some milliseconds after it starts and uses them at once: their probes must sit before. `root` is the
 * prefix of the process's files, `at` the runtime's own path. */
static void visit_stdlib(struct probes *p, struct image *image, const char *root, const char *at)
{
    const struct py_plan *py = image->py;
    if (!py || !py->runtime || p->options.no_runtime || image->stdlib)
        return;
    image->stdlib = true;
    static const char *const places[] = { "%s%.*s/../lib/python%d.%d/lib-dynload/_queue.*.so",
                                          "%s%.*s/python%d.%d/lib-dynload/_queue.*.so" };
    const char *slash = strrchr(at, '/');
    char pattern[4400];
    for (size_t i = 0; slash && i < ARRAY_LEN(places); i++) {
        snprintf(pattern, sizeof(pattern), places[i], root, (int)(slash - at), at, py->major, py->minor);
        u64 probed = visit_glob(p, image, pattern);
        image->handover = image->handover ? image->handover : probed;
    }
    snprintf(pattern, sizeof(pattern), "%s/usr/lib/*/libssl.so.[0-9]*", root);
    visit_glob(p, image, pattern);
}

/* glibc's linker calls an empty function whenever its list of objects has changed, for debuggers to stop in. */
static void attach_linker(struct probes *p, const struct elf_image *elf, const char *path)
{
    struct elf_symbol hook, list;
    struct place at;
    if (elf_symbol(elf, "_dl_debug_state", &hook) || elf_symbol(elf, "_r_debug", &list) || elf_needed(elf, 0))
        return;
    if (!place_entry(elf, &hook, 0, &at))
        attach_at(p, OBJ_RUNTIME, "mapped", path, &at, false, "_dl_debug_state");
}

/* The helper inside a Python (inproc/python): a function of its own that does nothing is called with every event. */
static void attach_bridge(struct probes *p, const struct elf_image *elf, const char *path)
{
    struct elf_symbol hook;
    struct place at;
    if (!elf_symbol(elf, BRIDGE_SYMBOL, &hook) && !place_entry(elf, &hook, place_features(), &at))
        attach_at(p, OBJ_BRIDGE, "bridge", path, &at, false, BRIDGE_SYMBOL);
}

static int image_key(const char *path, struct image_key *ret)
{
    struct stat st;
    if (stat(path, &st))
        return -errno;
    *ret = (struct image_key){ (u64)st.st_dev, (u64)st.st_ino, (u64)st.st_mtim.tv_sec * NSEC_PER_SEC + (u64)st.st_mtim.tv_nsec,
                               (u64)st.st_size };
    return 0;
}

static void look_kind(struct image *image, const struct elf_image *elf)
{
    struct elf_section s;
    struct elf_symbol symbol;
    const char *soname = elf_soname(elf);
    bool program = !elf_is_shared(elf) || elf_has_interpreter(elf);
    image->go = program && (elf_section(elf, ".go.buildinfo", &s) || elf_section(elf, ".gopclntab", &s));
    image->java = soname && !strcmp(soname, "libjvm.so");
    image->node = !elf_symbol(elf, "napi_module_register", &symbol);
}

static void image_look(struct probes *p, struct image *image, const char *path, const char *seen_as)
{
    cleanup(elf_closep) struct elf_image *elf = NULL;
    image->looked = true;
    image->rules = -1;
    if (elf_open(path, &elf))
        return;
    p->looking = image;
    look_kind(image, elf);
    attach_linker(p, elf, path);
    attach_tls(p, elf, path);
    attach_python(p, elf, path, image);
    attach_bridge(p, elf, path);
    attach_output(p, elf, path);
    sites_attach(p, image, elf, seen_as, path);
    p->looking = NULL;
    image_idle(p, image);
}

/* For rules that came since. */
static void image_look_again(struct probes *p, struct image *image, const char *path, const char *seen_as)
{
    cleanup(elf_closep) struct elf_image *elf = NULL;
    if (!elf_open(path, &elf))
        sites_attach(p, image, elf, seen_as, path);
    if (!image->users)
        image_idle(p, image);
}

struct image *image_visit(struct probes *p, pid_t pid, const struct map_module *m)
{
    char path[4200], root[32];
    int err;
    struct image *image = maps_module_path(pid, m, path, sizeof(path)) ? NULL : image_of(p, path, m->path, &err);
    snprintf(root, sizeof(root), "/proc/%d/root", (int)pid);
    if (image)
        visit_stdlib(p, image, root, m->path);
    return image;
}

int image_visit_path(struct probes *p, const char *path)
{
    int err = 0;
    struct image *image = image_of(p, path, path, &err);
    if (image)
        image->pinned = true;
    return err;
}

struct image *image_visit_ahead(struct probes *p, const char *path)
{
    int err;
    struct image *image = image_of(p, path, path, &err);
    if (image)
        visit_stdlib(p, image, "", path);
    return image;
}
