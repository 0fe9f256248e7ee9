/* needs: base config probe ingest stream protocol workflow trace self */
/* TLS sites: on the libraries of this machine where they are, and on an image made here that has OpenSSL's shape. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "probe/tls_sites.h"

/* The shape of a stripped OpenSSL 3: public wrappers that move rsp and call one reader that begins with push. */
__asm__(".text\n"
        ".type wf_reader,@function\nwf_reader: push %r12; mov %rdx,%r12; pop %r12; ret\n.size wf_reader,.-wf_reader\n"
        ".globl SSL_read\n.type SSL_read,@function\nSSL_read: sub $24,%rsp; test %edx,%edx; js 1f; movslq %edx,%rdx; lea "
        "8(%rsp),%rcx; call wf_reader\n"
        "1: add $24,%rsp; ret\n.size SSL_read,.-SSL_read\n"
        ".globl SSL_read_ex\n.type SSL_read_ex,@function\nSSL_read_ex: sub $8,%rsp; call wf_reader; add $8,%rsp; ret\n.size "
        "SSL_read_ex,.-SSL_read_ex\n"
        ".globl SSL_write\n.type SSL_write,@function\nSSL_write: sub $8,%rsp; call wf_reader; add $8,%rsp; ret\n.size "
        "SSL_write,.-SSL_write\n");

static const struct tls_site *site_of(const struct tls_plan *plan, enum tls_role role)
{
    for (u32 i = 0; i < plan->count; i++)
        if (plan->sites[i].role == role)
            return &plan->sites[i];
    return NULL;
}

static void test_internal_reader(void **state)
{
    UNUSED(state);
    cleanup(elf_closep) struct elf_image *self = NULL;
    struct tls_plan plan;
    struct elf_symbol inner;
    assert_int_equal(elf_open("/proc/self/exe", &self), 0);
    assert_int_equal(elf_symbol(self, "wf_reader", &inner), 0);
    assert_true(tls_sites(self, 0, &plan));
    const struct tls_site *read = site_of(&plan, TLS_READ_EX), *write = site_of(&plan, TLS_WRITE);
    assert_non_null(read);
    assert_null(site_of(&plan, TLS_READ)); /* or each read would be seen twice */
    assert_int_equal(read->place.vaddr, inner.value);
    assert_true(read->wants_return && read->place.return_legal && read->arg_len_out == 3);
    assert_true(write && write->place.emulated && write->place.delta == 4 && !write->wants_return);
    assert_int_equal(plan.slow, 0);
}

static void test_real(const char *path)
{
    cleanup(elf_closep) struct elf_image *image = NULL;
    struct tls_plan plan;
    if (elf_open(path, &image) || !tls_sites(image, 0, &plan)) {
        printf("%s: not here\n", path);
        return;
    }
    unsigned reads = 0;
    for (u32 i = 0; i < plan.count; i++) {
        const struct tls_site *s = &plan.sites[i];
        printf("%s: %s +%u %s\n", path, s->function, s->place.delta, s->place.why);
        reads += s->role == TLS_READ || s->role == TLS_READ_EX;
        assert_true(!s->wants_return || s->place.return_legal);
        assert_true(s->role == TLS_FREE || (s->place.args_intact & 7) == 7);
    }
    assert_true(reads && site_of(&plan, TLS_WRITE));
}

static void test_this_machine(void **state)
{
    UNUSED(state);
    test_real("/usr/lib/x86_64-linux-gnu/libssl.so.3");
    test_real("/usr/bin/node");
}

static void test_none(void **state)
{
    UNUSED(state);
    cleanup(elf_closep) struct elf_image *image = NULL;
    struct tls_plan plan;
    if (elf_open("/usr/lib/x86_64-linux-gnu/libc.so.6", &image))
        skip();
    assert_false(tls_sites(image, 0, &plan));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_internal_reader), cmocka_unit_test(test_this_machine),
                                        cmocka_unit_test(test_none) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
