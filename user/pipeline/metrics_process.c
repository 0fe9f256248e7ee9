/* What /proc and the kernel side know of the traced processes, read in slices of the shard's time: a collection waits for as many ticks as it
 * takes. A process that ends meanwhile is left out. */
#include "pipeline/metrics_internal.h"
#include "base/procfs.h"

#include <dirent.h>
#include <unistd.h>

#define PROCESSES_MAX 512 /* of each collection; beyond, counted */

struct processes {
    struct process_numbers v[PROCESSES_MAX];
    u32 n, next;
};

bool processes_open(struct metrics *m)
{
    m->processes = calloc(1, sizeof(*m->processes));
    return m->processes;
}

static void list_clear(struct processes *p)
{
    for (u32 i = 0; i < p->n; i++)
        resource_unref(p->v[i].resource);
    p->n = p->next = 0;
}

void processes_close(struct metrics *m)
{
    if (m->processes)
        list_clear(m->processes);
    free(m->processes);
    m->processes = NULL;
}

static void see_process(void *to, const struct metric_process *p)
{
    struct processes *list = to;
    if (list->n == PROCESSES_MAX) {
        ledger_add(metric_processes_skipped, 1);
        return;
    }
    list->v[list->n++] = (struct process_numbers){ .tgid = p->tgid, .resource = resource_ref(p->resource) };
}

void processes_begin(struct metrics *m)
{
    list_clear(m->processes);
    if (m->o.each_process && !m->o.no_processes)
        m->o.each_process(m->o.arg, see_process, m->processes);
}

static bool read_stat(struct process_numbers *p, u64 now_wall, u64 now_boot)
{
    struct pid_stat st;
    if (pid_stat(p->tgid, &st))
        return false;
    u64 age = st.start * (NSEC_PER_SEC / (u64)sysconf(_SC_CLK_TCK));
    p->minor_faults = st.minor_faults;
    p->major_faults = st.major_faults;
    p->user_ticks = st.user;
    p->system_ticks = st.system;
    p->threads = st.threads;
    p->vm = st.vm_bytes;
    p->rss = st.rss_pages * (u64)sysconf(_SC_PAGESIZE);
    p->start_ns = now_boot > age ? now_wall - (now_boot - age) : 0;
    return true;
}

static void read_io(struct process_numbers *p)
{
    char text[512];
    unsigned long long in, out;
    if (pid_text(p->tgid, "io", text, sizeof(text)))
        return;
    const char *r = strstr(text, "\nread_bytes:"), *w = strstr(text, "\nwrite_bytes:");
    p->io = r && w && sscanf(r, " read_bytes: %llu", &in) == 1 && sscanf(w, " write_bytes: %llu", &out) == 1;
    if (p->io)
        p->read_bytes = in, p->write_bytes = out;
}

static void read_net(const struct metrics *m, struct process_numbers *p)
{
    u64 moved[2];
    p->net = m->o.network && m->o.network(m->o.arg, p->tgid, moved);
    if (p->net)
        p->sent = moved[0], p->received = moved[1];
}

static void read_fds(struct process_numbers *p)
{
    char path[32];
    snprintf(path, sizeof(path), "/proc/%u/fd", p->tgid);
    DIR *d = opendir(path);
    for (struct dirent *e; d && (e = readdir(d));)
        p->fds += e->d_name[0] != '.';
    if (d)
        closedir(d);
}

bool processes_read(struct metrics *m, u64 budget_ns)
{
    struct processes *list = m->processes;
    u64 from = clock_boot_ns();
    for (u64 now = from; list->next < list->n && now - from < budget_ns; now = clock_boot_ns()) {
        struct process_numbers *p = &list->v[list->next++];
        p->fresh = read_stat(p, m->now, now);
        if (p->fresh) {
            read_io(p);
            read_net(m, p);
            read_fds(p);
        }
    }
    return list->next == list->n;
}

const struct process_numbers *processes_get(struct metrics *m, u32 i) { return i < m->processes->n ? &m->processes->v[i] : NULL; }
