/* /proc/PID/maps (proc_pid_maps(5)): "start-end rwxp offset maj:min inode   path". The path runs to the end of the line; the kernel
 * writes a newline in it as \012 and adds " (deleted)" when the file has lost its name. */
#include "probe/maps.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* --- one line --------------------------------------------------------------------------------------------------- */

static bool take_number(struct slice *s, unsigned base, char after, u64 *ret)
{
    u64 value = 0;
    size_t i = 0;
    for (; i < s->n && i < 20; i++) {
        u8 c = s->p[i], lower = c | 0x20;
        unsigned digit = c >= '0' && c <= '9'           ? c - (unsigned)'0'
                         : lower >= 'a' && lower <= 'f' ? lower - (unsigned)'a' + 10
                                                        : 99;
        if (digit >= base)
            break;
        value = value * base + digit;
    }
    if (!i || i >= s->n || s->p[i] != (u8)after)
        return false;
    *s = slice_from(*s, i + 1);
    *ret = value;
    return true;
}

static bool take_flags(struct slice *s, struct map_entry *e)
{
    if (s->n < 5 || s->p[4] != ' ')
        return false;
    e->read = s->p[0] == 'r';
    e->write = s->p[1] == 'w';
    e->exec = s->p[2] == 'x';
    e->shared = s->p[3] == 's';
    *s = slice_from(*s, 5);
    return true;
}

static void path_classify(struct map_entry *e)
{
    static const char suffix[] = " (deleted)";
    size_t n = sizeof(suffix) - 1;
    if (e->path.n > n && !memcmp(e->path.p + e->path.n - n, suffix, n)) {
        e->deleted = true;
        e->path.n -= n;
    }
    if (slice_starts(e->path, "/memfd:"))
        e->kind = MAP_KIND_MEMFD;
    else if (e->path.n && e->path.p[0] == '/' && e->inode)
        e->kind = MAP_KIND_FILE;
    else
        e->kind = e->path.n ? MAP_KIND_SPECIAL : MAP_KIND_ANON;
}

static bool line_parse(struct slice line, struct map_entry *ret)
{
    struct map_entry e = { 0 };
    u64 major, minor;
    if (!take_number(&line, 16, '-', &e.start) || !take_number(&line, 16, ' ', &e.end) || !take_flags(&line, &e) ||
        !take_number(&line, 16, ' ', &e.offset) || !take_number(&line, 16, ':', &major) || !take_number(&line, 16, ' ', &minor))
        return false;
    ptrdiff_t space = slice_find(line, ' ');
    if (slice_u64(slice_head(line, space < 0 ? line.n : (size_t)space), &e.inode) || e.end <= e.start)
        return false;
    e.dev_major = (u32)major;
    e.dev_minor = (u32)minor;
    e.path = space < 0 ? slice_of(line.p, 0) : slice_from(line, (size_t)space);
    while (e.path.n && e.path.p[0] == ' ')
        e.path = slice_from(e.path, 1);
    path_classify(&e);
    *ret = e;
    return true;
}

bool maps_next(struct slice *text, struct map_entry *ret)
{
    while (text->n) {
        ptrdiff_t end = slice_find(*text, '\n');
        struct slice line = slice_head(*text, end < 0 ? text->n : (size_t)end);
        *text = slice_from(*text, line.n + 1);
        if (line_parse(line, ret))
            return true;
    }
    return false;
}

/* --- modules ---------------------------------------------------------------------------------------------------- */

static bool same_file(const struct map_module *m, const struct map_entry *e)
{
    return m->inode == e->inode && m->dev_major == e->dev_major && m->dev_minor == e->dev_minor;
}

/* Mappings of one file come together, so look from the end. */
static struct map_module *module_find(struct maps *maps, const struct map_entry *e)
{
    for (u32 i = maps->count; i-- > 0;)
        if (same_file(&maps->modules[i], e))
            return &maps->modules[i];
    return NULL;
}

static char *path_unescape(struct slice path)
{
    char *out = malloc(path.n + 1), *to = out;
    for (size_t i = 0; out && i < path.n; i++) {
        bool escape = i + 3 < path.n && path.p[i] == '\\' && path.p[i + 1] == '0' && path.p[i + 2] == '1' && path.p[i + 3] == '2';
        *to++ = escape ? '\n' : (char)path.p[i];
        i += escape ? 3 : 0;
    }
    if (out)
        *to = 0;
    return out;
}

static int module_new(struct maps *maps, const struct map_entry *e, struct map_module **ret)
{
    if (!(maps->count & (maps->count - 1)) || !maps->modules) { /* double at every power of two */
        size_t room = maps->count ? 2 * (size_t)maps->count : 1;
        void *grown = realloc(maps->modules, room * sizeof(*maps->modules));
        if (!grown)
            return -ENOMEM;
        maps->modules = grown;
    }
    char *path = path_unescape(slice_head(e->path, 4096));
    if (!path)
        return -ENOMEM;
    struct map_module *m = &maps->modules[maps->count++];
    *m = (struct map_module){ .inode = e->inode,
                              .dev_major = e->dev_major,
                              .dev_minor = e->dev_minor,
                              .deleted = e->deleted,
                              .memfd = e->kind == MAP_KIND_MEMFD,
                              .path = path };
    *ret = m;
    return 0;
}

static int entry_add(struct maps *maps, const struct map_entry *e)
{
    struct map_module *m = module_find(maps, e);
    if (!m && maps->count == MAPS_MODULES_MAX) {
        maps->dropped++;
        return 0;
    }
    int err = m ? 0 : module_new(maps, e, &m);
    if (err)
        return err;
    if (m->segment_count == MAP_SEGMENTS_MAX) {
        maps->dropped++;
        return 0;
    }
    m->exec |= e->exec;
    m->segments[m->segment_count++] = (struct map_segment){ e->start, e->end, e->offset, e->exec };
    return 0;
}

int maps_parse(struct slice text, struct maps *ret)
{
    struct maps maps = { 0 };
    struct map_entry e;
    while (maps_next(&text, &e)) {
        bool file = e.kind == MAP_KIND_FILE || e.kind == MAP_KIND_MEMFD;
        int err = file ? entry_add(&maps, &e) : 0;
        if (err) {
            maps_done(&maps);
            return err;
        }
    }
    *ret = maps;
    return 0;
}

int maps_read(int pid, struct maps *ret)
{
    enum { TEXT_MAX = 16 << 20 };
    char path[64];
    cleanup(freep) char *text = NULL;
    size_t length;
    snprintf(path, sizeof(path), "/proc/%d/maps", pid);
    int err = read_small_file(path, TEXT_MAX, &text, &length);
    return err ? err : maps_parse(slice_of(text, length), ret);
}

void maps_done(struct maps *maps)
{
    for (u32 i = 0; i < maps->count; i++)
        free(maps->modules[i].path);
    free(maps->modules);
    *maps = (struct maps){ 0 };
}

/* --- addresses -------------------------------------------------------------------------------------------------- */

static const struct map_segment *segment_of(const struct map_module *m, u64 address)
{
    for (u32 i = 0; i < m->segment_count; i++)
        if (address >= m->segments[i].start && address < m->segments[i].end)
            return &m->segments[i];
    return NULL;
}

const struct map_module *maps_find(const struct maps *maps, u64 address)
{
    for (u32 i = 0; i < maps->count; i++)
        if (segment_of(&maps->modules[i], address))
            return &maps->modules[i];
    return NULL;
}

/* Code first: the same file page may be mapped twice. */
int maps_offset_to_address(const struct map_module *m, u64 file_offset, u64 *ret)
{
    const struct map_segment *best = NULL;
    for (u32 i = 0; i < m->segment_count; i++) {
        const struct map_segment *s = &m->segments[i];
        if (file_offset >= s->offset && file_offset - s->offset < s->end - s->start && (!best || (s->exec && !best->exec)))
            best = s;
    }
    if (!best)
        return -ENOENT;
    *ret = best->start + (file_offset - best->offset);
    return 0;
}

int maps_address_to_offset(const struct map_module *m, u64 address, u64 *ret)
{
    const struct map_segment *s = segment_of(m, address);
    if (!s)
        return -ENOENT;
    *ret = s->offset + (address - s->start);
    return 0;
}

/* The load bias, out of the first mapping whose PT_LOAD is found. Data vaddrs (bss too) need no mapping of their own. */
int maps_vaddr_to_address(const struct map_module *m, const struct elf_image *image, u64 vaddr, u64 *ret)
{
    u64 delta;
    if (!elf_is_shared(image)) {
        *ret = vaddr;
        return 0;
    }
    for (int exec = 1; exec >= 0; exec--)
        for (u32 i = 0; i < m->segment_count; i++) {
            const struct map_segment *s = &m->segments[i];
            if (s->exec != (bool)exec || elf_load_delta(image, s->offset, s->end - s->start, exec, &delta))
                continue;
            *ret = vaddr - delta - s->offset + s->start;
            return 0;
        }
    return -ENOENT;
}

/* --- files ------------------------------------------------------------------------------------------------------ */

static bool is_module_file(const struct map_module *m, const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISREG(st.st_mode) && st.st_ino == m->inode && major(st.st_dev) == m->dev_major &&
           minor(st.st_dev) == m->dev_minor;
}

int maps_module_path(int pid, const struct map_module *m, char *out, size_t size)
{
    if (!m->segment_count)
        return -ENOENT;
    if (!m->deleted && !m->memfd) {
        int n = snprintf(out, size, "/proc/%d/root%s", pid, m->path);
        if (n > 0 && (size_t)n < size && is_module_file(m, out))
            return 0;
    }
    int n = snprintf(out, size, "/proc/%d/map_files/%llx-%llx", pid, (unsigned long long)m->segments[0].start,
                     (unsigned long long)m->segments[0].end);
    if (n < 0 || (size_t)n >= size)
        return -ENAMETOOLONG;
    return access(out, R_OK) ? -errno : 0;
}

int maps_open(int pid, const struct map_module *m, struct elf_image **ret)
{
    char path[4200];
    int err = maps_module_path(pid, m, path, sizeof(path));
    return err ? err : elf_open(path, ret);
}
