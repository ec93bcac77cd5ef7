#include "rlimit.h"

#include <errno.h>
#include <sys/resource.h>

int rlimit_set(int resource, int64_t value, struct err *e)
{
    struct rlimit r;
    rlim_t v = (rlim_t)value;
    if (getrlimit((__rlimit_resource_t)resource, &r) < 0)
        return err_sys(e, ERR_IO, errno, "getrlimit %d", resource);
    if (r.rlim_max != RLIM_INFINITY && r.rlim_max < v)
        v = r.rlim_max;
    r.rlim_cur = r.rlim_max = v;
    return setrlimit((__rlimit_resource_t)resource, &r) < 0 ? err_sys(e, ERR_IO, errno, "setrlimit %d", resource) : 0;
}
