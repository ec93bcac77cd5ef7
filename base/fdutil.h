/* Descriptors: flags, whole reads and writes, passing over sockets, durable files. EINTR is handled here and nowhere
 * else. Functions return 0 or ERR_IO with errno left set, unless said otherwise.
 */
#ifndef BASE_FDUTIL_H
#define BASE_FDUTIL_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "buf.h"
#include "err.h"

int fd_set_cloexec(int fd) BIDE_MUST_USE;
int fd_set_nonblock(int fd) BIDE_MUST_USE;
void fd_close(int *fd); /* closes when >= 0 and sets -1; errno kept */

int fd_write_all(int fd, const void *p, size_t n) BIDE_MUST_USE;
/* Until end of file, into b up to its ceiling (ERR_TOOBIG). */
int fd_read_all(int fd, struct buf *b) BIDE_MUST_USE;

/* A whole small file below dir_fd (AT_FDCWD allowed). ERR_NOTFOUND, ERR_TOOBIG, ERR_IO. */
int file_read(int dir_fd, const char *name, struct buf *b) BIDE_MUST_USE;

/* Replace NAME below dir_fd durably: temporary name, write, fsync, rename, fsync of the folder. */
int file_write_durable(int dir_fd, const char *name, const void *p, size_t n, mode_t mode, struct err *e) BIDE_MUST_USE;

/* Remove NAME and everything below it, never following links. A name that is not there is fine. */
int file_remove_tree(int dir_fd, const char *name) BIDE_MUST_USE;

enum { FD_PASS_MAX = 8 };

/* One message with descriptors on a SOCK_SEQPACKET or SOCK_STREAM Unix socket. The descriptors stay open here.
 * ERR_AGAIN when the socket is full. */
int fd_send_msg(int sock, const void *p, size_t n, const int *fds, size_t n_fds) BIDE_MUST_USE;

/* Receive one message into p (cap bytes). *ret_len 0 means end of file. Received descriptors are close-on-exec; at most
 * FD_PASS_MAX are kept in fds, *ret_n_fds says how many. A cut message (data or descriptors) closes what came and
 * gives ERR_TOOBIG; when only descriptors are missing, as when this process can open no more, *ret_len is not 0 and the
 * data are whole. ERR_AGAIN when there is nothing. */
int fd_recv_msg(int sock, void *p, size_t cap, size_t *ret_len, int *fds, size_t *ret_n_fds) BIDE_MUST_USE;

#endif
