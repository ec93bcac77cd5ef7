/* Who the two processes run as. Started as root: the executor process stays root and the engine becomes the user of the
 * setting `user` (when there is no such account, a fixed numeric uid that no distribution hands out). Started as
 * anybody else: both stay that user.
 */
#ifndef BIDED_IDENTITY_H
#define BIDED_IDENTITY_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

enum { IDENTITY_FALLBACK_UID = 64310 };

struct identity {
    uid_t uid;
    gid_t gid;
    bool drop; /* a change of identity is due */
};

int identity_find(struct identity *id, const char *user, struct err *e) BIDE_MUST_USE;

/* Become it for good: groups, gid, uid, no way back; checked. */
int identity_assume(const struct identity *id, struct err *e) BIDE_MUST_USE;

#endif
