/* needs: base self trace stream protocol ingest pipeline */
#include "pipeline/pipeline.h"
#include "trace/plugin_host.h"

#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char folder[PATH_MAX]; /* build/plugins, beside build/tests/unit */

static const char *plugin_file(const char *name)
{
    static char path[PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static struct span *caught;
static void catch (struct span_sink *sink, struct span *s) { caught = s; }

static struct span *some_span(const char *path, u64 took)
{
    struct span *s = span_new();
    s->id = (struct span_context){ { 1 }, { 2 }, 1 };
    s->start_ns = 1;
    s->end_ns = 1 + took;
    s->resource = resource_new();
    span_set_name(s, slice_str("GET \"x\""));
    attr_str(&s->attrs, "url.path", slice_str(path));
    return s;
}

static void a_processor_reads_writes_and_drops(void **state)
{
    struct processor_spec spec = { .kind = "plugin", .plugin = { .file = plugin_file("slow.so"), .config = "5" } };
    struct span_sink sink = { .ended = catch };
    struct pipeline *p;
    char err[512];
    if (pipeline_new(&(struct pipeline_options){ .processors = &spec, .n_processors = 1 }, &sink, NULL, NULL, &p, err,
                     sizeof(err)))
        fail_msg("%s", err);
    caught = NULL;
    pipeline_spans(p)->ended(pipeline_spans(p), some_span("/healthz", 9));
    assert_null(caught);
    pipeline_spans(p)->ended(pipeline_spans(p), some_span("/x", 4 * NSEC_PER_MSEC));
    assert_null(attr_get(&caught->attrs, "slow"));
    span_unref(caught);
    pipeline_spans(p)->ended(pipeline_spans(p), some_span("/x", 5 * NSEC_PER_MSEC));
    assert_true(attr_get(&caught->attrs, "slow")->b);
    span_unref(caught);
    pipeline_free(p);
}

static void an_exporter_sees_what_is_there(void **state)
{
    struct plugin pl;
    char err[512], file[] = "/tmp/wf-plugin-XXXXXX", line[300];
    close(mkstemp(file));
    if (plugin_open(plugin_file("csv.so"), file, &pl, err, sizeof(err)))
        fail_msg("%s", err);
    struct span *s = some_span("/x", 7);
    attr_str(&s->resource->attrs, "service.name", slice_str("shop"));
    assert_int_equal(pl.p->export_spans(pl.self, (const struct wft_span *const *)&s, 1, err, sizeof(err)), WFT_DELIVERED);
    span_unref(s);
    plugin_close(&pl);
    FILE *f = fopen(file, "re");
    assert_non_null(fgets(line, sizeof(line), f));
    fclose(f);
    unlink(file);
    assert_string_equal(line, "01000000000000000000000000000000,0200000000000000,\"shop\",\"GET \"\"x\"\"\",1,7\n");
}

static int refused(const char *file, const char *config, const char *says)
{
    struct plugin pl;
    char err[1024] = "";
    int code = plugin_open(file, config, &pl, err, sizeof(err));
    if (!code || !strstr(err, says))
        fail_msg("%d: «%s» does not say «%s»", code, err, says);
    return code;
}

static void what_does_not_fit_is_refused(void **state)
{
    char copy[] = "/tmp/wf-plugin-XXXXXX", command[PATH_MAX + 200];
    assert_int_equal(refused(plugin_file("stale.so"), "", "built for interface 99, this wftrace has 1"), -EPROTO);
    assert_int_equal(refused(plugin_file("none.so"), "", "ENOENT"), -ENOENT);
    assert_int_equal(refused("/bin/true", "", "plugin /bin/true"), -EINVAL);
    assert_int_equal(refused(plugin_file("slow.so"), "soon", "'soon' is no number"), -EIO);
    assert_int_equal(refused("libm.so.6", "", "ENOENT"), -ENOENT); /* never from the library path */
    close(mkstemp(copy));
    snprintf(command, sizeof(command), "cp '%s' %s", plugin_file("slow.so"), copy);
    assert_int_equal(system(command), 0);
    chmod(copy, 0777);
    assert_int_equal(refused(copy, "", "may write it"), -EACCES);
    unlink(copy);
}

static void an_exporter_is_no_processor(void **state)
{
    struct processor_spec spec = { .kind = "plugin", .plugin = { .file = plugin_file("csv.so"), .config = "/dev/null" } };
    struct span_sink sink = { .ended = catch };
    struct pipeline *p;
    char err[512] = "";
    assert_int_equal(pipeline_new(&(struct pipeline_options){ .processors = &spec, .n_processors = 1 }, &sink, NULL, NULL, &p,
                                  err, sizeof(err)),
                     -EINVAL);
    assert_non_null(strstr(err, "--export plugin:"));
}

/* Everything that the host can do, on one span and one record. */
static void the_hosts_functions(void **state)
{
    struct plugin pl;
    char err[256];
    assert_int_equal(plugin_open(plugin_file("slow.so"), "1", &pl, err, sizeof(err)), 0);
    const struct wft_host *h = *(const struct wft_host **)pl.self; /* the example keeps it first */
    struct span *s = some_span("/x", 3);
    struct wft_span *w = (struct wft_span *)s;
    struct wft_value v = { .type = WFT_STRING, .s = { "abc", 3 } }, got;
    struct wft_text key;
    attr_str(&s->resource->attrs, "host.name", slice_str("n1"));
    s->kind = SPAN_CLIENT;
    assert_int_equal(h->abi, WFT_ABI);
    assert_int_equal(h->span_kind(w), WFT_CLIENT);
    assert_int_equal(h->span_status(w), WFT_UNSET);
    assert_int_equal(h->span_set_attr(w, "new", &v), 1);
    assert_int_equal(h->span_attr(w, "new", &got), 1);
    assert_int_equal(got.s.n, 3);
    assert_int_equal(h->span_attr_count(w), 2);
    assert_int_equal(h->span_attr_at(w, 1, &key, &got), 1);
    assert_memory_equal(key.p, "new", key.n);
    assert_int_equal(h->span_attr_at(w, 2, &key, &got), 0);
    assert_int_equal(h->span_resource_attr(w, "host.name", &got), 1);
    assert_int_equal(h->span_delete_attr(w, "new"), 1);
    assert_int_equal(h->span_delete_attr(w, "new"), 0);
    assert_int_equal(h->span_set_name(w, (struct wft_text){ "other", 5 }), 1);
    assert_string_equal(s->name, "other");
    struct log_record *l = log_new(slice_str("a line"));
    struct wft_log *wl = (struct wft_log *)l;
    v = (struct wft_value){ .type = WFT_DOUBLE, .d = 1.5 };
    l->severity = 9;
    assert_int_equal(h->log_body(wl).n, 6);
    assert_int_equal(h->log_severity(wl), 9);
    assert_int_equal(h->log_set_attr(wl, "x", &v), 1);
    assert_int_equal(h->log_attr(wl, "x", &got), 1);
    assert_true(got.d == 1.5);
    assert_int_equal(h->log_delete_attr(wl, "x"), 1);
    log_unref(l);
    span_unref(s);
    plugin_close(&pl);
}

int main(int argc, char **argv)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    self[n > 0 ? n : 0] = 0;
    snprintf(folder, sizeof(folder), "%.4000s/../../plugins", dirname(self));
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_processor_reads_writes_and_drops),
        cmocka_unit_test(an_exporter_sees_what_is_there),
        cmocka_unit_test(what_does_not_fit_is_refused),
        cmocka_unit_test(an_exporter_is_no_processor),
        cmocka_unit_test(the_hosts_functions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
