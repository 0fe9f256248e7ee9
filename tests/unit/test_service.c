/* needs: base trace self stream protocol ingest */
/* What a process is called: service.name as its user would say it. */
#include "trace/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

/* `args` by blanks, as PROCINFO separates them by 0x1f. */
static const char *service_of(const char *exe, const char *args, const char *more)
{
    static char out[128];
    char text[512];
    int n = snprintf(text, sizeof(text), "exe=%s%cargs=%s%c%s%c", exe, 0, args, 0, more, 0);
    for (char *p = text; p < text + n; p++)
        *p = *p == ' ' ? 0x1f : *p;
    struct resource *r = service_resource(&(struct tracer_options){ 0 }, 1, slice_of(text, (size_t)n));
    snprintf(out, sizeof(out), "%s", resource_service(r));
    resource_unref(r);
    return out;
}

static void the_program_or_what_it_runs(void **state)
{
    static const struct {
        const char *exe, *args, *name;
    } t[] = {
        { "/usr/bin/redis-server", "redis-server --port 1", "redis-server" },
        { "/usr/bin/python3.11", "python3 -m uvicorn shop.api:app --port 80", "shop.api" },
        { "/usr/bin/python3.11", "python3 -u app.py", "app" },
        { "/usr/bin/python3.11", "python3 -c pass", "python3.11" },
        { "/usr/bin/node", "node srv/index.mjs", "index" },
        { "/usr/bin/java", "java -Xmx1g -jar /opt/shop.jar", "shop" },
        { "/usr/bin/dash", "/bin/sh /srv/ship-label 1 lamp", "ship-label" },
        { "/usr/bin/bash", "bash -e -o pipefail deploy.sh x", "deploy" },
        { "/usr/bin/dash", "sh -c ls", "sh" },
        { "/usr/bin/dash", "sh", "sh" },
        { "/usr/bin/bash", "-bash", "bash" },
        { "/usr/bin/bash", "bash -lc make", "bash" },
        { "/usr/bin/bash", "bash --login -s arg", "bash" },
        { "/usr/bin/bash", "bash -o", "bash" },
        { "/usr/bin/perl", "perl -w tool.pl", "tool" },
        { "/usr/bin/perl", "perl -ne print", "perl" },
        { "/usr/bin/dash", "", "dash" },
    };
    for (size_t i = 0; i < ARRAY_LEN(t); i++)
        assert_string_equal(service_of(t[i].exe, t[i].args, ""), t[i].name);
}

static void what_was_said_wins(void **state)
{
    assert_string_equal(service_of("/usr/bin/dash", "sh x.sh", "unit=shop.service"), "shop");
    assert_string_equal(service_of("/usr/bin/dash", "sh x.sh", "env.OTEL_RESOURCE_ATTRIBUTES=service.name=a%20b"), "a b");
    assert_string_equal(service_of("/usr/bin/dash", "sh x.sh", "env.OTEL_SERVICE_NAME=orders"), "orders");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_program_or_what_it_runs), cmocka_unit_test(what_was_said_wins) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
