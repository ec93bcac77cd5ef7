/* What a box sees of the host beside its code: layers at /opt, and the folders that a runtime's manifest names. Both as
 * root and as an ordinary user. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "rig.h"

static struct rig rig;
static char host_dir[64]; /* a folder of the host, outside of everything a box has */

static void put_text(const char *path, const char *text, mode_t mode)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, text, strlen(text)), 0);
    fd_close(&fd);
}

static void open_rig(enum box_mode mode, bool as_user)
{
    if (!as_user)
        rig_need_root();
    rig_open(&rig, &(struct rig_opts){.mode = mode, .as_user = as_user});
}

static int teardown(void **state)
{
    (void)state;
    if (rig.pid > 0)
        rig_close(&rig);
    if (host_dir[0] != '\0')
        assert_int_equal(file_remove_tree(AT_FDCWD, host_dir), 0);
    host_dir[0] = '\0';
    return 0;
}

/* --- layers --------------------------------------------------------------------------------------------------------
 */

static char layer_sha[PROTO_LAYERS_MAX][65];
static const char *layer[PROTO_LAYERS_MAX];

/* n layers: each has bin/only-I, and all have `same`, which says whose it is. */
static void make_layers(size_t n)
{
    char path[256], text[32];
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(layer_sha[i], sizeof layer_sha[i], "%064zx", 0xb0 + i);
        layer[i] = layer_sha[i];
        (void)snprintf(path, sizeof path, "%s/code/%s", rig.dir, layer[i]);
        assert_int_equal(mkdir(path, 0755), 0);
        (void)snprintf(path, sizeof path, "%s/code/%s/bin", rig.dir, layer[i]);
        assert_int_equal(mkdir(path, 0755), 0);
        (void)snprintf(path, sizeof path, "%s/code/%s/bin/only-%zu", rig.dir, layer[i], i);
        (void)snprintf(text, sizeof text, "#!/bin/sh\necho tool %zu\n", i);
        put_text(path, text, 0755);
        (void)snprintf(path, sizeof path, "%s/code/%s/same", rig.dir, layer[i]);
        (void)snprintf(text, sizeof text, "of %zu\n", i);
        put_text(path, text, 0644);
    }
}

static void start_with_layers(uint64_t worker, size_t n, const char *script)
{
    const char *const argv[] = {"/bin/sh", "-c", script, NULL};
    struct proto_msg m = rig_start_msg(worker, argv);
    m.u.start.layers = layer;
    m.u.start.n_layers = n;
    rig_send(&rig, &m);
}

static void layers_are_merged(bool as_user)
{
    char want[256] = "";
    open_rig(BOX_STRICT, as_user);
    make_layers(PROTO_LAYERS_MAX);
    for (size_t n = 1; n <= PROTO_LAYERS_MAX; n++) {
        start_with_layers(
            n, n,
            "cat /opt/same; for f in /opt/bin/*; do ${f##*/}; done; "
            "touch /opt/new 2>/dev/null && echo written; touch /opt/same 2>/dev/null && echo touched; ls /opt");
        (void)rig_wait(&rig, PROTO_STARTED, n);
        assert_int_equal(rig_wait(&rig, PROTO_EXITED, n)->u.exited.exit_code, 0);
        int at = snprintf(want, sizeof want, "of %zu\n", n - 1); /* the last one listed is on top */
        for (size_t i = 0; i < n; i++)
            at += snprintf(want + at, sizeof want - (size_t)at, "tool %zu\n", i);
        (void)snprintf(want + at, sizeof want - (size_t)at, "bin\nsame\n");
        assert_string_equal(rig_log(&rig, n), want);
    }
}

static void test_layers(void **state)
{
    (void)state;
    layers_are_merged(false);
}

static void test_layers_user(void **state)
{
    (void)state;
    layers_are_merged(true);
}

static void test_layers_that_are_not_there(void **state)
{
    (void)state;
    char path[256];
    open_rig(BOX_STRICT, false);
    make_layers(2);
    (void)snprintf(path, sizeof path, "%s/code/%s", rig.dir, layer[1]);
    assert_int_equal(file_remove_tree(AT_FDCWD, path), 0);
    start_with_layers(1, 2, "true");
    const struct proto_msg *m = rig_wait(&rig, PROTO_START_FAILED, 1);
    assert_string_equal(m->u.failed.step, "layers");
    assert_int_equal(m->u.failed.sys, ENOENT);
    assert_int_equal(symlink("/root", path), 0); /* and what a taken-over engine might put there */
    start_with_layers(2, 2, "true");
    assert_string_equal(rig_wait(&rig, PROTO_START_FAILED, 2)->u.failed.step, "layers");
    rig_start(&rig, 3, (const char *const[]){"/bin/true", NULL}); /* neither took a slot */
}

static void test_layers_without_a_sandbox(void **state)
{
    (void)state;
    open_rig(BOX_OFF, true);
    make_layers(1);
    start_with_layers(1, 1, "true");
    const struct proto_msg *m = rig_wait(&rig, PROTO_START_FAILED, 1);
    assert_string_equal(m->u.failed.step, "layers");
    assert_non_null(strstr(m->u.failed.text, "there is no /opt"));
}

/* --- read_only -----------------------------------------------------------------------------------------------------
 */

static void make_host_dir(void)
{
    char path[128];
    rig_need_root(); /* to make it */
    (void)snprintf(host_dir, sizeof host_dir, "/opt/bide-test-XXXXXX");
    if (mkdtemp(host_dir) == NULL) {
        host_dir[0] = '\0';
        rig_skip(NULL, "/opt cannot be written to");
    }
    assert_int_equal(chmod(host_dir, 0755), 0);
    (void)snprintf(path, sizeof path, "%s/word", host_dir);
    put_text(path, "a word of the host\n", 0644);
}

static void write_manifest(const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/runtimes/test/manifest", rig.dir);
    put_text(path, text, 0644);
}

static void name_read_only(const char *path)
{
    char text[256];
    (void)snprintf(text, sizeof text, "serves = test\nread_only = /opt/bide-not-there/x\nread_only = %s\n", path);
    write_manifest(text);
}

static void read_only_is_seen(bool as_user)
{
    char script[256];
    make_host_dir();
    open_rig(BOX_STRICT, as_user);
    name_read_only(host_dir);
    (void)snprintf(script, sizeof script,
                   "cat %s/word; ls /opt | wc -l; touch %s/x 2>/dev/null && echo written; exit 0", host_dir, host_dir);
    rig_start(&rig, 1, (const char *const[]){"/bin/sh", "-c", script, NULL});
    (void)rig_wait(&rig, PROTO_EXITED, 1);
    assert_string_equal(rig_log(&rig, 1), "a word of the host\n1\n");
}

static void test_read_only(void **state)
{
    (void)state;
    read_only_is_seen(false);
}

static void test_read_only_user(void **state)
{
    (void)state;
    read_only_is_seen(true);
}

static void refused(uint64_t worker, const char *text)
{
    struct proto_msg m = rig_start_msg(worker, (const char *const[]){"/bin/true", NULL});
    rig_send(&rig, &m);
    const struct proto_msg *r = rig_wait(&rig, PROTO_START_FAILED, worker);
    assert_string_equal(r->u.failed.step, "read_only");
    if (strstr(r->u.failed.text, text) == NULL)
        fail_msg("%s", r->u.failed.text);
}

static void test_read_only_that_is_refused(void **state)
{
    (void)state;
    char path[128];
    make_host_dir();
    open_rig(BOX_STRICT, false);
    write_manifest("serves = test\nread_only = /etc/ssl\n");
    refused(1, "manifest line 2: this folder of the host is closed to boxes");
    write_manifest(
        "read_only = /opt/a\nread_only = /opt/b\nread_only = /opt/c\nread_only = /opt/d\nread_only = /opt/e\n");
    refused(2, "manifest line 5: too many read-only paths");
    name_read_only(host_dir);
    assert_int_equal(chmod(host_dir, 0777), 0);
    refused(3, "can be written to by others");
    assert_int_equal(chmod(host_dir, 0755), 0);
    (void)snprintf(path, sizeof path, "%s/link", host_dir);
    assert_int_equal(symlink("/etc", path), 0);
    name_read_only(path);
    refused(4, path);
    make_layers(1);
    name_read_only(host_dir);
    start_with_layers(5, 1, "true");
    const struct proto_msg *m = rig_wait(&rig, PROTO_START_FAILED, 5);
    assert_non_null(strstr(m->u.failed.text, "is where the function's layers are"));
}

#define ROW(f_) cmocka_unit_test_teardown(f_, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROW(test_layers),
        ROW(test_layers_user),
        ROW(test_layers_that_are_not_there),
        ROW(test_layers_without_a_sandbox),
        ROW(test_read_only),
        ROW(test_read_only_user),
        ROW(test_read_only_that_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
