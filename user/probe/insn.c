/* The decoder behind insn.h. An instruction is prefixes, opcode in one of the maps, ModRM with its address bytes, immediate
 * (Intel SDM vol. 2, chapter 2 and appendix A). The tables below hold one letter per opcode:
 *   .  no operand bytes        m  ModRM            b  imm8           z  imm32 (imm16 with 66)
 *   B  ModRM and imm8          Z  ModRM and imm32/16                 j  rel8         J  rel32
 *   v  imm32/16, imm64 with REX.W                  w  imm16          e  imm16 + imm8 (enter)
 *   o  moffs: address-sized    t  ModRM, immediate only for /0 and /1 (test)
 *   x  not in 64-bit mode      p  prefix or escape, handled apart
 * What an instruction writes is told generously: an opcode that is not listed is taken to write every register it names. */
#include "probe/insn.h"

/* clang-format off */
static const char map_0[257] = "mmmmbzxxmmmmbzxp" "mmmmbzxxmmmmbzxx" "mmmmbzpxmmmmbzpx" "mmmmbzpxmmmmbzpx" /* 00 */
                               "pppppppppppppppp" "................" "xxpmppppzZbB...." "jjjjjjjjjjjjjjjj" /* 40 */
                               "BZxBmmmmmmmmmmmm" "..........x....." "oooo....bz......" "bbbbbbbbvvvvvvvv" /* 80 */
                               "BBw.ppBZe.w..bx." "mmmmxxx.mmmmmmmm" "jjjjbbbbJJxj...." "p.pp..tt......mm"; /* c0 */

static const char map_0f[257] = "mmmmx.....x.xm.B" "mmmmmmmmmmmmmmmm" "mmmmxxxxmmmmmmmm" "......x.pxpxxxxx"  /* 00 */
                                "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "BBBBmmm.mmxxmmmm"  /* 40 */
                                "JJJJJJJJJJJJJJJJ" "mmmmmmmmmmmmmmmm" "...mBmmm...mBmmm" "mmmmmmmmmmBmmmmm"  /* 80 */
                                "mmBmBBBm........" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm" "mmmmmmmmmmmmmmmm"; /* c0 */

enum map { MAP_0, MAP_0F, MAP_0F38, MAP_0F3A, MAP_EVEX5, MAP_EVEX6, MAP_XOP8, MAP_XOP9, MAP_XOPA };
enum { REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI, REG_R8, REG_R9 };
enum { LENGTH_MAX = 15 };

struct decoder {
    const u8 *p;
    size_t n, at; /* `at` may pass n: checked once at the end */
    bool opsize, addrsize, rep, repne, lock, segment_bad;
    u8 rex; /* 0 when absent */
    bool vector; /* VEX, EVEX or XOP */
    u8 vvvv;
    enum map map;
    u8 opcode;
    bool has_modrm;
    u8 mod, reg, rm; /* extended by REX; rm only means a register with mod 3 */
    u8 base, index;  /* of the memory operand, 0xff absent */
    s32 disp;
    s64 imm;
    u8 imm_size;
};
/* clang-format on */

static u8 take(struct decoder *d)
{
    u8 byte = d->at < d->n ? d->p[d->at] : 0;
    d->at++;
    return byte;
}

static s64 take_signed(struct decoder *d, unsigned size)
{
    u64 value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= (u64)take(d) << (8 * i);
    unsigned shift = 64 - 8 * size;
    return size ? (s64)(value << shift) >> shift : 0;
}

/* --- prefixes and opcode ---------------------------------------------------------------------------------------- */

static bool legacy_prefix(struct decoder *d, u8 byte)
{
    switch (byte) {
    case 0x66:
        return d->opsize = true;
    case 0x67:
        return d->addrsize = true;
    case 0xf2:
        return d->repne = true;
    case 0xf3:
        return d->rep = true;
    case 0xf0:
        return d->lock = true;
    case 0x26:
    case 0x2e:
    case 0x36:
    case 0x3e:
        return d->segment_bad = true;
    case 0x64:
    case 0x65:
        return true;
    }
    return false;
}

static void take_vex2(struct decoder *d)
{
    u8 a = take(d);
    d->rex = 0x40 | (a & 0x80 ? 0 : 4);
    d->vvvv = ~(a >> 3) & 15;
    d->map = MAP_0F;
    d->opsize = (a & 3) == 1;
    d->rep = (a & 3) == 2;
}

/* VEX3 and XOP: inverted R X B and the map, then W vvvv L pp. */
static int take_vex3(struct decoder *d, bool xop)
{
    u8 a = take(d), b = take(d), map = a & 31;
    d->rex = 0x40 | (~(a >> 5) & 7) | (b & 0x80 ? 8 : 0);
    d->vvvv = ~(b >> 3) & 15;
    d->opsize = (b & 3) == 1;
    d->rep = (b & 3) == 2;
    if (xop ? map < 8 || map > 10 : map < 1 || map > 3)
        return -EINVAL;
    d->map = xop ? MAP_XOP8 + (map - 8) : MAP_0F + (map - 1);
    return 0;
}

static int take_evex(struct decoder *d)
{
    static const u8 maps[8] = { 0, MAP_0F, MAP_0F38, MAP_0F3A, 0, MAP_EVEX5, MAP_EVEX6, 0 };
    u8 a = take(d), b = take(d);
    (void)take(d);
    d->rex = 0x40 | (~(a >> 5) & 7) | (b & 0x80 ? 8 : 0);
    d->vvvv = ~(b >> 3) & 15;
    d->opsize = (b & 3) == 1;
    d->rep = (b & 3) == 2;
    d->map = maps[a & 7];
    return d->map ? 0 : -EINVAL;
}

static int take_vector(struct decoder *d, u8 byte)
{
    d->vector = true;
    int err = 0;
    if (byte == 0xc5)
        take_vex2(d);
    else
        err = byte == 0x62 ? take_evex(d) : take_vex3(d, byte == 0x8f);
    d->opcode = take(d);
    return err;
}

static int take_opcode(struct decoder *d)
{
    u8 byte = take(d);
    while (legacy_prefix(d, byte) || (byte & 0xf0) == 0x40) {
        d->rex = (byte & 0xf0) == 0x40 ? byte : 0; /* REX counts only right before the opcode */
        if (d->at >= LENGTH_MAX)
            return -EINVAL;
        byte = take(d);
    }
    bool xop = byte == 0x8f && d->at < d->n && (d->p[d->at] & 31) >= 8;
    if (byte == 0xc4 || byte == 0xc5 || byte == 0x62 || xop)
        return take_vector(d, byte);
    d->opcode = byte;
    if (byte != 0x0f)
        return 0;
    d->map = MAP_0F;
    d->opcode = take(d);
    if (d->opcode == 0x38 || d->opcode == 0x3a) {
        d->map = d->opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
        d->opcode = take(d);
    }
    return 0;
}

/* --- operands --------------------------------------------------------------------------------------------------- */

static char operand_letter(const struct decoder *d)
{
    switch (d->map) {
    case MAP_0:
        return map_0[d->opcode];
    case MAP_0F:
        return map_0f[d->opcode];
    case MAP_0F3A:
    case MAP_XOP8:
        return 'B';
    case MAP_XOPA:
        return 'Z';
    default:
        return 'm';
    }
}

static void take_modrm(struct decoder *d)
{
    u8 byte = take(d), rm = byte & 7, ext = d->rex;
    d->has_modrm = true;
    d->mod = byte >> 6;
    d->reg = (byte >> 3 & 7) | (ext & 4 ? 8 : 0);
    d->rm = rm | (ext & 1 ? 8 : 0);
    d->base = d->index = 0xff;
    if (d->mod == 3)
        return;
    bool wide = d->mod == 2;
    if (rm == 4) {
        u8 sib = take(d);
        wide |= (sib & 7) == 5 && !d->mod;
        d->base = (sib & 7) == 5 && !d->mod ? 0xff : (sib & 7) | (ext & 1 ? 8 : 0);
        d->index = (sib >> 3 & 7) == 4 && !(ext & 2) ? 0xff : (sib >> 3 & 7) | (ext & 2 ? 8 : 0);
    } else if (rm == 5 && !d->mod) {
        wide = true; /* rip-relative */
    } else {
        d->base = d->rm;
    }
    d->disp = (s32)take_signed(d, wide ? 4 : d->mod == 1 ? 1 : 0);
}

static unsigned immediate_size(const struct decoder *d, char letter)
{
    unsigned z = d->opsize && !(d->rex & 8) ? 2 : 4;
    switch (letter) {
    case 'b':
    case 'B':
    case 'j':
        return 1;
    case 'w':
        return 2;
    case 'e':
        return 3;
    case 'z':
    case 'Z':
        return d->vector ? 4 : z;
    case 'J':
        return 4; /* a 66 prefix does not shorten a branch on Intel; AMD differs and compilers rely on Intel's way */
    case 'v':
        return d->rex & 8 ? 8 : z;
    case 'o':
        return d->addrsize ? 4 : 8;
    case 't':
        return (d->reg & 7) > 1 ? 0 : d->opcode == 0xf6 ? 1 : z;
    }
    return 0;
}

static int take_operands(struct decoder *d)
{
    char letter = operand_letter(d);
    if (letter == 'x' || letter == 'p')
        return -EINVAL;
    if (strchr("mBZt", letter) && !(d->vector && d->map == MAP_0F && d->opcode == 0x77))
        take_modrm(d);
    d->imm_size = (u8)immediate_size(d, letter);
    d->imm = take_signed(d, d->imm_size);
    return 0;
}

/* --- what it writes --------------------------------------------------------------------------------------------- */

static u16 bit(unsigned reg) { return (u16)(1u << reg); }

/* A register operand; without REX the byte registers 4–7 are ah ch dh bh, so name both readings. */
static u16 operand(const struct decoder *d, unsigned reg, bool byte_wide)
{
    return bit(reg) | (byte_wide && !d->rex && reg >= 4 && reg < 8 ? bit(reg - 4) : 0);
}
static u16 write_rm(const struct decoder *d, bool byte_wide) { return d->mod == 3 ? operand(d, d->rm, byte_wide) : 0; }
static u16 write_reg(const struct decoder *d, bool byte_wide) { return operand(d, d->reg, byte_wide); }

enum { STRING_REGS = 1 << REG_RDI | 1 << REG_RSI | 1 << REG_RCX };

static u16 writes_group(const struct decoder *d)
{
    unsigned op = d->reg & 7;
    bool byte = !(d->opcode & 1);
    switch (d->opcode) {
    case 0x80:
    case 0x81:
    case 0x83:
        return op == 7 ? 0 : write_rm(d, d->opcode == 0x80); /* cmp writes nothing */
    case 0xf6:
    case 0xf7:
        return op < 2 ? 0 : op < 4 ? write_rm(d, byte) : bit(REG_RAX) | bit(REG_RDX); /* mul, div */
    case 0xff:
        return op < 2 ? write_rm(d, false) : 0;
    }
    return write_rm(d, byte);
}

/* clang-format off */
static u16 writes_map_0(const struct decoder *d)
{
    u8 op = d->opcode;
    bool byte = !(op & 1);
    if (op < 0x40) /* add or adc sbb and sub xor cmp, in six forms */
        return op >= 0x38 ? 0 : (op & 7) < 2 ? write_rm(d, byte) : (op & 7) < 4 ? write_reg(d, byte) : bit(REG_RAX);
    if (op >= 0x50 && op < 0x60)
        return op < 0x58 ? 0 : bit((op & 7) | (d->rex & 1 ? 8 : 0));
    if (op >= 0x70 && op < 0x80)
        return 0;
    if (op >= 0x91 && op <= 0x97)
        return bit(REG_RAX) | bit((op & 7) | (d->rex & 1 ? 8 : 0));
    if ((op & 0xf0) == 0xb0)
        return operand(d, (op & 7) | (d->rex & 1 ? 8 : 0), op < 0xb8);
    switch (op) {
    case 0x63: case 0x69: case 0x6b: case 0x8b: case 0x8d:
        return write_reg(d, false);
    case 0x8a:
        return write_reg(d, true);
    case 0x88: case 0x89: case 0x8f: case 0xc0: case 0xc1: case 0xc6: case 0xc7: case 0xd0: case 0xd1: case 0xd2: case 0xd3: case 0xfe:
        return write_rm(d, byte);
    case 0x80: case 0x81: case 0x83: case 0xf6: case 0xf7: case 0xff:
        return writes_group(d);
    case 0x84: case 0x85: case 0xa8: case 0xa9: case 0x68: case 0x6a: case 0x90: case 0x98: case 0x9b: case 0x9c: case 0x9d: case 0x9e: case 0x9f:
    case 0xc2: case 0xc3: case 0xcc: case 0xe9: case 0xeb: case 0xf4: case 0xf5: case 0xf8: case 0xf9: case 0xfc: case 0xfd:
    case 0xd8: case 0xd9: case 0xda: case 0xdb: case 0xdc: case 0xdd: case 0xde: case 0xdf: case 0xa0: case 0xa1: case 0xa2: case 0xa3:
        return 0;
    case 0xc8: case 0xc9:
        return bit(REG_RSP) | bit(REG_RBP);
    case 0x99:
        return bit(REG_RDX);
    case 0xe0: case 0xe1: case 0xe2:
        return bit(REG_RCX);
    case 0xe3:
        return 0;
    case 0xa4: case 0xa5: case 0xa6: case 0xa7: case 0xaa: case 0xab: case 0xac: case 0xad: case 0xae: case 0xaf:
        return STRING_REGS;
    }
    return 0xffef; /* calls and all that is rare: anything but rsp */
}

/* SSE and AVX opcodes of map 0f whose register operands are vectors; the few that write a general register are apart. */
static bool is_vector_only(const struct decoder *d)
{
    u8 op = d->opcode;
    if (op == 0x7e)
        return d->rep;
    if (op == 0xc5 || op == 0xd7 || op == 0x50)
        return false;
    return (op >= 0x10 && op <= 0x17) || (op >= 0x28 && op <= 0x2f && op != 0x2c && op != 0x2d) || (op >= 0x51 && op <= 0x76) || op == 0x7c ||
           op == 0x7d || op == 0x7f || op == 0xc2 || op == 0xc4 || op == 0xc6 || (op >= 0xd0 && op != 0xff);
}

static u16 writes_map_0f(const struct decoder *d)
{
    u8 op = d->opcode;
    if (op == 0x1e) /* rdssp writes its operand; endbr and the reserved nops nothing */
        return d->rep && (d->reg & 7) == 1 ? write_rm(d, false) : 0;
    if (is_vector_only(d) || (op >= 0x18 && op <= 0x1f) || (op & 0xf0) == 0x80 || op == 0x0d || op == 0x0b || op == 0x77 || op == 0xa3)
        return 0;
    if ((op & 0xf0) == 0x40 || op == 0xaf || op == 0xb6 || op == 0xb7 || op == 0xbe || op == 0xbf || op == 0xbc || op == 0xbd || op == 0xb8 ||
       op == 0x2c || op == 0x2d || op == 0x50 || op == 0xd7 || op == 0xc5)
        return write_reg(d, false);
    if ((op & 0xf0) == 0x90 || op == 0x7e)
        return write_rm(d, op != 0x7e);
    if (op >= 0xc8 && op <= 0xcf)
        return bit((op & 7) | (d->rex & 1 ? 8 : 0));
    u16 named = d->has_modrm ? write_reg(d, true) | write_rm(d, true) : 0xffef;
    return op == 0xa2 || op == 0x31 || op == 0x05 || op == 0xc7 || op == 0x01 || op == 0xa6 || op == 0xa7 ? 0xffef : named;
}
/* clang-format on */

static u16 writes_of(const struct decoder *d)
{
    if (d->map == MAP_0)
        return writes_map_0(d);
    if (d->map == MAP_0F && !(d->vector && d->opcode >= 0x90 && d->opcode <= 0x99))
        return writes_map_0f(d);
    u16 named = write_reg(d, false) | write_rm(d, false);
    return d->vector ? named | bit(d->vvvv) : named;
}

/* --- kind, stack, emulation ------------------------------------------------------------------------------------- */

static enum insn_kind kind_map_0(const struct decoder *d)
{
    u8 op = d->opcode;
    if (op >= 0x50 && op < 0x60)
        return op < 0x58 ? INSN_PUSH : INSN_POP;
    if ((op >= 0x70 && op < 0x80) || (op >= 0xe0 && op <= 0xe3))
        return INSN_JCC;
    switch (op) {
    case 0x90:
        return d->rex & 1 ? INSN_OTHER : INSN_NOP;
    case 0xe8:
        return INSN_CALL;
    case 0xe9:
    case 0xeb:
        return INSN_JMP;
    case 0xc2:
    case 0xc3:
        return INSN_RET;
    case 0xc9:
        return INSN_LEAVE;
    case 0xcc:
    case 0xf4:
        return INSN_STOP;
    case 0xff:
        return (d->reg & 6) == 2 ? INSN_CALL_REG : (d->reg & 6) == 4 ? INSN_JMP_REG : INSN_OTHER;
    }
    return INSN_OTHER;
}

static enum insn_kind kind_of(const struct decoder *d)
{
    if (d->vector)
        return INSN_OTHER;
    if (d->map == MAP_0)
        return kind_map_0(d);
    if (d->map != MAP_0F)
        return INSN_OTHER;
    switch (d->opcode) {
    case 0x05:
        return INSN_SYSCALL;
    case 0x0b:
        return INSN_STOP;
    case 0x1e:
        return d->rep && d->mod == 3 && d->rm == 2 && (d->reg & 7) == 7 ? INSN_ENDBR : INSN_OTHER;
    case 0x1f:
        return (d->reg & 7) == 0 ? INSN_NOP : INSN_OTHER;
    }
    return (d->opcode & 0xf0) == 0x80 ? INSN_JCC : INSN_OTHER;
}

/* sub/add rsp, imm and lea rsp, disp(rsp): rsp moves by a constant. */
static bool constant_rsp(const struct decoder *d, s32 *ret)
{
    if (d->map != MAP_0 || d->vector || !(d->rex & 8))
        return false;
    bool immediate = d->opcode == 0x81 || d->opcode == 0x83;
    if (immediate && d->mod == 3 && d->rm == REG_RSP && ((d->reg & 7) == 0 || (d->reg & 7) == 5)) {
        *ret = (s32)((d->reg & 7) ? -d->imm : d->imm);
        return true;
    }
    if (d->opcode != 0x8d || d->reg != REG_RSP || d->mod == 3 || d->base != REG_RSP || d->index != 0xff)
        return false;
    *ret = d->disp;
    return true;
}

static void stack_of_frame(const struct decoder *d, struct insn *i)
{
    if (d->map != MAP_0 || d->vector || !(d->rex & 8))
        return;
    bool store = d->opcode == 0x89, load = d->opcode == 0x8b, lea = d->opcode == 0x8d;
    u8 to = store ? d->rm : d->reg, from = store ? d->reg : d->rm;
    if ((store || load) && d->mod == 3) {
        i->rbp_is_rsp = to == REG_RBP && from == REG_RSP;
        i->rsp_from_rbp = to == REG_RSP && from == REG_RBP;
    }
    if (lea && d->reg == REG_RSP && d->base == REG_RBP && d->index == 0xff) {
        i->rsp_from_rbp = true;
        i->rbp_offset = d->disp;
    }
}

static s32 push_pop_delta(const struct decoder *d, enum insn_kind kind)
{
    if (kind == INSN_PUSH || kind == INSN_POP)
        return kind == INSN_PUSH ? -8 : 8;
    if (kind == INSN_RET)
        return 8;
    if (d->vector || d->map != MAP_0)
        return !d->vector && d->map == MAP_0F && (d->opcode == 0xa0 || d->opcode == 0xa8) ? -8 : 0;
    if (d->opcode == 0x68 || d->opcode == 0x6a || d->opcode == 0x9c || (d->opcode == 0xff && (d->reg & 7) == 6))
        return -8;
    return d->opcode == 0x8f || d->opcode == 0x9d ? 8 : 0;
}

static void stack_of(const struct decoder *d, u16 writes, struct insn *i)
{
    s32 constant;
    stack_of_frame(d, i);
    if (constant_rsp(d, &constant)) {
        i->kind = INSN_SUB_RSP;
        i->rsp_known = true;
        i->rsp_delta = constant;
        return;
    }
    if (i->kind == INSN_LEAVE) {
        i->rsp_from_rbp = true;
        i->rbp_offset = 8;
    }
    bool narrow = d->opsize && push_pop_delta(d, i->kind); /* 66 push: two bytes; nobody writes it */
    i->rsp_known = !(writes & bit(REG_RSP)) && !narrow;
    i->rsp_delta = i->rsp_known ? push_pop_delta(d, i->kind) : 0;
}

/* The kernel knows its own nops byte by byte (arch/x86/include/asm/nops.h): 0f 1f over 0(rax) or 0(rax,rax), 66 at most once. */
static bool is_kernel_nop(const struct decoder *d)
{
    return !d->rex && !d->rep && !d->repne && !d->addrsize && d->mod != 3 && d->base == REG_RAX &&
           (d->index == 0xff || d->index == REG_RAX) && !d->disp;
}

static enum insn_emulation emulation_of(const struct decoder *d, const struct insn *i)
{
    if (d->lock || d->segment_bad)
        return INSN_REFUSED;
    switch (i->kind) {
    case INSN_PUSH:
        return i->length == 1 || (i->length == 2 && d->rex == 0x41) ? INSN_EMULATED : INSN_STEPPED;
    case INSN_NOP:
        if (d->map == MAP_0)
            return d->opsize ? INSN_EMULATED_NEW : INSN_EMULATED;
        return is_kernel_nop(d) ? INSN_EMULATED_NEW : INSN_STEPPED;
    case INSN_JMP:
    case INSN_CALL:
        return d->opsize ? INSN_REFUSED : INSN_EMULATED;
    case INSN_JCC:
        if (d->map == MAP_0 && d->opcode >= 0xe0) /* loop, jrcxz */
            return INSN_STEPPED;
        return d->opsize ? INSN_REFUSED : INSN_EMULATED;
    default:
        return INSN_STEPPED;
    }
}

static u8 argument_mask(u16 writes)
{
    static const u8 regs[6] = { REG_RDI, REG_RSI, REG_RDX, REG_RCX, REG_R8, REG_R9 };
    u8 mask = 0;
    for (unsigned i = 0; i < 6; i++)
        mask |= (u8)((writes >> regs[i] & 1) << i);
    return mask;
}

int insn_decode(const u8 *bytes, size_t n, struct insn *ret)
{
    struct decoder d = { .p = bytes, .n = n, .base = 0xff, .index = 0xff };
    int err = take_opcode(&d);
    if (!err)
        err = take_operands(&d);
    if (d.at > n)
        return -EMSGSIZE;
    if (err || d.at > LENGTH_MAX)
        return -EINVAL;
    u16 writes = writes_of(&d);
    struct insn i = { .length = (u8)d.at, .kind = kind_of(&d), .writes = argument_mask(writes) };
    stack_of(&d, writes, &i);
    i.writes_rbp = writes & bit(REG_RBP) && !i.rbp_is_rsp;
    i.emulation = emulation_of(&d, &i);
    if (i.kind == INSN_JMP || i.kind == INSN_JCC || i.kind == INSN_CALL)
        i.target = (s32)(u32)(d.imm + i.length);
    *ret = i;
    return 0;
}
