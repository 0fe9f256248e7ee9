#include "base/json.h"

#include <math.h>
#include <stdarg.h>

static bool json_room(struct json *j, size_t more)
{
    if (j->failed || j->n + more + 1 > j->max) {
        j->failed = true;
        return false;
    }
    if (j->n + more + 1 <= j->room)
        return true;
    size_t room = min_u64(j->max, max_u64(2 * (j->n + more + 1), 4096));
    char *p = realloc(j->p, room);
    if (!p) {
        j->failed = true;
        return false;
    }
    j->p = p;
    j->room = room;
    return true;
}

void json_done(struct json *j)
{
    free(j->p);
    *j = (struct json){ .max = j->max };
}

void json_again(struct json *j)
{
    j->n = 0;
    j->failed = false;
}

static void json_add(struct json *j, const char *s, size_t n)
{
    if (!n || !json_room(j, n))
        return;
    memcpy(j->p + j->n, s, n);
    j->n += n;
    j->p[j->n] = 0;
}

void json_bytes(struct json *j, const char *s, size_t n) { json_add(j, s, n); }

void json_fmt(struct json *j, const char *fmt, ...)
{
    char buf[160];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(buf, sizeof(buf), fmt, args);
    va_end(args);
    json_add(j, buf, min_u64((u64)(n > 0 ? n : 0), sizeof(buf) - 1));
}

void json_u64(struct json *j, u64 n)
{
    char digits[20];
    size_t at = sizeof(digits);
    do
        digits[--at] = (char)('0' + n % 10);
    while (n /= 10);
    json_add(j, digits + at, sizeof(digits) - at);
}

void json_s64(struct json *j, s64 n)
{
    if (n < 0)
        json_raw(j, "-");
    json_u64(j, n < 0 ? 0 - (u64)n : (u64)n);
}

static bool is_plain(u8 c) { return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f; }

size_t json_escape(u8 c, char out[8])
{
    const char *word = c == '"' ? "\\\"" : c == '\\' ? "\\\\" : c == '\n' ? "\\n" : c == '\t' ? "\\t" : NULL;
    if (word)
        return (size_t)sprintf(out, "%s", word);
    if (!is_plain(c))
        return (size_t)sprintf(out, "\\u%04x", c);
    out[0] = (char)c;
    out[1] = 0;
    return 1;
}

void json_str(struct json *j, const char *s, size_t n)
{
    json_raw(j, "\"");
    for (size_t i = 0, run; i < n; i += run) {
        for (run = 0; i + run < n && is_plain((u8)s[i + run]); run++)
            ;
        char out[8];
        if (run)
            json_add(j, s + i, run);
        else
            json_add(j, out, json_escape((u8)s[i], out)), run = 1;
    }
    json_raw(j, "\"");
}

void json_print(FILE *to, const char *text)
{
    char out[8];
    fputc('"', to);
    for (const u8 *s = (const u8 *)text; *s;) {
        size_t n = utf8_len(s);
        if (n < 2)
            fputs(n && json_escape(*s, out) ? out : "\\ufffd", to);
        else
            fwrite(s, 1, n, to);
        s += n ? n : 1;
    }
    fputc('"', to);
}

void json_text(struct json *j, const char *s) { json_str(j, s ? s : "", s ? strlen(s) : 0); }

void json_hex(struct json *j, const u8 *bytes, size_t n)
{
    static const char digit[] = "0123456789abcdef";
    json_raw(j, "\"");
    for (size_t i = 0; i < n; i++)
        json_add(j, (char[]){ digit[bytes[i] >> 4], digit[bytes[i] & 15] }, 2);
    json_raw(j, "\"");
}

void json_double(struct json *j, double d)
{
    if (isnan(d))
        json_raw(j, "\"NaN\"");
    else if (isinf(d))
        json_raw(j, d > 0 ? "\"Infinity\"" : "\"-Infinity\"");
    else
        json_fmt(j, "%.17g", d);
}
