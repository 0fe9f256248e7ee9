/* needs: base self trace ingest protocol stream */
/* What model calls are read with: JSON as it passes and from its end alone, content codings, prices. Whole exchanges are in
 * tests/wire/http1/llm-*. */
#include "protocol/content.h"
#include "protocol/json_scan.h"
#include "protocol/llm_internal.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <zlib.h>
#include <cmocka.h>

/* ---- JSON ---- */

struct heard {
    char text[4096];
    size_t n;
};

static void say(struct heard *h, const char *what, size_t n)
{
    assert_true(h->n + n < sizeof(h->text));
    if (n) /* the path of the whole document is no text */
        memcpy(h->text + h->n, what, n);
    h->n += n;
    h->text[h->n] = 0;
}

static int want_all(void *arg, struct slice path, bool object)
{
    if (object && !slice_eq(path, "tool"))
        return -1;
    if (slice_starts(path, "skip"))
        return -1;
    say(arg, (const char *)path.p, path.n);
    say(arg, object ? "!" : "=", 1);
    return 1;
}

static void value_said(void *arg, int what, enum json_type type, struct slice text, bool more)
{
    say(arg, (const char *)text.p, text.n);
    say(arg, more ? "~" : " ", 1);
}

/* What is heard of a document in pieces of `piece` bytes (0: whole). */
static const char *read_json(const char *doc, size_t n, size_t piece, bool *ret_ok)
{
    static struct heard h;
    static struct json_scan j;
    struct json_sink sink = { want_all, value_said, &h };
    h = (struct heard){ 0 };
    json_begin(&j);
    *ret_ok = true;
    for (size_t at = 0; at < n && *ret_ok; at += piece ? piece : n) {
        size_t k = piece ? min_u64(piece, n - at) : n;
        u8 *copy = malloc(k);
        memcpy(copy, doc + at, k);
        *ret_ok = json_feed(&j, &sink, slice_of(copy, k));
        free(copy);
    }
    *ret_ok &= json_over(&j);
    return h.text;
}

static void test_json(void **state)
{
    static const struct {
        const char *doc, *heard;
    } cases[] = {
        { "{\"a\":1,\"b\":{\"c\":\"x\",\"d\":[true,null]},\"e\":\"y\"}", "a=1 b.c=x b.d[]=true null e=y " },
        { " {\n\t\"a\" : -1.5e+3 , \"b\" : [ ] , \"c\" : { } } ", "a=-1.5e+3 " },
        { "[{\"a\":1},[2,{\"b\":3}],4]", "[].a=1 [][]=2 [][].b=3 []=4 " },
        { "{\"a\":\"\\\"\\\\\\/\\n\\t\\u0041\\u00e9\\u20ac\\ud83d\\ude00\"}",
          "a=\"\\/\n\tA\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 " },
        { "{\"a\":\"\\ude00x\"}", "a=\xef\xbf\xbdx " },
        { "{\"a\\\"b\":{\"}\":\"]{\"}}", "a\"b.}=]{ " },
        { "{\"skip\":\"\\\\\\\"}\",\"tool\":{\"id\":\"1\"},\"z\":false}", "tool.id=1 tool! z=false " },
        { "{\"a\":[[[]]],\"b\":\"\"}", "b= " },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++)
        for (size_t piece = 0; piece < 8; piece++) {
            bool ok;
            const char *got = read_json(cases[i].doc, strlen(cases[i].doc), piece, &ok);
            assert_string_equal(got, cases[i].heard);
            assert_true(ok);
        }
}

static void test_json_bad(void **state)
{
    static const char *const bad[] = {
        "", "{", "}", "{\"a\"", "{\"a\":}", "{a:1}", "[1}", "{\"a\":\"\\u00zz\"}", "{} x", "<html>"
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        bool ok;
        read_json(bad[i], strlen(bad[i]), 0, &ok);
        if (ok && i != 4) /* a value that isn't there is one of the things it doesn't mind */
            fail_msg("%s was taken", bad[i]);
    }
}

/* Deeper than its stack, a longer key than its path: those are passed over, what follows is read. */
static void test_json_bounds(void **state)
{
    char doc[4096];
    size_t n = 0;
    bool ok;
    n += (size_t)snprintf(doc, sizeof(doc), "{\"a\":");
    for (int i = 0; i < 300; i++)
        doc[n++] = i % 2 ? '[' : '{', n += i % 2 ? 0 : (size_t)snprintf(doc + n, sizeof(doc) - n, "\"k\":");
    n += (size_t)snprintf(doc + n, sizeof(doc) - n, "{\"x\":\"]}\"}");
    for (int i = 300; i-- > 0;)
        doc[n++] = i % 2 ? ']' : '}';
    n += (size_t)snprintf(doc + n, sizeof(doc) - n, ",\"b\":2}");
    assert_string_equal(read_json(doc, n, 0, &ok), "b=2 ");
    assert_true(ok);
    n = (size_t)snprintf(doc, sizeof(doc), "{\"%0300d\":{\"y\":1},\"b\":\"%0600d\"}", 0, 7);
    const char *got = read_json(doc, n, 0, &ok);
    assert_true(ok && !strncmp(got, "b=0", 3) && strchr(got, '~') && strlen(got) == 600 + 4);
}

static const char *tail_of(const char *end)
{
    static struct heard h;
    struct json_scan j;
    h = (struct heard){ 0 };
    u8 *copy = malloc(strlen(end) + 1);
    memcpy(copy, end, strlen(end));
    json_tail(&j, &(struct json_sink){ want_all, value_said, &h }, slice_of(copy, strlen(end)));
    free(copy);
    return h.text;
}

static void test_json_tail(void **state)
{
    assert_string_equal(tail_of("lo, wor\\\"ld\"}],\"model\":\"m\",\"t\":0.5}"), "model=m t=0.5 ");
    assert_string_equal(tail_of("x\",\"usage\":{\"in\":{\"a\":1},\"out\":2}}\n"), "usage.in.a=1 usage.out=2 ");
    assert_string_equal(tail_of("aaa\",\\\"model\\\":\\\"no\\\"\"}],\"model\":\"yes\"}"), "model=yes ");
    assert_string_equal(tail_of("a\":\"b\\\\\",\"model\":\"m\"}"), "model=m ");
    assert_string_equal(tail_of("\\\",\"model\":\"m\"}"), "model=m "); /* a mark that may be one of the text: not gone past */
    assert_string_equal(tail_of("\"model\":\"m\"}"), "");              /* whose member it is isn't known */
    assert_string_equal(tail_of("no end of a document"), "");
    assert_string_equal(tail_of(""), "");
    assert_string_equal(tail_of("]}]}}}}},,,}"), "");
}

/* ---- content codings ---- */

struct sum {
    u64 n;
    u32 crc;
};

static void add_up(void *arg, struct slice bytes)
{
    struct sum *s = arg;
    s->n += bytes.n;
    s->crc = (u32)crc32(s->crc, bytes.p, (uInt)bytes.n);
}

static void test_content_names(void **state)
{
    assert_false(content_encoded(slice_str("")));
    assert_false(content_encoded(slice_str(" Identity ")));
    assert_true(content_encoded(slice_str("gzip, br")));
    assert_null(content_new(slice_str("gzip, br")));
    assert_null(content_new(slice_str("compress")));
    for (const char *const *e = (const char *const[]){ "GZIP", "x-gzip", "deflate", " br ", "zstd", NULL }; *e; e++) {
        struct content *c = content_new(slice_str(*e));
        struct sum s = { 0 };
        assert_non_null(c);
        assert_true(content_feed(c, slice_of("", 0), add_up, &s));
        assert_false(content_feed(c, slice_str("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"), add_up, &s));
        assert_false(content_feed(c, slice_str("more"), add_up, &s)); /* dead for good */
        content_free(c);
    }
}

static size_t zipped(u8 *out, size_t room, u64 zeros)
{
    static u8 nothing[65536];
    z_stream z = { .next_out = out, .avail_out = (uInt)room };
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY), Z_OK);
    for (u64 at = 0; at < zeros; at += sizeof(nothing)) {
        z.next_in = nothing;
        z.avail_in = (uInt)min_u64(sizeof(nothing), zeros - at);
        assert_int_equal(deflate(&z, at + sizeof(nothing) >= zeros ? Z_FINISH : Z_NO_FLUSH) >= 0, 1);
    }
    size_t n = room - z.avail_out;
    deflateEnd(&z);
    return n;
}

static void test_content_bomb(void **state)
{
    static u8 out[256 * 1024];
    size_t n = zipped(out, sizeof(out), 3 * (u64)CONTENT_MAX);
    struct content *c = content_new(slice_str("gzip"));
    struct sum s = { 0 };
    assert_true(n < sizeof(out));
    assert_false(content_feed(c, slice_of(out, n), add_up, &s));
    assert_true(s.n > CONTENT_MAX && s.n < CONTENT_MAX + (1 << 16));
    content_free(c);
}

/* Members follow each other; every cut gives the same bytes. */
static void test_content_members(void **state)
{
    u8 out[2048];
    size_t n = zipped(out, sizeof(out), 10000), all = n + zipped(out + n, sizeof(out) - n, 50000);
    for (size_t cut = 0; cut <= all; cut++) {
        struct content *c = content_new(slice_str("gzip"));
        struct sum s = { 0 };
        assert_true(content_feed(c, slice_of(out, cut), add_up, &s));
        assert_true(content_feed(c, slice_of(out + cut, all - cut), add_up, &s));
        assert_int_equal(s.n, 60000);
        content_free(c);
    }
}

/* ---- prices ---- */

static double cost(const char *provider, const char *model, struct llm_usage u)
{
    double usd = -1;
    return llm_cost(provider, "", model, &u, &usd) ? usd * 1e6 : -1;
}
#define NEAR(a, b) assert_true(fabs((a) - (b)) < 1e-6)

static void test_prices(void **state)
{
    char err[256] = "";
    NEAR(cost("openai", "gpt-4o-mini", (struct llm_usage){ .input = 10, .output = 2 }), 10 * 0.15 + 2 * 0.6); /* built in */
    assert_true(cost("openai", "no-such-model", (struct llm_usage){ .input = 10, .output = 2 }) < 0);
    static const char *const text = "prices:\n"
                                    "  - { provider: openai, model: \"a*\", input: 1, output: 2, cache_read: 0.5, up_to: 1000 }\n"
                                    "  - { model: a-b, input: 100, output: 1 }\n"
                                    "  - { model: \"emb*\", input: 3 }\n";
    assert_int_equal(llm_prices_load(slice_str(text), err, sizeof(err)), 0);
    NEAR(cost("openai", "A-b", (struct llm_usage){ .input = 10, .output = 1, .cached = 4 }), 6 + 2 + 2);
    NEAR(cost("groq", "a-b", (struct llm_usage){ .input = 1, .output = 1, .cached = 7, .written = 9 }),
         101); /* parts can't be more */
    NEAR(cost("groq", "embed", (struct llm_usage){ .input = 2 }), 6);
    assert_true(cost("groq", "embed", (struct llm_usage){ .input = 2, .output = 1 }) < 0); /* no price for that */
    assert_true(cost("openai", "ab", (struct llm_usage){ .input = 1001 }) < 0);
    double usd = 7; /* the one that is listed decides, even if it knows no price of so long a prompt */
    assert_false(llm_cost("openai", "ab", "emb", &(struct llm_usage){ .input = 1001 }, &usd));
    assert_true(llm_cost("openai", "unheard of", "emb", &(struct llm_usage){ .input = 1e6 }, &usd) && usd > 2.9 && usd < 3.1);
    assert_true(cost("openai", "gpt-4o-mini", (struct llm_usage){ .input = 1 }) < 0); /* the list was replaced */
}

static void test_prices_bad(void **state)
{
    static const struct {
        const char *text, *why;
    } bad[] = {
        { "", "expected a list" },
        { "prices: 3", "expected a list" },
        { "prices:\n  - gpt", "line 2: a price is a mapping" },
        { "prices:\n  - { model: x }", "at least a model and its input" },
        { "prices:\n  - { input: 1 }", "at least a model" },
        { "prices:\n  - { model: x, input: cheap }", "line 2: expected provider" },
        { "prices:\n  - { model: x, input: -1 }", "expected provider" },
        { "prices:\n  - { model: x, input: nan }", "expected provider" },
        { "prices:\n  - { model: x, input: 1, colour: 2 }", "expected provider" },
        { "prices: [", "line 2:" },
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char err[256] = "";
        assert_int_equal(llm_prices_load(slice_str(bad[i].text), err, sizeof(err)), -EBADMSG);
        if (!strstr(err, bad[i].why))
            fail_msg("«%s»: %s", bad[i].text, err);
    }
    NEAR(cost("groq", "embed", (struct llm_usage){ .input = 2 }), 6); /* the list before stays */
}

/* ---- who is asked ---- */

static void test_api(void **state)
{
    static const struct {
        const char *path, *operation, *model;
    } cases[] = {
        { "/v1/chat/completions", "chat", "" },
        { "/openai/v1/chat/completions", "chat", "" },
        { "/openai/deployments/my-gpt/chat/completions", "chat", "my-gpt" },
        { "/v1beta/models/gemini-2.5-flash:generateContent", "generate_content", "gemini-2.5-flash" },
        { "/model/anthropic.claude-v1%3A0/converse-stream", "chat", "anthropic.claude-v1%3A0" },
        { "/model/arn%3Aaws%3Abedrock%3A1%2Fx/invoke", "chat", "arn%3Aaws%3Abedrock%3A1%2Fx" },
        { "/api/embed", "embeddings", "" },
        { "/model/a/b/converse", NULL, "" },
        { "/model//converse", NULL, "" },
        { "/v1/chat/completions/x", NULL, "" },
        { "/", NULL, "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct slice model = { 0 };
        const struct llm_api *api = llm_api_of(slice_str(cases[i].path), &model);
        assert_true(!api == !cases[i].operation);
        if (!api)
            continue;
        assert_string_equal(api->operation, cases[i].operation);
        assert_true(slice_eq(model.n ? model : slice_str(""), cases[i].model));
    }
    assert_string_equal(llm_provider_of(slice_str("API.OpenAI.com:443")), "openai");
    assert_string_equal(llm_provider_of(slice_str("bedrock-runtime.eu-west-1.amazonaws.com")), "aws.bedrock");
    assert_null(llm_provider_of(slice_str("api.openai.com.example")));
    assert_null(llm_provider_of(slice_str("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_bad),
        cmocka_unit_test(test_json_bounds),
        cmocka_unit_test(test_json_tail),
        cmocka_unit_test(test_content_names),
        cmocka_unit_test(test_content_bomb),
        cmocka_unit_test(test_content_members),
        cmocka_unit_test(test_prices),
        cmocka_unit_test(test_prices_bad),
        cmocka_unit_test(test_api),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
