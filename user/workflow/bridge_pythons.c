/* Which Pythons started without taking the helper in: those that ignore their environment (-I, -E, -S), that were given another
 * one, or that it does not serve. Rules see nothing of them, and the closing words should say so. */
#include "workflow/bridge_internal.h"
#include "self/ledger.h"

struct python {
    char words[48]; /* the program and its options */
};

static bool is_python(struct slice program)
{
    for (size_t i = program.n; i > 0; i--)
        if (program.p[i - 1] == '/') {
            program = slice_from(program, i);
            break;
        }
    return slice_starts(program, "python") && (program.n == 6 || (program.p[6] >= '0' && program.p[6] <= '9'));
}

/* Arguments may be anybody's secrets: only letters behind a dash are kept. */
static bool is_option(struct slice word)
{
    for (size_t i = 1; i < word.n; i++)
        if ((word.p[i] | 32) < 'a' || (word.p[i] | 32) > 'z')
            return false;
    return word.n > 1 && word.n < 12 && word.p[0] == '-';
}

static struct slice word_take(struct slice *args)
{
    const u8 *end = memchr(args->p, 0, args->n);
    struct slice word = slice_head(*args, end ? (size_t)(end - args->p) : args->n);
    *args = slice_from(*args, word.n + (end != NULL));
    return word;
}

/* «python -V» and «python --help» run no program. */
static bool words_read(struct slice args, struct python *ret)
{
    struct slice word = args.n ? word_take(&args) : args;
    if (!is_python(word))
        return false;
    const u8 *slash = memrchr(word.p, '/', word.n);
    word = slash ? slice_from(word, (size_t)(slash - word.p) + 1) : word;
    snprintf(ret->words, sizeof(ret->words), "%.*s", (int)min_u64(word.n, 20), (const char *)word.p);
    for (size_t n = strlen(ret->words); args.n && is_option(word = word_take(&args)) && n + word.n + 2 < sizeof(ret->words);
         n += word.n + 1) {
        if (word.p[1] == 'V' || word.p[1] == 'h')
            return false;
        snprintf(ret->words + n, sizeof(ret->words) - n, " %.*s", (int)word.n, (const char *)word.p);
        if (word.p[1] == 'c' || word.p[1] == 'm')
            break;
    }
    return !slice_starts(word, "--");
}

void python_started(struct bridge *b, const struct event *e)
{
    struct python new, *kept;
    if (words_read(e->exec.args, &new) && (kept = table_put(b->pythons, &e->tgid, NULL)))
        *kept = new;
}

void python_loaded(struct bridge *b, u32 tgid) { table_del(b->pythons, &tgid); }

void python_ended(struct bridge *b, u32 tgid)
{
    const struct python *p = table_peek(b->pythons, &tgid);
    if (!p)
        return;
    ledger_add(bridge_not_reached, 1);
    if (!b->notes.missed++)
        memcpy(b->notes.missed_first, p->words, sizeof(p->words));
    table_del(b->pythons, &tgid);
}

struct table *pythons_new(void)
{
    return table_new(&(struct table_spec){ .key_size = 4, .value_size = sizeof(struct python), .max = PROCESSES_MAX });
}
