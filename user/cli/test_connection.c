/* wftrace test-connection: one span, one log record and one metric to each exporter, really sent, and what came of it. The three
 * belong together: the log record carries the span's ids. */
#include "cli/session.h"

#include <strings.h>
#include <sys/random.h>
#include <sys/utsname.h>

struct sample {
    struct resource *resource;
    struct span *span;
    struct log_record *log;
    struct metric metric;
    struct metric_point point;
    struct metric_batch batch, *batches[1];
};

static void sample_done(struct sample *s)
{
    span_unref(s->span);
    log_unref(s->log);
    resource_unref(s->resource);
}

static void nobody_frees(struct metric_batch *b) { UNUSED(b); }

static int sample_make(struct sample *s)
{
    struct utsname host;
    u64 now = clock_wall_ns();
    *s = (struct sample){ .resource = resource_new(), .span = span_new(), .log = log_new(slice_str("wftrace test-connection")) };
    if (!s->resource || !s->span || !s->log)
        return -ENOMEM;
    attr_str(&s->resource->attrs, "service.name", slice_str("wftrace"));
    attr_str(&s->resource->attrs, "service.version", slice_str(WF_VERSION));
    if (!uname(&host))
        attr_str(&s->resource->attrs, "host.name", slice_str(host.nodename));
    if (getrandom(&s->span->id, TRACE_ID_LEN + SPAN_ID_LEN, 0) != TRACE_ID_LEN + SPAN_ID_LEN)
        return -EIO;
    s->span->id.flags = 1;
    s->span->kind = SPAN_INTERNAL;
    s->span->scope = s->log->scope = "test";
    s->span->start_ns = now - NSEC_PER_MSEC;
    s->span->end_ns = s->log->time_ns = s->log->observed_ns = now;
    s->span->resource = resource_ref(s->resource);
    s->log->resource = resource_ref(s->resource);
    s->log->context = s->span->id;
    s->log->severity = 9;
    strcpy(s->log->severity_text, "INFO");
    span_set_name(s->span, slice_str("wftrace test-connection"));
    s->point = (struct metric_point){ .start_ns = now - NSEC_PER_SEC, .time_ns = now, .is_int = true, .i = 1 };
    s->metric = (struct metric){ .name = "wftrace.test_connection",
                                 .unit = "{test}",
                                 .description = "sent by wftrace test-connection",
                                 .scope = "test",
                                 .resource = s->resource,
                                 .kind = METRIC_GAUGE,
                                 .n_points = 1,
                                 .points = &s->point };
    s->batch =
        (struct metric_batch){ .refs = 1, .time_ns = now, .metrics = &s->metric, .n = 1, .n_points = 1, .free = nobody_frees };
    s->batches[0] = &s->batch;
    return 0;
}

static struct batch batch_of(struct sample *s, enum signal signal)
{
    struct batch b = { .n = 1, .signal = signal };
    if (signal == SIGNAL_TRACES)
        b.spans = &s->span;
    else if (signal == SIGNAL_LOGS)
        b.logs = &s->log;
    else
        b.metrics = s->batches;
    return b;
}

/* --- one exporter --- */

struct outcome {
    enum export_result result;
    struct export_reply reply;
    u64 took_ns;
    int open_err;
    char error[300]; /* open() failed */
};

static void attempt(const struct export_spec *spec, struct sample *s, struct outcome *o)
{
    const struct exporter *x = exporter_by_name(spec->kind);
    struct batch b = batch_of(s, spec->signal);
    void *self = NULL;
    *o = (struct outcome){ .reply.explain = true, .result = EXPORT_DROP };
    o->open_err = x ? x->open(spec, &self, o->error, sizeof(o->error)) : -EINVAL;
    if (o->open_err)
        return;
    if (x->started && spec->signal == SIGNAL_TRACES)
        x->started(self, s->span);
    u64 start = clock_boot_ns();
    o->result = exporter_send(x, self, &b, &o->reply);
    o->took_ns = clock_boot_ns() - start;
    x->close(self);
}

static bool fine(const struct outcome *o) { return !o->open_err && o->result == EXPORT_OK && !o->reply.refused; }

static bool says(const struct outcome *o, const char *word) { return strcasestr(o->reply.why, word) != NULL; }

/* What to do about it; "" when nothing is known. */
static const char *remedy(const struct export_spec *spec, const struct outcome *o)
{
    bool grpc = !strcmp(spec->kind, "otlp-grpc");
    if (o->open_err)
        return "";
    if (says(o, "certificate") || says(o, "SSL peer") || says(o, "unknown ca"))
        return "name the authority that signed the receiver's certificate in OTEL_EXPORTER_OTLP_CERTIFICATE (or tls.ca_file); "
               "for "
               "mutual TLS also the client's certificate and key";
    if (says(o, "wrong version number") || says(o, "SSL"))
        return "the receiver may not speak TLS: try http:// (or grpc://) instead";
    if (says(o, "resolve"))
        return "the host's name is not known here: check its spelling and DNS";
    if (says(o, "refused") || says(o, "connect"))
        return grpc ? "nobody listens there: is the receiver running? OTLP/gRPC is usually port 4317, OTLP/HTTP 4318"
                    : "nobody listens there: is the receiver running? OTLP/HTTP is usually port 4318, Zipkin 9411";
    if (says(o, "timed out"))
        return "no answer in time: a firewall, a wrong port or a missing proxy (https_proxy)?";
    if (says(o, "not a gRPC receiver"))
        return "this port does not speak gRPC: use http:// or https:// with the OTLP/HTTP port";
    if (says(o, "HTTP/2") || says(o, "frame"))
        return grpc ? "this port does not speak gRPC: use http:// or https:// with the OTLP/HTTP port"
                    : "this port may speak gRPC: try grpc://";
    switch (o->reply.cause) {
    case CAUSE_AUTH:
        return "the receiver wants another token or user: check OTEL_EXPORTER_OTLP_HEADERS (or headers, bearer_token_file)";
    case CAUSE_NOWHERE:
        return spec->signal == SIGNAL_TRACES
                   ? "nothing receives at that path: check the URL"
                   : "the receiver does not take this signal at that path (not every one takes all three)";
    case CAUSE_TOO_LARGE:
        return "the receiver takes smaller requests only: lower OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
    default:
        return o->result == EXPORT_RETRY ? "the receiver asks to come again: wftrace would retry" : "";
    }
}

static const char *verdict(const struct outcome *o)
{
    return o->open_err                ? "not opened"
           : fine(o)                  ? "ok"
           : o->result == EXPORT_OK   ? "partly refused"
           : o->result == EXPORT_DROP ? "refused"
                                      : "not reached";
}

/* --- telling --- */

static void place_of(const struct export_spec *spec, char *out, size_t size)
{
    snprintf(out, size, "%s%s", *spec->unix_socket ? "unix:" : "", *spec->unix_socket ? spec->unix_socket : spec->target);
    out[strcspn(out, "?#")] = 0; /* a query may hold a key */
}

static void print_human(const struct export_spec *spec, const struct outcome *o)
{
    char place[1100];
    place_of(spec, place, sizeof(place));
    printf("%-7s  %s%s%s\n", signal_name[spec->signal], spec->kind, *place ? " " : "", place);
    printf("         %s", verdict(o));
    if (!o->open_err)
        printf(" in %.1f ms", (double)o->took_ns / 1e6);
    if (*o->reply.answer)
        printf(" (%s)", o->reply.answer);
    const char *why = o->open_err ? o->error : o->reply.why;
    printf("%s%s\n", *why ? ": " : "", why);
    if (!fine(o) && *remedy(spec, o))
        printf("         → %s\n", remedy(spec, o));
}

static void json_field(const char *name, const char *text, const char *end)
{
    printf("\"%s\":", name);
    json_print(stdout, text);
    fputs(end, stdout);
}

static void print_json(const struct export_spec *spec, const struct outcome *o)
{
    char place[1100];
    place_of(spec, place, sizeof(place));
    printf("{");
    json_field("signal", signal_name[spec->signal], ",");
    json_field("exporter", spec->kind, ",");
    json_field("target", place, ",");
    json_field("result", verdict(o), ",");
    printf("\"latency_ms\":%.3f,\"refused\":%llu,", (double)o->took_ns / 1e6, (unsigned long long)o->reply.refused);
    json_field("answer", o->reply.answer, ",");
    json_field("why", o->open_err ? o->error : o->reply.why, ",");
    json_field("remedy", fine(o) ? "" : remedy(spec, o), "}\n");
}

static int test_connection_main(struct options *o)
{
    char err[1024] = "", hex[2 * TRACE_ID_LEN + 1];
    struct sample s;
    size_t bad = 0;
    if (session_prepare(o, err, sizeof(err))) {
        complain("%s", err);
        return EXIT_USAGE;
    }
    if (sample_make(&s)) {
        complain("no memory for a sample");
        sample_done(&s);
        return EXIT_RUNTIME;
    }
    for (size_t i = 0; i < o->agent.n_exports; i++) {
        struct outcome out;
        attempt(&o->agent.exports[i], &s, &out);
        bad += !fine(&out);
        (o->json ? print_json : print_human)(&o->agent.exports[i], &out);
        fflush(stdout);
    }
    hex_encode(s.span->id.trace_id, TRACE_ID_LEN, hex);
    if (!o->json)
        printf("%zu of %zu delivered; look for trace %s, service wftrace\n", o->agent.n_exports - bad, o->agent.n_exports, hex);
    sample_done(&s);
    return bad ? EXIT_RUNTIME : EXIT_FINE;
}

const struct command command_test_connection = {
    .name = "test-connection",
    .usage = "[-e SPEC]... [options]",
    .summary = "one span, log record and metric to each exporter, and its answer",
    .more = "What is sent is real: it will be in the receiver, as service `wftrace`. Each line says what came back, how long it "
            "took,\n"
            "who answered (address, certificate) and, where something is wrong, what to do. --json: one object a line. Status 1 "
            "when\n"
            "anything was not delivered.",
    .takes = TAKES_EXPORT | TAKES_JSON,
    .min_rest = 0,
    .max_rest = 0,
    .rest_name = "nothing",
    .run = test_connection_main,
};
