/* Rules → watches and back: see watch.h. */
#include "config/watch.h"

static int slot_take(struct watch *w, const char *expr, enum source_moment_python moment)
{
    for (u8 i = 0; i < w->n_attrs; i++)
        if (w->attrs[i].expr == expr && w->attrs[i].moment == moment)
            return i;
    if (w->n_attrs == WATCH_ATTRS)
        return -E2BIG;
    w->attrs[w->n_attrs] = (struct watch_attr){ expr, moment };
    return w->n_attrs++;
}

static int source_add(struct watch *w, const struct source *s, struct source_slots *ret)
{
    memset(ret, -1, sizeof(*ret));
    for (u8 i = 0; s->root == SOURCE_PYTHON && i < s->n_expr; i++) {
        bool after = s->moment == READ_AFTER;
        int slot = slot_take(w, s->expr[i], after ? READ_AT_RETURN : s->moment);
        int also = after && slot >= 0 ? slot_take(w, s->expr[i], READ_AT_FAIL) : -1;
        if (slot < 0 || also == -E2BIG)
            return -E2BIG;
        ret->slot[i][0] = (s8)slot;
        ret->slot[i][1] = (s8)also;
    }
    return 0;
}

static int ids_add(struct watch *w, const struct rule_id *ids, u8 n, struct source_slots *ret)
{
    int err = 0;
    for (u8 i = 0; i < n && !err; i++)
        err = source_add(w, &ids[i].from, &ret[i]);
    return err;
}

static int conditions_add(struct watch *w, const struct rule_condition *c, u8 n, struct source_slots *ret)
{
    int err = 0;
    for (u8 i = 0; i < n && !err; i++)
        err = source_add(w, &c[i].left, &ret[i]);
    return err;
}

static int rule_add(struct watch *w, const struct rule *r, struct rule_slots *s)
{
    int err = w->n_rules == WATCH_RULES ? -E2BIG : 0;
    memset(s, -1, sizeof(*s));
    for (u8 i = 0; i < r->n_attrs && !err; i++)
        err = source_add(w, &r->attrs[i].from, &s->attr[i]);
    if (!err)
        err = conditions_add(w, r->when, r->n_when, s->when);
    if (!err)
        err = conditions_add(w, r->errors, r->n_errors, s->error);
    if (!err)
        err = ids_add(w, r->ids, r->n_ids, s->ids);
    if (!err)
        err = ids_add(w, r->parents, r->n_parents, s->parents);
    if (!err)
        err = ids_add(w, r->links, r->n_links, s->links);
    if (!err && r->queued_at.n_expr)
        err = source_add(w, &r->queued_at, &s->queued_at);
    for (u8 i = 0; i < 2 && !err && r->caught[i].n_expr; i++)
        err = source_add(w, &r->caught[i], &s->caught[i]);
    if (!err && r->started_at.n_expr)
        err = source_add(w, &r->started_at, &s->started_at);
    if (!err && r->ended_at.n_expr)
        err = source_add(w, &r->ended_at, &s->ended_at);
    if (!err && r->traceparent.n_expr)
        err = source_add(w, &r->traceparent, &s->traceparent);
    if (err)
        return err;
    w->rules[w->n_rules++] = r->id;
    w->always |= !r->n_when;
    w->into |= r->into != NULL;
    return 0;
}

static struct watch *watch_of(struct watch_book *b, const char *module, const char *function)
{
    for (size_t i = 0; i < b->n; i++)
        if (!strcmp(b->v[i].module, module) && !strcmp(b->v[i].function, function))
            return &b->v[i];
    struct watch *w = &b->v[b->n++];
    w->module = module;
    w->function = function;
    return w;
}

static int until_add(struct watch_book *b, const struct rule *r)
{
    if (!r->end_symbol[0])
        return 0;
    struct watch *w = watch_of(b, r->end_provider, r->end_symbol);
    if (w->n_ends == WATCH_RULES)
        return -E2BIG;
    w->ends[w->n_ends++] = r->id;
    int err = source_add(w, &r->until_id.from, &b->slots[r->id].until_id);
    return err ? err : conditions_add(w, r->until_when, r->n_until_when, b->slots[r->id].until_when);
}

int watch_book_fill(struct watch_book *b, const struct rules *r, char *err, size_t err_size)
{
    const struct rule *rule;
    b->rules = r;
    for (size_t i = 0; (rule = rules_in_order(r, i)); i++) {
        if (rule->at != AT_PYTHON ||
            (!rule_add(watch_of(b, rule->object, rule->symbol), rule, &b->slots[rule->id]) && !until_add(b, rule)))
            continue;
        snprintf(err, err_size, "%s:%d: the rules on %s:%s want more than %d values or are more than %d", rule->file, rule->line,
                 rule->object, rule->symbol, WATCH_ATTRS, WATCH_RULES);
        return -E2BIG;
    }
    return 0;
}

int watch_book_room(struct watch_book *ret, size_t n_rules)
{
    struct watch_book b = { .v = calloc(2 * n_rules + 1, sizeof(*b.v)), .slots = calloc(RULES_SLOTS, sizeof(*b.slots)) };
    if (!b.v || !b.slots) {
        watch_book_done(&b);
        return -ENOMEM;
    }
    *ret = b;
    return 0;
}

int watch_book_make(const struct rules *r, struct watch_book *ret, char *err, size_t err_size)
{
    struct watch_book b = { 0 };
    int code = watch_book_room(&b, r->n);
    if (code)
        snprintf(err, err_size, "out of memory");
    else
        code = watch_book_fill(&b, r, err, err_size);
    if (code) {
        watch_book_done(&b);
        return code;
    }
    *ret = b;
    return 0;
}

void watch_book_done(struct watch_book *b)
{
    free(b->v);
    free(b->slots);
    *b = (struct watch_book){ 0 };
}

/* What the helper can decide: one value, read at the start, against a constant that stands on a line. */
static bool test_simple(const struct rule_condition *c)
{
    const struct source *s = &c->left;
    return s->root == SOURCE_PYTHON && s->moment == READ_AT_ENTRY && s->n_expr == 1 && !s->joined && !s->shorten && !s->number &&
           !s->otherwise && test_word[c->test] && (!c->text || !strpbrk(c->text, "\t\n")) &&
           (c->test < TEST_LIKE || like_plain(c->text));
}

static int tests_write(const struct watch_book *b, const struct watch *w, u8 alternative, FILE *out)
{
    const struct rule *r = &b->rules->v[w->rules[alternative]];
    int n = 0;
    for (u8 i = 0; i < r->n_when; i++) {
        const struct rule_condition *c = &r->when[i];
        if (!test_simple(c))
            continue;
        n++;
        if (!out)
            continue;
        fprintf(out, "when\t%u\t%d\t%s\t", alternative, b->slots[r->id].when[i].slot[0][0], test_word[c->test]);
        if (c->null)
            fprintf(out, "null\n");
        else if (c->text)
            fprintf(out, "\"%s\n", c->text);
        else
            fprintf(out, "%lld\n", (long long)c->value);
    }
    return n;
}

/* Only where nothing at all comes of a call that no rule wants: it ends no other rule's activity, and each of its rules asks something
 * that can make it leave the call alone. */
static bool may_be_left_out(const struct watch_book *b, const struct watch *w)
{
    bool all = !w->n_ends;
    for (u8 i = 0; i < w->n_rules && all; i++)
        all = tests_write(b, w, i, NULL) > 0;
    return all;
}

/* Calls that only tell of another activity, each by what its start says (into_add_end() takes the others' end). */
static bool only_start_asked(const struct watch_book *b, const struct watch *w)
{
    bool all = !w->n_ends;
    for (u8 i = 0; i < w->n_rules && all; i++)
        all = b->rules->v[w->rules[i]].into && b->rules->v[w->rules[i]].n_when;
    return all;
}

static void watches_write(const struct watch_book *b, size_t first, FILE *out)
{
    static const char *const moments[] = { "entry", "return", "fail" };
    for (size_t i = 0; i < b->n; i++) {
        const struct watch *w = &b->v[i];
        fprintf(out, "watch\t%zu\t%s\t%s\n", first + i, w->module, w->function);
        for (u8 k = 0; k < w->n_attrs; k++)
            fprintf(out, "attr\t%u\t%s\t%s\n", k, moments[w->attrs[k].moment], w->attrs[k].expr);
        for (u8 k = 0; k < w->n_rules && may_be_left_out(b, w); k++)
            (void)tests_write(b, w, k, out);
        if (only_start_asked(b, w))
            fprintf(out, "start\n");
    }
}

/* FNV-1a of the text, folded. */
u32 watch_book_id(const struct watch_book *b, size_t first)
{
    cleanup(freep) char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);
    if (!out)
        return 0;
    watches_write(b, first, out);
    if (fclose(out))
        return 0;
    u64 h = 0xcbf29ce484222325ull;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (u8)text[i]) * 0x100000001b3ull;
    u32 id = (u32)(h >> 40 ^ h) & 0xffffff;
    return id ? id : 1;
}

int watch_book_write(const struct watch_book *b, size_t first, FILE *out)
{
    fprintf(out, "wftrace-bridge 3 %06x\n", watch_book_id(b, first));
    watches_write(b, first, out);
    errno = 0;
    return fflush(out) ? (errno ? -errno : -EIO) : 0;
}
