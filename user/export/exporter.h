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
    EXPORT_OK,    /* delivered; reply.refused of them the receiver refused for good (partial success) */
    EXPORT_RETRY, /* try again, not before reply.after_ms (0: the queue's own back-off) */
    EXPORT_DROP,  /* the receiver will never take it: reply.cause and reply.why */
};

/* Why something was lost on its way out. The order is that of the rows in self/ledger.def, three (one a signal) for each. */
enum export_cause {
    CAUSE_QUEUE,         /* the lane's queue was full */
    CAUSE_UNREACHABLE,   /* the receiver stayed away until the deadline */
    CAUSE_REFUSED,       /* refused for good, for none of the following reasons */
    CAUSE_AUTH,          /* HTTP 401, 403, 407; UNAUTHENTICATED, PERMISSION_DENIED */
    CAUSE_INVALID,       /* HTTP 400, 415, 422; INVALID_ARGUMENT */
    CAUSE_TOO_LARGE,     /* HTTP 413 */
    CAUSE_NOWHERE,       /* HTTP 404, 405, 410; UNIMPLEMENTED, NOT_FOUND: no such receiver at that address */
    CAUSE_PARTIAL,       /* partial success */
    CAUSE_WRITE,         /* a file that could not be written */
    CAUSE_SPOOL_FULL,    /* the disk spool was full: its oldest went */
    CAUSE_SPOOL_AGE,     /* waited in the spool longer than its max_age */
    CAUSE_SPOOL_CORRUPT, /* damaged on disk */
    CAUSE_MAX,
};

struct export_reply {
    u64 refused;             /* spans, log records or data points refused in a partial success */
    u64 after_ms;            /* with EXPORT_RETRY: what the receiver asked for */
    enum export_cause cause; /* with EXPORT_DROP; CAUSE_QUEUE (0) counts as CAUSE_REFUSED */
    bool explain;            /* in: say in `answer` who answered and how (test-connection) */
    char answer[240];        /* "HTTP 200, HTTP/1.1 from 10.0.0.7:4318, TLS: CN = …, until …" */
    char why[200];           /* one line for the log; no payload in it */
};

/* How a lane batches; 0 means the default. (The batch processors' parameters of the OpenTelemetry specification.) */
struct lane_options {
    u32 max_queue;    /* items waiting (default 8192 spans or log records, 64 metric collections) */
    u32 max_batch;    /* items per send (default 512, also the most; 1 collection) */
    u32 delay_ms;     /* how long an item may wait for company (default 100; live exporters never wait) */
    u64 retry_for_ms; /* how long one batch is retried before it is dropped (default 300000) */
};

/* A disk spool for each lane whose exporter asks a receiver (export/spool.h). Zeroes are the defaults. */
enum spool_fsync { SPOOL_FSYNC_NEVER, SPOOL_FSYNC_SEGMENT, SPOOL_FSYNC_ALWAYS };
struct spool_options {
    const char *dir; /* NULL: no spool */
    u64 max_bytes;   /* of one lane (default 256 MB); beyond, the oldest segment goes */
    u64 max_age_ns;  /* default a day */
    enum spool_fsync
        fsync;         /* never: the kernel decides (survives kill -9, not a power cut); at the end of each segment; always */
    u32 segment_bytes; /* default 16 MB, at most an eighth of max_bytes */
};

/* One signal's way to one receiver: what follows the `=` or `:` of an --export SPEC, cut up by export_spec_parse(). */
struct export_spec {
    char kind[16];       /* exporter's name: console, otlp-http, otlp-json, … */
    char target[1024];   /* URL, file or mode; "" when none */
    enum signal signal;  /* what this one carries */
    const char *service; /* unused by most */
    /* OTEL_EXPORTER_OTLP_* as they apply, or NULL / 0 for the specified defaults */
    const char *
        headers; /* prometheus: USER:PASSWORD lines. Else key=value,…; percent-encoded; ${env:}, ${file:}, ${base64:} as in export/secret.h */
    const char *certificate, *client_certificate, *client_key, *compression;
    u64 timeout_ms;
    bool insecure_skip_verify;
    bool json;             /* OTLP/HTTP with JSON bodies */
    bool implied;          /* nobody named this signal: it goes there because the others do. A receiver without it is no fault */
    u8 gzip_level;         /* 1 to 9; 0: 1 */
    const char *proxy;     /* URL; NULL: http_proxy, https_proxy and no_proxy */
    char unix_socket[108]; /* path; "": TCP */
    bool color;            /* the console may use colour and redraw */
    u64 rotate_bytes;      /* files: begin anew beyond this; 0: never */
    u32 keep;              /* files: how many of the old ones stay; 0: 5 */
    struct lane_options lane; /* 0: those of export_queue_options */
};

#define SIGNAL_BIT(s) (1u << (s))
#define SIGNAL_ALL    (SIGNAL_BIT(SIGNAL_TRACES) | SIGNAL_BIT(SIGNAL_LOGS) | SIGNAL_BIT(SIGNAL_METRICS))

struct exporter {
    const char *name;
    const char *help; /* one line for `wftrace help` and errors: "otlp=URL  …" */
    u32 signals;      /* SIGNAL_BITs that send() understands; 0: traces only. One instance carries one of them: spec->signal */
    bool pulled;      /* metrics: takes the collections made when a scraper asks (metric_ask), else those made by time */
    bool live;        /* wants started() too and every span at once (console on a terminal) */
    int (*open)(const struct export_spec *spec, void **ret, char *err, size_t err_size); /* -errno, sentence in err */
    /* One of two. Local ones: the batch is written where it belongs. */
    enum export_result (*send)(void *self, const struct batch *b, struct export_reply *ret);
    /* Those that ask a receiver: a request body, which lives until the next encode() (-errno), and its way there. A body can be
     * kept on disk and sent by a later process. The two may run on two threads. */
    int (*encode)(void *self, const struct batch *b, struct slice *ret);
    enum export_result (*deliver)(void *self, struct slice body, const u64 *stop_at, struct export_reply *ret);
    void (*started)(void *self, struct span *s);       /* live exporters only; else NULL. Called on the thread that started
                                                         the span and may be filling it: copy at once what is needed */
    void (*dropped)(void *self, const struct span *s); /* live exporters only: what was started will not be sent */
    void (*tick)(void *self, u64 now_wall_ns);         /* live exporters only: redraw; else NULL */
    void (*close)(void *self);                         /* flushes what it holds itself */
};
extern const struct exporter *const exporters[]; /* NULL-terminated, made from exporter.def */
static inline bool exporter_takes(const struct exporter *x, enum signal s)
{
    return (x->signals ? x->signals : SIGNAL_BIT(SIGNAL_TRACES)) & SIGNAL_BIT(s);
}
/* encode() and deliver(), or send(). */
enum export_result exporter_send(const struct exporter *x, void *self, const struct batch *b, struct export_reply *ret);
const struct exporter *exporter_by_name(const char *kind); /* NULL: none */

/* Parses one --export SPEC (console · console:json · otlp=URL · otlp-json:FILE) as it applies to one signal. Reads the
 * OTEL_EXPORTER_OTLP_* variables for otlp, the signal's own form first. On -EINVAL `err` says what is wrong and what would be
 * right; -EOPNOTSUPP: this exporter does not carry the signal (err untouched). */
int export_spec_parse(const char *text, enum signal signal, struct export_spec *ret, char *err, size_t err_size);
/* The same for every signal that the exporter carries, traces first: 1 to SIGNAL_MAX of them. */
int export_specs_parse(const char *text, struct export_spec ret[SIGNAL_MAX], size_t *ret_n, char *err, size_t err_size);

/* The pipeline's end: N lanes, each with its own bounded queue and thread, for one exporter and one signal. */
struct export_queues;
struct export_queue_options {
    struct lane_options lane[SIGNAL_MAX];
    struct spool_options spool;
    struct lane_options
        most[SIGNAL_MAX]; /* max_queue and max_batch of any lane, also where its own say more; 0: no such ceiling */
    u64 most_points;      /* data points waiting in one lane of metrics; 0: no such ceiling */
};
/* DIR[,max=256MB][,age=1d][,fsync=never|segment|always]; `text` is cut up and kept. -EINVAL with a sentence. */
int export_spool_parse(char *text, struct spool_options *ret, char *err, size_t err_size);
int export_size_parse(struct slice text, u64 *ret);   /* "100MB" "64k" "12345"; -EINVAL */
int export_age_parse(struct slice text, u64 *ret_ns); /* "1d" "2h" "30" (seconds); -EINVAL */
int export_queues_new(const struct export_queue_options *o, struct export_queues **ret);
int export_queues_add(struct export_queues *q, const struct export_spec *spec, char *err, size_t err_size);
/* The same with an exporter that need not be in exporter.def (tests, embedding). */
int export_queues_add_exporter(struct export_queues *q, const struct exporter *x, const struct export_spec *spec, char *err,
                               size_t err_size);
bool export_queues_wants(const struct export_queues *q, enum signal signal); /* some lane carries it */
bool export_queues_metrics(const struct export_queues *q, bool pulled); /* some metrics exporter is (not) of the pulled kind */
struct span_sink *export_queues_sink(struct export_queues *q);
struct log_sink *export_queues_log_sink(struct export_queues *q);
struct metric_sink *export_queues_metric_sink(struct export_queues *q);
/* What a lane has done and holds, for wftrace's own metrics. Counters only grow. */
enum export_number {
    REPORT_WAITING,
    REPORT_CAPACITY,
    REPORT_SPOOL_ITEMS,
    REPORT_SPOOL_BYTES,
    REPORT_LOST,
    REPORT_CALLS,
    REPORT_FAILURES,
    REPORT_BUSY_NS,
    REPORT_MAX
};
struct export_report {
    const char *label; /* of the exporter and its receiver; lives as long as the queues */
    enum signal signal;
    u64 v[REPORT_MAX];
};
bool export_queues_report(struct export_queues *q, u32 i, struct export_report *ret); /* false past the last lane */
/* Items in the fullest lane of the signal. */
u32 export_queues_waiting(const struct export_queues *q, enum signal signal);
/* Other exporters from here on; the sinks stay the same, and it is called on their thread. A lane whose spec is the same goes on
 * untouched (so does one that writes to the same place of this machine). A new one is open before an old one is told to end;
 * what an old one holds it delivers beside the new ones, for as long as a batch may be retried. On failure everything is as it
 * was: -EINVAL or -errno with a sentence in err. With a spool, what an old lane can't deliver in that time stays in its folder until the
 * receiver is configured again, and a lane for the same receiver can't be made while another has its folder (-EBUSY). */
int export_queues_swap(struct export_queues *q, const struct export_spec *specs, size_t n, char *err, size_t err_size);
/* Flushes everything within the deadline, closes the exporters, frees. Returns the number of spans, log records and data
 * points not delivered. */
u64 export_queues_close(struct export_queues *q, u64 deadline_ms);

#endif
