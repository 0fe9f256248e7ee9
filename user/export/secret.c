/* See secret.h. An expanded text is never logged; errors name the reference only. */
#include "export/secret.h"

#include <sys/stat.h>

struct text {
    char *p;
    size_t n;
    struct watch *watch;
    char *err;
    size_t err_size;
};

#define BAD(t, code, ...) (snprintf((t)->err, (t)->err_size, __VA_ARGS__), (code))

static u64 stamp_of(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return 0;
    u64 part[] = { (u64)st.st_ino, (u64)st.st_size, (u64)st.st_mtim.tv_sec, (u64)st.st_mtim.tv_nsec, (u64)st.st_dev };
    return hash_bytes(part, sizeof(part), 1) | 1;
}

void watch_add(struct watch *w, const char *path)
{
    for (size_t i = 0; i < w->n; i++)
        if (!strcmp(w->file[i].path, path))
            return;
    if (w->n == WATCH_FILES || strlen(path) >= sizeof(w->file[0].path))
        return;
    struct watched *f = &w->file[w->n++];
    strcpy(f->path, path);
    f->stamp = stamp_of(path);
}

bool watch_changed(const struct watch *w)
{
    for (size_t i = 0; i < w->n; i++)
        if (w->file[i].stamp != stamp_of(w->file[i].path))
            return true;
    return false;
}

static int text_add(struct text *t, const char *s, size_t n)
{
    if (t->n + n + 1 > SECRET_MAX)
        return BAD(t, -EINVAL, "a header value is longer than %d bytes", SECRET_MAX - 1);
    memcpy(t->p + t->n, s, n);
    t->n += n;
    t->p[t->n] = 0;
    return 0;
}

static int add_env(struct text *t, const char *name)
{
    const char *value = getenv(name);
    if (!value)
        return BAD(t, -ENOENT, "${env:%s}: the variable is not set", name);
    return text_add(t, value, strlen(value));
}

static int add_file(struct text *t, const char *path)
{
    cleanup(freep) char *content = NULL;
    size_t n = 0;
    watch_add(t->watch, path);
    int e = read_small_file(path, SECRET_MAX, &content, &n);
    if (e)
        return BAD(t, e, "${file:%s}: %s", path, errno_name(e));
    while (n && strchr(" \t\r\n", content[n - 1]))
        n--;
    return text_add(t, content, n);
}

static int add_base64(struct text *t, const char *plain)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = strlen(plain);
    for (size_t i = 0; i < n; i += 3) {
        u32 v = (u32)(u8)plain[i] << 16 | (u32)(i + 1 < n ? (u8)plain[i + 1] : 0) << 8 | (i + 2 < n ? (u8)plain[i + 2] : 0);
        char four[4] = { digit[v >> 18], digit[v >> 12 & 63], i + 1 < n ? digit[v >> 6 & 63] : '=',
                         i + 2 < n ? digit[v & 63] : '=' };
        int e = text_add(t, four, sizeof(four));
        if (e)
            return e;
    }
    return 0;
}

static const struct {
    const char *name;
    int (*add)(struct text *t, const char *argument);
} sources[] = { { "env:", add_env }, { "file:", add_file }, { "base64:", add_base64 } };

/* The closing brace of what `s` is inside of, or NULL. */
static const char *brace_end(const char *s)
{
    int depth = 1;
    for (; *s; s++) {
        depth += (*s == '$' && s[1] == '{') - (*s == '}');
        if (!depth)
            return s;
    }
    return NULL;
}

static int expand(struct text *t, const char *text, size_t n, int depth);

/* `s`: what stands between the braces. */
static int add_reference(struct text *t, const char *s, size_t n, int depth)
{
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        size_t head = strlen(sources[i].name);
        if (n < head || memcmp(s, sources[i].name, head))
            continue;
        cleanup(freep) char *argument = malloc(SECRET_MAX);
        struct text inner = { .p = argument, .watch = t->watch, .err = t->err, .err_size = t->err_size };
        if (!argument)
            return BAD(t, -ENOMEM, "out of memory");
        *argument = 0;
        int e = expand(&inner, s + head, n - head, depth + 1);
        return e ? e : sources[i].add(t, argument);
    }
    return BAD(t, -EINVAL, "${%.*s…}: use ${env:NAME}, ${file:PATH} or ${base64:TEXT}", (int)min_u64(n, strcspn(s, ":}")), s);
}

static int expand(struct text *t, const char *text, size_t n, int depth)
{
    if (depth > SECRET_DEPTH)
        return BAD(t, -EINVAL, "references nested deeper than %d", SECRET_DEPTH);
    for (const char *s = text, *end = text + n; s < end;) {
        const char *at = memmem(s, (size_t)(end - s), "${", 2);
        const char *close = at ? brace_end(at + 2) : NULL;
        bool reference = close && close < end;
        int e = text_add(t, s, (size_t)((reference ? at : end) - s));
        if (!e && reference)
            e = add_reference(t, at + 2, (size_t)(close - at - 2), depth);
        if (e)
            return e;
        s = reference ? close + 1 : end;
    }
    return 0;
}

int secret_expand(const char *text, struct watch *w, char *out, char *err, size_t err_size)
{
    struct text t = { .p = out, .watch = w, .err = err, .err_size = err_size };
    *out = 0;
    return expand(&t, text, strlen(text), 0);
}
