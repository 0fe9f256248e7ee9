/* Loading plug-ins (include/wftrace/plugin.h): for the processor `plugin` and the exporter `plugin`. */
#ifndef WF_TRACE_PLUGIN_HOST_H
#define WF_TRACE_PLUGIN_HOST_H

#include "base/base.h"

#include <wftrace/plugin.h>

struct plugin {
    const struct wft_plugin *p;
    void *library, *self;
};
/* Loads, checks the version, opens. A bare name is a file of the working directory, never of the library path. -ENOENT,
 * -EACCES (others may write it), -EINVAL (no plug-in), -EPROTO (another version's), -EIO (its open() said no): all with a
 * sentence in err. */
int plugin_open(const char *file, const char *config, struct plugin *ret, char *err, size_t err_size);
void plugin_close(struct plugin *p); /* closes; the library stays loaded: its texts may live on as attribute keys */

#endif
