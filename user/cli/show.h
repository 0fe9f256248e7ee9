/* What show-traces and show-trace share. */
#ifndef WF_CLI_SHOW_H
#define WF_CLI_SHOW_H

#include "cli/cli.h"
#include "store/store.h"

/* The store that --store names, or the default one. NULL: said why. */
struct store *show_open(const struct options *o, int *ret_exit);
int show_failed(struct store *s, int code); /* says it; exit status */

#endif
