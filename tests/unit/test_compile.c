/* needs: base config trace self stream protocol ingest */
/* Plans: which values are read when, slots shared by equal values, too much refused. */
#include "config/rules.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static int plan(const char *rest, struct rules *r, struct rule_plan *p)
{
    char text[1024], err[1024];
    memset(r, 0, sizeof(*r));
    snprintf(text, sizeof(text), "activities:\n  - name: n\n    at: native:/b:f\n%s", rest);
    int err_code = rules_parse(r, "t", text, strlen(text), err, sizeof(err));
    return err_code ? err_code : rule_plan_make(&r->v[0], p, err, sizeof(err));
}

static void moments(void **state)
{
    struct rules r;
    struct rule_plan p;
    assert_int_equal(
        plan("    attributes: { a: arg0, b: \"arg0\", c: ret, d: errno, e: 5 }\n    error: [ ret < 0, errno ]\n", &r, &p), 0);
    assert_int_equal(p.at[PLAN_ENTRY].n, 1); /* a and b share */
    assert_int_equal(p.attr[0], p.attr[1]);
    assert_int_equal(p.attr[4], -1); /* a constant takes no slot */
    assert_int_equal(p.attr[3], p.err_no);
    assert_int_equal(p.attr[2], p.error[0]); /* ret without a type, in both */
    assert_true(p.ret >= 0 && p.error[1] == -1);
    rules_done(&r);
}

static void lengths(void **state)
{
    struct rules r;
    struct rule_plan p;
    assert_int_equal(plan("    attributes: { a: arg0:str(arg1), b: arg2:bytes(16), c: arg3:bytes(16), d: arg1:u64 }\n", &r, &p),
                     0);
    const struct value_plan *v = &p.at[PLAN_ENTRY];
    assert_int_equal(v->n, 5); /* lengths arg1 and 16 once each, the length is the value d too */
    assert_int_equal(v->len_slot[p.attr[0]], p.attr[3]);
    assert_int_equal(v->len_slot[p.attr[1]], v->len_slot[p.attr[2]]);
    for (u8 i = 0; i < v->n; i++)
        assert_true(v->len_slot[i] < i); /* read before what needs it */
    rules_done(&r);
}

static void too_many(void **state)
{
    struct rules r;
    struct rule_plan p;
    assert_int_equal(plan("    attributes: { a: arg0, b: arg1, c: arg2, d: arg3, e: arg4, f: arg5, g: arg6, h: arg7 }\n", &r, &p),
                     0);
    rules_done(&r);
    assert_int_equal(
        plan("    attributes: { a: arg0, b: arg1, c: arg2, d: arg3, e: arg4, f: arg5, g: arg6, h: arg7, i: arg8 }\n", &r, &p),
        -EINVAL);
    assert_int_equal(plan("    attributes: { a: \"arg0->1->2->3:str\", b: \"arg1->1->2->3:str\", c: \"arg2->1->2->3:str\", d: "
                          "\"arg3->1->2->3:str\","
                          " e: \"arg4->1->2->3:str\" }\n",
                          &r, &p),
                     -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(moments), cmocka_unit_test(lengths), cmocka_unit_test(too_many) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
