/* Memory that runs out: every wire case, every file of the stream's fuzz corpus (TLS is there) and some rule files are run
 * again and again, with the first allocation failing, then the second, and so on: that one alone, and that one with all
 * after it. Nothing may crash, leak, or be heard as answered that wasn't. Linked with --wrap, so that only our code and
 * libyaml fail, and under ASan and UBSan. */
#include "config/rules.h"
#include "tests/fuzz/starve.h"

/* libyaml's loader itself loses a stack of items when it can't grow it; that is not ours to see. */
const char *__asan_default_options(void);
const char *__asan_default_options(void) { return "fast_unwind_on_malloc=0"; }
const char *__lsan_default_options(void);
const char *__lsan_default_options(void) { return "print_suppressions=0"; }
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) { return "leak:yaml_parser_load"; }

/* Both feeders use memory of their own, which must not fail; and they need a stream, so counting begins with one. */
#include "stream/stream.h"
static u32 stream_fail_at;
static bool stream_for_good;
static struct stream *armed_stream_new(const struct stream_options *o, struct exchange_sink *sink, struct verdict_sink *v)
{
    struct stream *s = stream_new(o, sink, v);
    memory_arm(stream_fail_at, stream_for_good);
    return s;
}
static struct stream *armed_stream_free(struct stream *s)
{
    stream_free(s);
    memory_disarm();
    return NULL;
}
#define malloc      __real_malloc
#define stream_new  armed_stream_new
#define stream_free armed_stream_free
#include "tests/fuzz/fuzz_stream.c"
#include "tests/wire/wire.c"
#undef malloc
#undef stream_new
#undef stream_free

#include <glob.h>

/* --- the stream --- */

static void stream_starves(void)
{
    struct exchange_sink sink = { 0 };
    struct stream_options o = { 0 };
    u32 refused = 0, n = 0;
    for (bool more = true; more && n < 1000;) {
        memory_arm(++n, false);
        struct stream *s = stream_new(&o, &sink, NULL);
        more = memory.failed;
        refused += more && !s;
        stream_free(s);
        memory_disarm();
    }
    verdict("stream_new", refused && n < 1000);
}

static u32 count_of(const char *text, const char *word)
{
    u32 n = 0;
    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        n++;
    return n;
}

static bool wire_starves_once(const struct wire_case *c, const char *whole, u32 fail_at, bool for_good)
{
    stream_fail_at = fail_at;
    stream_for_good = for_good;
    cleanup(freep) char *got = wire_run(c, &(struct wire_bend){ .drop_op = SIZE_MAX });
    return count_of(got, "-> answered") <= count_of(whole, "-> answered");
}

static void wire_starves(const char *path)
{
    struct wire_case c;
    if (wire_load(path, &c)) {
        verdict(path, false);
        return;
    }
    stream_fail_at = 0;
    cleanup(freep) char *whole = wire_run(&c, &(struct wire_bend){ .drop_op = SIZE_MAX });
    u32 all = memory.asked;
    bool ok = all > 0;
    for (u32 n = 1; n <= all; n++)
        ok = wire_starves_once(&c, whole, n, false) && wire_starves_once(&c, whole, n, true) && ok;
    verdict(path, ok);
    wire_free(&c);
}

/* Its own assertions hold whatever fails: each begin has its end, with the handle that was given. */
static void input_starves(const char *path)
{
    cleanup(freep) char *text = NULL;
    size_t n;
    bool ok = !read_small_file(path, 1 << 20, &text, &n);
    stream_fail_at = 0;
    if (ok)
        LLVMFuzzerTestOneInput((const u8 *)text, n);
    u32 all = ok ? memory.asked : 0;
    for (u32 i = 0; i < 2 * all; i++) {
        stream_fail_at = i / 2 + 1;
        stream_for_good = i % 2;
        LLVMFuzzerTestOneInput((const u8 *)text, n);
    }
    verdict(path, ok);
}

/* --- rules --- */

static const char rules_many[] =
    "activities:\n"
    "  - name: \"load {size} {{x}}\"\n"
    "    type: storage\n"
    "    kind: client\n"
    "    at: native:libstore:ns::Store::load\n"
    "    attributes: { size: \"arg1->8.16:u32\", key: \"arg2->0:str(arg3)\", \"err\": errno, k: '\"word\"' }\n"
    "    error: [ errno, \"ret < 0\", attr.size == 0 ]\n"
    "    when: [ \"arg1 != null\", \"arg4:i64 > 3\" ]\n"
    "    metrics: [ { counter: loads, unit: \"1\" }, { histogram: took, of: duration, attributes: [ size ] } ]\n"
    "  - { name: tool, at: \"exec:/usr/bin/*\", attributes: { first: \"argv[1]\", code: exit, home: env.HOME } }\n";
static const char rules_wrong[] = "activities:\n  - nam: a\n    type: taks\n    at: natve:x\n  - name: \"{y\"\n    until: a\n";

/* Every outcome is fine but a crash, a leak, success out of what is wrong, and a refusal without a word. */
static bool rules_starve_once(const char *name, const char *text, size_t len, bool valid, u32 fail_at, bool for_good)
{
    struct rules r = { 0 };
    char err[2048];
    memory_arm(fail_at, for_good);
    int code = rules_parse(&r, name, text, len, err, sizeof(err));
    memory_disarm();
    bool ok = code ? err[0] && !r.n : valid && r.n && r.sites;
    if (!ok)
        printf("%s, allocation %u%s fails: %d «%s»\n", name, fail_at, for_good ? " and all after it" : "", code, err);
    rules_done(&r);
    return ok;
}

static void rules_starve(const char *name, const char *text, size_t len, bool valid)
{
    bool ok = rules_starve_once(name, text, len, valid, 0, false);
    u32 all = memory.asked;
    for (u32 n = 1; n <= all; n++)
        ok = rules_starve_once(name, text, len, valid, n, false) && rules_starve_once(name, text, len, valid, n, true) && ok;
    verdict(name, ok && all > 0);
}

static void rules_file_starves(const char *path)
{
    cleanup(freep) char *text = NULL;
    size_t len;
    if (read_small_file(path, 1 << 20, &text, &len))
        verdict(path, false);
    else
        rules_starve(path, text, len, true);
}

static void each_file(const char *pattern, void (*run)(const char *path))
{
    glob_t g;
    if (glob(pattern, 0, NULL, &g)) {
        verdict(pattern, false);
        return;
    }
    for (size_t i = 0; i < g.gl_pathc; i++)
        run(g.gl_pathv[i]);
    globfree(&g);
}

int main(void)
{
    stream_starves();
    each_file("tests/wire/*/*.txt", wire_starves);
    each_file("tests/fuzz/corpus/stream/*", input_starves);
    rules_starve("rules with all keys", rules_many, strlen(rules_many), true);
    rules_starve("rules with mistakes", rules_wrong, strlen(rules_wrong), false);
    each_file("tests/targets/rules/*.yaml", rules_file_starves);
    printf("alloc: %u passed, %u failed\n", passed, failed);
    return failed > 0;
}
