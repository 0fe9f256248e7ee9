/* Detectors that go by context: what stands behind the name of a secret, in a query, in a statement. */
#include "pipeline/redact_find.h"
#include "pipeline/redact_scan.h"

#include <ctype.h>

#define NAME_MOST 64

static char at(const struct find *f, size_t i) { return i < f->n ? f->text[i] : 0; }
static bool is_name(char c) { return isalnum((u8)c) || c == '_' || c == '-' || c == '.'; }
static bool is_quote(char c) { return c == '"' || c == '\'' || c == '`'; }

/* Behind a quote that may be escaped (JSON in JSON): to the same quote, else to the end. */
static size_t quoted_end(const struct find *f, size_t start, char quote, bool escaped)
{
    for (size_t i = start; i < f->n; i++) {
        if (f->text[i] == '\\' && !escaped) {
            i++;
            continue;
        }
        if (f->text[i] == quote)
            return escaped && i > start && f->text[i - 1] == '\\' ? i - 1 : i;
    }
    return f->n;
}

static size_t bare_end(const struct find *f, size_t start, bool line)
{
    size_t i = start;
    while (i < f->n && !strchr(line ? "\r\n" : " \t\r\n,;&\"'`)}]<>\x1f", f->text[i]))
        i++;
    return i;
}

/* The value that begins at i, quoted or bare. `line`: a header's, to the end of its line. */
static bool value_at(struct find *f, size_t i, bool line)
{
    bool escaped = at(f, i) == '\\' && is_quote(at(f, i + 1));
    size_t end;
    i += escaped;
    if (is_quote(at(f, i))) {
        end = quoted_end(f, i + 1, f->text[i], escaped);
        i++;
    } else {
        if (strchr("{[(", at(f, i)) || at(f, i) == '%')
            return false; /* something nested, or a place for a value */
        end = bare_end(f, i, line);
    }
    struct slice v = slice_of(f->text + i, end - i);
    if (end <= i || slice_starts(v, "[redacted]") || slice_starts(v, "REDACTED") || slice_starts(v, "***"))
        return false;
    return found(f, i, end, "[redacted]");
}

bool find_pair(struct find *f, size_t i)
{
    size_t end = i, start, value = i + 1;
    if (f->text[i] == ':' && (at(f, i + 1) == '/' || at(f, i + 1) == ':')) /* a URL's scheme, a path of C++ */
        return false;
    while (end > f->from &&
           (f->text[end - 1] == ' ' || is_quote(f->text[end - 1]) || f->text[end - 1] == '\\' || f->text[end - 1] == ']'))
        end--;
    for (start = end; start > f->from && end - start < NAME_MOST && is_name(f->text[start - 1]);)
        start--;
    struct slice name = slice_of(f->text + start, end - start);
    if (!redact_key(name))
        return false;
    while (at(f, value) == ' ' || at(f, value) == '=' || at(f, value) == '>')
        value++;
    return value_at(f, value,
                    slice_ieq(name, "authorization") || slice_ieq(name, "proxy-authorization") || slice_ieq(name, "cookie") ||
                        slice_ieq(name, "set-cookie"));
}

/* «--password hunter2»: the option's value is the next word. */
bool find_flag(struct find *f, size_t i)
{
    if (at(f, i + 1) != '-' || !isalpha((u8)at(f, i + 2)) ||
        (i > f->from && !isspace((u8)f->text[i - 1]) && !is_quote(f->text[i - 1])))
        return false;
    size_t start = i + 2, end = start;
    while (end < f->n && end - start < NAME_MOST && is_name(f->text[end]))
        end++;
    if ((at(f, end) != ' ' && at(f, end) != '\x1f') || at(f, end + 1) == '-' ||
        !redact_key(slice_of(f->text + start, end - start)))
        return false;
    return value_at(f, end + 1, false);
}

/* Everything behind the query's first name: the values, and with them the other names. */
bool find_query(struct find *f, size_t i)
{
    size_t k = i;
    while (k < f->n && !strchr("= \t\r\n\"'<>#", f->text[k]))
        k++;
    if (at(f, k) != '=' || !at(f, k + 1))
        return false;
    size_t end = k + 1;
    while (end < f->n && !strchr(" \t\r\n\"'<>#", f->text[end]))
        end++;
    return end > k + 1 && found(f, k + 1, end, "[redacted]");
}

/* --- SQL --- */

static bool has_word(struct slice s, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= s.n; i++)
        if ((s.p[i] | 0x20) == (u8)word[0] && slice_istarts(slice_from(s, i), word) && (!i || !isalnum(s.p[i - 1])) &&
            (i + n == s.n || !isalnum(s.p[i + n])))
            return true;
    return false;
}

/* The word that begins a statement, and one that only comes with it. */
bool find_sql(struct find *f, size_t i)
{
    static const struct {
        const char *begin, *then[4];
    } statements[] = {
        { "select", { "from", "where", "union" } },
        { "insert", { "into", "values" } },
        { "update", { "set" } },
        { "delete", { "from" } },
        { "merge", { "into", "using" } },
        { "replace", { "into" } },
        { "with", { "select", "update", "insert" } },
        { "call", { "(" } },
        { "exec", { "@", "'" } },
    };
    struct slice rest = slice_of(f->text + i, f->n - i);
    for (size_t s = 0; s < ARRAY_LEN(statements); s++) {
        size_t n = strlen(statements[s].begin);
        if (rest.n <= n || !slice_istarts(rest, statements[s].begin) || !isspace(rest.p[n]))
            continue;
        for (size_t t = 0; t < 4 && statements[s].then[t]; t++)
            if (has_word(slice_from(rest, n), statements[s].then[t]))
                return true;
    }
    return false;
}

static char before(const struct find *f, size_t i, size_t from)
{
    while (i > from && isspace((u8)f->text[i - 1]))
        i--;
    return i > from ? f->text[i - 1] : 0;
}

static bool after_word(const struct find *f, size_t i, size_t from)
{
    static const char *const words[] = { "limit", "offset", "between", "and", "then", "else", "like", "top", "interval", "in" };
    while (i > from && isspace((u8)f->text[i - 1]))
        i--;
    size_t end = i;
    while (i > from && isalpha((u8)f->text[i - 1]))
        i--;
    for (size_t w = 0; w < ARRAY_LEN(words); w++)
        if (slice_ieq(slice_of(f->text + i, end - i), words[w]))
            return true;
    return false;
}

static bool literal_string(struct find *f, size_t i, char quote)
{
    for (size_t k = i + 1; k < f->n; k++) {
        if (f->text[k] == '\\')
            k++;
        else if (f->text[k] == quote && at(f, k + 1) == quote)
            k++;
        else if (f->text[k] == quote)
            return found(f, i, k + 1, "?");
    }
    return found(f, i, f->n, "?");
}

static bool literal_dollar(struct find *f, size_t i)
{
    size_t tag = i + 1;
    while (isalpha((u8)at(f, tag)) || at(f, tag) == '_')
        tag++;
    if (at(f, tag) != '$')
        return false;
    size_t n = tag + 1 - i;
    const char *end = memmem(f->text + tag + 1, f->n - tag - 1, f->text + i, n);
    return found(f, i, end ? (size_t)(end - f->text) + n : f->n, "?");
}

bool find_literal(struct find *f, size_t i, size_t sql)
{
    char c = f->text[i], p = before(f, i, sql);
    if (c == '\'')
        return literal_string(f, i, c);
    if (c == '$')
        return literal_dollar(f, i);
    if (c == '"') /* elsewhere it quotes a name */
        return (p == '=' || p == '<' || p == '>') && literal_string(f, i, c);
    if (!isdigit((u8)c) || !((p && strchr("=<>(,+-*/%", p)) || after_word(f, i, sql)))
        return false;
    size_t end = i;
    while (isalnum((u8)at(f, end)) || (at(f, end) == '.' && isdigit((u8)at(f, end + 1))))
        end++;
    return found(f, i, end, "?");
}
