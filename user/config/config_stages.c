/* The keys of wftrace's processors and of its sampling: wftrace.processors, wftrace.sampling. */
#include "config/config_table.h"

static const char *const signals[] = { "traces", "logs", "metrics", NULL };
static const char *const kinds[] = { "internal", "server", "client", "producer", "consumer", NULL };
#define SIGNALS(S)  TEXTS(S, signals, "signals", "which signals", OURS, .words = signals, .unset = "all that it knows")
#define RESOURCE(S) BOOL(S, resource, "resource", "false", "the resource's attribute", OURS)
static void match_check(struct config_state *s, void *group, const struct config_node *at)
{
    const struct config_match *m = group;
    if (at->type == NODE_MAP && !at->n)
        config_mistake(s, &at->at, "an empty condition would hold for everything");
    if (m->value && !m->attribute)
        config_mistake(s, &at->at, "«value» is an attribute's: «attribute» is missing");
}
static const struct config_key match_keys[] = {
    TEXT(match, service, "service", NULL, "`service.name`, with `*` and `?`", OURS),
    TEXT(match, name, "name", NULL, "name of the span, metric or event, with `*` and `?`", OURS),
    TEXT(match, body, "body", NULL, "body of the log record, with `*` and `?`", OURS),
    TEXT(match, attribute, "attribute", NULL, "an attribute that is there", OURS),
    TEXT(match, value, "value", NULL, "… and has this text, with `*` and `?`", OURS),
    WORD(match, kind, "kind", kinds, NULL, "kind of span", OURS),
    WORD(match, min_severity, "min_severity", config_severities, NULL, "of a log record", OURS),
    WORD(match, max_severity, "max_severity", config_severities, NULL, "of a log record", OURS),
    TIME(match, min_duration, "min_duration", 0, NULL, "of a span", OURS),
    TIME(match, max_duration, "max_duration", 0, NULL, "of a span", OURS),
    BOOL(match, error, "error", "false", "only spans with an error", OURS),
};
DEFINE(match, match, "a condition", "All that is given holds.", .check = match_check);
static void filter_check(struct config_state *s, void *group, const struct config_node *at)
{
    const struct config_filter *f = group;
    if (!f->drop.n && !f->keep.n)
        config_mistake(s, &at->at, "a filter needs «drop» or «keep»");
}
static const struct config_key filter_keys[] = {
    SIGNALS(filter),
    GROUPS(filter, drop, "drop", match, "what any of these holds for goes", OURS),
    GROUPS(filter, keep, "keep", match, "what none of these holds for goes", OURS),
};
DEFINE(filter, filter, "filter", "What is not exported.", .check = filter_check);
static void attr_set_check(struct config_state *s, void *group, const struct config_node *at)
{
    const struct config_attr_set *a = group;
    if (!a->value == !a->from)
        config_mistake(s, &at->at, "«value» or «from», one of them");
}
static const struct config_key attr_set_keys[] = {
    TEXT(attr_set, key, "key", NULL, "attribute", .flags = KEY_OURS | KEY_REQUIRED),
    TEXT(attr_set, value, "value", NULL, "its text", OURS),
    TEXT(attr_set, from, "from", NULL, "or the attribute it is copied from", OURS),
    RESOURCE(attr_set),
};
DEFINE(attr_set, attr_set, "this step", "An attribute gets a value.", .check = attr_set_check);
static const struct config_key attr_key_keys[] = {
    TEXT(attr_key, key, "key", NULL, "attribute, with `*` and `?`", .flags = KEY_OURS | KEY_REQUIRED),
    RESOURCE(attr_key),
};
DEFINE(attr_key, attr_key, "delete", "An attribute goes.");
static const struct config_key attr_rename_keys[] = {
    TEXT(attr_rename, from, "from", NULL, "attribute", .flags = KEY_OURS | KEY_REQUIRED),
    TEXT(attr_rename, key, "key", NULL, "its new name", .flags = KEY_OURS | KEY_REQUIRED),
    RESOURCE(attr_rename),
};
DEFINE(attr_rename, attr_rename, "rename", "An attribute gets another name.");
static const struct config_key attr_hash_keys[] = {
    TEXT(attr_hash, key, "key", NULL, "attribute", .flags = KEY_OURS | KEY_REQUIRED),
    TEXT(attr_hash, secret, "secret", NULL, "HMAC-SHA-256 with this key", .flags = KEY_OURS | KEY_SECRET, .unset = "SHA-256"),
    RESOURCE(attr_hash),
};
DEFINE(attr_hash, attr_hash, "hash", "An attribute's value becomes its hash.");
static const struct config_key attr_extract_keys[] = {
    TEXT(attr_extract, key, "key", NULL, "attribute", .flags = KEY_OURS | KEY_REQUIRED),
    TEXT(attr_extract, pattern, "pattern", NULL, "PCRE2 whose named groups become attributes", .flags = KEY_OURS | KEY_REQUIRED),
    RESOURCE(attr_extract),
};
DEFINE(attr_extract, attr_extract, "extract", "Parts of a value become attributes.");
static const struct config_key attr_step_keys[] = {
    GROUP(attr_step, set, "set", attr_set, "set", OURS),
    GROUP(attr_step, insert, "insert", attr_set, "set where it is not there", OURS),
    GROUP(attr_step, update, "update", attr_set, "set where it is there", OURS),
    GROUP(attr_step, remove, "delete", attr_key, "delete", OURS),
    GROUP(attr_step, rename, "rename", attr_rename, "rename", OURS),
    GROUP(attr_step, hash, "hash", attr_hash, "hash", OURS),
    GROUP(attr_step, extract, "extract", attr_extract, "extract", OURS),
};
DEFINE(attr_step, attr_step, "a step", "One step.", ONE_OF);
static const struct config_key attributes_keys[] = {
    SIGNALS(attributes),
    GROUPS(attributes, steps, "steps", attr_step, "in this order", .flags = KEY_OURS | KEY_REQUIRED),
    GROUP(attributes, when, "when", match, "only for these", OURS),
};
DEFINE(attributes, attributes, "attributes", "Attributes set, removed, renamed, hashed, taken apart.");
static const struct config_key rename_step_keys[] = {
    TEXT(rename_step, pattern, "pattern", NULL, "PCRE2 over the name", .flags = KEY_OURS | KEY_REQUIRED),
    TEXT(rename_step, name, "name", NULL, "new name; `$1` is a group, `{key}` an attribute", .flags = KEY_OURS | KEY_REQUIRED),
};
DEFINE(rename_step, rename_step, "a step", "The first pattern that matches writes the name.");
static const struct config_key rename_keys[] = {
    SIGNALS(rename),
    GROUPS(rename, steps, "steps", rename_step, "in this order", .flags = KEY_OURS | KEY_REQUIRED),
    GROUP(rename, when, "when", match, "only for these", OURS),
};
DEFINE(rename, rename, "rename", "Names of spans written anew.");
static const struct config_key redact_keys[] = {
    SIGNALS(redact),
    BOOL(redact, presets, "presets", "true", "built-in key words and detectors: cards, tokens, keys, credentials, SQL literals",
         OURS),
    BOOL(redact, emails, "emails", "true", "e-mail addresses", OURS),
    BOOL(redact, ibans, "ibans", "true", "IBANs", OURS),
    BOOL(redact, query_strings, "query_strings", "false", "every value in a URL's query", OURS),
    TEXTS(redact, keys, "keys", "attributes whose value is replaced whole, with `*` and `?`", OURS),
    TEXTS(redact, allow, "allow", "attributes that are left alone, with `*` and `?`", OURS),
    TEXTS(redact, patterns, "patterns", "PCRE2: what matches is replaced", OURS),
};
DEFINE(redact, redact, "redact", "Secrets taken out of every text.");
#define BOUND(field, key, what) INT(limit, field, key, 0, 1e9, NULL, what, OURS, .unset = "no limit")
static const struct config_key limit_keys[] = {
    SIGNALS(limit),
    BOUND(max_attributes, "max_attributes", "attributes of an item"),
    BOUND(max_length, "max_length", "bytes of a value"),
    BOUND(max_events, "max_events", "events of a span"),
    BOUND(max_links, "max_links", "links of a span"),
    BOUND(max_body, "max_body", "bytes of a log record's body"),
};
DEFINE(limit, limit, "limit", "What goes beyond is dropped and counted in the item.");
static const struct config_key measure_keys[] = {
    TEXT(measure, name, "name", NULL, "metric", .flags = KEY_OURS | KEY_REQUIRED),
    TEXT(measure, unit, "unit", NULL, "its unit", OURS),
    TEXT(measure, of, "of", NULL, "attribute with the value, or `duration`", OURS, .unset = "1 for each span"),
    TEXTS(measure, by, "by", "attributes that make the series", OURS),
    BOOL(measure, histogram, "histogram", "false", "a histogram, not a counter", OURS),
    GROUP(measure, when, "when", match, "only for these", OURS),
};
DEFINE(measure, measure, "metric", "A metric made of spans.");
static const struct config_key plugin_keys[] = {
    SIGNALS(plugin),
    TEXT(plugin, file, "file", NULL, "shared object", .flags = KEY_OURS | KEY_REQUIRED),
    TEXT(plugin, config, "config", NULL, "text that it is given", OURS),
};
DEFINE(plugin, plugin, "plugin", "A processor of your own.");
static const struct config_key stage_keys[] = {
    GROUP(stage, filter, "filter", filter, "what is not exported", OURS),
    GROUP(stage, attributes, "attributes", attributes, "attributes changed", OURS),
    GROUP(stage, rename, "rename", rename, "names written anew", OURS),
    GROUP(stage, redact, "redact", redact, "secrets taken out", OURS),
    GROUP(stage, limit, "limit", limit, "counts and lengths", OURS),
    GROUP(stage, metric, "metric", measure, "a metric made of spans", OURS),
    GROUP(stage, plugin, "plugin", plugin, "a shared object", OURS),
};
SHARED(stage, stage, "a processor", "One processor.", ONE_OF);
static const struct config_key sampling_rule_keys[] = {
    TEXT(sampling_rule, label, "label", NULL, "said in `wftrace.sampling.rule`", OURS),
    TEXT(sampling_rule, service, "service", NULL, "`service.name`, with `*` and `?`", OURS, .unset = "any"),
    TEXT(sampling_rule, name, "name", NULL, "name of the trace's first span, with `*` and `?`", OURS, .unset = "any"),
    GROUP(sampling_rule, sampler, "sampler", sampler, "who decides then", .flags = KEY_OURS | KEY_REQUIRED),
};
DEFINE(sampling_rule, sampling_rule, "a rule", "A sampler of its own for a service or a workflow.");
static const struct config_key tail_keys[] = {
    BOOL(tail, errors, "errors", "true", "traces with an error are kept", OURS),
    TIME(tail, slower_than, "slower_than", 1, NULL, "traces that take this long are kept", OURS),
    TEXTS(tail, names, "names", "traces with a span so called are kept, with `*` and `?`", OURS),
    NUMBER(tail, ratio, "ratio", 0, 1, "0", "share of all others that is kept", OURS),
    TIME(tail, wait, "wait", 1, "2s", "how long a trace with nothing open waits for more", OURS),
    SIZE(tail, max_size, "max_size", 1 << 20, "64MiB", "memory; beyond it the longest running is kept", OURS),
    INT(tail, max_spans, "max_spans", 1, 1e8, "200000", "spans that wait", OURS),
    INT(tail, max_traces, "max_traces", 1, 1e8, "65536", "decisions remembered", OURS),
};
DEFINE(tail, tail, "tail", "What the whole trace turned out to be decides.");
static const struct config_key sampling_keys[] = {
    GROUPS(sampling, rules, "rules", sampling_rule, "the first that fits; else `tracer_provider.sampler`", OURS),
    GROUP(sampling, tail, "tail", tail, "after the fact", OURS),
};
SHARED(sampling, sampling, "sampling", "Sampling beyond one sampler.");
