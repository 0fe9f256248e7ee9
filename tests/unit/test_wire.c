/* needs: base self trace ingest protocol stream */
/* Golden captures: tests/wire/<protocol>/<case>.txt and .golden beside it. Every case is run whole, byte by byte and in
 * every two-way cut (as many as CUTS_MAX): the same must be heard. Then with each call lost, and with noise after it:
 * whatever is heard as answered must be among what was heard whole. WF_GOLDEN=write rewrites the golden files;
 * WF_CASE=part runs only cases whose path has that part. */
#include "tests/wire/wire.c"

#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

#define CUTS_MAX 600

static bool same(const char *path, const char *how, const char *want, const char *got)
{
    if (!strcmp(want, got))
        return true;
    print_error("%s, %s: wanted\n%s\nheard\n%s\n", path, how, want, got);
    return false;
}

static bool golden_ok(const char *path, const char *got)
{
    char golden[512];
    snprintf(golden, sizeof(golden), "%.*s.golden", (int)(strlen(path) - 4), path);
    const char *mode = getenv("WF_GOLDEN");
    if (mode && !strcmp(mode, "write")) {
        cleanup(fclosep) FILE *f = fopen(golden, "w");
        assert_non_null(f);
        fputs(got, f);
        return true;
    }
    cleanup(freep) char *want = NULL;
    size_t n;
    if (read_small_file(golden, 1 << 20, &want, &n)) {
        print_error("%s: no golden file: WF_GOLDEN=write makes it\n", path);
        return false;
    }
    return same(path, "whole", want, got);
}

static bool cuts_ok(const char *path, const struct wire_case *c, const char *want)
{
    size_t all = c->n_bytes, step = all / CUTS_MAX + 1;
    bool ok = true;
    for (size_t i = 0; i < c->n_ops && ok; i++) {
        const struct wire_op *op = &c->ops[i];
        for (size_t at = 1; op->kind == WIRE_CALL && !op->tail && at < op->n && ok; at += step) {
            char how[64];
            snprintf(how, sizeof(how), "call %zu cut at %zu", i, at);
            cleanup(freep) char *got = wire_run(c, &(struct wire_bend){ .cut_op = i, .cut_at = at, .drop_op = SIZE_MAX });
            ok = same(path, how, want, got);
        }
    }
    return ok;
}

static bool has_line(const char *block, size_t n, const char *line, size_t len)
{
    for (const char *p = block, *end = block + n; p < end; p += strcspn(p, "\n") + 1)
        if ((size_t)(end - p) >= len && !strncmp(p, line, len) && (p[len] == '\n' || !p[len]))
            return true;
    return false;
}

/* Is every line of `block` in `of`? What depends on a message that was lost may be missing, and said to be unknown. */
static bool is_part(const char *block, const char *of, size_t of_len)
{
    bool partly = strstr(block, "wftrace.gen_ai.partly_seen = true");
    for (const char *line = block; *line;) {
        size_t n = strcspn(line, "\n");
        bool unknown =
            !strncmp(line, "postgres: postgresql", n) || strstr(line, "wftrace.db.statement = \"unknown\"") == line + 2;
        unknown |=
            partly && (!strncmp(line, "  now ", 6) || !strncmp(line, "  wftrace.gen_ai.", 17) ||
                       !strncmp(line, "  gen_ai.response.finish_reasons", 32) || !strncmp(line, "  gen_ai.output.messages", 24));
        if (!unknown && strncmp(line, "  at ", 5) && !has_line(of, of_len, line, n))
            return false;
        line += n + (line[n] == '\n');
    }
    return true;
}

static bool is_part_of_any(const char *block, const char *want)
{
    for (const char *of = want, *end; (end = strstr(of, "\n\n")); of = end + 2)
        if (is_part(block, of, (size_t)(end - of)))
            return true;
    return false;
}

/* Each block that was answered must be one of `want`, or less of it. */
static bool answered_are_true(const char *path, const char *how, const char *want, char *got)
{
    for (char *block = got, *end; *block && (end = strstr(block, "\n\n")); block = end + 2) {
        *end = 0;
        if (!strstr(block, "-> answered") || is_part_of_any(block, want))
            continue;
        print_error("%s, %s: heard what wasn't there\n%s\nwhole it was\n%s\n", path, how, block, want);
        return false;
    }
    return true;
}

static bool losses_ok(const char *path, const struct wire_case *c, const char *want)
{
    bool ok = true;
    for (size_t i = 0; i < c->n_ops && ok; i++) {
        char how[64];
        if (c->ops[i].kind != WIRE_CALL)
            continue;
        snprintf(how, sizeof(how), "call %zu lost", i);
        cleanup(freep) char *got = wire_run(c, &(struct wire_bend){ .drop_op = i });
        ok = answered_are_true(path, how, want, got);
    }
    return ok;
}

static bool case_ok(const char *path)
{
    struct wire_case c;
    int err = wire_load(path, &c);
    if (err) {
        print_error("%s: line %d can't be read\n", path, err);
        return false;
    }
    cleanup(freep) char *whole = wire_run(&c, &(struct wire_bend){ .drop_op = SIZE_MAX });
    cleanup(freep) char *bytes = wire_run(&c, &(struct wire_bend){ .piece = 1, .drop_op = SIZE_MAX });
    cleanup(freep) char *noise = wire_run(&c, &(struct wire_bend){ .garbage = true, .drop_op = SIZE_MAX });
    bool ok = golden_ok(path, whole);
    ok = same(path, "byte by byte", whole, bytes) && ok;
    ok = cuts_ok(path, &c, whole) && ok;
    ok = answered_are_true(path, "noise after", whole, noise) && ok;
    ok = losses_ok(path, &c, whole) && ok;
    wire_free(&c);
    return ok;
}

static void test_protocol(void **state)
{
    const char *only = getenv("WF_CASE");
    char pattern[128];
    glob_t g;
    size_t failed = 0, run = 0;
    snprintf(pattern, sizeof(pattern), "tests/wire/%s/*.txt", (const char *)*state);
    assert_int_equal(glob(pattern, 0, NULL, &g), 0);
    for (size_t i = 0; i < g.gl_pathc; i++) {
        if (only && !strstr(g.gl_pathv[i], only))
            continue;
        run++;
        failed += !case_ok(g.gl_pathv[i]);
    }
    globfree(&g);
    print_message("%zu cases\n", run);
    assert_int_equal(failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(test_protocol, (void *)"http1"),
        cmocka_unit_test_prestate(test_protocol, (void *)"resp"),
        cmocka_unit_test_prestate(test_protocol, (void *)"postgres"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
