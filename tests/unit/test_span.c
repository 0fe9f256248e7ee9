/* needs: base self trace stream protocol ingest */
#include "trace/span.h"
#include "self/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

struct small_set {
    struct attr v[4];
    char text[40];
    struct attr_set set;
};

static struct attr_set *small_set(struct small_set *s)
{
    memset(s, 0xaa, sizeof(*s));
    s->set = (struct attr_set){ .v = s->v, .max = 4, .text = s->text, .text_max = sizeof(s->text) };
    return &s->set;
}

static void attributes_set_replace_and_run_out(void **state)
{
    struct small_set room;
    struct attr_set *set = small_set(&room);
    assert_true(attr_str(set, "a", slice_str("hello")));
    assert_true(attr_int(set, "b", -5));
    assert_true(attr_str(set, "a", slice_str("bye"))); /* into the old room */
    assert_int_equal(set->used, 6);
    assert_string_equal(attr_get(set, "a")->s, "bye");
    assert_int_equal(attr_get(set, "a")->len, 3);
    assert_true(attr_double(set, "b", 1.5)); /* another type under the same key */
    assert_int_equal(attr_get(set, "b")->type, ATTR_DOUBLE);
    assert_int_equal(set->n, 2);
    assert_true(attr_bool(set, "c", true));
    assert_false(attr_str(set, "d", slice_str("0123456789012345678901234567890123456789")));
    assert_int_equal(set->dropped, 1);
    assert_int_equal(set->n, 3);
    assert_true(attr_str(set, "d", slice_str("0123456789012345678901234567890"))); /* 6 + 32 = 38 of 40 */
    assert_false(attr_int(set, "e", 1));                                           /* no slot left */
    assert_int_equal(set->dropped, 2);
    assert_null(attr_get(set, "e"));
    char key[] = "c"; /* a key is compared by its text, not by its address */
    assert_true(attr_bool(set, key, false));
    assert_false(attr_get(set, "c")->b);
    assert_false(attr_str(set, "a", slice_str("longer"))); /* no room: the old value stays */
    assert_string_equal(attr_get(set, "a")->s, "bye");
}

static void bad_utf8_is_replaced(void **state)
{
#define R "\xef\xbf\xbd"
    static const struct {
        const char *in;
        size_t n;
        const char *out;
    } cases[] = {
        { "plain ascii, longer than eight", 30, "plain ascii, longer than eight" },
        { "caf\xc3\xa9", 5, "caf\xc3\xa9" },
        { "\xf0\x9f\x98\x80!", 5, "\xf0\x9f\x98\x80!" },
        { "a\xff"
          "b",
          3, "a" R "b" },
        { "\xc0\xaf", 2, R R },             /* overlong */
        { "\xe0\x80\x80", 3, R R R },       /* overlong */
        { "\xed\xa0\x80", 3, R R R },       /* surrogate */
        { "\xf4\x90\x80\x80", 4, R R R R }, /* beyond U+10FFFF */
        { "\xe2\x82", 2, R },               /* cut short */
        { "\xe2\x82"
          "A",
          3, R "A" },
        { "\xf0\x9f\x98", 3, R },
        { "x\0y", 3, "x" R "y" },
        { "12345678\0", 9, "12345678" R },
        { "", 0, "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct small_set room;
        struct attr_set *set = small_set(&room);
        char *exact = malloc(cases[i].n + 1); /* so that a sanitizer sees a read beyond the input */
        memcpy(exact + 1, cases[i].in, cases[i].n);
        assert_true(attr_str(set, "k", slice_of(exact + 1, cases[i].n)));
        assert_string_equal(attr_get(set, "k")->s, cases[i].out);
        assert_int_equal(attr_get(set, "k")->len, strlen(cases[i].out));
        free(exact);
    }
}

static void string_lists_keep_their_parts(void **state)
{
    struct small_set room, other;
    struct attr_set *set = small_set(&room);
    struct slice parts[] = { slice_str("make"), slice_str(""), slice_str("-j4") };
    assert_true(attr_strv(set, "argv", parts, 3));
    const struct attr *a = attr_get(set, "argv");
    assert_int_equal(a->len, 10);
    assert_memory_equal(a->s, "make\0\0-j4", 10);
    u16 used = set->used;
    struct slice big[] = { slice_str("fits"), slice_str("012345678901234567890123456789012345") };
    assert_false(attr_strv(set, "more", big, 2));
    assert_int_equal(set->used, used); /* nothing of a half-copied list remains */
    attr_int(set, "n", 9);
    struct attr_set *copy = small_set(&other);
    attr_set_copy(copy, set);
    assert_int_equal(copy->dropped, 1);
    assert_memory_equal(attr_get(copy, "argv")->s, "make\0\0-j4", 10);
    assert_int_equal(attr_get(copy, "n")->i, 9);
}

static void text_is_cut_between_characters(void **state)
{
    struct small_set room;
    struct attr_set *set = small_set(&room);
    assert_string_equal(attr_text_cut(set, slice_str("ab\xe2\x82\xac"), 4), "ab");
    assert_string_equal(attr_text_cut(set, slice_str("ab\xe2\x82\xac"), 5), "ab\xe2\x82\xac");
    set->used = set->text_max - 1;
    assert_string_equal(attr_text(set, slice_str("")), "");
    assert_null(attr_text(set, slice_str("")));
}

static void interned_keys_are_one(void **state)
{
    char key[] = "http.request.header.x-one";
    const char *a = intern(key);
    key[0] = 'H';
    assert_ptr_equal(a, intern("http.request.header.x-one"));
    assert_ptr_not_equal(a, intern(key));
    assert_string_equal(a, "http.request.header.x-one");
}

static void spans_come_from_a_bounded_pool(void **state)
{
    u64 before = ledger_get(attrs_dropped);
    struct span *s[3];
    span_pool_limit(2 * SPAN_LEAST);
    s[0] = span_new();
    s[1] = span_new();
    assert_non_null(s[1]);
    assert_null(span_new());
    span_pool_limit(256u << 20);
    s[0]->resource = resource_new();
    struct resource *r = resource_ref(s[0]->resource);
    for (int i = 0; i < SPAN_ATTRS + 3; i++) {
        char key[16];
        snprintf(key, sizeof(key), "k%d", i);
        attr_int(&s[0]->attrs, intern(key), i);
    }
    span_set_name(s[0], slice_str("GET /"));
    s[0]->kind = SPAN_SERVER;
    span_ref(s[0]);
    span_pool_limit(span_pool_bytes());
    assert_null(span_unref(s[0]));
    assert_null(span_new()); /* still held once */
    span_unref(s[0]);
    assert_int_equal(r->refs, 1);
    assert_int_equal(ledger_get(attrs_dropped) - before, 3);
    s[2] = span_new(); /* the same memory, clean again */
    assert_non_null(s[2]);
    assert_string_equal(s[2]->name, "");
    assert_int_equal(s[2]->kind + s[2]->attrs.n + s[2]->attrs.used + s[2]->n_events, 0);
    assert_null(s[2]->resource);
    span_unref(s[1]);
    span_unref(s[2]);
    assert_null(span_unref(NULL));
    assert_null(resource_unref(r));
    span_pool_limit(256u << 20);
}

static void marks_are_events_and_counted(void **state)
{
    u64 before = span_pool_bytes();
    struct span *s = span_new();
    struct span_event room;
    span_add_exception(s, 5, slice_str("E"), slice_str("m"), slice_str(""));
    span_set_marks(s, span_marks_new("gen_ai.chunk", "size", 1000));
    assert_true(span_pool_bytes() - before >= SPAN_LEAST + 1000 * sizeof(struct span_mark));
    for (u32 i = 0; i < 1002; i++)
        span_mark(s->marks, 100 + i, i);
    assert_int_equal(span_event_count(s), 1001);
    assert_int_equal(span_event_dropped(s), 2);
    assert_string_equal(span_event_at(s, 0, &room)->name, "exception");
    assert_int_equal(span_event_at(s, 1000, &room)->time_ns, 1099);
    assert_int_equal(room.attrs[0].i, 999);
    for (int i = 0; i < 40; i++) { /* they take no room from what else the span says */
        char key[16];
        snprintf(key, sizeof(key), "key%d", i);
        assert_true(attr_str(&s->attrs, intern(key), slice_str("a text of some length")));
    }
    span_unref(s);
    assert_int_equal(span_pool_bytes(), before);
    span_pool_limit(1);
    s = span_new();
    assert_null(s);
    span_pool_limit(SPAN_LEAST + before);
    s = span_new();
    span_set_marks(s, span_marks_new("gen_ai.chunk", "size", 1000)); /* no room: none */
    assert_int_equal(span_event_count(s), 0);
    span_unref(s);
    span_pool_limit(256u << 20);
}

static void exceptions_and_links_are_bounded(void **state)
{
    struct span *s = span_new();
    char stack[5000];
    memset(stack, 's', sizeof(stack));
    span_add_exception(s, 5, slice_str("ValueError"), slice_str(""), slice_of(stack, sizeof(stack)));
    assert_string_equal(s->events[0].name, "exception");
    assert_int_equal(s->events[0].n_attrs, 2); /* the empty message is left out */
    assert_string_equal(s->events[0].attrs[0].key, "exception.type");
    assert_string_equal(s->events[0].attrs[1].key, "exception.stacktrace");
    assert_true(s->events[0].attrs[1].len > 2000 && s->events[0].attrs[1].len < SPAN_TEXT);
    for (int i = 0; i < 300; i++)
        span_add_exception(s, 5, slice_str("E"), slice_str("m"), slice_str(""));
    assert_int_equal(s->n_events, SPAN_EVENTS);
    assert_int_equal(s->dropped_events, 255);
    struct span_context to = { { 1 }, { 2 }, 1 };
    for (int i = 0; i < SPAN_LINKS; i++)
        assert_true(span_add_link(s, &to, "queue"));
    assert_false(span_add_link(s, &to, "queue"));
    assert_int_equal(s->dropped_links, 1);
    span_set_error(s, slice_str("no room is left, so the message is lost, the status is not"));
    assert_int_equal(s->status, STATUS_ERROR);
    span_unref(s);
}

/* What was set first is still there, at its place, when the span has grown to its most. */
static void a_span_grows_and_nothing_moves(void **state)
{
    struct span *s = span_new();
    char text[101], key[16];
    u64 before = span_pool_bytes();
    assert_int_equal(s->bytes, SPAN_LEAST);
    memset(text, 'x', sizeof(text));
    span_set_name(s, slice_str("first"));
    const char *name = s->name;
    for (int i = 0; i < SPAN_ATTRS; i++) {
        snprintf(key, sizeof(key), "g%d", i);
        memcpy(text, key, strlen(key) + 1);
        text[strlen(key)] = '=';
        assert_true(attr_str(&s->attrs, intern(key), slice_of(text, 40)));
    }
    assert_ptr_equal(s->name, name);
    assert_string_equal(name, "first");
    for (int i = 0; i < SPAN_ATTRS; i++) {
        snprintf(key, sizeof(key), "g%d", i);
        const struct attr *a = attr_get(&s->attrs, key);
        assert_true(a && a->len == 40 && !strncmp(a->s, key, strlen(key)) && a->s[strlen(key)] == '=');
    }
    assert_false(attr_int(&s->attrs, "one too many", 1));
    assert_int_equal(span_pool_bytes() - before, s->bytes - SPAN_LEAST);
    while (attr_text(&s->attrs, slice_of(text, 90)))
        ;
    assert_true(s->bytes > SPAN_LEAST + 3000 && s->bytes <= SPAN_MOST);
    span_unref(s);
    assert_int_equal(span_pool_bytes(), before - SPAN_LEAST);
}

static void a_text_goes_where_it_fits(void **state)
{
    struct span *s = span_new();
    char big[SPAN_TEXT + 2];
    memset(big, 'b', sizeof(big));
    assert_true(attr_str(&s->attrs, "big", slice_of(big, SPAN_TEXT - 1)));
    assert_false(attr_str(&s->attrs, "bigger", slice_of(big, SPAN_TEXT)));
    assert_int_equal(strlen(attr_text_cut(&s->attrs, slice_of(big, SPAN_TEXT), 500)), 500);
    memset(big, 0xff, 600); /* each becomes three bytes */
    assert_true(attr_str(&s->attrs, "bad", slice_of(big, 600)));
    assert_int_equal(attr_get(&s->attrs, "bad")->len, 1800);
    span_unref(s);
    s = span_new();
    attr_text(&s->attrs, slice_of(big + 600, SPAN_ROOM - 288 - 60)); /* the list begins in the span and does not fit there */
    struct slice list[] = { slice_of(big, 3), slice_str("middle"), slice_of(big + 600, 100), slice_str("") };
    assert_true(attr_strv(&s->attrs, "list", list, ARRAY_LEN(list)));
    const struct attr *a = attr_get(&s->attrs, "list");
    assert_int_equal(a->len, 10 + 7 + 101 + 1);
    assert_string_equal(a->s + 10, "middle");
    struct span *other = span_new();
    attr_text(&other->attrs, slice_of(big + 600, SPAN_ROOM - 288 - 60));
    attr_set_copy(&other->attrs, &s->attrs);
    assert_memory_equal(attr_get(&other->attrs, "list")->s, a->s, a->len);
    span_unref(other);
    span_unref(s);
}

static void what_cannot_grow_says_so(void **state)
{
    struct span *s = span_new();
    char text[400];
    memset(text, 't', sizeof(text));
    span_set_tracestate(s, "a=b");
    span_expect(s, 16);
    span_pool_limit(span_pool_bytes());
    assert_null(span_new());
    assert_false(attr_str(&s->attrs, "long", slice_of(text, sizeof(text))));
    assert_int_equal(s->attrs.dropped, 1);
    assert_true(attr_str(&s->attrs, "short", slice_str("s")));
    for (int i = 0; i < 20; i++)
        attr_int(&s->attrs, intern((char[]){ 'c', (char)('a' + i), 0 }), i);
    assert_true(s->attrs.n == 16 && s->attrs.dropped == 6);
    while (attr_text(&s->attrs, slice_str("x")))
        ;
    span_set_tracestate(s, "c=d");
    assert_string_equal(s->tracestate, "a=b"); /* the old one, not half of the new */
    span_set_tracestate(s, "");
    assert_string_equal(s->tracestate, "");
    span_add_exception(s, 1, slice_str("E"), slice_str("m"), slice_str(""));
    assert_false(span_add_link(s, &s->id, "queue"));
    assert_int_equal(s->n_events + s->n_links, 0);
    assert_int_equal(s->dropped_events + s->dropped_links, 2);
    span_pool_limit(256u << 20);
    assert_true(attr_str(&s->attrs, "short", slice_of(text, sizeof(text))));
    span_unref(s);
}

static void the_service_has_a_name(void **state)
{
    assert_string_equal(resource_service(NULL), "unknown_service");
    struct resource *a = resource_new(), *b = resource_new();
    assert_true(a->id != b->id);
    attr_str(&a->attrs, "service.name", slice_str("orders"));
    assert_string_equal(resource_service(a), "orders");
    assert_string_equal(resource_service(b), "unknown_service");
    resource_unref(a);
    resource_unref(b);
}

static void hex_goes_both_ways(void **state)
{
    char text[9];
    u8 bytes[4] = { 0 };
    hex_encode((const u8 *)"\x00\xab\x10\xff", 4, text);
    assert_string_equal(text, "00ab10ff");
    assert_int_equal(hex_decode("00AB10fF", 8, bytes), 0);
    assert_memory_equal(bytes, "\x00\xab\x10\xff", 4);
    assert_int_equal(hex_decode("00ab1", 5, bytes), -EINVAL);
    assert_int_equal(hex_decode("11112g", 6, bytes), -EINVAL);
    assert_memory_equal(bytes, "\x00\xab\x10\xff", 4); /* untouched */
    assert_int_equal(hex_decode("@@", 2, bytes), -EINVAL);
}

static void every_join_has_its_name(void **state)
{
    for (int i = 0; i < JOIN_MAX; i++)
        assert_non_null(join_name[i]);
    assert_string_equal(join_name[JOIN_WIRE], "wire");
    assert_string_equal(join_name[JOIN_UNKNOWN], "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes_set_replace_and_run_out),
        cmocka_unit_test(bad_utf8_is_replaced),
        cmocka_unit_test(string_lists_keep_their_parts),
        cmocka_unit_test(text_is_cut_between_characters),
        cmocka_unit_test(interned_keys_are_one),
        cmocka_unit_test(spans_come_from_a_bounded_pool),
        cmocka_unit_test(exceptions_and_links_are_bounded),
        cmocka_unit_test(marks_are_events_and_counted),
        cmocka_unit_test(a_span_grows_and_nothing_moves),
        cmocka_unit_test(a_text_goes_where_it_fits),
        cmocka_unit_test(what_cannot_grow_says_so),
        cmocka_unit_test(the_service_has_a_name),
        cmocka_unit_test(hex_goes_both_ways),
        cmocka_unit_test(every_join_has_its_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
