/* PostgreSQL's frontend / backend protocol 3, and its start-up.
 *
 * A span is a Query, or an Execute with the Parse and Bind that lead to it: it starts with the first message that belongs
 * to it. A Query ends with its ReadyForQuery, an Execute with its CommandComplete (or error): what lies between that and
 * Sync's ReadyForQuery is not its own. Preparing without executing, start-up and authentication are housekeeping: not
 * shown, unless they fail (a client that prepares first hears of a missing table there). After an error the server
 * drops everything up to Sync: Executes among that end with error.type `pipeline_aborted`.
 *
 * Names: db.query.summary; for statements prepared before we came, `postgresql`, with wftrace.db.statement = "unknown". 
 * db.namespace is the database of the start-up packet (the schema isn't told by the wire).
 *
 * Errors: error.type and db.response.status_code are the SQLSTATE. The message may quote values, so strict shows the
 * condition's name instead («unique_violation»); keep_values shows the message.
 *
 * What is owed: a ring of the messages that get an answer, so that each ParseComplete, BindComplete, CommandComplete and
 * ReadyForQuery finds the one it answers. */
#include "protocol/postgres.h"

#define OWED_MAX    1024
#define ENOUGH      2048 /* bytes of a statement after which it is told without the rest */
#define MESSAGE_MAX (1u << 30)
#define CODE_SSL    80877103u
#define CODE_GSS    80877104u
#define CODE_CANCEL 80877102u

enum owed {
    OWES_NOTHING,
    OWES_ENCRYPTION, /* SSLRequest, GSSENCRequest: one byte */
    OWES_START,
    OWES_QUERY,
    OWES_PARSE,
    OWES_BIND,
    OWES_DESCRIBE,
    OWES_CLOSE,
    OWES_EXECUTE,
    OWES_PREPARED, /* ours: the housekeeping of a prepare ends here */
    OWES_SYNC,
    OWES_CALL,
};

struct postgres {
    bool keep_values, server;
    bool preparing; /* a Parse that no Execute followed yet */
    bool dropping;  /* after an error, up to Sync */
    bool failed;    /* `error` holds for what ends next */
    bool rows_known;
    bool forgot;   /* since answers were lost and no feet found */
    bool midst;    /* some of the first owed answer was read */
    u8 encryption; /* answer to the request for it: S, G: this isn't our protocol any longer */
    u64 rows;
    char error[6], severity[8];
    char database[64];
    char preparing_name[64];
    u32 in, out;
    u8 owed[OWED_MAX];
    struct pg_store store;
};

static struct parse_result result(enum parse_status status, size_t used, u64 skip)
{
    return (struct parse_result){ .status = status, .used = used, .skip = skip };
}

static bool owe(struct postgres *p, enum owed o)
{
    if (p->in - p->out == OWED_MAX)
        return false;
    p->owed[p->in++ % OWED_MAX] = (u8)o;
    return true;
}
static enum owed owed_first(const struct postgres *p) { return p->in == p->out ? OWES_NOTHING : p->owed[p->out % OWED_MAX]; }
static void owed_pop(struct postgres *p) { p->out += p->in != p->out; }

/* A NUL-terminated string at `at`. false: its end isn't there */
static bool string_read(struct slice in, size_t at, struct slice *ret)
{
    struct slice rest = slice_from(in, at);
    ptrdiff_t nul = slice_find(rest, 0);
    if (nul < 0)
        return false;
    *ret = slice_head(rest, (size_t)nul);
    return true;
}

/* One typed message: its body as far as it was captured, and how much of it wasn't. */
struct packet {
    char type;
    struct slice body;
    size_t used; /* header and captured body */
    u64 missing;
};

/* 1, 0: header not whole, -1: none */
static int packet_read(struct slice in, const char *types, struct packet *ret)
{
    if (!in.n)
        return 0;
    if (!in.p[0] || !strchr(types, in.p[0]))
        return -1;
    if (in.n < 5)
        return 0;
    u32 len = load_be32(in.p + 1);
    if (len < 4 || len > MESSAGE_MAX)
        return -1;
    ret->type = (char)in.p[0];
    ret->body = slice_head(slice_from(in, 5), len - 4);
    ret->used = 5 + ret->body.n;
    ret->missing = len - 4 - ret->body.n;
    return 1;
}

/* ---- requests ---- */

static void tell_system(const struct postgres *p, struct message *m)
{
    attr_str(&m->attrs, "db.system.name", slice_str("postgresql"));
    if (p->database[0])
        attr_str(&m->attrs, "db.namespace", slice_str(p->database));
    if (!m->name[0])
        snprintf(m->name, sizeof(m->name), "postgresql");
}

static void house(const struct postgres *p, struct message *m, const char *name)
{
    snprintf(m->name, sizeof(m->name), "%s", name);
    tell_system(p, m);
    m->no_span = true;
}

static void read_database(struct postgres *p, struct slice params)
{
    struct slice key, value;
    for (size_t at = 0; string_read(params, at, &key) && key.n; at += key.n + value.n + 2) {
        if (!string_read(params, at + key.n + 1, &value))
            return;
        bool database = slice_eq(key, "database"), user = slice_eq(key, "user") && !p->database[0];
        if ((database || user) && value.n < sizeof(p->database)) {
            memcpy(p->database, value.p, value.n);
            p->database[value.n] = 0;
        }
    }
}

static struct parse_result parse_start(struct postgres *p, struct slice in, struct message *m)
{
    if (in.n < 8)
        return result(PARSE_MORE, 0, 0);
    u32 len = load_be32(in.p), code = load_be32(in.p + 4);
    bool start = code >> 16 == 3;
    if (len < 8 || len > 16384 || !(start || (code >= CODE_CANCEL && code <= CODE_GSS)))
        return result(PARSE_BAD, 0, 0);
    if (in.n < len)
        return result(PARSE_MORE, 0, 0);
    if (start)
        read_database(p, slice_head(slice_from(in, 8), len - 8));
    house(p, m, start ? "STARTUP" : code == CODE_CANCEL ? "CANCEL" : "ENCRYPTION");
    m->answers = code != CODE_CANCEL;
    if (m->answers && !owe(p, start ? OWES_START : OWES_ENCRYPTION))
        return result(PARSE_BAD, 0, 0);
    return result(PARSE_MESSAGE, len, 0);
}

static struct slice text_of(const struct packet *k, size_t at)
{
    struct slice s;
    return string_read(k->body, at, &s) ? s : slice_from(k->body, at);
}

static struct parse_result tell_query(struct postgres *p, const struct packet *k, struct message *m)
{
    pg_tell_sql(text_of(k, 0), k->missing > 0, p->keep_values, m);
    tell_system(p, m);
    return owe(p, OWES_QUERY) ? result(PARSE_MESSAGE, k->used, k->missing) : result(PARSE_BAD, 0, 0);
}

static struct parse_result next(struct postgres *p, const struct packet *k, enum owed o)
{
    if (o != OWES_NOTHING && !owe(p, o))
        return result(PARSE_BAD, 0, 0);
    return result(PARSE_NEXT, k->used, k->missing);
}

static struct parse_result take_parse(struct postgres *p, const struct packet *k)
{
    struct slice name;
    if (!string_read(k->body, 0, &name))
        return result(PARSE_BAD, 0, 0);
    pg_store_parse(&p->store, name, text_of(k, name.n + 1), k->missing > 0, p->keep_values);
    p->preparing = true;
    size_t n = name.n < sizeof(p->preparing_name) ? name.n : 0;
    memcpy(p->preparing_name, name.p, n);
    p->preparing_name[n] = 0;
    return next(p, k, OWES_PARSE);
}

static struct parse_result take_bind(struct postgres *p, const struct packet *k)
{
    struct slice portal, statement;
    if (!string_read(k->body, 0, &portal) || !string_read(k->body, portal.n + 1, &statement))
        return result(PARSE_BAD, 0, 0);
    pg_store_bind(&p->store, portal, statement);
    return next(p, k, OWES_BIND);
}

static struct parse_result take_close(struct postgres *p, const struct packet *k)
{
    struct slice name;
    if (k->body.n && string_read(k->body, 1, &name))
        pg_store_close(&p->store, (char)k->body.p[0], name);
    return next(p, k, OWES_CLOSE);
}

static struct parse_result tell_execute(struct postgres *p, const struct packet *k, struct message *m)
{
    struct slice portal;
    if (!string_read(k->body, 0, &portal))
        return result(PARSE_BAD, 0, 0);
    p->preparing = false;
    if (!pg_tell_portal(&p->store, portal, m))
        attr_str(&m->attrs, "wftrace.db.statement", slice_str("unknown"));
    tell_system(p, m);
    return owe(p, OWES_EXECUTE) ? result(PARSE_MESSAGE, k->used, k->missing) : result(PARSE_BAD, 0, 0);
}

/* Sync or Flush. Where a Parse stands without its Execute, the preparing is told first, and the message read again. */
static struct parse_result take_sync(struct postgres *p, const struct packet *k, struct message *m)
{
    if (p->preparing) {
        p->preparing = false;
        pg_tell_statement(&p->store, slice_str(p->preparing_name), m);
        tell_system(p, m);
        attr_str(&m->attrs, "wftrace.db.phase", slice_str("prepare"));
        m->no_span = true;
        return owe(p, OWES_PREPARED) ? result(PARSE_MESSAGE, 0, 0) : result(PARSE_BAD, 0, 0);
    }
    if (k->type == 'S' && !owe(p, OWES_SYNC))
        return result(PARSE_BAD, 0, 0);
    return result(PARSE_SKIP, k->used, k->missing);
}

static struct parse_result tell_call(struct postgres *p, const struct packet *k, struct message *m)
{
    snprintf(m->name, sizeof(m->name), "CALL");
    attr_str(&m->attrs, "db.operation.name", slice_str("CALL"));
    tell_system(p, m);
    return owe(p, OWES_CALL) ? result(PARSE_MESSAGE, k->used, k->missing) : result(PARSE_BAD, 0, 0);
}

static bool needs_more(const struct packet *k)
{
    switch (k->type) {
    case 'Q':
    case 'P':
        return k->missing && k->body.n < ENOUGH;
    case 'B':
    case 'E':
    case 'C':
        return k->missing && k->body.n < 256;
    case 'S':
    case 'H':
        return k->missing > 0;
    }
    return false;
}

static struct parse_result parse_request(struct postgres *p, struct slice in, bool cut, struct message *m)
{
    struct packet k;
    if (in.n && in.p[0] == 0)
        return cut ? result(PARSE_MORE, 0, 0) : parse_start(p, in, m);
    int r = packet_read(in, PG_FRONT_TYPES, &k);
    if (r <= 0)
        return result(r < 0 ? PARSE_BAD : PARSE_MORE, 0, 0);
    if (needs_more(&k) && !cut)
        return result(PARSE_MORE, 0, 0);
    switch (k.type) {
    case 'Q':
        return tell_query(p, &k, m);
    case 'P':
        return take_parse(p, &k);
    case 'B':
        return take_bind(p, &k);
    case 'D':
        return next(p, &k, OWES_DESCRIBE);
    case 'C':
        return take_close(p, &k);
    case 'E':
        return tell_execute(p, &k, m);
    case 'S':
    case 'H':
        return take_sync(p, &k, m);
    case 'F':
        return tell_call(p, &k, m);
    }
    return result(PARSE_SKIP, k.used, k.missing); /* copy data, passwords, Terminate */
}

/* ---- answers ---- */

static void tell_error(struct postgres *p, struct message *m, bool aborted)
{
    if (aborted) {
        m->error_type = "pipeline_aborted";
        return;
    }
    const char *name = pg_condition(p->error);
    m->error_type = attr_text(&m->attrs, slice_str(p->error));
    attr_str(&m->attrs, "db.response.status_code", slice_str(p->error));
    if (p->severity[0])
        attr_str(&m->attrs, "wftrace.postgresql.severity", slice_str(p->severity));
    if (!m->error_message)
        m->error_message = name;
}

/* The first one owed is answered: by `used` bytes, or by none when what was read before did it. */
static struct parse_result answer(struct postgres *p, struct message *m, size_t used, u64 skip)
{
    bool aborted = p->dropping && !p->failed;
    owed_pop(p);
    if (p->failed || aborted)
        tell_error(p, m, aborted);
    else if (p->rows_known)
        attr_int(&m->attrs, "db.response.returned_rows", (s64)p->rows);
    p->failed = p->rows_known = false;
    return result(PARSE_MESSAGE, used, skip);
}

/* Ends what needs no more bytes to end. false: nothing */
static bool settle(struct postgres *p, struct message *m, struct parse_result *ret)
{
    for (;;) {
        switch (owed_first(p)) {
        case OWES_PREPARED:
            *ret = answer(p, m, 0, 0);
            return true;
        case OWES_EXECUTE:
            if (!p->dropping)
                return false;
            *ret = answer(p, m, 0, 0);
            return true;
        case OWES_PARSE:
        case OWES_BIND:
        case OWES_DESCRIBE:
        case OWES_CLOSE:
            if (!p->dropping)
                return false;
            owed_pop(p);
            break;
        case OWES_SYNC:
            p->dropping = p->failed = false;
            return false;
        default:
            return false;
        }
    }
}

static void field_copy(char *out, size_t size, struct slice s)
{
    size_t n = s.n < size ? s.n : size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = s.p[i] >= ' ' && s.p[i] < 0x7f ? (char)s.p[i] : '?';
    out[n] = 0;
}

static void error_read(struct postgres *p, const struct packet *k, struct message *m)
{
    struct slice v;
    strcpy(p->error, "XX000");
    p->severity[0] = 0;
    for (size_t at = 0; at < k->body.n && k->body.p[at] && string_read(k->body, at + 1, &v); at += v.n + 2) {
        char field = (char)k->body.p[at];
        if (field == 'C' && v.n == 5)
            field_copy(p->error, sizeof(p->error), v);
        else if (field == 'V' || (field == 'S' && !p->severity[0]))
            field_copy(p->severity, sizeof(p->severity), v);
        else if (field == 'M' && p->keep_values)
            m->error_message = attr_text(&m->attrs, slice_head(v, 256));
    }
}

static struct parse_result take_error(struct postgres *p, const struct packet *k, struct message *m)
{
    enum owed o = owed_first(p);
    error_read(p, k, m);
    if (o == OWES_NOTHING)
        return result(PARSE_SKIP, k->used, k->missing);
    p->failed = true;
    if (o == OWES_START || o == OWES_ENCRYPTION || o == OWES_EXECUTE) {
        p->dropping = o == OWES_EXECUTE;
        struct parse_result r = answer(p, m, k->used, k->missing);
        return r;
    }
    p->dropping = o != OWES_QUERY && o != OWES_CALL && o != OWES_SYNC;
    return result(PARSE_NEXT, k->used, k->missing);
}

/* «SELECT 5», «FETCH 5»: rows that came back */
static void tag_read(struct postgres *p, struct slice tag)
{
    const u8 *sp = memrchr(tag.p, ' ', tag.n);
    bool rows = slice_starts(tag, "SELECT ") || slice_starts(tag, "FETCH ");
    if (rows && sp && !slice_u64(slice_from(tag, (size_t)(sp + 1 - tag.p)), &p->rows))
        p->rows_known = true;
}

static struct parse_result take_complete(struct postgres *p, const struct packet *k, struct message *m)
{
    struct slice tag;
    if (k->type == 'C' && string_read(k->body, 0, &tag))
        tag_read(p, tag);
    if (owed_first(p) == OWES_EXECUTE)
        return answer(p, m, k->used, k->missing);
    return result(owed_first(p) == OWES_NOTHING ? PARSE_SKIP : PARSE_NEXT, k->used, k->missing);
}

static struct parse_result take_ready(struct postgres *p, const struct packet *k, struct message *m)
{
    enum owed o = owed_first(p);
    p->dropping = false;
    if (o == OWES_QUERY || o == OWES_START || o == OWES_CALL)
        return answer(p, m, k->used, k->missing);
    if (o != OWES_NOTHING && o != OWES_SYNC)
        return result(PARSE_BAD, 0, 0);
    owed_pop(p);
    p->failed = p->rows_known = false;
    return result(PARSE_SKIP, k->used, k->missing);
}

static struct parse_result take_step(struct postgres *p, const struct packet *k, enum owed o)
{
    if (owed_first(p) == o)
        owed_pop(p);
    return result(p->in == p->out ? PARSE_SKIP : PARSE_NEXT, k->used, k->missing);
}

static struct parse_result parse_encryption(struct postgres *p, struct slice in, struct message *m)
{
    u8 c = in.p[0];
    if (c != 'S' && c != 'N' && c != 'G')
        return result(PARSE_BAD, 0, 0);
    p->encryption = c == 'N' ? 0 : c;
    return answer(p, m, 1, 0);
}

static struct parse_result parse_switch(const struct postgres *p)
{
    return (struct parse_result){ .status = PARSE_SWITCH, .switch_to = p->encryption == 'S' ? "tls" : NULL };
}

static struct parse_result dispatch(struct postgres *p, const struct packet *k, struct message *m)
{
    switch (k->type) {
    case 'E':
        return take_error(p, k, m);
    case 'C':
    case 'I':
    case 's':
        return take_complete(p, k, m);
    case 'Z':
        return take_ready(p, k, m);
    case '1':
        return take_step(p, k, OWES_PARSE);
    case '2':
        return take_step(p, k, OWES_BIND);
    case '3':
        return take_step(p, k, OWES_CLOSE);
    case 'T':
    case 'n':
        return take_step(p, k, OWES_DESCRIBE);
    }
    return result(p->in == p->out ? PARSE_SKIP : PARSE_NEXT, k->used, k->missing);
}

static struct parse_result parse_answer(struct postgres *p, struct slice in, bool cut, struct message *m)
{
    struct parse_result r;
    struct packet k;
    if (p->encryption)
        return parse_switch(p);
    if (settle(p, m, &r))
        return r;
    if (in.n && owed_first(p) == OWES_ENCRYPTION && in.p[0] != 'E')
        return parse_encryption(p, in, m);
    int whole = packet_read(in, PG_BACK_TYPES, &k);
    if (whole <= 0)
        return result(whole < 0 ? PARSE_BAD : PARSE_MORE, 0, 0);
    bool matters = k.type == 'C' || k.type == 'E' || k.type == 'Z';
    if (matters && k.missing && !cut && k.body.n < 4096)
        return result(PARSE_MORE, 0, 0);
    r = dispatch(p, &k, m);
    p->midst = r.status == PARSE_NEXT;
    return r;
}

/* ---- the contract ---- */

static struct parse_result postgres_parse(void *st, enum side side, struct slice in, struct message *m)
{
    struct postgres *p = st;
    return side == SIDE_REQUEST ? parse_request(p, in, false, m) : parse_answer(p, in, false, m);
}

static struct parse_result postgres_cut(void *st, enum side side, struct slice in, struct message *m)
{
    struct postgres *p = st;
    return side == SIDE_REQUEST ? parse_request(p, in, true, m) : parse_answer(p, in, true, m);
}

/* After lost answers the place in the ring is known only in the midst of the one answer that was asked for. */
static void owed_forget(struct postgres *p)
{
    u32 shown = 0, at = p->in;
    for (u32 i = p->out; i != p->in; i++) {
        u8 o = p->owed[i % OWED_MAX];
        if (o == OWES_QUERY || o == OWES_EXECUTE || o == OWES_START) {
            shown++;
            at = i;
        }
    }
    p->out = shown == 1 && p->midst ? at : p->in;
    p->failed = p->dropping = p->rows_known = p->midst = false;
}

static void postgres_settle(void *st)
{
    struct postgres *p = st;
    p->out = p->in;
    p->preparing = p->failed = p->dropping = p->rows_known = p->midst = false;
}

static ptrdiff_t postgres_resync(void *st, enum side side, struct slice in, u64 lost, bool run)
{
    struct postgres *p = st;
    bool ready;
    if (side == SIDE_REQUEST) {
        if (!run || pg_chain(in, PG_FRONT_TYPES, &ready) <= 0)
            return -1;
        pg_store_doubt(&p->store);
        p->preparing = false;
        return 0;
    }
    if (!p->forgot) /* what is asked while no feet are found is remembered */
        owed_forget(p);
    p->forgot = true;
    for (size_t i = 0; i + 6 <= in.n; i++) {
        bool end = in.p[i] && strchr("CEZIs", in.p[i]) && pg_chain(slice_from(in, i), PG_BACK_TYPES, &ready) > 0 && ready;
        if (end)
            return p->forgot = false, (ptrdiff_t)i;
    }
    if (!run || pg_chain(in, PG_BACK_TYPES, &ready) <= 0)
        return -1;
    p->forgot = false;
    return 0;
}

/* A FATAL error is the last word: no ReadyForQuery follows. */
static enum parse_status postgres_eof(void *st, enum side side, struct message *m)
{
    struct postgres *p = st;
    if (side == SIDE_REQUEST || !p->failed || p->in == p->out)
        return PARSE_MORE;
    return answer(p, m, 0, 0).status;
}

static bool printable(struct slice s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < ' ' && s.p[i] != '\n' && s.p[i] != '\t' && s.p[i] != '\r')
            return false;
    return s.n > 0;
}

static enum sniff sniff_start(struct slice head)
{
    if (head.n < 8)
        return head.n < 2 || head.p[1] == 0 ? SNIFF_MAYBE : SNIFF_NO;
    u32 len = load_be32(head.p), code = load_be32(head.p + 4);
    bool request = len == 8 && (code == CODE_SSL || code == CODE_GSS), cancel = len == 16 && code == CODE_CANCEL;
    bool start = code >> 16 == 3 && (code & 0xffff) < 16 && len > 8 && len <= 16384;
    return request || cancel || start ? SNIFF_REQUEST : SNIFF_NO;
}

/* A statement's text whose end isn't there yet. */
static bool statement_begins(struct slice head)
{
    struct slice name, text = slice_from(head, 5);
    if (head.n < 16 || head.p[1] || (head.p[0] != 'Q' && head.p[0] != 'P'))
        return false;
    if (head.p[0] == 'P') {
        if (!string_read(text, 0, &name) || (name.n && !printable(name)))
            return false;
        text = slice_from(text, name.n + 1);
    }
    return printable(slice_head(text, 32));
}

static enum sniff sniff_query(struct slice head)
{
    bool ready;
    if (!strchr("QPB", head.p[0]))
        return SNIFF_NO;
    int chain = pg_chain(head, PG_FRONT_TYPES, &ready);
    if (chain < 0)
        return SNIFF_NO;
    if (chain == 0)
        return statement_begins(head) ? SNIFF_REQUEST : SNIFF_MAYBE;
    struct packet k;
    bool text = packet_read(head, PG_FRONT_TYPES, &k) > 0 &&
                (k.type != 'Q' || (k.body.n > 1 && !k.body.p[k.body.n - 1] && printable(slice_head(k.body, k.body.n - 1))));
    return text ? SNIFF_REQUEST : SNIFF_NO;
}

static enum sniff postgres_sniff(struct slice head)
{
    bool ready;
    if (!head.n)
        return SNIFF_MAYBE;
    if (head.p[0] == 0)
        return sniff_start(head);
    enum sniff query = sniff_query(head);
    if (query == SNIFF_REQUEST)
        return query;
    int back = strchr("RT12ECZD3nt", head.p[0]) ? pg_chain(head, PG_BACK_TYPES, &ready) : -1;
    if (back > 0 && ready)
        return SNIFF_RESPONSE;
    return (back >= 0 && head.n < 1024) || query == SNIFF_MAYBE ? SNIFF_MAYBE : SNIFF_NO;
}

static void postgres_init(void *st, const struct session *s)
{
    struct postgres *p = st;
    p->server = s->server;
    p->keep_values = s->privacy.keep_values;
}

const struct protocol protocol_postgres = {
    .name = "postgres",
    .state_size = sizeof(struct postgres),
    .want = 4096,
    .sniff = postgres_sniff,
    .init = postgres_init,
    .parse = postgres_parse,
    .cut = postgres_cut,
    .resync = postgres_resync,
    .settle = postgres_settle,
    .eof = postgres_eof,
};
