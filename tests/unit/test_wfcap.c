/* needs: base ingest self */
#include "ingest/wfcap.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <cmocka.h>

#define ABI 7u

struct fixture {
    char path[64];
    u8 *bytes;
    size_t len;
};

static void write_sample(const char *path, struct wfcap_totals *totals)
{
    struct wfcap_header h = { 0 };
    struct wfcap_writer *w = NULL;
    assert_int_equal(wfcap_header_add(&h, "host", slice_str("a=b")), 0);
    assert_int_equal(wfcap_header_add(&h, "rules:x.yaml", slice_str("activities:\n  - name: a\n")), 0);
    assert_int_equal(wfcap_header_add(&h, "rules:y.yaml", slice_str("")), 0);
    assert_int_equal(wfcap_create(path, ABI, &h, &w), 0);
    wfcap_header_done(&h);
    assert_int_equal(wfcap_write_record(w, "first record", 12), 0);
    assert_int_equal(wfcap_write_tick(w, &(struct wfcap_tick){ 5, -9 }), 0);
    assert_int_equal(wfcap_write_record(w, "", 0), 0);
    assert_int_equal(wfcap_write_record(w, "third", 5), 0);
    assert_int_equal(wfcap_finish(w, totals), 0);
}

static int make(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    strcpy(f->path, "/tmp/wfcap.XXXXXX");
    close(mkstemp(f->path));
    unlink(f->path);
    write_sample(f->path, NULL);
    char *text;
    assert_int_equal(read_small_file(f->path, 1 << 20, &text, &f->len), 0);
    f->bytes = (u8 *)text;
    *state = f;
    return 0;
}

static int drop(void **state)
{
    struct fixture *f = *state;
    unlink(f->path);
    free(f->bytes);
    free(f);
    return 0;
}

static int open_bytes(const u8 *p, size_t n, u32 abi, struct wfcap_reader **ret)
{
    char err[200];
    static u8 nothing;
    FILE *f = n ? fmemopen((void *)(uintptr_t)p, n, "rb") : fmemopen(&nothing, 1, "rb");
    if (!n)
        fgetc(f);
    return wfcap_open(f, abi, ret, err, sizeof(err));
}

/* Reads to the end; how many records came. */
static u64 drain(struct wfcap_reader *r, enum wfcap_status *ret)
{
    struct wfcap_frame frame;
    u64 n = 0;
    while ((*ret = wfcap_next(r, &frame)) == WFCAP_OK)
        n += frame.kind == WFCAP_RECORD;
    return n;
}

/* A frame as it lies in the file, with a true checksum. */
static size_t frame_put(u8 *out, u32 kind, const void *p, u32 n)
{
    u32 head[3] = { n, kind, (u32)crc32(crc32(0, NULL, 0), p, n) };
    memcpy(out, head, sizeof(head));
    memcpy(out + sizeof(head), p, n);
    return sizeof(head) + n;
}

static enum wfcap_status site_of(const struct fixture *f, const void *payload, u32 n, struct wfcap_frame *ret)
{
    static u8 file[1 << 14];
    struct wfcap_reader *r = NULL;
    u32 header_len;
    memcpy(&header_len, f->bytes + 16, sizeof(header_len));
    memcpy(file, f->bytes, 24 + header_len);
    size_t len = 24 + header_len + frame_put(file + 24 + header_len, WFCAP_SITE, payload, n);
    assert_int_equal(open_bytes(file, len, ABI, &r), 0);
    enum wfcap_status s = wfcap_next(r, ret);
    if (s == WFCAP_OK) {
        assert_true(slice_eq(ret->site.function, "f"));
        assert_true(slice_eq(ret->site.file, "/x"));
    }
    wfcap_close(r);
    return s;
}

static void sites(void **state)
{
    struct fixture *f = *state;
    static const u8 whole[] = { 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 'f', 0, '/', 'x', 0 };
    struct wfcap_frame frame;
    assert_int_equal(site_of(f, whole, sizeof(whole), &frame), WFCAP_OK);
    assert_int_equal(frame.kind, WFCAP_SITE);
    assert_int_equal(frame.site.number, 1);
    assert_int_equal(frame.site.rule, 2);
    assert_int_equal(frame.site.role, 3);
    for (u32 n = 0; n < sizeof(whole); n++)
        assert_int_equal(site_of(f, whole, n, &frame), WFCAP_CORRUPT);
    static const u8 more[] = { 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 'f', 0, 0, 'x', 0 };
    assert_int_equal(site_of(f, more, sizeof(more), &frame), WFCAP_CORRUPT);
}

static void a_site_of_long_names(void **state)
{
    static char name[10000];
    char path[] = "/tmp/wfcap.XXXXXX";
    struct wfcap_header h = { 0 };
    struct wfcap_writer *w = NULL;
    struct wfcap_reader *r = NULL;
    struct wfcap_frame frame;
    char err[200];
    memset(name, 'n', sizeof(name) - 1);
    close(mkstemp(path));
    assert_int_equal(wfcap_create(path, ABI, &h, &w), 0);
    struct wfcap_site site = { 7, UINT32_MAX, 1, slice_str(name), slice_str("/bin/x") };
    assert_int_equal(wfcap_write_site(w, &site), 0);
    assert_int_equal(wfcap_finish(w, NULL), 0);
    assert_int_equal(wfcap_open(fopen(path, "rb"), ABI, &r, err, sizeof(err)), 0);
    assert_int_equal(wfcap_next(r, &frame), WFCAP_OK);
    assert_int_equal(frame.site.rule, UINT32_MAX);
    assert_int_equal(frame.site.function.n, WFCAP_SITE_TEXT);
    assert_true(slice_eq(frame.site.file, "/bin/x"));
    assert_int_equal(wfcap_next(r, &frame), WFCAP_DONE);
    wfcap_close(r);
    unlink(path);
}

static void what_was_written_is_read(void **state)
{
    struct fixture *f = *state;
    struct wfcap_reader *r = NULL;
    struct wfcap_frame frame;
    assert_int_equal(open_bytes(f->bytes, f->len, ABI, &r), 0);
    assert_int_equal(wfcap_next(r, &frame), WFCAP_OK);
    assert_int_equal(frame.kind, WFCAP_RECORD);
    assert_true(slice_eq(frame.record, "first record"));
    assert_int_equal((uintptr_t)frame.record.p % 8, 0);
    assert_int_equal(wfcap_next(r, &frame), WFCAP_OK);
    assert_int_equal(frame.kind, WFCAP_TICK);
    assert_int_equal(frame.tick.now_boot, 5);
    assert_int_equal(frame.tick.wall_minus_boot, -9);
    assert_int_equal(wfcap_next(r, &frame), WFCAP_OK);
    assert_int_equal(frame.record.n, 0);
    assert_int_equal(wfcap_next(r, &frame), WFCAP_OK);
    assert_true(slice_eq(frame.record, "third"));
    assert_int_equal(wfcap_next(r, &frame), WFCAP_DONE);
    assert_int_equal(wfcap_next(r, &frame), WFCAP_DONE);
    struct wfcap_totals t;
    wfcap_totals(r, &t);
    assert_int_equal(t.records, 3);
    assert_int_equal(t.bytes, 17);
    wfcap_close(r);
}

static void the_header_gives_its_pairs(void **state)
{
    struct fixture *f = *state;
    struct wfcap_reader *r = NULL;
    size_t at = 0;
    struct slice key, value;
    assert_int_equal(open_bytes(f->bytes, f->len, ABI, &r), 0);
    struct slice text = wfcap_header_text(r);
    assert_true(slice_eq(wfcap_header_get(text, "host"), "a=b"));
    assert_int_equal(wfcap_header_get(text, "hos").n, 0);
    assert_int_equal(wfcap_header_get(text, "hostname").n, 0);
    assert_true(wfcap_header_each(text, "rules:", &at, &key, &value));
    assert_true(slice_eq(key, "x.yaml"));
    assert_true(wfcap_header_each(text, "rules:", &at, &key, &value));
    assert_true(slice_eq(key, "y.yaml"));
    assert_int_equal(value.n, 0);
    assert_false(wfcap_header_each(text, "rules:", &at, &key, &value));
    wfcap_close(r);
}

static void every_cut_is_noticed(void **state)
{
    struct fixture *f = *state;
    for (size_t n = 0; n < f->len; n++) {
        struct wfcap_reader *r = NULL;
        enum wfcap_status how;
        if (open_bytes(f->bytes, n, ABI, &r))
            continue;
        assert_true(drain(r, &how) <= 3);
        assert_int_equal(how, WFCAP_TRUNCATED);
        wfcap_close(r);
    }
}

static void every_flipped_bit_is_noticed(void **state)
{
    struct fixture *f = *state;
    for (size_t bit = 0; bit < f->len * 8; bit++) {
        struct wfcap_reader *r = NULL;
        enum wfcap_status how;
        f->bytes[bit / 8] ^= (u8)(1 << bit % 8);
        if (!open_bytes(f->bytes, f->len, ABI, &r)) {
            drain(r, &how);
            assert_true(how == WFCAP_CORRUPT || how == WFCAP_TRUNCATED);
            wfcap_close(r);
        }
        f->bytes[bit / 8] ^= (u8)(1 << bit % 8);
    }
}

static void other_files_and_versions_are_refused(void **state)
{
    struct fixture *f = *state;
    struct wfcap_reader *r = NULL;
    assert_int_equal(open_bytes((const u8 *)"#!/bin/sh\necho this is no capture file\n", 40, ABI, &r), -EBADMSG);
    assert_int_equal(open_bytes(f->bytes, f->len, ABI + 1, &r), -EPROTO);
    f->bytes[8]++;
    assert_int_equal(open_bytes(f->bytes, f->len, ABI, &r), -EPROTO);
    assert_null(r);
}

static void a_record_too_large_is_counted_not_written(void **state)
{
    struct fixture *f = *state;
    struct wfcap_header h = { 0 };
    struct wfcap_writer *w = NULL;
    struct wfcap_totals t;
    cleanup(freep) u8 *big = calloc(1, WFCAP_RECORD_MAX + 1);
    assert_int_equal(wfcap_create(f->path, ABI, &h, &w), 0);
    assert_int_equal(wfcap_write_record(w, big, WFCAP_RECORD_MAX + 1), 0);
    assert_int_equal(wfcap_write_record(w, big, WFCAP_RECORD_MAX), 0);
    assert_int_equal(wfcap_finish(w, &t), 0);
    assert_int_equal(t.oversized, 1);
    assert_int_equal(t.records, 1);
    struct wfcap_reader *r = NULL;
    char err[200];
    enum wfcap_status how;
    assert_int_equal(wfcap_open(fopen(f->path, "rb"), ABI, &r, err, sizeof(err)), 0);
    assert_int_equal(drain(r, &how), 1);
    assert_int_equal(how, WFCAP_DONE);
    wfcap_close(r);
}

static void a_full_disk_is_an_error_once(void **state)
{
    struct wfcap_header h = { 0 };
    struct wfcap_writer *w = NULL;
    static u8 block[65536];
    int failures = 0;
    UNUSED(state);
    assert_int_equal(wfcap_create("/dev/full", ABI, &h, &w), 0);
    for (int i = 0; i < 20; i++)
        failures += wfcap_write_record(w, block, sizeof(block)) == -ENOSPC;
    assert_int_equal(failures, 1);
    assert_int_equal(wfcap_finish(w, NULL), -ENOSPC);
}

static void the_file_is_private(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_header_has_a_ceiling(void **state)
{
    struct wfcap_header h = { 0 };
    cleanup(freep) char *big = calloc(1, WFCAP_HEADER_MAX + 1);
    UNUSED(state);
    memset(big, 'x', WFCAP_HEADER_MAX);
    assert_int_equal(wfcap_header_add(&h, "k", slice_of(big, WFCAP_HEADER_MAX)), -EMSGSIZE);
    assert_int_equal(h.len, 0);
    assert_int_equal(wfcap_header_add(&h, "k", slice_of("a\0b", 3)), 0);
    assert_true(slice_eq(wfcap_header_get(slice_of(h.text, h.len), "k"), "a"));
    wfcap_header_done(&h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_written_is_read, make, drop),
        cmocka_unit_test_setup_teardown(sites, make, drop),
        cmocka_unit_test(a_site_of_long_names),
        cmocka_unit_test_setup_teardown(the_header_gives_its_pairs, make, drop),
        cmocka_unit_test_setup_teardown(every_cut_is_noticed, make, drop),
        cmocka_unit_test_setup_teardown(every_flipped_bit_is_noticed, make, drop),
        cmocka_unit_test_setup_teardown(other_files_and_versions_are_refused, make, drop),
        cmocka_unit_test_setup_teardown(a_record_too_large_is_counted_not_written, make, drop),
        cmocka_unit_test(a_full_disk_is_an_error_once),
        cmocka_unit_test_setup_teardown(the_file_is_private, make, drop),
        cmocka_unit_test(a_header_has_a_ceiling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
