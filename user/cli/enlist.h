/* Which packs are in force for a command or process: the user's word first (--packs, `packs:` in a rule file), then whether the
 * engine is installed in an environment of Python that the command can use. */
#ifndef WF_CLI_ENLIST_H
#define WF_CLI_ENLIST_H

#include "cli/cli.h"

#define ENLIST_SITES 64
struct enlist {
    const struct options *o;
    char *sites[ENLIST_SITES]; /* folders of installed packages */
    size_t n;
    bool all; /* every enabled pack: nothing is known of the processes yet */
};
/* The folders that a command may import from: of the Python that it is, or that its #! names; of VIRTUAL_ENV, CONDA_PREFIX,
 * PYTHONPATH, ./.venv, and of the Pythons on PATH. */
void enlist_command(struct enlist *e, const struct options *o, const char *word);
/* The folders of a running process. */
void enlist_process(struct enlist *e, const struct options *o, pid_t pid);
void enlist_done(struct enlist *e);
bool enlist_keep(void *enlist, const struct pack *p); /* for agent_options.keep_pack */

/* --packs: 0, or -1 with a sentence naming the nearest right word. */
int packs_check(const char *value, char *err, size_t err_size);

#endif
