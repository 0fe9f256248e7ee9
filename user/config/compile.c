/* Rule → plan: which values are read when a function is entered, which when it returns, and in which slot of a hit each
 * attribute and condition finds its value. Equal values share a slot. How a slot is filled on an architecture is not
 * known here (probe/rule_ops.c). */
#include "config/rules.h"

#define ENTRY_OPS 24 /* the abi's SITE_OPS; probe/rule_ops.c asserts that they agree */

int source_moment(const struct source *s)
{
    if (s->root == SOURCE_ARG)
        return PLAN_ENTRY;
    return s->root == SOURCE_RET || s->root == SOURCE_ERRNO ? PLAN_RETURN : -1;
}

static u8 source_ops(const struct source *s)
{
    if (s->root == SOURCE_ERRNO)
        return 8;
    /* fetch (as many as three for a USDT argument in memory with an index), steps, extend, store */
    return (u8)(2 + s->n_steps + (s->n_steps ? 0 : 1));
}

static bool source_same(const struct source *a, const struct source *b)
{
    if (a->root != b->root || a->arg != b->arg || a->n_steps != b->n_steps || a->type != b->type || a->size != b->size ||
        a->len != b->len || a->len_value != b->len_value)
        return false;
    for (u8 i = 0; i < a->n_steps; i++)
        if (a->steps[i].off != b->steps[i].off || a->steps[i].load != b->steps[i].load)
            return false;
    return true;
}

static int take_slot(struct value_plan *p, const struct source *s, s8 len_slot)
{
    for (u8 i = 0; i < p->n; i++)
        if (source_same(&p->v[i], s))
            return i;
    if (p->n == PLAN_VALUES)
        return -E2BIG;
    p->v[p->n] = *s;
    p->len_slot[p->n] = len_slot;
    p->ops = (u8)(p->ops + source_ops(s));
    return p->ops > ENTRY_OPS ? -E2BIG : p->n++;
}

/* The length of a text or of bytes is a value of its own, read first. */
static int add_value(struct rule_plan *p, const struct source *s)
{
    int moment = source_moment(s), len_slot = -1;
    if (moment < 0)
        return -1;
    if (s->type >= TYPE_STR && s->len != LEN_NUL) {
        struct source len = { .root = SOURCE_CONST, .number = s->len_value, .type = TYPE_UINT, .size = 8 };
        if (s->len == LEN_ARG)
            len = (struct source){ .root = SOURCE_ARG, .arg = s->len_value, .type = TYPE_UINT, .size = 8 };
        if (len.root == SOURCE_CONST)
            len.len_value = s->len_value; /* tells constants apart in source_same */
        len_slot = take_slot(&p->at[moment], &len, -1);
        if (len_slot < 0)
            return len_slot;
    }
    return take_slot(&p->at[moment], s, (s8)len_slot);
}

static int add(struct rule_plan *p, const struct source *s, s8 *ret_slot)
{
    int slot = add_value(p, s);
    *ret_slot = (s8)(slot < 0 ? -1 : slot);
    return slot == -E2BIG ? -E2BIG : 0;
}

static int add_condition(struct rule_plan *p, const struct rule_condition *c, s8 *ret_slot)
{
    static const struct source plain_ret = { .root = SOURCE_RET, .type = TYPE_INT, .size = 4 };
    static const struct source err_no = { .root = SOURCE_ERRNO, .type = TYPE_INT, .size = 4 };
    *ret_slot = -1;
    if (c->test == TEST_EXCEPTION)
        return 0;
    if (c->test != TEST_ERRNO)
        return add(p, &c->left, ret_slot);
    int err = add(p, &plain_ret, &p->ret);
    return err ? err : add(p, &err_no, &p->err_no);
}

static int add_all(const struct rule *r, struct rule_plan *p)
{
    int err = 0;
    for (u8 i = 0; i < r->n_attrs && !err; i++) {
        struct source s = r->attrs[i].from;
        if (s.root == SOURCE_ERRNO) { /* one slot, whatever type it was asked in */
            s.type = TYPE_INT;
            s.size = 4;
        }
        err = add(p, &s, &p->attr[i]);
        if (!err && s.root == SOURCE_ERRNO)
            p->err_no = p->attr[i];
    }
    for (u8 i = 0; i < r->n_errors && !err; i++)
        err = add_condition(p, &r->errors[i], &p->error[i]);
    for (u8 i = 0; i < r->n_when && !err; i++)
        err = add(p, &r->when[i].left, &p->when[i]);
    return err;
}

int rule_plan_make(const struct rule *r, struct rule_plan *ret, char *err, size_t err_size)
{
    struct rule_plan p = { .ret = -1, .err_no = -1 };
    memset(p.attr, -1, sizeof(p.attr));
    memset(p.error, -1, sizeof(p.error));
    memset(p.when, -1, sizeof(p.when));
    if (r->at == AT_PYTHON) { /* its values come by name: config/watch.c */
        *ret = p;
        return 0;
    }
    int code = add_all(r, &p);
    if (code) {
        snprintf(err, err_size, "too many values: one probe can read %d (texts of a given length take two), in %d steps",
                 PLAN_VALUES, ENTRY_OPS);
        return code;
    }
    *ret = p;
    return 0;
}
