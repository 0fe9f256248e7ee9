/* wftrace list: what could be traced here. */
#include "cli/cli.h"
#include "cli/enlist.h"
#include "cli/proc.h"
#include "workflow/packs.h"

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

/* The engines that a Python process could import, by the packs of this binary: "celery,langgraph". */
static void packs_text(const struct rules *packs, const struct options *o, pid_t pid, const char *runtime, char *out, size_t size)
{
    struct enlist e = { 0 };
    size_t at = 0;
    out[0] = 0;
    if (strncmp(runtime, "python", 6))
        return;
    enlist_process(&e, o, pid);
    for (size_t i = 0; i < packs->n_packs && at + 40 < size; i++)
        if (packs->packs[i].n_python && enlist_keep(&e, &packs->packs[i]))
            at += (size_t)snprintf(out + at, size - at, "%s%.32s", at ? "," : "", packs->packs[i].name);
    enlist_done(&e);
}

static const char *command_text(const struct proc *p) { return p->args[0] ? p->args : p->comm; }

static void print_row(const struct proc *p, const char *packs, int width)
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
    int used = 59 + (packs[0] ? (int)strlen(packs) + 3 : 0);
    if (packs[0])
        printf("[%s] ", packs);
    print_cell(stdout, command_text(p), width - used > 10 ? -(width - used) : -10);
    putchar('\n');
}

static void print_json(const struct proc *p, const char *packs)
{
    printf("{\"pid\":%d,\"ppid\":%d,\"runtime\":", p->pid, p->ppid);
    json_print(stdout, p->runtime);
    printf(",\"exe\":");
    json_print(stdout, p->exe);
    printf(",\"command\":");
    json_print(stdout, command_text(p));
    printf(",\"packs\":");
    json_print(stdout, packs);
    printf(",\"ports\":[");
    for (u32 i = 0; i < p->n_ports; i++)
        printf("%s%u", i ? "," : "", p->ports[i]);
    printf("],\"openssl\":%s,\"unit\":", p->openssl ? "true" : "false");
    json_print(stdout, p->unit);
    printf(",\"container\":");
    json_print(stdout, p->container);
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
    struct rules packs = { 0 };
    char why[256];
    (void)packs_load(&packs, why, sizeof(why));
    for (size_t i = 0; i < n; i++) {
        char names[256];
        packs_text(&packs, o, v[i].pid, v[i].runtime, names, sizeof(names));
        if (o->json)
            print_json(&v[i], names);
        else
            print_row(&v[i], names, width);
    }
    rules_done(&packs);
    if (geteuid() && !o->quiet && !o->json)
        complain("not root: other users' programs, ports and libraries are not to be seen");
    return EXIT_FINE;
}

const struct command command_list = {
    .name = "list",
    .usage = "[--json]",
    .summary = "processes that could be traced here",
    .more = "One line a process: what runs it, the TCP ports it listens on, whether OpenSSL is in it, its systemd unit or\n"
            "the beginning of its container's id, the engines that are installed for it and that wftrace knows, its command\n"
            "line. --json: one object a line.",
    .takes = TAKES_JSON,
    .max_rest = 0,
    .run = list_main,
};
