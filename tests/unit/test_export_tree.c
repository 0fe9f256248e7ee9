/* needs: base self trace stream protocol ingest export store gen */
#include "export/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static struct resource *res;
static u64 base;

static struct span *make(const char *name, u8 id, u8 parent, u32 at_ms, u32 took_ms)
{
    struct span *s = span_new();
    memset(s->id.trace_id, 1, TRACE_ID_LEN);
    memset(s->id.span_id, id, SPAN_ID_LEN);
    memset(s->parent_id, parent, SPAN_ID_LEN);
    s->start_ns = base + at_ms * NSEC_PER_MSEC;
    s->end_ns = s->start_ns + took_ms * NSEC_PER_MSEC;
    span_set_name(s, slice_str(name));
    s->resource = resource_ref(res);
    return s;
}

static void end(struct tree *t, struct span *s)
{
    tree_end(t, s);
    span_unref(s);
}

struct page {
    char text[20000];
    u32 width;
    bool too_wide;
};

static bool keep(void *arg, const char *line)
{
    struct page *p = arg;
    strncat(p->text, line, sizeof(p->text) - strlen(p->text) - 2);
    strcat(p->text, "\n");
    p->too_wide |= text_columns(line) > p->width;
    return true;
}

static struct page page;
static const char *draw(const struct node *n, u32 width)
{
    struct tree_style style = { .width = width, .now_ns = base + 5 * NSEC_PER_SEC };
    page = (struct page){ .width = width };
    tree_draw(n, &style, keep, &page);
    assert_false(page.too_wide);
    return page.text;
}

/* Every order of arrival gives the same picture. */
static void arrival_order_does_not_matter(void **state)
{
    static const char expected[] =
        " POST /orders  201  orders               14.0 ms\n"
        "  \xe2\x94\x9c\xe2\x94\x80 SELECT orders                                    2.0 ms\n"
        "  \xe2\x95\xb0\xe2\x94\x80 \xe2\x9c\x97 POST /charge                                   8.0 ms\n"
        "     \xe2\x94\x82 it broke\n"
        "     \xe2\x95\xb0\xe2\x94\x80 INSERT                                        1.0 ms\n";
    for (u32 order = 0; order < 24; order++) {
        struct tree *t = tree_new(100);
        struct span *s[4] = { make("POST /orders", 1, 0, 0, 14), make("SELECT orders", 2, 1, 1, 2),
                              make("POST /charge", 3, 1, 4, 8), make("INSERT", 4, 3, 5, 1) };
        u32 left[4] = { 0, 1, 2, 3 }, code = order;
        attr_int(&s[0]->attrs, "http.response.status_code", 201);
        span_set_error(s[2], slice_str("it broke\nand more"));
        for (u32 n = 4; n; n--) {
            u32 pick = code % n;
            code /= n;
            end(t, s[left[pick]]);
            left[pick] = left[n - 1];
        }
        u64 now = clock_wall_ns();
        assert_null(tree_ready(t, now, false)); /* not settled yet */
        struct node *n = tree_ready(t, now + NSEC_PER_SEC, false);
        assert_non_null(n);
        assert_string_equal(draw(n, 60) + 12, expected);
        tree_forget(t, n);
        assert_null(tree_ready(t, now + 60 * NSEC_PER_SEC, true));
        assert_null(tree_tops(t));
        tree_free(t);
    }
}

static void a_running_child_holds_its_tree(void **state)
{
    struct tree *t = tree_new(100);
    struct span *child = make("gcc", 2, 1, 0, 10);
    tree_start(t, child);
    end(t, make("make", 1, 0, 0, 10));
    u64 later = clock_wall_ns() + 10 * NSEC_PER_SEC;
    assert_int_equal(tree_running(t), 1);
    assert_null(tree_ready(t, later, false));
    end(t, child);
    assert_int_equal(tree_running(t), 0);
    assert_non_null(tree_ready(t, later, false));
    tree_free(t);
}

/* A filter has taken some out: they run no more; only what holds others is still to be seen. */
static void what_is_dropped_runs_no_more(void **state)
{
    struct tree *t = tree_new(100);
    struct span *top = make("make", 1, 0, 0, 10), *middle = make("sh", 2, 1, 1, 8), *leaf = make("gcc", 3, 2, 2, 4);
    struct span *gone = make("ping", 4, 1, 2, 4);
    tree_start(t, top);
    tree_start(t, middle);
    tree_start(t, leaf);
    tree_start(t, gone);
    assert_int_equal(tree_running(t), 4);
    tree_drop(t, gone);
    tree_drop(t, gone); /* unknown by now */
    tree_drop(t, middle);
    span_unref(gone);
    span_unref(middle);
    assert_int_equal(tree_running(t), 2);
    end(t, leaf);
    end(t, top);
    struct node *n = tree_ready(t, clock_wall_ns() + 10 * NSEC_PER_SEC, false);
    assert_non_null(n);
    assert_string_equal(n->name, "make");
    assert_string_equal(n->first->name, "sh");
    assert_null(n->first->next);
    assert_string_equal(n->first->first->name, "gcc");
    tree_free(t);
}

static const char *draw_at(const struct node *n, u64 now)
{
    struct tree_style style = { .width = 100, .now_ns = now };
    page = (struct page){ .width = 100 };
    tree_draw(n, &style, keep, &page);
    return page.text;
}

/* Only a declared activity is called stuck, only the innermost that runs, and only when nothing happened in it. */
static void what_is_quiet_for_long_is_called_stuck(void **state)
{
    struct tree *t = tree_new(100);
    struct span *run = make("server", 1, 0, 0, 10), *flow = make("flow", 2, 1, 0, 10), *task = make("task", 3, 2, 0, 10);
    flow->rule = task->rule = 1;
    tree_start(t, run);
    tree_start(t, flow);
    u64 began = clock_wall_ns();
    assert_null(strstr(draw_at(tree_tops(t), began + 30 * NSEC_PER_SEC), "stuck"));
    assert_non_null(strstr(draw_at(tree_tops(t), began + 3 * TREE_STUCK_NS), "flow  stuck? quiet for"));
    tree_start(t, task);
    const char *text = draw_at(tree_tops(t), clock_wall_ns() + 3 * TREE_STUCK_NS);
    assert_null(strstr(text, "flow  stuck"));
    assert_non_null(strstr(text, "task  stuck"));
    end(t, task);
    assert_non_null(strstr(draw_at(tree_tops(t), clock_wall_ns() + 3 * TREE_STUCK_NS), "flow  stuck"));
    end(t, flow);
    assert_null(strstr(draw_at(tree_tops(t), clock_wall_ns() + 3 * TREE_STUCK_NS), "stuck"));
    end(t, run);
    tree_free(t);
}

static void an_orphan_is_shown_after_a_grace(void **state)
{
    struct tree *t = tree_new(100);
    end(t, make("GET /", 2, 9, 0, 1));
    u64 now = clock_wall_ns();
    assert_null(tree_ready(t, now + NSEC_PER_SEC, false));
    struct node *n = tree_ready(t, now + 3 * NSEC_PER_SEC, false);
    assert_non_null(n);
    assert_non_null(strstr(draw(n, 80), "(parent not seen)\n"));
    assert_non_null(strstr(page.text, "GET /"));
    tree_free(t);
}

static void a_long_root_gives_its_branches_out(void **state)
{
    struct tree *t = tree_new(100);
    struct span *root = make("uvicorn", 1, 0, 0, 0);
    root->start_ns -= 60 * NSEC_PER_SEC;
    tree_start(t, root);
    for (u8 i = 2; i < 12; i++)
        end(t, make("GET /", i, 1, i, 1));
    u64 now = clock_wall_ns() + NSEC_PER_SEC;
    u32 n = 0;
    for (struct node *b; (b = tree_ready(t, now, false)); n++) {
        assert_string_equal(b->name, "GET /");
        tree_forget(t, b);
    }
    assert_int_equal(n, 10);
    root->end_ns = base;
    end(t, root);
    struct node *b = tree_ready(t, now + NSEC_PER_SEC, false);
    assert_non_null(strstr(draw(b, 80), "10 shown above"));
    tree_free(t);
}

static void memory_is_bounded_and_losses_are_shown(void **state)
{
    struct tree *t = tree_new(200);
    struct span *root = make("make", 1, 0, 0, 5000);
    tree_start(t, root);
    for (u32 i = 0; i < 5000; i++) {
        struct span *s = make("cc", 2, 1, i, 1);
        memcpy(s->id.span_id, &(u32){ i + 1000 }, 4);
        end(t, s);
    }
    end(t, root);
    struct node *n = tree_ready(t, clock_wall_ns() + NSEC_PER_SEC, true);
    draw(n, 80);
    assert_non_null(strstr(page.text, "shown above"));
    assert_non_null(strstr(page.text, "159 more")); /* 199 children in memory, 40 drawn */
    tree_free(t);
}

static void cycles_and_depth_do_no_harm(void **state)
{
    struct tree *t = tree_new(1000);
    end(t, make("a", 1, 2, 0, 1));
    end(t, make("b", 2, 1, 0, 1));
    end(t, make("self", 3, 3, 0, 1));
    for (u8 i = 10; i < 250; i++)
        end(t, make("deep", i, (u8)(i - 1), i, 1));
    u32 n = 0;
    for (struct node *b; (b = tree_ready(t, clock_wall_ns(), true)); n++) {
        draw(b, 80);
        tree_forget(t, b);
    }
    assert_true(n >= 3 && n < 300);
    assert_null(tree_tops(t));
    tree_free(t);
}

/* Random histories: any order, any parents, few nodes. Under the sanitizers this is the real test of the links. */
static void random_histories_hold_together(void **state)
{
    u64 rng = 7;
    struct tree *t = tree_new(70);
    for (int i = 0; i < 30000; i++) {
        rng = hash_u64(rng + 1);
        u8 id = (u8)(rng % 120 + 1), parent = (u8)(rng >> 20) % 3 ? (u8)((rng >> 8) % 121) : 0;
        struct span *s = make("x", id, parent, (u32)(rng >> 40) % 1000, 1);
        if (rng >> 63)
            tree_start(t, s);
        else
            tree_end(t, s);
        span_unref(s);
        if (i % 500 == 0)
            for (struct node *b; (b = tree_ready(t, clock_wall_ns() + (rng >> 50) * NSEC_PER_MSEC, false));)
                tree_forget(t, b);
        u32 open = 0, nodes = 0;
        for (struct node *n = tree_tops(t); n; n = n->next, nodes++) {
            open += n->open;
            assert_null(n->parent);
            assert_true(nodes < 200);
        }
        assert_int_equal(open, tree_running(t));
    }
    for (struct node *b; (b = tree_ready(t, clock_wall_ns(), true));)
        tree_forget(t, b);
    assert_int_equal(tree_running(t), 0);
    tree_free(t);
}

static void nothing_a_terminal_obeys_gets_through(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "a\x1b[31mb", "a?[31mb" },
        { "a\tb\x7f", "a b?" },
        { "x\xc2\x9b"
          "31m",
          "x?31m" }, /* C1: CSI in one character */
        { "abc\xe2\x80\xae"
          "def",
          "abc?def" }, /* right-to-left override */
        { "one\ntwo", "one" },
        { "caf\xc3\xa9", "caf\xc3\xa9" },
        { "bad\xff", "bad?" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char out[64];
        text_copy(out, sizeof(out), cases[i].in, true);
        assert_string_equal(out, cases[i].out);
    }
    char small[6];
    text_copy(small, sizeof(small), "abcd\xc3\xa9", true); /* whole characters only */
    assert_string_equal(small, "abcd");
}

static void widths_and_cuts(void **state)
{
    char s[64];
    assert_int_equal(text_columns("\x1b[31mab\x1b[0m"), 2);
    assert_int_equal(text_columns("\xe6\xbc\xa2\xe5\xad\x97"), 4);
    strcpy(s, "abcdefgh");
    text_fit(s, 5);
    assert_string_equal(s, "abcd\xe2\x80\xa6");
    strcpy(s, "abcde");
    text_fit(s, 5);
    assert_string_equal(s, "abcde");
    static const struct {
        u64 ns;
        const char *out;
    } took[] = { { 400, "0 \xc2\xb5s" },           { 999000, "999 \xc2\xb5s" }, { 14200000, "14.2 ms" },
                 { 140200000, "140 ms" },          { 1500000000, "1.50 s" },    { 61 * NSEC_PER_SEC, "1:01 min" },
                 { 3661 * NSEC_PER_SEC, "1:01 h" } };
    for (size_t i = 0; i < ARRAY_LEN(took); i++) {
        duration_text(took[i].ns, s, sizeof(s));
        assert_string_equal(s, took[i].out);
    }
}

static void details_name_what_tells(void **state)
{
    struct span *s = make("make x1", 1, 0, 0, 0);
    char out[96];
    attr_int(&s->attrs, "process.exit.code", 1);
    attr_str(&s->attrs, "error.type", slice_str("1x"));
    attr_str(&s->attrs, "url.path", slice_str("x1"));
    span_detail(s, out, sizeof(out));
    assert_string_equal(out, "exit 1"); /* error.type only when failed; x1 stands in the name */
    span_set_error(s, slice_str(""));
    span_detail(s, out, sizeof(out));
    assert_string_equal(out, "exit 1  1x");
    span_detail(s, out, 8);
    assert_true(strlen(out) < 8);
    span_unref(s);
}

static void details_of_a_model_call(void **state)
{
    static const struct {
        double usd;
        const char *out;
    } costs[] = { { 0.0000123, "200  50 tokens  $0.000012" },
                  { 0.00999, "200  50 tokens  $0.00999" },
                  { 1.25, "200  50 tokens  $1.25" },
                  { 0, "200  50 tokens" } };
    for (size_t i = 0; i < ARRAY_LEN(costs); i++) {
        struct span *s = make("chat m", 1, 0, 0, 0);
        char out[96];
        attr_str(&s->attrs, "gen_ai.operation.name", slice_str("chat"));
        attr_int(&s->attrs, "http.response.status_code", 200);
        attr_str(&s->attrs, "url.path", slice_str("/v1/chat/completions")); /* its name says more */
        attr_int(&s->attrs, "wftrace.gen_ai.usage.total_tokens", 50);
        if (costs[i].usd > 0)
            attr_double(&s->attrs, "wftrace.gen_ai.cost_usd", costs[i].usd);
        span_detail(s, out, sizeof(out));
        assert_string_equal(out, costs[i].out);
        span_unref(s);
    }
}

/* A worker's queue bears its service's name: said once. */
static void service_is_said_once(void **state)
{
    struct tree *t = tree_new(100);
    struct span *s = make("fulfil", 1, 0, 0, 1);
    attr_str(&s->attrs, "messaging.destination.name", slice_str(resource_service(s->resource)));
    end(t, s);
    const char *text = draw(tree_ready(t, clock_wall_ns() + NSEC_PER_SEC, false), 80),
               *first = strstr(text, resource_service(res));
    assert_non_null(first);
    assert_null(strstr(first + 1, resource_service(res)));
    tree_free(t);
}

static int setup(void **state)
{
    res = resource_new();
    attr_str(&res->attrs, "service.name", slice_str("orders"));
    base = clock_wall_ns();
    return 0;
}

static int teardown(void **state)
{
    res = resource_unref(res);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrival_order_does_not_matter),
        cmocka_unit_test(a_running_child_holds_its_tree),
        cmocka_unit_test(what_is_dropped_runs_no_more),
        cmocka_unit_test(what_is_quiet_for_long_is_called_stuck),
        cmocka_unit_test(an_orphan_is_shown_after_a_grace),
        cmocka_unit_test(a_long_root_gives_its_branches_out),
        cmocka_unit_test(memory_is_bounded_and_losses_are_shown),
        cmocka_unit_test(cycles_and_depth_do_no_harm),
        cmocka_unit_test(random_histories_hold_together),
        cmocka_unit_test(nothing_a_terminal_obeys_gets_through),
        cmocka_unit_test(widths_and_cuts),
        cmocka_unit_test(details_name_what_tells),
        cmocka_unit_test(details_of_a_model_call),
        cmocka_unit_test(service_is_said_once),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
