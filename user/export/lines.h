/* Where the exporters that write text send it: a file, standard output or standard error, in whole lines. Lanes that name the same
 * file share it. A file that was renamed or removed (logrotate) is begun anew at the next write; it can also rotate by itself:
 * FILE becomes FILE.1, FILE.1 becomes FILE.2 and so on, between two batches and never within a line. */
#ifndef WF_EXPORT_LINES_H
#define WF_EXPORT_LINES_H

#include "export/encode.h"

#define LINES_MAX (64u << 20) /* bytes of one batch */

struct line_file;
struct lines {
    int fd;                 /* a standard stream */
    struct line_file *file; /* or a file; NULL: none */
    char name[64];          /* for messages */
    struct json json;
    struct grouping group;
};

/* spec->target "-": standard output, "": standard error, else a file, which is appended to. -errno with a sentence in err. */
int lines_open(struct lines *l, const struct export_spec *spec, char *err, size_t err_size);
/* Writes l->json and empties it. On failure a plain file is cut back to where it was, so that no half line stays; the
 * reason is in ret->why. */
enum export_result lines_write(struct lines *l, struct export_reply *ret);
void lines_close(struct lines *l);

/* open() and close() of an exporter that is nothing but lines. */
int lines_exporter_open(const struct export_spec *spec, void **ret, char *err, size_t err_size);
void lines_exporter_close(void *self);

#endif
