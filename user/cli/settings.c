/* struct config → what the agent is opened with. An option of the command line stands above the file: -e in place of all
 * exporters, -r beside the file's rules, --service, --privacy, -q and -v each above its key. */
#include "base/log.h"
#include "cli/session.h"
#include "protocol/llm.h"
#include "workflow/packs.h"

#include <ctype.h>
#include <glob.h>

#define PRICES_FILE_MAX (4u << 20)

static void log_lines(const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        log_warn("config", "%.*s", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

int session_config(struct options *o, char *err, size_t err_size)
{
    static struct config_says mistakes, notes; /* large */
    const char *old = getenv("OTEL_EXPERIMENTAL_CONFIG_FILE"), *file = getenv("OTEL_CONFIG_FILE");
    struct config_flag flags[5];
    struct config_input in = { .files = o->config_files, .n_files = o->n_config_files, .flags = flags };
    if (!file || !*file)
        file = old && *old ? old : NULL;
    if (!in.n_files && file) {
        in.files = &file;
        in.n_files = 1;
    }
    session_signal.reloads = in.n_files > 0;
    if (o->agent.privacy_set)
        flags[in.n_flags++] = (struct config_flag){ "wftrace.privacy", o->agent.keep_values ? "off" : "strict", "--privacy" };
    if (o->chunk_events)
        flags[in.n_flags++] = (struct config_flag){ "wftrace.llm.chunk_events", o->chunk_events, "--chunk-events" };
    if (o->prices)
        flags[in.n_flags++] = (struct config_flag){ "wftrace.llm.prices", o->prices, "--prices" };
    if (o->quiet || o->verbose)
        flags[in.n_flags++] = (struct config_flag){ "log_level",
                                                    log_level == LOG_ERROR  ? "error"
                                                    : log_level == LOG_INFO ? "info"
                                                                            : "debug",
                                                    o->quiet ? "--quiet" : "--verbose" };
    int code = config_load(&in, &o->config, &mistakes, &notes);
    if (code)
        snprintf(err, err_size, "%s", mistakes.n ? mistakes.text : "out of memory");
    log_lines(notes.text);
    return code;
}

/* --- resource --- */
static void resource_value(struct attr_set *set, const struct config_attribute *a)
{
    const struct config_value *v = &a->value;
    struct slice items[32];
    size_t n = 0;
    const char *key = intern(a->name);
    switch (v->kind) {
    case CONFIG_VALUE_TEXT:
        attr_str(set, key, slice_str(v->text));
        break;
    case CONFIG_VALUE_BOOL:
        attr_bool(set, key, v->integer);
        break;
    case CONFIG_VALUE_INT:
        attr_int(set, key, v->integer);
        break;
    case CONFIG_VALUE_DOUBLE:
        attr_double(set, key, v->number);
        break;
    case CONFIG_VALUE_LIST: /* attributes of wftrace know lists of texts only */
        for (; n < v->items.n && n < ARRAY_LEN(items); n++)
            items[n] = slice_str(v->items.v[n].text);
        attr_strv(set, key, items, n);
        break;
    case CONFIG_VALUE_NULL:
        break;
    }
}

static size_t percent_decode(struct slice in, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < in.n && n + 1 < size; i++) {
        unsigned byte;
        if (in.p[i] == '%' && i + 2 < in.n + 0 && isxdigit(in.p[i + 1]) && isxdigit(in.p[i + 2]) &&
            sscanf((const char *)in.p + i + 1, "%2x", &byte) == 1) {
            out[n++] = (char)byte;
            i += 2;
        } else {
            out[n++] = (char)in.p[i];
        }
    }
    out[n] = 0;
    return n;
}

static void resource_list(struct attr_set *set, const char *list)
{
    while (list && *list) {
        size_t n = strcspn(list, ",");
        struct slice pair = slice_trim(slice_of(list, n));
        ptrdiff_t eq = slice_find(pair, '=');
        char name[256], value[1024];
        if (eq > 0) {
            struct slice key = slice_trim(slice_head(pair, (size_t)eq));
            size_t len = percent_decode(slice_trim(slice_from(pair, (size_t)eq + 1)), value, sizeof(value));
            percent_decode(key, name, sizeof(name));
            attr_str(set, intern(name), slice_of(value, len));
        }
        list += n + (list[n] == ',');
    }
}

static void apply_resource(struct options *o)
{
    const struct config_resource *from = o->config->resource;
    struct resource *r = o->resource = resource_new();
    if (!r)
        return;
    resource_list(&r->attrs, from->attributes_list);
    for (size_t i = 0; i < from->attributes.n; i++)
        resource_value(&r->attrs, &from->attributes.v[i]);
    const struct attr *name = attr_get(&r->attrs, "service.name");
    bool own = name && name->type == ATTR_STR && name->len && strncmp(name->s, "unknown_service", 15);
    if (own && !o->agent.service)
        o->agent.service = name->s;
    o->agent.resource = r;
}

/* --- context --- */
static bool list_names(const char *list, const char *word)
{
    while (list && *list) {
        size_t n = strcspn(list, ",");
        if (slice_ieq(slice_trim(slice_of(list, n)), word))
            return true;
        list += n + (list[n] == ',');
    }
    return false;
}

/* Which forms are read: those that are named, both when none is. */
static void apply_context(struct options *o)
{
    const struct config_propagator *p = o->config->propagator;
    bool named = p && (p->composite.n || (p->composite_list && *p->composite_list));
    bool trace = !named || list_names(p->composite_list, "tracecontext");
    bool baggage = !named || list_names(p->composite_list, "baggage");
    for (size_t i = 0; named && i < p->composite.n; i++) {
        trace |= p->composite.v[i].tracecontext != NULL;
        baggage |= p->composite.v[i].baggage != NULL;
    }
    o->agent.no_traceparent = !trace;
    if (!baggage)
        return;
    const char **keys = config_keep(o->config, (o->config->wftrace->baggage.n + 1) * sizeof(*keys));
    for (size_t i = 0; keys && i < o->config->wftrace->baggage.n; i++)
        keys[o->agent.n_baggage++] = intern(o->config->wftrace->baggage.v[i]);
    o->agent.baggage = keys;
}

/* --- rules --- */
static int add_rule_file(struct agent_options *a, const char *path, char *err, size_t err_size)
{
    if (a->n_rule_files == AGENT_RULE_FILES) {
        snprintf(err, err_size, "more than %d rule files", AGENT_RULE_FILES);
        return -EINVAL;
    }
    a->rule_files[a->n_rule_files++] = intern(path);
    return 0;
}

static int apply_rules(struct options *o, char *err, size_t err_size)
{
    const struct config_rules *r = o->config->wftrace->rules;
    const struct config_text *parts[] = { r ? &r->packs : NULL, r ? &r->activities : NULL };
    int code = 0;
    for (size_t i = 0; r && i < ARRAY_LEN(parts); i++)
        if (parts[i]->text)
            o->agent.rule_texts[o->agent.n_rule_texts++] = (struct rule_text){ parts[i]->file, parts[i]->text, parts[i]->len };
    for (size_t i = 0; r && i < r->files.n && !code; i++) {
        glob_t g = { 0 };
        if (glob(r->files.v[i], GLOB_NOCHECK, NULL, &g))
            code = add_rule_file(&o->agent, r->files.v[i], err, err_size);
        for (size_t k = 0; k < g.gl_pathc && !code; k++)
            code = add_rule_file(&o->agent, g.gl_pathv[k], err, err_size);
        globfree(&g);
    }
    return code;
}

/* --- all of it --- */
static enum log_level level_of(int severity)
{
    return severity >= CONFIG_SEVERITY_ERROR  ? LOG_ERROR
           : severity >= CONFIG_SEVERITY_WARN ? LOG_WARN
           : severity >= CONFIG_SEVERITY_INFO ? LOG_INFO
                                              : LOG_DEBUG;
}

int session_prices(const struct config *c, char *err, size_t err_size)
{
    const char *file = c->wftrace->llm ? c->wftrace->llm->prices : NULL;
    cleanup(freep) char *text = NULL;
    char why[256] = "out of memory";
    size_t n;
    if (!file)
        return 0;
    int code = read_small_file(file, PRICES_FILE_MAX, &text, &n);
    if (code)
        snprintf(err, err_size, "prices: %s: %s", file, errno_name(code));
    else if ((code = llm_prices_load(slice_of(text, n), why, sizeof(why))))
        snprintf(err, err_size, "prices: %s: %s", file, why);
    return code;
}

int session_apply(struct options *o, char *err, size_t err_size)
{
    const struct config *c = o->config;
    struct agent_options *a = &o->agent;
    a->keep_values = c->wftrace->privacy == CONFIG_PRIVACY_OFF;
    a->privacy_set |= c->wftrace->privacy == CONFIG_PRIVACY_OFF;
    if (c->wftrace->llm)
        a->chunk_events = (u16)c->wftrace->llm->chunk_events;
    a->flush_ms = (u64)c->wftrace->shutdown_timeout;
    if (!a->memory_limit) /* --memory-limit stands above */
        a->memory_limit = (u64)c->wftrace->memory_limit;
    apply_resource(o);
    apply_context(o);
    int code = apply_rules(o, err, err_size);
    if (!code)
        code = apply_stages(o, err, err_size);
    if (!code && (code = apply_meters(o)))
        snprintf(err, err_size, "out of memory");
    return code ? code : apply_exporters(o, err, err_size);
}

/* The level that the command line left, unless the configuration has one. */
void session_log_level(const struct options *o)
{
    static enum log_level at_start;
    static bool known;
    if (!known)
        at_start = log_level;
    known = true;
    bool given = !o->quiet && !o->verbose && config_given(o->config, "log_level");
    log_level = given ? level_of(o->config->log_level) : at_start;
}

int session_check_config(struct config *c, char *err, size_t err_size)
{
    static struct options o; /* large */
    struct rules rules = { 0 };
    o = (struct options){ .config = c, .quiet = true };
    int code = packs_load(&rules, err, err_size); /* what `rules.packs` names */
    if (!code)
        code = apply_rules(&o, err, err_size);
    for (size_t i = 0; i < o.agent.n_rule_texts && !code; i++)
        code =
            rules_parse(&rules, o.agent.rule_texts[i].name, o.agent.rule_texts[i].text, o.agent.rule_texts[i].len, err, err_size);
    for (size_t i = 0; i < o.agent.n_rule_files && !code; i++)
        code = rules_load(&rules, o.agent.rule_files[i], err, err_size);
    rules_done(&rules);
    if (!code)
        code = session_prices(c, err, err_size);
    if (!code)
        code = apply_stages(&o, err, err_size);
    return code ? code : apply_exporters(&o, err, err_size);
}
