/* needs: base self trace ingest protocol stream */
#include "protocol/protocol.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static void test_summaries(void **state)
{
    static const struct {
        const char *sql, *summary, *operation, *collection;
    } cases[] = {
        { "select * from users where id = 1", "SELECT users", "SELECT", "users" },
        { "SELECT * FROM songs, artists", "SELECT songs artists", "SELECT", "" },
        { "INSERT INTO shipping (a, b) SELECT x, y FROM orders o", "INSERT shipping SELECT orders", "INSERT", "" },
        { "SELECT d FROM (SELECT * FROM orders o JOIN customers c ON o.c = c.id) s", "SELECT SELECT orders customers", "SELECT",
          "" },
        { "update only public.\"Big Table\" set a = b from other where 1=1", "UPDATE public.\"Big Table\" other", "UPDATE", "" },
        { "delete from t using u where t.a = u.a", "DELETE t", "DELETE", "t" },
        { "with a as (select 1 from x), b as (select 2 from a) select * from a, b, c", "SELECT x SELECT SELECT c", "SELECT", "" },
        { "select extract(year from d), substring(n from 2) from t", "SELECT t", "SELECT", "t" },
        { "select a is distinct from b from t", "SELECT t", "SELECT", "t" },
        { "select * from t for update", "SELECT t", "SELECT", "t" },
        { "insert into t(a) values (1) on conflict (a) do update set a = 2", "INSERT t", "INSERT", "t" },
        { "create table if not exists app.events (id int)", "CREATE TABLE app.events", "CREATE", "app.events" },
        { "create unique index concurrently i on t (a)", "CREATE INDEX i", "CREATE", "i" },
        { "begin; select 1; commit", "BEGIN; SELECT; COMMIT", "BEGIN", "" },
        { "/* hi */ -- there\nselect 1", "SELECT", "SELECT", "" },
        { "explain analyze select * from t", "EXPLAIN SELECT t", "EXPLAIN", "t" },
        { "call do_it(1, 'x')", "CALL do_it", "CALL", "do_it" },
        { "select * from generate_series(1, 5)", "SELECT", "SELECT", "" },
        { "select `a` from `db`.`t`", "SELECT `db`.`t`", "SELECT", "`db`.`t`" },
        { "", "", "", "" },
        { "((((", "", "", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct sql_facts f;
        sql_facts_of(slice_str(cases[i].sql), &f);
        if (strcmp(f.summary, cases[i].summary))
            print_error("%s\n", cases[i].sql);
        assert_string_equal(f.summary, cases[i].summary);
        assert_string_equal(f.operation, cases[i].operation);
        assert_string_equal(f.collection, cases[i].collection);
    }
}

static void test_literals(void **state)
{
    static const struct {
        const char *sql, *text;
    } cases[] = {
        { "select 'it''s', 5, -1.5e-3, 0xFF from t", "select ?, ?, -?, ? from t" },
        { "select E'a\\'secret' , B'01', U&'x', $$dollar$$, $t$ a $$ b $t$, $1", "select ? , ?, ?, ?, ?, $1" },
        { "where a in (1, 2, 'three') and b in ($1,$2)", "where a in (?) and b in ($1)" },
        { "select 1 -- secret\n, 2 /* secret /* nested */ secret */ from t1", "select ? , ? from t1" },
        { "select 'never ends", "select ?" },
        { "select \"Quoted Name\", col1, t2.c3 from t2", "select \"Quoted Name\", col1, t2.c3 from t2" },
        { "select `a` from t where b = \"secret\" # secret\n", "select `a` from t where b = ?" },
        { "select `a`, 'x\\'secret'", "select `a`, ?" },
        { "set password = 'secret'", "set password = ?" },
        { "select 1::int, x::text, :name", "select ?::int, x::text, :name" },
    };
    char out[256];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t n = sql_strip_literals(slice_str(cases[i].sql), out, sizeof(out));
        assert_string_equal(out, cases[i].text);
        assert_int_equal(n, strlen(cases[i].text));
        assert_null(strstr(out, "secret"));
    }
    assert_int_equal(sql_strip_literals(slice_str("select abcdef"), out, 10), 6); /* whole tokens */
    assert_string_equal(out, "select");
    assert_int_equal(sql_strip_literals(slice_str("select 1"), out, 0), 0);
}

static void test_routes(void **state)
{
    static const char *const cases[][2] = {
        { "/orders/8231/items/8f14e45fceea467f?x=1", "/orders/{id}/items/{id}" },
        { "/", "/" },
        { "/api/v1/users", "/api/v1/users" },
        { "/u/8f14e45f-ceea-467f-a1d4-91b2c3d4e5f6/x", "/u/{id}/x" },
        { "/mail/alice@example.com", "/mail/{id}" },
        { "/day/2024-05-06/report.pdf", "/day/{id}/report.pdf" },
        { "/s/V1StGXR8_Z5jdHi6B-myT", "/s/{id}" },
        { "/o/order-12345", "/o/{id}" },
        { "/files/a%20b", "/files/{id}" },
        { "/index.html;jsessionid=1", "/index.html" },
        { "/deadbeef/cafe", "/deadbeef/cafe" },
        { "/a/b/c/d/e/f/g/h/i/j", "/a/b/c/d/e/f/g/h/*" },
        { "/internationalization/settings", "/internationalization/settings" },
        { "no-slash", "" },
    };
    char out[128];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        route_of_path(slice_str(cases[i][0]), out, sizeof(out));
        assert_string_equal(out, cases[i][1]);
    }
    assert_int_equal(route_of_path(slice_str("/orders/8231"), out, 10), 7); /* no half placeholder */
    assert_string_equal(out, "/orders");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_summaries), cmocka_unit_test(test_literals),
                                        cmocka_unit_test(test_routes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
