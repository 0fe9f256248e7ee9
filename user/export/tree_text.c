/* Text for terminals: what a span says about itself, widths, cuts. Names come from traced programs, so nothing that a
 * terminal could take for a command gets through. */
#include "export/tree.h"

#include <math.h>
#include <time.h>

struct wide {
    u32 from, to;
};
static const struct wide wide[] = { { 0x1100, 0x115f }, { 0x2e80, 0xa4cf }, { 0xac00, 0xd7a3 },   { 0xf900, 0xfaff },
                                    { 0xfe30, 0xfe6f }, { 0xff00, 0xff60 }, { 0x1f300, 0x1faff }, { 0x20000, 0x3fffd } };
static const struct wide empty[] = { { 0x300, 0x36f },   { 0x200b, 0x200f }, { 0x202a, 0x202e },
                                     { 0x2060, 0x206f }, { 0xfe00, 0xfe0f }, { 0xfeff, 0xfeff } };

static bool in_ranges(u32 c, const struct wide *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (c >= v[i].from && c <= v[i].to)
            return true;
    return false;
}

/* One character of valid UTF-8; broken bytes count as one each. *ret_len ≥ 1 unless at the end. */
static u32 char_next(const char *s, u32 *ret_len)
{
    u8 c = (u8)*s;
    u32 n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4, v = c < 0x80 ? c : c & (0x7fu >> n);
    *ret_len = 1;
    for (u32 i = 1; i < n; i++) {
        if (((u8)s[i] & 0xc0) != 0x80)
            return 0xfffd;
        v = v << 6 | ((u8)s[i] & 0x3f);
    }
    *ret_len = n;
    return v;
}

static bool is_control(u32 c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfffd;
}

void text_copy(char *out, size_t size, const char *s, bool first_line)
{
    size_t o = 0;
    for (u32 len; *s; s += len) {
        u32 c = char_next(s, &len);
        if (first_line && (c == '\n' || c == '\r'))
            break;
        if (is_control(c)) {
            if (o + 1 >= size)
                break;
            out[o++] = c == '\t' || c == '\n' ? ' ' : '?';
            continue;
        }
        if (o + len >= size)
            break;
        memcpy(out + o, s, len);
        o += len;
    }
    out[o] = 0;
}

/* Columns of the prefix that fits into `max`; *ret_bytes its length. Colour sequences (ours) are free. */
static u32 text_measure(const char *s, u32 max, size_t *ret_bytes)
{
    const char *p = s;
    u32 columns = 0;
    while (*p) {
        u32 len, c = char_next(p, &len), w;
        if (c == 0x1b) {
            p += strcspn(p, "m");
            p += *p == 'm';
            continue;
        }
        w = in_ranges(c, empty, ARRAY_LEN(empty)) ? 0 : in_ranges(c, wide, ARRAY_LEN(wide)) ? 2 : 1;
        if (columns + w > max)
            break;
        columns += w;
        p += len;
    }
    *ret_bytes = (size_t)(p - s);
    return columns;
}

u32 text_columns(const char *s)
{
    size_t n;
    return text_measure(s, UINT32_MAX / 2, &n);
}

void text_fit(char *s, u32 columns)
{
    size_t n;
    if (text_columns(s) <= columns)
        return;
    if (columns)
        text_measure(s, columns - 1, &n);
    else
        n = 0;
    size_t lost = strlen(s + n);
    if (columns && lost >= 3)
        memcpy(s + n, "\xe2\x80\xa6", 4);
    else
        s[n] = 0;
}

void duration_text(u64 ns, char *out, size_t size)
{
    double ms = (double)ns / 1e6;
    u64 s = ns / NSEC_PER_SEC;
    if (ms < 1)
        snprintf(out, size, "%.0f \xc2\xb5s", ms * 1000);
    else if (ms < 100)
        snprintf(out, size, "%.1f ms", ms);
    else if (ms < 1000)
        snprintf(out, size, "%.0f ms", ms);
    else if (s < 60)
        snprintf(out, size, "%.2f s", ms / 1000);
    else if (s < 3600)
        snprintf(out, size, "%llu:%02llu min", (unsigned long long)s / 60, (unsigned long long)s % 60);
    else
        snprintf(out, size, "%llu:%02llu h", (unsigned long long)s / 3600, (unsigned long long)s / 60 % 60);
}

void wall_text(u64 wall_ns, char *out, size_t size)
{
    time_t s = (time_t)(wall_ns / NSEC_PER_SEC);
    struct tm tm;
    if (!localtime_r(&s, &tm))
        memset(&tm, 0, sizeof(tm));
    snprintf(out, size, "%02d:%02d:%02d.%03u", tm.tm_hour, tm.tm_min, tm.tm_sec, (u32)(wall_ns % NSEC_PER_SEC / NSEC_PER_MSEC));
}

/* The telling attributes, in the order of the text. */
static const struct telling {
    const char *key, *before;
    bool only_failed, only_nonzero;
    const char *unless; /* said by this one already */
    const char *after;
} telling[] = {
    { "http.response.status_code", "", false, true, NULL, "" },
    { "db.query.summary", "", false, false, NULL, "" },
    { "db.system.name", "", false, false, NULL, "" },
    { "url.path", "", false, false, "gen_ai.operation.name", "" },
    { "db.response.status_code", "", true, false, NULL, "" },
    { "rpc.grpc.status_code", "grpc ", false, true, NULL, "" },
    { "process.exit.code", "exit ", false, true, "wftrace.process.signal", "" },
    { "wftrace.process.signal", "", false, false, NULL, "" },
    { "messaging.destination.name", "", false, false, NULL, "" },
    { "wftrace.gen_ai.usage.total_tokens", "", false, false, NULL, " tokens" },
    { "wftrace.gen_ai.cost_usd", "$", false, false, NULL, "" },
    { "error.type", "", true, false, NULL, "" },
};

/* As people write it: a cost of a few millionths has no exponent. */
static void double_text(double d, char *out, size_t size)
{
    double of = fabs(d);
    if (of > 1e-12 && of < 1e-3)
        snprintf(out, size, "%.*f", 1 - (int)floor(log10(of)), d);
    else
        snprintf(out, size, "%g", d);
}

static void attr_text_of(const struct attr *a, char *out, size_t size)
{
    out[0] = 0;
    if (a->type == ATTR_STR)
        text_copy(out, size, a->s, true);
    else if (a->type == ATTR_INT)
        snprintf(out, size, "%lld", (long long)a->i);
    else if (a->type == ATTR_BOOL)
        snprintf(out, size, "%s", a->b ? "true" : "false");
    else if (a->type == ATTR_DOUBLE)
        double_text(a->d, out, size);
}

void span_detail(const struct span *s, char *out, size_t size)
{
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < ARRAY_LEN(telling) && n + 4 < size; i++) {
        char value[80];
        const struct telling *k = &telling[i];
        const struct attr *a = attr_get(&s->attrs, k->key);
        if (!a || (k->only_failed && s->status != STATUS_ERROR) || (k->unless && attr_get(&s->attrs, k->unless)))
            continue;
        attr_text_of(a, value, sizeof(value));
        if (!*value || (k->only_nonzero && !strcmp(value, "0")))
            continue;
        if (a->type == ATTR_STR && (strstr(s->name, value) || strstr(out, value))) /* said already */
            continue;
        int more = snprintf(out + n, size - n, "%s%s%s%s", n ? "  " : "", k->before, value, k->after);
        if (more < 0 || (size_t)more >= size - n) { /* whole items only */
            out[n] = 0;
            break;
        }
        n += (size_t)more;
    }
}

/* A process's own status message («exit code 3») repeats its detail; a rule's, or one about memory, does not. */
static bool repeats_detail(const struct span *s)
{
    const struct attr *type = attr_get(&s->attrs, "error.type"), *sig = attr_get(&s->attrs, "wftrace.process.signal");
    if (!attr_get(&s->attrs, "process.exit.code") || !type || type->type != ATTR_STR)
        return false;
    return !type->s[strspn(type->s, "0123456789")] || (sig && sig->type == ATTR_STR && !strcmp(sig->s, type->s));
}

void span_says(const struct span *s, char *out, size_t size)
{
    out[0] = 0;
    if (s->status != STATUS_ERROR || repeats_detail(s))
        return;
    text_copy(out, size, s->status_message ? s->status_message : "", true);
    if (!*out && s->n_events && s->events[0].n_attrs > 1)
        text_copy(out, size, s->events[0].attrs[1].s, true);
}
