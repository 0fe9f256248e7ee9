/* attach --bridge on: the helper into running Python processes, and out again. */
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
/* Out of all of them; what never came is told. Before the agent is closed. */
void attach_bridge_close(struct attach_bridge *b, const struct options *o, struct agent *a);

#endif
