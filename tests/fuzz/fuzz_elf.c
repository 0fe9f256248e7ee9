/* Every reader of a traced program's file over bytes of anybody's making: ELF tables, symbols, notes, instructions, sites. */
#include "probe/cxx_sites.h"
#include "probe/demangle.h"
#include "probe/maps.h"
#include "probe/py_sites.h"
#include "probe/symbols.h"
#include "probe/tls_sites.h"
#include "probe/usdt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct walk {
    const struct elf_image *image;
    unsigned left;
};

static bool visit_symbol(void *arg, const struct elf_symbol *s)
{
    struct walk *w = arg;
    struct place place;
    struct place_return exits[8];
    struct elf_symbol again;
    char text[64];
    u64 target;
    u32 missed;
    if (!w->left--)
        return false;
    (void)place_entry(w->image, s, PLACE_ARGS | PLACE_NEW_NOPS, &place);
    (void)place_returns(w->image, s, exits, ARRAY_LEN(exits), &missed);
    (void)place_call_target(w->image, s, 64, &target);
    (void)elf_symbol_at(w->image, s->value, &again);
    (void)elf_function_size(w->image, s->value + 1);
    (void)demangle(s->name, true, text, sizeof(text));
    return true;
}

static bool visit_site(void *arg, const struct usdt_site *site)
{
    UNUSED(site);
    struct walk *w = arg;
    return w->left-- > 0;
}

static bool visit_pointer(void *arg, u64 slot, u64 value)
{
    struct walk *w = arg;
    (void)elf_pointer(w->image, slot, &value);
    (void)elf_string(w->image, value);
    return w->left-- > 0;
}

static void visit_all(const struct elf_image *image)
{
    struct walk w = { image, 64 };
    struct elf_symbol out[4];
    char near[3][128];
    struct tls_plan tls;
    struct py_plan py;
    struct cxx_plan cxx;
    u64 at;
    (void)elf_build_id(image);
    (void)elf_soname(image);
    for (unsigned i = 0; i < 8 && elf_needed(image, i); i++)
        ;
    elf_symbols_each(image, visit_symbol, &w);
    w.left = 64;
    (void)usdt_each(image, visit_site, &w);
    w.left = 64;
    elf_pointers_each(image, visit_pointer, &w);
    (void)elf_symbol(image, "f@@V1", out);
    (void)symbols_match(image, "a::b*", out, ARRAY_LEN(out));
    (void)symbols_nearest(image, "outer", near, 3);
    (void)tls_sites(image, PLACE_NEW_NOPS, &tls);
    (void)py_sites(image, PLACE_NEW_NOPS, &py);
    (void)py_method(image, "put", NULL, &at);
    cxx_sites(image, 0, &cxx);
}

static void text_all(const uint8_t *data, size_t size)
{
    struct maps maps;
    struct usdt_arg args[4];
    struct insn insn;
    char text[512], out[256];
    bool ok;
    snprintf(text, sizeof(text), "%.*s", (int)(size < 500 ? size : 500), (const char *)data);
    for (int machine = 0; machine < 2; machine++)
        (void)usdt_parse_args(machine, NULL, text, args, ARRAY_LEN(args), &ok);
    (void)demangle(text, true, out, sizeof(out));
    (void)insn_decode(data, size, &insn);
    if (!maps_parse(slice_of(data, size), &maps))
        maps_done(&maps);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    cleanup(elf_closep) struct elf_image *image = NULL;
    if (!elf_open_bytes(slice_of(data, size), &image))
        visit_all(image);
    else
        text_all(data, size);
    return 0;
}
