/* Batches in the shapes of OTLP. Grouping is shared by both forms: resource, then scope, then order of end.
 *
 * The instrumentation scope is `wftrace/<scope of the span>` with our version. Every span carries wftrace.parent.by, every
 * link wftrace.link.by. Flags have bit 8 set always and bit 9 when the parent is in another process. */
#ifndef WF_EXPORT_ENCODE_H
#define WF_EXPORT_ENCODE_H

#include "export/exporter.h"

#define OTEL_SCHEMA_URL      "https://opentelemetry.io/schemas/1.43.0"
#define OTEL_FLAG_HAS_REMOTE 0x100u
#define OTEL_FLAG_REMOTE     0x200u

/* The spans of a batch ordered for grouping; the array is the group's and is reused. */
struct grouping {
    const struct span **v;
    size_t n, room;
};
int grouping_make(struct grouping *g, const struct batch *b); /* -ENOMEM */
void grouping_done(struct grouping *g);
bool same_resource(const struct span *a, const struct span *b);
bool same_scope(const struct span *a, const struct span *b); /* and resource */
/* End of the run of like spans that begins at `from`. */
size_t grouping_run(const struct grouping *g, size_t from, bool (*same)(const struct span *, const struct span *));

void scope_name(const struct span *s, char *out, size_t size); /* "wftrace/http1" */
u32 span_flags(const struct span *s);
bool span_is_root(const struct span *s);
const char *span_tracestate(const struct span *s); /* "" unless printable ASCII, as W3C has it */

/* The protobuf form, ExportTraceServiceRequest. One encoder per exporter; not for two threads. */
struct encoder;
struct encoder *encoder_new(void); /* NULL on no memory */
struct encoder *encoder_free(struct encoder *e);
/* Leaves `head` bytes free in front of the message. *ret covers head and message and lives until the next call.
 * -ENOMEM */
int encoder_pack(struct encoder *e, const struct batch *b, size_t head, struct slice *ret);

/* A growing text with a ceiling; once it would pass that, or memory ends, it turns `failed` and stays so. */
struct json {
    char *p;
    size_t n, room, max;
    bool failed;
};
void json_raw(struct json *j, const char *text);
void json_str(struct json *j, const char *s, size_t n); /* quoted and escaped; s is valid UTF-8 */
void json_fmt(struct json *j, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void json_hex(struct json *j, const u8 *bytes, size_t n); /* quoted */
void json_double(struct json *j, double d);               /* NaN and infinities as strings, as OTLP has it */
void json_done(struct json *j);

/* The JSON form of the same request on one line, newline included, appended. -ENOMEM */
int json_otlp(struct json *j, struct grouping *g, const struct batch *b);
/* One span, flat, on one line (console:json), appended. */
void json_span(struct json *j, const struct span *s);

#endif
