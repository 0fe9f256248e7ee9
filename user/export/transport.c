/* One easy handle per exporter, used by its thread only; libcurl keeps the connection between batches.
 *
 * Trailers reach the header callback like headers do, in libcurl 7.88 as in 8.x, so the callback and not the header API
 * collects grpc-status. libcurl before 8.0 breaks every second request on a reused h2c connection made by prior knowledge
 * (CURLE_HTTP2): there each batch gets a fresh one. */
#include "export/transport.h"
#include "trace_service.pb-c.h"

#include <pthread.h>
#include <strings.h>
#include <unistd.h>

#define DEFAULT_TIMEOUT_MS 10000

static void curl_start(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

static size_t on_body(char *data, size_t size, size_t n, void *arg)
{
    struct answer *a = arg;
    size_t take = min_u64(size * n, ANSWER_MAX - a->body_len);
    memcpy(a->body + a->body_len, data, take);
    a->body_len += take;
    return size * n;
}

static bool header_is(struct slice line, const char *name, struct slice *ret_value)
{
    size_t n = strlen(name);
    if (line.n <= n || line.p[n] != ':' || strncasecmp((const char *)line.p, name, n))
        return false;
    struct slice v = slice_from(line, n + 1);
    while (v.n && (v.p[v.n - 1] == '\r' || v.p[v.n - 1] == '\n'))
        v.n--;
    *ret_value = slice_trim(v);
    return true;
}

static void keep_text(struct slice s, char *out, size_t size)
{
    size_t n = min_u64(s.n, size - 1);
    memcpy(out, s.p, n);
    out[n] = 0;
}

static size_t on_header(char *data, size_t size, size_t n, void *arg)
{
    struct answer *a = arg;
    struct slice line = slice_of(data, size * n), v;
    u64 code;
    if (header_is(line, "grpc-status", &v))
        a->grpc_status = slice_u64(v, &code) || code > 16 ? 2 : (int)code;
    else if (header_is(line, "grpc-message", &v))
        keep_text(v, a->grpc_message, sizeof(a->grpc_message));
    else if (header_is(line, "grpc-status-details-bin", &v))
        keep_text(v, a->details, sizeof(a->details));
    return size * n;
}

/* Called about once a second while nothing moves: the only way to cut short a request when wftrace must end. */
static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    const u64 *stop_at = ((struct transport *)arg)->stop_at;
    u64 at = stop_at ? __atomic_load_n(stop_at, __ATOMIC_ACQUIRE) : 0;
    return at && clock_boot_ns() >= at;
}

static int hex_value(char c)
{
    u8 out;
    return hex_decode((char[]){ '0', c }, 2, &out) ? -1 : out;
}

/* Percent-decoding in place, as the specification asks for header values. */
static void percent_decode(char *s)
{
    char *o = s;
    for (; *s; s++) {
        int hi = *s == '%' && s[1] ? hex_value(s[1]) : -1, lo = hi >= 0 && s[2] ? hex_value(s[2]) : -1;
        if (lo >= 0)
            *o++ = (char)(hi << 4 | lo), s += 2;
        else
            *o++ = *s;
    }
    *o = 0;
}

static int header_add(struct transport *t, const char *line)
{
    struct curl_slist *more = curl_slist_append(t->headers, line);
    if (!more)
        return -ENOMEM;
    t->headers = more;
    return 0;
}

/* key=value,key2=value2 (checked by export_spec_parse already). A line break inside would forge a header: refused. */
static int headers_add_list(struct transport *t, const char *list)
{
    cleanup(freep) char *copy = strdup(list ? list : "");
    char *save = NULL;
    if (!copy)
        return -ENOMEM;
    for (char *item = strtok_r(copy, ",", &save); item; item = strtok_r(NULL, ",", &save)) {
        char line[4096], *eq = strchr(item, '=');
        if (!eq)
            continue;
        *eq = 0;
        percent_decode(eq + 1);
        struct slice key = slice_trim(slice_str(item)), value = slice_trim(slice_str(eq + 1));
        int n = snprintf(line, sizeof(line), "%.*s: %.*s", (int)key.n, key.p, (int)value.n, value.p);
        if (n >= (int)sizeof(line) || strpbrk(line, "\r\n"))
            return -EINVAL;
        int err = header_add(t, line);
        if (err)
            return err;
    }
    return 0;
}

static int file_check(const char *path, const char *what, char *err, size_t err_size)
{
    if (!path || access(path, R_OK) == 0)
        return 0;
    int e = -errno;
    snprintf(err, err_size, "cannot read %s %s: %s", what, path, errno_name(e));
    return e;
}

static int transport_tls(struct transport *t, const struct export_spec *spec, char *err, size_t err_size)
{
    int e = file_check(spec->certificate, "OTEL_EXPORTER_OTLP_CERTIFICATE", err, err_size);
    if (!e)
        e = file_check(spec->client_certificate, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", err, err_size);
    if (!e)
        e = file_check(spec->client_key, "OTEL_EXPORTER_OTLP_CLIENT_KEY", err, err_size);
    if (e)
        return e;
    if (spec->certificate)
        curl_easy_setopt(t->curl, CURLOPT_CAINFO, spec->certificate);
    if (spec->client_certificate)
        curl_easy_setopt(t->curl, CURLOPT_SSLCERT, spec->client_certificate);
    if (spec->client_key)
        curl_easy_setopt(t->curl, CURLOPT_SSLKEY, spec->client_key);
    curl_easy_setopt(t->curl, CURLOPT_SSL_VERIFYPEER, spec->insecure_skip_verify ? 0L : 1L);
    curl_easy_setopt(t->curl, CURLOPT_SSL_VERIFYHOST, spec->insecure_skip_verify ? 0L : 2L);
    return 0;
}

static void transport_options(struct transport *t, const struct export_spec *spec, const char *url)
{
    CURL *c = t->curl;
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, t->headers);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "OTel-OTLP-Exporter-wftrace/" WF_VERSION);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(spec->timeout_ms ? spec->timeout_ms : DEFAULT_TIMEOUT_MS));
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &t->answer);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, &t->answer);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
}

static int transport_headers(struct transport *t, const struct export_spec *spec, const char *const *head)
{
    int err = header_add(t, "Expect:"); /* no 100-continue pause on large batches */
    for (; !err && *head; head++)
        err = header_add(t, *head);
    return err ? err : headers_add_list(t, spec->headers);
}

int transport_open(struct transport *t, const struct export_spec *spec, const char *url, const char *const *head, char *err,
                   size_t err_size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, curl_start);
    memset(t, 0, offsetof(struct transport, answer));
    snprintf(err, err_size, "out of memory");
    t->curl = curl_easy_init();
    t->encoder = encoder_new();
    if (!t->curl || !t->encoder)
        return -ENOMEM;
    t->gzip = spec->compression && !strcmp(spec->compression, "gzip");
    if (t->gzip && deflateInit2(&t->zip, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    int e = transport_headers(t, spec, head);
    if (e == -EINVAL)
        snprintf(err, err_size, "OTEL_EXPORTER_OTLP_HEADERS has a header that is too long or has a line break in it");
    if (e)
        return e;
    e = transport_tls(t, spec, err, err_size);
    if (!e)
        transport_options(t, spec, url);
    return e;
}

void transport_close(struct transport *t)
{
    if (t->gzip)
        deflateEnd(&t->zip);
    if (t->curl)
        curl_easy_cleanup(t->curl);
    curl_slist_free_all(t->headers);
    encoder_free(t->encoder);
    free(t->zipped);
}

int transport_gzip(struct transport *t, struct slice in, size_t head, struct slice *ret)
{
    if (!t->gzip) {
        *ret = in;
        return 0;
    }
    size_t room = head + deflateBound(&t->zip, in.n - head);
    if (room > t->zipped_room) {
        u8 *p = realloc(t->zipped, room);
        if (!p)
            return -ENOMEM;
        t->zipped = p;
        t->zipped_room = room;
    }
    deflateReset(&t->zip);
    t->zip.next_in = (u8 *)(uintptr_t)in.p + head;
    t->zip.avail_in = (uInt)(in.n - head);
    t->zip.next_out = t->zipped + head;
    t->zip.avail_out = (uInt)(t->zipped_room - head);
    if (deflate(&t->zip, Z_FINISH) != Z_STREAM_END)
        return -EIO;
    *ret = slice_of(t->zipped, head + t->zip.total_out);
    return 0;
}

enum export_result transport_post(struct transport *t, struct slice body, const struct batch *b, struct export_reply *ret)
{
    curl_off_t after = 0;
    memset(&t->answer, 0, offsetof(struct answer, body));
    t->answer.body_len = 0;
    t->answer.grpc_status = -1;
    t->error[0] = 0;
    t->stop_at = b->stop_at;
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, body.p);
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    CURLcode rc = curl_easy_perform(t->curl);
    if (rc != CURLE_OK) {
        const char *why = t->error[0] ? t->error : curl_easy_strerror(rc);
        reply_why(ret, "", why, strlen(why));
        return EXPORT_RETRY;
    }
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->answer.http_status);
    if (curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &after) == CURLE_OK && after > 0)
        t->answer.retry_after_ms = (u64)after * 1000;
    return EXPORT_OK;
}

void reply_why(struct export_reply *ret, const char *prefix, const char *foreign, size_t n)
{
    size_t len = min_u64((u64)snprintf(ret->why, sizeof(ret->why), "%s", prefix), sizeof(ret->why) - 1);
    for (size_t i = 0; i < n && len + 1 < sizeof(ret->why); i++)
        ret->why[len++] = foreign[i] >= 0x20 && foreign[i] < 0x7f ? foreign[i] : '?';
    ret->why[len] = 0;
}

void reply_partial_success(struct slice message, size_t n_sent, struct export_reply *ret)
{
    Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse *r =
        opentelemetry__proto__collector__trace__v1__export_trace_service_response__unpack(NULL, message.n, message.p);
    if (!r)
        return;
    if (r->partial_success && r->partial_success->rejected_spans > 0) {
        const char *why = r->partial_success->error_message;
        ret->refused = min_u64((u64)r->partial_success->rejected_spans, n_sent);
        reply_why(ret, "", why, strlen(why));
    }
    opentelemetry__proto__collector__trace__v1__export_trace_service_response__free_unpacked(r, NULL);
}

bool http_status_retryable(long status) { return status == 429 || (status >= 502 && status <= 504); }

enum export_cause http_status_cause(long status)
{
    switch (status) {
    case 401:
    case 403:
    case 407:
        return CAUSE_AUTH;
    case 400:
    case 415:
    case 422:
        return CAUSE_INVALID;
    case 404:
    case 405:
    case 410:
        return CAUSE_NOWHERE;
    case 413:
        return CAUSE_TOO_LARGE;
    default:
        return CAUSE_REFUSED;
    }
}
