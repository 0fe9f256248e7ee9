/* Connections: bytes by connection and direction, put in order, across gaps; which protocol it is; requests paired with
 * their answers. Fed with events (CONN DATA CLOSE TLS, and EXIT to drop a process's TLS state), it speaks to an
 * exchange_sink. One per shard, no locks. */
#ifndef WF_STREAM_STREAM_H
#define WF_STREAM_STREAM_H

#include "ingest/event.h"
#include "protocol/protocol.h"

/* What is known of a connection. Borrowed by sinks for the call. */
struct conn_info {
    u64 id, inode, peer_inode;
    u16 family, local_port, remote_port;
    u8 local[16], remote[16];
    enum role role;
    bool tls, was_open;
    u32 tgid;
};
/* "127.0.0.1", "::1" (v4-mapped shown as v4), or "" for Unix. */
void conn_address(const struct conn_info *c, bool remote, char out[48]);

struct exchange {
    const struct protocol *protocol;
    const struct conn_info *conn;
    u64 number;      /* n-th request of this connection since first seen, from 0 */
    u64 request_pos; /* stream offset of the request's first byte (plaintext offset under TLS) */
    u64 start;       /* boot ns: server: first request byte received; client: first request byte sent */
    u32 tid;         /* thread and unit of the request's first byte */
    u64 unit;
};
enum exchange_end {
    EXCHANGE_ANSWERED,
    EXCHANGE_CLOSED /* connection closed or process ended first */,
    EXCHANGE_LOST /* a gap or eviction hid the answer */
};
struct exchange_answer {
    enum exchange_end how;
    u64 first, last;                   /* boot ns of the answer's first and last byte; equal to the time of closing otherwise */
    u64 request_last;                  /* boot ns of the request's last byte */
    u64 request_bytes, response_bytes; /* on the wire, headers and body; plaintext under TLS */
    u32 tid;                           /* thread and unit of the answer's last byte */
    u64 unit;
    u32 err;                     /* socket error with EXCHANGE_CLOSED */
    const struct message *asked; /* what the request's end added: attributes, a better name; NULL: nothing */
};

struct exchange_sink {
    /* A request's head is known. The returned handle (may be NULL: not wanted) comes back in end(). */
    void *(*begin)(struct exchange_sink *s, const struct exchange *x, const struct message *request);
    /* More facts of the request's end (rare) or the answer. Always called once per begin, handle NULL or not.
     * `response` is NULL when none came. */
    void (*end)(struct exchange_sink *s, void *handle, const struct exchange *x, const struct message *response,
                const struct exchange_answer *a);
    /* A connection was made (after `start`), failed (err), or a connection's bytes passed (any protocol, also unknown). */
    void (*connected)(struct exchange_sink *s, const struct conn_info *c, u64 start, u64 end, u32 err, u32 tid, u64 unit);
};

/* What the kernel should do with a connection's bytes; NULL in replay. */
struct verdict_sink {
    void (*set)(struct verdict_sink *v, u64 conn, bool ignore, u32 budget /* 0: all */);
    void (*set_tls)(struct verdict_sink *v, u32 tgid, u64 ssl); /* all of this session's plaintext */
};

struct stream_options {
    u32 max_conns;    /* default 65536 */
    u32 max_open;     /* requests open per connection; default 4096 */
    u64 max_buffered; /* bytes held for all connections together; default 16 MiB */
    struct privacy privacy;
};
struct stream;
struct stream *stream_new(const struct stream_options *o, struct exchange_sink *sink, struct verdict_sink *verdicts);
void stream_privacy(struct stream *s, struct privacy p); /* of what begins to be read from here on */
struct stream *stream_free(struct stream *s);            /* ends open exchanges as EXCHANGE_LOST */
void stream_event(struct stream *s, const struct event *e);
void stream_tick(struct stream *s, u64 now_boot); /* once a second or so: idle buffers, patience of unbound TLS */

#endif
