/* wftrace stats: what a running wftrace says of itself, read from its scrape port. Only its own numbers are shown: the ledger,
 * the kernel side, the exporters' queues. */
#include "cli/cli.h"

#include <curl/curl.h>

#define PAGE_MAX   (64u << 20)
#define TIMEOUT_S  10L
#define OWN        "wftrace_"
#define NAME_WIDTH 44

struct page {
    char *p;
    size_t n;
};

static size_t on_data(char *data, size_t size, size_t n, void *arg)
{
    struct page *page = arg;
    size_t bytes = size * n;
    if (bytes > PAGE_MAX - page->n)
        return 0;
    char *p = realloc(page->p, page->n + bytes + 1);
    if (!p)
        return 0;
    page->p = p;
    memcpy(p + page->n, data, bytes);
    page->n += bytes;
    p[page->n] = 0;
    return bytes;
}

static int fetch(const char *at, struct page *page)
{
    char url[1200];
    long status = 0;
    CURL *c = curl_easy_init();
    if (!c)
        return EXIT_RUNTIME;
    snprintf(url, sizeof(url), "%s%s%s", strstr(at, "://") ? "" : "http://", at, strstr(at, "://") ? "" : "/metrics");
    curl_easy_setopt(c, CURLOPT_URL, url);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(c, CURLOPT_TIMEOUT, TIMEOUT_S);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, page);
    CURLcode code = curl_easy_perform(c);
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(c);
    if (code)
        fprintf(stderr, "wftrace: %s: %s (a wftrace with --export prometheus=HOST:PORT answers there)\n", at,
                curl_easy_strerror(code));
    else if (status != 200)
        fprintf(stderr, "wftrace: %s answered %ld\n", at, status);
    return code || status != 200 ? EXIT_RUNTIME : EXIT_FINE;
}

/* The value of label `key` of a sample line, "" when it has none. */
static struct slice label_of(const char *line, const char *key)
{
    char want[64];
    snprintf(want, sizeof(want), "%s=\"", key);
    const char *at = strstr(line, want), *end = strchr(line, '\n');
    if (!at || (end && at > end))
        return slice_of("", 0);
    at += strlen(want);
    return slice_of(at, strcspn(at, "\"\n"));
}

struct row {
    struct slice name, value, of, signal;
};

static bool row_read(const char *line, struct row *ret)
{
    size_t n = strcspn(line, "\n"), name = strcspn(line, "{ \n");
    const char *close = memrchr(line, '}', n);
    if (strncmp(line, OWN, strlen(OWN)) || !close)
        return false;
    ret->name = slice_of(line, name);
    ret->value = slice_trim(slice_of(close + 1, n - (size_t)(close + 1 - line)));
    ret->of = label_of(line, "wftrace_exporter");
    if (!ret->of.n)
        ret->of = label_of(line, "wftrace_stage");
    ret->signal = label_of(line, "wftrace_signal");
    return true;
}

static void row_print(const struct row *r, bool json, bool first)
{
    if (json)
        printf("%s\n  {\"name\": \"%.*s\", \"value\": %.*s, \"of\": \"%.*s\", \"signal\": \"%.*s\"}", first ? "" : ",",
               (int)r->name.n, r->name.p, (int)r->value.n, r->value.p, (int)r->of.n, r->of.p, (int)r->signal.n, r->signal.p);
    else
        printf("%-*.*s %14.*s  %.*s%s%.*s\n", NAME_WIDTH, (int)r->name.n, r->name.p, (int)r->value.n, r->value.p, (int)r->of.n,
               r->of.p, r->signal.n ? " " : "", (int)r->signal.n, r->signal.p);
}

static int stats_main(struct options *o)
{
    struct page page = { 0 };
    struct row r;
    bool first = true;
    int status = fetch(o->n_rest ? o->rest[0] : "localhost:9464", &page);
    if (!status && o->json)
        printf("[");
    for (const char *line = page.p; !status && line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (!row_read(line, &r))
            continue;
        row_print(&r, o->json, first);
        first = false;
    }
    if (!status && o->json)
        printf("\n]\n");
    if (!status && first)
        fprintf(stderr, "wftrace: what answers there is no wftrace\n");
    free(page.p);
    return status ? status : first ? EXIT_RUNTIME : EXIT_FINE;
}

const struct command command_stats = {
    .name = "stats",
    .usage = "[HOST:PORT]",
    .summary = "what a running wftrace counts of itself",
    .more =
        "Reads /metrics of a wftrace that has a scrape port (--export prometheus=HOST:PORT or wftrace: self: listen), by\n"
        "default at localhost:9464: what was seen, handed on and lost, by cause; queues, spools and attempts of each exporter.",
    .takes = TAKES_COMMON | TAKES_JSON,
    .max_rest = 1,
    .rest_name = "HOST:PORT",
    .run = stats_main,
};
