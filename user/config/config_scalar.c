/* Texts → values: booleans and numbers as YAML 1.2's core schema has them, durations and sizes with their units. */
#include "config/config_internal.h"

#include <ctype.h>
#include <math.h>

bool config_scalar_bool(const char *text, bool *ret)
{
    static const char *const words[] = { "false", "False", "FALSE", "true", "True", "TRUE" };
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (!strcmp(text, words[i])) {
            *ret = i >= 3;
            return true;
        }
    return false;
}

bool config_scalar_int(const char *text, s64 *ret)
{
    bool minus = *text == '-';
    const char *p = text + (*text == '-' || *text == '+');
    int base = 10;
    if (p == text && p[0] == '0' && (p[1] == 'x' || p[1] == 'o')) {
        base = p[1] == 'x' ? 16 : 8;
        p += 2;
    }
    u64 v = 0;
    const char *digits = p;
    for (; isxdigit((u8)*p); p++) {
        int d = isdigit((u8)*p) ? *p - '0' : (*p | 0x20) - 'a' + 10;
        if (d >= base || __builtin_mul_overflow(v, (u64)base, &v) || __builtin_add_overflow(v, (u64)d, &v) || v > INT64_MAX)
            return false;
    }
    if (*p || p == digits)
        return false;
    *ret = minus ? -(s64)v : (s64)v;
    return true;
}

bool config_scalar_number(const char *text, double *ret)
{
    size_t n = strspn(text, "0123456789+-.eE");
    s64 whole;
    if (config_scalar_int(text, &whole)) {
        *ret = (double)whole;
        return true;
    }
    char *end = NULL;
    if (!n || text[n] || !strpbrk(text, "0123456789"))
        return false;
    *ret = strtod(text, &end);
    return !*end && isfinite(*ret);
}

static int with_unit(const char *text, const char *const *units, const u64 *factor, size_t n_units, s64 *ret)
{
    size_t digits = strspn(text, "0123456789");
    u64 n;
    if (!digits || slice_u64(slice_of(text, digits), &n))
        return -EINVAL;
    const char *unit = text + digits;
    unit += *unit == ' ';
    for (size_t i = 0; i < n_units; i++) {
        if (strcmp(unit, units[i]))
            continue;
        if (n > (u64)INT64_MAX / factor[i])
            return -ERANGE;
        *ret = (s64)(n * factor[i]);
        return 0;
    }
    return -EINVAL;
}

int config_read_duration(const char *text, s64 *ret_ms)
{
    static const char *const units[] = { "", "ms", "s", "m", "h", "d" };
    static const u64 factor[] = { 1, 1, 1000, 60000, 3600000, 86400000 };
    return with_unit(text, units, factor, ARRAY_LEN(units), ret_ms);
}

int config_read_size(const char *text, s64 *ret_bytes)
{
    static const char *const units[] = { "", "B", "KiB", "MiB", "GiB", "TiB", "kB", "KB", "MB", "GB", "TB" };
    static const u64 factor[] = { 1, 1, 1 << 10, 1 << 20, 1 << 30, 1ull << 40, 1000, 1000, 1000000, 1000000000, 1000000000000 };
    return with_unit(text, units, factor, ARRAY_LEN(units), ret_bytes);
}
