/* Verification finds damage of every table: each row is taken away, or bent, in a queue that has one of everything. */
#include "fixture.h"

struct hit {
    struct store_table *tab;
    uint32_t row; /* counted from the first */
    bool flip;    /* bend a bit of the value instead of taking the row away */
    bool none;    /* there was no such row */
};

static int hit(struct store_txn *t, void *arg)
{
    struct hit *h = arg;
    struct store_cursor *c;
    struct slice k, v;
    char key[64], copy[4096];
    int rc = store_cursor_open(t, h->tab, &c);
    if (rc < 0)
        return rc;
    rc = store_cursor_seek(c, NULL, 0, &k, &v);
    for (uint32_t i = 0; rc == 0 && i < h->row; i++)
        rc = store_cursor_next(c, &k, &v);
    h->none = rc == ERR_NOTFOUND || (h->flip && v.len == 0);
    if (rc == 0 && !h->none) {
        size_t key_len = k.len, len = v.len;
        assert_true(key_len <= sizeof key && len <= sizeof copy);
        memcpy(key, k.p, key_len);
        memcpy(copy, v.p, len);
        if (h->flip)
            copy[len - 1] = (char)(copy[len - 1] ^ 1);
        rc = h->flip ? store_put(t, h->tab, key, key_len, copy, len, 0) : store_cursor_del(c);
    }
    store_cursor_close(c);
    return h->none ? 0 : rc;
}

/* One event in every state, a payload in chunks, an attempt with details. */
static void fill(struct fix *f)
{
    char big[5000];
    struct event ev;
    memset(big, 'b', sizeof big);
    assert_rc(try_accept(f, 1, big, sizeof big, &ev), 0);
    (void)do_accept(f, 1, "queued");
    do_fail_and_wait(f, do_accept(f, 2, "waiting").seq, 2, 60000);
    do_die(f, do_accept(f, 3, "dead").seq, 3);
    ev = do_accept(f, 1, "done"); /* of a function that has others: counters of nothing are no loss */
    do_done(f, ev.seq, 1, do_start(f, ev.seq));
    (void)do_start(f, do_accept(f, 4, "running").seq);
}

static struct store_table *table_of(struct fix *f, size_t i)
{
    struct store_table *const tabs[] = {f->q->event,   f->q->payload, f->q->ready, f->q->due,     f->q->waiting,
                                        f->q->running, f->q->attempt, f->q->ids,   f->q->history, f->q->stats};
    return i < sizeof tabs / sizeof tabs[0] ? tabs[i] : NULL;
}

static void damage_each(bool flip)
{
    struct fix f;
    fix_open(&f);
    fill(&f);
    assert_sound(&f);
    fix_discard(&f);
    uint32_t hits = 0;
    for (size_t tab = 0; tab < 10; tab++) {
        uint32_t row = 0;
        for (;; row++) {
            struct hit h = {.row = row, .flip = flip};
            fix_open(&f);
            fill(&f);
            h.tab = table_of(&f, tab);
            assert_rc(try_txn(&f, hit, &h), 0);
            if (!h.none && findings(&f, false) == 0)
                fail_msg("table %zu row %u %s: not found", tab, row, flip ? "bent" : "gone");
            fix_discard(&f);
            if (h.none)
                break;
            hits++;
        }
    }
    assert_true(hits >= (flip ? 20 : 25)); /* every table took part */
}

static void a_row_gone(void **state)
{
    (void)state;
    damage_each(false);
}

static void a_bit_bent(void **state)
{
    (void)state;
    damage_each(true);
}

static int swap_books(struct store_txn *t, void *arg)
{
    struct fix *f = arg;
    struct books b = f->q->saved.books;
    b.queued++;
    b.done--;
    int rc = codec_books(&f->q->scratch, &b, 100, 100, f->q->saved.history_bytes, 0, 0);
    return rc < 0 ? rc : store_put(t, f->q->meta, "books", 5, f->q->scratch.data, f->q->scratch.len, 0);
}

static void books_that_balance_and_lie(void **state)
{
    (void)state;
    struct fix f;
    fix_open(&f);
    fill(&f);
    assert_rc(try_txn(&f, swap_books, &f), 0);
    assert_true(findings(&f, false) >= 2);
    fix_discard(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_gone),
        cmocka_unit_test(a_bit_bent),
        cmocka_unit_test(books_that_balance_and_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
