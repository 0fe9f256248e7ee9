/* Reading a Python's command line as far as its options go (Modules/getopt: letters may stand together, -c and -m end them,
 * -W, -X and --check-hash-based-pycs take a value). */
#include "way_in.h"

#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

static bool is_python(const char *program)
{
    const char *base = strrchr(program, '/');
    return !strncmp(base ? base + 1 : program, "python", 6);
}

static bool options_isolate(char *const argv[])
{
    for (size_t i = 0; argv[i]; i++) {
        const char *p = argv[i];
        if (*p++ != '-' || !*p || *p == '-')
            return false;
        for (; *p; p++) {
            if (*p == 'I' || *p == 'E' || *p == 'S')
                return true;
            if (*p == 'c' || *p == 'm')
                return false;
            if ((*p == 'W' || *p == 'X') && !p[1] && !argv[++i])
                return false;
            if (*p == 'W' || *p == 'X')
                break;
        }
    }
    return false;
}

/* The file that execvp would run; false when there is none. */
static bool program_find(const char *name, char *out, size_t size)
{
    if (strchr(name, '/'))
        return snprintf(out, size, "%s", name) < (int)size;
    const char *dirs = getenv("PATH");
    while (dirs && *dirs) {
        size_t n = strcspn(dirs, ":");
        if (snprintf(out, size, "%.*s/%s", (int)n, dirs, name) < (int)size && access(out, X_OK) == 0)
            return true;
        dirs += n + (dirs[n] == ':');
    }
    return false;
}

/* «#!/usr/bin/python3 -Es», «#!/usr/bin/env -S python3 -I»: its words, cut in place; 0 when it is no script. */
static size_t first_line(const char *path, char *line, size_t size, char *words[], size_t max)
{
    cleanup(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, line, size - 1);
    if (n < 3 || memcmp(line, "#!", 2))
        return 0;
    line[n] = 0;
    line[strcspn(line, "\n")] = 0;
    size_t count = 0;
    char *rest = NULL;
    for (char *w = strtok_r(line + 2, " \t", &rest); w && count + 1 < max; w = strtok_r(NULL, " \t", &rest))
        words[count++] = w;
    words[count] = NULL;
    return count;
}

bool python_is_isolated(char *const argv[])
{
    char path[PATH_MAX], line[256], *words[16];
    if (!argv || !argv[0])
        return false;
    if (is_python(argv[0]))
        return options_isolate(argv + 1);
    if (!program_find(argv[0], path, sizeof(path)) || !first_line(path, line, sizeof(line), words, ARRAY_LEN(words)))
        return false;
    for (size_t i = 0; words[i]; i++)
        if (is_python(words[i]))
            return options_isolate(words + i + 1);
    return false;
}
