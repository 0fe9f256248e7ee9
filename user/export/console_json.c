/* One finished span a line, flat, with stable names, for jq and for tests. */
#include "export/lines.h"

static int console_json_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    struct lines *l = malloc(sizeof(*l));
    if (!l)
        return -ENOMEM;
    int e = lines_open(l, spec->target, err, err_size);
    if (e)
        free(l);
    else
        *ret = l;
    return e;
}

static enum export_result console_json_send(void *self, const struct batch *b, struct export_reply *ret)
{
    struct lines *l = self;
    for (size_t i = 0; i < b->n; i++)
        json_span(&l->json, b->spans[i]);
    return lines_write(l, ret);
}

static void console_json_close(void *self)
{
    lines_close(self);
    free(self);
}

const struct exporter exporter_console_json = {
    .name = "console:json",
    .help = "console:json[:FILE]       one finished span in JSON a line, on standard error or into a file",
    .open = console_json_open,
    .send = console_json_send,
    .close = console_json_close,
};
