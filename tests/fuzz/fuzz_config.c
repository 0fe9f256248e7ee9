/* Fuzz target: configuration files. Any bytes are messages, never more. What is accepted has its explain, holds what its table
 * says, and never shows what a variable with a secret's name held. A 0xff byte splits the input: what follows goes over what
 * stands before. */
#include "config/config.h"

#include <unistd.h>

#define SECRET "q7Zx-secret"

static struct config_says mistakes, notes;

static const char *env_of(void *arg, const char *name)
{
    UNUSED(arg);
    return strstr(name, "TOKEN") ? SECRET : strlen(name) % 2 ? "7" : NULL;
}

static void must_not_show(const char *text)
{
    if (strstr(text, SECRET))
        __builtin_trap();
}

static void look_at(const struct config *c)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    if (!to)
        return;
    config_explain(c, false, to);
    config_explain(c, true, to);
    fclose(to);
    must_not_show(text);
    free(text);
    if (c->attribute_limits->count < 0 || !c->wftrace || !c->resource)
        __builtin_trap();
    const struct config_tracer_provider *t = c->tracer_provider;
    for (size_t i = 0; t && i < t->processors.n; i++)
        if (!t->processors.v[i].batch == !t->processors.v[i].simple)
            __builtin_trap();
}

static void write_part(const char *path, const uint8_t *data, size_t size)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return;
    fwrite(data, 1, size, f);
    fclose(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char base[64], over[64];
    if (!*base) {
        snprintf(base, sizeof(base), "/tmp/wf-fuzz-config-%d", getpid());
        snprintf(over, sizeof(over), "/tmp/wf-fuzz-config-%d-over", getpid());
    }
    const uint8_t *split = size ? memchr(data, 0xff, size) : NULL;
    const char *files[] = { base, over };
    struct config_input in = { .files = files, .n_files = split ? 2 : 1, .env = env_of };
    struct config *c = NULL;
    if (size > 65536 || (size && memmem(data, size, SECRET, strlen(SECRET)))) /* what a file itself says is no secret */
        return 0;
    write_part(base, data, split ? (size_t)(split - data) : size);
    if (split)
        write_part(over, split + 1, size - (size_t)(split - data) - 1);
    int err = config_load(&in, &c, &mistakes, &notes);
    if (!err != !mistakes.n || strlen(mistakes.text) >= sizeof(mistakes.text))
        __builtin_trap();
    must_not_show(mistakes.text);
    must_not_show(notes.text);
    if (c)
        look_at(c);
    config_free(c);
    unlink(base);
    if (split)
        unlink(over);
    return 0;
}
