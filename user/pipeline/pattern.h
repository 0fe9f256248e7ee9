/* Regular expressions of the user's (PCRE2, 8 bit, UTF), with a bound on what one match may cost. */
#ifndef WF_PIPELINE_PATTERN_H
#define WF_PIPELINE_PATTERN_H

#include "base/base.h"

#define PATTERN_GROUPS 16

struct pattern;
struct pattern *pattern_free(struct pattern *p);                                     /* NULL is fine */
int pattern_new(const char *text, struct pattern **ret, char *err, size_t err_size); /* -EINVAL: says where and why */
/* Groups of the first match at or after `from`: [0] the whole. The number of groups, or 0: none (or it cost too much: counted
 * in pattern_too_costly). A group that took no part is empty with p NULL. */
size_t pattern_match(struct pattern *p, struct slice text, size_t from, struct slice ret[PATTERN_GROUPS]);
/* Named groups: the name of group i, or NULL. */
const char *pattern_group_name(const struct pattern *p, size_t i);
/* Every match in text is replaced by [redacted], in place; the new length; *ret_n is added to. */
size_t redact_pattern(struct pattern *p, char *text, size_t n, u32 *ret_n);

#endif
