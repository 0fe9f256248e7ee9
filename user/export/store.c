/* store[:FILE][?size=1G&age=7d]: into the embedded store. One connection for each signal; SQLite arranges the two. */
#include "export/exporter.h"
#include "store/store.h"

/* "2G" "500M" "100k" → bytes; "7d" "12h" "30m" "90s" → ns. 0: wrong. */
static u64 amount(struct slice text, const char *units, const u64 *factor)
{
    u64 v, by = 1;
    if (!text.n)
        return 0;
    const char *unit = strchr(units, text.p[text.n - 1]);
    if (unit && *unit) {
        by = factor[unit - units];
        text.n--;
    }
    return slice_u64(text, &v) || v > INT64_MAX / by ? 0 : v * by;
}

static int option_take(struct store_options *o, struct slice item, char *err, size_t err_size)
{
    static const u64 bytes[] = { 1ull << 10, 1ull << 20, 1ull << 30, 1ull << 10, 1ull << 20, 1ull << 30 };
    static const u64 ns[] = { NSEC_PER_SEC, 60 * NSEC_PER_SEC, 3600 * NSEC_PER_SEC, 86400 * NSEC_PER_SEC };
    bool size = slice_starts(item, "size="), age = slice_starts(item, "age=");
    if (size)
        o->max_bytes = amount(slice_from(item, 5), "kMGKmg", bytes);
    if (age)
        o->max_age_ns = amount(slice_from(item, 4), "smhd", ns);
    if ((size && o->max_bytes >= 1 << 20) || (age && o->max_age_ns))
        return 0;
    snprintf(err, err_size, "store: '%.*s' is not size=500M (1M or more) or age=7d", (int)min_u64(item.n, 60),
             (const char *)item.p);
    return -EINVAL;
}

static int options_take(char *target, struct store_options *o, char *err, size_t err_size)
{
    char *query = strchr(target, '?');
    o->path = target;
    if (!query)
        return 0;
    *query++ = 0;
    for (struct slice rest = slice_str(query); rest.n;) {
        ptrdiff_t end = slice_find(rest, '&');
        int code = option_take(o, end < 0 ? rest : slice_head(rest, (size_t)end), err, err_size);
        if (code)
            return code;
        rest = end < 0 ? slice_of(NULL, 0) : slice_from(rest, (size_t)end + 1);
    }
    return 0;
}

static int store_lane_open(const struct export_spec *spec, void **ret, char *err, size_t err_size)
{
    char target[sizeof(spec->target)];
    struct store_options o = { 0 };
    struct store *s;
    memcpy(target, spec->target, sizeof(target));
    int code = options_take(target, &o, err, err_size);
    if (!code)
        code = store_open(&o, &s, err, err_size);
    if (!code)
        *ret = s;
    return code;
}

/* Full, busy: later perhaps; what cannot wait is counted by the queue. Damaged: never. */
static enum export_result store_lane_send(void *self, const struct batch *b, struct export_reply *ret)
{
    struct store *s = self;
    int code = b->signal == SIGNAL_LOGS ? store_add_logs(s, b->logs, b->n) : store_add_spans(s, b->spans, b->n);
    if (!code || code == -ENOSPC)
        (void)store_trim(s, clock_wall_ns()); /* a failure shows at the next write */
    if (!code)
        return EXPORT_OK;
    snprintf(ret->why, sizeof(ret->why), "%s (%s)", errno_name(code), store_why(s));
    return code == -EBADMSG || code == -EACCES ? EXPORT_DROP : EXPORT_RETRY;
}

static void store_lane_close(void *self) { store_close(self); }

const struct exporter exporter_store = {
    .name = "store",
    .help = "store[:FILE]              the embedded store, for wftrace show-traces; FILE?size=1G&age=7d bounds it",
    .signals = SIGNAL_BIT(SIGNAL_TRACES) | SIGNAL_BIT(SIGNAL_LOGS),
    .open = store_lane_open,
    .send = store_lane_send,
    .close = store_lane_close,
};
