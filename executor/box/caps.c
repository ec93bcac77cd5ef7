#include "caps.h"

#include <errno.h>
#include <stddef.h>
#include <sys/capability.h>
#include <sys/prctl.h>

int caps_drop_all(struct err *e)
{
    cap_value_t n = cap_max_bits();
    for (cap_value_t c = 0; c < n; c++)
        if (cap_drop_bound(c) < 0)
            return err_sys(e, ERR_IO, errno, "drop capability %d from the bounding set", (int)c);
    if (cap_reset_ambient() < 0 && errno != EINVAL) /* EINVAL: a kernel without ambient capabilities */
        return err_sys(e, ERR_IO, errno, "clear ambient capabilities");
    cap_t none = cap_init();
    if (none == NULL)
        return err_sys(e, ERR_NOMEM, errno, "capabilities");
    int rc = cap_set_proc(none) < 0 ? err_sys(e, ERR_IO, errno, "drop capabilities") : 0;
    cap_t now = rc == 0 ? cap_get_proc() : NULL;
    if (rc == 0 && (now == NULL || cap_compare(now, none) != 0))
        rc = err_set(e, ERR_IO, "capabilities are still there after dropping them");
    (void)cap_free(now);
    (void)cap_free(none);
    return rc;
}

int caps_no_new_privs(struct err *e)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? err_sys(e, ERR_IO, errno, "no_new_privs") : 0;
}
