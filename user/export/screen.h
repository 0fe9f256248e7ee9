/* A terminal that is shared with the traced command: its output and our finished trees scroll, and a few rows at the
 * bottom are ours for the live picture. The rows are kept apart by the scrolling margin (DECSTBM), as package managers do
 * with their progress bar, so that nothing the command prints is ever overwritten. */
#ifndef WF_EXPORT_SCREEN_H
#define WF_EXPORT_SCREEN_H

#include "export/lines.h"

#define SCREEN_REGION 16 /* rows at most */

struct screen {
    struct lines out;     /* what the next flush writes */
    bool terminal, fresh; /* fresh: since the last flush only whole lines were written */
    u32 rows, columns;
    u32 region, idle; /* rows held now; frames since they were all needed */
};
void screen_open(struct screen *s, int fd);
void screen_measure(struct screen *s);                        /* asks the terminal for its size; call before each frame */
void screen_print(struct screen *s, const char *line);        /* scrolls up with everything else */
void screen_show(struct screen *s, char (*rows)[512], u32 n); /* n = 0: gives the rows back, slowly; n > 0: draws */
void screen_flush(struct screen *s);
void screen_close(struct screen *s); /* gives the rows back */

#endif
