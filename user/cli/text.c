/* Small printers: cells of tables, JSON strings, the terminal's width. */
#include "cli/cli.h"

#include <sys/ioctl.h>
#include <unistd.h>

/* Length of the UTF-8 sequence at s, 1 to 4; 0 when it is none. */
static size_t utf8_len(const u8 *s)
{
    size_t n = *s < 0x80 ? 1 : (*s & 0xe0) == 0xc0 ? 2 : (*s & 0xf0) == 0xe0 ? 3 : (*s & 0xf8) == 0xf0 ? 4 : 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((n == 2 && *s < 0xc2) || (n == 3 && *s == 0xe0 && s[1] < 0xa0) || (n == 3 && *s == 0xed && s[1] > 0x9f) ||
        (n == 4 && (*s > 0xf4 || (*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] > 0x8f))))
        return 0;
    return n;
}

static void json_char(FILE *to, const u8 *s, size_t n)
{
    if (!n)
        fputs("\\ufffd", to);
    else if (*s == '"' || *s == '\\')
        fprintf(to, "\\%c", *s);
    else if (*s < 0x20 || *s == 0x7f)
        fprintf(to, "\\u%04x", *s);
    else
        fwrite(s, 1, n, to);
}

void print_json_text(FILE *to, const char *text)
{
    fputc('"', to);
    for (const u8 *s = (const u8 *)text; *s;) {
        size_t n = utf8_len(s);
        json_char(to, s, n);
        s += n ? n : 1;
    }
    fputc('"', to);
}

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
