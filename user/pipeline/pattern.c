/* PCRE2 behind four functions. Compiled just in time where the machine can; PCRE2 itself looks for the bytes that a match must
 * have before it tries, so a pattern with a literal in it costs little where there is none. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "pipeline/pattern.h"
#include "pipeline/redact_scan.h"
#include "self/ledger.h"

#include <pcre2.h>

#define MATCH_LIMIT 100000 /* steps of one match; a hostile text must not stop the shard */
#define DEPTH_LIMIT 1000

struct pattern {
    pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
    char *names[PATTERN_GROUPS];
};

struct pattern *pattern_free(struct pattern *p)
{
    if (!p)
        return NULL;
    pcre2_match_context_free(p->limits);
    pcre2_match_data_free(p->data);
    pcre2_code_free(p->code);
    for (size_t i = 0; i < PATTERN_GROUPS; i++)
        free(p->names[i]);
    free(p);
    return NULL;
}

/* The name table: two bytes of number, then the name, entry by entry. */
static bool names_take(struct pattern *p)
{
    u32 n = 0, size = 0;
    PCRE2_SPTR table = NULL;
    pcre2_pattern_info(p->code, PCRE2_INFO_NAMECOUNT, &n);
    pcre2_pattern_info(p->code, PCRE2_INFO_NAMEENTRYSIZE, &size);
    pcre2_pattern_info(p->code, PCRE2_INFO_NAMETABLE, &table);
    for (u32 i = 0; i < n; i++) {
        u16 group = load_be16(table + i * size);
        if (group < PATTERN_GROUPS && !p->names[group] && !(p->names[group] = strdup((const char *)table + i * size + 2)))
            return false;
    }
    return true;
}

int pattern_new(const char *text, struct pattern **ret, char *err, size_t err_size)
{
    struct pattern *p = calloc(1, sizeof(*p));
    int code;
    size_t where;
    if (!p)
        return -ENOMEM;
    p->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C, &code, &where, NULL);
    if (!p->code) {
        char why[160];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof(why));
        snprintf(err, err_size, "pattern '%s', at character %zu: %s", text, where + 1, why);
        pattern_free(p);
        return -EINVAL;
    }
    (void)pcre2_jit_compile(p->code, PCRE2_JIT_COMPLETE); /* slower without: no error */
    p->data = pcre2_match_data_create(PATTERN_GROUPS, NULL);
    p->limits = pcre2_match_context_create(NULL);
    if (!p->data || !p->limits || !names_take(p)) {
        pattern_free(p);
        return -ENOMEM;
    }
    pcre2_set_match_limit(p->limits, MATCH_LIMIT);
    pcre2_set_depth_limit(p->limits, DEPTH_LIMIT);
    *ret = p;
    return 0;
}

size_t pattern_match(struct pattern *p, struct slice text, size_t from, struct slice ret[PATTERN_GROUPS])
{
    int n = pcre2_match(p->code, text.p, text.n, from, PCRE2_NO_UTF_CHECK, p->data, p->limits);
    if (n < 0) {
        if (n != PCRE2_ERROR_NOMATCH)
            ledger_add(pattern_too_costly, 1);
        return 0;
    }
    size_t groups = n ? (size_t)n : PATTERN_GROUPS;
    const size_t *at = pcre2_get_ovector_pointer(p->data);
    for (size_t i = 0; i < PATTERN_GROUPS; i++) {
        bool set = i < groups && at[2 * i] != PCRE2_UNSET && at[2 * i + 1] >= at[2 * i];
        ret[i] = set ? slice_of(text.p + at[2 * i], at[2 * i + 1] - at[2 * i]) : slice_of(NULL, 0);
    }
    return groups;
}

const char *pattern_group_name(const struct pattern *p, size_t i) { return i < PATTERN_GROUPS ? p->names[i] : NULL; }

size_t redact_pattern(struct pattern *p, char *text, size_t n, u32 *ret_n)
{
    struct slice g[PATTERN_GROUPS];
    for (size_t from = 0; from < n && pattern_match(p, slice_of(text, n), from, g);) {
        size_t start = (size_t)((const char *)g[0].p - text), end = start + g[0].n;
        if (end <= start) { /* an empty match hides nothing */
            from = end + 1;
            while (from < n && ((u8)text[from] & 0xc0) == 0x80)
                from++;
            continue;
        }
        size_t before = n;
        n = redact_replace(text, n, start, end, "[redacted]");
        from = end - (before - n);
        ++*ret_n;
    }
    return n;
}
