/* wftrace list: what could be traced here. */
#include "cli/cli.h"
#include "cli/proc.h"

#include <unistd.h>

static void ports_text(const struct proc *p, char *out, size_t size)
{
    size_t at = 0;
    out[0] = 0;
    for (u32 i = 0; i < p->n_ports && at + 8 < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%u", i ? "," : "", p->ports[i]);
}

static void where_text(const struct proc *p, char *out, size_t size)
{
    if (p->container[0])
        snprintf(out, size, "%.12s", p->container);
    else
        snprintf(out, size, "%s", p->unit);
}

static const char *command_text(const struct proc *p) { return p->args[0] ? p->args : p->comm; }

static void print_row(const struct proc *p, int width)
{
    char ports[64], where[128];
    ports_text(p, ports, sizeof(ports));
    where_text(p, where, sizeof(where));
    printf("%7d  ", p->pid);
    print_cell(stdout, p->runtime, 13);
    printf("  ");
    print_cell(stdout, ports, 11);
    printf("  %-3s  ", p->openssl ? "ssl" : "");
    print_cell(stdout, where, 12);
    printf("  ");
    print_cell(stdout, command_text(p), width - 59 > 10 ? -(width - 59) : -10);
    putchar('\n');
}

static void print_json(const struct proc *p)
{
    printf("{\"pid\":%d,\"ppid\":%d,\"runtime\":", p->pid, p->ppid);
    print_json_text(stdout, p->runtime);
    printf(",\"exe\":");
    print_json_text(stdout, p->exe);
    printf(",\"command\":");
    print_json_text(stdout, command_text(p));
    printf(",\"ports\":[");
    for (u32 i = 0; i < p->n_ports; i++)
        printf("%s%u", i ? "," : "", p->ports[i]);
    printf("],\"openssl\":%s,\"unit\":", p->openssl ? "true" : "false");
    print_json_text(stdout, p->unit);
    printf(",\"container\":");
    print_json_text(stdout, p->container);
    puts("}");
}

static int list_main(struct options *o)
{
    cleanup(freep) struct proc *v = NULL;
    size_t n = 0;
    int err = proc_all(&v, &n);
    if (err) {
        complain("cannot read /proc: %s", errno_name(err));
        return EXIT_RUNTIME;
    }
    proc_ports(v, n);
    if (!o->json && !o->quiet)
        printf("    PID  WHAT           LISTENS      TLS  UNIT/CONT.    COMMAND\n");
    int width = terminal_width(STDOUT_FILENO);
    for (size_t i = 0; i < n; i++)
        if (o->json)
            print_json(&v[i]);
        else
            print_row(&v[i], width);
    if (geteuid() && !o->quiet && !o->json)
        complain("not root: other users' programs, ports and libraries are not to be seen");
    return EXIT_FINE;
}

const struct command command_list = {
    .name = "list",
    .usage = "[--json]",
    .summary = "processes that could be traced here",
    .more = "One line a process: what runs it, the TCP ports it listens on, whether OpenSSL is in it, its systemd unit or\n"
            "the beginning of its container's id, its command line. --json: one object a line.",
    .takes = TAKES_JSON,
    .max_rest = 0,
    .run = list_main,
};
