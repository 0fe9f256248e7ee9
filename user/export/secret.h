/* Texts that hold a secret by reference: ${env:NAME}, ${file:PATH} (without blanks and line breaks at its end) and
 * ${base64:TEXT}, whose text may hold references in turn: «Authorization=Basic ${base64:me:${file:/run/secrets/pw}}».
 *
 * Files are watched: what was rotated is seen at the next request. */
#ifndef WF_EXPORT_SECRET_H
#define WF_EXPORT_SECRET_H

#include "base/base.h"

#define SECRET_MAX   16384 /* bytes of an expanded text */
#define WATCH_FILES  8
#define SECRET_DEPTH 4

struct watch {
    struct watched {
        char path[256];
        u64 stamp; /* of inode, size and time of change; 0: it was not there */
    } file[WATCH_FILES];
    size_t n;
};
/* Expands `text` into out[SECRET_MAX]; files it read are added to `w`. -EINVAL for a reference that is none or too long a text,
 * -ENOENT for a variable that is not set, -errno of a file; `err` says which, never the value. */
int secret_expand(const char *text, struct watch *w, char *out, char *err, size_t err_size);
/* Some file is another one than when it was read. */
bool watch_changed(const struct watch *w);
void watch_add(struct watch *w, const char *path); /* beyond WATCH_FILES: not watched */

#endif
