/* W3C Baggage («key=value;property,…», percent-encoded UTF-8): members whose key was chosen become attributes of the span that
 * received them, and of the spans below it on this host, while that is open. What comes in is another's word: a member that breaks the form is passed over, no more than BAGGAGE_VALUE bytes
 * of a value are kept. */
#include "trace/internal.h"

#define BAGGAGE_VALUE 256 /* bytes, decoded */

static size_t percent_decode(struct slice in, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < in.n && n < size; i++) {
        u8 byte = in.p[i];
        if (byte == '%' && i + 2 < in.n && !hex_decode((const char *)in.p + i + 1, 2, &byte))
            i += 2;
        out[n++] = (char)byte;
    }
    return n;
}

static struct slice until(struct slice s, u8 byte)
{
    ptrdiff_t at = slice_find(s, byte);
    return at < 0 ? s : slice_head(s, (size_t)at);
}

void baggage_inherit(struct attr_set *to, const struct attr_set *from, const char *const *keys, size_t n_keys)
{
    for (size_t i = 0; i < n_keys; i++) {
        const struct attr *a = attr_get(from, keys[i]);
        if (a && a->type == ATTR_STR && !attr_get(to, keys[i]))
            attr_str(to, keys[i], slice_of(a->s, a->len));
    }
}

void baggage_take(struct attr_set *to, struct slice text, const char *const *keys, size_t n_keys)
{
    char value[BAGGAGE_VALUE];
    while (text.n && n_keys) {
        struct slice member = until(text, ',');
        text = slice_from(text, member.n + (member.n < text.n));
        member = until(member, ';');
        ptrdiff_t eq = slice_find(member, '=');
        struct slice key = slice_trim(eq > 0 ? slice_head(member, (size_t)eq) : slice_of(NULL, 0));
        for (size_t i = 0; key.n && i < n_keys; i++)
            if (slice_eq(key, keys[i]) && !attr_get(to, keys[i]))
                attr_str(to, keys[i],
                         slice_of(value, percent_decode(slice_trim(slice_from(member, (size_t)eq + 1)), value, sizeof(value))));
    }
}
