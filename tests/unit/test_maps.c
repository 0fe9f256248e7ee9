/* needs: base config probe ingest stream protocol workflow trace self */
/* The text of /proc/PID/maps, and this very process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <sys/mman.h>
#include <unistd.h>

#include "probe/maps.h"

static const char text[] = "00400000-00452000 r-xp 00001000 08:02 173521                             /usr/bin/db us daemon\n"
                           "00651000-00652000 r--p 00051000 08:02 173521                             /usr/bin/db us daemon\n"
                           "7f0000000000-7f0000021000 rw-p 00000000 00:00 0 \n"
                           "garbage that is no line\n"
                           "7f35a0000000-7f35a0001000 r-xp 00000000 00:05 12 /memfd:jit (deleted)\n"
                           "7f35b0000000-7f35b0001000 r--s 00003000 fd:1a 99 /tmp/new\\012line (deleted)\n"
                           "7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]\n"
                           "7ffd00100000-7ffd00101000 r-xp 00000000 00:00 0                          [vdso]";

static void test_entries(void **state)
{
    UNUSED(state);
    struct slice s = slice_str(text);
    struct map_entry e;
    static const enum map_kind kinds[] = { MAP_KIND_FILE, MAP_KIND_FILE,    MAP_KIND_ANON,   MAP_KIND_MEMFD,
                                           MAP_KIND_FILE, MAP_KIND_SPECIAL, MAP_KIND_SPECIAL };
    size_t n = 0;
    for (; maps_next(&s, &e); n++) {
        assert_true(n < ARRAY_LEN(kinds));
        assert_int_equal(e.kind, kinds[n]);
        if (n == 0) {
            assert_int_equal(e.start, 0x400000);
            assert_int_equal(e.offset, 0x1000);
            assert_int_equal(e.dev_major, 8);
            assert_int_equal(e.inode, 173521);
            assert_true(e.exec && e.read && !e.write && !e.shared);
            assert_true(slice_eq(e.path, "/usr/bin/db us daemon"));
        }
        if (n == 4)
            assert_true(e.deleted && e.shared && e.dev_minor == 0x1a);
    }
    assert_int_equal(n, ARRAY_LEN(kinds));
}

static void test_modules(void **state)
{
    UNUSED(state);
    struct maps maps;
    u64 at;
    assert_int_equal(maps_parse(slice_str(text), &maps), 0);
    assert_int_equal(maps.count, 3);
    assert_int_equal(maps.modules[0].segment_count, 2);
    assert_true(maps.modules[0].exec && maps.modules[1].memfd && maps.modules[1].deleted);
    assert_string_equal(maps.modules[2].path, "/tmp/new\nline");
    assert_ptr_equal(maps_find(&maps, 0x651fff), &maps.modules[0]);
    assert_null(maps_find(&maps, 0x652000));
    assert_int_equal(maps_offset_to_address(&maps.modules[0], 0x1010, &at), 0);
    assert_int_equal(at, 0x400010);
    assert_int_equal(maps_address_to_offset(&maps.modules[0], 0x651004, &at), 0);
    assert_int_equal(at, 0x51004);
    assert_int_equal(maps_offset_to_address(&maps.modules[0], 0, &at), -ENOENT);
    maps_done(&maps);
    assert_null(maps.modules);
}

static void test_every_cut(void **state)
{
    UNUSED(state);
    for (size_t cut = 0; cut < sizeof(text); cut++) {
        struct maps maps;
        char *exact = malloc(cut ? cut : 1);
        memcpy(exact, text, cut);
        assert_int_equal(maps_parse(slice_of(exact, cut), &maps), 0);
        free(exact);
        maps_done(&maps);
    }
}

static void test_many_modules_are_bounded(void **state)
{
    UNUSED(state);
    enum { LINES = MAPS_MODULES_MAX + 10 };
    char *big = malloc(LINES * 64), *to = big;
    struct maps maps;
    for (unsigned i = 0; i < LINES; i++)
        to += sprintf(to, "%x000-%x000 r-xp 0 08:02 %u /m%u\n", i + 1, i + 2, i + 1, i);
    assert_int_equal(maps_parse(slice_of(big, (size_t)(to - big)), &maps), 0);
    assert_int_equal(maps.count, MAPS_MODULES_MAX);
    assert_int_equal(maps.dropped, 10);
    assert_string_equal(maps.modules[4095].path, "/m4095");
    maps_done(&maps);
    free(big);
}

int main(void);
extern int wf_data_word;
int wf_data_word = 7;

/* An address of ours, through file offset and vaddr, and back. */
static void test_self(void **state)
{
    UNUSED(state);
    struct maps maps;
    cleanup(elf_closep) struct elf_image *image = NULL;
    struct elf_symbol s;
    u64 address, offset, vaddr, back;
    assert_int_equal(maps_read(getpid(), &maps), 0);
    const struct map_module *m = maps_find(&maps, (u64)(uintptr_t)main);
    assert_non_null(m);
    assert_int_equal(maps_open(getpid(), m, &image), 0);
    assert_int_equal(elf_symbol(image, "main", &s), 0);
    assert_int_equal(maps_vaddr_to_address(m, image, s.value, &address), 0);
    assert_int_equal(address, (u64)(uintptr_t)main);
    assert_int_equal(maps_address_to_offset(m, address, &offset), 0);
    assert_int_equal(elf_offset_to_vaddr(image, offset, &vaddr), 0);
    assert_int_equal(vaddr, s.value);
    assert_int_equal(maps_offset_to_address(m, offset, &back), 0);
    assert_int_equal(back, address);
    assert_int_equal(elf_symbol(image, "wf_data_word", &s), 0);
    assert_int_equal(maps_vaddr_to_address(m, image, s.value, &address), 0);
    assert_int_equal(address, (u64)(uintptr_t)&wf_data_word);
    maps_done(&maps);
}

/* A file that lost its name is still opened, through map_files. */
static void test_deleted(void **state)
{
    UNUSED(state);
    char copy[64], command[200];
    struct maps maps;
    snprintf(copy, sizeof(copy), "/tmp/wf-maps-%d", getpid());
    snprintf(command, sizeof(command), "cp /proc/%d/exe %s", getpid(), copy);
    assert_int_equal(system(command), 0);
    FILE *f = fopen(copy, "r");
    void *p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fileno(f), 0);
    unlink(copy);
    assert_int_equal(maps_read(getpid(), &maps), 0);
    const struct map_module *m = maps_find(&maps, (u64)(uintptr_t)p);
    assert_non_null(m);
    assert_true(m->deleted);
    assert_string_equal(m->path, copy);
    struct elf_image *image = NULL;
    int err = maps_open(getpid(), m, &image);
    assert_true(!err || err == -EPERM || err == -EACCES);
    elf_close(image);
    maps_done(&maps);
    fclose(f);
    munmap(p, 4096);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries),   cmocka_unit_test(test_modules),
        cmocka_unit_test(test_every_cut), cmocka_unit_test(test_many_modules_are_bounded),
        cmocka_unit_test(test_self),      cmocka_unit_test(test_deleted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
