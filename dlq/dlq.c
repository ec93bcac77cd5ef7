#include "priv.h"

#include <stdlib.h>
#include <string.h>

static const char totals_key[] = "totals";

/* --- around each transaction -------------------------------------------------------------------------------------- */

static int before_commit(struct store_txn *t, void *arg)
{
    struct dlq *d = arg;
    if (!d->dirty)
        return 0;
    int rc = totals_encode(&d->scratch, &d->now);
    return rc < 0 ? rc : store_put(t, d->meta, totals_key, sizeof totals_key - 1, d->scratch.data, d->scratch.len, 0);
}

static void committed(void *arg)
{
    struct dlq *d = arg;
    d->saved = d->now;
    d->dirty = false;
}

static void aborted(void *arg)
{
    struct dlq *d = arg;
    d->now = d->saved;
    d->dirty = false;
}

/* --- a death ------------------------------------------------------------------------------------------------------ */

static void copy(char *out, size_t cap, const char *s)
{
    size_t n = s != NULL ? strlen(s) : 0;
    if (n >= cap)
        n = cap - 1;
    if (n > 0)
        memcpy(out, s, n);
    out[n] = '\0';
}

uint64_t letter_bytes(size_t payload_len, const struct attempt *attempts, size_t n)
{
    enum { FIXED_BYTES = 512 }; /* the event's record, its id and the letter, roughly */
    uint64_t bytes = FIXED_BYTES + payload_len;
    for (size_t i = 0; i < n; i++)
        bytes += 64 + attempts[i].error_len + attempts[i].log_tail_len;
    return bytes;
}

/* The queue calls this inside the transaction that takes the event out of its indexes. */
static int write_letter(struct store_txn *t, const struct event *ev, const struct attempt *attempts, size_t n,
                        void *arg)
{
    struct dlq *d = arg;
    struct letter l = {.place = d->now.next_place,
                       .seq = ev->seq,
                       .bytes = letter_bytes(ev->payload_len, attempts, n),
                       .kept_from_ms = d->kept_from_ms};
    uint8_t place[8], seq[8];
    if (d->now.bytes + l.bytes > d->opts.max_bytes)
        return ERR_FULL;
    if (n > 0) {
        copy(l.error_type, sizeof l.error_type, attempts[n - 1].error_type);
        copy(l.error_message, sizeof l.error_message, attempts[n - 1].error_message);
    }
    store_put_u64(place, l.place);
    store_put_u64(seq, l.seq);
    int rc = letter_encode(&d->scratch, &l);
    if (rc == 0)
        rc = store_put(t, d->dead, place, sizeof place, d->scratch.data, d->scratch.len, STORE_PUT_APPEND);
    if (rc == 0)
        rc = store_put(t, d->deadseq, seq, sizeof seq, place, sizeof place, 0);
    if (rc < 0)
        return rc;
    d->now.next_place++;
    d->now.letters++;
    d->now.bytes += l.bytes;
    d->dirty = true;
    return 0;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

int dlq_totals_in(struct dlq *d, struct store_txn *t, struct totals *ret)
{
    struct slice v;
    *ret = (struct totals){.next_place = 1};
    int rc = store_get(t, d->meta, totals_key, sizeof totals_key - 1, &v);
    if (rc == ERR_NOTFOUND)
        return 0;
    return rc < 0 ? rc : totals_decode(v, ret);
}

void dlq_set_retention(struct dlq *d, int64_t retention_ms)
{
    atomic_store(&d->retention_ms, retention_ms);
}

static int open_dlq(struct dlq **ret, struct queue *q, const struct dlq_opts *o, bool read_only, struct err *e)
{
    struct store_txn *t;
    struct dlq *d = calloc(1, sizeof *d);
    if (d == NULL)
        return err_set(e, ERR_NOMEM, "dead letters: out of memory");
    d->queue = q;
    d->store = queue_store(q);
    d->opts = *o;
    dlq_set_retention(d, o->retention_ms);
    d->retention_due_ms = INT64_MAX;
    buf_init(&d->scratch, LETTER_RECORD_MAX);
    int rc = store_table(d->store, "dead", &d->dead, e);
    if (rc == 0)
        rc = store_table(d->store, "deadseq", &d->deadseq, e);
    if (rc == 0)
        rc = store_table(d->store, "deadmeta", &d->meta, e);
    if (rc == 0) {
        rc = store_read_begin(d->store, &t);
        if (rc == 0) {
            rc = dlq_totals_in(d, t, &d->now);
            store_read_end(t);
        }
        if (rc < 0)
            (void)err_set(e, rc, "dead letters: the totals cannot be read (%s)", err_name(rc));
    }
    d->saved = d->now;
    if (rc == 0 && !read_only) {
        struct store_hooks h = {.before_commit = before_commit, .committed = committed, .aborted = aborted, .arg = d};
        rc = store_add_hooks(d->store, &h);
        if (rc < 0)
            (void)err_set(e, rc, "dead letters: no room for another part of the store");
        else
            queue_set_dead_writer(q, write_letter, d);
    }
    if (rc < 0) {
        dlq_close(d);
        return rc;
    }
    *ret = d;
    return 0;
}

int dlq_open(struct dlq **ret, struct queue *q, const struct dlq_opts *o, struct err *e)
{
    return open_dlq(ret, q, o, false, e);
}

int dlq_open_read_only(struct dlq **ret, struct queue *q, struct err *e)
{
    struct dlq_opts o = {0};
    return open_dlq(ret, q, &o, true, e);
}

void dlq_close(struct dlq *d)
{
    if (d == NULL)
        return;
    buf_done(&d->scratch);
    free(d);
}

int dlq_stats(struct dlq *d, struct dlq_stats *ret)
{
    struct store_txn *t;
    struct totals n;
    int rc = store_read_begin(d->store, &t);
    if (rc < 0)
        return rc;
    rc = dlq_totals_in(d, t, &n);
    store_read_end(t);
    if (rc < 0)
        return rc;
    enum { LARGEST = 64 * 1024 }; /* a letter of ordinary size would not fit any more */
    *ret = (struct dlq_stats){.letters = n.letters,
                              .replayed = n.replayed,
                              .bytes = n.bytes,
                              .max_bytes = d->opts.max_bytes,
                              .full = n.bytes + LARGEST > d->opts.max_bytes};
    return 0;
}

/* --- looking ------------------------------------------------------------------------------------------------------ */

int letter_of_seq(struct dlq *d, struct store_txn *t, uint64_t seq, struct letter *ret)
{
    uint8_t key[8];
    struct slice place, v;
    store_put_u64(key, seq);
    int rc = store_get(t, d->deadseq, key, sizeof key, &place);
    if (rc == 0)
        rc = store_get(t, d->dead, place.p, place.len, &v);
    return rc < 0 ? rc : letter_decode(place, v, ret);
}

int letter_read(struct dlq *d, struct store_txn *t, struct slice key, struct slice val, struct letter *ret_letter,
                struct event *ret_ev)
{
    int rc = letter_decode(key, val, ret_letter);
    return rc < 0 ? rc : queue_event_in(d->queue, t, ret_letter->seq, ret_ev);
}

bool is_unreadable(int rc)
{
    return rc == ERR_CORRUPT || rc == ERR_VERSION || rc == ERR_NOTFOUND;
}

uint64_t place_of(struct slice key)
{
    return key.len == 8 ? store_get_u64(key.p) : UINT64_MAX;
}

bool letter_matches(const struct dlq_filter *f, const struct event *ev)
{
    return (f->function == NULL || f->function[0] == '\0' || strcmp(f->function, ev->name) == 0) &&
           (f->condition == CONDITION_NONE || f->condition == ev->condition) &&
           (f->replayed_too || ev->state == EVENT_DEAD) && ev->ended_at_ms >= f->since_ms &&
           (f->until_ms == 0 || ev->ended_at_ms < f->until_ms);
}

static bool listed(const struct dlq_filter *f, const struct letter *l, const struct event *ev)
{
    return letter_matches(f, ev) &&
           (f->error_type == NULL || f->error_type[0] == '\0' || strcmp(f->error_type, l->error_type) == 0);
}

static void show(const struct letter *l, const struct event *ev, dlq_cb *cb, void *arg)
{
    struct dead_letter dl = {.ev = *ev, .error_type = l->error_type, .error_message = l->error_message};
    cb(&dl, arg);
}

int dlq_list(struct dlq *d, const struct dlq_filter *f, uint64_t cursor, uint32_t max_n, dlq_cb *cb, void *arg,
             uint64_t *ret_cursor)
{
    struct store_txn *t;
    struct store_cursor *c;
    struct slice k, v;
    struct letter l;
    struct event ev;
    uint8_t from[8];
    uint32_t shown = 0, looked = 0;
    *ret_cursor = 0;
    int rc = store_read_begin(d->store, &t);
    if (rc < 0)
        return rc;
    rc = store_cursor_open(t, d->dead, &c);
    if (rc < 0) {
        store_read_end(t);
        return rc;
    }
    store_put_u64(from, cursor);
    for (rc = store_cursor_seek(c, from, sizeof from, &k, &v); rc == 0; rc = store_cursor_next(c, &k, &v)) {
        uint64_t place = place_of(k);
        if (f->until != 0 && place >= f->until)
            break;
        if (shown == max_n || looked == LOOK_MAX) {
            *ret_cursor = place;
            break;
        }
        looked++;
        int own = letter_read(d, t, k, v, &l, &ev);
        if (is_unreadable(own) || (own == 0 && !listed(f, &l, &ev)))
            continue; /* what cannot be read is told by verify */
        if (own < 0) {
            rc = own;
            break;
        }
        show(&l, &ev, cb, arg);
        shown++;
    }
    store_cursor_close(c);
    store_read_end(t);
    return rc == ERR_NOTFOUND ? 0 : rc;
}

int dlq_find(struct dlq *d, const struct id *id, dlq_cb *cb, void *arg)
{
    struct store_txn *t;
    struct letter l;
    struct event ev;
    int rc = store_read_begin(d->store, &t);
    if (rc < 0)
        return rc;
    rc = queue_find_in(d->queue, t, id, &ev);
    if (rc == 0)
        rc = letter_of_seq(d, t, ev.seq, &l);
    if (rc == 0)
        show(&l, &ev, cb, arg);
    store_read_end(t);
    return rc;
}
