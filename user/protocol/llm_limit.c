/* What the head fields of a call say about limits, retries and tokens. The limits' names differ by provider, their meaning
 * doesn't. */
#include "protocol/llm_internal.h"

#include <math.h>

static const char *const limit_attr[LLM_LIMITS] = {
    "wftrace.gen_ai.rate_limit.requests.limit",
    "wftrace.gen_ai.rate_limit.requests.remaining",
    "wftrace.gen_ai.rate_limit.tokens.limit",
    "wftrace.gen_ai.rate_limit.tokens.remaining",
    "wftrace.gen_ai.rate_limit.input_tokens.limit",
    "wftrace.gen_ai.rate_limit.input_tokens.remaining",
    "wftrace.gen_ai.rate_limit.output_tokens.limit",
    "wftrace.gen_ai.rate_limit.output_tokens.remaining",
    "wftrace.gen_ai.retry_after",
};
enum { RETRY_AFTER = 8 };

static const struct {
    const char *field;
    u8 limit;
    double unit;
} limits[] = {
    { "x-ratelimit-limit-requests", 0, 1 },
    { "x-ratelimit-remaining-requests", 1, 1 },
    { "x-ratelimit-limit-tokens", 2, 1 },
    { "x-ratelimit-remaining-tokens", 3, 1 },
    { "anthropic-ratelimit-requests-limit", 0, 1 },
    { "anthropic-ratelimit-requests-remaining", 1, 1 },
    { "anthropic-ratelimit-tokens-limit", 2, 1 },
    { "anthropic-ratelimit-tokens-remaining", 3, 1 },
    { "anthropic-ratelimit-input-tokens-limit", 4, 1 },
    { "anthropic-ratelimit-input-tokens-remaining", 5, 1 },
    { "anthropic-ratelimit-output-tokens-limit", 6, 1 },
    { "anthropic-ratelimit-output-tokens-remaining", 7, 1 },
    { "retry-after", RETRY_AFTER, 1 },
    { "retry-after-ms", RETRY_AFTER, 0.001 },
};

/* A number and nothing else, not negative; NAN: it is none (a date, say). */
static double number_of(struct slice s)
{
    char text[32], *end;
    if (!s.n || s.n >= sizeof(text) || s.p[0] < '0' || s.p[0] > '9')
        return NAN;
    memcpy(text, s.p, s.n);
    text[s.n] = 0;
    double v = strtod(text, &end);
    return *end || !(v < 1e15) ? NAN : v;
}

/* «attempt=2; max=5» (AWS), «1» (SDKs made by Stainless: OpenAI, Anthropic) */
static void resend_read(struct llm *l, struct slice name, struct slice v)
{
    u64 n;
    if (slice_ieq(name, "x-stainless-retry-count") && !slice_u64(v, &n) && n < 1000)
        l->resend = (s32)n;
    if (!slice_ieq(name, "amz-sdk-request") || !slice_istarts(v, "attempt="))
        return;
    ptrdiff_t end = slice_find(v, ';');
    v = slice_from(slice_head(v, end < 0 ? v.n : (size_t)end), 8);
    if (!slice_u64(slice_trim(v), &n) && n && n < 1000)
        l->resend = (s32)n - 1;
}

static void request_id_read(struct llm *l, struct slice name, struct slice v)
{
    if (slice_ieq(name, "x-request-id") || slice_ieq(name, "request-id") || slice_ieq(name, "x-amzn-requestid"))
        snprintf(l->request_id, sizeof(l->request_id), "%.*s", (int)min_u64(v.n, sizeof(l->request_id)), v.p);
}

static void bedrock_read(struct llm *l, struct slice name, struct slice v)
{
    double n = number_of(v);
    if (slice_ieq(name, "x-amzn-bedrock-input-token-count") && !isnan(n))
        llm_number_set(l, LLM_INPUT, n);
    if (slice_ieq(name, "x-amzn-bedrock-output-token-count") && !isnan(n))
        llm_number_set(l, LLM_OUTPUT, n);
    ptrdiff_t colon = slice_find(v, ':'); /* «ThrottlingException:http://…» */
    if (slice_ieq(name, "x-amzn-errortype"))
        llm_text_set(l, LLM_ERROR_TYPE, slice_head(v, colon < 0 ? v.n : (size_t)colon));
}

void llm_limits_read(struct llm *l, struct slice head)
{
    struct slice name, v;
    while (http1_field_next(&head, &name, &v)) {
        if (slice_ieq(name, "mcp-session-id"))
            llm_text_set(l, LLM_MCP_SESSION, v);
        else if (slice_ieq(name, "mcp-protocol-version"))
            llm_text_set(l, LLM_MCP_VERSION, v);
        request_id_read(l, name, v);
        resend_read(l, name, v);
        if (l->dialect == LLM_DIALECT_CONVERSE || l->dialect == LLM_DIALECT_INVOKE)
            bedrock_read(l, name, v);
        for (size_t i = 0; i < ARRAY_LEN(limits); i++)
            if (slice_ieq(name, limits[i].field) && !isnan(number_of(v)))
                l->limits[limits[i].limit] = number_of(v) * limits[i].unit;
    }
}

void llm_limits_tell(const struct llm *l, struct attr_set *attrs)
{
    for (int i = 0; i < RETRY_AFTER; i++)
        if (!isnan(l->limits[i]))
            attr_int(attrs, limit_attr[i], (s64)l->limits[i]);
    if (!isnan(l->limits[RETRY_AFTER]))
        attr_double(attrs, limit_attr[RETRY_AFTER], l->limits[RETRY_AFTER]);
    if (l->request_id[0])
        attr_str(attrs, "wftrace.gen_ai.request_id", slice_str(l->request_id));
}
