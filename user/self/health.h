/* Is wftrace well? What /healthz and /readyz say. Written by the one who knows, read from any thread. */
#ifndef WF_SELF_HEALTH_H
#define WF_SELF_HEALTH_H

#include "base/base.h"

void health_beat(u64 now_boot);  /* the shard's thread came round */
void health_ready(bool ready);   /* probes are in place, exporters open */
bool health_alive(u64 now_boot); /* it came round in the last 10 s, or has not begun */
bool health_is_ready(void);

#endif
