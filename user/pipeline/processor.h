/* The processor contract and the options of its members.
 *
 * A member is one file that ends in its `struct processor` and one line in processor.def. Processors run in the order in which
 * the user names them, on the shard's thread, on every span that was sampled, every log record and every collection of
 * metrics; they own what they are given only for the call. They change text in place where they can. */
#ifndef WF_PIPELINE_PROCESSOR_H
#define WF_PIPELINE_PROCESSOR_H

#include "trace/signal.h"

#define PROCESSORS_MAX 32

enum fate { FATE_KEEP, FATE_DROP };

/* --- conditions, for filter and others: all that are not NULL must hold --- */
struct match {
    const char *service, *name;    /* globs; `name` of a span, a metric, or a log record's event */
    const char *body;              /* glob over a log record's body */
    const char *attr, *value;      /* attribute present, and, when given, its text like this glob */
    u32 kind;                      /* enum span_kind, 0 any */
    u8 min_severity, max_severity; /* logs; 0: no limit */
    u64 min_ns, max_ns;            /* a span's duration; 0: no limit */
    bool error;                    /* only spans with status ERROR */
};

/* filter: a span or record that any of `drop` matches goes; and so does what none of `keep` matches, when there are any. */
struct filter_options {
    const struct match *drop, *keep;
    size_t n_drop, n_keep;
};

/* attributes: in this order. */
enum attr_action {
    ACTION_SET,     /* key = text (or from attribute `from`) */
    ACTION_INSERT,  /* as SET when the key is absent */
    ACTION_UPDATE,  /* as SET when the key is present */
    ACTION_DELETE,  /* glob `key` */
    ACTION_RENAME,  /* `from` → key */
    ACTION_HASH,    /* SHA-256 as hex; HMAC-SHA-256 with `secret` when that is given */
    ACTION_EXTRACT, /* named groups of `pattern` (PCRE2) over key's text become attributes */
};
struct attr_step {
    enum attr_action action;
    const char *key, *from, *text, *pattern, *secret;
    bool resource; /* the resource's attributes instead */
};
struct attributes_options {
    const struct attr_step *steps;
    size_t n;
    struct match when;
};

/* rename: span names (and metric names with signals = METRICS). The first pattern that matches writes `name`, in which $1 … $9
 * are its groups and {attr} an attribute's text. */
struct rename_step {
    const char *pattern, *name;
};
struct rename_options {
    const struct rename_step *steps;
    size_t n;
    struct match when;
};

/* redact: takes secrets out of every text. NULL lists: none beside the built-in ones. */
struct redact_options {
    bool no_presets; /* without the built-in key words and detectors */
    bool keep_emails, keep_ibans;
    bool query_strings;      /* also every value in the query of a URL, not only those with a secret's name */
    const char *const *keys; /* globs: their value is replaced whole */
    size_t n_keys;
    const char *const *allow; /* globs of keys that are left alone */
    size_t n_allow;
    const char *const *patterns; /* PCRE2: what matches is replaced by [redacted] */
    size_t n_patterns;
};

/* limit: 0 = no limit of that kind. What is left out counts as dropped, as OTLP wants. */
struct limit_options {
    u32 max_attributes;
    u32 max_length; /* bytes of an attribute's text, cut at a character */
    u32 max_events, max_links;
    u32 max_body; /* bytes of a log record's body */
};

/* metric: what a span says becomes a measurement: of every span, before sampling and all other processors, wherever it stands. */
struct measure_options {
    const char *metric, *unit,
        *of; /* `of`: attribute with the value; "duration": its seconds; NULL: 1 for each span, of a histogram "duration" */
    const char *const *by; /* attributes that make the series */
    size_t n_by;
    struct match when;
    bool histogram; /* else a counter */
    u32 rule;       /* its number for `record`; set by the assembly */
    /* Who takes it; set by the assembly. NULL: measurements are counted as dropped (measures_dropped). */
    void (*record)(void *arg, const struct measure_options *o, double value, const struct span *s);
    void *arg;
};

/* plugin: a shared object with a processor in it (include/wftrace/plugin.h). */
struct plugin_options {
    const char *file, *config; /* config: text handed to its open(), or NULL */
};

struct processor_spec {
    const char *kind; /* a name of processor.def */
    u32 signals;      /* bits 1 << enum signal; 0: all that the processor knows */
    union {
        struct filter_options filter;
        struct attributes_options attributes;
        struct rename_options rename;
        struct redact_options redact;
        struct limit_options limit;
        struct measure_options measure;
        struct plugin_options plugin;
    };
};

struct processor {
    const char *name; /* file, symbol, configuration key */
    const char *help;
    /* Copies what it needs of the spec. -EINVAL with a sentence in err. */
    int (*open)(const struct processor_spec *spec, void **ret, char *err, size_t err_size);
    /* NULL: that signal passes by. */
    enum fate (*on_span)(void *self, struct span *s);
    enum fate (*on_log)(void *self, struct log_record *l);
    /* The same batch, or another one made of it (takes the reference, gives one); NULL: nothing is left. */
    struct metric_batch *(*on_metrics)(void *self, struct metric_batch *b);
    void (*close)(void *self);
};
extern const struct processor *const processors[]; /* NULL-terminated, made from processor.def */
const struct processor *processor_by_name(const char *name);

#endif
