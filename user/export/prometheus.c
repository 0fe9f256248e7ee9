/* The scrape port. A scrape asks the metrics stage for a collection and waits for it a moment; the page is made of that one
 * collection, so that its numbers agree with each other, and kept: scrapers that come at the same time share it, and whoever
 * comes within a quarter of a second gets the same one again. If no collection comes, the last one is served.
 *
 * /metrics, /healthz (200 while the tracer comes round), /readyz (200 when it traces). */
#include "export/prometheus.h"
#include "export/serve.h"
#include "self/health.h"

#include <pthread.h>
#include <time.h>

#define PAGE_MAX  (256u << 20)
#define FRESH_NS  (NSEC_PER_SEC / 4)
#define WAIT_MS   1500
#define FORMS     4
#define TEXT_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define OPEN_TYPE "application/openmetrics-text; version=1.0.0; charset=utf-8"
#define TEXT_UTF8 "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
#define OPEN_UTF8 "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8"

/* A page, shared by the connections that are sending it. */
struct body {
    int refs; /* atomic */
    struct json text;
};

struct prometheus {
    struct prometheus_options o;
    struct serve *serve;
    pthread_mutex_t lock;
    pthread_cond_t came;
    struct metric_batch *latest;
    u64 came_at, n_came; /* boot clock; collections so far */
    struct body *page[FORMS];
    bool closing;
};

/* --- options --- */

struct option_key {
    const char *name;
    size_t off, size; /* of a text */
};
static const struct option_key option_keys[] = {
    { "cert", offsetof(struct prometheus_options, certificate), 256 },
    { "key", offsetof(struct prometheus_options, key), 256 },
    { "ca", offsetof(struct prometheus_options, ca), 256 },
    { "passwords", offsetof(struct prometheus_options, passwords), 256 },
};
static const char *const translations[] = { [TRANSLATE_ESCAPE_SUFFIX] = "underscore_escaping_with_suffixes",
                                            [TRANSLATE_ESCAPE] = "underscore_escaping_without_suffixes",
                                            [TRANSLATE_SUFFIX] = "no_utf8_escaping_with_suffixes",
                                            [TRANSLATE_NOT] = "no_translation" };

static int bad(char *err, size_t size, const char *what, struct slice word, const char *instead)
{
    snprintf(err, size, "prometheus: %s '%.*s'; %s", what, (int)min_u64(word.n, 100), (const char *)word.p, instead);
    return -EINVAL;
}

static int labels_parse(struct slice list, struct prometheus_options *o, char *err, size_t err_size)
{
    while (list.n) {
        ptrdiff_t comma = slice_find(list, ',');
        struct slice one = comma < 0 ? list : slice_head(list, (size_t)comma);
        list = comma < 0 ? slice_of(NULL, 0) : slice_from(list, (size_t)comma + 1);
        if (o->n_labels == PROMETHEUS_LABELS || one.n >= sizeof(o->labels[0]))
            return bad(err, err_size, "too many or too long resource_labels at", one, "16 of 63 characters at most");
        snprintf(o->labels[o->n_labels++], sizeof(o->labels[0]), "%.*s", (int)one.n, (const char *)one.p);
    }
    return 0;
}

static int option_parse(struct slice key, struct slice value, struct prometheus_options *o, char *err, size_t err_size)
{
    for (size_t i = 0; i < ARRAY_LEN(option_keys); i++) {
        if (!slice_eq(key, option_keys[i].name))
            continue;
        if (!value.n || value.n >= option_keys[i].size)
            return bad(err, err_size, "no file, or too long a name, after", key, "give a file");
        snprintf((char *)o + option_keys[i].off, option_keys[i].size, "%.*s", (int)value.n, (const char *)value.p);
        return 0;
    }
    if (slice_eq(key, "resource_labels"))
        return labels_parse(value, o, err, err_size);
    if (slice_eq(key, "target_info") || slice_eq(key, "scope_labels")) {
        if (!slice_eq(value, "on") && !slice_eq(value, "off"))
            return bad(err, err_size, "a switch is on or off, not", value, "write on or off");
        *(slice_eq(key, "target_info") ? &o->no_target_info : &o->no_scope) = slice_eq(value, "off");
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(translations) && slice_eq(key, "translation"); i++)
        if (slice_eq(value, translations[i])) {
            o->translation = (enum prometheus_translation)i;
            return 0;
        }
    if (slice_eq(key, "translation"))
        return bad(
            err, err_size, "unknown translation", value,
            "use underscore_escaping_with_suffixes, underscore_escaping_without_suffixes, no_utf8_escaping_with_suffixes or "
            "no_translation");
    return bad(err, err_size, "unknown option", key,
               "there are cert, key, ca, passwords, resource_labels, translation, target_info, scope_labels");
}

static int listen_parse(struct slice at, struct prometheus_options *o, char *err, size_t err_size)
{
    ptrdiff_t colon = -1;
    for (size_t i = 0; i < at.n; i++)
        colon = at.p[i] == ':' ? (ptrdiff_t)i : colon;
    struct slice host = colon < 0 ? at : slice_head(at, (size_t)colon),
                 port = colon < 0 ? slice_of(NULL, 0) : slice_from(at, (size_t)colon + 1);
    u64 number = 9464;
    if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = slice_of(host.p + 1, host.n - 2);
    if (host.n >= sizeof(o->host) || (colon >= 0 && (slice_u64(port, &number) || number > 65535)))
        return bad(err, err_size, "cannot listen on", at, "write HOST:PORT, for instance localhost:9464");
    snprintf(o->host, sizeof(o->host), "%.*s", (int)host.n, (const char *)host.p);
    o->port = (u16)number;
    return 0;
}

int prometheus_options_parse(const char *text, struct prometheus_options *ret, char *err, size_t err_size)
{
    struct prometheus_options o = { 0 };
    struct slice rest = slice_str(text);
    ptrdiff_t mark = slice_find(rest, '?');
    int e = listen_parse(mark < 0 ? rest : slice_head(rest, (size_t)mark), &o, err, err_size);
    rest = mark < 0 ? slice_of(NULL, 0) : slice_from(rest, (size_t)mark + 1);
    while (!e && rest.n) {
        ptrdiff_t amp = slice_find(rest, '&');
        struct slice pair = amp < 0 ? rest : slice_head(rest, (size_t)amp);
        rest = amp < 0 ? slice_of(NULL, 0) : slice_from(rest, (size_t)amp + 1);
        ptrdiff_t eq = slice_find(pair, '=');
        e = option_parse(eq < 0 ? pair : slice_head(pair, (size_t)eq),
                         eq < 0 ? slice_of(NULL, 0) : slice_from(pair, (size_t)eq + 1), &o, err, err_size);
    }
    if (!e && !o.certificate[0] != !o.key[0])
        e = bad(err, err_size, "TLS wants both", slice_str("cert and key"), "one is missing");
    if (!e && o.ca[0] && !o.certificate[0])
        e = bad(err, err_size, "certificates of scrapers want TLS:", slice_str("ca"), "cert and key are missing");
    if (!e)
        *ret = o;
    return e;
}

/* --- pages --- */

static void body_unref(void *arg)
{
    struct body *b = arg;
    if (!b || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL))
        return;
    json_done(&b->text);
    free(b);
}

static void pages_forget(struct prometheus *p)
{
    for (size_t i = 0; i < FORMS; i++) {
        body_unref(p->page[i]);
        p->page[i] = NULL;
    }
}

/* Waits, with the lock held, for a collection that was made after now; not if one came a moment ago. */
static void wait_for_fresh(struct prometheus *p)
{
    struct timespec until;
    u64 n = p->n_came;
    if (p->latest && clock_boot_ns() < p->came_at + FRESH_NS)
        return;
    metric_ask();
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += WAIT_MS % 1000 * (long)NSEC_PER_MSEC;
    until.tv_sec += WAIT_MS / 1000 + until.tv_nsec / (long)NSEC_PER_SEC;
    until.tv_nsec %= (long)NSEC_PER_SEC;
    while (p->n_came == n && !p->closing)
        if (pthread_cond_timedwait(&p->came, &p->lock, &until))
            return;
}

static struct body *body_make(struct prometheus *p, struct prometheus_form form)
{
    struct body *b = calloc(1, sizeof(*b));
    if (!b)
        return NULL;
    b->refs = 1;
    b->text.max = PAGE_MAX;
    static const struct metric_batch nothing;
    prometheus_write(&b->text, p->latest ? p->latest : &nothing, &p->o, form);
    if (b->text.failed) {
        body_unref(b);
        return NULL;
    }
    return b;
}

static void metrics_answer(struct prometheus *p, const struct serve_request *q, struct serve_reply *ret)
{
    static const char *const types[FORMS] = { TEXT_TYPE, OPEN_TYPE, TEXT_UTF8, OPEN_UTF8 };
    struct prometheus_form form = { strstr(q->accept, "application/openmetrics-text"),
                                    strstr(q->accept, "escaping=allow-utf-8") };
    size_t which = (size_t)form.openmetrics + 2 * (size_t)form.utf8;
    pthread_mutex_lock(&p->lock);
    wait_for_fresh(p);
    if (!p->page[which])
        p->page[which] = body_make(p, form);
    struct body *b = p->page[which];
    if (b)
        __atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&p->lock);
    if (!b) {
        ret->status = 503;
        ret->body = "too much for memory\n";
        ret->n = strlen(ret->body);
        return;
    }
    *ret = (struct serve_reply){ 200, types[which], b->text.p ? b->text.p : "", b->text.n, body_unref, b };
}

static void word_answer(struct serve_reply *ret, bool fine, const char *yes, const char *no)
{
    ret->status = fine ? 200 : 503;
    ret->body = fine ? yes : no;
    ret->n = strlen(ret->body);
}

static void answer(void *arg, const struct serve_request *q, struct serve_reply *ret)
{
    if (!strcmp(q->path, "/metrics")) {
        metrics_answer(arg, q, ret);
    } else if (!strcmp(q->path, "/healthz")) {
        word_answer(ret, health_alive(clock_boot_ns()), "ok\n", "the tracer's thread has not come round for 10 s\n");
    } else if (!strcmp(q->path, "/readyz")) {
        word_answer(ret, health_is_ready(), "ready\n", "not tracing\n");
    } else {
        word_answer(ret, false, "", "/metrics, /healthz, /readyz\n");
        ret->status = 404;
    }
}

/* --- the exporter --- */

static int prometheus_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    pthread_condattr_t clock;
    struct prometheus *p = calloc(1, sizeof(*p));
    snprintf(err, err_size, "out of memory");
    if (!p)
        return -ENOMEM;
    int e = prometheus_options_parse(spec->target, &p->o, err, err_size);
    struct serve_options o = { .host = p->o.host,
                               .port = p->o.port,
                               .certificate = p->o.certificate[0] ? p->o.certificate : NULL,
                               .key = p->o.key[0] ? p->o.key : NULL,
                               .ca = p->o.ca[0] ? p->o.ca : NULL,
                               .passwords = p->o.passwords[0] ? p->o.passwords : NULL,
                               .users = spec->headers,
                               .answer = answer,
                               .arg = p };
    pthread_mutex_init(&p->lock, NULL);
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_cond_init(&p->came, &clock);
    pthread_condattr_destroy(&clock);
    if (!e)
        e = serve_open(&o, &p->serve, err, err_size);
    if (e)
        free(p);
    else
        *ret = p;
    return e;
}

static enum export_result prometheus_send(void *self, const struct batch *b, struct export_reply *ret)
{
    struct prometheus *p = self;
    pthread_mutex_lock(&p->lock);
    if (b->n) {
        metric_batch_unref(p->latest);
        p->latest = metric_batch_ref(b->metrics[b->n - 1]);
        p->came_at = clock_boot_ns();
        p->n_came++;
        pages_forget(p);
        pthread_cond_broadcast(&p->came);
    }
    pthread_mutex_unlock(&p->lock);
    return EXPORT_OK;
}

static void prometheus_close(void *self)
{
    struct prometheus *p = self;
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->came);
    pthread_mutex_unlock(&p->lock);
    serve_close(p->serve);
    pages_forget(p);
    metric_batch_unref(p->latest);
    pthread_cond_destroy(&p->came);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

const struct exporter exporter_prometheus = {
    .name = "prometheus",
    .help = "prometheus=HOST:PORT      /metrics for scrapers, also /healthz and /readyz",
    .signals = SIGNAL_BIT(SIGNAL_METRICS),
    .pulled = true,
    .open = prometheus_open,
    .send = prometheus_send,
    .close = prometheus_close,
};
