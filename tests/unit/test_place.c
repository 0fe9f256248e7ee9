/* needs: base config probe ingest stream protocol workflow trace self */
/* Places in hand-written functions, each made for one rule of place.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "probe/place.h"

__asm__(".text\n"
        ".type wf_push,@function\nwf_push: endbr64; push %rbp; mov %rsp,%rbp; pop %rbp; ret\n.size wf_push,.-wf_push\n"
        ".type wf_sub,@function\nwf_sub: sub $24,%rsp; test %edx,%edx; js 1f; mov $1,%edi; call wf_push\n1: add $24,%rsp; "
        "ret\n.size wf_sub,.-wf_sub\n"
        ".type wf_clobber,@function\nwf_clobber: mov %rsi,%rdi; push %rbx; pop %rbx; ret\n.size wf_clobber,.-wf_clobber\n"
        ".type wf_loop,@function\nwf_loop: mov %rdi,%rax\n2: dec %rax; test %rax,%rax; jne 2b; ret\n.size wf_loop,.-wf_loop\n"
        ".type wf_align,@function\nwf_align: and $-32,%rsp; push %rbp; ret\n.size wf_align,.-wf_align\n"
        ".type wf_leaf,@function\nwf_leaf: lea (%rdi,%rsi),%eax; ret\n.size wf_leaf,.-wf_leaf\n"
        ".type wf_nop,@function\nwf_nop: .byte 0x0f,0x1f,0x44,0,0; mov %edi,%eax; ret\n.size wf_nop,.-wf_nop\n"
        ".type wf_nop_late,@function\nwf_nop_late: mov %edi,-4(%rsp); .byte 0x0f,0x1f,0x44,0,0; ret\n.size "
        "wf_nop_late,.-wf_nop_late\n"
        ".type wf_tail,@function\nwf_tail: push %rbx; test %edi,%edi; je 3f; pop %rbx; jmp wf_push\n3: mov %edi,%eax; pop %rbx; "
        "ret\n.size wf_tail,.-wf_tail\n"
        ".type wf_cold,@function\nwf_cold: push %rbx; test %edi,%edi; js wf_leaf; jmp wf_push\n.size wf_cold,.-wf_cold\n"
        ".type wf_frame,@function\nwf_frame: push %rbp; mov %rsp,%rbp; and $-32,%rsp; sub $64,%rsp; leave; jmp wf_leaf\n.size "
        "wf_frame,.-wf_frame\n");

static struct elf_image *self;

static int setup(void **state)
{
    UNUSED(state);
    return elf_open("/proc/self/exe", &self);
}

static struct place place(const char *name, u32 want)
{
    struct elf_symbol s;
    struct place p;
    assert_int_equal(elf_symbol(self, name, &s), 0);
    assert_int_equal(place_entry(self, &s, want, &p), 0);
    assert_int_equal(p.vaddr, s.value + p.delta);
    return p;
}

struct row {
    const char *name;
    u32 want, delta;
    s32 shift;
    bool emulated, return_legal;
};

static void test_entries(void **state)
{
    UNUSED(state);
    static const struct row rows[] = {
        { "wf_push", PLACE_ARGS, 4, 0, true, true }, /* past endbr64 */
        { "wf_push", PLACE_ARGS | PLACE_RETURN, 4, 0, true, true },
        { "wf_sub", ARG_RDI | ARG_RDX, 6, 24, true, false }, /* on the js */
        { "wf_sub", PLACE_RETURN, 0, 0, false, true },       /* rsp has moved there */
        { "wf_clobber", ARG_RSI, 3, 0, true, true },
        { "wf_clobber", ARG_RDI, 0, 0, false, true }, /* overwritten before the push */
        { "wf_loop", 0, 0, 0, false, true },          /* the jne is a loop's */
        { "wf_align", 0, 0, 0, false, true },
        { "wf_leaf", 0, 0, 0, false, true },
        { "wf_nop", 0, 5, 0, false, true },
        { "wf_nop", PLACE_NEW_NOPS, 5, 0, false, true }, /* a forked child would die there */
        { "wf_nop_late", PLACE_NEW_NOPS, 0, 0, false, true }, /* would break the red zone */
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct place p = place(rows[i].name, rows[i].want);
        bool same = p.delta == rows[i].delta && p.stack_shift == rows[i].shift && p.emulated == rows[i].emulated &&
                    p.return_legal == rows[i].return_legal;
        if (!same)
            fail_msg("%s %x: +%u shift %d emulated %d legal %d: %s", rows[i].name, rows[i].want, p.delta, p.stack_shift,
                     p.emulated, p.return_legal, p.why);
    }
    assert_int_equal(place("wf_clobber", ARG_RSI).args_intact, ARG_ALL & ~ARG_RDI);
}

static int returns(const char *name, struct place_return *out, u32 *missed)
{
    struct elf_symbol s;
    assert_int_equal(elf_symbol(self, name, &s), 0);
    return place_returns(self, &s, out, 4, missed);
}

static void test_exits(void **state)
{
    UNUSED(state);
    struct place_return out[4];
    u32 missed;
    assert_int_equal(returns("wf_sub", out, &missed), 1);
    assert_int_equal(out[0].kind, PLACE_RET);
    assert_int_equal(missed, 0);
    assert_int_equal(returns("wf_tail", out, &missed), 2);
    assert_int_equal(out[0].kind, PLACE_TAIL_JUMP);
    assert_int_equal(out[1].kind, PLACE_RET);
    assert_int_equal(returns("wf_cold", out, &missed), 0);  /* leaves with its frame: not a return */
    assert_int_equal(returns("wf_frame", out, &missed), 1); /* through leave back to the depth of entry */
    assert_int_equal(out[0].kind, PLACE_TAIL_JUMP);
    assert_int_equal(missed, 0);
}

static void test_call_target(void **state)
{
    UNUSED(state);
    struct elf_symbol s, callee;
    u64 target;
    assert_int_equal(elf_symbol(self, "wf_sub", &s), 0);
    assert_int_equal(elf_symbol(self, "wf_push", &callee), 0);
    assert_int_equal(place_call_target(self, &s, 64, &target), 0);
    assert_int_equal(target, callee.value);
    assert_int_equal(place_call_target(self, &s, 8, &target), -ENOENT);
}

static void test_libc(void **state)
{
    UNUSED(state);
    cleanup(elf_closep) struct elf_image *libc = NULL;
    static const char *const names[] = { "read", "write", "send", "recv", "close", "connect" };
    struct elf_symbol s;
    struct place p;
    if (elf_open("/usr/lib/x86_64-linux-gnu/libc.so.6", &libc))
        skip();
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_int_equal(elf_symbol(libc, names[i], &s), 0);
        assert_int_equal(place_entry(libc, &s, ARG_RDI | ARG_RSI | ARG_RDX | PLACE_RETURN, &p), 0);
        assert_true(p.emulated && p.return_legal);
    }
    assert_int_equal(elf_symbol(libc, "memcpy", &s), 0);
    assert_int_equal(place_entry(libc, &s, 0, &p), -EOPNOTSUPP); /* an ifunc */
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_entries), cmocka_unit_test(test_exits),
                                        cmocka_unit_test(test_call_target), cmocka_unit_test(test_libc) };
    return cmocka_run_group_tests(tests, setup, NULL);
}
