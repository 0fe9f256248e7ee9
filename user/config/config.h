/* The configuration: one immutable `struct config`, made of YAML files in OpenTelemetry's declarative form («Declarative
 * configuration», file_format 1.x), of the OTEL_* variables when there is no file, and of the command line.
 *
 * The structs below are the specification's, key by key; config_table.c says of each key its type, bounds, default and
 * meaning, and everything else is made from that table: reading and its messages, `wftrace config explain`, the tables of
 * docs/configuration.md and the JSON Schema. A new key is a field here and a line there.
 *
 * How the table maps to C: a mapping is a pointer to its struct, NULL when it is not there (`always` groups are there with
 * their defaults in any case); a list is { v, n }; a «one of» mapping is a struct of pointers of which one is set; a number
 * that has no default is CONFIG_UNSET when it isn't given, a text NULL. All of it belongs to the config. */
#ifndef WF_CONFIG_CONFIG_H
#define WF_CONFIG_CONFIG_H

#include "base/base.h"

#define CONFIG_UNSET (-1)
#define CONFIG_LIST(type)                                                                                                        \
    struct {                                                                                                                     \
        type *v;                                                                                                                 \
        size_t n;                                                                                                                \
    }

struct config_empty { /* `console:`, `always_on:` … take no keys */
    char none;
};

/* --- shared --- */
struct config_pair { /* header: { name, value } */
    const char *name, *value;
};
struct config_selection { /* patterns with * and ? */
    CONFIG_LIST(const char *) included;
    CONFIG_LIST(const char *) excluded;
};
enum config_value_kind {
    CONFIG_VALUE_NULL,
    CONFIG_VALUE_TEXT,
    CONFIG_VALUE_BOOL,
    CONFIG_VALUE_INT,
    CONFIG_VALUE_DOUBLE,
    CONFIG_VALUE_LIST
};
struct config_value {
    enum config_value_kind kind;
    const char *text; /* as written, also of the others */
    s64 integer;      /* BOOL, INT */
    double number;    /* DOUBLE */
    CONFIG_LIST(struct config_value) items;
};
enum config_attr_type {
    CONFIG_ATTR_STRING,
    CONFIG_ATTR_BOOL,
    CONFIG_ATTR_INT,
    CONFIG_ATTR_DOUBLE,
    CONFIG_ATTR_STRING_ARRAY,
    CONFIG_ATTR_BOOL_ARRAY,
    CONFIG_ATTR_INT_ARRAY,
    CONFIG_ATTR_DOUBLE_ARRAY,
};
struct config_attribute {
    const char *name;
    struct config_value value; /* already of `type` */
    int type;                  /* enum config_attr_type */
};
struct config_detector { /* one of */
    struct config_empty *container, *host, *process, *service;
};
struct config_detection {
    struct config_selection *attributes;
    CONFIG_LIST(struct config_detector) detectors;
};
struct config_resource {
    CONFIG_LIST(struct config_attribute) attributes;
    const char *attributes_list; /* OTEL_RESOURCE_ATTRIBUTES' form; `attributes` wins */
    const char *schema_url;
    struct config_detection *detection;
};
struct config_attribute_limits {
    s64 value_length, value_depth, count;
};
struct config_propagator_entry { /* one of */
    struct config_empty *tracecontext, *baggage, *b3, *b3multi;
};
struct config_propagator {
    CONFIG_LIST(struct config_propagator_entry) composite;
    const char *composite_list;
};

/* --- exporters --- */
struct config_tls {
    const char *ca_file, *key_file, *cert_file;
    bool insecure; /* otlp_grpc only */
};
struct config_basic_auth {
    const char *username, *password, *password_file;
};
/* otlp_http and otlp_grpc, of all signals */
struct config_otlp {
    const char *endpoint;
    struct config_tls *tls;
    CONFIG_LIST(struct config_pair) headers;
    const char *headers_list;
    const char *compression; /* gzip, none; NULL: none */
    s64 timeout;             /* ms; 0: no limit */
    s64 max_request_size, max_response_size;
    int encoding;                  /* enum config_encoding; http only */
    int temporality, histogram;    /* enum config_temporality, config_histogram; metrics only */
    const char *bearer_token_file; /* read again when it changes */
    struct config_basic_auth *basic_auth;
    const char *proxy;
    s64 compression_level;
};
enum config_encoding { CONFIG_ENCODING_PROTOBUF, CONFIG_ENCODING_JSON };
enum config_temporality { CONFIG_TEMPORALITY_CUMULATIVE, CONFIG_TEMPORALITY_DELTA, CONFIG_TEMPORALITY_LOW_MEMORY };
enum config_histogram { CONFIG_HISTOGRAM_EXPLICIT, CONFIG_HISTOGRAM_EXPONENTIAL };
struct config_otlp_file {
    const char *output_stream; /* "stdout", "file:///path" */
    int temporality, histogram;
};
struct config_console {
    int format; /* enum config_console_format */
    int temporality, histogram;
};
enum config_console_format { CONFIG_CONSOLE_AUTO, CONFIG_CONSOLE_LIVE, CONFIG_CONSOLE_LINES, CONFIG_CONSOLE_JSON };
struct config_zipkin {
    const char *endpoint;
    s64 timeout; /* ms */
};
struct config_exporter { /* one of */
    struct config_otlp *otlp_http, *otlp_grpc;
    struct config_otlp_file *otlp_file;
    struct config_console *console;
    struct config_zipkin *zipkin; /* traces only */
    struct config_empty *store;   /* the embedded store: wftrace.store says where */
};
struct config_prometheus {
    const char *host;
    s64 port;
    bool scope_info, target_info;
    struct config_selection *resource_constant_labels;
    int translation_strategy; /* enum config_translation */
    struct config_basic_auth *basic_auth;
    struct config_tls *tls; /* of the listener: cert_file, key_file; ca_file is refused (exports.c) */
};
enum config_translation {
    CONFIG_TRANSLATION_UNDERSCORES,
    CONFIG_TRANSLATION_NO_SUFFIXES,
    CONFIG_TRANSLATION_UTF8,
    CONFIG_TRANSLATION_NONE
};

/* --- traces --- */
struct config_batch {
    s64 schedule_delay, export_timeout; /* ms; timeout 0: no limit */
    s64 max_queue_size, max_export_batch_size;
    struct config_exporter *exporter;
};
struct config_simple {
    struct config_exporter *exporter;
};
struct config_processor { /* one of */
    struct config_batch *batch;
    struct config_simple *simple;
};
struct config_span_limits {
    s64 value_length, value_depth, count, events, links, event_attributes, link_attributes;
};
struct config_ratio {
    double ratio;
};
struct config_sampler;
struct config_parent_based {
    struct config_sampler *root, *remote_sampled, *remote_not_sampled, *local_sampled, *local_not_sampled; /* NULL: default */
};
struct config_always_record {
    struct config_sampler *root;
};
struct config_composable;
struct config_threshold {
    struct config_composable *root;
};
struct config_rule_values {
    const char *key;
    CONFIG_LIST(const char *) values;
};
struct config_rule_patterns {
    const char *key;
    CONFIG_LIST(const char *) included;
    CONFIG_LIST(const char *) excluded;
};
struct config_sampler_rule {
    struct config_rule_values *attribute_values;
    struct config_rule_patterns *attribute_patterns;
    CONFIG_LIST(const char *) span_kinds; /* internal server client producer consumer */
    CONFIG_LIST(const char *) parent;     /* none remote local */
    struct config_composable *sampler;
};
struct config_rule_based {
    CONFIG_LIST(struct config_sampler_rule) rules;
};
struct config_composable { /* one of */
    struct config_empty *always_off, *always_on;
    struct config_threshold *parent_threshold;
    struct config_ratio *probability;
    struct config_rule_based *rule_based;
};
struct config_rate {
    double spans_per_second;
};
struct config_sampler { /* one of */
    struct config_empty *always_off, *always_on;
    struct config_always_record *always_record;
    struct config_composable *composite;
    struct config_parent_based *parent_based;
    struct config_ratio *probability, *trace_id_ratio_based;
    struct config_rate *rate_limiting;
};
struct config_tracer_provider {
    CONFIG_LIST(struct config_processor) processors;
    struct config_span_limits *limits;
    struct config_sampler *sampler; /* NULL: parent_based with always_on at the root */
};

/* --- metrics --- */
struct config_cardinality {
    s64 fallback, counter, gauge, histogram, observable_counter, observable_gauge, observable_up_down_counter, up_down_counter;
};
struct config_periodic {
    s64 interval, timeout; /* ms */
    s64 max_export_batch_size;
    struct config_exporter *exporter;
    struct config_cardinality *cardinality_limits;
};
struct config_pull_exporter { /* one of */
    struct config_prometheus *prometheus;
};
struct config_pull {
    struct config_pull_exporter *exporter;
    struct config_cardinality *cardinality_limits;
};
struct config_reader { /* one of */
    struct config_periodic *periodic;
    struct config_pull *pull;
};
enum config_instrument {
    CONFIG_INSTRUMENT_ANY = CONFIG_UNSET,
    CONFIG_INSTRUMENT_COUNTER,
    CONFIG_INSTRUMENT_GAUGE,
    CONFIG_INSTRUMENT_HISTOGRAM,
    CONFIG_INSTRUMENT_OBSERVABLE_COUNTER,
    CONFIG_INSTRUMENT_OBSERVABLE_GAUGE,
    CONFIG_INSTRUMENT_OBSERVABLE_UP_DOWN_COUNTER,
    CONFIG_INSTRUMENT_UP_DOWN_COUNTER,
};
struct config_view_selector {
    const char *instrument_name; /* pattern with * and ? */
    int instrument_type;         /* enum config_instrument */
    const char *unit, *meter_name, *meter_version, *meter_schema_url;
};
struct config_explicit_buckets {
    CONFIG_LIST(double) boundaries; /* ascending; given: also when empty */
    bool boundaries_given, record_min_max;
};
struct config_exponential_buckets {
    s64 max_scale, max_size;
    bool record_min_max;
};
struct config_aggregation { /* one of */
    struct config_empty *fallback, *drop, *last_value, *sum;
    struct config_explicit_buckets *explicit_bucket_histogram;
    struct config_exponential_buckets *base2_exponential_bucket_histogram;
};
struct config_view_stream {
    const char *name, *description;
    struct config_aggregation *aggregation;
    s64 cardinality_limit;
    struct config_selection *attribute_keys;
};
struct config_view {
    struct config_view_selector *selector;
    struct config_view_stream *stream;
};
enum config_exemplar_filter { CONFIG_EXEMPLAR_ALWAYS_ON, CONFIG_EXEMPLAR_ALWAYS_OFF, CONFIG_EXEMPLAR_TRACE_BASED };
struct config_meter_provider {
    CONFIG_LIST(struct config_reader) readers;
    CONFIG_LIST(struct config_view) views;
    int exemplar_filter; /* enum config_exemplar_filter */
};

/* --- logs --- */
struct config_logger_provider {
    CONFIG_LIST(struct config_processor) processors;
    struct config_attribute_limits *limits;
};

/* --- wftrace: what is our own --- */
struct config_target { /* all that are given must hold */
    const char *name, *exe, *cgroup, *container, *unit;
    s64 port;
};
struct config_targets {
    CONFIG_LIST(struct config_target) include;
    CONFIG_LIST(struct config_target) exclude;
};
struct config_text { /* a part of a file, everything else in it blanked, so that lines and columns stand */
    const char *file, *text;
    size_t len;
};
struct config_rules {
    CONFIG_LIST(const char *) files;
    struct config_text activities, packs; /* text NULL: none */
};
struct config_store {
    const char *file;
    s64 max_size, max_age; /* bytes, ms */
};
struct config_spool {
    const char *dir;
    s64 max_size, max_age; /* bytes, ms */
    int fsync;             /* enum config_fsync */
};
enum config_fsync { CONFIG_FSYNC_NEVER, CONFIG_FSYNC_SEGMENT, CONFIG_FSYNC_ALWAYS };
struct config_logs {
    bool stdio; /* what traced processes write to standard output and error */
    CONFIG_LIST(const char *) files;
    int level; /* enum config_severity: what is below is not kept */
    s64 rate;  /* lines a second and process */
};
struct config_activities {
    s64 running_after, stuck_after; /* ms; CONFIG_UNSET: never */
    bool log;
};
struct config_llm {
    s64 chunk_events;
    const char *prices; /* file, NULL: the built-in list */
};
struct config_self {
    const char *listen; /* HOST:PORT */
};
enum config_privacy { CONFIG_PRIVACY_STRICT, CONFIG_PRIVACY_OFF };
enum config_propagation { CONFIG_PROPAGATION_OFF, CONFIG_PROPAGATION_HTTP, CONFIG_PROPAGATION_ALL };
/* What a processor is for: all that is given must hold. Patterns have * and ?. */
struct config_match {
    const char *service, *name, *body, *attribute, *value;
    int kind;                       /* 0 internal … 4 consumer; CONFIG_UNSET: any */
    int min_severity, max_severity; /* enum config_severity; CONFIG_UNSET */
    s64 min_duration, max_duration; /* ms; CONFIG_UNSET */
    bool error;                     /* only spans with an error */
};
struct config_filter {
    CONFIG_LIST(const char *) signals; /* empty: all; likewise below */
    CONFIG_LIST(struct config_match) drop;
    CONFIG_LIST(struct config_match) keep;
};
struct config_attr_set {
    const char *key, *value, *from;
    bool resource;
};
struct config_attr_key {
    const char *key;
    bool resource;
};
struct config_attr_rename {
    const char *from, *key;
    bool resource;
};
struct config_attr_hash {
    const char *key, *secret;
    bool resource;
};
struct config_attr_extract {
    const char *key, *pattern;
    bool resource;
};
struct config_attr_step { /* one of */
    struct config_attr_set *set, *insert, *update;
    struct config_attr_key *remove;
    struct config_attr_rename *rename;
    struct config_attr_hash *hash;
    struct config_attr_extract *extract;
};
struct config_attributes {
    CONFIG_LIST(const char *) signals;
    CONFIG_LIST(struct config_attr_step) steps;
    struct config_match *when;
};
struct config_rename_step {
    const char *pattern, *name;
};
struct config_rename {
    CONFIG_LIST(const char *) signals;
    CONFIG_LIST(struct config_rename_step) steps;
    struct config_match *when;
};
struct config_redact {
    CONFIG_LIST(const char *) signals;
    bool presets, emails, ibans, query_strings;
    CONFIG_LIST(const char *) keys;
    CONFIG_LIST(const char *) allow;
    CONFIG_LIST(const char *) patterns;
};
struct config_limit {
    CONFIG_LIST(const char *) signals;
    s64 max_attributes, max_length, max_events, max_links, max_body; /* CONFIG_UNSET: none */
};
struct config_measure {
    const char *name, *unit, *of;
    CONFIG_LIST(const char *) by;
    bool histogram;
    struct config_match *when;
};
struct config_plugin {
    CONFIG_LIST(const char *) signals;
    const char *file, *config;
};
struct config_stage { /* one of */
    struct config_filter *filter;
    struct config_attributes *attributes;
    struct config_rename *rename;
    struct config_redact *redact;
    struct config_limit *limit;
    struct config_measure *metric;
    struct config_plugin *plugin;
};
struct config_sampling_rule {
    const char *label, *service, *name;
    struct config_sampler *sampler;
};
struct config_tail {
    bool errors;
    s64 slower_than; /* ms; CONFIG_UNSET: no such rule */
    CONFIG_LIST(const char *) names;
    double ratio;
    s64 wait, max_size, max_spans, max_traces; /* ms, bytes */
};
struct config_sampling {
    CONFIG_LIST(struct config_sampling_rule) rules;
    struct config_tail *tail; /* NULL: none */
};
struct config_wftrace {
    bool enabled;
    struct config_rules *rules;
    struct config_targets *targets;
    const char *bridge_folder;
    int privacy, propagation; /* enum config_privacy, config_propagation */
    CONFIG_LIST(const char *) baggage;
    struct config_store *store;
    struct config_spool *spool;
    s64 memory_limit, shutdown_timeout; /* bytes, ms */
    struct config_logs *logs;
    struct config_activities *activities;
    struct config_llm *llm;
    struct config_self *self;
    CONFIG_LIST(struct config_stage) processors; /* in order */
    struct config_sampling *sampling;
};

/* trace trace2 … fatal4, as OpenTelemetry's severity numbers less one */
enum config_severity {
    CONFIG_SEVERITY_TRACE = 0,
    CONFIG_SEVERITY_DEBUG = 4,
    CONFIG_SEVERITY_INFO = 8,
    CONFIG_SEVERITY_WARN = 12,
    CONFIG_SEVERITY_ERROR = 16,
    CONFIG_SEVERITY_FATAL = 20
};

struct config {
    const char *file_format;
    bool disabled;
    int log_level;                                    /* enum config_severity */
    struct config_attribute_limits *attribute_limits; /* always */
    struct config_resource *resource;                 /* always */
    struct config_propagator *propagator;
    struct config_tracer_provider *tracer_provider; /* NULL: none is configured; likewise the next two */
    struct config_meter_provider *meter_provider;
    struct config_logger_provider *logger_provider;
    struct config_wftrace *wftrace; /* always */
    struct config_state *state;     /* private: memory, and where each value came from */
};

/* What a value of the command line stands for: a path of keys («wftrace.privacy») and its text. */
struct config_flag {
    const char *path, *value, *flag; /* flag: "--privacy", for explain */
};
struct config_input {
    const char *const *files; /* base first; each next one goes over it: mappings merge, lists and values are replaced */
    size_t n_files;
    const struct config_flag *flags;
    size_t n_flags;
    const char *(*env)(void *arg, const char *name); /* NULL: getenv */
    void *env_arg;
};

/* Sentences, one a line: "FILE:LINE:COLUMN: what is wrong (did you mean …?)". */
struct config_says {
    char text[8192];
    size_t used;
    u32 n, left_out;
};

/* 0 and an immutable config; -EINVAL with every mistake in `mistakes`; -errno when a file cannot be read (said there too).
 * `notes` gets what has no effect and why. With files, OTEL_* variables count only where a file names them (${NAME}), as
 * the specification has it; without, they are the configuration. No secret is ever in either text. */
int config_load(const struct config_input *in, struct config **ret, struct config_says *mistakes, struct config_says *notes);
struct config *config_free(struct config *c); /* NULL */
/* Zeroed memory that dies with the configuration: for what is made of it. NULL: none left. */
void *config_keep(struct config *c, size_t size);

/* Whether nothing is to be traced: disabled: true, wftrace.enabled: false, or OTEL_SDK_DISABLED without a file. */
bool config_off(const struct config *c);

/* «config explain»: each key that has a value, the value, and where it came from. Secrets are <secret>. */
void config_explain(const struct config *c, bool json, FILE *to);

/* Whether everything below a path («resource») says the same in both. */
bool config_same(const struct config *a, const struct config *b, const char *path);
/* The keys whose value is another now and takes effect with the next start only, separated by ", "; how many. */
size_t config_restarts(const struct config *old, const struct config *now, char *ret, size_t size);

bool config_given(const struct config *c, const char *path); /* somebody wrote it: it is no default */
/* Where the value at a path («tracer_provider.processors[0].batch.exporter») was written: "FILE:LINE:COLUMN", a variable, an
 * option, or "default"; of what is not there, its nearest ancestor. */
const char *config_where(const struct config *c, const char *path, char *ret, size_t size);

/* From the table: the tables of docs/configuration.md, and a JSON Schema (2020-12) for editors. */
void config_write_docs(FILE *to);
void config_write_variables(FILE *to);
void config_write_schema(FILE *to);

#endif
