/* needs: base config probe ingest stream protocol workflow trace self */
/* Argument strings of both architectures, and the notes of a program made here with <sys/sdt.h>'s own layout. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "probe/usdt.h"

/* What STAP_PROBE writes, by hand, so that the header need not be installed. */
#define NOTE(label, name, args)                                                                                                  \
    ".pushsection .note.stapsdt,\"?\",\"note\"\n.balign 4\n.4byte 992f-991f, 994f-993f, 3\n991: .asciz \"stapsdt\"\n992: "       \
    ".balign 4\n"                                                                                                                \
    "993: .8byte " label "\n.8byte _.stapsdt.base\n.8byte wf_semaphore\n.asciz \"wf_test\"\n.asciz \"" name "\"\n.asciz \"" args \
    "\"\n"                                                                                                                       \
    "994: .balign 4\n.popsection\n"

__asm__(".data\nwf_semaphore: .2byte 0\n.text\n"
        ".type wf_site,@function\nwf_site: nop\n.Lone: nop\n.Ltwo: .byte 0x0f,0x1f,0x44,0,0\nret\n.size wf_site,.-wf_site\n" NOTE(
            ".Lone", "one", "-4@%edi 8@$7") NOTE(".Ltwo", "one", "8@-16(%rbp)")
            NOTE(".Ltwo", "two",
                 "") ".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n.weak _.stapsdt.base\n.hidden "
                     "_.stapsdt.base\n_.stapsdt.base: .space 1\n.size _.stapsdt.base, 1\n.popsection\n");

struct row {
    enum elf_machine machine;
    const char *text;
    struct usdt_arg arg;
};

static const struct row rows[] = {
    { ELF_X86_64, "-4@%eax", { 4, true, USDT_REG, 0, 0, USDT_NO_REG, 1, 0 } },
    { ELF_X86_64, "8@%r15", { 8, false, USDT_REG, 15, 0, USDT_NO_REG, 1, 0 } },
    { ELF_X86_64, "1@%ah", { 1, false, USDT_REG, 0, 8, USDT_NO_REG, 1, 0 } },
    { ELF_X86_64, "2@%r9w", { 2, false, USDT_REG, 9, 0, USDT_NO_REG, 1, 0 } },
    { ELF_X86_64, "1@%dil", { 1, false, USDT_REG, 5, 0, USDT_NO_REG, 1, 0 } },
    { ELF_X86_64, "-4@$-9", { 4, true, USDT_CONST, USDT_NO_REG, 0, USDT_NO_REG, 1, -9 } },
    { ELF_X86_64, "8@$0x10", { 8, false, USDT_CONST, USDT_NO_REG, 0, USDT_NO_REG, 1, 16 } },
    { ELF_X86_64, "8@(%rsp)", { 8, false, USDT_MEM, 7, 0, USDT_NO_REG, 1, 0 } },
    { ELF_X86_64, "-8@-1204(%rbp)", { 8, true, USDT_MEM, 6, 0, USDT_NO_REG, 1, -1204 } },
    { ELF_X86_64, "4@8(%rax,%rcx,4)", { 4, false, USDT_MEM, 0, 0, 2, 4, 8 } },
    { ELF_X86_64, "4@(%rax,%rbx)", { 4, false, USDT_MEM, 0, 0, 3, 1, 0 } },
    { ELF_X86_64, "8@0(,%rdx,8)", { 8, false, USDT_MEM, USDT_NO_REG, 0, 1, 8, 0 } },
    { ELF_X86_64, "%rdi", { 8, false, USDT_REG, 5, 0, USDT_NO_REG, 1, 0 } }, /* the size may be left out */
    { ELF_AARCH64, "-4@w0", { 4, true, USDT_REG, 0, 0, USDT_NO_REG, 1, 0 } },
    { ELF_AARCH64, "8@x30", { 8, false, USDT_REG, 30, 0, USDT_NO_REG, 1, 0 } },
    { ELF_AARCH64, "8@[sp, 16]", { 8, false, USDT_MEM, 31, 0, USDT_NO_REG, 1, 16 } },
    { ELF_AARCH64, "8@[x19]", { 8, false, USDT_MEM, 19, 0, USDT_NO_REG, 1, 0 } },
    { ELF_AARCH64, "4@[x1, x2]", { 4, false, USDT_MEM, 1, 0, 2, 1, 0 } },
    { ELF_AARCH64, "-4@-5", { 4, true, USDT_CONST, USDT_NO_REG, 0, USDT_NO_REG, 1, -5 } },
};

static bool same_arg(const struct usdt_arg *a, const struct usdt_arg *b)
{
    return a->size == b->size && a->is_signed == b->is_signed && a->kind == b->kind && a->reg == b->reg && a->shift == b->shift &&
           a->index == b->index && a->scale == b->scale && a->offset == b->offset;
}

static void test_arguments(void **state)
{
    UNUSED(state);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct usdt_arg a[2] = { 0 };
        bool ok;
        int n = usdt_parse_args(rows[i].machine, NULL, rows[i].text, a, 2, &ok);
        if (n != 1 || !ok || !same_arg(&a[0], &rows[i].arg))
            fail_msg("%s: n %d ok %d size %d kind %d reg %d index %d scale %d offset %ld", rows[i].text, n, ok, a[0].size,
                     a[0].kind, a[0].reg, a[0].index, a[0].scale, (long)a[0].offset);
    }
}

static void test_lists_and_refusals(void **state)
{
    UNUSED(state);
    struct usdt_arg a[3];
    bool ok;
    assert_int_equal(usdt_parse_args(ELF_X86_64, NULL, "8@%rax  -4@8(%rbp) 4@$1", a, 3, &ok), 3);
    assert_true(ok);
    assert_int_equal(usdt_parse_args(ELF_X86_64, NULL, "", a, 3, &ok), 0);
    assert_true(ok);
    static const char *const bad[] = { "3@%rax",  "8@%xmm0",        "8@", "8@(%rax", "8@(%rax,%rbx,3)", "8@4(%rip)",
                                       "8@%rax,", "8@nosuch(%rip)", "@@" };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(usdt_parse_args(ELF_X86_64, NULL, bad[i], a, 3, &ok), 0);
        assert_false(ok);
    }
    assert_int_equal(usdt_parse_args(ELF_X86_64, NULL, "8@%rax 8f@%xmm0 8@%rbx", a, 3, &ok), 1); /* those before it stand */
    assert_false(ok);
    assert_int_equal(usdt_parse_args(ELF_X86_64, NULL, "1@%al 1@%al 1@%al 1@%al", a, 3, &ok), 3);
    assert_false(ok);
}

static void test_notes(void **state)
{
    UNUSED(state);
    cleanup(elf_closep) struct elf_image *self = NULL;
    struct usdt_site sites[4];
    struct elf_symbol code;
    u64 offset;
    assert_int_equal(elf_open("/proc/self/exe", &self), 0);
    assert_int_equal(elf_symbol(self, "wf_site", &code), 0);
    assert_int_equal(usdt_find(self, "wf_test", "one", sites, 4), 2);
    assert_int_equal(sites[0].vaddr, code.value + 1);
    assert_int_equal(elf_vaddr_to_offset(self, sites[0].vaddr, &offset), 0);
    assert_int_equal(sites[0].file_offset, offset);
    assert_int_equal(sites[0].kind, USDT_NOP1);
    assert_int_equal(sites[1].kind, USDT_NOP5);
    assert_int_equal(sites[0].arg_count, 2);
    assert_int_equal(sites[0].args[1].offset, 7);
    assert_int_equal(elf_symbol(self, "wf_semaphore", &code), 0);
    assert_int_equal(sites[0].semaphore_vaddr, code.value);
    assert_int_not_equal(sites[0].semaphore_offset, 0);
    assert_int_equal(usdt_find(self, NULL, "two", sites, 4), 1);
    assert_true(sites[0].args_ok && !sites[0].arg_count);
    assert_int_equal(usdt_find(self, "other", "one", sites, 4), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_arguments), cmocka_unit_test(test_lists_and_refusals),
                                        cmocka_unit_test(test_notes) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
