/* needs: base */
/* Conditions over plain values; patterns, against the C library's fnmatch on every pattern and text of a small alphabet. */
#include "base/condition.h"

#include <fnmatch.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* The number-th word over an alphabet, shortest first. */
static void word_make(unsigned number, const char *alphabet, char *ret)
{
    unsigned n = (unsigned)strlen(alphabet);
    char *end = ret;
    for (; number; number = (number - 1) / n)
        *end++ = alphabet[(number - 1) % n];
    *end = 0;
}

static void like_fnmatch(void **state)
{
    UNUSED(state);
    unsigned plain = 0;
    for (unsigned i = 0; i < 60000; i++) {
        char pattern[16], text[16];
        word_make(i, "ab*?@(|)", pattern);
        if (!like_plain(pattern))
            continue;
        plain++;
        for (unsigned k = 0; k < 127; k++) {
            word_make(k, "ab", text);
            bool want = !fnmatch(pattern, text, FNM_EXTMATCH);
            if (like(pattern, slice_str(text)) != want)
                fail_msg("%s on %s: not %d", pattern, text, want);
        }
    }
    assert_true(plain > 3000);
}

static void like_words(void **state)
{
    UNUSED(state);
    static const struct {
        const char *pattern, *text;
        bool yes;
    } t[] = {
        { "langgraph.pregel.main:Pregel.*invoke", "langgraph.pregel.main:Pregel.ainvoke", true },
        { "langgraph.pregel.main:Pregel.*invoke", "langgraph.pregel.main:Pregel.stream", false },
        { "*.@(Exclusive|Inclusive)Gateway", "a.b.InclusiveGateway", true },
        { "*.@(Exclusive|Inclusive)Gateway", "a.b.Gateway", false },
        { "STEP_@(SUCCESS|FAILURE|UP_FOR_RETRY)", "STEP_UP_FOR_RETRY", true },
        { "STEP_@(SUCCESS|FAILURE|UP_FOR_RETRY)", "STEP_UP_FOR_RETRY2", false },
        { "?*", "", false },
        { "*/.*", "x/.y", true },
        { "*a*b*@(c|cd)*e", "xxaxxbxxcdxxcdeexe", true },
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++) {
        assert_true(like_plain(t[i].pattern));
        assert_int_equal(like(t[i].pattern, slice_str(t[i].text)), t[i].yes);
        assert_int_equal(!fnmatch(t[i].pattern, t[i].text, FNM_EXTMATCH), t[i].yes);
    }
    static const char *const others[] = { "[ab]", "a\\*", "@(a", "@(a|@(b))", "+(a)",  "@(a)@(b)",
                                          "a|b",  "a)",   "(a)", "@(a(b)",    "@(|a)", "@(a|*)" };
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(like_plain(others[i]));
}

/* A text of a hostile program and a pattern with many stars: no search without end. */
static void like_long(void **state)
{
    UNUSED(state);
    static char text[512];
    memset(text, 'a', sizeof(text));
    assert_false(like("*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", slice_of(text, sizeof(text))));
    assert_false(like("*a*a*a@(a|aa|b)*a*a*a*a*a*b", slice_of(text, sizeof(text))));
    assert_true(like("*a*a*a*a*", slice_of(text, sizeof(text))));
}

static void met(void **state)
{
    UNUSED(state);
    static const struct plain_value none = { .type = PLAIN_NONE }, yes = { .type = PLAIN_BOOL, .i = 1 },
                                    seven = { .type = PLAIN_INT, .i = 7 }, half = { .type = PLAIN_DOUBLE, .d = 7.5 },
                                    least = { .type = PLAIN_INT, .i = INT64_MIN };
    const struct plain_value word = { .type = PLAIN_TEXT, .text = slice_str("seven") },
                             cut = { .type = PLAIN_TEXT, .text = slice_of("sev\0en", 6) }, empty = { .type = PLAIN_TEXT };
    const struct {
        struct condition is;
        const struct plain_value *v;
        int want;
    } t[] = {
        { { TEST_EQ, .null = true }, &none, 1 },
        { { TEST_NE, .null = true }, &none, 0 },
        { { TEST_NE, .null = true }, &word, 1 },
        { { TEST_EQ, .value = 0 }, &none, 0 },
        { { TEST_NE, .value = 0 }, &none, 1 },
        { { TEST_LT, .value = 9 }, &none, 0 },
        { { TEST_UNLIKE, .text = "*" }, &none, 1 },
        { { TEST_LIKE, .text = "*" }, &none, 0 },
        { { TEST_EQ, .value = 1 }, &yes, 1 },
        { { TEST_EQ, .text = "true" }, &yes, 1 },
        { { TEST_LIKE, .text = "t*" }, &yes, 1 },
        { { TEST_GT, .value = 6 }, &seven, 1 },
        { { TEST_EQ, .text = "7" }, &seven, 1 },
        { { TEST_NE, .text = "07" }, &seven, 1 },
        { { TEST_EQ, .text = "-9223372036854775808" }, &least, 1 },
        { { TEST_LT, .value = INT64_MAX }, &least, 1 },
        { { TEST_GT, .value = 7 }, &half, 1 },
        { { TEST_EQ, .value = 7 }, &half, 0 },
        { { TEST_EQ, .text = "7.5" }, &half, -1 },
        { { TEST_EQ, .value = 7 }, &word, 0 },
        { { TEST_NE, .value = 7 }, &word, 1 },
        { { TEST_GT, .value = 7 }, &word, 0 },
        { { TEST_EQ, .text = "sev" }, &cut, 1 },
        { { TEST_EQ, .text = "" }, &empty, 1 },
        { { TEST_LIKE, .text = "[s]*" }, &word, -1 },
        { { TEST_UNLIKE, .text = "s@(ix|even)" }, &word, 0 },
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        if (condition_met(&t[i].is, t[i].v) != t[i].want)
            fail_msg("row %zu: not %d", i, t[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(like_fnmatch),
        cmocka_unit_test(like_words),
        cmocka_unit_test(like_long),
        cmocka_unit_test(met),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
