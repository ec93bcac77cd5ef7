/* Who may call: SigV4 over TCP, the kernel's word over the Unix socket. The loop's thread. */
#ifndef API_AUTH_H
#define API_AUTH_H

#include "call.h"

/* What can be said before the body is there: the form, the key id, the scope and the clock. c->must_verify tells
 * whether a signature remains to be checked. ERR_DENIED with fail filled. */
int auth_head(struct call *c, struct sigv4_fail *fail) BIDE_MUST_USE;

/* The signature, with the body's hash. */
int auth_body(struct call *c, struct sigv4_fail *fail) BIDE_MUST_USE;

/* Does this peer sit on the same host? For routes that are ROUTE_LOCAL. */
bool auth_peer_is_local(const struct httpd_peer *peer);

#endif
