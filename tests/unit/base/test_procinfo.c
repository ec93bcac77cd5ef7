#include "base/procinfo.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "testutil.h"

static void test_own_process(void **state)
{
    struct procinfo a, b;
    (void)state;
    assert_rc(procinfo_read(getpid(), &a), 0);
    assert_true(a.threads >= 1);
    assert_true(a.resident_bytes > 0 && a.anon_bytes > 0 && a.virtual_bytes > a.anon_bytes);
    assert_true(a.started_at_ms > 0 && a.started_at_ms <= clock_real_ms());
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_rc(procinfo_read(getpid(), &b), 0);
    assert_int_equal(b.open_fds, a.open_fds + 1);
    (void)close(fd);
    assert_rc(procinfo_read(getpid(), &b), 0);
    assert_int_equal(b.open_fds, a.open_fds);
}

static void test_one_that_is_gone(void **state)
{
    struct procinfo a;
    (void)state;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_rc(procinfo_read(pid, &a), ERR_NOTFOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_process),
        cmocka_unit_test(test_one_that_is_gone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
