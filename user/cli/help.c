/* wftrace help, made from the tables of commands and options. */
#include "cli/cli.h"

void print_usage(FILE *to)
{
    fprintf(to, "wftrace shows what a program does, as a tree, without a change to it.\n\n"
                "    wftrace run -- python app.py        trace a command\n"
                "    wftrace attach --pid 1234           trace a process that runs\n\nCommands:\n");
    for (const struct command *const *c = commands; *c; c++)
        fprintf(to, "  %-11s %s\n", (*c)->name, (*c)->summary);
    fprintf(to, "\nwftrace help COMMAND says more. Exit: 0 fine, 1 failure, 2 usage, 3 privileges or kernel.\n");
}

static void print_option(FILE *to, const struct option *opt)
{
    char text[64];
    snprintf(text, sizeof(text), "--%s%s%s", opt->name, opt->value ? " " : "", opt->value ? opt->value : "");
    if (opt->letter)
        fprintf(to, "  -%c, %-22s %s\n", opt->letter, text, opt->help);
    else
        fprintf(to, "      %-22s %s\n", text, opt->help);
}

static void print_exporters(FILE *to)
{
    fprintf(to, "\nSPEC of --export:\n");
    for (const struct exporter *const *e = exporters; *e; e++)
        fprintf(to, "  %s\n", (*e)->help);
}

void print_command_help(FILE *to, const struct command *c)
{
    fprintf(to, "usage: wftrace %s %s\n\n%s.\n", c->name, c->usage, c->summary);
    if (c->more[0])
        fprintf(to, "\n%s\n", c->more);
    fprintf(to, "\nOptions:\n");
    for (const struct option *opt = option_table; opt->name; opt++)
        if (opt->help && (opt->group & (c->takes | TAKES_COMMON)))
            print_option(to, opt);
    if (c->takes & TAKES_EXPORT)
        print_exporters(to);
}

static int help_main(struct options *o)
{
    if (!o->n_rest) {
        print_usage(stdout);
        return EXIT_FINE;
    }
    const struct command *c = command_by_name(o->rest[0]);
    if (!c)
        return usage_error(NULL, "no command '%s'", o->rest[0]);
    print_command_help(stdout, c);
    return EXIT_FINE;
}

const struct command command_help = {
    .name = "help",
    .usage = "[COMMAND]",
    .summary = "this list, or all about one command",
    .more = "",
    .max_rest = 1,
    .run = help_main,
};
