/* Lines end in LF, with or without CR (RFC 9112 2.2). A field line that begins with white space continues the one before
 * (obs-fold, 5.2) and is passed over: none of the fields read here is ever folded in practice. */
#include "protocol/http1_head.h"

#include <ctype.h>

static const char *const methods[] = { "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY" };

bool http1_method_known(struct slice method)
{
    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (slice_eq(method, methods[i]))
            return true;
    return false;
}

bool http1_token(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum(s.p[i]) && !(s.p[i] && strchr("!#$%&'*+-.^_`|~", s.p[i])))
            return false;
    return s.n > 0;
}

size_t http1_head_len(struct slice in)
{
    const u8 *p = in.p, *end = in.p + in.n;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
        p++;
        if (p < end && *p == '\n')
            return (size_t)(p + 1 - in.p);
        if (end - p >= 2 && p[0] == '\r' && p[1] == '\n')
            return (size_t)(p + 2 - in.p);
    }
    return 0;
}

/* Takes one line off `in`, without its end. false: there is no whole line. */
static bool line_take(struct slice *in, struct slice *ret)
{
    ptrdiff_t lf = slice_find(*in, '\n');
    if (lf < 0)
        return false;
    *ret = slice_head(*in, (size_t)lf);
    *in = slice_from(*in, (size_t)lf + 1);
    if (ret->n && ret->p[ret->n - 1] == '\r')
        ret->n--;
    return true;
}

static struct slice word_take(struct slice *in)
{
    ptrdiff_t sp = slice_find(*in, ' ');
    struct slice w = sp < 0 ? *in : slice_head(*in, (size_t)sp);
    *in = slice_trim(slice_from(*in, w.n));
    return w;
}

static int version_read(struct slice s, u8 *ret_minor)
{
    if (s.n != 8 || !slice_starts(s, "HTTP/1.") || !isdigit(s.p[7]))
        return -EBADMSG;
    *ret_minor = s.p[7] > '0';
    return 0;
}

/* `cut`: the line has no end: the target is as long as we see, and the version unknown. */
static int request_line_read(struct slice line, bool cut, struct http1_head *h)
{
    h->method = word_take(&line);
    h->target = word_take(&line);
    if (!http1_token(h->method) || !h->target.n)
        return -EBADMSG;
    h->minor = 1;
    return cut ? 0 : version_read(line, &h->minor);
}

static int status_line_read(struct slice line, struct http1_head *h)
{
    struct slice version = word_take(&line), code = word_take(&line);
    u64 status;
    if (version_read(version, &h->minor) || code.n != 3 || slice_u64(code, &status) || status < 100 || status > 999)
        return -EBADMSG;
    h->status = (unsigned)status;
    return 0;
}

/* «5», «5, 5»: the same number however often */
static void length_read(struct slice v, struct http1_head *h)
{
    while (v.n) {
        ptrdiff_t comma = slice_find(v, ',');
        struct slice one = slice_trim(comma < 0 ? v : slice_head(v, (size_t)comma));
        u64 n;
        if (slice_u64(one, &n) || n > INT64_MAX || (h->has_length && n != h->length)) {
            h->bad_framing = true;
            return;
        }
        h->has_length = true;
        h->length = n;
        v = comma < 0 ? slice_of(v.p, 0) : slice_from(v, (size_t)comma + 1);
    }
}

static bool list_has(struct slice v, const char *word)
{
    while (v.n) {
        ptrdiff_t comma = slice_find(v, ',');
        if (slice_ieq(slice_trim(comma < 0 ? v : slice_head(v, (size_t)comma)), word))
            return true;
        v = comma < 0 ? slice_of(v.p, 0) : slice_from(v, (size_t)comma + 1);
    }
    return false;
}

static bool last_is_chunked(struct slice v)
{
    v = slice_trim(v);
    return v.n >= 7 && slice_ieq(slice_from(v, v.n - 7), "chunked") && (v.n == 7 || strchr(", \t", v.p[v.n - 8]));
}

static void field_read(struct slice name, struct slice v, struct http1_head *h)
{
    switch (name.n) {
    case 4:
        if (slice_ieq(name, "host"))
            h->host = v;
        break;
    case 7:
        if (slice_ieq(name, "upgrade"))
            h->upgrade_to = v;
        else if (slice_ieq(name, "baggage"))
            h->baggage = v;
        break;
    case 10:
        if (slice_ieq(name, "user-agent"))
            h->user_agent = v;
        else if (slice_ieq(name, "tracestate"))
            h->tracestate = v;
        else if (slice_ieq(name, "connection"))
            h->upgrade = h->upgrade || list_has(v, "upgrade");
        break;
    case 11:
        if (slice_ieq(name, "traceparent"))
            h->traceparent = v;
        break;
    case 14:
        if (slice_ieq(name, "content-length"))
            length_read(v, h);
        break;
    case 17:
        if (slice_ieq(name, "transfer-encoding"))
            h->chunked = last_is_chunked(v);
        break;
    }
}

bool http1_field_next(struct slice *fields, struct slice *ret_name, struct slice *ret_value)
{
    struct slice line;
    while (line_take(fields, &line)) {
        ptrdiff_t colon = slice_find(line, ':');
        if (colon <= 0 || !http1_token(slice_head(line, (size_t)colon)))
            continue;
        *ret_name = slice_head(line, (size_t)colon);
        *ret_value = slice_trim(slice_from(line, (size_t)colon + 1));
        return true;
    }
    return false;
}

int http1_head_read(struct slice head, bool request, struct http1_head *ret)
{
    struct http1_head h = { 0 };
    struct slice line;
    bool cut = !line_take(&head, &line);
    if (cut)
        line = head;
    int err = request ? request_line_read(line, cut, &h) : status_line_read(line, &h);
    if (err)
        return err;
    while (!cut && line_take(&head, &line) && line.n) {
        ptrdiff_t colon = slice_find(line, ':');
        if (colon > 0 && line.p[0] != ' ' && line.p[0] != '\t')
            field_read(slice_head(line, (size_t)colon), slice_trim(slice_from(line, (size_t)colon + 1)), &h);
    }
    *ret = h;
    return 0;
}

/* 1 when `s` begins with all of `lit`, 0 when it is a beginning of it, -1 otherwise */
static int prefix_of(struct slice s, const char *lit)
{
    size_t n = strlen(lit);
    if (memcmp(s.p, lit, s.n < n ? s.n : n))
        return -1;
    return s.n >= n;
}

int http1_response_begins(struct slice in)
{
    int p = prefix_of(in, "HTTP/1.");
    if (p <= 0 || in.n < 9)
        return p < 0 ? -1 : 0;
    return isdigit(in.p[7]) && in.p[8] == ' ' ? 1 : -1;
}

int http1_request_begins(struct slice in)
{
    ptrdiff_t sp = slice_find(slice_head(in, 32), ' ');
    struct slice method = sp < 0 ? slice_head(in, 32) : slice_head(in, (size_t)sp);
    if (!http1_token(method) || (sp < 0 && in.n >= 32))
        return in.n ? -1 : 0;
    if (sp < 0)
        return 0;
    if (in.n < (size_t)sp + 2)
        return http1_method_known(method) ? 0 : isupper(method.p[0]) ? 0 : -1;
    u8 c = in.p[sp + 1];
    bool connect = slice_eq(method, "CONNECT");
    if (http1_method_known(method) && (c == '/' || c == '*' || c == 'h' || connect))
        return connect && !isalnum(c) && c != '[' ? -1 : 1;
    ptrdiff_t lf = slice_find(in, '\n');
    if (lf < 0)
        return in.n > 2048 || !isupper(method.p[0]) ? -1 : 0;
    struct http1_head h;
    return !http1_head_read(slice_head(in, (size_t)lf + 1), true, &h) && (c == '/' || c == '*' || c == 'h') ? 1 : -1;
}
