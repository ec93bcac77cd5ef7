#include "procinfo.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"

enum { FILE_MAX = 4096 };

/* A file of /proc/PID, NUL-terminated. */
static int slurp(pid_t pid, const char *name, char out[FILE_MAX])
{
    char path[64];
    size_t len = 0;
    ssize_t n;
    (void)snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ERR_NOTFOUND;
    while (len < FILE_MAX - 1 && (n = read(fd, out + len, FILE_MAX - 1 - len)) > 0)
        len += (size_t)n;
    (void)close(fd);
    out[len] = '\0';
    return len > 0 ? 0 : ERR_NOTFOUND;
}

static int64_t count_fds(pid_t pid)
{
    char path[64];
    struct stat st;
    int64_t n = 0;
    (void)snprintf(path, sizeof(path), "/proc/%ld/fd", (long)pid);
    /* Since Linux 6.2 the folder's size is their number, for everybody to see. */
    if (stat(path, &st) == 0 && st.st_size > 0)
        return st.st_size;
    DIR *d = opendir(path);
    if (d == NULL)
        return -1;
    for (const struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    (void)closedir(d);
    return pid == getpid() ? n - 1 : n; /* the one just used for looking */
}

/* The process's name, in brackets, may hold anything: the fields are counted from the last one. */
static int parse_stat(const char *text, struct procinfo *ret)
{
    unsigned long long utime, stime, threads, start, vsize;
    const char *p = strrchr(text, ')');
    if (p == NULL ||
        sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d %llu %*d %llu %llu",
               &utime, &stime, &threads, &start, &vsize) != 5)
        return ERR_CORRUPT;
    uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
    struct timespec up;
    (void)clock_gettime(CLOCK_BOOTTIME, &up);
    ret->cpu_ms = (utime + stime) * 1000 / hz;
    ret->threads = threads;
    ret->virtual_bytes = vsize;
    ret->started_at_ms =
        clock_real_ms() - ((int64_t)up.tv_sec * 1000 + up.tv_nsec / 1000000) + (int64_t)(start * 1000 / hz);
    return 0;
}

static uint64_t status_kb(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at != NULL ? strtoull(at + strlen(key), NULL, 10) : 0;
}

int procinfo_read(pid_t pid, struct procinfo *ret)
{
    char text[FILE_MAX];
    int rc = slurp(pid, "stat", text);
    if (rc == 0)
        rc = parse_stat(text, ret);
    if (rc == 0)
        rc = slurp(pid, "status", text);
    if (rc < 0)
        return rc;
    ret->resident_bytes = status_kb(text, "\nVmRSS:") * 1024;
    ret->anon_bytes = status_kb(text, "\nRssAnon:") * 1024;
    ret->open_fds = count_fds(pid);
    return 0;
}
