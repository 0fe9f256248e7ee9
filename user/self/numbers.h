/* What wftrace tells of itself: the ledger, and what the system says of its process. */
#ifndef WF_SELF_NUMBERS_H
#define WF_SELF_NUMBERS_H

#include "base/base.h"

enum self_type { SELF_COUNTER, SELF_UPDOWN, SELF_GAUGE };
struct self_number {
    const char *name, *unit, *help; /* static or interned; numbers of one name stand together */
    enum self_type type;
    bool is_double;
    union {
        s64 i;
        double d;
    };
    const char *key, *value; /* one attribute, or NULL */
};
/* At most `max` of them: every row of the ledger as wftrace.<name>, then wftrace's own process.*. */
size_t self_numbers(struct self_number *v, size_t max);

#endif
