/* The OTLP file exporter's format: one ExportTraceServiceRequest in JSON a line (OTLP 1.5, «OTLP File Exporter»). */
#include "export/lines.h"

static int otlp_json_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
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

static enum export_result otlp_json_send(void *self, const struct batch *b, struct export_reply *ret)
{
    struct lines *l = self;
    if (json_otlp(&l->json, &l->group, b))
        l->json.failed = true;
    return lines_write(l, ret);
}

static void otlp_json_close(void *self)
{
    lines_close(self);
    free(self);
}

const struct exporter exporter_otlp_json = {
    .name = "otlp-json",
    .help = "otlp-json:FILE            one ExportTraceServiceRequest in JSON a line; '-' is standard output",
    .signals = SIGNAL_ALL,
    .open = otlp_json_open,
    .send = otlp_json_send,
    .close = otlp_json_close,
};
