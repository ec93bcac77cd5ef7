/* logs: what a function wrote, page by page, and with --follow what comes. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/id.h"
#include "show.h"

enum { POLL_MS = 500, BUSY_TRIES = 20, STREAM_SHOWN = 8 };

static volatile sig_atomic_t interrupted;

static void on_interrupt(int signo)
{
    (void)signo;
    interrupted = 1;
}

static void catch_signals(void)
{
    struct sigaction sa = {.sa_handler = on_interrupt};
    (void)sigaction(SIGINT, &sa, NULL);
    (void)sigaction(SIGTERM, &sa, NULL);
    sa.sa_handler = SIG_IGN; /* a reader that has gone is seen as an error of the write */
    (void)sigaction(SIGPIPE, &sa, NULL);
}

/* Nobody reads any more; looked at while waiting, too. False: it is so, or we were interrupted. */
static bool wait_a_little(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};
    if (interrupted)
        return false;
    int n = poll(&out, 1, POLL_MS);
    return !interrupted && (n == 0 || (n > 0 && (out.revents & (POLLERR | POLLHUP | POLLNVAL)) == 0));
}

/* --- a line ------------------------------------------------------------------------------------------------------- */

/* The function's bytes on somebody's terminal: control characters are shown, not obeyed. */
static void put_text(const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '\r' && i + 1 == len)
            continue;
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            (void)printf("\\x%02x", c);
        else
            (void)putchar(c);
    }
}

static const char *short_stream(const char *stream)
{
    const char *id = strchr(stream, ']');
    return id != NULL ? id + 1 : stream;
}

static void print_line(const json_t *line, bool json)
{
    if (json) {
        show_json(line);
        return;
    }
    const json_t *message = json_object_get(line, "message");
    (void)printf("%s  %.*s  ", show_time(show_int(line, "time_ms")), STREAM_SHOWN,
                 short_stream(show_str(line, "stream")));
    put_text(json_string_value(message), json_string_length(message));
    (void)putchar('\n');
}

/* --- pages -------------------------------------------------------------------------------------------------------- */

/* One page; a daemon that has too many readers is asked again. NULL: said why. */
static json_t *get_page(struct call *c, const char *path)
{
    struct err e = {0};
    struct client *cl = call_client(c);
    if (cl == NULL)
        return NULL;
    json_t *page = NULL;
    for (int tries = 0; !interrupted; tries++) {
        struct reply r;
        json_error_t je;
        reply_init(&r);
        int rc = client_call(cl, "GET", path, NULL, NULL, 0, &r, &e);
        bool busy = rc == 0 && r.status == 429 && tries < BUSY_TRIES;
        if (rc < 0)
            (void)call_fail("%s", e.text);
        else if (!busy && (r.status < 200 || r.status > 299))
            (void)call_fail("%s", reply_why(&r));
        else if (!busy && (page = json_loadb(r.body.data, r.body.len, JSON_ALLOW_NUL, &je)) == NULL)
            (void)call_fail("the daemon's answer to %s is not JSON: %s", path, je.text);
        reply_done(&r);
        if (!busy || !wait_a_little())
            break;
    }
    return page;
}

static bool print_page(const json_t *page, bool json)
{
    size_t i;
    const json_t *line;
    json_array_foreach(json_object_get(page, "items"), i, line) print_line(line, json);
    return fflush(stdout) == 0 && !ferror(stdout);
}

static int walk(struct call *c, const char *path)
{
    char cursor[160] = "", url[1024];
    bool follow = call_flag(c, "follow"), more = true, any = false;
    do {
        (void)snprintf(url, sizeof url, "%s", path);
        show_query(url, sizeof url, "cursor", cursor[0] != '\0' ? cursor : NULL);
        json_t *page = get_page(c, url);
        if (page == NULL)
            return interrupted ? EXIT_DONE : EXIT_FAILED;
        bool written = print_page(page, c->json);
        any = any || json_array_size(json_object_get(page, "items")) > 0;
        more = json_is_true(json_object_get(page, "more"));
        if (!any && !more && !json_is_true(json_object_get(page, "on"))) {
            (void)fputs("bide: logs are off (setting logs)\n", stderr);
            any = true; /* said once */
        }
        (void)snprintf(cursor, sizeof cursor, "%s", show_str(page, "cursor"));
        json_decref(page);
        if (!written) /* the reader has had enough */
            return EXIT_DONE;
    } while (!interrupted && (more || (follow && wait_a_little())));
    return EXIT_DONE;
}

int cmd_logs(struct call *c)
{
    char path[512] = "/bide/v1/functions/", number[24];
    const char *since = call_opt(c, "since"), *event = call_opt(c, "event");
    int64_t since_ms;
    struct id id;
    size_t n = strlen(path);
    (void)snprintf(path + n, sizeof path - n, "%.200s/logs", c->args[0]);
    if (since != NULL && clock_parse_when(since, strlen(since), clock_real_ms(), &since_ms) < 0)
        return call_usage(
            c, "--since takes a duration (10m, 2h) or a time (2026-01-02, 2026-01-02T03:04:05Z), not \"%s\"", since);
    if (since != NULL)
        (void)snprintf(number, sizeof number, "%" PRId64, since_ms);
    show_query(path, sizeof path, "since", since != NULL ? number : NULL);
    if (event != NULL && id_parse(event, strlen(event), &id) < 0)
        return call_usage(c, "--event \"%s\" is not an event's id: it has 36 characters, as `bide events` shows them",
                          event);
    show_query(path, sizeof path, "event", event);
    catch_signals();
    return walk(c, path);
}
