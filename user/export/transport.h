/* What OTLP over HTTP and over gRPC share: one libcurl handle with its TLS, headers, compression and time-outs, and the
 * answer's fields that either of them looks at. */
#ifndef WF_EXPORT_TRANSPORT_H
#define WF_EXPORT_TRANSPORT_H

#include "export/encode.h"
#include "export/secret.h"

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
    /* encoding: the lane's thread */
    struct encoder *encoder;
    struct json json; /* http/json and Zipkin */
    struct grouping group;
    z_stream zip;
    bool gzip;
    u8 *zipped;
    size_t zipped_room;
    /* sending: the lane's thread, or the one beside it when there is a spool */
    CURL *curl;
    const struct export_spec *spec; /* the lane's own copy */
    const char *head[4];            /* of the protocol, NULL-terminated */
    bool always_fresh;              /* a connection for each request */
    const char *head_gzip;          /* one more for a compressed body */
    struct curl_slist *headers, *headers_gzip;
    struct watch watch; /* files that headers and TLS were read from */
    const u64 *stop_at;
    struct answer answer;
    char error[CURL_ERROR_SIZE];
};

struct transport_options {
    const char *url;
    const char *head[4];   /* headers of the protocol, NULL-terminated; must outlive the transport */
    const char *head_gzip; /* what says that a body is compressed */
};
/* `spec` is copied. -EINVAL, -ENOMEM, -ENOENT with a sentence in err. */
int transport_new(const struct export_spec *spec, const struct transport_options *o, struct transport **ret, char *err,
                  size_t err_size);
struct transport *transport_free(struct transport *t); /* returns NULL */
/* Compresses when so configured; `head` bytes in front are left alone. The result lives until the next call. */
int transport_gzip(struct transport *t, struct slice in, size_t head, struct slice *ret);
/* POSTs and collects the answer. EXPORT_OK: t->answer holds one; EXPORT_RETRY: none came, the reason is in ret->why. Headers
 * whose files changed are read anew before, and once more when the receiver says that they are not (or no longer) right. */
enum export_result transport_post(struct transport *t, struct slice body, bool zipped, const u64 *stop_at,
                                  struct export_reply *ret);
bool is_gzip(struct slice body); /* by its first bytes, which no protobuf message and no JSON can have */
/* Reads the partial success out of an Export{Trace,Logs,Metrics}ServiceResponse: the three have the same layout. Bytes that are
 * none change nothing. */
void reply_partial_success(struct slice message, struct export_reply *ret);
/* The same in JSON: {"partialSuccess":{"rejectedSpans":"3","errorMessage":"…"}}. */
void reply_partial_success_json(struct slice answer, struct export_reply *ret);
/* Copies foreign text into why, printable ASCII only. */
void reply_why(struct export_reply *ret, const char *prefix, const char *foreign, size_t n);
bool http_status_retryable(long status); /* OTLP/HTTP: 429, 502, 503, 504 */
enum export_cause http_status_cause(long status);

#endif
