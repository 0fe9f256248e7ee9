/* Which way the Python bridge goes into a command that is about to be started (docs/python-bridge.md). */
#ifndef WF_INPROC_WAY_IN_H
#define WF_INPROC_WAY_IN_H

#include "base/base.h"

/* True when `argv`, found as execvp would, is a Python that ignores PYTHONPATH or its site module (-I, -E, -S), by its own words
 * or by the first line of a script. Such a process, and what it starts, needs LD_PRELOAD (preload.c). */
bool python_is_isolated(char *const argv[]);

#endif
