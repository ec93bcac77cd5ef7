/* The life of boxes: start, reset, freeze, stop, limits, and who dies with whom. As root, where every fence can be had;
 * what needs no privilege also as an ordinary user. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fdutil.h"
#include "cgroup.h"
#include "rig.h"

static const char *const stubborn[] = {"/var/task/bootstrap", "stubborn", NULL};
static const char *const ticking[] = {"/var/task/bootstrap", "tick", NULL};
static struct rig rig;

static void open_rig(enum box_mode mode, bool as_user)
{
    if (!as_user)
        rig_need_root();
    rig_open(&rig, &(struct rig_opts){.mode = mode, .as_user = as_user});
}

static int close_rig(void **state)
{
    (void)state;
    if (rig.pid > 0)
        rig_close(&rig);
    return 0;
}

/* The group of a slot, for a v1 controller; false when the back end is another. */
static bool slot_dir(const char *controller, uint32_t slot, char out[CGROUP_PATH_MAX])
{
    struct limiter_where w = {.self_cgroup = "/proc/self/cgroup", .mountinfo = "/proc/self/mountinfo"};
    char own[CGROUP_PATH_MAX], name[128];
    struct stat st;
    assert_int_equal(fstat(rig.code_fd, &st), 0);
    (void)snprintf(name, sizeof name, "bide-%llx-%llx/slot-%u", (unsigned long long)st.st_dev,
                   (unsigned long long)st.st_ino, slot);
    if (cgroup_own_dir(&w, controller, own) < 0)
        return false;
    cgroup_join(out, own, name);
    return access(out, F_OK) == 0;
}

static void wait_for_no_process(uid_t uid)
{
    int64_t end = clock_mono_ms() + RIG_WAIT_MS;
    while (rig_count_uid(uid) > 0) {
        if (clock_mono_ms() > end)
            fail_msg("%d processes of uid %u live on", rig_count_uid(uid), uid);
        (void)poll(NULL, 0, 5);
    }
}

/* --- start
 * ----------------------------------------------------------------------------------------------------------------- */

static void test_script_and_exit_code(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    rig_start(&rig, 1, (const char *const[]){"/var/task/script", "a", NULL});
    const struct proto_msg *m = rig_wait(&rig, PROTO_EXITED, 1);
    assert_int_equal(m->u.exited.exit_code, 3);
    assert_int_equal(m->u.exited.signal, 0);
    assert_int_equal(m->u.exited.exec_errno, 0);
    assert_string_equal(rig_log(&rig, 1), "script a\n");
}

static void test_runtime_folder(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    rig_start(&rig, 1, (const char *const[]){"/bin/cat", "/var/runtime/hello", NULL});
    assert_int_equal(rig_wait(&rig, PROTO_EXITED, 1)->u.exited.exit_code, 0);
    assert_string_equal(rig_log(&rig, 1), "runtime file\n");
}

static void test_program_that_cannot_be_executed(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        int err;
    } c[] = {{"/var/task/none", ENOENT}, {"/var/task/plain", EACCES}, {"/var/task/junk", ENOEXEC}};
    open_rig(BOX_STRICT, false);
    for (uint64_t i = 0; i < 3; i++) {
        rig_start(&rig, i + 1, (const char *const[]){c[i].path, NULL});
        const struct proto_msg *m = rig_wait(&rig, PROTO_EXITED, i + 1);
        assert_int_equal(m->u.exited.exec_errno, c[i].err);
        assert_int_equal(m->u.exited.exit_code, -1);
    }
}

static void test_starts_that_fail(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    struct proto_msg m = rig_start_msg(1, ticking);
    m.u.start.code_sha256[0] = 'f';
    rig_send(&rig, &m);
    const struct proto_msg *r = rig_wait(&rig, PROTO_START_FAILED, 1);
    assert_string_equal(r->u.failed.step, "code");
    assert_int_equal(r->u.failed.sys, ENOENT);
    m = rig_start_msg(2, ticking);
    strcpy(m.u.start.runtime_dir, "missing");
    rig_send(&rig, &m);
    assert_string_equal(rig_wait(&rig, PROTO_START_FAILED, 2)->u.failed.step, "runtime");
    rig_start(&rig, 3, ticking); /* and neither took a slot */
}

static void test_symlink_in_the_code_folder_is_not_followed(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    char path[256];
    struct proto_msg m = rig_start_msg(1, ticking);
    m.u.start.code_sha256[0] = 'e';
    (void)snprintf(path, sizeof path, "%s/code/%s", rig.dir, m.u.start.code_sha256);
    assert_int_equal(symlink("/root", path), 0);
    rig_send(&rig, &m);
    const struct proto_msg *r = rig_wait(&rig, PROTO_START_FAILED, 1);
    assert_string_equal(r->u.failed.step, "code");
    assert_int_equal(r->u.failed.sys, ELOOP);
}

static void test_no_slot(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    for (uint64_t i = 1; i < RIG_WORKERS; i++)
        rig_start(&rig, i, ticking);
    struct proto_msg m = rig_start_msg(99, ticking);
    rig_send(&rig, &m);
    assert_string_equal(rig_wait(&rig, PROTO_START_FAILED, 99)->u.failed.step, "slot");
    rig_order(&rig, PROTO_STOP, 3);
    (void)rig_wait(&rig, PROTO_DEAD, 3);
    rig_start(&rig, 3, ticking); /* the slot is free again */
}

static void test_each_box_has_its_own_uid(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    rig_start(&rig, 1, ticking);
    rig_start(&rig, 2, ticking);
    assert_int_not_equal(rig.w[1].uid, rig.w[2].uid);
    assert_int_equal(rig_count_uid(rig.w[1].uid), 2); /* init and the program */
}

/* --- reset, stop, freeze
 * ------------------------------------------------------------------------------------------------------ */

static void reset_keeps_tmp(bool as_user)
{
    open_rig(BOX_STRICT, as_user);
    rig_start(&rig, 1, stubborn);
    rig_wait_log(&rig, 1, "mark new");
    rig_wait_log(&rig, 1, "ready");
    if (!as_user)
        assert_int_equal(rig_count_uid(rig.w[1].uid), 22);
    rig_forget_log(&rig, 1);
    rig_order(&rig, PROTO_RESET, 1);
    (void)rig_wait(&rig, PROTO_RESET_DONE, 1);
    rig_wait_log(&rig, 1, "mark there");
    rig_wait_log(&rig, 1, "visible 1"); /* the old ones are gone before the new one runs */
    rig_wait_log(&rig, 1, "ready");
    if (!as_user)
        assert_int_equal(rig_count_uid(rig.w[1].uid), 22);
}

static void test_reset_keeps_tmp(void **state)
{
    (void)state;
    reset_keeps_tmp(false);
}

static void test_reset_keeps_tmp_user(void **state)
{
    (void)state;
    reset_keeps_tmp(true);
}

static void test_reset_after_exit(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    rig_start(&rig, 1, (const char *const[]){"/var/task/script", "b", NULL});
    (void)rig_wait(&rig, PROTO_EXITED, 1);
    rig_order(&rig, PROTO_RESET, 1);
    (void)rig_wait(&rig, PROTO_RESET_DONE, 1);
    assert_int_equal(rig_wait(&rig, PROTO_EXITED, 1)->u.exited.exit_code, 3);
    assert_string_equal(rig_log(&rig, 1), "script b\nscript b\n");
}

static void test_stop_leaves_nothing(void **state)
{
    (void)state;
    char dir[CGROUP_PATH_MAX];
    open_rig(BOX_STRICT, false);
    rig_start(&rig, 1, stubborn);
    rig_wait_log(&rig, 1, "ready");
    uid_t uid = rig.w[1].uid;
    rig_order(&rig, PROTO_STOP, 1);
    const struct proto_msg *m = rig_wait(&rig, PROTO_DEAD, 1);
    assert_int_equal(m->u.dead.signal, SIGKILL);
    assert_false(m->u.dead.oom);
    assert_int_equal(rig_count_uid(uid), 0); /* at once: DEAD says so */
    char c;
    (void)rig_log(&rig, 1);
    assert_int_equal(read(rig.w[1].log, &c, 1), 0); /* and the log has ended */
    if (slot_dir("memory", 0, dir))
        assert_false(cgroup_populated(dir));
    rig_order(&rig, PROTO_STOP, 1); /* crossing: ignored */
    rig_start(&rig, 2, stubborn);
    rig_wait_log(&rig, 2, "mark new"); /* a new box has an empty /tmp */
}

static void test_stop_while_starting(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    struct proto_msg m = rig_start_msg(1, ticking);
    rig_send(&rig, &m);
    rig_order(&rig, PROTO_STOP, 1);
    const struct proto_msg *r = rig_next(&rig);
    if (r->type == PROTO_STARTED)
        r = rig_next(&rig);
    assert_true(r->type == PROTO_START_FAILED || r->type == PROTO_DEAD);
    wait_for_no_process(rig_uid_base());
}

/* Frozen means: no output for a while after what was under way has come. */
static void wait_until_silent(void)
{
    int64_t end = clock_mono_ms() + RIG_WAIT_MS;
    struct pollfd p = {.fd = rig.w[1].log, .events = POLLIN};
    while (rig_forget_log(&rig, 1), poll(&p, 1, 100) > 0)
        if (clock_mono_ms() > end)
            fail_msg("a frozen box goes on printing");
}

static bool can_freeze(void)
{
    for (size_t i = 0; i < rig.in.msg.u.hello.n_degraded; i++)
        if (strncmp(rig.in.msg.u.hello.degraded[i], "freezing", 8) == 0)
            return false;
    return true;
}

static void open_freezing(void)
{
    open_rig(BOX_STRICT, false);
    if (!can_freeze())
        rig_skip(&rig, "no freezer here");
    rig_start(&rig, 1, ticking);
    rig_wait_log(&rig, 1, "tick");
    rig_order(&rig, PROTO_FREEZE, 1);
    wait_until_silent();
}

static void test_freeze_and_thaw(void **state)
{
    (void)state;
    open_freezing();
    rig_order(&rig, PROTO_THAW, 1);
    rig_wait_log(&rig, 1, "tick");
}

static void test_stop_of_a_frozen_box(void **state)
{
    (void)state;
    open_freezing();
    rig_order(&rig, PROTO_STOP, 1);
    (void)rig_wait(&rig, PROTO_DEAD, 1);
    assert_int_equal(rig_count_uid(rig.w[1].uid), 0);
}

static void test_reset_of_a_frozen_box(void **state)
{
    (void)state;
    open_freezing();
    rig_order(&rig, PROTO_RESET, 1);
    (void)rig_wait(&rig, PROTO_RESET_DONE, 1);
    rig_wait_log(&rig, 1, "tick");
    rig_order(&rig, PROTO_FREEZE, 1); /* the new program can be frozen like the first */
    wait_until_silent();
}

/* --- limits
 * ---------------------------------------------------------------------------------------------------------------------
 */

static bool limits_memory(void)
{
    return strcmp(rig.in.msg.u.hello.limits, "none") != 0;
}

static void test_memory_limit(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    if (!limits_memory())
        rig_skip(&rig, "no memory limits here");
    rig_start(&rig, 1, (const char *const[]){"/var/task/bootstrap", "allocate", "400", NULL});
    const struct proto_msg *m = rig_next(&rig);
    if (m->type == PROTO_EXITED) {
        assert_true(m->u.exited.oom);
        m = rig_next(&rig);
    }
    assert_int_equal(m->type, PROTO_DEAD);
    assert_true(m->u.dead.oom);
    assert_true(m->u.dead.peak_kb > 100 * 1024);
    rig_start(&rig, 2, stubborn); /* life goes on */
    rig_wait_log(&rig, 2, "ready");
}

/* Above MemorySize and below what the group allows with /tmp: the sampler's part. */
static void test_memory_between_the_limits(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    if (!limits_memory())
        rig_skip(&rig, "no memory limits here");
    struct proto_msg s = rig_start_msg(1, (const char *const[]){"/var/task/bootstrap", "allocate", "200", NULL});
    s.u.start.tmp_mb = 512;
    rig_send(&rig, &s);
    (void)rig_wait(&rig, PROTO_STARTED, 1);
    const struct proto_msg *m = rig_next(&rig);
    assert_int_equal(m->type, PROTO_DEAD);
    assert_true(m->u.dead.oom);
}

static void test_memory_within_the_limit(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    if (!limits_memory())
        rig_skip(&rig, "no memory limits here");
    rig_start(&rig, 1, (const char *const[]){"/var/task/bootstrap", "allocate", "90", NULL});
    rig_wait_log(&rig, 1, "allocated");
    char text[32] = "";
    assert_true(rig.w[1].peak >= 0);
    assert_true(pread(rig.w[1].peak, text, sizeof text - 1, 0) > 0);
    assert_true(strtoull(text, NULL, 10) >= 90ULL << 20);
    assert_true(strtoull(text, NULL, 10) < 140ULL << 20);
}

/* /tmp is not MemorySize: a full one is ENOSPC, whatever the memory. */
static void test_tmp_is_not_memory(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    struct proto_msg s = rig_start_msg(1, (const char *const[]){"/var/task/bootstrap", "fill", NULL});
    s.u.start.memory_mb = 64;
    s.u.start.tmp_mb = 200;
    rig_send(&rig, &s);
    (void)rig_wait(&rig, PROTO_STARTED, 1);
    const struct proto_msg *m = rig_wait(&rig, PROTO_EXITED, 1);
    assert_false(m->u.exited.oom);
    assert_int_equal(m->u.exited.exit_code, 7);
    assert_string_equal(rig_result(&rig, 1, "fill"), "ENOSPC");
}

static void wait_for_quota(const char *dir, uint64_t us)
{
    int64_t end = clock_mono_ms() + RIG_WAIT_MS;
    while (cgroup_read_u64(dir, "cpu.cfs_quota_us") != us) {
        if (clock_mono_ms() > end)
            fail_msg("the quota stays %d", (int)cgroup_read_u64(dir, "cpu.cfs_quota_us"));
        (void)poll(NULL, 0, 2);
    }
}

static void test_cpu_share_and_boost(void **state)
{
    (void)state;
    char dir[CGROUP_PATH_MAX];
    open_rig(BOX_STRICT, false);
    struct proto_msg s = rig_start_msg(1, ticking);
    s.u.start.memory_mb = 442; /* a quarter of a core, about */
    s.u.start.cpu_boost = true;
    rig_send(&rig, &s);
    (void)rig_wait(&rig, PROTO_STARTED, 1);
    if (!slot_dir("cpu", 0, dir))
        rig_skip(&rig, "no v1 cpu controller here");
    assert_int_equal(cgroup_read_u64(dir, "cpu.cfs_period_us"), 20000);
    assert_int_equal(cgroup_read_u64(dir, "cpu.cfs_quota_us"), 20000);
    rig_order(&rig, PROTO_READY, 1);
    wait_for_quota(dir, 4980);
    rig_order(&rig, PROTO_RESET, 1); /* initialising again */
    (void)rig_wait(&rig, PROTO_RESET_DONE, 1);
    assert_int_equal(cgroup_read_u64(dir, "cpu.cfs_quota_us"), 20000);
    s = rig_start_msg(2, ticking);
    s.u.start.memory_mb = 442;
    rig_send(&rig, &s);
    (void)rig_wait(&rig, PROTO_STARTED, 2);
    assert_true(slot_dir("cpu", 1, dir));
    wait_for_quota(dir, 4980); /* without a boost at once */
}

/* --- who dies with whom
 * ------------------------------------------------------------------------------------------------------------ */

static void killed_executor(bool as_user)
{
    open_rig(BOX_STRICT, as_user);
    rig_start(&rig, 1, stubborn);
    rig_start(&rig, 2, stubborn);
    rig_wait_log(&rig, 1, "ready");
    rig_wait_log(&rig, 2, "ready");
    assert_false(rig_lock_is_free(&rig));
    int status = rig_end(&rig, SIGKILL);
    assert_int_equal(WTERMSIG(status), SIGKILL);
    struct pollfd p = {.fd = rig.w[1].log, .events = POLLIN};
    int64_t end = clock_mono_ms() + RIG_WAIT_MS;
    while (!rig_lock_is_free(&rig) && clock_mono_ms() < end)
        (void)poll(NULL, 0, 2);
    assert_true(rig_lock_is_free(&rig));
    assert_int_equal(poll(&p, 1, RIG_WAIT_MS), 1); /* hung up: nobody has the pipe's other end */
    if (!as_user) {
        wait_for_no_process(rig.w[1].uid);
        wait_for_no_process(rig.w[2].uid);
    }
}

/* The next daemon sweeps the groups that the killed one left, and removes its own at the end. */
static void test_killed_executor_leaves_no_orphan(void **state)
{
    (void)state;
    char dir[CGROUP_PATH_MAX], new_dir[CGROUP_PATH_MAX], data[64];
    killed_executor(false);
    (void)snprintf(data, sizeof data, "%s", rig.dir);
    bool v1 = slot_dir("memory", 1, dir);
    int old_code_fd = rig.code_fd;
    rig_open(&rig, &(struct rig_opts){.mode = BOX_STRICT, .dir = data});
    if (v1)
        assert_int_not_equal(access(dir, F_OK), 0);
    rig_start(&rig, 1, ticking);
    assert_true(slot_dir("memory", 0, new_dir) || !v1);
    rig_close(&rig);
    if (v1)
        assert_int_not_equal(access(new_dir, F_OK), 0);
    (void)close(old_code_fd);
    assert_int_equal(file_remove_tree(AT_FDCWD, data), 0);
}

static void test_killed_executor_leaves_no_orphan_user(void **state)
{
    (void)state;
    killed_executor(true);
    assert_int_equal(file_remove_tree(AT_FDCWD, rig.dir), 0);
}

static void test_lost_engine(void **state)
{
    (void)state;
    open_rig(BOX_STRICT, false);
    rig_start(&rig, 1, stubborn);
    rig_wait_log(&rig, 1, "ready");
    int status = rig_end(&rig, 0);
    assert_int_equal(WEXITSTATUS(status), BOX_EXIT_LOST);
    assert_int_equal(rig_count_uid(rig.w[1].uid), 0);
    assert_true(rig_lock_is_free(&rig));
    assert_int_equal(file_remove_tree(AT_FDCWD, rig.dir), 0);
}

static int end_with_engine(int sig)
{
    rig_need_root();
    rig_open(&rig, &(struct rig_opts){.mode = BOX_STRICT, .engine = true});
    rig_start(&rig, 1, stubborn);
    rig_wait_log(&rig, 1, "ready");
    int status = rig_end(&rig, sig);
    assert_int_equal(rig_count_uid(rig.w[1].uid), 0);
    assert_int_equal(file_remove_tree(AT_FDCWD, rig.dir), 0);
    return status;
}

static void test_engine_ends_by_a_signal_passed_on(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(end_with_engine(SIGTERM)), 5); /* its status is ours */
}

static void test_engine_is_killed(void **state)
{
    (void)state;
    assert_int_equal(WEXITSTATUS(end_with_engine(SIGINT)), BOX_EXIT_LOST);
}

static void test_hostile_engine(void **state)
{
    (void)state;
    static const char junk[] = "\x9b\x01\x01\xa2\xff\xff";
    open_rig(BOX_STRICT, false);
    rig_start(&rig, 1, ticking);
    assert_int_equal(send(rig.sock, junk, sizeof junk, 0), sizeof junk);
    int64_t end = clock_mono_ms() + RIG_WAIT_MS;
    int status = 0;
    while (waitpid(rig.pid, &status, WNOHANG) == 0 && clock_mono_ms() < end)
        (void)poll(NULL, 0, 2);
    rig.pid = 0;
    assert_int_equal(WEXITSTATUS(status), BOX_EXIT_LOST);
    assert_int_equal(rig_count_uid(rig.w[1].uid), 0);
    assert_int_equal(file_remove_tree(AT_FDCWD, rig.dir), 0);
}

/* --- roles and modes
 * ------------------------------------------------------------------------------------------------------------------ */

static void test_host_network_role(void **state)
{
    (void)state;
    rig_need_root();
    static const struct box_role roles[] = {{"open", BOX_NETWORK_HOST}};
    rig_open(&rig, &(struct rig_opts){.mode = BOX_STRICT, .roles = roles, .n_roles = 1});
    bool declared = false;
    for (size_t i = 0; i < rig.in.msg.u.hello.n_degraded; i++)
        declared = declared || strstr(rig.in.msg.u.hello.degraded[i], "network = host") != NULL;
    assert_true(declared);
    int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in a = {.sin_family = AF_INET};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t len = sizeof a;
    assert_int_equal(bind(tcp, (struct sockaddr *)&a, len) | listen(tcp, 4), 0);
    assert_int_equal(getsockname(tcp, (struct sockaddr *)&a, &len), 0);
    char port[16];
    (void)snprintf(port, sizeof port, "%d", ntohs(a.sin_port));
    const char *const argv[] = {"/var/task/bootstrap", "network", port, "nobody-listens-here", NULL};
    struct proto_msg m = rig_start_msg(1, argv);
    strcpy(m.u.start.role, "open");
    rig_send(&rig, &m);
    (void)rig_wait(&rig, PROTO_STARTED, 1);
    (void)rig_wait(&rig, PROTO_EXITED, 1);
    assert_string_equal(rig_result(&rig, 1, "host-loopback"), "ok");
    rig_start(&rig, 2, argv); /* another role has none of it */
    (void)rig_wait(&rig, PROTO_EXITED, 2);
    assert_string_equal(rig_result(&rig, 2, "host-loopback"), "ECONNREFUSED");
    /* Until roles are changed under way. The signal and a start may be seen in either order. */
    (void)kill(rig.pid, SIGHUP);
    const char *got = "";
    for (uint64_t w = 3; w < RIG_WORKERS - 1 && strcmp(got, "ok") != 0; w++) {
        rig_start(&rig, w, argv);
        (void)rig_wait(&rig, PROTO_EXITED, w);
        got = rig_result(&rig, w, "host-loopback");
    }
    assert_string_equal(got, "ok");
    (void)close(tcp);
}

static void test_relaxed(void **state)
{
    (void)state;
    open_rig(BOX_RELAXED, true);
    assert_string_equal(rig.in.msg.u.hello.sandbox, "relaxed");
    rig_start(&rig, 1, (const char *const[]){"/var/task/bootstrap", "ids", NULL});
    (void)rig_wait(&rig, PROTO_EXITED, 1);
    assert_non_null(strstr(rig_log(&rig, 1), "NoNewPrivs:\t1\n")); /* what can be had is there */
}

static void test_off(void **state)
{
    (void)state;
    char line[160];
    open_rig(BOX_OFF, true);
    assert_string_equal(rig.in.msg.u.hello.sandbox, "off");
    rig_start(&rig, 1, (const char *const[]){"/var/task/bootstrap", "env", "/var/runtime/x", NULL});
    assert_int_equal(rig_wait(&rig, PROTO_EXITED, 1)->u.exited.exit_code, 7);
    (void)snprintf(line, sizeof line, "arg %s/code/" RIG_SHA "/bootstrap\n", rig.dir);
    assert_non_null(strstr(rig_log(&rig, 1), line));
    (void)snprintf(line, sizeof line, "arg %s/runtimes/test/x\n", rig.dir);
    assert_non_null(strstr(rig_log(&rig, 1), line));
    (void)snprintf(line, sizeof line, "env LAMBDA_TASK_ROOT=%s/code/" RIG_SHA "\n", rig.dir);
    assert_non_null(strstr(rig_log(&rig, 1), line));
    assert_null(strstr(rig_log(&rig, 1), "RIG_SECRET"));
    rig_start(&rig, 2, (const char *const[]){"/var/task/bootstrap", "api", NULL});
    assert_int_equal(rig_wait(&rig, PROTO_EXITED, 2)->u.exited.exit_code, 7);
    int fd = accept4(rig.w[2].listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fd >= 0);
    (void)close(fd);
    rig_start(&rig, 3, (const char *const[]){"/var/task/bootstrap", "fds", NULL});
    (void)rig_wait(&rig, PROTO_EXITED, 3);
    assert_string_equal(rig_result(&rig, 3, "fds"), "0 1 2");
}

/* Without a pid namespace init hunts its descendants itself: daemonised ones too. */
static void test_off_kills_descendants(void **state)
{
    (void)state;
    open_rig(BOX_OFF, true);
    rig_start(&rig, 1, stubborn);
    rig_wait_log(&rig, 1, "ready");
    rig_order(&rig, PROTO_RESET, 1);
    (void)rig_wait(&rig, PROTO_RESET_DONE, 1);
    rig_forget_log(&rig, 1);
    rig_order(&rig, PROTO_STOP, 1);
    (void)rig_wait(&rig, PROTO_DEAD, 1);
    char c;
    (void)rig_log(&rig, 1);
    assert_int_equal(read(rig.w[1].log, &c, 1), 0); /* end of file: none of them is left */
}

static void test_probe(void **state)
{
    (void)state;
    rig_need_root();
    open_rig(BOX_STRICT, false); /* for its folders */
    struct box_config c = {.mode = BOX_STRICT,
                           .code_fd = rig.code_fd,
                           .runtimes_fd = rig.runtimes_fd,
                           .init_fd = rig.init_fd,
                           .workers_fd = -1,
                           .max_workers = 1};
    struct box_fences f;
    struct err e = {0};
    rig_close(&rig);
    rig_open(&rig, &(struct rig_opts){.mode = BOX_OFF, .as_user = true});
    c.code_fd = rig.code_fd;
    c.init_fd = rig.init_fd;
    if (box_probe(&c, &f, &e) < 0)
        fail_msg("%s", e.text);
    bool box = false;
    for (size_t i = 0; i < f.n; i++) {
        assert_true(f.fence[i].have == (f.fence[i].text[0] == '\0'));
        box = box || (strcmp(f.fence[i].name, "box") == 0 && f.fence[i].have && f.fence[i].essential);
    }
    assert_true(box);
    c.uid_base = RIG_USER; /* somebody's */
    assert_int_equal(box_probe(&c, &f, &e), ERR_INVALID);
    c.uid_base = 0;
    c.max_workers = 0;
    assert_int_equal(box_probe(&c, &f, &e), ERR_INVALID);
}

#define LIFE(f_) cmocka_unit_test_teardown(f_, close_rig)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIFE(test_script_and_exit_code),
        LIFE(test_runtime_folder),
        LIFE(test_program_that_cannot_be_executed),
        LIFE(test_starts_that_fail),
        LIFE(test_symlink_in_the_code_folder_is_not_followed),
        LIFE(test_no_slot),
        LIFE(test_each_box_has_its_own_uid),
        LIFE(test_reset_keeps_tmp),
        LIFE(test_reset_keeps_tmp_user),
        LIFE(test_reset_after_exit),
        LIFE(test_stop_leaves_nothing),
        LIFE(test_stop_while_starting),
        LIFE(test_freeze_and_thaw),
        LIFE(test_stop_of_a_frozen_box),
        LIFE(test_reset_of_a_frozen_box),
        LIFE(test_memory_limit),
        LIFE(test_memory_between_the_limits),
        LIFE(test_memory_within_the_limit),
        LIFE(test_tmp_is_not_memory),
        LIFE(test_cpu_share_and_boost),
        LIFE(test_killed_executor_leaves_no_orphan),
        LIFE(test_killed_executor_leaves_no_orphan_user),
        LIFE(test_lost_engine),
        LIFE(test_engine_ends_by_a_signal_passed_on),
        LIFE(test_engine_is_killed),
        LIFE(test_hostile_engine),
        LIFE(test_host_network_role),
        LIFE(test_relaxed),
        LIFE(test_off),
        LIFE(test_off_kills_descendants),
        LIFE(test_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
