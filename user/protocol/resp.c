/* Redis: RESP2 and RESP3, inline commands, pipelines, MULTI, pub/sub, CLIENT REPLY.
 *
 * Names: `{db.operation.name}`, since the conventions for Redis leave the database number out of names and a parser knows
 * no address. Commands with subcommands are named with both («CONFIG GET»). db.namespace is the database number where it
 * is known: from the connection's start, or from a SELECT on. Start-up and authentication (AUTH, HELLO, CLIENT SETINFO,
 * CLIENT SETNAME) are housekeeping.
 *
 * Privacy, strict: db.query.text is the command with `?` for each argument, and an error's message stays out. Arguments of
 * AUTH, HELLO, ACL, CONFIG and MIGRATE are never told.
 *
 * A value is walked by counting what is still owed: an array of n owes n more values. So no depth is remembered and none
 * has to be bounded. Bulk strings are skipped by length. Streamed RESP3 values ($?, *?) were never sent by a server and are
 * taken for garbage. After a gap a message begins only at a change of direction: bytes inside of a string can look like
 * anything. */
#include "protocol/protocol.h"
#include "protocol/resp_word.h"

#include <ctype.h>

#define LINE_MAX  65536 /* inline commands and simple strings, as the server limits them */
#define COUNT_MAX (1 << 28)
#define BULK_MAX  (1ull << 40)
#define ENOUGH    1024 /* bytes of a command after which it is told without the rest */
#define ARGS_TOLD 16

struct half {
    u64 owed; /* values still to come of the running message */
};

struct resp {
    struct half half[2];
    bool server, keep_values;
    bool db_known, reply_off, reply_skip, reply_skip_next, switched;
    u32 db, db_before;
    u32 subscribed;
    u64 asked, answered;      /* requests that are answered, answers */
    u64 select_at, switch_at; /* number of the request whose answer decides; 0: none */
};

static struct parse_result result(enum parse_status status, size_t used, u64 skip)
{
    return (struct parse_result){ .status = status, .used = used, .skip = skip };
}

/* ---- lines and numbers ---- */

/* 1: *ret_line is the line without its end, *ret_used its length with it. 0: not whole yet. -1: no such line. */
static int line_read(struct slice in, struct slice *ret_line, size_t *ret_used)
{
    ptrdiff_t lf = slice_find(slice_head(in, LINE_MAX), '\n');
    if (lf < 0)
        return in.n < LINE_MAX ? 0 : -1;
    if (lf == 0 || in.p[lf - 1] != '\r')
        return -1;
    *ret_line = slice_head(in, (size_t)lf - 1);
    *ret_used = (size_t)lf + 1;
    return 1;
}

/* Length after a type byte: -1 is null. false: none */
static bool length_read(struct slice line, s64 *ret)
{
    u64 n;
    struct slice digits = slice_from(line, 1);
    if (slice_eq(digits, "-1"))
        return *ret = -1, true;
    if (slice_u64(digits, &n) || n > BULK_MAX)
        return false;
    return *ret = (s64)n, true;
}

/* How many values the one with this header owes, and how many bytes follow its line. false: no RESP */
static bool header_read(struct slice line, u64 *ret_owes, u64 *ret_bytes)
{
    s64 n = 0;
    *ret_owes = *ret_bytes = 0;
    if (!line.n)
        return false;
    switch (line.p[0]) {
    case '+':
    case '-':
    case ':':
    case '_':
    case ',':
    case '#':
    case '(':
        return true;
    case '$':
    case '=':
    case '!':
        *ret_bytes = length_read(line, &n) && n >= 0 ? (u64)n + 2 : 0;
        return *ret_bytes || n == -1;
    case '*':
    case '~':
    case '>':
        if (!length_read(line, &n) || n > COUNT_MAX)
            return false;
        *ret_owes = n > 0 ? (u64)n : 0;
        return true;
    case '%':
    case '|':
        if (!length_read(line, &n) || n > COUNT_MAX)
            return false;
        *ret_owes = n > 0 ? (u64)n * 2 : 0;
        *ret_owes += line.p[0] == '|'; /* attributes come before the value itself */
        return true;
    }
    return false;
}

/* Walks values from `in` until nothing is owed or the bytes end. *ret_over: bytes of the last string that lie beyond.
 * Returns the bytes walked, or -1 for garbage. */
static ptrdiff_t values_walk(struct slice in, u64 *owed, u64 *ret_over)
{
    size_t at = 0;
    *ret_over = 0;
    while (*owed) {
        struct slice line;
        size_t used;
        u64 owes, bytes;
        int r = line_read(slice_from(in, at), &line, &used);
        if (r == 0)
            break;
        if (r < 0 || !header_read(line, &owes, &bytes))
            return -1;
        at += used;
        *owed += owes - 1;
        if (bytes > in.n - at) {
            *ret_over = bytes - (in.n - at);
            return (ptrdiff_t)in.n;
        }
        at += bytes;
    }
    return (ptrdiff_t)at;
}

/* The rest of a message whose head was told. */
static struct parse_result parse_owed(struct half *h, struct slice in)
{
    u64 over;
    ptrdiff_t n = values_walk(in, &h->owed, &over);
    if (n < 0)
        return result(PARSE_BAD, 0, 0);
    if (!h->owed)
        return result(PARSE_DONE, (size_t)n, over);
    return n ? result(PARSE_SKIP, (size_t)n, over) : result(PARSE_MORE, 0, 0);
}

/* ---- commands ---- */

struct command {
    struct slice args[ARGS_TOLD]; /* as far as they were captured */
    u64 count;                    /* arguments in all, with the name */
    size_t n;                     /* of args */
    bool cut;                     /* the last one isn't whole */
};

static bool name_ok(struct slice s)
{
    if (!s.n || s.n > 32 || !isalpha(s.p[0]))
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum(s.p[i]) && !memchr("._-", s.p[i], 3)) /* strchr would find a NUL too */
            return false;
    return true;
}

static void upper(struct slice s, char *out, size_t size)
{
    size_t n = s.n < size ? s.n : size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = (char)toupper(s.p[i]);
    out[n] = 0;
}

static size_t text_put(char *out, size_t at, size_t size, const char *s, size_t n)
{
    n = at + n < size ? n : size - 1 - at;
    memcpy(out + at, s, n);
    return at + n;
}

static size_t arg_put(char *out, size_t at, size_t size, struct slice arg)
{
    bool plain = arg.n > 0;
    for (size_t i = 0; i < arg.n && plain; i++)
        plain = arg.p[i] > ' ' && arg.p[i] != '"' && arg.p[i] != 0x7f;
    if (!plain)
        at = text_put(out, at, size, "\"", 1);
    for (size_t i = 0; i < arg.n && at + 8 < size; i++) {
        char hex[8];
        bool odd = arg.p[i] < ' ' || arg.p[i] == 0x7f || arg.p[i] == '"' || arg.p[i] == '\\';
        size_t n = odd && !plain ? (size_t)snprintf(hex, sizeof(hex), "\\x%02x", arg.p[i]) : 1;
        at = text_put(out, at, size, n == 1 ? (const char *)arg.p + i : hex, n);
    }
    return plain ? at : text_put(out, at, size, "\"", 1);
}

static void tell_text(const struct resp *r, const struct command *c, const char *op, size_t named, bool secret, struct message *m)
{
    char text[512];
    size_t at = text_put(text, 0, sizeof(text), op, strlen(op));
    bool values = r->keep_values && !secret;
    size_t told = values ? c->n : (size_t)min_u64(c->count, ARGS_TOLD);
    for (size_t i = named; i < told; i++) {
        at = text_put(text, at, sizeof(text), " ", 1);
        at = values ? arg_put(text, at, sizeof(text), c->args[i]) : text_put(text, at, sizeof(text), "?", 1);
    }
    if (c->count > told || (values && c->cut))
        at = text_put(text, at, sizeof(text), " ...", 4);
    attr_str(&m->attrs, "db.query.text", slice_of(text, at));
}

static struct slice arg_at(const struct command *c, size_t i)
{
    return i < c->n ? c->args[i] : (struct slice){ (const u8 *)"", 0 };
}

/* CLIENT REPLY ON|OFF|SKIP; SKIP also silences the next command. */
static void reply_mode(struct resp *r, const struct command *c, struct message *m)
{
    bool skipped = r->reply_skip_next;
    r->reply_skip_next = false;
    if (slice_ieq(arg_at(c, 0), "CLIENT") && slice_ieq(arg_at(c, 1), "REPLY")) {
        struct slice how = arg_at(c, 2);
        if (slice_ieq(how, "ON"))
            r->reply_off = skipped = false;
        r->reply_off |= slice_ieq(how, "OFF");
        r->reply_skip_next = slice_ieq(how, "SKIP");
        skipped |= r->reply_skip_next;
    }
    if (r->reply_off || skipped)
        m->answers = 0;
}

static void select_db(struct resp *r, const struct command *c)
{
    u64 n;
    if (slice_ieq(arg_at(c, 0), "RESET")) {
        r->db_known = true;
        r->db = 0;
        r->subscribed = 0;
    } else if (slice_ieq(arg_at(c, 0), "SELECT")) {
        r->db_before = r->db_known ? r->db : UINT32_MAX;
        r->db_known = !slice_u64(arg_at(c, 1), &n) && n < UINT32_MAX;
        r->db = r->db_known ? (u32)n : 0;
        r->select_at = r->asked + 1;
    }
}

static void subscriptions(struct resp *r, const struct command *c, unsigned what, struct message *m)
{
    u64 channels = c->count - 1;
    if (what & WORD_SUBSCRIBE) {
        m->answers = (u16)min_u64(max_u64(channels, 1), UINT16_MAX);
        r->subscribed += (u32)channels;
    } else if (what & WORD_UNSUBSCRIBE) {
        u64 n = channels ? channels : max_u64(r->subscribed, 1);
        m->answers = (u16)min_u64(n, UINT16_MAX);
        r->subscribed -= (u32)min_u64(n, r->subscribed);
    }
}

/* Old servers know little of CLIENT and HELLO, and clients go on without. */
static void house(const struct command *c, unsigned what, struct message *m)
{
    static const char *const of_client[] = {
        "SETINFO", "SETNAME", "MAINT_NOTIFICATIONS", "TRACKING", "ID", "NO-EVICT", "NO-TOUCH"
    };
    m->silent = slice_ieq(arg_at(c, 0), "HELLO");
    for (size_t i = 0; i < ARRAY_LEN(of_client); i++)
        m->silent |= slice_ieq(arg_at(c, 0), "CLIENT") && slice_ieq(arg_at(c, 1), of_client[i]);
    m->no_span = m->silent || (what & WORD_HOUSE);
}

static void tell_command(struct resp *r, const struct command *c, struct message *m)
{
    char op[68];
    unsigned what = resp_word_of(c->args[0], NULL);
    size_t named = (what & WORD_CONTAINER) && c->n > 1 && name_ok(c->args[1]) ? 2 : 1;
    upper(c->args[0], op, 34);
    if (named == 2) {
        size_t n = strlen(op);
        op[n] = ' ';
        upper(c->args[1], op + n + 1, 33);
    }
    attr_str(&m->attrs, "db.system.name", slice_str("redis"));
    attr_str(&m->attrs, "db.operation.name", slice_str(op));
    snprintf(m->name, sizeof(m->name), "%s", op);
    tell_text(r, c, op, named, what & WORD_SECRET, m);
    if (r->db_known) {
        char db[12];
        snprintf(db, sizeof(db), "%u", r->db);
        attr_str(&m->attrs, "db.namespace", slice_str(db));
    }
    if (what & WORD_SCRIPT && c->n > 1)
        attr_str(&m->attrs, "db.stored_procedure.name", slice_head(c->args[1], 64));
    house(c, what, m);
    select_db(r, c);
    subscriptions(r, c, what, m);
    reply_mode(r, c, m);
    r->asked += m->answers;
    if (what & WORD_SWITCH)
        r->switch_at = r->asked;
}

/* Reads the arguments that are there. *ret_at: bytes read; *ret_over: bytes of the last one beyond. -1 garbage, 0 the
 * command isn't whole, 1 it is. */
static int command_read(struct slice in, struct command *c, size_t *ret_at, u64 *ret_over)
{
    struct slice line;
    size_t at, used;
    s64 n;
    int r = line_read(in, &line, &at);
    *c = (struct command){ 0 };
    *ret_over = *ret_at = 0;
    if (r <= 0)
        return r;
    if (!length_read(line, &n) || n > COUNT_MAX)
        return -1;
    c->count = n > 0 ? (u64)n : 0;
    for (u64 i = 0; i < c->count; i++) {
        *ret_at = at;
        r = line_read(slice_from(in, at), &line, &used);
        if (r <= 0)
            return r;
        if (line.p[0] != '$' || !length_read(line, &n) || n < 0)
            return -1;
        at += used;
        struct slice arg = slice_head(slice_from(in, at), (size_t)n);
        c->cut = arg.n < (size_t)n;
        if (c->n < ARGS_TOLD)
            c->args[c->n++] = arg;
        if ((u64)n + 2 > in.n - at) {
            *ret_over = (u64)n + 2 - (in.n - at);
            *ret_at = in.n;
            return 0;
        }
        at += (size_t)n + 2;
    }
    *ret_at = at;
    return 1;
}

/* A command that goes on beyond the bytes at hand, told with what there is. */
static struct parse_result command_partly(struct resp *r, const struct command *c, size_t at, u64 over, struct message *m)
{
    u64 read = c->n; /* arguments begun; all of them counted only up to ARGS_TOLD, the walk does the rest */
    if (!c->n || !name_ok(c->args[0]) || (c->cut && c->n == 1) || read == ARGS_TOLD)
        return result(PARSE_MORE, 0, 0);
    tell_command(r, c, m);
    r->half[SIDE_REQUEST].owed = c->count - read;
    return r->half[SIDE_REQUEST].owed ? result(PARSE_HEAD, at, over) : result(PARSE_MESSAGE, at, over);
}

/* More arguments than are told: the first ones are in `c`; what follows is walked. */
static struct parse_result command_long(struct resp *r, struct slice in, struct command *c, struct message *m)
{
    u64 over, owed = 1;
    ptrdiff_t n = values_walk(in, &owed, &over);
    if (n < 0 || !name_ok(c->args[0]))
        return result(PARSE_BAD, 0, 0);
    tell_command(r, c, m);
    r->half[SIDE_REQUEST].owed = owed;
    return result(owed ? PARSE_HEAD : PARSE_MESSAGE, (size_t)n, over);
}

static struct parse_result parse_inline(struct resp *r, struct slice in, struct message *m)
{
    ptrdiff_t lf = slice_find(slice_head(in, LINE_MAX), '\n');
    if (lf < 0)
        return result(in.n < LINE_MAX ? PARSE_MORE : PARSE_BAD, 0, 0);
    struct slice line = slice_head(in, (size_t)lf);
    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    struct command c = { 0 };
    for (size_t i = 0; i < line.n;) {
        size_t from = i;
        while (i < line.n && line.p[i] != ' ')
            i++;
        if (i > from && c.count++ < ARGS_TOLD)
            c.args[c.n++] = slice_of(line.p + from, i - from);
        i++;
    }
    if (!c.n)
        return result(PARSE_SKIP, (size_t)lf + 1, 0);
    if (!name_ok(c.args[0]))
        return result(PARSE_BAD, 0, 0);
    tell_command(r, &c, m);
    return result(PARSE_MESSAGE, (size_t)lf + 1, 0);
}

static struct parse_result parse_request(struct resp *r, struct slice in, bool cut, struct message *m)
{
    struct command c;
    size_t at;
    u64 over;
    if (!in.n)
        return result(PARSE_MORE, 0, 0);
    if (in.p[0] != '*')
        return cut ? result(PARSE_MORE, 0, 0) : parse_inline(r, in, m);
    int whole = command_read(in, &c, &at, &over);
    if (whole < 0 || (c.n && !c.cut && !name_ok(c.args[0])))
        return result(PARSE_BAD, 0, 0);
    if (whole && !c.count)
        return result(PARSE_SKIP, at, 0); /* an empty command is no command */
    if (whole) {
        tell_command(r, &c, m);
        return result(PARSE_MESSAGE, at, 0);
    }
    if (!cut && in.n < ENOUGH)
        return result(PARSE_MORE, 0, 0);
    return c.n == ARGS_TOLD ? command_long(r, in, &c, m) : command_partly(r, &c, at, over, m);
}

/* ---- answers ---- */

static void tell_error(struct resp *r, struct slice text, struct message *m)
{
    size_t n = 0;
    while (n < text.n && n < 32 && (isupper(text.p[n]) || isdigit(text.p[n]) || text.p[n] == '_'))
        n++;
    bool prefix = n > 0 && (n == text.n || text.p[n] == ' ');
    struct slice code = prefix ? slice_head(text, n) : slice_str("ERR");
    m->error_type = attr_text(&m->attrs, code);
    attr_str(&m->attrs, "db.response.status_code", code);
    if (r->keep_values)
        m->error_message = attr_text(&m->attrs, slice_head(text, 256));
}

static bool is_one_of(struct slice s, const char *const *words)
{
    for (; *words; words++)
        if (slice_eq(s, *words))
            return true;
    return false;
}

/* What a push or, while subscribed, an array is: its first element. 1 a confirmation, 0 a message, -1 not known yet. */
static int push_kind(struct slice rest, bool push)
{
    static const char *const confirm[] = { "subscribe",    "psubscribe",   "ssubscribe", "unsubscribe",
                                           "punsubscribe", "sunsubscribe", NULL };
    static const char *const messages[] = { "message", "pmessage", "smessage", NULL };
    struct slice line;
    size_t used;
    s64 n;
    int r = line_read(rest, &line, &used);
    if (r <= 0)
        return r < 0 ? !push : -1;
    if (line.p[0] != '$' || !length_read(line, &n) || n < 0 || n > 32)
        return !push;
    struct slice word = slice_from(rest, used);
    if (word.n < (size_t)n)
        return -1;
    word = slice_head(word, (size_t)n);
    return push ? is_one_of(word, confirm) : !is_one_of(word, messages);
}

static struct parse_result answered(struct resp *r, struct parse_result res, bool failed, bool interim)
{
    if (interim)
        return res;
    r->answered++;
    if (r->select_at && r->answered == r->select_at) {
        r->select_at = 0;
        if (failed) {
            r->db_known = r->db_before != UINT32_MAX;
            r->db = r->db_before;
        }
    }
    r->switched = r->switch_at && r->answered == r->switch_at;
    return res;
}

static struct parse_result parse_answer(struct resp *r, struct slice in, struct message *m)
{
    struct slice line;
    size_t used;
    u64 owes, over, owed = 1;
    if (!in.n)
        return result(PARSE_MORE, 0, 0);
    if (!strchr("+-:$*_,#!=%(~>|", in.p[0]) || !in.p[0])
        return result(PARSE_BAD, 0, 0);
    int whole = line_read(in, &line, &used);
    if (whole <= 0)
        return result(whole < 0 ? PARSE_BAD : PARSE_MORE, 0, 0);
    if (!header_read(line, &owes, &over))
        return result(PARSE_BAD, 0, 0);
    bool push = in.p[0] == '>';
    if (push || (r->subscribed && in.p[0] == '*')) {
        int kind = push_kind(slice_from(in, used), push);
        if (kind < 0)
            return result(PARSE_MORE, 0, 0);
        m->interim = !kind;
    }
    if (in.p[0] == '!' && in.n < used + min_u64(over, 64))
        return result(PARSE_MORE, 0, 0);
    ptrdiff_t n = values_walk(in, &owed, &over);
    if (n < 0)
        return result(PARSE_BAD, 0, 0);
    bool failed = in.p[0] == '-' || in.p[0] == '!';
    if (failed)
        tell_error(r, in.p[0] == '-' ? slice_from(line, 1) : slice_head(slice_from(in, used), 256), m);
    r->half[SIDE_RESPONSE].owed = owed;
    return answered(r, result(owed ? PARSE_HEAD : PARSE_MESSAGE, (size_t)n, over), failed, m->interim);
}

/* ---- the contract ---- */

static struct parse_result resp_parse(void *st, enum side side, struct slice in, struct message *m)
{
    struct resp *r = st;
    if (r->half[side].owed)
        return parse_owed(&r->half[side], in);
    if (r->switched)
        return result(PARSE_SWITCH, 0, 0);
    return side == SIDE_REQUEST ? parse_request(r, in, false, m) : parse_answer(r, in, m);
}

static struct parse_result resp_cut(void *st, enum side side, struct slice in, struct message *m)
{
    struct resp *r = st;
    return side == SIDE_REQUEST && !r->half[side].owed ? parse_request(r, in, true, m) : result(PARSE_MORE, 0, 0);
}

static bool command_begins(struct slice in)
{
    struct command c;
    size_t at;
    u64 over;
    bool known = false;
    if (!in.n || in.p[0] != '*' || command_read(in, &c, &at, &over) < 0 || !c.n || (c.cut && c.n == 1))
        return false;
    resp_word_of(c.args[0], &known);
    return known;
}

static ptrdiff_t resp_resync(void *st, enum side side, struct slice in, u64 lost, bool run)
{
    struct resp *r = st;
    struct slice line;
    size_t used;
    u64 owes, bytes;
    bool answer = side == SIDE_RESPONSE && line_read(in, &line, &used) > 0 && header_read(line, &owes, &bytes);
    if (!run || !(answer || (side == SIDE_REQUEST && command_begins(in))))
        return -1;
    r->half[side].owed = 0;
    r->db_known = r->db_known && side == SIDE_RESPONSE && !r->select_at; /* a SELECT may be among the lost */
    return 0;
}

static void resp_settle(void *st)
{
    struct resp *r = st;
    r->db_known = r->db_known && !r->select_at;
    r->answered = r->asked;
    r->select_at = r->switch_at = 0;
}

/* A command mistyped, or of a module or a server that we don't know. */
static bool is_word(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum(s.p[i]) && !(i && strchr("._-", s.p[i])))
            return false;
    return s.n > 0 && s.n <= 32 && isalpha(s.p[0]);
}

static enum sniff sniff_command(struct slice head)
{
    struct command c;
    size_t at;
    u64 over;
    bool known = false;
    int r = command_read(head, &c, &at, &over);
    if (r < 0 || (r > 0 && !c.count))
        return SNIFF_NO;
    if (!c.n || (c.n == 1 && c.cut))
        return head.n > 64 ? SNIFF_NO : SNIFF_MAYBE;
    resp_word_of(c.args[0], &known);
    return known ? SNIFF_REQUEST : is_word(c.args[0]) ? SNIFF_FORM : SNIFF_NO;
}

static enum sniff sniff_text(struct slice head, const char *const *texts, enum sniff is)
{
    bool maybe = false;
    for (; *texts; texts++) {
        size_t n = strlen(*texts);
        if (head.n >= n && !memcmp(head.p, *texts, n))
            return is;
        maybe |= head.n < n && !memcmp(head.p, *texts, head.n);
    }
    return maybe ? SNIFF_MAYBE : SNIFF_NO;
}

static enum sniff sniff_bulk(struct slice head)
{
    struct slice line;
    size_t used;
    s64 n;
    int r = line_read(slice_head(head, 24), &line, &used);
    if (r == 0)
        return head.n < 24 && (head.n < 2 || isdigit(head.p[1]) || head.p[1] == '-') ? SNIFF_MAYBE : SNIFF_NO;
    return r > 0 && length_read(line, &n) ? SNIFF_RESPONSE : SNIFF_NO;
}

static enum sniff resp_sniff(struct slice head)
{
    static const char *const inlines[] = { "PING\r\n", "PING\n", "INFO\r\n", "QUIT\r\n", "COMMAND\r\n", "MONITOR\r\n", NULL };
    static const char *const answers[] = { "+OK\r\n",     "+PONG\r\n", "+QUEUED\r\n", "-ERR ",      "-NOAUTH ",
                                           "-WRONGTYPE ", "-MOVED ",   "-LOADING ",   "-NOSCRIPT ", "-WRONGPASS ",
                                           "-READONLY ",  "-MISCONF ", NULL };
    if (!head.n)
        return SNIFF_MAYBE;
    if (head.p[0] == '*')
        return sniff_command(head);
    if (head.p[0] == '$')
        return sniff_bulk(head);
    if (head.p[0] == '+' || head.p[0] == '-')
        return sniff_text(head, answers, SNIFF_RESPONSE);
    return sniff_text(head, inlines, SNIFF_REQUEST);
}

static void resp_init(void *st, const struct session *s)
{
    struct resp *r = st;
    r->server = s->server;
    r->keep_values = s->privacy.keep_values;
    r->db_known = !s->joined;
}

const struct protocol protocol_resp = {
    .name = "resp",
    .state_size = sizeof(struct resp),
    .want = 4096,
    .sniff = resp_sniff,
    .init = resp_init,
    .parse = resp_parse,
    .cut = resp_cut,
    .resync = resp_resync,
    .settle = resp_settle,
    .eof = NULL,
};
