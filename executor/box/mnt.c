#include "mnt.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fdutil.h"

enum { ROOT_INODES = 512, TMP_INODES_PER_MB = 256 };

static int fail(struct err *e, const char *what, const char *path)
{
    return err_sys(e, ERR_IO, errno, "%s %s", what, path);
}

/* Destinations are absolute in the box and relative to the new root, which is the working directory. */
static const char *below(const char *dst)
{
    return dst[0] == '/' ? dst + 1 : dst;
}

static int set_attr(int fd, const char *path, unsigned flags, uint64_t attr)
{
    struct mount_attr a = {.attr_set = attr};
    return mount_setattr(fd, path, flags, &a, sizeof a);
}

int mnt_tree(int dir_fd, const char *path, int *ret_fd, struct err *e)
{
    int fd = open_tree(dir_fd, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_EMPTY_PATH);
    if (fd < 0)
        return fail(e, "open_tree", path);
    uint64_t attr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
    if (strncmp(path, "/dev/", 5) != 0)
        attr |= MOUNT_ATTR_NODEV;
    if (set_attr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, attr) < 0) {
        int rc = fail(e, "mount_setattr", path);
        fd_close(&fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

/* Lower folders only: nothing of it can be written to. They are named by descriptor, so that no character of a path can
 * mean anything to the option's syntax. */
int mnt_overlay(const int *dirs, size_t n, int *ret_fd, struct err *e)
{
    char lower[512] = "";
    for (size_t i = n; i-- > 0;) {
        size_t at = strlen(lower);
        (void)snprintf(lower + at, sizeof lower - at, "%s/proc/self/fd/%d", at > 0 ? ":" : "", dirs[i]);
    }
    int rc = 0, fs = fsopen("overlay", FSOPEN_CLOEXEC);
    if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", lower, 0) < 0 ||
        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        rc = fail(e, "overlay of", "layers");
    *ret_fd = rc == 0 ? fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV) : -1;
    if (rc == 0 && *ret_fd < 0)
        rc = fail(e, "mount", "layers");
    fd_close(&fs);
    return rc;
}

int mnt_slave(struct err *e)
{
    return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ? fail(e, "make slave", "/") : 0;
}

int mnt_root(const char *over, struct err *e)
{
    char options[64];
    (void)snprintf(options, sizeof options, "mode=755,size=1m,nr_inodes=%d", ROOT_INODES);
    if (mount("tmpfs", over, "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        return fail(e, "mount tmpfs over", over);
    return chdir(over) < 0 ? fail(e, "chdir", over) : 0;
}

int mnt_dir(const char *dst, struct err *e)
{
    return mkdir(below(dst), 0755) < 0 && errno != EEXIST ? fail(e, "mkdir", dst) : 0;
}

int mnt_dirs(const char *dst, struct err *e)
{
    char part[PATH_MAX];
    int rc = 0;
    for (size_t n = 1; rc == 0 && dst[n - 1] != '\0'; n++)
        if (dst[n] == '/' || dst[n] == '\0') {
            (void)snprintf(part, sizeof part, "%.*s", (int)n, dst);
            rc = mnt_dir(part, e);
        }
    return rc;
}

int mnt_link(const char *text, const char *dst, struct err *e)
{
    return symlink(text, below(dst)) < 0 ? fail(e, "symlink", dst) : 0;
}

int mnt_file(const char *content, const char *dst, struct err *e)
{
    int fd = open(below(dst), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0)
        return fail(e, "create", dst);
    int rc = fd_write_all(fd, content, strlen(content)) < 0 ? fail(e, "write", dst) : 0;
    fd_close(&fd);
    return rc;
}

int mnt_put(int tree_fd, const char *dst, struct err *e)
{
    return move_mount(tree_fd, "", AT_FDCWD, below(dst), MOVE_MOUNT_F_EMPTY_PATH) < 0 ? fail(e, "mount", dst) : 0;
}

int mnt_tmpfs(const char *dst, int64_t bytes, struct err *e)
{
    char options[96];
    (void)snprintf(options, sizeof options, "mode=700,size=%lld,nr_inodes=%lld", (long long)bytes,
                   (long long)(bytes >> 20) * TMP_INODES_PER_MB + 1024);
    return mount("tmpfs", below(dst), "tmpfs", MS_NOSUID | MS_NODEV, options) < 0 ? fail(e, "mount tmpfs at", dst) : 0;
}

int mnt_proc(const char *dst, struct err *e)
{
    return mount("proc", below(dst), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2") < 0
               ? fail(e, "mount proc at", dst)
               : 0;
}

/* On top of itself, since a part of a mount cannot have flags of its own. */
static int cover(const char *src, const char *dst, uint64_t attr, struct err *e)
{
    int fd = open_tree(AT_FDCWD, src, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (fd < 0)
        return fail(e, "open_tree", src);
    int rc = 0;
    if (set_attr(fd, "", AT_EMPTY_PATH, attr) < 0 || move_mount(fd, "", AT_FDCWD, dst, MOVE_MOUNT_F_EMPTY_PATH) < 0)
        rc = fail(e, "cover", dst);
    fd_close(&fd);
    return rc;
}

int mnt_read_only(const char *dst, struct err *e)
{
    return cover(below(dst), below(dst), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
                 e);
}

int mnt_mask(const char *dst, struct err *e)
{
    struct stat st, null;
    if (lstat(below(dst), &st) < 0)
        return errno == ENOENT ? 0 : fail(e, "stat", dst);
    if (S_ISDIR(st.st_mode))
        return cover("empty", below(dst), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, e);
    /* A mask that is not the null device would be a hole: this is the check that runc lacked (CVE-2025-31133). */
    if (stat("dev/null", &null) < 0)
        return fail(e, "stat", "/dev/null");
    if (!S_ISCHR(null.st_mode) || null.st_rdev != makedev(1, 3))
        return err_set(e, ERR_IO, "/dev/null is not the null device");
    return cover("dev/null", below(dst), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, e);
}

int mnt_write(const char *dst, const char *text, struct err *e)
{
    int fd = open(below(dst), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd < 0 || fd_write_all(fd, text, strlen(text)) < 0 ? fail(e, "write", dst) : 0;
    fd_close(&fd);
    return rc;
}

/* pivot_root(".", ".") stacks the old root on the new one, and the detach takes it, and with it every path to the host,
 * away. */
int mnt_pivot(struct err *e)
{
    if (syscall(SYS_pivot_root, ".", ".") < 0)
        return fail(e, "pivot_root", ".");
    if (umount2(".", MNT_DETACH) < 0)
        return fail(e, "detach", "the old root");
    return chdir("/") < 0 ? fail(e, "chdir", "/") : 0;
}

int mnt_root_read_only(struct err *e)
{
    return set_attr(AT_FDCWD, "/", 0, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV) < 0
               ? fail(e, "make read-only", "/")
               : 0;
}

int mnt_chdir(const char *path, struct err *e)
{
    char cwd[PATH_MAX];
    if (chdir(path) < 0)
        return fail(e, "chdir", path);
    /* "(unreachable)/..." would be a working directory on the host (CVE-2024-21626). */
    if (syscall(SYS_getcwd, cwd, sizeof cwd) < 0)
        return fail(e, "getcwd", path);
    return cwd[0] != '/' ? err_set(e, ERR_IO, "the working directory is outside the box") : 0;
}
