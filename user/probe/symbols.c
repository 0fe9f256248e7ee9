/* From a user's word to functions. One pass over the symbols: each is compared as spelt, then in its readable forms. */
#include "probe/symbols.h"
#include "probe/demangle.h"

#include <elf.h>
#include <fnmatch.h>

enum { READABLE_MAX = 1024, MATCHES_MAX = 2048 };

static bool is_function(const struct elf_symbol *s) { return s->type == STT_FUNC || s->type == STT_GNU_IFUNC; }

/* Pieces that the compiler cut out of a function; .constprop, .isra and the like are whole functions. */
static bool is_compiler_part(const char *name) { return strstr(name, ".cold") || strstr(name, ".part."); }

/* A clone keeps its function's name before the dot: f.constprop.0, f.isra.2. */
static bool is_clone_of(const char *symbol, const char *name)
{
    size_t n = strlen(name);
    return !strncmp(symbol, name, n) && (!strncmp(symbol + n, ".constprop.", 11) || !strncmp(symbol + n, ".isra.", 6) ||
                                         !strncmp(symbol + n, ".llvm.", 6) || !strncmp(symbol + n, ".lto_priv.", 10));
}

/* --- match ------------------------------------------------------------------------------------------------------ */

struct match {
    const char *name;
    bool glob, mangled, arguments;
    char word[64]; /* the longest plain identifier of a readable name: a cheap filter before demangling */
    struct elf_symbol *out;
    size_t max, count;
    u64 seen[MATCHES_MAX]; /* addresses counted */
};

static bool is_word(char c) { return c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z'); }

/* A mangled name holds the identifiers of the readable one as they are, so one of them must occur in it. */
static void pick_word(struct match *m)
{
    size_t best = 0, end = strcspn(m->name, "(<");
    for (size_t i = 0; i < end;) {
        size_t n = 0;
        while (i + n < end && is_word(m->name[i + n]))
            n++;
        if (n > best && n < sizeof(m->word)) {
            memcpy(m->word, m->name + i, n);
            m->word[n] = 0;
            best = n;
        }
        i += n ? n : 1;
    }
    if (!strncmp(m->word, "operator", 8))
        m->word[0] = 0;
}

static bool readable_matches(const struct match *m, const char *symbol)
{
    char text[READABLE_MAX];
    if (!m->glob && !strstr(symbol, m->word))
        return false;
    for (int arguments = 0; arguments < 2; arguments++) {
        if (!demangle(symbol, arguments, text, sizeof(text)))
            return false;
        if (m->glob ? !fnmatch(m->name, text, 0) : !strcmp(m->name, text))
            return true;
    }
    return false;
}

static bool symbol_matches(const struct match *m, const struct elf_symbol *s)
{
    if (!strcmp(s->name, m->name))
        return true;
    if (is_compiler_part(s->name))
        return false;
    if (m->glob ? !fnmatch(m->name, s->name, 0) : is_clone_of(s->name, m->name))
        return true;
    return !m->mangled && readable_matches(m, s->name);
}

/* Most functions come twice, from .dynsym and .symtab. */
static bool is_seen(struct match *m, u64 address)
{
    for (size_t i = 0; i < m->count; i++)
        if (m->seen[i] == address)
            return true;
    return false;
}

/* Ordered insertion, one per address; beyond max only the lowest addresses are kept and the count goes on. */
static void match_add(struct match *m, const struct elf_symbol *s)
{
    size_t kept = m->count < m->max ? m->count : m->max, i = 0;
    if (m->count == MATCHES_MAX || is_seen(m, s->value))
        return;
    while (i < kept && m->out[i].value < s->value)
        i++;
    m->seen[m->count++] = s->value;
    if (i >= m->max)
        return;
    size_t move = (kept < m->max ? kept : m->max - 1) - i;
    memmove(&m->out[i + 1], &m->out[i], move * sizeof(*s));
    m->out[i] = *s;
}

static bool match_visit(void *arg, const struct elf_symbol *s)
{
    struct match *m = arg;
    if (is_function(s) && symbol_matches(m, s))
        match_add(m, s);
    return true;
}

size_t symbols_match(const struct elf_image *image, const char *name, struct elf_symbol *out, size_t max)
{
    struct match m = { .name = name, .out = out, .max = max };
    struct elf_symbol exact;
    if (strchr(name, '@')) {
        if (elf_symbol(image, name, &exact) || !is_function(&exact))
            return 0;
        if (max)
            out[0] = exact;
        return 1;
    }
    m.glob = strpbrk(name, "*?") && !strstr(name, "operator*") && !strchr(name, '(');
    m.mangled = name[0] == '_' && (name[1] == 'Z' || name[1] == 'R');
    pick_word(&m);
    elf_symbols_each(image, match_visit, &m);
    return m.count;
}

/* --- nearest ---------------------------------------------------------------------------------------------------- */

enum { NEAREST_MAX = 8, NAME_LIMIT = 127 };

struct nearest {
    const char *name;
    size_t max, count;
    char (*out)[128];
    unsigned cost[NEAREST_MAX];
};

/* Levenshtein distance, given up when it must exceed `limit`. */
static unsigned distance(const char *a, const char *b, unsigned limit)
{
    unsigned row[NAME_LIMIT + 1];
    size_t la = strlen(a), lb = strlen(b);
    if (la > NAME_LIMIT || lb > NAME_LIMIT || (la > lb ? la - lb : lb - la) > limit)
        return limit + 1;
    for (size_t j = 0; j <= lb; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= la; i++) {
        unsigned diagonal = row[0], least = row[0] = (unsigned)i;
        for (size_t j = 1; j <= lb; j++) {
            unsigned above = row[j], change = diagonal + (a[i - 1] != b[j - 1]);
            unsigned step = (above < row[j - 1] ? above : row[j - 1]) + 1;
            row[j] = change < step ? change : step;
            diagonal = above;
            least = row[j] < least ? row[j] : least;
        }
        if (least > limit)
            return limit + 1;
    }
    return row[lb];
}

static void nearest_offer(struct nearest *w, const char *text, unsigned cost)
{
    size_t i = 0, kept = w->count;
    for (size_t k = 0; k < kept; k++)
        if (!strcmp(w->out[k], text))
            return;
    while (i < kept && w->cost[i] <= cost)
        i++;
    if (i >= w->max)
        return;
    size_t last = kept < w->max ? kept : w->max - 1;
    memmove(&w->out[i + 1], &w->out[i], (last - i) * sizeof(w->out[0]));
    memmove(&w->cost[i + 1], &w->cost[i], (last - i) * sizeof(w->cost[0]));
    snprintf(w->out[i], sizeof(w->out[i]), "%s", text);
    w->cost[i] = cost;
    w->count = last + 1;
}

static bool nearest_visit(void *arg, const struct elf_symbol *s)
{
    struct nearest *w = arg;
    char text[READABLE_MAX];
    if (!is_function(s) || is_compiler_part(s->name))
        return true;
    if (!demangle(s->name, false, text, sizeof(text)))
        snprintf(text, sizeof(text), "%s", s->name);
    size_t length = strlen(w->name);
    unsigned limit = (unsigned)(length / 3 + 1);
    /* Also the name without its namespace, and a name that holds the whole word. */
    const char *tail = strrchr(text, ':');
    unsigned cost = distance(w->name, text, limit), tail_cost = tail ? distance(w->name, tail + 1, limit) : limit + 1;
    cost = tail_cost < cost ? tail_cost : cost;
    if (cost > limit && length >= 4 && strcasestr(text, w->name))
        cost = limit;
    if (cost <= limit && strlen(text) <= NAME_LIMIT)
        nearest_offer(w, text, cost);
    return true;
}

size_t symbols_nearest(const struct elf_image *image, const char *name, char (*out)[128], size_t max)
{
    struct nearest w = { .name = name, .max = max < NEAREST_MAX ? max : NEAREST_MAX, .out = out };
    elf_symbols_each(image, nearest_visit, &w);
    return w.count;
}
