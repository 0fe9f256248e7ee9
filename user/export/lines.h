/* Where the exporters that write text send it: a file, standard output or standard error, in whole lines. */
#ifndef WF_EXPORT_LINES_H
#define WF_EXPORT_LINES_H

#include "export/encode.h"

#define LINES_MAX (64u << 20) /* bytes of one batch */

struct lines {
    int fd;
    bool own;      /* close it at the end */
    bool regular;  /* a plain file: a torn line can be taken back */
    char name[64]; /* for messages */
    struct json json;
    struct grouping group;
};

/* "-": standard output, "": standard error. A file is appended to. -errno with a sentence in err. */
int lines_open(struct lines *l, const char *target, char *err, size_t err_size);
/* Writes l->json and empties it. On failure a plain file is cut back to where it was, so that no half line stays; the
 * reason is in ret->why. */
enum export_result lines_write(struct lines *l, struct export_reply *ret);
void lines_close(struct lines *l);

#endif
