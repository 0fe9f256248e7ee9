#include "protocol/sql_token.h"

#include <ctype.h>

static int peek(const struct sql_lexer *l, size_t off) { return l->at + off < l->in.n ? l->in.p[l->at + off] : -1; }
static bool word_start(int c) { return c >= 0 && (isalpha(c) || c == '_' || c >= 0x80); }
static bool word_part(int c) { return word_start(c) || (c >= 0 && (isdigit(c) || c == '$')); }

/* Length from here up to and with the closing quote; to the end when there is none. A doubled quote doesn't close. */
static size_t quoted_len(const struct sql_lexer *l, size_t from, int quote, bool backslash)
{
    size_t i = from;
    for (int c; (c = peek(l, i)) >= 0; i++) {
        if (backslash && c == '\\')
            i++;
        else if (c == quote && peek(l, i + 1) == quote)
            i++;
        else if (c == quote)
            return i + 1;
    }
    return l->in.n - l->at;
}

static size_t line_len(const struct sql_lexer *l)
{
    size_t i = 0;
    for (int c; (c = peek(l, i)) >= 0 && c != '\n'; i++)
        ;
    return i;
}

static size_t comment_len(const struct sql_lexer *l)
{
    size_t i = 2, depth = 1;
    while (depth && peek(l, i) >= 0) {
        bool open = peek(l, i) == '/' && peek(l, i + 1) == '*', close = peek(l, i) == '*' && peek(l, i + 1) == '/';
        depth = depth + open - close;
        i += open || close ? 2 : 1;
    }
    return i;
}

static size_t space_len(const struct sql_lexer *l)
{
    int c = peek(l, 0);
    if (c == ' ' || (c >= '\t' && c <= '\r'))
        return 1;
    if ((c == '-' && peek(l, 1) == '-') || (c == '#' && l->mysql))
        return line_len(l);
    return c == '/' && peek(l, 1) == '*' ? comment_len(l) : 0;
}

/* $tag$ … $tag$; 0 when no such quote opens here */
static size_t dollar_len(const struct sql_lexer *l)
{
    size_t tag = 1;
    while (word_part(peek(l, tag)) && peek(l, tag) != '$' && !(tag == 1 && isdigit(peek(l, tag))))
        tag++;
    if (peek(l, tag) != '$')
        return 0;
    tag++;
    const u8 *body = l->in.p + l->at + tag;
    size_t left = l->in.n - l->at - tag;
    const u8 *end = memmem(body, left, l->in.p + l->at, tag);
    return end ? (size_t)(end - body) + 2 * tag : l->in.n - l->at;
}

/* 1  1.5e-3  0xff  1_000; letters that stick to it belong to it, so that no part of a value survives */
static size_t number_len(const struct sql_lexer *l)
{
    size_t i = 1;
    for (int c; (c = peek(l, i)) >= 0; i++) {
        int before = peek(l, i - 1);
        bool exponent = (c == '+' || c == '-') && (before == 'e' || before == 'E') && peek(l, 1) != 'x';
        if (!word_part(c) && c != '.' && !exponent)
            break;
    }
    return i;
}

static size_t word_len(const struct sql_lexer *l)
{
    size_t i = 1;
    while (word_part(peek(l, i)))
        i++;
    return i;
}

/* E'' B'' X'' N'' U&'' U&"" _utf8'': a prefix that sticks to a quote. 0: no such thing here */
static size_t prefixed_len(const struct sql_lexer *l, enum sql_kind *ret_kind)
{
    size_t n = word_len(l);
    int c = tolower(peek(l, 0));
    if (c == 'u' && n == 1 && peek(l, 1) == '&')
        n = 2;
    bool known = n == 1 ? strchr("ebxn", c) != NULL : n == 2 ? c == 'u' : c == '_';
    int quote = peek(l, n);
    if (!known || (quote != '\'' && !(n == 2 && quote == '"')))
        return 0;
    *ret_kind = quote == '"' ? SQL_NAME : SQL_LITERAL;
    return quoted_len(l, n + 1, quote, c == 'e' || l->mysql);
}

static size_t param_len(const struct sql_lexer *l)
{
    int c = peek(l, 0), d = peek(l, 1);
    size_t i = 1;
    if (c == '?')
        return 1;
    if (c == '$' && d >= 0 && isdigit(d)) {
        while (peek(l, i) >= 0 && isdigit(peek(l, i)))
            i++;
        return i;
    }
    if (c == '%' && d == 's')
        return 2;
    bool cast = l->at && l->in.p[l->at - 1] == ':';
    if (c != ':' || cast || !word_start(d))
        return 0;
    while (word_part(peek(l, i)))
        i++;
    return i;
}

static size_t token_len(const struct sql_lexer *l, enum sql_kind *ret_kind)
{
    int c = peek(l, 0);
    size_t n;
    if ((n = space_len(l)))
        return *ret_kind = SQL_SPACE, n;
    if (c == '\'' || (c == '"' && l->mysql))
        return *ret_kind = SQL_LITERAL, quoted_len(l, 1, c, l->mysql);
    if (c == '"' || (c == '`' && l->mysql))
        return *ret_kind = SQL_NAME, quoted_len(l, 1, c, false);
    if (c == '$' && (n = dollar_len(l)))
        return *ret_kind = SQL_LITERAL, n;
    if (word_start(c)) {
        *ret_kind = SQL_WORD;
        n = prefixed_len(l, ret_kind);
        return n ? n : word_len(l);
    }
    if (isdigit(c) || (c == '.' && peek(l, 1) >= 0 && isdigit(peek(l, 1)) && !(l->at && word_part(l->in.p[l->at - 1]))))
        return *ret_kind = SQL_LITERAL, number_len(l);
    if ((n = param_len(l)))
        return *ret_kind = SQL_PARAM, n;
    *ret_kind = SQL_PUNCT;
    return 1;
}

struct sql_token sql_next(struct sql_lexer *l)
{
    struct sql_token t = { SQL_END, slice_of(l->in.p + l->at, 0) };
    if (l->at >= l->in.n)
        return t;
    size_t n = token_len(l, &t.kind);
    t.text = slice_head(slice_from(l->in, l->at), n);
    l->at += t.text.n;
    return t;
}

struct sql_lexer sql_lexer_of(struct slice sql)
{
    struct sql_lexer l = { .in = sql };
    if (slice_find(sql, '`') < 0)
        return l;
    for (struct sql_token t; (t = sql_next(&l)).kind != SQL_END;)
        if (t.kind == SQL_PUNCT && t.text.p[0] == '`')
            return (struct sql_lexer){ .in = sql, .mysql = true };
    return (struct sql_lexer){ .in = sql };
}
