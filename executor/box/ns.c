#include "ns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fdutil.h"

pid_t ns_clone(uint64_t flags, int cgroup_fd, int *ret_pidfd)
{
    int pidfd = -1;
    struct clone_args a;
    memset(&a, 0, sizeof a);
    a.flags = flags | CLONE_PIDFD;
    a.pidfd = (uint64_t)(uintptr_t)&pidfd;
    a.exit_signal = SIGCHLD;
    if (cgroup_fd >= 0) {
        a.flags |= CLONE_INTO_CGROUP;
        a.cgroup = (unsigned)cgroup_fd;
    }
    pid_t pid = (pid_t)syscall(SYS_clone3, &a, sizeof a);
    if (pid > 0)
        *ret_pidfd = pidfd;
    return pid;
}

static int write_map(pid_t child, const char *file, const char *text, struct err *e)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)child, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    /* One write(2): a map can be written once. */
    int rc = fd < 0 || write(fd, text, strlen(text)) < 0 ? err_sys(e, ERR_IO, errno, "write %s", file) : 0;
    fd_close(&fd);
    return rc;
}

int ns_map(pid_t child, uint32_t inside, uint32_t outside_uid, uint32_t outside_gid, struct err *e)
{
    char text[64];
    int rc = write_map(child, "setgroups", "deny", e);
    (void)snprintf(text, sizeof text, "%u %u 1\n", inside, outside_uid);
    if (rc == 0)
        rc = write_map(child, "uid_map", text, e);
    (void)snprintf(text, sizeof text, "%u %u 1\n", inside, outside_gid);
    if (rc == 0)
        rc = write_map(child, "gid_map", text, e);
    return rc;
}

int ns_become(uint32_t uid, uint32_t gid, struct err *e)
{
    /* The raw calls: glibc's would signal threads that this process does not have. */
    if (syscall(SYS_setresgid, gid, gid, gid) < 0)
        return err_sys(e, ERR_IO, errno, "setresgid");
    return syscall(SYS_setresuid, uid, uid, uid) < 0 ? err_sys(e, ERR_IO, errno, "setresuid") : 0;
}

int ns_hostname(const char *name, struct err *e)
{
    return sethostname(name, strlen(name)) < 0 ? err_sys(e, ERR_IO, errno, "sethostname") : 0;
}

int ns_parent_death(struct err *e)
{
    return prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 ? err_sys(e, ERR_IO, errno, "PR_SET_PDEATHSIG") : 0;
}
