/* A CPython process seen from outside: where its runtime's symbols are. */
#ifndef WF_INPROC_PYTHON_PROCESS_H
#define WF_INPROC_PYTHON_PROCESS_H

#include <sys/types.h>

#include "base/base.h"

struct python_process {
    pid_t pid;
    u64 add_pending_call, run_simple_string, gil_ensure, gil_release; /* runtime addresses */
    u64 runtime;                                                      /* _PyRuntime; 0: not exported */
};

/* -ENOEXEC when no mapped file has CPython's symbols. */
int python_process_find(pid_t pid, struct python_process *ret);
/* Asks a 3.14 or newer for `script` (a path, as the process sees it). -ENOTSUP: not there, or switched off. */
int python_process_run_script(const struct python_process *p, const char *script);

int memory_read(pid_t pid, u64 at, void *to, size_t n); /* 0 or -errno */
int memory_write(pid_t pid, u64 at, const void *from, size_t n);

#endif
