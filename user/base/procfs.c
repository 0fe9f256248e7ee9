#include "base/procfs.h"

#include <fcntl.h>
#include <unistd.h>

static void path_of(char out[64], u32 pid, const char *name) { snprintf(out, 64, "/proc/%u/%.40s", pid, name); }

int pid_file(u32 pid, const char *name, size_t max, char **ret_text, size_t *ret_len)
{
    char path[64];
    path_of(path, pid, name);
    return read_small_file(path, max, ret_text, ret_len);
}

int pid_text(u32 pid, const char *name, char *out, size_t size)
{
    char path[64];
    path_of(path, pid, name);
    cleanup(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    if (n < 0)
        return -errno;
    out[n] = 0;
    return 0;
}

bool pid_link(u32 pid, const char *name, char *out, size_t size)
{
    char path[64];
    path_of(path, pid, name);
    ssize_t n = readlink(path, out, size - 1);
    out[n > 0 ? n : 0] = 0;
    return n > 0;
}

int pid_stat_parse(const char *text, struct pid_stat *ret)
{
    const char *open = strchr(text, '('), *end = strrchr(text, ')');
    unsigned long minor, major, user, system, vm = 0;
    unsigned long long start;
    long threads, pages = 0;
    int ppid;
    if (!open || !end || end < open ||
        sscanf(end + 1, " %*c %d %*d %*d %*d %*d %*u %lu %*u %lu %*u %lu %lu %*d %*d %*d %*d %ld %*d %llu %lu %ld", &ppid, &minor,
               &major, &user, &system, &threads, &start, &vm, &pages) < 7)
        return -EINVAL;
    *ret = (struct pid_stat){ .ppid = (u32)ppid,
                              .minor_faults = minor,
                              .major_faults = major,
                              .user = user,
                              .system = system,
                              .threads = (u64)threads,
                              .start = start,
                              .vm_bytes = vm,
                              .rss_pages = (u64)pages };
    snprintf(ret->comm, sizeof(ret->comm), "%.*s", (int)min_u64((u64)(end - open - 1), sizeof(ret->comm) - 1), open + 1);
    return 0;
}

int pid_stat(u32 pid, struct pid_stat *ret)
{
    char text[1024];
    int err = pid_text(pid, "stat", text, sizeof(text));
    return err ? err : pid_stat_parse(text, ret);
}
