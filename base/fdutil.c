#include "fdutil.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

int fd_set_cloexec(int fd)
{
    int flags = fcntl(fd, F_GETFD);
    return flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) < 0 ? ERR_IO : 0;
}

int fd_set_nonblock(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ? ERR_IO : 0;
}

void fd_close(int *fd)
{
    if (*fd >= 0) {
        int keep = errno;
        (void)close(*fd);
        errno = keep;
    }
    *fd = -1;
}

int fd_write_all(int fd, const void *p, size_t n)
{
    const char *at = p;
    while (n > 0) {
        ssize_t k = write(fd, at, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return ERR_IO;
        at += k;
        n -= (size_t)k;
    }
    return 0;
}

int fd_read_all(int fd, struct buf *b)
{
    for (;;) {
        char piece[16384];
        ssize_t k = read(fd, piece, sizeof piece);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return ERR_IO;
        if (k == 0)
            return 0;
        int rc = buf_append(b, piece, (size_t)k);
        if (rc < 0)
            return rc;
    }
}

int file_read(int dir_fd, const char *name, struct buf *b)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? ERR_NOTFOUND : ERR_IO;
    int rc = fd_read_all(fd, b);
    fd_close(&fd);
    return rc;
}

int file_write_durable(int dir_fd, const char *name, const void *p, size_t n, mode_t mode, struct err *e)
{
    char tmp[256];
    int len = snprintf(tmp, sizeof tmp, ".%s.new", name);
    if (len < 0 || (size_t)len >= sizeof tmp)
        return err_set(e, ERR_INVALID, "%s: name too long", name);
    if (unlinkat(dir_fd, tmp, 0) < 0 && errno != ENOENT)
        return err_sys(e, ERR_IO, errno, "remove %s", tmp);
    int fd = openat(dir_fd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0)
        return err_sys(e, ERR_IO, errno, "create %s", tmp);
    int rc = 0;
    if (fchmod(fd, mode) < 0 || fd_write_all(fd, p, n) < 0 || fsync(fd) < 0)
        rc = err_sys(e, ERR_IO, errno, "write %s", tmp);
    if (close(fd) < 0 && rc == 0)
        rc = err_sys(e, ERR_IO, errno, "write %s", tmp);
    if (rc == 0 && renameat(dir_fd, tmp, dir_fd, name) < 0)
        rc = err_sys(e, ERR_IO, errno, "rename %s to %s", tmp, name);
    if (rc < 0) {
        (void)unlinkat(dir_fd, tmp, 0);
        return rc;
    }
    int dir = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fsync(dir) < 0)
        rc = err_sys(e, ERR_IO, errno, "sync the folder of %s", name);
    fd_close(&dir);
    return rc;
}

/* A tree being removed. One descriptor is open per level, so a folder that lies deeper than REMOVE_DEPTH is first moved
 * up, into the topmost one: a hostile tree costs time, not descriptors or stack. */
struct removal {
    int top_fd;
    unsigned n_moved;
};
enum { REMOVE_DEPTH = 32 };

static int remove_entry(struct removal *r, int dir_fd, const char *name, int depth);

static int remove_contents(struct removal *r, int fd, int depth)
{
    DIR *d = fdopendir(fd);
    if (d == NULL) {
        fd_close(&fd);
        return ERR_IO;
    }
    int rc = 0;
    const struct dirent *de;
    while (rc == 0 && (errno = 0, de = readdir(d)) != NULL)
        if (strcmp(de->d_name, ".") != 0 && strcmp(de->d_name, "..") != 0)
            rc = remove_entry(r, fd, de->d_name, depth);
    if (rc == 0 && errno != 0)
        rc = ERR_IO;
    int keep = errno;
    (void)closedir(d);
    errno = keep;
    return rc;
}

static int move_up(struct removal *r, int dir_fd, const char *name)
{
    for (;;) {
        char moved[32];
        (void)snprintf(moved, sizeof moved, ".removed-%u", r->n_moved++);
        if (renameat2(dir_fd, name, r->top_fd, moved, RENAME_NOREPLACE) == 0)
            return 0;
        if (errno != EEXIST)
            return ERR_IO;
    }
}

static int remove_entry(struct removal *r, int dir_fd, const char *name, int depth)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return ERR_IO;
    if (depth == REMOVE_DEPTH)
        return move_up(r, dir_fd, name);
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return ERR_IO;
    int rc = remove_contents(r, fd, depth + 1);
    if (rc == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0)
        rc = ERR_IO;
    return rc;
}

int file_remove_tree(int dir_fd, const char *name)
{
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return ERR_IO;
    struct removal r = {.top_fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)};
    if (r.top_fd < 0)
        return ERR_IO;
    int rc;
    unsigned before;
    do {
        before = r.n_moved;
        int fd = openat(r.top_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = fd < 0 ? ERR_IO : remove_contents(&r, fd, 1);
    } while (rc == 0 && r.n_moved != before);
    if (rc == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) < 0)
        rc = ERR_IO;
    fd_close(&r.top_fd);
    return rc;
}

union control {
    struct cmsghdr align;
    char space[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
};

int fd_send_msg(int sock, const void *p, size_t n, const int *fds, size_t n_fds)
{
    BIDE_ASSERT(n_fds <= FD_PASS_MAX, "%zu descriptors", n_fds);
    union control c;
    memset(&c, 0, sizeof c);
    struct iovec iov = {.iov_base = (void *)p, .iov_len = n};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};
    if (n_fds > 0) {
        m.msg_control = c.space;
        m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        struct cmsghdr *h = CMSG_FIRSTHDR(&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(h), fds, sizeof(int) * n_fds);
    }
    for (;;) {
        ssize_t k = sendmsg(sock, &m, MSG_NOSIGNAL);
        if (k >= 0)
            return (size_t)k == n ? 0 : ERR_IO;
        if (errno == EAGAIN || errno == EWOULDBLOCK)
            return ERR_AGAIN;
        if (errno != EINTR)
            return ERR_IO;
    }
}

int fd_recv_msg(int sock, void *p, size_t cap, size_t *ret_len, int *fds, size_t *ret_n_fds)
{
    union control c;
    struct iovec iov = {.iov_base = p, .iov_len = cap};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.space, .msg_controllen = sizeof c.space};
    ssize_t k;
    *ret_len = 0;
    *ret_n_fds = 0;
    do
        k = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (k < 0 && errno == EINTR);
    if (k < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? ERR_AGAIN : ERR_IO;
    size_t n_fds = 0;
    for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h != NULL; h = CMSG_NXTHDR(&m, h)) {
        if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(h) + i * sizeof fd, sizeof fd);
            if (n_fds < FD_PASS_MAX)
                fds[n_fds++] = fd;
            else
                (void)close(fd);
        }
    }
    if ((m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
        while (n_fds > 0)
            (void)close(fds[--n_fds]);
        *ret_len = (m.msg_flags & MSG_TRUNC) != 0 ? 0 : (size_t)k;
        return ERR_TOOBIG;
    }
    *ret_len = (size_t)k;
    *ret_n_fds = n_fds;
    return 0;
}
