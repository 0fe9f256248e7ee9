/* The plain main of a fuzz target: runs every file that it is given, or that lies in a folder that it is given. */
#include "base/base.h"

#include <dirent.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

static size_t replay_file(const char *path)
{
    cleanup(freep) char *text = NULL;
    size_t n;
    if(read_small_file(path, 1 << 20, &text, &n))
        return 0;
    u8 *copy = malloc(n ? n : 1);
    memcpy(copy, text, n);
    LLVMFuzzerTestOneInput(copy, n);
    free(copy);
    return 1;
}

static size_t replay_folder(const char *path)
{
    DIR *d = opendir(path);
    size_t n = 0;
    for(struct dirent *e; d && (e = readdir(d));) {
        char file[4096];
        snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
        if(e->d_name[0] != '.')
            n += replay_file(file);
    }
    if(d)
        closedir(d);
    return n;
}

int main(int argc, char **argv)
{
    size_t n = 0;
    for(int i = 1; i < argc; i++) {
        struct stat st;
        if(!stat(argv[i], &st))
            n += S_ISDIR(st.st_mode) ? replay_folder(argv[i]) : replay_file(argv[i]);
    }
    printf("%zu inputs\n", n);
    return n ? 0 : 1;
}
