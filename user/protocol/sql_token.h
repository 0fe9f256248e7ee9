/* SQL as a run of tokens: enough of PostgreSQL's and MySQL's lexical rules to tell text that is a value from text that is
 * not. A statement is taken for MySQL's when a backquote stands outside of quotes: then backslashes escape, "…" is a string
 * and # begins a comment. Comments nest, as in PostgreSQL. Nothing is allocated; tokens borrow. */
#ifndef WF_PROTOCOL_SQL_TOKEN_H
#define WF_PROTOCOL_SQL_TOKEN_H

#include "base/base.h"

enum sql_kind {
    SQL_END,
    SQL_SPACE,   /* white space and comments */
    SQL_WORD,    /* bare identifier or keyword */
    SQL_NAME,    /* quoted identifier, with its quotes */
    SQL_LITERAL, /* string, number, bit string, dollar-quoted text */
    SQL_PARAM,   /* $1, ?, :name, %s */
    SQL_PUNCT,   /* one byte of anything else */
};
struct sql_token {
    enum sql_kind kind;
    struct slice text;
};
struct sql_lexer {
    struct slice in;
    size_t at;
    bool mysql;
};
struct sql_lexer sql_lexer_of(struct slice sql);
struct sql_token sql_next(struct sql_lexer *l); /* END for ever at the end; each other token has at least one byte */

#endif
