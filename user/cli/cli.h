/* The command line: a table of commands, one table of options that every command takes its own from, one parser.
 *
 * A command is one file that ends in its `struct command` and one line in command.def. Errors of usage name the word that
 * is wrong and the nearest right one, and end with status 2. */
#ifndef WF_CLI_CLI_H
#define WF_CLI_CLI_H

#include "base/json.h"
#include "cli/agent.h"
#include "config/config.h"
#include "store/store.h"

enum exit_status { EXIT_FINE = 0, EXIT_RUNTIME = 1, EXIT_USAGE = 2, EXIT_PRIVILEGE = 3 };
int exit_of(enum agent_failure about);

enum selector_kind { SELECT_PID, SELECT_NAME, SELECT_PORT, SELECT_CGROUP, SELECT_UNIT, SELECT_CONTAINER };
struct selector {
    enum selector_kind kind;
    const char *text;
    u32 number; /* PID, PORT */
};

#define CLI_PLUGINS   8
#define CLI_SELECTORS 64
#define CLI_CONFIGS   8

enum bridge_choice { BRIDGE_AUTO, BRIDGE_ALWAYS, BRIDGE_NEVER };

/* Everything the options of all commands can say. Text borrows from argv. */
struct options {
    struct agent_options agent;
    struct selector select[CLI_SELECTORS];
    size_t n_select;
    u64 for_ns;                /* 0: no end */
    enum bridge_choice bridge; /* --bridge */
    const char *packs;         /* --packs: "off", or names with commas; NULL: those that are recognised */
    const char *config_files[CLI_CONFIGS];
    size_t n_config_files;
    struct agent_options given;                 /* `agent` as the command line alone has it: a reload starts from it */
    struct config *config;                      /* session_config(); with all that was made of it */
    struct resource *resource;                  /* made of it */
    struct processor_spec plugins[CLI_PLUGINS]; /* --plugin: behind the configuration's processors */
    size_t n_plugins;
    struct store_query query; /* show-traces */
    const char *store;        /* --store: the file, or NULL */
    const char *chunk_events; /* --chunk-events as written, or NULL */
    const char *prices;       /* --prices, or NULL */
    u64 since_ago_ns;         /* --since */
    bool json, no_color, quiet, verbose, help;
    char **rest; /* what is no option */
    int n_rest;
};

enum command_takes {
    TAKES_COMMON = 1,
    TAKES_RULES = 2,
    TAKES_EXPORT = 4,
    TAKES_LIVE = 8,
    TAKES_TARGET = 16,
    TAKES_JSON = 32,
    TAKES_STORE = 64
};

struct command {
    const char *name, *usage; /* usage: after the name */
    const char *summary;      /* one line */
    const char *more;         /* paragraphs of `wftrace help NAME`; "" when the line is enough */
    u32 takes;                /* enum command_takes */
    bool rest_is_command;     /* the first word that is no option ends the options */
    int min_rest, max_rest;   /* -1: any */
    const char *rest_name;    /* for messages: "a command to run" */
    int (*run)(struct options *o);
};
extern const struct command *const commands[]; /* NULL-terminated, in the order of help */
const struct command *command_by_name(const char *name);

/* Words that design and documentation know and this version doesn't: command names, with what they will be. */
extern const char *const later_commands[]; /* NULL-terminated */

/* --- options --- */
enum option_shape {
    OPTION_FUNCTION, /* set() */
    OPTION_TEXT,     /* const char *, not empty */
    OPTION_DURATION, /* u64, ns */
    OPTION_MARK,     /* bool */
    OPTION_SELECTOR, /* one target more */
};
struct option {
    const char *name;  /* without -- */
    char letter;       /* 0: none */
    const char *value; /* NULL: takes none */
    u32 group;         /* one of enum command_takes */
    const char *help;
    /* 0, or -1 with a sentence in err */
    int (*set)(struct options *o, const char *value, char *err, size_t err_size);
    enum option_shape shape;
    size_t into; /* where in struct options */
    enum selector_kind selector;
};
/* 0, or -1 with a sentence in err. value: NULL for those that take none. */
int option_take(const struct option *opt, struct options *o, const char *value, char *err, size_t err_size);
extern const struct option option_table[]; /* ends with name NULL */

/* argv[0] is the first word after the command's name. 0 or -EINVAL with a sentence in err. */
int options_parse(const struct command *c, int argc, char **argv, struct options *ret, char *err, size_t err_size);
/* "10s" "2m" "1h" "500ms" "10" (seconds) → ns. -EINVAL, -ERANGE above a year or at zero. */
int duration_parse(const char *text, u64 *ret_ns);

/* --- for the commands --- */
/* A line on standard error: "wftrace: …". */
void complain(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
int usage_error(const struct command *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void print_usage(FILE *to);
void print_command_help(FILE *to, const struct command *c);
/* The text without control bytes, cut to |width| columns ("…" at the cut) and, when width > 0, padded to it. */
void print_cell(FILE *to, const char *text, int width);
int terminal_width(int fd); /* columns; 80 when it is no terminal */

int cli_main(int argc, char **argv);

#endif
