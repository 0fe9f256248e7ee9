/* Inside of llm*.c: what a call is made of. */
#ifndef WF_PROTOCOL_LLM_INTERNAL_H
#define WF_PROTOCOL_LLM_INTERNAL_H

#include "protocol/content.h"
#include "protocol/json_scan.h"
#include "protocol/llm.h"

enum llm_dialect {
    LLM_DIALECT_CHAT = 1,
    LLM_DIALECT_RESPONSES = 2,
    LLM_DIALECT_ANTHROPIC = 4,
    LLM_DIALECT_GEMINI = 8,
    LLM_DIALECT_CONVERSE = 16,
    LLM_DIALECT_INVOKE = 32,
    LLM_DIALECT_OLLAMA = 64,
    LLM_DIALECT_MCP = 128,
};

/* What a field of a body says: texts, then numbers, then what needs a word of its own. */
enum llm_what {
#define LLM_TEXT(fact, attribute) LLM_##fact,
#include "protocol/llm_field.def"
    LLM_TEXTS,
    LLM_LAST_TEXT = LLM_TEXTS - 1,
#define LLM_NUMBER(fact, attribute, kind) LLM_##fact,
#include "protocol/llm_field.def"
    LLM_FACTS,
    LLM_STREAM,
    LLM_FINISH,
    LLM_STATUS,
    LLM_EVENT,
    LLM_EVENT_CODE,   /* an error's, if the event is one: other events have code in it that a model wrote */
    LLM_REFUSED_TYPE, /* of an error at the root: only of an answer that refuses */
    LLM_REFUSED_MESSAGE,
    LLM_OVER,
    LLM_CONTENT, /* a piece of a streamed answer: counted */
    LLM_PIECE,   /* and text of it */
    LLM_ANSWER,  /* text of an answer */
    LLM_PROMPT,
    LLM_ROLE,
    LLM_ELEMENT,
    LLM_TOOL_ID,
    LLM_TOOL_NAME,
    LLM_TOOL_END,
    LLM_TOOL_ERROR,
    LLM_NESTED,
};
#define LLM_NUMBERS (LLM_FACTS - LLM_TEXTS)

/* How a body is cut into JSON documents. */
enum llm_framing {
    FRAMING_NONE,   /* it isn't read */
    FRAMING_JSON,   /* one document */
    FRAMING_SSE,    /* server-sent events: one a `data` */
    FRAMING_LINES,  /* one a line */
    FRAMING_EVENTS, /* Amazon's event stream: one a message */
};

#define LLM_TAIL        1024
#define LLM_EVENT_HEAD  512
#define LLM_FINISH_MAX  8
#define LLM_TOOLS_MAX   16
#define LLM_TOOLS_KNOWN 128
#define LLM_TEXT_MAX    128
#define LLM_TOOL_MAX    80
#define LLM_SAID_MAX    640 /* bytes kept of the last prompt, and of the answer */

struct llm_body {
    struct llm *llm;
    enum side side;
    enum llm_framing framing;
    struct content *content; /* NULL: not encoded */
    bool dead;               /* can't be read any further */
    bool holed;              /* bytes of it are missing */
    bool skipping;           /* up to the next line */
    struct json_scan scan;
    struct json_sink sink;
    /* SSE: the field's name, the first bytes of the data. EVENTS: see llm_frame.c */
    u8 line, name_n, data_n;
    char name[8], data[8];
    u8 part;
    u32 got, headers_left, payload_left;
    u8 head[LLM_EVENT_HEAD];
    u32 tail_n;
    u8 tail[LLM_TAIL]; /* the last bytes since the hole */
};

struct llm_tool {
    char id[LLM_TOOL_MAX], name[LLM_TOOL_MAX];
};

struct llm {
    const char *provider, *operation;
    enum llm_dialect dialect;
    bool sure;        /* it is such a call, whatever the bodies say */
    bool keep_values; /* privacy off */
    bool stream, whole, tool_error;
    bool late;  /* bytes were missing before the first chunk: it may not be the first */
    u16 status; /* of HTTP */
    u64 began, now, first_chunk, last_chunk;
    u32 chunks, chunk_bytes;  /* bytes of text in the document at hand */
    struct span_marks *marks; /* chunks told one by one; NULL: not asked for */
    bool content_here;        /* the document at hand holds a piece of the answer */
    bool more_text;           /* the value at hand goes on: only its beginning is kept */
    s32 resend;               /* attempts before this one; -1: unknown */
    u64 has;                  /* bit: enum llm_what */
    double number[LLM_NUMBERS];
    char text[LLM_TEXTS][LLM_TEXT_MAX];
    char finish[LLM_FINISH_MAX][32], answer_status[24];
    u8 n_finish;
    u16 n_tools;
    struct llm_tool tool, tools[LLM_TOOLS_MAX];
    u32 tool_ids[LLM_TOOLS_KNOWN]; /* hashes: a call told again is not another */
    bool event_error;              /* the event at hand is of type `error` */
    char event_code[LLM_TEXT_MAX];
    double limits[9]; /* by llm_limit.c; NAN: not told */
    char request_id[80];
    char said[2][LLM_SAID_MAX], role[16]; /* privacy off: the last prompt and its role; the answer's text */
    u16 n_said[2];
    struct json_scan inner; /* of documents in documents */
    struct json_sink inner_sink;
    u32 base64;
    u8 base64_n;
    struct llm_body body[2];
};

static inline bool llm_has(const struct llm *l, enum llm_what w) { return l->has >> w & 1; }
static inline double llm_number(const struct llm *l, enum llm_what w) { return l->number[w - LLM_TEXTS]; }
void llm_text_set(struct llm *l, enum llm_what w, struct slice s); /* cut to fit */
void llm_number_set(struct llm *l, enum llm_what w, double v);

/* llm_api.c */
struct llm_api {
    const char *path, *provider, *operation;
    enum llm_dialect dialect;
    bool sure;
};
/* The operation that a path names, or NULL; *ret_model: what stands for `{}`, or empty. */
const struct llm_api *llm_api_of(struct slice path, struct slice *ret_model);
const char *llm_provider_of(struct slice host); /* or NULL */

/* llm_field.c */
void llm_sinks_set(struct llm *l);
void llm_document_over(struct llm *l); /* a document of the answer ended */

/* llm_frame.c: content coding undone. */
void llm_frame(struct llm_body *b, struct slice in);
void llm_frame_missing(struct llm_body *b);
void llm_frame_end(struct llm_body *b); /* the body ended */

/* llm_limit.c: head fields that tell of limits and retries */
void llm_limits_read(struct llm *l, struct slice head);
void llm_limits_tell(const struct llm *l, struct attr_set *attrs);
#define LLM_LIMITS 9

/* llm_price.c: US dollars; false: no price is known. `cached`, `written` are parts of `input`. */
struct llm_usage {
    double input, output, cached, written;
};
/* Of the first of both models that is listed. */
bool llm_cost(const char *provider, const char *model, const char *or_model, const struct llm_usage *u, double *ret_usd);

#endif
