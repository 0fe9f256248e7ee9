/* What is written from the table: the tables of docs/configuration.md, and the JSON Schema. */
#include "config/config_internal.h"

#define GROUPS_MAX 128

/* Every group once, in the order in which one meets them. */
struct met {
    const struct config_group *v[GROUPS_MAX];
    size_t n;
};

static void meet(struct met *m, const struct config_group *g)
{
    for (size_t i = 0; i < m->n; i++)
        if (m->v[i] == g)
            return;
    if (!g->n || m->n == GROUPS_MAX)
        return;
    m->v[m->n++] = g;
    for (size_t i = 0; i < g->n; i++)
        if (g->keys[i].group)
            meet(m, g->keys[i].group);
}

/* --- Markdown --- */
static void type_words(FILE *to, const struct config_key *k)
{
    static const char *const names[] = { "true, false", "integer", "number",           "text", "word", "duration", "size",
                                         "texts",       "numbers", "any scalar, list", "",     "",     "list",     "—" };
    if (k->type == CONFIG_GROUP && !k->group->n)
        fputs("nothing", to);
    else if (k->type == CONFIG_GROUP || k->type == CONFIG_GROUPS)
        fprintf(to, "%s[%s](#%s)", k->type == CONFIG_GROUPS ? "list of " : "", k->group->id, k->group->id);
    else if (k->words) {
        for (size_t i = 0; k->words[i]; i++)
            fprintf(to, "%s`%s`", i ? ", " : "", k->words[i]);
    } else
        fputs(names[k->type], to);
    if (k->max > k->min && k->max < 1e9)
        fprintf(to, ", %g–%g", k->min, k->max);
}

static void key_row(FILE *to, const struct config_key *k)
{
    fprintf(to, "| `%s`%s%s | ", k->name, k->flags & KEY_REQUIRED ? " *" : "", k->flags & KEY_OURS ? " °" : "");
    type_words(to, k);
    if (k->fallback)
        fprintf(to, " | `%s` | ", k->fallback);
    else
        fprintf(to, " | %s | ", k->unset ? k->unset : "");
    fprintf(to, "%s%s%s%s%s |\n", k->help, k->flags & KEY_SECRET ? " (never shown)" : "",
            k->flags & KEY_RESTART ? ". **Needs a restart**" : "", k->ignored ? ". **No effect:** " : "",
            k->ignored ? k->ignored : "");
}

void config_write_docs(FILE *to)
{
    struct met m = { 0 };
    meet(&m, &config_root_group);
    for (size_t i = 0; i < m.n; i++) {
        const struct config_group *g = m.v[i];
        fprintf(to, "### %s\n\n%s%s\n\n| key | takes | default | means |\n|---|---|---|---|\n", g->id, g->help,
                g->one_of ? " Exactly one of:" : "");
        for (size_t k = 0; k < g->n; k++)
            key_row(to, &g->keys[k]);
        fputc('\n', to);
    }
}

void config_write_variables(FILE *to)
{
    fputs("| variable | means | default | key | |\n|---|---|---|---|---|\n", to);
    for (const struct config_variable *v = config_variables; v->name; v++)
        fprintf(to, "| `%s` | %s | %s | %s%s%s | %s%s |\n", v->name, v->help, v->fallback ? v->fallback : "", v->key ? "`" : "",
                v->key ? v->key : "", v->key ? "`" : "", v->ignored ? "ignored: " : "supported", v->ignored ? v->ignored : "");
}

/* --- JSON Schema --- */
#define REFERENCE "\\\\$\\\\{" /* a value that a variable will give */

static void schema_words(FILE *to, const struct config_key *k)
{
    fputs("{ \"anyOf\": [{ \"enum\": [", to);
    for (size_t i = 0; k->words[i]; i++) {
        json_print(to, k->words[i]);
        fputs(", ", to);
    }
    fputs("null] }, { \"type\": \"string\", \"pattern\": \"" REFERENCE "\" }]", to);
}

static void schema_scalar(FILE *to, const char *type, const char *pattern)
{
    fprintf(to, "{ \"type\": [%s, \"string\", \"null\"], \"pattern\": \"%s" REFERENCE "\"", type, pattern);
}

static void schema_type(FILE *to, const struct config_key *k)
{
    if (k->words && k->type != CONFIG_TEXTS) {
        schema_words(to, k);
        return;
    }
    switch (k->type) {
    case CONFIG_BOOL:
        schema_scalar(to, "\"boolean\"", "");
        break;
    case CONFIG_INT:
        schema_scalar(to, "\"integer\"", "");
        break;
    case CONFIG_NUMBER:
        schema_scalar(to, "\"number\"", "");
        break;
    case CONFIG_DURATION:
        schema_scalar(to, "\"integer\"", "^[0-9]+ ?(ms|s|m|h|d)?$|");
        break;
    case CONFIG_SIZE:
        schema_scalar(to, "\"integer\"", "^[0-9]+ ?(B|[KMGT]iB|[kKMGT]B)?$|");
        break;
    case CONFIG_TEXTS:
        fputs("{ \"type\": \"array\", \"minItems\": 1, \"items\": { \"type\": \"string\" }", to);
        break;
    case CONFIG_NUMBERS:
        fputs("{ \"type\": \"array\", \"items\": { \"type\": \"number\" }", to);
        break;
    case CONFIG_GROUPS:
        fprintf(to, "{ \"type\": \"array\", \"minItems\": 1, \"items\": { \"$ref\": \"#/$defs/%s\" }", k->group->id);
        break;
    case CONFIG_GROUP:
        fprintf(to, "{ \"$ref\": \"#/$defs/%s\"", k->group->id);
        break;
    case CONFIG_PART:
        fputs("{ \"type\": \"array\"", to);
        break;
    case CONFIG_TEXT:
        fputs(k->flags & KEY_REQUIRED ? "{ \"type\": \"string\"" : "{ \"type\": [\"string\", \"null\"]", to);
        break;
    default:
        fputs("{", to);
    }
}

static void schema_key(FILE *to, const struct config_key *k, bool comma)
{
    char text[400];
    bool numeric = k->type == CONFIG_INT || k->type == CONFIG_NUMBER || k->type == CONFIG_DURATION || k->type == CONFIG_SIZE;
    fputs("        ", to);
    json_print(to, k->name);
    fputs(": ", to);
    schema_type(to, k);
    if (numeric)
        fprintf(to, ", \"minimum\": %.15g", k->min);
    if (numeric && k->max > k->min)
        fprintf(to, ", \"maximum\": %.15g", k->max);
    if (k->fallback && numeric && strspn(k->fallback, "0123456789.") == strlen(k->fallback))
        fprintf(to, ", \"default\": %s", k->fallback);
    else if (k->fallback && k->type == CONFIG_BOOL)
        fprintf(to, ", \"default\": %s", k->fallback);
    else if (k->fallback) {
        fputs(", \"default\": ", to);
        json_print(to, k->fallback);
    }
    snprintf(text, sizeof(text), "%s%s%s", k->help, k->ignored ? ". No effect: " : "", k->ignored ? k->ignored : "");
    fprintf(to, "%s\"description\": ", k->type == CONFIG_ANY || k->type == CONFIG_VALUE ? " " : ", ");
    json_print(to, text);
    fprintf(to, " }%s\n", comma ? "," : "");
}

static void schema_group(FILE *to, const struct config_group *g)
{
    bool any = false;
    fprintf(to, "{\n      \"type\": %s,\n      \"description\": ", g->one_of ? "\"object\"" : "[\"object\", \"null\"]");
    json_print(to, g->help ? g->help : "Takes no keys.");
    fputs(",\n      \"additionalProperties\": false,\n", to);
    if (g->one_of)
        fputs("      \"minProperties\": 1,\n      \"maxProperties\": 1,\n", to);
    for (size_t i = 0; i < g->n; i++) {
        if (!(g->keys[i].flags & KEY_REQUIRED))
            continue;
        fputs(any ? ", " : "      \"required\": [", to);
        json_print(to, g->keys[i].name);
        any = true;
    }
    fputs(any ? "],\n      \"properties\": {\n" : "      \"properties\": {\n", to);
    for (size_t i = 0; i < g->n; i++)
        schema_key(to, &g->keys[i], i + 1 < g->n);
    fputs("      }\n    }", to);
}

void config_write_schema(FILE *to)
{
    struct met m = { 0 };
    meet(&m, &config_root_group);
    fputs("{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n  \"title\": \"Configuration of wftrace\",\n"
          "  \"$ref\": \"#/$defs/configuration\",\n  \"$defs\": {\n    \"none\": { \"type\": [\"object\", \"null\"], "
          "\"maxProperties\": 0 }",
          to);
    for (size_t i = 0; i < m.n; i++) {
        fprintf(to, ",\n    \"%s\": ", m.v[i]->id);
        schema_group(to, m.v[i]);
    }
    fputs("\n  }\n}\n", to);
}
