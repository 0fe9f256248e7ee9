/* Inside of stream/. A *flow* is one two-way run of plaintext: a connection's bytes, or a TLS session's. Each direction is
 * a *half*: what came in order is parsed at once and only what a parser still needs is kept, in a *hold* that is given
 * back when empty. An idle flow holds its protocol's state and nothing else. */
#ifndef WF_STREAM_INTERNAL_H
#define WF_STREAM_INTERNAL_H

#include "base/owners.h"
#include "base/table.h"
#include "self/ledger.h"
#include "stream/stream.h"

#define HOLD_MAX    (64 * 1024)           /* bytes a half may keep: longer messages are cut */
#define SNIFF_BYTES 4096                  /* undecided bytes of a run */
#define SNIFF_RUNS  8                     /* undecided runs until a connection is ignored */
#define BAD_MAX     3                     /* bad messages in a row until a connection is given up */
#define RACE_NS     (5 * NSEC_PER_MSEC)   /* how much later than its answer's a request's record may be stamped */
#define PATIENCE_NS (100 * NSEC_PER_MSEC) /* how long an answer waits for its request, or a piece for the one before */
#define STASH_MAX   16                    /* pieces of a half that wait for the one before */

/* Where and when bytes passed. */
struct stamp {
    u64 time, unit;
    u32 tid;
};

/* hold.c: bytes with the stamps they came with, bounded per half and in all. */
#define HOLD_MARKS 12
struct hold {
    u32 n, cap;
    u32 n_marks;
    struct {
        u32 at;
        struct stamp stamp;
    } marks[HOLD_MARKS];
    struct hold *next_free;
    u8 bytes[];
};
struct hold_pool {
    struct hold *free;
    u32 n_free;
    u64 held, max;
};
bool hold_add(struct hold_pool *pool, struct hold **h, struct slice bytes, const struct stamp *stamp); /* false: no room */
void hold_drop(struct hold_pool *pool, struct hold **h, size_t n); /* from the front; frees when empty */
struct stamp hold_stamp(const struct hold *h, size_t at);
void hold_pool_free(struct hold_pool *pool);

/* A piece that came before the bytes in front of it. */
struct piece {
    struct piece *next;
    u64 pos, since;
    u32 len, n;
    bool tail;
    struct stamp stamp;
    u8 bytes[];
};

/* A request that waits. */
struct asked {
    struct asked *next;
    void *handle;
    struct exchange x;
    struct message *kept;  /* hidden: the request, in case it fails; else facts told at its end, or NULL */
    struct message *early; /* the first failure among several answers */
    u64 bytes, last;       /* last: 0 while the request runs */
    u64 answer_bytes, answer_first;
    u16 left;      /* answers */
    bool hidden;   /* no_span */
    bool doubtful; /* requests before it may have been lost: its answer can't be told */
};

struct half {
    u64 end;  /* stream offset after the last byte seen */
    u64 skip; /* bytes from there on that don't matter */
    u64 hole; /* stream offset up to which bytes are known to be missing; 0: none */
    u64 lost; /* bytes missing before the next one: parser must find its feet */
    struct hold *hold;
    struct piece *stash;
    struct message *msg;      /* answers: the begun one; pool-owned */
    u64 begun_at;             /* stream offset of the running message's first byte */
    struct stamp first, last; /* of the running message; of the last byte parsed */
    u64 waiting_since;        /* answers that wait for their request: time of the first; 0: none */
    u8 n_stash, bad;
    bool seen;        /* `end` is known */
    bool begun, told; /* a message runs; its head was told */
    bool ends;        /* it ends when `skip` is over */
    bool orphan;      /* answers: when it began, nothing was asked */
    bool lossy;       /* bytes of it are missing */
    bool sync;        /* the parser must find its feet */
    bool sync_run;    /* the first byte it is to be found in begins a run */
    bool new_run;     /* bytes at hand are the first of a run */
    bool waived;      /* answers: parse without waiting for a request */
    bool show;        /* the parser wants to see what it skips */
};

enum flow_mode { FLOW_SNIFF, FLOW_KNOWN, FLOW_IGNORED, FLOW_TLS };

struct flow {
    struct stream *stream;
    struct conn_info *conn; /* never NULL */
    u64 verdict_id;         /* connection to give verdicts on; 0: none */
    u64 ssl;                /* of a TLS session's flow: its object */
    const struct protocol *protocol;
    void *state;
    struct half half[2]; /* by enum dir */
    struct asked *first, *last;
    u64 number;
    u32 n_open;
    u8 mode, runs;
    int8_t last_dir; /* -1: none yet */
    bool client;     /* our end asks; valid with a protocol */
    bool doubt;      /* bytes were lost: until the client asks anew, whose answer is whose can't be told */
    bool joined;     /* offsets count from an unknown place */
    bool unsure;     /* an answer may be that of a request never seen */
    bool run_dead;   /* this run's bytes are of no known protocol */
    bool plaintext;  /* of a TLS session */
    bool whole;      /* is captured without a limit */
};

struct conn {
    struct conn_info info;
    struct flow flow;
    u64 tls_key[2]; /* the TLS session bound to it: tgid, ssl */
    bool bound;     /* to tls_key */
    bool announced; /* the sink was told */
    u32 tls_calls;  /* ciphertext calls while no session was bound */
};

struct stream {
    struct stream_options o;
    struct exchange_sink *sink;
    struct verdict_sink *verdicts;
    struct table *conns;           /* id → struct conn */
    struct table *sessions;        /* tgid, ssl → struct tls_session */
    struct owners *session_owners; /* processes */
    struct table *threads;         /* tid → struct tls_thread */
    struct hold_pool holds;
    struct message *scratch; /* what parsers write into; swapped for a spare when it must be kept */
    struct message *spares[64];
    u32 n_spares;
    struct asked *free_asked;
    u32 n_free_asked;
    u64 now, lost_at; /* lost_at: when records were last lost */
};

/* flow.c */
void flow_init(struct flow *f, struct stream *s, struct conn_info *conn, u64 verdict_id);
struct chunk {
    u64 pos; /* of bytes.p[0] */
    u32 len; /* true length of the call */
    bool tail;
    struct slice bytes;
    struct stamp stamp;
};
void flow_data(struct flow *f, enum dir d, const struct chunk *c);
void flow_tick(struct flow *f, u64 now);
void flow_end(struct flow *f, enum exchange_end how, u64 time,
              u32 err); /* closes: gives everything back; the flow may be used anew after flow_init */
void flow_ignore(struct flow *f);
void flow_want_all(struct flow *f);
void flow_turn_tls(struct flow *f);
enum side flow_side(const struct flow *f, enum dir d);

/* parse.c: a half's bytes → messages */
void half_take(struct flow *f, enum dir d, struct slice bytes, const struct stamp *stamp);
void half_gap(struct flow *f, enum dir d, u64 n, const struct stamp *stamp); /* the next n bytes are missing */
void half_cut(struct flow *f, enum dir d);      /* what is held goes on in bytes that are missing: tell what there is */
void half_run_held(struct flow *f, enum dir d); /* parse what is held */
void half_flush(struct flow *f, enum dir d);    /* parse what is held, without waiting for a request */
void half_clear(struct flow *f, enum dir d);    /* gives everything back; offsets stay */

/* pair.c: requests and their answers. `m` is the stream's scratch message: kept by swapping it. */
void pair_request(struct flow *f, struct half *h);
void pair_request_done(struct flow *f, struct half *h, u64 end);
void pair_answer(struct flow *f, struct half *h, u64 end, struct message *m);
void pair_answer_partly(struct flow *f, struct half *h); /* what was told of the running answer is all there will be */
/* The connection ended in the middle of an answer whose head was told: its exchange ends CLOSED, with what the head said. */
void pair_answer_cut(struct flow *f, struct half *h, u64 time, u32 err);
void pair_end_all(struct flow *f, enum exchange_end how, u64 time, u32 err, bool keep_first);
struct message *scratch_keep(struct stream *s); /* the scratch message; another takes its place. NULL: no memory */
void message_give(struct stream *s, struct message *m);

/* detect.c */
void detect(struct flow *f, enum dir d, struct slice bytes, const struct stamp *stamp);
bool looks_tls(struct slice head);
void flow_speak(struct flow *f, const struct protocol *p, bool client); /* p: NULL: opaque */

/* tls.c */
void tls_piece(struct stream *s, const struct event *e);
void tls_neighbour(struct stream *s, struct conn *c, const struct event *e); /* a DATA event, before it is parsed */
void tls_conn_closed(struct stream *s, struct conn *c, enum exchange_end how, u64 time, u32 err);
void tls_process_gone(struct stream *s, u32 tgid, u64 time);
void tls_tick(struct stream *s, u64 now);
int tls_init(struct stream *s);
void tls_free(struct stream *s);

#endif
