/* A model call's bodies: JSON, events, lines, Amazon's framing, content codings. Input: path, type and coding of the answer, how
 * it is cut; then the request's body up to a NUL byte, and the answer's. What is told must not depend on the cut, but for broken
 * brotli: its decoder keeps to itself what it had decoded of the piece in which it finds the damage. */
#include "protocol/llm_internal.h"

#include <assert.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static const char *const paths[] = { "/v1/chat/completions",
                                     "/v1/responses",
                                     "/v1/messages",
                                     "/v1beta/models/g:streamGenerateContent",
                                     "/model/m%3A0/converse-stream",
                                     "/model/m/invoke-with-response-stream",
                                     "/api/chat",
                                     "/mcp" };
static const char *const types[] = { "application/json", "text/event-stream", "application/x-ndjson",
                                     "application/vnd.amazon.eventstream" };
static const char *const codings[] = { "identity", "gzip", "deflate", "br", "zstd" };

static void feed(struct llm *l, enum side side, struct slice body, size_t cut, bool hole)
{
    size_t first = cut < body.n ? cut : body.n;
    u8 *copy = malloc(body.n + 1);
    memcpy(copy, body.p, body.n);
    llm_body(l, side, slice_of(copy, first), 0, 1000);
    if (hole)
        llm_body(l, side, slice_of(NULL, 0), 5, 2000);
    llm_body(l, side, slice_of(copy + first, body.n - first), 0, 1000);
    free(copy);
}

static void run(const uint8_t *p, struct slice ask, struct slice answer, size_t cut, bool hole, struct message *ret)
{
    char head[256];
    const char *path = paths[p[0] % ARRAY_LEN(paths)];
    int n = snprintf(head, sizeof(head),
                     "POST %s HTTP/1.1\r\nHost: api.openai.com\r\nAccept: application/json, text/event-stream\r\n"
                     "Content-Type: application/json\r\n\r\n",
                     path);
    struct http1_head h;
    struct slice bytes = slice_of(head, (size_t)n);
    assert(!http1_head_read(bytes, true, &h));
    struct llm *l = llm_begin(&h, bytes, slice_str(path), (struct privacy){ .keep_values = p[1] & 128 }, 100);
    assert(l);
    feed(l, SIDE_REQUEST, ask, cut, hole);
    message_clear(ret);
    llm_tell_request(l, ret);
    n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Encoding: %s\r\n\r\n",
                 types[p[1] % ARRAY_LEN(types)], codings[p[2] % ARRAY_LEN(codings)]);
    bytes = slice_of(head, (size_t)n);
    assert(!http1_head_read(bytes, false, &h));
    if (llm_answer(l, &h, bytes))
        feed(l, SIDE_RESPONSE, answer, cut, hole);
    llm_whole(l);
    message_clear(ret);
    llm_tell_answer(l, ret);
    llm_free(l);
}

static bool same(const struct attr *a, const struct attr *b)
{
    if (a->type != b->type || strcmp(a->key, b->key))
        return false;
    bool text = a->type == ATTR_STR || a->type == ATTR_STRV;
    return text ? a->len == b->len && !memcmp(a->s, b->s, a->len) : a->type == ATTR_BOOL ? a->b == b->b : a->i == b->i;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    static struct message whole, cut;
    if (n < 5)
        return 0;
    struct slice rest = slice_of(p + 4, n - 4);
    ptrdiff_t nul = slice_find(rest, 0);
    struct slice ask = slice_head(rest, nul < 0 ? rest.n : (size_t)nul), answer = slice_from(rest, ask.n + 1);
    run(p, ask, answer, SIZE_MAX, false, &whole);
    run(p, ask, answer, p[3], false, &cut);
    bool broken = attr_get(&whole.attrs, "wftrace.gen_ai.partly_seen") || attr_get(&cut.attrs, "wftrace.gen_ai.partly_seen");
    if (broken && !strcmp(codings[p[2] % ARRAY_LEN(codings)], "br"))
        return 0;
    assert(!strcmp(whole.name, cut.name) && whole.attrs.n == cut.attrs.n);
    for (u16 i = 0; i < whole.attrs.n; i++)
        assert(same(&whole.attrs.v[i], &cut.attrs.v[i]));
    run(p, ask, answer, p[3], true, &cut);
    return 0;
}
