/* needs: base config probe ingest stream protocol workflow trace self inproc */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "inproc/way_in.h"

#define ISOLATED(...) python_is_isolated((char *[]){ __VA_ARGS__, NULL })

static void options(void **state)
{
    assert_true(ISOLATED("python3", "-I", "x.py"));
    assert_true(ISOLATED("/usr/bin/python3.11", "-Es", "x.py"));
    assert_true(ISOLATED("python", "-X", "dev", "-uS", "-c", "pass"));
    assert_true(ISOLATED("python", "-Wignore", "-I"));
    assert_false(ISOLATED("python", "-c", "-I"));
    assert_false(ISOLATED("python", "-mI"));
    assert_false(ISOLATED("python", "x.py", "-I"));
    assert_false(ISOLATED("python", "-W"));
    assert_false(ISOLATED("python", "-"));
    assert_false(ISOLATED("python"));
    assert_false(ISOLATED("ls", "-I"));
    assert_false(python_is_isolated((char *[]){ NULL }));
}

static bool script(const char *text)
{
    char path[] = "/tmp/wf-way-in-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    fchmod(fd, 0755);
    close(fd);
    bool got = ISOLATED(path, "arg");
    unlink(path);
    return got;
}

static void first_lines(void **state)
{
    assert_true(script("#!/usr/bin/python3 -Es\nimport sys\n"));
    assert_true(script("#!/usr/bin/env -S python3 -I\n"));
    assert_false(script("#!/usr/bin/python3\n# -I\n"));
    assert_false(script("#!/bin/sh -E\n"));
    assert_false(script("#!"));
    assert_false(script(""));
    assert_false(ISOLATED("/nonexistent/program"));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(options), cmocka_unit_test(first_lines) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
