/* needs: base self trace stream protocol ingest export store gen */
#include "export/exporter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void env_clear(void)
{
    static const char *const name[] = { "ENDPOINT",   "HEADERS",     "CERTIFICATE", "CLIENT_CERTIFICATE",
                                        "CLIENT_KEY", "COMPRESSION", "TIMEOUT",     "PROTOCOL" };
    char var[64];
    for (size_t i = 0; i < ARRAY_LEN(name); i++) {
        snprintf(var, sizeof(var), "OTEL_EXPORTER_OTLP_%s", name[i]);
        unsetenv(var);
        snprintf(var, sizeof(var), "OTEL_EXPORTER_OTLP_TRACES_%s", name[i]);
        unsetenv(var);
    }
}

static void good_specs(void **state)
{
    static const struct {
        const char *text, *kind, *target;
    } cases[] = {
        { "console", "console", "" },
        { "console:lines", "console", "lines" },
        { "console:json", "console:json", "" },
        { "console:json:-", "console:json", "-" },
        { "otlp-json:/tmp/a=b:c", "otlp-json", "/tmp/a=b:c" },
        { "otlp-json:-", "otlp-json", "-" },
        { "otlp=http://h:4318", "otlp-http", "http://h:4318/v1/traces" },
        { "otlp=http://h:4318/", "otlp-http", "http://h:4318/v1/traces" },
        { "otlp=https://h/my/otlp", "otlp-http", "https://h/my/otlp" },
        { "otlp=https://h?k=v", "otlp-http", "https://h/v1/traces?k=v" },
        { "otlp=http://[::1]:4318", "otlp-http", "http://[::1]:4318/v1/traces" },
        { "otlp=grpc://h", "otlp-grpc", "grpc://h:4317" },
        { "otlp=grpc://[::1]", "otlp-grpc", "grpc://[::1]:4317" },
        { "otlp=grpcs://h:443/ignored", "otlp-grpc", "grpcs://h:443" },
        { "otlp=unix:/run/otel.sock", "otlp-http", "http://localhost/v1/traces" },
        { "otlp=grpc+unix:///run/otel.sock", "otlp-grpc", "grpc://localhost" },
        { "otlp", "otlp-http", "http://localhost:4318/v1/traces" },
    };
    env_clear();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct export_spec s;
        char err[300] = "";
        if (export_spec_parse(cases[i].text, SIGNAL_TRACES, &s, err, sizeof(err)))
            fail_msg("%s: %s", cases[i].text, err);
        assert_string_equal(s.kind, cases[i].kind);
        assert_string_equal(s.target, cases[i].target);
    }
}

static void bad_specs_say_where_and_what_instead(void **state)
{
    static const struct {
        const char *text, *said[3];
    } cases[] = {
        { "consol", { "unknown exporter 'consol'", "did you mean 'console'", "otlp=URL" } },
        { "otpl=http://h", { "'otpl'", "did you mean 'otlp'" } },
        { "qqqqqqqq", { "use console" } },
        { "", { "unknown exporter" } },
        { "console:jsn", { "did you mean json" } },
        { "console=x", { "console:json" } },
        { "otlp=localhost:4317", { "no scheme", "http://localhost:4317", "grpc://localhost:4317" } },
        { "otlp=htp://h", { "unknown scheme 'htp'", "'http'" } },
        { "otlp=ftp://h", { "unknown scheme" } },
        { "otlp=http://", { "no host" } },
        { "otlp=http://:4318", { "no host" } },
        { "otlp=http://h:99999", { "'99999' is not a port" } },
        { "otlp=http://h:x", { "'x' is not a port" } },
        { "otlp=http://u:p@h", { "no user or password", "HEADERS" } },
        { "otlp=http://h /x", { "column 9" } },
        { "otlp:http://h", { "write otlp=http://h" } },
        { "otlp=", { "no scheme" } },
        { "otlp-json", { "name a file" } },
        { "otlp-json:", { "name a file" } },
    };
    env_clear();
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct export_spec s, before;
        char err[300] = "";
        memset(&s, 0x5a, sizeof(s));
        before = s;
        assert_int_equal(export_spec_parse(cases[i].text, SIGNAL_TRACES, &s, err, sizeof(err)), -EINVAL);
        assert_memory_equal(&s, &before, sizeof(s));
        for (size_t k = 0; k < 3 && cases[i].said[k]; k++)
            if (!strstr(err, cases[i].said[k]))
                fail_msg("%s: no «%s» in «%s»", cases[i].text, cases[i].said[k], err);
    }
}

static void variables_apply_by_the_specification(void **state)
{
    struct export_spec s;
    char err[300] = "";
    env_clear();
    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://h:4318/base/", 1); /* a base: the path is always added */
    assert_int_equal(export_spec_parse("otlp", SIGNAL_TRACES, &s, err, sizeof(err)), 0);
    assert_string_equal(s.target, "http://h:4318/base/v1/traces");
    setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:4318/x", 1); /* its own: as it is */
    assert_int_equal(export_spec_parse("otlp", SIGNAL_TRACES, &s, err, sizeof(err)), 0);
    assert_string_equal(s.target, "http://t:4318/x");
    setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "", 1); /* empty counts as unset */
    setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", 1);
    assert_int_equal(export_spec_parse("otlp", SIGNAL_TRACES, &s, err, sizeof(err)), 0);
    assert_string_equal(s.kind, "otlp-grpc");
    assert_string_equal(s.target, "grpc://h:4318");
    setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x, k=v", 1);
    setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "a=b", 1);
    setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip", 1);
    setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2500", 1);
    setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", "/ca.pem", 1);
    assert_int_equal(export_spec_parse("otlp=http://h", SIGNAL_TRACES, &s, err, sizeof(err)), 0);
    assert_string_equal(s.headers, "a=b"); /* the signal's own wins */
    assert_string_equal(s.compression, "gzip");
    assert_int_equal(s.timeout_ms, 2500);
    assert_string_equal(s.certificate, "/ca.pem");
    assert_null(s.client_key);
}

static void bad_variables_are_named(void **state)
{
    static const struct {
        const char *var, *value, *said;
    } cases[] = {
        { "OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "OTEL_EXPORTER_OTLP_TIMEOUT=10s" },
        { "OTEL_EXPORTER_OTLP_TIMEOUT", "0", "milliseconds" },
        { "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "zstd", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION=zstd" },
        { "OTEL_EXPORTER_OTLP_HEADERS", "a=b,Bearer x", "item 2" },
        { "OTEL_EXPORTER_OTLP_HEADERS", "a b=c", "item 1" },
        { "OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317", "OTEL_EXPORTER_OTLP_ENDPOINT" },
        { "OTEL_EXPORTER_OTLP_PROTOCOL", "http/xml", "http/json" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct export_spec s;
        char err[300] = "";
        env_clear();
        setenv(cases[i].var, cases[i].value, 1);
        assert_int_equal(export_spec_parse("otlp", SIGNAL_TRACES, &s, err, sizeof(err)), -EINVAL);
        if (!strstr(err, cases[i].said))
            fail_msg("%s=%s: «%s»", cases[i].var, cases[i].value, err);
    }
    env_clear();
}

static void every_exporter_describes_itself(void **state)
{
    size_t n = 0;
    for (; exporters[n]; n++) {
        assert_non_null(exporters[n]->name);
        assert_non_null(exporters[n]->help);
        assert_non_null(exporters[n]->open);
        assert_true(exporters[n]->send ? !exporters[n]->encode : exporters[n]->encode && exporters[n]->deliver);
        assert_non_null(exporters[n]->close);
        assert_true(exporters[n]->live || !exporters[n]->started);
    }
    assert_true(n >= 6);
}

static void each_signal_has_its_own_variables(void **state)
{
    struct export_spec s[SIGNAL_MAX];
    char err[300] = "";
    size_t n = 0;
    env_clear();
    assert_int_equal(export_specs_parse("otlp=http://h:4318", s, &n, err, sizeof(err)), 0);
    assert_int_equal(n, 3);
    assert_string_equal(s[SIGNAL_TRACES].target, "http://h:4318/v1/traces");
    assert_string_equal(s[SIGNAL_LOGS].target, "http://h:4318/v1/logs");
    assert_string_equal(s[SIGNAL_METRICS].target, "http://h:4318/v1/metrics");
    setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://all", 1);
    setenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "http://logs:1/in", 1);
    setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc", 1);
    setenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "k=m", 1);
    setenv("OTEL_EXPORTER_OTLP_HEADERS", "k=v", 1);
    assert_int_equal(export_specs_parse("otlp", s, &n, err, sizeof(err)), 0);
    assert_string_equal(s[SIGNAL_TRACES].target, "http://all/v1/traces");
    assert_string_equal(s[SIGNAL_LOGS].target, "http://logs:1/in");
    assert_string_equal(s[SIGNAL_METRICS].target, "grpc://all:4317");
    assert_string_equal(s[SIGNAL_METRICS].kind, "otlp-grpc");
    assert_string_equal(s[SIGNAL_LOGS].headers, "k=v");
    assert_string_equal(s[SIGNAL_METRICS].headers, "k=m");
    setenv("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "soon", 1);
    assert_int_equal(export_specs_parse("otlp", s, &n, err, sizeof(err)), -EINVAL);
    assert_non_null(strstr(err, "OTEL_EXPORTER_OTLP_LOGS_TIMEOUT=soon"));
    env_clear();
    unsetenv("OTEL_EXPORTER_OTLP_LOGS_ENDPOINT");
    unsetenv("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT");
    unsetenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL");
    unsetenv("OTEL_EXPORTER_OTLP_METRICS_HEADERS");
    assert_int_equal(export_specs_parse("console", s, &n, err, sizeof(err)), 0);
    assert_int_equal(n, 1);
    assert_int_equal(export_spec_parse("console", SIGNAL_LOGS, s, err, sizeof(err)), -EOPNOTSUPP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_specs),
        cmocka_unit_test(bad_specs_say_where_and_what_instead),
        cmocka_unit_test(variables_apply_by_the_specification),
        cmocka_unit_test(bad_variables_are_named),
        cmocka_unit_test(every_exporter_describes_itself),
        cmocka_unit_test(each_signal_has_its_own_variables),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
