/* Log records in OTLP's JSON. */
#include "export/encode.h"

static void otlp_times(struct json *j, const struct log_record *l)
{
    json_raw(j, "{");
    if (l->time_ns)
        json_fmt(j, "\"timeUnixNano\":\"%llu\",", (unsigned long long)l->time_ns);
    json_fmt(j, "\"observedTimeUnixNano\":\"%llu\",", (unsigned long long)l->observed_ns);
}

static void otlp_severity(struct json *j, const struct log_record *l)
{
    if (l->severity)
        json_fmt(j, "\"severityNumber\":%u,", l->severity);
    if (!*l->severity_text)
        return;
    json_raw(j, "\"severityText\":");
    json_text(j, l->severity_text);
    json_raw(j, ",");
}

static void otlp_context(struct json *j, const struct log_record *l)
{
    if (span_context_valid(&l->context)) {
        json_raw(j, ",\"traceId\":");
        json_hex(j, l->context.trace_id, TRACE_ID_LEN);
        json_raw(j, ",\"spanId\":");
        json_hex(j, l->context.span_id, SPAN_ID_LEN);
        json_fmt(j, ",\"flags\":%u", l->context.flags);
    }
    if (l->event_name && *l->event_name) {
        json_raw(j, ",\"eventName\":");
        json_text(j, l->event_name);
    }
}

static void otlp_log(struct json *j, const void *item)
{
    const struct log_record *l = item;
    otlp_times(j, l);
    otlp_severity(j, l);
    json_raw(j, "\"body\":{\"stringValue\":");
    json_str(j, l->body, l->body_len);
    json_raw(j, "},");
    json_otlp_attrs(j, l->attrs.v, l->attrs.n, NULL);
    json_otlp_dropped(j, "droppedAttributesCount", l->attrs.dropped);
    otlp_context(j, l);
    json_raw(j, "}");
}

int json_otlp_logs(struct json *j, struct grouping *g, const struct batch *b)
{
    static const struct otlp_shape shape = { "resourceLogs", "scopeLogs", "logRecords", otlp_log };
    int err = grouping_make(g, b);
    return err ? err : json_otlp_shape(j, g, &shape);
}
