/* Values of python: rules:
 *
 *     value = ["after "] one { " or " one } [ " or " "text" ] [ "+" N ]  |  ["after "] join(one [ "+" N ], one …)
 *           |  "text"  |  number
 *     one   = path  |  len(path)  type(path)  typename(path)  str(path)  id(path)
 *     path  = root { .NAME | [N] | ["KEY"] }
 *     root  = self | cls | argN | arg.NAME | global.NAME | ret | exception  |  caller [ "[" N "]" ]   (a text: alone, without path)
 *
 * What is written here goes to the helper inside the process as it stands (inproc/python/bridge_abi.h), but for «or», «+»,
 * «after», «join» and «typename», which are wftrace's own. */
#include "config/rules.h"
#include "trace/span.h"

#include <ctype.h>
#include <stdarg.h>

struct scan {
    struct slice text;
    size_t at;
    char out[256]; /* the expression in the helper's words */
    size_t n;
    char *err;
    size_t err_size;
};

static int fail(struct scan *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct scan *s, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(s->err, s->err_size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static u8 peek(const struct scan *s) { return s->at < s->text.n ? s->text.p[s->at] : 0; }
static void blanks(struct scan *s)
{
    while (peek(s) == ' ')
        s->at++;
}
static bool eat(struct scan *s, const char *word)
{
    if (!slice_starts(slice_from(s->text, s->at), word))
        return false;
    s->at += strlen(word);
    return true;
}
/* Python's identifiers may hold any letter: bytes of UTF-8 are taken as such. */
static bool is_word(u8 b) { return isalnum(b) || b == '_' || b >= 0x80; }

static int put(struct scan *s, struct slice w)
{
    if (s->n + w.n >= sizeof(s->out))
        return fail(s, "this value is too long");
    memcpy(s->out + s->n, w.p, w.n);
    s->n += w.n;
    s->out[s->n] = 0;
    return 0;
}

static struct slice word(struct scan *s)
{
    size_t from = s->at;
    while (is_word(peek(s)))
        s->at++;
    return slice_of(s->text.p + from, s->at - from);
}

static int take_name(struct scan *s, const char *what)
{
    struct slice w = word(s);
    if (!w.n || isdigit(w.p[0]))
        return fail(s, "%s is missing after the dot", what);
    int err = put(s, slice_str("."));
    return err ? err : put(s, w);
}

static int take_quoted(struct scan *s, struct slice *ret)
{
    u8 quote = peek(s);
    size_t from = ++s->at;
    while (s->at < s->text.n && peek(s) != quote)
        s->at++;
    if (s->at >= s->text.n)
        return fail(s, "the closing quote is missing");
    *ret = slice_of(s->text.p + from, s->at++ - from);
    return 0;
}

static int take_key(struct scan *s)
{
    struct slice key;
    int err = put(s, slice_str("[\""));
    if (!err)
        err = take_quoted(s, &key);
    if (!err && (slice_find(key, '"') >= 0 || slice_find(key, '\t') >= 0 || slice_find(key, '\\') >= 0))
        err = fail(s, "a key holds no quotes, tabs and backslashes");
    if (!err)
        err = put(s, key);
    return err ? err : put(s, slice_str("\"]"));
}

static int take_index(struct scan *s)
{
    size_t from = s->at;
    int err;
    if (peek(s) == '"' || peek(s) == '\'') {
        err = take_key(s);
    } else {
        s->at += peek(s) == '-';
        size_t digits = s->at;
        while (isdigit(peek(s)))
            s->at++;
        if (s->at == digits || s->at - digits > 9)
            return fail(s, "an index is a number or a \"key\"");
        err = put(s, slice_str("["));
        if (!err)
            err = put(s, slice_of(s->text.p + from, s->at - from));
        if (!err)
            err = put(s, slice_str("]"));
    }
    if (err)
        return err;
    return eat(s, "]") ? 0 : fail(s, "«]» is missing");
}

static int take_steps(struct scan *s)
{
    int err = 0;
    while (!err) {
        if (eat(s, "."))
            err = take_name(s, "an attribute's name");
        else if (eat(s, "["))
            err = take_index(s);
        else
            break;
    }
    return err;
}

static const char *const roots[] = { "self", "cls", "ret", "exception", "arg", "global", "arg0", "caller" };

/* «caller» is eaten; «[1]» is who called that one. */
static int take_caller(struct scan *s)
{
    if (eat(s, "[")) {
        u8 digit = peek(s);
        if (digit < '0' || digit > '7' || s->at + 1 >= s->text.n || s->text.p[s->at + 1] != ']')
            return fail(s, "callers are counted from 0 to 7");
        s->at += 2;
        int err = digit == '0' ? 0 : put(s, slice_of((u8[]){ '[', digit, ']' }, 3));
        if (err)
            return err;
    }
    return peek(s) == '.' || peek(s) == '[' ? fail(s, "«caller» is a text: nothing can be asked of it") : 0;
}

static int take_root(struct scan *s, enum source_moment_python *ret_moment)
{
    size_t from = s->at;
    struct slice w = word(s);
    u64 number;
    int err = put(s, w);
    if (err)
        return err;
    *ret_moment = READ_AT_ENTRY;
    if (slice_eq(w, "ret") || slice_eq(w, "exception")) {
        *ret_moment = slice_eq(w, "ret") ? READ_AT_RETURN : READ_AT_FAIL;
        return 0;
    }
    if (slice_eq(w, "self") || slice_eq(w, "cls"))
        return 0;
    if (slice_eq(w, "caller"))
        return s->n > w.n ? fail(s, "«caller» is a text: nothing can be asked of it") : take_caller(s);
    if (slice_eq(w, "arg") || slice_eq(w, "global"))
        return eat(s, ".") ? take_name(s, slice_eq(w, "arg") ? "an argument's name" : "a global's name")
                           : fail(s, "a name is missing: %.*s.NAME", (int)w.n, (const char *)w.p);
    if (slice_starts(w, "arg") && !slice_u64(slice_from(w, 3), &number) && number < 32)
        return 0;
    char text[80];
    snprintf(text, sizeof(text), "%.*s", (int)min_u64(w.n, 79), w.n ? (const char *)w.p : "");
    const char *near = nearest_word(text, roots, ARRAY_LEN(roots));
    s->at = from;
    if (!w.n)
        return fail(s, "a value is missing here: self, arg.NAME, arg0 …, ret, exception, caller, global.NAME");
    return near ? fail(s, "value «%s» is not known (did you mean «%s»?)", text, near)
                : fail(s, "value «%s» is not known: self, cls, arg.NAME, arg0 …, ret, exception, caller, global.NAME", text);
}

static int take_path(struct scan *s, enum source_moment_python *ret_moment)
{
    int err = take_root(s, ret_moment);
    return err ? err : take_steps(s);
}

/* One of len( type( typename( str( id(, eaten. NULL: none. */
static const char *take_function(struct scan *s, bool *ret_shorten)
{
    static const char *const names[] = { "len(", "type(", "typename(", "str(", "id(" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (eat(s, names[i])) {
            *ret_shorten = i == 2;
            return i == 2 ? "type(" : names[i];
        }
    return NULL;
}

static int take_one(struct scan *s, struct source *v)
{
    bool shorten = false;
    enum source_moment_python moment;
    s->n = 0;
    const char *function = take_function(s, &shorten);
    int err = function ? put(s, slice_str(function)) : 0;
    if (!err)
        err = take_path(s, &moment);
    if (!err && function)
        err = eat(s, ")") ? put(s, slice_str(")")) : fail(s, "«)» is missing");
    if (err)
        return err;
    if (v->n_expr && moment != v->moment)
        return fail(s, "alternatives are read at one moment: arguments at the start, ret and exception at the end");
    v->moment = moment;
    v->shorten = (u8)(v->shorten | (shorten ? 1u << v->n_expr : 0));
    v->expr[v->n_expr++] = intern(s->out);
    return 0;
}

/* " + 1" */
static int take_plus(struct scan *s, struct source *v)
{
    size_t before = s->at;
    blanks(s);
    if (!eat(s, "+")) {
        s->at = before;
        return 0;
    }
    blanks(s);
    size_t from = s->at;
    u64 n;
    while (isdigit(peek(s)))
        s->at++;
    if (slice_u64(slice_of(s->text.p + from, s->at - from), &n) || n > INT32_MAX)
        return fail(s, "a number is missing after «+»");
    v->number = (s64)n;
    return 0;
}

static bool eat_or(struct scan *s)
{
    size_t before = s->at;
    blanks(s);
    if (s->at > before && eat(s, "or "))
        return true;
    s->at = before;
    return false;
}

/* The last alternative may be a text. */
static int take_otherwise(struct scan *s, struct source *v)
{
    struct slice text;
    char copy[64];
    int err = take_quoted(s, &text);
    if (err)
        return err;
    if (text.n >= sizeof(copy))
        return fail(s, "this text is longer than %zu bytes", sizeof(copy) - 1);
    snprintf(copy, sizeof(copy), "%.*s", (int)text.n, (const char *)text.p);
    v->otherwise = intern(copy);
    return 0;
}

static bool at_quote(const struct scan *s) { return peek(s) == '"' || peek(s) == '\''; }

/* The parts of a join, behind its bracket. */
static int take_parts(struct scan *s, struct source *v)
{
    int err;
    v->joined = true;
    do {
        blanks(s);
        err = v->n_expr == SOURCE_ALTERNATIVES ? fail(s, "at most %d parts", SOURCE_ALTERNATIVES) : take_one(s, v);
        if (!err && v->n_expr == 1)
            err = take_plus(s, v);
        blanks(s);
    } while (!err && eat(s, ","));
    return err || eat(s, ")") ? err : fail(s, "«,» or «)» is missing");
}

static int take_value(struct scan *s, struct source *v)
{
    bool after = eat(s, "after ");
    if (eat(s, "join(")) {
        int code = take_parts(s, v);
        if (!code && after && v->moment == READ_AT_ENTRY)
            v->moment = READ_AFTER;
        return code;
    }
    int err;
    do {
        blanks(s);
        if (v->n_expr && at_quote(s)) {
            err = take_otherwise(s, v);
            break;
        }
        err = v->n_expr == SOURCE_ALTERNATIVES ? fail(s, "at most %d alternatives", SOURCE_ALTERNATIVES) : take_one(s, v);
    } while (!err && eat_or(s));
    if (!err && after && (v->moment != READ_AT_ENTRY || !strncmp(v->expr[0], "caller", 6)))
        return fail(s, "«after» is for arguments and self: ret and exception are read at the end anyway");
    if (after)
        v->moment = READ_AFTER;
    return err ? err : take_plus(s, v);
}

/* A constant: "text" or number. -ENOENT: it is none. */
static int take_constant(struct scan *s, struct source *v)
{
    struct slice text;
    char copy[256];
    if (at_quote(s)) {
        int err = take_quoted(s, &text);
        if (err)
            return err;
        snprintf(copy, sizeof(copy), "%.*s", (int)min_u64(text.n, sizeof(copy) - 1), (const char *)text.p);
        *v = (struct source){ .root = SOURCE_CONST, .text = intern(copy) };
        return 0;
    }
    size_t from = s->at, digits = from + (peek(s) == '-');
    u64 n;
    for (s->at = digits; isdigit(peek(s));)
        s->at++;
    if (s->at == digits || slice_u64(slice_of(s->text.p + digits, s->at - digits), &n) || n > INT64_MAX) {
        s->at = from;
        return -ENOENT;
    }
    *v = (struct source){ .root = SOURCE_CONST, .number = digits > from ? -(s64)n : (s64)n };
    return 0;
}

int source_python_parse(struct slice text, size_t *at, struct source *ret, char *err, size_t err_size)
{
    struct scan s = { .text = text, .at = *at, .err = err, .err_size = err_size };
    struct source v = { .root = SOURCE_PYTHON };
    int code = take_constant(&s, &v);
    if (code == -ENOENT)
        code = take_value(&s, &v);
    *at = s.at;
    if (!code)
        *ret = v;
    return code;
}
