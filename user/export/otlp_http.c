/* OTLP/HTTP with protobuf bodies (OTLP 1.5, section «OTLP/HTTP»). */
#include "export/transport.h"
#include "rpc_status.pb-c.h"

static int otlp_http_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    const char *head[3] = { "Content-Type: application/x-protobuf", NULL, NULL };
    struct transport *t = malloc(sizeof(*t));
    if (!t)
        return -ENOMEM;
    if (spec->compression && !strcmp(spec->compression, "gzip"))
        head[1] = "Content-Encoding: gzip";
    int e = transport_open(t, spec, spec->target, head, err, err_size);
    if (e) {
        transport_close(t);
        free(t);
        return e;
    }
    *ret = t;
    return 0;
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

static enum export_result otlp_http_send(void *self, const struct batch *b, struct export_reply *ret)
{
    struct transport *t = self;
    struct slice body;
    int err = encoder_pack(t->encoder, b, 0, &body);
    if (!err)
        err = transport_gzip(t, body, 0, &body);
    if (err) {
        snprintf(ret->why, sizeof(ret->why), "cannot encode the batch: %s", errno_name(err));
        return EXPORT_RETRY;
    }
    if (transport_post(t, body, b, ret) != EXPORT_OK)
        return EXPORT_RETRY;
    long status = t->answer.http_status;
    if (status >= 200 && status < 300) {
        reply_partial_success(slice_of(t->answer.body, t->answer.body_len), b->n, ret);
        return EXPORT_OK;
    }
    explain(&t->answer, ret);
    ret->after_ms = t->answer.retry_after_ms;
    ret->cause = http_status_cause(status);
    return http_status_retryable(status) ? EXPORT_RETRY : EXPORT_DROP;
}

static void otlp_http_close(void *self)
{
    transport_close(self);
    free(self);
}

const struct exporter exporter_otlp_http = {
    .name = "otlp-http",
    .help = "otlp=http://HOST:4318     OTLP over HTTP (protobuf); https:// for TLS; /v1/traces is added when no path is given",
    .signals = SIGNAL_ALL,
    .open = otlp_http_open,
    .send = otlp_http_send,
    .close = otlp_http_close,
};
