/* One call: what its request and its answer said, from the first byte to what is told. A request is taken for a call by its
 * path and host (llm_api.def), an MCP request by its Accept field; what only might be one is told as plain HTTP unless its
 * body names a model. Nothing of prompts, answers and arguments is kept unless privacy is off. */
#include "base/json.h"
#include "protocol/llm_internal.h"

#include <ctype.h>
#include <math.h>

/* ---- what it is ---- */

static struct slice field_of(struct slice head, const char *name)
{
    struct slice n, v;
    while (http1_field_next(&head, &n, &v))
        if (slice_ieq(n, name))
            return v;
    return slice_of("", 0);
}

static bool holds(struct slice s, const char *word)
{
    size_t n = strlen(word);
    for (; s.n >= n; s = slice_from(s, 1))
        if (slice_istarts(s, word))
            return true;
    return false;
}

/* Streamable HTTP: a client's POST must accept both, and is JSON (MCP, «Sending messages to the server»). */
static bool is_mcp(struct slice head)
{
    struct slice accept = field_of(head, "accept");
    return holds(accept, "application/json") && holds(accept, "text/event-stream") &&
           slice_istarts(field_of(head, "content-type"), "application/json");
}

static int hex_of(u8 c) { return isdigit(c) ? c - '0' : isxdigit(c) ? (c | 32) - 'a' + 10 : -1; }

/* A model in a path is percent-encoded. */
static void model_set(struct llm *l, struct slice s)
{
    char out[LLM_TEXT_MAX];
    size_t n = 0;
    for (size_t i = 0; i < s.n && n < sizeof(out); i++) {
        int hi = s.p[i] == '%' && i + 2 < s.n ? hex_of(s.p[i + 1]) : -1, lo = hi >= 0 ? hex_of(s.p[i + 2]) : -1;
        out[n++] = (char)(lo >= 0 ? hi << 4 | lo : s.p[i]);
        i += lo >= 0 ? 2 : 0;
    }
    llm_text_set(l, LLM_MODEL, slice_of(out, n));
}

static void body_encoding(struct llm_body *b, struct slice head)
{
    struct slice encoding = field_of(head, "content-encoding");
    if (!content_encoded(encoding))
        return;
    b->content = content_new(encoding);
    b->dead = !b->content;
}

struct llm *llm_begin(const struct http1_head *head, struct slice bytes, struct slice path, struct privacy privacy, u64 now)
{
    struct slice model = { 0 };
    const struct llm_api *api = slice_eq(head->method, "POST") ? llm_api_of(path, &model) : NULL;
    const char *provider = api ? llm_provider_of(head->host) : NULL;
    if (!api && (!slice_eq(head->method, "POST") || !is_mcp(bytes)))
        return NULL;
    struct llm *l = calloc(1, sizeof(*l));
    if (!l)
        return NULL;
    l->dialect = api ? api->dialect : LLM_DIALECT_MCP;
    l->provider = provider ? provider : api ? api->provider : NULL;
    l->operation = api ? api->operation : NULL;
    l->sure = api && (api->sure || provider);
    l->keep_values = privacy.keep_values;
    l->began = l->now = now;
    if (privacy.chunk_events && l->dialect != LLM_DIALECT_MCP)
        l->marks =
            span_marks_new("gen_ai.chunk", "wftrace.gen_ai.chunk.size", (u16)min_u64(privacy.chunk_events, LLM_CHUNK_EVENTS_MAX));
    l->resend = -1;
    for (int i = 0; i < LLM_LIMITS; i++)
        l->limits[i] = NAN;
    llm_sinks_set(l);
    model_set(l, model);
    if (l->dialect == LLM_DIALECT_INVOKE && holds(model, "embed")) /* so are they all called */
        l->operation = "embeddings";
    l->body[SIDE_REQUEST].framing = FRAMING_JSON;
    body_encoding(&l->body[SIDE_REQUEST], bytes);
    llm_limits_read(l, bytes);
    l->request_id[0] = 0; /* the answer's is meant */
    return l;
}

struct llm *llm_free(struct llm *l)
{
    if (l)
        for (int i = 0; i < 2; i++)
            l->body[i].content = content_free(l->body[i].content);
    if (l)
        free(l->marks);
    free(l);
    return NULL;
}

static enum llm_framing framing_of(struct slice type)
{
    static const struct {
        const char *type;
        enum llm_framing framing;
    } types[] = {
        { "text/event-stream", FRAMING_SSE },       { "application/x-ndjson", FRAMING_LINES },
        { "application/ndjson", FRAMING_LINES },    { "application/jsonl", FRAMING_LINES },
        { "application/x-jsonl", FRAMING_LINES },   { "application/vnd.amazon.eventstream", FRAMING_EVENTS },
        { "application/json", FRAMING_JSON },       { "application/problem+json", FRAMING_JSON },
        { "application/x-amz-json", FRAMING_JSON },
    };
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (slice_istarts(type, types[i].type))
            return types[i].framing;
    return FRAMING_NONE;
}

bool llm_answer(struct llm *l, const struct http1_head *head, struct slice bytes)
{
    struct llm_body *b = &l->body[SIDE_RESPONSE];
    l->status = (u16)head->status;
    b->framing = framing_of(field_of(bytes, "content-type"));
    body_encoding(b, bytes);
    llm_limits_read(l, bytes);
    return b->framing != FRAMING_NONE && !b->dead;
}

/* ---- bodies ---- */

static void plain(void *arg, struct slice bytes) { llm_frame(arg, bytes); }

/* Who counts anew with each piece may have counted on where nobody looked. */
static void counts_doubt(struct llm *l, enum side side)
{
    if (side == SIDE_RESPONSE && l->dialect == LLM_DIALECT_GEMINI)
        l->has &= ~(1ull << LLM_OUTPUT | 1ull << LLM_TOTAL | 1ull << LLM_REASONING);
}

void llm_body(struct llm *l, enum side side, struct slice bytes, u64 missing, u64 now)
{
    struct llm_body *b = &l->body[side];
    l->now = max_u64(l->now, now);
    if (b->dead)
        return;
    if (missing) {
        llm_frame_missing(b);
        counts_doubt(l, side);
    } else if (!b->content) {
        llm_frame(b, bytes);
    } else if (!content_feed(b->content, bytes, plain, b)) {
        b->holed |= !b->dead; /* what follows broken framing is of no interest, in whatever pieces it comes */
        b->dead = true;
    }
}

void llm_body_lost(struct llm *l, enum side side)
{
    l->body[side].holed = true;
    l->body[side].dead = true;
    counts_doubt(l, side);
}

struct span_marks *llm_marks_take(struct llm *l) { return take_ptr(l->marks); }

bool llm_whole(const struct llm *l)
{
    const struct llm_body *b = &l->body[SIDE_RESPONSE];
    return l->whole || (b->framing == FRAMING_JSON && json_over(&b->scan));
}

/* ---- what is told ---- */

static const char *const text_attr[LLM_TEXTS] = {
#define LLM_TEXT(fact, attribute) attribute,
#include "protocol/llm_field.def"
};
enum number_kind { INT, DOUBLE };
static const struct {
    const char *attr;
    enum number_kind kind;
} number_attr[LLM_NUMBERS] = {
#define LLM_NUMBER(fact, attribute, number_kind) { attribute, number_kind },
#include "protocol/llm_field.def"
};

/* Others speak JSON-RPC over HTTP too (A2A): a method of this protocol's tells. */
static bool is_mcp_method(const char *method)
{
    static const char *const families[] = { "initialize",     "ping",        "tools/",          "prompts/",      "resources/",
                                            "notifications/", "completion/", "logging/",        "sampling/",     "elicitation/",
                                            "roots/",         "tasks/",      "server/discover", "subscriptions/" };
    for (size_t i = 0; i < ARRAY_LEN(families); i++)
        if (!strncmp(method, families[i], strlen(families[i])))
            return true;
    return false;
}

static bool is_call(const struct llm *l)
{
    if (l->dialect == LLM_DIALECT_MCP)
        return llm_has(l, LLM_MCP_METHOD) && is_mcp_method(l->text[LLM_MCP_METHOD]);
    return l->sure || llm_has(l, LLM_MODEL);
}

static void tell_facts(const struct llm *l, struct attr_set *attrs)
{
    for (int w = 0; w < LLM_TEXTS; w++)
        if (llm_has(l, (enum llm_what)w) && text_attr[w])
            attr_str(attrs, text_attr[w], slice_str(l->text[w]));
    for (int i = 0; i < LLM_NUMBERS; i++) {
        if (!llm_has(l, (enum llm_what)(LLM_TEXTS + i)))
            continue;
        if (number_attr[i].kind == INT)
            attr_int(attrs, number_attr[i].attr, (s64)l->number[i]);
        else
            attr_double(attrs, number_attr[i].attr, l->number[i]);
    }
}

/* `{operation} {model}`; MCP: `{method} {tool or prompt}` */
static void tell_name(const struct llm *l, struct message *m)
{
    bool mcp = l->dialect == LLM_DIALECT_MCP;
    const char *of = l->text[mcp ? LLM_MCP_TARGET : LLM_MODEL];
    snprintf(m->name, sizeof(m->name), "%.40s%s%.80s", mcp ? l->text[LLM_MCP_METHOD] : l->operation, *of ? " " : "", of);
}

static void tell_mcp(const struct llm *l, struct attr_set *attrs)
{
    bool tool = !strcmp(l->text[LLM_MCP_METHOD], "tools/call"), prompt = !strcmp(l->text[LLM_MCP_METHOD], "prompts/get");
    attr_str(attrs, "wftrace.activity.type", slice_str(tool ? "tool" : "custom"));
    if (tool)
        attr_str(attrs, "gen_ai.operation.name", slice_str("execute_tool"));
    if ((tool || prompt) && llm_has(l, LLM_MCP_TARGET))
        attr_str(attrs, tool ? "gen_ai.tool.name" : "gen_ai.prompt.name", slice_str(l->text[LLM_MCP_TARGET]));
}

static void escape(char *out, size_t room, const char *s, size_t n)
{
    size_t o = 0;
    for (size_t i = 0; i < n && o + 8 < room; i++)
        o += json_escape((u8)s[i], out + o);
    out[o] = 0;
}

/* The conventions' JSON: [{"role":…,"parts":[{"type":"text","content":…}]}] */
static void tell_said(const struct llm *l, enum side side, struct attr_set *attrs)
{
    char content[LLM_SAID_MAX * 2], out[sizeof(content) + 128], role[64];
    if (!l->keep_values || !l->n_said[side])
        return;
    escape(content, sizeof(content), l->said[side], l->n_said[side]);
    escape(role, sizeof(role), l->role, strlen(l->role));
    int n = snprintf(out, sizeof(out), "[{\"role\":\"%s\",\"parts\":[{\"type\":\"text\",\"content\":\"%s\"}]}]",
                     side == SIDE_RESPONSE ? "assistant"
                     : *role               ? role
                                           : "user",
                     content);
    if (n > 0 && (size_t)n < sizeof(out))
        attr_str(attrs, side == SIDE_REQUEST ? "gen_ai.input.messages" : "gen_ai.output.messages", slice_of(out, (size_t)n));
}

static void tell_call(const struct llm *l, struct message *m)
{
    tell_name(l, m);
    if (l->dialect == LLM_DIALECT_MCP) {
        tell_mcp(l, &m->attrs);
    } else {
        attr_str(&m->attrs, "wftrace.activity.type", slice_str("llm"));
        attr_str(&m->attrs, "gen_ai.operation.name", slice_str(l->operation));
        attr_str(&m->attrs, "gen_ai.provider.name", slice_str(l->provider));
    }
    if (l->stream)
        attr_bool(&m->attrs, "gen_ai.request.stream", true);
    if (l->resend > 0)
        attr_int(&m->attrs, "http.request.resend_count", l->resend);
    tell_facts(l, &m->attrs);
    tell_said(l, SIDE_REQUEST, &m->attrs);
}

void llm_tell_request(struct llm *l, struct message *m)
{
    llm_frame_end(&l->body[SIDE_REQUEST]);
    if (is_call(l))
        tell_call(l, m);
}

/* Until a stream has come to its end, what it said of its output is what it had used so far. */
static void usage_settle(struct llm *l)
{
    bool stream = l->body[SIDE_RESPONSE].framing != FRAMING_JSON || l->chunks;
    if (stream && !l->whole && !l->n_finish && !l->answer_status[0])
        l->has &= ~(1ull << LLM_OUTPUT | 1ull << LLM_TOTAL | 1ull << LLM_REASONING);
}

/* The conventions count cached tokens among the input and reasoning among the output; some providers count them apart. */
static void usage_complete(struct llm *l)
{
    bool apart = l->dialect == LLM_DIALECT_ANTHROPIC || l->dialect == LLM_DIALECT_CONVERSE || l->dialect == LLM_DIALECT_INVOKE;
    if (apart && llm_has(l, LLM_INPUT))
        l->number[LLM_INPUT - LLM_TEXTS] += llm_number(l, LLM_CACHE_READ) + llm_number(l, LLM_CACHE_WRITE);
    if (l->dialect == LLM_DIALECT_GEMINI && llm_has(l, LLM_REASONING))
        llm_number_set(l, LLM_OUTPUT, llm_number(l, LLM_OUTPUT) + llm_number(l, LLM_REASONING));
    if (!llm_has(l, LLM_TOTAL) && llm_has(l, LLM_INPUT) && llm_has(l, LLM_OUTPUT))
        llm_number_set(l, LLM_TOTAL, llm_number(l, LLM_INPUT) + llm_number(l, LLM_OUTPUT));
}

static void tell_cost(const struct llm *l, struct attr_set *attrs)
{
    double usd;
    struct llm_usage u = { .input = llm_number(l, LLM_INPUT),
                           .output = llm_number(l, LLM_OUTPUT),
                           .cached = llm_number(l, LLM_CACHE_READ),
                           .written = llm_number(l, LLM_CACHE_WRITE) };
    const char *tier = l->text[LLM_SERVICE_TIER]; /* these have prices of their own */
    if (!strcmp(tier, "flex") || !strcmp(tier, "priority") || !strcmp(tier, "batch"))
        return;
    if (!llm_has(l, LLM_INPUT) || (!llm_has(l, LLM_OUTPUT) && strcmp(l->operation, "embeddings")))
        return;
    if (llm_cost(l->provider, l->text[LLM_RESPONSE_MODEL], l->text[LLM_MODEL], &u, &usd))
        attr_double(attrs, "wftrace.gen_ai.cost_usd", usd);
}

static void tell_stream(const struct llm *l, struct attr_set *attrs)
{
    double span = (double)(l->last_chunk - l->first_chunk) / NSEC_PER_SEC;
    if (l->body[SIDE_RESPONSE].framing == FRAMING_JSON && l->chunks == 0)
        return;
    attr_bool(attrs, "gen_ai.request.stream", true);
    attr_int(attrs, "wftrace.gen_ai.stream.chunks", l->chunks);
    if (l->chunks && !l->late)
        attr_double(attrs, "gen_ai.response.time_to_first_chunk", (double)(l->first_chunk - l->began) / NSEC_PER_SEC);
    if (l->chunks > 1 && span > 0)
        attr_double(attrs, "wftrace.gen_ai.stream.chunks_per_second", (l->chunks - 1) / span);
}

static void tell_tools(const struct llm *l, struct attr_set *attrs)
{
    struct slice names[LLM_TOOLS_MAX], ids[LLM_TOOLS_MAX];
    size_t n = min_u64(l->n_tools, LLM_TOOLS_MAX);
    for (size_t i = 0; i < n; i++) {
        names[i] = slice_str(l->tools[i].name);
        ids[i] = slice_str(l->tools[i].id);
    }
    if (!n)
        return;
    attr_int(attrs, "wftrace.gen_ai.tool_calls.count", l->n_tools);
    attr_strv(attrs, "wftrace.gen_ai.tool_calls.name", names, n);
    attr_strv(attrs, "wftrace.gen_ai.tool_calls.id", ids, n);
}

static void tell_finish(const struct llm *l, struct attr_set *attrs)
{
    struct slice v[LLM_FINISH_MAX];
    size_t n = l->n_finish;
    for (size_t i = 0; i < n; i++)
        v[i] = slice_str(l->finish[i]);
    if (!n && l->answer_status[0] && strcmp(l->answer_status, "in_progress") && strcmp(l->answer_status, "queued"))
        v[n++] = slice_str(l->answer_status);
    if (n)
        attr_strv(attrs, "gen_ai.response.finish_reasons", v, n);
}

/* The most exact word for what went wrong: the provider's code, its type, the status of HTTP (told by http1). A message may
 * quote what was sent: told when privacy is off. */
static void tell_error(const struct llm *l, struct message *m)
{
    const char *code = l->text[LLM_ERROR_CODE], *type = l->text[LLM_ERROR_TYPE];
    bool mcp = l->dialect == LLM_DIALECT_MCP, worded = *code && (mcp || !isdigit((u8)*code));
    bool failed = l->status >= 400 || *type || *code || (l->dialect == LLM_DIALECT_OLLAMA && llm_has(l, LLM_ERROR_MESSAGE));
    if (mcp && *code)
        attr_str(&m->attrs, "rpc.response.status_code", slice_str(code));
    if (mcp && l->tool_error)
        m->error_type = "tool_error";
    else if (failed && (worded || *type))
        m->error_type = attr_text(&m->attrs, slice_str(worded ? code : type));
    else if (failed && !m->error_type && l->status < 400)
        m->error_type = "_OTHER";
    if (failed && l->keep_values && llm_has(l, LLM_ERROR_MESSAGE))
        m->error_message = attr_text(&m->attrs, slice_str(l->text[LLM_ERROR_MESSAGE]));
}

void llm_tell_answer(struct llm *l, struct message *m)
{
    struct llm_body *b = &l->body[SIDE_RESPONSE];
    if (!is_call(l))
        return;
    llm_frame_end(b);
    usage_settle(l);
    usage_complete(l);
    tell_call(l, m);
    tell_finish(l, &m->attrs);
    tell_error(l, m);
    if (l->dialect != LLM_DIALECT_MCP) {
        tell_tools(l, &m->attrs);
        tell_stream(l, &m->attrs);
        tell_cost(l, &m->attrs);
    }
    llm_limits_tell(l, &m->attrs);
    tell_said(l, SIDE_RESPONSE, &m->attrs);
    if (b->holed || l->body[SIDE_REQUEST].holed)
        attr_bool(&m->attrs, "wftrace.gen_ai.partly_seen", true);
}
