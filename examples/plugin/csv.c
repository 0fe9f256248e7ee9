/* An exporter: one line a span, trace,span,service,name,start,duration in ns, into the file that its configuration names.
 *
 *     make plugins
 *     wftrace run --export plugin:build/plugins/csv.so,/tmp/spans.csv -- ./server */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <stdlib.h>
#include <wftrace/plugin.h>

struct csv {
    const struct wft_host *host;
    FILE *file;
};

static void *csv_open(const struct wft_host *host, const char *config, char *err, size_t err_size)
{
    struct csv *c = calloc(1, sizeof(*c));
    if (c)
        c->file = fopen(*config ? config : "spans.csv", "a");
    if (!c || !c->file) {
        snprintf(err, err_size, "%s: %s", config, c ? strerror(errno) : "out of memory");
        free(c);
        return NULL;
    }
    c->host = host;
    return c;
}

static void put_hex(FILE *f, const uint8_t *p, size_t n)
{
    while (n--)
        fprintf(f, "%02x", *p++);
}

/* Quoted, with quotes doubled (RFC 4180). */
static void put_text(FILE *f, struct wft_text t)
{
    fputs(",\"", f);
    for (size_t i = 0; i < t.n; i++) {
        if (t.p[i] == '"')
            fputc('"', f);
        fputc(t.p[i], f);
    }
    fputc('"', f);
}

static int csv_export(void *self, const struct wft_span *const *v, size_t n, char *why, size_t why_size)
{
    struct csv *c = self;
    for (size_t i = 0; i < n; i++) {
        struct wft_ids ids;
        c->host->span_ids(v[i], &ids);
        put_hex(c->file, ids.trace_id, sizeof(ids.trace_id));
        fputc(',', c->file);
        put_hex(c->file, ids.span_id, sizeof(ids.span_id));
        put_text(c->file, c->host->span_service(v[i]));
        put_text(c->file, c->host->span_name(v[i]));
        fprintf(c->file, ",%llu,%llu\n", (unsigned long long)c->host->span_start(v[i]),
                (unsigned long long)(c->host->span_end(v[i]) - c->host->span_start(v[i])));
    }
    if (!fflush(c->file))
        return WFT_DELIVERED;
    snprintf(why, why_size, "%s", strerror(errno));
    return WFT_REFUSED; /* again would write them twice */
}

static void csv_close(void *self)
{
    struct csv *c = self;
    fclose(c->file);
    free(c);
}

static const struct wft_plugin plugin = { .abi = WFT_ABI,
                                          .size = sizeof(plugin),
                                          .name = "csv",
                                          .version = "1.0",
                                          .open = csv_open,
                                          .close = csv_close,
                                          .export_spans = csv_export };

const struct wft_plugin *wftrace_plugin(uint32_t host_abi)
{
    (void)host_abi;
    return &plugin;
}
