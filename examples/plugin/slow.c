/* A processor: drops health checks, and marks every span that took longer than its configuration says, in ms.
 *
 *     make plugins
 *     wftrace run --plugin build/plugins/slow.so=250 -- ./server */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <wftrace/plugin.h>

struct slow {
    const struct wft_host *host;
    uint64_t limit_ns;
    unsigned long marked;
};

static void *slow_open(const struct wft_host *host, const char *config, char *err, size_t err_size)
{
    char *end;
    unsigned long ms = strtoul(*config ? config : "1000", &end, 10);
    struct slow *s;
    if (*end || !ms) {
        snprintf(err, err_size, "'%s' is no number of milliseconds", config);
        return NULL;
    }
    s = calloc(1, sizeof(*s));
    if (!s) {
        snprintf(err, err_size, "out of memory");
        return NULL;
    }
    s->host = host;
    s->limit_ns = ms * 1000000ull;
    return s;
}

static int slow_on_span(void *self, struct wft_span *span)
{
    struct slow *s = self;
    struct wft_value path, yes = { .type = WFT_BOOL, .b = 1 };
    if (s->host->span_attr(span, "url.path", &path) && path.type == WFT_STRING && path.s.n == 8 &&
        !memcmp(path.s.p, "/healthz", 8))
        return WFT_DROP;
    if (s->host->span_end(span) - s->host->span_start(span) >= s->limit_ns)
        s->marked += (unsigned long)s->host->span_set_attr(span, "slow", &yes);
    return WFT_KEEP;
}

static void slow_close(void *self)
{
    struct slow *s = self;
    char text[64];
    snprintf(text, sizeof(text), "%lu slow spans were marked", s->marked);
    s->host->say(WFT_LOG_INFO, text);
    free(s);
}

static const struct wft_plugin plugin = { .abi = WFT_ABI,
                                          .size = sizeof(plugin),
                                          .name = "slow",
                                          .version = "1.0",
                                          .open = slow_open,
                                          .close = slow_close,
                                          .on_span = slow_on_span };

const struct wft_plugin *wftrace_plugin(uint32_t host_abi)
{
    (void)host_abi; /* wftrace checks .abi */
    return &plugin;
}
