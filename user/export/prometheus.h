/* Metrics in Prometheus' two text forms. Names, units and labels are translated as OpenTelemetry's «Prometheus and OpenMetrics
 * Compatibility» has it. Private to prometheus*.c and its tests. */
#ifndef WF_EXPORT_PROMETHEUS_H
#define WF_EXPORT_PROMETHEUS_H

#include "export/encode.h"

/* What is done to names: escape what Prometheus did not allow before 3.0, add units and types as suffixes. */
enum prometheus_translation {
    TRANSLATE_ESCAPE_SUFFIX, /* underscore_escaping_with_suffixes, the default */
    TRANSLATE_ESCAPE,        /* underscore_escaping_without_suffixes */
    TRANSLATE_SUFFIX,        /* no_utf8_escaping_with_suffixes */
    TRANSLATE_NOT,           /* no_translation */
};

#define PROMETHEUS_LABELS 16
struct prometheus_options {
    char host[256]; /* "" is every address */
    u16 port;
    char certificate[256], key[256];    /* PEM files; "": plain HTTP */
    char ca[256];                       /* PEM file: who signs scrapers' certificates; "": none is asked for */
    char passwords[256];                /* file with USER:PASSWORD lines; "": open to all */
    char labels[PROMETHEUS_LABELS][64]; /* globs: resource attributes that become labels of every series */
    u32 n_labels;
    enum prometheus_translation translation;
    bool no_target_info, no_scope;
};
/* "HOST:PORT[?key=value&…]". -EINVAL with a sentence. */
int prometheus_options_parse(const char *text, struct prometheus_options *ret, char *err, size_t err_size);

struct prometheus_form {
    bool openmetrics; /* 1.0; else the text format 0.0.4 */
    bool utf8;        /* the scraper takes names as they are */
};
/* The whole page, appended. j->failed: too large or no memory. */
void prometheus_write(struct json *j, const struct metric_batch *b, const struct prometheus_options *o,
                      struct prometheus_form form);

#define PROMETHEUS_NAME 256
/* The family's name, without _total. */
void prometheus_name(const struct metric *m, enum prometheus_translation how, bool utf8, char out[PROMETHEUS_NAME]);
void prometheus_label(const char *key, bool escape, char out[PROMETHEUS_NAME]);
void prometheus_unit(const char *unit, char *out, size_t size); /* "By/s" → "bytes_per_second"; "" for none */
bool prometheus_is_legacy(const char *name, bool colon);        /* what every Prometheus takes */

#endif
