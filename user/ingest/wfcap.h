/* The capture file (.wfcap): what the shard saw, in order, so that any run can be looked at again without privileges.
 *
 *     8 bytes  "WFCAP\r\n\x1a"          (a transfer that changes line ends breaks the magic)
 *     u32 version · u32 record ABI · u32 header length · u32 CRC-32 of the header
 *     header   "key=value\0" pairs: kernel, host, arch, seed, wall_minus_boot, service, privacy, root, rules:FILE …
 *     frames   u32 length · u32 kind · u32 CRC-32 of the payload · payload
 *
 * All little-endian. Frames: a record as it came from a ring (bpf/abi.h, opaque here), a tick (the clock that drove
 * time-outs, so that a replay takes the same decisions), a site (what the hits of one probe mean: it stands before the
 * first of them; since version 2), and one END frame with the totals. A file without END was cut short; what came before is still good. The reader trusts nothing: lengths have ceilings, buffers have fixed sizes. */
#ifndef WF_INGEST_WFCAP_H
#define WF_INGEST_WFCAP_H

#include "base/base.h"

#define WFCAP_VERSION    2 /* 1 is read too */
#define WFCAP_HEADER_MAX (1u << 20)
#define WFCAP_RECORD_MAX (1u << 18)

enum wfcap_kind { WFCAP_RECORD = 1, WFCAP_TICK = 2, WFCAP_END = 3, WFCAP_SITE = 4 };

struct wfcap_tick {
    u64 now_boot;        /* ns */
    s64 wall_minus_boot; /* ns */
};
struct wfcap_site {
    u32 number, rule, role;      /* as in config/sites.h, opaque here */
    struct slice function, file; /* without their NUL; cut to WFCAP_SITE_TEXT */
};
#define WFCAP_SITE_TEXT 4096
struct wfcap_totals {
    u64 records, ticks, bytes; /* bytes: of record payloads */
    u64 oversized;             /* records above WFCAP_RECORD_MAX, left out by the writer */
};

/* --- the header's pairs, built before the file is opened --- */
struct wfcap_header {
    char *text;
    size_t len, room;
};
/* Adds "key=value"; value is cut at its first NUL. -EMSGSIZE above the ceiling, -ENOMEM. */
int wfcap_header_add(struct wfcap_header *h, const char *key, struct slice value);
void wfcap_header_done(struct wfcap_header *h);
/* Value of `key`; empty when absent. Borrowed from the header. */
struct slice wfcap_header_get(struct slice text, const char *key);
/* The next pair whose key starts with `prefix`, from *at on (0 first); false at the end. ret_key is without the prefix. */
bool wfcap_header_each(struct slice text, const char *prefix, size_t *at, struct slice *ret_key, struct slice *ret_value);

extern const u32 wfcap_abi; /* the record layout (bpf/abi.h) that this build writes and reads */

/* --- writing --- */
struct wfcap_writer;
/* Makes the file (mode 0600: it holds payload bytes). -errno. */
int wfcap_create(const char *path, u32 abi, const struct wfcap_header *h, struct wfcap_writer **ret);
/* -errno at the first failure (ENOSPC …); afterwards nothing more is written and 0 comes back. */
int wfcap_write_record(struct wfcap_writer *w, const void *record, size_t len);
int wfcap_write_tick(struct wfcap_writer *w, const struct wfcap_tick *tick);
int wfcap_write_site(struct wfcap_writer *w, const struct wfcap_site *site);
/* Writes END, closes, frees. -errno when the file is not whole. NULL is fine. */
int wfcap_finish(struct wfcap_writer *w, struct wfcap_totals *ret);

/* --- reading --- */
struct wfcap_reader;
struct wfcap_frame {
    enum wfcap_kind kind; /* RECORD, TICK, SITE */
    struct slice record;  /* RECORD: aligned to 8; lives until the next call */
    struct wfcap_tick tick;
    struct wfcap_site site; /* its text lives until the next call */
};
enum wfcap_status {
    WFCAP_OK,
    WFCAP_DONE,      /* END seen and its totals agree */
    WFCAP_TRUNCATED, /* the file stops in mid-frame or without END */
    WFCAP_CORRUPT,   /* a checksum, length, kind or total that cannot be */
};
/* Takes over `f` also on failure. -EBADMSG: not a capture file or a broken header; -EPROTO: a version or record ABI of
 * another wftrace; the reason as a sentence in err. */
int wfcap_open(FILE *f, u32 abi, struct wfcap_reader **ret, char *err, size_t err_size);
struct slice wfcap_header_text(const struct wfcap_reader *r);
enum wfcap_status wfcap_next(struct wfcap_reader *r, struct wfcap_frame *ret); /* ret is untouched unless OK */
void wfcap_totals(const struct wfcap_reader *r, struct wfcap_totals *ret);     /* of what was read so far */
struct wfcap_reader *wfcap_close(struct wfcap_reader *r);                      /* NULL is fine; returns NULL */

#endif
