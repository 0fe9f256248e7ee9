/* What /proc says about processes, for list and attach. Everything is copied and bounded: names are the processes' own
 * words. */
#ifndef WF_CLI_PROC_H
#define WF_CLI_PROC_H

#include "base/base.h"
#include <sys/types.h>

#define PROC_PORTS 8

struct proc {
    pid_t pid, ppid;
    u64 start; /* clock ticks since boot; with pid, the identity of a process */
    char comm[32];
    char exe[512];         /* path as /proc/PID/exe names it, "" when unreadable */
    char args[1024];       /* joined with spaces */
    char script[256];      /* first argument that belongs to no option, when the program is an interpreter */
    char cgroup[512];      /* path in cgroup v2, else in the systemd or first hierarchy */
    char unit[128];        /* systemd unit, "" */
    char container[80];    /* hexadecimal id, "" */
    char runtime[48];      /* "python 3.11", "node", "java", "go" … or the program's name */
    bool openssl;          /* libssl mapped, or a program that has it built in */
    u16 ports[PROC_PORTS]; /* listening TCP ports */
    u32 n_ports;
};

/* Everything of one process; -ESRCH when it is gone, -ENOTSUP for kernel threads. Ports need proc_ports(). */
int proc_read(pid_t pid, struct proc *ret);
/* Without runtime, openssl and ports, which take the longest: what selectors ask for. */
int proc_read_brief(pid_t pid, struct proc *ret);
/* Start time only: cheap; tells a process from a later one with the same number. */
int proc_start(pid_t pid, u64 *ret);
/* All processes but kernel threads and wftrace itself, by pid. The caller frees *ret. -errno. */
int proc_all(struct proc **ret, size_t *ret_n);
/* Fills in the listening ports of every process in the list. */
void proc_ports(struct proc *v, size_t n);

/* Pure parts, for tests. */
void cgroup_read_names(const char *path, char *unit, size_t unit_size, char *container, size_t container_size);
/* The file that an interpreter was started with, "" for code given as text or another program. `args`: as /proc/PID/cmdline,
 * `len` bytes with a NUL behind. */
void script_find(const char *program, const char *args, size_t len, char *ret, size_t size);

#endif
