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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_rule),      cmocka_unit_test(mistakes), cmocka_unit_test(places),
        cmocka_unit_test(several_at_once), cmocka_unit_test(objects),  cmocka_unit_test(usdt_and_exec),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
