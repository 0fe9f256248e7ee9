/* Everything is drawn by absolute rows between a saved and a restored cursor; margins are set in the same bracket, for
 * setting them moves the cursor. Growing first scrolls the text up (IND keeps the column), then moves the margin. */
#include "export/screen.h"

#include <sys/ioctl.h>
#include <unistd.h>

#define IDLE_FRAMES 20

void screen_open(struct screen *s, int fd)
{
    *s = (struct screen){ .out = { .fd = fd, .json.max = LINES_MAX, .name = "terminal" }, .terminal = isatty(fd) };
    screen_measure(s);
}

static void region_resize(struct screen *s, u32 want)
{
    struct json *o = &s->out.json;
    if (want > s->region) {
        for (u32 i = s->region; i < want; i++)
            json_raw(o, "\x1b"
                        "D");
        json_fmt(o, "\x1b[%uA", want - s->region);
    }
    json_raw(o, "\x1b"
                "7");
    for (u32 row = want; row < s->region; row++)
        json_fmt(o, "\x1b[%u;1H\x1b[2K", s->rows - row);
    if (want)
        json_fmt(o, "\x1b[1;%ur", s->rows - want);
    else
        json_raw(o, "\x1b[r");
    json_raw(o, "\x1b"
                "8");
    s->region = want;
    s->idle = 0;
}

void screen_measure(struct screen *s)
{
    struct winsize w = { 0 };
    bool known = s->terminal && !ioctl(s->out.fd, TIOCGWINSZ, &w) && w.ws_row && w.ws_col;
    u32 rows = known ? w.ws_row : 24, columns = known ? min_u64(w.ws_col, 400) : 80;
    if (s->region && (rows != s->rows || columns != s->columns)) { /* what the old rows became is the terminal's doing */
        json_raw(&s->out.json, "\x1b"
                               "7\x1b[r\x1b"
                               "8\x1b[J");
        s->region = 0;
    }
    s->rows = rows;
    s->columns = columns;
}

/* The command may have left the cursor in the middle of a line («progress 90 %», ^C), and nobody can tell: a line's worth
 * of blanks wraps to the next line from anywhere but the first column, from where it stays (as shells do for prompts). */
static void fresh_line(struct screen *s)
{
    json_raw(&s->out.json, "\x1b[0m");
    for (u32 i = 0; i < s->columns; i++)
        json_raw(&s->out.json, " ");
    json_raw(&s->out.json, "\r\x1b[K");
    s->fresh = true;
}

void screen_print(struct screen *s, const char *line)
{
    if (s->terminal && !s->fresh)
        fresh_line(s);
    json_raw(&s->out.json, line);
    json_raw(&s->out.json, s->terminal ? "\r\n" : "\n");
}

void screen_show(struct screen *s, char (*rows)[512], u32 n)
{
    struct json *o = &s->out.json;
    u32 room = s->rows / 3 < SCREEN_REGION ? s->rows / 3 : SCREEN_REGION;
    if (!s->terminal || s->rows < 9)
        return;
    n = n > room ? room : n;
    s->idle = n < s->region ? s->idle + 1 : 0;
    if (n > s->region || s->idle > IDLE_FRAMES)
        region_resize(s, n);
    if (!s->region)
        return;
    json_raw(o, "\x1b"
                "7");
    for (u32 i = 0; i < s->region; i++) {
        json_fmt(o, "\x1b[%u;1H", s->rows - s->region + 1 + i);
        json_raw(o, i < n ? rows[i] : "");
        json_raw(o, "\x1b[0m\x1b[K");
    }
    json_raw(o, "\x1b"
                "8");
}

void screen_flush(struct screen *s)
{
    struct export_reply ignored;
    s->fresh = false;
    if (s->out.json.n)
        (void)lines_write(&s->out, &ignored); /* a closed terminal: the picture is lost, the tracing goes on */
}

void screen_close(struct screen *s)
{
    if (s->region)
        region_resize(s, 0);
    screen_flush(s);
    lines_close(&s->out);
}
