/* What each option does. Most put a text, a duration or a mark into a field and say so in the table; the others have a function. */
#include "cli/cli.h"
#include "cli/enlist.h"
#include "cli/memory.h"
#include "base/log.h"
#include "pipeline/logs_line.h"
#include "protocol/llm.h"

#define SENTENCE(...) (snprintf(err, err_size, __VA_ARGS__), -1)

/* --- those with a function --- */

static int set_rules(struct options *o, const char *value, char *err, size_t err_size)
{
    if (o->agent.n_rule_files == AGENT_RULE_FILES)
        return SENTENCE("more than %d rule files", AGENT_RULE_FILES);
    o->agent.rule_files[o->agent.n_rule_files++] = value;
    return 0;
}

static int set_export(struct options *o, const char *value, char *err, size_t err_size)
{
    struct export_spec specs[SIGNAL_MAX];
    char why[512] = "";
    size_t n;
    if (export_specs_parse(value, specs, &n, why, sizeof(why)))
        return SENTENCE("--export %s: %s", value, why);
    if (o->agent.n_exports + n > AGENT_EXPORTS)
        return SENTENCE("more than %d exporters", AGENT_EXPORTS / SIGNAL_MAX);
    memcpy(&o->agent.exports[o->agent.n_exports], specs, n * sizeof(*specs));
    o->agent.n_exports += n;
    return 0;
}

static int set_spool(struct options *o, const char *value, char *err, size_t err_size)
{
    static char text[1024]; /* what was parsed borrows from it */
    if (strlen(value) >= sizeof(text))
        return SENTENCE("--spool: the name is too long");
    strcpy(text, value);
    return export_spool_parse(text, &o->agent.queues.spool, err, err_size) ? -1 : 0;
}

static int set_memory(struct options *o, const char *value, char *err, size_t err_size)
{
    u64 bytes;
    if (export_size_parse(slice_str(value), &bytes) || bytes < MEMORY_LEAST)
        return SENTENCE("--memory-limit %s: a size of 48MB or more: 256MB, 2GB", value);
    o->agent.memory_limit = bytes;
    return 0;
}

static int set_privacy(struct options *o, const char *value, char *err, size_t err_size)
{
    bool off = !strcmp(value, "off");
    if (!off && strcmp(value, "strict"))
        return SENTENCE("--privacy %s: strict or off", value);
    o->agent.keep_values = off;
    o->agent.privacy_set = true;
    return 0;
}

/* all, or the least severity that is wanted */
static int set_logs(struct options *o, const char *value, char *err, size_t err_size)
{
    u8 least = log_severity(slice_str(value));
    if (!least && strcmp(value, "all") && strcmp(value, "off"))
        return SENTENCE("--logs %s: off, all, or the least severity: debug, info, warn, error, fatal", value);
    o->agent.logs = strcmp(value, "off") != 0;
    o->agent.log_options.min_severity = least;
    return 0;
}

static int set_chunk_events(struct options *o, const char *value, char *err, size_t err_size)
{
    u64 n;
    if (slice_u64(slice_str(value), &n) || n > LLM_CHUNK_EVENTS_MAX)
        return SENTENCE("--chunk-events %s: a number up to %d", value, LLM_CHUNK_EVENTS_MAX);
    o->agent.chunk_events = (u16)n;
    o->chunk_events = value;
    return 0;
}

static int set_prices(struct options *o, const char *value, char *err, size_t err_size)
{
    o->prices = value;
    return *value ? 0 : SENTENCE("--prices: which file?");
}

static int only_value(const char *name, const char *value, const char *only, char *err, size_t err_size)
{
    if (!strcmp(value, only))
        return 0;
    return SENTENCE("--%s %s is not in this version; it is always %s", name, value, only);
}

static int set_sample(struct options *o, const char *value, char *err, size_t err_size)
{
    char why[256] = "";
    if (sampler_parse_ratio(value, &o->agent.pipeline.sampler.sampler, why, sizeof(why)))
        return SENTENCE("--sample: %s", why);
    return 0;
}

static int set_bridge(struct options *o, const char *value, char *err, size_t err_size)
{
    static const char *const words[] = { "auto", "on", "off" };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (!strcmp(value, words[i])) {
            o->bridge = (enum bridge_choice)i;
            return 0;
        }
    return SENTENCE("--bridge %s: auto, on or off", value);
}

static int set_packs(struct options *o, const char *value, char *err, size_t err_size)
{
    o->packs = value;
    return packs_check(value, err, err_size);
}

static int set_propagate(struct options *o, const char *value, char *err, size_t err_size)
{
    return only_value("propagate", value, "off", err, err_size);
}

static int set_config(struct options *o, const char *value, char *err, size_t err_size)
{
    if (o->n_config_files == CLI_CONFIGS)
        return SENTENCE("more than %d configuration files", CLI_CONFIGS);
    if (!*value)
        return SENTENCE("--config wants a file");
    o->config_files[o->n_config_files++] = value;
    return 0;
}

static int set_tail(struct options *o, const char *value, char *err, size_t err_size)
{
    char why[256] = "";
    if (tail_parse(value, &o->agent.pipeline.tail, why, sizeof(why)))
        return SENTENCE("--tail: %s", why);
    return 0;
}

/* FILE[=CONFIG], split in place: argv is ours. */
static int add_plugin(struct options *o, const char *value, char *err, size_t err_size)
{
    char *equals = strchr((char *)(uintptr_t)value, '=');
    if (!*value || equals == value)
        return SENTENCE("--plugin wants a shared object: FILE or FILE=CONFIG");
    if (o->n_plugins == CLI_PLUGINS)
        return SENTENCE("more than %d --plugin", CLI_PLUGINS);
    if (equals)
        *equals = 0;
    o->plugins[o->n_plugins++] =
        (struct processor_spec){ .kind = "plugin", .plugin = { .file = value, .config = equals ? equals + 1 : NULL } };
    return 0;
}

static int set_last(struct options *o, const char *value, char *err, size_t err_size)
{
    u64 n;
    if (slice_u64(slice_str(value), &n) || !n || n > 1000000)
        return SENTENCE("--last %s: not a number of traces (1 to 1000000)", value);
    o->query.last = (u32)n;
    return 0;
}

/* Split in place: argv is ours. */
static int add_attr(struct options *o, const char *value, char *err, size_t err_size)
{
    char *equals = strchr((char *)(uintptr_t)value, '=');
    if (!equals || equals == value)
        return SENTENCE("--attr %s: write key=value", value);
    if (o->query.n_attrs == STORE_ATTRS)
        return SENTENCE("more than %d --attr", STORE_ATTRS);
    *equals = 0;
    o->query.attr[o->query.n_attrs].key = value;
    o->query.attr[o->query.n_attrs++].value = equals + 1;
    return 0;
}

static int set_quiet(struct options *o, const char *value, char *err, size_t err_size)
{
    o->quiet = true;
    log_level = LOG_ERROR;
    return 0;
}

static int set_verbose(struct options *o, const char *value, char *err, size_t err_size)
{
    o->verbose = true;
    log_level = log_level < LOG_INFO ? LOG_INFO : LOG_DEBUG;
    return 0;
}

static int add_selector(struct options *o, enum selector_kind kind, const char *value, char *err, size_t err_size)
{
    if (o->n_select == CLI_SELECTORS)
        return SENTENCE("more than %d targets", CLI_SELECTORS);
    if (!*value)
        return SENTENCE("an empty name selects nothing");
    o->select[o->n_select++] = (struct selector){ .kind = kind, .text = value };
    return 0;
}

static int add_number(struct options *o, enum selector_kind kind, const char *value, u64 max, const char *what, char *err,
                      size_t err_size)
{
    u64 n;
    if (slice_u64(slice_str(value), &n) || !n || n > max)
        return SENTENCE("'%s' is not a %s (1 to %llu)", value, what, (unsigned long long)max);
    int code = add_selector(o, kind, value, err, err_size);
    if (!code)
        o->select[o->n_select - 1].number = (u32)n;
    return code;
}

static int add_pid(struct options *o, const char *value, char *err, size_t err_size)
{
    return add_number(o, SELECT_PID, value, 4194304, "process id", err, err_size);
}

static int add_port(struct options *o, const char *value, char *err, size_t err_size)
{
    return add_number(o, SELECT_PORT, value, 65535, "port", err, err_size);
}

static int add_container(struct options *o, const char *value, char *err, size_t err_size)
{
    if (strlen(value) < 4)
        return SENTENCE("--container %s: at least the first 4 digits of the id", value);
    return add_selector(o, SELECT_CONTAINER, value, err, err_size);
}

#define TEXT(field)     .shape = OPTION_TEXT, .into = offsetof(struct options, field)
#define DURATION(field) .shape = OPTION_DURATION, .into = offsetof(struct options, field)
#define MARK(field)     .shape = OPTION_MARK, .into = offsetof(struct options, field)
#define SELECTOR(k)     .shape = OPTION_SELECTOR, .selector = k
const struct option option_table[] = {
    { "pid", 'p', "N", TAKES_TARGET, "this process and the children it makes", .set = add_pid },
    { "name", 'n', "GLOB", TAKES_TARGET, "processes whose program or script is called so", SELECTOR(SELECT_NAME) },
    { "port", 0, "N", TAKES_TARGET, "the processes that listen on this TCP port", .set = add_port },
    { "cgroup", 0, "PATH", TAKES_TARGET, "all processes in this control group", SELECTOR(SELECT_CGROUP) },
    { "unit", 'u', "NAME", TAKES_TARGET, "all processes of this systemd unit", SELECTOR(SELECT_UNIT) },
    { "container", 0, "ID", TAKES_TARGET, "all processes of this container (beginning of its id)", .set = add_container },
    { "config", 'c', "FILE", TAKES_EXPORT, "configuration; repeatable, later files go over earlier ones", .set = set_config },
    { "rules", 'r', "FILE", TAKES_RULES, "activities to watch, in YAML (repeatable)", .set = set_rules },
    { "packs", 0, "off|NAME,…", TAKES_LIVE, "engines to know (default: those that are installed)", .set = set_packs },
    { "bridge", 0, "auto|on|off", TAKES_LIVE, "the helper inside Python processes (auto: when a rule or a pack needs it)",
      .set = set_bridge },
    { "export", 'e', "SPEC", TAKES_EXPORT, "where spans go (repeatable); see below", .set = set_export },
    { "spool", 0, "DIR", TAKES_EXPORT,
      "keep what a receiver has not taken yet on disk: DIR[,max=256MB][,age=1d][,fsync=never|segment|always]", .set = set_spool },
    { "memory-limit", 0, "SIZE", TAKES_EXPORT,
      "memory of the whole of wftrace (default: 1GB, or three quarters of what its control group may have)", .set = set_memory },
    { "service", 0, "NAME", TAKES_EXPORT, "service.name of everything that is traced", TEXT(agent.service) },
    { "for", 0, "DURATION", TAKES_LIVE, "stop tracing after 10s, 2m, 1h, 500ms", DURATION(for_ns) },
    { "capture", 0, "FILE", TAKES_LIVE, "keep what was seen, for wftrace replay (holds payload bytes)", TEXT(agent.capture) },
    { "privacy", 0, "strict|off", TAKES_EXPORT, "off: statements and values as they are (default: strict)", .set = set_privacy },
    { "sample", 0, "RATIO", TAKES_EXPORT, "keep this part of the traces (0.1, 10%); metrics count all", .set = set_sample },
    { "logs", 0, "off|all|LEVEL", TAKES_EXPORT,
      "standard output and error as log records, with the ids of who wrote them (default: off)", .set = set_logs },
    { "prices", 0, "FILE", TAKES_EXPORT, "what model calls cost, instead of the built-in list", .set = set_prices },
    { "chunk-events", 0, "N", TAKES_EXPORT, "the first N pieces of a model's streamed answer as events (default: 0)",
      .set = set_chunk_events },
    { "tail", 0, "RULES", TAKES_EXPORT, "keep traces by how they end: errors,slow=5s,name=GLOB,ratio=0.05", .set = set_tail },
    { "plugin", 0, "FILE[=CONFIG]", TAKES_EXPORT, "a processor of your own in a shared object (repeatable)", .set = add_plugin },
    { "store", 0, "FILE", TAKES_STORE, "the store to read (default: in the state folder)", TEXT(store) },
    { "last", 0, "N", TAKES_STORE, "the N newest traces", .set = set_last },
    { "errors", 0, NULL, TAKES_STORE, "only traces with an error", MARK(query.errors) },
    { "service", 0, "GLOB", TAKES_STORE, "only traces in which this service took part", TEXT(query.service) },
    { "name", 0, "GLOB", TAKES_STORE, "only traces with a span so called", TEXT(query.name) },
    { "since", 0, "DURATION", TAKES_STORE, "only traces that began so long ago or later: 10m, 1h", DURATION(since_ago_ns) },
    { "min-duration", 0, "DURATION", TAKES_STORE, "only traces that took so long or longer", DURATION(query.min_ns) },
    { "attr", 0, "KEY=VALUE", TAKES_STORE, "only traces with a span that has this attribute (repeatable)", .set = add_attr },
    { "json", 'j', NULL, TAKES_JSON, "JSON instead of text", MARK(json) },
    { "no-color", 0, NULL, TAKES_COMMON, "no colours", MARK(no_color) },
    { "quiet", 'q', NULL, TAKES_COMMON, "no warnings, no closing line", .set = set_quiet },
    { "verbose", 'v', NULL, TAKES_COMMON, "more about what happens; twice: everything", .set = set_verbose },
    { "help", 'h', NULL, TAKES_COMMON, "this text", MARK(help) },
    { "propagate", 0, "off|http|all", TAKES_LIVE, NULL, .set = set_propagate },
    { NULL },
};

int option_take(const struct option *opt, struct options *o, const char *value, char *err, size_t err_size)
{
    void *into = (char *)o + opt->into;
    switch (opt->shape) {
    case OPTION_TEXT:
        if (!*value)
            return SENTENCE("--%s wants a value: --%s %s", opt->name, opt->name, opt->value);
        *(const char **)into = value;
        return 0;
    case OPTION_DURATION:
        return duration_parse(value, into) ? SENTENCE("--%s %s: not a duration; write 500ms, 10s, 2m or 1h", opt->name, value)
                                           : 0;
    case OPTION_MARK:
        *(bool *)into = true;
        return 0;
    case OPTION_SELECTOR:
        return add_selector(o, opt->selector, value, err, err_size);
    case OPTION_FUNCTION:
        break;
    }
    return opt->set(o, value, err, err_size);
}
