/* The folder that a node agent fills with the helper for Pythons of others (pods): `wftrace: bridge_folder:` of the configuration. */
#ifndef WF_CLI_BRIDGE_FOLDER_H
#define WF_CLI_BRIDGE_FOLDER_H

#include "cli/cli.h"

#include <limits.h>

struct bridge_folder {
    char path[PATH_MAX - 64]; /* "": none is wanted */
    bool told_foreign, told_refused;
};
/* Puts the helper's files and the watch list of the agent's rules there, each by a rename, so that a Python that starts at that moment
 * reads an old or a new one; and its probe in place. -errno with a sentence in `err`. */
int bridge_folder_fill(struct bridge_folder *f, struct agent *a, const char *path, char *err, size_t err_size);
/* After a reload: Pythons that start now are told the rules that are in force now. */
void bridge_folder_renew(const struct bridge_folder *f, struct agent *a);
/* Says once that a Python has another watch list than this agent's, and once why a helper refused. After each turn. */
void bridge_folder_say(struct bridge_folder *f, const struct agent *a);

#endif
