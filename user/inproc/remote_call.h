/* One thread of another process, held for a moment and made to call functions. x86-64. */
#ifndef WF_INPROC_REMOTE_CALL_H
#define WF_INPROC_REMOTE_CALL_H

#include <sys/types.h>

#include "base/base.h"

struct remote;
/* Stops thread `tid` at a system call: one that it waits in, or the end of the next one within two seconds. There its C code holds
 * no lock that a call could want. -EPERM, -ESRCH, -EBUSY (somebody traces it), -EAGAIN (it made no system call). */
int remote_open(pid_t tid, struct remote **ret);
void remote_closep(struct remote **r); /* lets it go, as if nothing had been */
/* The system call that it waits in and that gives the interpreter's lock up in CPython, or false. */
bool remote_waits(const struct remote *r);
/* A lock that it waits for seems interrupted once it goes on: CPython then runs its pending calls and waits again, and any other
 * waiter must expect that as well. */
void remote_interrupt(struct remote *r);
/* Calls `function`(a, b) and waits for it as long as it takes: a thread in the middle of a call cannot be let go. From a thread that has
 * nothing else to do. Signals
 * that it gets meanwhile are delivered. 0 and *ret, or -ECHILD when the process ended. */
int remote_call(struct remote *r, u64 function, u64 a, u64 b, u64 *ret);
/* A page of the process's own memory with `text` in it, NUL-terminated; it stays. */
int remote_text(struct remote *r, const char *text, u64 *ret);

#endif
