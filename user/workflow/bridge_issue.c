/* What processes were told to watch, change by change. */
#include "workflow/bridge_internal.h"

struct issue *issue_of(struct bridge *b, u64 number)
{
    for (u32 i = 0; i < b->n_issues; i++)
        if (number >= b->issues[i].first && number - b->issues[i].first < b->issues[i].book.n)
            return &b->issues[i];
    return NULL;
}

bool issue_known(const struct bridge *b, u32 id)
{
    bool known = !id;
    for (u32 i = 0; i < b->n_issues; i++)
        known |= b->issues[i].id == id;
    return known;
}

static void issue_done(struct issue *i)
{
    watch_book_done(&i->book);
    free(i->states);
    *i = (struct issue){ 0 };
}

void issues_done(struct bridge *b)
{
    for (u32 i = 0; i < b->n_issues; i++)
        issue_done(&b->issues[i]);
    issue_done(&b->spare);
}

static bool book_same(const struct watch_book *a, const struct watch_book *b)
{
    bool same = a->n == b->n;
    for (size_t i = 0; same && i < a->n; i++)
        same = !memcmp(&a->v[i], &b->v[i], sizeof(a->v[i]));
    return same;
}

int bridge_reserve(struct bridge *b, size_t n_rules)
{
    struct issue *s = &b->spare;
    issue_done(s);
    s->states = calloc(2 * n_rules + 1, sizeof(*s->states));
    int code = s->states ? watch_book_room(&s->book, n_rules) : -ENOMEM;
    if (code)
        issue_done(s);
    return code;
}

bool bridge_rules_taken(struct bridge *b)
{
    char err[256];
    size_t next = 1;
    if (watch_book_fill(&b->spare.book, b->rules, err, sizeof(err))) /* -E2BIG was told when the rules were read */
        return false;
    for (u32 i = 0; i < b->n_issues; i++) {
        next = b->issues[i].first + b->issues[i].book.n;
        if (!book_same(&b->issues[i].book, &b->spare.book))
            continue;
        b->current = i;
        issue_done(&b->spare);
        return true;
    }
    if (b->n_issues == ISSUES_MAX || next + b->spare.book.n > UINT16_MAX) {
        issue_done(&b->spare);
        return false;
    }
    b->spare.first = next;
    b->spare.id = watch_book_id(&b->spare.book, next);
    b->current = b->n_issues;
    b->issues[b->n_issues++] = b->spare;
    b->spare = (struct issue){ 0 };
    return true;
}

int bridge_watches_write(const struct bridge *b, FILE *out)
{
    const struct issue *i = &b->issues[b->current];
    return watch_book_write(&i->book, i->first, out);
}

bool bridge_state(const struct bridge *b, size_t i, struct workflow_watch *ret)
{
    const struct issue *of = &b->issues[b->current];
    if (i >= of->book.n)
        return false;
    const struct watch *w = &of->book.v[i];
    *ret = (struct workflow_watch){ .module = w->module,
                                    .function = w->function,
                                    .rule = w->rules[0],
                                    .bound = of->states[i].bound,
                                    .values_failed = of->states[i].values_failed };
    memcpy(ret->why, of->states[i].why, sizeof(ret->why));
    memcpy(ret->near, of->states[i].near, sizeof(ret->near));
    return true;
}
