#include "filter.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "ctl.h"

/* Known and forbidden. Some would fail without capabilities anyway: a second fence that fails independently. */
static const int denied[] = {
    /* mounts, old and new */
    SCMP_SYS(mount),
    SCMP_SYS(umount),
    SCMP_SYS(umount2),
    SCMP_SYS(pivot_root),
    SCMP_SYS(open_tree),
    SCMP_SYS(move_mount),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fsmount),
    SCMP_SYS(fspick),
    SCMP_SYS(mount_setattr),
    SCMP_SYS(chroot),
    /* namespaces */
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    /* wide kernel interfaces with a history */
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(fanotify_init),
    SCMP_SYS(lookup_dcookie),
    /* other processes */
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(process_madvise),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(kcmp),
    /* the host as a whole */
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(create_module),
    SCMP_SYS(query_module),
    SCMP_SYS(get_kernel_syms),
    SCMP_SYS(quotactl),
    SCMP_SYS(quotactl_fd),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(acct),
    SCMP_SYS(reboot),
    SCMP_SYS(settimeofday),
    SCMP_SYS(clock_settime),
    SCMP_SYS(clock_adjtime),
    SCMP_SYS(adjtimex),
    SCMP_SYS(stime),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(syslog),
    SCMP_SYS(vhangup),
    SCMP_SYS(modify_ldt),
    SCMP_SYS(nfsservctl),
    SCMP_SYS(uselib),
    SCMP_SYS(ustat),
    SCMP_SYS(sysfs),
    SCMP_SYS(_sysctl),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    /* handles reach files without a path */
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(name_to_handle_at),
    /* memory policy of the host's nodes */
    SCMP_SYS(migrate_pages),
    SCMP_SYS(move_pages),
    SCMP_SYS(mbind),
    SCMP_SYS(set_mempolicy),
    SCMP_SYS(set_mempolicy_home_node),
    SCMP_SYS(remap_file_pages),
};

/* Not there, as far as programs are to know, so that they use what they used before: clone3's flags lie in user memory
 * where no filter sees them (glibc falls back to clone); io_uring does its work past every filter (libuv and tokio fall
 * back to epoll). 457 statmount, 458 listmount, 467 open_tree_attr, 470 listns: newer than the library's tables, the
 * numbers are the same on every architecture. */
static const int absent[] = {SCMP_SYS(clone3),
                             SCMP_SYS(io_uring_setup),
                             SCMP_SYS(io_uring_enter),
                             SCMP_SYS(io_uring_register),
                             457,
                             458,
                             467,
                             470};

/* What no kernel had when this was written has not been looked at. */
enum { FIRST_UNKNOWN = 471, LAST_UNKNOWN = 511 };

static int rc_of(int rc, int so_far)
{
    return so_far < 0 ? so_far : rc;
}

static int add_names(scmp_filter_ctx f)
{
    int rc = 0;
    for (size_t i = 0; i < sizeof denied / sizeof denied[0]; i++)
        rc = rc_of(seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), denied[i], 0), rc);
    for (size_t i = 0; i < sizeof absent / sizeof absent[0]; i++)
        rc = rc_of(seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), absent[i], 0), rc);
    for (int nr = FIRST_UNKNOWN; nr <= LAST_UNKNOWN; nr++)
        rc = rc_of(seccomp_rule_add(f, SCMP_ACT_ERRNO(ENOSYS), nr, 0), rc);
    return rc;
}

/* The library's own macros leave a field out, which clang warns of. */
static struct scmp_arg_cmp arg_is(unsigned arg, enum scmp_compare op, uint64_t a, uint64_t b)
{
    return (struct scmp_arg_cmp){.arg = arg, .op = op, .datum_a = a, .datum_b = b};
}

static int deny_bits(scmp_filter_ctx f, int call, unsigned arg, uint64_t mask, uint64_t value)
{
    return seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), call, 1, arg_is(arg, SCMP_CMP_MASKED_EQ, mask, value));
}

/* A network namespace does not contain AF_VSOCK, and odd families are where kernel bugs live (CVE-2026-31431, AF_ALG):
 * what remains is UNIX, INET, INET6, and NETLINK for routes, which getifaddrs needs. The comparisons are of 64 bits: a
 * family with high bits set is over the last one allowed, so nothing is let through by the kernel's cutting to an int.
 */
static int add_sockets(scmp_filter_ctx f, int call)
{
    static const int last = AF_NETLINK;
    int rc = 0;
    for (int family = 0; family < last; family++)
        if (family != AF_UNIX && family != AF_INET && family != AF_INET6)
            rc = rc_of(
                seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), call, 1, arg_is(0, SCMP_CMP_EQ, (uint64_t)family, 0)),
                rc);
    rc = rc_of(seccomp_rule_add(f, SCMP_ACT_ERRNO(EAFNOSUPPORT), call, 1, arg_is(0, SCMP_CMP_GT, (uint64_t)last, 0)),
               rc);
    return rc_of(seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), call, 2, arg_is(0, SCMP_CMP_EQ, (uint64_t)last, 0),
                                  arg_is(2, SCMP_CMP_NE, 0 /* NETLINK_ROUTE */, 0)),
                 rc);
}

static int add_clone(scmp_filter_ctx f)
{
    static const uint64_t spaces[] = {CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
                                      CLONE_NEWUSER, CLONE_NEWPID,    CLONE_NEWNET};
    int rc = 0;
    for (size_t i = 0; i < sizeof spaces / sizeof spaces[0]; i++)
        rc = rc_of(deny_bits(f, SCMP_SYS(clone), 0, spaces[i], spaces[i]), rc);
    return rc;
}

/* Low 32 bits only: the kernel ignores the others, and a filter that did not was bypassed (CVE-2019-7303,
 * CVE-2019-10063). */
static int add_ioctl(scmp_filter_ctx f)
{
    enum { LINUX_CONSOLE = 0x541C /* TIOCLINUX */ };
    int rc = deny_bits(f, SCMP_SYS(ioctl), 1, UINT32_MAX, TIOCSTI);
    return rc_of(deny_bits(f, SCMP_SYS(ioctl), 1, UINT32_MAX, LINUX_CONSOLE), rc);
}

static int add_mknod(scmp_filter_ctx f)
{
    int rc = deny_bits(f, SCMP_SYS(mknod), 1, S_IFMT, S_IFBLK);
    rc = rc_of(deny_bits(f, SCMP_SYS(mknod), 1, S_IFMT, S_IFCHR), rc);
    rc = rc_of(deny_bits(f, SCMP_SYS(mknodat), 2, S_IFMT, S_IFBLK), rc);
    return rc_of(deny_bits(f, SCMP_SYS(mknodat), 2, S_IFMT, S_IFCHR), rc);
}

/* 0xffffffff asks and changes nothing; everything else with the top bit is refused, and below it the bits that weaken
 * the process's own memory layout. */
static int add_personality(scmp_filter_ctx f)
{
    static const uint64_t top = 0x80000000;
    static const uint64_t bad[] = {MMAP_PAGE_ZERO, ADDR_COMPAT_LAYOUT, READ_IMPLIES_EXEC, STICKY_TIMEOUTS};
    int rc = 0;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        rc = rc_of(deny_bits(f, SCMP_SYS(personality), 0, top | bad[i], bad[i]), rc);
    for (uint64_t bit = 1; bit < top; bit <<= 1)
        rc = rc_of(deny_bits(f, SCMP_SYS(personality), 0, top | bit, top), rc);
    return rc;
}

/* The limit on core dumps is 1 (profile.c) and stays 1: lowering it to 0 would wake a core_pattern that is a pipe. The
 * caller is told that it was done, since `ulimit -c 0` asks for nothing that it does not have. */
static int add_core(scmp_filter_ctx f)
{
    int rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(0), SCMP_SYS(setrlimit), 1,
                              arg_is(0, SCMP_CMP_MASKED_EQ, UINT32_MAX, RLIMIT_CORE));
    return rc_of(seccomp_rule_add(f, SCMP_ACT_ERRNO(0), SCMP_SYS(prlimit64), 2,
                                  arg_is(1, SCMP_CMP_MASKED_EQ, UINT32_MAX, RLIMIT_CORE), arg_is(2, SCMP_CMP_NE, 0, 0)),
                 rc);
}

/* The library writes programs to descriptors only. */
static int export_program(scmp_filter_ctx f, struct filter *ret, struct err *e)
{
    int fd = memfd_create("filter", MFD_CLOEXEC);
    int rc = fd < 0 ? -errno : seccomp_export_bpf(f, fd);
    struct stat st = {0};
    if (rc == 0 && fstat(fd, &st) < 0)
        rc = -errno;
    size_t len = (size_t)st.st_size;
    ret->insn = rc == 0 ? malloc(len) : NULL;
    ret->n = len / sizeof ret->insn[0];
    if (rc == 0 && ret->insn == NULL)
        rc = -ENOMEM;
    if (rc == 0 && (pread(fd, ret->insn, len, 0) != (ssize_t)len || ret->n > JOB_INSNS_MAX))
        rc = -EIO;
    fd_close(&fd);
    if (rc == 0)
        return 0;
    filter_done(ret);
    return err_sys(e, ERR_IO, -rc, "export the system call filter");
}

int filter_build(struct filter *ret, struct err *e)
{
    *ret = (struct filter){0};
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    if (f == NULL)
        return err_set(e, ERR_NOMEM, "system call filter");
    /* i386 and x32 on x86-64, 32-bit ARM on arm64: their calls hide arguments from the filter (socketcall). */
    int rc = seccomp_attr_set(f, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    /* A sorted tree loads twice as fast as a list, and every call pays less for it. */
    rc = rc_of(seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2), rc);
    rc = rc_of(add_names(f), rc);
    rc = rc_of(add_sockets(f, SCMP_SYS(socket)), rc);
    rc = rc_of(add_sockets(f, SCMP_SYS(socketpair)), rc);
    rc = rc_of(add_clone(f), rc);
    rc = rc_of(add_ioctl(f), rc);
    rc = rc_of(add_mknod(f), rc);
    rc = rc_of(add_personality(f), rc);
    rc = rc_of(add_core(f), rc);
    rc = rc < 0 ? err_sys(e, ERR_INTERNAL, -rc, "build the system call filter") : export_program(f, ret, e);
    seccomp_release(f);
    return rc;
}

void filter_done(struct filter *p)
{
    free(p->insn);
    *p = (struct filter){0};
}
