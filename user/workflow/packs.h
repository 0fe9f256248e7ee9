/* Rule packs: one YAML file for each engine, taken into the binary as it stands. A pack is a rule file with a head
 * (docs/add-a-pack.md). Which of them are in force is decided when a trace starts: by the user's word, and by what the engine leaves
 * behind where it is installed. */
#ifndef WF_WORKFLOW_PACKS_H
#define WF_WORKFLOW_PACKS_H

#include "config/rules.h"

struct pack_text {
    const char *name; /* of its file */
    struct slice text;
};
/* The i-th pack of this binary; false past the end. */
bool pack_builtin(size_t i, struct pack_text *ret);
/* Reads all of them into an empty set. The errors of rules_parse(); none unless the build was wrong. */
int packs_load(struct rules *r, char *err, size_t err_size);

/* Whether an environment of Python has one of the pack's modules. `site` is a folder like …/lib/python3.12/site-packages. */
bool pack_in_site(const struct pack *p, const char *site);

#endif
