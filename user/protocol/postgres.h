/* Inside of postgres*.c. */
#ifndef WF_PROTOCOL_POSTGRES_H
#define WF_PROTOCOL_POSTGRES_H

#include "protocol/protocol.h"

/* What a connection knows of its prepared statements: facts and text, in a ring of bytes that forgets the oldest. */
#define PG_STATEMENTS 64
#define PG_PORTALS    16
#define PG_TEXT       16384
struct pg_statement {
    u64 hash;  /* of its name; 0: free */
    u32 at, n; /* in text: summary, operation, collection, text, each with its NUL */
};
struct pg_portal {
    u64 hash;
    u64 statement; /* hash of its name */
};
struct pg_store {
    struct pg_statement statements[PG_STATEMENTS];
    struct pg_portal portals[PG_PORTALS];
    u32 next_statement, next_portal, head;
    char text[PG_TEXT];
};
void pg_store_parse(struct pg_store *s, struct slice name, struct slice sql, bool cut, bool keep_values);
void pg_store_bind(struct pg_store *s, struct slice portal, struct slice statement);
void pg_store_doubt(struct pg_store *s); /* requests were lost: the unnamed statement and the portals may be others now */
void pg_store_close(struct pg_store *s, char kind, struct slice name);
/* Tells the statement; false: not known (it was prepared before we came, or is forgotten). */
bool pg_tell_statement(const struct pg_store *s, struct slice name, struct message *m);
bool pg_tell_portal(const struct pg_store *s, struct slice portal, struct message *m);
void pg_tell_sql(struct slice sql, bool cut, bool keep_values, struct message *m);

/* Name of an SQLSTATE condition («unique_violation»), of its class («integrity_constraint_violation»), or NULL. */
const char *pg_condition(const char *sqlstate);

/* A well-formed run of messages? 1: at least one whole one, and what follows fits; 0: not known yet; -1: no. *ret_ready:
 * the last whole one is a ReadyForQuery at the very end. */
int pg_chain(struct slice in, const char *types, bool *ret_ready);
#define PG_FRONT_TYPES "QPBEDSCHFXdcfp"
#define PG_BACK_TYPES  "RKSZTDC123nstEINAGHWVcdv"

#endif
