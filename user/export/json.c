/* JSON text into a buffer with a ceiling. */
#include "export/encode.h"

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

static void json_add(struct json *j, const char *s, size_t n)
{
    if (!json_room(j, n))
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

static bool is_plain(u8 c) { return c >= 0x20 && c != '"' && c != '\\' && c != 0x7f; }

static void json_escape(struct json *j, u8 c)
{
    switch (c) {
    case '"':
        json_raw(j, "\\\"");
        break;
    case '\\':
        json_raw(j, "\\\\");
        break;
    case '\n':
        json_raw(j, "\\n");
        break;
    case '\t':
        json_raw(j, "\\t");
        break;
    default:
        json_fmt(j, "\\u%04x", c);
    }
}

void json_str(struct json *j, const char *s, size_t n)
{
    json_raw(j, "\"");
    for (size_t i = 0, run; i < n; i += run) {
        for (run = 0; i + run < n && is_plain((u8)s[i + run]); run++)
            ;
        if (run)
            json_add(j, s + i, run);
        else
            json_escape(j, (u8)s[i]), run = 1;
    }
    json_raw(j, "\"");
}

void json_text(struct json *j, const char *s) { json_str(j, s ? s : "", s ? strlen(s) : 0); }

void json_hex(struct json *j, const u8 *bytes, size_t n)
{
    char hex[2 * TRACE_ID_LEN + 3] = "\"";
    size_t len = min_u64(n, TRACE_ID_LEN);
    hex_encode(bytes, len, hex + 1);
    hex[2 * len + 1] = '"';
    json_add(j, hex, 2 * len + 2);
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
