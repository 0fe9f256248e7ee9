/* Small printers: cells of tables, the terminal's width. */
#include "cli/cli.h"

#include <sys/ioctl.h>
#include <unistd.h>

static int columns_of(const char *text)
{
    int n = 0;
    for (const u8 *s = (const u8 *)text; *s; n++)
        s += utf8_len(s) ? utf8_len(s) : 1;
    return n;
}

void print_cell(FILE *to, const char *text, int width)
{
    bool pad = width > 0;
    int room = pad ? width : -width, all = columns_of(text), shown = 0;
    int fits = all > room ? room - 1 : all;
    for (const u8 *s = (const u8 *)text; *s && shown < fits; shown++) {
        size_t n = utf8_len(s);
        if (!n || *s < 0x20 || *s == 0x7f)
            fputc('?', to);
        else
            fwrite(s, 1, n, to);
        s += n ? n : 1;
    }
    if (all > room) {
        fputs("…", to);
        shown++;
    }
    for (; pad && shown < room; shown++)
        fputc(' ', to);
}

int terminal_width(int fd)
{
    struct winsize w = { 0 };
    return isatty(fd) && !ioctl(fd, TIOCGWINSZ, &w) && w.ws_col >= 40 ? w.ws_col : 80;
}
