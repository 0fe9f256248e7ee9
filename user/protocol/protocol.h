/* The protocol contract: bytes of one connection → messages. A family member is one file that ends in its
 * `const struct protocol` and one line in protocol.def; its cases lie in tests/wire/<name>/.
 *
 * A parser is pure: no clock, no log, no allocation (but for what done() gives back). It sees the bytes of one direction at a time (REQUEST or RESPONSE;
 * stream/ turns send/receive into that by the connection's role), borrows them, and writes what a message says straight
 * into `struct message` with the semantic conventions' names. Both directions share one state. */
#ifndef WF_PROTOCOL_PROTOCOL_H
#define WF_PROTOCOL_PROTOCOL_H

#include "trace/span.h"

enum side { SIDE_REQUEST, SIDE_RESPONSE }; /* travelling from the client, from the server */

/* What may be written down (rows E8). strict: no literals, values, bodies, query strings. */
struct privacy {
    bool keep_values; /* --privacy off: statements and keys as they are */
    u16 chunk_events; /* pieces of a model's streamed answer that become events of its span, at most */
};

enum sniff {
    SNIFF_NO,
    SNIFF_MAYBE, /* more bytes may tell */
    SNIFF_REQUEST,
    SNIFF_RESPONSE,
    SNIFF_FORM, /* has the form of a request, and of many an answer: it is one if it comes from the end that connected */
};

/* What one message says. Reused by its owner; cleared by message_clear(). */
struct message {
    char name[128];            /* low-cardinality span name; requests */
    const char *error_type;    /* set: the exchange failed (text in attrs' arena or static) */
    const char *error_message; /* or NULL */
    char traceparent[64];      /* W3C, "" when absent; requests */
    char tracestate[128];
    char baggage[512];
    u16 answers;                    /* requests: how many responses will come; 0 = one-way. Default 1 */
    bool interim;                   /* responses: a 1xx or notification: does not answer */
    bool no_span;                   /* housekeeping (start-up, authentication …): paired, shown only if it fails */
    bool silent;                    /* with no_span: not even then, clients don't mind */
    u64 time;                       /* told to the parser: boot ns of the first byte that it is given */
    const struct span_marks *marks; /* responses: points in time, boot ns; the parser's until it is called again. Or NULL */
    struct attr_set attrs;
    struct attr attr_v[40];
    char text_v[3072];
};
void message_clear(struct message *m);
/* Adds to a message what its end says: attributes, a better name, its error. */
void message_add(struct message *to, const struct message *end);

/* What a parser is told when a connection begins to speak its protocol. */
struct session {
    bool server; /* our end is the server */
    bool tls;    /* the bytes are a TLS session's plaintext */
    bool joined; /* the connection was open before it was seen */
    struct privacy privacy;
};

enum parse_status {
    PARSE_MORE,    /* needs more bytes than given; `used` may still be > 0 */
    PARSE_NEXT,    /* consumed `used` > 0 bytes that belong to the message told next: its time counts from them */
    PARSE_SKIP,    /* consumed `used`; the next `skip` bytes don't matter, captured or not. Outside a message they are nobody's */
    PARSE_HEAD,    /* *ret_msg begins a message whose end will be told by PARSE_DONE */
    PARSE_DONE,    /* the begun message of this side ends here (after ret_used [+ ret_skip] bytes); *ret_msg may add facts */
    PARSE_MESSAGE, /* HEAD and DONE in one */
    PARSE_BAD,     /* not this protocol's; caller resynchronises or gives up */
    PARSE_SWITCH,  /* the connection speaks something else from here on (TLS, WebSocket, replication …) */
};
struct parse_result {
    enum parse_status status;
    size_t used;
    u64 skip;              /* with SKIP, HEAD, DONE, MESSAGE: bytes after `used` that don't matter; they count as the message's */
    bool show;             /* those skipped bytes are for body(); the connection is captured whole from here on */
    const char *switch_to; /* protocol name, "tls", or NULL: opaque */
};

struct protocol {
    const char *name;  /* configuration key, scope of its spans */
    size_t state_size; /* bytes, zeroed by stream/ before init */
    u32 want;          /* bytes per run that the kernel should capture; 0: all */
    enum sniff (*sniff)(struct slice head);
    void (*init)(void *st, const struct session *session);
    void (*done)(void *st); /* gives back what the state owns; NULL: nothing */
    /* `msg` is clear on entry. Called again until it says MORE, also with no bytes at all, so that it can emit messages
     * that need none (used = 0). */
    struct parse_result (*parse)(void *st, enum side side, struct slice in, struct message *msg);
    /* Of the bytes after `in` (what parse() said MORE to) nothing was captured: tell what is known of the message that
     * they begin: HEAD or MESSAGE, all of `in` used, `skip` = what is known to be missing of it. MORE: nothing to tell.
     * NULL: never anything. */
    struct parse_result (*cut)(void *st, enum side side, struct slice in, struct message *msg);
    /* Skipped bytes that were to be shown, in order; or how many of them are `missing`. `time`: boot ns. NULL: shows none. */
    void (*body)(void *st, enum side side, struct slice bytes, u64 missing, u64 time);
    /* After a gap or PARSE_BAD: offset in `in` at which a message (or the rest of the running one that still can be told)
     * surely begins, or -1: asked again with more. The side is reset when it answers >= 0. `lost`: bytes missing (0 after
     * BAD). `run`: `in` begins a run, the first bytes after a change of direction. */
    ptrdiff_t (*resync)(void *st, enum side side, struct slice in, u64 lost, bool run);
    /* Bytes were lost, and now the client asks anew: whatever it asked before has been answered or given up. NULL: no
     * memory of requests. */
    void (*settle)(void *st);
    /* The connection closed. DONE: the begun message ends with it (HTTP/1.0 body). MESSAGE: what was read so far is a whole
     * answer after all. MORE: nothing. NULL: nothing ends that way. */
    enum parse_status (*eof)(void *st, enum side side, struct message *msg);
};
extern const struct protocol *const protocols[]; /* NULL-terminated, in order of sniffing, from protocol.def */
const struct protocol *protocol_by_name(const char *name);

/* sql.c: what a statement does, for names and attributes. `summary` as db.query.summary wants it: operations and targets
 * in order («SELECT orders users», «INSERT shipping SELECT orders»); several statements are joined by «; ». `operation`
 * is the first verb of the outermost level. `collection` is the target when there is just one, else "". Texts that don't
 * fit are cut between words. Never fails: what isn't understood is left out. */
struct sql_facts {
    char summary[256], operation[32], collection[128];
};
void sql_facts_of(struct slice sql, struct sql_facts *ret);
void sql_summarise(struct slice sql, char *ret_summary, size_t summary_size, char *ret_operation, size_t op_size);

/* The statement with every literal replaced by `?`, comments removed, white space and IN-lists folded. A literal that the
 * text breaks off in counts as one. NUL-terminated, cut on a character boundary to fit; the length is returned. */
size_t sql_strip_literals(struct slice sql, char *out, size_t size);

/* route.c: /orders/8231/items/8f14e45f → /orders/{id}/items/{id}: the stated rule of docs/configuration.md. */
size_t route_of_path(struct slice path, char *out, size_t size);

#endif
