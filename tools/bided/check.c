#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "datadir.h"
#include "dispatcher/dispatcher.h"
#include "listen.h"
#include "store/store.h"

/* --- lines -------------------------------------------------------------------------------------------------------- */

void check_line(struct check *c, enum check_verdict v, const char *subject, const char *fmt, ...)
{
    static const char *const words[] = {"ok", "warn", "FAIL"};
    va_list ap;
    c->warned += v == CHECK_WARN;
    c->failed += v == CHECK_FAIL;
    (void)printf("%-5s %-22s ", words[v], subject);
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    (void)putchar('\n');
}

void check_result(struct check *c, const char *subject, int rc, const struct err *e)
{
    if (rc < 0)
        check_line(c, CHECK_FAIL, subject, "%s", e->text[0] != '\0' ? e->text : err_name(rc));
}

int check_end(const struct check *c)
{
    if (c->failed == 0)
        (void)printf("bided could start: %u warning%s\n", c->warned, c->warned == 1 ? "" : "s");
    else
        (void)printf("bided could not start, or not work: %u failure%s, %u warning%s\n", c->failed,
                     c->failed == 1 ? "" : "s", c->warned, c->warned == 1 ? "" : "s");
    return c->failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --- the data directory ------------------------------------------------------------------------------------------- */

/* The nearest folder at or above path that is there. */
static int open_nearest(const char *path, char found[PATH_MAX])
{
    (void)snprintf(found, PATH_MAX, "%s", path);
    for (;;) {
        int fd = open(found, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        char *slash = strrchr(found, '/');
        if (fd >= 0 || errno != ENOENT || strcmp(found, "/") == 0 || strcmp(found, ".") == 0)
            return fd;
        if (slash == NULL)
            memcpy(found, ".", 2);
        else
            slash[slash == found] = '\0';
    }
}

static void check_lock(struct check *c, int dir_fd)
{
    char pid[32] = "";
    int fd = openat(dir_fd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        if (errno != ENOENT)
            check_line(c, CHECK_WARN, "lock", "cannot be looked at: %s", strerror(errno));
        return;
    }
    c->daemon_runs = flock(fd, LOCK_SH | LOCK_NB) < 0;
    ssize_t n = pread(fd, pid, sizeof pid - 1, 0);
    pid[n > 0 ? strcspn(pid, "\n") : 0] = '\0';
    if (c->daemon_runs)
        check_line(c, CHECK_OK, "lock", "a bided runs on this directory (pid %s)", pid);
    else
        check_line(c, CHECK_OK, "lock", "free: no bided runs on this directory");
    fd_close(&fd);
}

static void check_owner(struct check *c, int fd, const char *data, const struct identity *who)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        check_line(c, CHECK_FAIL, "data directory", "%s: %s", data, strerror(errno));
    else if (faccessat(fd, "incomplete", F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        check_line(c, CHECK_FAIL, "data directory", "%s is what an interrupted `bide backup` has left: remove it",
                   data);
    else if (faccessat(fd, ".", R_OK | W_OK | X_OK, AT_EACCESS) < 0)
        check_line(c, CHECK_FAIL, "data directory", "%s belongs to uid %u and cannot be written to by uid %u", data,
                   (unsigned)st.st_uid, (unsigned)geteuid());
    else if ((st.st_mode & 077) != 0)
        check_line(c, CHECK_WARN, "data directory",
                   "%s is open to others (mode %03o): payloads are kept there; chmod 700", data,
                   (unsigned)st.st_mode & 0777);
    else
        check_line(c, CHECK_OK, "data directory", "%s, %s uid %u", data,
                   st.st_uid == who->uid ? "belongs to" : "will be given to", (unsigned)who->uid);
}

/* The line of mountinfo for this device: "ID PARENT MAJ:MIN ROOT POINT OPTIONS TAGS - TYPE SOURCE SUPEROPTIONS". */
static bool find_mount(dev_t dev, char *out, size_t cap, bool *ret_ro, bool *ret_unsafe)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char line[4096], want[32];
    bool found = false;
    if (f == NULL)
        return false;
    (void)snprintf(want, sizeof want, "%u:%u", major(dev), minor(dev));
    while (fgets(line, sizeof line, f) != NULL) {
        char id[32], point[1024], options[1024], type[64], source[1024], super[1024];
        const char *dash = strstr(line, " - ");
        if (dash == NULL || sscanf(line, "%*s %*s %31s %*s %1023s %1023s", id, point, options) != 3 ||
            sscanf(dash, " - %63s %1023s %1023s", type, source, super) != 3 || strcmp(id, want) != 0)
            continue;
        (void)snprintf(out, cap, "%s on %s (%s; %s)", type, point, options, super);
        *ret_ro = strncmp(options, "ro", 2) == 0 && (options[2] == ',' || options[2] == '\0');
        *ret_unsafe = strstr(super, "nobarrier") != NULL || strstr(super, "barrier=0") != NULL ||
                      strstr(super, "data=writeback") != NULL;
        found = true; /* a later line covers an earlier one */
    }
    (void)fclose(f);
    return found;
}

static void check_file_system(struct check *c, int fd, const char *path)
{
    struct stat st;
    struct err e = {0};
    char text[4200], warning[400] = "";
    bool ro = false, risky = false;
    int rc = store_check_place(fd, path, warning, sizeof warning, &e);
    check_result(c, "file system", rc, &e);
    if (rc == 0 && warning[0] != '\0')
        check_line(c, CHECK_WARN, "file system", "%s", warning);
    if (fstat(fd, &st) < 0 || !find_mount(st.st_dev, text, sizeof text, &ro, &risky))
        return;
    if (ro)
        check_line(c, CHECK_FAIL, "mount", "%s: it is read-only", text);
    else if (risky)
        check_line(c, CHECK_WARN, "mount", "%s: a power failure may lose what was synced", text);
    else
        check_line(c, CHECK_OK, "mount", "%s", text);
}

static void check_space(struct check *c, int fd, const struct settings *s)
{
    struct statvfs v;
    uint64_t reserve = (uint64_t)settings_int(s, SET_QUEUE_RESERVE_BYTES);
    if (fstatvfs(fd, &v) < 0)
        return;
    uint64_t have = (uint64_t)v.f_bavail * v.f_frsize;
    check_line(c,
               have < reserve       ? CHECK_FAIL
               : have < 4 * reserve ? CHECK_WARN
                                    : CHECK_OK,
               "free disk", "%" PRIu64 " MiB; new events are refused below queue.reserve_bytes, %" PRIu64 " MiB",
               have >> 20, reserve >> 20);
}

static void check_credentials(struct check *c, int fd)
{
    struct datadir d = {.fd = fd};
    struct api_key key;
    struct err e = {0};
    if (faccessat(fd, "credentials", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return; /* a start makes them */
    if (faccessat(fd, "credentials", R_OK, AT_EACCESS) < 0) {
        check_line(c, CHECK_FAIL, "credentials", "cannot be read by uid %u", (unsigned)geteuid());
        return;
    }
    int rc = datadir_credentials(&d, &key, &e);
    check_result(c, "credentials", rc, &e);
    if (rc == 0)
        check_line(c, CHECK_OK, "credentials", "key %s", key.id);
    explicit_bzero(&key, sizeof key);
}

void check_datadir(struct check *c, const char *data, const struct identity *who, const struct settings *s)
{
    char found[PATH_MAX];
    if (strlen(data) >= sizeof found) {
        check_line(c, CHECK_FAIL, "data directory", "its path is too long");
        return;
    }
    int fd = open_nearest(data, found);
    if (fd < 0) {
        check_line(c, CHECK_FAIL, "data directory", "%s: %s", found, strerror(errno));
        return;
    }
    if (strcmp(found, data) == 0) {
        check_owner(c, fd, data, who);
        check_lock(c, fd);
        check_credentials(c, fd);
    } else if (faccessat(fd, ".", W_OK | X_OK, AT_EACCESS) < 0) {
        check_line(c, CHECK_FAIL, "data directory", "%s is not there and cannot be made: %s: %s", data, found,
                   strerror(errno));
    } else {
        check_line(c, CHECK_OK, "data directory", "%s is not there yet: a start makes it", data);
    }
    check_file_system(c, fd, found);
    check_space(c, fd, s);
    fd_close(&fd);
}

/* --- the address -------------------------------------------------------------------------------------------------- */

/* The daemon that runs on data serves at this port. */
static bool held_by_own_daemon(const struct check *c, const char *data, const char *address)
{
    char path[PATH_MAX];
    struct buf url;
    const char *port = strrchr(address, ':');
    buf_init(&url, 4096);
    (void)snprintf(path, sizeof path, "%s/endpoint", data);
    bool own = false;
    if (c->daemon_runs && port != NULL && file_read(AT_FDCWD, path, &url) == 0 && buf_putc(&url, '\0') == 0) {
        url.data[strcspn(url.data, "\n")] = '\0';
        const char *served = strrchr(url.data, ':');
        own = served != NULL && strcmp(served, port) == 0;
    }
    buf_done(&url);
    return own;
}

void check_listen(struct check *c, const char *data, const char *address, bool *ret_loopback)
{
    struct listen_set set;
    struct err e = {0};
    int rc = listen_open(&set, address, &e);
    *ret_loopback = set.loopback_only || rc < 0;
    if (rc == 0)
        check_line(c, CHECK_OK, "listen", "%s can be had", address);
    else if (e.sys == EADDRINUSE && held_by_own_daemon(c, data, address))
        check_line(c, CHECK_OK, "listen", "%s is held by the bided that runs on this directory", address);
    else
        check_result(c, "listen", rc, &e);
    listen_close(&set);
}

/* --- the sandbox -------------------------------------------------------------------------------------------------- */

static int probe(struct check *c, struct box_config *box, struct err *e)
{
    struct box_fences *f = calloc(1, sizeof *f);
    if (f == NULL)
        return err_set(e, ERR_NOMEM, "out of memory");
    int rc = box_probe(box, f, e);
    for (size_t i = 0; i < f->n; i++) {
        const struct box_fence *x = &f->fence[i];
        char subject[64];
        (void)snprintf(subject, sizeof subject, "sandbox: %s", x->name);
        check_line(c,
                   x->have        ? CHECK_OK
                   : x->essential ? CHECK_FAIL
                                  : CHECK_WARN,
                   subject, "%s", x->have ? "yes" : x->text);
    }
    if (f->n > 0)
        check_line(c, CHECK_OK, "sandbox: limits", "by cgroup %s", f->limits);
    if (f->n == 0)
        check_result(c, "sandbox", rc, e);
    free(f);
    return rc;
}

void check_sandbox(struct check *c, struct box_config *box)
{
    char path[] = "/tmp/bided-check-XXXXXX";
    struct err e = {0};
    if (mkdtemp(path) == NULL) {
        check_line(c, CHECK_FAIL, "sandbox", "%s: %s", path, strerror(errno));
        return;
    }
    box->code_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    box->workers_fd = openat(box->code_fd, "workers.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (box->code_fd < 0 || box->workers_fd < 0)
        check_line(c, CHECK_FAIL, "sandbox", "%s: %s", path, strerror(errno));
    else
        (void)probe(c, box, &e); /* its lines have said it */
    fd_close(&box->workers_fd);
    fd_close(&box->code_fd);
    if (file_remove_tree(AT_FDCWD, path) < 0)
        check_line(c, CHECK_WARN, "sandbox", "%s is left behind", path);
}

/* --- runtimes ----------------------------------------------------------------------------------------------------- */

/* The value of the first line `key = value`, into out; "" without one. */
static void manifest_value(const char *text, const char *key, char *out, size_t cap)
{
    size_t n = strlen(key);
    out[0] = '\0';
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, n) != 0 || strncmp(line + n, " = ", 3) != 0)
            continue;
        (void)snprintf(out, cap, "%.*s", (int)strcspn(line + n + 3, "\n"), line + n + 3);
        return;
    }
}

static void check_runtime(struct check *c, int runtimes_fd, const char *folder)
{
    char path[PATH_MAX], serves[64], name[64], install[200];
    struct buf text;
    struct err e = {0};
    buf_init(&text, 65536);
    (void)snprintf(path, sizeof path, "%s/manifest", folder);
    if (file_read(runtimes_fd, path, &text) < 0 || buf_putc(&text, '\0') < 0) {
        buf_done(&text);
        return;
    }
    manifest_value(text.data, "serves", serves, sizeof serves);
    manifest_value(text.data, "install", install, sizeof install);
    buf_done(&text);
    /* Whatever version is asked for: the host's own is what every one of them falls back to. */
    const char *star = strchr(serves, '*');
    (void)snprintf(name, sizeof name, "%.*s%s%s", (int)strcspn(serves, "*"), serves, star != NULL ? "0" : "",
                   star != NULL ? star + 1 : "");
    int rc = dispatcher_runtime_check(runtimes_fd, name, &e);
    if (rc == 0)
        check_line(c, CHECK_OK, "runtime", "%s", serves);
    else if (rc == ERR_AGAIN)
        check_line(c, CHECK_WARN, "runtime", "%s: no interpreter is installed%s%s", serves,
                   install[0] != '\0' ? ": " : "", install);
    else
        check_result(c, "runtime", rc, &e);
}

void check_runtimes(struct check *c, int runtimes_fd)
{
    struct dirent **names = NULL;
    int n = scandirat(runtimes_fd, ".", &names, NULL, alphasort);
    for (int i = 0; i < n; i++) {
        if (names[i]->d_name[0] != '.')
            check_runtime(c, runtimes_fd, names[i]->d_name);
        free(names[i]);
    }
    free(names);
}
