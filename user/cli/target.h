/* Which processes do the selectors of attach mean? */
#ifndef WF_CLI_TARGET_H
#define WF_CLI_TARGET_H

#include "cli/cli.h"
#include "cli/proc.h"

bool selector_matches(const struct selector *s, const struct proc *p);
/* True when any selector is of a kind that processes to come may match too. */
bool selectors_watch(const struct options *o);
/* True when ports must be read to decide. */
bool selectors_need_ports(const struct options *o);

#endif
