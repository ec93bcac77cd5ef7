/* The program that plays the function in the sandbox tests: makes raw attempts and prints "name result" lines, where
 * the result is "ok" or the name of an errno. Built without sanitizers, which would make calls of their own.
 *
 *   bootstrap GROUP [ARGUMENT...]
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/sched.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void say(const char *name, long rc)
{
    const char *e = rc < 0 ? strerrorname_np(errno) : "ok";
    printf("%s %s\n", name, e != NULL ? e : "E?");
}

static void try_open(const char *name, const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC, 0600);
    say(name, fd);
    if (fd >= 0)
        (void)close(fd);
}

/* Nothing can be read: "ok" only when a byte came. */
static void try_read(const char *name, const char *path)
{
    char c;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, &c, 1) : -1;
    if (n == 0)
        printf("%s EMPTY\n", name);
    else
        say(name, (long)n);
    if (fd >= 0)
        (void)close(fd);
}

static void files(int argc, char **argv)
{
    try_open("shadow", "/etc/shadow", O_RDONLY);
    try_open("root", "/root", O_RDONLY);
    try_open("home", "/home", O_RDONLY);
    try_open("sys", "/sys", O_RDONLY);
    try_open("run", "/run", O_RDONLY);
    try_open("shm", "/dev/shm", O_RDONLY);
    try_open("ptmx", "/dev/ptmx", O_RDWR);
    try_open("data", argc > 2 ? argv[2] : "/nowhere", O_RDONLY);
    try_open("own-code", "/var/task/bootstrap", O_RDONLY);
    try_open("passwd", "/etc/passwd", O_RDONLY);
    try_open("null", "/dev/null", O_RDWR);
    try_read("zero", "/dev/zero");
    try_open("stderr", "/dev/stderr", O_WRONLY);
}

static bool is_number(const char *s)
{
    return s[0] != '\0' && strspn(s, "0123456789") == strlen(s);
}

static int count_entries(const char *path, bool numbers)
{
    DIR *d = opendir(path);
    const struct dirent *de;
    int n = 0;
    if (d == NULL)
        return -1;
    while ((de = readdir(d)) != NULL)
        n += numbers ? is_number(de->d_name) : de->d_name[0] != '.';
    (void)closedir(d);
    return n;
}

static void procs(void)
{
    try_read("environ1", "/proc/1/environ");
    try_read("mem1", "/proc/1/mem");
    try_read("maps1", "/proc/1/maps");
    say("fd1", count_entries("/proc/1/fd", true));
    printf("visible %d\n", count_entries("/proc", true));
    say("kill1", kill(1, SIGKILL));
    say("kill2000000", kill(2000000, SIGKILL));
    say("ptrace", ptrace(PTRACE_ATTACH, 1, NULL, NULL));
    try_read("kcore", "/proc/kcore");
    try_read("kallsyms", "/proc/kallsyms");
    try_read("sysrq", "/proc/sysrq-trigger");
    try_open("sysctl", "/proc/sys/kernel/core_pattern", O_WRONLY);
    try_open("userns", "/proc/sys/user/max_user_namespaces", O_WRONLY);
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    say("oom_score_adj", fd < 0 ? -1 : write(fd, "-500", 4));
}

static void fds(void)
{
    printf("fds");
    for (int fd = 0; fd < 4096; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf(" %d", fd);
    printf("\n");
}

static void ids(void)
{
    char line[256], host[64] = "";
    (void)gethostname(host, sizeof host);
    printf("uid %d gid %d groups %d host %s\n", (int)getuid(), (int)getgid(), getgroups(0, NULL), host);
    printf("pid %d sid-is-mine %d cwd %s\n", (int)getpid(), getsid(0) == getpid(), getcwd(line, sizeof line));
    printf("batch %d\n", sched_getscheduler(0) == SCHED_BATCH);
    FILE *f = fopen("/proc/self/status", "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (strncmp(line, "Cap", 3) == 0 || strncmp(line, "NoNewPrivs", 10) == 0 || strncmp(line, "Seccomp:", 8) == 0)
            fputs(line, stdout);
    if (f != NULL)
        (void)fclose(f);
}

static void calls(void)
{
    struct clone_args ca = {.flags = CLONE_NEWUSER, .exit_signal = SIGCHLD};
    struct timespec ts = {.tv_sec = 1};
    struct sched_param sp = {.sched_priority = 1};
    struct io_uring_params up = {0};
    char handle[256] = {0};
    int mount_id;
    say("mount", mount("tmpfs", "/tmp", "tmpfs", 0, NULL));
    say("umount", umount2("/tmp", MNT_DETACH));
    say("pivot_root", syscall(SYS_pivot_root, ".", "."));
    say("chroot", chroot("/tmp"));
    say("open_tree", syscall(SYS_open_tree, AT_FDCWD, "/", 1));
    say("fsopen", syscall(SYS_fsopen, "tmpfs", 0));
    say("move_mount", syscall(SYS_move_mount, -1, "", -1, "", 0));
    say("mount_setattr", syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, handle, 32));
    say("statmount", syscall(457, NULL, NULL, 0, 0));
    say("listmount", syscall(458, NULL, NULL, 0, 0));
    say("unknown", syscall(500, NULL));
    say("setns", setns(0, 0));
    say("unshare-user", unshare(CLONE_NEWUSER));
    say("unshare-net", unshare(CLONE_NEWNET));
    say("clone-user", syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, 0));
    say("clone-ns", syscall(SYS_clone, CLONE_NEWNS | SIGCHLD, NULL, NULL, NULL, 0));
    say("clone3", syscall(SYS_clone3, &ca, sizeof ca));
    say("bpf", syscall(SYS_bpf, 0, NULL, 0));
    say("perf", syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
    say("keyctl", syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, -3, 1));
    say("add_key", syscall(SYS_add_key, "user", "x", "y", 1, -3));
    say("userfaultfd", syscall(SYS_userfaultfd, 1));
    say("kexec", syscall(SYS_kexec_load, 0, 0, NULL, 0));
    say("init_module", syscall(SYS_init_module, NULL, 0, ""));
    say("handle", syscall(SYS_name_to_handle_at, AT_FDCWD, "/", handle, &mount_id, 0));
    say("by_handle", syscall(SYS_open_by_handle_at, AT_FDCWD, handle, 0));
    say("io_uring", syscall(SYS_io_uring_setup, 1, &up));
    say("vm_readv", syscall(SYS_process_vm_readv, 1, NULL, 0, NULL, 0, 0));
    say("pidfd_getfd", syscall(SYS_pidfd_getfd, 0, 0, 0));
    say("clock_settime", clock_settime(CLOCK_REALTIME, &ts));
    say("sethostname", sethostname("x", 1));
    say("reboot", syscall(SYS_reboot, 0, 0, 0, NULL));
    say("syslog", syscall(SYS_syslog, 3, handle, sizeof handle));
    say("setpriority", setpriority(PRIO_PROCESS, 0, -10));
    say("fifo", sched_setscheduler(0, SCHED_FIFO, &sp));
    void *big = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    say("mlock", mlock(big, 1 << 20));
    say("personality-query", personality(0xffffffff));
    say("personality-exec", personality(READ_IMPLIES_EXEC));
    say("mknod-null", mknod("/tmp/null", S_IFCHR | 0666, 0x103));
    say("mkfifo", mknod("/tmp/fifo", S_IFIFO | 0600, 0));
    say("setuid0", setuid(0));
    say("fork", fork() == 0 ? (_exit(0), 0) : 0);
    (void)wait(NULL);
}

static void try_socket(const char *name, long family, long type, long protocol)
{
    long fd = syscall(SYS_socket, family, type, protocol);
    say(name, fd);
    if (fd >= 0)
        (void)close((int)fd);
}

static void sockets(void)
{
    try_socket("unix", AF_UNIX, SOCK_STREAM, 0);
    try_socket("inet", AF_INET, SOCK_STREAM, 0);
    try_socket("inet6", AF_INET6, SOCK_DGRAM, 0);
    try_socket("netlink-route", AF_NETLINK, SOCK_RAW, 0);
    try_socket("netlink-audit", AF_NETLINK, SOCK_RAW, 9);
    try_socket("netlink-netfilter", AF_NETLINK, SOCK_RAW, 12);
    try_socket("netlink-high", AF_NETLINK, SOCK_RAW, 0x100000009L);
    try_socket("vsock", 40, SOCK_STREAM, 0);
    try_socket("vsock-high", 0x100000028L, SOCK_STREAM, 0);
    try_socket("alg", 38, SOCK_SEQPACKET, 0);
    try_socket("packet", AF_PACKET, SOCK_RAW, 0);
    try_socket("raw", AF_INET, SOCK_RAW, IPPROTO_ICMP);
    try_socket("bluetooth", 31, SOCK_RAW, 0);
    try_socket("tipc", 30, SOCK_STREAM, 0);
    try_socket("xdp", 44, SOCK_RAW, 0);
    int pair[2];
    say("pair-unix", socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    say("pair-tipc", syscall(SYS_socketpair, 30, SOCK_STREAM, 0, pair));
}

static void try_connect(const char *name, const char *ip, int port, int type)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    (void)inet_pton(AF_INET, ip, &a.sin_addr);
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    say(name, connect(fd, (struct sockaddr *)&a, sizeof a));
    (void)close(fd);
}

/* network PORT ABSTRACT: a port that listens on the host's loopback, and a name that listens in its abstract space */
static void network(char **argv)
{
    try_connect("host-loopback", "127.0.0.1", atoi(argv[2]), SOCK_STREAM);
    try_connect("metadata", "169.254.169.254", 80, SOCK_STREAM | SOCK_NONBLOCK);
    try_connect("world-tcp", "8.8.8.8", 53, SOCK_STREAM | SOCK_NONBLOCK);
    try_connect("world-udp", "8.8.8.8", 53, SOCK_DGRAM);
    struct sockaddr_un u = {.sun_family = AF_UNIX};
    (void)snprintf(u.sun_path + 1, sizeof u.sun_path - 1, "%s", argv[3]);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    say("abstract",
        connect(fd, (struct sockaddr *)&u, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(argv[3]))));
}

static void writes(void)
{
    static const char *const at[] = {"/x",     "/usr/x", "/var/x", "/var/task/x", "/var/runtime/x",
                                     "/opt/x", "/etc/x", "/dev/x", "/empty/x",    "/proc/x"};
    for (size_t i = 0; i < sizeof at / sizeof at[0]; i++)
        try_open(at[i], at[i], O_WRONLY | O_CREAT);
    try_open("own-code", "/var/task/bootstrap", O_WRONLY);
    try_open("passwd", "/etc/passwd", O_WRONLY);
    try_open("tmp", "/tmp/x", O_WRONLY | O_CREAT);
    say("chmod-root", chmod("/", 0777));
}

static void tty(void)
{
    char c = 'x';
    for (int fd = 0; fd < 3; fd++) {
        char name[16];
        (void)snprintf(name, sizeof name, "tiocsti%d", fd);
        say(name, ioctl(fd, TIOCSTI, &c));
    }
    say("tiocsti-high", syscall(SYS_ioctl, 0, 0x100000000L | TIOCSTI, &c));
    say("tioclinux", syscall(SYS_ioctl, 0, 0x541CL, &c));
    try_open("tty", "/dev/tty", O_RDWR);
}

static void fill_tmp(void)
{
    static char block[65536];
    long total = 0;
    int fd = open("/tmp/fill", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    ssize_t n;
    memset(block, 1, sizeof block);
    while ((n = write(fd, block, sizeof block)) > 0)
        total += n;
    say("fill", n);
    printf("filled %ld\n", total >> 20);
    (void)close(fd);
    say("unlink", unlink("/tmp/fill"));
    try_open("again", "/tmp/again", O_WRONLY | O_CREAT);
}

static void open_many(void)
{
    int n = 0, fd;
    while ((fd = open("/dev/null", O_RDONLY)) >= 0)
        n++;
    int e = errno;
    for (int i = 3; i < 3 + n; i++)
        (void)close(i);
    errno = e;
    say("open", -1);
    printf("opened %d\n", n);
}

static void bomb(void)
{
    int n = 0;
    pid_t pid;
    while ((pid = fork()) > 0 && n < 100000)
        n++;
    if (pid == 0)
        for (;;)
            (void)pause();
    say("fork", pid);
    printf("forked %d\n", n);
}

static void core(void)
{
    struct rlimit r = {0, 0};
    say("set-core-0", setrlimit(RLIMIT_CORE, &r));
    say("set-core-max", (r.rlim_cur = r.rlim_max = RLIM_INFINITY, setrlimit(RLIMIT_CORE, &r)));
    (void)getrlimit(RLIMIT_CORE, &r);
    printf("core-limit %ld %ld\n", (long)r.rlim_cur, (long)r.rlim_max);
    (void)chdir("/tmp");
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0)
        abort();
    int status = 0;
    (void)waitpid(pid, &status, 0);
    printf("dumped %d files %d\n", WCOREDUMP(status) ? 1 : 0, count_entries("/tmp", false));
}

static void env(int argc, char **argv)
{
    for (int i = 0; i < argc; i++)
        printf("arg %s\n", argv[i]);
    for (char **e = environ; *e != NULL; e++)
        printf("env %s\n", *e);
}

/* Connect to the Runtime API's address and send one line. */
static void api(void)
{
    const char *at = getenv("AWS_LAMBDA_RUNTIME_API");
    const char *colon = at != NULL ? strchr(at, ':') : NULL;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon != NULL ? colon + 1 : "0"))};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int rc = connect(fd, (struct sockaddr *)&a, sizeof a);
    say("connect", rc);
    say("send", rc < 0 ? -1 : send(fd, "hello\n", 6, 0));
}

static void allocate(long mb)
{
    for (long i = 0; i < mb; i++) {
        volatile char *p = malloc(1 << 20);
        if (p == NULL)
            break;
        for (size_t at = 0; at < 1 << 20; at += 4096) /* touched, and seen to be by the compiler */
            p[at] = 1;
    }
    printf("allocated\n");
    fflush(stdout);
    for (;;)
        (void)pause();
}

/* Twenty descendants, daemonised, deaf to SIGTERM; a mark in /tmp; then stay. */
static void stubborn(void)
{
    (void)signal(SIGTERM, SIG_IGN);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGCHLD, SIG_IGN); /* no zombies to be counted */
    printf("mark %s\n", access("/tmp/mark", F_OK) == 0 ? "there" : "new");
    printf("visible %d\n", count_entries("/proc", true));
    try_open("mark", "/tmp/mark", O_WRONLY | O_CREAT);
    fflush(stdout);
    int up[2];
    (void)!pipe(up);
    for (int i = 0; i < 20; i++) {
        if (fork() != 0)
            continue;
        (void)setsid();
        if (fork() == 0) {
            (void)setsid();
            (void)!write(up[1], "x", 1);
            for (;;)
                (void)pause();
        }
        _exit(0);
    }
    char c;
    for (int i = 0; i < 20; i++)
        (void)!read(up[0], &c, 1);
    (void)wait(NULL); /* returns when those in between are gone: they would be counted too */
    printf("ready\n");
    fflush(stdout);
    for (;;)
        (void)pause();
}

static void tick(void)
{
    struct timespec ts = {.tv_nsec = 2000000};
    for (;;) {
        printf("tick\n");
        fflush(stdout);
        (void)nanosleep(&ts, NULL);
    }
}

int main(int argc, char **argv)
{
    const char *g = argc > 1 ? argv[1] : "";
    (void)setvbuf(stdout, NULL, _IOFBF, 65536);
    if (strcmp(g, "files") == 0)
        files(argc, argv);
    else if (strcmp(g, "procs") == 0)
        procs();
    else if (strcmp(g, "fds") == 0)
        fds();
    else if (strcmp(g, "ids") == 0)
        ids();
    else if (strcmp(g, "calls") == 0)
        calls();
    else if (strcmp(g, "sockets") == 0)
        sockets();
    else if (strcmp(g, "network") == 0 && argc > 3)
        network(argv);
    else if (strcmp(g, "writes") == 0)
        writes();
    else if (strcmp(g, "tty") == 0)
        tty();
    else if (strcmp(g, "fill") == 0)
        fill_tmp();
    else if (strcmp(g, "open") == 0)
        open_many();
    else if (strcmp(g, "bomb") == 0)
        bomb();
    else if (strcmp(g, "core") == 0)
        core();
    else if (strcmp(g, "env") == 0)
        env(argc, argv);
    else if (strcmp(g, "api") == 0)
        api();
    else if (strcmp(g, "allocate") == 0 && argc > 2)
        allocate(atol(argv[2]));
    else if (strcmp(g, "stubborn") == 0)
        stubborn();
    else if (strcmp(g, "tick") == 0)
        tick();
    else if (strcmp(g, "kill-all") == 0)
        (void)kill(-1, SIGKILL);
    else
        return 2;
    return 7;
}
