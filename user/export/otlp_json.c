/* The OTLP file exporter's format: one Export{Trace,Logs,Metrics}ServiceRequest in JSON a line (OTLP 1.5, «OTLP File Exporter»). */
#include "export/lines.h"

static enum export_result otlp_json_send(void *self, const struct batch *b, struct export_reply *ret)
{
    struct lines *l = self;
    if (json_otlp(&l->json, &l->group, b))
        l->json.failed = true;
    return lines_write(l, ret);
}

const struct exporter exporter_otlp_json = {
    .name = "otlp-json",
    .help =
        "otlp-json:FILE            one export request of OTLP in JSON a line; '-' is standard output; FILE?rotate=100MB&keep=5",
    .signals = SIGNAL_ALL,
    .open = lines_exporter_open,
    .send = otlp_json_send,
    .close = lines_exporter_close,
};
