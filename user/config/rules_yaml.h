/* YAML → rules, between rules.c and rules_yaml.c. */
#ifndef WF_CONFIG_RULES_YAML_H
#define WF_CONFIG_RULES_YAML_H

#include "config/rules.h"

#define RULES_MAX 512
/* Fills an empty set; `base` is what `packs:` changes, changed also when there are mistakes. -EINVAL with one mistake a line in
 * `err`. */
int rules_yaml(struct rules *ret, struct rules *base, const char *file, struct slice text, char *err, size_t err_size);

#endif
