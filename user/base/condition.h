/* What a condition of a rule says of a value that came from Python. The tracer asks, and the bridge inside the process does so first,
 * lest a call be told of that no rule wants: one function, so that both say the same. */
#ifndef WF_BASE_CONDITION_H
#define WF_BASE_CONDITION_H

#include "base/base.h"

enum rule_test {
    TEST_NONE,
    TEST_EXCEPTION,
    TEST_ERRNO,
    TEST_LT,
    TEST_LE,
    TEST_GT,
    TEST_GE,
    TEST_EQ,
    TEST_NE,
    TEST_LIKE,
    TEST_UNLIKE
};
extern const char *const test_word[]; /* "<" …; NULL for those that compare nothing */

/* The right side: a text, null, or (neither) a number. */
struct condition {
    enum rule_test test;
    s64 value;
    const char *text;
    bool null;
};
enum plain_type { PLAIN_NONE, PLAIN_TEXT, PLAIN_INT, PLAIN_BOOL, PLAIN_DOUBLE };
struct plain_value {
    enum plain_type type;
    struct slice text;
    s64 i; /* INT, BOOL */
    double d;
};

bool test_order(enum rule_test test, int order); /* LT … NE, of a comparison's sign */
/* Where one side is a text, texts are compared (up to a NUL); else numbers. 1 or 0; -1 where that cannot be told here: a floating-point
 * number beside a text goes by the locale, and a pattern may be none of like_plain(). */
int condition_met(const struct condition *c, const struct plain_value *v);

/* Patterns with any `*` and `?` and at most one `@(a|b)` of words that don't begin with `*`: what like() takes, byte by byte, as fnmatch(FNM_EXTMATCH) does in the C locale.
 * (musl's fnmatch knows no alternatives, and glibc's goes by the locale of the program that it is in.) */
bool like_plain(const char *pattern);
bool like(const char *pattern, struct slice text);

#endif
