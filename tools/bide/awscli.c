#include "awscli.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tick.h"

static pid_t start(int out)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    int null = open("/dev/null", O_RDONLY);
    (void)setpgid(0, 0); /* so that what it starts can be killed with it */
    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
        _exit(127);
    (void)execlp("aws", "aws", "--version", (char *)NULL);
    _exit(127);
}

/* "aws-cli/2.15.3 Python/...", anywhere in what it printed: version 1 used stderr, and some print warnings first. */
static bool read_version(const char *text, struct awscli_version *v)
{
    const char *at = strstr(text, "aws-cli/");
    return at != NULL && strchr(at, ' ') != NULL &&
           sscanf(at, "aws-cli/%d.%d.%d", &v->major, &v->minor, &v->patch) == 3;
}

bool awscli_find(struct awscli_version *ret, int limit_ms)
{
    int p[2];
    char text[4096] = "";
    size_t len = 0;
    bool found = false;
    int64_t until = tick_ms() + limit_ms;
    if (pipe2(p, O_CLOEXEC) < 0)
        return false;
    pid_t pid = start(p[1]);
    (void)close(p[1]);
    while (pid > 0 && !found && len + 1 < sizeof text) {
        struct pollfd fd = {.fd = p[0], .events = POLLIN};
        int64_t left = until - tick_ms();
        if (left <= 0 || poll(&fd, 1, (int)left) <= 0)
            break;
        ssize_t n = read(p[0], text + len, sizeof text - 1 - len);
        if (n <= 0)
            break;
        len += (size_t)n;
        text[len] = '\0';
        found = read_version(text, ret);
    }
    (void)close(p[0]);
    if (pid > 0) {
        /* Its group may not be made yet, so it is killed by its own number too; it has nothing left to say. */
        (void)kill(-pid, SIGKILL);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
    }
    return found;
}

bool awscli_honours_endpoint(const struct awscli_version *v)
{
    if (v->major == 1)
        return v->minor > 29 || (v->minor == 29 && v->patch >= 80);
    return v->major > 2 || (v->major == 2 && v->minor >= 13);
}
