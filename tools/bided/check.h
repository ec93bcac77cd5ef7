/* bided --check: what a start would find, without starting, without the directory's lock, and changing nothing; so it
 * may be asked beside a running daemon, before a changed settings file is taken.
 *
 * One line per finding on stdout: "ok", "warn" or "FAIL", the subject, a sentence. A FAIL is what a start would be
 * refused for, or what would make the daemon refuse work at once.
 */
#ifndef BIDED_CHECK_H
#define BIDED_CHECK_H

#include "base/err.h"
#include "base/settings.h"
#include "executor_box/box.h"
#include "identity.h"

struct check {
    unsigned warned, failed;
    bool daemon_runs; /* on the data directory */
};

enum check_verdict { CHECK_OK, CHECK_WARN, CHECK_FAIL };
void check_line(struct check *c, enum check_verdict v, const char *subject, const char *fmt, ...) BIDE_PRINTF(4, 5);
/* FAIL with e's text when rc is below 0. */
void check_result(struct check *c, const char *subject, int rc, const struct err *e);

/* The data directory, or the nearest folder above that is there: owner and mode, who holds the lock, the credentials,
 * the kind of file system, its mount options, free space. */
void check_datadir(struct check *c, const char *data, const struct identity *who, const struct settings *s);

/* The address can be had, or the daemon that runs on DATA has it. *ret_loopback: it is this machine's alone. */
void check_listen(struct check *c, const char *data, const char *address, bool *ret_loopback);

/* Each fence, tried in a folder of its own: the groups of a running daemon's workers carry the name of its folder. box:
 * without code_fd and workers_fd. */
void check_sandbox(struct check *c, struct box_config *box);

/* Each runtime's interpreter. */
void check_runtimes(struct check *c, int runtimes_fd);

/* The sum, and the exit status: 0, or 1 when something failed. */
int check_end(const struct check *c);

#endif
