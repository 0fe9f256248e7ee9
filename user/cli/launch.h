/* The helper inside Python processes, from the command's side: its watch file in a folder of its own, the environment that brings
 * it in, what is said of it at the start and at the end. */
#ifndef WF_CLI_LAUNCH_H
#define WF_CLI_LAUNCH_H

#include "cli/cli.h"

#include <limits.h>

#define LAUNCH_ENV 16384
struct launch {
    char dir[64];          /* holds the watch file; "" when the helper is not used */
    char watch[80];        /* the watch file */
    char helper[PATH_MAX]; /* the folder with the helper */
    char env[LAUNCH_ENV];
    size_t env_len; /* NAME=value with a NUL each */
};
/* The folder with the helper that belongs to this wftrace. */
bool helper_find(char *out, size_t size);
/* When a rule or pack wants the helper and --bridge does not forbid it: makes the folder, fills `env`, puts the probes in place,
 * and says so once. What fails is told and tracing goes on without the helper. */
void launch_prepare(struct launch *l, const struct options *o, struct agent *a);
/* After a reload: processes that start now are told the rules that are in force now. */
void launch_renew(const struct launch *l, const struct options *o, const struct agent *a);
/* Rules whose function never came: told with near matches. Before the agent is closed. */
void launch_report(const struct launch *l, const struct options *o, struct agent *a);
void launch_done(struct launch *l); /* removes the folder */

#endif
