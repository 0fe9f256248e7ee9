/* What OTLP over HTTP and over gRPC share: one libcurl handle with its TLS, headers, compression and time-outs, and the
 * answer's fields that either of them looks at. */
#ifndef WF_EXPORT_TRANSPORT_H
#define WF_EXPORT_TRANSPORT_H

#include "export/encode.h"

#include <curl/curl.h>
#include <zlib.h>

#define ANSWER_MAX 65536u

struct answer {
    long http_status;
    int grpc_status;        /* -1: none came, in headers or trailers */
    char grpc_message[128]; /* as it came, percent-encoded */
    char details[1024];     /* grpc-status-details-bin, base64 */
    u64 retry_after_ms;     /* 0: not said */
    u8 body[ANSWER_MAX];
    size_t body_len; /* what lies beyond is cut off */
};

struct transport {
    CURL *curl;
    struct curl_slist *headers;
    struct encoder *encoder;
    z_stream zip;
    bool gzip;
    u8 *zipped;
    size_t zipped_room;
    const u64 *stop_at;
    struct answer answer;
    char error[CURL_ERROR_SIZE];
};

/* `head` are headers of the protocol, NULL-terminated. -EINVAL, -ENOMEM, -ENOENT with a sentence in err. */
int transport_open(struct transport *t, const struct export_spec *spec, const char *url, const char *const *head, char *err,
                   size_t err_size);
void transport_close(struct transport *t);
/* Compresses when so configured; `head` bytes in front are left alone. The result lives until the next call. */
int transport_gzip(struct transport *t, struct slice in, size_t head, struct slice *ret);
/* POSTs and collects the answer. EXPORT_OK: t->answer holds one; EXPORT_RETRY: none came, the reason is in ret->why. */
enum export_result transport_post(struct transport *t, struct slice body, const struct batch *b, struct export_reply *ret);
/* Reads the partial success out of an Export{Trace,Logs,Metrics}ServiceResponse: the three have the same layout. Bytes that are
 * none change nothing. */
void reply_partial_success(struct slice message, size_t n_sent, struct export_reply *ret);
/* Copies foreign text into why, printable ASCII only. */
void reply_why(struct export_reply *ret, const char *prefix, const char *foreign, size_t n);
bool http_status_retryable(long status); /* OTLP/HTTP: 429, 502, 503, 504 */
enum export_cause http_status_cause(long status);

#endif
