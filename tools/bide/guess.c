#include "guess.h"

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fdutil.h"

enum { SOURCE_MAX = 1 << 20, FILES_MAX = 1000 };

/* Text begins a line of the source, after blanks; *ret_after is what follows. */
static const char *line_with(const char *source, const char *text)
{
    size_t n = strlen(text);
    for (const char *p = source; p != NULL && *p != '\0'; p = strchr(p, '\n'), p = p != NULL ? p + 1 : NULL)
        if (strncmp(p, text, n) == 0)
            return p + n;
    return NULL;
}

static bool has_line(const char *source, const char *const *beginnings)
{
    for (size_t i = 0; beginnings[i] != NULL; i++) {
        const char *after = line_with(source, beginnings[i]);
        if (after != NULL && strchr(" (=:,", *after) != NULL)
            return true;
    }
    return false;
}

/* The function that the file defines, NULL: none, or two. */
static const char *find_handler(const char *name, const char *source, const char **ret_runtime)
{
    static const char *const py[] = {"def handler", "async def handler", NULL};
    static const char *const py_lambda[] = {"def lambda_handler", NULL};
    static const char *const js[] = {"exports.handler",         "module.exports.handler",        "export const handler",
                                     "export function handler", "export async function handler", NULL};
    const char *dot = strrchr(name, '.');
    if (dot == NULL || dot == name || strchr(name, '.') != dot)
        return NULL;
    if (strcmp(dot, ".py") == 0) {
        bool plain = has_line(source, py), lambda = has_line(source, py_lambda);
        *ret_runtime = "python3.12";
        return plain == lambda ? NULL : plain ? "handler" : "lambda_handler";
    }
    if (strcmp(dot, ".js") == 0 || strcmp(dot, ".mjs") == 0 || strcmp(dot, ".cjs") == 0) {
        *ret_runtime = "nodejs22.x";
        return has_line(source, js) ? "handler" : NULL;
    }
    return NULL;
}

/* Counts the candidates in *n and keeps the last one. */
static void look(int dir_fd, const char *name, struct guess *g, int *n)
{
    struct stat st;
    struct buf b;
    const char *runtime = NULL, *handler;
    if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode) || strlen(name) > 100)
        return;
    if (strcmp(name, "bootstrap") == 0 && (st.st_mode & S_IXUSR) != 0) {
        *g = (struct guess){"provided.al2023", "bootstrap"};
        ++*n;
        return;
    }
    buf_init(&b, SOURCE_MAX);
    if (strchr(name, '.') != NULL && file_read(dir_fd, name, &b) == 0 &&
        (handler = find_handler(name, b.data, &runtime)) != NULL) {
        (void)snprintf(g->runtime, sizeof g->runtime, "%s", runtime);
        (void)snprintf(g->handler, sizeof g->handler, "%.*s.%s", (int)strcspn(name, "."), name, handler);
        ++*n;
    }
    buf_done(&b);
}

bool guess_function(const char *path, struct guess *ret)
{
    int n = 0, files = 0;
    DIR *d = opendir(path);
    if (d == NULL) {
        int fd = AT_FDCWD;
        const char *slash = strrchr(path, '/');
        char folder[4096];
        (void)snprintf(folder, sizeof folder, "%.*s/", slash != NULL ? (int)(slash - path) : 0, path);
        if (slash != NULL)
            fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
        look(fd, slash != NULL ? slash + 1 : path, ret, &n);
        if (fd >= 0)
            (void)close(fd);
        return n == 1;
    }
    for (const struct dirent *e; (e = readdir(d)) != NULL && files < FILES_MAX; files++)
        look(dirfd(d), e->d_name, ret, &n);
    (void)closedir(d);
    return n == 1 && files < FILES_MAX;
}
