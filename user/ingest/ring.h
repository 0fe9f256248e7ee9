/* The reader of the kernel's ring. */
#ifndef WF_INGEST_RING_H
#define WF_INGEST_RING_H

#include "base/base.h"

struct ring_reader;
/* `map_fd`: the ring's map; `sleeping`: the word of the control page that tells the kernel we sleep. -errno. */
int ring_open(int map_fd, u32 *sleeping, void (*take)(void *arg, const void *record, size_t len), void *arg,
              struct ring_reader **ret);
struct ring_reader *ring_close(struct ring_reader *r); /* returns NULL */
/* Hands over what waits; when nothing does, sleeps at most timeout_ms (in steps of 1 to 10 ms, longer the longer it has been
 * quiet) and looks again. Count of records, or -errno. */
int ring_turn(struct ring_reader *r, int timeout_ms);

#endif
