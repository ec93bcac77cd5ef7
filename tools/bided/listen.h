/* Listening sockets of the daemon, opened by the process that was started, before privileges are given up, and handed
 * to the engine; or handed in from outside (systemd's LISTEN_FDS).
 */
#ifndef BIDED_LISTEN_H
#define BIDED_LISTEN_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

enum { LISTEN_SOCKETS_MAX = 8, LISTEN_URL_MAX = 128 };

struct listen_socket {
    int fd;
    bool is_unix;
};

struct listen_set {
    struct listen_socket sock[LISTEN_SOCKETS_MAX];
    size_t n;
    char url[LISTEN_URL_MAX]; /* base URL of the first TCP socket, loopback for a wildcard address; "" without one */
    bool loopback_only;       /* every TCP socket is bound to a loopback address */
};

/* "ADDR:PORT", "[V6]:PORT". Sockets from outside take its place when there are any. ERR_INVALID: not an address;
 * ERR_IO: errno says why, e.g. the port is in use. */
int listen_open(struct listen_set *set, const char *address, struct err *e) BIDE_MUST_USE;

/* Add the Unix socket NAME in folder dir_fd (the working directory is moved there for the call): one that is left over
 * is replaced, which is safe because the directory's lock is held. Mode 0666: who may call is decided by the peer's
 * uid. */
int listen_open_unix(struct listen_set *set, int dir_fd, const char *name, uid_t uid, gid_t gid,
                     struct err *e) BIDE_MUST_USE;

void listen_close(struct listen_set *set);

#endif
