/* The order of a box's operations is its security argument: these are the pairs that must not be swapped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <string.h>
#include <sys/resource.h>

#include "child.h"
#include "profile.h"
#include "spawn.h"

static struct profile p;
static struct host host;

static void build(enum box_mode mode, enum box_network network, bool as_root)
{
    host = (struct host){.link = {"usr/bin", "usr/lib", "usr/lib64", ""},
                         .link_here = {true, true, true, true},
                         .etc_here = {true, false, true, true},
                         .resolv = "nameserver 192.0.2.1\n"};
    const struct profile_in in = {.mode = mode,
                                  .network = network,
                                  .as_root = as_root,
                                  .has_code = true,
                                  .has_runtime = true,
                                  .code_path = "/data/code/x",
                                  .runtime_path = "/share/runtimes/y",
                                  .host = &host,
                                  .tmp_mb = 512,
                                  .nproc = 100};
    profile_build(&p, &in);
}

/* Index of the first operation of that kind (with that destination, unless NULL), or -1. */
static int at(enum op_kind k, const char *dst)
{
    for (size_t i = 0; i < p.n; i++)
        if (p.op[i].kind == k && (dst == NULL || (p.op[i].dst != NULL && strcmp(p.op[i].dst, dst) == 0)))
            return (int)i;
    return -1;
}

static int last(enum op_kind k)
{
    int found = -1;
    for (size_t i = 0; i < p.n; i++)
        if (p.op[i].kind == k)
            found = (int)i;
    return found;
}

static const struct op *rlimit_op(int resource)
{
    for (size_t i = 0; i < p.n; i++)
        if (p.op[i].kind == OP_RLIMIT && p.op[i].m == resource)
            return &p.op[i];
    return NULL;
}

#define BEFORE(a_, b_)                                                                                                 \
    do {                                                                                                               \
        assert_true((a_) >= 0);                                                                                        \
        assert_true((b_) >= 0);                                                                                        \
        assert_true((a_) < (b_));                                                                                      \
    } while (0)

static void test_order(void **state)
{
    (void)state;
    build(BOX_STRICT, BOX_NETWORK_NONE, true);
    BEFORE(at(OP_IDS, NULL), at(OP_PARENT_DEATH, NULL)); /* a change of uid clears the signal */
    BEFORE(at(OP_SLAVE, NULL), at(OP_ROOT, NULL));
    BEFORE(last(OP_GRAB), at(OP_ROOT, NULL)); /* the root covers what could still be wanted */
    BEFORE(at(OP_ROOT, NULL), at(OP_DIR, NULL));
    BEFORE(at(OP_PUT, "/dev/null"), at(OP_MASK, NULL)); /* the mask is the box's own null device */
    BEFORE(at(OP_PROC, NULL), at(OP_NO_USERNS, NULL));
    BEFORE(at(OP_NO_USERNS, NULL), at(OP_PROC_SYS, NULL));
    BEFORE(at(OP_LOOPBACK, NULL), at(OP_LISTEN, NULL));
    BEFORE(last(OP_MASK), at(OP_PIVOT, NULL));
    BEFORE(at(OP_PIVOT, NULL), at(OP_ROOT_RO, NULL));
    BEFORE(at(OP_PIVOT, NULL), at(OP_CHDIR, NULL));
    BEFORE(at(OP_ROOT_RO, NULL), at(OP_CAPS, NULL));
    BEFORE(last(OP_RLIMIT), at(OP_CAPS, NULL));
    BEFORE(at(OP_CAPS, NULL), at(OP_NNP, NULL));
    assert_int_equal(last(OP_NNP), p.n - 1);
    assert_int_equal(p.clone_flags, CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC |
                                        CLONE_NEWUTS | CLONE_NEWCGROUP);
}

static void test_every_tree_is_put_once(void **state)
{
    (void)state;
    for (int root = 0; root < 2; root++) {
        build(BOX_STRICT, BOX_NETWORK_NONE, root == 1);
        int grabbed[PROFILE_TREES_MAX] = {0};
        grabbed[TREE_CODE] = grabbed[TREE_RUNTIME] = root;
        for (size_t i = 0; i < p.n; i++) {
            if (p.op[i].kind == OP_GRAB)
                grabbed[p.op[i].n]++;
            if (p.op[i].kind == OP_PUT)
                grabbed[p.op[i].n]--;
        }
        for (int i = 0; i < PROFILE_TREES_MAX; i++)
            assert_int_equal(grabbed[i], 0);
        assert_true(at(OP_PUT, "/var/task") >= 0);
        assert_true(at(OP_PUT, "/var/runtime") >= 0);
    }
}

static void test_layers_and_read_only(void **state)
{
    (void)state;
    static const struct manifest_paths read_only = {.path = {"/opt/node", "/srv/a/b"}, .n = 2};
    build(BOX_STRICT, BOX_NETWORK_NONE, true);
    assert_int_equal(at(OP_PUT, "/opt"), -1);
    for (int root = 0; root < 2; root++) {
        for (size_t n = 1; n <= PROTO_LAYERS_MAX; n++) {
            const struct profile_in in = {.mode = BOX_STRICT,
                                          .as_root = root == 1,
                                          .layer_path = {"/c/1", "/c/2", "/c/3", "/c/4", "/c/5"},
                                          .n_layers = n,
                                          .read_only = &read_only,
                                          .host = &host,
                                          .tmp_mb = 16,
                                          .nproc = 10};
            profile_build(&p, &in);
            assert_true(p.n_trees + 4 <= PROFILE_TREES_MAX && p.n + 16 <= PROFILE_OPS_MAX);
            BEFORE(at(OP_DIR, "/opt"), at(OP_PUT, "/opt"));
            BEFORE(at(OP_PUT, "/opt"), at(OP_PIVOT, NULL));
            BEFORE(at(OP_DIRS, "/srv/a/b"), at(OP_PUT, "/srv/a/b"));
            assert_int_equal(at(OP_OVERLAY, NULL) >= 0, root == 0 && n > 1);
            if (root == 0 && n > 1)
                BEFORE(last(OP_OVERLAY), at(OP_ROOT, NULL)); /* the host's folders are still in reach */
        }
    }
}

static void test_host_facts(void **state)
{
    (void)state;
    build(BOX_STRICT, BOX_NETWORK_NONE, true);
    assert_string_equal(p.op[at(OP_LINK, "/bin")].src, "usr/bin");
    assert_true(at(OP_PUT, "/sbin") >= 0); /* a folder there: bound */
    assert_true(at(OP_PUT, "/etc/ssl/certs") >= 0);
    assert_int_equal(at(OP_PUT, "/etc/ca-certificates"), -1);
    assert_string_equal(p.op[at(OP_FILE, "/etc/resolv.conf")].src, "");
    assert_int_equal(p.op[at(OP_TMPFS, "/tmp")].n, 512LL << 20);
    assert_int_equal(rlimit_op(RLIMIT_CORE)->n, 1);
    assert_int_equal(rlimit_op(RLIMIT_NOFILE)->n, 1024);
    assert_true(rlimit_op(RLIMIT_FSIZE)->n > 512LL << 20);
    for (size_t i = 0; i < p.n; i++) /* never the host's own */
        if (p.op[i].kind == OP_GRAB) {
            assert_string_not_equal(p.op[i].src, "/etc");
            assert_string_not_equal(p.op[i].src, "/");
        }
}

static void test_host_network(void **state)
{
    (void)state;
    build(BOX_STRICT, BOX_NETWORK_HOST, true);
    assert_int_equal(p.clone_flags & CLONE_NEWNET, 0);
    assert_int_equal(at(OP_LOOPBACK, NULL), -1);
    assert_int_equal(p.op[at(OP_LISTEN, NULL)].n, 0);
    assert_string_equal(p.op[at(OP_FILE, "/etc/resolv.conf")].src, host.resolv);
}

static void test_relaxed_without_proc(void **state)
{
    (void)state;
    const struct profile_in in = {
        .mode = BOX_RELAXED, .as_root = true, .no_proc = true, .host = &host, .tmp_mb = 16, .nproc = 10};
    profile_build(&p, &in);
    assert_int_equal(at(OP_PROC, NULL), -1);
    assert_int_equal(at(OP_MASK, NULL), -1);
    assert_int_equal(at(OP_PUT, "/var/task"), -1); /* a trial box */
    assert_true(at(OP_CAPS, NULL) > 0);
}

static void test_off_is_bare(void **state)
{
    (void)state;
    build(BOX_OFF, BOX_NETWORK_NONE, true);
    assert_int_equal(p.clone_flags, 0);
    BEFORE(at(OP_IDS, NULL), at(OP_PARENT_DEATH, NULL));
    assert_int_equal(at(OP_ROOT, NULL), -1);
    assert_true(at(OP_SESSION, NULL) >= 0);
}

static void test_print(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 65536);
    build(BOX_STRICT, BOX_NETWORK_NONE, false);
    assert_int_equal(profile_print(&p, &b), 0);
    assert_non_null(strstr(b.data, "\ngrab from /data/code/x "));
    assert_non_null(strstr(b.data, "\npivot\n"));
    size_t lines = 0;
    for (const char *c = b.data; (c = strchr(c, '\n')) != NULL; c++)
        lines++;
    assert_int_equal(lines, p.n + 1);
    for (int k = 0; k < OP_N_KINDS; k++)
        assert_non_null(profile_op_name((enum op_kind)k));
    buf_done(&b);
}

static void outside(const char *text, const char *expected)
{
    struct buf b;
    buf_init(&b, 1024);
    assert_int_equal(child_outside_paths(text, "/c", "/r", &b), 0);
    assert_string_equal(b.data, expected);
    buf_done(&b);
}

static void test_outside_paths(void **state)
{
    (void)state;
    outside("/var/task/bootstrap", "/c/bootstrap");
    outside("/var/task", "/c");
    outside("LAMBDA_TASK_ROOT=/var/task", "LAMBDA_TASK_ROOT=/c");
    outside("PATH=/bin:/var/task/bin:/var/runtime", "PATH=/bin:/c/bin:/r");
    outside("/var/tasks/x", "/var/tasks/x");
    outside("see /var/task", "see /var/task");
    outside("X=/opt/var/task", "X=/opt/var/task");
    outside("", "");
}

static void test_cpu_share(void **state)
{
    (void)state;
    assert_int_equal(spawn_millicpus(1769, false), 1000);
    assert_int_equal(spawn_millicpus(128, false), 72);
    assert_int_equal(spawn_millicpus(128, true), 1000);
    assert_int_equal(spawn_millicpus(3538, true), 2000); /* a boost never takes away */
}

static void test_roles(void **state)
{
    (void)state;
    static const struct box_role roles[] = {{"web", BOX_NETWORK_HOST}, {"default", BOX_NETWORK_HOST}};
    struct box_config c = {.roles = roles, .n_roles = 1};
    assert_int_equal(spawn_network(&c, "web"), BOX_NETWORK_HOST);
    assert_int_equal(spawn_network(&c, "other"), BOX_NETWORK_NONE);
    c.n_roles = 2;
    assert_int_equal(spawn_network(&c, "other"), BOX_NETWORK_HOST);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_every_tree_is_put_once),
        cmocka_unit_test(test_host_facts),
        cmocka_unit_test(test_layers_and_read_only),
        cmocka_unit_test(test_host_network),
        cmocka_unit_test(test_off_is_bare),
        cmocka_unit_test(test_relaxed_without_proc),
        cmocka_unit_test(test_print),
        cmocka_unit_test(test_outside_paths),
        cmocka_unit_test(test_cpu_share),
        cmocka_unit_test(test_roles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
