/* Batches in the shapes of OTLP. Grouping is shared by both forms: resource, then scope, then order of end.
 *
 * The instrumentation scope is `wftrace/<scope of the span>` with our version. Every span carries wftrace.parent.by, every
 * link wftrace.link.by. Flags have bit 8 set always and bit 9 when the parent is in another process. */
#ifndef WF_EXPORT_ENCODE_H
#define WF_EXPORT_ENCODE_H

#include "base/json.h"
#include "export/exporter.h"

#define OTEL_SCHEMA_URL      "https://opentelemetry.io/schemas/1.43.0"
#define OTEL_FLAG_HAS_REMOTE 0x100u
#define OTEL_FLAG_REMOTE     0x200u

/* The spans, log records or metrics of a batch ordered for grouping; the array is the group's and is reused. */
struct group_item {
    const void *p;                   /* struct span, struct log_record or struct metric */
    const struct resource *resource; /* may be NULL */
    const char *scope;               /* may be NULL */
};
struct grouping {
    struct group_item *v;
    size_t n, room;
};
int grouping_make(struct grouping *g, const struct batch *b); /* -ENOMEM */
void grouping_done(struct grouping *g);
bool same_resource(const struct group_item *a, const struct group_item *b);
bool same_scope(const struct group_item *a, const struct group_item *b); /* and resource */
/* End of the run of like items that begins at `from`. */
size_t grouping_run(const struct grouping *g, size_t from, bool (*same)(const struct group_item *, const struct group_item *));
size_t grouping_count(const struct grouping *g, size_t from, size_t to,
                      bool (*same)(const struct group_item *, const struct group_item *)); /* runs in [from, to) */

void scope_name(const char *scope, char *out, size_t size); /* "wftrace/http1" */
u32 span_flags(const struct span *s);
bool span_is_root(const struct span *s);
const char *span_tracestate(const struct span *s); /* "" unless printable ASCII, as W3C has it */

/* The protobuf form: ExportTraceServiceRequest, ExportLogsServiceRequest, ExportMetricsServiceRequest. One encoder per exporter;
 * not for two threads. */
struct encoder;
struct encoder *encoder_new(void); /* NULL on no memory */
struct encoder *encoder_free(struct encoder *e);
/* Leaves `head` bytes free in front of the message. *ret covers head and message and lives until the next call.
 * -ENOMEM */
int encoder_pack(struct encoder *e, const struct batch *b, size_t head, struct slice *ret);
/* Its parts by signal (encode_spans.c, encode_logs.c, encode_metrics.c). */
int encoder_pack_spans(struct encoder *e, const struct batch *b, size_t head, struct slice *ret);
int encoder_pack_logs(struct encoder *e, const struct batch *b, size_t head, struct slice *ret);
int encoder_pack_metrics(struct encoder *e, const struct batch *b, size_t head, struct slice *ret);

/* The JSON form of the same request on one line, newline included, appended. -ENOMEM */
int json_otlp(struct json *j, struct grouping *g, const struct batch *b);
int json_otlp_spans(struct json *j, struct grouping *g, const struct batch *b);
int json_otlp_logs(struct json *j, struct grouping *g, const struct batch *b);
int json_otlp_metrics(struct json *j, struct grouping *g, const struct batch *b);
/* The pieces that they share. */
void json_otlp_value(struct json *j, const struct attr *a);
void json_otlp_attrs(struct json *j, const struct attr *v, size_t n,
                     const struct attr *more);                     /* "attributes":[…]; more: one more or NULL */
void json_otlp_dropped(struct json *j, const char *field, u64 n);  /* ,"field":n unless 0 */
void json_otlp_resource(struct json *j, const struct resource *r); /* "resource":{…},"schemaUrl":"…" */
void json_otlp_scope(struct json *j, const char *scope);           /* "scope":{…},"schemaUrl":"…" */
/* {"<outer>":[ resource, "<inner>":[ scope, "<leaf>":[ each(item), … ] ] ]} and a newline: the shape of all three requests. */
struct otlp_shape {
    const char *outer, *inner, *leaf;
    void (*each)(struct json *j, const void *item);
};
int json_otlp_shape(struct json *j, const struct grouping *g, const struct otlp_shape *shape);
static inline struct attr attr_of_text(const char *key, const char *s)
{
    return (struct attr){ .key = key, .type = ATTR_STR, .len = (u16)strlen(s), .s = s };
}

void json_value(struct json *j, const struct attr *a); /* as plain JSON: text, number, true, list */
/* One span, flat, on one line (console:json), appended. */
void json_span(struct json *j, const struct span *s);
void json_log(struct json *j, const struct log_record *l);
void json_points(struct json *j, const struct metric_batch *b); /* a line for each point */

#endif
