/* Fuzz target: --export SPEC, --spool, and the OTEL_EXPORTER_OTLP_* variables: the first line is the SPEC, each further one
 * NAME=value. Anything is a spec within its bounds or a sentence, never more. */
#include "export/exporter.h"

/* The exporters themselves are not part of it. */
#define EXPORTER(symbol) __attribute__((weak)) const struct exporter exporter_##symbol = { .name = #symbol };
#include "export/exporter.def"
#undef EXPORTER
const struct exporter *exporter_by_name(const char *kind)
{
    static const struct exporter all = { .name = "all", .signals = SIGNAL_ALL };
    return *kind ? &all : NULL;
}

static const char *const names[] = { "ENDPOINT", "PROTOCOL", "HEADERS", "COMPRESSION", "TIMEOUT", "CERTIFICATE", "CLIENT_KEY" };

static void check(const struct export_spec *s)
{
    if (!memchr(s->kind, 0, sizeof(s->kind)) || !memchr(s->target, 0, sizeof(s->target)) || !*s->kind ||
        !memchr(s->unix_socket, 0, sizeof(s->unix_socket)) || !exporter_by_name(s->kind))
        __builtin_trap();
}

static void parse(const char *text)
{
    struct export_spec specs[SIGNAL_MAX];
    struct spool_options spool;
    char err[512] = "";
    size_t n = 0;
    cleanup(freep) char *copy = strdup(text);
    int code = export_specs_parse(text, specs, &n, err, sizeof(err));
    if (code && !*err)
        __builtin_trap();
    if (!code && (!n || n > SIGNAL_MAX))
        __builtin_trap();
    for (size_t i = 0; !code && i < n; i++)
        check(&specs[i]);
    *err = 0;
    if (copy && export_spool_parse(copy, &spool, err, sizeof(err)) && !*err)
        __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char var[64], *save = NULL;
    if (size > 8192)
        return 0;
    cleanup(freep) char *text = strndup((const char *)data, size);
    if (!text)
        return 0;
    char *spec = strtok_r(text, "\n", &save);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char *value = strtok_r(NULL, "\n", &save);
        snprintf(var, sizeof(var), "OTEL_EXPORTER_OTLP_%s%s", i % 2 ? "" : "TRACES_", names[i]);
        if (value)
            setenv(var, value, 1);
        else
            unsetenv(var);
    }
    parse(spec ? spec : "");
    return 0;
}
