/* needs: base ingest self */
/* Decoding of records: each type, each bound, and hostile lengths. Inputs lie flush against an unmapped page, so that any read
 * past the record faults. */
#include "ingest/event.h"
#include "bpf/abi.h"
#include "inproc/python/bridge_abi.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

/* `n` bytes that end where the mapping ends, as nearly as the alignment of records allows; under ASan exactly. */
static void *cliff(const void *bytes, size_t n)
{
    static u8 *base;
#ifdef __SANITIZE_ADDRESS__
    free(base);
    base = malloc(n ? n : 1);
    u8 *at = base;
#else
    size_t page = (size_t)sysconf(_SC_PAGESIZE), room = page * 8;
    if (!base) {
        base = mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        mprotect(base + room, page, PROT_NONE);
    }
    u8 *at = base + ((room - n) & ~(size_t)7);
#endif
    memcpy(at, bytes, n);
    return at;
}

static int decode(const void *record, size_t n, struct event *e)
{
    u32 lost = 0;
    return event_decode(cliff(record, n), n, &lost, e);
}

static const size_t sizes[] = {
#define X(tag, s, name) [tag] = sizeof(struct s),
    RECORDS(X)
#undef X
};

static void every_type_needs_its_struct(void **state)
{
    u8 record[512];
    struct event e;
    UNUSED(state);
    for (u16 type = REC_FORK; type < REC_KERNEL_MAX; type++) {
        if (type == REC_BRIDGE) /* its payload has a head of its own: bridge_values */
            continue;
        for (size_t n = 0; n <= sizes[type]; n++) {
            memset(record, 0, sizeof(record));
            struct rec_hdr h = { .type = type, .len = (u32)n, .tgid = 7 };
            memcpy(record, &h, n < sizeof(h) ? n : sizeof(h));
            assert_int_equal(decode(record, n, &e), n < sizes[type] ? -EBADMSG : 0);
        }
        assert_int_equal(e.tgid, 7);
        assert_int_equal(e.type, type - 1);
    }
}

static void unknown_types_are_told_apart(void **state)
{
    struct rec_hdr h = { .type = REC_KERNEL_MAX, .len = sizeof(h) };
    struct event e = { .tgid = 99 };
    UNUSED(state);
    assert_int_equal(decode(&h, sizeof(h), &e), -ENOTSUP);
    h.type = 0;
    assert_int_equal(decode(&h, sizeof(h), &e), -ENOTSUP);
    h.type = 0xffff;
    assert_int_equal(decode(&h, sizeof(h), &e), -ENOTSUP);
    assert_int_equal(e.tgid, 99); /* untouched on failure */
}

static void header_length_is_held_against_the_bytes(void **state)
{
    struct rec_mapped r = { .h = { .type = REC_MAPPED, .len = sizeof(r) + 1 } };
    struct event e;
    UNUSED(state);
    assert_int_equal(decode(&r, sizeof(r), &e), -EBADMSG);
    r.h.len = 3;
    assert_int_equal(decode(&r, sizeof(r), &e), -EBADMSG);
    r.h.len = UINT32_MAX;
    assert_int_equal(decode(&r, sizeof(r), &e), -EBADMSG);
}

static void data_payload(void **state)
{
    struct {
        struct rec_data r;
        char bytes[8];
    } in = { .r = { .h = { .type = REC_DATA, .len = sizeof(struct rec_data) + 5, .flags = REC_F_TAIL },
                    .orig_len = 9,
                    .cap_len = 5,
                    .dir = 1,
                    .pos = 100 },
             .bytes = "abcde" };
    struct event e;
    UNUSED(state);
    assert_int_equal(decode(&in, in.r.h.len, &e), 0);
    assert_true(slice_eq(e.data.bytes, "abcde") && e.data.tail && !e.data.nodata && e.data.dir == DIR_RECV && e.data.len == 9 &&
                e.data.pos == 100);
    in.r.cap_len = 6; /* more than the record holds */
    assert_int_equal(decode(&in, in.r.h.len, &e), -EBADMSG);
    in.r.cap_len = UINT32_MAX;
    in.r.orig_len = UINT32_MAX;
    assert_int_equal(decode(&in, in.r.h.len, &e), -EBADMSG);
    in.r.cap_len = 5;
    in.r.orig_len = 4; /* more captured than there was */
    assert_int_equal(decode(&in, in.r.h.len, &e), -EBADMSG);
    in.r.orig_len = 9;
    in.r.dir = 2;
    assert_int_equal(decode(&in, in.r.h.len, &e), -EBADMSG);
}

static void exec_strings(void **state)
{
    struct {
        struct rec_exec r;
        char bytes[16];
    } in = {
        .r = { .h = { .type = REC_EXEC, .len = sizeof(struct rec_exec) + 11 }, .filename_len = 5, .args_len = 6, .args_full = 9 },
        .bytes = "/a/b\0ls\0-l\0"
    };
    struct event e;
    UNUSED(state);
    assert_int_equal(decode(&in, in.r.h.len, &e), 0);
    assert_true(slice_eq(e.exec.filename, "/a/b"));
    assert_int_equal(e.exec.args.n, 6);
    assert_memory_equal(e.exec.args.p, "ls\0-l", 6);
    assert_true(e.exec.args_cut);
    in.r.args_len = 7;
    assert_int_equal(decode(&in, in.r.h.len, &e), -EBADMSG);
    in.r.filename_len = 0xffff;
    in.r.args_len = 0xffff;
    assert_int_equal(decode(&in, in.r.h.len, &e), -EBADMSG);
}

static void hit_strings(void **state)
{
    struct {
        struct rec_hit r;
        char slots[2][HIT_STR];
    } in = { .r = { .h = { .type = REC_HIT, .len = sizeof(in) },
                    .n_values = 3,
                    .strings = 5,
                    .v = { 1, 42, 0 },
                    .str_len = { 3, 0, HIT_STR } },
             .slots = { "zero", "one" } };
    struct event e;
    UNUSED(state);
    assert_int_equal(decode(&in, sizeof(in), &e), 0);
    assert_true(slice_eq(e.hit.s[0], "one"));
    assert_int_equal(e.hit.s[2].n, HIT_STR);
    assert_int_equal(e.hit.v[1], 42);
    in.r.v[0] = 2; /* a slot that is not there */
    assert_int_equal(decode(&in, sizeof(in), &e), -EBADMSG);
    in.r.v[0] = UINT64_MAX;
    assert_int_equal(decode(&in, sizeof(in), &e), -EBADMSG);
    in.r.v[0] = 1;
    in.r.str_len[0] = HIT_STR + 1;
    assert_int_equal(decode(&in, sizeof(in), &e), -EBADMSG);
    in.r.str_len[0] = 1;
    in.r.n_values = HIT_VALUES + 1;
    assert_int_equal(decode(&in, sizeof(in), &e), -EBADMSG);
}

/* An event of the bridge: every cut of it, lying lengths, unknown types. */
static void bridge_values(void **state)
{
    UNUSED(state);
    struct {
        struct rec_bridge r;
        struct bridge_event b;
        struct bridge_attr a1;
        char text[8];
        struct bridge_attr a2;
        u8 number[8];
    } __attribute__((packed)) in = { .r = { .h = { .type = REC_BRIDGE, .len = sizeof(in) } } }, bad;
    in.r.orig_len = in.r.cap_len = sizeof(in) - sizeof(in.r);
    in.b = (struct bridge_event){ .size = (u16)in.r.cap_len,
                                  .version = BRIDGE_VERSION,
                                  .kind = BRIDGE_FAIL,
                                  .watch = 3,
                                  .n_attrs = 2,
                                  .dropped = 1,
                                  .activity = 77 };
    in.a1 = (struct bridge_attr){ 250, BRIDGE_TEXT, 5 };
    memcpy(in.text, "hello", 5);
    in.a2 = (struct bridge_attr){ 4, BRIDGE_INT, 8 };
    in.number[0] = 42;
    struct event e;
    struct event_value v;
    u32 lost = 0;
    assert_int_equal(event_decode(&in, sizeof(in), &lost, &e), 0);
    assert_int_equal(e.bridge.phase, BRIDGE_SAYS_FAIL);
    assert_int_equal(e.bridge.activity, 77);
    assert_int_equal(e.bridge.book, 0);
    bad = in, bad.b.activity = 0xabcdefull << BRIDGE_BOOK | 77;
    assert_int_equal(event_decode(&bad, sizeof(bad), &lost, &e), 0);
    assert_int_equal(e.bridge.book, 0xabcdef);
    bad.b.version = 1; /* of an older capture: the process stood there */
    assert_int_equal(event_decode(&bad, sizeof(bad), &lost, &e), 0);
    assert_int_equal(e.bridge.book, 0);
    assert_int_equal(event_decode(&in, sizeof(in), &lost, &e), 0);
    struct slice left = e.bridge.values;
    assert_true(event_value_next(&left, &v) && v.index == VALUE_ERROR_TYPE && slice_eq(v.text, "hello"));
    assert_true(event_value_next(&left, &v) && v.type == VALUE_INT && v.i == 42);
    assert_false(event_value_next(&left, &v));
    for (u32 cut = 0; cut < in.r.cap_len; cut++) { /* says more than it holds */
        bad = in;
        bad.r.h.len = (u32)(sizeof(in.r) + cut);
        assert_int_equal(event_decode(&bad, sizeof(bad), &lost, &e), -EBADMSG);
    }
    bad = in, bad.a1.len = 500;
    assert_int_equal(event_decode(&bad, sizeof(bad), &lost, &e), -EBADMSG);
    bad = in, bad.a2.len = 4;
    assert_int_equal(event_decode(&bad, sizeof(bad), &lost, &e), -EBADMSG);
    bad = in, bad.a1.type = 9;
    assert_int_equal(event_decode(&bad, sizeof(bad), &lost, &e), -EBADMSG);
    bad = in, bad.b.n_attrs = 3;
    assert_int_equal(event_decode(&bad, sizeof(bad), &lost, &e), -EBADMSG);
    bad = in, bad.b.kind = 7;
    assert_int_equal(event_decode(&bad, sizeof(bad), &lost, &e), -EBADMSG);
    bad = in, bad.b.version = 3;
    assert_int_equal(event_decode(&bad, sizeof(bad), &lost, &e), -EBADMSG);
}

static void mapped_ipv4_becomes_ipv4(void **state)
{
    struct rec_conn r = { .h = { .type = REC_CONN, .len = sizeof(r), .flags = REC_F_OPEN }, .family = 10, .role = ROLE_SERVER };
    struct event e;
    UNUSED(state);
    memcpy(r.remote, (u8[]){ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 7 }, 16);
    memcpy(r.local, (u8[]){ 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1 }, 16);
    assert_int_equal(decode(&r, sizeof(r), &e), 0);
    assert_int_equal(e.conn.family, 2);
    assert_memory_equal(e.conn.remote, ((u8[16]){ 10, 0, 0, 7 }), 16);
    assert_memory_equal(e.conn.local, ((u8[16]){ 10, 0, 0, 1 }), 16);
    assert_true(e.conn.was_open && e.conn.role == CONN_SERVER);
    r.remote[11] = 0;
    assert_int_equal(decode(&r, sizeof(r), &e), 0);
    assert_int_equal(e.conn.family, 10);
    r.role = 3;
    assert_int_equal(decode(&r, sizeof(r), &e), -EBADMSG);
}

static void losses_are_told_once(void **state)
{
    struct rec_mapped r = { .h = { .type = REC_MAPPED, .len = sizeof(r), .lost = 5 } };
    struct event e;
    u32 seen = 0;
    UNUSED(state);
    assert_int_equal(event_decode(&r, sizeof(r), &seen, &e), 0);
    assert_int_equal(e.lost, 5);
    assert_int_equal(event_decode(&r, sizeof(r), &seen, &e), 0);
    assert_int_equal(e.lost, 0);
    r.h.lost = 3; /* stamped before, submitted after: another CPU */
    assert_int_equal(event_decode(&r, sizeof(r), &seen, &e), 0);
    assert_int_equal(e.lost, 0);
    assert_int_equal(seen, 5);
    struct rec_hdr info = { .type = REC_PROCINFO, .len = sizeof(info) };
    assert_int_equal(event_decode(&info, sizeof(info), &seen, &e), 0);
    assert_int_equal(seen, 5);
    seen = UINT32_MAX; /* the counter wraps */
    r.h.lost = 1;
    assert_int_equal(event_decode(&r, sizeof(r), &seen, &e), 0);
    assert_int_equal(e.lost, 2);
}

static void procinfo_is_read_by_key(void **state)
{
    struct {
        struct rec_hdr h;
        char text[32];
    } in = { .h = { .type = REC_PROCINFO, .len = sizeof(struct rec_hdr) + 20 }, .text = "exe=/bin/x\0comm=x=y" };
    struct event e;
    UNUSED(state);
    assert_int_equal(decode(&in, in.h.len, &e), 0);
    assert_true(slice_eq(procinfo_get(e.procinfo.text, "exe"), "/bin/x"));
    assert_true(slice_eq(procinfo_get(e.procinfo.text, "comm"), "x=y"));
    assert_int_equal(procinfo_get(e.procinfo.text, "com").n, 0);
    assert_int_equal(procinfo_get(e.procinfo.text, "").n, 0);
    in.h.len--; /* the last NUL is missing */
    assert_int_equal(decode(&in, in.h.len, &e), -EBADMSG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_type_needs_its_struct),
        cmocka_unit_test(unknown_types_are_told_apart),
        cmocka_unit_test(header_length_is_held_against_the_bytes),
        cmocka_unit_test(data_payload),
        cmocka_unit_test(exec_strings),
        cmocka_unit_test(hit_strings),
        cmocka_unit_test(bridge_values),
        cmocka_unit_test(mapped_ipv4_becomes_ipv4),
        cmocka_unit_test(losses_are_told_once),
        cmocka_unit_test(procinfo_is_read_by_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
