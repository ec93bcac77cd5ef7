#include "many.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lines.h"
#include "load.h"
#include "progress.h"
#include "show.h"
#include "tick.h"

enum {
    IN_FLIGHT = 8, /* requests; each has up to a load of events */
    TURN_MS = 200,
    SHOWN_MAX = 10,      /* refusals told on stderr one by one */
    PATIENCE_MS = 60000, /* of being told "later" without one acceptance */
    FIRST_WAIT_MS = 100,
    LAST_WAIT_MS = 5000,
    LAST_ANSWERS_MS = 10000 /* for what is in flight when it is stopped */
};

struct place {
    enum { FREE, SENT, AGAIN /* to be sent once more: it is not accepted */ } state;
    struct load load;
};

struct many {
    struct call *c;
    const char *path;
    struct client_batch *batch;
    /* Where events come from: lines, or one payload count times. */
    struct lines *lines;
    const struct buf *payload;
    uint64_t count, next;
    bool held; /* the line read last is in no load yet */
    /* What became of them. */
    uint64_t sent, accepted, refused, unknown;
    struct place places[IN_FLIGHT];
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

/* --- what became of the events ------------------------------------------------------------------------------------ */

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

/* All of them, and the place is free. */
static void fail(struct many *m, struct place *p, uint64_t *counter, const char *what, const char *why)
{
    for (size_t i = 0; i < p->load.n; i++)
        tell_failed(m, p->load.tags[i], counter, what, why);
    p->state = FREE;
}

static void send_again(struct many *m, struct place *p)
{
    p->state = AGAIN;
    m->n_again++;
}

/* Refused for now: it waits its turn, and nothing else is sent before it. */
static void put_off(struct many *m, struct place *p, const char *why)
{
    int64_t now = tick_ms();
    if (m->patience_until == 0)
        m->patience_until = now + PATIENCE_MS;
    if (now >= m->patience_until || m->broken) {
        fail(m, p, &m->refused, "refused", why);
        stop(m, why);
        return;
    }
    send_again(m, p);
    if (now >= m->hold_until) {
        m->wait_ms = m->wait_ms == 0 ? FIRST_WAIT_MS : m->wait_ms * 2 < LAST_WAIT_MS ? m->wait_ms * 2 : LAST_WAIT_MS;
        m->hold_until = now + m->wait_ms;
    }
}

static void on_accepted(struct many *m, struct place *p, const struct reply *r)
{
    json_t *ids = load_ids(&p->load, &r->body);
    if (ids == NULL) {
        fail(m, p, &m->unknown, "accepted, it seems", "the answer does not name one id for each event");
        return;
    }
    for (size_t i = 0; i < p->load.n; i++)
        tell_accepted(m, p->load.tags[i], json_string_value(json_array_get(ids, i)));
    json_decref(ids);
    p->state = FREE;
}

static void on_bad_event(uint64_t tag, const char *why, void *arg)
{
    struct many *m = arg;
    tell_failed(m, tag, &m->refused, "refused", why);
}

/* None of the load was accepted. Those that are bad are named, and the others go again without them. */
static void on_refused(struct many *m, struct place *p, const struct reply *r)
{
    char why[400];
    if (load_refuse(&p->load, &r->body, on_bad_event, m) > 0) {
        if (p->load.n > 0)
            send_again(m, p);
        else
            p->state = FREE;
        return;
    }
    (void)snprintf(why, sizeof why, "%s", reply_why(r));
    fail(m, p, &m->refused, "refused", why);
    if (r->status == 404 || r->status == 403)
        stop(m, why); /* so will all others be */
}

static void on_ended(const struct client_ended *ended, void *arg)
{
    struct many *m = arg;
    const struct reply *r = ended->reply;
    struct place *p = &m->places[ended->tag];
    if (ended->rc == ERR_NOTFOUND && m->accepted > 0) {
        put_off(m, p, ended->why); /* it was here before: it may be starting again */
    } else if (ended->rc == ERR_NOTFOUND) {
        fail(m, p, &m->refused, "not sent", ended->why);
        stop(m, ended->why);
    } else if (ended->rc < 0) {
        fail(m, p, &m->unknown, "no answer, it may have been accepted and is not sent again", ended->why);
    } else if (r->status == 202) {
        on_accepted(m, p, r);
    } else if (r->later || r->status == 429 || r->status == 503) {
        put_off(m, p, reply_why(r));
    } else {
        on_refused(m, p, r);
    }
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

static struct place *find_place(struct many *m, int state)
{
    for (size_t i = 0; i < IN_FLIGHT; i++)
        if ((int)m->places[i].state == state)
            return &m->places[i];
    return NULL;
}

static bool is_first(const struct many *m)
{
    return m->accepted + m->refused + m->unknown == 0;
}

static void send_load(struct many *m, struct place *p)
{
    struct err e = {0};
    const struct buf *body = &p->load.body;
    p->state = SENT;
    if (client_batch_send(m->batch, (uint64_t)(p - m->places), "POST", m->path, NULL, body->data, body->len, &e) < 0) {
        fail(m, p, &m->refused, "not sent", e.text);
        stop(m, e.text);
    }
}

static void gather_copies(struct many *m, struct load *l, size_t max)
{
    while (l->n < max && m->next < m->count && load_takes(l, m->payload->len))
        load_add(l, ++m->next, m->payload->data, m->payload->len);
    m->ended = m->ended || m->next == m->count;
}

/* Lines that are here: of a pipe, no more of them are waited for. */
static void gather_lines(struct many *m, struct load *l, size_t max)
{
    struct err e = {0};
    while (l->n < max) {
        int rc = m->held ? 1 : lines_next(m->lines, &e);
        if (rc == 0)
            m->ended = true;
        else if (rc < 0 && rc != ERR_AGAIN)
            stop(m, e.text);
        if (rc <= 0)
            return;
        m->held = !load_takes(l, m->lines->line.len);
        if (m->held)
            return;
        load_add(l, m->lines->number, m->lines->line.p, m->lines->line.len);
    }
}

/* One more request, if there is something to be sent now. False: nothing to do but to wait. */
static bool feed(struct many *m)
{
    if (tick_ms() < m->hold_until)
        return false;
    struct place *p = find_place(m, AGAIN);
    if (p != NULL) {
        m->n_again--;
        send_load(m, p);
        return true;
    }
    p = find_place(m, FREE);
    if (m->ended || p == NULL)
        return false;
    /* The first goes alone: what refuses it will mostly refuse all. */
    size_t max = is_first(m) ? 1 : LOAD_EVENTS;
    load_clear(&p->load);
    if (m->lines != NULL)
        gather_lines(m, &p->load, max);
    else
        gather_copies(m, &p->load, max);
    m->sent += p->load.n;
    if (p->load.n > 0)
        send_load(m, p);
    return p->load.n > 0;
}

static void give_up_again(struct many *m)
{
    for (struct place *p; (p = find_place(m, AGAIN)) != NULL; m->n_again--)
        fail(m, p, &m->refused, "refused", m->why);
}

static void show_progress(const struct many *m)
{
    char of[48] = "";
    if (m->lines == NULL)
        (void)snprintf(of, sizeof of, " of %llu", (unsigned long long)m->count);
    else if (m->lines->plain)
        (void)snprintf(of, sizeof of, " (%u %% of the file sent)", lines_percent(m->lines));
    progress_show("accepted %llu%s  refused %llu%s", (unsigned long long)m->accepted, of,
                  (unsigned long long)m->refused, m->hold_until > tick_ms() ? "  waiting: the daemon says later" : "");
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
        size_t places = is_first(m) ? 1 : IN_FLIGHT;
        while (client_batch_busy(m->batch) < places && feed(m))
            ;
        size_t busy = client_batch_busy(m->batch);
        if (busy == 0 && m->ended && m->n_again == 0)
            return;
        if (last == 0 && m->broken)
            last = tick_ms() + LAST_ANSWERS_MS;
        if (last != 0 && tick_ms() > last)
            return;
        show_progress(m);
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
        load_init(&m->places[i].load);
    catch_signals();
    int64_t began = tick_ms();
    run(m);
    int status = summary(m, tick_ms() - began);
    for (size_t i = 0; i < IN_FLIGHT; i++)
        load_done(&m->places[i].load);
    client_batch_free(m->batch);
    return status;
}

/* As a line: ends of lines between its tokens become blanks, and nothing at all is what a function gets for it. */
static int make_line(struct buf *payload)
{
    char why[300];
    if (payload->len == 0 && buf_puts(payload, "{}") < 0)
        return call_fail("out of memory");
    if (!lines_is_json(payload->data, payload->len, why, sizeof why))
        return call_fail("--payload is no JSON: %s; nothing was sent", why);
    for (char *at = payload->data; *at != '\0'; at++)
        if (*at == '\n' || *at == '\r')
            *at = ' ';
    return EXIT_DONE;
}

int many_count(struct call *c, const char *path, struct buf *payload, uint64_t count)
{
    struct many m = {.c = c, .path = path, .payload = payload, .count = count};
    int status = make_line(payload);
    return status == EXIT_DONE ? many(&m) : status;
}

/* Every bad line of a plain file is named before anything is sent. */
static int check_lines(struct lines *l)
{
    struct err e = {0};
    int rc, bad = 0;
    while ((rc = lines_next(l, &e)) != 0 && bad < SHOWN_MAX) {
        progress_show("read %u %% of %s", lines_percent(l), l->name);
        if (rc == 1)
            continue;
        progress_clear();
        (void)call_fail("%s", e.text);
        bad++;
        if (rc != ERR_INVALID)
            break;
    }
    progress_clear();
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
