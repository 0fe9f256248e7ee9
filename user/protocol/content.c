/* One vtable-less switch over three libraries: each takes bytes in, gives bytes out, and says when it is stuck. «deflate»
 * is zlib's format (RFC 9110), yet some send it raw: its first byte tells. */
#include "protocol/content.h"

#include <brotli/decode.h>
#include <zlib.h>
#include <zstd.h>

#define PIECE           8192
#define ZSTD_WINDOW_LOG 23 /* 8 MiB, what RFC 8878 and RFC 9659 ask a decoder to allow */

enum kind { GZIP, DEFLATE, BROTLI, ZSTD };

struct content {
    enum kind kind;
    bool begun, dead;
    bool ended; /* a gzip member; another may follow (RFC 1952 2.2) */
    u64 out;
    z_stream z;
    BrotliDecoderState *br;
    ZSTD_DStream *zstd;
    u8 piece[PIECE];
};

static int kind_of(struct slice e)
{
    static const struct {
        const char *name;
        enum kind kind;
    } kinds[] = { { "gzip", GZIP }, { "x-gzip", GZIP }, { "deflate", DEFLATE }, { "br", BROTLI }, { "zstd", ZSTD } };
    e = slice_trim(e);
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (slice_ieq(e, kinds[i].name))
            return (int)kinds[i].kind;
    return -1;
}

bool content_encoded(struct slice encoding)
{
    encoding = slice_trim(encoding);
    return encoding.n && !slice_ieq(encoding, "identity");
}

static bool decoder_make(struct content *c)
{
    switch (c->kind) {
    case GZIP:
        return inflateInit2(&c->z, 15 + 16) == Z_OK;
    case DEFLATE:
        return true; /* at its first byte */
    case BROTLI:
        return (c->br = BrotliDecoderCreateInstance(NULL, NULL, NULL)) != NULL;
    case ZSTD:
        c->zstd = ZSTD_createDStream();
        return c->zstd && !ZSTD_isError(ZSTD_DCtx_setParameter(c->zstd, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG));
    }
    return false;
}

struct content *content_new(struct slice encoding)
{
    int kind = kind_of(encoding);
    struct content *c = kind < 0 ? NULL : calloc(1, sizeof(*c));
    if (!c)
        return NULL;
    c->kind = (enum kind)kind;
    c->begun = c->kind == GZIP;
    if (decoder_make(c))
        return c;
    c->begun = false;
    return content_free(c);
}

struct content *content_free(struct content *c)
{
    if (!c)
        return NULL;
    if (c->begun && (c->kind == GZIP || c->kind == DEFLATE))
        inflateEnd(&c->z);
    if (c->br)
        BrotliDecoderDestroyInstance(c->br);
    ZSTD_freeDStream(c->zstd);
    free(c);
    return NULL;
}

/* Each takes from *in and puts into the piece: how much. What came before broken bytes is good (`dead` says that they came). */

static size_t inflate_step(struct content *c, struct slice *in)
{
    if (!c->begun) {
        bool zlib = (in->p[0] & 15) == Z_DEFLATED;
        c->begun = inflateInit2(&c->z, zlib ? 15 : -15) == Z_OK;
        c->dead = !c->begun;
        if (c->dead)
            return 0;
    }
    if (c->ended && in->n && inflateReset(&c->z) != Z_OK)
        c->dead = true;
    c->ended = c->ended && !in->n;
    c->z.next_in = (Bytef *)(uintptr_t)in->p;
    c->z.avail_in = (uInt)min_u64(in->n, 1u << 20);
    c->z.next_out = c->piece;
    c->z.avail_out = PIECE;
    uInt had = c->z.avail_in;
    int r = inflate(&c->z, Z_SYNC_FLUSH);
    *in = slice_from(*in, had - c->z.avail_in);
    c->ended |= r == Z_STREAM_END;
    c->dead |= r != Z_OK && r != Z_BUF_ERROR && r != Z_STREAM_END;
    return PIECE - c->z.avail_out;
}

static size_t brotli_step(struct content *c, struct slice *in)
{
    size_t left = in->n, room = PIECE;
    const u8 *from = in->p;
    u8 *to = c->piece;
    c->dead = BrotliDecoderDecompressStream(c->br, &left, &from, &room, &to, NULL) == BROTLI_DECODER_RESULT_ERROR;
    *in = slice_from(*in, in->n - left);
    return PIECE - room;
}

static size_t zstd_step(struct content *c, struct slice *in)
{
    ZSTD_inBuffer from = { in->p, in->n, 0 };
    ZSTD_outBuffer to = { c->piece, PIECE, 0 };
    c->dead = ZSTD_isError(ZSTD_decompressStream(c->zstd, &to, &from));
    *in = slice_from(*in, from.pos);
    return to.pos;
}

bool content_feed(struct content *c, struct slice in, content_fn *out, void *arg)
{
    bool full = false;
    while ((in.n || full) && !c->dead) {
        size_t had = in.n;
        size_t n = c->kind == BROTLI ? brotli_step(c, &in) : c->kind == ZSTD ? zstd_step(c, &in) : inflate_step(c, &in);
        c->out += n;
        if (n)
            out(arg, slice_of(c->piece, n));
        full = n == PIECE;
        c->dead |= c->out > CONTENT_MAX || (!n && in.n == had && had);
    }
    return !c->dead;
}
