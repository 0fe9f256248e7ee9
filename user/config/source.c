/* The grammar of values and conditions (docs/rules.md):
 *
 *     value     = root step* [ ":" type ]
 *     root      = argN | ret | errno | "text" | number                      functions, USDT (argN only)
 *               | (python: see source_python.c)
 *               | exit | signal | args | argv[N] | env.NAME | parent | command | goals | script | uid | unit                 exec
 *     step      = "->" N | "." N | "[" N "]"                                load from, move on, N-th pointer of
 *     type      = int i8…i64 u8…u64 long size bool ptr f32 f64 str[(N|argN)] bytes(N|argN)
 *     condition = exception | errno | value op constant | attr.KEY op constant
 *     op        = < <= > >= == != ~ !~      constant = number | null | true | false | "text" | an errno name
 */
#include "config/rules.h"
#include "trace/span.h"

#include <ctype.h>
#include <stdarg.h>

struct cursor {
    struct slice text;
    size_t at;
    enum rule_place place;
    char *err;
    size_t err_size;
};

static int fail(struct cursor *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fail(struct cursor *c, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(c->err, c->err_size, fmt, ap);
    va_end(ap);
    return -EINVAL;
}

static u8 peek(const struct cursor *c) { return c->at < c->text.n ? c->text.p[c->at] : 0; }
static void blanks(struct cursor *c)
{
    while (peek(c) == ' ' || peek(c) == '\t')
        c->at++;
}
static bool eat(struct cursor *c, const char *word)
{
    if (!slice_starts(slice_from(c->text, c->at), word))
        return false;
    c->at += strlen(word);
    return true;
}
static bool is_word(u8 b) { return isalnum(b) || b == '_'; }
static struct slice word(struct cursor *c)
{
    size_t from = c->at;
    while (is_word(peek(c)))
        c->at++;
    return slice_of(c->text.p + from, c->at - from);
}
/* Decimal or 0x…, with a sign. */
static bool number(struct cursor *c, s64 *ret)
{
    size_t at = c->at;
    bool minus = at < c->text.n && c->text.p[at] == '-';
    at += minus;
    bool hex = c->text.n - at > 2 && c->text.p[at] == '0' && (c->text.p[at + 1] | 0x20) == 'x';
    u32 base = hex ? 16 : 10;
    at += hex ? 2 : 0;
    size_t digits = at;
    u64 v = 0;
    for (; at < c->text.n && isxdigit(c->text.p[at]); at++) {
        u8 b = c->text.p[at];
        u32 d = b <= '9' ? (u32)(b - '0') : (u32)((b | 0x20) - 'a' + 10);
        if (d >= base)
            break;
        if (__builtin_mul_overflow(v, base, &v) || __builtin_add_overflow(v, d, &v))
            return false;
    }
    if (at == digits || (at < c->text.n && is_word(c->text.p[at])))
        return false;
    c->at = at;
    *ret = minus ? (s64)(0 - v) : (s64)v;
    return true;
}

static const char *keep(struct slice s)
{
    char text[512];
    snprintf(text, sizeof(text), "%.*s", (int)min_u64(s.n, sizeof(text) - 1), s.n ? (const char *)s.p : "");
    return intern(text);
}

/* --- types --- */
static const struct type_row {
    const char *name;
    enum source_type type;
    u8 size;
} types[] = {
    { "int", TYPE_INT, 4 },   { "i8", TYPE_INT, 1 },    { "i16", TYPE_INT, 2 },     { "i32", TYPE_INT, 4 },
    { "i64", TYPE_INT, 8 },   { "long", TYPE_INT, 8 },  { "uint", TYPE_UINT, 4 },   { "u8", TYPE_UINT, 1 },
    { "u16", TYPE_UINT, 2 },  { "u32", TYPE_UINT, 4 },  { "u64", TYPE_UINT, 8 },    { "ulong", TYPE_UINT, 8 },
    { "size", TYPE_UINT, 8 }, { "bool", TYPE_BOOL, 1 }, { "ptr", TYPE_PTR, 8 },     { "f32", TYPE_FLOAT, 4 },
    { "f64", TYPE_FLOAT, 8 }, { "str", TYPE_STR, 8 },   { "bytes", TYPE_BYTES, 8 },
};

static int unknown(struct cursor *c, size_t from, struct slice w, const char *what, const char *const *known, size_t n)
{
    char text[80];
    snprintf(text, sizeof(text), "%.*s", (int)min_u64(w.n, 79), w.n ? (const char *)w.p : "");
    const char *near = nearest_word(text, known, n);
    c->at = from;
    return near ? fail(c, "%s «%s» is not known (did you mean «%s»?)", what, text, near)
                : fail(c, "%s «%s» is not known", what, text);
}

static int arg_number(struct cursor *c, struct slice w, u8 *ret)
{
    u64 n;
    if (!slice_starts(w, "arg") || slice_u64(slice_from(w, 3), &n))
        return -ENOENT;
    if (n > 31)
        return fail(c, "there is no argument %llu: functions have arg0 … arg31", (unsigned long long)n);
    *ret = (u8)n;
    return 0;
}

static int parse_length(struct cursor *c, struct source *s)
{
    if (!eat(c, "("))
        return s->type == TYPE_BYTES ? fail(c, "bytes need a length: bytes(16) or bytes(arg1)") : 0;
    size_t from = c->at;
    struct slice w = word(c);
    u64 n;
    int err = arg_number(c, w, &s->len_value);
    if (err == -EINVAL)
        return err;
    if (!err) {
        s->len = LEN_ARG;
    } else if (!slice_u64(w, &n) && n >= 1 && n <= 128) {
        s->len = LEN_CONST;
        s->len_value = (u8)n;
    } else {
        c->at = from;
        return fail(c, "a length is 1 … 128 or the argument that holds it (arg1)");
    }
    return eat(c, ")") ? 0 : fail(c, "«)» is missing after the length");
}

static int parse_type(struct cursor *c, struct source *s)
{
    size_t from = c->at;
    struct slice w = word(c);
    const char *names[ARRAY_LEN(types)];
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        names[i] = types[i].name;
        if (!slice_eq(w, types[i].name))
            continue;
        s->type = types[i].type;
        s->size = types[i].size;
        return s->type >= TYPE_STR ? parse_length(c, s) : 0;
    }
    return unknown(c, from, w, "type", names, ARRAY_LEN(names));
}

/* --- values --- */
static int parse_steps(struct cursor *c, struct source *s)
{
    for (;;) {
        bool load = eat(c, "->"), index = !load && peek(c) == '[', dot = !load && !index && peek(c) == '.';
        s64 n;
        if (!load && !index && !dot)
            return 0;
        c->at += index || dot;
        if (s->n_steps == SOURCE_STEPS)
            return fail(c, "a path has at most %d steps", SOURCE_STEPS);
        if (isalpha(peek(c)))
            return fail(c, "fields are given by their offset in bytes, as in arg0->16:str; names are not supported yet");
        if (!number(c, &n) || n < -0x100000 || n > 0x100000)
            return fail(c, "an offset in bytes is missing here, as in arg0->16 or arg0.16");
        if (index && !eat(c, "]"))
            return fail(c, "«]» is missing");
        s->steps[s->n_steps].off = (s32)(index ? n * 8 : n);
        s->steps[s->n_steps++].load = load || index;
    }
}

static int parse_quoted(struct cursor *c, const char **ret)
{
    u8 quote = peek(c);
    size_t from = ++c->at;
    while (c->at < c->text.n && peek(c) != quote)
        c->at++;
    if (c->at >= c->text.n)
        return fail(c, "the closing quote is missing");
    *ret = keep(slice_of(c->text.p + from, c->at - from));
    c->at++;
    return 0;
}

static const struct {
    const char *word;
    enum source_root root;
} exec_roots[] = {
    { "exit", SOURCE_EXIT },     { "signal", SOURCE_SIGNAL },   { "args", SOURCE_ARGS },
    { "parent", SOURCE_PARENT }, { "command", SOURCE_COMMAND }, { "goals", SOURCE_GOALS },
    { "uid", SOURCE_UID },       { "unit", SOURCE_UNIT },       { "script", SOURCE_SCRIPT },
};

static int parse_exec_root(struct cursor *c, struct source *s, struct slice w)
{
    for (size_t i = 0; i < ARRAY_LEN(exec_roots); i++)
        if (slice_eq(w, exec_roots[i].word)) {
            s->root = exec_roots[i].root;
            return 0;
        }
    if (slice_eq(w, "env")) {
        struct slice name = { 0 };
        if (eat(c, "."))
            name = word(c);
        if (!name.n)
            return fail(c, "a variable's name is missing: env.NAME");
        s->root = SOURCE_ENV;
        s->text = keep(name);
    } else if (slice_eq(w, "argv")) {
        s64 n = -1;
        if (!eat(c, "[") || !number(c, &n) || n < 0 || n > 255 || !eat(c, "]"))
            return fail(c, "an argument of the command is written argv[0] … argv[255]");
        s->root = SOURCE_ARGV;
        s->arg = (u8)n;
    } else
        return -ENOENT;
    return 0;
}

static int parse_root(struct cursor *c, struct source *s)
{
    static const char *const exec_words[] = { "exit",    "signal", "args", "argv", "env",   "parent",
                                              "command", "goals",  "uid",  "unit", "script" };
    static const char *const native_words[] = { "arg0", "ret", "errno" };
    static const char *const usdt_words[] = { "arg0" };
    size_t from = c->at;
    s->type = TYPE_DEFAULT;
    if (peek(c) == '"' || peek(c) == '\'') {
        s->root = SOURCE_CONST;
        return parse_quoted(c, &s->text);
    }
    if (number(c, &s->number)) {
        s->root = SOURCE_CONST;
        return 0;
    }
    struct slice w = word(c);
    int err;
    if (c->place == AT_EXEC) {
        err = parse_exec_root(c, s, w);
        return err != -ENOENT ? err : unknown(c, from, w, "value", exec_words, ARRAY_LEN(exec_words));
    }
    err = arg_number(c, w, &s->arg);
    if (err != -ENOENT) {
        s->root = SOURCE_ARG;
        return err;
    }
    if (c->place == AT_NATIVE && (slice_eq(w, "ret") || slice_eq(w, "errno"))) {
        s->root = slice_eq(w, "ret") ? SOURCE_RET : SOURCE_ERRNO;
        return 0;
    }
    if (slice_eq(w, "arg") && peek(c) == '.')
        return fail(c, "arguments are given by number (arg0, arg1 …); names are not supported yet");
    if (c->place == AT_USDT && (slice_eq(w, "ret") || slice_eq(w, "errno")))
        return fail(c, "a USDT probe has arguments only (arg0 …)");
    return c->place == AT_USDT ? unknown(c, from, w, "value", usdt_words, ARRAY_LEN(usdt_words))
                               : unknown(c, from, w, "value", native_words, ARRAY_LEN(native_words));
}

static bool has_path(const struct source *s) { return s->root == SOURCE_ARG || s->root == SOURCE_RET; }

static int check_type(struct cursor *c, const struct source *s)
{
    if (s->type == TYPE_FLOAT && (!s->n_steps || !s->steps[s->n_steps - 1].load))
        return fail(c, "floating-point arguments and results travel in registers that probes can't read; behind a pointer "
                       "they can be read, as in arg0->8:f64");
    if (s->type >= TYPE_STR && s->root == SOURCE_ERRNO)
        return fail(c, "errno is a number");
    if (s->root == SOURCE_RET && s->len == LEN_ARG)
        return fail(c, "arguments are gone when the function returns; give a number of bytes");
    return 0;
}

static int parse_value(struct cursor *c, struct source *s)
{
    memset(s, 0, sizeof(*s));
    if (c->place == AT_PYTHON)
        return source_python_parse(c->text, &c->at, s, c->err, c->err_size);
    int err = parse_root(c, s);
    if (!err && has_path(s))
        err = parse_steps(c, s);
    size_t type_at = c->at;
    if (!err && (has_path(s) || s->root == SOURCE_ERRNO) && eat(c, ":")) {
        err = parse_type(c, s);
        if (!err) {
            size_t end = c->at;
            c->at = type_at;
            err = check_type(c, s);
            c->at = err ? type_at : end;
        }
    }
    return err;
}

static int at_end(struct cursor *c)
{
    blanks(c);
    return c->at == c->text.n
               ? 0
               : fail(c, "«%.*s» is not understood here", (int)min_u64(c->text.n - c->at, 40), (const char *)c->text.p + c->at);
}

int source_parse(struct slice text, enum rule_place at, struct source *ret, char *err, size_t err_size, size_t *ret_column)
{
    struct cursor c = { .text = text, .place = at, .err = err, .err_size = err_size };
    struct source s;
    blanks(&c);
    int code = parse_value(&c, &s);
    if (!code)
        code = at_end(&c);
    *ret_column = c.at;
    if (!code)
        *ret = s;
    return code;
}

/* --- conditions --- */
static enum rule_test parse_op(struct cursor *c)
{
    static const struct {
        const char *text;
        enum rule_test test;
    } ops[] = {
        { "<=", TEST_LE }, { ">=", TEST_GE }, { "==", TEST_EQ },  { "!=", TEST_NE },
        { "<", TEST_LT },  { ">", TEST_GT },  { "~", TEST_LIKE }, { "!~", TEST_UNLIKE },
    };
    blanks(c);
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (eat(c, ops[i].text))
            return ops[i].test;
    return TEST_NONE;
}

/* "ENOENT", "-EAGAIN" → number; 0 when it is none. */
static s64 errno_value(struct slice w)
{
    for (int e = 1; e < 134; e++)
        if (strerrorname_np(e) && slice_eq(w, strerrorname_np(e)))
            return e;
    return 0;
}

static int parse_constant(struct cursor *c, struct rule_condition *r)
{
    blanks(c);
    size_t from = c->at;
    if (peek(c) == '"' || peek(c) == '\'')
        return parse_quoted(c, &r->text);
    if (number(c, &r->value))
        return 0;
    bool minus = eat(c, "-");
    struct slice w = word(c);
    s64 e = errno_value(w);
    if (!minus && (slice_eq(w, "null") || slice_eq(w, "false")))
        return 0;
    if (slice_eq(w, "true") || e) {
        r->value = e ? (minus ? -e : e) : 1;
        return 0;
    }
    c->at = from;
    return fail(c, "a number, null, true, false, an errno name or a \"text\" is missing here");
}

/* A value without a type is as wide as what it is compared with needs. */
static void widen(struct rule_condition *r, bool null)
{
    struct source *s = &r->left;
    if (!has_path(s) || s->type != TYPE_DEFAULT)
        return;
    if (r->text) {
        s->type = TYPE_STR;
        s->size = 8;
    } else if (null) {
        s->type = TYPE_PTR;
        s->size = 8;
    } else if (r->value != (s32)r->value) {
        s->type = TYPE_INT;
        s->size = 8;
    }
}

static int check_compare(struct cursor *c, const struct rule_condition *r)
{
    enum source_root root = r->left.root;
    bool text = r->left.type >= TYPE_STR || root == SOURCE_ARGS || root == SOURCE_ARGV || root == SOURCE_ENV ||
                root == SOURCE_PARENT || root == SOURCE_COMMAND || root == SOURCE_GOALS || root == SOURCE_UNIT ||
                root == SOURCE_SCRIPT;
    if (!r->text && r->test >= TEST_LIKE)
        return fail(c, "a pattern is a \"text\"");
    if (r->text && r->test < TEST_EQ)
        return fail(c, "texts can be compared with == != ~ and !~ only");
    if (r->left.root == SOURCE_PYTHON)
        return r->null && r->test != TEST_EQ && r->test != TEST_NE ? fail(c, "null is compared with == or !=") : 0;
    if (text && !r->text)
        return fail(c, "a text is compared with a \"text\"");
    if (r->text && !text && r->left.root != SOURCE_ATTR)
        return fail(c, "a number is not compared with a text");
    if (r->left.type == TYPE_FLOAT)
        return fail(c, "floating-point values can't be compared");
    return 0;
}

static int parse_compare(struct cursor *c, struct rule_condition *r)
{
    if (eat(c, "attr.")) {
        size_t from = c->at;
        while (is_word(peek(c)) || peek(c) == '.' || peek(c) == '-')
            c->at++;
        if (c->at == from)
            return fail(c, "an attribute's name is missing: attr.NAME");
        r->left = (struct source){ .root = SOURCE_ATTR, .text = keep(slice_of(c->text.p + from, c->at - from)) };
    } else {
        int err = parse_value(c, &r->left);
        if (err)
            return err;
    }
    if (r->left.root == SOURCE_CONST)
        return fail(c, "a condition starts with a value (ret, arg0 …), exception, errno or attr.NAME");
    r->test = parse_op(c);
    if (r->test == TEST_NONE)
        return fail(c, "a comparison is missing here: < <= > >= == != ~ !~");
    blanks(c);
    size_t right = c->at;
    bool null = r->null = slice_eq(slice_trim(slice_from(c->text, c->at)), "null");
    int err = parse_constant(c, r);
    if (err)
        return err;
    size_t end = c->at;
    widen(r, null);
    c->at = right;
    err = check_compare(c, r);
    c->at = err ? right : end;
    return err;
}

int condition_parse(struct slice text, enum rule_place at, struct rule_condition *ret, char *err, size_t err_size,
                    size_t *ret_column)
{
    struct cursor c = { .text = slice_trim(text), .place = at, .err = err, .err_size = err_size };
    struct rule_condition r = { 0 };
    int code = 0;
    *ret_column = 0;
    if (slice_eq(c.text, "exception") || slice_eq(c.text, "errno")) {
        if (at != AT_NATIVE && (at != AT_PYTHON || slice_eq(c.text, "errno")))
            return fail(&c, "«%.*s» is for functions (native:)", (int)c.text.n, (const char *)c.text.p);
        r.test = slice_eq(c.text, "errno") ? TEST_ERRNO : TEST_EXCEPTION;
    } else {
        code = parse_compare(&c, &r);
        if (!code)
            code = at_end(&c);
    }
    *ret_column = c.at;
    if (!code)
        *ret = r;
    return code;
}
