/* needs: base */
#include "base/table.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct drops {
    u32 n[3];
    u64 last_key;
};

static void on_drop(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    struct drops *d = arg;
    d->n[cause]++;
    memcpy(&d->last_key, key, sizeof(d->last_key));
}

static struct table *make(struct drops *d, u32 max)
{
    return table_new(&(struct table_spec){ .key_size = 8, .value_size = 24, .max = max, .drop = on_drop, .arg = d });
}

static void oldest_goes_first_and_use_saves(void **state)
{
    struct drops d = { 0 };
    struct table *t = make(&d, 3);
    bool fresh;
    for (u64 k = 1; k <= 3; k++) {
        assert_non_null(table_put(t, &k, &fresh));
        assert_true(fresh);
    }
    u64 k = 1;
    assert_non_null(table_get(t, &k)); /* 2 is now the oldest */
    k = 2;
    assert_non_null(table_peek(t, &k)); /* and a look does not save it */
    k = 4;
    assert_non_null(table_put(t, &k, NULL));
    assert_int_equal(d.n[TABLE_EVICTED], 1);
    assert_int_equal(d.last_key, 2);
    assert_int_equal(table_evicted(t), 1);
    k = 2;
    assert_null(table_get(t, &k));
    assert_false(table_del(t, &k));
    k = 4;
    assert_true(table_del(t, &k));
    assert_int_equal(d.n[TABLE_DELETED], 1);
    assert_int_equal(table_count(t), 2);
    assert_null(table_free(t));
    assert_int_equal(d.n[TABLE_CLOSED], 2);
}

static void values_stay_put_and_start_zeroed(void **state)
{
    enum { N = 20000 };
    struct drops d = { 0 };
    struct table *t = make(&d, N);
    u64 **at = calloc(N, sizeof(*at));
    for (u64 k = 0; k < N; k++) {
        at[k] = table_put(t, &k, NULL);
        for (int w = 0; w < 3; w++)
            assert_int_equal(at[k][w], 0);
        at[k][0] = at[k][2] = k ^ 0x5555;
    }
    for (u64 k = 0; k < N; k++) {
        assert_ptr_equal(table_get(t, &k), at[k]);
        assert_int_equal(at[k][2], k ^ 0x5555);
    }
    u64 k = 77;
    table_del(t, &k);
    u64 *again = table_put(t, &k, NULL);
    assert_int_equal(again[0] | again[1] | again[2], 0);
    free(at);
    table_free(t);
}

static bool delete_even(void *arg, const void *key, void *value)
{
    u64 k;
    memcpy(&k, key, sizeof(k));
    if (k % 2 == 0)
        assert_true(table_del(arg, &k));
    return true;
}

static bool ascending(void *arg, const void *key, void *value)
{
    u64 k, *last = arg;
    memcpy(&k, key, sizeof(k));
    assert_true(k > *last && k % 2);
    *last = k;
    return k < 51;
}

static void walks_oldest_first_and_may_delete(void **state)
{
    struct drops d = { 0 };
    struct table *t = make(&d, 100);
    for (u64 k = 1; k <= 100; k++)
        table_put(t, &k, NULL);
    table_each(t, delete_even, t);
    assert_int_equal(table_count(t), 50);
    u64 last = 0;
    table_each(t, ascending, &last);
    assert_int_equal(last, 51);
    table_free(t);
}

/* A random history against the plainest model of the same thing: an array ordered by last use. */
static void agrees_with_a_model(void **state)
{
    enum { MAX = 50, KEYS = 120 };
    struct drops d = { 0 };
    struct table *t = make(&d, MAX);
    u64 model[MAX], n = 0, rng = 12345, evicted = 0;
    for (int step = 0; step < 200000; step++) {
        rng = hash_u64(rng + 1);
        u64 key = rng % KEYS, op = (rng >> 32) % 8, pos = n;
        for (u64 i = 0; i < n; i++)
            if (model[i] == key)
                pos = i;
        bool had = pos < n;
        if (op == 0) {
            assert_int_equal(table_del(t, &key), had);
        } else if (op < 3) {
            assert_int_equal(table_get(t, &key) != NULL, had);
        } else {
            bool fresh;
            u64 *v = table_put(t, &key, &fresh);
            assert_int_equal(fresh, !had);
            assert_int_equal(v[1], fresh ? 0 : key + 1);
            v[1] = key + 1;
        }
        if (had)
            memmove(&model[pos], &model[pos + 1], (--n - pos) * sizeof(model[0]));
        if (op >= 3 && n == MAX) {
            assert_int_equal(d.last_key, model[0]);
            memmove(model, model + 1, --n * sizeof(model[0]));
            evicted++;
        }
        if (op >= 3 || (op && had))
            model[n++] = key;
        assert_int_equal(table_count(t), n);
        assert_int_equal(table_evicted(t), evicted);
    }
    assert_true(evicted > 1000);
    table_free(t);
}

static struct table *busy;
static void drop_uses_table(void *arg, const void *key, void *value, enum table_drop_cause cause)
{
    u64 k;
    memcpy(&k, key, sizeof(k));
    assert_null(table_peek(busy, &k));
    k += 1000;
    if (cause != TABLE_CLOSED)
        table_put(busy, &k, NULL); /* may find no room; must not corrupt */
}

static void a_drop_callback_may_use_the_table(void **state)
{
    busy = table_new(&(struct table_spec){ .key_size = 8, .value_size = 8, .max = 4, .drop = drop_uses_table });
    for (u64 k = 0; k < 5; k++)
        table_put(busy, &k, NULL);
    assert_true(table_count(busy) <= 4);
    busy = table_free(busy);
}

static void odd_sizes_work_and_bad_specs_do_not(void **state)
{
    assert_null(table_new(&(struct table_spec){ .key_size = 0, .max = 1 }));
    assert_null(table_new(&(struct table_spec){ .key_size = 4, .max = 0 }));
    struct table *t = table_new(&(struct table_spec){ .key_size = 5, .value_size = 40000, .max = 3 });
    for (int i = 0; i < 10; i++) {
        u8 *v = table_put(t, (u8[]){ 1, 2, 3, 4, (u8)i }, NULL);
        assert_int_equal((uintptr_t)v % 8, 0);
        memset(v, i, 40000);
    }
    assert_int_equal(table_count(t), 3);
    assert_int_equal(((u8 *)table_get(t, (u8[]){ 1, 2, 3, 4, 9 }))[39999], 9);
    table_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(oldest_goes_first_and_use_saves),   cmocka_unit_test(values_stay_put_and_start_zeroed),
        cmocka_unit_test(walks_oldest_first_and_may_delete), cmocka_unit_test(agrees_with_a_model),
        cmocka_unit_test(a_drop_callback_may_use_the_table), cmocka_unit_test(odd_sizes_work_and_bad_specs_do_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
