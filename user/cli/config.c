/* wftrace config validate|explain|schema|keys|variables: what the configuration says, and whether it can be read. */
#include "cli/session.h"

static int validate(const struct options *o)
{
    if (o->n_rest < 2)
        return usage_error(NULL, "config validate: which file? wftrace config validate FILE…");
    struct config_says mistakes, notes;
    struct config *c = NULL;
    struct config_input in = { .files = (const char *const *)(o->rest + 1), .n_files = (size_t)o->n_rest - 1 };
    int code = config_load(&in, &c, &mistakes, &notes);
    char err[2048] = "";
    if (!code)
        code = session_check_config(c, err, sizeof(err));
    if (notes.n && !o->quiet)
        fprintf(stderr, "%s\n", notes.text);
    if (code)
        fprintf(stderr, "%s\n", *err ? err : mistakes.text);
    else if (!o->quiet)
        printf("%s%s: fine\n", o->rest[1], o->n_rest > 2 ? " and what goes over it" : "");
    config_free(c);
    return code ? EXIT_USAGE : EXIT_FINE;
}

static int explain(struct options *o)
{
    char err[8300] = "";
    if (o->n_rest > 1)
        return usage_error(NULL, "config explain takes files with -c: wftrace config explain -c %s", o->rest[1]);
    if (session_config(o, err, sizeof(err))) {
        fprintf(stderr, "%s\n", err);
        return EXIT_USAGE;
    }
    config_explain(o->config, o->json, stdout);
    return EXIT_FINE;
}

static int config_main(struct options *o)
{
    static const struct {
        const char *name;
        void (*write)(FILE *to);
    } writers[] = { { "schema", config_write_schema }, { "keys", config_write_docs }, { "variables", config_write_variables } };
    static const char *const words[] = { "validate", "explain", "schema", "keys", "variables" };
    const char *word = o->rest[0];
    if (!strcmp(word, "validate"))
        return validate(o);
    if (!strcmp(word, "explain"))
        return explain(o);
    for (size_t i = 0; i < ARRAY_LEN(writers); i++)
        if (!strcmp(word, writers[i].name)) {
            writers[i].write(stdout);
            return EXIT_FINE;
        }
    const char *near = nearest_word(word, words, ARRAY_LEN(words));
    return usage_error(NULL, "config: '%s'? %s%s%sIt is: wftrace config validate FILE…, wftrace config explain", word,
                       near ? "Did you mean '" : "", near ? near : "", near ? "'? " : "");
}

const struct command command_config = {
    .name = "config",
    .usage = "validate FILE… | explain [-c FILE]… | schema | keys | variables",
    .summary = "check configuration files; what is in force and where it is from",
    .more = "validate names file, line and column of every mistake, and what was meant; later files go over earlier ones.\n"
            "explain prints each key with its value and its origin: a file's line, a variable, an option, or the default.\n"
            "schema is a JSON Schema for editors; keys and variables are the tables of the documentation.",
    .takes = TAKES_EXPORT | TAKES_RULES | TAKES_JSON,
    .min_rest = 1,
    .max_rest = -1,
    .rest_name = "validate or explain",
    .run = config_main,
};
