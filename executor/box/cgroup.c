#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fdutil.h"

void cgroup_join(char out[CGROUP_PATH_MAX], const char *dir, const char *name)
{
    int n = snprintf(out, CGROUP_PATH_MAX, "%s/%s", dir, name);
    BIDE_ASSERT(n > 0 && n < CGROUP_PATH_MAX, "%s/%s", dir, name);
}

/* --- where are we? ------------------------------------------------------------------------------------------------ */

/* Is word one of the comma-separated words of list (which ends at end)? */
static bool in_list(const char *list, const char *end, const char *word)
{
    size_t len = strlen(word);
    while (list < end) {
        const char *comma = memchr(list, ',', (size_t)(end - list));
        size_t n = (size_t)((comma != NULL ? comma : end) - list);
        if (n == len && memcmp(list, word, len) == 0)
            return true;
        list += n + 1;
    }
    return false;
}

/* "7:cpu,cpuacct:/path" or "0::/path". */
static int own_path(const struct limiter_where *w, const char *controller, char out[CGROUP_PATH_MAX])
{
    FILE *f = fopen(w->self_cgroup, "re");
    if (f == NULL)
        return ERR_NOTFOUND;
    char line[CGROUP_PATH_MAX + 128];
    int rc = ERR_NOTFOUND;
    while (rc != 0 && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *list = strchr(line, ':');
        char *path = list != NULL ? strchr(list + 1, ':') : NULL;
        if (path == NULL || strlen(path + 1) >= CGROUP_PATH_MAX)
            continue;
        bool match = controller == NULL ? path == list + 1 : in_list(list + 1, path, controller);
        if (match) {
            memcpy(out, path + 1, strlen(path + 1) + 1);
            rc = 0;
        }
    }
    (void)fclose(f);
    return rc;
}

/* One line of mountinfo: "36 35 98:0 ROOT MOUNTPOINT options tags - TYPE source superoptions". */
static bool parse_mount(char *line, const char *controller, char **ret_root, char **ret_point)
{
    char *field[5], *save = NULL, *dash = strstr(line, " - ");
    if (dash == NULL)
        return false;
    *dash = '\0';
    for (size_t i = 0; i < 5; i++)
        if ((field[i] = strtok_r(i == 0 ? line : NULL, " ", &save)) == NULL)
            return false;
    char *type = strtok_r(dash + 3, " ", &save);
    char *source = type != NULL ? strtok_r(NULL, " ", &save) : NULL;
    char *super = source != NULL ? strtok_r(NULL, " \n", &save) : NULL;
    if (super == NULL || strcmp(type, controller == NULL ? "cgroup2" : "cgroup") != 0)
        return false;
    *ret_root = field[3];
    *ret_point = field[4];
    return controller == NULL || in_list(super, super + strlen(super), controller);
}

int cgroup_own_dir(const struct limiter_where *w, const char *controller, char out[CGROUP_PATH_MAX])
{
    char path[CGROUP_PATH_MAX], line[4096];
    if (own_path(w, controller, path) < 0)
        return ERR_NOTFOUND;
    FILE *f = fopen(w->mountinfo, "re");
    if (f == NULL)
        return ERR_NOTFOUND;
    int rc = ERR_NOTFOUND;
    while (rc != 0 && fgets(line, sizeof line, f) != NULL) {
        char *root, *point;
        if (!parse_mount(line, controller, &root, &point))
            continue;
        /* The mount may show only a part of the hierarchy, as in a container. */
        size_t skip = strcmp(root, "/") == 0 ? 0 : strlen(root);
        if (strncmp(path, root, skip) != 0 || (skip > 0 && path[skip] != '/' && path[skip] != '\0'))
            continue;
        const char *rest = strcmp(path + skip, "/") == 0 ? "" : path + skip;
        int n = snprintf(out, CGROUP_PATH_MAX, "%s%s", point, rest);
        if (n > 0 && n < CGROUP_PATH_MAX - 2 * CGROUP_NAME_MAX && access(out, F_OK) == 0)
            rc = 0;
    }
    (void)fclose(f);
    return rc;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

int cgroup_write(const char *dir, const char *file, const char *text, struct err *e)
{
    char path[CGROUP_PATH_MAX];
    cgroup_join(path, dir, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int rc = 0;
    /* One write(2): the kernel parses each on its own. */
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        rc = err_sys(e, ERR_IO, errno, "write %s", path);
    fd_close(&fd);
    return rc;
}

int cgroup_write_u64(const char *dir, const char *file, uint64_t v, struct err *e)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)v);
    return cgroup_write(dir, file, text, e);
}

int cgroup_read(const char *dir, const char *file, char *out, size_t cap)
{
    char path[CGROUP_PATH_MAX];
    cgroup_join(path, dir, file);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, cap - 1) : -1;
    fd_close(&fd);
    out[n > 0 ? n : 0] = '\0';
    return n < 0 ? ERR_IO : 0;
}

uint64_t cgroup_read_u64(const char *dir, const char *file)
{
    char text[32];
    return cgroup_read(dir, file, text, sizeof text) == 0 ? strtoull(text, NULL, 10) : 0;
}

uint64_t cgroup_field(const char *text, const char *key)
{
    size_t len = strlen(key);
    for (const char *at = text; at != NULL && *at != '\0'; at = strchr(at, '\n'), at += at != NULL)
        if (strncmp(at, key, len) == 0 && at[len] == ' ')
            return strtoull(at + len + 1, NULL, 10);
    return 0;
}

bool cgroup_has(const char *dir, const char *file)
{
    char path[CGROUP_PATH_MAX];
    cgroup_join(path, dir, file);
    return access(path, W_OK) == 0;
}

int cgroup_make(const char *dir, struct err *e)
{
    return mkdir(dir, 0755) < 0 && errno != EEXIST ? err_sys(e, ERR_IO, errno, "make %s", dir) : 0;
}

/* --- killing and removing ----------------------------------------------------------------------------------------- */

static size_t list_procs(const char *dir, pid_t *out, size_t cap)
{
    char path[CGROUP_PATH_MAX];
    cgroup_join(path, dir, "cgroup.procs");
    FILE *f = fopen(path, "re");
    size_t n = 0;
    long pid;
    if (f == NULL)
        return 0;
    while (n < cap && fscanf(f, "%ld", &pid) == 1)
        if (pid > 1) /* 0: a process outside our pid namespace */
            out[n++] = (pid_t)pid;
    (void)fclose(f);
    return n;
}

bool cgroup_populated(const char *dir)
{
    pid_t one;
    return list_procs(dir, &one, 1) > 0;
}

void cgroup_kill_procs(const char *dir)
{
    pid_t pids[256];
    size_t n = list_procs(dir, pids, sizeof pids / sizeof pids[0]);
    for (size_t i = 0; i < n; i++)
        (void)kill(pids[i], SIGKILL);
}

static void empty_group(const char *dir)
{
    if (cgroup_has(dir, "freezer.state"))
        (void)cgroup_write(dir, "freezer.state", "THAWED", NULL);
    if (cgroup_has(dir, "cgroup.freeze"))
        (void)cgroup_write(dir, "cgroup.freeze", "0", NULL);
    for (int i = 0; i < 100 && cgroup_populated(dir); i++) {
        cgroup_kill_procs(dir);
        struct timespec ts = {.tv_nsec = 5 * 1000 * 1000};
        (void)nanosleep(&ts, NULL);
    }
}

void cgroup_remove_tree(const char *dir)
{
    DIR *d = opendir(dir);
    if (d == NULL)
        return;
    const struct dirent *de;
    while ((de = readdir(d)) != NULL) {
        char sub[CGROUP_PATH_MAX];
        if (de->d_type != DT_DIR || de->d_name[0] == '.' || strlen(de->d_name) >= CGROUP_NAME_MAX)
            continue;
        cgroup_join(sub, dir, de->d_name);
        cgroup_remove_tree(sub);
    }
    (void)closedir(d);
    empty_group(dir);
    (void)rmdir(dir);
}

uint64_t cgroup_quota_us(uint64_t millicpus)
{
    uint64_t q = millicpus * CGROUP_QUOTA_PERIOD_US / 1000;
    return q < CGROUP_QUOTA_MIN_US ? CGROUP_QUOTA_MIN_US : q;
}
