/* The disk spool of one lane: request bodies in the order in which they were made, kept until a receiver has taken them, through
 * kill -9 and through a power cut as far as the fsync policy says.
 *
 * A directory holds segments NNNNNNNNNNNNNNNN.seg, named by the number of their first item, and a lock. A segment is a run of records; each has a header with its own
 * checksum (CRC-32C), so that damage costs the records it touches and no other: reading goes on at the next header that is
 * whole. Headers carry the running number of items, which tells how many were in what can't be read.
 *
 *     header  magic 4 · length 4 · number of the first item 8 · items 4 · body's CRC 4 · wall clock ns 8 · header's CRC 4 · state 4
 *     body    `length` bytes
 *
 * `state` becomes «done» in place when a receiver has answered; it is outside of the checksum. A record without that word is sent
 * again: at least once. A new process always begins a new segment. Beyond max_bytes the oldest segment goes; beyond max_age a
 * record is not sent any more. Integers are in the machine's order: a spool does not travel. Every call is safe from any thread. */
#ifndef WF_EXPORT_SPOOL_H
#define WF_EXPORT_SPOOL_H

#include "export/exporter.h"

#define SPOOL_BODY_MAX (64u << 20)

struct spool;
/* Items lost, with CAUSE_SPOOL_FULL, CAUSE_SPOOL_AGE or CAUSE_SPOOL_CORRUPT. Called with the spool's lock held. */
typedef void (*spool_lost_fn)(void *arg, enum export_cause cause, u64 items);

/* `name` is the lane's directory within o->dir; both are made (0700). -EBUSY: another process has it; `err` says so. */
int spool_open(const struct spool_options *o, const char *name, spool_lost_fn lost, void *arg, struct spool **ret, char *err,
               size_t err_size);
struct spool *spool_close(struct spool *s); /* returns NULL; what is not sent stays */

/* Keeps a body. -errno (ENOSPC, EIO …): nothing of it stays in the file. -EFBIG: it alone is more than max_bytes. */
int spool_append(struct spool *s, struct slice body, u64 items);
struct spool_record {
    struct slice body; /* the caller's until the next spool_next() */
    u64 items;
    u64 wall_ns;
    u64 first, segment, offset; /* for spool_done() */
};
/* The oldest record that is not done. 1: *ret; 0: there is none; -errno. Too old and damaged ones are passed over and told. */
int spool_next(struct spool *s, struct spool_record *ret);
/* It has been answered. Also when its segment is gone meanwhile: until the next spool_next() or the end it is not counted as lost. */
void spool_done(struct spool *s, const struct spool_record *r);

struct spool_state {
    u64 records, items; /* waiting */
    u64 bytes;          /* on disk */
    u64 oldest_ns;      /* wall clock of the oldest record waiting, 0: none */
};
void spool_state(struct spool *s, struct spool_state *ret);
u32 crc32c(u32 crc, const void *p, size_t n); /* Castagnoli, as RFC 3720 has it; start with 0 */

#endif
