/* The exporter contract, and the queue that drives exporters.
 *
 * A family member is one file that ends in its `struct exporter` and one line in exporter.def. queue.c owns threads,
 * batching, time-outs, retry with back-off and jitter, and the shutdown deadline; an exporter only turns a batch into
 * bytes and says what became of it. */
#ifndef WF_EXPORT_EXPORTER_H
#define WF_EXPORT_EXPORTER_H

#include "trace/signal.h"

struct batch {
    union {                            /* borrowed for the call */
        struct span **spans;           /* SIGNAL_TRACES: in order of end */
        struct log_record **logs;      /* SIGNAL_LOGS */
        struct metric_batch **metrics; /* SIGNAL_METRICS: collections, oldest first */
    };
    size_t n;
    const u64 *stop_at; /* boot clock, ns, read atomically; 0: none. It may appear while a send runs, which then ends soon
                         * with EXPORT_RETRY. NULL: never */
    enum signal signal;
};

enum export_result {
    EXPORT_OK,    /* delivered; *ret_refused of them the receiver refused for good (partial success) */
    EXPORT_RETRY, /* try again, not before *ret_after_ms (0: the queue's own back-off) */
    EXPORT_DROP,  /* the receiver will never take it; why is in ret_why */
};

struct export_reply {
    u64 refused;   /* spans refused in a partial success */
    u64 after_ms;  /* with EXPORT_RETRY: what the receiver asked for */
    char why[200]; /* one line for the log; no payload in it */
};

/* What follows the `=` or `:` of an --export SPEC, cut up by export_spec_parse(). */
struct export_spec {
    char kind[16];       /* exporter's name: console, otlp, otlp-json, … */
    char target[1024];   /* URL, file or mode; "" when none */
    const char *service; /* unused by most */
    /* OTEL_EXPORTER_OTLP_* as they apply, or NULL / 0 for the specified defaults */
    const char *headers, *certificate, *client_certificate, *client_key, *compression;
    u64 timeout_ms;
    bool insecure_skip_verify;
    bool color; /* the console may use colour and redraw */
};

struct exporter {
    const char *name;
    const char *help; /* one line for `wftrace help` and errors: "otlp=URL  …" */
    bool live;        /* wants started() too and every span at once (console on a terminal) */
    int (*open)(const struct export_spec *spec, void **ret, char *err, size_t err_size); /* -errno, sentence in err */
    enum export_result (*send)(void *self, const struct batch *b, struct export_reply *ret);
    void (*started)(void *self, struct span *s); /* live exporters only; else NULL. Called on the thread that started
                                                         the span and may be filling it: copy at once what is needed */
    void (*tick)(void *self, u64 now_wall_ns);   /* live exporters only: redraw; else NULL */
    void (*close)(void *self);                   /* flushes what it holds itself */
};
extern const struct exporter *const exporters[]; /* NULL-terminated, made from exporter.def */

/* Parses one --export SPEC: console · console:json · otlp=URL · otlp-json:FILE. Reads the OTEL_EXPORTER_OTLP_*
 * variables for otlp. On -EINVAL `err` says what is wrong and what would be right. */
int export_spec_parse(const char *text, struct export_spec *ret, char *err, size_t err_size);

/* The pipeline's end: N exporters, each with its own bounded queue and thread. A span_sink. */
struct export_queues;
struct export_queue_options {
    u32 max_queue;    /* spans waiting per exporter (default 8192: some 40 MB at most when a receiver is away) */
    u32 max_batch;    /* spans per send (default 512) */
    u32 delay_ms;     /* how long a span may wait for company (default 100; live ones never wait) */
    u64 retry_for_ms; /* how long one batch is retried before it is dropped (default 300000) */
};
int export_queues_new(const struct export_queue_options *o, struct export_queues **ret);
int export_queues_add(struct export_queues *q, const struct export_spec *spec, char *err, size_t err_size);
/* The same with an exporter that need not be in exporter.def (tests, embedding). */
int export_queues_add_exporter(struct export_queues *q, const struct exporter *x, const struct export_spec *spec, char *err,
                               size_t err_size);
struct span_sink *export_queues_sink(struct export_queues *q);
/* Flushes everything within the deadline, closes the exporters, frees. Returns the number of spans not delivered. */
u64 export_queues_close(struct export_queues *q, u64 deadline_ms);

#endif
