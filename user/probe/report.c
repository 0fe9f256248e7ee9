/* doctor's page: for each hook which form wins on this kernel, and each capability with what its absence means. */
#include "probe/internal.h"

static struct probe_row row(const char *what, const char *how, const char *note, bool ok)
{
    struct probe_row r = { .ok = ok };
    snprintf(r.what, sizeof(r.what), "%s", what);
    snprintf(r.how, sizeof(r.how), "%s", how);
    snprintf(r.note, sizeof(r.note), "%s", note);
    return r;
}

/* Capabilities whose absence takes something away, and those that only decide how a thing is done. */
static bool feature_essential(enum feature f)
{
    return f == FEATURE_BPF || f == FEATURE_BTF || f == FEATURE_RINGBUF || f == FEATURE_UPROBE;
}

int probes_report(struct probe_row *rows, size_t max)
{
    size_t n = 0;
    for (enum feature f = 0; f < FEATURE_MAX && n < max; f++) {
        bool has = feature_has(f);
        rows[n++] =
            row(feature_table[f].words, has ? "yes" : "no", has ? "" : feature_table[f].lacks, has || !feature_essential(f));
        if ((f == FEATURE_BPF || f == FEATURE_BTF) && !has) /* the rest cannot be asked */
            return (int)n;
    }
    for (size_t i = 0; i < hook_count && n < max; i++) {
        const struct hook_form *form = NULL;
        enum form won = hook_pick(&hook_table[i], NULL, &form);
        bool ok = won < FORM_MAX;
        rows[n++] = row(hook_table[i].what, ok ? form_name[won] : "absent", ok ? "" : hook_table[i].absent, ok);
    }
    if (n < max)
        rows[n++] = row("user functions",
                        !feature_has(FEATURE_UPROBE)        ? "absent"
                        : feature_has(FEATURE_UPROBE_MULTI) ? "uprobe_multi"
                                                            : "perf event",
                        feature_has(FEATURE_COOKIE) ? "one link per probe, site number as cookie"
                                                    : "one link per probe, one program per rule site",
                        feature_has(FEATURE_UPROBE));
    return (int)n;
}
