/* needs: base config trace self stream protocol ingest */
/* Fuzz target: rule files. Any bytes are a status and a message, never more. What is accepted must compile to a plan. */
#include "config/rules.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct rules r = { 0 };
    char err[2048];
    if (size > 65536)
        return 0;
    if (!rules_parse(&r, "fuzz", (const char *)data, size, err, sizeof(err))) {
        struct rule_plan plan;
        for (size_t i = 0; i < r.n; i++)
            if (rule_plan_make(&r.v[i], &plan, err, sizeof(err)))
                __builtin_trap();
    }
    rules_done(&r);
    return 0;
}
