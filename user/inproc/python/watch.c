/* The watch file: what to watch, read once. Its form is in bridge_abi.h. */
#include <fcntl.h>
#include <fnmatch.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bridge.h"

#define FILE_MAX (1 << 20)

struct watch *watches;
u64 watches_book;
static u32 n_watches;

static bool is_pattern(const char *s) { return strpbrk(s, "*?[") != NULL; }

static char *read_whole(const char *path)
{
    cleanup(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    cleanup(freep) char *text = malloc(FILE_MAX + 1);
    size_t n = 0;
    for (ssize_t got; text && n < FILE_MAX && (got = read(fd, text + n, FILE_MAX - n)) > 0;)
        n += (size_t)got;
    if (text)
        text[n] = 0;
    return take_ptr(text);
}

/* The next field of a line; fields end at tabs. */
static char *field(char **line)
{
    char *f = *line, *tab = f ? strchr(f, '\t') : NULL;
    if (tab)
        *tab++ = 0;
    *line = tab;
    return f && *f ? f : NULL;
}

static int number(const char *s, u32 max)
{
    u32 n = 0;
    if (!s)
        return -1;
    for (; *s; s++)
        if (*s < '0' || *s > '9' || (n = n * 10 + (u32)(*s - '0')) > max)
            return -1;
    return (int)n;
}

static int add_watch(char *line, struct watch ***end)
{
    int id = number(field(&line), 0xffff);
    const char *module = field(&line), *qualname = field(&line);
    if (id <= 0 || !module || !qualname)
        return -EINVAL;
    if (++n_watches > WATCH_MAX)
        return -E2BIG;
    struct watch *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->id = (u16)id;
    w->module = strdup(module);
    w->qualname = strdup(qualname);
    w->exact_module = !is_pattern(module);
    w->pattern = !w->exact_module || is_pattern(qualname);
    **end = w;
    *end = &w->next;
    return 0;
}

/* An expression that is not understood fails alone: its attribute is left out, the watch stands. */
static int add_attr(struct watch *w, char *line)
{
    static const char *const stages[] = { "entry", "return", "fail" };
    int index = number(field(&line), BRIDGE_ATTR_ERROR_TYPE - 1), stage = 2;
    const char *stage_name = field(&line), *expression = line;
    if (!w || index < 0 || !stage_name || !expression)
        return -EINVAL;
    while (stage >= 0 && strcmp(stages[stage], stage_name))
        stage--;
    if (stage < 0)
        return -EINVAL;
    struct attr a = { .index = (u8)index, .stage = (u8)stage };
    if (w->n_attrs == ATTRS_MAX || expr_compile(&a.expr, expression) < 0) {
        note("failed=%u attribute %d: %s", w->id, index, expression);
        return 0;
    }
    struct attr *more = realloc(w->attrs, (w->n_attrs + 1u) * sizeof *more);
    if (!more)
        return -ENOMEM;
    w->attrs = more;
    w->attrs[w->n_attrs++] = a;
    w->stages |= (u8)(1 << stage);
    return 0;
}

static int add_when(struct watch *w, char *line)
{
    int rule = number(field(&line), 31), index = number(field(&line), BRIDGE_ATTR_ERROR_TYPE - 1);
    const char *test = field(&line);
    return w && rule >= 0 && index >= 0 ? when_add(w, (u32)rule, (u32)index, test, line) : -EINVAL;
}

/* "wftrace-bridge 3 0a1b2c"; the version before had fewer kinds of lines. */
static int read_head(const char *line)
{
    static const char head[] = "wftrace-bridge ";
    size_t n = sizeof head;
    if (strncmp(line, head, n - 1) || (line[n - 1] != '2' && line[n - 1] != '3') || (line[n] && line[n] != ' '))
        return -EPROTO;
    watches_book = line[n] ? strtoul(line + n + 1, NULL, 16) & 0xffffff : 0;
    return 0;
}

int watches_read(const char *path, int *ret_line)
{
    cleanup(freep) char *text = read_whole(path);
    if (!text)
        return -ENOENT;
    struct watch **end = &watches, *last = NULL;
    int line_number = 0, err = 0;
    for (char *line = text, *next; line && !err; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        *ret_line = ++line_number;
        if (line_number == 1) {
            err = read_head(line);
        } else if (!strncmp(line, "watch\t", 6)) {
            struct watch **before = end;
            err = add_watch(line + 6, &end);
            last = *before;
        } else if (!strncmp(line, "attr\t", 5)) {
            err = add_attr(last, line + 5);
        } else if (!strncmp(line, "when\t", 5)) {
            err = add_when(last, line + 5);
        } else if (last && !strcmp(line, "start")) {
            last->only_start = true;
        } else if (*line && *line != '#') {
            err = -EINVAL;
        }
    }
    return err;
}

static bool matches(const char *pattern, const char *text) { return !strcmp(pattern, text) || !fnmatch(pattern, text, 0); }
static bool module_matches(const struct watch *w, const char *module)
{
    return w->exact_module ? !strcmp(w->module, module) : matches(w->module, module);
}

bool watch_wants_module(const char *module)
{
    for (struct watch *w = watches; w; w = w->next)
        if (module_matches(w, module))
            return true;
    return false;
}

bool watch_missing(const char *module)
{
    for (struct watch *w = watches; w; w = w->next)
        if (!w->pattern && !w->bound && !strcmp(w->module, module))
            return true;
    return false;
}

/* The first watch wins. What has no name of its own (<lambda>, <listcomp>, …) must be named by the rule. */
struct watch *watch_match(const char *module, const char *qualname, const char *name)
{
    for (struct watch *w = watches; w; w = w->next) {
        if (!module_matches(w, module) || !matches(w->qualname, qualname))
            continue;
        if (name[0] == '<' && !strstr(w->qualname, name))
            continue;
        return w;
    }
    return NULL;
}

u32 watches_reading;

void watches_free(void)
{
    for (struct watch *w = watches_reading ? NULL : watches, *next; w; w = next) {
        next = w->next;
        for (u32 i = 0; i < w->n_attrs; i++)
            expr_free(&w->attrs[i].expr);
        when_free(w);
        free(w->attrs);
        free(w->module);
        free(w->qualname);
        free(w);
    }
    watches = NULL;
    watches_book = 0;
    n_watches = 0;
}
