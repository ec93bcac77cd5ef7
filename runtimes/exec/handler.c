#include "handler.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Below the package and nowhere else: what is run is what was deployed. */
static bool name_ok(const char *handler)
{
    if (handler[0] == '\0' || handler[0] == '/')
        return false;
    for (const char *at = handler; at != NULL; at = strchr(at, '/')) {
        at += *at == '/';
        size_t len = strcspn(at, "/");
        if (len == 2 && at[0] == '.' && at[1] == '.')
            return false;
    }
    return true;
}

/* The first line of a script names its interpreter, which must be there. NULL: fine. */
static const char *script_fault(char *line, char why[HANDLER_WHY_MAX])
{
    line[strcspn(line, "\n")] = '\0';
    char *name = line + 2 + strspn(line + 2, " \t");
    name[strcspn(name, " \t")] = '\0';
    if (access(name, X_OK) == 0)
        return NULL;
    size_t len = strlen(name);
    if (len > 0 && name[len - 1] == '\r')
        (void)snprintf(
            why, HANDLER_WHY_MAX,
            "its first line ends in CR LF, so that its interpreter is not found; save it with Unix line ends");
    else
        (void)snprintf(why, HANDLER_WHY_MAX, "its interpreter %s: %s", name, strerror(errno));
    return why;
}

static const char *content_fault(const char *path, char why[HANDLER_WHY_MAX])
{
    char start[256];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return NULL; /* a program need not be readable */
    ssize_t n = read(fd, start, sizeof start - 1);
    (void)close(fd);
    if (n < 0)
        return NULL;
    start[n] = '\0';
    if (n >= 2 && memcmp(start, "#!", 2) == 0)
        return script_fault(start, why);
    if (n >= 4 && memcmp(start, "\177ELF", 4) == 0)
        return NULL;
    (void)snprintf(why, HANDLER_WHY_MAX,
                   "it is neither a program of this system nor a script whose first line is #! and an interpreter");
    return why;
}

const char *handler_find(const char *root, const char *handler, char path[HANDLER_PATH_MAX], char why[HANDLER_WHY_MAX])
{
    char fault[HANDLER_WHY_MAX];
    struct stat st;
    if (!name_ok(handler)) {
        (void)snprintf(why, HANDLER_WHY_MAX,
                       "'%.200s' is not a valid handler name: a path inside the package is wanted, without ..",
                       handler);
        return "Runtime.MalformedHandlerName";
    }
    if (snprintf(path, HANDLER_PATH_MAX, "%s/%s", root, handler) >= HANDLER_PATH_MAX || stat(path, &st) < 0) {
        (void)snprintf(why, HANDLER_WHY_MAX, "%.200s is not in the package", handler);
        return "Runtime.HandlerNotFound";
    }
    if (!S_ISREG(st.st_mode))
        (void)snprintf(why, HANDLER_WHY_MAX, "%.200s cannot be run: it is no file", handler);
    else if (access(path, X_OK) < 0)
        (void)snprintf(why, HANDLER_WHY_MAX, "%.200s cannot be run: it is not marked as executable (chmod +x)",
                       handler);
    else if (content_fault(path, fault) != NULL)
        (void)snprintf(why, HANDLER_WHY_MAX, "%.200s cannot be run: %.280s", handler, fault);
    else
        return NULL;
    return "Runtime.InvalidEntrypoint";
}
