#include "listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "base/num.h"

enum { BACKLOG = 1024, FIRST_PASSED_FD = 3 };

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_storage space;
};

static bool is_loopback(const union address *a)
{
    if (a->any.sa_family == AF_INET)
        return (ntohl(a->v4.sin_addr.s_addr) >> 24) == 127;
    return IN6_IS_ADDR_LOOPBACK(&a->v6.sin6_addr);
}

static int parse(const char *text, union address *a, socklen_t *ret_len, struct err *e)
{
    memset(a, 0, sizeof *a);
    const char *colon = strrchr(text, ':');
    uint64_t port = 0;
    char host[64];
    if (colon == NULL || num_parse_u64(colon + 1, strlen(colon + 1), &port) < 0 || port > 65535)
        return err_set(e, ERR_INVALID, "listen = \"%s\": not ADDRESS:PORT", text);
    const char *from = text, *to = colon;
    if (from < to && *from == '[' && to[-1] == ']') {
        from++;
        to--;
    }
    if ((size_t)(to - from) >= sizeof host)
        return err_set(e, ERR_INVALID, "listen = \"%s\": the address is too long", text);
    memcpy(host, from, (size_t)(to - from));
    host[to - from] = '\0';
    if (strcmp(host, "localhost") == 0)
        memcpy(host, "127.0.0.1", sizeof "127.0.0.1");
    if (inet_pton(AF_INET, host, &a->v4.sin_addr) == 1) {
        a->v4.sin_family = AF_INET;
        a->v4.sin_port = htons((uint16_t)port);
        *ret_len = sizeof a->v4;
        return 0;
    }
    if (inet_pton(AF_INET6, host, &a->v6.sin6_addr) == 1) {
        a->v6.sin6_family = AF_INET6;
        a->v6.sin6_port = htons((uint16_t)port);
        *ret_len = sizeof a->v6;
        return 0;
    }
    return err_set(e, ERR_INVALID, "listen = \"%s\": \"%s\" is not an IP address", text, host);
}

/* What a client on this machine would type: a wildcard address is reached through loopback. */
static void describe(struct listen_set *set, const union address *a)
{
    char host[INET6_ADDRSTRLEN] = "";
    bool v4 = a->any.sa_family == AF_INET;
    uint16_t port = ntohs(v4 ? a->v4.sin_port : a->v6.sin6_port);
    if (v4) {
        struct in_addr in = a->v4.sin_addr;
        if (in.s_addr == htonl(INADDR_ANY))
            in.s_addr = htonl(INADDR_LOOPBACK);
        (void)inet_ntop(AF_INET, &in, host, sizeof host);
        (void)snprintf(set->url, sizeof set->url, "http://%s:%u", host, port);
        return;
    }
    struct in6_addr in6 = a->v6.sin6_addr;
    if (IN6_IS_ADDR_UNSPECIFIED(&in6))
        in6 = in6addr_loopback;
    (void)inet_ntop(AF_INET6, &in6, host, sizeof host);
    (void)snprintf(set->url, sizeof set->url, "http://[%s]:%u", host, port);
}

static int add(struct listen_set *set, int fd, struct err *e)
{
    union address a;
    socklen_t len = sizeof a;
    if (set->n == LISTEN_SOCKETS_MAX)
        return err_set(e, ERR_FULL, "more than %d listening sockets", LISTEN_SOCKETS_MAX);
    if (getsockname(fd, &a.any, &len) < 0)
        return err_sys(e, ERR_IO, errno, "listening socket %d", fd);
    bool is_unix = a.any.sa_family == AF_UNIX;
    if (!is_unix && a.any.sa_family != AF_INET && a.any.sa_family != AF_INET6)
        return err_set(e, ERR_INVALID, "descriptor %d is neither an IP nor a Unix socket", fd);
    if (!is_unix) {
        set->loopback_only = set->loopback_only && is_loopback(&a);
        if (set->url[0] == '\0')
            describe(set, &a);
    }
    set->sock[set->n++] = (struct listen_socket){.fd = fd, .is_unix = is_unix};
    return 0;
}

/* The LISTEN_FDS protocol of sd_listen_fds(3): the variables name this very process, the sockets start at 3. */
static int from_outside(struct listen_set *set, struct err *e)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    uint64_t p = 0, n = 0;
    int rc = 0;
    if (pid == NULL || fds == NULL || num_parse_u64(pid, strlen(pid), &p) < 0 || p != (uint64_t)getpid())
        return 0;
    if (num_parse_u64(fds, strlen(fds), &n) < 0 || n > LISTEN_SOCKETS_MAX)
        return err_set(e, ERR_INVALID, "LISTEN_FDS=%s: not a number up to %d", fds, LISTEN_SOCKETS_MAX);
    for (uint64_t i = 0; i < n && rc == 0; i++) {
        int fd = FIRST_PASSED_FD + (int)i;
        if (fd_set_cloexec(fd) < 0 || fd_set_nonblock(fd) < 0)
            rc = err_sys(e, ERR_IO, errno, "LISTEN_FDS: descriptor %d", fd);
        else
            rc = add(set, fd, e);
    }
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("LISTEN_FDS");
    (void)unsetenv("LISTEN_FDNAMES");
    return rc;
}

int listen_open(struct listen_set *set, const char *address, struct err *e)
{
    memset(set, 0, sizeof *set);
    set->loopback_only = true;
    int rc = from_outside(set, e);
    if (rc < 0 || set->url[0] != '\0')
        return rc;
    union address a;
    socklen_t len = 0;
    rc = parse(address, &a, &len, e);
    if (rc < 0)
        return rc;
    int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1;
    if (fd < 0)
        return err_sys(e, ERR_IO, errno, "listen on %s", address);
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || bind(fd, &a.any, len) < 0 ||
        listen(fd, BACKLOG) < 0)
        rc = err_sys(e, ERR_IO, errno, "cannot listen on %s", address);
    else
        rc = add(set, fd, e);
    if (rc < 0)
        close(fd);
    return rc;
}

int listen_open_unix(struct listen_set *set, int dir_fd, const char *name, uid_t uid, gid_t gid, struct err *e)
{
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    if (strlen(name) >= sizeof a.sun_path)
        return err_set(e, ERR_INVALID, "%s: name too long for a socket", name);
    memcpy(a.sun_path, name, strlen(name) + 1);
    /* bind has no "at" form, and the directory's full path may be longer than a socket name can be. */
    int back = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int rc = 0;
    if (fd < 0 || fchdir(dir_fd) < 0) {
        rc = err_sys(e, ERR_IO, errno, "cannot make %s", name);
        goto out;
    }
    if ((unlink(name) < 0 && errno != ENOENT) || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 ||
        chmod(name, 0666) < 0 || (geteuid() == 0 && chown(name, uid, gid) < 0) || listen(fd, BACKLOG) < 0)
        rc = err_sys(e, ERR_IO, errno, "cannot listen on %s", name);
    else
        rc = add(set, fd, e);
out:
    if (back >= 0) {
        if (fchdir(back) < 0 && rc == 0)
            rc = err_sys(e, ERR_IO, errno, "cannot return to the working directory");
        close(back);
    }
    if (rc < 0 && fd >= 0)
        close(fd);
    return rc;
}

void listen_close(struct listen_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        close(set->sock[i].fd);
    set->n = 0;
}
