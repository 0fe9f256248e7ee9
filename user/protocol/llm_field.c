/* From fields of JSON to facts. A stream's event is a document like a whole answer is one, so both are read by one table;
 * some providers wrap the answer in an event's member, which is taken off the path first. */
#include "protocol/llm_internal.h"

#define CHAT      LLM_DIALECT_CHAT
#define RESPONSES LLM_DIALECT_RESPONSES
#define ANTHROPIC LLM_DIALECT_ANTHROPIC
#define GEMINI    LLM_DIALECT_GEMINI
#define CONVERSE  LLM_DIALECT_CONVERSE
#define INVOKE    LLM_DIALECT_INVOKE
#define OLLAMA    LLM_DIALECT_OLLAMA
#define MCP       LLM_DIALECT_MCP

static const struct field {
    u8 side, dialects, len, what;
    const char *path;
} fields[] = {
#define LLM_FIELD(s, d, p, w) { SIDE_##s, d, sizeof(p) - 1, w, p },
#include "protocol/llm_field.def"
};

/* The fields by the length of their paths: chains through `after`, made at the first look. One thread reads bodies. */
#define LEN_MAX 64
static u8 first_of[LEN_MAX], after[ARRAY_LEN(fields)]; /* index + 1; 0: none */
static_assert(ARRAY_LEN(fields) < UINT8_MAX, "an index fits a byte");

static void fields_index(void)
{
    for (size_t i = ARRAY_LEN(fields); i-- > 0;) {
        u8 *first = &first_of[fields[i].len % LEN_MAX];
        after[i] = *first;
        *first = (u8)(i + 1);
    }
}

static struct slice path_core(enum llm_dialect d, struct slice path)
{
    if (slice_starts(path, "[]."))
        path = slice_from(path, 3);
    if (d == RESPONSES && slice_starts(path, "response."))
        return slice_from(path, 9);
    if ((d == ANTHROPIC || d == INVOKE) && slice_starts(path, "message."))
        return slice_from(path, 8);
    return path;
}

static bool is_said(int what) { return what == LLM_ANSWER || what == LLM_PROMPT || what == LLM_ROLE; }

static int field_want(const struct llm *l, enum side side, struct slice path, bool object)
{
    if (object && slice_eq(path, "[]"))
        return LLM_ELEMENT;
    path = path_core(l->dialect, path);
    if (!first_of[fields[0].len % LEN_MAX])
        fields_index();
    for (u8 i = first_of[path.n % LEN_MAX]; i; i = after[i - 1]) {
        const struct field *f = &fields[i - 1];
        if (f->len == path.n && f->side == side && f->dialects & l->dialect && !memcmp(f->path, path.p, path.n))
            return (f->what == LLM_TOOL_END) != object || (is_said(f->what) && !l->keep_values) ? -1 : f->what;
    }
    return -1;
}

/* ---- facts ---- */

static void text_put(char *out, size_t size, struct slice s)
{
    size_t n = min_u64(s.n, size - 1);
    if (n)
        memcpy(out, s.p, n);
    out[n] = 0;
}

void llm_text_set(struct llm *l, enum llm_what w, struct slice s)
{
    if (!s.n)
        return;
    text_put(l->text[w], LLM_TEXT_MAX, s);
    l->has |= 1ull << w;
}

void llm_number_set(struct llm *l, enum llm_what w, double v)
{
    l->number[w - LLM_TEXTS] = v;
    l->has |= 1ull << w;
}

static void finish_add(struct llm *l, struct slice s)
{
    /* Some servers say it with each piece of a stream, empty until the last, or the same each time (Gemini). */
    double choices = llm_has(l, LLM_CHOICES) ? llm_number(l, LLM_CHOICES) : 1;
    if (l->dialect == LLM_DIALECT_GEMINI && l->n_finish && l->n_finish >= choices)
        l->n_finish--;
    if (!s.n || l->n_finish == LLM_FINISH_MAX)
        return;
    text_put(l->finish[l->n_finish++], sizeof(l->finish[0]), s);
}

/* FNV-1a */
static u32 hash_text(const char *s)
{
    u32 h = 2166136261u;
    for (; *s; s++)
        h = (h ^ (u8)*s) * 16777619u;
    return h;
}

/* A call may be told again by a later event, with the same id. */
static void tool_add(struct llm *l)
{
    bool told = !l->tool.name[0];
    u32 id = hash_text(l->tool.id);
    for (u16 i = 0; i < l->n_tools && i < LLM_TOOLS_KNOWN; i++)
        told |= l->tool.id[0] && l->tool_ids[i] == id;
    if (!told && l->n_tools < LLM_TOOLS_MAX)
        l->tools[l->n_tools] = l->tool;
    if (!told && l->n_tools < LLM_TOOLS_KNOWN)
        l->tool_ids[l->n_tools] = id;
    if (!told && l->n_tools < UINT16_MAX)
        l->n_tools++;
    l->tool = (struct llm_tool){ 0 };
}

static void event_take(struct llm *l, struct slice type)
{
    static const char *const last[] = { "message_stop", "response.completed", "response.failed", "response.incomplete" };
    l->event_error = slice_eq(type, "error");
    for (size_t i = 0; i < ARRAY_LEN(last); i++)
        l->whole |= slice_eq(type, last[i]);
}

static void number_take(struct llm *l, enum llm_what w, struct slice text)
{
    char digits[40], *end;
    text_put(digits, sizeof(digits), text);
    double v = strtod(digits, &end), least = w >= LLM_INPUT ? 0 : -1e15; /* nothing counts below zero */
    if (end != digits && !*end && v >= least && v < 1e15)
        llm_number_set(l, w, v);
}

/* ---- documents in documents ---- */

static void nested_feed(struct llm *l, struct slice text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    u8 out[JSON_TEXT];
    size_t n = 0;
    for (size_t i = 0; i < text.n && n + 3 <= sizeof(out); i++) {
        const char *at = text.p[i] ? strchr(digits, text.p[i]) : NULL;
        if (!at)
            continue;
        l->base64 = l->base64 << 6 | (u32)(at - digits);
        if (++l->base64_n % 4 == 1)
            continue;
        out[n++] = (u8)(l->base64 >> (l->base64_n % 4 == 2 ? 4 : l->base64_n % 4 == 3 ? 2 : 0));
        l->base64_n %= 4;
    }
    json_feed(&l->inner, &l->inner_sink, slice_of(out, n));
}

static void nested_take(struct llm *l, struct slice text, bool more)
{
    nested_feed(l, text);
    if (more)
        return;
    json_begin(&l->inner);
    l->base64 = l->base64_n = 0;
}

/* ---- the sinks ---- */

static void text_take(struct llm *l, enum llm_what w, enum json_type type, struct slice text)
{
    if (type == JSON_NULL || type == JSON_OBJECT)
        return;
    if (w < LLM_TEXTS)
        llm_text_set(l, w, text);
    else if (w == LLM_FINISH)
        finish_add(l, text);
    else if (w == LLM_STATUS)
        text_put(l->answer_status, sizeof(l->answer_status), text);
    else if (w == LLM_EVENT)
        event_take(l, text);
    else if (w == LLM_REFUSED_TYPE || w == LLM_REFUSED_MESSAGE) {
        if (l->status >= 400)
            llm_text_set(l, w == LLM_REFUSED_TYPE ? LLM_ERROR_TYPE : LLM_ERROR_MESSAGE, text);
    } else if (w == LLM_EVENT_CODE)
        text_put(l->event_code, sizeof(l->event_code), text);
    else if (w == LLM_TOOL_ID)
        text_put(l->tool.id, LLM_TOOL_MAX, text);
    else if (w == LLM_TOOL_NAME)
        text_put(l->tool.name, LLM_TOOL_MAX, text);
    else if (w == LLM_CONTENT || w == LLM_PIECE)
        l->content_here |= text.n > 0;
    else if (w == LLM_ROLE)
        text_put(l->role, sizeof(l->role), text);
}

/* Only when privacy is off: of several prompts the last one stays, an answer's pieces are put together. */
static void said_take(struct llm *l, enum llm_what w, enum json_type type, struct slice text, bool first)
{
    enum side side = w == LLM_PROMPT ? SIDE_REQUEST : SIDE_RESPONSE;
    if (!l->keep_values || type != JSON_STRING || (w != LLM_PROMPT && w != LLM_ANSWER && w != LLM_PIECE))
        return;
    if (w == LLM_PROMPT && first)
        l->n_said[side] = 0;
    size_t n = min_u64(text.n, (u64)(LLM_SAID_MAX - l->n_said[side]));
    memcpy(l->said[side] + l->n_said[side], text.p, n);
    l->n_said[side] = (u16)(l->n_said[side] + n);
}

static void value_take(struct llm *l, int what, enum json_type type, struct slice text, bool more)
{
    enum llm_what w = (enum llm_what)what;
    bool first = !l->more_text;
    l->more_text = more;
    said_take(l, w, type, text, first);
    if (type == JSON_STRING && (w == LLM_CONTENT || w == LLM_PIECE))
        l->chunk_bytes += (u32)text.n;
    if (w == LLM_NESTED)
        nested_take(l, text, more);
    else if (w == LLM_ELEMENT)
        llm_document_over(l);
    else if (w == LLM_TOOL_END)
        tool_add(l);
    else if (w == LLM_STREAM)
        l->stream |= type == JSON_TRUE;
    else if (w == LLM_OVER)
        l->whole |= type == JSON_TRUE || l->dialect == LLM_DIALECT_MCP; /* JSON-RPC: what has an id answers */
    else if (w == LLM_TOOL_ERROR)
        l->tool_error |= type == JSON_TRUE;
    else if (w >= LLM_TEXTS && w < LLM_FACTS && type == JSON_NUMBER)
        number_take(l, w, text);
    else if (first && (w < LLM_TEXTS || w > LLM_FACTS))
        text_take(l, w, type, text);
}

static int want_of(void *arg, struct slice path, bool object)
{
    struct llm_body *b = arg;
    return field_want(b->llm, b->side, path, object);
}

static void value_of(void *arg, int what, enum json_type type, struct slice text, bool more)
{
    value_take(((struct llm_body *)arg)->llm, what, type, text, more);
}

static int want_inner(void *arg, struct slice path, bool object)
{
    int what = field_want(arg, SIDE_RESPONSE, path, object);
    return what == LLM_NESTED ? -1 : what;
}

static void value_inner(void *arg, int what, enum json_type type, struct slice text, bool more)
{
    struct llm *l = arg;
    bool outer = l->more_text;
    l->more_text = false;
    value_take(l, what, type, text, more);
    l->more_text = outer;
}

void llm_sinks_set(struct llm *l)
{
    for (int i = 0; i < 2; i++) {
        struct llm_body *b = &l->body[i];
        b->llm = l;
        b->side = (enum side)i;
        b->sink = (struct json_sink){ want_of, value_of, b };
        json_begin(&b->scan);
    }
    l->inner_sink = (struct json_sink){ want_inner, value_inner, l };
    json_begin(&l->inner);
}

void llm_document_over(struct llm *l)
{
    if (l->event_error && l->event_code[0])
        llm_text_set(l, LLM_ERROR_CODE, slice_str(l->event_code));
    l->event_error = false;
    l->event_code[0] = 0;
    if (!l->content_here)
        return;
    if (l->marks)
        span_mark(l->marks, l->now, l->chunk_bytes);
    l->content_here = false;
    l->chunk_bytes = 0;
    l->chunks++;
    l->last_chunk = l->now;
    if (l->chunks == 1) {
        l->first_chunk = l->now;
        l->late = l->body[SIDE_RESPONSE].holed;
    }
}
