/* What a statement does, and its text without values. There is no grammar here: a walk over the tokens with a memory of
 * the parentheses and of the words just passed finds the operations and their targets. That is right for what people
 * write, and where it is not, something is left out; a value is never let through, since literals are told by the
 * lexer alone.
 *
 * Targets are the names after FROM, JOIN, INTO, UPDATE, TABLE and the like, written as in the statement. Common table
 * expressions are no targets. FROM counts only where a SELECT or DELETE of the same parenthesis level came before, which
 * leaves out EXTRACT(x FROM y) and its relatives. */
#include "protocol/protocol.h"
#include "protocol/sql_token.h"

#include <ctype.h>

#define DEPTH_MAX 32
#define CTES_MAX  8

struct level {
    bool verb;    /* a SELECT, DELETE or UPDATE stands at this level: FROM means tables */
    bool targets; /* in a list of tables: a comma brings the next one */
};

struct walk {
    struct sql_lexer lexer;
    struct sql_token t;     /* current, never space */
    struct slice before[2]; /* last words: [0] the nearest */
    struct level levels[DEPTH_MAX];
    size_t depth;
    bool expect;  /* a target comes next */
    bool explain; /* EXPLAIN came first: its options are no verbs */
    bool started; /* this statement's first verb was seen */
    bool with;    /* between WITH and its main verb */
    struct slice ctes[CTES_MAX];
    size_t n_ctes;
    size_t op_end; /* of summary, after the last operation: targets are told once for each */
    size_t n_targets;
    struct sql_facts *out;
};

static void walk_next(struct walk *w)
{
    do
        w->t = sql_next(&w->lexer);
    while (w->t.kind == SQL_SPACE);
}

static bool word_in(struct slice s, const char *const *list)
{
    for (; *list; list++)
        if (slice_ieq(s, *list))
            return true;
    return false;
}

static bool is_punct(struct sql_token t, char c) { return t.kind == SQL_PUNCT && t.text.p[0] == (u8)c; }
static bool is_word(struct sql_token t, const char *word) { return t.kind == SQL_WORD && slice_ieq(t.text, word); }
static struct level *level_of(struct walk *w) { return &w->levels[w->depth < DEPTH_MAX ? w->depth : DEPTH_MAX - 1]; }

/* Whole words only; upper for keywords */
static bool summary_add(struct walk *w, struct slice s, bool upper)
{
    char *out = w->out->summary;
    size_t n = strlen(out), gap = n > 0 && out[n - 1] != ' ';
    if (n + gap + s.n >= sizeof(w->out->summary))
        return false;
    if (gap)
        out[n++] = ' ';
    for (size_t i = 0; i < s.n; i++, n++)
        out[n] = (char)(upper ? toupper(s.p[i]) : isspace(s.p[i]) || s.p[i] < ' ' ? ' ' : s.p[i]);
    out[n] = 0;
    return true;
}

static void copy_upper(struct slice s, char *out, size_t size)
{
    size_t n = s.n < size ? s.n : size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)toupper(s.p[i]);
    out[n] = 0;
}

static void take_operation(struct walk *w, struct slice verb)
{
    if (!w->out->operation[0] && w->depth == 0)
        copy_upper(verb, w->out->operation, sizeof(w->out->operation));
    summary_add(w, verb, true);
    w->op_end = strlen(w->out->summary);
    w->started = true;
}

static bool told_already(const struct walk *w, struct slice name)
{
    const char *s = w->out->summary + w->op_end;
    while (*s) {
        s += *s == ' ';
        size_t n = strcspn(s, " ");
        if (n == name.n && !memcmp(s, name.p, n))
            return true;
        s += n;
    }
    return false;
}

static bool is_cte(const struct walk *w, struct slice name)
{
    for (size_t i = 0; i < w->n_ctes; i++)
        if (w->ctes[i].n == name.n && !strncasecmp((const char *)w->ctes[i].p, (const char *)name.p, name.n))
            return true;
    return false;
}

static void take_collection(struct walk *w, struct slice name)
{
    char *c = w->out->collection;
    bool same = w->n_targets && strlen(c) == name.n && !memcmp(c, name.p, name.n);
    if (same)
        return;
    w->n_targets++;
    size_t n = w->n_targets == 1 && name.n < sizeof(w->out->collection) ? name.n : 0;
    memcpy(c, name.p, n);
    c[n] = 0;
}

/* The name at hand, with its dots: leaves the token after it current. */
static struct slice take_name(struct walk *w)
{
    struct slice name = w->t.text;
    for (;;) {
        size_t end = w->lexer.at;
        walk_next(w);
        if (!is_punct(w->t, '.'))
            return name;
        walk_next(w);
        if (w->t.kind != SQL_WORD && w->t.kind != SQL_NAME)
            return slice_of(name.p, (size_t)(w->lexer.in.p + end - name.p));
        name.n = (size_t)(w->t.text.p + w->t.text.n - name.p);
    }
}

static void take_target(struct walk *w)
{
    struct slice name = take_name(w);
    bool call = is_punct(w->t, '(') && level_of(w)->targets; /* FROM generate_series(…): a function, no table */
    w->expect = false;
    w->before[1] = w->before[0];
    w->before[0] = (struct slice){ 0 };
    if (call || is_cte(w, name) || slice_ieq(name, "STDIN") || slice_ieq(name, "STDOUT"))
        return;
    take_collection(w, name);
    if (!told_already(w, name))
        summary_add(w, name, false);
}

static const char *const fillers[] = { "ONLY",         "LATERAL",       "IF",     "NOT",          "EXISTS",
                                       "CONCURRENTLY", "TABLE",         "IGNORE", "LOW_PRIORITY", "DELAYED",
                                       "QUICK",        "HIGH_PRIORITY", NULL };
static const char *const objects[] = { "TABLE",       "INDEX",        "VIEW",       "SCHEMA",  "DATABASE",
                                       "SEQUENCE",    "FUNCTION",     "PROCEDURE",  "TRIGGER", "TYPE",
                                       "ROLE",        "USER",         "EXTENSION",  "DOMAIN",  "POLICY",
                                       "PUBLICATION", "SUBSCRIPTION", "TABLESPACE", NULL };
static const char *const adjectives[] = { "OR",           "REPLACE", "TEMP",  "TEMPORARY", "UNLOGGED",  "UNIQUE",
                                          "MATERIALIZED", "GLOBAL",  "LOCAL", "FOREIGN",   "RECURSIVE", NULL };
static const char *const ends_list[] = { "WHERE",  "GROUP",     "ORDER", "HAVING", "LIMIT",     "UNION",
                                         "EXCEPT", "INTERSECT", "SET",   "VALUES", "RETURNING", "WINDOW",
                                         "FETCH",  "OFFSET",    "FOR",   "ON",     "USING",     NULL };

/* CREATE OR REPLACE TEMP TABLE IF NOT EXISTS name: verb and kind of object are the operation's two words. */
static void take_definition(struct walk *w)
{
    take_operation(w, w->t.text);
    walk_next(w);
    while (w->t.kind == SQL_WORD && word_in(w->t.text, adjectives))
        walk_next(w);
    if (w->t.kind != SQL_WORD)
        return;
    if (word_in(w->t.text, objects)) {
        summary_add(w, w->t.text, true);
        walk_next(w);
    }
    while (w->t.kind == SQL_WORD && word_in(w->t.text, fillers))
        walk_next(w);
    if (w->t.kind == SQL_WORD || w->t.kind == SQL_NAME)
        take_target(w);
}

/* name [(columns)] AS [NOT MATERIALIZED] ( … */
static void take_cte(struct walk *w)
{
    struct slice name = w->t.text;
    walk_next(w);
    if (w->n_ctes < CTES_MAX)
        w->ctes[w->n_ctes++] = name;
}

/* FOR UPDATE, DO UPDATE, KEY UPDATE, ON UPDATE, ON DELETE are no statements */
static bool is_clause(const struct walk *w)
{
    static const char *const before[] = { "FOR", "DO", "KEY", "ON", "BEFORE", "AFTER", "THEN", NULL };
    return word_in(w->before[0], before);
}

static bool take_verb(struct walk *w)
{
    static const char *const defining[] = { "CREATE", "DROP", "ALTER", "TRUNCATE", "COMMENT", NULL };
    static const char *const targeted[] = { "CALL",    "EXEC",    "EXECUTE",    "COPY",    "LOCK",
                                            "VACUUM",  "ANALYZE", "REINDEX",    "CLUSTER", "REFRESH",
                                            "DECLARE", "PREPARE", "DEALLOCATE", "CLOSE",   NULL };
    struct slice word = w->t.text;
    struct level *l = level_of(w);
    if (slice_ieq(word, "SELECT") || slice_ieq(word, "DELETE") || slice_ieq(word, "UPDATE")) {
        if (is_clause(w))
            return false;
        take_operation(w, word);
        w->with = w->with && w->depth;
        *l = (struct level){ .verb = true };
        w->expect = slice_ieq(word, "UPDATE");
        return true;
    }
    if (slice_ieq(word, "INSERT") || slice_ieq(word, "MERGE") || slice_ieq(word, "REPLACE")) {
        if ((w->started && !w->with && !w->depth) || is_clause(w))
            return false;
        take_operation(w, word);
        w->with = w->with && w->depth;
        return true;
    }
    if (w->started || w->with || w->depth || w->explain)
        return false;
    if (word_in(word, defining)) {
        take_definition(w);
        return false;
    }
    take_operation(w, word);
    w->explain = slice_ieq(word, "EXPLAIN");
    w->started = !w->explain;
    w->expect = word_in(word, targeted);
    l->verb = w->expect;
    return true;
}

/* true: the word meant something and is used up */
static bool take_clause(struct walk *w)
{
    struct level *l = level_of(w);
    struct slice word = w->t.text;
    if (slice_ieq(word, "FROM") && l->verb && !slice_ieq(w->before[0], "DISTINCT"))
        return l->targets = w->expect = true;
    if (slice_ieq(word, "JOIN"))
        return l->targets = w->expect = true;
    if (slice_ieq(word, "INTO"))
        return w->expect = true;
    if (slice_ieq(word, "USING") && l->verb && slice_ieq(w->before[0], "MERGE"))
        return w->expect = true;
    if (word_in(word, ends_list))
        l->targets = w->expect = false;
    return false;
}

static void take_word(struct walk *w)
{
    struct slice word = w->t.text;
    if (!w->started && !w->with && slice_ieq(word, "WITH")) {
        w->with = true;
        walk_next(w);
        if (is_word(w->t, "RECURSIVE"))
            walk_next(w);
        take_cte(w);
        return;
    }
    if (w->expect && word_in(word, fillers)) {
        walk_next(w);
        return;
    }
    size_t at = w->lexer.at;
    bool used = !(w->expect && !slice_ieq(word, "SELECT")) && take_verb(w);
    if (w->lexer.at != at)
        return;
    used = used || take_clause(w);
    if (!used && w->expect) {
        take_target(w);
        return;
    }
    w->before[1] = w->before[0];
    w->before[0] = word;
    walk_next(w);
}

static void take_statement_end(struct walk *w)
{
    struct sql_facts *f = w->out;
    size_t n = strlen(f->summary);
    walk_next(w);
    if (w->t.kind == SQL_END || !n)
        return;
    if (n + 3 < sizeof(f->summary) && f->summary[n - 1] != ' ')
        strcpy(f->summary + n, "; ");
    w->op_end = strlen(f->summary);
    w->started = w->explain = w->with = w->expect = false;
    w->n_ctes = 0;
    w->before[0] = w->before[1] = (struct slice){ 0 };
    memset(w->levels, 0, sizeof(w->levels));
}

static void take_punct(struct walk *w)
{
    u8 c = w->t.text.p[0];
    if (c == ';' && !w->depth) {
        take_statement_end(w);
        return;
    }
    if (c == '(') {
        bool list = w->expect && level_of(w)->targets; /* FROM (a JOIN b): still tables, unless a SELECT follows */
        w->depth++;
        if (w->depth < DEPTH_MAX)
            w->levels[w->depth] = (struct level){ .targets = list };
        w->expect = list;
    } else if (c == ')') {
        w->depth -= w->depth > 0;
        w->expect = false;
    } else if (c == ',') {
        if (w->with && !w->depth) {
            walk_next(w);
            if (w->t.kind == SQL_WORD || w->t.kind == SQL_NAME)
                take_cte(w);
            return;
        }
        w->expect = level_of(w)->targets;
    } else {
        w->expect = false;
    }
    w->before[1] = w->before[0];
    w->before[0] = (struct slice){ 0 };
    walk_next(w);
}

void sql_facts_of(struct slice sql, struct sql_facts *ret)
{
    struct walk w = { .lexer = sql_lexer_of(sql), .out = ret };
    ret->summary[0] = ret->operation[0] = ret->collection[0] = 0;
    walk_next(&w);
    while (w.t.kind != SQL_END) {
        if (w.t.kind == SQL_WORD)
            take_word(&w);
        else if (w.t.kind == SQL_NAME && w.expect)
            take_target(&w);
        else if (w.t.kind == SQL_PUNCT)
            take_punct(&w);
        else
            walk_next(&w);
    }
    size_t n = strlen(ret->summary);
    while (n && (ret->summary[n - 1] == ' ' || ret->summary[n - 1] == ';'))
        ret->summary[--n] = 0;
}

void sql_summarise(struct slice sql, char *ret_summary, size_t summary_size, char *ret_operation, size_t op_size)
{
    struct sql_facts f;
    sql_facts_of(sql, &f);
    snprintf(ret_summary, summary_size, "%s", f.summary);
    snprintf(ret_operation, op_size, "%s", f.operation);
}

/* ---- the text without values ---- */

struct stripped {
    char *p;
    size_t n, size;
    bool full;
};

static void put(struct stripped *o, const void *p, size_t n)
{
    if (o->full || o->n + n >= o->size) {
        o->full = true; /* whole tokens only: nothing is cut inside a character */
        return;
    }
    memcpy(o->p + o->n, p, n);
    o->n += n;
}

static void put_space(struct stripped *o)
{
    if (o->n && o->p[o->n - 1] != ' ')
        put(o, " ", 1);
}

/* Inside IN ( … ) the second value and those after it, with their commas, say nothing new. */
struct in_list {
    bool in, open, one; /* IN seen, its parenthesis open, a value written */
};

static bool in_list_eats(struct in_list *l, struct sql_token t)
{
    if (l->open && l->one) {
        bool value = t.kind == SQL_LITERAL || t.kind == SQL_PARAM || t.kind == SQL_SPACE || is_punct(t, ',');
        if (value)
            return true;
    }
    if (t.kind == SQL_SPACE)
        return false;
    l->one = l->open && (t.kind == SQL_LITERAL || t.kind == SQL_PARAM);
    l->open = (l->in && is_punct(t, '(')) || l->one;
    l->in = is_word(t, "IN");
    return false;
}

size_t sql_strip_literals(struct slice sql, char *out, size_t size)
{
    if (!size)
        return 0;
    struct stripped o = { .p = out, .size = size };
    struct in_list list = { 0 };
    struct sql_lexer lexer = sql_lexer_of(sql);
    for (struct sql_token t; !o.full && (t = sql_next(&lexer)).kind != SQL_END;) {
        if (in_list_eats(&list, t))
            continue;
        if (t.kind == SQL_SPACE)
            put_space(&o);
        else if (t.kind == SQL_LITERAL)
            put(&o, "?", 1);
        else
            put(&o, t.text.p, t.text.n);
    }
    while (o.n && o.p[o.n - 1] == ' ')
        o.n--;
    out[o.n] = 0;
    return o.n;
}
