/* See packs.h. The assembler takes the files in: no tool makes them into arrays. */
#include "workflow/packs.h"

#include <unistd.h>

#define PACK(n)                                                                                                                  \
    __asm__(".pushsection .rodata\n"                                                                                             \
            "pack_" #n "_begin:\n"                                                                                               \
            ".incbin \"user/workflow/packs/" #n ".yaml\"\n"                                                                      \
            "pack_" #n "_end:\n"                                                                                                 \
            ".byte 0\n"                                                                                                          \
            ".popsection\n");                                                                                                    \
    extern const char pack_##n##_begin[], pack_##n##_end[];
#include "packs.def"
#undef PACK

static const struct {
    const char *name, *begin, *end;
} packs[] = {
#define PACK(n) { #n, pack_##n##_begin, pack_##n##_end },
#include "packs.def"
#undef PACK
};

bool pack_builtin(size_t i, struct pack_text *ret)
{
    if (i >= ARRAY_LEN(packs))
        return false;
    *ret = (struct pack_text){ packs[i].name, slice_of(packs[i].begin, (size_t)(packs[i].end - packs[i].begin)) };
    return true;
}

int packs_load(struct rules *r, char *err, size_t err_size)
{
    struct pack_text p;
    int code = 0;
    for (size_t i = 0; !code && pack_builtin(i, &p); i++) {
        char name[64];
        snprintf(name, sizeof(name), "pack:%s", p.name);
        code = rules_parse(r, name, (const char *)p.text.p, p.text.n, err, err_size);
    }
    return code;
}

bool pack_in_site(const struct pack *p, const char *site)
{
    char path[4096];
    for (u8 i = 0; i < p->n_python; i++) {
        static const char *const forms[] = { "%s/%s", "%s/%s.py" };
        for (size_t k = 0; k < ARRAY_LEN(forms); k++) {
            snprintf(path, sizeof(path), forms[k], site, p->python[i]);
            if (!access(path, F_OK))
                return true;
        }
    }
    return false;
}
