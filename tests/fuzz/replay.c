/* Runs a fuzz target over the files of the folders given: the corpus as an ordinary test, without libFuzzer. */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdutil.h"

enum { FILE_MAX = 16 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The number of files run, or -1. */
static int replay(const char *folder)
{
    DIR *d = opendir(folder);
    int n = 0;
    if (d == NULL) {
        perror(folder);
        return -1;
    }
    for (struct dirent *f; n >= 0 && (f = readdir(d)) != NULL;) {
        struct buf b;
        if (f->d_name[0] == '.')
            continue;
        buf_init(&b, FILE_MAX);
        if (file_read(dirfd(d), f->d_name, &b) < 0) {
            (void)fprintf(stderr, "%s/%s cannot be read\n", folder, f->d_name);
            n = -1;
        } else {
            (void)LLVMFuzzerTestOneInput((const uint8_t *)b.data, b.len);
            n++;
        }
        buf_done(&b);
    }
    (void)closedir(d);
    return n;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int n = replay(argv[i]);
        if (n <= 0) {
            (void)fprintf(stderr, "%s: nothing was run\n", argv[i]);
            return 1;
        }
        (void)printf("%s: %d files\n", argv[i], n);
    }
    return argc > 1 ? 0 : 2;
}
