/* Facts, stripped text and routes of anything; sizes chosen by the first byte. No literal may survive between quotes. */
#include "protocol/protocol.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n)
{
    struct sql_facts f;
    if (!n)
        return 0;
    size_t size = (size_t)p[0] * 8 + 1;
    u8 *copy = malloc(n);
    char *out = malloc(size);
    memcpy(copy, p + 1, n - 1);
    struct slice sql = slice_of(copy, n - 1);
    sql_facts_of(sql, &f);
    assert(strlen(f.summary) < sizeof(f.summary));
    size_t len = sql_strip_literals(sql, out, size);
    assert(len < size && !out[len]);
    len = route_of_path(sql, out, size);
    assert(len < size && !out[len]);
    free(out);
    free(copy);
    return 0;
}
