/* Prepared statements and portals of one connection, and the names of error conditions. */
#include "protocol/postgres.h"

static u64 name_hash(struct slice name) { return hash_bytes(name.p, name.n, 0x77667467) | 1; }

static struct pg_statement *statement_find(const struct pg_store *s, u64 hash)
{
    for (size_t i = 0; i < PG_STATEMENTS; i++)
        if (s->statements[i].hash == hash)
            return (struct pg_statement *)&s->statements[i];
    return NULL;
}

/* Room for n bytes at the head; who lay there is forgotten. */
static u32 text_room(struct pg_store *s, u32 n)
{
    if (s->head + n > PG_TEXT)
        s->head = 0;
    u32 at = s->head;
    for (size_t i = 0; i < PG_STATEMENTS; i++) {
        struct pg_statement *t = &s->statements[i];
        if (t->hash && t->at < at + n && at < t->at + t->n)
            t->hash = 0;
    }
    s->head += n;
    return at;
}

#define TEXT_ONE 1536

static size_t sql_text(struct slice sql, bool cut, bool keep_values, char *out, size_t size)
{
    if (!keep_values)
        return sql_strip_literals(sql, out, size);
    size_t n = sql.n < size ? sql.n : size - 1;
    while (n && n < sql.n && (sql.p[n] & 0xc0) == 0x80)
        n--;
    memcpy(out, sql.p, n);
    out[n] = 0;
    UNUSED(cut);
    return n;
}

static char *pack(char *to, const char *from)
{
    size_t n = strlen(from) + 1;
    memcpy(to, from, n);
    return to + n;
}

void pg_store_parse(struct pg_store *s, struct slice name, struct slice sql, bool cut, bool keep_values)
{
    struct sql_facts f;
    char text[TEXT_ONE];
    u64 hash = name_hash(name);
    sql_facts_of(sql, &f);
    sql_text(sql, cut, keep_values, text, sizeof(text));
    u32 n = (u32)(strlen(f.summary) + strlen(f.operation) + strlen(f.collection) + strlen(text) + 4);
    struct pg_statement *t = statement_find(s, hash);
    if (t)
        t->hash = 0;
    u32 at = text_room(s, n);
    if (!t)
        t = statement_find(s, 0);
    if (!t)
        t = &s->statements[s->next_statement++ % PG_STATEMENTS];
    *t = (struct pg_statement){ hash, at, n };
    pack(pack(pack(pack(s->text + at, f.summary), f.operation), f.collection), text);
}

static struct pg_portal *portal_find(const struct pg_store *s, u64 hash)
{
    for (size_t i = 0; i < PG_PORTALS; i++)
        if (s->portals[i].hash == hash)
            return (struct pg_portal *)&s->portals[i];
    return NULL;
}

void pg_store_bind(struct pg_store *s, struct slice portal, struct slice statement)
{
    u64 hash = name_hash(portal);
    struct pg_portal *p = portal_find(s, hash);
    if (!p)
        p = portal_find(s, 0);
    if (!p)
        p = &s->portals[s->next_portal++ % PG_PORTALS];
    *p = (struct pg_portal){ hash, name_hash(statement) };
}

void pg_store_close(struct pg_store *s, char kind, struct slice name)
{
    u64 hash = name_hash(name);
    struct pg_statement *t = kind == 'S' ? statement_find(s, hash) : NULL;
    struct pg_portal *p = kind == 'P' ? portal_find(s, hash) : NULL;
    if (t)
        t->hash = 0;
    if (p)
        p->hash = 0;
}

/* Named statements stay: clients number them, so a name once seen means the same. */
void pg_store_doubt(struct pg_store *s)
{
    pg_store_close(s, 'S', slice_str(""));
    memset(s->portals, 0, sizeof(s->portals));
}

static void tell(const char *summary, const char *operation, const char *collection, const char *text, struct message *m)
{
    if (summary[0]) {
        snprintf(m->name, sizeof(m->name), "%s", summary);
        attr_str(&m->attrs, "db.query.summary", slice_str(summary));
    }
    bool one = !strchr(summary, ';'); /* of several statements neither name describes the call */
    if (operation[0] && one)
        attr_str(&m->attrs, "db.operation.name", slice_str(operation));
    if (collection[0] && one)
        attr_str(&m->attrs, "db.collection.name", slice_str(collection));
    if (text[0])
        attr_str(&m->attrs, "db.query.text", slice_str(text));
}

static bool tell_hash(const struct pg_store *s, u64 hash, struct message *m)
{
    const struct pg_statement *t = statement_find(s, hash);
    if (!t)
        return false;
    const char *summary = s->text + t->at, *operation = summary + strlen(summary) + 1;
    const char *collection = operation + strlen(operation) + 1;
    tell(summary, operation, collection, collection + strlen(collection) + 1, m);
    return true;
}

bool pg_tell_statement(const struct pg_store *s, struct slice name, struct message *m)
{
    return tell_hash(s, name_hash(name), m);
}

bool pg_tell_portal(const struct pg_store *s, struct slice portal, struct message *m)
{
    const struct pg_portal *p = portal_find(s, name_hash(portal));
    return p && tell_hash(s, p->statement, m);
}

void pg_tell_sql(struct slice sql, bool cut, bool keep_values, struct message *m)
{
    struct sql_facts f;
    char text[TEXT_ONE];
    sql_facts_of(sql, &f);
    sql_text(sql, cut, keep_values, text, sizeof(text));
    tell(f.summary, f.operation, f.collection, text, m);
}

/* PostgreSQL's appendix of error codes: what applications meet, and the classes of the rest. */
static const struct {
    char code[6];
    const char *name;
} conditions[] = {
    { "08", "connection_exception" },
    { "0A", "feature_not_supported" },
    { "21", "cardinality_violation" },
    { "22", "data_exception" },
    { "22001", "string_data_right_truncation" },
    { "22003", "numeric_value_out_of_range" },
    { "22007", "invalid_datetime_format" },
    { "22012", "division_by_zero" },
    { "22P02", "invalid_text_representation" },
    { "23", "integrity_constraint_violation" },
    { "23502", "not_null_violation" },
    { "23503", "foreign_key_violation" },
    { "23505", "unique_violation" },
    { "23514", "check_violation" },
    { "23P01", "exclusion_violation" },
    { "25", "invalid_transaction_state" },
    { "25006", "read_only_sql_transaction" },
    { "25P02", "in_failed_sql_transaction" },
    { "25P03", "idle_in_transaction_session_timeout" },
    { "26", "invalid_sql_statement_name" },
    { "28", "invalid_authorization_specification" },
    { "28P01", "invalid_password" },
    { "3D", "invalid_catalog_name" },
    { "3F", "invalid_schema_name" },
    { "40", "transaction_rollback" },
    { "40001", "serialization_failure" },
    { "40P01", "deadlock_detected" },
    { "42", "syntax_error_or_access_rule_violation" },
    { "42501", "insufficient_privilege" },
    { "42601", "syntax_error" },
    { "42703", "undefined_column" },
    { "42704", "undefined_object" },
    { "42883", "undefined_function" },
    { "42P01", "undefined_table" },
    { "42P07", "duplicate_table" },
    { "53", "insufficient_resources" },
    { "53300", "too_many_connections" },
    { "54", "program_limit_exceeded" },
    { "55", "object_not_in_prerequisite_state" },
    { "55P03", "lock_not_available" },
    { "57", "operator_intervention" },
    { "57014", "query_canceled" },
    { "57P01", "admin_shutdown" },
    { "57P03", "cannot_connect_now" },
    { "58", "system_error" },
    { "P0001", "raise_exception" },
    { "XX", "internal_error" },
};

const char *pg_condition(const char *sqlstate)
{
    const char *class = NULL;
    for (size_t i = 0; i < ARRAY_LEN(conditions); i++) {
        if (!strcmp(conditions[i].code, sqlstate))
            return conditions[i].name;
        if (strlen(conditions[i].code) == 2 && !strncmp(conditions[i].code, sqlstate, 2))
            class = conditions[i].name;
    }
    return class;
}

int pg_chain(struct slice in, const char *types, bool *ret_ready)
{
    size_t whole = 0;
    *ret_ready = false;
    for (size_t at = 0; at < in.n; whole++) {
        struct slice rest = slice_from(in, at);
        if (!rest.p[0] || !strchr(types, rest.p[0]) || (rest.n > 1 && rest.p[1] > 0x3f))
            return -1;
        if (rest.n < 5)
            return whole > 0;
        u32 len = load_be32(rest.p + 1);
        if (len < 4 || (rest.p[0] == 'Z' && len != 5))
            return -1;
        if (len > rest.n - 1)
            return whole > 0;
        *ret_ready = rest.p[0] == 'Z' && rest.n == 6 && strchr("ITE", rest.p[5]);
        if (rest.p[0] == 'Z' && !(rest.p[5] && strchr("ITE", rest.p[5])))
            return -1;
        at += 1 + (size_t)len;
    }
    return whole > 0;
}
