/* `when` lines of the watch file: which calls no rule wants, told before anything is said of them. */
#include "bridge.h"

static int test_named(const char *word)
{
    for (int t = TEST_LT; word && t <= TEST_UNLIKE; t++)
        if (!strcmp(word, test_word[t]))
            return t;
    return -1;
}

static int constant_read(const char *text, struct condition *c)
{
    char *end = NULL;
    if (!text || !*text)
        return -EINVAL;
    if (*text == '"') {
        c->text = strdup(text + 1);
        return c->text ? 0 : -ENOMEM;
    }
    c->null = !strcmp(text, "null");
    c->value = c->null ? 0 : strtoll(text, &end, 10);
    bool compares = c->null ? c->test == TEST_EQ || c->test == TEST_NE : !*end;
    return compares && c->test < TEST_LIKE ? 0 : -EINVAL;
}

int when_add(struct watch *w, u32 rule, u32 index, const char *test, const char *constant)
{
    int named = test_named(test);
    struct test t = { .rule = (u8)rule, .index = (u8)index, .is.test = (enum rule_test)named };
    if (named < 0 || w->n_tests == UINT8_MAX)
        return -EINVAL;
    int err = constant_read(constant, &t.is);
    struct test *more = err ? NULL : realloc(w->tests, (w->n_tests + 1u) * sizeof *more);
    if (!more) {
        free((char *)t.is.text);
        return err ? err : -ENOMEM;
    }
    w->tests = more;
    w->tests[w->n_tests++] = t;
    w->rules |= 1u << rule;
    for (u32 i = 0; i < w->n_attrs; i++) {
        struct attr *a = &w->attrs[i];
        if (a->index == index && a->stage == STAGE_ENTRY)
            a->stage = STAGE_TEST;
    }
    w->stages = 0;
    for (u32 i = 0; i < w->n_attrs; i++)
        w->stages |= (u8)(1 << w->attrs[i].stage);
    return 0;
}

void when_free(struct watch *w)
{
    for (u32 i = 0; i < w->n_tests; i++)
        free((char *)w->tests[i].is.text);
    free(w->tests);
}

static bool value_find(const struct event *ev, u8 index, struct plain_value *ret)
{
    static const enum plain_type types[] = { [BRIDGE_TEXT] = PLAIN_TEXT,
                                             [BRIDGE_INT] = PLAIN_INT,
                                             [BRIDGE_DOUBLE] = PLAIN_DOUBLE,
                                             [BRIDGE_BOOL] = PLAIN_BOOL,
                                             [BRIDGE_NONE] = PLAIN_NONE };
    struct bridge_attr a;
    const u8 *p = ev->attrs;
    for (u32 i = 0; i < ev->head.n_attrs; i++, p += sizeof a + ((a.len + 3u) & ~3u)) {
        memcpy(&a, p, sizeof a);
        if (a.index != index)
            continue;
        const u8 *value = p + sizeof a;
        *ret = (struct plain_value){ .type = types[a.type] };
        if (a.type == BRIDGE_TEXT)
            ret->text = slice_of(value, a.len);
        else if (a.type == BRIDGE_INT)
            memcpy(&ret->i, value, sizeof ret->i);
        else if (a.type == BRIDGE_DOUBLE)
            memcpy(&ret->d, value, sizeof ret->d);
        else if (a.type == BRIDGE_BOOL)
            ret->i = value[0];
        return true;
    }
    return false;
}

bool when_holds(const struct watch *w, const struct event *ev)
{
    u32 unmet = 0;
    for (u32 i = 0; i < w->n_tests; i++) {
        const struct test *t = &w->tests[i];
        struct plain_value v;
        if (value_find(ev, t->index, &v) && condition_met(&t->is, &v) == 0)
            unmet |= 1u << t->rule;
    }
    return unmet != w->rules;
}
