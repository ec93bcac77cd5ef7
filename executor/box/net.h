/* The box's loopback and the Runtime API's listener on it. A socket belongs to the network namespace it was made in,
 * wherever it is handed: the engine accepts on it from outside, and needs no address, no proxy and no veth.
 */
#ifndef BOX_NET_H
#define BOX_NET_H

#include <stdint.h>

#include "base/err.h"

int net_loopback_up(struct err *e) BIDE_MUST_USE;

/* Listening on 127.0.0.1:port (0: any), close-on-exec and non-blocking; the port it got in *ret_port. */
int net_listen(uint16_t port, int *ret_fd, uint16_t *ret_port, struct err *e) BIDE_MUST_USE;

#endif
