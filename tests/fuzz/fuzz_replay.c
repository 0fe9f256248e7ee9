/* The plain main of a fuzz target: every file of the folders it is given is a case, run in a child, so that one that
 * crashes or hangs is one failure and the rest are run all the same. Ends with «NAME: N passed, N failed». */
#include "base/base.h"

#include <dirent.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define CASE_SECONDS 10
#define CASE_BYTES   (1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

struct cases {
    struct dirent **v;
    int n;
    const char *folder;
};

static int is_case(const struct dirent *e) { return e->d_name[0] != '.'; }

static void case_path(const struct cases *c, int i, char out[4096]) { snprintf(out, 4096, "%s/%s", c->folder, c->v[i]->d_name); }

static bool case_run(const struct cases *c, int i)
{
    cleanup(freep) char *text = NULL;
    char path[4096];
    size_t n;
    case_path(c, i, path);
    if (read_small_file(path, CASE_BYTES, &text, &n))
        return false;
    u8 *copy = malloc(n ? n : 1); /* flush with the end of its allocation: ASan sees the first byte too far */
    memcpy(copy, text, n);
    alarm(CASE_SECONDS);
    LLVMFuzzerTestOneInput(copy, n);
    alarm(0);
    free(copy);
    return true;
}

/* Runs cases from `first` on in a child; the first that fails, or their number. */
static int run_from(const struct cases *c, int first, volatile int *at)
{
    *at = first;
    fflush(stdout);
    pid_t pid = fork();
    if (pid < 0)
        return first;
    if (!pid) {
        for (; *at < c->n; ++*at)
            if (!case_run(c, *at))
                _exit(1);
        exit(0); /* and the leak check */
    }
    int status = 0;
    waitpid(pid, &status, 0);
    return status && *at == c->n ? -1 : *at;
}

static int folder_run(const char *name, const char *folder, volatile int *at)
{
    struct cases c = { .folder = folder };
    int failed = 0;
    c.n = scandir(folder, &c.v, is_case, alphasort);
    for (int i = 0; i < c.n; i++) {
        i = run_from(&c, i, at);
        if (i < 0) {
            printf("FAILED %s: memory was lost\n", folder);
            failed++;
            break;
        }
        if (i < c.n) {
            printf("FAILED %s/%s\n", folder, c.v[i]->d_name);
            failed++;
        }
    }
    if (c.n <= 0)
        printf("FAILED %s: no files\n", folder);
    int passed = c.n > failed ? c.n - failed : 0;
    printf("%s: %d passed, %d failed\n", name, passed, failed + (c.n <= 0));
    for (int i = 0; i < c.n; i++)
        free(c.v[i]);
    free(c.v);
    return failed || c.n <= 0;
}

int main(int argc, char **argv)
{
    volatile int *at = mmap(NULL, sizeof(*at), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int failed = at == MAP_FAILED || argc < 2;
    const char *name = strrchr(argv[0], '_');
    for (int i = 1; i < argc && at != MAP_FAILED; i++)
        failed |= folder_run(name ? name + 1 : argv[0], argv[i], at);
    return failed;
}
