/* Descriptors: flags, whole reads and writes, durable files, trees, passing. */
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "testutil.h"

#include "base/fdutil.h"

static int setup(void **state)
{
    struct tmpdir *d = calloc(1, sizeof *d);
    assert_non_null(d);
    tmpdir_make(d);
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    tmpdir_remove(*state);
    free(*state);
    return 0;
}

static int n_open(void)
{
    int n = 0;
    for (int fd = 0; fd < 256; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void flags_and_close(void **state)
{
    (void)state;
    int p[2];
    assert_int_equal(pipe(p), 0);
    assert_rc(fd_set_cloexec(p[0]), 0);
    assert_rc(fd_set_nonblock(p[0]), 0);
    assert_true((fcntl(p[0], F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(p[0], F_GETFL) & O_NONBLOCK) != 0);
    int old = p[0];
    errno = EDOM;
    fd_close(&p[0]);
    fd_close(&p[0]);
    fd_close(&p[1]);
    assert_int_equal(errno, EDOM);
    assert_int_equal(p[0], -1);
    assert_rc(fd_set_cloexec(old), ERR_IO);
    assert_rc(fd_set_nonblock(old), ERR_IO);
    assert_int_equal(errno, EBADF);
}

struct flow {
    int fd;
    struct buf b;
    int rc;
};

static void *read_all(void *arg)
{
    struct flow *f = arg;
    f->rc = fd_read_all(f->fd, &f->b);
    return NULL;
}

static void whole_writes_and_reads(void **state)
{
    (void)state;
    enum { N = 1000000 }; /* many times what a pipe holds */
    int p[2];
    pthread_t t;
    char *data = malloc(N);
    assert_non_null(data);
    for (size_t i = 0; i < N; i++)
        data[i] = (char)(i * 31 >> 3);
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    struct flow f = {.fd = p[0], .rc = 1};
    buf_init(&f.b, N);
    assert_int_equal(pthread_create(&t, NULL, read_all, &f), 0);
    assert_rc(fd_write_all(p[1], data, N), 0);
    fd_close(&p[1]);
    (void)pthread_join(t, NULL);
    assert_rc(f.rc, 0);
    assert_int_equal(f.b.len, N);
    assert_memory_equal(f.b.data, data, N);
    fd_close(&p[0]);
    buf_done(&f.b);
    free(data);
}

static void a_file_is_read_up_to_the_ceiling(void **state)
{
    struct tmpdir *d = *state;
    struct buf b;
    tmpdir_write(d, "f", "0123456789");
    buf_init(&b, 10);
    assert_rc(file_read(d->fd, "f", &b), 0);
    assert_string_equal(b.data, "0123456789");
    buf_done(&b);
    buf_init(&b, 9);
    assert_rc(file_read(d->fd, "f", &b), ERR_TOOBIG);
    assert_rc(file_read(d->fd, "missing", &b), ERR_NOTFOUND);
    assert_rc(file_read(d->fd, ".", &b), ERR_IO);
    assert_int_equal(errno, EISDIR);
    assert_rc(file_read(AT_FDCWD, tmpdir_path(d, "missing"), &b), ERR_NOTFOUND);
    buf_done(&b);
}

static void a_durable_file_replaces_the_old_one(void **state)
{
    struct tmpdir *d = *state;
    struct err e = {0};
    struct buf b;
    struct stat st;
    tmpdir_write(d, "f", "a much longer old text");
    tmpdir_write(d, ".f.new", "left by a crash");
    mode_t mask = umask(077);
    assert_ok(file_write_durable(d->fd, "f", "new", 3, 0644, &e), &e);
    (void)umask(mask);
    buf_init(&b, 100);
    assert_rc(file_read(d->fd, "f", &b), 0);
    assert_string_equal(b.data, "new");
    assert_int_equal(fstatat(d->fd, "f", &st, 0), 0);
    assert_int_equal(st.st_mode & 07777, 0644); /* whatever the umask says */
    assert_false(tmpdir_has(d, ".f.new"));
    buf_done(&b);
}

static void a_failed_durable_write_leaves_nothing(void **state)
{
    struct tmpdir *d = *state;
    struct err e = {0};
    char name[300];
    assert_int_equal(mkdirat(d->fd, "dir", 0700), 0);
    assert_int_equal(mkdirat(d->fd, "dir/x", 0700), 0);
    assert_err(file_write_durable(d->fd, "dir", "x", 1, 0600, &e), ERR_IO, &e, "rename .dir.new to dir: ");
    assert_false(tmpdir_has(d, ".dir.new"));
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_err(file_write_durable(d->fd, name, "x", 1, 0600, &e), ERR_INVALID, &e, "too long");
    assert_rc(file_write_durable(-1, "f", "x", 1, 0600, NULL), ERR_IO);
}

static void a_tree_goes_and_what_links_point_at_stays(void **state)
{
    struct tmpdir *d = *state;
    assert_int_equal(mkdirat(d->fd, "keep", 0700), 0);
    tmpdir_write(d, "keep/file", "x");
    assert_int_equal(mkdirat(d->fd, "t", 0700), 0);
    assert_int_equal(mkdirat(d->fd, "t/sub", 0700), 0);
    assert_int_equal(mkdirat(d->fd, "t/sub/empty", 0700), 0);
    tmpdir_write(d, "t/sub/file", "x");
    tmpdir_write(d, "t/.hidden", "x");
    assert_int_equal(symlinkat("../keep", d->fd, "t/link"), 0);
    assert_int_equal(symlinkat("nowhere", d->fd, "t/dangling"), 0);
    assert_int_equal(mkfifoat(d->fd, "t/fifo", 0600), 0);
    assert_rc(file_remove_tree(d->fd, "t"), 0);
    assert_false(tmpdir_has(d, "t"));
    assert_true(tmpdir_has(d, "keep/file"));
    assert_int_equal(symlinkat("keep", d->fd, "link"), 0);
    assert_rc(file_remove_tree(d->fd, "link"), 0);
    assert_true(tmpdir_has(d, "keep/file"));
    assert_rc(file_remove_tree(d->fd, "keep/file"), 0);
    assert_rc(file_remove_tree(d->fd, "missing"), 0);
    int n = n_open();
    assert_rc(file_remove_tree(-1, "x"), ERR_IO);
    assert_int_equal(n_open(), n);
}

/* Deeper than there are descriptors, with names that get in the way of moving up. */
static void a_deep_tree_costs_no_descriptors(void **state)
{
    struct tmpdir *d = *state;
    enum { DEPTH = 500 };
    assert_int_equal(mkdirat(d->fd, "t", 0700), 0);
    tmpdir_write(d, "t/.removed-0", "x");
    assert_int_equal(mkdirat(d->fd, "t/.removed-1", 0700), 0);
    tmpdir_write(d, "t/.removed-1/f", "x");
    int at = openat(d->fd, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; i < DEPTH; i++) {
        assert_int_equal(mkdirat(at, "deep", 0700), 0);
        assert_int_equal(mkdirat(at, "wide", 0700), 0);
        int next = openat(at, "deep", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        assert_true(next >= 0);
        (void)close(at);
        at = next;
    }
    (void)close(at);
    struct rlimit old, few;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    few = old;
    few.rlim_cur = 64;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    int rc = file_remove_tree(d->fd, "t");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_rc(rc, 0);
    assert_false(tmpdir_has(d, "t"));
}

static void descriptors_are_passed(void **state)
{
    struct tmpdir *d = *state;
    int s[2], fds[FD_PASS_MAX], got[FD_PASS_MAX];
    size_t len, n_fds;
    char text[16];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s), 0);
    assert_rc(fd_recv_msg(s[1], text, sizeof text, &len, got, &n_fds), ERR_AGAIN);
    for (int i = 0; i < FD_PASS_MAX; i++)
        fds[i] = openat(d->fd, ".", O_RDONLY | O_DIRECTORY); /* not close-on-exec here; it is when it arrives */
    assert_rc(fd_send_msg(s[0], "plain", 5, NULL, 0), 0);
    assert_rc(fd_send_msg(s[0], "with", 4, fds, FD_PASS_MAX), 0);
    assert_rc(fd_recv_msg(s[1], text, sizeof text, &len, got, &n_fds), 0);
    assert_int_equal(len, 5);
    assert_int_equal(n_fds, 0);
    assert_rc(fd_recv_msg(s[1], text, sizeof text, &len, got, &n_fds), 0);
    assert_int_equal(len, 4);
    assert_memory_equal(text, "with", 4);
    assert_int_equal(n_fds, FD_PASS_MAX);
    for (int i = 0; i < FD_PASS_MAX; i++) {
        struct stat a, b;
        assert_true((fcntl(got[i], F_GETFD) & FD_CLOEXEC) != 0);
        assert_int_equal(fstat(fds[i], &a), 0); /* still open here */
        assert_int_equal(fstat(got[i], &b), 0);
        assert_int_equal(a.st_ino, b.st_ino);
        fd_close(&got[i]);
        fd_close(&fds[i]);
    }
    fd_close(&s[0]);
    assert_rc(fd_recv_msg(s[1], text, sizeof text, &len, got, &n_fds), 0);
    assert_int_equal(len, 0);
    assert_rc(fd_send_msg(s[1], "x", 1, NULL, 0), ERR_IO); /* and no SIGPIPE */
    fd_close(&s[1]);
}

static void a_cut_message_leaves_no_descriptor(void **state)
{
    struct tmpdir *d = *state;
    int s[2], got[FD_PASS_MAX];
    size_t len, n_fds;
    char text[4];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
    int before = n_open();
    assert_rc(fd_send_msg(s[0], "too long", 8, &d->fd, 1), 0);
    assert_rc(fd_recv_msg(s[1], text, sizeof text, &len, got, &n_fds), ERR_TOOBIG);
    assert_int_equal(len, 0);
    assert_int_equal(n_fds, 0);
    assert_int_equal(n_open(), before);
    /* One descriptor more than we take: a sender of another make. */
    int many[FD_PASS_MAX + 1];
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof many)];
    } c = {0};
    for (int i = 0; i <= FD_PASS_MAX; i++)
        many[i] = d->fd;
    struct iovec iov = {.iov_base = text, .iov_len = 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = c.space, .msg_controllen = sizeof c.space};
    struct cmsghdr *h = CMSG_FIRSTHDR(&m);
    h->cmsg_level = SOL_SOCKET;
    h->cmsg_type = SCM_RIGHTS;
    h->cmsg_len = CMSG_LEN(sizeof many);
    memcpy(CMSG_DATA(h), many, sizeof many);
    assert_int_equal(sendmsg(s[0], &m, 0), 1);
    assert_rc(fd_recv_msg(s[1], text, sizeof text, &len, got, &n_fds), ERR_TOOBIG);
    assert_int_equal(len, 1); /* the data are whole */
    assert_int_equal(n_fds, 0);
    assert_int_equal(n_open(), before);
    fd_close(&s[0]);
    fd_close(&s[1]);
}

static void a_full_socket_says_again(void **state)
{
    (void)state;
    int s[2], rc, n = 0;
    char piece[1024] = {0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s), 0);
    while ((rc = fd_send_msg(s[0], piece, sizeof piece, NULL, 0)) == 0 && n < 1000000)
        n++;
    assert_rc(rc, ERR_AGAIN);
    fd_close(&s[0]);
    fd_close(&s[1]);
}

int main(void)
{
#define T(f_) cmocka_unit_test_setup_teardown(f_, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(flags_and_close),
        T(whole_writes_and_reads),
        T(a_file_is_read_up_to_the_ceiling),
        T(a_durable_file_replaces_the_old_one),
        T(a_failed_durable_write_leaves_nothing),
        T(a_tree_goes_and_what_links_point_at_stays),
        T(a_deep_tree_costs_no_descriptors),
        T(descriptors_are_passed),
        T(a_cut_message_leaves_no_descriptor),
        T(a_full_socket_says_again),
    };
    return cmocka_run_group_tests_name("fdutil", tests, NULL, NULL);
}
