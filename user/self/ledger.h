/* The ledger: one counter a line of ledger.def, added to from any thread, never reset. */
#ifndef WF_SELF_LEDGER_H
#define WF_SELF_LEDGER_H

#include "base/base.h"

enum ledger_id {
#define LEDGER(name, stage, help) LEDGER_##name,
#include "self/ledger.def"
#undef LEDGER
    LEDGER_MAX,
};

extern u64 ledger_count_[LEDGER_MAX];

#define ledger_add(name, n) ((void)__atomic_fetch_add(&ledger_count_[LEDGER_##name], (u64)(n), __ATOMIC_RELAXED))
/* A row by its number, for rows that stand in a fixed order. */
#define ledger_add_at(id, n) ((void)__atomic_fetch_add(&ledger_count_[(id)], (u64)(n), __ATOMIC_RELAXED))
#define ledger_get(name)     __atomic_load_n(&ledger_count_[LEDGER_##name], __ATOMIC_RELAXED)

struct ledger_row {
    const char *name, *stage, *help;
};
extern const struct ledger_row ledger_rows[LEDGER_MAX];

#endif
