#include "export/serve.h"

#include <microhttpd.h>
#include <netdb.h>
#include <stdarg.h>
#include <sys/socket.h>

#define CONNECTIONS    16
#define IDLE_SECONDS   10
#define HARD_SECONDS   30
#define SECRETS_MAX    (64u << 10)
#define REQUEST_MEMORY (32u << 10)

struct serve {
    struct serve_options o;
    struct MHD_Daemon *daemon;
    char *certificate, *key, *passwords; /* contents */
};

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

static bool may_enter(const struct serve *s, struct MHD_Connection *c)
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

static enum MHD_Result on_request(void *cls, struct MHD_Connection *c, const char *url, const char *method, const char *version,
                                  const char *data, size_t *data_size, void **state)
{
    static int seen;
    const struct serve *s = cls;
    bool get = !strcmp(method, "GET") || !strcmp(method, "HEAD");
    if (!get) /* said before a body comes */
        return plain(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n", MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    if (!*state || *data_size) { /* the first call is for the headers; a body is not wanted */
        *state = &seen;
        *data_size = 0;
        return MHD_YES;
    }
    bool open_to_all = !strcmp(url, "/healthz") || !strcmp(url, "/readyz");
    if (s->passwords && !open_to_all && !may_enter(s, c))
        return plain(c, MHD_HTTP_UNAUTHORIZED, "user and password, please\n", MHD_HTTP_HEADER_WWW_AUTHENTICATE,
                     "Basic realm=\"wftrace\"");
    const char *accept = MHD_lookup_connection_value(c, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    struct serve_request q = { url, accept ? accept : "", !strcmp(method, "HEAD") };
    struct serve_reply reply = { .status = 200, .type = "text/plain; charset=utf-8", .body = "" };
    s->o.answer(s->o.arg, &q, &reply);
    return send_reply(c, &reply);
}

/* What a peer does wrong is its own affair, and no text of its comes into our log. */
static void silent(void *cls, const char *fmt, va_list args) {}

static int contents(const char *file, const char *what, char **ret, char *err, size_t err_size)
{
    size_t n;
    int e = file ? read_small_file(file, SECRETS_MAX, ret, &n) : 0;
    if (e)
        snprintf(err, err_size, "cannot read %s %s: %s", what, file, errno_name(e));
    return e;
}

static int address_of(const struct serve_options *o, struct sockaddr_storage *ret, char *err, size_t err_size)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV }, *list = NULL;
    char port[8];
    snprintf(port, sizeof(port), "%u", o->port);
    int e = getaddrinfo(*o->host ? o->host : NULL, port, &hints, &list);
    if (e || !list) {
        snprintf(err, err_size, "cannot listen on '%s': %s", o->host, gai_strerror(e));
        return -EINVAL;
    }
    const struct addrinfo *best = list;
    for (const struct addrinfo *a = list; a && !*o->host; a = a->ai_next)
        if (a->ai_family == AF_INET6) /* takes IPv4 too */
            best = a;
    memcpy(ret, best->ai_addr, best->ai_addrlen);
    freeaddrinfo(list);
    return 0;
}

static int daemon_start(struct serve *s, char *err, size_t err_size)
{
    struct sockaddr_storage at = { 0 };
    int e = address_of(&s->o, &at, err, err_size);
    if (e)
        return e;
    unsigned flags = MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL | MHD_USE_ERROR_LOG;
    if (at.ss_family == AF_INET6)
        flags |= *s->o.host ? MHD_USE_IPv6 : MHD_USE_DUAL_STACK;
    if (s->certificate)
        flags |= MHD_USE_TLS;
    struct MHD_OptionItem tls[] = { { MHD_OPTION_HTTPS_MEM_CERT, 0, s->certificate },
                                    { MHD_OPTION_HTTPS_MEM_KEY, 0, s->key },
                                    { MHD_OPTION_END, 0, NULL } };
    errno = 0;
    s->daemon = MHD_start_daemon(flags, s->o.port, NULL, NULL, on_request, s, MHD_OPTION_EXTERNAL_LOGGER, silent, NULL,
                                 MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&at, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
                                 MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                 (size_t)REQUEST_MEMORY, MHD_OPTION_THREAD_STACK_SIZE, (size_t)(256u << 10), MHD_OPTION_ARRAY,
                                 s->certificate ? tls : &tls[2], MHD_OPTION_END);
    if (s->daemon)
        return 0;
    e = errno ? -errno : -EINVAL;
    snprintf(err, err_size, "cannot listen on %s:%u: %s", s->o.host, s->o.port,
             e != -EINVAL     ? errno_name(e)
             : s->certificate ? "certificate and key do not work"
                              : "the server did not start");
    return e;
}

int serve_open(const struct serve_options *o, struct serve **ret, char *err, size_t err_size)
{
    struct serve *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    s->o = *o;
    int e = contents(o->certificate, "the certificate", &s->certificate, err, err_size);
    if (!e)
        e = contents(o->key, "the key", &s->key, err, err_size);
    if (!e)
        e = contents(o->passwords, "the file of passwords", &s->passwords, err, err_size);
    if (!e && o->users && !(s->passwords = strdup(o->users)))
        e = -ENOMEM;
    if (!e)
        e = daemon_start(s, err, err_size);
    s->o.certificate = s->o.key = s->o.passwords = s->o.users = s->o.host = NULL; /* borrowed until here */
    if (e)
        s = serve_close(s);
    else
        *ret = s;
    return e;
}

u16 serve_port(const struct serve *s)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

static void secret_free(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

struct serve *serve_close(struct serve *s)
{
    if (!s)
        return NULL;
    if (s->daemon)
        MHD_stop_daemon(s->daemon);
    secret_free(s->certificate);
    secret_free(s->key);
    secret_free(s->passwords);
    free(s);
    return NULL;
}
