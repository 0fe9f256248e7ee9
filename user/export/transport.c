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
#define BODY_MAX           (64u << 20)

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

static int header_add(struct curl_slist **list, const char *line)
{
    struct curl_slist *more = curl_slist_append(*list, line);
    if (!more)
        return -ENOMEM;
    *list = more;
    return 0;
}

/* One key=value of the list; `line` has room for both. */
static int header_add_item(struct curl_slist **list, struct watch *w, char *item, char *line, char *err, size_t err_size)
{
    char *eq = strchr(item, '=');
    if (!eq)
        return 0;
    *eq = 0;
    percent_decode(eq + 1);
    struct slice key = slice_trim(slice_str(item)), value = slice_trim(slice_str(eq + 1));
    cleanup(freep) char *plain = strndup((const char *)value.p, value.n);
    if (!plain)
        return -ENOMEM;
    int n = sprintf(line, "%.*s: ", (int)min_u64(key.n, 256), key.p);
    int e = secret_expand(plain, w, line + n, err, err_size);
    if (!e && strpbrk(line, "\r\n")) /* a line break inside would forge a header */
        e = (snprintf(err, err_size, "the value of header %.*s has a line break in it", (int)min_u64(key.n, 64), key.p), -EINVAL);
    return e ? e : header_add(list, line);
}

/* key=value,key2=value2 (checked by export_spec_parse already). */
static int headers_add_list(struct curl_slist **list, struct watch *w, const char *text, char *err, size_t err_size)
{
    cleanup(freep) char *copy = strdup(text ? text : ""), *line = malloc(SECRET_MAX + 300);
    char *save = NULL;
    int e = copy && line ? 0 : -ENOMEM;
    for (char *item = e ? NULL : strtok_r(copy, ",", &save); item && !e; item = strtok_r(NULL, ",", &save))
        e = header_add_item(list, w, item, line, err, err_size);
    return e;
}

static int headers_build(const struct transport *t, bool zipped, struct watch *w, struct curl_slist **ret, char *err,
                         size_t err_size)
{
    struct curl_slist *list = NULL;
    int e = header_add(&list, "Expect:"); /* no 100-continue pause on large batches */
    for (size_t i = 0; !e && t->head[i]; i++)
        e = header_add(&list, t->head[i]);
    if (!e && zipped && t->head_gzip)
        e = header_add(&list, t->head_gzip);
    if (!e)
        e = headers_add_list(&list, w, t->spec->headers, err, err_size);
    if (e)
        curl_slist_free_all(list);
    else
        *ret = list;
    return e;
}

/* Reads every secret and certificate's date anew. On failure all stays as it was. */
static int headers_read(struct transport *t, char *err, size_t err_size)
{
    struct watch w = { 0 };
    struct curl_slist *plain = NULL, *zipped = NULL;
    int e = headers_build(t, false, &w, &plain, err, err_size);
    if (!e)
        e = headers_build(t, true, &w, &zipped, err, err_size);
    if (e) {
        curl_slist_free_all(plain);
        return e;
    }
    const char *files[] = { t->spec->certificate, t->spec->client_certificate, t->spec->client_key };
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (files[i])
            watch_add(&w, files[i]);
    curl_slist_free_all(t->headers);
    curl_slist_free_all(t->headers_gzip);
    t->headers = plain;
    t->headers_gzip = zipped;
    t->watch = w;
    return 0;
}

static bool headers_differ(const struct curl_slist *a, const struct curl_slist *b)
{
    for (; a && b; a = a->next, b = b->next)
        if (strcmp(a->data, b->data))
            return true;
    return a || b;
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

static void transport_place(struct transport *t, const char *url)
{
    CURL *c = t->curl;
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    if (*t->spec->unix_socket)
        curl_easy_setopt(c, CURLOPT_UNIX_SOCKET_PATH, t->spec->unix_socket);
    if (t->spec->proxy)
        curl_easy_setopt(c, CURLOPT_PROXY, t->spec->proxy); /* else http_proxy, https_proxy, no_proxy, which libcurl knows */
}

static void transport_setup(struct transport *t)
{
    CURL *c = t->curl;
    curl_easy_setopt(c, CURLOPT_POST, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "OTel-OTLP-Exporter-wftrace/" WF_VERSION);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(t->spec->timeout_ms ? t->spec->timeout_ms : DEFAULT_TIMEOUT_MS));
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &t->answer);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, &t->answer);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, t->error);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, t);
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
}

static int transport_open(struct transport *t, const struct transport_options *o, char *err, size_t err_size)
{
    memcpy(t->head, o->head, sizeof(t->head));
    t->head_gzip = o->head_gzip;
    t->json.max = BODY_MAX;
    t->curl = curl_easy_init();
    t->encoder = encoder_new();
    if (!t->curl || !t->encoder)
        return -ENOMEM;
    int level = t->spec->gzip_level ? t->spec->gzip_level : 1;
    bool gzip = t->spec->compression && !strcmp(t->spec->compression, "gzip");
    if (gzip && deflateInit2(&t->zip, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    t->gzip = gzip;
    int e = headers_read(t, err, err_size);
    if (!e)
        e = transport_tls(t, t->spec, err, err_size);
    if (e)
        return e;
    transport_place(t, o->url);
    transport_setup(t);
    return 0;
}

int transport_new(const struct export_spec *spec, const struct transport_options *o, struct transport **ret, char *err,
                  size_t err_size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, curl_start);
    struct transport *t = calloc(1, sizeof(*t));
    struct export_spec *own = malloc(sizeof(*own));
    snprintf(err, err_size, "out of memory");
    if (!t || !own) {
        free(t);
        free(own);
        return -ENOMEM;
    }
    *own = *spec;
    t->spec = own;
    int e = transport_open(t, o, err, err_size);
    if (e)
        transport_free(t);
    else
        *ret = t;
    return e;
}

struct transport *transport_free(struct transport *t)
{
    if (t->gzip)
        deflateEnd(&t->zip);
    if (t->curl)
        curl_easy_cleanup(t->curl);
    curl_slist_free_all(t->headers);
    curl_slist_free_all(t->headers_gzip);
    encoder_free(t->encoder);
    json_done(&t->json);
    grouping_done(&t->group);
    free(t->zipped);
    free((void *)(uintptr_t)t->spec);
    free(t);
    return NULL;
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

bool is_gzip(struct slice body) { return body.n > 2 && body.p[0] == 0x1f && body.p[1] == 0x8b; }

static CURLcode post_once(struct transport *t, struct slice body, bool zipped)
{
    memset(&t->answer, 0, offsetof(struct answer, body));
    t->answer.body_len = 0;
    t->answer.grpc_status = -1;
    t->error[0] = 0;
    curl_easy_setopt(t->curl, CURLOPT_HTTPHEADER, zipped ? t->headers_gzip : t->headers);
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDS, body.p);
    curl_easy_setopt(t->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body.n);
    CURLcode rc = curl_easy_perform(t->curl);
    curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &t->answer.http_status);
    return rc;
}

static bool says_unauthorised(const struct answer *a)
{
    return a->http_status == 401 || a->http_status == 403 || a->grpc_status == 16 || a->grpc_status == 7;
}

/* What was rotated since: the old connection may hold the old certificate, so the next one is new. */
static bool rotated(struct transport *t, bool whatever)
{
    char err[160];
    struct curl_slist *before = t->headers;
    if (!whatever && !watch_changed(&t->watch))
        return false;
    t->headers = NULL;
    int e = headers_read(t, err, sizeof(err));
    bool differ = !e && headers_differ(before, t->headers);
    if (e)
        t->headers = before;
    else
        curl_slist_free_all(before);
    return differ;
}

static void fresh_connection(struct transport *t)
{
    if (watch_changed(&t->watch) && (t->spec->client_certificate || t->spec->certificate))
        curl_easy_setopt(t->curl, CURLOPT_FRESH_CONNECT, 1L);
}

/* "Subject:CN = x" of the peer's own certificate: what follows the colon. */
static const char *certificate_field(struct transport *t, const char *name)
{
    struct curl_certinfo *info = NULL;
    size_t n = strlen(name);
    if (curl_easy_getinfo(t->curl, CURLINFO_CERTINFO, &info) != CURLE_OK || !info || info->num_of_certs < 1)
        return "";
    for (struct curl_slist *l = info->certinfo[0]; l; l = l->next)
        if (!strncmp(l->data, name, n) && l->data[n] == ':')
            return l->data + n + 1;
    return "";
}

static void explain_answer(struct transport *t, CURLcode rc, struct export_reply *ret)
{
    char *ip = NULL;
    long port = 0, version = 0;
    curl_easy_getinfo(t->curl, CURLINFO_PRIMARY_IP, &ip);
    curl_easy_getinfo(t->curl, CURLINFO_PRIMARY_PORT, &port);
    curl_easy_getinfo(t->curl, CURLINFO_HTTP_VERSION, &version);
    size_t n = 0, size = sizeof(ret->answer);
    if (rc == CURLE_OK && t->answer.grpc_status >= 0)
        n = (size_t)snprintf(ret->answer, size, "grpc-status %d", t->answer.grpc_status);
    else if (rc == CURLE_OK)
        n = (size_t)snprintf(ret->answer, size, "HTTP %ld", t->answer.http_status);
    if (rc == CURLE_OK)
        n += (size_t)snprintf(ret->answer + n, size - n, ", HTTP/%s", version == CURL_HTTP_VERSION_2_0 ? "2" : "1.1");
    if (*t->spec->unix_socket)
        n += (size_t)snprintf(ret->answer + n, size - n, "%sunix:%.107s", n ? " from " : "", t->spec->unix_socket);
    else if (ip && *ip)
        n += (size_t)snprintf(ret->answer + n, size - n, "%s%s:%ld", n ? " from " : "", ip, port);
    const char *subject = certificate_field(t, "Subject");
    if (*subject && n < size)
        snprintf(ret->answer + n, size - n, ", TLS: %.80s until %.40s", subject, certificate_field(t, "Expire date"));
    for (char *c = ret->answer; *c; c++)
        *c = *c >= 0x20 && *c < 0x7f ? *c : '?';
}

enum export_result transport_post(struct transport *t, struct slice body, bool zipped, const u64 *stop_at,
                                  struct export_reply *ret)
{
    curl_off_t after = 0;
    t->stop_at = stop_at;
    curl_easy_setopt(t->curl, CURLOPT_CERTINFO, ret->explain ? 1L : 0L);
    fresh_connection(t);
    rotated(t, false);
    CURLcode rc = post_once(t, body, zipped);
    if (rc == CURLE_OK && says_unauthorised(&t->answer) && rotated(t, true))
        rc = post_once(t, body, zipped);
    if (!t->always_fresh)
        curl_easy_setopt(t->curl, CURLOPT_FRESH_CONNECT, 0L);
    if (ret->explain)
        explain_answer(t, rc, ret);
    if (rc != CURLE_OK) {
        const char *why = t->error[0] ? t->error : curl_easy_strerror(rc);
        reply_why(ret, "", why, strlen(why));
        return EXPORT_RETRY;
    }
    if (curl_easy_getinfo(t->curl, CURLINFO_RETRY_AFTER, &after) == CURLE_OK && after > 0)
        t->answer.retry_after_ms = min_u64((u64)after, 86400) * 1000;
    return EXPORT_OK;
}

void reply_why(struct export_reply *ret, const char *prefix, const char *foreign, size_t n)
{
    size_t len = min_u64((u64)snprintf(ret->why, sizeof(ret->why), "%s", prefix), sizeof(ret->why) - 1);
    for (size_t i = 0; i < n && len + 1 < sizeof(ret->why); i++)
        ret->why[len++] = foreign[i] >= 0x20 && foreign[i] < 0x7f ? foreign[i] : '?';
    ret->why[len] = 0;
}

void reply_partial_success(struct slice message, struct export_reply *ret)
{
    Opentelemetry__Proto__Collector__Trace__V1__ExportTraceServiceResponse *r =
        opentelemetry__proto__collector__trace__v1__export_trace_service_response__unpack(NULL, message.n, message.p);
    if (!r)
        return;
    if (r->partial_success && r->partial_success->rejected_spans > 0) {
        const char *why = r->partial_success->error_message;
        ret->refused = (u64)r->partial_success->rejected_spans;
        reply_why(ret, "", why, strlen(why));
    }
    opentelemetry__proto__collector__trace__v1__export_trace_service_response__free_unpacked(r, NULL);
}

/* Two fields of a small answer: found by their names, not parsed. A name inside a message text could be mistaken for the field;
 * then a count is wrong, and nothing else. */
static struct slice json_field(struct slice in, const char *name)
{
    const u8 *at = memmem(in.p, in.n, name, strlen(name));
    struct slice rest = at ? slice_from(in, (size_t)(at - in.p)) : slice_of("", 0);
    ptrdiff_t colon = slice_find(rest, ':');
    rest = colon < 0 ? slice_of("", 0) : slice_trim(slice_from(rest, (size_t)colon + 1));
    return rest.n && rest.p[0] == '"' ? slice_from(rest, 1) : rest;
}

void reply_partial_success_json(struct slice answer, struct export_reply *ret)
{
    struct slice n = json_field(answer, "\"rejected"), why = json_field(answer, "\"errorMessage\"");
    size_t digits = 0;
    while (digits < n.n && n.p[digits] >= '0' && n.p[digits] <= '9')
        digits++;
    u64 refused = 0;
    if (!digits || slice_u64(slice_head(n, digits), &refused) || !refused)
        return;
    ptrdiff_t end = slice_find(why, '"');
    ret->refused = refused;
    reply_why(ret, "", (const char *)why.p, end < 0 ? 0 : (size_t)end);
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
