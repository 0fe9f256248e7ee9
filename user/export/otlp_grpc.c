/* OTLP/gRPC: one unary call per batch over HTTP/2 (gRPC over HTTP2, PROTOCOL-HTTP2.md; OTLP 1.5, section «OTLP/gRPC»).
 * HTTP says 200 even for errors; only grpc-status 0 is success, and it may come as a header when there is no body. */
#include "export/transport.h"
#include "rpc_status.pb-c.h"

#define FRAME_HEAD 5 /* compressed flag, length */
#define METHOD_MAX 80

static const char *const method[SIGNAL_MAX] = {
    [SIGNAL_TRACES] = "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    [SIGNAL_LOGS] = "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    [SIGNAL_METRICS] = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
};

enum grpc_code {
    GRPC_OK = 0,
    GRPC_CANCELLED = 1,
    GRPC_INVALID_ARGUMENT = 3,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_NOT_FOUND = 5,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_ABORTED = 10,
    GRPC_OUT_OF_RANGE = 11,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

static const char *const code_name[] = {
    "OK",        "CANCELLED",      "UNKNOWN",           "INVALID_ARGUMENT",   "DEADLINE_EXCEEDED",
    "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
    "ABORTED",   "OUT_OF_RANGE",   "UNIMPLEMENTED",     "INTERNAL",           "UNAVAILABLE",
    "DATA_LOSS", "UNAUTHENTICATED"
};

/* grpc://host:port → http://host:port/method; what path there was is not gRPC's. */
static void method_url(const char *target, enum signal signal, char *out, size_t size, bool *ret_tls)
{
    *ret_tls = !strncmp(target, "grpcs://", 8);
    const char *host = target + (*ret_tls ? 8 : 7);
    snprintf(out, size, "%s://%.*s%s", *ret_tls ? "https" : "http", (int)strcspn(host, "/?#"), host, method[signal]);
}

static void http2_options(struct transport *t, bool tls)
{
    curl_easy_setopt(t->curl, CURLOPT_HTTP_VERSION, (long)(tls ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE));
    curl_easy_setopt(t->curl, CURLOPT_HTTPPROXYTUNNEL, 1L); /* a plain proxy can't forward HTTP/2 */
    t->always_fresh = !tls && curl_version_info(CURLVERSION_NOW)->version_num < 0x080000;
    if (t->always_fresh) {
        curl_easy_setopt(t->curl, CURLOPT_FRESH_CONNECT, 1L);
        curl_easy_setopt(t->curl, CURLOPT_FORBID_REUSE, 1L);
    }
}

static int otlp_grpc_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    char url[sizeof(spec->target) + METHOD_MAX], timeout[64];
    bool tls;
    struct transport *t;
    method_url(spec->target, spec->signal, url, sizeof(url), &tls);
    snprintf(timeout, sizeof(timeout), "grpc-timeout: %llum",
             (unsigned long long)min_u64(spec->timeout_ms ? spec->timeout_ms : 10000, 99999999));
    struct transport_options o = { .url = url,
                                   .head = { "Content-Type: application/grpc", "TE: trailers", intern(timeout) },
                                   .head_gzip = "grpc-encoding: gzip" };
    int e = transport_new(spec, &o, &t, err, err_size);
    if (e)
        return e;
    http2_options(t, tls);
    *ret = t;
    return 0;
}

static void frame_head_write(struct slice frame, bool compressed)
{
    u8 *p = (u8 *)(uintptr_t)frame.p; /* our own buffer: encoder's or compressor's */
    u32 n = (u32)(frame.n - FRAME_HEAD);
    p[0] = compressed;
    p[1] = (u8)(n >> 24), p[2] = (u8)(n >> 16), p[3] = (u8)(n >> 8), p[4] = (u8)n;
}

static int base64_value(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(digits, c) : NULL;
    return at ? (int)(at - digits) : -1;
}

static size_t base64_decode(const char *in, u8 *out, size_t room)
{
    u32 acc = 0, bits = 0;
    size_t n = 0;
    for (; *in && base64_value(*in) >= 0 && n < room; in++) {
        acc = acc << 6 | (u32)base64_value(*in);
        bits += 6;
        if (bits >= 8)
            bits -= 8, out[n++] = (u8)(acc >> bits);
    }
    return n;
}

/* RetryInfo.retry_delay among the details of the status. True: there is one, even of zero. */
static bool retry_info(const struct answer *a, u64 *ret_ms)
{
    u8 raw[sizeof(a->details)];
    size_t n = base64_decode(a->details, raw, sizeof(raw));
    Google__Rpc__Status *s = n ? google__rpc__status__unpack(NULL, n, raw) : NULL;
    bool found = false;
    for (size_t i = 0; s && i < s->n_details && !found; i++) {
        Google__Rpc__Any *d = s->details[i];
        if (strcmp(d->type_url, "type.googleapis.com/google.rpc.RetryInfo"))
            continue;
        Google__Rpc__RetryInfo *r = google__rpc__retry_info__unpack(NULL, d->value.len, d->value.data);
        if (!r)
            break;
        found = true;
        if (r->retry_delay && r->retry_delay->seconds >= 0 && r->retry_delay->nanos >= 0)
            *ret_ms = min_u64((u64)r->retry_delay->seconds, 86400) * 1000 + (u64)r->retry_delay->nanos / 1000000;
        google__rpc__retry_info__free_unpacked(r, NULL);
    }
    if (s)
        google__rpc__status__free_unpacked(s, NULL);
    return found;
}

static enum export_result grpc_verdict(const struct answer *a, struct export_reply *ret)
{
    u64 after = 0;
    bool told = retry_info(a, &after);
    ret->after_ms = after;
    switch (a->grpc_status) {
    case GRPC_CANCELLED:
    case GRPC_DEADLINE_EXCEEDED:
    case GRPC_ABORTED:
    case GRPC_OUT_OF_RANGE:
    case GRPC_UNAVAILABLE:
    case GRPC_DATA_LOSS:
        return EXPORT_RETRY;
    case GRPC_RESOURCE_EXHAUSTED: /* only when the receiver says that it recovers */
        return told ? EXPORT_RETRY : EXPORT_DROP;
    default:
        return EXPORT_DROP;
    }
}

static enum export_cause grpc_cause(int code)
{
    switch (code) {
    case GRPC_INVALID_ARGUMENT:
        return CAUSE_INVALID;
    case GRPC_NOT_FOUND:
    case GRPC_UNIMPLEMENTED:
        return CAUSE_NOWHERE;
    case GRPC_PERMISSION_DENIED:
    case GRPC_UNAUTHENTICATED:
        return CAUSE_AUTH;
    default:
        return CAUSE_REFUSED;
    }
}

static enum export_result grpc_failed(const struct answer *a, struct export_reply *ret)
{
    char prefix[96];
    const char *hint = a->grpc_status == GRPC_UNAUTHENTICATED ? " (check OTEL_EXPORTER_OTLP_HEADERS)" : "";
    snprintf(prefix, sizeof(prefix), "gRPC %s%s%s", code_name[a->grpc_status], hint, *a->grpc_message ? ": " : "");
    reply_why(ret, prefix, a->grpc_message, strlen(a->grpc_message));
    ret->cause = grpc_cause(a->grpc_status);
    return grpc_verdict(a, ret);
}

/* No grpc-status at all: a proxy or a plain web server answered. */
static enum export_result not_grpc(const struct answer *a, struct export_reply *ret)
{
    snprintf(ret->why, sizeof(ret->why), "HTTP %ld without grpc-status: not a gRPC receiver? (for OTLP/HTTP use http://)",
             a->http_status);
    ret->after_ms = a->retry_after_ms;
    ret->cause = http_status_cause(a->http_status);
    return http_status_retryable(a->http_status) ? EXPORT_RETRY : EXPORT_DROP;
}

static int otlp_grpc_encode(void *self, const struct batch *b, struct slice *ret)
{
    struct transport *t = self;
    struct slice frame;
    int err = encoder_pack(t->encoder, b, FRAME_HEAD, &frame);
    if (!err)
        err = transport_gzip(t, frame, FRAME_HEAD, &frame);
    if (err)
        return err;
    frame_head_write(frame, t->gzip);
    *ret = frame;
    return 0;
}

static enum export_result otlp_grpc_deliver(void *self, struct slice frame, const u64 *stop_at, struct export_reply *ret)
{
    struct transport *t = self;
    if (transport_post(t, frame, frame.n && frame.p[0], stop_at, ret) != EXPORT_OK)
        return EXPORT_RETRY;
    const struct answer *a = &t->answer;
    if (a->grpc_status < 0)
        return not_grpc(a, ret);
    if (a->grpc_status != GRPC_OK)
        return grpc_failed(a, ret);
    if (a->body_len >= FRAME_HEAD && !a->body[0])
        reply_partial_success(slice_head(slice_of(a->body + FRAME_HEAD, a->body_len - FRAME_HEAD), load_be32(a->body + 1)), ret);
    return EXPORT_OK;
}

static void otlp_grpc_close(void *self) { transport_free(self); }

const struct exporter exporter_otlp_grpc = {
    .name = "otlp-grpc",
    .help = "otlp=grpc://HOST:4317     OTLP over gRPC; grpcs:// for TLS, grpc+unix:PATH for a socket",
    .signals = SIGNAL_ALL,
    .open = otlp_grpc_open,
    .encode = otlp_grpc_encode,
    .deliver = otlp_grpc_deliver,
    .close = otlp_grpc_close,
};
