/* Which call of which provider is it? Globs over paths and hosts, in the order of llm_api.def. */
#include "protocol/llm_internal.h"

#include <ctype.h>

static const struct {
    const char *host, *provider;
} hosts[] = {
#define LLM_HOST(h, p) { h, p },
#include "protocol/llm_api.def"
};

#define SURE true
#define HINT false
static const struct llm_api apis[] = {
#define LLM_API(p, who, what, d, s) { p, who, what, LLM_DIALECT_##d, s },
#include "protocol/llm_api.def"
};

/* `*`: any bytes; `{}`: one or more that are no slash, kept in *ret_part. Longest first. */
static bool glob(const char *g, struct slice s, struct slice *ret_part)
{
    for (; *g && *g != '*' && *g != '{'; g++, s = slice_from(s, 1))
        if (!s.n || tolower(s.p[0]) != tolower((u8)*g))
            return false;
    if (!*g)
        return !s.n;
    size_t fixed = strcspn(g + 1, "*{");
    if (*g == '*' && !g[1 + fixed]) /* the rest has no other place than the end */
        return s.n >= fixed && slice_ieq(slice_from(s, s.n - fixed), g + 1);
    bool part = *g == '{';
    size_t most = 0;
    while (most < s.n && (!part || s.p[most] != '/'))
        most++;
    for (size_t n = most + 1; n-- > (part ? 1 : 0);)
        if (glob(g + (part ? 2 : 1), slice_from(s, n), ret_part)) {
            if (part)
                *ret_part = slice_head(s, n);
            return true;
        }
    return false;
}

/* What stands after the last wildcard: nearly every path is told apart by its end. */
static bool ends_as(const char *g, struct slice s)
{
    const char *tail = g + strlen(g);
    while (tail > g && tail[-1] != '*' && tail[-1] != '}')
        tail--;
    size_t n = strlen(tail);
    return s.n >= n && slice_ieq(slice_from(s, s.n - n), tail);
}

#define PATH_MAX_BYTES 512

const struct llm_api *llm_api_of(struct slice path, struct slice *ret_model)
{
    if (path.n > PATH_MAX_BYTES)
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(apis); i++) {
        struct slice model = { 0 };
        if (!ends_as(apis[i].path, path) || !glob(apis[i].path, path, &model))
            continue;
        *ret_model = model;
        return &apis[i];
    }
    return NULL;
}

const char *llm_provider_of(struct slice host)
{
    struct slice none;
    if (!host.n)
        return NULL;
    ptrdiff_t colon = slice_find(host, ':');
    host = slice_head(host, colon < 0 ? host.n : (size_t)colon);
    for (size_t i = 0; i < ARRAY_LEN(hosts) && host.n < 256; i++)
        if (glob(hosts[i].host, host, &none))
            return hosts[i].provider;
    return NULL;
}
