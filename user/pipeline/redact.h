/* What the files of redact share. */
#ifndef WF_PIPELINE_REDACT_H
#define WF_PIPELINE_REDACT_H

#include "pipeline/pattern.h"
#include "pipeline/processor.h"
#include "pipeline/redact_scan.h"
#include "pipeline/resources.h"

#define REDACTED "[redacted]"

enum key_class { KEY_PLAIN, KEY_SECRET, KEY_SQL, KEY_ALLOWED };
struct redact_key_known {
    const char *key, *clean; /* clean: the key without a secret in it; mostly the key itself */
    enum key_class class;
};
struct redact {
    u32 flags; /* enum redact_flag */
    bool no_presets;
    char **keys, **allow;
    size_t n_keys, n_allow, n_patterns;
    struct pattern **patterns;
    struct resources resources;
    u64 found;
    struct redact_key_known known[];
};

const struct redact_key_known *redact_key_look(struct redact *r, const char *key);
size_t redact_run(struct redact *r, char *text, size_t n, u32 more_flags); /* new length */
void redact_attr(struct redact *r, struct attr *a);                        /* its text must be writable */
struct metric_batch *redact_metrics(struct redact *r, struct metric_batch *b);

#endif
