/* The tracer's part in the bridge's tests: a jump over the bridge's nop to a function that appends each event to a file, as
 * a probe there would. Loaded by tests/inproc/site/sitecustomize.py. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "inproc/python/bridge_abi.h"

static int out = -1;

/* One record: time in ns, process, thread, then the event. One write each: threads and forks may share the file. */
static void record(const struct bridge_event *ev)
{
    int saved = errno;
    struct {
        uint64_t ns;
        uint32_t pid, tid;
        uint8_t event[BRIDGE_EVENT_MAX];
    } r = { .pid = (uint32_t)getpid(), .tid = (uint32_t)gettid() };
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    r.ns = (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
    memcpy(r.event, ev, ev->size);
    (void)!write(out, &r, 16 + (size_t)ev->size);
    errno = saved;
}
static void ignore(const struct bridge_event *ev) { (void)ev; }

/* Puts a jump on the nop at `site`; `path` NULL: events are made and thrown away. 0 or -errno. */
int recorder_start(uint8_t *site, const char *path);
int recorder_start(uint8_t *site, const char *path)
{
    void (*to)(const struct bridge_event *) = path ? record : ignore;
    if (path && (out = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) < 0)
        return -errno;
    intptr_t far = (intptr_t)to - (intptr_t)(site + 5), page = (intptr_t)site & -4096;
    if (far != (int32_t)far)
        return -ERANGE;
    int32_t near = (int32_t)far;
    if (mprotect((void *)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC) < 0)
        return -errno;
    memcpy(site + 1, &near, 4);
    site[0] = 0xe9;
    return mprotect((void *)page, 8192, PROT_READ | PROT_EXEC) < 0 ? -errno : 0;
}
