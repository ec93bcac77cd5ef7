/* The back ends of the limits against trees of plain files that imitate cgroup file systems: v2 with memory, pids and
 * cpu cannot be had on every machine that runs the tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "cgroup.h"
#include "limiter.h"

#define NAME "bide-test"

static char top[64];
static char self_path[96], mounts_path[96];
static struct limiter_where where;
static struct limiter *l;

static const struct limiter_set set = {.memory_bytes = 134217728, .pids = 40, .cpu_millicpus = 250};

static void full(char out[512], const char *path)
{
    (void)snprintf(out, 512, "%s/%s", top, path);
}

static void make(const char *path)
{
    char p[512];
    full(p, path);
    for (char *at = p + strlen(top) + 1; (at = strchr(at, '/')) != NULL; at++) {
        *at = '\0';
        (void)mkdir(p, 0755);
        *at = '/';
    }
    (void)mkdir(p, 0755);
}

static void put(const char *path, const char *text)
{
    char p[512];
    full(p, path);
    int fd = open(p, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
    fd_close(&fd);
}

static void put_in(const char *dir, const char *const *files, size_t n)
{
    char p[512];
    make(dir);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(p, sizeof p, "%s/%s", dir, files[i]);
        put(p, "");
    }
}

static const char *get(const char *path)
{
    static struct buf b;
    char p[512];
    full(p, path);
    buf_init(&b, 4096);
    static char out[4096];
    assert_int_equal(file_read(AT_FDCWD, p, &b), 0);
    (void)snprintf(out, sizeof out, "%s", b.data);
    buf_done(&b);
    return out;
}

static bool there(const char *path)
{
    char p[512];
    full(p, path);
    return access(p, F_OK) == 0;
}

static int set_up(void **state)
{
    (void)state;
    (void)snprintf(top, sizeof top, "/tmp/bide-limiter-XXXXXX");
    assert_non_null(mkdtemp(top));
    (void)snprintf(self_path, sizeof self_path, "%s/self", top);
    (void)snprintf(mounts_path, sizeof mounts_path, "%s/mounts", top);
    where = (struct limiter_where){.self_cgroup = self_path, .mountinfo = mounts_path, .self = 4242, .engine = 4243};
    put("mounts", "");
    put("self", "");
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    limiter_close(l);
    l = NULL;
    assert_int_equal(file_remove_tree(AT_FDCWD, top), 0);
    return 0;
}

static void open_limiter(const char *expected)
{
    assert_int_equal(limiter_open(&l, &where, NAME, 2, NULL), 0);
    if (strcmp(limiter_name(l), expected) != 0)
        fail_msg("%s, not %s: %s", limiter_name(l), expected, limiter_why_not(l));
}

/* --- v2
 * ----------------------------------------------------------------------------------------------------------------- */

static void tree_v2(const char *controllers)
{
    static const char *const own[] = {"cgroup.subtree_control", "cgroup.procs"};
    static const char *const base[] = {"cgroup.subtree_control", "cgroup.procs", "cgroup.freeze", "cgroup.kill"};
    static const char *const slot[] = {"memory.max",    "memory.swap.max", "memory.oom.group", "memory.peak",
                                       "memory.events", "memory.stat",     "memory.reclaim",   "pids.max",
                                       "cpu.max",       "cgroup.freeze",   "cgroup.kill",      "cgroup.procs"};
    char mounts[256];
    (void)snprintf(mounts, sizeof mounts,
                   "21 1 0:9 / /proc rw - proc proc rw\n30 1 0:28 / %s/cg rw - cgroup2 cgroup2 rw\n", top);
    put("mounts", mounts);
    put("self", "0::/service\n");
    put_in("cg/service", own, 2);
    put("cg/service/cgroup.controllers", controllers);
    put_in("cg/service/" NAME, base, 4);
    put_in("cg/service/" NAME "/slot-0", slot, 12);
}

static void test_v2_prepares_a_slot(void **state)
{
    (void)state;
    tree_v2("cpuset cpu io memory hugetlb pids\n");
    open_limiter("v2");
    assert_int_equal(limiter_features(l), LIMITER_MEMORY | LIMITER_PIDS | LIMITER_CPU | LIMITER_FREEZE | LIMITER_KILL);
    assert_string_equal(get("cg/service/cgroup.subtree_control"), "+memory +pids +cpu");
    assert_string_equal(get("cg/service/" NAME "/cgroup.subtree_control"), "+memory +pids +cpu");
    assert_int_equal(limiter_clone_fd(l, 0), -1);
    assert_int_equal(limiter_prepare(l, 0, &set, NULL), 0);
    assert_string_equal(get("cg/service/" NAME "/slot-0/memory.max"), "134217728");
    assert_string_equal(get("cg/service/" NAME "/slot-0/memory.swap.max"), "0");
    assert_string_equal(get("cg/service/" NAME "/slot-0/memory.oom.group"), "1");
    assert_string_equal(get("cg/service/" NAME "/slot-0/pids.max"), "40");
    assert_string_equal(get("cg/service/" NAME "/slot-0/cpu.max"), "5000 20000");
    int fds[LIMITER_JOIN_MAX];
    assert_true(limiter_clone_fd(l, 0) >= 0); /* CLONE_INTO_CGROUP: nothing to join */
    assert_int_equal(limiter_join_fds(l, 0, fds, NULL), 0);
    assert_true(fds[0] == -1 && fds[1] == -1 && fds[2] == -1);
    assert_int_equal(limiter_freezer_fd(l, 0), -1);
}

static void test_v2_tells_and_obeys(void **state)
{
    (void)state;
    struct limiter_stat st;
    tree_v2("cpu memory pids");
    put("cg/service/" NAME "/slot-0/memory.events", "low 0\nhigh 0\nmax 3\noom 2\noom_kill 2\noom_group_kill 1\n");
    open_limiter("v2");
    assert_int_equal(limiter_prepare(l, 0, &set, NULL), 0);
    put("cg/service/" NAME "/slot-0/memory.stat", "anon 1048576\nfile 99\nanon_thp 5\n");
    put("cg/service/" NAME "/slot-0/memory.peak", "2097152\n");
    limiter_stat(l, 0, &st);
    assert_int_equal(st.anon_bytes, 1048576);
    assert_int_equal(st.oom_kills, 0); /* those of the box before do not count */
    assert_int_equal(st.peak_bytes, 2097152);
    put("cg/service/" NAME "/slot-0/memory.events", "oom 3\noom_kill 3\n");
    limiter_stat(l, 0, &st);
    assert_int_equal(st.oom_kills, 1);
    int fd = limiter_peak_fd(l, 0);
    assert_true(fd >= 0);
    fd_close(&fd);
    assert_int_equal(limiter_freeze(l, 0, true, NULL), 0);
    assert_string_equal(get("cg/service/" NAME "/slot-0/cgroup.freeze"), "1");
    assert_int_equal(limiter_cpu(l, 0, 2000, NULL), 0);
    assert_string_equal(get("cg/service/" NAME "/slot-0/cpu.max"), "40000 20000");
    limiter_kill(l, 0);
    assert_string_equal(get("cg/service/" NAME "/slot-0/cgroup.kill"), "1");
    limiter_reset(l, 0);
    assert_string_equal(get("cg/service/" NAME "/slot-0/cgroup.freeze"), "0");
    assert_string_equal(get("cg/service/" NAME "/slot-0/memory.reclaim"), "64M");
    assert_false(limiter_populated(l, 0));
    put("cg/service/" NAME "/slot-0/cgroup.procs", "2147483000\n");
    assert_true(limiter_populated(l, 0));
    put("cg/service/" NAME "/slot-0/cgroup.procs", "");
}

static void test_v2_a_file_that_is_missing_is_an_error(void **state)
{
    (void)state;
    char p[512];
    struct err e = {0};
    tree_v2("cpu memory pids");
    open_limiter("v2");
    full(p, "cg/service/" NAME "/slot-0/pids.max");
    assert_int_equal(unlink(p), 0);
    assert_int_equal(limiter_prepare(l, 0, &set, &e), ERR_IO);
    assert_non_null(strstr(e.text, "pids.max"));
}

/* Opened a second time in the life of a process, which now sits in the leaf. */
static void test_v2_the_daemon_in_its_leaf(void **state)
{
    (void)state;
    tree_v2("cpu memory pids");
    make("cg/service/" NAME "-daemon");
    put("self", "0::/service/" NAME "-daemon\n");
    open_limiter("v2");
    assert_string_equal(get("cg/service/cgroup.subtree_control"), "+memory +pids +cpu");
}

static void test_v2_not_enough_controllers(void **state)
{
    (void)state;
    tree_v2("cpu memory hugetlb pidsx\n");
    open_limiter("none");
    assert_non_null(strstr(limiter_why_not(l), "Delegate=yes"));
    assert_int_equal(limiter_features(l), 0);
    assert_int_equal(limiter_prepare(l, 0, &set, NULL), 0); /* nothing to do, and no error */
    assert_int_equal(limiter_freeze(l, 0, true, NULL), 0);
    assert_int_equal(limiter_peak_fd(l, 0), -1);
    assert_false(limiter_populated(l, 0));
}

/* Controllers that cannot be given away: the daemon goes back to where it was found. */
static void test_v2_moves_back(void **state)
{
    (void)state;
    static const char *const leaf[] = {"cgroup.procs"};
    char p[512];
    tree_v2("cpu memory pids");
    put_in("cg/service/" NAME "-daemon", leaf, 1);
    full(p, "cg/service/cgroup.subtree_control");
    assert_int_equal(unlink(p), 0);
    open_limiter("none");
    assert_string_equal(get("cg/service/" NAME "-daemon/cgroup.procs"), "4243");
    assert_string_equal(get("cg/service/cgroup.procs"), "4243");
}

/* --- v1
 * ----------------------------------------------------------------------------------------------------------------- */

static void tree_v1(bool with_memory)
{
    static const char *const memory[] = {"memory.limit_in_bytes",
                                         "memory.memsw.limit_in_bytes",
                                         "memory.max_usage_in_bytes",
                                         "memory.oom_control",
                                         "memory.stat",
                                         "memory.force_empty",
                                         "tasks",
                                         "cgroup.procs"};
    static const char *const pids[] = {"pids.max", "cgroup.procs", "tasks"};
    static const char *const cpu[] = {"cpu.cfs_period_us", "cpu.cfs_quota_us", "cgroup.procs", "tasks"};
    static const char *const freezer[] = {"freezer.state", "cgroup.procs", "tasks"};
    char mounts[1024];
    (void)snprintf(
        mounts, sizeof mounts,
        "30 1 0:28 / %s/memory rw - cgroup cgroup rw,memory\n31 1 0:29 / %s/pids rw - cgroup cgroup rw,pids\n"
        "32 1 0:30 /docker/abc %s/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "33 1 0:31 / %s/freezer rw - cgroup cgroup rw,freezer\n",
        top, top, top, top);
    put("mounts", mounts);
    put("self", "4:memory:/deep/er\n3:cpu,cpuacct:/docker/abc/own\n2:pids:/\n1:freezer:/\n0::/\n");
    if (with_memory) {
        put_in("memory/deep/er/" NAME, memory, 1);
        put_in("memory/deep/er/" NAME "/slot-0", memory, 8);
    }
    put_in("pids/" NAME, pids, 2);
    put_in("pids/" NAME "/slot-0", pids, 3);
    put_in("cpu/own/" NAME, cpu, 3);
    put_in("cpu/own/" NAME "/slot-0", cpu, 4);
    put_in("freezer/" NAME, freezer, 2);
    put_in("freezer/" NAME "/slot-0", freezer, 3);
}

static void test_v1_prepares_and_attaches(void **state)
{
    (void)state;
    tree_v1(true);
    open_limiter("v1");
    assert_int_equal(limiter_features(l), LIMITER_MEMORY | LIMITER_PIDS | LIMITER_CPU | LIMITER_FREEZE);
    assert_int_equal(limiter_prepare(l, 0, &set, NULL), 0);
    assert_string_equal(get("memory/deep/er/" NAME "/slot-0/memory.limit_in_bytes"), "134217728");
    assert_string_equal(get("memory/deep/er/" NAME "/slot-0/memory.memsw.limit_in_bytes"), "134217728");
    assert_string_equal(get("pids/" NAME "/slot-0/pids.max"), "40");
    assert_string_equal(get("cpu/own/" NAME "/slot-0/cpu.cfs_period_us"), "20000");
    assert_string_equal(get("cpu/own/" NAME "/slot-0/cpu.cfs_quota_us"), "5000");
    assert_int_equal(limiter_clone_fd(l, 0), -1);
    int fds[LIMITER_JOIN_MAX];
    assert_int_equal(limiter_join_fds(l, 0, fds, NULL), 0);
    for (size_t i = 0; i < LIMITER_JOIN_MAX; i++) {
        assert_int_equal(fd_write_all(fds[i], "0", 1), 0);
        fd_close(&fds[i]);
    }
    assert_string_equal(get("memory/deep/er/" NAME "/slot-0/tasks"), "0");
    assert_string_equal(get("cpu/own/" NAME "/slot-0/tasks"), "0");
    assert_string_equal(get("pids/" NAME "/slot-0/tasks"), "0");
    /* Not init: it must be able to die while the program is frozen. The program goes there by itself. */
    assert_string_equal(get("freezer/" NAME "/slot-0/tasks"), "");
    int fd = limiter_freezer_fd(l, 0);
    assert_int_equal(fd_write_all(fd, "0", 1), 0);
    fd_close(&fd);
    assert_string_equal(get("freezer/" NAME "/slot-0/tasks"), "0");
}

static void test_v1_tells_and_obeys(void **state)
{
    (void)state;
    struct limiter_stat st;
    tree_v1(true);
    put("memory/deep/er/" NAME "/slot-0/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 5\n");
    open_limiter("v1");
    assert_int_equal(limiter_prepare(l, 0, &set, NULL), 0);
    put("memory/deep/er/" NAME "/slot-0/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 6\n");
    put("memory/deep/er/" NAME "/slot-0/memory.stat", "rss 7\ntotal_rss 4096\n");
    put("memory/deep/er/" NAME "/slot-0/memory.max_usage_in_bytes", "8192\n");
    limiter_stat(l, 0, &st);
    assert_int_equal(st.oom_kills, 1);
    assert_int_equal(st.anon_bytes, 4096);
    assert_int_equal(st.peak_bytes, 8192);
    assert_int_equal(limiter_freeze(l, 0, true, NULL), 0);
    assert_string_equal(get("freezer/" NAME "/slot-0/freezer.state"), "FROZEN");
    limiter_reset(l, 0);
    assert_string_equal(get("freezer/" NAME "/slot-0/freezer.state"), "THAWED");
    assert_string_equal(get("memory/deep/er/" NAME "/slot-0/memory.force_empty"), "0");
}

static void test_v1_without_memory(void **state)
{
    (void)state;
    tree_v1(false);
    open_limiter("v1");
    assert_int_equal(limiter_features(l), LIMITER_PIDS | LIMITER_CPU | LIMITER_FREEZE);
    assert_int_equal(limiter_prepare(l, 0, &set, NULL), 0);
    assert_string_equal(get("pids/" NAME "/slot-0/pids.max"), "40");
    assert_false(there("memory"));
}

/* --- parts
 * --------------------------------------------------------------------------------------------------------------- */

static void test_nothing_anywhere(void **state)
{
    (void)state;
    open_limiter("none");
    assert_true(strlen(limiter_why_not(l)) > 0);
}

static void test_quota(void **state)
{
    (void)state;
    assert_int_equal(cgroup_quota_us(1000), 20000);
    assert_int_equal(cgroup_quota_us(72), 1440);
    assert_int_equal(cgroup_quota_us(1), CGROUP_QUOTA_MIN_US); /* the kernel takes no less */
    assert_int_equal(cgroup_quota_us(5788), 115760);
}

static void test_fields(void **state)
{
    (void)state;
    assert_int_equal(cgroup_field("oom 1\noom_kill 22\n", "oom_kill"), 22);
    assert_int_equal(cgroup_field("oom 1\noom_kill 22\n", "oom"), 1);
    assert_int_equal(cgroup_field("xoom 1\n", "oom"), 0);
    assert_int_equal(cgroup_field("", "oom"), 0);
}

#define TREE(f_) cmocka_unit_test_setup_teardown(f_, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TREE(test_v2_prepares_a_slot),
        TREE(test_v2_tells_and_obeys),
        TREE(test_v2_a_file_that_is_missing_is_an_error),
        TREE(test_v2_the_daemon_in_its_leaf),
        TREE(test_v2_not_enough_controllers),
        TREE(test_v2_moves_back),
        TREE(test_v1_prepares_and_attaches),
        TREE(test_v1_tells_and_obeys),
        TREE(test_v1_without_memory),
        TREE(test_nothing_anywhere),
        cmocka_unit_test(test_quota),
        cmocka_unit_test(test_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
