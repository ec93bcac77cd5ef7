#include "offline.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "cmd.h"
#include "dlq/dlq.h"

enum { ANY_MAP = 1 << 30 };

bool offline_daemon_runs(const char *data)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/lock", data);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool held = flock(fd, LOCK_SH | LOCK_NB) < 0;
    close(fd);
    return held;
}

static void print(const char *line, void *arg)
{
    (void)arg;
    (void)puts(line);
}

int offline_verify(const char *data)
{
    char path[4096];
    struct err e = {0};
    struct store *s = NULL;
    struct queue *q = NULL;
    struct dlq *d = NULL;
    struct store_txn *t;
    uint64_t in_queue = 0, in_dlq = 0;
    struct store_opts o = {.max_bytes = ANY_MAP, .read_only = true};
    (void)snprintf(path, sizeof path, "%s/queue", data);
    int rc = store_open(&s, path, &o, &e);
    if (rc == 0)
        rc = queue_open_read_only(&q, s, &e);
    if (rc == 0)
        rc = dlq_open_read_only(&d, q, &e);
    if (rc == 0) {
        rc = store_read_begin(s, &t);
        if (rc == 0) {
            rc = queue_verify(q, t, print, NULL, &in_queue);
            if (rc == 0)
                rc = dlq_verify(d, t, print, NULL, &in_dlq);
            store_read_end(t);
        }
        if (rc < 0)
            (void)err_set(&e, rc, "the snapshot cannot be read (%s)", err_name(rc));
    }
    dlq_close(d);
    queue_close(q);
    store_close(s);
    if (rc < 0)
        return call_fail("verify: %s", e.text);
    (void)printf("verify: %s\n", in_queue + in_dlq == 0 ? "holds" : "DOES NOT HOLD");
    return in_queue + in_dlq == 0 ? EXIT_DONE : EXIT_FAILED;
}
