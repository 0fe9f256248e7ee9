/* plugin: a processor of the user's own, in a shared object. */
#include "trace/plugin_host.h"
#include "pipeline/processor.h"

static int plugin_processor_open(const struct processor_spec *spec, void **ret, char *err, size_t err_size)
{
    struct plugin *p = calloc(1, sizeof(*p));
    if (!p)
        return -ENOMEM;
    int code = plugin_open(spec->plugin.file, spec->plugin.config, p, err, err_size);
    if (!code && !p->p->on_span && !p->p->on_log) {
        plugin_close(p);
        snprintf(err, err_size, "plugin %s is no processor%s", spec->plugin.file,
                 p->p->export_spans || p->p->export_logs ? "; as an exporter: --export plugin:FILE" : "");
        code = -EINVAL;
    }
    if (code)
        free(p);
    else
        *ret = p;
    return code == -EIO || code == -ENOENT || code == -EACCES || code == -EPROTO ? -EINVAL : code;
}

static enum fate plugin_on_span(void *self, struct span *s)
{
    struct plugin *p = self;
    return p->p->on_span && p->p->on_span(p->self, (struct wft_span *)s) == WFT_DROP ? FATE_DROP : FATE_KEEP;
}

static enum fate plugin_on_log(void *self, struct log_record *l)
{
    struct plugin *p = self;
    return p->p->on_log && p->p->on_log(p->self, (struct wft_log *)l) == WFT_DROP ? FATE_DROP : FATE_KEEP;
}

static void plugin_processor_close(void *self)
{
    plugin_close(self);
    free(self);
}

const struct processor processor_plugin = {
    .name = "plugin",
    .help = "a processor of your own in a shared object (include/wftrace/plugin.h)",
    .open = plugin_processor_open,
    .on_span = plugin_on_span,
    .on_log = plugin_on_log,
    .close = plugin_processor_close,
};
