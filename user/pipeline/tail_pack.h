/* A span without its empty room: what waits for a decision takes some 0.5 KB instead of 5. */
#ifndef WF_PIPELINE_TAIL_PACK_H
#define WF_PIPELINE_TAIL_PACK_H

#include "trace/span.h"

struct packed {
    struct packed *next;
    const char *rule; /* why it was kept; set by the tail when decided */
    u64 th;           /* threshold to hand on */
    bool foreign;     /* what the trace stands for is not known: no th is made up */
    u32 bytes;        /* of this allocation */
};
struct packed *span_pack(struct span *s);   /* takes the reference; NULL on no memory (the reference stays) */
struct span *span_unpack(struct packed *p); /* frees p; NULL: the pool's ceiling is reached (p stays) */
void packed_free(struct packed *p);
#endif
