/* inject PID DIR WATCH_FILE [eject]: user/inproc/inject.h from the command line, for the bridge's tests. */
#include "inproc/inject.h"

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    char err[256] = "";
    pid_t pid = (pid_t)strtol(argv[1], NULL, 10);
    int rc =
        argc > 4 ? bridge_eject(pid, argv[2], argv[3], err, sizeof err) : bridge_inject(pid, argv[2], argv[3], err, sizeof err);
    printf("%d %s\n", rc, err);
    return rc ? 1 : 0;
}
