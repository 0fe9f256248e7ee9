/* The table of keys: what OpenTelemetry's declarative configuration (schema 1.1) knows, and wftrace's own. Order is that of the
 * documentation. `ignored` says of a key why it has no effect here; it is accepted and noted. */
#include "config/config_table.h"

#include <ctype.h>

/* --- resource --- */
static const char *const attr_types[] = { "string",     "bool",      "int",          "double", "string_array",
                                          "bool_array", "int_array", "double_array", NULL };

static enum config_value_kind kind_wanted(int type)
{
    static const enum config_value_kind kinds[] = { CONFIG_VALUE_TEXT, CONFIG_VALUE_BOOL, CONFIG_VALUE_INT, CONFIG_VALUE_DOUBLE };
    return kinds[type % CONFIG_ATTR_STRING_ARRAY];
}

static bool value_to(struct config_value *v, enum config_value_kind want)
{
    if (want == CONFIG_VALUE_DOUBLE && v->kind == CONFIG_VALUE_INT) {
        v->number = (double)v->integer;
        v->kind = CONFIG_VALUE_DOUBLE;
    }
    return v->kind == want;
}

static void attribute_check(struct config_state *s, void *group, const struct config_node *at)
{
    struct config_attribute *a = group;
    const struct config_node *v = config_node_get(at, "value");
    enum config_value_kind want = kind_wanted(a->type);
    bool fine = a->value.kind == CONFIG_VALUE_NULL;
    if (!fine && a->type < CONFIG_ATTR_STRING_ARRAY) {
        fine = (v->written && want == CONFIG_VALUE_TEXT) || value_to(&a->value, want);
        if (fine && want == CONFIG_VALUE_TEXT)
            a->value.kind = CONFIG_VALUE_TEXT;
    } else if (!fine) {
        fine = a->value.kind == CONFIG_VALUE_LIST;
        for (size_t i = 0; fine && i < a->value.items.n; i++)
            fine = value_to(&a->value.items.v[i], want);
    }
    if (!fine && a->type == CONFIG_ATTR_STRING && v->type == NODE_SCALAR)
        config_mistake(s, &v->at, "the value is no text: put it in quotes, or say its type (type: int, double, bool …)");
    else if (!fine)
        config_mistake(s, &v->at, "the value is not of type %s", attr_types[a->type]);
}

static const struct config_key attribute_keys[] = {
    TEXT(attribute, name, "name", NULL, "name of the attribute", REQUIRED),
    { .name = "value", .type = CONFIG_VALUE, AT(attribute, value), REQUIRED, .help = "its value; null: the entry is left out" },
    WORD(attribute, type, "type", attr_types, "string", "type of the value"),
};
DEFINE(attribute, attribute, "an attribute", "One resource attribute.", .check = attribute_check);

static const struct config_key detector_keys[] = {
    GROUP(detector, container, "container", none, "`container.*`"),
    GROUP(detector, host, "host", none, "`host.*` and `os.*`"),
    GROUP(detector, process, "process", none, "`process.*`"),
    GROUP(detector, service, "service", none, "`service.name`, `service.instance.id`"),
};
DEFINE(detector, detector, "a detector", "One resource detector.", ONE_OF);

static const struct config_key detection_keys[] = {
    GROUP(detection, attributes, "attributes", selection, "which attributes of detectors are kept", .unset = "all"),
    GROUPS(detection, detectors, "detectors", detector, "detectors to run"),
};
DEFINE(detection, detection, "detection", "Resource detection.");

static const struct config_key resource_keys[] = {
    GROUPS(resource, attributes, "attributes", attribute, "attributes of everything that is exported"),
    TEXT(resource, attributes_list, "attributes_list", NULL,
         "the same as `name=value,…`, percent-encoded; `attributes` wins over it"),
    TEXT(resource, schema_url, "schema_url", NULL, "schema URL of the resource",
         .ignored = "wftrace names the schema whose conventions it follows"),
    GROUP(resource, detection, "detection/development", detection, "resource detectors",
          .ignored = "what a process is found to be (host, process, container, service) is always there"),
};
DEFINE(resource, resource, "resource", "Attributes of everything that is exported, beside those found of each process.");

/* --- limits --- */
#define DEPTH_WHY "attributes of wftrace are texts, numbers and lists of them: never nested deeper"
static const struct config_key attribute_limits_keys[] = {
    INT(attribute_limits, value_length, "attribute_value_length_limit", 0, 0, NULL, "characters of a value; longer ones are cut",
        .unset = "no limit"),
    INT(attribute_limits, value_depth, "attribute_value_depth_limit", 1, 0, "64", "depth of nested values", .ignored = DEPTH_WHY),
    INT(attribute_limits, count, "attribute_count_limit", 0, 0, "128",
        "attributes of one item; further ones are dropped and counted"),
};
DEFINE(attribute_limits, attribute_limits, "attribute_limits", "Limits of attributes of every signal.");
static const struct config_key span_limits_keys[] = {
    INT(span_limits, value_length, "attribute_value_length_limit", 0, 0, NULL, "characters of a value",
        .unset = "attribute_limits'"),
    INT(span_limits, value_depth, "attribute_value_depth_limit", 1, 0, NULL, "depth of nested values", .ignored = DEPTH_WHY),
    INT(span_limits, count, "attribute_count_limit", 0, 0, NULL, "attributes of a span", .unset = "attribute_limits'"),
    INT(span_limits, events, "event_count_limit", 0, 0, "128", "events of a span"),
    INT(span_limits, links, "link_count_limit", 0, 0, "128", "links of a span"),
    INT(span_limits, event_attributes, "event_attribute_count_limit", 0, 0, "128", "attributes of one event"),
    INT(span_limits, link_attributes, "link_attribute_count_limit", 0, 0, "128", "attributes of one link"),
};
DEFINE(span_limits, span_limits, "limits", "Limits of spans; what is not given is taken from `attribute_limits`.");
static const struct config_key log_limits_keys[] = {
    INT(attribute_limits, value_length, "attribute_value_length_limit", 0, 0, NULL, "characters of a value",
        .unset = "attribute_limits'"),
    INT(attribute_limits, value_depth, "attribute_value_depth_limit", 1, 0, NULL, "depth of nested values", .ignored = DEPTH_WHY),
    INT(attribute_limits, count, "attribute_count_limit", 0, 0, NULL, "attributes of a record", .unset = "attribute_limits'"),
};
DEFINE(log_limits, attribute_limits, "limits", "Limits of log records; what is not given is taken from `attribute_limits`.");

/* --- propagator --- */
#define NOT_READ "wftrace reads W3C trace context and baggage: have the callers send `traceparent`"
static const struct config_key propagator_entry_keys[] = {
    GROUP(propagator_entry, tracecontext, "tracecontext", none, "W3C `traceparent` and `tracestate`"),
    GROUP(propagator_entry, baggage, "baggage", none, "W3C `baggage`"),
    GROUP(propagator_entry, b3, "b3", none, "Zipkin's `b3`", .ignored = NOT_READ),
    GROUP(propagator_entry, b3multi, "b3multi", none, "Zipkin's `X-B3-*`", .ignored = NOT_READ),
};
DEFINE(propagator_entry, propagator_entry, "a propagator", "One form of context.", ONE_OF);

static void propagator_check(struct config_state *s, void *group, const struct config_node *at)
{
    static const char *const known[] = { "tracecontext", "baggage", "b3", "b3multi", "jaeger", "xray", "ottrace", "none" };
    const struct config_propagator *p = group;
    const struct config_node *list = config_node_get(at, "composite_list");
    for (const char *c = p->composite_list; c && *c;) {
        size_t n = strcspn(c, ",");
        struct slice w = slice_trim(slice_of(c, n));
        char word[40];
        size_t i = 0;
        snprintf(word, sizeof(word), "%.*s", (int)min_u64(w.n, 39), w.n ? (const char *)w.p : "");
        while (i < ARRAY_LEN(known) && strcasecmp(known[i], word))
            i++;
        const char *near = i < ARRAY_LEN(known) ? NULL : nearest_word(word, known, ARRAY_LEN(known));
        if (i == ARRAY_LEN(known) && *word)
            config_mistake(s, &list->at, "no propagator «%s»%s%s%s", word, near ? " (did you mean «" : "", near ? near : "",
                           near ? "»?)" : "");
        else if (i > 1 && i < ARRAY_LEN(known) - 1)
            config_note(s, &list->at, "propagator «%s» has no effect: %s", word, NOT_READ);
        c += n + (c[n] == ',');
    }
}

static const struct config_key propagator_keys[] = {
    GROUPS(propagator, composite, "composite", propagator_entry, "forms of context, in order"),
    TEXT(propagator, composite_list, "composite_list", NULL, "the same as `tracecontext,baggage`; added to `composite`"),
};
DEFINE(propagator, propagator, "propagator", "Which forms of context are read, and written when `wftrace.propagation` says so.",
       .check = propagator_check);

/* --- processors of OpenTelemetry's form: batch and simple --- */
static void batch_check(struct config_state *s, void *group, const struct config_node *at)
{
    const struct config_batch *b = group;
    const struct config_node *n = config_node_get(at, "max_export_batch_size");
    if (b->max_export_batch_size > b->max_queue_size)
        config_mistake(s, n ? &n->at : &at->at, "«max_export_batch_size» (%lld) is larger than «max_queue_size» (%lld)",
                       (long long)b->max_export_batch_size, (long long)b->max_queue_size);
}
#define BATCH(id, delay, exporters, what)                                                                                        \
    static const struct config_key id##_batch_keys[] = {                                                                         \
        INT(batch, schedule_delay, "schedule_delay", 0, 0, delay, "ms that an item may wait for company"),                       \
        INT(batch, export_timeout, "export_timeout", 0, 0, "30000", "ms to deliver a batch; 0: no limit"),                       \
        INT(batch, max_queue_size, "max_queue_size", 1, 1e9, "2048", "items waiting at most"),                                   \
        INT(batch, max_export_batch_size, "max_export_batch_size", 1, 1e9, "512", "items in one request"),                       \
        GROUP(batch, exporter, "exporter", exporters, "where they go", REQUIRED),                                                \
    };                                                                                                                           \
    DEFINE(id##_batch, batch, "batch", "Batches of " what ".", .check = batch_check);                                            \
    static const struct config_key id##_simple_keys[] = { GROUP(simple, exporter, "exporter", exporters, "where they go",        \
                                                                REQUIRED) };                                                     \
    DEFINE(id##_simple, simple, "simple", "One by one: " what ".");                                                              \
    static const struct config_key id##_processor_keys[] = {                                                                     \
        GROUP(processor, batch, "batch", id##_batch, "in batches"),                                                              \
        GROUP(processor, simple, "simple", id##_simple, "one by one, at once"),                                                  \
    };                                                                                                                           \
    DEFINE(id##_processor, processor, "a processor", "One processor of " what ".", ONE_OF)
BATCH(span, "5000", span_exporter, "spans");

/* --- samplers --- */
static const struct config_group config_group_composable;
static const struct config_key ratio_keys[] = { NUMBER(ratio, ratio, "ratio", 0, 1, "1.0", "share of traces that is kept") };
DEFINE(ratio, ratio, "this sampler", "A share of all traces.");
static const struct config_key rate_keys[] = { NUMBER(rate, spans_per_second, "traces_per_second", 0, 1e9, NULL,
                                                      "traces kept a second", .flags = KEY_OURS | KEY_REQUIRED) };
DEFINE(rate, rate, "rate_limiting", "So many traces a second.");
static const struct config_key always_record_keys[] = { GROUP(always_record, root, "root", sampler, "the sampler that decides",
                                                              REQUIRED) };
DEFINE(always_record, always_record, "always_record", "Metrics see every span; what `root` drops is not exported.");
static const struct config_key parent_based_keys[] = {
    GROUP(parent_based, root, "root", sampler, "no parent", .unset = "always_on"),
    GROUP(parent_based, remote_sampled, "remote_parent_sampled", sampler, "a parent elsewhere that was kept",
          .unset = "always_on"),
    GROUP(parent_based, remote_not_sampled, "remote_parent_not_sampled", sampler, "… that was not", .unset = "always_off"),
    GROUP(parent_based, local_sampled, "local_parent_sampled", sampler, "a parent here that was kept", .unset = "always_on"),
    GROUP(parent_based, local_not_sampled, "local_parent_not_sampled", sampler, "… that was not", .unset = "always_off"),
};
DEFINE(parent_based, parent_based, "parent_based", "By what was decided for the parent.");
static const struct config_key threshold_keys[] = { GROUP(threshold, root, "root", composable, "no parent", REQUIRED) };
DEFINE(threshold, threshold, "parent_threshold", "The parent's threshold.");
static const struct config_key rule_values_keys[] = {
    TEXT(rule_values, key, "key", NULL, "attribute", REQUIRED),
    TEXTS(rule_values, values, "values", "any of these", REQUIRED),
};
DEFINE(rule_values, rule_values, "attribute_values", "An attribute with one of some values.");
static const struct config_key rule_patterns_keys[] = {
    TEXT(rule_patterns, key, "key", NULL, "attribute", REQUIRED),
    TEXTS(rule_patterns, included, "included", "patterns that match", .unset = "everything"),
    TEXTS(rule_patterns, excluded, "excluded", "patterns that don't; wins", .unset = "nothing"),
};
DEFINE(rule_patterns, rule_patterns, "attribute_patterns", "An attribute whose value matches patterns.");
static const char *const span_kinds[] = { "internal", "server", "client", "producer", "consumer", NULL };
static const char *const span_parents[] = { "none", "remote", "local", NULL };
static const struct config_key sampler_rule_keys[] = {
    GROUP(sampler_rule, attribute_values, "attribute_values", rule_values, "an attribute's values"),
    GROUP(sampler_rule, attribute_patterns, "attribute_patterns", rule_patterns, "an attribute's patterns"),
    TEXTS(sampler_rule, span_kinds, "span_kinds", "kinds of span", .words = span_kinds),
    TEXTS(sampler_rule, parent, "parent", "kinds of parent", .words = span_parents),
    GROUP(sampler_rule, sampler, "sampler", composable, "who decides then", REQUIRED),
};
DEFINE(sampler_rule, sampler_rule, "a rule", "All conditions that are given hold.");
static const struct config_key rule_based_keys[] = { GROUPS(rule_based, rules, "rules", sampler_rule,
                                                            "the first that holds decides") };
DEFINE(rule_based, rule_based, "rule_based", "Rules in order.");
static const struct config_key composable_keys[] = {
    GROUP(composable, always_off, "always_off", none, "none"),
    GROUP(composable, always_on, "always_on", none, "all"),
    GROUP(composable, parent_threshold, "parent_threshold", threshold, "as the parent's threshold says"),
    GROUP(composable, probability, "probability", ratio, "a share"),
    GROUP(composable, rule_based, "rule_based", rule_based, "by rules"),
};
static const struct config_group config_group_composable = { .id = "composable",
                                                             .name = "a composite sampler",
                                                             .help = "One sampler that works with thresholds.",
                                                             .size = sizeof(struct config_composable),
                                                             .keys = composable_keys,
                                                             .n = ARRAY_LEN(composable_keys),
                                                             .one_of = true };
static const struct config_key sampler_keys[] = {
    GROUP(sampler, always_off, "always_off", none, "no trace"),
    GROUP(sampler, always_on, "always_on", none, "every trace"),
    GROUP(sampler, always_record, "always_record", always_record, "every span is seen, not every one exported"),
    GROUP(sampler, composite, "composite/development", composable, "samplers that work with thresholds"),
    { .name = "jaeger_remote/development",
      .type = CONFIG_ANY,
      .help = "a sampler that asks a server",
      .ignored = "no server is asked: name the sampler here" },
    GROUP(sampler, parent_based, "parent_based", parent_based, "as the parent was"),
    GROUP(sampler, probability, "probability/development", ratio, "a share, consistent across services"),
    GROUP(sampler, trace_id_ratio_based, "trace_id_ratio_based", ratio, "a share by trace id"),
    GROUP(sampler, rate_limiting, "rate_limiting", rate, "so many a second", OURS),
};
const struct config_group config_group_sampler = { .id = "sampler",
                                                   .name = "a sampler",
                                                   .help = "One sampler.",
                                                   .size = sizeof(struct config_sampler),
                                                   .keys = sampler_keys,
                                                   .n = ARRAY_LEN(sampler_keys),
                                                   .one_of = true };

static const struct config_key tracer_provider_keys[] = {
    GROUPS(tracer_provider, processors, "processors", span_processor, "where spans go", REQUIRED),
    GROUP(tracer_provider, limits, "limits", span_limits, "limits of a span", ALWAYS),
    GROUP(tracer_provider, sampler, "sampler", sampler, "which traces are kept", .unset = "parent_based, always_on at the root"),
    ANY("id_generator", "ids are random, as OpenTelemetry's `random` makes them", "how ids are made"),
    ANY("tracer_configurator/development", "spans don't come from tracers of an SDK", "tracers by name"),
};
DEFINE(tracer_provider, tracer_provider, "tracer_provider", "Spans.");

/* --- metrics --- */
#define LIMIT(field, key, what) INT(cardinality, field, key, 1, 1e9, NULL, "series of " what, .unset = "default's")
static const struct config_key cardinality_keys[] = {
    INT(cardinality, fallback, "default", 1, 1e9, "2000", "series of one metric; further ones go to the overflow series"),
    LIMIT(counter, "counter", "a counter"),
    LIMIT(gauge, "gauge", "a gauge"),
    LIMIT(histogram, "histogram", "a histogram"),
    LIMIT(observable_counter, "observable_counter", "an observed counter"),
    LIMIT(observable_gauge, "observable_gauge", "an observed gauge"),
    LIMIT(observable_up_down_counter, "observable_up_down_counter", "an observed up-down counter"),
    LIMIT(up_down_counter, "up_down_counter", "an up-down counter"),
};
DEFINE(cardinality, cardinality, "cardinality_limits", "Series per metric.");
#define PRODUCERS                                                                                                                \
    ANY("producers", "OpenCensus is no more; there is no producer beside wftrace's own metrics", "further sources of metrics")
static const struct config_key periodic_keys[] = {
    INT(periodic, interval, "interval", 1, 0, "60000", "ms from export to export"),
    INT(periodic, timeout, "timeout", 0, 0, "30000", "ms to deliver; 0: no limit"),
    INT(periodic, max_export_batch_size, "max_export_batch_size/development", 1, 0, NULL, "metrics in one request",
        .ignored = "a collection goes in one request, below max_request_size", .unset = "no limit"),
    GROUP(periodic, exporter, "exporter", metric_exporter, "where they go", REQUIRED),
    PRODUCERS,
    GROUP(periodic, cardinality_limits, "cardinality_limits", cardinality, "series per metric", ALWAYS),
};
DEFINE(periodic, periodic, "periodic", "Metrics pushed at intervals.");
static const char *const translations[] = { "underscore_escaping_with_suffixes",
                                            "underscore_escaping_without_suffixes/development",
                                            "no_utf8_escaping_with_suffixes/development", "no_translation/development", NULL };
static const struct config_key prometheus_keys[] = {
    TEXT(prometheus, host, "host", "localhost", "address to listen on"),
    INT(prometheus, port, "port", 0, 65535, "9464", "port to listen on"),
    BOOL(prometheus, scope_info, "scope_info_enabled", "true", "labels of the instrumentation scope"),
    BOOL(prometheus, target_info, "target_info_enabled/development", "true", "the `target_info` metric"),
    GROUP(prometheus, resource_constant_labels, "resource_constant_labels", selection, "resource attributes that become labels",
          .unset = "none"),
    WORD(prometheus, translation_strategy, "translation_strategy", translations, "underscore_escaping_with_suffixes",
         "how names are written"),
    GROUP(prometheus, basic_auth, "basic_auth", basic_auth, "who may scrape", OURS),
    GROUP(prometheus, tls, "tls", tls,
          "certificate of the port; `ca_file`: who signs the certificates that scrapers must have. Read again when they change",
          OURS),
};
DEFINE(prometheus, prometheus, "prometheus/development", "A port to scrape.");
static const struct config_key pull_exporter_keys[] = {
    GROUP(pull_exporter, prometheus, "prometheus/development", prometheus, "Prometheus and OpenMetrics text"),
};
DEFINE(pull_exporter, pull_exporter, "a pull exporter", "One exporter of metrics that is asked.", ONE_OF);
static const struct config_key pull_keys[] = {
    GROUP(pull, exporter, "exporter", pull_exporter, "where they are asked for", REQUIRED),
    PRODUCERS,
    GROUP(pull, cardinality_limits, "cardinality_limits", cardinality, "series per metric", ALWAYS),
};
DEFINE(pull, pull, "pull", "Metrics that are scraped.");
static const struct config_key reader_keys[] = {
    GROUP(reader, periodic, "periodic", periodic, "pushed at intervals"),
    GROUP(reader, pull, "pull", pull, "scraped"),
};
DEFINE(reader, reader, "a reader", "One reader of metrics.", ONE_OF);
static const char *const instruments[] = { "counter",          "gauge",
                                           "histogram",        "observable_counter",
                                           "observable_gauge", "observable_up_down_counter",
                                           "up_down_counter",  NULL };
static const struct config_key view_selector_keys[] = {
    TEXT(view_selector, instrument_name, "instrument_name", NULL, "name or pattern", .unset = "every one"),
    WORD(view_selector, instrument_type, "instrument_type", instruments, NULL, "kind of instrument", .unset = "every one"),
    TEXT(view_selector, unit, "unit", NULL, "unit", .unset = "every one"),
    TEXT(view_selector, meter_name, "meter_name", NULL, "scope", .unset = "every one"),
    TEXT(view_selector, meter_version, "meter_version", NULL, "its version", .unset = "every one"),
    TEXT(view_selector, meter_schema_url, "meter_schema_url", NULL, "its schema", .unset = "every one"),
};
DEFINE(view_selector, view_selector, "selector", "Which metrics a view is for: all that is given holds.");
static const struct config_key explicit_buckets_keys[] = {
    { .name = "boundaries",
      .type = CONFIG_NUMBERS,
      AT(explicit_buckets, boundaries),
      .min = -1e308,
      .max = 1e308,
      .help = "upper bounds, ascending",
      .unset = "the conventions' for this metric, else OpenTelemetry's" },
    BOOL(explicit_buckets, record_min_max, "record_min_max", "true", "smallest and largest value"),
};
static void buckets_check(struct config_state *s, void *group, const struct config_node *at)
{
    UNUSED(s);
    const struct config_node *n = at->type == NODE_MAP ? config_node_get(at, "boundaries") : NULL;
    ((struct config_explicit_buckets *)group)->boundaries_given = n && !config_node_null(n);
}
DEFINE(explicit_buckets, explicit_buckets, "explicit_bucket_histogram", "Buckets by their bounds.", .check = buckets_check);
static const struct config_key exponential_buckets_keys[] = {
    INT(exponential_buckets, max_scale, "max_scale", -10, 20, "20", "finest scale"),
    INT(exponential_buckets, max_size, "max_size", 2, 1000, "160", "buckets in each direction"),
    BOOL(exponential_buckets, record_min_max, "record_min_max", "true", "smallest and largest value"),
};
DEFINE(exponential_buckets, exponential_buckets, "base2_exponential_bucket_histogram", "Buckets that find their own scale.");
static const struct config_key aggregation_keys[] = {
    GROUP(aggregation, fallback, "default", none, "the instrument's own"),
    GROUP(aggregation, drop, "drop", none, "no such metric"),
    GROUP(aggregation, explicit_bucket_histogram, "explicit_bucket_histogram", explicit_buckets, "a histogram by bounds"),
    GROUP(aggregation, base2_exponential_bucket_histogram, "base2_exponential_bucket_histogram", exponential_buckets,
          "an exponential histogram"),
    GROUP(aggregation, last_value, "last_value", none, "a gauge"),
    GROUP(aggregation, sum, "sum", none, "a sum"),
};
DEFINE(aggregation, aggregation, "an aggregation", "One aggregation.", ONE_OF);
static const struct config_key view_stream_keys[] = {
    TEXT(view_stream, name, "name", NULL, "new name", .unset = "the old one"),
    TEXT(view_stream, description, "description", NULL, "new description", .unset = "the old one"),
    GROUP(view_stream, aggregation, "aggregation", aggregation, "how values are put together", .unset = "default"),
    INT(view_stream, cardinality_limit, "aggregation_cardinality_limit", 1, 1e9, NULL, "series", .unset = "the reader's"),
    GROUP(view_stream, attribute_keys, "attribute_keys", selection, "which attributes are kept", .unset = "all"),
};
DEFINE(view_stream, view_stream, "stream", "What becomes of them.");
static const struct config_key view_keys[] = {
    GROUP(view, selector, "selector", view_selector, "which metrics", REQUIRED),
    GROUP(view, stream, "stream", view_stream, "what becomes of them", REQUIRED),
};
DEFINE(view, view, "a view", "One view.");
static const char *const exemplar_filters[] = { "always_on", "always_off", "trace_based", NULL };
static const struct config_key meter_provider_keys[] = {
    GROUPS(meter_provider, readers, "readers", reader, "where metrics go", REQUIRED),
    GROUPS(meter_provider, views, "views", view, "metrics dropped, renamed, made smaller"),
    WORD(meter_provider, exemplar_filter, "exemplar_filter", exemplar_filters, "trace_based", "which values become exemplars"),
    ANY("meter_configurator/development", "metrics don't come from meters of an SDK: use views", "meters by name"),
};
DEFINE(meter_provider, meter_provider, "meter_provider", "Metrics.");

/* --- logs --- */
BATCH(log, "1000", log_exporter, "log records");
static const struct config_key logger_provider_keys[] = {
    GROUPS(logger_provider, processors, "processors", log_processor, "where log records go", REQUIRED),
    GROUP(logger_provider, limits, "limits", log_limits, "limits of a record", ALWAYS),
    ANY("logger_configurator/development", "records don't come from loggers of an SDK: see wftrace.logs", "loggers by name"),
};
DEFINE(logger_provider, logger_provider, "logger_provider", "Log records.");

const char *const config_severities[] = { "trace",  "trace2", "trace3", "trace4", "debug",  "debug2", "debug3",
                                          "debug4", "info",   "info2",  "info3",  "info4",  "warn",   "warn2",
                                          "warn3",  "warn4",  "error",  "error2", "error3", "error4", "fatal",
                                          "fatal2", "fatal3", "fatal4", NULL };

/* --- the top --- */
#define TOP(field) .offset = offsetof(struct config, field)
static void top_check(struct config_state *s, void *group, const struct config_node *at)
{
    const struct config *c = group;
    const struct config_node *n = config_node_get(at, "file_format");
    const char *f = c->file_format;
    if (!f || n->at.origin != ORIGIN_FILE)
        return;
    if (!strncmp(f, "0.", 2) || !strncmp(f, "1.0-rc", 6))
        config_mistake(s, &n->at, "file_format \"%.20s\" is from before 1.0: bring the file to \"1.1\", whose keys differ", f);
    else if (strncmp(f, "1.", 2) || !isdigit((u8)f[2]) || f[2 + strspn(f + 2, "0123456789")])
        config_mistake(s, &n->at, "file_format \"%.20s\" is not known here: write file_format: \"1.1\"", f);
    else if (strcmp(f, "1.0") && strcmp(f, "1.1"))
        config_note(s, &n->at, "file_format \"%.20s\" is newer than 1.1: what came after it is not known here", f);
}
static const struct config_key top_keys[] = {
    { .name = "file_format", .type = CONFIG_TEXT, TOP(file_format), REQUIRED, .help = "version of the form: \"1.1\"" },
    { .name = "disabled",
      .type = CONFIG_BOOL,
      TOP(disabled),
      .flags = KEY_RESTART,
      .fallback = "false",
      .help = "true: nothing is attached" },
    { .name = "log_level",
      .type = CONFIG_WORD,
      TOP(log_level),
      .words = config_severities,
      .fallback = "info",
      .unset = NULL,
      .help = "of wftrace's own messages" },
    { .name = "attribute_limits",
      .type = CONFIG_GROUP,
      TOP(attribute_limits),
      .group = &config_group_attribute_limits,
      ALWAYS,
      .help = "limits of attributes of every signal" },
    { .name = "resource",
      .type = CONFIG_GROUP,
      TOP(resource),
      .group = &config_group_resource,
      ALWAYS,
      .help = "attributes of everything that is exported" },
    { .name = "propagator",
      .type = CONFIG_GROUP,
      TOP(propagator),
      .group = &config_group_propagator,
      .help = "forms of context",
      .unset = "tracecontext and baggage are read" },
    { .name = "tracer_provider",
      .type = CONFIG_GROUP,
      TOP(tracer_provider),
      .group = &config_group_tracer_provider,
      .help = "spans",
      .unset = "no spans are exported" },
    { .name = "meter_provider",
      .type = CONFIG_GROUP,
      TOP(meter_provider),
      .group = &config_group_meter_provider,
      .help = "metrics",
      .unset = "no metrics are made" },
    { .name = "logger_provider",
      .type = CONFIG_GROUP,
      TOP(logger_provider),
      .group = &config_group_logger_provider,
      .help = "log records",
      .unset = "no log records are made" },
    ANY("instrumentation/development", "there is no instrumentation library in a traced process", "instrumentation libraries"),
    ANY("distribution", "this is no distribution of an SDK: wftrace's own keys are under wftrace", "keys of distributions"),
    { .name = "wftrace",
      .type = CONFIG_GROUP,
      TOP(wftrace),
      .group = &config_group_wftrace,
      .flags = KEY_ALWAYS | KEY_OURS,
      .help = "what is wftrace's own" },
};
const struct config_group config_root_group = { .id = "configuration",
                                                .name = "the configuration",
                                                .help = "Keys of the top.",
                                                .size = sizeof(struct config),
                                                .keys = top_keys,
                                                .n = ARRAY_LEN(top_keys),
                                                .check = top_check };
