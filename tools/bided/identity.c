#include "identity.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "base/num.h"

int identity_find(struct identity *id, const char *user, struct err *e)
{
    *id = (struct identity){.uid = geteuid(), .gid = getegid(), .drop = false};
    if (id->uid != 0)
        return 0;
    uint64_t number = 0;
    const struct passwd *pw = getpwnam(user);
    if (pw != NULL) {
        *id = (struct identity){.uid = pw->pw_uid, .gid = pw->pw_gid, .drop = pw->pw_uid != 0};
        return 0;
    }
    if (num_parse_u64(user, strlen(user), &number) == 0 && number < UINT32_MAX) {
        *id = (struct identity){.uid = (uid_t)number, .gid = (gid_t)number, .drop = number != 0};
        return 0;
    }
    if (strcmp(user, "bide") != 0)
        return err_set(e, ERR_NOTFOUND, "user = \"%s\": there is no such account", user);
    *id = (struct identity){.uid = IDENTITY_FALLBACK_UID, .gid = IDENTITY_FALLBACK_UID, .drop = true};
    return 0;
}

int identity_assume(const struct identity *id, struct err *e)
{
    if (!id->drop)
        return 0;
    if (setgroups(0, NULL) < 0 || setresgid(id->gid, id->gid, id->gid) < 0 || setresuid(id->uid, id->uid, id->uid) < 0)
        return err_sys(e, ERR_IO, errno, "cannot become uid %u", (unsigned)id->uid);
    if (setresuid(0, 0, 0) == 0 || geteuid() != id->uid)
        return err_set(e, ERR_INTERNAL, "uid %u could become root again", (unsigned)id->uid);
    return 0;
}
