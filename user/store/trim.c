/* Retention: whole traces, oldest first, by age and size; the resources that only they had. */
#include "store/internal.h"

#define TRIM_EVERY_NS   (10 * NSEC_PER_SEC)
#define TRIM_TRACES     256 /* at a time, when there is too much */
#define RESOURCES_LEAST 1000

u64 store_bytes(struct store *s)
{
    s64 pages = 0, free_pages = 0, size = 0;
    if (store_number(s, "PRAGMA page_count", &pages) || store_number(s, "PRAGMA freelist_count", &free_pages) ||
        store_number(s, "PRAGMA page_size", &size))
        return 0;
    return (u64)(pages - free_pages) * (u64)size;
}

/* Traces that started before `before`, oldest first, at most `most`. */
static int drop_oldest(struct store *s, u64 before, u32 most, u32 *ret_n)
{
    char sql[1024];
    snprintf(sql, sizeof(sql),
             "BEGIN IMMEDIATE;"
             "CREATE TEMP TABLE IF NOT EXISTS gone(id INTEGER PRIMARY KEY, start INTEGER);DELETE FROM gone;"
             "INSERT INTO gone SELECT id,start FROM traces WHERE start<%lld ORDER BY start LIMIT %u;"
             "DELETE FROM spans WHERE trace IN (SELECT id FROM gone);"
             "DELETE FROM traces WHERE id IN (SELECT id FROM gone);"
             "DELETE FROM logs WHERE time<=(SELECT max(start) FROM gone);"
             "COMMIT",
             (long long)min_u64(before, INT64_MAX), most);
    int code = store_exec(s, sql);
    if (code)
        (void)sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    s64 n = 0;
    if (!code)
        code = store_number(s, "SELECT count(*) FROM gone", &n);
    *ret_n = (u32)n;
    return code;
}

/* Descriptions of processes that no span or record is of any more. To find them everything is read, so that is done when they have
 * become twice as many as were left the last time. */
static int drop_resources(struct store *s)
{
    s64 n = 0;
    int code = store_number(s, "SELECT count(*) FROM resources", &n);
    if (code || n < s->resources_most)
        return code;
    code = store_exec(s, "DELETE FROM resources WHERE id NOT IN (SELECT resource FROM spans WHERE resource IS NOT NULL "
                         "UNION SELECT resource FROM logs WHERE resource IS NOT NULL)");
    if (!code)
        code = store_number(s, "SELECT count(*) FROM resources", &n);
    s->resources_most = 2 * n + RESOURCES_LEAST;
    return code;
}

int store_trim(struct store *s, u64 now)
{
    u32 n = TRIM_TRACES, rounds = 0;
    int code = 0;
    bool any = false;
    u64 bytes = store_bytes(s);
    if (bytes < s->max_bytes && now < s->next_trim && s->next_trim - now <= TRIM_EVERY_NS)
        return 0;
    s->next_trim = now + TRIM_EVERY_NS;
    u64 oldest = now > s->max_age_ns ? now - s->max_age_ns : 0;
    for (; !code && n == TRIM_TRACES && rounds<64; rounds++, any |= n> 0)
        code = drop_oldest(s, oldest, TRIM_TRACES, &n);
    for (n = 1; !code && n && rounds < 128 && (bytes = store_bytes(s)) > s->max_bytes; rounds++, any |= n > 0)
        code = drop_oldest(s, INT64_MAX, TRIM_TRACES, &n);
    if (any) {
        if (!code)
            code = drop_resources(s);
        (void)store_forget(s);
        (void)sqlite3_exec(s->db, "PRAGMA incremental_vacuum(256)", NULL, NULL, NULL);
    }
    return code;
}
