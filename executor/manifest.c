#include "manifest.h"

#include <stdio.h>
#include <string.h>

#include "base/fdutil.h"

int manifest_load(int runtimes_fd, const char *folder, struct buf *b)
{
    char path[MANIFEST_PATH_MAX];
    (void)snprintf(path, sizeof path, "%s/manifest", folder);
    return file_read(runtimes_fd, path, b);
}

static char *trim(char *s)
{
    s += strspn(s, " \t");
    size_t n = strlen(s);
    while (n > 0 && (s[n - 1] == ' ' || s[n - 1] == '\t'))
        s[--n] = '\0';
    return s;
}

static int split(struct manifest_line *l, const char **ret_why)
{
    char *key = trim(l->text), *value = strchr(key, '=');
    if (key[0] == '\0' || key[0] == '#')
        return 0;
    if (value == NULL) {
        *ret_why = "key = value is wanted";
        return ERR_INVALID;
    }
    *value++ = '\0';
    l->key = trim(key);
    l->value = trim(value);
    if (l->value[0] != '\0')
        return 1;
    *ret_why = "the value is empty";
    return ERR_INVALID;
}

int manifest_next(const char **at, struct manifest_line *l, const char **ret_why)
{
    int rc = 0;
    while (rc == 0 && **at != '\0') {
        size_t n = strcspn(*at, "\n");
        l->n++;
        if (n >= sizeof l->text) {
            *ret_why = "the line is too long";
            return ERR_INVALID;
        }
        memcpy(l->text, *at, n);
        l->text[n] = '\0';
        *at += n + ((*at)[n] == '\n');
        rc = split(l, ret_why);
    }
    return rc;
}

/* --- read_only ---------------------------------------------------------------------------------------------------- */

/* Folders at the top that a box makes itself, or that are the host's own business. */
static const char *const closed[] = {"bin",   "boot", "dev",  "empty", "etc", "home", "lib", "lib32", "lib64", "libx32",
                                     "media", "mnt",  "proc", "root",  "run", "sbin", "sys", "tmp",   "usr",   "var"};

const char *manifest_path_fault(const char *path)
{
    size_t depth = 0;
    if (path[0] != '/' || strlen(path) > MANIFEST_PATH_MAX)
        return "an absolute path is wanted, of at most 255 bytes";
    for (const char *at = path; *at != '\0'; depth++) {
        size_t n = strcspn(at + 1, "/");
        if (n == 0 || at[1] == '.' || strchr(at, '*') != NULL)
            return "a read-only path has no empty or hidden component, no .. and no *";
        for (size_t i = 0; depth == 0 && i < sizeof closed / sizeof closed[0]; i++)
            if (strlen(closed[i]) == n && strncmp(closed[i], at + 1, n) == 0)
                return strcmp(closed[i], "usr") == 0 ? "what is below /usr is seen by every box already"
                                                     : "this folder of the host is closed to boxes";
        at += n + 1;
    }
    return depth < 2 ? "a read-only path is a folder in a folder, as /opt/node" : NULL;
}

static int take_path(struct manifest_paths *ret, const struct manifest_line *l, const char **ret_why)
{
    *ret_why = manifest_path_fault(l->value);
    if (*ret_why == NULL && ret->n == MANIFEST_READ_ONLY_MAX)
        *ret_why = "too many read-only paths";
    if (*ret_why != NULL)
        return ERR_INVALID;
    (void)snprintf(ret->path[ret->n++], sizeof ret->path[0], "%s", l->value);
    return 0;
}

int manifest_read_only(int runtimes_fd, const char *folder, struct manifest_paths *ret, struct err *e)
{
    struct manifest_line l = {.n = 0};
    const char *why = "";
    struct buf b;
    ret->n = 0;
    buf_init(&b, MANIFEST_MAX);
    int rc = manifest_load(runtimes_fd, folder, &b);
    if (rc == ERR_NOTFOUND) {
        buf_done(&b);
        return 0; /* nothing but the folder itself */
    }
    if (rc < 0) {
        buf_done(&b);
        return err_set(e, rc, "runtime %s: manifest: %s", folder, err_name(rc));
    }
    const char *at = b.data;
    while ((rc = manifest_next(&at, &l, &why)) > 0)
        if (strcmp(l.key, "read_only") == 0 && (rc = take_path(ret, &l, &why)) < 0)
            break;
    if (rc < 0)
        (void)err_set(e, rc, "runtime %s: manifest line %d: %s", folder, l.n, why);
    buf_done(&b);
    return rc;
}
