/* needs: base config trace self stream protocol ingest */
/* Fuzz target: rule files. Any bytes are a status and a message, never more. What is accepted must compile to a plan. */
#include "config/watch.h"

/* What the helper in Python processes is told: no field of a line may hold a tab or a line's end. */
static void watches(const struct rules *r)
{
    struct watch_book book;
    char err[512];
    if (watch_book_make(r, &book, err, sizeof(err)))
        return;
    for (size_t i = 0; i < book.n; i++) {
        if (strpbrk(book.v[i].module, "\t\n") || strpbrk(book.v[i].function, "\t\n"))
            __builtin_trap();
        for (u8 k = 0; k < book.v[i].n_attrs; k++)
            if (strpbrk(book.v[i].attrs[k].expr, "\t\n"))
                __builtin_trap();
    }
    watch_book_done(&book);
}

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
        watches(&r);
        (void)rules_parse(&r, "again", (const char *)data, size, err, sizeof(err)); /* overrides meet packs */
    }
    rules_done(&r);
    return 0;
}
