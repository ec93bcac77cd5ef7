/* Physical floors: of the folder given, fdatasync of one writer and LMDB commits with default flags; of the machine,
 * round trips between two processes over loopback, of the size of an accepted event and its answer. One JSON line each.
 *
 *   floors DIR MILLISECONDS
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

enum { PAGE = 4096, LAID_OUT = 64 << 20, RECORD = 256, REQUEST = 700, ANSWER = 200, CONNECTIONS_MAX = 64 };

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "floors: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void report(const char *name, size_t batches, size_t records, int64_t us)
{
    (void)printf("{\"floor\": \"%s\", \"per_second\": %.0f, \"mean_us\": %.1f}\n", name,
                 (double)records * 1e6 / (double)us, (double)us / (double)(batches > 0 ? batches : 1));
}

static void sync_floor(const char *dir, int64_t for_us, int laid_out)
{
    char path[4096], page[PAGE];
    memset(page, 'x', sizeof page);
    (void)snprintf(path, sizeof path, "%s/floor.dat", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        die(path);
    if (laid_out) {
        for (int i = 0; i < LAID_OUT / PAGE; i++)
            if (write(fd, page, sizeof page) != PAGE)
                die("lay out");
        if (fsync(fd) < 0)
            die("fsync");
    }
    size_t n = 0;
    int64_t from = clock_mono_us();
    for (; clock_mono_us() - from < for_us; n++)
        if (pwrite(fd, page, sizeof page, (off_t)(laid_out ? n * PAGE % LAID_OUT : n * PAGE)) != PAGE ||
            fdatasync(fd) < 0)
            die("fdatasync");
    report(laid_out ? "fdatasync 4 KiB, file laid out" : "fdatasync 4 KiB, file growing", n, n, clock_mono_us() - from);
    close(fd);
    (void)unlink(path);
}

static void lmdb_floor(const char *dir, int64_t for_us, size_t batch)
{
    char path[4096], file[4200], name[64], value[RECORD];
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    memset(value, 'x', sizeof value);
    (void)snprintf(path, sizeof path, "%s/floor.lmdb", dir);
    if (mkdir(path, 0700) < 0 || mdb_env_create(&env) != 0 || mdb_env_set_mapsize(env, 8ULL << 30) != 0 ||
        mdb_env_open(env, path, 0, 0600) != 0)
        die(path);
    uint64_t key = 0;
    size_t n = 0;
    int64_t from = clock_mono_us();
    for (; clock_mono_us() - from < for_us; n++) {
        if (mdb_txn_begin(env, NULL, 0, &txn) != 0 || mdb_dbi_open(txn, NULL, 0, &dbi) != 0)
            die("lmdb");
        for (size_t i = 0; i < batch; i++) {
            uint64_t big = __builtin_bswap64(key++);
            MDB_val k = {.mv_size = sizeof big, .mv_data = &big}, v = {.mv_size = sizeof value, .mv_data = value};
            if (mdb_put(txn, dbi, &k, &v, MDB_APPEND) != 0)
                die("lmdb put");
        }
        if (mdb_txn_commit(txn) != 0)
            die("lmdb commit");
    }
    (void)snprintf(name, sizeof name, "LMDB commit of %zu", batch);
    report(name, n, n * batch, clock_mono_us() - from);
    mdb_env_close(env);
    (void)snprintf(file, sizeof file, "%s/data.mdb", path);
    (void)unlink(file);
    (void)snprintf(file, sizeof file, "%s/lock.mdb", path);
    (void)unlink(file);
    (void)rmdir(path);
}

/* --- loopback -------------------------------------------------------------------------------------------------------
 */

static void nodelay(int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void watch(int ep, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev) < 0)
        die("epoll");
}

/* Answers each REQUEST bytes with ANSWER bytes, until it is killed. Both fit a socket buffer: nothing comes short. */
static _Noreturn void serve(int listener)
{
    char text[REQUEST] = {0};
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    int ep = epoll_create1(EPOLL_CLOEXEC);
    watch(ep, listener);
    for (;;) {
        struct epoll_event evs[CONNECTIONS_MAX + 1];
        int n = epoll_wait(ep, evs, CONNECTIONS_MAX + 1, -1);
        for (int i = 0; i < n; i++) {
            int fd = evs[i].data.fd;
            if (fd == listener) {
                int conn = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                nodelay(conn);
                watch(ep, conn);
            } else if (recv(fd, text, REQUEST, MSG_WAITALL) != REQUEST || send(fd, text, ANSWER, 0) != ANSWER) {
                close(fd);
            }
        }
    }
}

static void ask(int fd, const char *text)
{
    if (send(fd, text, REQUEST, 0) != REQUEST)
        die("send");
}

static void loopback_floor(int64_t for_us, int connections)
{
    char name[64], text[REQUEST] = {0};
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), ep = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || bind(listener, (struct sockaddr *)&a, sizeof a) < 0 || listen(listener, CONNECTIONS_MAX) < 0 ||
        getsockname(listener, (struct sockaddr *)&a, &len) < 0)
        die("listen");
    pid_t server = fork();
    if (server < 0)
        die("fork");
    if (server == 0)
        serve(listener);
    int fds[CONNECTIONS_MAX];
    for (int i = 0; i < connections; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fds[i] < 0 || connect(fds[i], (struct sockaddr *)&a, sizeof a) < 0)
            die("connect");
        nodelay(fds[i]);
        watch(ep, fds[i]);
    }
    size_t trips = 0;
    int64_t from = clock_mono_us();
    for (int i = 0; i < connections; i++)
        ask(fds[i], text);
    while (clock_mono_us() - from < for_us) {
        struct epoll_event evs[CONNECTIONS_MAX];
        int n = epoll_wait(ep, evs, CONNECTIONS_MAX, 100);
        for (int i = 0; i < n; i++) {
            if (recv(evs[i].data.fd, text, ANSWER, MSG_WAITALL) != ANSWER)
                die("recv");
            trips++;
            ask(evs[i].data.fd, text);
        }
    }
    (void)snprintf(name, sizeof name, "loopback round trip, %d connection%s", connections, connections > 1 ? "s" : "");
    report(name, trips / (size_t)connections, trips, clock_mono_us() - from);
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
    for (int i = 0; i < connections; i++)
        close(fds[i]);
    close(listener);
    close(ep);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return fprintf(stderr, "usage: floors DIR MILLISECONDS\n"), 2;
    int64_t us = atoi(argv[2]) * 1000LL;
    sync_floor(argv[1], us, 0);
    sync_floor(argv[1], us, 1);
    lmdb_floor(argv[1], us, 1);
    lmdb_floor(argv[1], us, 16);
    lmdb_floor(argv[1], us, 64);
    loopback_floor(us, 1);
    loopback_floor(us, 16);
    loopback_floor(us, 64);
    return 0;
}
