/* One finished span, log record or metric point a line, flat, with stable names, for jq and for tests. */
#include "export/lines.h"

static enum export_result console_json_send(void *self, const struct batch *b, struct export_reply *ret)
{
    struct lines *l = self;
    for (size_t i = 0; i < b->n; i++)
        if (b->signal == SIGNAL_LOGS)
            json_log(&l->json, b->logs[i]);
        else if (b->signal == SIGNAL_METRICS)
            json_points(&l->json, b->metrics[i]);
        else
            json_span(&l->json, b->spans[i]);
    return lines_write(l, ret);
}

const struct exporter exporter_console_json = {
    .name = "console:json",
    .help = "console:json[:FILE]       one finished span in JSON a line, on standard error or into a file; with --logs log "
            "records too",
    .signals = SIGNAL_ALL,
    .open = lines_exporter_open,
    .send = console_json_send,
    .close = lines_exporter_close,
};
