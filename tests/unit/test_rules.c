/* needs: base config trace self stream protocol ingest */
/* Rules: the grammar of places, values and conditions; mistakes with line, column and suggestion. */
#include "config/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int parse(struct rules *r, const char *text, char *err, size_t size)
{
    memset(r, 0, sizeof(*r));
    return rules_parse(r, "r.yaml", text, strlen(text), err, size);
}

static void whole_rule(void **state)
{
    struct rules r;
    char err[1024];
    int code = parse(&r,
                     "activities:\n"
                     "  - name: \"order {id}\"\n"
                     "    type: workflow\n"
                     "    kind: server\n"
                     "    at: native:/bin/shop:ns::Cart::add(int, long)\n"
                     "    attributes: { id: \"arg0->16:str\", n: \"arg1.8->4:u16\", r: \"ret:i64\", e: errno, c: '\"fixed\"' }\n"
                     "    error: [ \"ret < 0\", exception, errno, 'attr.id == \"bad\"' ]\n"
                     "    when: arg1 > 0x10\n"
                     "    metrics: [ { counter: a.b }, { histogram: a.c, of: duration } ]\n",
                     err, sizeof(err));
    if (code)
        fail_msg("%s", err);
    assert_int_equal(r.n, 1);
    const struct rule *a = r.v;
    assert_string_equal(a->object, "/bin/shop");
    assert_string_equal(a->symbol, "ns::Cart::add(int, long)");
    assert_int_equal(a->kind, 2);
    assert_int_equal(a->n_attrs, 5);
    const struct source *id = &a->attrs[0].from, *n = &a->attrs[1].from;
    assert_true(id->root == SOURCE_ARG && id->n_steps == 1 && id->steps[0].load && id->steps[0].off == 16 &&
                id->type == TYPE_STR);
    assert_true(n->n_steps == 2 && !n->steps[0].load && n->steps[0].off == 8 && n->steps[1].load && n->size == 2);
    assert_string_equal(a->attrs[4].from.text, "fixed");
    assert_int_equal(a->n_errors, 4);
    assert_int_equal(a->errors[0].test, TEST_LT);
    assert_string_equal(a->errors[3].text, "bad");
    assert_int_equal(a->when[0].value, 16);
    assert_int_equal(a->n_metrics, 2);
    assert_non_null(r.sites);
    rules_done(&r);
}

/* A rule with one line replaced, and what must be said of it. */
static void mistakes(void **state)
{
    static const struct {
        const char *line, *says;
    } cases[] = {
        { "    typ: task", "r.yaml:4:5: unknown key «typ» (did you mean «type»?)" },
        { "    type: worflow", "r.yaml:4:11: type «worflow» is not known (did you mean «workflow»?)" },
        { "    kind: clent", "r.yaml:4:11: kind «clent» is not known (did you mean «client»?)" },
        { "    at: native:/b:f", "r.yaml:4:5: «at» is given twice" },
        { "    attributes: { a: arg0:st }", "r.yaml:4:27: type «st» is not known (did you mean «str»?)" },
        { "    attributes: { a: arg99 }", "there is no argument 99" },
        { "    attributes: { a: agr0 }", "r.yaml:4:22: value «agr0» is not known (did you mean «arg0»?)" },
        { "    attributes: { a: \"arg0->\" }", "r.yaml:4:29: an offset" },
        { "    attributes: { a: arg0.name }", "names are not supported yet" },
        { "    attributes: { a: arg0:bytes }", "bytes need a length" },
        { "    attributes: { a: \"ret:bytes(arg1)\" }", "arguments are gone" },
        { "    attributes: { a: ret:f64 }", "floating-point" },
        { "    attributes: { a: \"arg0->1->2->3->4->5\" }", "at most 4 steps" },
        { "    attributes: { a: 1, a: 2 }", "attribute «a» is given twice" },
        { "    attributes: { \"a b\": 1 }", "is no attribute name" },
        { "    attributes: [ a ]", "is a mapping" },
        { "    attributes: { a: exit }", "«exit» is not known" },
        { "    error: ret", "r.yaml:4:15: a comparison is missing" },
        { "    error: ret < ", "a number, null, true, false" },
        { "    error: ret < \"x\"", "~ and !~ only" },
        { "    error: 'ret == \"x\" y'", "«y» is not understood" },
        { "    error: attr.outcom == 1", "there is no attribute «outcom»" },
        { "    error: [ret<0, ret<1, ret<2, ret<3, ret<4, ret<5, ret<6]", "at most 6 conditions" },
        { "    when: ret < 0", "only arguments are known" },
        { "    until: p:e", "belongs to usdt:" },
        { "    metrics: [ { countr: x } ]", "unknown key «countr» (did you mean «counter»?)" },
        { "    metrics: [ { of: x } ]", "a metric needs" },
        { "    name: x", "«name» is given twice" },
        { "    attributes: { a: &x [ *x ] }", "takes a text" },
        { "\t- broken", "no valid YAML" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rules r;
        char text[512], err[1024];
        snprintf(text, sizeof(text), "activities:\n  - name: n\n    at: native:/b:f\n%s\n", cases[i].line);
        if (parse(&r, text, err, sizeof(err)) != -EINVAL || !strstr(err, cases[i].says))
            fail_msg("«%s» says: %s", cases[i].line, err);
        assert_int_equal(r.n, 0);
        rules_done(&r);
    }
}

static void places(void **state)
{
    static const struct {
        const char *at, *says;
    } cases[] = {
        { "natve:/b:f", "did you mean «native:»" },
        { "/bin/true", "is no place" },
        { "native:/b", "native:OBJECT:SYMBOL" },
        { "native::f", "is missing" },
        { "native:/b:", "symbol is missing" },
        { "usdt:/b:only", "PROVIDER:NAME" },
        { "usdt:/b::x", "provider is missing" },
        { "go:m.f", "not supported yet" },
        { "python:m", "python:MODULE:QUALNAME" },
        { "python:a/b.py:f", "with dots" },
        { "python:m:f g", "no blanks" },
        { "go:pkg.F", "not supported yet" },
        { "http:/x", "not supported yet" },
        { "exec:", "is missing" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rules r;
        char text[256], err[512];
        snprintf(text, sizeof(text), "activities:\n  - name: n\n    at: \"%s\"\n", cases[i].at);
        if (parse(&r, text, err, sizeof(err)) != -EINVAL || !strstr(err, cases[i].says) || !strstr(err, "r.yaml:3:"))
            fail_msg("«%s» says: %s", cases[i].at, err);
    }
}

static void several_at_once(void **state)
{
    struct rules r;
    char err[1024];
    assert_int_equal(
        parse(&r, "activities:\n  - nam: a\n    at: native:/b:f\n  - name: \"{x}\"\n    at: native:/b:f\n  - at: exec:a\n", err,
              sizeof(err)),
        -EINVAL);
    assert_non_null(strstr(err, "r.yaml:2:5: unknown key «nam»"));
    assert_non_null(strstr(err, "r.yaml:4:13: there is no attribute «x»"));
    assert_non_null(strstr(err, "r.yaml:6:5: «name» is missing"));
    char small[20];
    assert_int_equal(parse(&r, "activities: 3", small, sizeof(small)), -EINVAL);
    assert_int_equal(parse(&r, "", err, sizeof(err)), -EINVAL);
    assert_int_equal(parse(&r, "activities: []", err, sizeof(err)), -EINVAL);
    assert_int_equal(parse(&r, "a: &a [*a]\n", err, sizeof(err)), -EINVAL);
}

static void objects(void **state)
{
    assert_true(rule_object_matches("/usr/bin/x", "/usr/bin/x"));
    assert_false(rule_object_matches("/usr/bin/x", "/bin/x"));
    assert_true(rule_object_matches("x", "/usr/bin/x"));
    assert_false(rule_object_matches("x", "/usr/bin/xx"));
    assert_true(rule_object_matches("*", "/anything/at/all"));
    assert_true(rule_object_matches("py*", "/usr/bin/python3"));
    assert_true(rule_object_matches("/opt/*/bin/srv", "/opt/v1/bin/srv"));
    assert_true(rule_object_matches("libssl", "/usr/lib/libssl.so.3"));
    assert_true(rule_object_matches("libssl.so", "/usr/lib/libssl.so.3"));
    assert_false(rule_object_matches("libssl", "/usr/lib/libssl3.so"));
    assert_false(rule_object_matches("ssl", "/usr/lib/libssl.so.3"));
}

static void usdt_and_exec(void **state)
{
    struct rules r;
    char err[512];
    assert_int_equal(
        parse(&r,
              "activities:\n"
              "  - { name: j, at: \"usdt:/b:shop:start\", until: \"usdt:/b:shop:done\", attributes: { a: arg0 } }\n"
              "  - { name: k, at: \"usdt:/b:shop:start\", until: \"shop:done\" }\n"
              "  - { name: make, at: \"exec:make\", attributes: { j: \"argv[1]\", u: env.USER, c: exit }, error: exit != 0 }\n",
              err, sizeof(err)),
        0);
    assert_string_equal(r.v[0].end_symbol, "done");
    assert_string_equal(r.v[1].end_provider, "shop");
    assert_int_equal(r.v[2].attrs[0].from.arg, 1);
    assert_string_equal(r.v[2].attrs[1].from.text, "USER");
    size_t before = r.n;
    static const char more[] = "activities: [ {name: x, at: 'exec:y'} ]";
    assert_int_equal(rules_parse(&r, "two", more, strlen(more), err, sizeof(err)), 0);
    assert_int_equal(r.n, before + 1);
    assert_int_equal(r.v[3].id, 3);
    assert_int_equal(rules_parse(&r, "bad", "x: 1", 4, err, sizeof(err)), -EINVAL);
    assert_int_equal(r.n, before + 1);
    rules_done(&r);
    assert_int_equal(parse(&r, "activities: [ {name: j, at: 'usdt:/b:p:s', until: 'usdt:/c:p:e'} ]", err, sizeof(err)), -EINVAL);
    assert_non_null(strstr(err, "same object"));
    assert_int_equal(rules_load(&r, "/nonexistent.yaml", err, sizeof(err)), -ENOENT);
    assert_non_null(strstr(err, "/nonexistent.yaml"));
}

static void change(struct rules *r, const char *text, u64 now)
{
    struct rules fresh;
    char err[400];
    assert_int_equal(parse(&fresh, text, err, sizeof(err)), 0);
    assert_int_equal(rules_fit(r, &fresh), 0);
    rules_take(r, &fresh);
    assert_int_equal(fresh.n, 0);
    rules_switch(r, now);
}

#define RULE(name, at) "  - { name: " name ", at: \"" at "\" }\n"

/* A reload: rules stay where they are; by the time of a hit it is known whose it is. */
static void one_set_after_another(void **state)
{
    struct rules r, same;
    char err[400];
    assert_int_equal(parse(&r, "activities:\n" RULE("a", "native:/b:f") RULE("b", "native:/b:g"), err, sizeof(err)), 0);
    const struct rule *v = r.v;
    assert_int_equal(rules_in_order(&r, 1)->id, 1);
    assert_null(rules_in_order(&r, 2));
    assert_int_equal(
        parse(&same, "# elsewhere\nactivities:\n" RULE("a", "native:/b:f") RULE("b", "native:/b:g"), err, sizeof(err)), 0);
    assert_true(rules_same(&r, &same));
    rules_done(&same);

    change(&r, "activities:\n" RULE("c", "native:/b:f") RULE("b", "native:/b:g"), 1000);
    assert_true(r.v == v && r.n == 3 && r.generation == 1);
    assert_string_equal(rules_in_order(&r, 0)->name, "c");
    assert_int_equal(rules_in_order(&r, 1)->id, 1);
    assert_null(rules_in_order(&r, 2));
    assert_true(v[0].retired && !v[1].retired && !v[2].retired);
    assert_true(v[1].since == 0 && v[2].since == 1);
    for (u64 at = 999; at < 1002; at++) /* each hit belongs to one of the two */
        assert_int_equal(rule_begins(&v[0], at) + rule_begins(&v[2], at), 1);
    assert_true(rule_begins(&v[0], 999) && rule_begins(&v[2], 1000) && rule_begins(&v[1], 1));

    for (int turn = 0; turn < 200; turn++) { /* back and forth takes no more room */
        const char *name = turn % 2 ? RULE("c", "native:/b:f") : RULE("a", "native:/b:f");
        char text[200];
        snprintf(text, sizeof(text), "activities:\n%s%s", name, RULE("b", "native:/b:g"));
        change(&r, text, 2000 + (u64)turn);
        assert_true(r.n == 3 && v[0].retired == (turn % 2 == 1) && v[2].retired != v[0].retired);
        assert_true(rule_begins(&v[turn % 2 ? 2 : 0], 2000 + (u64)turn) && !rule_begins(&v[turn % 2 ? 0 : 2], 2000 + (u64)turn));
    }
    rules_done(&r);
}

static void python_rules_that_are_replaced(void **state)
{
    struct rules r;
    char err[400];
    assert_int_equal(parse(&r, "activities:\n" RULE("a", "python:m:f") RULE("b", "python:m:g"), err, sizeof(err)), 0);
    change(&r, "activities:\n" RULE("c", "python:m:f"), 10);
    assert_true(r.v[0].retired && r.v[0].replaced);
    assert_true(r.v[1].retired && !r.v[1].replaced);
    assert_true(rules_want_bridge(&r));
    change(&r, "activities:\n" RULE("d", "exec:x"), 20);
    assert_false(rules_want_bridge(&r) || r.v[0].replaced || r.v[2].replaced);
    rules_done(&r);
}

static void too_many_come_and_go(void **state)
{
    struct rules r = { 0 };
    char text[128], err[400];
    for (int i = 0; i < RULES_SLOTS; i++) {
        snprintf(text, sizeof(text), "activities: [ { name: n%d, at: 'exec:x' } ]", i);
        change(&r, text, 1);
    }
    struct rules fresh;
    assert_int_equal(parse(&fresh, "activities: [ { name: more, at: 'exec:x' } ]", err, sizeof(err)), 0);
    assert_int_equal(rules_fit(&r, &fresh), -ENOSPC);
    assert_int_equal(r.n, RULES_SLOTS);
    rules_done(&fresh);
    change(&r, text, 2);
    assert_string_equal(rules_in_order(&r, 0)->name, "n1023");
    rules_done(&r);
}

static void numbers_of_sites_come_again(void **state)
{
    struct site_book *b = calloc(1, sizeof(*b));
    struct site_row row = { .rule = 7, .role = SITE_ENTRY };
    for (int i = 0; i < SITE_ROWS; i++)
        assert_int_equal(site_add(b, &row), i);
    assert_int_equal(site_add(b, &row), -ENOSPC);
    site_leave(b, 5);
    assert_int_equal(site_get(b, 5)->rule, RULE_LEAVING);
    assert_int_equal(site_add(b, &row), -ENOSPC); /* not before its probe is gone */
    site_free(b, 5);
    site_free(b, 5);
    assert_int_equal(site_add(b, &row), 5);
    assert_int_equal(site_add(b, &row), -ENOSPC);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_rule),
        cmocka_unit_test(mistakes),
        cmocka_unit_test(places),
        cmocka_unit_test(several_at_once),
        cmocka_unit_test(objects),
        cmocka_unit_test(usdt_and_exec),
        cmocka_unit_test(one_set_after_another),
        cmocka_unit_test(python_rules_that_are_replaced),
        cmocka_unit_test(too_many_come_and_go),
        cmocka_unit_test(numbers_of_sites_come_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
