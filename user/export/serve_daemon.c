/* The server's life. Its socket is our own, so that another server can take it over: with other contents of the same files when one
 * of them has changed, or with other options after a reload. Whoever is connected to the old one is served to the end by it. */
#include "export/serve_internal.h"
#include "base/log.h"

#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS    16
#define IDLE_SECONDS   10
#define OLD_SECONDS    30
#define SECRETS_MAX    (64u << 10)
#define REQUEST_MEMORY (32u << 10)

/* --- sockets: one for each address, shared by who comes and who goes --- */
struct listener {
    struct listener *next;
    struct sockaddr_storage at;
    int fd;
    u32 refs;
};
static struct listener *listeners;
static pthread_mutex_t listeners_lock = PTHREAD_MUTEX_INITIALIZER;

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
    memset(ret, 0, sizeof(*ret));
    memcpy(ret, best->ai_addr, best->ai_addrlen);
    freeaddrinfo(list);
    return 0;
}

static int socket_listen(const struct sockaddr_storage *at, bool every)
{
    cleanup(closep) int fd = socket(at->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1, zero = 0;
    if (fd < 0)
        return -errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (at->ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, every ? &zero : &one, sizeof(one));
    if (bind(fd, (const struct sockaddr *)at,
             at->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in)) ||
        listen(fd, 64))
        return -errno;
    int got = fd;
    fd = -1;
    return got;
}

static struct listener *listener_find(const struct sockaddr_storage *at)
{
    for (struct listener *l = listeners; l; l = l->next)
        if (!memcmp(&l->at, at, sizeof(*at)))
            return l;
    return NULL;
}

static int listener_make(const struct sockaddr_storage *at, bool every, struct listener **ret)
{
    struct listener *l = calloc(1, sizeof(*l));
    if (!l)
        return -ENOMEM;
    l->at = *at;
    l->fd = socket_listen(at, every);
    if (l->fd < 0) {
        int e = l->fd;
        free(l);
        return e;
    }
    l->next = listeners;
    *ret = listeners = l;
    return 0;
}

static int listener_take(const struct serve_options *o, struct listener **ret, char *err, size_t err_size)
{
    struct sockaddr_storage at;
    int e = address_of(o, &at, err, err_size);
    if (e)
        return e;
    pthread_mutex_lock(&listeners_lock);
    struct listener *l = o->port ? listener_find(&at) : NULL;
    e = l ? 0 : listener_make(&at, !*o->host, &l);
    if (!e)
        l->refs++;
    pthread_mutex_unlock(&listeners_lock);
    if (e)
        snprintf(err, err_size, "cannot listen on %s:%u: %s", o->host, o->port, errno_name(e));
    else
        *ret = l;
    return e;
}

static void listener_give(struct listener *l)
{
    pthread_mutex_lock(&listeners_lock);
    bool last = l && !--l->refs;
    for (struct listener **at = &listeners; last && *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            break;
        }
    pthread_mutex_unlock(&listeners_lock);
    if (!last)
        return;
    close(l->fd);
    free(l);
}

/* --- files --- */
static void secret_free(char *s)
{
    if (s)
        explicit_bzero(s, strlen(s));
    free(s);
}

static int contents(const char *file, const char *what, char **ret, char *err, size_t err_size)
{
    size_t n;
    int e = file ? read_small_file(file, SECRETS_MAX, ret, &n) : 0;
    if (e)
        snprintf(err, err_size, "cannot read %s %s: %s", what, file, errno_name(e));
    return e;
}

static int users_expand(struct serve *s, char **ret, char *err, size_t err_size)
{
    if (!strstr(s->o.users, "${file:"))
        return (*ret = strdup(s->o.users)) ? 0 : -ENOMEM;
    char *out = malloc(SECRET_MAX);
    int e = out ? secret_expand(s->o.users, &s->watch, out, err, err_size) : -ENOMEM;
    if (!e && !(*ret = strdup(out)))
        e = -ENOMEM;
    if (out)
        explicit_bzero(out, SECRET_MAX);
    free(out);
    return e;
}

/* The files are remembered as they are before they are read: what changes meanwhile is seen the next time. */
static int files_read(struct serve *s, struct serving *g, char *err, size_t err_size)
{
    const char *const files[] = { s->o.certificate, s->o.key, s->o.ca, s->o.passwords };
    static const char *const what[] = { "the certificate", "the key", "the scrapers' authority", "the file of passwords" };
    char **const to[] = { &g->certificate, &g->key, &g->ca, &g->passwords };
    s->watch.n = 0;
    for (size_t i = 0; i < ARRAY_LEN(files); i++)
        if (files[i])
            watch_add(&s->watch, files[i]);
    int e = s->o.users ? users_expand(s, &g->passwords, err, err_size) : 0;
    for (size_t i = 0; i < ARRAY_LEN(files) && !e; i++)
        e = contents(files[i], what[i], to[i], err, err_size);
    return e;
}

/* --- a server --- */
/* What a peer does wrong is its own affair, and no text of its comes into our log. */
static void silent(void *cls, const char *fmt, va_list args) {}

static struct serving *serving_free(struct serving *g)
{
    if (!g)
        return NULL;
    if (g->daemon)
        MHD_stop_daemon(g->daemon);
    secret_free(g->certificate);
    secret_free(g->key);
    secret_free(g->ca);
    secret_free(g->passwords);
    free(g);
    return NULL;
}

static int daemon_start(struct serve *s, struct serving *g, char *err, size_t err_size)
{
    unsigned flags =
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL | MHD_USE_ERROR_LOG | MHD_USE_ITC;
    if (s->listener->at.ss_family == AF_INET6)
        flags |= *s->o.host ? MHD_USE_IPv6 : MHD_USE_DUAL_STACK;
    if (g->certificate)
        flags |= MHD_USE_TLS;
    struct MHD_OptionItem tls[] = { { MHD_OPTION_HTTPS_MEM_CERT, 0, g->certificate },
                                    { MHD_OPTION_HTTPS_MEM_KEY, 0, g->key },
                                    { g->ca ? MHD_OPTION_HTTPS_MEM_TRUST : MHD_OPTION_END, 0, g->ca },
                                    { MHD_OPTION_END, 0, NULL } };
    int fd = fcntl(s->listener->fd, F_DUPFD_CLOEXEC, 0), e = fd < 0 ? -errno : 0;
    errno = 0;
    if (fd >= 0)
        g->daemon = MHD_start_daemon(flags, s->o.port, NULL, NULL, serve_request_take, g, MHD_OPTION_EXTERNAL_LOGGER, silent,
                                     NULL, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
                                     MHD_OPTION_CONNECTION_TIMEOUT, IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
                                     (size_t)REQUEST_MEMORY, MHD_OPTION_THREAD_STACK_SIZE, (size_t)(256u << 10), MHD_OPTION_ARRAY,
                                     g->certificate ? tls : &tls[3], MHD_OPTION_END);
    if (g->daemon)
        return 0;
    e = e ? e : errno ? -errno : -EINVAL;
    if (fd >= 0)
        close(fd);
    snprintf(err, err_size, "cannot serve on %s:%u: %s", s->o.host, s->o.port,
             g->certificate ? "certificate and key (or the scrapers' authority) do not work" : errno_name(e));
    return e;
}

static int serving_make(struct serve *s, struct serving **ret, char *err, size_t err_size)
{
    struct serving *g = calloc(1, sizeof(*g));
    int e = g ? 0 : -ENOMEM;
    if (g)
        g->of = s;
    if (!e)
        e = files_read(s, g, err, err_size);
    if (!e)
        e = daemon_start(s, g, err, err_size);
    if (e)
        serving_free(g);
    else
        *ret = g;
    return e;
}

/* --- rotation --- */
static bool has_connections(const struct serving *g)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(g->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info && info->num_connections;
}

/* A file that is half written does not fit the others, and is looked at again when it changes the next time. */
static void rotate(struct serve *s)
{
    struct serving *g = NULL;
    char err[300] = "";
    if (serving_make(s, &g, err, sizeof(err))) {
        log_warn("prometheus", "the files of the scrape port have changed: %s (the old ones stay in force)", err);
        return;
    }
    s->old = serving_free(s->old);
    s->old = s->now;
    s->old_until = clock_boot_ns() + OLD_SECONDS * NSEC_PER_SEC;
    s->now = g;
    int fd = MHD_quiesce_daemon(s->old->daemon);
    if (fd >= 0)
        close(fd);
    log_info("prometheus", "certificates and passwords of the scrape port were read again");
}

static void *watch_run(void *arg)
{
    struct serve *s = arg;
    struct timespec at;
    pthread_mutex_lock(&s->lock);
    while (!s->closing) {
        clock_gettime(CLOCK_MONOTONIC, &at);
        at.tv_sec++;
        pthread_cond_timedwait(&s->wake, &s->lock, &at);
        if (s->closing)
            break;
        if (watch_changed(&s->watch))
            rotate(s);
        if (s->old && (!has_connections(s->old) || clock_boot_ns() > s->old_until))
            s->old = serving_free(s->old);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static int watch_start(struct serve *s)
{
    pthread_condattr_t clock;
    sigset_t all, old;
    pthread_mutex_init(&s->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&s->wake, &clock);
    pthread_condattr_destroy(&clock);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int e = s->watch.n ? -pthread_create(&s->thread, NULL, watch_run, s) : 0;
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    s->watched = !e && s->watch.n;
    return e;
}

/* --- life --- */
static const char **texts(struct serve_options *o, size_t i)
{
    const char **v[] = { &o->host, &o->certificate, &o->key, &o->ca, &o->users, &o->passwords };
    return i < ARRAY_LEN(v) ? v[i] : NULL;
}

static int options_copy(struct serve *s, const struct serve_options *o)
{
    bool fine = true;
    s->o = *o;
    for (size_t i = 0; texts(&s->o, i); i++) {
        const char **text = texts(&s->o, i);
        if (*text)
            fine &= (*text = strdup(*text)) != NULL;
    }
    return fine ? 0 : -ENOMEM;
}

int serve_open(const struct serve_options *o, struct serve **ret, char *err, size_t err_size)
{
    struct serve *s = calloc(1, sizeof(*s));
    if (!s)
        return -ENOMEM;
    snprintf(err, err_size, "out of memory");
    int e = options_copy(s, o);
    if (!e)
        e = listener_take(&s->o, &s->listener, err, err_size);
    if (!e)
        e = serving_make(s, &s->now, err, err_size);
    if (!e && (e = watch_start(s)))
        snprintf(err, err_size, "cannot start a thread: %s", errno_name(e));
    if (e)
        s = serve_close(s);
    else
        *ret = s;
    return e;
}

u16 serve_port(const struct serve *s)
{
    struct sockaddr_storage at;
    socklen_t n = sizeof(at);
    if (getsockname(s->listener->fd, (struct sockaddr *)&at, &n))
        return 0;
    return ntohs(at.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&at)->sin6_port : ((struct sockaddr_in *)&at)->sin_port);
}

struct serve *serve_close(struct serve *s)
{
    if (!s)
        return NULL;
    if (s->watched) {
        pthread_mutex_lock(&s->lock);
        s->closing = true;
        pthread_cond_signal(&s->wake);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->thread, NULL);
    }
    serving_free(s->now);
    serving_free(s->old);
    listener_give(s->listener);
    for (size_t i = 0; texts(&s->o, i); i++)
        secret_free((char *)(uintptr_t)*texts(&s->o, i));
    free(s);
    return NULL;
}
