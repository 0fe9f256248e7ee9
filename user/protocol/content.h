/* Content-Encoding undone as it passes (RFC 9110 8.4.1): gzip, deflate, br, zstd. Made for one body, bounded: what a body
 * may unfold to, the window that it may ask for, and the piece that is given out at a time. */
#ifndef WF_PROTOCOL_CONTENT_H
#define WF_PROTOCOL_CONTENT_H

#include "base/base.h"

#define CONTENT_MAX (64u << 20) /* bytes that one body may unfold to; the rest is not looked at */

struct content;
typedef void content_fn(void *arg, struct slice bytes);

bool content_encoded(struct slice encoding); /* anything but "" and identity */
/* NULL: an encoding that isn't known (several in a row are not), or no memory. */
struct content *content_new(struct slice encoding);
struct content *content_free(struct content *c); /* returns NULL; NULL is fine */
/* false: broken, over the bound, or already so. What came before it has been given out. */
bool content_feed(struct content *c, struct slice in, content_fn *out, void *arg);

#endif
