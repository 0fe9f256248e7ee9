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
/* Takes a reference, gives one; NULL is fine. NULL also when it is to be changed and there is no memory for that. */
struct resource *resources_take(struct resources *r, struct resource *from);

#endif
