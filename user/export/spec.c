/* What the user says after --export, and the OTEL_EXPORTER_OTLP_* variables (OpenTelemetry specification, «OpenTelemetry
 * Protocol Exporter»): the signal's form (_TRACES_, _LOGS_, _METRICS_) of a variable wins over the general one, an empty variable counts as unset.
 * Everything that can be wrong is said here, before anything runs. */
#include "export/prometheus.h"
#include "export/exporter.h"

#include <ctype.h>
#include <unistd.h>

#define EXPORTER(symbol) extern const struct exporter exporter_##symbol;
#include "export/exporter.def"
#undef EXPORTER

const struct exporter *const exporters[] = {
#define EXPORTER(symbol) &exporter_##symbol,
#include "export/exporter.def"
#undef EXPORTER
    NULL,
};

static const char *const signal_path[SIGNAL_MAX] = { "/v1/traces", "/v1/logs", "/v1/metrics" };
static const char *const signal_infix[SIGNAL_MAX] = { "TRACES_", "LOGS_", "METRICS_" };

struct err_text {
    char *p;
    size_t size;
};

#define BAD(err, ...) (snprintf((err)->p, (err)->size, __VA_ARGS__), -EINVAL)

/* The value of OTEL_EXPORTER_OTLP_[<signal>_]<name> or NULL; *ret_name, when asked for, is the variable that had it. */
static const char *otel_env(enum signal signal, const char *name, char *ret_name, size_t size)
{
    for (size_t general = 0; general < 2; general++) {
        char var[64];
        snprintf(var, sizeof(var), "OTEL_EXPORTER_OTLP_%s%s", general ? "" : signal_infix[signal], name);
        const char *value = getenv(var);
        if (!value || !*value)
            continue;
        if (ret_name)
            snprintf(ret_name, size, "%s", var);
        return value;
    }
    return NULL;
}

struct url {
    struct slice scheme, authority, host, port, rest; /* rest: path and query, from its '/' on */
};

static bool url_split(const char *text, struct url *u)
{
    const char *sep = strstr(text, "://");
    if (!sep)
        return false;
    const char *auth = sep + 3;
    size_t n = strcspn(auth, "/?#");
    u->scheme = slice_of(text, (size_t)(sep - text));
    u->authority = slice_of(auth, n);
    u->rest = slice_str(auth + n);
    const char *close = *auth == '[' ? memchr(auth, ']', n) : NULL;
    struct slice tail = slice_from(u->authority, close ? (size_t)(close - auth) : 0);
    ptrdiff_t colon = slice_find(tail, ':');
    u->host = colon < 0 ? u->authority : slice_of(auth, (size_t)(tail.p + colon - u->authority.p));
    u->port = colon < 0 ? slice_of("", 0) : slice_from(tail, (size_t)colon + 1);
    return true;
}

static const char *const schemes[] = { "http", "https", "grpc", "grpcs" };

/* unix:PATH is OTLP/HTTP, grpc+unix:PATH OTLP/gRPC, over a Unix socket. */
static const char *unix_path(const char *text, bool *ret_grpc)
{
    *ret_grpc = !strncmp(text, "grpc+unix:", 10);
    const char *path = *ret_grpc ? text + 10 : !strncmp(text, "unix:", 5) ? text + 5 : NULL;
    if (path && !strncmp(path, "//", 2))
        path += 2;
    return path;
}

static int scheme_check(const char *where, const char *text, const struct url *u, struct err_text *err)
{
    char word[32];
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++)
        if (slice_eq(u->scheme, schemes[i]))
            return 0;
    snprintf(word, sizeof(word), "%.*s", (int)min_u64(u->scheme.n, sizeof(word) - 1), u->scheme.p);
    const char *near = nearest_word(word, schemes, ARRAY_LEN(schemes));
    return BAD(err, "%s: unknown scheme '%s' in %s%s%s%s; use http, https (OTLP/HTTP), grpc or grpcs (OTLP/gRPC)", where, word,
               text, near ? ": did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int url_check(const char *where, const char *text, struct url *u, struct err_text *err)
{
    u64 port;
    for (const char *c = text; *c; c++)
        if ((u8)*c <= ' ' || *c == 0x7f)
            return BAD(err, "%s: a blank or control character at column %d of the URL", where, (int)(c - text) + 1);
    if (strlen(text) > 900)
        return BAD(err, "%s: the URL is longer than 900 characters", where);
    if (!url_split(text, u))
        return BAD(err, "%s: '%s' has no scheme; write http://%s for OTLP/HTTP or grpc://%s for OTLP/gRPC", where, text, text,
                   text);
    int e = scheme_check(where, text, u, err);
    if (e)
        return e;
    if (slice_find(u->authority, '@') >= 0)
        return BAD(err, "%s: no user or password in the URL; put them in OTEL_EXPORTER_OTLP_HEADERS=Authorization=…", where);
    if (!u->host.n)
        return BAD(err, "%s: no host in %s", where, text);
    if (u->port.p && u->port.n && (slice_u64(u->port, &port) || port < 1 || port > 65535))
        return BAD(err, "%s: '%.*s' is not a port (1 to 65535)", where, (int)u->port.n, u->port.p);
    return 0;
}

/* OTLP/HTTP: `append` says when the signal's path is added: always (the general variable's URL is a base) or only when the
 * URL has none. OTLP/gRPC: the default port is 4317, a path has no meaning. */
static void target_write(const struct url *u, bool append_always, struct export_spec *ret)
{
    bool grpc = slice_starts(u->scheme, "grpc");
    struct slice path = slice_head(u->rest, strcspn((const char *)u->rest.p, "?#"));
    struct slice query = slice_from(u->rest, path.n);
    while (path.n && path.p[path.n - 1] == '/' && (append_always || path.n == 1))
        path.n--;
    bool append = !grpc && (append_always || !path.n);
    snprintf(ret->kind, sizeof(ret->kind), "%s", grpc ? "otlp-grpc" : "otlp-http");
    if (grpc)
        path.n = query.n = 0;
    snprintf(ret->target, sizeof(ret->target), "%.*s://%.*s%s%.*s%s%.*s", (int)u->scheme.n, u->scheme.p, (int)u->authority.n,
             u->authority.p, grpc && !u->port.n ? ":4317" : "", (int)path.n, path.p, append ? signal_path[ret->signal] : "",
             (int)query.n, query.p);
}

enum otlp_protocol { PROTOCOL_HTTP, PROTOCOL_GRPC, PROTOCOL_JSON };

static int protocol_from_env(enum signal signal, enum otlp_protocol *ret, struct err_text *err)
{
    static const char *const known[] = { "http/protobuf", "grpc", "http/json" };
    char var[64] = "";
    const char *p = otel_env(signal, "PROTOCOL", var, sizeof(var));
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (!p || !strcmp(p, known[i])) {
            *ret = (enum otlp_protocol)i;
            return 0;
        }
    const char *near = nearest_word(p, known, ARRAY_LEN(known));
    return BAD(err, "%s=%s is not supported%s%s%s; use grpc, http/protobuf or http/json", var, p, near ? ": did you mean " : "",
               near ? near : "", near ? "?" : "");
}

/* unix:PATH or grpc+unix:PATH. The URL is what the request says; the socket is where it goes. */
static int unix_target(const char *where, const char *path, bool grpc, struct export_spec *ret, struct err_text *err)
{
    if (*path != '/' || strlen(path) >= sizeof(ret->unix_socket))
        return BAD(err, "%s: a Unix socket needs an absolute path of at most %zu bytes", where, sizeof(ret->unix_socket) - 1);
    strcpy(ret->unix_socket, path);
    snprintf(ret->kind, sizeof(ret->kind), "%s", grpc ? "otlp-grpc" : "otlp-http");
    snprintf(ret->target, sizeof(ret->target), "%s://localhost%s", grpc ? "grpc" : "http", grpc ? "" : signal_path[ret->signal]);
    return 0;
}

/* `otlp` with no URL: the endpoint variables, else the specified default on this host. */
static int otlp_from_env(enum otlp_protocol protocol, struct export_spec *ret, struct err_text *err)
{
    char var[64] = "the default endpoint", as_grpc[1024];
    const char *text = otel_env(ret->signal, "ENDPOINT", var, sizeof(var));
    bool grpc = protocol == PROTOCOL_GRPC, general = !text || !strcmp(var, "OTEL_EXPORTER_OTLP_ENDPOINT"), by_scheme;
    struct url u;
    if (!text)
        text = grpc ? "http://localhost:4317" : "http://localhost:4318";
    const char *path = unix_path(text, &by_scheme);
    if (path)
        return unix_target(var, path, grpc || by_scheme, ret, err);
    if (grpc && !strncmp(text, "http", 4) && strlen(text) < sizeof(as_grpc) - 2) { /* http → grpc, https → grpcs */
        snprintf(as_grpc, sizeof(as_grpc), "grpc%s", text + 4);
        text = as_grpc;
    }
    int e = url_check(var, text, &u, err);
    if (!e)
        target_write(&u, general, ret);
    if (!e && !general && slice_starts(u.scheme, "http")) /* the signal's own variable is used as it is */
        snprintf(ret->target, sizeof(ret->target), "%s", text);
    return e;
}

static int otlp_from_url(const char *text, struct export_spec *ret, struct err_text *err)
{
    struct url u;
    bool grpc;
    const char *path = unix_path(text, &grpc);
    if (path)
        return unix_target("--export otlp", path, grpc, ret, err);
    int e = url_check("--export otlp", text, &u, err);
    if (!e)
        target_write(&u, false, ret);
    return e;
}

static bool token_char(char c) { return isalnum((u8)c) || (c && strchr("!#$%&'*+-.^_`|~", c)); }

static int headers_check(const char *var, const char *list, struct err_text *err)
{
    int item = 1;
    for (const char *s = list; *s; item++) {
        size_t n = strcspn(s, ",");
        struct slice pair = slice_trim(slice_of(s, n));
        ptrdiff_t eq = slice_find(pair, '=');
        struct slice key = slice_trim(slice_head(pair, eq < 0 ? 0 : (size_t)eq));
        if (pair.n && !key.n)
            return BAD(err, "%s: item %d is not key=value (items are separated by commas)", var, item);
        for (size_t i = 0; i < key.n; i++)
            if (!token_char((char)key.p[i]))
                return BAD(err, "%s: the name of item %d has a character that no header name may have", var, item);
        s += n + (s[n] == ',');
    }
    return 0;
}

static int options_from_env(struct export_spec *ret, struct err_text *err)
{
    char var[64] = "";
    ret->certificate = otel_env(ret->signal, "CERTIFICATE", NULL, 0);
    ret->client_certificate = otel_env(ret->signal, "CLIENT_CERTIFICATE", NULL, 0);
    ret->client_key = otel_env(ret->signal, "CLIENT_KEY", NULL, 0);
    ret->headers = otel_env(ret->signal, "HEADERS", var, sizeof(var));
    int e = ret->headers ? headers_check(var, ret->headers, err) : 0;
    if (e)
        return e;
    ret->compression = otel_env(ret->signal, "COMPRESSION", var, sizeof(var));
    if (ret->compression && strcmp(ret->compression, "gzip") && strcmp(ret->compression, "none"))
        return BAD(err, "%s=%s is not supported; use gzip or none", var, ret->compression);
    const char *timeout = otel_env(ret->signal, "TIMEOUT", var, sizeof(var));
    if (timeout && (slice_u64(slice_str(timeout), &ret->timeout_ms) || !ret->timeout_ms || ret->timeout_ms > 3600000))
        return BAD(err, "%s=%s is not a number of milliseconds (1 to 3600000)", var, timeout);
    return 0;
}

static int parse_otlp(const char *rest, struct export_spec *ret, struct err_text *err)
{
    enum otlp_protocol protocol = PROTOCOL_HTTP;
    if (*rest == ':')
        return BAD(err, "--export otlp%s: write otlp=%s", rest, rest + 1);
    int e = protocol_from_env(ret->signal, &protocol, err);
    if (!e)
        e = *rest ? otlp_from_url(rest + 1, ret, err) : otlp_from_env(protocol, ret, err);
    ret->json = protocol == PROTOCOL_JSON && !strcmp(ret->kind, "otlp-http");
    return e ? e : options_from_env(ret, err);
}

static int parse_console(const char *rest, struct export_spec *ret, struct err_text *err)
{
    static const char *const modes[] = { "json", "live", "lines" };
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    bool json = !strcmp(rest, ":json") || !strncmp(rest, ":json:", 6);
    ret->color = isatty(STDERR_FILENO) && !(no_color && *no_color) && !(term && !strcmp(term, "dumb"));
    snprintf(ret->kind, sizeof(ret->kind), "%s", json ? "console:json" : "console");
    if (*rest == ':' && !json && strcmp(rest, ":live") && strcmp(rest, ":lines")) {
        const char *near = nearest_word(rest + 1, modes, ARRAY_LEN(modes));
        return BAD(err, "--export console%s: unknown mode%s%s%s; use console, console:json, console:live or console:lines", rest,
                   near ? ", did you mean " : "", near ? near : "", near ? "?" : "");
    }
    if (*rest == '=')
        return BAD(err, "--export console%s: write console or console:json", rest);
    const char *target = json ? (rest[5] ? rest + 6 : "") : (*rest ? rest + 1 : "");
    snprintf(ret->target, sizeof(ret->target), "%s", target);
    return 0;
}

static int file_option(struct slice item, struct export_spec *ret)
{
    u64 n;
    if (slice_starts(item, "rotate="))
        return export_size_parse(slice_from(item, 7), &ret->rotate_bytes);
    if (!slice_starts(item, "keep=") || slice_u64(slice_from(item, 5), &n) || !n || n > 1000)
        return -EINVAL;
    ret->keep = (u32)n;
    return 0;
}

/* FILE?rotate=100MB&keep=5. A '?' that neither word follows belongs to the name. */
static int file_options(char *target, struct export_spec *ret, struct err_text *err)
{
    char *at = strrchr(target, '?');
    if (!at || (strncmp(at, "?rotate=", 8) && strncmp(at, "?keep=", 6)))
        return 0;
    *at++ = 0;
    for (size_t n; *at; at += n + (at[n] == '&')) {
        n = strcspn(at, "&");
        if (file_option(slice_of(at, n), ret))
            return BAD(err, "--export otlp-json: '%.*s' is none of rotate=100MB, keep=5", (int)n, at);
    }
    return 0;
}

static int parse_otlp_json(const char *rest, struct export_spec *ret, struct err_text *err)
{
    if (!*rest || !rest[1])
        return BAD(err, "--export otlp-json: name a file, otlp-json:FILE ('-' is standard output)");
    if (strlen(rest + 1) >= sizeof(ret->target))
        return BAD(err, "--export otlp-json: the file's name is too long");
    snprintf(ret->kind, sizeof(ret->kind), "otlp-json");
    snprintf(ret->target, sizeof(ret->target), "%s", rest + 1);
    return file_options(ret->target, ret, err);
}

/* zipkin=URL; OTEL_EXPORTER_ZIPKIN_ENDPOINT and _TIMEOUT. */
static int parse_zipkin(const char *rest, struct export_spec *ret, struct err_text *err)
{
    const char *env = getenv("OTEL_EXPORTER_ZIPKIN_ENDPOINT"), *timeout = getenv("OTEL_EXPORTER_ZIPKIN_TIMEOUT");
    const char *text = *rest ? rest + 1 : env && *env ? env : "http://localhost:9411/api/v2/spans";
    struct url u;
    if (*rest == ':')
        return BAD(err, "--export zipkin%s: write zipkin=%s", rest, rest + 1);
    int e = url_check(*rest ? "--export zipkin" : "OTEL_EXPORTER_ZIPKIN_ENDPOINT", text, &u, err);
    if (e)
        return e;
    if (slice_starts(u.scheme, "grpc"))
        return BAD(err, "--export zipkin=%s: Zipkin speaks http or https", text);
    size_t path = strcspn((const char *)u.rest.p, "?#");
    bool bare = !path || (path == 1 && u.rest.p[0] == '/');
    snprintf(ret->kind, sizeof(ret->kind), "zipkin");
    snprintf(ret->target, sizeof(ret->target), "%.*s%s%s", (int)(u.rest.p - (const u8 *)text), text, bare ? "/api/v2/spans" : "",
             (const char *)u.rest.p + (bare ? path : 0));
    if (timeout && *timeout && (slice_u64(slice_str(timeout), &ret->timeout_ms) || !ret->timeout_ms))
        return BAD(err, "OTEL_EXPORTER_ZIPKIN_TIMEOUT=%s is not a number of milliseconds", timeout);
    return 0;
}

/* `prometheus` alone: OTEL_EXPORTER_PROMETHEUS_HOST and _PORT, else the specified localhost:9464. */
static int parse_prometheus(const char *rest, struct export_spec *ret, struct err_text *err)
{
    struct prometheus_options o;
    const char *host = getenv("OTEL_EXPORTER_PROMETHEUS_HOST"), *port = getenv("OTEL_EXPORTER_PROMETHEUS_PORT");
    snprintf(ret->kind, sizeof(ret->kind), "prometheus");
    if (*rest == ':')
        return BAD(err, "--export prometheus%s: write prometheus=%s", rest, rest + 1);
    if (*rest)
        snprintf(ret->target, sizeof(ret->target), "%s", rest + 1);
    else
        snprintf(ret->target, sizeof(ret->target), "%s:%s", host && *host ? host : "localhost", port && *port ? port : "9464");
    return prometheus_options_parse(ret->target, &o, err->p, err->size);
}

static int parse_store(const char *rest, struct export_spec *ret, struct err_text *err)
{
    if (*rest == '=')
        return BAD(err, "--export store%s: write store or store:FILE", rest);
    if (strlen(rest) > sizeof(ret->target))
        return BAD(err, "--export store: the file's name is too long");
    snprintf(ret->kind, sizeof(ret->kind), "store");
    snprintf(ret->target, sizeof(ret->target), "%s", *rest ? rest + 1 : "");
    return 0;
}

static int parse_plugin(const char *rest, struct export_spec *ret, struct err_text *err)
{
    if (*rest != ':' || !rest[1] || strlen(rest + 1) >= sizeof(ret->target))
        return BAD(err, "--export plugin%s: name a shared object, plugin:FILE or plugin:FILE,CONFIG", rest);
    snprintf(ret->kind, sizeof(ret->kind), "plugin");
    snprintf(ret->target, sizeof(ret->target), "%s", rest + 1);
    return 0;
}

static const struct kind {
    const char *name;
    int (*parse)(const char *rest, struct export_spec *ret, struct err_text *err);
} kinds[] = { { "console", parse_console },       { "otlp", parse_otlp },
              { "otlp-json", parse_otlp_json },   { "zipkin", parse_zipkin },
              { "prometheus", parse_prometheus }, { "store", parse_store },
              { "plugin", parse_plugin } };

static int kind_unknown(const char *text, size_t n, struct err_text *err)
{
    const char *names[ARRAY_LEN(kinds)];
    char word[64];
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        names[i] = kinds[i].name;
    snprintf(word, sizeof(word), "%.*s", (int)min_u64(n, sizeof(word) - 1), text);
    const char *near = nearest_word(word, names, ARRAY_LEN(names));
    return BAD(err,
               "--export %s: unknown exporter '%s'%s%s%s; use console, console:json, otlp=URL, otlp-json:FILE, zipkin=URL, "
               "prometheus=HOST:PORT, store or plugin:FILE",
               text, word, near ? ", did you mean '" : "", near ? near : "", near ? "'?" : "");
}

static int parse(const char *text, struct export_spec *ret, struct err_text *err)
{
    size_t n = strcspn(text, "=:");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (slice_eq(slice_of(text, n), kinds[i].name))
            return kinds[i].parse(text + n, ret, err);
    return kind_unknown(text, n, err);
}

int export_spec_parse(const char *text, enum signal signal, struct export_spec *ret, char *err, size_t err_size)
{
    struct err_text where = { err, err_size };
    struct export_spec spec = { .signal = signal };
    int e = parse(text, &spec, &where);
    if (e)
        return e;
    const struct exporter *x = exporter_by_name(spec.kind);
    if (!x || !exporter_takes(x, signal))
        return -EOPNOTSUPP;
    if (signal == SIGNAL_METRICS && !strcmp(spec.kind, "console:json"))
        return -EOPNOTSUPP; /* who looks at spans has not asked for metrics: a configuration does */
    *ret = spec;
    return 0;
}

/* OTEL_<signal>_EXPORTER=none leaves the signal out of what would carry all three over the network. */
static bool is_off(const struct export_spec *s)
{
    static const char *const own[SIGNAL_MAX] = { "OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER" };
    const char *value = getenv(own[s->signal]);
    return value && !strcmp(value, "none") && (!strcmp(s->kind, "otlp-http") || !strcmp(s->kind, "otlp-grpc"));
}

/* One address for all signals: logs and metrics are named by a variable of theirs, or not at all. */
static bool is_implied(const struct export_spec *s)
{
    static const char *const own[SIGNAL_MAX][2] = {
        [SIGNAL_LOGS] = { "OTEL_LOGS_EXPORTER", "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT" },
        [SIGNAL_METRICS] = { "OTEL_METRICS_EXPORTER", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT" },
    };
    if (s->signal == SIGNAL_TRACES || (strcmp(s->kind, "otlp-http") && strcmp(s->kind, "otlp-grpc")))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(own[0]); i++)
        if (getenv(own[s->signal][i]))
            return false;
    return true;
}

int export_specs_parse(const char *text, struct export_spec ret[SIGNAL_MAX], size_t *ret_n, char *err, size_t err_size)
{
    size_t n = 0;
    for (enum signal signal = 0; signal < SIGNAL_MAX; signal++) {
        int e = export_spec_parse(text, signal, &ret[n], err, err_size);
        if (e && e != -EOPNOTSUPP)
            return e;
        if (e || is_off(&ret[n]))
            continue;
        ret[n].implied = is_implied(&ret[n]);
        n++;
    }
    if (!n) {
        snprintf(err, err_size,
                 "OTEL_TRACES_EXPORTER, OTEL_LOGS_EXPORTER and OTEL_METRICS_EXPORTER are «none»: nothing is left to send");
        return -EINVAL;
    }
    *ret_n = n;
    return 0;
}
