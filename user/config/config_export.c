/* The keys of exporters: the same for every signal but for a few. */
#include "config/config_table.h"

/* --- shared --- */
static const struct config_key none_keys[0];
const struct config_group config_group_none = {
    .id = "none", .name = "this", .size = sizeof(struct config_empty), .keys = none_keys
};

static const struct config_key pair_keys[] = {
    TEXT(pair, name, "name", NULL, "name", REQUIRED),
    TEXT(pair, value, "value", NULL, "value; null: the entry is left out", SECRET),
};
SHARED(pair, pair, "a header", "One header.");

static const struct config_key selection_keys[] = {
    TEXTS(selection, included, "included", "patterns (`*`, `?`) of what is kept", .unset = "everything"),
    TEXTS(selection, excluded, "excluded", "patterns of what is left out; wins over `included`", .unset = "nothing"),
};
SHARED(selection, selection, "the selection", "What is kept, by patterns.");

/* --- exporters --- */
static bool url_fine(const char *url, bool plain)
{
    static const char *const schemes[] = { "http://", "https://", "unix:" };
    for (const char *c = url; *c; c++)
        if ((u8)*c <= ' ' || *c == 0x7f)
            return false;
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (!strncmp(url, schemes[i], strlen(schemes[i])))
            return url[strlen(schemes[i])] != 0;
    return plain && *url && !strstr(url, "://");
}

void config_check_endpoint(struct config_state *s, const struct config_node *at, const char *endpoint, bool plain)
{
    const struct config_node *n = endpoint ? config_node_get(at, "endpoint") : NULL;
    if (!n)
        return;
    const char *sep = strstr(endpoint, "://");
    const char *end = sep ? sep + 3 + strcspn(sep + 3, "/?#") : NULL;
    if (sep && memchr(sep, '@', (size_t)(end - sep)))
        config_mistake(s, &n->at, "no user or password in «endpoint»: give them as a header, or as basic_auth");
    else if (!url_fine(endpoint, plain))
        config_mistake(s, &n->at, "«endpoint» is a URL: http://HOST:PORT/… or https://…%s", plain ? ", or HOST:PORT" : "");
}

static void tls_check(struct config_state *s, void *group, const struct config_node *at)
{
    const struct config_tls *t = group;
    if (!t->key_file != !t->cert_file)
        config_mistake(s, &at->at, "«key_file» and «cert_file» belong together: «%s» is missing",
                       t->key_file ? "cert_file" : "key_file");
}

static const struct config_key tls_keys[] = {
    TEXT(tls, ca_file, "ca_file", NULL, "PEM file of whom to trust", .unset = "the system's"),
    TEXT(tls, key_file, "key_file", NULL, "PEM file of our private key"),
    TEXT(tls, cert_file, "cert_file", NULL, "PEM file of our certificate"),
};
SHARED(tls, tls, "tls", "TLS and mutual TLS.", .check = tls_check);
static const struct config_key grpc_tls_keys[] = {
    TEXT(tls, ca_file, "ca_file", NULL, "PEM file of whom to trust", .unset = "the system's"),
    TEXT(tls, key_file, "key_file", NULL, "PEM file of our private key"),
    TEXT(tls, cert_file, "cert_file", NULL, "PEM file of our certificate"),
    BOOL(tls, insecure, "insecure", "false", "no TLS for an endpoint without a scheme"),
};
DEFINE(grpc_tls, tls, "tls", "TLS and mutual TLS of OTLP/gRPC.", .check = tls_check);

static void basic_check(struct config_state *s, void *group, const struct config_node *at)
{
    const struct config_basic_auth *b = group;
    if (b->password && b->password_file)
        config_mistake(s, &at->at, "«password» or «password_file», not both");
    if (!b->password && !b->password_file)
        config_mistake(s, &at->at, "«password_file» (or «password») is missing");
}
static const struct config_key basic_auth_keys[] = {
    TEXT(basic_auth, username, "username", NULL, "user", REQUIRED),
    TEXT(basic_auth, password, "password", NULL, "password; better in a file", SECRET),
    TEXT(basic_auth, password_file, "password_file", NULL, "file that holds it; read again when it changes"),
};
SHARED(basic_auth, basic_auth, "basic_auth", "HTTP basic authentication.", .check = basic_check);

static const char *const compressions[] = { "gzip", "none", NULL };
static const char *const encodings[] = { "protobuf", "json", NULL };
static const char *const temporalities[] = { "cumulative", "delta", "low_memory", NULL };
static const char *const histograms[] = { "explicit_bucket_histogram", "base2_exponential_bucket_histogram", NULL };
static const char *const console_formats[] = { "auto", "live", "lines", "json", NULL };

static void headers_check(struct config_state *s, const struct config_node *at)
{
    const struct config_node *list = config_node_get(at, "headers_list");
    int item = 1;
    for (const char *c = list ? list->text : ""; *c; item++) {
        size_t n = strcspn(c, ",");
        const char *eq = memchr(c, '=', n);
        if (slice_trim(slice_of(c, n)).n && (!eq || eq == c))
            config_mistake(s, &list->at, "item %d of «headers_list» is not name=value (items are separated by commas)", item);
        c += n + (c[n] == ',');
    }
}

static void otlp_http_check(struct config_state *s, void *group, const struct config_node *at)
{
    const char *url = ((struct config_otlp *)group)->endpoint, *host = url ? strstr(url, "://") : NULL;
    if (host && !strchr(host + 3, '/'))
        config_note(s, &config_node_get(at, "endpoint")->at,
                    "«endpoint» has no path and gets none: a receiver of OTLP wants /v1/traces, /v1/metrics or /v1/logs");
    config_check_endpoint(s, at, ((struct config_otlp *)group)->endpoint, false);
    headers_check(s, at);
}
static void otlp_grpc_check(struct config_state *s, void *group, const struct config_node *at)
{
    config_check_endpoint(s, at, ((struct config_otlp *)group)->endpoint, true);
    headers_check(s, at);
}

#define OTLP_SHARED(tls_group)                                                                                                   \
    GROUP(otlp, tls, "tls", tls_group, "TLS", .unset = "the system's trust, no certificate of our own"),                         \
        GROUPS(otlp, headers, "headers", pair, "headers of each request"),                                                       \
        TEXT(otlp, headers_list, "headers_list", NULL, "the same as `name=value,…`; `headers` wins", SECRET),                    \
        TEXT(otlp, compression, "compression", NULL, "`gzip` or `none`", .words = compressions, .unset = "none"),                \
        INT(otlp, max_request_size, "max_request_size", 0, 0, "67108864", "bytes of a request before compression",               \
            .ignored = "a request is bounded by max_export_batch_size, and by 64 MiB"),                                          \
        INT(otlp, max_response_size, "max_response_size", 1, 0, "4194304", "bytes of an answer",                                 \
            .ignored = "64 KiB of an answer are read, in any case"),                                                             \
        INT(otlp, timeout, "timeout", 0, 0, "10000", "ms for one request; 0: no limit")
#define OTLP_OURS                                                                                                                \
    TEXT(otlp, bearer_token_file, "bearer_token_file", NULL,                                                                     \
         "file with the token of `Authorization: Bearer`; rotations are seen", OURS),                                            \
        GROUP(otlp, basic_auth, "basic_auth", basic_auth, "`Authorization: Basic`", OURS),                                       \
        TEXT(otlp, proxy, "proxy", NULL, "URL of a proxy", OURS, .unset = "`https_proxy` and its like of the environment"),      \
        INT(otlp, compression_level, "compression_level", 1, 9, "1", "of gzip", OURS)
#define OTLP_METRICS                                                                                                             \
    WORD(otlp, temporality, "temporality_preference", temporalities, "cumulative", "of sums and histograms"),                    \
        WORD(otlp, histogram, "default_histogram_aggregation", histograms, "explicit_bucket_histogram",                          \
             "of histograms without a view")
#define ENCODING WORD(otlp, encoding, "encoding", encodings, "protobuf", "form of the messages")

static const struct config_key otlp_http_keys[] = {
    TEXT(otlp, endpoint, "endpoint", NULL, "URL with the signal's path", .unset = "`http://localhost:4318/v1/{signal}`"),
    OTLP_SHARED(tls),
    ENCODING,
    OTLP_OURS,
};
DEFINE(otlp_http, otlp, "otlp_http", "OTLP over HTTP.", .check = otlp_http_check);
static const struct config_key otlp_http_metrics_keys[] = {
    TEXT(otlp, endpoint, "endpoint", NULL, "URL with the signal's path", .unset = "`http://localhost:4318/v1/metrics`"),
    OTLP_SHARED(tls),
    ENCODING,
    OTLP_METRICS,
    OTLP_OURS,
};
DEFINE(otlp_http_metrics, otlp, "otlp_http", "OTLP over HTTP, of metrics.", .check = otlp_http_check);
static const struct config_key otlp_grpc_keys[] = {
    TEXT(otlp, endpoint, "endpoint", NULL, "URL (https: TLS)", .unset = "`http://localhost:4317`"),
    OTLP_SHARED(grpc_tls),
    OTLP_OURS,
};
DEFINE(otlp_grpc, otlp, "otlp_grpc", "OTLP over gRPC.", .check = otlp_grpc_check);
static const struct config_key otlp_grpc_metrics_keys[] = {
    TEXT(otlp, endpoint, "endpoint", NULL, "URL (https: TLS)", .unset = "`http://localhost:4317`"),
    OTLP_SHARED(grpc_tls),
    OTLP_METRICS,
    OTLP_OURS,
};
DEFINE(otlp_grpc_metrics, otlp, "otlp_grpc", "OTLP over gRPC, of metrics.", .check = otlp_grpc_check);

static void otlp_file_check(struct config_state *s, void *group, const struct config_node *at)
{
    const struct config_otlp_file *f = group;
    if (strcmp(f->output_stream, "stdout") && (strncmp(f->output_stream, "file://", 7) || f->output_stream[7] != '/'))
        config_mistake(s, &config_node_get(at, "output_stream")->at, "«output_stream» is stdout or file:///path, not «%.80s»",
                       f->output_stream);
}
static const struct config_key otlp_file_keys[] = {
    TEXT(otlp_file, output_stream, "output_stream", "stdout", "`stdout` or `file:///path`"),
};
DEFINE(otlp_file, otlp_file, "otlp_file/development", "OTLP as JSON lines, in a file.", .check = otlp_file_check);
static const struct config_key otlp_file_metrics_keys[] = {
    TEXT(otlp_file, output_stream, "output_stream", "stdout", "`stdout` or `file:///path`"),
    WORD(otlp_file, temporality, "temporality_preference", temporalities, "cumulative", "of sums and histograms"),
    WORD(otlp_file, histogram, "default_histogram_aggregation", histograms, "explicit_bucket_histogram",
         "of histograms without a view"),
};
DEFINE(otlp_file_metrics, otlp_file, "otlp_file/development", "OTLP as JSON lines, of metrics.", .check = otlp_file_check);

static const struct config_key console_keys[] = {
    WORD(console, format, "format", console_formats, "auto", "`live` tree, `lines`, `json`; auto: live on a terminal", OURS),
};
DEFINE(console, console, "console", "Standard error: the tree, or a line for each.");
static const struct config_key console_metrics_keys[] = {
    WORD(console, temporality, "temporality_preference", temporalities, "cumulative", "of sums and histograms"),
    WORD(console, histogram, "default_histogram_aggregation", histograms, "explicit_bucket_histogram",
         "of histograms without a view"),
};
DEFINE(console_metrics, console, "console", "Standard error.");

static void zipkin_check(struct config_state *s, void *group, const struct config_node *at)
{
    config_check_endpoint(s, at, ((struct config_zipkin *)group)->endpoint, false);
}
static const struct config_key zipkin_keys[] = {
    TEXT(zipkin, endpoint, "endpoint", "http://localhost:9411/api/v2/spans", "URL", OURS),
    INT(zipkin, timeout, "timeout", 0, 0, "10000", "ms for one request; 0: no limit", OURS),
};
DEFINE(zipkin, zipkin, "zipkin", "Zipkin v2 JSON (in OpenTelemetry's form until 1.0).", .check = zipkin_check);

static const struct config_key span_exporter_keys[] = {
    GROUP(exporter, otlp_http, "otlp_http", otlp_http, "OTLP/HTTP"),
    GROUP(exporter, otlp_grpc, "otlp_grpc", otlp_grpc, "OTLP/gRPC"),
    GROUP(exporter, otlp_file, "otlp_file/development", otlp_file, "OTLP JSON lines"),
    GROUP(exporter, console, "console", console, "standard error"),
    GROUP(exporter, zipkin, "zipkin", zipkin, "Zipkin v2", OURS),
    GROUP(exporter, store, "store", none, "the embedded store (`wftrace.store`)", OURS),
};
SHARED(span_exporter, exporter, "a span exporter", "One exporter of spans.", ONE_OF);
static const struct config_key log_exporter_keys[] = {
    GROUP(exporter, otlp_http, "otlp_http", otlp_http, "OTLP/HTTP"),
    GROUP(exporter, otlp_grpc, "otlp_grpc", otlp_grpc, "OTLP/gRPC"),
    GROUP(exporter, otlp_file, "otlp_file/development", otlp_file, "OTLP JSON lines"),
    GROUP(exporter, console, "console", console, "standard error"),
    GROUP(exporter, store, "store", none, "the embedded store (`wftrace.store`)", OURS),
};
SHARED(log_exporter, exporter, "a log exporter", "One exporter of log records.", ONE_OF);
static const struct config_key metric_exporter_keys[] = {
    GROUP(exporter, otlp_http, "otlp_http", otlp_http_metrics, "OTLP/HTTP"),
    GROUP(exporter, otlp_grpc, "otlp_grpc", otlp_grpc_metrics, "OTLP/gRPC"),
    GROUP(exporter, otlp_file, "otlp_file/development", otlp_file_metrics, "OTLP JSON lines"),
    GROUP(exporter, console, "console", console_metrics, "standard error"),
};
SHARED(metric_exporter, exporter, "a metric exporter", "One exporter of metrics that are pushed.", ONE_OF);
