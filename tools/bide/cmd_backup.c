/* bide backup DIR. The daemon sends, this process writes, as whoever runs it: no path of the caller's is ever opened by
 * the daemon, and the daemon may be elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fdutil.h"
#include "cmd.h"
#include "intake.h"
#include "newdir.h"
#include "offline.h"
#include "progress.h"
#include "tick.h"

enum { NICE = 10 };

static volatile sig_atomic_t stopped;

static void on_signal(int signo)
{
    stopped = signo;
}

/* The first one ends the backup in order, a second the process. */
static void catch_signals(void)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction a = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        (void)sigaction(signals[i], &a, NULL);
}

struct taking {
    struct intake *in;
    struct err e;
};

static int interrupted(struct err *e)
{
    return stopped ? err_set(e, ERR_SHUTDOWN, "interrupted") : 0;
}

static int on_piece(const void *p, size_t len, void *arg)
{
    struct taking *t = arg;
    int rc = interrupted(&t->e);
    if (rc == 0 && len > 0)
        rc = intake_take(t->in, p, len, &t->e);
    progress_show("%.1f MB, %" PRIu64 " packages", (double)intake_bytes(t->in) / 1e6, intake_packages(t->in));
    return rc;
}

static int fetch(struct call *c, struct taking *t)
{
    struct reply r;
    struct client *client = call_client(c);
    if (client == NULL)
        return ERR_NOTFOUND;
    reply_init(&r);
    int rc = client_stream(client, call_flag(c, "pages") ? "/bide/v1/backup?copy=pages" : "/bide/v1/backup", on_piece,
                           t, &r, &t->e);
    progress_clear();
    if (rc == ERR_IO && intake_bytes(t->in) > 0)
        rc = err_set(&t->e, rc, "the daemon broke off, its log says why (%s)", t->e.text);
    if (rc == 0 && r.status != 200)
        rc = err_set(&t->e, ERR_IO, "%s", reply_why(&r));
    if (rc == 0)
        rc = intake_end(t->in, &t->e);
    reply_done(&r);
    if (rc < 0)
        (void)call_fail("backup: %s", t->e.text);
    return rc;
}

/* A copy made page by page may lack free pages at its end, which only an opening that may write puts right. */
static int lengthen(const struct newdir *d, struct err *e)
{
    char path[PATH_MAX + 32];
    struct store *s = NULL;
    struct store_opts o = {.max_bytes = 1 << 30};
    (void)snprintf(path, sizeof path, "%s/queue", d->partial);
    int rc = store_open(&s, path, &o, e);
    store_close(s);
    if (rc < 0)
        return rc;
    int fd = openat(d->fd, "queue/data.mdb", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fsync(fd) < 0)
        rc = err_sys(e, ERR_IO, errno, "queue/data.mdb");
    fd_close(&fd);
    return rc;
}

/* Over the network the daemon does not send its keys; the ones this request was signed with are good for it. */
static int add_credentials(const struct call *c, const struct newdir *d, struct err *e)
{
    char text[600];
    const char *id = getenv("AWS_ACCESS_KEY_ID"), *secret = getenv("AWS_SECRET_ACCESS_KEY");
    if (c->endpoint == NULL || id == NULL || secret == NULL)
        return 0;
    int n = snprintf(text, sizeof text, "[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n", id, secret);
    if (n < 0 || (size_t)n >= sizeof text)
        return err_set(e, ERR_TOOBIG, "the keys in the environment are too long");
    int rc = file_write_durable(d->fd, "credentials", text, (size_t)n, 0600, e);
    explicit_bzero(text, sizeof text);
    return rc;
}

static void print_finding(const char *line, void *arg)
{
    (void)arg;
    (void)fprintf(stderr, "%s\n", line);
}

static int check(const struct call *c, const struct newdir *d, struct offline_found *found)
{
    struct err e = {0};
    int rc = call_flag(c, "pages") ? lengthen(d, &e) : 0;
    if (rc == 0)
        rc = add_credentials(c, d, &e);
    if (rc == 0 && !call_flag(c, "no-verify")) {
        rc = offline_check(d->partial, "queue", print_finding, NULL, found, &e);
        if (rc == 0 && found->findings > 0)
            rc = err_set(&e, ERR_CORRUPT,
                         "the copy does not hold: %" PRIu64 " findings; `bide verify` tells whether "
                         "the original does",
                         found->findings);
    }
    /* Made by looking at the copy; bided makes its own. */
    if (rc == 0 && unlinkat(d->fd, "queue/lock.mdb", 0) < 0 && errno != ENOENT)
        rc = err_sys(&e, ERR_IO, errno, "queue/lock.mdb");
    if (rc == 0)
        rc = interrupted(&e);
    if (rc < 0)
        (void)call_fail("backup: %s", e.text);
    return rc;
}

static void print(const struct call *c, const struct newdir *d, const struct taking *t,
                  const struct offline_found *found, int64_t took_ms)
{
    bool verified = !call_flag(c, "no-verify");
    if (c->json) {
        json_t *o = json_pack("{s:s, s:b, s:I, s:I, s:I}", "directory", d->path, "verified", verified, "bytes",
                              (json_int_t)intake_bytes(t->in), "packages", (json_int_t)intake_packages(t->in),
                              "took_ms", (json_int_t)took_ms);
        if (verified && o != NULL) {
            (void)json_object_set_new(o, "events", json_integer((json_int_t)found->books.accepted));
            (void)json_object_set_new(o, "functions", json_integer((json_int_t)found->functions));
        }
        (void)json_dumpf(o, stdout, JSON_COMPACT);
        (void)putchar('\n');
        json_decref(o);
        return;
    }
    (void)printf("%s: %.1f MB, %" PRIu64 " packages, in %.1f s", d->path, (double)intake_bytes(t->in) / 1e6,
                 intake_packages(t->in), (double)took_ms / 1000);
    if (verified)
        (void)printf("; verified: %" PRIu64 " events accepted, %" PRIu64 " functions", found->books.accepted,
                     found->functions);
    (void)putchar('\n');
}

int cmd_backup(struct call *c)
{
    struct newdir d;
    struct err e = {0};
    struct taking t = {0};
    struct offline_found found = {0};
    int64_t from_ms = tick_ms();
    catch_signals();
    (void)setpriority(PRIO_PROCESS, 0, NICE); /* the daemon's work comes first */
    if (newdir_open(&d, c->args[0], &e) < 0)
        return call_fail("backup: %s", e.text);
    int rc = intake_new(&t.in, d.fd, &e);
    if (rc < 0)
        (void)call_fail("backup: %s", e.text);
    if (rc == 0)
        rc = fetch(c, &t);
    if (rc == 0)
        rc = check(c, &d, &found);
    if (rc < 0) {
        newdir_discard(&d);
    } else {
        rc = newdir_publish(&d, &e);
        if (rc < 0)
            (void)call_fail("backup: %s", e.text);
        else
            print(c, &d, &t, &found, tick_ms() - from_ms);
    }
    intake_free(t.in);
    return rc == 0 ? EXIT_DONE : EXIT_FAILED;
}
