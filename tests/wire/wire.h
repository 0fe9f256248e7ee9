/* Readable captures → events → the stream → text. A capture is lines:
 *
 *     # a remark                     : role server      : privacy off      : joined       : chunks N
 *     > text     what the client sent in one call, with C escapes (\r \n \t \0 \\ \xNN); the line's own end is no byte
 *     < text     what the server sent
 *     >[N] text  a call of N bytes of which `text` was captured; >[N]…text its last bytes, captured apart (a tail)
 *     >~N        N bytes that no event told of
 *     @N         the clock stands at N µs (it advances by 10 a call by itself)
 *     .N         the tick comes at N µs
 *     close [ERRNO]
 *
 * role: which end is traced (client). joined: the connection was open before. */
#ifndef WF_TESTS_WIRE_H
#define WF_TESTS_WIRE_H

#include "stream/stream.h"

#define WIRE_OPS 512

enum wire_kind { WIRE_CALL, WIRE_LOST, WIRE_TICK, WIRE_CLOSE };
struct wire_op {
    enum wire_kind kind;
    bool from_client, tail;
    u64 time;
    size_t at, n; /* in bytes */
    u32 len;      /* of the call; N of lost bytes; errno of close */
};
struct wire_case {
    struct wire_op ops[WIRE_OPS];
    size_t n_ops, n_bytes;
    bool server, keep_values, joined;
    u16 chunk_events;
    u8 *bytes;
};
/* 0, -errno, or the number of the line that can't be read. */
int wire_load(const char *path, struct wire_case *ret);
void wire_free(struct wire_case *c);

/* How a run bends the case. */
struct wire_bend {
    size_t piece;          /* calls come in pieces of so many bytes; 0: whole */
    size_t cut_op, cut_at; /* this call comes in two; cut_at 0: none */
    size_t drop_op;        /* this call isn't told of; SIZE_MAX: none */
    bool garbage;          /* noise both ways before the close */
};
/* What the sink heard, as text that the caller frees. */
char *wire_run(const struct wire_case *c, const struct wire_bend *b);

#endif
