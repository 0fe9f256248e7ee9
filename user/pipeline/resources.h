/* Resources are shared and not to be written to: a changed one is a copy, made once for each and remembered. */
#ifndef WF_PIPELINE_RESOURCES_H
#define WF_PIPELINE_RESOURCES_H

#include "base/table.h"
#include "trace/span.h"

struct resources {
    struct table *known;
    bool (*change)(void *arg, struct attr_set *attrs); /* false: nothing was changed */
    void *arg;
};
int resources_init(struct resources *r, bool (*change)(void *arg, struct attr_set *attrs), void *arg); /* -ENOMEM */
void resources_done(struct resources *r);
struct resource *resources_take(struct resources *r, struct resource *from); /* takes a reference, gives one; NULL is fine */

#endif
