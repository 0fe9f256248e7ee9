/* See tls_sites.h. The proof that a stripped function is the reader behind the public ones: SSL_read and SSL_read_ex, whose
 * arguments differ, both call it first. */
#include "probe/tls_sites.h"

enum { WRAPPER_MAX = 64 }; /* bytes of a thin wrapper in which its call must come */

static bool add(struct tls_plan *plan, const struct elf_image *image, const struct elf_symbol *symbol, u32 want,
                struct tls_site site)
{
    if (plan->count == TLS_SITES_MAX || place_entry(image, symbol, want, &site.place))
        return false;
    plan->slow += !site.place.emulated && elf_machine(image) == ELF_X86_64;
    plan->sites[plan->count++] = site;
    return true;
}

static void add_write(struct tls_plan *plan, const struct elf_image *image, const char *name, u32 kernel)
{
    struct elf_symbol s;
    if (!elf_symbol(image, name, &s))
        (void)add(plan, image, &s, ARG_RDI | ARG_RSI | ARG_RDX | kernel,
                  (struct tls_site){ .role = TLS_WRITE, .function = name, .arg_buf = 1, .arg_len = 2, .arg_len_out = TLS_NONE });
}

static void add_read(struct tls_plan *plan, const struct elf_image *image, const struct elf_symbol *s, const char *name, bool ex,
                     u32 kernel)
{
    struct tls_site site = { .role = ex ? TLS_READ_EX : TLS_READ,
                             .function = name,
                             .wants_return = true,
                             .arg_buf = 1,
                             .arg_len = 2,
                             .arg_len_out = ex ? 3 : TLS_NONE };
    u32 args = ARG_RDI | ARG_RSI | ARG_RDX | (ex ? ARG_RCX : 0);
    (void)add(plan, image, s, args | PLACE_RETURN | kernel, site);
}

static bool is_cheap_with_return(const struct elf_image *image, const struct elf_symbol *s, u32 kernel)
{
    struct place p;
    u32 want = ARG_RDI | ARG_RSI | ARG_RDX | ARG_RCX | PLACE_RETURN | kernel;
    return !place_entry(image, s, want, &p) && p.emulated;
}

/* The internal reader, when it is a better place than both public functions. */
static bool internal_reader(const struct elf_image *image, const struct elf_symbol *read, const struct elf_symbol *read_ex,
                            u32 kernel, struct elf_symbol *ret)
{
    u64 target, target_ex;
    if (is_cheap_with_return(image, read, kernel) && is_cheap_with_return(image, read_ex, kernel))
        return false;
    if (place_call_target(image, read, WRAPPER_MAX, &target) || place_call_target(image, read_ex, WRAPPER_MAX, &target_ex) ||
        target != target_ex)
        return false;
    *ret = (struct elf_symbol){ .name = "ssl_read_internal", .value = target };
    return is_cheap_with_return(image, ret, kernel);
}

bool tls_sites(const struct elf_image *image, u32 kernel, struct tls_plan *ret)
{
    struct elf_symbol read, write, read_ex, inner, free_;
    if (elf_symbol(image, "SSL_read", &read) || elf_symbol(image, "SSL_write", &write))
        return false;
    struct tls_plan plan = { .boring = elf_symbol(image, "SSL_read_ex", &read_ex) != 0 };
    add_write(&plan, image, "SSL_write", kernel);
    add_write(&plan, image, "SSL_write_ex", kernel);
    if (!plan.boring && internal_reader(image, &read, &read_ex, kernel, &inner)) {
        add_read(&plan, image, &inner, "ssl_read_internal (called by SSL_read, SSL_read_ex)", true, kernel);
    } else {
        add_read(&plan, image, &read, "SSL_read", false, kernel);
        if (!plan.boring)
            add_read(&plan, image, &read_ex, "SSL_read_ex", true, kernel);
    }
    if (!elf_symbol(image, "SSL_free", &free_))
        (void)add(
            &plan, image, &free_, ARG_RDI | kernel,
            (struct tls_site){
                .role = TLS_FREE, .function = "SSL_free", .arg_buf = TLS_NONE, .arg_len = TLS_NONE, .arg_len_out = TLS_NONE });
    *ret = plan;
    return plan.count > 0;
}
