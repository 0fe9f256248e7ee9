/* needs: base config trace self stream protocol ingest */
/* The configuration: reading, substitution, overlays, variables, defaults. Broken files: tests/config, test_config_files. */
#include "config/config_internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <unistd.h>

static struct config_says mistakes, notes;

/* An environment of the test's own: "NAME=value" until NULL. */
static const char *env_of(void *arg, const char *name)
{
    size_t n = strlen(name);
    for (const char *const *v = arg; v && *v; v++)
        if (!strncmp(*v, name, n) && (*v)[n] == '=')
            return *v + n + 1;
    return NULL;
}

static struct config *load_files(const char *const *texts, size_t n, const char *const *env, const struct config_flag *flags,
                                 size_t n_flags)
{
    char paths[4][32];
    const char *files[4];
    for (size_t i = 0; i < n; i++) {
        strcpy(paths[i], "/tmp/wf-config-XXXXXX");
        int fd = mkstemp(paths[i]);
        assert_true(fd >= 0 && write(fd, texts[i], strlen(texts[i])) == (ssize_t)strlen(texts[i]));
        close(fd);
        files[i] = paths[i];
    }
    struct config_input in = {
        .files = files, .n_files = n, .env = env_of, .env_arg = (void *)(uintptr_t)env, .flags = flags, .n_flags = n_flags
    };
    struct config *c = NULL;
    int err = config_load(&in, &c, &mistakes, &notes);
    assert_true((err != 0) == (c == NULL));
    for (size_t i = 0; i < n; i++)
        unlink(paths[i]);
    return c;
}

static struct config *load(const char *text, const char *const *env) { return load_files(&text, 1, env, NULL, 0); }
static struct config *fine(const char *text, const char *const *env)
{
    struct config *c = load(text, env);
    if (!c)
        print_error("%s\n", mistakes.text);
    assert_non_null(c);
    return c;
}

#define HEAD  "file_format: \"1.1\"\n"
#define TRACE HEAD "tracer_provider:\n  processors:\n    - batch:\n        exporter:\n          "

static void test_defaults(void **state)
{
    struct config *c = fine(TRACE "otlp_http:\n", NULL);
    assert_int_equal(c->tracer_provider->processors.n, 1);
    const struct config_batch *b = c->tracer_provider->processors.v[0].batch;
    assert_int_equal(b->schedule_delay, 5000);
    assert_int_equal(b->export_timeout, 30000);
    assert_int_equal(b->max_queue_size, 2048);
    assert_int_equal(b->max_export_batch_size, 512);
    assert_non_null(b->exporter->otlp_http);
    assert_null(b->exporter->otlp_grpc);
    assert_null(b->exporter->otlp_http->endpoint);
    assert_int_equal(b->exporter->otlp_http->timeout, 10000);
    assert_int_equal(b->exporter->otlp_http->encoding, CONFIG_ENCODING_PROTOBUF);
    assert_int_equal(c->tracer_provider->limits->events, 128);
    assert_int_equal(c->tracer_provider->limits->count, CONFIG_UNSET);
    assert_int_equal(c->attribute_limits->count, 128);
    assert_int_equal(c->attribute_limits->value_length, CONFIG_UNSET);
    assert_int_equal(c->log_level, CONFIG_SEVERITY_INFO);
    assert_null(c->meter_provider);
    assert_null(c->tracer_provider->sampler);
    assert_true(c->wftrace->enabled);
    assert_int_equal(c->wftrace->privacy, CONFIG_PRIVACY_STRICT);
    assert_false(config_off(c));
    config_free(c);
}

/* The table of «Environment variable substitution», row by row. */
static void test_substitution(void **state)
{
    static const char *const env[] = { "STRING_VALUE=value",
                                       "BOOL_VALUE=true",
                                       "INT_VALUE=1",
                                       "FLOAT_VALUE=1.1",
                                       "HEX_VALUE=0xdeadbeef",
                                       "INVALID_MAP_VALUE=value\nkey:value",
                                       "DO_NOT_REPLACE_ME=Never use this value",
                                       "REPLACE_ME=${DO_NOT_REPLACE_ME}",
                                       "VALUE_WITH_ESCAPE=value$$",
                                       "EMPTY=",
                                       NULL };
    static const struct {
        const char *in, *out;
        enum config_value_kind kind;
    } rows[] = {
        { "${STRING_VALUE}", "value", CONFIG_VALUE_TEXT },
        { "${BOOL_VALUE}", "true", CONFIG_VALUE_BOOL },
        { "${INT_VALUE}", "1", CONFIG_VALUE_INT },
        { "${FLOAT_VALUE}", "1.1", CONFIG_VALUE_DOUBLE },
        { "${HEX_VALUE}", "0xdeadbeef", CONFIG_VALUE_INT },
        { "\"${STRING_VALUE}\"", "value", CONFIG_VALUE_TEXT },
        { "\"${BOOL_VALUE}\"", "true", CONFIG_VALUE_TEXT },
        { "\"${INT_VALUE}\"", "1", CONFIG_VALUE_TEXT },
        { "${env:STRING_VALUE}", "value", CONFIG_VALUE_TEXT },
        { "${INVALID_MAP_VALUE}", "value\nkey:value", CONFIG_VALUE_TEXT },
        { "foo ${STRING_VALUE} ${FLOAT_VALUE}", "foo value 1.1", CONFIG_VALUE_TEXT },
        { "${UNDEFINED_KEY}", "", CONFIG_VALUE_NULL },
        { "${EMPTY:-filled}", "filled", CONFIG_VALUE_TEXT },
        { "${UNDEFINED_KEY:-fallback}", "fallback", CONFIG_VALUE_TEXT },
        { "${UNDEFINED_KEY:-}", "", CONFIG_VALUE_NULL },
        { "${REPLACE_ME}", "${DO_NOT_REPLACE_ME}", CONFIG_VALUE_TEXT },
        { "${UNDEFINED_KEY:-${STRING_VALUE}}", "${STRING_VALUE}", CONFIG_VALUE_TEXT },
        { "$${STRING_VALUE}", "${STRING_VALUE}", CONFIG_VALUE_TEXT },
        { "$$${STRING_VALUE}", "$value", CONFIG_VALUE_TEXT },
        { "$$$${STRING_VALUE}", "$${STRING_VALUE}", CONFIG_VALUE_TEXT },
        { "$${STRING_VALUE:-fallback}", "${STRING_VALUE:-fallback}", CONFIG_VALUE_TEXT },
        { "$${STRING_VALUE:-${STRING_VALUE}}", "${STRING_VALUE:-value}", CONFIG_VALUE_TEXT },
        { "${UNDEFINED_KEY:-$${UNDEFINED_KEY}}", "${UNDEFINED_KEY:-${UNDEFINED_KEY}}", CONFIG_VALUE_TEXT },
        { "${VALUE_WITH_ESCAPE}", "value$$", CONFIG_VALUE_TEXT },
        { "a $$ b", "a $ b", CONFIG_VALUE_TEXT },
        { "a $ b", "a $ b", CONFIG_VALUE_TEXT },
        { "a ${ b", "a ${ b", CONFIG_VALUE_TEXT },
        { "x${}", "x${}", CONFIG_VALUE_TEXT },
    };
    static const char *const types[] = { "string", "string", "bool", "int", "double" };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[300];
        snprintf(text, sizeof(text), HEAD "resource:\n  attributes:\n    - name: key\n      value: %s\n      type: %s\n",
                 rows[i].in, types[rows[i].kind]);
        struct config *c = fine(text, env);
        const struct config_value *v = &c->resource->attributes.v[0].value;
        if (strcmp(v->text, rows[i].out))
            print_error("%s\n", rows[i].in);
        assert_string_equal(v->text, rows[i].out);
        assert_int_equal(v->kind, rows[i].kind);
        config_free(c);
    }
    assert_null(load(HEAD "log_level: ${STRING_VALUE:?error}\n", env));
    assert_non_null(strstr(mistakes.text, ":2:12: ${STRING_VALUE:?error} is no reference"));
    assert_null(load(HEAD "log_level: \"a ${1KEY}\"\n", env));
    assert_non_null(strstr(mistakes.text, ":2:15: ${1KEY} does not name"));
    assert_null(load(HEAD "${STRING_VALUE}: x\n", env)); /* keys are never replaced */
    assert_non_null(strstr(mistakes.text, ":2:1: unknown key «${STRING_VALUE}»"));
}

static void test_overlays(void **state)
{
    static const char *const texts[] = {
        TRACE "otlp_http:\n            endpoint: http://base:4318/v1/traces\n            timeout: 1\n"
              "  sampler:\n    always_on:\nlog_level: debug\nattribute_limits:\n  attribute_count_limit: 7\n"
              "  attribute_value_length_limit: 9\n",
        "attribute_limits:\n  attribute_count_limit: 8\ntracer_provider:\n  sampler:\n    trace_id_ratio_based:\n      ratio: "
        "0.25\n",
    };
    struct config *c = load_files(texts, 2, NULL, NULL, 0);
    assert_non_null(c);
    assert_int_equal(c->attribute_limits->count, 8);
    assert_int_equal(c->attribute_limits->value_length, 9);
    assert_int_equal(c->log_level, CONFIG_SEVERITY_DEBUG);
    assert_non_null(c->tracer_provider->sampler->trace_id_ratio_based);
    assert_null(c->tracer_provider->sampler->always_on);
    assert_true(c->tracer_provider->sampler->trace_id_ratio_based->ratio == 0.25);
    assert_string_equal(c->tracer_provider->processors.v[0].batch->exporter->otlp_http->endpoint, "http://base:4318/v1/traces");
    config_free(c);
    /* lists are replaced, not added to */
    static const char *const lists[] = { TRACE "console:\n", "tracer_provider:\n  processors:\n    - simple:\n        exporter:\n"
                                                             "          zipkin:\n" };
    c = load_files(lists, 2, NULL, NULL, 0);
    assert_non_null(c);
    assert_int_equal(c->tracer_provider->processors.n, 1);
    assert_string_equal(c->tracer_provider->processors.v[0].simple->exporter->zipkin->endpoint,
                        "http://localhost:9411/api/v2/spans");
    config_free(c);
}

static void test_env(void **state)
{
    static const char *const env[] = { "OTEL_TRACES_EXPORTER=otlp, zipkin",
                                       "OTEL_EXPORTER_OTLP_ENDPOINT=http://c:4318/",
                                       "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT=http://m:1",
                                       "OTEL_EXPORTER_OTLP_HEADERS=a=b",
                                       "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=grpc",
                                       "OTEL_LOGS_EXPORTER=otlp",
                                       "OTEL_METRICS_EXPORTER=otlp,prometheus",
                                       "OTEL_BSP_MAX_QUEUE_SIZE=oops",
                                       "OTEL_BSP_EXPORT_TIMEOUT=-1",
                                       "OTEL_BSP_SCHEDULE_DELAY=200",
                                       "OTEL_TRACES_SAMPLER=ParentBased_TraceIdRatio",
                                       "OTEL_TRACES_SAMPLER_ARG=0.5",
                                       "OTEL_SDK_DISABLED=TRUE",
                                       "OTEL_METRIC_EXPORT_INTERVAL=1000",
                                       "OTEL_SPAN_LINK_COUNT_LIMIT=3",
                                       NULL };
    struct config *c = load_files(NULL, 0, env, NULL, 0);
    assert_non_null(c);
    assert_true(c->disabled && config_off(c));
    const struct config_tracer_provider *t = c->tracer_provider;
    assert_int_equal(t->processors.n, 2);
    assert_string_equal(t->processors.v[0].batch->exporter->otlp_http->endpoint, "http://c:4318/v1/traces");
    assert_string_equal(t->processors.v[0].batch->exporter->otlp_http->headers_list, "a=b");
    assert_non_null(t->processors.v[1].batch->exporter->zipkin);
    assert_int_equal(t->processors.v[0].batch->schedule_delay, 200);
    assert_int_equal(t->processors.v[0].batch->max_queue_size, 8192); /* no number: as if it were not set */
    assert_int_equal(t->processors.v[0].batch->export_timeout, 30000);
    assert_non_null(strstr(notes.text, "OTEL_BSP_MAX_QUEUE_SIZE: «oops» is not a whole number"));
    assert_true(t->sampler->parent_based->root->trace_id_ratio_based->ratio == 0.5);
    assert_int_equal(t->limits->links, 3);
    assert_string_equal(c->meter_provider->readers.v[0].periodic->exporter->otlp_http->endpoint, "http://m:1/");
    assert_int_equal(c->meter_provider->readers.v[0].periodic->interval, 1000);
    assert_int_equal(c->meter_provider->readers.v[1].pull->exporter->prometheus->port, 9464);
    assert_string_equal(c->logger_provider->processors.v[0].batch->exporter->otlp_grpc->endpoint, "http://c:4318/");
    config_free(c);
    /* nothing set: the console, and nothing else */
    c = load_files(NULL, 0, NULL, NULL, 0);
    assert_non_null(c->tracer_provider->processors.v[0].batch->exporter->console);
    assert_int_equal(c->tracer_provider->processors.v[0].batch->schedule_delay, 100);
    assert_null(c->meter_provider);
    config_free(c);
    /* none, and an unknown one */
    static const char *const none[] = { "OTEL_TRACES_EXPORTER=none", "OTEL_METRICS_EXPORTER=graphite", NULL };
    c = load_files(NULL, 0, none, NULL, 0);
    assert_null(c->tracer_provider);
    assert_null(c->meter_provider);
    assert_non_null(strstr(notes.text, "OTEL_METRICS_EXPORTER: no exporter «graphite»"));
    config_free(c);
}

/* With a file, a variable counts only where the file names it; a flag goes over everything. */
static void test_precedence(void **state)
{
    static const char *const env[] = { "OTEL_SDK_DISABLED=true", "OTEL_BSP_MAX_QUEUE_SIZE=5", "OTEL_LOG_LEVEL=error", NULL };
    static const char *const texts[] = { TRACE "console:\nlog_level: warn\nwftrace:\n  privacy: strict\n" };
    static const struct config_flag flags[] = { { "wftrace.privacy", "off", "--privacy" }, { "log_level", "debug", "-v" } };
    struct config *c = load_files(texts, 1, env, flags, 2);
    assert_non_null(c);
    assert_false(config_off(c));
    assert_int_equal(c->tracer_provider->processors.v[0].batch->max_queue_size, 2048);
    assert_int_equal(c->wftrace->privacy, CONFIG_PRIVACY_OFF);
    assert_int_equal(c->log_level, CONFIG_SEVERITY_DEBUG);
    config_free(c);
    c = fine(HEAD "disabled: ${OTEL_SDK_DISABLED:-false}\n", env);
    assert_true(config_off(c));
    config_free(c);
    c = fine(HEAD "wftrace:\n  enabled: false\n", env);
    assert_true(config_off(c));
    config_free(c);
}

static void test_units(void **state)
{
    s64 v;
    assert_int_equal(config_read_duration("7d", &v), 0);
    assert_int_equal(v, 7 * 86400000ll);
    assert_int_equal(config_read_duration("1500", &v), 0);
    assert_int_equal(v, 1500);
    assert_int_equal(config_read_duration("1.5s", &v), -EINVAL);
    assert_int_equal(config_read_duration("s", &v), -EINVAL);
    assert_int_equal(config_read_duration("999999999999999999d", &v), -ERANGE);
    assert_int_equal(config_read_size("64MiB", &v), 0);
    assert_int_equal(v, 64 << 20);
    assert_int_equal(config_read_size("10 GB", &v), 0);
    assert_int_equal(v, 10000000000ll);
    assert_int_equal(config_read_size("10 gigs", &v), -EINVAL);
    s64 i;
    assert_true(config_scalar_int("-0", &i) && i == 0);
    assert_true(config_scalar_int("0o17", &i) && i == 15);
    assert_false(config_scalar_int("0x", &i));
    assert_false(config_scalar_int("9223372036854775808", &i));
    assert_false(config_scalar_int("1_000", &i));
    double d;
    assert_true(config_scalar_number("1e3", &d) && d == 1000);
    assert_false(config_scalar_number("1.2.3", &d));
    assert_false(config_scalar_number("e", &d));
    assert_false(config_scalar_number(".", &d));
}

/* Aliases may neither loop nor explode. */
static void test_aliases(void **state)
{
    struct config *c = fine(HEAD "resource: &r\n  attributes_list: a=b\n", NULL);
    config_free(c);
    assert_null(load(HEAD "wftrace: &w\n  rules: *w\n", NULL));
    char text[2000] = HEAD "distribution:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
    for (int i = 1; i < 9; i++) {
        char line[200];
        snprintf(line, sizeof(line), "  a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i, i - 1,
                 i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
        strcat(text, line);
    }
    assert_null(load(text, NULL));
    assert_non_null(strstr(mistakes.text, "too many values"));
    assert_int_equal(mistakes.n, 1);
}

/* The part for the rules keeps its lines and columns. */
static void test_part(void **state)
{
    struct config *c =
        fine(HEAD "# ü\nwftrace:\n  rules:\n    activities:\n      - name: a\n        at: exec:x\n    files: [b]\n", NULL);
    const struct config_text *t = &c->wftrace->rules->activities;
    const char *line = t->text;
    for (int i = 1; i < 6; i++)
        line = strchr(line, '\n') + 1;
    assert_memory_equal(line, "      - name: a\n        at: exec:x\n", 34);
    assert_memory_equal(t->text, "activities: \n", 13);
    assert_null(strstr(t->text, "files"));
    assert_string_equal(c->wftrace->rules->files.v[0], "b");
    config_free(c);
}

/* What a reload finds: the same text elsewhere is no change, a default that is written neither, and only marked keys are named. */
static void test_diff(void **state)
{
    char keys[200];
    struct config *a = fine(HEAD "resource: {attributes: [{name: a, value: b}]}\n", NULL);
    struct config *b = fine("wftrace: {privacy: \"off\", memory_limit: 512MiB, spool: {dir: /x, max_size: 256MB}}\n" HEAD
                            "resource:\n  attributes:\n    - value: b\n      name: a\n",
                            NULL);
    assert_true(config_same(a, b, "resource") && !config_same(a, b, "wftrace.privacy"));
    assert_true(config_same(a, b, "no.such") && config_same(a, a, "wftrace"));
    assert_int_equal(config_restarts(a, b, keys, sizeof(keys)), 2);
    assert_string_equal(keys, "wftrace.spool.dir, wftrace.memory_limit");
    assert_int_equal(config_restarts(b, a, keys, sizeof(keys)), 2);
    assert_int_equal(config_restarts(b, b, keys, sizeof(keys)), 0);
    assert_string_equal(keys, "");
    assert_int_equal(config_restarts(a, b, keys, 24), 2);
    assert_string_equal(keys, "wftrace.spool.dir");
    void *kept = config_keep(a, 100000);
    assert_non_null(kept);
    memset(kept, 1, 100000);
    config_free(a);
    config_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_substitution), cmocka_unit_test(test_overlays),
        cmocka_unit_test(test_env),      cmocka_unit_test(test_precedence),   cmocka_unit_test(test_units),
        cmocka_unit_test(test_aliases),  cmocka_unit_test(test_part),         cmocka_unit_test(test_diff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
