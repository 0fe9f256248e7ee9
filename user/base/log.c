/* One line is one write(2), so that lines of several threads do not mix. Control bytes are replaced: a path or a host
 * name taken from elsewhere must not be able to draw on somebody's terminal. */
#include "base/log.h"
#include "base/base.h"

#include <stdarg.h>
#include <unistd.h>

enum log_level log_level = LOG_WARN;
void (*log_hook)(const char *line);

static const char *const level_mark[] = { [LOG_ERROR] = "error: ", [LOG_WARN] = "", [LOG_INFO] = "", [LOG_DEBUG] = "" };

static void line_make_printable(char *line)
{
    for (; *line; line++)
        if ((u8)*line < 0x20 || *line == 0x7f)
            *line = '?';
}

static void line_write(char *line, size_t len)
{
    void (*hook)(const char *) = __atomic_load_n(&log_hook, __ATOMIC_ACQUIRE);
    if (hook) {
        hook(line);
        return;
    }
    line[len] = '\n';
    for (size_t off = 0; off < len + 1;) {
        ssize_t n = write(STDERR_FILENO, line + off, len + 1 - off);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        off += (size_t)n;
    }
}

void log_at(enum log_level level, const char *topic, const char *fmt, ...)
{
    char line[1024];
    int saved = errno;
    if (level > log_level)
        return;
    int head = snprintf(line, sizeof(line) - 1, "wftrace: %s%s: ", level_mark[level], topic);
    size_t len = min_u64((u64)(head > 0 ? head : 0), sizeof(line) - 2);
    va_list args;
    va_start(args, fmt);
    int body = vsnprintf(line + len, sizeof(line) - 1 - len, fmt, args);
    va_end(args);
    len = min_u64(len + (u64)(body > 0 ? body : 0), sizeof(line) - 2);
    line[len] = 0;
    line_make_printable(line);
    line_write(line, len);
    errno = saved;
}
