/* needs: base config trace self stream protocol ingest */
/* Files of tests/config: each broken one has its messages in bad.txt (WF_GOLDEN=write writes them anew: read the diff); each
 * good one loads without a word, and its explain is in good.txt. What is generated from the table is what the tree holds. */
#include "config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>
#include <glob.h>
#include <unistd.h>

#define SECRET "s3cr3t-value"

static struct config_says mistakes, notes;
static char start[1024];

static const char *env_of(void *arg, const char *name)
{
    UNUSED(arg);
    return !strcmp(name, "WF_TEST_API_KEY") || !strcmp(name, "WF_TEST_PASSWORD") ? SECRET : NULL;
}

static int load(const char *const *files, size_t n, struct config **ret)
{
    struct config_input in = { .files = files, .n_files = n, .env = env_of };
    return config_load(&in, ret, &mistakes, &notes);
}

static void same(const char *path, const char *now)
{
    cleanup(freep) char *golden = NULL;
    size_t len = 0;
    const char *mode = getenv("WF_GOLDEN");
    if (mode && !strcmp(mode, "write")) {
        FILE *f = fopen(path, "we");
        assert_non_null(f);
        fputs(now, f);
        fclose(f);
        return;
    }
    assert_int_equal(read_small_file(path, 1 << 20, &golden, &len), 0);
    if (strcmp(golden, now)) {
        size_t at = 0, line = 1;
        for (; golden[at] && golden[at] == now[at]; at++)
            line += golden[at] == '\n';
        while (at && golden[at - 1] != '\n')
            at--;
        print_error("%s:%zu: expected\n%.*s\nbut it is\n%.*s\n", path, line, (int)strcspn(golden + at, "\n"), golden + at,
                    (int)strcspn(now + at, "\n"), now + at);
    }
    assert_string_equal(golden, now);
}

static void each(const char *folder, void (*one)(FILE *to, const char *file), const char *golden)
{
    glob_t g;
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_int_equal(chdir(start), 0);
    assert_int_equal(chdir(folder), 0);
    assert_int_equal(glob("*.yaml", 0, NULL, &g), 0);
    for (size_t i = 0; i < g.gl_pathc; i++)
        one(to, g.gl_pathv[i]);
    globfree(&g);
    fclose(to);
    assert_int_equal(chdir(start), 0);
    assert_null(strstr(text, SECRET));
    same(golden, text);
    free(text);
}

static void bad(FILE *to, const char *file)
{
    struct config *c = NULL;
    int err = load(&file, 1, &c);
    if (!err)
        print_error("%s was taken\n", file);
    assert_int_equal(err, -EINVAL);
    assert_true(mistakes.n > 0);
    assert_null(strstr(notes.text, SECRET));
    fprintf(to, "%s\n", mistakes.text);
}

static void good(FILE *to, const char *file)
{
    struct config *c = NULL;
    if (load(&file, 1, &c))
        print_error("%s\n", mistakes.text);
    assert_non_null(c);
    fprintf(to, "== %s\n", file);
    if (notes.n)
        fprintf(to, "%s\n", notes.text);
    config_explain(c, false, to);
    config_free(c);
}

static void broken_files_name_the_place(void **state) { each("tests/config/bad", bad, "tests/config/bad.txt"); }
static void good_files_load(void **state) { each("tests/config/good", good, "tests/config/good.txt"); }

/* Every mistake of a file at once; and no end of memory or text when there are thousands. */
static void all_mistakes_are_told(void **state)
{
    const char *file = "tests/config/bad/many.yaml";
    struct config *c = NULL;
    assert_int_equal(load(&file, 1, &c), -EINVAL);
    assert_int_equal(mistakes.n, 5);
    char path[] = "/tmp/wf-config-XXXXXX";
    FILE *f = fdopen(mkstemp(path), "w");
    fputs("file_format: \"1.1\"\nresource:\n  attributes:\n", f);
    for (int i = 0; i < 5000; i++)
        fprintf(f, "    - {nam: %d}\n", i);
    fclose(f);
    file = path;
    assert_int_equal(load(&file, 1, &c), -EINVAL);
    unlink(path);
    assert_int_equal(mistakes.n, 15000);
    assert_non_null(strstr(mistakes.text, " more mistakes"));
    assert_true(strlen(mistakes.text) < sizeof(mistakes.text));
}

/* explain says which file won, and hides what is secret. */
static void explain_names_the_origin(void **state)
{
    static const char *const files[] = { "tests/config/good/backend.yaml", "tests/config/overlay.yaml" };
    struct config *c = NULL;
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    assert_int_equal(load(files, 2, &c), 0);
    config_explain(c, false, to);
    config_explain(c, true, to);
    fclose(to);
    assert_non_null(strstr(text, "log_level = debug   # tests/config/overlay.yaml:3\n"));
    assert_non_null(strstr(text, "otlp_http.compression = gzip   # tests/config/good/backend.yaml:"));
    assert_non_null(strstr(text, "headers[0].value = <secret>   #"));
    assert_non_null(strstr(text, "\"key\": \"log_level\", \"value\": \"debug\", \"origin\": \"file\""));
    assert_null(strstr(text, SECRET));
    char where[200];
    assert_string_equal(config_where(c, "log_level", where, sizeof(where)), "tests/config/overlay.yaml:3:12");
    assert_string_equal(config_where(c, "tracer_provider.processors[0].nothing", where, sizeof(where)),
                        config_where(c, "tracer_provider.processors[0]", (char[200]){ 0 }, 200));
    free(text);
    config_free(c);
}

/* What stands between the marks of the documentation is what the table says (make docs). */
static void documentation_is_generated(void **state)
{
    static const struct {
        const char *file, *mark;
        void (*write)(FILE *to);
    } parts[] = { { "docs/configuration.md", "keys", config_write_docs },
                  { "docs/configuration.md", "variables", config_write_variables },
                  { "docs/schema/wftrace.schema.json", NULL, config_write_schema } };
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        cleanup(freep) char *held = NULL;
        cleanup(freep) char *now = NULL;
        size_t len = 0, size = 0;
        char begin[64] = "", end[64] = "";
        FILE *to = open_memstream(&now, &size);
        parts[i].write(to);
        fclose(to);
        assert_int_equal(read_small_file(parts[i].file, 1 << 20, &held, &len), 0);
        if (parts[i].mark) {
            snprintf(begin, sizeof(begin), "<!-- generated: %s -->\n", parts[i].mark);
            snprintf(end, sizeof(end), "<!-- end: %s -->", parts[i].mark);
        }
        const char *from = strstr(held, begin), *until = from && *end ? strstr(from, end) : held + len;
        assert_non_null(from);
        assert_non_null(until);
        from += strlen(begin);
        if ((size_t)(until - from) != size || memcmp(from, now, size))
            fail_msg("%s is not what the table of keys says: make docs", parts[i].file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_files_name_the_place), cmocka_unit_test(good_files_load),
        cmocka_unit_test(all_mistakes_are_told),       cmocka_unit_test(explain_names_the_origin),
        cmocka_unit_test(documentation_is_generated),
    };
    assert(getcwd(start, sizeof(start)));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
