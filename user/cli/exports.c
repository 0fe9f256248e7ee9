/* The exporters of a configuration → what --export would have said. One spec for each signal and exporter; texts that hold
 * secrets become references (export/secret.h) where the configuration names a file, so that a rotation is seen. */
#include "cli/session.h"

#include <ctype.h>
#include <stdarg.h>

#define FOREVER_MS 3600000 /* a time-out of 0 is «no limit»: an hour */
#define HEADERS    8192

struct maker {
    struct options *o;
    char path[200]; /* of the exporter, for messages */
    char *err;
    size_t err_size;
};

static int refuse(const struct maker *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int refuse(const struct maker *m, const char *fmt, ...)
{
    char where[300], text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    snprintf(m->err, m->err_size, "%s: %s", config_where(m->o->config, m->path, where, sizeof(where)), text);
    return -EINVAL;
}

/* --- headers --- */
static void encode(char *out, size_t size, size_t *used, const char *text)
{
    for (; *text && *used + 4 < size; text++) {
        if (isalnum((u8)*text) || strchr("-._~", *text))
            out[(*used)++] = *text;
        else
            *used += (size_t)snprintf(out + *used, size - *used, "%%%02X", (u8)*text);
    }
    out[*used] = 0;
}

static void add_header(char *out, size_t *used, const char *name, const char *value)
{
    if (*used + 2 < HEADERS)
        *used += (size_t)snprintf(out + *used, HEADERS - *used, "%s%s=", *used ? "," : "", name);
    *used = min_u64(*used, HEADERS - 1);
    encode(out, HEADERS, used, value);
}

static bool named_in(const struct config_otlp *x, struct slice name)
{
    for (size_t i = 0; i < x->headers.n; i++)
        if (slice_ieq(name, x->headers.v[i].name))
            return true;
    return false;
}

/* Entries of the list that `headers` doesn't name. */
static void add_list(char *out, size_t *used, const struct config_otlp *x)
{
    for (const char *s = x->headers_list ? x->headers_list : ""; *s;) {
        size_t n = strcspn(s, ",");
        struct slice item = slice_trim(slice_of(s, n));
        ptrdiff_t eq = slice_find(item, '=');
        if (eq > 0 && !named_in(x, slice_trim(slice_head(item, (size_t)eq))) && *used + item.n + 2 < HEADERS)
            *used += (size_t)snprintf(out + *used, HEADERS - *used, "%s%.*s", *used ? "," : "", (int)item.n, item.p);
        s += n + (s[n] == ',');
    }
}

static void add_auth(char *out, size_t *used, const struct config_otlp *x)
{
    char value[1024];
    const struct config_basic_auth *b = x->basic_auth;
    if (x->bearer_token_file) {
        snprintf(value, sizeof(value), "Bearer ${file:%s}", x->bearer_token_file);
        add_header(out, used, "Authorization", value);
    } else if (b) {
        bool file = b->password_file != NULL;
        snprintf(value, sizeof(value), "Basic ${base64:%s:%s%s%s}", b->username, file ? "${file:" : "",
                 file ? b->password_file : b->password, file ? "}" : "");
        add_header(out, used, "Authorization", value);
    }
}

static const char *headers_of(struct config *c, const struct config_otlp *x)
{
    char out[HEADERS] = "";
    size_t used = 0;
    add_list(out, &used, x);
    for (size_t i = 0; i < x->headers.n; i++)
        if (x->headers.v[i].value)
            add_header(out, &used, x->headers.v[i].name, x->headers.v[i].value);
    add_auth(out, &used, x);
    char *kept = used ? config_keep(c, used + 1) : NULL;
    if (kept)
        memcpy(kept, out, used);
    explicit_bzero(out, sizeof(out));
    return kept;
}

/* --- one exporter --- */
static const char *const signal_path[SIGNAL_MAX] = { "/v1/traces", "/v1/logs", "/v1/metrics" };

static int unix_endpoint(const struct maker *m, const char *path, bool grpc, struct export_spec *s)
{
    if (*path != '/' || strlen(path) >= sizeof(s->unix_socket))
        return refuse(m, "unix:PATH takes an absolute path of at most %zu bytes", sizeof(s->unix_socket) - 1);
    strcpy(s->unix_socket, path);
    snprintf(s->target, sizeof(s->target), "%s://localhost%s", grpc ? "grpc" : "http", grpc ? "" : signal_path[s->signal]);
    return 0;
}

static int grpc_endpoint(const struct maker *m, const struct config_otlp *x, struct export_spec *s)
{
    const char *url = x->endpoint ? x->endpoint : "http://localhost:4317", *sep = strstr(url, "://");
    bool tls = sep ? !strncmp(url, "https", 5) : !(x->tls && x->tls->insecure);
    const char *host = sep ? sep + 3 : url;
    size_t n = strcspn(host, "/?#");
    const char *bracket = memrchr(host, ']', n), *colon = memrchr(host, ':', n);
    if (!strncmp(url, "unix:", 5))
        return unix_endpoint(m, url + 5, true, s);
    if (!n || n > 900)
        return refuse(m, "no host in «endpoint»");
    snprintf(s->target, sizeof(s->target), "%s://%.*s%s", tls ? "grpcs" : "grpc", (int)n, host,
             colon && colon > (bracket ? bracket : host) ? "" : ":4317");
    return 0;
}

static int http_endpoint(const struct maker *m, const struct config_otlp *x, struct export_spec *s)
{
    if (!x->endpoint)
        snprintf(s->target, sizeof(s->target), "http://localhost:4318%s", signal_path[s->signal]);
    else if (!strncmp(x->endpoint, "unix:", 5))
        return unix_endpoint(m, x->endpoint + 5, false, s);
    else if (strlen(x->endpoint) >= sizeof(s->target))
        return refuse(m, "«endpoint» is longer than %zu characters", sizeof(s->target) - 1);
    else
        strcpy(s->target, x->endpoint);
    return 0;
}

static int otlp_spec(const struct maker *m, const struct config_otlp *x, bool grpc, struct export_spec *s)
{
    strcpy(s->kind, grpc ? "otlp-grpc" : "otlp-http");
    if (x->tls) {
        s->certificate = x->tls->ca_file;
        s->client_certificate = x->tls->cert_file;
        s->client_key = x->tls->key_file;
    }
    s->headers = headers_of(m->o->config, x);
    s->compression = x->compression;
    s->timeout_ms = x->timeout ? (u64)x->timeout : FOREVER_MS;
    s->json = !grpc && x->encoding == CONFIG_ENCODING_JSON;
    s->gzip_level = (u8)x->compression_level;
    s->proxy = x->proxy;
    return grpc ? grpc_endpoint(m, x, s) : http_endpoint(m, x, s);
}

static int file_spec(const struct maker *m, const struct config_otlp_file *x, struct export_spec *s)
{
    const char *path = !strcmp(x->output_stream, "stdout") ? "-" : x->output_stream + 7;
    strcpy(s->kind, "otlp-json");
    if (strlen(path) >= sizeof(s->target))
        return refuse(m, "«output_stream» is too long");
    strcpy(s->target, path);
    return 0;
}

static void console_spec(const struct maker *m, const struct config_console *x, struct export_spec *s)
{
    bool json = x->format == CONFIG_CONSOLE_JSON || (x->format == CONFIG_CONSOLE_AUTO && m->o->json);
    if (s->signal != SIGNAL_TRACES) { /* lines for people are made of spans only */
        strcpy(s->kind, "console:json");
        return;
    }
    strcpy(s->kind, json ? "console:json" : "console");
    strcpy(s->target, x->format == CONFIG_CONSOLE_LIVE ? "live" : x->format == CONFIG_CONSOLE_LINES ? "lines" : "");
}

static void store_spec(const struct config_store *x, struct export_spec *s)
{
    strcpy(s->kind, "store");
    if (x)
        snprintf(s->target, sizeof(s->target), "%s?size=%lld&age=%llds", x->file ? x->file : "", (long long)x->max_size,
                 (long long)(x->max_age / 1000 ? x->max_age / 1000 : 1));
}

static int exporter_spec(const struct maker *m, const struct config_exporter *x, struct export_spec *s)
{
    int code = 0;
    if (x->otlp_http || x->otlp_grpc)
        code = otlp_spec(m, x->otlp_http ? x->otlp_http : x->otlp_grpc, x->otlp_grpc != NULL, s);
    else if (x->otlp_file)
        code = file_spec(m, x->otlp_file, s);
    else if (x->console)
        console_spec(m, x->console, s);
    else if (x->store)
        store_spec(m->o->config->wftrace->store, s);
    else
        strcpy(s->kind, "zipkin");
    if (x->zipkin) {
        snprintf(s->target, sizeof(s->target), "%s", x->zipkin->endpoint);
        s->timeout_ms = x->zipkin->timeout ? (u64)x->zipkin->timeout : FOREVER_MS;
    }
    const struct exporter *e = code ? NULL : exporter_by_name(s->kind);
    if (!code && (!e || !exporter_takes(e, s->signal)))
        return refuse(m, "the exporter %s of %s is not in this version", s->kind, signal_name[s->signal]);
    return code;
}

static int add(const struct maker *m, const struct config_exporter *x, enum signal signal, const struct lane_options *lane)
{
    struct agent_options *a = &m->o->agent;
    struct export_spec s = { .signal = signal, .lane = *lane };
    if (a->n_exports == AGENT_EXPORTS)
        return refuse(m, "more than %d exporters", AGENT_EXPORTS);
    int code = exporter_spec(m, x, &s);
    if (!code)
        a->exports[a->n_exports++] = s;
    return code;
}

/* --- processors --- */
/* export_timeout of 30 s is the specification's default, and dropping what a receiver did not take for so long would lose what
 * a restart of it outlives: only a value that somebody chose is taken. */
static struct lane_options lane_of(const struct config_processor *p)
{
    const struct config_batch *b = p->batch;
    if (!b)
        return (struct lane_options){ .max_batch = 1, .delay_ms = 1 };
    struct lane_options l = { .max_queue = (u32)b->max_queue_size,
                              .max_batch = (u32)b->max_export_batch_size,
                              .delay_ms = (u32)min_u64((u64)b->schedule_delay, UINT32_MAX) };
    l.delay_ms = l.delay_ms ? l.delay_ms : 1;
    if (b->export_timeout != 30000)
        l.retry_for_ms = b->export_timeout ? (u64)b->export_timeout : UINT64_MAX / NSEC_PER_SEC;
    return l;
}

static int add_processors(struct maker *m, const char *provider, const struct config_processor *v, size_t n, enum signal signal)
{
    int code = 0;
    for (size_t i = 0; i < n && !code; i++) {
        struct lane_options lane = lane_of(&v[i]);
        snprintf(m->path, sizeof(m->path), "%s.processors[%zu].%s.exporter", provider, i, v[i].batch ? "batch" : "simple");
        code = add(m, v[i].batch ? v[i].batch->exporter : v[i].simple->exporter, signal, &lane);
    }
    return code;
}

/* One more of what follows the `?` of prometheus=HOST:PORT. */
static void scraped_option(char *target, size_t size, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static void scraped_option(char *target, size_t size, const char *fmt, ...)
{
    size_t n = strlen(target);
    va_list ap;
    if (n + 2 >= size)
        return;
    target[n] = strchr(target, '?') ? '&' : '?';
    va_start(ap, fmt);
    vsnprintf(target + n + 1, size - n - 1, fmt, ap);
    va_end(ap);
}

static void scraped_labels(char *target, size_t size, const struct config_selection *c)
{
    char list[800] = "";
    for (size_t i = 0; i < c->excluded.n; i++) /* they win */
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s!%s", *list ? "," : "", c->excluded.v[i]);
    for (size_t i = 0; i < c->included.n; i++)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s%s", *list ? "," : "", c->included.v[i]);
    if (!c->included.n)
        snprintf(list + strlen(list), sizeof(list) - strlen(list), "%s*", *list ? "," : "");
    scraped_option(target, size, "resource_labels=%s", list);
}

/* "user:password", or a reference to the password's file, which is read again when it changes. */
static int scraped_user(const struct maker *m, const struct config_basic_auth *b, const char **ret)
{
    const char *file = b->password_file, *user = b->username ? b->username : "";
    const char *password = file ? file : b->password ? b->password : "";
    size_t size = strlen(user) + strlen(password) + 16;
    char *line = config_keep(m->o->config, size);
    if (!line)
        return refuse(m, "out of memory");
    snprintf(line, size, "%s:%s%s%s", user, file ? "${file:" : "", password, file ? "}" : "");
    *ret = line;
    return 0;
}

static int add_scraped(const struct maker *m, const struct config_prometheus *x)
{
    static const char *const translations[] = { [CONFIG_TRANSLATION_UNDERSCORES] = "underscore_escaping_with_suffixes",
                                                [CONFIG_TRANSLATION_NO_SUFFIXES] = "underscore_escaping_without_suffixes",
                                                [CONFIG_TRANSLATION_UTF8] = "no_utf8_escaping_with_suffixes",
                                                [CONFIG_TRANSLATION_NONE] = "no_translation" };
    struct agent_options *a = &m->o->agent;
    struct export_spec s = { .kind = "prometheus", .signal = SIGNAL_METRICS };
    bool v6 = strchr(x->host, ':') && *x->host != '[';
    int code = x->basic_auth ? scraped_user(m, x->basic_auth, &s.headers) : 0;
    if (code)
        return code;
    if (x->tls && x->tls->ca_file && !x->tls->cert_file)
        return refuse(m, "tls.ca_file: certificates of scrapers want TLS: cert_file and key_file are missing");
    if (a->n_exports == AGENT_EXPORTS)
        return refuse(m, "more than %d exporters", AGENT_EXPORTS);
    snprintf(s.target, sizeof(s.target), "%s%s%s:%lld", v6 ? "[" : "", x->host, v6 ? "]" : "", (long long)x->port);
    if (x->translation_strategy >= 0 && x->translation_strategy < (int)ARRAY_LEN(translations))
        scraped_option(s.target, sizeof(s.target), "translation=%s", translations[x->translation_strategy]);
    scraped_option(s.target, sizeof(s.target), "target_info=%s&scope_labels=%s", x->target_info ? "on" : "off",
                   x->scope_info ? "on" : "off");
    if (x->tls && x->tls->cert_file)
        scraped_option(s.target, sizeof(s.target), "cert=%s&key=%s", x->tls->cert_file, x->tls->key_file ? x->tls->key_file : "");
    if (x->tls && x->tls->ca_file)
        scraped_option(s.target, sizeof(s.target), "ca=%s", x->tls->ca_file);
    if (x->resource_constant_labels)
        scraped_labels(s.target, sizeof(s.target), x->resource_constant_labels);
    a->exports[a->n_exports++] = s;
    return 0;
}

static int add_readers(struct maker *m, const struct config_meter_provider *p)
{
    int code = 0;
    for (size_t i = 0; i < p->readers.n && !code; i++) {
        const struct config_periodic *r = p->readers.v[i].periodic;
        struct lane_options lane = { 0 };
        snprintf(m->path, sizeof(m->path), "meter_provider.readers[%zu]", i);
        code = r ? add(m, r->exporter, SIGNAL_METRICS, &lane) : add_scraped(m, p->readers.v[i].pull->exporter->prometheus);
    }
    return code;
}

/* -e on the command line: their lanes still batch as the first processor of the signal says. */
static void lanes_of_options(struct options *o)
{
    const struct config_tracer_provider *t = o->config->tracer_provider;
    const struct config_logger_provider *l = o->config->logger_provider;
    for (size_t i = 0; i < o->agent.n_exports; i++) {
        struct export_spec *s = &o->agent.exports[i];
        if (s->signal == SIGNAL_TRACES && t)
            s->lane = lane_of(&t->processors.v[0]);
        if (s->signal == SIGNAL_LOGS && l)
            s->lane = lane_of(&l->processors.v[0]);
    }
}

/* wftrace.self.listen: the same page, with health beside it. */
static int add_self(struct maker *m)
{
    const struct config_self *self = m->o->config->wftrace->self;
    struct agent_options *a = &m->o->agent;
    if (!self || !self->listen)
        return 0;
    snprintf(m->path, sizeof(m->path), "wftrace.self.listen");
    if (a->n_exports == AGENT_EXPORTS)
        return refuse(m, "more than %d exporters", AGENT_EXPORTS);
    struct export_spec *s = &a->exports[a->n_exports++];
    *s = (struct export_spec){ .kind = "prometheus", .signal = SIGNAL_METRICS };
    snprintf(s->target, sizeof(s->target), "%s", self->listen);
    return 0;
}

int apply_exporters(struct options *o, char *err, size_t err_size)
{
    const struct config *c = o->config;
    struct maker m = { .o = o, .err = err, .err_size = err_size };
    int code = 0;
    if (o->agent.n_exports) {
        lanes_of_options(o);
        return add_self(&m);
    }
    if (c->tracer_provider)
        code = add_processors(&m, "tracer_provider", c->tracer_provider->processors.v, c->tracer_provider->processors.n,
                              SIGNAL_TRACES);
    if (!code && c->logger_provider)
        code = add_processors(&m, "logger_provider", c->logger_provider->processors.v, c->logger_provider->processors.n,
                              SIGNAL_LOGS);
    if (!code && c->meter_provider)
        code = add_readers(&m, c->meter_provider);
    return code ? code : add_self(&m);
}
