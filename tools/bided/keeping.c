#include "keeping.h"

#include "base/log.h"

static void end_round(struct keeping *k, int64_t due_ms)
{
    if (k->letters > 0)
        log_info("engine", "dead letters past dlq.retention removed n=%llu", (unsigned long long)k->letters);
    k->letters = 0;
    atomic_store(&k->due_ms, due_ms);
    atomic_store(&k->busy, false);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void failed(struct keeping *k, const char *what, int err)
{
    if (err != ERR_SHUTDOWN)
        log_warn("engine", "housekeeping of %s failed err=%s; trying again", what, err_name(err));
    end_round(k, 0);
}

static void remove_letters(struct keeping *k);

static void letters_removed(int err, uint64_t n, uint64_t cursor, void *arg)
{
    struct keeping *k = arg;
    (void)cursor;
    k->letters += n;
    if (err < 0)
        failed(k, "dead letters", err);
    else if (n == KEEPING_CHUNK && !atomic_load(&k->stop))
        remove_letters(k);
    else
        end_round(k, earlier(k->history_due_ms, dlq_retention_due(k->dlq)));
}

static void remove_letters(struct keeping *k)
{
    int rc = dlq_retention(k->dlq, KEEPING_CHUNK, letters_removed, k);
    if (rc < 0)
        failed(k, "dead letters", rc);
}

static void after_history(struct keeping *k)
{
    struct books b;
    int rc = queue_books(k->queue, &b);
    if (rc < 0)
        failed(k, "dead letters", rc);
    else if (b.dead + b.replayed > 0 && !atomic_load(&k->stop))
        remove_letters(k);
    else
        end_round(k, k->history_due_ms);
}

static void evict(struct keeping *k);

static void evicted(int err, uint64_t n, void *arg)
{
    struct keeping *k = arg;
    if (err < 0) {
        failed(k, "the history", err);
    } else if (n == KEEPING_CHUNK && !atomic_load(&k->stop)) {
        evict(k);
    } else {
        k->history_due_ms = queue_history_due(k->queue);
        after_history(k);
    }
}

static void evict(struct keeping *k)
{
    int rc = queue_evict_history(k->queue, KEEPING_CHUNK, evicted, k);
    if (rc < 0)
        failed(k, "the history", rc);
}

void keeping_init(struct keeping *k, struct queue *q, struct dlq *d)
{
    *k = (struct keeping){.queue = q, .dlq = d};
}

void keeping_round(struct keeping *k)
{
    struct books b;
    if (atomic_load(&k->stop) || atomic_exchange(&k->busy, true))
        return;
    k->history_due_ms = INT64_MAX;
    int rc = queue_books(k->queue, &b);
    if (rc < 0)
        failed(k, "the history", rc);
    else if (b.done + b.cancelled > 0)
        evict(k);
    else
        after_history(k);
}

bool keeping_over(const struct keeping *k, int64_t *ret_due_ms)
{
    *ret_due_ms = atomic_load(&k->due_ms);
    return !atomic_load(&k->busy);
}

void keeping_stop(struct keeping *k)
{
    atomic_store(&k->stop, true);
}
