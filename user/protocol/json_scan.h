/* JSON read as it passes: of a document of any size only the scalars that somebody wants are looked at, by their path, and
 * nothing but a path and one piece of text is ever kept. A path is written `choices[].message.tool_calls[].id`.
 *
 * It reads more than RFC 8259 allows (it doesn't mind a comma too many) and never less, but for paths that are longer than
 * JSON_PATH bytes or deeper than JSON_DEPTH: those are nobody's. */
#ifndef WF_PROTOCOL_JSON_SCAN_H
#define WF_PROTOCOL_JSON_SCAN_H

#include "base/base.h"

#define JSON_DEPTH 64
#define JSON_PATH  160
#define JSON_TEXT  512

enum json_type { JSON_STRING, JSON_NUMBER, JSON_TRUE, JSON_FALSE, JSON_NULL, JSON_OBJECT /* … has ended */ };

struct json_sink {
    /* A value begins, or an object has ended, at `path`: what the caller calls it; < 0: not wanted. */
    int (*want)(void *arg, struct slice path, bool object);
    /* The text of a wanted value, escapes undone; long strings come in pieces, `more` with all but the last. */
    void (*value)(void *arg, int what, enum json_type type, struct slice text, bool more);
    void *arg;
};

struct json_scan {
    u8 state, escape; /* escape: hex digits of \uXXXX still to come, or what a backslash waits for */
    u8 depth;         /* containers open, up to JSON_DEPTH; `over` counts those beyond */
    u8 blind;         /* from this depth on the path didn't fit; 0: it does */
    bool in_key;
    bool known; /* the container open now is an array whose scalars are all called `what_all` */
    u32 over, code, high;
    int what, what_all;
    u64 arrays;             /* bit n: container n is an array */
    u16 at[JSON_DEPTH + 1]; /* length of the path of container n */
    u16 path_n, text_n;
    char path[JSON_PATH];
    u8 text[JSON_TEXT];
};

void json_begin(struct json_scan *j); /* a document begins */
/* true: fine so far. false: this is no JSON, nor will the rest be looked at until json_begin(). */
bool json_feed(struct json_scan *j, const struct json_sink *sink, struct slice in);
bool json_over(const struct json_scan *j);  /* the document is whole */
bool json_fresh(const struct json_scan *j); /* nothing of it has come yet */

/* Of a document whose root is an object, only the last bytes are known: reads the members of the root that lie in them
 * whole. Sound, since read backwards from its end it is certain what is inside a string. */
void json_tail(struct json_scan *j, const struct json_sink *sink, struct slice end);

#endif
