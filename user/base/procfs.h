/* Files of /proc/PID, for whoever asks. */
#ifndef WF_BASE_PROCFS_H
#define WF_BASE_PROCFS_H

#include "base/base.h"

/* A whole file as read_small_file() has it; -errno. */
int pid_file(u32 pid, const char *name, size_t max, char **ret_text, size_t *ret_len);
/* Its beginning, at most size - 1 bytes, without an allocation; -errno. */
int pid_text(u32 pid, const char *name, char *out, size_t size);
bool pid_link(u32 pid, const char *name, char *out, size_t size); /* false: there is none, out is "" */

/* /proc/PID/stat (proc(5)). Times in ticks of sysconf(_SC_CLK_TCK), `start` since boot. */
struct pid_stat {
    char comm[32]; /* may hold anything, parentheses too */
    u32 ppid;
    u64 minor_faults, major_faults, user, system, threads, start;
    u64 vm_bytes, rss_pages;
};
int pid_stat_parse(const char *text, struct pid_stat *ret); /* -EINVAL */
int pid_stat(u32 pid, struct pid_stat *ret);                /* -errno, -EINVAL */

#endif
