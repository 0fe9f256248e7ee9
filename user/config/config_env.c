/* The OTEL_* variables («OpenTelemetry Environment Variable Specification», «OTLP Exporter Configuration»): without a
 * configuration file they are the configuration. They are written into the same tree that a file would make, so bounds,
 * defaults and explain are those of the keys. An empty variable counts as unset; a value that makes no sense is noted
 * and ignored. */
#include "config/config_internal.h"

#include <ctype.h>

/* Without a file and a word of the environment: what wftrace does by itself. A batch of an SDK waits for 5 s; who looks at
 * a terminal, or starts a short command, would wait for it. */
#define OWN_DELAY "100"
#define OWN_QUEUE "8192"

#define OTLP_OF    "general, _TRACES_, _METRICS_, _LOGS_: the signal's own wins"
#define OF_PROCESS "of each traced process, from its own environment"
const struct config_variable config_variables[] = {
    { "OTEL_CONFIG_FILE", "a configuration file, where no `-c` is given; then no other variable counts", NULL, NULL, NULL },
    { "OTEL_EXPERIMENTAL_CONFIG_FILE", "its name of old; `OTEL_CONFIG_FILE` wins", NULL, NULL, NULL },
    { "OTEL_SDK_DISABLED", "`true`: nothing is attached", "false", "disabled", NULL },
    { "OTEL_LOG_LEVEL", "wftrace's own messages", "info", "log_level", NULL },
    { "OTEL_SERVICE_NAME", "`service.name`, " OF_PROCESS, NULL, NULL, NULL },
    { "OTEL_RESOURCE_ATTRIBUTES", "resource attributes, " OF_PROCESS, NULL, NULL, NULL },
    { "OTEL_ENTITIES", "entities of the resource", NULL, NULL, "in development in the specification" },
    { "OTEL_PROPAGATORS", "forms of context", "tracecontext,baggage", "propagator.composite_list", NULL },
    { "OTEL_TRACES_SAMPLER",
      "which traces are kept: `always_on`, `always_off`, `traceidratio`, and wftrace's `rate`; each also `parentbased_…`",
      "parentbased_always_on", "tracer_provider.sampler", NULL },
    { "OTEL_TRACES_SAMPLER_ARG", "the ratio, or traces a second", "1.0", "tracer_provider.sampler", NULL },
    { "OTEL_TRACES_EXPORTER", "`otlp`, `zipkin`, `console`, `otlp/stdout`, `none`; several with commas",
      "`console`, not the specification's `otlp`: what is traced is seen with no backend", "tracer_provider.processors", NULL },
    { "OTEL_METRICS_EXPORTER", "`otlp`, `prometheus`, `console`, `otlp/stdout`, `none`", "`none`", "meter_provider.readers",
      NULL },
    { "OTEL_LOGS_EXPORTER", "`otlp`, `console`, `otlp/stdout`, `none`", "`none`", "logger_provider.processors", NULL },
    { "OTEL_BSP_SCHEDULE_DELAY", "ms that a span waits for company", OWN_DELAY ", not 5000", "schedule_delay", NULL },
    { "OTEL_BSP_EXPORT_TIMEOUT", "ms to deliver a batch", "30000", "export_timeout", NULL },
    { "OTEL_BSP_MAX_QUEUE_SIZE", "spans waiting", OWN_QUEUE ", not 2048", "max_queue_size", NULL },
    { "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "spans in a request", "512", "max_export_batch_size", NULL },
    { "OTEL_BLRP_SCHEDULE_DELAY", "ms that a log record waits", "1000", "schedule_delay", NULL },
    { "OTEL_BLRP_EXPORT_TIMEOUT", "ms to deliver a batch", "30000", "export_timeout", NULL },
    { "OTEL_BLRP_MAX_QUEUE_SIZE", "records waiting", "2048", "max_queue_size", NULL },
    { "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", "records in a request", "512", "max_export_batch_size", NULL },
    { "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "characters of a value", "no limit", "attribute_limits.attribute_value_length_limit",
      NULL },
    { "OTEL_ATTRIBUTE_COUNT_LIMIT", "attributes of an item", "128", "attribute_limits.attribute_count_limit", NULL },
    { "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "characters of a span's value", "the general one",
      "tracer_provider.limits.attribute_value_length_limit", NULL },
    { "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "attributes of a span", "the general one",
      "tracer_provider.limits.attribute_count_limit", NULL },
    { "OTEL_SPAN_EVENT_COUNT_LIMIT", "events of a span", "128", "tracer_provider.limits.event_count_limit", NULL },
    { "OTEL_SPAN_LINK_COUNT_LIMIT", "links of a span", "128", "tracer_provider.limits.link_count_limit", NULL },
    { "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "attributes of an event", "128", "tracer_provider.limits.event_attribute_count_limit",
      NULL },
    { "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "attributes of a link", "128", "tracer_provider.limits.link_attribute_count_limit",
      NULL },
    { "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT", "characters of a record's value", "the general one",
      "logger_provider.limits.attribute_value_length_limit", NULL },
    { "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "attributes of a record", "the general one",
      "logger_provider.limits.attribute_count_limit", NULL },
    { "OTEL_EXPORTER_OTLP_[SIGNAL_]ENDPOINT", "URL; the general one is a base to which `/v1/traces` … is added",
      "http://localhost:4318, gRPC 4317", "endpoint", NULL },
    { "OTEL_EXPORTER_OTLP_[SIGNAL_]PROTOCOL", "`http/protobuf`, `http/json`, `grpc`", "http/protobuf", "otlp_http, otlp_grpc",
      NULL },
    { "OTEL_EXPORTER_OTLP_[SIGNAL_]HEADERS", "`name=value,…`, percent-encoded; never shown", NULL, "headers_list", NULL },
    { "OTEL_EXPORTER_OTLP_[SIGNAL_]COMPRESSION", "`gzip`, `none`", "none", "compression", NULL },
    { "OTEL_EXPORTER_OTLP_[SIGNAL_]TIMEOUT", "ms for a request", "10000", "timeout", NULL },
    { "OTEL_EXPORTER_OTLP_[SIGNAL_]CERTIFICATE", "PEM file of whom to trust", NULL, "tls.ca_file", NULL },
    { "OTEL_EXPORTER_OTLP_[SIGNAL_]CLIENT_KEY", "PEM file of our key", NULL, "tls.key_file", NULL },
    { "OTEL_EXPORTER_OTLP_[SIGNAL_]CLIENT_CERTIFICATE", "PEM file of our certificate", NULL, "tls.cert_file", NULL },
    { "OTEL_EXPORTER_OTLP_[SIGNAL_]INSECURE", "gRPC endpoints without a scheme: no TLS", "false", "tls.insecure", NULL },
    { "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "`cumulative`, `delta`, `lowmemory`", "cumulative",
      "temporality_preference", NULL },
    { "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION",
      "`explicit_bucket_histogram`, `base2_exponential_bucket_histogram`", "explicit_bucket_histogram",
      "default_histogram_aggregation", NULL },
    { "OTEL_EXPORTER_ZIPKIN_ENDPOINT", "URL", "http://localhost:9411/api/v2/spans", "zipkin.endpoint", NULL },
    { "OTEL_EXPORTER_ZIPKIN_TIMEOUT", "ms for a request", "10000", "zipkin.timeout", NULL },
    { "OTEL_EXPORTER_ZIPKIN_PROTOCOL", "reserved", NULL, NULL, "reserved in the specification; v2 JSON is what is sent" },
    { "OTEL_EXPORTER_PROMETHEUS_HOST", "address to listen on", "localhost", "prometheus/development.host", NULL },
    { "OTEL_EXPORTER_PROMETHEUS_PORT", "port to listen on", "9464", "prometheus/development.port", NULL },
    { "OTEL_METRICS_EXEMPLAR_FILTER", "`always_on`, `always_off`, `trace_based`", "trace_based", "meter_provider.exemplar_filter",
      NULL },
    { "OTEL_METRIC_EXPORT_INTERVAL", "ms from export to export", "60000", "interval", NULL },
    { "OTEL_METRIC_EXPORT_TIMEOUT", "ms to deliver", "30000", "timeout", NULL },
    { "OTEL_SEMCONV_STABILITY_OPT_IN", "which conventions are followed", NULL, NULL,
      "wftrace follows the stable ones, and newest of the others" },
    { NULL },
};

struct env {
    struct config_state *s;
    struct config_node *root;
    bool failed; /* no memory */
};

static struct config_place from(const char *variable) { return (struct config_place){ .origin = ORIGIN_ENV, .name = variable }; }
static const struct config_place by_default = { .origin = ORIGIN_DEFAULT, .name = "default" };

static void put(struct env *e, struct config_node *map, const char *path, const char *text, struct config_place at)
{
    e->failed |= !map || config_node_set(e->s, map, path, text, at);
}

static void put_var(struct env *e, struct config_node *map, const char *path, const char *variable)
{
    const char *v = config_getenv(e->s, variable);
    if (v)
        put(e, map, path, v, from(variable));
}

static struct config_node *map_in(struct env *e, struct config_node *map, const char *key, struct config_place at)
{
    struct config_node *n = map ? config_node_get(map, key) : NULL;
    if (n || !map)
        return n;
    n = config_node_new(e->s, NODE_MAP, at);
    e->failed |= !n || config_node_add(e->s, map, key, at, n);
    return n;
}

/* --- the top --- */
static const struct {
    const char *variable, *path;
} simple[] = {
    { "OTEL_SDK_DISABLED", "disabled" },
    { "OTEL_LOG_LEVEL", "log_level" },
    { "OTEL_PROPAGATORS", "propagator.composite_list" },
    { "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "attribute_limits.attribute_value_length_limit" },
    { "OTEL_ATTRIBUTE_COUNT_LIMIT", "attribute_limits.attribute_count_limit" },
};
static const struct {
    const char *variable, *path;
} of_traces[] = {
    { "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "limits.attribute_value_length_limit" },
    { "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "limits.attribute_count_limit" },
    { "OTEL_SPAN_EVENT_COUNT_LIMIT", "limits.event_count_limit" },
    { "OTEL_SPAN_LINK_COUNT_LIMIT", "limits.link_count_limit" },
    { "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "limits.event_attribute_count_limit" },
    { "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT", "limits.link_attribute_count_limit" },
};

/* --- samplers --- */
static void sampler_read(struct env *e, struct config_node *provider)
{
    static const char *const words[] = { "always_on", "always_off", "traceidratio", "rate" };
    static const char *const keys[] = { "always_on", "always_off", "trace_id_ratio_based", "rate_limiting" };
    const char *name = "OTEL_TRACES_SAMPLER", *v = config_getenv(e->s, name), *arg = "OTEL_TRACES_SAMPLER_ARG";
    struct config_place at = from(name);
    bool parent = v && !strncasecmp(v, "parentbased_", 12);
    for (size_t i = 0; v && i < ARRAY_LEN(words); i++) {
        if (strcasecmp(v + (parent ? 12 : 0), words[i]))
            continue;
        struct config_node *n = map_in(e, provider, "sampler", at);
        if (parent)
            n = map_in(e, map_in(e, n, "parent_based", at), "root", at);
        n = map_in(e, n, keys[i], at);
        if (i >= 2)
            put_var(e, n, i == 2 ? "ratio" : "traces_per_second", arg);
        return;
    }
    if (v)
        config_note(e->s, &at, "sampler «%.60s» is not known here (ignored)", v);
}

/* --- OTLP --- */
static const char *const signal_word[] = { "TRACES", "METRICS", "LOGS" };
static const char *const signal_path[] = { "traces", "metrics", "logs" };
enum { TRACES, METRICS, LOGS };

/* The variable that has a value: the signal's own, else the general one, else NULL. */
static const char *otlp_variable(struct env *e, int sig, const char *name, bool *ret_general)
{
    char variable[96];
    for (int general = 0; general < 2; general++) {
        snprintf(variable, sizeof(variable), "OTEL_EXPORTER_OTLP_%s%s%s", general ? "" : signal_word[sig], general ? "" : "_",
                 name);
        if (!config_getenv(e->s, variable))
            continue;
        if (ret_general)
            *ret_general = general;
        return config_strdup(e->s, variable, strlen(variable));
    }
    return NULL;
}

static void otlp_endpoint(struct env *e, struct config_node *x, int sig, bool grpc)
{
    bool general = false;
    const char *name = otlp_variable(e, sig, "ENDPOINT", &general), *v = name ? config_getenv(e->s, name) : NULL;
    char url[2048];
    if (!v)
        return;
    size_t n = strlen(v);
    while (general && n && v[n - 1] == '/')
        n--;
    const char *sep = strstr(v, "://");
    bool bare = sep && !strchr(sep + 3, '/');
    if (grpc)
        snprintf(url, sizeof(url), "%s", v);
    else if (general)
        snprintf(url, sizeof(url), "%.*s/v1/%s", (int)min_u64(n, 1900), v, signal_path[sig]);
    else
        snprintf(url, sizeof(url), "%s%s", v, bare ? "/" : "");
    put(e, x, "endpoint", url, from(name));
}

static void otlp_put(struct env *e, struct config_node *x, int sig, const char *name, const char *path)
{
    const char *variable = otlp_variable(e, sig, name, NULL);
    if (variable)
        put_var(e, x, path, variable);
}

static void otlp_metrics(struct env *e, struct config_node *x)
{
    const char *name = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", *v = config_getenv(e->s, name);
    if (v)
        put(e, x, "temporality_preference", !strcasecmp(v, "lowmemory") ? "low_memory" : v, from(name));
    put_var(e, x, "default_histogram_aggregation", "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION");
}

static void otlp_read(struct env *e, struct config_node *exporter, int sig, struct config_place at)
{
    const char *name = otlp_variable(e, sig, "PROTOCOL", NULL), *v = name ? config_getenv(e->s, name) : NULL;
    bool grpc = v && !strcasecmp(v, "grpc"), json = v && !strcasecmp(v, "http/json");
    struct config_node *x = map_in(e, exporter, grpc ? "otlp_grpc" : "otlp_http", at);
    if (v && !grpc && !json && strcasecmp(v, "http/protobuf")) {
        struct config_place p = from(name);
        config_note(e->s, &p, "«%.60s» is not grpc, http/protobuf or http/json (ignored)", v);
    }
    if (json)
        put(e, x, "encoding", "json", from(name));
    otlp_endpoint(e, x, sig, grpc);
    otlp_put(e, x, sig, "HEADERS", "headers_list");
    otlp_put(e, x, sig, "COMPRESSION", "compression");
    otlp_put(e, x, sig, "TIMEOUT", "timeout");
    otlp_put(e, x, sig, "CERTIFICATE", "tls.ca_file");
    otlp_put(e, x, sig, "CLIENT_KEY", "tls.key_file");
    otlp_put(e, x, sig, "CLIENT_CERTIFICATE", "tls.cert_file");
    if (grpc)
        otlp_put(e, x, sig, "INSECURE", "tls.insecure");
    if (sig == METRICS)
        otlp_metrics(e, x);
}

/* --- exporters by name --- */
static void exporter_read(struct env *e, struct config_node *into, const char *word, int sig, struct config_place at)
{
    struct config_node *x = map_in(e, into, "exporter", at);
    if (!strcasecmp(word, "otlp")) {
        otlp_read(e, x, sig, at);
    } else if (!strcasecmp(word, "zipkin")) {
        x = map_in(e, x, "zipkin", at);
        put_var(e, x, "endpoint", "OTEL_EXPORTER_ZIPKIN_ENDPOINT");
        put_var(e, x, "timeout", "OTEL_EXPORTER_ZIPKIN_TIMEOUT");
    } else if (!strcasecmp(word, "otlp/stdout")) {
        (void)map_in(e, x, "otlp_file/development", at);
    } else {
        (void)map_in(e, x, "console", at);
    }
}

/* A number that makes no sense leaves the default in its place. */
static void put_count(struct env *e, struct config_node *map, const char *key, const char *variable, s64 min)
{
    const char *v = config_getenv(e->s, variable);
    struct config_place at = from(variable);
    s64 n;
    if (v && (!config_scalar_int(v, &n) || n < min))
        config_note(e->s, &at, "«%.60s» is not a whole number from %lld on (ignored)", v, (long long)min);
    else
        put_var(e, map, key, variable);
}

static void batch_read(struct env *e, struct config_node *b, int sig)
{
    static const char *const keys[] = { "schedule_delay", "export_timeout", "max_queue_size", "max_export_batch_size" };
    static const char *const names[][2] = {
        { "OTEL_BSP_SCHEDULE_DELAY", "OTEL_BLRP_SCHEDULE_DELAY" },
        { "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_BLRP_EXPORT_TIMEOUT" },
        { "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BLRP_MAX_QUEUE_SIZE" },
        { "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BLRP_MAX_EXPORT_BATCH_SIZE" },
    };
    if (sig == TRACES) {
        put(e, b, "schedule_delay", OWN_DELAY, by_default);
        put(e, b, "max_queue_size", OWN_QUEUE, by_default);
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        put_count(e, b, keys[i], names[i][sig == LOGS], i >= 2);
}

static void reader_read(struct env *e, struct config_node *item, const char *word, struct config_place at)
{
    if (!strcasecmp(word, "prometheus")) {
        struct config_node *x = map_in(e, map_in(e, item, "pull", at), "exporter", at);
        x = map_in(e, x, "prometheus/development", at);
        put_var(e, x, "host", "OTEL_EXPORTER_PROMETHEUS_HOST");
        put_var(e, x, "port", "OTEL_EXPORTER_PROMETHEUS_PORT");
        return;
    }
    struct config_node *p = map_in(e, item, "periodic", at);
    put_var(e, p, "interval", "OTEL_METRIC_EXPORT_INTERVAL");
    put_var(e, p, "timeout", "OTEL_METRIC_EXPORT_TIMEOUT");
    exporter_read(e, p, word, METRICS, at);
}

static bool word_known(const char *word, int sig)
{
    static const char *const words[3][5] = { { "otlp", "console", "otlp/stdout", "zipkin" },
                                             { "otlp", "console", "otlp/stdout", "prometheus" },
                                             { "otlp", "console", "otlp/stdout" } };
    for (size_t i = 0; words[sig][i]; i++)
        if (!strcasecmp(words[sig][i], word))
            return true;
    return false;
}

static const char *const provider_key[] = { "tracer_provider", "meter_provider", "logger_provider" };

static void word_read(struct env *e, int sig, const char *word, struct config_place at)
{
    struct config_node *provider = map_in(e, e->root, provider_key[sig], at), *item = config_node_new(e->s, NODE_MAP, at);
    const char *key = sig == METRICS ? "readers" : "processors";
    struct config_node *list = provider ? config_node_get(provider, key) : NULL;
    if (!list && provider) {
        list = config_node_new(e->s, NODE_SEQUENCE, at);
        e->failed |= !list || config_node_add(e->s, provider, key, at, list);
    }
    e->failed |= !item || !list || config_node_append(e->s, list, item);
    if (e->failed)
        return;
    if (sig == METRICS) {
        reader_read(e, item, word, at);
        return;
    }
    struct config_node *b = map_in(e, item, "batch", at);
    batch_read(e, b, sig);
    exporter_read(e, b, word, sig, at);
}

static void signal_read(struct env *e, int sig)
{
    static const char *const names[] = { "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER" };
    const char *v = config_getenv(e->s, names[sig]);
    struct config_place at = v ? from(names[sig]) : by_default;
    if (!v && sig == TRACES)
        v = "console";
    while (v && *v) {
        size_t n = strcspn(v, ",");
        struct slice w = slice_trim(slice_of(v, n));
        char word[40];
        snprintf(word, sizeof(word), "%.*s", (int)min_u64(w.n, 39), w.n ? (const char *)w.p : "");
        if (word_known(word, sig))
            word_read(e, sig, word, at);
        else if (*word && strcasecmp(word, "none"))
            config_note(e->s, &at, "no exporter «%s» for %s (ignored)", word, signal_path[sig]);
        v += n + (v[n] == ',');
    }
}

static void providers_read(struct env *e)
{
    struct config_node *traces, *metrics, *logs;
    for (int sig = TRACES; sig <= LOGS; sig++)
        signal_read(e, sig);
    traces = config_node_get(e->root, "tracer_provider");
    metrics = config_node_get(e->root, "meter_provider");
    logs = config_node_get(e->root, "logger_provider");
    for (size_t i = 0; traces && i < ARRAY_LEN(of_traces); i++)
        put_var(e, traces, of_traces[i].path, of_traces[i].variable);
    if (traces)
        sampler_read(e, traces);
    if (metrics)
        put_var(e, metrics, "exemplar_filter", "OTEL_METRICS_EXEMPLAR_FILTER");
    if (logs) {
        put_var(e, logs, "limits.attribute_value_length_limit", "OTEL_LOGRECORD_ATTRIBUTE_VALUE_LENGTH_LIMIT");
        put_var(e, logs, "limits.attribute_count_limit", "OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT");
    }
}

struct config_node *config_env_read(struct config_state *s)
{
    struct env e = { .s = s, .root = config_node_new(s, NODE_MAP, by_default) };
    if (!e.root)
        return NULL;
    put(&e, e.root, "file_format", "1.1", by_default);
    for (size_t i = 0; i < ARRAY_LEN(simple); i++)
        put_var(&e, e.root, simple[i].path, simple[i].variable);
    providers_read(&e);
    return e.failed ? NULL : e.root;
}
