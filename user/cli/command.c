/* From argv to a command's function. */
#include "cli/cli.h"
#include "base/log.h"

#include <stdarg.h>

#define COMMAND(name) extern const struct command command_##name;
#include "cli/command.def"
#undef COMMAND

const struct command *const commands[] = {
#define COMMAND(name) &command_##name,
#include "cli/command.def"
#undef COMMAND
    NULL,
};

const char *const later_commands[] = { NULL };

const struct command *command_by_name(const char *name)
{
    for (const struct command *const *c = commands; *c; c++)
        if (!strcmp((*c)->name, name))
            return *c;
    return NULL;
}

int exit_of(enum agent_failure about)
{
    return about == AGENT_CONFIG ? EXIT_USAGE : about == AGENT_PRIVILEGE ? EXIT_PRIVILEGE : EXIT_RUNTIME;
}

static void complain_v(const char *fmt, va_list args)
{
    char line[2048];
    vsnprintf(line, sizeof(line), fmt, args);
    for (char *p = line; *p; p++)
        if ((u8)*p < 0x20 && *p != '\n')
            *p = '?';
    fprintf(stderr, "wftrace: %s\n", line);
}

void complain(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    complain_v(fmt, args);
    va_end(args);
}

int usage_error(const struct command *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    complain_v(fmt, args);
    va_end(args);
    if (c)
        fprintf(stderr, "usage: wftrace %s %s\n", c->name, c->usage);
    else
        fprintf(stderr, "try: wftrace help\n");
    return EXIT_USAGE;
}

static int command_unknown(const char *word)
{
    const char *names[64];
    size_t n = 0;
    for (const char *const *l = later_commands; *l; l++)
        if (!strcmp(*l, word))
            return usage_error(NULL, "'%s' is not in this version", word);
    for (const struct command *const *c = commands; *c && n < ARRAY_LEN(names); c++)
        names[n++] = (*c)->name;
    const char *near = nearest_word(word, names, n);
    if (near)
        return usage_error(NULL, "no command '%s'; did you mean '%s'?", word, near);
    return usage_error(NULL, "no command '%s'; to trace a program: wftrace run -- %s …", word, word);
}

static int command_dispatch(const struct command *c, int argc, char **argv)
{
    static struct options o; /* large, and there is one command in a process's life */
    char err[1024];
    o = (struct options){ 0 };
    log_level = LOG_WARN;
    if (options_parse(c, argc, argv, &o, err, sizeof(err)))
        return usage_error(c, "%s", err);
    if (o.help) {
        print_command_help(stdout, c);
        return EXIT_FINE;
    }
    if (o.n_rest < c->min_rest)
        return usage_error(c, "%s: %s is missing", c->name, c->rest_name);
    if (c->max_rest >= 0 && o.n_rest > c->max_rest)
        return usage_error(c, "%s: '%s' is one word too many", c->name, o.rest[c->max_rest]);
    return c->run(&o);
}

static const char *command_alias(const char *word)
{
    if (!strcmp(word, "--help") || !strcmp(word, "-h"))
        return "help";
    if (!strcmp(word, "--version") || !strcmp(word, "-V"))
        return "version";
    return word;
}

int cli_main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    const char *word = command_alias(argv[1]);
    const struct command *c = command_by_name(word);
    if (c)
        return command_dispatch(c, argc - 2, argv + 2);
    if (word[0] == '-')
        return usage_error(NULL, "options come after the command: wftrace run %s …", word);
    return command_unknown(word);
}
