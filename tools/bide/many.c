#include "many.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lines.h"
#include "progress.h"
#include "show.h"
#include "tick.h"

enum {
    IN_FLIGHT = 32,
    TURN_MS = 200,
    SHOWN_MAX = 10,      /* refusals told on stderr one by one */
    PATIENCE_MS = 60000, /* of being told "later" without one acceptance */
    FIRST_WAIT_MS = 100,
    LAST_WAIT_MS = 5000,
    LAST_ANSWERS_MS = 10000 /* for what is in flight when it is stopped */
};

/* An event that was refused for now. */
struct again {
    uint64_t tag;
    struct buf body;
};

struct many {
    struct call *c;
    const char *path;
    struct client_batch *batch;
    /* Where events come from: lines, or one payload count times. */
    struct lines *lines;
    const struct buf *payload;
    uint64_t count, next;
    /* What became of them. */
    uint64_t sent, accepted, refused, unknown;
    struct again again[IN_FLIGHT];
    size_t n_again;
    int64_t hold_until, wait_ms, patience_until;
    bool ended; /* no more come: all were read, or it is stopped */
    bool broken;
    char why[400]; /* it was stopped for */
};

static volatile sig_atomic_t stopped;

static void on_signal(int signo)
{
    (void)signo;
    stopped = 1;
}

/* A second signal ends at once. */
static void catch_signals(void)
{
    /* Restarted: an interrupted write would cost the C library the buffer of ids it was writing. */
    const struct sigaction stop = {.sa_handler = on_signal, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    (void)sigaction(SIGINT, &stop, NULL);
    (void)sigaction(SIGTERM, &stop, NULL);
    (void)sigaction(SIGPIPE, &ignore, NULL); /* what was sent is to be told all the same */
}

static void stop(struct many *m, const char *why)
{
    if (!m->broken)
        (void)snprintf(m->why, sizeof m->why, "%s", why);
    m->broken = true;
    m->ended = true;
}

/* --- what became of one event ------------------------------------------------------------------------------------- */

static void tell_accepted(struct many *m, uint64_t tag, const char *id)
{
    m->accepted++;
    m->wait_ms = 0;
    m->patience_until = 0;
    if (m->c->json)
        (void)printf("{\"%s\":%llu,\"id\":\"%s\"}\n", m->lines != NULL ? "line" : "n", (unsigned long long)tag, id);
    else
        (void)printf("%s\n", id);
}

static void tell_failed(struct many *m, uint64_t tag, uint64_t *counter, const char *what, const char *why)
{
    ++*counter;
    const char *unit = m->lines != NULL ? "line" : "n";
    if (m->c->json) {
        json_t *o = json_pack("{s:I,s:s}", unit, (json_int_t)tag, counter == &m->refused ? "refused" : "unknown", why);
        show_json(o);
        json_decref(o);
    }
    uint64_t told = m->refused + m->unknown;
    progress_clear();
    if (told <= SHOWN_MAX)
        (void)fprintf(stderr, "bide: %s %llu: %s: %s\n", m->lines != NULL ? "line" : "event", (unsigned long long)tag,
                      what, why);
    else if (told == SHOWN_MAX + 1)
        (void)fputs("bide: more such events are only counted\n", stderr);
}

/* Refused for now: it waits its turn, and nothing else is sent before it. */
static void put_again(struct many *m, const struct client_ended *ended, const char *why)
{
    int64_t now = tick_ms();
    if (m->patience_until == 0)
        m->patience_until = now + PATIENCE_MS;
    if (now >= m->patience_until || m->broken) {
        tell_failed(m, ended->tag, &m->refused, "refused", why);
        stop(m, why);
        return;
    }
    struct again *a = &m->again[m->n_again++];
    a->tag = ended->tag;
    buf_clear(&a->body);
    BIDE_ASSERT(buf_append(&a->body, ended->body.p, ended->body.len) == 0, "no memory for %zu bytes", ended->body.len);
    if (now >= m->hold_until) {
        m->wait_ms = m->wait_ms == 0 ? FIRST_WAIT_MS : m->wait_ms * 2 < LAST_WAIT_MS ? m->wait_ms * 2 : LAST_WAIT_MS;
        m->hold_until = now + m->wait_ms;
    }
}

static void on_ended(const struct client_ended *ended, void *arg)
{
    struct many *m = arg;
    const struct reply *r = ended->reply;
    if (ended->rc == ERR_NOTFOUND && m->accepted > 0) {
        put_again(m, ended, ended->why); /* it was here before: it may be starting again */
    } else if (ended->rc == ERR_NOTFOUND) {
        tell_failed(m, ended->tag, &m->refused, "not sent", ended->why);
        stop(m, ended->why);
    } else if (ended->rc < 0) {
        tell_failed(m, ended->tag, &m->unknown, "no answer, it may have been accepted and is not sent again",
                    ended->why);
    } else if (r->status == 202) {
        tell_accepted(m, ended->tag, r->request_id);
    } else if (r->later || r->status == 429) {
        put_again(m, ended, reply_why(r));
    } else {
        char why[400];
        (void)snprintf(why, sizeof why, "%s", reply_why(r));
        tell_failed(m, ended->tag, &m->refused, "refused", why);
        if (r->status == 404 || r->status == 403)
            stop(m, why); /* so will all others be */
    }
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static void send_event(struct many *m, uint64_t tag, const void *body, size_t len)
{
    static const char *const headers[] = {"X-Amz-Invocation-Type: Event", NULL};
    struct err e = {0};
    if (client_batch_send(m->batch, tag, "POST", m->path, headers, body, len, &e) < 0) {
        tell_failed(m, tag, &m->refused, "not sent", e.text);
        stop(m, e.text);
    }
}

/* One more event, if there is one and it may be sent now. False: nothing to do but to wait. */
static bool feed(struct many *m)
{
    struct err e = {0};
    if (m->n_again > 0) {
        if (tick_ms() < m->hold_until)
            return false;
        struct again *a = &m->again[--m->n_again];
        send_event(m, a->tag, a->body.data, a->body.len);
        return true;
    }
    if (m->ended || tick_ms() < m->hold_until)
        return false;
    if (m->lines == NULL) {
        m->ended = m->next == m->count;
        if (!m->ended)
            send_event(m, ++m->next, m->payload->data, m->payload->len);
        m->sent = m->next;
        return !m->ended;
    }
    int rc = lines_next(m->lines, &e);
    if (rc == 0)
        m->ended = true;
    else if (rc < 0 && rc != ERR_AGAIN)
        stop(m, e.text);
    if (rc <= 0)
        return false;
    m->sent++;
    send_event(m, m->lines->number, m->lines->line.p, m->lines->line.len);
    return true;
}

static void give_up_again(struct many *m)
{
    while (m->n_again > 0)
        tell_failed(m, m->again[--m->n_again].tag, &m->refused, "refused", m->why);
}

static void run(struct many *m)
{
    struct err e = {0};
    int64_t last = 0;
    for (;;) {
        if ((stopped || ferror(stdout)) && !m->broken)
            stop(m, stopped ? "stopped" : "standard output cannot be written");
        if (m->broken)
            give_up_again(m);
        /* The first goes alone: what refuses it will mostly refuse all. */
        size_t places = m->accepted + m->refused + m->unknown > 0 ? IN_FLIGHT : 1;
        while (client_batch_busy(m->batch) < places && feed(m))
            ;
        size_t busy = client_batch_busy(m->batch);
        if (busy == 0 && m->ended && m->n_again == 0)
            return;
        if (last == 0 && m->broken)
            last = tick_ms() + LAST_ANSWERS_MS;
        if (last != 0 && tick_ms() > last)
            return;
        progress_show("accepted %llu  refused %llu%s", (unsigned long long)m->accepted, (unsigned long long)m->refused,
                      m->n_again > 0 ? "  waiting: the daemon says later" : "");
        bool read_more = m->lines != NULL && !m->lines->plain && !m->ended && m->n_again == 0 && busy < places;
        int64_t hold = m->hold_until - tick_ms();
        if (busy > 0 && client_batch_turn(m->batch, TURN_MS, read_more ? m->lines->fd : -1, &e) < 0)
            stop(m, e.text);
        else if (busy == 0 && hold > 0)
            tick_sleep(hold < TURN_MS ? hold : TURN_MS);
        else if (busy == 0 && read_more)
            (void)poll(&(struct pollfd){.fd = m->lines->fd, .events = POLLIN}, 1, TURN_MS);
    }
}

static int summary(const struct many *m, int64_t ms)
{
    uint64_t open = m->sent - m->accepted - m->refused - m->unknown; /* in flight when patience ended */
    uint64_t unknown = m->unknown + open;
    double seconds = (double)(ms > 0 ? ms : 1) / 1000;
    progress_clear();
    if (m->c->json)
        (void)printf("{\"accepted\":%llu,\"refused\":%llu,\"unknown\":%llu,\"ms\":%lld}\n",
                     (unsigned long long)m->accepted, (unsigned long long)m->refused, (unsigned long long)unknown,
                     (long long)ms);
    if (m->broken && m->lines != NULL)
        (void)fprintf(stderr, "bide: stopped after line %llu of %s: %s\n", (unsigned long long)m->lines->number,
                      m->lines->name, m->why);
    else if (m->broken)
        (void)fprintf(stderr, "bide: stopped after %llu of %llu: %s\n", (unsigned long long)m->sent,
                      (unsigned long long)m->count, m->why);
    (void)fprintf(stderr, "accepted %llu, refused %llu", (unsigned long long)m->accepted,
                  (unsigned long long)m->refused);
    if (unknown > 0)
        (void)fprintf(stderr, ", without an answer %llu (each may have been accepted)", (unsigned long long)unknown);
    (void)fprintf(stderr, ", in %.2f s (%.0f/s)\n", seconds, (double)m->accepted / seconds);
    return m->refused + unknown > 0 || m->broken ? EXIT_FAILED : EXIT_DONE;
}

static int many(struct many *m)
{
    struct err e = {0};
    struct client *cl = call_client(m->c);
    if (cl == NULL)
        return EXIT_FAILED;
    if (client_batch_new(&m->batch, cl, IN_FLIGHT, on_ended, m, &e) < 0)
        return call_fail("%s", e.text);
    for (size_t i = 0; i < IN_FLIGHT; i++)
        buf_init(&m->again[i].body, SIZE_MAX);
    catch_signals();
    int64_t began = tick_ms();
    run(m);
    int status = summary(m, tick_ms() - began);
    for (size_t i = 0; i < IN_FLIGHT; i++)
        buf_done(&m->again[i].body);
    client_batch_free(m->batch);
    return status;
}

int many_count(struct call *c, const char *path, const struct buf *payload, uint64_t count)
{
    struct many m = {.c = c, .path = path, .payload = payload, .count = count};
    return many(&m);
}

/* Every bad line of a plain file is named before anything is sent. */
static int check_lines(struct lines *l)
{
    struct err e = {0};
    int rc, bad = 0;
    while ((rc = lines_next(l, &e)) != 0 && bad < SHOWN_MAX) {
        if (rc == 1)
            continue;
        (void)call_fail("%s", e.text);
        bad++;
        if (rc != ERR_INVALID)
            break;
    }
    if (bad > 0)
        return call_fail("nothing was sent");
    rc = lines_rewind(l, &e);
    return rc < 0 ? call_fail("%s", e.text) : EXIT_DONE;
}

int many_file(struct call *c, const char *path, const char *file)
{
    struct err e = {0};
    struct lines lines;
    if (lines_open(&lines, file, &e) < 0)
        return call_fail("%s", e.text);
    struct many m = {.c = c, .path = path, .lines = &lines};
    int status = lines.plain ? check_lines(&lines) : EXIT_DONE;
    if (status == EXIT_DONE)
        status = many(&m);
    lines_close(&lines);
    return status;
}
