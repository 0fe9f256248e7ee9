/* HTTP/1.0 and 1.1, RFC 9110 and 9112.
 *
 * Names: `{method} {route}` for both ends, where route is the path with value-like segments as `{id}` (route.c). The
 * conventions want http.route or url.template there; both claim a template that the application knows, so the guess is
 * told as `wftrace.route` instead. Methods outside of RFC 9110, 5789 and QUERY are `_OTHER` and named `HTTP`.
 *
 * Errors: error.type is the status code, from 400 for clients and from 500 for servers, as the conventions say.
 *
 * Privacy, strict: no query string, no header but User-Agent and Host; the path is told as it is, as the conventions
 * require. keep_values adds url.query (and the query in url.full).
 *
 * A response's framing depends on its request (HEAD, CONNECT), so a bounded ring keeps two bits per request that
 * waits. Bodies are not looked at, but those of language model calls, which are shown to llm.c as they pass, one call a
 * connection at a time: a known length is skipped, chunks are walked by their size lines. A chunked body that
 * lost bytes is over when the last chunk's text is seen at the end of what comes, or a new head begins. */
#include "protocol/protocol.h"
#include "protocol/http1_head.h"
#include "protocol/llm.h"

#define HEAD_MAX       32768 /* a head longer than this is told from its first HEAD_MAX bytes */
#define WAITING_MAX    1024  /* pipelined requests */
#define CHUNK_LINE_MAX 1024
#define FOREVER        (1ull << 62)

enum phase {
    START,
    BODY,      /* its length was skipped: the message is done */
    CHUNK,     /* at a chunk's size line */
    CHUNK_END, /* at the line's end after a chunk that was shown */
    TRAILERS,
    CLOSE, /* ends with the connection */
    REST,  /* of a head that was cut or too long: up to the empty line */
    LOST,  /* in a chunked body, of which bytes are missing */
    SWITCHED,
};
enum asked { ASKED_PLAIN, ASKED_HEAD, ASKED_CONNECT, ASKED_LLM };

struct half {
    u8 phase;
    u8 tail;      /* REST: what ended the bytes seen: 1 LF, 2 LF CR */
    bool counted; /* `body` is known whole */
    bool shown;   /* to llm */
    bool tells;   /* llm's facts at its end */
    u64 body;
};

struct http1 {
    struct half half[2];
    bool server, tls;
    struct privacy privacy;
    char switch_to[12];
    struct llm *llm;          /* the call that waits for its answer, or NULL */
    struct span_marks *marks; /* of the answer told last */
    u32 asked_in, asked_out;
    u8 asked[WAITING_MAX / 4];
};

/* ---- what was asked ---- */

static bool asked_push(struct http1 *h, enum asked a)
{
    if (h->asked_in - h->asked_out == WAITING_MAX)
        return false;
    u32 i = h->asked_in++ % WAITING_MAX, shift = i % 4 * 2;
    h->asked[i / 4] = (u8)((h->asked[i / 4] & ~(3u << shift)) | a << shift);
    return true;
}

static enum asked asked_pop(struct http1 *h)
{
    if (h->asked_in == h->asked_out)
        return ASKED_PLAIN;
    u32 i = h->asked_out++ % WAITING_MAX;
    return h->asked[i / 4] >> i % 4 * 2 & 3;
}

/* ---- what a head says ---- */

static void text_take(char *out, size_t size, struct slice s)
{
    if (!s.n || s.n >= size)
        return; /* a cut traceparent or baggage would be a wrong one */
    memcpy(out, s.p, s.n);
    out[s.n] = 0;
}

static const u8 *last_of(struct slice s, u8 byte) { return s.n ? memrchr(s.p, byte, s.n) : NULL; }

/* host[:port], [v6]:port, with user information left out */
static void tell_server(struct message *m, struct slice authority, bool tls)
{
    const u8 *at = last_of(authority, '@');
    if (at)
        authority = slice_from(authority, (size_t)(at + 1 - authority.p));
    struct slice host = authority, port = { 0 };
    const u8 *colon = last_of(authority, ':'), *bracket = last_of(authority, ']');
    if (colon && (!bracket || colon > bracket)) {
        host = slice_head(authority, (size_t)(colon - authority.p));
        port = slice_from(authority, host.n + 1);
    }
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = slice_of(host.p + 1, host.n - 2);
    u64 number = tls ? 443 : 80;
    if (!host.n || (port.n && (slice_u64(port, &number) || number > 65535)))
        return;
    attr_str(&m->attrs, "server.address", host);
    attr_int(&m->attrs, "server.port", (s64)number);
}

struct target {
    struct slice scheme, authority, path, query; /* query without its mark */
};

static struct target target_split(struct slice t)
{
    struct target r = { 0 };
    ptrdiff_t colon = slice_find(t, ':');
    if (colon > 0 && t.p[0] != '/' && slice_starts(slice_from(t, (size_t)colon), "://")) {
        r.scheme = slice_head(t, (size_t)colon);
        t = slice_from(t, (size_t)colon + 3);
        size_t n = 0;
        while (n < t.n && t.p[n] != '/' && t.p[n] != '?')
            n++;
        r.authority = slice_head(t, n);
        t = slice_from(t, n);
    }
    ptrdiff_t mark = slice_find(t, '?');
    r.path = mark < 0 ? t : slice_head(t, (size_t)mark);
    r.query = mark < 0 ? slice_of(t.p, 0) : slice_from(t, (size_t)mark + 1);
    return r;
}

static void tell_full_url(struct message *m, const struct http1 *h, const struct target *t, struct slice scheme)
{
    char url[1024];
    bool query = h->privacy.keep_values && t->query.n;
    const u8 *at = last_of(t->authority, '@'); /* credentials are never told */
    struct slice authority = at ? slice_from(t->authority, (size_t)(at + 1 - t->authority.p)) : t->authority;
    int n = snprintf(url, sizeof(url), "%.*s://%.*s%.*s%s%.*s", (int)scheme.n, scheme.p, (int)min_u64(authority.n, 255),
                     authority.p, (int)min_u64(t->path.n, 900), t->path.p, query ? "?" : "",
                     query ? (int)min_u64(t->query.n, 900) : 0, t->query.p);
    if (n > 0)
        attr_str(&m->attrs, "url.full", slice_of(url, min_u64((u64)n, sizeof(url) - 1)));
}

static void tell_target(struct http1 *h, const struct http1_head *head, struct message *m, const char *verb)
{
    if (slice_eq(head->method, "CONNECT")) {
        snprintf(m->name, sizeof(m->name), "CONNECT");
        if (!h->server)
            tell_server(m, head->target, true);
        return;
    }
    struct target t = target_split(head->target);
    char route[112];
    size_t n = route_of_path(t.path.n ? t.path : slice_str("/"), route, sizeof(route));
    if (slice_eq(t.path, "*"))
        n = (size_t)snprintf(route, sizeof(route), "*");
    snprintf(m->name, sizeof(m->name), "%s %s", verb, route);
    attr_str(&m->attrs, "wftrace.route", slice_of(route, n));
    attr_str(&m->attrs, "url.path", t.path);
    if (h->privacy.keep_values && t.query.n)
        attr_str(&m->attrs, "url.query", t.query);
    struct slice scheme = h->tls ? slice_str("https") : t.scheme.n ? t.scheme : slice_str("http");
    attr_str(&m->attrs, "url.scheme", scheme);
    if (!t.authority.n)
        t.authority = head->host;
    if (t.authority.n)
        tell_server(m, t.authority, h->tls);
    if (!h->server && t.authority.n)
        tell_full_url(m, h, &t, scheme);
}

static void tell_version(struct message *m, const struct http1_head *head)
{
    attr_str(&m->attrs, "network.protocol.version", slice_str(head->minor ? "1.1" : "1.0"));
}

static void tell_request(struct http1 *h, const struct http1_head *head, struct message *m)
{
    bool known = http1_method_known(head->method);
    char verb[16];
    snprintf(verb, sizeof(verb), "%.*s", known ? (int)head->method.n : 4, known ? (const char *)head->method.p : "HTTP");
    attr_str(&m->attrs, "http.request.method", known ? head->method : slice_str("_OTHER"));
    if (!known)
        attr_str(&m->attrs, "http.request.method_original", slice_head(head->method, 64));
    tell_target(h, head, m, verb);
    tell_version(m, head);
    if (head->user_agent.n)
        attr_str(&m->attrs, "user_agent.original", slice_head(head->user_agent, 256));
    text_take(m->traceparent, sizeof(m->traceparent), head->traceparent);
    text_take(m->tracestate, sizeof(m->tracestate), head->tracestate);
    text_take(m->baggage, sizeof(m->baggage), head->baggage);
}

static void tell_response(struct http1 *h, const struct http1_head *head, struct message *m)
{
    attr_int(&m->attrs, "http.response.status_code", head->status);
    if (head->status >= (h->server ? 500u : 400u)) {
        char code[12];
        snprintf(code, sizeof(code), "%u", head->status);
        m->error_type = attr_text(&m->attrs, slice_str(code));
    }
    tell_version(m, head);
}

static void tell_body(struct message *m, enum side side, u64 size)
{
    attr_int(&m->attrs, side == SIDE_REQUEST ? "http.request.body.size" : "http.response.body.size", (s64)size);
}

/* ---- framing ---- */

static struct parse_result result(enum parse_status status, size_t used, u64 skip)
{
    return (struct parse_result){ .status = status, .used = used, .skip = skip };
}

/* The message begun by a head of `used` bytes goes on by `phase`; START: it had no body. */
static struct parse_result head_result(struct half *f, enum phase phase, size_t used, u64 skip)
{
    f->phase = phase;
    return result(phase == START ? PARSE_MESSAGE : PARSE_HEAD, used, skip);
}

static struct parse_result shown(const struct half *f, struct parse_result r)
{
    r.show = f->shown;
    return r;
}

static struct parse_result framed(struct half *f, enum side side, const struct http1_head *head, size_t used, struct message *m)
{
    enum phase none = f->shown || f->tells ? BODY : START; /* an end of its own, to tell facts with */
    f->body = 0;
    if (head->chunked)
        return head_result(f, CHUNK, used, 0);
    if (head->has_length) {
        tell_body(m, side, head->length);
        return shown(f, head_result(f, head->length ? BODY : none, used, head->length));
    }
    if (side == SIDE_REQUEST)
        return head_result(f, none, used, 0);
    return head_result(f, CLOSE, used, 0);
}

static void llm_drop(struct http1 *h)
{
    h->llm = llm_free(h->llm);
    h->half[0].shown = h->half[1].shown = false;
}

static struct parse_result request_begin(struct http1 *h, const struct http1_head *head, struct slice bytes, struct message *m)
{
    enum asked a = slice_eq(head->method, "HEAD") ? ASKED_HEAD : slice_eq(head->method, "CONNECT") ? ASKED_CONNECT : ASKED_PLAIN;
    if (!h->server && !h->llm) {
        h->llm = llm_begin(head, bytes, target_split(head->target).path, h->privacy, m->time);
        a = h->llm ? ASKED_LLM : a;
    }
    h->half[SIDE_REQUEST].shown = a == ASKED_LLM;
    if (!asked_push(h, a)) {
        llm_drop(h);
        return result(PARSE_BAD, 0, 0);
    }
    tell_request(h, head, m);
    return framed(&h->half[SIDE_REQUEST], SIDE_REQUEST, head, bytes.n, m);
}

static void switch_note(struct http1 *h, struct slice to)
{
    struct slice name = slice_istarts(to, "websocket") ? slice_str("websocket")
                        : slice_istarts(to, "h2c")     ? slice_str("http2")
                                                       : to;
    text_take(h->switch_to, sizeof(h->switch_to), name);
    h->half[0].phase = h->half[1].phase = SWITCHED;
}

static struct parse_result response_begin(struct http1 *h, const struct http1_head *head, struct slice bytes, struct message *m)
{
    struct half *f = &h->half[SIDE_RESPONSE];
    size_t used = bytes.n;
    if (head->status < 200 && head->status != 101) {
        m->interim = true;
        return head_result(f, START, used, 0);
    }
    enum asked a = asked_pop(h);
    f->shown = a == ASKED_LLM && h->llm && llm_answer(h->llm, head, bytes);
    f->tells = a == ASKED_LLM && h->llm;
    tell_response(h, head, m);
    if (head->status == 101 || (a == ASKED_CONNECT && head->status < 300)) {
        switch_note(h, head->upgrade_to);
        return result(PARSE_MESSAGE, used, 0);
    }
    if (a == ASKED_HEAD || head->status == 204 || head->status == 304)
        return head_result(f, f->tells ? BODY : START, used, 0);
    return framed(f, SIDE_RESPONSE, head, used, m);
}

/* Empty lines before a message are nobody's (RFC 9112 2.2). */
static size_t blank_len(struct slice in)
{
    size_t n = 0;
    while (n < in.n && (in.p[n] == '\r' || in.p[n] == '\n'))
        n++;
    return n;
}

static int begins(enum side side, struct slice in, bool strict)
{
    if (side == SIDE_RESPONSE)
        return http1_response_begins(in);
    if (strict)
        return http1_request_begins(in);
    ptrdiff_t sp = slice_find(slice_head(in, 32), ' ');
    struct slice method = sp < 0 ? slice_head(in, 32) : slice_head(in, (size_t)sp);
    return !http1_token(method) || (sp < 0 && in.n > 32) ? -1 : sp > 0;
}

static void body_lost(struct http1 *h, enum side side)
{
    if (h->llm && h->half[side].shown)
        llm_body_lost(h->llm, side);
}

/* A head whose rest wasn't captured, or that is too long: its facts as far as they go; the rest runs on to its empty line. */
static struct parse_result head_cut(struct http1 *h, enum side side, struct slice in, struct message *m)
{
    struct http1_head head;
    if (begins(side, in, false) <= 0 || http1_head_read(in, side == SIDE_REQUEST, &head))
        return result(PARSE_BAD, 0, 0);
    struct parse_result r = side == SIDE_REQUEST ? request_begin(h, &head, in, m) : response_begin(h, &head, in, m);
    if (r.status == PARSE_BAD || m->interim || h->half[side].phase == SWITCHED)
        return r;
    h->half[side].phase = REST;
    h->half[side].tail = 0;
    body_lost(h, side);
    return result(PARSE_HEAD, in.n, 0);
}

static struct parse_result parse_start(struct http1 *h, enum side side, struct slice in, struct message *m)
{
    size_t blank = blank_len(in);
    if (blank)
        return result(PARSE_SKIP, blank, 0);
    if (!in.n)
        return result(PARSE_MORE, 0, 0);
    if (begins(side, in, false) < 0)
        return result(PARSE_BAD, 0, 0);
    size_t n = http1_head_len(in);
    if (!n)
        return in.n < HEAD_MAX ? result(PARSE_MORE, 0, 0) : head_cut(h, side, in, m);
    struct http1_head head;
    in = slice_head(in, n);
    if (http1_head_read(in, side == SIDE_REQUEST, &head) || head.bad_framing)
        return result(PARSE_BAD, 0, 0);
    return side == SIDE_REQUEST ? request_begin(h, &head, in, m) : response_begin(h, &head, in, m);
}

static int chunk_size(struct slice line, u64 *ret)
{
    u64 v = 0;
    size_t i = 0;
    for (; i < line.n; i++) {
        u8 c = line.p[i];
        int d = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
        if (d < 0)
            break;
        if (v >> 52)
            return -ERANGE;
        v = v << 4 | (u64)d;
    }
    bool ends = i == line.n || line.p[i] == ';' || line.p[i] == ' ' || line.p[i] == '\r' || line.p[i] == '\t';
    if (!i || !ends)
        return -EBADMSG;
    *ret = v;
    return 0;
}

static struct parse_result parse_chunk(struct half *f, struct slice in)
{
    ptrdiff_t lf = slice_find(slice_head(in, CHUNK_LINE_MAX), '\n');
    if (lf < 0)
        return result(in.n < CHUNK_LINE_MAX ? PARSE_MORE : PARSE_BAD, 0, 0);
    u64 size;
    if (chunk_size(slice_head(in, (size_t)lf), &size))
        return result(PARSE_BAD, 0, 0);
    if (!size) {
        f->phase = TRAILERS;
        return result(PARSE_SKIP, (size_t)lf + 1, 0);
    }
    f->body += size;
    if (!f->shown)
        return result(PARSE_SKIP, (size_t)lf + 1, size + 2);
    f->phase = CHUNK_END;
    return shown(f, result(PARSE_SKIP, (size_t)lf + 1, size));
}

static struct parse_result chunk_end(struct half *f)
{
    f->phase = CHUNK;
    return result(PARSE_SKIP, 0, 2);
}

/* What the body of a message said, if it was shown, with its end. */
static void tell_llm(struct http1 *h, enum side side, struct message *m)
{
    struct half *f = &h->half[side];
    if (h->llm && side == SIDE_REQUEST && f->shown)
        llm_tell_request(h->llm, m);
    if (h->llm && side == SIDE_RESPONSE && f->tells) {
        llm_tell_answer(h->llm, m);
        free(h->marks);
        m->marks = h->marks = llm_marks_take(h->llm);
        f->tells = false;
        llm_drop(h);
    }
    f->shown = false;
}

static struct parse_result done(struct http1 *h, enum side side, size_t used, struct message *m)
{
    h->half[side].phase = START;
    tell_llm(h, side, m);
    return result(PARSE_DONE, used, 0);
}

static struct parse_result parse_trailers(struct http1 *h, enum side side, struct slice in, struct message *m)
{
    struct half *f = &h->half[side];
    ptrdiff_t lf = slice_find(in, '\n');
    if (lf < 0)
        return result(in.n < HEAD_MAX ? PARSE_MORE : PARSE_BAD, 0, 0);
    if (lf > 1 || (lf == 1 && in.p[0] != '\r'))
        return result(PARSE_SKIP, (size_t)lf + 1, 0);
    tell_body(m, side, f->body);
    return done(h, side, (size_t)lf + 1, m);
}

/* After a cut head: the body, whose framing may have been in the part not seen, is left to the next head. */
static struct parse_result parse_rest(struct http1 *h, enum side side, struct slice in)
{
    struct half *f = &h->half[side];
    if (!in.n)
        return result(PARSE_MORE, 0, 0);
    ptrdiff_t lf = slice_find(in, '\n');
    if (lf < 0 || (size_t)lf + 2 >= in.n)
        return in.n > 4 ? result(PARSE_SKIP, in.n - 4, 0) : result(PARSE_MORE, 0, 0);
    size_t n = (size_t)lf + 1;
    size_t empty = in.p[n] == '\n' ? 1 : in.p[n] == '\r' && in.p[n + 1] == '\n' ? 2 : 0;
    if (!empty)
        return result(PARSE_SKIP, n, 0);
    f->phase = LOST;
    return result(PARSE_SKIP, n + empty, 0);
}

/* Is the end of `in` that of a chunked body? */
static bool ends_chunked(struct slice in)
{
    return (in.n >= 5 && slice_eq(slice_from(in, in.n - 5), "0\r\n\r\n")) && (in.n == 5 || in.p[in.n - 6] == '\n');
}

static struct parse_result parse_lost(struct http1 *h, enum side side, struct slice in, struct message *m)
{
    if (!in.n)
        return result(PARSE_MORE, 0, 0);
    if (begins(side, in, true) > 0)
        return done(h, side, 0, m);
    if (ends_chunked(in))
        return done(h, side, in.n, m);
    for (size_t i = 1; i < in.n; i++)
        if (in.p[i - 1] == '\n' && begins(side, slice_from(in, i), true) > 0)
            return done(h, side, i, m);
    return in.n > 64 ? result(PARSE_SKIP, in.n - 64, 0) : result(PARSE_MORE, 0, 0);
}

static struct parse_result http1_parse(void *st, enum side side, struct slice in, struct message *m)
{
    struct http1 *h = st;
    struct half *f = &h->half[side];
    switch ((enum phase)f->phase) {
    case START:
        return parse_start(h, side, in, m);
    case BODY:
        return done(h, side, 0, m);
    case CHUNK:
        return parse_chunk(f, in);
    case CHUNK_END:
        return chunk_end(f);
    case TRAILERS:
        return parse_trailers(h, side, in, m);
    case CLOSE:
        return in.n ? shown(f, result(PARSE_SKIP, 0, FOREVER)) : result(PARSE_MORE, 0, 0);
    case REST:
        return parse_rest(h, side, in);
    case LOST:
        return parse_lost(h, side, in, m);
    case SWITCHED:
        return (struct parse_result){ .status = PARSE_SWITCH, .switch_to = h->switch_to[0] ? h->switch_to : NULL };
    }
    return result(PARSE_BAD, 0, 0);
}

static struct parse_result http1_cut(void *st, enum side side, struct slice in, struct message *m)
{
    struct http1 *h = st;
    return h->half[side].phase == START ? head_cut(h, side, in, m) : result(PARSE_MORE, 0, 0);
}

/* A running chunked body (or a cut head) keeps running; anything else begins anew at the next head. */
static ptrdiff_t http1_resync(void *st, enum side side, struct slice in, u64 lost, bool run)
{
    struct http1 *h = st;
    struct half *f = &h->half[side];
    if (lost)
        body_lost(h, side);
    if (lost && (f->phase == CHUNK || f->phase == CHUNK_END || f->phase == TRAILERS || f->phase == REST || f->phase == LOST)) {
        f->phase = LOST;
        return 0;
    }
    if (lost && f->phase == CLOSE)
        return 0;
    for (size_t i = 0; i < in.n; i++) {
        bool line = i == 0 || in.p[i - 1] == '\n';
        if (!line || begins(side, slice_from(in, i), true) <= 0)
            continue;
        f->phase = START;
        return (ptrdiff_t)i;
    }
    return -1;
}

static void http1_settle(void *st)
{
    struct http1 *h = st;
    h->asked_out = h->asked_in;
    llm_drop(h);
}

static enum parse_status http1_eof(void *st, enum side side, struct message *m)
{
    struct http1 *h = st;
    enum phase was = h->half[side].phase;
    bool whole = h->llm && h->half[side].tells && llm_whole(h->llm); /* a client needn't read a stream's last line */
    h->half[side].phase = START;
    tell_llm(h, side, m);
    return was == CLOSE || was == LOST || whole ? PARSE_DONE : PARSE_MORE;
}

static enum sniff http1_sniff(struct slice head)
{
    head = slice_from(head, blank_len(head));
    int q = http1_request_begins(head), a = http1_response_begins(head);
    if (q > 0 || a > 0)
        return q > 0 ? SNIFF_REQUEST : SNIFF_RESPONSE;
    return q < 0 && a < 0 ? SNIFF_NO : SNIFF_MAYBE;
}

static void http1_init(void *st, const struct session *s)
{
    struct http1 *h = st;
    h->server = s->server;
    h->tls = s->tls;
    h->privacy = s->privacy;
}

static void http1_done(void *st)
{
    struct http1 *h = st;
    llm_drop(h);
    free(take_ptr(h->marks));
}

static void http1_body(void *st, enum side side, struct slice bytes, u64 missing, u64 time)
{
    struct http1 *h = st;
    if (h->llm)
        llm_body(h->llm, side, bytes, missing, time);
}

const struct protocol protocol_http1 = {
    .name = "http1",
    .state_size = sizeof(struct http1),
    .want = 4096,
    .sniff = http1_sniff,
    .init = http1_init,
    .done = http1_done,
    .body = http1_body,
    .parse = http1_parse,
    .cut = http1_cut,
    .resync = http1_resync,
    .settle = http1_settle,
    .eof = http1_eof,
};
