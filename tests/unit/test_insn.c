/* needs: base config probe ingest stream protocol workflow trace self */
/* The decoder against known bytes, and against objdump over the libraries of this machine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <ctype.h>
#include <unistd.h>

#include "probe/insn.h"

struct row {
    const char *bytes; /* hex */
    u8 length;
    enum insn_kind kind;
    enum insn_emulation emulation;
    u8 writes;
    s32 rsp_delta; /* 9999: not known */
    s32 target;
};

enum { NOT_KNOWN = 9999 };

static const struct row rows[] = {
    { "55", 1, INSN_PUSH, INSN_EMULATED, 0, -8, 0 },      /* push rbp */
    { "4157", 2, INSN_PUSH, INSN_EMULATED, 0, -8, 0 },    /* push r15 */
    { "4055", 2, INSN_PUSH, INSN_STEPPED, 0, -8, 0 },     /* push rbp with an empty REX: not in push_xol_ops */
    { "6aff", 2, INSN_OTHER, INSN_STEPPED, 0, -8, 0 },    /* push -1 */
    { "f30f1efa", 4, INSN_ENDBR, INSN_STEPPED, 0, 0, 0 }, /* endbr64 */
    { "90", 1, INSN_NOP, INSN_EMULATED, 0, 0, 0 },
    { "f390", 2, INSN_NOP, INSN_EMULATED, 0, 0, 0 },     /* pause */
    { "6690", 2, INSN_NOP, INSN_EMULATED_NEW, 0, 0, 0 }, /* refused before 6.2 */
    { "0f1f440000", 5, INSN_NOP, INSN_EMULATED_NEW, 0, 0, 0 },
    { "660f1f840000000000", 9, INSN_NOP, INSN_EMULATED_NEW, 0, 0, 0 },
    { "662e0f1f840000000000", 10, INSN_NOP, INSN_REFUSED, 0, 0, 0 }, /* cs prefix */
    { "4883ec08", 4, INSN_SUB_RSP, INSN_STEPPED, 0, -8, 0 },
    { "4881ec00010000", 7, INSN_SUB_RSP, INSN_STEPPED, 0, -256, 0 },
    { "4883c418", 4, INSN_SUB_RSP, INSN_STEPPED, 0, 24, 0 },
    { "488d642480", 5, INSN_SUB_RSP, INSN_STEPPED, 0, -128, 0 },  /* lea -128(rsp), rsp */
    { "4883e4f0", 4, INSN_OTHER, INSN_STEPPED, 0, NOT_KNOWN, 0 }, /* and rsp, -16 */
    { "c9", 1, INSN_LEAVE, INSN_STEPPED, 0, NOT_KNOWN, 0 },
    { "e9fbffffff", 5, INSN_JMP, INSN_EMULATED, 0, 0, 0 }, /* to itself */
    { "ebfe", 2, INSN_JMP, INSN_EMULATED, 0, 0, 0 },
    { "740a", 2, INSN_JCC, INSN_EMULATED, 0, 0, 12 },
    { "0f8e00010000", 6, INSN_JCC, INSN_EMULATED, 0, 0, 262 },
    { "e304", 2, INSN_JCC, INSN_STEPPED, 0, 0, 6 }, /* jrcxz */
    { "e810000000", 5, INSN_CALL, INSN_EMULATED, ARG_ALL, 0, 21 },
    { "66e810000000", 6, INSN_CALL, INSN_REFUSED, ARG_ALL, 0, 22 }, /* data16 call of TLS code */
    { "ff1500000000", 6, INSN_CALL_REG, INSN_STEPPED, 0, 0, 0 },
    { "3effe0", 3, INSN_JMP_REG, INSN_REFUSED, 0, 0, 0 }, /* notrack jmp rax */
    { "c3", 1, INSN_RET, INSN_STEPPED, 0, 8, 0 },
    { "f3c3", 2, INSN_RET, INSN_STEPPED, 0, 8, 0 },
    { "0f0b", 2, INSN_STOP, INSN_STEPPED, 0, 0, 0 },
    { "4889fb", 3, INSN_OTHER, INSN_STEPPED, 0, 0, 0 },                /* mov rbx, rdi */
    { "4889df", 3, INSN_OTHER, INSN_STEPPED, ARG_RDI, 0, 0 },          /* mov rdi, rbx */
    { "488b37", 3, INSN_OTHER, INSN_STEPPED, ARG_RSI, 0, 0 },          /* mov rsi, (rdi) */
    { "488937", 3, INSN_OTHER, INSN_STEPPED, 0, 0, 0 },                /* mov (rdi), rsi */
    { "31d2", 2, INSN_OTHER, INSN_STEPPED, ARG_RDX, 0, 0 },            /* xor edx, edx */
    { "85d2", 2, INSN_OTHER, INSN_STEPPED, 0, 0, 0 },                  /* test edx, edx */
    { "803dffff000000", 7, INSN_OTHER, INSN_STEPPED, 0, 0, 0 },        /* cmpb $0, x(rip) */
    { "b101", 2, INSN_OTHER, INSN_STEPPED, ARG_RCX, 0, 0 },            /* mov cl, 1 */
    { "b501", 2, INSN_OTHER, INSN_STEPPED, ARG_RCX, 0, 0 },            /* mov ch, 1: byte register 5 */
    { "48b80000000000000000", 10, INSN_OTHER, INSN_STEPPED, 0, 0, 0 }, /* movabs rax */
    { "a100000000000000f0", 9, INSN_OTHER, INSN_STEPPED, 0, 0, 0 },    /* mov eax, moffs */
    { "5f", 1, INSN_POP, INSN_STEPPED, ARG_RDI, 8, 0 },
    { "4158", 2, INSN_POP, INSN_STEPPED, ARG_R8, 8, 0 },
    { "660fefc0", 4, INSN_OTHER, INSN_STEPPED, 0, 0, 0 },                         /* pxor */
    { "0f29442410", 5, INSN_OTHER, INSN_STEPPED, 0, 0, 0 },                       /* movaps to stack */
    { "660fd7c8", 4, INSN_OTHER, INSN_STEPPED, ARG_RCX, 0, 0 },                   /* pmovmskb ecx */
    { "66480f7ec7", 5, INSN_OTHER, INSN_STEPPED, ARG_RDI, 0, 0 },                 /* movq rdi, xmm0 */
    { "c5f877", 3, INSN_OTHER, INSN_STEPPED, 0, 0, 0 },                           /* vzeroupper */
    { "c4e2f9f7d0", 5, INSN_OTHER, INSN_STEPPED, ARG_RDX, 0, 0 },                 /* shlx rdx, rax, rax */
    { "c4e37d39c101", 6, INSN_OTHER, INSN_STEPPED, ARG_RCX, 0, 0 },               /* vextracti128 (told generously) */
    { "62f17c4810442401", 8, INSN_OTHER, INSN_STEPPED, 0, 0, 0 },                 /* vmovups 64(rsp), zmm0 */
    { "f348ab", 3, INSN_OTHER, INSN_STEPPED, ARG_RDI | ARG_RSI | ARG_RCX, 0, 0 }, /* rep stosq */
    { "648b042528000000", 8, INSN_OTHER, INSN_STEPPED, 0, 0, 0 },                 /* mov eax, fs:0x28 */
    { "66c704240100", 6, INSN_OTHER, INSN_STEPPED, 0, 0, 0 },                     /* movw $1, (rsp) */
    { "f6470801", 4, INSN_OTHER, INSN_STEPPED, 0, 0, 0 },                         /* testb $1, 8(rdi) */
    { "f7d9", 2, INSN_OTHER, INSN_STEPPED, ARG_RCX, 0, 0 },                       /* neg ecx */
};

static size_t from_hex(const char *hex, u8 *out)
{
    size_t n = strlen(hex) / 2;
    for (size_t i = 0; i < n; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (u8)byte;
    }
    return n;
}

static void test_known_bytes(void **state)
{
    UNUSED(state);
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        u8 bytes[16];
        struct insn i;
        size_t n = from_hex(rows[r].bytes, bytes);
        int err = insn_decode(bytes, n, &i);
        bool same = !err && i.length == rows[r].length && i.kind == rows[r].kind && i.emulation == rows[r].emulation &&
                    i.writes == rows[r].writes && i.rsp_known == (rows[r].rsp_delta != NOT_KNOWN) &&
                    (!i.rsp_known || i.rsp_delta == rows[r].rsp_delta) && i.target == rows[r].target;
        if (!same)
            fail_msg("%s: err %d length %d kind %d emulation %d writes %x rsp %d %d target %d", rows[r].bytes, err, i.length,
                     i.kind, i.emulation, i.writes, i.rsp_known, i.rsp_delta, i.target);
    }
}

static void test_every_cut_wants_more(void **state)
{
    UNUSED(state);
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        u8 bytes[16];
        struct insn i;
        size_t n = from_hex(rows[r].bytes, bytes);
        for (size_t cut = 0; cut < n; cut++) {
            u8 *exact = malloc(cut ? cut : 1); /* so that a read past the end is seen by a sanitizer */
            memcpy(exact, bytes, cut);
            int err = insn_decode(exact, cut, &i);
            free(exact);
            assert_true(err == -EMSGSIZE || (!err && i.length <= cut));
        }
    }
}

static void test_frame_pointer_moves(void **state)
{
    UNUSED(state);
    struct insn i;
    assert_int_equal(insn_decode((const u8 *)"\x48\x89\xe5", 3, &i), 0); /* mov rbp, rsp */
    assert_true(i.rbp_is_rsp && !i.writes_rbp && i.rsp_known);
    assert_int_equal(insn_decode((const u8 *)"\x48\x8d\x65\xd8", 4, &i), 0); /* lea -40(rbp), rsp */
    assert_true(i.rsp_from_rbp && i.rbp_offset == -40 && !i.rsp_known);
    assert_int_equal(insn_decode((const u8 *)"\x48\x8b\x2f", 3, &i), 0); /* mov rbp, (rdi) */
    assert_true(i.writes_rbp && !i.rbp_is_rsp);
}

static void test_invalid(void **state)
{
    UNUSED(state);
    struct insn i;
    u8 prefixes[16];
    memset(prefixes, 0x66, sizeof(prefixes));
    assert_int_equal(insn_decode(prefixes, sizeof(prefixes), &i), -EINVAL);
    assert_int_equal(insn_decode((const u8 *)"\x06", 1, &i), -EINVAL); /* push es */
    assert_int_equal(insn_decode((const u8 *)"\x0f\x04", 2, &i), -EINVAL);
}

struct tally {
    unsigned lines, wrong;
};

/* One line of objdump -w: "   1234:\t48 89 e5 \tmov …". Lines that objdump could not read itself are passed over. */
static void check_line(const char *line, struct tally *t)
{
    u8 bytes[16];
    unsigned long address;
    int at = 0;
    size_t n = 0;
    if (sscanf(line, " %lx:\t%n", &address, &at) != 1 || !at || strstr(line, "(bad)") || strstr(line, ".byte"))
        return;
    const char *p = line + at;
    for (; n < 16 && isxdigit((u8)p[0]) && isxdigit((u8)p[1]) && p[2] == ' '; p += 3)
        bytes[n++] = (u8)strtoul((char[]){ p[0], p[1], 0 }, NULL, 16);
    /* fwait is an instruction of its own for the processor, a prefix for objdump; likewise a lone REX. */
    if (!n || n == 16 /* data with a symbol of its own */ || (bytes[0] == 0x9b && n > 1) || (n == 1 && (bytes[0] & 0xf0) == 0x40))
        return;
    struct insn i;
    int err = insn_decode(bytes, n, &i);
    t->lines++;
    if ((err || i.length != n) && t->wrong++ < 8)
        fprintf(stderr, "decoded %d (err %d): %s", err ? 0 : i.length, err, line);
}

static struct tally check_image(const char *path, const char *limits)
{
    struct tally t = { 0 };
    char command[512], line[512];
    snprintf(command, sizeof(command), "objdump -d -w -z --section=.text %s '%s' 2>/dev/null", limits, path);
    FILE *f = popen(command, "r");
    while (f && fgets(line, sizeof(line), f))
        check_line(line, &t);
    if (f)
        pclose(f);
    return t;
}

/* WF_INSN_IMAGE=path checks one whole image instead. */
static void test_against_objdump(void **state)
{
    UNUSED(state);
    static const char *const patterns[] = { "/usr/lib/x86_64-linux-gnu/libc.so.6", "/usr/lib/x86_64-linux-gnu/libssl.so.3" };
    const char *one = getenv("WF_INSN_IMAGE");
    unsigned lines = 0;
    if (system("objdump --version >/dev/null 2>&1"))
        skip();
    for (size_t i = 0; i < (one ? 1 : ARRAY_LEN(patterns)); i++) {
        const char *path = one ? one : patterns[i];
        if (access(path, R_OK))
            continue;
        struct tally t = check_image(path, one ? "" : i ? "" : "--stop-address=0x90000");
        printf("%s: %u instructions, %u of another length\n", path, t.lines, t.wrong);
        assert_int_equal(t.wrong, 0);
        lines += t.lines;
    }
    if (!lines)
        skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_bytes),         cmocka_unit_test(test_every_cut_wants_more),
        cmocka_unit_test(test_frame_pointer_moves), cmocka_unit_test(test_invalid),
        cmocka_unit_test(test_against_objdump),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
