/* Where TLS plaintext passes through an image that holds OpenSSL (or a fork with its API), found by symbols and never by
 * file name: system libssl, a wheel's bundled copy with a hashed name, node with it linked in.
 *
 * The direction costs decide the place (placement.md 2): a write is read at its entry; a read must be seen when it
 * returns, with the buffer remembered, so its place must be legal for a return probe. Where the public functions begin
 * with `sub rsp` (dear) but lead straight into one internal function that begins with push, the internal one is the site
 * and the public ones are left alone. Where internals are inlined (node), the public ones are the sites. */
#ifndef WF_PROBE_TLS_SITES_H
#define WF_PROBE_TLS_SITES_H

#include "probe/place.h"

enum tls_role {
    TLS_WRITE,   /* entry: plaintext is buf[0…len) */
    TLS_READ,    /* return: plaintext is buf[0…n), n = rax as int when > 0 (SSL_read) */
    TLS_READ_EX, /* return: plaintext is buf[0…n), n = *len_out when eax > 0 (SSL_read_ex, ssl_read_internal) */
    TLS_FREE,    /* entry: forget the binding of ssl to a socket */
};

/* Registers are argument numbers: 0 rdi, 1 rsi, 2 rdx, 3 rcx; TLS_NONE absent. All at the entry (x0… on aarch64). */
enum { TLS_NONE = 255 };

struct tls_site {
    enum tls_role role;
    const char *function; /* "SSL_write", "ssl_read_internal (call target)" … for doctor */
    struct place place;
    bool wants_return; /* attach entry and return (session) at the place; place.return_legal is then true */
    u8 arg_ssl, arg_buf, arg_len, arg_len_out;
};

enum { TLS_SITES_MAX = 8 };
struct tls_plan {
    bool boring; /* BoringSSL (no SSL_read_ex) */
    u32 count;
    struct tls_site sites[TLS_SITES_MAX];
    u32 slow; /* sites at a single-stepped instruction */
};

/* True when the image defines SSL_read and SSL_write; *ret is filled. `kernel` adds PLACE_NEW_NOPS where it holds. */
bool tls_sites(const struct elf_image *image, u32 kernel, struct tls_plan *ret);

#endif
