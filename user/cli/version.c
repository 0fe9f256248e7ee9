/* wftrace version. */
#include "cli/cli.h"
#include "ingest/wfcap.h"

#include <bpf/libbpf_version.h>
#include <sys/utsname.h>

static int version_main(struct options *o)
{
    struct utsname u = { 0 };
    UNUSED(o);
    (void)uname(&u);
    printf("wftrace %s\n", WF_VERSION);
    printf("libbpf %d.%d, kernel %s %s, records %u, captures %d\n", LIBBPF_MAJOR_VERSION, LIBBPF_MINOR_VERSION, u.release,
           u.machine, wfcap_abi, WFCAP_VERSION);
    return EXIT_FINE;
}

const struct command command_version = {
    .name = "version",
    .usage = "",
    .summary = "versions of wftrace, libbpf, the kernel and the formats",
    .more = "",
    .max_rest = 0,
    .run = version_main,
};
