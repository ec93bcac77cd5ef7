/* The dead letters' half of `bide verify`. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "priv.h"

struct check {
    queue_report_cb *report;
    void *arg;
    uint64_t findings;
};

BIDE_PRINTF(2, 3) static void finding(struct check *c, const char *fmt, ...)
{
    char line[300];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    c->findings++;
    c->report(line, c->arg);
}

static void check_letter(struct check *c, struct dlq *d, struct store_txn *t, struct slice k, struct slice v,
                         struct totals *sum)
{
    struct letter l, back;
    struct event ev;
    int rc = letter_decode(k, v, &l);
    if (rc < 0) {
        finding(c, "dead letter %" PRIu64 ": cannot be read (%s)", k.len == 8 ? store_get_u64(k.p) : 0, err_name(rc));
        return;
    }
    sum->letters++;
    sum->bytes += l.bytes;
    sum->next_place = l.place + 1;
    if (letter_of_seq(d, t, l.seq, &back) < 0 || back.place != l.place)
        finding(c, "dead letter %" PRIu64 ": event %" PRIu64 " does not lead to it", l.place, l.seq);
    rc = queue_event_in(d->queue, t, l.seq, &ev);
    if (rc < 0)
        finding(c, "dead letter %" PRIu64 ": its event %" PRIu64 " cannot be read (%s)", l.place, l.seq, err_name(rc));
    else if (ev.state != EVENT_DEAD && ev.state != EVENT_REPLAYED)
        finding(c, "dead letter %" PRIu64 ": its event %" PRIu64 " is %s", l.place, l.seq, event_state_name(ev.state));
    else
        sum->replayed += ev.state == EVENT_REPLAYED;
}

int dlq_verify(struct dlq *d, struct store_txn *t, queue_report_cb *report, void *arg, uint64_t *ret_findings)
{
    struct check c = {.report = report, .arg = arg};
    struct totals want, sum = {0};
    struct books books;
    struct store_cursor *cur;
    struct slice k, v;
    int rc = store_cursor_open(t, d->dead, &cur);
    if (rc < 0)
        return rc;
    for (rc = store_cursor_seek(cur, NULL, 0, &k, &v); rc == 0; rc = store_cursor_next(cur, &k, &v))
        check_letter(&c, d, t, k, v, &sum);
    store_cursor_close(cur);
    if (rc != ERR_NOTFOUND)
        finding(&c, "table dead: cannot be walked (%s)", err_name(rc));
    if (store_count(t, d->deadseq) != store_count(t, d->dead))
        finding(&c, "dead letters: %" PRIu64 " letters and %" PRIu64 " ways to them", store_count(t, d->dead),
                store_count(t, d->deadseq));
    if (dlq_totals_in(d, t, &want) < 0)
        finding(&c, "dead letters: the totals cannot be read");
    else if (want.next_place < sum.next_place)
        finding(&c, "dead letters: the next would get place %" PRIu64 ", which letter %" PRIu64 " has passed",
                want.next_place, sum.next_place - 1);
    else if (want.letters != sum.letters || want.replayed != sum.replayed || want.bytes != sum.bytes)
        finding(&c,
                "dead letters: the totals say %" PRIu64 " letters, %" PRIu64 " replayed, %" PRIu64
                " bytes; counted %" PRIu64 ", %" PRIu64 ", %" PRIu64,
                want.letters, want.replayed, want.bytes, sum.letters, sum.replayed, sum.bytes);
    if (queue_books_in(d->queue, t, &books) == 0 &&
        (books.dead + books.replayed != sum.letters || books.replayed != sum.replayed))
        finding(&c,
                "books: dead %" PRIu64 " and replayed %" PRIu64 ", but %" PRIu64 " letters, %" PRIu64
                " of them replayed",
                books.dead, books.replayed, sum.letters, sum.replayed);
    *ret_findings = c.findings;
    return 0;
}
