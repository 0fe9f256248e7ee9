/* The Python bridge into a process that runs already, and out of it again.
 *
 * Two ways. CPython 3.14 runs a script that another process names in its memory (PEP 768: offsets from the .PyRuntime section,
 * no stop). Older ones get a pending call of PyRun_SimpleString: one thread is stopped for a moment by ptrace and made to call
 * Py_AddPendingCall. Either is run by the main thread when it next runs Python; a main thread that waits in a call which
 * gives the interpreter's lock up (epoll, poll, select, accept, sleep, wait) is made to run it there and then. */
#ifndef WF_INPROC_INJECT_H
#define WF_INPROC_INJECT_H

#include <sys/types.h>

#include "base/base.h"

/* Loads the bridge of folder `dir` with `watch_file` into `pid`; both paths as `pid` sees them. 0, or -errno with a sentence in
 * `err`: -ESRCH (gone), -ENOEXEC (no CPython), -ENOTSUP (a version or machine that the bridge does not serve), -EPERM,
 * -EBUSY (traced by somebody else), -EALREADY (the bridge is in it), -ETIMEDOUT (its main thread has not run Python in ten
 * seconds, or waits in a call of ours, `err` says where: the bridge starts when it does), -EACCES (it cannot read `dir` or `watch_file`).
 * Takes milliseconds when all is well, twenty seconds at most. */
int bridge_inject(pid_t pid, const char *dir, const char *watch_file, char *err, size_t err_size);
/* A process that was asked still waits in a call of ours, held by a thread of ours: it would die with us. Wait for it. */
bool bridge_inject_busy(void);
/* Takes the bridge out: monitoring off, code restored, nothing of it runs any more (the object stays mapped). */
int bridge_eject(pid_t pid, const char *dir, const char *watch_file, char *err, size_t err_size);

#endif
