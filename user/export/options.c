/* What the command line says about the spool, and numbers with units. */
#include "export/exporter.h"

#define BAD(...) (snprintf(err, err_size, __VA_ARGS__), -EINVAL)

/* --- numbers with units --- */

static int number_with_unit(struct slice text, const char *const *units, const u64 *factors, size_t n_units, u64 *ret)
{
    size_t digits = 0;
    u64 n;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    if (slice_u64(slice_head(text, digits), &n))
        return -EINVAL;
    for (size_t i = 0; i < n_units; i++)
        if (slice_ieq(slice_from(text, digits), units[i]) && n && n <= UINT64_MAX / factors[i]) {
            *ret = n * factors[i];
            return 0;
        }
    return -EINVAL;
}

int export_size_parse(struct slice text, u64 *ret)
{
    static const char *const unit[] = { "", "b", "kb", "k", "mb", "m", "gb", "g" };
    static const u64 factor[] = { 1, 1, 1 << 10, 1 << 10, 1 << 20, 1 << 20, 1 << 30, 1 << 30 };
    return number_with_unit(text, unit, factor, ARRAY_LEN(unit), ret);
}

int export_age_parse(struct slice text, u64 *ret_ns)
{
    static const char *const unit[] = { "", "s", "m", "h", "d" };
    static const u64 factor[] = { NSEC_PER_SEC, NSEC_PER_SEC, 60 * NSEC_PER_SEC, 3600 * NSEC_PER_SEC, 86400 * NSEC_PER_SEC };
    return number_with_unit(text, unit, factor, ARRAY_LEN(unit), ret_ns);
}

/* --- the spool --- */

static int fsync_parse(struct slice text, enum spool_fsync *ret)
{
    static const char *const names[] = { "never", "segment", "always" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (slice_eq(text, names[i])) {
            *ret = (enum spool_fsync)i;
            return 0;
        }
    return -EINVAL;
}

static int spool_item(struct slice key, struct slice value, struct spool_options *o)
{
    if (slice_eq(key, "max"))
        return export_size_parse(value, &o->max_bytes);
    if (slice_eq(key, "age"))
        return export_age_parse(value, &o->max_age_ns);
    return slice_eq(key, "fsync") ? fsync_parse(value, &o->fsync) : -EINVAL;
}

int export_spool_parse(char *text, struct spool_options *ret, char *err, size_t err_size)
{
    struct spool_options o = { 0 };
    char *save = NULL, *dir = strtok_r(text, ",", &save);
    if (!dir)
        return BAD("--spool: name a directory: DIR[,max=256MB][,age=1d][,fsync=never|segment|always]");
    o.dir = dir;
    for (char *item; (item = strtok_r(NULL, ",", &save));) {
        char *eq = strchr(item, '=');
        if (!eq || spool_item(slice_of(item, (size_t)(eq - item)), slice_str(eq + 1), &o))
            return BAD("--spool: '%.60s' is none of max=256MB, age=1d, fsync=never|segment|always", item);
    }
    *ret = o;
    return 0;
}
