/* wftrace doctor: what this kernel and these privileges allow, how each hook will be taken, and what to do about what is
 * missing. It tries: nothing is said to work that was not loaded. */
#include "cli/cli.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#define ROWS_MAX         96
#define KERNEL_STATS_MAX 64

enum need { NEED_NOTHING, NEED_IT }; /* NEED_IT: without it there is no tracing */

struct doctor {
    struct probe_row rows[ROWS_MAX];
    bool vital[ROWS_MAX];
    size_t n;
    char why[512]; /* why tracing is impossible; "" when it is possible */
};

static struct probe_row *row_add(struct doctor *d, enum need need, bool ok, const char *what, const char *how, const char *note)
{
    if (d->n == ROWS_MAX)
        return NULL;
    struct probe_row *r = &d->rows[d->n];
    d->vital[d->n++] = need == NEED_IT;
    r->ok = ok;
    snprintf(r->what, sizeof(r->what), "%s", what);
    snprintf(r->how, sizeof(r->how), "%s", how);
    snprintf(r->note, sizeof(r->note), "%s", ok ? "" : note);
    if (need == NEED_IT && !ok && !d->why[0])
        snprintf(d->why, sizeof(d->why), "%s: %s", what, note);
    return r;
}

static void check_kernel(struct doctor *d)
{
    struct utsname u = { 0 };
    unsigned major = 0, minor = 0;
    char text[160];
    (void)uname(&u);
    (void)sscanf(u.release, "%u.%u", &major, &minor);
    snprintf(text, sizeof(text), "%.40s %.15s", u.release, u.machine);
    row_add(d, NEED_IT, major > 5 || (major == 5 && minor >= 10), "kernel", text, "Linux 5.10 or newer is needed");
    row_add(d, NEED_IT, !access("/sys/kernel/btf/vmlinux", R_OK), "kernel types (BTF)",
            access("/sys/kernel/btf/vmlinux", R_OK) ? "absent" : "/sys/kernel/btf/vmlinux",
            "the kernel was built without CONFIG_DEBUG_INFO_BTF: use a distribution's kernel");
}

/* Effective capabilities by number. */
static u64 capabilities(void)
{
    cleanup(freep) char *text = NULL;
    u64 caps = 0;
    if (read_small_file("/proc/self/status", 65536, &text, NULL))
        return 0;
    const char *line = strstr(text, "\nCapEff:");
    if (line)
        caps = strtoull(line + 8, NULL, 16);
    return caps;
}

static const struct {
    int number;
    const char *name;
} wanted_caps[] = { { 39, "CAP_BPF" }, { 38, "CAP_PERFMON" }, { 19, "CAP_SYS_PTRACE" }, { 21, "CAP_SYS_ADMIN" } };

static void check_capabilities(struct doctor *d)
{
    u64 caps = capabilities();
    bool admin = caps >> 21 & 1;
    char missing[128] = "", note[160];
    for (size_t i = 0; i < ARRAY_LEN(wanted_caps); i++)
        if (!(caps >> wanted_caps[i].number & 1) && !(admin && wanted_caps[i].number >= 38)) {
            strncat(missing, missing[0] ? " " : "", sizeof(missing) - strlen(missing) - 1);
            strncat(missing, wanted_caps[i].name, sizeof(missing) - strlen(missing) - 1);
        }
    snprintf(note, sizeof(note), "run as root (sudo wftrace …), or grant %s", missing);
    row_add(d, NEED_IT, !missing[0], "privileges",
            missing[0] ? (geteuid() ? "not root" : "root without some capabilities") : "root", note);
}

static void check_lockdown(struct doctor *d)
{
    cleanup(freep) char *text = NULL;
    char mode[32] = "none";
    if (!read_small_file("/sys/kernel/security/lockdown", 256, &text, NULL)) {
        const char *open = strchr(text, '[');
        if (open)
            snprintf(mode, sizeof(mode), "%.*s", (int)min_u64(strcspn(open + 1, "]"), 31), open + 1);
    }
    row_add(d, NEED_IT, strcmp(mode, "confidentiality"), "lockdown", mode,
            "kernel lockdown «confidentiality» forbids reading kernel memory: boot with lockdown=integrity or none");
}

static void check_memlock(struct doctor *d)
{
    struct rlimit r = { 0 };
    struct utsname u = { 0 };
    unsigned major = 0, minor = 0;
    char text[48];
    (void)uname(&u);
    (void)sscanf(u.release, "%u.%u", &major, &minor);
    (void)getrlimit(RLIMIT_MEMLOCK, &r);
    bool counted = major < 5 || (major == 5 && minor < 11); /* from 5.11 on BPF memory is charged to the cgroup */
    if (r.rlim_cur == RLIM_INFINITY || !counted)
        snprintf(text, sizeof(text), counted ? "unlimited" : "not needed");
    else
        snprintf(text, sizeof(text), "%llu KiB", (unsigned long long)r.rlim_cur / 1024);
    bool ok = !counted || r.rlim_max == RLIM_INFINITY || r.rlim_max >= 64ull << 20 || capabilities() >> 24 & 1;
    row_add(d, NEED_NOTHING, ok, "locked memory", text, "raise it: ulimit -l unlimited");
}

static void check_mount(struct doctor *d, const char *what, const char *const *paths, u64 magic, const char *note)
{
    for (; *paths; paths++) {
        struct statfs s;
        if (statfs(*paths, &s) || (u64)s.f_type != magic)
            continue;
        row_add(d, NEED_NOTHING, true, what, *paths, "");
        return;
    }
    row_add(d, NEED_NOTHING, false, what, "not mounted", note);
}

static void check_mounts(struct doctor *d)
{
    static const char *const tracefs[] = { "/sys/kernel/tracing", "/sys/kernel/debug/tracing", NULL };
    static const char *const cgroup2[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified", NULL };
    check_mount(d, "tracefs", tracefs, 0x74726163, "needed for tracepoints: mount -t tracefs tracefs /sys/kernel/tracing");
    check_mount(d, "cgroup v2", cgroup2, 0x63677270, "container and unit names come from cgroup v1 paths instead");
    bool uprobe = !access("/sys/bus/event_source/devices/uprobe/type", R_OK);
    row_add(d, NEED_NOTHING, uprobe, "user probes", uprobe ? "uprobe events" : "absent",
            "no TLS, rules or Python units: CONFIG_UPROBE_EVENTS is off");
}

static void check_hooks(struct doctor *d)
{
    int n = probes_report(d->rows + d->n, ROWS_MAX - d->n);
    if (n > 0)
        d->n += (size_t)n;
    else if (n < 0)
        row_add(d, NEED_NOTHING, false, "hooks", errno_name(n), "their features could not be probed");
}

/* ✓ is there · – is not there, nor needed · ✗ is missing */
static void mark(FILE *to, const struct probe_row *r, bool color)
{
    bool absent = r->ok && !strcmp(r->how, "no");
    const char *ink = !r->ok ? "\x1b[31m" : absent ? "\x1b[2m" : "\x1b[32m";
    fprintf(to, "%s%s%s", color ? ink : "", !r->ok ? "✗" : absent ? "–" : "✓", color ? "\x1b[0m" : "");
}

/* Words in lines of at most 78 columns. */
static void print_wrapped(const char *indent, const char *text)
{
    size_t room = 78 - strlen(indent), used = 0;
    while (*text) {
        size_t n = strcspn(text, " "), wide = 0;
        for (size_t i = 0; i < n; i++)
            wide += ((u8)text[i] & 0xc0) != 0x80;
        bool fits = used && used + 1 + wide <= room;
        printf("%s%s%.*s", used && !fits ? "\n" : "", fits ? " " : indent, (int)n, text);
        used = fits ? used + 1 + wide : wide;
        text += n + strspn(text + n, " ");
    }
    putchar('\n');
}

static void print_table(const struct doctor *d, const struct options *o)
{
    bool color = !o->no_color && isatty(STDOUT_FILENO) && !getenv("NO_COLOR");
    for (size_t i = 0; i < d->n; i++) {
        const struct probe_row *r = &d->rows[i];
        fputs("  ", stdout);
        mark(stdout, r, color);
        putchar(' ');
        print_cell(stdout, r->what, 31);
        putchar(' ');
        print_cell(stdout, r->how, -44);
        putchar('\n');
        if (r->note[0])
            print_wrapped("      ", r->note);
    }
}

static void print_row_json(const struct probe_row *r, bool first)
{
    printf("%s\n  {\"what\":", first ? "" : ",");
    json_print(stdout, r->what);
    printf(",\"ok\":%s,\"how\":", r->ok ? "true" : "false");
    json_print(stdout, r->how);
    printf(",\"note\":");
    json_print(stdout, r->note);
    putchar('}');
}

static void print_stats(struct probes *p, bool json)
{
    u64 v[KERNEL_STATS_MAX] = { 0 };
    const char *const *names = NULL;
    if (p)
        probes_stats(p, v, KERNEL_STATS_MAX, &names);
    if (json)
        printf(",\"kernel_counters\":{");
    for (size_t i = 0; names && i < KERNEL_STATS_MAX && names[i]; i++)
        if (json)
            printf("%s\"%s\":%llu", i ? "," : "", names[i], (unsigned long long)v[i]);
        else if (v[i])
            printf("  kernel counter %-24s %llu\n", names[i], (unsigned long long)v[i]);
    if (json)
        putchar('}');
}

static void print_json(const struct doctor *d, struct probes *p)
{
    printf("{\"can_trace\":%s,\"why\":", d->why[0] ? "false" : "true");
    json_print(stdout, d->why);
    printf(",\"version\":\"%s\",\"rows\":[", WF_VERSION);
    for (size_t i = 0; i < d->n; i++)
        print_row_json(&d->rows[i], !i);
    printf("]");
    print_stats(p, true);
    puts("}");
}

static void print_verdict(const struct doctor *d)
{
    printf("\n%s", d->why[0] ? "Tracing is not possible here:\n" : "");
    if (d->why[0])
        print_wrapped("  ", d->why);
    else
        puts("Tracing works here. Try: wftrace run -- COMMAND");
}

static int doctor_main(struct options *o)
{
    static struct doctor d;
    struct probes *p = NULL;
    check_kernel(&d);
    check_capabilities(&d);
    check_lockdown(&d);
    check_memlock(&d);
    check_mounts(&d);
    if (!d.why[0]) {
        check_hooks(&d);
        char err[400] = "";
        int code = probes_open(&(struct probe_options){ 0 }, &p, err, sizeof(err));
        if (code)
            snprintf(d.why, sizeof(d.why), "%s", err[0] ? err : errno_name(code));
    }
    if (o->json)
        print_json(&d, p);
    else {
        print_table(&d, o);
        print_stats(p, false);
        print_verdict(&d);
    }
    probes_close(p);
    return d.why[0] ? EXIT_PRIVILEGE : EXIT_FINE;
}

const struct command command_doctor = {
    .name = "doctor",
    .usage = "[--json]",
    .summary = "what this kernel and these privileges allow, and what to do",
    .more = "Loads and attaches what a trace would, for a moment, on no process. Status 3 when tracing is impossible here.",
    .takes = TAKES_JSON,
    .max_rest = 0,
    .run = doctor_main,
};
