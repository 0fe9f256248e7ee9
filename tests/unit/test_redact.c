/* needs: base self trace stream protocol ingest pipeline */
#include "pipeline/pipeline.h"
#include "pipeline/redact_scan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* The corpus: a text, and the secret in it that must not be there afterwards. Made up, or taken from the specifications. */
static const struct {
    const char *text, *secret;
} corpus[] = {
    { "paid with 4111111111111111 today", "4111111111111111" },
    { "4111 1111 1111 1111", "1111 1111" },
    { "5555-5555-5555-4444;", "5555-4444" },
    { "amex 378282246310005.", "378282246310005" },
    { "card:6011111111111117,", "6011111111111117" },
    { "{\"pan\":3530111333300000}", "3530111333300000" },
    { "diners 30569309025904", "30569309025904" },
    { "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P", "eyJzdWIiOiIxMjM0In0" },
    { "token eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0. end", "eyJzdWIiOiJ4In0" },
    { "Authorization: Bearer 2YotnFZFEjr1zCsicMWpAA", "2YotnFZFEjr1zCsicMWpAA" },
    { "sent bearer abc123.def456", "abc123.def456" },
    { "Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "QWxhZGRpbjpvcGVu" },
    { "curl -H 'X: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=='", "QWxhZGRpbjpvcGVu" },
    { "key sk-abcdefghijklmnopqrstuvwx1234", "abcdefghijklmnopqrstuvwx" },
    { "sk-ant-api03-AbCdEfGhIjKlMnOpQrStUv", "AbCdEfGhIjKlMnOpQrStUv" },
    { "stripe sk_live_4eC39HqLyjWDarjtT1zdp7dc", "4eC39HqLyjWDarjtT1zdp7dc" },
    { "ghp_abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijklmnop" },
    { "AWS AKIAIOSFODNN7EXAMPLE used", "IOSFODNN7EXAMPLE" },
    { "xoxb-123456789012-abcdefABCDEF", "123456789012-abc" },
    { "glpat-abcdefghij0123456789", "abcdefghij0123456789" },
    { "AIzaSyA-1234567890abcdefghijklmnopqrstuv", "SyA-1234567890" },
    { "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY----- rest", "MIIEpAIBAAKCAQEA" },
    { "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBg", "MIIEvQIBADANBg" },
    { "mail to ann.smith+x@mail.example.org now", "ann.smith+x@mail.example.org" },
    { "<bob@example.com>", "bob@example.com" },
    { "https://user:hunter2@db.example/x", "hunter2" },
    { "postgresql://app:p%40ss@10.0.0.1:5432/shop", "p%40ss" },
    { "redis://:s3cr3tpw@cache:6379/0", "s3cr3tpw" },
    { "https://ghtoken@git.example/x.git", "ghtoken" },
    { "https://a.example/cb?code=1&access_token=zzzyyyxxx&x=2", "zzzyyyxxx" },
    { "https://s3.example/o?X-Amz-Signature=deadbeef01&b=1", "deadbeef01" },
    { "password=hunter2", "hunter2" },
    { "PGPASSWORD=hunter2 psql", "hunter2" },
    { "pwd: hunter2, user: ann", "hunter2" },
    { "{\"password\": \"hun ter2\", \"a\": 1}", "hun ter2" },
    { "{\\\"client_secret\\\":\\\"hunter2\\\"}", "hunter2" },
    { "{'apiKey': 'k-0011223344'}", "k-0011223344" },
    { "DB_PASSWORD='hunter2;x'", "hunter2;x" },
    { "ruby :password=>\"hunter2\"", "hunter2" },
    { "mysql --password hunter2 -u root", "hunter2" },
    { "tool --api-key=hunter2", "hunter2" },
    { "Cookie: sid=abc; theme=dark", "abc" },
    { "Set-Cookie: session=abcdef; Path=/", "abcdef" },
    { "X-Api-Key: 00112233", "00112233" },
    { "aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "wJalrXUtnFEMI" },
    { "SharedAccessSignature: sig=abc%2Bdef", "abc%2Bdef" },
    { "IBAN DE89 3704 0044 0532 0130 00 booked", "0532 0130" },
    { "GB82WEST12345698765432", "12345698765432" },
    { "SELECT * FROM users WHERE name = 'O''Brien' AND age > 42", "O''Brien" },
    { "select id from t where tax = 123456789", "123456789" },
    { "[SQL: INSERT INTO people (a, b) VALUES ('Ann', 1234)]", "Ann" },
    { "insert into t values (98765, 'x')", "98765" },
    { "UPDATE t SET note = E'it\\'s private' WHERE id = 7", "private" },
    { "DELETE FROM t WHERE k = $$top$$", "top" },
    { "with q as (select 1) select * from q where v like 'sec%'", "sec%" },
    { "update t set a = 'never closed secret", "closed secret" },
};

/* What looks a little like one and must stay as it is. */
static const char *const harmless[] = {
    "GET /orders/{id}",
    "4111111111111112",
    "1700000000000000000",
    "12:01:02.345 POST /orders 201",
    "trace=4bf92f3577b34da6a3ce929d0e0e4736",
    "input_tokens=1200 output_tokens=30",
    "http://localhost:8080/a?b=1",
    "git log --author=x",
    "select a plan",
    "update 3 of 7",
    "C++ std::string::npos",
    "pkg@1.2.3",
    "basic authentication",
    "the bearer of news",
    "author: someone",
    "sk-learn",
    "DE89 short",
    "SELECT * FROM t WHERE a = $1 AND b = ? LIMIT ?",
    "SELECT \"Name\" FROM \"Users\"",
    "5.10.0-12-amd64",
    "2024-01-02T03:04:05.678901Z",
    "550e8400-e29b-41d4-a716-446655440000",
    "postgresql://db.example:5432/shop",
    "key: value",
    "",
};

static size_t redacted(char *buf, size_t size, const char *text, u32 flags, u32 *n)
{
    snprintf(buf, size, "%s", text);
    *n = 0;
    size_t len = redact_text(buf, strlen(buf), flags, n);
    assert_int_equal(len, strlen(buf));
    return len;
}

static void the_corpus_goes(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(corpus); i++) {
        char buf[512];
        u32 n;
        assert_non_null(strstr(corpus[i].text, corpus[i].secret));
        redacted(buf, sizeof(buf), corpus[i].text, REDACT_EMAIL | REDACT_IBAN, &n);
        if (!n || strstr(buf, corpus[i].secret))
            fail_msg("%zu: «%s» became «%s»", i, corpus[i].text, buf);
        char again[512]; /* what is written is no secret itself */
        redacted(again, sizeof(again), buf, REDACT_EMAIL | REDACT_IBAN, &n);
        if (strcmp(buf, again))
            fail_msg("%zu: «%s» became «%s»", i, buf, again);
    }
}

static void the_harmless_stays(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(harmless); i++) {
        char buf[512];
        u32 n;
        redacted(buf, sizeof(buf), harmless[i], REDACT_EMAIL | REDACT_IBAN, &n);
        if (n || strcmp(buf, harmless[i]))
            fail_msg("«%s» became «%s»", harmless[i], buf);
    }
}

static void what_is_left_reads_well(void **state)
{
    static const struct {
        const char *in;
        u32 flags;
        const char *out;
    } cases[] = {
        { "a 4111111111111111 b x@y.example c", REDACT_EMAIL, "a [card] b [email] c" },
        { "a 4111111111111111 b x@y.example c", 0, "a [card] b x@y.example c" },
        { "/users/ann@y.example/x?m=bob@z.example&c=1", REDACT_EMAIL, "/users/[email]/x?m=[email]&c=1" },
        { "password=x&user=y", 0, "password=*&user=y" },
        { "https://u:p@h/", 0, "https://***@h/" },
        { "https://user:longpassword@h/?token=abcdefghijkl", 0, "https://REDACTED@h/?token=[redacted]" },
        { "/cb?a=1&b=longer-value-here", REDACT_QUERY, "/cb?a=[redacted]" },
        { "SELECT 'a', 12 FROM t", 0, "SELECT ?, ? FROM t" },
        { "a = 'x' and b=2", REDACT_SQL, "a = ? and b=?" },
        { "Authorization: Bearer abcdefgh12", 0, "Authorization: [redacted]" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char buf[256];
        u32 n;
        redacted(buf, sizeof(buf), cases[i].in, cases[i].flags, &n);
        assert_string_equal(buf, cases[i].out);
    }
}

/* Every prefix of every text of the corpus, and noise: no step outside (guarded by the sanitizers), never longer. */
static void cut_anywhere(void **state)
{
    u64 x = 1;
    for (size_t i = 0; i < ARRAY_LEN(corpus); i++)
        for (size_t len = 0, whole = strlen(corpus[i].text); len <= whole; len++) {
            char *buf = malloc(len + 1);
            u32 n = 0;
            memcpy(buf, corpus[i].text, len);
            buf[len] = 0;
            assert_true(redact_text(buf, len, 15, &n) <= len);
            free(buf);
        }
    for (u32 i = 0; i < 20000; i++) {
        static const char letters[] = "eyJ.:@=-'\"$?/ 4111password;sk-AKIA\\{SELECTFROMDE89";
        char buf[65];
        u32 n = 0;
        for (size_t k = 0; k < 64; k++)
            buf[k] = letters[(x = hash_u64(x + 1)) % (sizeof(letters) - 1)];
        buf[64] = 0;
        assert_true(redact_text(buf, 64, i & 15, &n) <= 64);
    }
}

static void names_of_secrets(void **state)
{
    static const char *const yes[] = { "password",          "DB_PASSWORD",     "userPassword", "password_hash", "client-secret",
                                       "access_token",      "X-Api-Key",       "apikey",       "Authorization", "cookie",
                                       "aws_access_key_id", "PGPASSWORD",      "pwd",          "basic_auth",    "sessionId",
                                       "card.cvv",          "X-Amz-Signature", "csrf_token" };
    static const char *const no[] = { "author",  "input_tokens", "tokens",    "key",    "keyboard",   "passenger", "spin",
                                      "compass", "design",       "authority", "status", "http.route", "id" };
    for (size_t i = 0; i < ARRAY_LEN(yes); i++)
        if (!redact_key(slice_str(yes[i])))
            fail_msg("%s", yes[i]);
    for (size_t i = 0; i < ARRAY_LEN(no); i++)
        if (redact_key(slice_str(no[i])))
            fail_msg("%s", no[i]);
    assert_true(redact_card_number(4111111111111111ull));
    assert_false(redact_card_number(1700000000000000000ull));
    assert_false(redact_card_number(42));
}

/* --- through the pipeline --- */

struct caught {
    struct span_sink spans;
    struct log_sink logs;
    struct metric_sink metrics;
    struct span *span;
    struct log_record *log;
    struct metric_batch *batch;
};

static void span_caught(struct span_sink *k, struct span *s) { container_of(k, struct caught, spans)->span = s; }
static void log_caught(struct log_sink *k, struct log_record *l) { container_of(k, struct caught, logs)->log = l; }
static void metric_caught(struct metric_sink *k, struct metric_batch *b) { container_of(k, struct caught, metrics)->batch = b; }

static struct pipeline *pipeline_of(const struct pipeline_options *o, struct caught *c)
{
    struct pipeline *p = NULL;
    char err[256] = "";
    *c = (struct caught){ .spans = { .ended = span_caught },
                          .logs = { .emit = log_caught },
                          .metrics = { .emit = metric_caught } };
    assert_int_equal(pipeline_new(o, &c->spans, &c->logs, &c->metrics, &p, err, sizeof(err)), 0);
    return p;
}

static bool attrs_have(const struct attr *v, size_t n, const char *secret)
{
    for (size_t i = 0; i < n; i++) {
        if (strstr(v[i].key, secret))
            return true;
        if ((v[i].type == ATTR_STR || v[i].type == ATTR_STRV) && memmem(v[i].s, v[i].len, secret, strlen(secret)))
            return true;
    }
    return false;
}

static bool span_has(const struct span *s, const char *secret)
{
    bool has = strstr(s->name, secret) || (s->status_message && strstr(s->status_message, secret)) ||
               strstr(s->tracestate, secret) || attrs_have(s->attrs.v, s->attrs.n, secret) ||
               attrs_have(s->resource->attr_v, s->resource->attrs.n, secret);
    for (u8 i = 0; i < s->n_events; i++)
        has |= strstr(s->events[i].name, secret) || attrs_have(s->events[i].attrs, s->events[i].n_attrs, secret);
    return has;
}

static struct resource *resource_with(const char *text)
{
    struct resource *r = resource_new();
    struct slice args[] = { slice_str("prog"), slice_str("--flag"), slice_str(text) };
    attr_str(&r->attrs, "service.name", slice_str("shop"));
    attr_strv(&r->attrs, "process.command_args", args, 3);
    attr_str(&r->attrs, "deployment.note", slice_str(text));
    return r;
}

static struct span *span_with(const char *text)
{
    struct span *s = span_new();
    s->id = (struct span_context){ { 1 }, { 2 }, 1 };
    s->resource = resource_with(text);
    span_set_name(s, slice_str(text));
    span_set_error(s, slice_str(text));
    attr_str(&s->attrs, "note", slice_str(text));
    attr_str(&s->attrs, "db.query.text", slice_str(text));
    attr_strv(&s->attrs, "list", (struct slice[]){ slice_str("a"), slice_str(text), slice_str("b") }, 3);
    attr_int(&s->attrs, intern(text), 1);
    span_add_exception(s, 1, slice_str("Error"), slice_str(text), slice_str(text));
    char state[TRACESTATE_ROOM];
    snprintf(state, sizeof(state), "v=%.100s", text);
    span_set_tracestate(s, state);
    return s;
}

static void every_field_of_a_span(void **state)
{
    struct caught c;
    struct pipeline *p = pipeline_of(&(struct pipeline_options){ 0 }, &c);
    for (size_t i = 0; i < ARRAY_LEN(corpus); i++) {
        pipeline_spans(p)->ended(pipeline_spans(p), span_with(corpus[i].text));
        if (span_has(c.span, corpus[i].secret))
            fail_msg("%zu: «%s» came through: name «%s», state «%s»", i, corpus[i].text, c.span->name, c.span->tracestate);
        assert_string_equal(resource_service(c.span->resource), "shop");
        span_unref(c.span);
    }
    pipeline_free(p);
}

static void every_field_of_a_log_record(void **state)
{
    struct caught c;
    struct pipeline *p = pipeline_of(&(struct pipeline_options){ 0 }, &c);
    for (size_t i = 0; i < ARRAY_LEN(corpus); i++) {
        struct log_record *l = log_new(slice_str(corpus[i].text));
        l->resource = resource_with(corpus[i].text);
        attr_str(&l->attrs, "exception.message", slice_str(corpus[i].text));
        pipeline_logs(p)->emit(pipeline_logs(p), l);
        assert_int_equal(c.log->body_len, strlen(c.log->body));
        if (strstr(c.log->body, corpus[i].secret) || attrs_have(c.log->attr_v, c.log->attrs.n, corpus[i].secret) ||
            attrs_have(c.log->resource->attr_v, c.log->resource->attrs.n, corpus[i].secret))
            fail_msg("%zu: «%s» came through", i, corpus[i].text);
        log_unref(c.log);
    }
    pipeline_free(p);
}

static u32 batches_freed;
static void batch_free(struct metric_batch *b)
{
    batches_freed++;
    resource_unref(b->metrics[0].resource);
    free(b);
}

static void metrics_are_copied_only_where_needed(void **state)
{
    struct caught c;
    struct pipeline *p = pipeline_of(&(struct pipeline_options){ 0 }, &c);
    for (size_t i = 0; i < ARRAY_LEN(corpus) + 1; i++) {
        const char *text = i < ARRAY_LEN(corpus) ? corpus[i].text : "harmless";
        struct attr v[] = { { .key = "a", .type = ATTR_STR, .len = 4, .s = "fine" },
                            { .key = "b", .type = ATTR_STR, .len = (u16)strlen(text), .s = text } };
        struct metric_point points[] = { { .attrs = v, .n_attrs = 1, .i = 1 }, { .attrs = v, .n_attrs = 2, .i = 2 } };
        struct metric m = {
            .name = "m", .unit = "1", .description = "", .resource = resource_with(text), .n_points = 2, .points = points
        };
        struct metric_batch *b = calloc(1, sizeof(*b));
        *b = (struct metric_batch){ .refs = 1, .metrics = &m, .n = 1, .n_points = 2, .free = batch_free };
        pipeline_metrics(p)->emit(pipeline_metrics(p), b);
        if (i == ARRAY_LEN(corpus)) {
            assert_ptr_equal(c.batch, b);
        } else {
            const struct metric *out = &c.batch->metrics[0];
            assert_false(attrs_have(out->points[1].attrs, 2, corpus[i].secret));
            assert_false(attrs_have(out->resource->attr_v, out->resource->attrs.n, corpus[i].secret));
            assert_int_equal(out->points[1].i, 2);
            assert_ptr_equal(out->points[0].attrs, v);
        }
        metric_batch_unref(c.batch);
        assert_int_equal(batches_freed, i + 1);
    }
    pipeline_free(p);
}

static void values_of_secret_names_go_whole(void **state)
{
    struct caught c;
    struct pipeline *p = pipeline_of(&(struct pipeline_options){ 0 }, &c);
    struct span *s = span_with("x");
    struct slice args[] = { slice_str("mysql"), slice_str("--password"), slice_str("hunter2"), slice_str("-u"),
                            slice_str("root") };
    attr_str(&s->attrs, "http.request.header.authorization", slice_str("anything at all"));
    attr_strv(&s->attrs, "http.request.header.cookie", (struct slice[]){ slice_str("a=b") }, 1);
    attr_strv(&s->attrs, "args", args, 5);
    attr_int(&s->attrs, "number", 4111111111111111ll);
    attr_int(&s->attrs, "gen_ai.usage.input_tokens", 12);
    pipeline_spans(p)->ended(pipeline_spans(p), s);
    assert_string_equal(attr_get(&s->attrs, "http.request.header.authorization")->s, "[redacted]");
    assert_string_equal(attr_get(&s->attrs, "http.request.header.cookie")->s, "[redacted]");
    assert_string_equal(attr_get(&s->attrs, "number")->s, "[redacted]");
    assert_int_equal(attr_get(&s->attrs, "gen_ai.usage.input_tokens")->i, 12);
    const struct attr *a = attr_get(&s->attrs, "args");
    assert_memory_equal(a->s, "mysql\0--password\0*******\0-u\0root", 33);
    assert_int_equal(a->len, 33);
    span_unref(s);
    pipeline_free(p);
}

static void privacy_off_leaves_all(void **state)
{
    struct caught c;
    struct pipeline *p = pipeline_of(&(struct pipeline_options){ .keep_values = true }, &c);
    struct span *s = span_with("password=hunter2");
    pipeline_spans(p)->ended(pipeline_spans(p), s);
    assert_true(span_has(s, "hunter2"));
    span_unref(s);
    pipeline_free(p);
}

static void own_keys_and_patterns(void **state)
{
    static const char *const keys[] = { "tenant.*" }, *const allow[] = { "note" }, *const patterns[] = { "EMP-\\d{6}" };
    struct processor_spec spec = {
        .kind = "redact",
        .redact = { .keys = keys, .n_keys = 1, .allow = allow, .n_allow = 1, .patterns = patterns, .n_patterns = 1 }
    };
    struct caught c;
    struct pipeline *p = pipeline_of(&(struct pipeline_options){ .processors = &spec, .n_processors = 1 }, &c);
    struct span *s = span_with("EMP-123456 and EMP-654321");
    attr_str(&s->attrs, "tenant.name", slice_str("a rather long name"));
    pipeline_spans(p)->ended(pipeline_spans(p), s);
    assert_string_equal(s->name, "[redacted] and [redacted]");
    assert_string_equal(attr_get(&s->attrs, "note")->s, "EMP-123456 and EMP-654321");
    assert_string_equal(attr_get(&s->attrs, "tenant.name")->s, "[redacted]");
    span_unref(s);
    pipeline_free(p);
    static const char *const bad[] = { "a(b" };
    spec.redact = (struct redact_options){ .patterns = bad, .n_patterns = 1 };
    char err[256];
    assert_int_equal(pipeline_new(&(struct pipeline_options){ .processors = &spec, .n_processors = 1 }, &c.spans, NULL, NULL, &p,
                                  err, sizeof(err)),
                     -EINVAL);
    assert_non_null(strstr(err, "pattern 'a(b', at character 4"));
}

/* A pattern that would take for ever on a hostile text gives up and is counted. */
static void a_costly_pattern_gives_up(void **state)
{
    static const char *const patterns[] = { "^(a+)+$" };
    struct processor_spec spec = { .kind = "redact", .redact = { .patterns = patterns, .n_patterns = 1 } };
    struct caught c;
    struct pipeline *p = pipeline_of(&(struct pipeline_options){ .processors = &spec, .n_processors = 1 }, &c);
    char text[400];
    memset(text, 'a', sizeof(text));
    memcpy(text + 300, "b", 2);
    struct span *s = span_with(text);
    pipeline_spans(p)->ended(pipeline_spans(p), s);
    assert_string_equal(s->name, text);
    span_unref(s);
    pipeline_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_corpus_goes),
        cmocka_unit_test(the_harmless_stays),
        cmocka_unit_test(what_is_left_reads_well),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(names_of_secrets),
        cmocka_unit_test(every_field_of_a_span),
        cmocka_unit_test(every_field_of_a_log_record),
        cmocka_unit_test(metrics_are_copied_only_where_needed),
        cmocka_unit_test(values_of_secret_names_go_whole),
        cmocka_unit_test(privacy_off_leaves_all),
        cmocka_unit_test(own_keys_and_patterns),
        cmocka_unit_test(a_costly_pattern_gives_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
