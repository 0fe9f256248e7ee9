/* A path → its guessed route. Nobody tells us the route that the framework matched, so path segments that look like
 * values become `{id}` and what is left names the operation. The rule, segment by segment; one match is enough:
 *
 *   - digits only, also with sign, dot, comma or colon between them          8231, -3, 1.5, 10:30
 *   - a UUID, with or without braces                                        8f14e45f-ceea-467f-a1d4-91b2c3d4e5f6
 *   - 16 or more hexadecimal digits, or 0x and hexadecimal digits           8f14e45fceea467f
 *   - a date or time: digits with - / T Z : . between, at least 8 long       2024-05-06T10:11:12Z
 *   - an e-mail address: something, @, something with a dot
 *   - base64-ish: 16 or more of A-Z a-z 0-9 _ - = with at least two digits and both cases, or 20 or more with at least
 *     four digits (nanoids, ULIDs, tokens)
 *   - a word and a number: a prefix of letters, then - or _ or nothing, then 4 or more digits      order-12345, INV0042
 *   - anything longer than 64 bytes, or with a percent sign
 *
 * The query and the fragment are cut off; `;` parameters are cut off each segment. After 8 segments the rest is `*`.
 * Version segments (v1, v2beta) stay. */
#include "protocol/protocol.h"

#include <ctype.h>

#define SEGMENTS_MAX 8

struct census {
    size_t digits, uppers, lowers, hex, marks, others; /* hex: digits and a-f; marks: - _ =; others: not base64-ish */
    size_t timey, signs;                               /* - : . T Z and + / - . , : */
};

static struct census census_of(struct slice s)
{
    struct census c = { 0 };
    for (size_t i = 0; i < s.n; i++) {
        u8 b = s.p[i];
        c.digits += !!isdigit(b);
        c.uppers += !!isupper(b);
        c.lowers += !!islower(b);
        c.hex += !!isxdigit(b);
        c.marks += b == '-' || b == '_' || b == '=';
        c.others += !isalnum(b) && b != '-' && b != '_' && b != '=';
        c.timey += b == '-' || b == ':' || b == '.' || b == 'T' || b == 'Z';
        c.signs += b == '-' || b == '+' || b == '.' || b == ',' || b == ':';
    }
    return c;
}

static bool looks_uuid(struct slice s)
{
    if (s.n == 38 && s.p[0] == '{' && s.p[37] == '}')
        s = slice_of(s.p + 1, 36);
    if (s.n != 36)
        return false;
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        if (dash ? s.p[i] != '-' : !isxdigit(s.p[i]))
            return false;
    }
    return true;
}

static bool looks_email(struct slice s)
{
    ptrdiff_t at = slice_find(s, '@');
    return at > 0 && slice_find(slice_from(s, (size_t)at + 2), '.') >= 0;
}

/* letters, one optional - or _, then at least four digits up to the end */
static bool looks_numbered(struct slice s)
{
    size_t i = 0, digits;
    while (i < s.n && isalpha(s.p[i]))
        i++;
    if (i && i < s.n && (s.p[i] == '-' || s.p[i] == '_'))
        i++;
    for (digits = 0; i + digits < s.n && isdigit(s.p[i + digits]); digits++)
        ;
    return i && digits >= 4 && i + digits == s.n;
}

static bool segment_is_value(struct slice s)
{
    if (!s.n)
        return false;
    if (s.n > 64 || slice_find(s, '%') >= 0 || looks_uuid(s) || looks_email(s) || looks_numbered(s))
        return true;
    struct census c = census_of(s);
    if (c.digits && c.digits + c.signs == s.n)
        return true;
    if ((s.n >= 16 && c.hex == s.n) || (s.n > 2 && slice_istarts(s, "0x") && c.hex == s.n - 1))
        return true;
    if (s.n >= 8 && c.digits >= 6 && c.digits + c.timey == s.n)
        return true;
    if (c.others)
        return false;
    return (s.n >= 16 && c.digits >= 2 && c.uppers && c.lowers) || (s.n >= 20 && c.digits >= 4);
}

struct text_out {
    char *p;
    size_t n, size;
};

/* Appends whole or not at all, so that a cut never leaves half a placeholder. */
static bool out_put(struct text_out *o, const void *p, size_t n)
{
    if (o->n + n >= o->size)
        return false;
    memcpy(o->p + o->n, p, n);
    o->n += n;
    return true;
}

static struct slice path_only(struct slice path)
{
    for (size_t i = 0; i < path.n; i++)
        if (path.p[i] == '?' || path.p[i] == '#')
            return slice_head(path, i);
    return path;
}

static struct slice segment_clean(struct slice s)
{
    ptrdiff_t semi = slice_find(s, ';');
    s = semi < 0 ? s : slice_head(s, (size_t)semi);
    return s;
}

static bool out_segment(struct text_out *o, struct slice s)
{
    if (segment_is_value(s))
        return out_put(o, "/{id}", 5);
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] <= ' ' || s.p[i] >= 0x7f)
            return out_put(o, "/{id}", 5);
    if (o->n + 1 + s.n >= o->size)
        return false;
    return out_put(o, "/", 1) && out_put(o, s.p, s.n);
}

size_t route_of_path(struct slice path, char *out, size_t size)
{
    if (!size)
        return 0;
    struct text_out o = { out, 0, size };
    path = path_only(path);
    size_t segments = 0;
    for (size_t i = 0; i < path.n && path.p[i] == '/';) {
        struct slice rest = slice_from(path, i + 1);
        ptrdiff_t slash = slice_find(rest, '/');
        struct slice s = slash < 0 ? rest : slice_head(rest, (size_t)slash);
        if (segments++ == SEGMENTS_MAX) {
            out_put(&o, "/*", 2);
            break;
        }
        if (!out_segment(&o, segment_clean(s)))
            break;
        i += 1 + s.n;
    }
    out[o.n] = 0;
    return o.n;
}
