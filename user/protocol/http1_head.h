/* An HTTP/1.x message head as facts, borrowed from the bytes it was read from. */
#ifndef WF_PROTOCOL_HTTP1_HEAD_H
#define WF_PROTOCOL_HTTP1_HEAD_H

#include "base/base.h"

struct http1_head {
    struct slice method, target; /* requests */
    unsigned status;             /* responses */
    u8 minor;                    /* of the version: 0 or 1 */
    bool has_length, chunked, upgrade, bad_framing /* lengths that contradict each other */;
    u64 length;
    struct slice host, user_agent, upgrade_to, traceparent, tracestate, baggage;
};

/* Length of the head that begins at `in`, with its empty line; 0 when the empty line isn't there yet. */
size_t http1_head_len(struct slice in);
/* Reads a start line and fields from a head, whole or cut short (then the last line, if unended, is left out, but for the
 * start line). -EBADMSG when the start line is none. */
int http1_head_read(struct slice head, bool request, struct http1_head *ret);
/* Takes the next field off *fields (bytes of a head; its start line has no colon before its first space, so it is passed
 * over). false: there are no more. */
bool http1_field_next(struct slice *fields, struct slice *ret_name, struct slice *ret_value);
/* Can `in` be the beginning of a message? 1 yes, 0 not known yet, -1 no. Strict: the method must be a known one, or the
 * line must end in an HTTP/1.x version. */
int http1_request_begins(struct slice in);
int http1_response_begins(struct slice in);
bool http1_method_known(struct slice method);
bool http1_token(struct slice s);

#endif
