/* needs: base */
/* Entries by owner: order, removal from every place, owners that come and go, random traffic against a plain count. */
#include "base/owners.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_order(void **state)
{
    UNUSED(state);
    struct owners *o = owners_new(8);
    struct owned x[4] = { 0 };
    for (int i = 0; i < 4; i++)
        assert_true(owners_add(o, 5, &x[i]));
    owners_remove(o, &x[1]);
    owners_remove(o, &x[1]);
    assert_true(owners_first(o, 5) == &x[0]);
    owners_remove(o, &x[0]);
    assert_true(owners_first(o, 5) == &x[2]);
    owners_remove(o, &x[3]);
    assert_true(owners_add(o, 5, &x[1]));
    owners_remove(o, &x[2]);
    assert_true(owners_first(o, 5) == &x[1]);
    owners_remove(o, &x[1]);
    assert_null(owners_first(o, 5));
    assert_null(owners_first(o, 6));
    owners_free(o);
}

static void test_many(void **state)
{
    UNUSED(state);
    enum { ENTRIES = 500, OWNERS = 40 };
    struct owners *o = owners_new(OWNERS);
    static struct owned x[ENTRIES];
    u32 dice = 1, held[OWNERS] = { 0 };
    for (int turn = 0; turn < 50000; turn++) {
        dice = dice * 1664525 + 1013904223;
        struct owned *at = &x[(dice >> 8) % ENTRIES];
        if (at->in) {
            held[at->owner]--;
            owners_remove(o, at);
        } else {
            u32 owner = (dice >> 20) % OWNERS;
            assert_true(owners_add(o, owner, at));
            held[owner]++;
        }
    }
    for (u32 owner = 0; owner < OWNERS; owner++) {
        for (struct owned *at; (at = owners_first(o, owner)); held[owner]--)
            owners_remove(o, at);
        assert_int_equal(held[owner], 0);
    }
    owners_free(o);
}

/* More owners than there is room for: the oldest is forgotten, its entries stay sound. */
static void test_forgotten_owner(void **state)
{
    UNUSED(state);
    struct owners *o = owners_new(1);
    struct owned a[2] = { 0 }, b = { 0 };
    assert_true(owners_add(o, 1, &a[0]));
    assert_true(owners_add(o, 1, &a[1]));
    assert_true(owners_add(o, 2, &b));
    assert_null(owners_first(o, 1));
    owners_remove(o, &a[0]);
    owners_remove(o, &a[1]);
    assert_true(owners_first(o, 2) == &b);
    owners_remove(o, &b);
    owners_free(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_order), cmocka_unit_test(test_many),
                                        cmocka_unit_test(test_forgotten_owner) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
