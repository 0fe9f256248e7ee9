/* One file of a spool. Private to spool.c and spool_segment.c. Not for two threads: the spool has the lock. */
#ifndef WF_EXPORT_SPOOL_SEGMENT_H
#define WF_EXPORT_SPOOL_SEGMENT_H

#include "export/spool.h"

#define RECORD_MAGIC 0x31524657u /* "WFR1" */
#define RECORD_DONE  0x454e4f44u /* "DONE" */

struct record_head {
    u32 magic, length;
    u64 first; /* items before this one, in the spool's life */
    u32 items, body_crc;
    u64 wall_ns;
    u32 head_crc; /* of all before it */
    u32 state;
};
_Static_assert(sizeof(struct record_head) == 40, "as in spool.h");

struct segment {
    struct segment *next;
    u64 number; /* of its first item; the file's name */
    int fd;
    u64 size;
    u64 cursor;         /* nothing before it waits */
    u64 records, items; /* that wait */
    u64 end_item;       /* number after its last item; a torn end counts as one item or as what its header says */
    u64 oldest_ns;
};

/* Opens the file and counts what waits in it. -errno */
int segment_scan(int dir, u64 number, struct segment **ret);
int segment_create(int dir, u64 number, struct segment **ret);
struct segment *segment_free(struct segment *g); /* closes, returns NULL */
/* -errno; nothing of the record stays. */
int segment_append(struct segment *g, struct record_head *h, struct slice body);
/* The first whole header at or after `at`, done or not. Its offset, or g->size when there is none. */
u64 segment_find(const struct segment *g, u64 at, struct record_head *ret);
void segment_done(struct segment *g, u64 offset, const struct record_head *h);
int segment_name(u64 number, char *out, size_t size);

#endif
