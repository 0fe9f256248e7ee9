/* needs: base */
#include "base/base.h"
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <unistd.h>
#include <cmocka.h>

static void slices_compare_and_trim(void **state)
{
    assert_true(slice_ieq(slice_str("Content-Length"), "content-length"));
    assert_false(slice_ieq(slice_str("Content-Lengt"), "content-length"));
    assert_true(slice_istarts(slice_str("BEARER x"), "bearer "));
    assert_false(slice_istarts(slice_str("be"), "bearer"));
    assert_int_equal(slice_find(slice_str("a:b"), ':'), 1);
    assert_int_equal(slice_find(slice_str("ab"), ':'), -1);
    assert_int_equal(slice_find(slice_of(NULL, 0), ':'), -1);
    assert_true(slice_eq(slice_trim(slice_str(" \t a b\t ")), "a b"));
    assert_int_equal(slice_trim(slice_str(" \t ")).n, 0);
    assert_int_equal(slice_from(slice_str("abc"), 7).n, 0);
}

static void numbers_are_whole_and_bounded(void **state)
{
    static const struct {
        const char *in;
        int rc;
        u64 out;
    } cases[] = {
        { "0", 0, 0 },
        { "18446744073709551615", 0, UINT64_MAX },
        { "18446744073709551616", -ERANGE, 7 },
        { "", -EINVAL, 7 },
        { "-1", -EINVAL, 7 },
        { "1 ", -EINVAL, 7 },
        { "007", 0, 7 },
        { "0x10", -EINVAL, 7 },
        { "99999999999999999999999", -ERANGE, 7 },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        u64 got = 7;
        assert_int_equal(slice_u64(slice_str(cases[i].in), &got), cases[i].rc);
        assert_int_equal(got, cases[i].out);
    }
}

static void hashes_tell_length_and_content_apart(void **state)
{
    static const u8 zeros[32];
    for (size_t a = 0; a < 32; a++)
        for (size_t b = a + 1; b < 32; b++)
            assert_true(hash_bytes(zeros, a, 1) != hash_bytes(zeros, b, 1));
    assert_true(hash_bytes("abcdefgh1", 9, 0) != hash_bytes("abcdefgh2", 9, 0));
    assert_true(hash_bytes("abc", 3, 0) != hash_bytes("abc", 3, 1));
}

static void small_files_are_read_to_their_ceiling(void **state)
{
    char path[] = "/tmp/wf-test-XXXXXX";
    int fd = mkstemp(path);
    char block[1000];
    memset(block, 'x', sizeof(block));
    for (int i = 0; i < 10; i++)
        assert_int_equal(write(fd, block, sizeof(block)), sizeof(block));
    close(fd);
    static const size_t max[] = { 0, 1, 4096, 5000, 9999, 10000, 10001, 1 << 20 };
    for (size_t i = 0; i < ARRAY_LEN(max); i++) {
        cleanup(freep) char *text = NULL;
        size_t len = 0;
        assert_int_equal(read_small_file(path, max[i], &text, &len), 0);
        assert_int_equal(len, max[i] < 10000 ? max[i] : 10000);
        assert_int_equal(strlen(text), len);
    }
    unlink(path);
    char *none = (char *)path;
    assert_int_equal(read_small_file("/nonexistent/x", 10, &none, NULL), -ENOENT);
    assert_ptr_equal(none, path);
    cleanup(freep) char *stat = NULL;
    assert_int_equal(read_small_file("/proc/self/stat", 1 << 16, &stat, NULL), 0);
    assert_true(strlen(stat) > 20);
}

static void the_nearest_word_is_a_plausible_slip(void **state)
{
    static const char *const words[] = { "console", "otlp", "otlp-json", "zipkin", "store" };
    static const struct {
        const char *in, *out;
    } cases[] = {
        { "consol", "console" }, { "otpl", "otlp" },   { "OTLP", "otlp" }, { "zipkn", "zipkin" }, { "otlp_json", "otlp-json" },
        { "stroe", "store" },    { "postgres", NULL }, { "", NULL },       { "xy", NULL },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *got = nearest_word(cases[i].in, words, ARRAY_LEN(words));
        if (cases[i].out)
            assert_string_equal(got, cases[i].out);
        else
            assert_null(got);
    }
    char big[500];
    memset(big, 'o', sizeof(big) - 1);
    big[sizeof(big) - 1] = 0;
    assert_null(nearest_word(big, words, ARRAY_LEN(words)));
}

static char heard[2048];
static void hear(const char *line) { snprintf(heard, sizeof(heard), "%s", line); }

static void log_lines_are_one_line_and_keep_errno(void **state)
{
    log_hook = hear;
    errno = EAGAIN;
    log_warn("probe", "cannot open %s: %s (left out)", "/a\x1b[31m\nb", errno_name(-EPERM));
    assert_string_equal(heard, "wftrace: probe: cannot open /a?[31m?b: EPERM (left out)");
    assert_int_equal(errno, EAGAIN);
    heard[0] = 0;
    log_info("probe", "not at this level");
    assert_string_equal(heard, "");
    char big[4000];
    memset(big, 'y', sizeof(big) - 1);
    big[sizeof(big) - 1] = 0;
    log_error("x", "%s", big);
    assert_int_equal(strlen(heard), 1022);
    log_hook = NULL;
}

static void errno_names_never_fail(void **state)
{
    assert_string_equal(errno_name(ENOENT), "ENOENT");
    assert_string_equal(errno_name(-ENOENT), "ENOENT");
    assert_string_equal(errno_name(-99999), "E?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_compare_and_trim),
        cmocka_unit_test(numbers_are_whole_and_bounded),
        cmocka_unit_test(hashes_tell_length_and_content_apart),
        cmocka_unit_test(small_files_are_read_to_their_ceiling),
        cmocka_unit_test(the_nearest_word_is_a_plausible_slip),
        cmocka_unit_test(log_lines_are_one_line_and_keep_errno),
        cmocka_unit_test(errno_names_never_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
