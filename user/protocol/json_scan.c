/* One byte, one step: a state, a stack of bits for what is an array, and the path as text. */
#include "protocol/json_scan.h"

#include <ctype.h>

enum state { VALUE, KEY, COLON, AFTER, STRING, WORD, OVER, BAD };
enum { ESCAPE_NONE, ESCAPE_SLASH = 5 }; /* 1 to 4: hex digits to come */

void json_begin(struct json_scan *j)
{
    j->state = VALUE;
    j->escape = ESCAPE_NONE;
    j->depth = j->blind = 0;
    j->in_key = j->known = false;
    j->over = j->code = j->high = 0;
    j->what = -1;
    j->arrays = 0;
    j->at[0] = j->path_n = j->text_n = 0;
}

bool json_over(const struct json_scan *j) { return j->state == OVER; }
bool json_fresh(const struct json_scan *j) { return j->state == VALUE && !j->depth; }

static bool in_array(const struct json_scan *j) { return j->depth && j->arrays >> (j->depth - 1) & 1; }

/* ---- the path ---- */

static void path_add(struct json_scan *j, const void *p, size_t n)
{
    if (j->blind)
        return;
    if (j->path_n + n > JSON_PATH) {
        j->blind = j->depth ? j->depth : 1;
        return;
    }
    memcpy(j->path + j->path_n, p, n);
    j->path_n = (u16)(j->path_n + n);
}

/* Back to the container that is open now. */
static void path_back(struct json_scan *j)
{
    j->path_n = j->at[j->depth];
    if (j->blind && j->depth <= j->blind)
        j->blind = 0;
}

static int want(struct json_scan *j, const struct json_sink *sink, bool object)
{
    if (j->blind || j->over)
        return -1;
    if (!object && j->known)
        return j->what_all;
    int what = sink->want(sink->arg, slice_of(j->path, j->path_n), object);
    j->known = !object && in_array(j);
    j->what_all = what;
    return what;
}

/* ---- text ---- */

static void text_flush(struct json_scan *j, const struct json_sink *sink, enum json_type type, bool more)
{
    if (j->what >= 0 && !j->in_key)
        sink->value(sink->arg, j->what, type, slice_of(j->text, j->text_n), more);
    j->text_n = 0;
}

static void text_add(struct json_scan *j, const struct json_sink *sink, u8 c)
{
    if (j->text_n == JSON_TEXT) {
        if (j->in_key)
            return; /* longer than any path */
        text_flush(j, sink, JSON_STRING, true);
    }
    j->text[j->text_n++] = c;
}

static void text_code(struct json_scan *j, const struct json_sink *sink, u32 c)
{
    if (c < 0x80) {
        text_add(j, sink, (u8)c);
        return;
    }
    unsigned more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const u8 lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    text_add(j, sink, (u8)(lead[more] | c >> 6 * more));
    while (more--)
        text_add(j, sink, (u8)(0x80 | (c >> 6 * more & 0x3f)));
}

/* \uXXXX is whole: a low surrogate after a high one makes one character of both. */
static void text_unit(struct json_scan *j, const struct json_sink *sink)
{
    u32 c = j->code, high = j->high;
    j->high = c >= 0xd800 && c < 0xdc00 ? c : 0;
    if (j->high)
        return;
    if (c >= 0xdc00 && c < 0xe000)
        c = high ? 0x10000 + ((high - 0xd800) << 10) + (c - 0xdc00) : 0xfffd;
    text_code(j, sink, c);
}

static void escape_step(struct json_scan *j, const struct json_sink *sink, u8 c)
{
    static const char from[] = "bfnrt", to[] = "\b\f\n\r\t";
    if (j->escape == ESCAPE_SLASH) {
        const char *at = c ? strchr(from, c) : NULL;
        j->escape = c == 'u' ? 4 : ESCAPE_NONE;
        j->code = 0;
        if (c != 'u')
            text_add(j, sink, at ? (u8)to[at - from] : c);
        return;
    }
    if (!isxdigit(c)) {
        j->state = BAD;
        return;
    }
    j->code = j->code << 4 | (u32)(isdigit(c) ? c - '0' : (c | 32) - 'a' + 10);
    if (!--j->escape)
        text_unit(j, sink);
}

/* ---- structure ---- */

static void value_over(struct json_scan *j)
{
    j->what = -1;
    j->state = j->depth || j->over ? AFTER : OVER;
    if (!j->over)
        path_back(j);
}

static void container_open(struct json_scan *j, bool array)
{
    j->known = false;
    if (j->over || j->depth == JSON_DEPTH) {
        j->over++;
        j->state = VALUE;
        return;
    }
    if (array)
        path_add(j, "[]", 2);
    u64 bit = 1ull << j->depth;
    j->arrays = array ? j->arrays | bit : j->arrays & ~bit;
    j->at[++j->depth] = j->path_n;
    j->state = array ? VALUE : KEY;
}

static void container_close(struct json_scan *j, const struct json_sink *sink, bool array)
{
    if (j->over) {
        j->over--;
        j->state = AFTER;
        return;
    }
    if (!j->depth || array != in_array(j)) {
        j->state = BAD;
        return;
    }
    path_back(j);
    int what = array ? -1 : want(j, sink, true);
    if (what >= 0)
        sink->value(sink->arg, what, JSON_OBJECT, slice_of(NULL, 0), false);
    j->known = false;
    j->depth--;
    value_over(j);
}

static void string_begin(struct json_scan *j, const struct json_sink *sink, bool key)
{
    j->in_key = key;
    j->text_n = 0;
    j->high = 0;
    j->what = key ? -1 : want(j, sink, false);
    j->state = STRING;
}

static void string_end(struct json_scan *j, const struct json_sink *sink)
{
    if (!j->in_key) {
        text_flush(j, sink, JSON_STRING, false);
        value_over(j);
        return;
    }
    if (j->path_n)
        path_add(j, ".", 1);
    path_add(j, j->text, j->text_n);
    j->in_key = false;
    j->text_n = 0;
    j->state = COLON;
}

static void word_end(struct json_scan *j, const struct json_sink *sink)
{
    u8 c = j->text_n ? j->text[0] : 0;
    text_flush(j, sink, c == 't' ? JSON_TRUE : c == 'f' ? JSON_FALSE : c == 'n' ? JSON_NULL : JSON_NUMBER, false);
    value_over(j);
}

static bool in_word(u8 c) { return isalnum(c) || c == '-' || c == '+' || c == '.'; }

static void value_step(struct json_scan *j, const struct json_sink *sink, u8 c)
{
    if (c == '"') {
        string_begin(j, sink, false);
    } else if (c == '{' || c == '[') {
        container_open(j, c == '[');
    } else if (c == ']' || c == '}') {
        container_close(j, sink, c == ']');
    } else if (in_word(c)) {
        j->what = want(j, sink, false);
        j->text[0] = c;
        j->text_n = 1;
        j->state = WORD;
    } else if (c != ',' && !(j->over && c == ':')) {
        j->state = BAD;
    }
}

static void after_step(struct json_scan *j, const struct json_sink *sink, u8 c)
{
    if (j->over)
        value_step(j, sink, c);
    else if (c == ',')
        j->state = in_array(j) ? VALUE : KEY;
    else if (c == '}' || c == ']')
        container_close(j, sink, c == ']');
    else
        j->state = BAD;
}

static void key_step(struct json_scan *j, const struct json_sink *sink, u8 c)
{
    if (c == '"')
        string_begin(j, sink, true);
    else if (c == '}')
        container_close(j, sink, false);
    else if (c != ',')
        j->state = BAD;
}

/* Bytes of a string up to its end or an escape. */
static size_t string_step(struct json_scan *j, const struct json_sink *sink, struct slice in)
{
    size_t i = 0;
    if (j->escape) {
        escape_step(j, sink, in.p[0]);
        return 1;
    }
    bool keep = j->in_key || j->what >= 0;
    for (; i < in.n && in.p[i] != '"' && in.p[i] != '\\'; i++)
        if (keep)
            text_add(j, sink, in.p[i]);
    if (i == in.n)
        return i;
    if (in.p[i] == '\\')
        j->escape = ESCAPE_SLASH;
    else
        string_end(j, sink);
    return i + 1;
}

static bool is_space(u8 c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static size_t step(struct json_scan *j, const struct json_sink *sink, struct slice in)
{
    u8 c = in.p[0];
    if (j->state == STRING)
        return string_step(j, sink, in);
    if (j->state == WORD) {
        if (in_word(c)) {
            if (j->text_n < JSON_TEXT)
                j->text[j->text_n++] = c;
            return 1;
        }
        word_end(j, sink);
        return 0;
    }
    if (is_space(c))
        return 1;
    if (j->state == VALUE)
        value_step(j, sink, c);
    else if (j->state == AFTER)
        after_step(j, sink, c);
    else if (j->state == KEY)
        key_step(j, sink, c);
    else if (j->state == COLON && c == ':')
        j->state = VALUE;
    else
        j->state = BAD;
    return 1;
}

bool json_feed(struct json_scan *j, const struct json_sink *sink, struct slice in)
{
    while (in.n && j->state != BAD)
        in = slice_from(in, step(j, sink, in));
    return j->state != BAD;
}

/* ---- the end alone ---- */

/* Where the string begins whose closing mark is at `at`, or -1: a mark is one of the text when an odd number of backslashes
 * stands before it. */
static ptrdiff_t string_back(struct slice s, ptrdiff_t at)
{
    while (--at >= 0) {
        if (s.p[at] != '"')
            continue;
        ptrdiff_t slashes = 0;
        while (at - slashes > 0 && s.p[at - slashes - 1] == '\\')
            slashes++;
        if (at - slashes == 0)
            return -1; /* more of them may lie before what is known */
        if (slashes % 2 == 0)
            return at;
    }
    return -1;
}

/* The offset after the first comma that surely stands between two members of the root; -1: there is none. */
static ptrdiff_t first_member(struct slice s)
{
    ptrdiff_t i = (ptrdiff_t)s.n - 1, found = -1;
    while (i >= 0 && is_space(s.p[i]))
        i--;
    if (i < 0 || s.p[i] != '}')
        return -1;
    for (int depth = 1; depth > 0 && --i >= 0;) {
        u8 c = s.p[i];
        if (c == '"' && (i = string_back(s, i)) < 0)
            return found;
        depth += c == '}' || c == ']' ? 1 : c == '{' || c == '[' ? -1 : 0;
        if (c == ',' && depth == 1)
            found = i + 1;
    }
    return found;
}

void json_tail(struct json_scan *j, const struct json_sink *sink, struct slice end)
{
    ptrdiff_t at = first_member(end);
    if (at < 0)
        return;
    json_begin(j);
    json_feed(j, sink, slice_str("{"));
    json_feed(j, sink, slice_from(end, (size_t)at));
}
