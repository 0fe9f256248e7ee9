#include "self/numbers.h"
#include "self/ledger.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

/* wftrace.<row>: `wftrace.spans_ended` says what it is as well as any path would. */
static const char *row_name(u32 i)
{
    static char names[LEDGER_MAX][64];
    if (!names[i][0])
        snprintf(names[i], sizeof(names[i]), "wftrace.%s", ledger_rows[i].name);
    return names[i];
}

static size_t add_ledger(struct self_number *v, size_t max)
{
    size_t n = 0;
    for (u32 i = 0; i < LEDGER_MAX && n < max; i++)
        v[n++] = (struct self_number){ .name = row_name(i),
                                       .unit = "",
                                       .help = ledger_rows[i].help,
                                       .type = SELF_COUNTER,
                                       .i = (s64)__atomic_load_n(&ledger_count_[i], __ATOMIC_RELAXED),
                                       .key = "wftrace.stage",
                                       .value = ledger_rows[i].stage };
    return n;
}

static double seconds(const struct timeval *t) { return (double)t->tv_sec + (double)t->tv_usec / 1e6; }

static s64 open_files(void)
{
    s64 n = 0;
    DIR *d = opendir("/proc/self/fd");
    for (struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n - (d != NULL); /* without the one that looks */
}

static size_t add_process(struct self_number *v, size_t max)
{
    struct rusage u;
    unsigned long vm = 0, rss = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    bool memory = f && fscanf(f, "%lu %lu", &vm, &rss) == 2;
    fclosep(&f);
    if (max < 4 || !memory || getrusage(RUSAGE_SELF, &u))
        return 0;
    v[0] = (struct self_number){ "process.cpu.time", "s",   "Total CPU seconds broken down by different CPU modes.",
                                 SELF_COUNTER,       true,  { .d = seconds(&u.ru_utime) },
                                 "cpu.mode",         "user" };
    v[1] = v[0];
    v[1].d = seconds(&u.ru_stime);
    v[1].value = "system";
    v[2] = (struct self_number){ "process.memory.usage",
                                 "By",
                                 "The amount of physical memory in use.",
                                 SELF_UPDOWN,
                                 false,
                                 { .i = (s64)rss * sysconf(_SC_PAGESIZE) },
                                 NULL,
                                 NULL };
    v[3] = (struct self_number){ "process.unix.file_descriptor.count",
                                 "{file_descriptor}",
                                 "Number of unix file descriptors in use by the process.",
                                 SELF_UPDOWN,
                                 false,
                                 { .i = open_files() },
                                 NULL,
                                 NULL };
    return 4;
}

size_t self_numbers(struct self_number *v, size_t max)
{
    size_t n = add_ledger(v, max);
    return n + add_process(v + n, max - n);
}
