#include "self/ledger.h"

u64 ledger_count_[LEDGER_MAX];

const struct ledger_row ledger_rows[LEDGER_MAX] = {
#define LEDGER(name, stage, help) [LEDGER_##name] = { #name, #stage, help },
#include "self/ledger.def"
#undef LEDGER
};
