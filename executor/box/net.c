#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fdutil.h"

enum { BACKLOG = 64 };

int net_loopback_up(struct err *e)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(e, ERR_IO, errno, "socket");
    struct ifreq r;
    memset(&r, 0, sizeof r);
    memcpy(r.ifr_name, "lo", 3);
    r.ifr_flags = IFF_UP | IFF_RUNNING;
    int rc = ioctl(fd, SIOCSIFFLAGS, &r) < 0 ? err_sys(e, ERR_IO, errno, "bring lo up") : 0;
    fd_close(&fd);
    return rc;
}

int net_listen(uint16_t port, int *ret_fd, uint16_t *ret_port, struct err *e)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof a;
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, BACKLOG) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) < 0) {
        int rc = err_sys(e, ERR_IO, errno, "listen on 127.0.0.1:%u", port);
        fd_close(&fd);
        return rc;
    }
    *ret_fd = fd;
    *ret_port = ntohs(a.sin_port);
    return 0;
}
