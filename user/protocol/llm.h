/* Calls of language models and of MCP tools in HTTP exchanges, by what is on the wire. http1.c asks whether a request is
 * one, shows both bodies as they pass, and lets the facts be told with the ends of request and answer. What is recognised
 * stands in llm_api.def, what is read of the bodies in llm_field.def, what is told in docs/llm.md. */
#ifndef WF_PROTOCOL_LLM_H
#define WF_PROTOCOL_LLM_H

#include "protocol/http1_head.h"
#include "protocol/protocol.h"

#define LLM_CHUNK_EVENTS_MAX 1000 /* of a call, whatever is asked for */

struct llm;

/* A client's request with this head (bytes and facts): NULL when nothing says that it is such a call, or no memory.
 * `path` without query; `now`: boot ns. */
struct llm *llm_begin(const struct http1_head *head, struct slice bytes, struct slice path, struct privacy privacy, u64 now);
struct llm *llm_free(struct llm *l); /* returns NULL; NULL is fine */

/* The answer's head. false: its body tells nothing. */
bool llm_answer(struct llm *l, const struct http1_head *head, struct slice bytes);
/* Bytes of a body, transfer coding undone, in order; or `missing` bytes that were not captured. */
void llm_body(struct llm *l, enum side side, struct slice bytes, u64 missing, u64 now);
/* The framing of a body was lost: nothing more of it will be shown. */
void llm_body_lost(struct llm *l, enum side side);

/* Everything that the request, or both, said: name, attributes, error. Nothing at all when the bodies showed that it is no
 * such call. */
void llm_tell_request(struct llm *l, struct message *m);
void llm_tell_answer(struct llm *l, struct message *m);
/* The pieces of the answer that privacy.chunk_events asks for, boot ns; NULL: none. The caller's, who free()s it. */
struct span_marks *llm_marks_take(struct llm *l);
bool llm_whole(const struct llm *l); /* the answer has said that it is over, whatever the framing says */

/* llm_price.c. Prices of tokens, in US dollars for a million. The built-in file, or `text` in its place, for all later calls:
 * once, before any thread. -EBADMSG with a reason. */
int llm_prices_load(struct slice text, char *err, size_t err_size);

#endif
