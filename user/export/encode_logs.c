/* ExportLogsServiceRequest (OTLP 1.5, logs.proto). A record that no activity wrote has no ids; flags are the W3C trace flags. */
#include "export/encode_pb.h"
#include "logs_service.pb-c.h"

typedef Opentelemetry__Proto__Logs__V1__ResourceLogs pb_resource_logs;
typedef Opentelemetry__Proto__Logs__V1__ScopeLogs pb_scope_logs;
typedef Opentelemetry__Proto__Logs__V1__LogRecord pb_log;
typedef Opentelemetry__Proto__Collector__Logs__V1__ExportLogsServiceRequest pb_request;

static void log_fill(struct encoder *e, const struct log_record *l, pb_log *out)
{
    *out = (pb_log)OPENTELEMETRY__PROTO__LOGS__V1__LOG_RECORD__INIT;
    out->time_unix_nano = l->time_ns;
    out->observed_time_unix_nano = l->observed_ns;
    out->severity_number = (Opentelemetry__Proto__Logs__V1__SeverityNumber)l->severity;
    out->severity_text = pb_text(l->severity_text);
    out->event_name = pb_text(l->event_name);
    out->body = encoder_text(e, l->body);
    out->n_attributes = encoder_pairs(e, l->attrs.v, l->attrs.n, NULL, NULL, &out->attributes);
    out->dropped_attributes_count = l->attrs.dropped;
    if (!span_context_valid(&l->context))
        return;
    out->trace_id = pb_bytes(l->context.trace_id, TRACE_ID_LEN);
    out->span_id = pb_bytes(l->context.span_id, SPAN_ID_LEN);
    out->flags = l->context.flags;
}

static void scope_fill(struct encoder *e, size_t from, size_t to, pb_scope_logs *out)
{
    *out = (pb_scope_logs)OPENTELEMETRY__PROTO__LOGS__V1__SCOPE_LOGS__INIT;
    out->scope = encoder_scope(e, e->group.v[from].scope);
    out->schema_url = pb_text(OTEL_SCHEMA_URL);
    pb_log *logs = ENCODER_LIST(e, pb_log, to - from, &out->log_records);
    out->n_log_records = logs ? to - from : 0;
    for (size_t i = from; logs && i < to; i++)
        log_fill(e, e->group.v[i].p, &logs[i - from]);
}

static void resource_fill(struct encoder *e, size_t from, size_t to, pb_resource_logs *out)
{
    size_t n = grouping_count(&e->group, from, to, same_scope);
    *out = (pb_resource_logs)OPENTELEMETRY__PROTO__LOGS__V1__RESOURCE_LOGS__INIT;
    out->resource = encoder_resource(e, e->group.v[from].resource);
    out->schema_url = pb_text(OTEL_SCHEMA_URL);
    pb_scope_logs *scopes = ENCODER_LIST(e, pb_scope_logs, n, &out->scope_logs);
    out->n_scope_logs = scopes ? n : 0;
    for (size_t i = 0, end; scopes && i < n; i++, from = end) {
        end = grouping_run(&e->group, from, same_scope);
        scope_fill(e, from, end, &scopes[i]);
    }
}

int encoder_pack_logs(struct encoder *e, const struct batch *b, size_t head, struct slice *ret)
{
    pb_request req = OPENTELEMETRY__PROTO__COLLECTOR__LOGS__V1__EXPORT_LOGS_SERVICE_REQUEST__INIT;
    int err = encoder_begin(e, b);
    if (err)
        return err;
    size_t n = grouping_count(&e->group, 0, e->group.n, same_resource);
    pb_resource_logs *rl = n ? ENCODER_LIST(e, pb_resource_logs, n, &req.resource_logs) : NULL;
    req.n_resource_logs = rl ? n : 0;
    for (size_t i = 0, from = 0, end; rl && i < n; i++, from = end) {
        end = grouping_run(&e->group, from, same_resource);
        resource_fill(e, from, end, &rl[i]);
    }
    return encoder_finish(e, &req.base, head, ret);
}
