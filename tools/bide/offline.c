#include "offline.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "cmd.h"
#include "dlq/dlq.h"
#include "registry/registry.h"
#include "tick.h"

enum { ANY_MAP = 1 << 30, DYING_MS = 5000, LOOK_EVERY_MS = 5, FINDINGS_MAX = 1000 };

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

bool offline_daemon_stays(const char *data)
{
    int64_t end = tick_ms() + DYING_MS;
    while (offline_daemon_runs(data)) {
        if (tick_ms() > end)
            return true;
        tick_sleep(LOOK_EVERY_MS);
    }
    return false;
}

/* --- recounting ----- */

struct packages {
    const char *data;
    queue_report_cb *report;
    void *arg;
    struct offline_found *found;
};

static void check_package(const char *name, const struct function *f, void *arg)
{
    struct packages *p = arg;
    char path[4096], line[600];
    p->found->functions++;
    if (f == NULL) {
        (void)snprintf(line, sizeof line, "function %s: its record cannot be read", name);
    } else {
        (void)snprintf(path, sizeof path, "%s/code/%s.zip", p->data, f->code_sha256);
        if (access(path, F_OK) == 0)
            return;
        (void)snprintf(line, sizeof line, "function %s: its package %s is missing", name, f->code_sha256);
    }
    p->found->findings++;
    p->report(line, p->arg);
}

static int recount(struct queue *q, struct dlq *d, queue_report_cb *report, void *arg, struct offline_found *ret)
{
    struct store_txn *t;
    uint64_t in_queue = 0, in_dlq = 0;
    int rc = store_read_begin(queue_store(q), &t);
    if (rc < 0)
        return rc;
    rc = queue_books_in(q, t, &ret->books);
    if (rc == 0)
        rc = queue_verify(q, t, report, arg, &in_queue);
    if (rc == 0)
        rc = dlq_verify(d, t, report, arg, &in_dlq);
    store_read_end(t);
    ret->findings += in_queue + in_dlq;
    return rc;
}

int offline_check(const char *data, const char *store, queue_report_cb *report, void *arg, struct offline_found *ret,
                  struct err *e)
{
    char path[4096];
    struct store *s = NULL;
    struct queue *q = NULL;
    struct dlq *d = NULL;
    struct store_opts o = {.max_bytes = ANY_MAP, .read_only = true};
    struct packages p = {data, report, arg, ret};
    *ret = (struct offline_found){0};
    (void)snprintf(path, sizeof path, "%s/%s", data, store);
    int rc = store_open(&s, path, &o, e);
    if (rc == 0)
        rc = queue_open_read_only(&q, s, e);
    if (rc == 0)
        rc = dlq_open_read_only(&d, q, e);
    if (rc == 0) {
        rc = recount(q, d, report, arg, ret);
        if (rc < 0)
            (void)err_set(e, rc, "the snapshot cannot be read (%s)", err_name(rc));
    }
    if (rc == 0)
        rc = registry_walk(s, check_package, &p, e);
    dlq_close(d);
    queue_close(q);
    store_close(s);
    return rc;
}

static void keep_line(const char *line, void *arg)
{
    json_t *lines = arg;
    if (json_array_size(lines) < FINDINGS_MAX)
        (void)json_array_append_new(lines, json_string(line));
}

json_t *offline_verify(const char *data, struct err *e)
{
    struct offline_found found;
    json_t *lines = json_array();
    int rc = offline_check(data, "queue", keep_line, lines, &found, e);
    json_t *v = rc < 0 ? NULL
                       : json_pack("{s:O, s:I, s:b}", "findings", lines, "n_findings", (json_int_t)found.findings, "ok",
                                   found.findings == 0);
    json_decref(lines);
    if (rc == 0 && v == NULL)
        (void)err_set(e, ERR_NOMEM, "out of memory");
    return v;
}
