/* What Redis commands mean for tracing. */
#ifndef WF_PROTOCOL_RESP_WORD_H
#define WF_PROTOCOL_RESP_WORD_H

#include "base/base.h"

enum resp_word {
    WORD_SECRET = 1,    /* arguments are never told */
    WORD_HOUSE = 2,     /* start-up and authentication: no span */
    WORD_CONTAINER = 4, /* the first argument belongs to the command's name */
    WORD_SUBSCRIBE = 8, /* one answer a channel */
    WORD_UNSUBSCRIBE = 16,
    WORD_SWITCH = 32, /* after the answer the connection is a feed */
    WORD_SCRIPT = 64, /* the first argument names a stored procedure */
};
/* Meaning of a command, any case; 0 for a plain one. *ret_known: it is a command of Redis or its modules. */
unsigned resp_word_of(struct slice command, bool *ret_known);

#endif
