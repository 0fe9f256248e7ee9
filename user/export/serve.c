/* One request: who may ask, and the answer on its way. */
#include "export/serve_internal.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>

#define HARD_SECONDS 30

/* A reply on its way: MHD asks for a piece whenever the socket has room. */
struct sending {
    struct serve_reply reply;
    u64 until;
};

static ssize_t piece(void *cls, uint64_t pos, char *buf, size_t max)
{
    const struct sending *s = cls;
    if (pos >= s->reply.n)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (clock_boot_ns() > s->until)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    size_t n = min_u64(max, s->reply.n - pos);
    memcpy(buf, s->reply.body + pos, n);
    return (ssize_t)n;
}

static void sent(void *cls)
{
    struct sending *s = cls;
    if (s->reply.done)
        s->reply.done(s->reply.arg);
    free(s);
}

static enum MHD_Result plain(struct MHD_Connection *c, unsigned status, const char *text, const char *header, const char *value)
{
    struct MHD_Response *r = MHD_create_response_from_buffer(strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; charset=utf-8");
    if (header)
        MHD_add_response_header(r, header, value);
    enum MHD_Result result = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return result;
}

/* Takes as long for a wrong word as for a right one. */
static bool same_secret(const char *a, size_t n, const char *b, size_t m)
{
    u8 differ = n != m;
    for (size_t i = 0; i < n; i++)
        differ |= (u8)(a[i] ^ (m ? b[i % m] : 0));
    return !differ;
}

/* The scraper's certificate is one that the authority signed, for clients, and in its time. */
static bool is_certified(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(c, MHD_CONNECTION_INFO_GNUTLS_SESSION);
    gnutls_typed_vdata_st purpose = { .type = GNUTLS_DT_KEY_PURPOSE_OID,
                                      .data = (unsigned char *)(uintptr_t)GNUTLS_KP_TLS_WWW_CLIENT };
    unsigned status = UINT32_MAX;
    return info && info->tls_session && !gnutls_certificate_verify_peers(info->tls_session, &purpose, 1, &status) && !status;
}

static bool may_enter(const struct serving *s, struct MHD_Connection *c)
{
    char *password = NULL, *user = MHD_basic_auth_get_username_password(c, &password);
    bool found = false;
    for (const char *line = s->passwords, *next; user && password && *line; line = next) {
        size_t n = strcspn(line, "\r\n"), colon = strcspn(line, ":");
        next = line + n + strspn(line + n, "\r\n");
        if (colon < n)
            found |= same_secret(line, colon, user, strlen(user)) &
                     same_secret(line + colon + 1, n - colon - 1, password, strlen(password));
    }
    MHD_free(user);
    if (password)
        explicit_bzero(password, strlen(password));
    MHD_free(password);
    return found;
}

static enum MHD_Result send_reply(struct MHD_Connection *c, const struct serve_reply *reply)
{
    struct sending *s = malloc(sizeof(*s));
    struct MHD_Response *r = NULL;
    if (s) {
        *s = (struct sending){ *reply, clock_boot_ns() + HARD_SECONDS * NSEC_PER_SEC };
        r = MHD_create_response_from_callback(reply->n, 64u << 10, piece, s, sent);
    }
    if (!r) {
        if (reply->done)
            reply->done(reply->arg);
        free(s);
        return MHD_NO;
    }
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, reply->type);
    enum MHD_Result result = MHD_queue_response(c, reply->status, r);
    MHD_destroy_response(r);
    return result;
}

enum MHD_Result serve_request_take(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                                   const char *data, size_t *data_size, void **state)
{
    static int seen;
    const struct serving *s = cls;
    bool get = !strcmp(method, "GET") || !strcmp(method, "HEAD");
    if (!get) /* said before a body comes */
        return plain(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n", MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    if (!*state || *data_size) { /* the first call is for the headers; a body is not wanted */
        *state = &seen;
        *data_size = 0;
        return MHD_YES;
    }
    bool open_to_all = !strcmp(url, "/healthz") || !strcmp(url, "/readyz");
    if (s->ca && !open_to_all && !is_certified(c))
        return plain(c, MHD_HTTP_FORBIDDEN, "a client's certificate, please\n", NULL, NULL);
    if (s->passwords && !open_to_all && !may_enter(s, c))
        return plain(c, MHD_HTTP_UNAUTHORIZED, "user and password, please\n", MHD_HTTP_HEADER_WWW_AUTHENTICATE,
                     "Basic realm=\"wftrace\"");
    const char *accept = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    struct serve_request q = { url, accept ? accept : "", !strcmp(method, "HEAD") };
    struct serve_reply reply = { .status = 200, .type = "text/plain; charset=utf-8", .body = "" };
    s->of->o.answer(s->of->o.arg, &q, &reply);
    return send_reply(c, &reply);
}
