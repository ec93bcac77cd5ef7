/* What a function can try, and what it gets: each attempt from inside a box, with strict fences, as root and as an
 * ordinary user. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "rig.h"

static struct rig rig;
static bool as_user;

static int open_root(void **state)
{
    (void)state;
    as_user = false;
    if (geteuid() == 0)
        rig_open(&rig, &(struct rig_opts){.mode = BOX_STRICT});
    return 0;
}

static int open_user(void **state)
{
    (void)state;
    as_user = true;
    rig_open(&rig, &(struct rig_opts){.mode = BOX_STRICT, .as_user = true});
    return 0;
}

static int close_rig(void **state)
{
    (void)state;
    if (rig.pid > 0)
        rig_close(&rig);
    return 0;
}

/* Runs one group of the probe in a box of its own; its output can be asked for afterwards. */
static void run(const char *group, const char *arg1, const char *arg2)
{
    if (!as_user)
        rig_need_root();
    const char *const argv[] = {"/var/task/bootstrap", group, arg1, arg2, NULL};
    rig_start(&rig, 1, argv);
    const struct proto_msg *m = rig_wait(&rig, PROTO_EXITED, 1);
    if (m->u.exited.exit_code != 7)
        fail_msg("%s: exit code %d, signal %d, exec errno %d: %s", group, m->u.exited.exit_code, m->u.exited.signal,
                 m->u.exited.exec_errno, rig_log(&rig, 1));
    rig_order(&rig, PROTO_STOP, 1);
    (void)rig_wait(&rig, PROTO_DEAD, 1);
}

struct expect {
    const char *name;
    const char *results; /* allowed ones, separated by '|' */
};

static bool one_of(const char *result, const char *list)
{
    size_t len = strlen(result);
    for (const char *at = list; at != NULL; at = strchr(at, '|'), at = at != NULL ? at + 1 : NULL)
        if (strncmp(at, result, len) == 0 && (at[len] == '|' || at[len] == '\0'))
            return true;
    return false;
}

static void check(const struct expect *x, size_t n)
{
    int wrong = 0;
    for (size_t i = 0; i < n; i++) {
        const char *result = rig_result(&rig, 1, x[i].name);
        if (result == NULL || !one_of(result, x[i].results)) {
            print_error("%s: %s, not %s\n", x[i].name, result != NULL ? result : "nothing", x[i].results);
            wrong++;
        }
    }
    assert_int_equal(wrong, 0);
}
#define CHECK(x_) check((x_), sizeof(x_) / sizeof(x_)[0])

static void test_files(void **state)
{
    (void)state;
    static const struct expect x[] = {
        {"shadow", "ENOENT"}, {"root", "ENOENT"}, {"home", "ENOENT"}, {"sys", "ENOENT"},  {"run", "ENOENT"},
        {"shm", "ENOENT"},    {"ptmx", "ENOENT"}, {"data", "ENOENT"}, {"own-code", "ok"}, {"passwd", "ok"},
        {"null", "ok"},       {"zero", "ok"},     {"stderr", "ok"},
    };
    run("files", rig.dir, NULL);
    CHECK(x);
}

static void test_processes(void **state)
{
    (void)state;
    static const struct expect x[] = {
        {"environ1", "EACCES|EPERM|ENOENT"},
        {"mem1", "EACCES|EPERM|ENOENT"},
        {"maps1", "EACCES|EPERM|ENOENT"},
        {"fd1", "EACCES|EPERM|ENOENT"},
        {"visible", "1"},
        {"kill1", "ok|EPERM"},
        {"kill2000000", "ESRCH"},
        {"ptrace", "EPERM"},
        {"kcore", "EMPTY|ENOENT"},
        {"kallsyms", "EMPTY|ENOENT"},
        {"sysrq", "EMPTY|ENOENT|EACCES"},
        {"sysctl", "EROFS|EACCES"},
        {"userns", "EROFS|EACCES"},
        {"oom_score_adj", "EACCES"},
    };
    run("procs", NULL, NULL);
    CHECK(x);
}

static void test_descriptors(void **state)
{
    (void)state;
    run("fds", NULL, NULL);
    assert_string_equal(rig_result(&rig, 1, "fds"), "0 1 2");
}

static void test_identity(void **state)
{
    (void)state;
    run("ids", NULL, NULL);
    const char *log = rig_log(&rig, 1);
    assert_non_null(strstr(log, "uid 993 gid 993 groups 0 host box\n"));
    assert_non_null(strstr(log, "sid-is-mine 1 cwd /var/task\n"));
    assert_non_null(strstr(log, "batch 1\n"));
    assert_non_null(strstr(log, "CapPrm:\t0000000000000000\n"));
    assert_non_null(strstr(log, "CapEff:\t0000000000000000\n"));
    assert_non_null(strstr(log, "CapBnd:\t0000000000000000\n"));
    assert_non_null(strstr(log, "CapAmb:\t0000000000000000\n"));
    assert_non_null(strstr(log, "NoNewPrivs:\t1\n"));
    assert_non_null(strstr(log, "Seccomp:\t2\n"));
    if (as_user)
        assert_int_equal(rig.w[1].uid, geteuid() == 0 ? RIG_USER : geteuid());
    else
        assert_true(rig.w[1].uid >= rig_uid_base() && rig.w[1].uid < rig_uid_base() + RIG_WORKERS);
}

static void test_calls(void **state)
{
    (void)state;
    static const struct expect x[] = {
        {"mount", "EPERM"},          {"umount", "EPERM"},
        {"pivot_root", "EPERM"},     {"chroot", "EPERM"},
        {"open_tree", "EPERM"},      {"fsopen", "EPERM"},
        {"move_mount", "EPERM"},     {"mount_setattr", "EPERM"},
        {"statmount", "ENOSYS"},     {"listmount", "ENOSYS"},
        {"unknown", "ENOSYS"},       {"setns", "EPERM"},
        {"unshare-user", "EPERM"},   {"unshare-net", "EPERM"},
        {"clone-user", "EPERM"},     {"clone-ns", "EPERM"},
        {"clone3", "ENOSYS"},        {"bpf", "EPERM"},
        {"perf", "EPERM"},           {"keyctl", "EPERM"},
        {"add_key", "EPERM"},        {"userfaultfd", "EPERM"},
        {"kexec", "EPERM"},          {"init_module", "EPERM"},
        {"handle", "EPERM"},         {"by_handle", "EPERM"},
        {"io_uring", "ENOSYS"},      {"vm_readv", "EPERM"},
        {"pidfd_getfd", "EPERM"},    {"clock_settime", "EPERM"},
        {"sethostname", "EPERM"},    {"reboot", "EPERM"},
        {"syslog", "EPERM"},         {"setpriority", "EACCES|EPERM"},
        {"fifo", "EPERM"},           {"mlock", "ENOMEM|EPERM"},
        {"personality-query", "ok"}, {"personality-exec", "EPERM"},
        {"mknod-null", "EPERM"},     {"mkfifo", "ok"},
        {"setuid0", "EINVAL|EPERM"}, {"fork", "ok"},
    };
    run("calls", NULL, NULL);
    CHECK(x);
}

static void test_sockets(void **state)
{
    (void)state;
    static const struct expect x[] = {
        {"unix", "ok"},
        {"inet", "ok"},
        {"inet6", "ok|EAFNOSUPPORT"},
        {"netlink-route", "ok"},
        {"netlink-audit", "EPERM"},
        {"netlink-netfilter", "EPERM"},
        {"netlink-high", "EPERM"},
        {"vsock", "EAFNOSUPPORT"},
        {"vsock-high", "EAFNOSUPPORT"},
        {"alg", "EAFNOSUPPORT"},
        {"packet", "EAFNOSUPPORT"},
        {"raw", "EPERM|EACCES"},
        {"bluetooth", "EAFNOSUPPORT"},
        {"tipc", "EAFNOSUPPORT"},
        {"xdp", "EAFNOSUPPORT"},
        {"pair-unix", "ok"},
        {"pair-tipc", "EAFNOSUPPORT"},
    };
    run("sockets", NULL, NULL);
    CHECK(x);
}

static void test_network(void **state)
{
    (void)state;
    static const struct expect x[] = {
        {"host-loopback", "ECONNREFUSED"}, {"metadata", "ENETUNREACH"},        {"world-tcp", "ENETUNREACH"},
        {"world-udp", "ENETUNREACH"},      {"abstract", "ECONNREFUSED|EPERM"},
    };
    if (!as_user)
        rig_need_root();
    /* What is to stay out of reach is really there. */
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), un = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof a;
    assert_int_equal(bind(tcp, (struct sockaddr *)&a, len) | listen(tcp, 4), 0);
    assert_int_equal(getsockname(tcp, (struct sockaddr *)&a, &len), 0);
    struct sockaddr_un u = {.sun_family = AF_UNIX};
    char port[16], name[64];
    (void)snprintf(port, sizeof port, "%d", ntohs(a.sin_port));
    (void)snprintf(name, sizeof name, "bide-test-%d", (int)getpid());
    memcpy(u.sun_path + 1, name, strlen(name));
    len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
    assert_int_equal(bind(un, (struct sockaddr *)&u, len) | listen(un, 4), 0);
    run("network", port, name);
    CHECK(x);
    (void)close(tcp);
    (void)close(un);
}

static void test_write_protection(void **state)
{
    (void)state;
    static const char no[] = "EROFS|EACCES|ENOENT|EPERM";
    static const struct expect x[] = {
        {"/x", no},
        {"/usr/x", no},
        {"/var/x", no},
        {"/var/task/x", no},
        {"/var/runtime/x", no},
        {"/opt/x", no},
        {"/etc/x", no},
        {"/dev/x", no},
        {"/empty/x", no},
        {"/proc/x", no},
        {"tmp", "ok"},
        {"passwd", no},
        {"own-code", "EROFS|EACCES|ETXTBSY"},
        {"chmod-root", "EROFS|EPERM"},
    };
    run("writes", NULL, NULL);
    CHECK(x);
}

static void test_terminal(void **state)
{
    (void)state;
    static const struct expect x[] = {
        {"tiocsti0", "EPERM|ENOTTY"},     {"tiocsti1", "EPERM|ENOTTY"},  {"tiocsti2", "EPERM|ENOTTY"},
        {"tiocsti-high", "EPERM|ENOTTY"}, {"tioclinux", "EPERM|ENOTTY"}, {"tty", "ENOENT"},
    };
    run("tty", NULL, NULL);
    CHECK(x);
}

static void test_full_tmp(void **state)
{
    (void)state;
    static const struct expect x[] = {{"fill", "ENOSPC"}, {"filled", "16|15"}, {"unlink", "ok"}, {"again", "ok"}};
    run("fill", NULL, NULL);
    CHECK(x);
}

static void test_open_files(void **state)
{
    (void)state;
    static const struct expect x[] = {{"open", "EMFILE"}, {"opened", "1021"}};
    run("open", NULL, NULL);
    CHECK(x);
}

static void test_fork_bomb(void **state)
{
    (void)state;
    run("bomb", NULL, NULL);
    assert_string_equal(rig_result(&rig, 1, "fork"), "EAGAIN");
    int forked = atoi(rig_result(&rig, 1, "forked"));
    assert_true(forked >= 32 && forked <= 66);
}

static void test_core_dump(void **state)
{
    (void)state;
    static const struct expect x[] = {
        {"set-core-0", "ok"}, {"set-core-max", "ok"}, {"core-limit", "1 1"}, {"dumped", "0 files 0"}};
    run("core", NULL, NULL);
    CHECK(x);
}

static void test_kill_everybody(void **state)
{
    (void)state;
    run("kill-all", NULL, NULL); /* and the executor process answers the STOP that follows */
}

static void test_environment(void **state)
{
    (void)state;
    run("env", "x y", NULL);
    const char *log = rig_log(&rig, 1);
    assert_string_equal(log, "arg /var/task/bootstrap\narg env\narg x y\nenv LAMBDA_TASK_ROOT=/var/task\n"
                             "env PATH=/usr/bin:/bin:/opt/bin\nenv AWS_LAMBDA_RUNTIME_API=127.0.0.1:9001\n");
}

static void test_runtime_api(void **state)
{
    (void)state;
    run("api", NULL, NULL);
    assert_string_equal(rig_result(&rig, 1, "connect"), "ok");
    assert_string_equal(rig_result(&rig, 1, "send"), "ok");
    int fd = accept4(rig.w[1].listener, NULL, NULL, SOCK_CLOEXEC);
    char text[16] = "";
    assert_true(fd >= 0);
    assert_int_equal(read(fd, text, sizeof text), 6);
    assert_string_equal(text, "hello\n");
    (void)close(fd);
}

#define MATRIX                                                                                                         \
    cmocka_unit_test(test_files), cmocka_unit_test(test_processes), cmocka_unit_test(test_descriptors),                \
        cmocka_unit_test(test_identity), cmocka_unit_test(test_calls), cmocka_unit_test(test_sockets),                 \
        cmocka_unit_test(test_network), cmocka_unit_test(test_write_protection), cmocka_unit_test(test_terminal),      \
        cmocka_unit_test(test_full_tmp), cmocka_unit_test(test_open_files), cmocka_unit_test(test_fork_bomb),          \
        cmocka_unit_test(test_core_dump), cmocka_unit_test(test_kill_everybody), cmocka_unit_test(test_environment),   \
        cmocka_unit_test(test_runtime_api)

int main(void)
{
    const struct CMUnitTest root_tests[] = {MATRIX}, user_tests[] = {MATRIX};
    int failed = cmocka_run_group_tests_name("root", root_tests, open_root, close_rig);
    return failed + cmocka_run_group_tests_name("user", user_tests, open_user, close_rig);
}
