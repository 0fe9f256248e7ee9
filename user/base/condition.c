/* Conditions over plain values: see condition.h. */
#include "base/condition.h"

const char *const test_word[] = { [TEST_LT] = "<",  [TEST_LE] = "<=", [TEST_GT] = ">",   [TEST_GE] = ">=",
                                  [TEST_EQ] = "==", [TEST_NE] = "!=", [TEST_LIKE] = "~", [TEST_UNLIKE] = "!~" };

bool test_order(enum rule_test test, int order)
{
    switch (test) {
    case TEST_LT:
        return order < 0;
    case TEST_LE:
        return order <= 0;
    case TEST_GT:
        return order > 0;
    case TEST_GE:
        return order >= 0;
    case TEST_EQ:
        return order == 0;
    case TEST_NE:
        return order != 0;
    default:
        return false;
    }
}

bool like_plain(const char *p)
{
    const char *group = strstr(p, "@("), *close = group ? strchr(group, ')') : NULL;
    if (strpbrk(p, "[\\") || (group && !close))
        return false;
    for (const char *c = p; *c; c++) {
        bool inside = group && c >= group && c <= close;
        if (!inside && strchr("()|", *c))
            return false;
        if (inside && ((*c == '(' && c != group + 1) || (strchr("(|", *c) && strchr("|)*", c[1]))))
            return false; /* an alternative that may be empty is something else to glibc behind a `*` */
    }
    return true;
}

enum found { FOUND, NOT_HERE, NOWHERE }; /* NOWHERE: nor from any later byte of the text */

/* The pattern p … end, then the one that begins at `then` (NULL: none). A `*` that found nothing up to the end of the text ends the search
 * for those before it: without a group the time is that of one pass for each of them. */
static enum found match(const char *p, const char *end, const char *then, struct slice text)
{
    for (;; p++) {
        if (p == end && !then)
            return text.n ? NOT_HERE : FOUND;
        if (p == end)
            return match(then, then + strlen(then), NULL, text);
        if (*p == '@' && p + 1 < end && p[1] == '(') {
            const char *close = memchr(p, ')', (size_t)(end - p)), *bar = p + 1;
            for (const char *one; bar != close;) {
                one = bar + 1;
                bar = memchr(one, '|', (size_t)(close - one)) ?: close;
                if (match(one, bar, close + 1, text) == FOUND)
                    return FOUND;
            }
            return NOT_HERE;
        }
        if (*p == '*') {
            enum found how = NOT_HERE;
            for (size_t n = 0; n <= text.n && how == NOT_HERE; n++)
                how = match(p + 1, end, then, slice_from(text, n));
            return how == FOUND ? FOUND : NOWHERE;
        }
        if (!text.n)
            return NOWHERE;
        if (*p != '?' && (u8)*p != text.p[0])
            return NOT_HERE;
        text = slice_from(text, 1);
    }
}

bool like(const char *pattern, struct slice text) { return match(pattern, pattern + strlen(pattern), NULL, text) == FOUND; }

static int text_met(const struct condition *c, struct slice text)
{
    const u8 *nul = text.n ? memchr(text.p, 0, text.n) : NULL;
    text = nul ? slice_head(text, (size_t)(nul - text.p)) : text;
    if (c->test < TEST_LIKE)
        return test_order(c->test, !slice_eq(text, c->text));
    return like_plain(c->text) ? like(c->text, text) == (c->test == TEST_LIKE) : -1;
}

int condition_met(const struct condition *c, const struct plain_value *v)
{
    char room[32];
    if (c->null)
        return (v->type == PLAIN_NONE) == (c->test == TEST_EQ);
    if (v->type == PLAIN_NONE)
        return c->test == TEST_NE || c->test == TEST_UNLIKE;
    if (v->type == PLAIN_TEXT)
        return c->text ? text_met(c, v->text) : c->test == TEST_NE;
    if (v->type == PLAIN_DOUBLE)
        return c->text ? -1 : test_order(c->test, (v->d > (double)c->value) - (v->d < (double)c->value));
    if (!c->text)
        return test_order(c->test, (v->i > c->value) - (v->i < c->value));
    if (v->type == PLAIN_BOOL)
        return text_met(c, slice_str(v->i ? "true" : "false"));
    return text_met(c, slice_of(room, (size_t)snprintf(room, sizeof(room), "%lld", (long long)v->i)));
}
