/* --bridge on: the helper into running Python processes, and out again. For attach into those that are named; for run into those
 * below the command that were started without its environment, so that they have not brought the helper with them. */
#ifndef WF_CLI_ATTACH_BRIDGE_H
#define WF_CLI_ATTACH_BRIDGE_H

#include "cli/launch.h"

#define ATTACH_BRIDGE_MAX 512
struct attach_bridge {
    struct launch launch;
    struct {
        pid_t pid;
        u64 start; /* with the pid, the process */
        bool in;   /* false: it was refused, and is not asked again */
    } v[ATTACH_BRIDGE_MAX];
    size_t n;
    bool on;
};
/* Makes the watch file when a rule or pack wants the helper; without --bridge on it only says what is missed. */
void attach_bridge_open(struct attach_bridge *b, const struct options *o, struct agent *a);
/* Into every Python among `pids` and their descendants that was not asked before. What refuses is told with its reason. */
void attach_bridge_take(struct attach_bridge *b, const pid_t *pids, size_t n);
/* For run: as attach_bridge_open, with what the command was started with, and nothing said. There is nothing to close. */
void attach_bridge_below(struct attach_bridge *b, const struct launch *l, const struct options *o);
/* Into every Python below `command` that has not brought the helper and is a moment old. Looks at /proc: not more than a few
 * times a second. */
void attach_bridge_look(struct attach_bridge *b, pid_t command);
/* Out of all of them; what never came is told. Before the agent is closed. */
void attach_bridge_close(struct attach_bridge *b, const struct options *o, struct agent *a);

#endif
