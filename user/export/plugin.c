/* plugin:FILE[,CONFIG]: an exporter of the user's own, in a shared object. One instance for each signal that it exports. */
#include "export/exporter.h"
#include "trace/plugin_host.h"

struct plugin_lane {
    struct plugin plugin;
    bool logs; /* which signal this lane carries */
};

static int plugin_lane_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    char file[sizeof(spec->target)];
    struct plugin_lane *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    memcpy(file, spec->target, sizeof(file));
    char *comma = strchr(file, ',');
    if (comma)
        *comma++ = 0;
    l->logs = spec->signal == SIGNAL_LOGS;
    int code = plugin_open(file, comma, &l->plugin, err, err_size);
    if (!code && !l->plugin.p->export_spans && !l->plugin.p->export_logs) {
        plugin_close(&l->plugin);
        snprintf(err, err_size, "plugin %s is no exporter%s", file,
                 l->plugin.p->on_span ? "; as a processor: --plugin FILE" : "");
        code = -EINVAL;
    }
    if (code)
        free(l);
    else
        *ret = l;
    return code;
}

static enum export_result plugin_lane_send(void *self, const struct batch *b, struct export_reply *ret)
{
    struct plugin_lane *l = self;
    const struct wft_plugin *p = l->plugin.p;
    int result = WFT_DELIVERED; /* a signal that it leaves out is no loss */
    if (l->logs && p->export_logs)
        result = p->export_logs(l->plugin.self, (const struct wft_log *const *)b->logs, b->n, ret->why, sizeof(ret->why));
    else if (!l->logs && p->export_spans)
        result = p->export_spans(l->plugin.self, (const struct wft_span *const *)b->spans, b->n, ret->why, sizeof(ret->why));
    return result == WFT_DELIVERED ? EXPORT_OK : result == WFT_RETRY ? EXPORT_RETRY : EXPORT_DROP;
}

static void plugin_lane_close(void *self)
{
    struct plugin_lane *l = self;
    plugin_close(&l->plugin);
    free(l);
}

const struct exporter exporter_plugin = {
    .name = "plugin",
    .help = "plugin:FILE[,CONFIG]      an exporter of your own in a shared object (include/wftrace/plugin.h)",
    .signals = SIGNAL_BIT(SIGNAL_TRACES) | SIGNAL_BIT(SIGNAL_LOGS),
    .open = plugin_lane_open,
    .send = plugin_lane_send,
    .close = plugin_lane_close,
};
