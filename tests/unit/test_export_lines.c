/* needs: base self trace stream protocol ingest export store gen */
/* Files of lines: shared between lanes, rotated, renamed under us, full. */
#include "export/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[64];
static int setup(void **state)
{
    strcpy(dir, "/tmp/wf-lines-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}
static int teardown(void **state)
{
    char line[100];
    snprintf(line, sizeof(line), "rm -rf %s", dir);
    return system(line);
}

static struct export_spec spec_of(const char *options)
{
    char text[200], err[200] = "";
    struct export_spec s;
    snprintf(text, sizeof(text), "otlp-json:%s/out%s", dir, options);
    if (export_spec_parse(text, SIGNAL_TRACES, &s, err, sizeof(err)))
        fail_msg("%s", err);
    return s;
}

static struct lines *open_lines(const char *options)
{
    struct export_spec s = spec_of(options);
    void *l;
    char err[200];
    assert_int_equal(lines_exporter_open(&s, &l, err, sizeof(err)), 0);
    return l;
}

/* A line of n bytes of one letter. */
static void put(struct lines *l, char c, size_t n)
{
    struct export_reply r;
    char *text = malloc(n + 1);
    memset(text, c, n);
    text[n - 1] = '\n', text[n] = 0;
    json_raw(&l->json, text);
    assert_int_equal(lines_write(l, &r), EXPORT_OK);
    free(text);
}

/* "aaa.bb" : the letters of the lines of FILE<suffix>, each once; "-" when it is not there. */
static const char *letters(const char *suffix)
{
    static char out[100];
    char path[100], c;
    size_t n = 0;
    snprintf(path, sizeof(path), "%s/out%s", dir, suffix);
    FILE *f = fopen(path, "r");
    if (!f)
        return "-";
    for (int before = '\n', now; (now = getc(f)) != EOF; before = now) {
        c = (char)now;
        if (before == '\n')
            out[n++] = c;
        else
            assert_true(now == '\n' || now == before); /* whole lines only */
    }
    fclose(f);
    out[n] = 0;
    return out;
}

static void it_rotates_between_lines(void **state)
{
    struct lines *l = open_lines("?rotate=1k&keep=2");
    for (char c = 'a'; c <= 'f'; c++)
        put(l, c, 400);
    assert_string_equal(letters(""), "ef");
    assert_string_equal(letters(".1"), "cd");
    assert_string_equal(letters(".2"), "ab");
    put(l, 'g', 5000); /* more than a file holds: whole, in one of its own */
    put(l, 'h', 10);
    assert_string_equal(letters(""), "h");
    assert_string_equal(letters(".1"), "g");
    assert_string_equal(letters(".2"), "ef");
    assert_string_equal(letters(".3"), "-");
    lines_exporter_close(l);
    l = open_lines("?rotate=1k"); /* goes on where it was */
    put(l, 'i', 10);
    assert_string_equal(letters(""), "hi");
    lines_exporter_close(l);
}

static void a_renamed_file_is_begun_anew(void **state)
{
    char from[100], to[100];
    snprintf(from, sizeof(from), "%s/out", dir);
    snprintf(to, sizeof(to), "%s/out.old", dir);
    struct lines *l = open_lines("");
    put(l, 'a', 10);
    assert_int_equal(rename(from, to), 0);
    put(l, 'b', 10);
    assert_string_equal(letters(""), "b");
    assert_string_equal(letters(".old"), "a");
    assert_int_equal(unlink(from), 0);
    put(l, 'c', 10);
    assert_string_equal(letters(""), "c");
    assert_int_equal(truncate(from, 0), 0); /* copytruncate */
    put(l, 'd', 10);
    assert_string_equal(letters(""), "d");
    lines_exporter_close(l);
}

static void lanes_share_a_file(void **state)
{
    struct lines *a = open_lines("?rotate=1k&keep=3"), *b = open_lines("?rotate=1k&keep=3");
    assert_ptr_equal(a->file, b->file);
    for (int i = 0; i < 3; i++)
        put(a, 'a', 400), put(b, 'b', 400);
    assert_string_equal(letters(""), "ab");
    assert_string_equal(letters(".2"), "ab");
    lines_exporter_close(a);
    put(b, 'c', 400);
    assert_string_equal(letters(""), "c");
    lines_exporter_close(b);
}

static void options_are_checked(void **state)
{
    struct export_spec s = spec_of("?rotate=100MB&keep=7");
    assert_true(s.rotate_bytes == 100ull << 20 && s.keep == 7);
    s = spec_of("?x"); /* a name */
    assert_non_null(strstr(s.target, "/out?x"));
    static const char *const bad[] = { "otlp-json:/f?rotate=big", "otlp-json:/f?keep=0", "otlp-json:/f?rotate=1k&zip=yes" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char err[200] = "";
        assert_int_equal(export_spec_parse(bad[i], SIGNAL_TRACES, &s, err, sizeof(err)), -EINVAL);
        assert_non_null(strstr(err, "rotate=100MB"));
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_rotates_between_lines),
        TEST(a_renamed_file_is_begun_anew),
        TEST(lanes_share_a_file),
        TEST(options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
