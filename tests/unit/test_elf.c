/* needs: base config probe ingest stream protocol workflow trace self */
/* Images of this machine and broken ones; symbols as users name them; exceptions. Fixtures are compiled here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <elf.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "probe/cxx_sites.h"
#include "probe/demangle.h"
#include "probe/place.h"
#include "probe/symbols.h"

static char dir[64], path[128], stripped[128];

static const char source[] = "namespace ns { struct S { int f(int); }; int S::f(int a) { return a + 1; }\n"
                             "int over(int a) { return a; } int over(char *p) { return *p; } }\n"
                             "extern \"C\" int plain(int a) { if(a > 3) throw 1; return ns::S().f(a); }\n"
                             "const char *names[] = { \"alpha\", \"beta\" };\n";

static int setup(void **state)
{
    UNUSED(state);
    char command[512];
    snprintf(dir, sizeof(dir), "/tmp/wf-elf-%d", getpid());
    mkdir(dir, 0700);
    snprintf(path, sizeof(path), "%s/f.so", dir);
    snprintf(stripped, sizeof(stripped), "%s/s.so", dir);
    snprintf(command, sizeof(command),
             "cd %s && cat >f.cc && g++ -O1 -fPIC -shared -Wl,-soname,libf.so.1 -o f.so f.cc && strip -o s.so f.so", dir);
    FILE *f = popen(command, "w");
    fputs(source, f);
    return pclose(f);
}

static int teardown(void **state)
{
    UNUSED(state);
    char command[128];
    snprintf(command, sizeof(command), "rm -r %s", dir);
    return system(command);
}

static void test_basics(void **state)
{
    UNUSED(state);
    cleanup(elf_closep) struct elf_image *image = NULL;
    struct elf_symbol s, at;
    struct elf_section text;
    u64 offset, vaddr, value;
    assert_int_equal(elf_open(path, &image), 0);
    assert_string_equal(elf_soname(image), "libf.so.1");
    assert_int_equal(elf_build_id(image).n, 20);
    assert_true(elf_is_shared(image) && !elf_has_interpreter(image));
    assert_int_equal(elf_symbol(image, "plain", &s), 0);
    assert_true(elf_is_code(image, s.value));
    assert_int_equal(elf_vaddr_to_offset(image, s.value, &offset), 0);
    assert_int_equal(elf_offset_to_vaddr(image, offset, &vaddr), 0);
    assert_int_equal(vaddr, s.value);
    assert_int_equal(elf_symbol_at(image, s.value + 1, &at), 0);
    assert_string_equal(at.name, "plain");
    assert_true(elf_section(image, ".text", &text) && text.bytes.n == text.size);
    assert_int_equal(elf_symbol(image, "names", &s), 0);
    assert_int_equal(elf_pointer(image, s.value + 8, &value), 0); /* a RELATIVE relocation */
    assert_string_equal(elf_string(image, value), "beta");
    assert_int_equal(elf_symbol(image, "absent", &s), -ENOENT);
    assert_true(elf_imports(image, "__cxa_throw") && !elf_imports(image, "plain"));
}

/* Without section headers the same answers come from PT_DYNAMIC and .eh_frame_hdr. */
static void test_without_sections(void **state)
{
    UNUSED(state);
    cleanup(elf_closep) struct elf_image *whole = NULL, *bare = NULL;
    struct elf_symbol a, b;
    struct elf_section s;
    assert_int_equal(elf_open(stripped, &whole), 0);
    int fd = open(stripped, O_RDWR);
    Elf64_Ehdr eh;
    assert_int_equal(pread(fd, &eh, sizeof(eh), 0), sizeof(eh));
    eh.e_shoff = eh.e_shnum = eh.e_shstrndx = 0;
    assert_int_equal(elf_symbol(whole, "plain", &a), 0);
    char other[160];
    snprintf(other, sizeof(other), "%s.bare", stripped);
    char command[512];
    snprintf(command, sizeof(command), "cp %s %s", stripped, other);
    assert_int_equal(system(command), 0);
    int out = open(other, O_WRONLY);
    assert_int_equal(pwrite(out, &eh, sizeof(eh), 0), sizeof(eh));
    close(out);
    close(fd);
    assert_int_equal(elf_open(other, &bare), 0);
    assert_false(elf_section(bare, ".text", &s));
    assert_int_equal(elf_symbol(bare, "plain", &b), 0);
    assert_int_equal(a.value, b.value);
    assert_string_equal(elf_soname(bare), "libf.so.1");
    assert_true(elf_imports(bare, "__cxa_throw"));
    assert_int_equal(elf_function_size(bare, b.value), a.size);
}

static void test_versions(void **state)
{
    UNUSED(state);
    cleanup(elf_closep) struct elf_image *image = NULL;
    struct elf_symbol now, then;
    if (elf_open("/usr/lib/x86_64-linux-gnu/libc.so.6", &image))
        skip();
    assert_int_equal(elf_symbol(image, "pthread_cond_wait@@GLIBC_2.3.2", &now), 0);
    assert_int_equal(elf_symbol(image, "pthread_cond_wait@GLIBC_2.2.5", &then), 0);
    assert_int_not_equal(now.value, then.value);
    assert_int_equal(elf_symbol(image, "pthread_cond_wait@GLIBC_9", &then), -ENOENT);
}

static void test_names_of_users(void **state)
{
    UNUSED(state);
    cleanup(elf_closep) struct elf_image *image = NULL;
    struct elf_symbol out[4];
    char near[3][128];
    assert_int_equal(elf_open(path, &image), 0);
    assert_int_equal(symbols_match(image, "plain", out, 4), 1);
    assert_int_equal(symbols_match(image, "ns::S::f(int)", out, 4), 1);
    assert_string_equal(out[0].name, "_ZN2ns1S1fEi");
    assert_int_equal(symbols_match(image, "_ZN2ns1S1fEi", out, 4), 1);
    assert_int_equal(symbols_match(image, "ns::over", out, 4), 2);
    assert_true(out[0].value < out[1].value);
    assert_int_equal(symbols_match(image, "ns::over", out, 1), 2); /* counted beyond the room */
    assert_int_equal(symbols_match(image, "ns::over(char*)", out, 4), 1);
    assert_int_equal(symbols_match(image, "ns::*", out, 4), 3);
    assert_int_equal(symbols_match(image, "ns::ove", out, 4), 0);
    assert_true(symbols_nearest(image, "plian", near, 3) >= 1);
    assert_string_equal(near[0], "plain");
    assert_true(symbols_nearest(image, "ns::ovr", near, 3) >= 1);
    assert_string_equal(near[0], "ns::over");
    assert_int_equal(symbols_nearest(image, "zzzzzzzzzzzz", near, 3), 0);
}

static void test_demangle(void **state)
{
    UNUSED(state);
    char out[64] = "kept";
    assert_true(demangle("_ZN2ns1S1fEi", true, out, sizeof(out)));
    assert_string_equal(out, "ns::S::f(int)");
    assert_true(demangle("_ZN2ns1S1fEi", false, out, sizeof(out)));
    assert_string_equal(out, "ns::S::f");
    assert_true(demangle("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE", false, out, sizeof(out)));
    assert_string_equal(out, "core::fmt::Write::write_fmt");
    assert_true(demangle("_RNvCs1234_7mycrate3foo", false, out, sizeof(out)));
    assert_non_null(strstr(out, "mycrate"));
    assert_false(demangle("main", true, out, sizeof(out)));
    assert_true(demangle("_ZN2ns1S1fEi", true, out, 5));
    assert_string_equal(out, "ns::");
}

static void test_unwinding(void **state)
{
    UNUSED(state);
    cleanup(elf_closep) struct elf_image *image = NULL, *bare = NULL, *c = NULL, *cxx = NULL;
    struct cxx_plan plan;
    assert_int_equal(elf_open(path, &image), 0);
    assert_int_equal(elf_open(stripped, &bare), 0);
    cxx_sites(image, 0, &plan);
    assert_true(plan.can_unwind && plan.cxx && !plan.rust && plan.count == 0); /* imports only */
    cxx_sites(bare, 0, &plan);
    assert_true(plan.can_unwind);
    if (!elf_open("/usr/lib/x86_64-linux-gnu/libc.so.6", &c)) {
        cxx_sites(c, 0, &plan);
        assert_false(plan.can_unwind);
    }
    if (!elf_open("/usr/lib/x86_64-linux-gnu/libstdc++.so.6", &cxx)) {
        cxx_sites(cxx, 0, &plan);
        assert_true(plan.can_unwind && plan.count >= 3);
    }
}

/* Each cut of the file, flush against an unmapped page. */
static void test_every_cut(void **state)
{
    UNUSED(state);
    struct stat st;
    int fd = open(stripped, O_RDONLY);
    assert_int_equal(fstat(fd, &st), 0);
    size_t size = (size_t)st.st_size, room = (size + 4095) & ~(size_t)4095;
    u8 *area = mmap(NULL, room + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_int_equal(mprotect(area + room, 4096, PROT_NONE), 0);
    for (size_t cut = 0; cut < size; cut += cut < 1200 ? 1 : 97) {
        struct elf_image *image;
        struct elf_symbol s;
        struct cxx_plan plan;
        u8 *at = area + room - cut;
        assert_int_equal(pread(fd, at, cut, 0), cut);
        if (elf_open_bytes(slice_of(at, cut), &image))
            continue;
        (void)elf_symbol(image, "plain", &s);
        (void)elf_symbol_at(image, 0x1100, &s);
        (void)elf_soname(image);
        cxx_sites(image, 0, &plan);
        elf_close(image);
    }
    munmap(area, room + 4096);
    close(fd);
}

static void test_not_ours(void **state)
{
    UNUSED(state);
    struct elf_image *image = NULL;
    assert_int_equal(elf_open("/etc/passwd", &image), -ENOEXEC);
    assert_int_equal(elf_open("/dev/null", &image), -ENOEXEC);
    assert_int_equal(elf_open("/nonexistent", &image), -ENOENT);
    assert_null(image);
}

/* The owner cuts the file while we hold it. */
static void test_truncated_under_us(void **state)
{
    UNUSED(state);
    char other[160], command[512];
    struct elf_image *image;
    struct elf_symbol s;
    snprintf(other, sizeof(other), "%s.cut", path);
    snprintf(command, sizeof(command), "cp %s %s", path, other);
    assert_int_equal(system(command), 0);
    assert_int_equal(elf_guard(), 0);
    assert_int_equal(elf_open(other, &image), 0);
    assert_int_equal(truncate(other, 0), 0);
    assert_int_equal(elf_symbol(image, "plain", &s), -ENOENT); /* zeros now */
    elf_close(image);
}

/* A uprobe of this process at `offset` of the fixture; -1 where that is not allowed. */
static int foreign_probe(u64 offset)
{
    cleanup(freep) char *text = NULL;
    if (read_small_file("/sys/bus/event_source/devices/uprobe/type", 32, &text, NULL))
        return -1;
    struct perf_event_attr attr = {
        .size = sizeof(attr), .type = (u32)strtoul(text, NULL, 10), .uprobe_path = (u64)(uintptr_t)path, .probe_offset = offset
    };
    return (int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

/* Somebody else's breakpoint stands in the code while we read it: the image is the file's all the same. */
static void test_probed_by_others(void **state)
{
    UNUSED(state);
    struct elf_image *image;
    struct elf_symbol s;
    struct place place;
    u32 before, with;
    assert_int_equal(elf_open(path, &image), 0);
    assert_int_equal(elf_symbol(image, "plain", &s), 0);
    assert_int_equal(place_entry(image, &s, 0, &place), 0);
    assert_int_equal(elf_u32(image, s.value, &before), 0);
    elf_close(image);
    cleanup(closep) int fd = foreign_probe(place.file_offset - place.delta);
    if (fd < 0) {
        print_message("no uprobe here: %s\n", errno_name(errno));
        skip();
    }
    assert_int_equal(elf_open(path, &image), 0);
    assert_int_equal(elf_u32(image, s.value, &with), 0);
    assert_int_equal(with, before);
    elf_close(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_basics),
        cmocka_unit_test(test_without_sections),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_names_of_users),
        cmocka_unit_test(test_demangle),
        cmocka_unit_test(test_unwinding),
        cmocka_unit_test(test_every_cut),
        cmocka_unit_test(test_not_ours),
        cmocka_unit_test(test_truncated_under_us),
        cmocka_unit_test(test_probed_by_others),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
