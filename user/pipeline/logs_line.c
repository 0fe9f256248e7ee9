/* Text lines: which belong together, and what their heads say. Nothing here allocates but the record itself, and every
 * look is bounded: the head is the first 160 bytes. */
#include "pipeline/logs_line.h"

#include <ctype.h>
#include <time.h>

#define HEAD        160
#define BELIEVED_NS (300 * NSEC_PER_SEC)

/* --- severity --- */

static const struct {
    const char *word;
    u8 number;
} severities[] = {
    { "TRACE", 1 },     { "VERBOSE", 1 },  { "FINEST", 1 },  { "DEBUG", 5 },    { "DBG", 5 },
    { "DEBUG1", 5 },    { "FINE", 5 },     { "INFO", 9 },    { "INF", 9 },      { "LOG", 9 },
    { "NOTICE", 10 },   { "SUCCESS", 10 }, { "WARN", 13 },   { "WARNING", 13 }, { "WRN", 13 },
    { "ERROR", 17 },    { "ERR", 17 },     { "SEVERE", 17 }, { "CRIT", 18 },    { "ALERT", 19 },
    { "CRITICAL", 21 }, { "FATAL", 21 },   { "EMERG", 21 },  { "PANIC", 21 },   { "EMERGENCY", 21 },
};

u8 log_severity(struct slice word)
{
    for (size_t i = 0; i < ARRAY_LEN(severities); i++) {
        if (slice_ieq(word, severities[i].word))
            return severities[i].number;
    }
    return 0;
}

void log_set_severity(struct log_record *l, struct slice word)
{
    u8 number = log_severity(word);
    if (!number)
        return;
    l->severity = number;
    snprintf(l->severity_text, sizeof(l->severity_text), "%.*s", (int)min_u64(word.n, sizeof(l->severity_text) - 1),
             (const char *)word.p);
}

/* A word counts when it stands in capitals, or in brackets, or behind `level=`: «info» in running text is no level. */
static bool stands_out(struct slice head, size_t from, size_t n)
{
    bool upper = true;
    for (size_t i = 0; i < n; i++)
        upper &= !islower(head.p[from + i]);
    if (upper)
        return true;
    if (from && head.p[from - 1] == '[')
        return from + n < head.n && head.p[from + n] == ']';
    if (from && head.p[from - 1] == '<')
        return from + n < head.n && head.p[from + n] == '>';
    static const char *const keys[] = { "level=", "lvl=", "severity=", "level=\"", "severity=\"" };
    for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
        size_t len = strlen(keys[k]);
        if (from >= len && !memcmp(head.p + from - len, keys[k], len))
            return true;
    }
    return false;
}

static struct slice find_severity(struct slice text)
{
    struct slice head = slice_head(text, HEAD);
    ptrdiff_t newline = slice_find(head, '\n');
    head = slice_head(head, newline < 0 ? head.n : (size_t)newline);
    for (size_t i = 0; i < head.n;) {
        size_t n = 0;
        while (i + n < head.n && isalpha(head.p[i + n]))
            n++;
        struct slice word = slice_of(head.p + i, n);
        bool bounded = n >= 3 && n <= 9 && (!i || !isalnum(head.p[i - 1])) && (i + n == head.n || !isalnum(head.p[i + n]));
        if (bounded && stands_out(head, i, n) && log_severity(word))
            return word;
        i += n ? n : 1;
    }
    return slice_of(NULL, 0);
}

/* glog, klog, absl: "E1121 07:09:44.123456 …" */
static u8 glog_severity(struct slice s)
{
    static const char letters[] = "DIWEF";
    static const u8 numbers[] = { 5, 9, 13, 17, 21 };
    const char *at = s.n > 6 && s.p[0] ? strchr(letters, s.p[0]) : NULL;
    for (size_t i = 1; at && i < 5; i++) {
        if (!isdigit(s.p[i]))
            return 0;
    }
    return at && s.p[5] == ' ' && isdigit(s.p[6]) ? numbers[at - letters] : 0;
}

/* --- time --- */

static bool digits(struct slice s, size_t at, size_t n, int *ret)
{
    int v = 0;
    if (at + n > s.n)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!isdigit(s.p[at + i]))
            return false;
        v = v * 10 + (s.p[at + i] - '0');
    }
    *ret = v;
    return true;
}

static size_t fraction(struct slice s, size_t at, u64 *ret_ns)
{
    u64 scale = 100000000, ns = 0;
    size_t i = at;
    if (i + 1 >= s.n || (s.p[i] != '.' && s.p[i] != ',') || !isdigit(s.p[i + 1]))
        return at;
    for (i++; i < s.n && isdigit(s.p[i]); i++, scale /= 10)
        ns += (u64)(s.p[i] - '0') * scale;
    *ret_ns = ns;
    return i;
}

/* Seconds east of UTC; *ret_known: a zone was given. */
static size_t zone(struct slice s, size_t at, int *ret_east, bool *ret_known)
{
    int hours, minutes = 0;
    size_t i = at + (at < s.n && s.p[at] == ' ');
    *ret_known = true;
    *ret_east = 0;
    if (i < s.n && s.p[i] == 'Z')
        return i + 1;
    if (slice_starts(slice_from(s, i), "UTC") || slice_starts(slice_from(s, i), "GMT"))
        return i + 3;
    bool sign = i < s.n && (s.p[i] == '+' || s.p[i] == '-');
    if (sign && digits(s, i + 1, 2, &hours)) {
        size_t m = i + 3 + (i + 3 < s.n && s.p[i + 3] == ':');
        bool both = digits(s, m, 2, &minutes);
        *ret_east = (s.p[i] == '-' ? -1 : 1) * (hours * 3600 + (both ? minutes : 0) * 60);
        return both ? m + 2 : i + 3;
    }
    *ret_known = false;
    return at;
}

static bool believed(u64 t, u64 wall) { return (t > wall ? t - wall : wall - t) < BELIEVED_NS; }

bool log_time(struct slice s, u64 wall, u64 *ret, size_t *ret_used)
{
    struct tm tm = { 0 };
    bool dated = digits(s, 0, 4, &tm.tm_year) && digits(s, 5, 2, &tm.tm_mon) && digits(s, 8, 2, &tm.tm_mday) &&
                 (s.p[4] == '-' || s.p[4] == '/') && s.p[7] == s.p[4];
    if (!dated || !digits(s, 11, 2, &tm.tm_hour) || !digits(s, 14, 2, &tm.tm_min) || !digits(s, 17, 2, &tm.tm_sec) ||
        s.p[13] != ':' || s.p[16] != ':')
        return false;
    if (tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    u64 ns = 0;
    int east;
    bool known;
    size_t used = zone(s, fraction(s, 19, &ns), &east, &known);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    struct tm local = tm;
    u64 utc = (u64)timegm(&tm) * NSEC_PER_SEC + ns;
    *ret_used = used;
    if (known) {
        *ret = utc - (u64)((s64)east * (s64)NSEC_PER_SEC);
        return true;
    }
    local.tm_isdst = -1;
    u64 here = (u64)mktime(&local) * NSEC_PER_SEC + ns;
    *ret = believed(here, wall) ? here : utc;
    return believed(*ret, wall);
}

/* --- ids --- */

bool log_ids(struct log_record *l, struct slice trace, struct slice span)
{
    struct span_context c = { .flags = 1 };
    if (trace.n != 32 || hex_decode((const char *)trace.p, 32, c.trace_id))
        return false;
    if (span.n == 16 && hex_decode((const char *)span.p, 16, c.span_id))
        return false;
    static const u8 zero[TRACE_ID_LEN];
    if (!memcmp(c.trace_id, zero, sizeof(zero)))
        return false;
    l->context = c;
    return true;
}

static size_t hex_run(struct slice s)
{
    size_t n = 0;
    while (n < s.n && isxdigit(s.p[n]))
        n++;
    return n;
}

/* What stands behind `key` and one of = : " space; empty when it is not there. */
static struct slice value_of(struct slice text, const char *key)
{
    size_t k = strlen(key);
    for (size_t i = 0; i + k < text.n; i++) {
        if (tolower(text.p[i]) != key[0] || strncasecmp((const char *)text.p + i, key, k))
            continue;
        size_t at = i + k;
        while (at < text.n && at < i + k + 4 && strchr("=: \"'", text.p[at]))
            at++;
        struct slice v = slice_from(text, at);
        if (at > i + k)
            return slice_head(v, hex_run(v));
    }
    return slice_of(NULL, 0);
}

static void find_ids(struct log_record *l, struct slice text)
{
    static const char *const names[][2] = { { "trace_id", "span_id" }, { "traceid", "spanid" }, { "trace.id", "span.id" } };
    struct slice head = slice_head(text, 4096);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct slice trace = value_of(head, names[i][0]);
        if (trace.n == 32 && log_ids(l, trace, value_of(head, names[i][1])))
            return;
    }
}

/* --- exceptions --- */

static struct slice last_line(struct slice text)
{
    while (text.n && text.p[text.n - 1] == '\n')
        text.n--;
    size_t at = text.n;
    while (at && text.p[at - 1] != '\n')
        at--;
    return slice_from(text, at);
}

/* "package.Type: message" or "Type". */
static bool exception_line(struct slice line, struct slice *ret_type, struct slice *ret_message)
{
    size_t n = 0;
    while (n < line.n && (isalnum(line.p[n]) || line.p[n] == '_' || line.p[n] == '.'))
        n++;
    bool end = n == line.n, colon = n + 1 < line.n && line.p[n] == ':' && line.p[n + 1] == ' ';
    if (!n || n > 200 || isdigit(line.p[0]) || !(end || colon))
        return false;
    *ret_type = slice_head(line, n);
    *ret_message = colon ? slice_from(line, n + 2) : slice_of(line.p, 0);
    return true;
}

void log_exception(struct log_record *l, struct slice stack)
{
    static const char head[] = "Traceback (most recent call last):";
    const u8 *at = memmem(stack.p, stack.n, head, sizeof(head) - 1);
    struct slice type, message;
    if (!at)
        return;
    stack = slice_from(stack, (size_t)(at - stack.p));
    if (!exception_line(last_line(stack), &type, &message))
        return;
    attr_str(&l->attrs, "exception.type", type);
    if (message.n)
        attr_str(&l->attrs, "exception.message", slice_head(message, 512));
    attr_str(&l->attrs, "exception.stacktrace", slice_head(stack, 2000));
    if (!l->severity) /* a bare traceback on standard error */
        l->severity = 17;
}

/* --- which lines belong together --- */

static bool goes_on(struct slice line)
{
    static const char *const heads[] = { " ", "\t", "Caused by:", "Suppressed:", "..." };
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        if (slice_starts(line, heads[i]))
            return true;
    }
    return false;
}

static bool chains(struct slice line)
{
    return slice_starts(line, "During handling of the above exception") ||
           slice_starts(line, "The above exception was the direct cause");
}

/* Behind a traceback's last line: another one only where it is announced. */
static bool chain_goes_on(struct slice line, enum log_block *block)
{
    if (*block == LOG_BLOCK_RAISED && chains(line))
        *block = LOG_BLOCK_CHAIN;
    return *block == LOG_BLOCK_CHAIN ? !line.n || chains(line) : *block == LOG_BLOCK_RAISED && !line.n;
}

enum log_line log_line_kind(struct slice line, bool has_record, bool same_call, enum log_block *block)
{
    if (slice_starts(line, "Traceback (most recent call last):")) {
        bool more = has_record && (same_call || *block == LOG_BLOCK_CHAIN);
        *block = LOG_BLOCK_TRACEBACK;
        return more ? LOG_LINE_MORE : LOG_LINE_NEW;
    }
    if (slice_starts(line, "panic: ") || slice_starts(line, "fatal error: ")) {
        *block = LOG_BLOCK_PANIC;
        return LOG_LINE_NEW;
    }
    if (slice_starts(line, "Exception in thread ")) {
        *block = LOG_BLOCK_CHAIN;
        return LOG_LINE_NEW;
    }
    if (has_record && *block == LOG_BLOCK_PANIC)
        return LOG_LINE_MORE;
    if (has_record && *block == LOG_BLOCK_TRACEBACK) {
        if (line.n && !goes_on(line)) /* the exception itself; another may follow from it */
            *block = LOG_BLOCK_RAISED;
        return LOG_LINE_MORE;
    }
    if (has_record && chain_goes_on(line, block))
        return LOG_LINE_MORE;
    *block = LOG_BLOCK_NONE;
    return has_record && same_call && goes_on(line) ? LOG_LINE_MORE : LOG_LINE_NEW;
}

/* --- the record --- */

/* Colour sequences are for terminals (ECMA-48 CSI). */
static struct slice strip_colour(struct slice text, u8 *room, size_t size)
{
    size_t n = 0;
    if (slice_find(text, 0x1b) < 0 || text.n > size)
        return text;
    for (size_t i = 0; i < text.n;) {
        if (text.p[i] != 0x1b || i + 1 >= text.n || text.p[i + 1] != '[') {
            room[n++] = text.p[i++];
            continue;
        }
        for (i += 2; i < text.n && (text.p[i] < 0x40 || text.p[i] > 0x7e);)
            i++;
        i++;
    }
    return slice_of(room, n);
}

static void text_head(struct log_record *l, struct slice text, u64 wall)
{
    u64 time;
    size_t used, at = text.n && text.p[0] == '[' ? 1 : 0;
    if (log_time(slice_from(text, at), wall, &time, &used))
        l->time_ns = time;
    struct slice word = find_severity(text);
    u8 glog = word.n ? 0 : glog_severity(text);
    if (word.n)
        log_set_severity(l, word);
    else if (glog)
        l->severity = glog;
}

struct log_record *log_line_record(struct slice text, u64 wall)
{
    u8 room[LOG_BODY];
    struct slice trimmed = slice_trim(text);
    if (trimmed.n > 1 && trimmed.p[0] == '{' && trimmed.p[trimmed.n - 1] == '}') {
        struct log_record *json = log_json_record(trimmed, wall);
        if (json)
            return json;
    }
    text = strip_colour(text, room, sizeof(room));
    struct log_record *l = log_new(text);
    if (!l)
        return NULL;
    if (text.n > LOG_BODY)
        attr_bool(&l->attrs, "wftrace.log.cut", true);
    text_head(l, text, wall);
    find_ids(l, text);
    log_exception(l, text);
    return l;
}
