/* wftrace completion bash|zsh|fish: scripts made from the same tables as the parser, so they cannot disagree with it. */
#include "cli/cli.h"

static void each_option(const struct command *c, void (*print)(const struct command *, const struct option *))
{
    for (const struct option *opt = option_table; opt->name; opt++)
        if (opt->help && (opt->group & (c->takes | TAKES_COMMON)))
            print(c, opt);
}

static void print_long(const struct command *c, const struct option *opt)
{
    UNUSED(c);
    printf(" --%s", opt->name);
}

static void print_command_names(void)
{
    for (const struct command *const *c = commands; *c; c++)
        printf("%s%s", c == commands ? "" : " ", (*c)->name);
}

static void bash_script(void)
{
    printf("_wftrace()\n{\n    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} cmd=${COMP_WORDS[1]} i\n"
           "    COMPREPLY=()\n"
           "    if ((COMP_CWORD == 1)); then COMPREPLY=($(compgen -W \"");
    print_command_names();
    printf("\" -- \"$cur\")); return; fi\n"
           "    if [[ $cmd == run ]]; then\n"
           "        for ((i = 2; i < COMP_CWORD; i++)); do\n"
           "            if [[ ${COMP_WORDS[i]} == -- ]]; then COMPREPLY=($(compgen -c -f -- \"$cur\")); return; fi\n"
           "        done\n"
           "    fi\n"
           "    case $prev in\n"
           "    --pid|-p) COMPREPLY=($(compgen -W \"$(command ls /proc | grep -x '[0-9]*')\" -- \"$cur\")); return ;;\n"
           "    --privacy) COMPREPLY=($(compgen -W 'strict off' -- \"$cur\")); return ;;\n"
           "    --export|-e) COMPREPLY=($(compgen -W 'console console:json otlp= otlp-json:' -- \"$cur\")); return ;;\n"
           "    --config|-c|--rules|-r|--capture|--prices) COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
           "    esac\n"
           "    case $cmd in\n");
    for (const struct command *const *c = commands; *c; c++) {
        printf("    %s) COMPREPLY=($(compgen -W \"", (*c)->name);
        each_option(*c, print_long);
        printf("\" -- \"$cur\")) ;;\n");
    }
    printf("    esac\n"
           "    case $cmd in\n"
           "    completion) COMPREPLY+=($(compgen -W 'bash zsh fish' -- \"$cur\")) ;;\n"
           "    rules) COMPREPLY+=($(compgen -W 'check list' -f -- \"$cur\")) ;;\n"
           "    config) COMPREPLY+=($(compgen -W 'validate explain schema keys variables' -f -- \"$cur\")) ;;\n"
           "    help) COMPREPLY+=($(compgen -W \"");
    print_command_names();
    printf("\" -- \"$cur\")) ;;\n"
           "    run) [[ $cur == -* ]] || COMPREPLY+=($(compgen -c -- \"$cur\")) ;;\n"
           "    replay) [[ $cur == -* ]] || COMPREPLY+=($(compgen -f -- \"$cur\")) ;;\n"
           "    esac\n}\ncomplete -o nosort -F _wftrace wftrace\n");
}

/* Text inside '…' of zsh and fish; neither table holds a quote, but `[` and `:` mean something to zsh. */
static void print_plain(const char *s)
{
    for (; *s; s++)
        putchar(strchr("[]:'\"\\", *s) ? ' ' : *s);
}

static void zsh_option(const struct command *c, const struct option *opt)
{
    UNUSED(c);
    printf("            '*--%s[", opt->name);
    print_plain(opt->help);
    printf("]%s%s%s' \\\n", opt->value ? ":" : "", opt->value ? opt->value : "",
           !opt->value                   ? ""
           : !strcmp(opt->value, "FILE") ? ":_files"
                                         : ":");
}

static void zsh_script(void)
{
    printf("#compdef wftrace\n_wftrace() {\n    local -a commands=(\n");
    for (const struct command *const *c = commands; *c; c++) {
        printf("        '%s:", (*c)->name);
        print_plain((*c)->summary);
        printf("'\n");
    }
    printf("    )\n    if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
           "    local cmd=$words[2]\n    shift words; (( CURRENT-- ))\n    case $cmd in\n");
    for (const struct command *const *c = commands; *c; c++) {
        printf("        %s) _arguments \\\n", (*c)->name);
        each_option(*c, zsh_option);
        printf("            '*::word:%s' ;;\n", (*c)->rest_is_command ? "_normal" : "_files");
    }
    printf("    esac\n}\nif [[ $funcstack[1] == _wftrace ]]; then _wftrace \"$@\"; else compdef _wftrace wftrace; fi\n");
}

static void fish_option(const struct command *c, const struct option *opt)
{
    printf("complete -c wftrace -n '__fish_seen_subcommand_from %s' -l %s", c->name, opt->name);
    if (opt->letter)
        printf(" -s %c", opt->letter);
    printf("%s -d '", !opt->value ? "" : !strcmp(opt->value, "FILE") ? " -r -F" : " -x");
    print_plain(opt->help);
    printf("'\n");
}

static void fish_script(void)
{
    printf("complete -c wftrace -f\n");
    for (const struct command *const *c = commands; *c; c++) {
        printf("complete -c wftrace -n __fish_use_subcommand -a %s -d '", (*c)->name);
        print_plain((*c)->summary);
        printf("'\n");
        each_option(*c, fish_option);
    }
    printf("complete -c wftrace -n '__fish_seen_subcommand_from completion' -a 'bash zsh fish'\n"
           "complete -c wftrace -n '__fish_seen_subcommand_from replay rules' -F\n"
           "complete -c wftrace -n '__fish_seen_subcommand_from run' -a '(__fish_complete_subcommand)'\n");
}

static const struct {
    const char *name;
    void (*print)(void);
} shells[] = { { "bash", bash_script }, { "zsh", zsh_script }, { "fish", fish_script } };

static int completion_main(struct options *o)
{
    for (size_t i = 0; i < ARRAY_LEN(shells); i++)
        if (!strcmp(shells[i].name, o->rest[0])) {
            shells[i].print();
            return EXIT_FINE;
        }
    return usage_error(NULL, "completion: '%s'? It is one of bash, zsh, fish", o->rest[0]);
}

const struct command command_completion = {
    .name = "completion",
    .usage = "bash|zsh|fish",
    .summary = "a script that completes wftrace's words in your shell",
    .more = "    bash:  wftrace completion bash > /etc/bash_completion.d/wftrace\n"
            "    zsh:   wftrace completion zsh > /usr/local/share/zsh/site-functions/_wftrace\n"
            "    fish:  wftrace completion fish > ~/.config/fish/completions/wftrace.fish",
    .min_rest = 1,
    .max_rest = 1,
    .rest_name = "bash, zsh or fish",
    .run = completion_main,
};
