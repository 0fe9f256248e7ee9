/* OTLP/HTTP with protobuf or JSON bodies (OTLP 1.5, section «OTLP/HTTP»). */
#include "export/transport.h"
#include "rpc_status.pb-c.h"

static int otlp_http_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    struct transport *t;
    struct transport_options o = { .url = spec->target,
                                   .head = { spec->json ? "Content-Type: application/json"
                                                        : "Content-Type: application/x-protobuf" },
                                   .head_gzip = "Content-Encoding: gzip" };
    int e = transport_new(spec, &o, &t, err, err_size);
    if (!e)
        *ret = t;
    return e;
}

/* The body of an error is a google.rpc.Status, whose message is for developers; often it is plain text instead. */
static void explain(const struct answer *a, struct export_reply *ret)
{
    char prefix[64];
    Google__Rpc__Status *s = google__rpc__status__unpack(NULL, a->body_len, a->body);
    snprintf(prefix, sizeof(prefix), "HTTP %ld%s", a->http_status,
             a->http_status == 401 || a->http_status == 403 ? " (check OTEL_EXPORTER_OTLP_HEADERS)" : "");
    if (s && *s->message) {
        size_t n = strlen(prefix);
        snprintf(prefix + n, sizeof(prefix) - n, ": ");
        reply_why(ret, prefix, s->message, min_u64(strlen(s->message), 120));
    } else {
        reply_why(ret, prefix, "", 0);
    }
    if (s)
        google__rpc__status__free_unpacked(s, NULL);
}

static int otlp_http_encode(void *self, const struct batch *b, struct slice *ret)
{
    struct transport *t = self;
    struct slice body;
    int err;
    if (t->spec->json) {
        t->json.n = 0;
        t->json.failed = false;
        err = json_otlp(&t->json, &t->group, b);
        body = slice_of(t->json.p, t->json.n);
    } else {
        err = encoder_pack(t->encoder, b, 0, &body);
    }
    return err ? err : transport_gzip(t, body, 0, ret);
}

static enum export_result otlp_http_deliver(void *self, struct slice body, const u64 *stop_at, struct export_reply *ret)
{
    struct transport *t = self;
    if (transport_post(t, body, is_gzip(body), stop_at, ret) != EXPORT_OK)
        return EXPORT_RETRY;
    long status = t->answer.http_status;
    struct slice answer = slice_of(t->answer.body, t->answer.body_len);
    if (status >= 200 && status < 300) {
        if (t->spec->json)
            reply_partial_success_json(answer, ret);
        else
            reply_partial_success(answer, ret);
        return EXPORT_OK;
    }
    explain(&t->answer, ret);
    ret->after_ms = t->answer.retry_after_ms;
    ret->cause = http_status_cause(status);
    return http_status_retryable(status) ? EXPORT_RETRY : EXPORT_DROP;
}

static void otlp_http_close(void *self) { transport_free(self); }

const struct exporter exporter_otlp_http = {
    .name = "otlp-http",
    .help = "otlp=http://HOST:4318     OTLP over HTTP (protobuf, or JSON by OTEL_EXPORTER_OTLP_PROTOCOL=http/json); https:// for "
            "TLS, "
            "unix:PATH for a socket; /v1/traces and so on are added when no path is given",
    .signals = SIGNAL_ALL,
    .open = otlp_http_open,
    .encode = otlp_http_encode,
    .deliver = otlp_http_deliver,
    .close = otlp_http_close,
};
