#include "housekeeper.h"

#include <malloc.h>

#include "base/log.h"
#include "notify.h"

/* --- what the operator is told ------------------------------------------------------------------------------------ */

static void tell_room(struct housekeeper *h, const struct store_stats *st)
{
    struct dlq_stats ds;
    if (st->full != h->was_full && st->full) {
        log_warn("engine", "the store is full (queue.reserve_bytes is all that is left): new events are refused");
        notify_tell("STATUS=The store is full: new events are refused");
    } else if (st->full != h->was_full) {
        log_info("engine", "the store has room again: new events are accepted");
        notify_tell("STATUS=Serving %s", h->about.url);
    }
    h->was_full = st->full;
    if (dlq_stats(h->about.dlq, &ds) < 0 || ds.full == h->dlq_was_full)
        return;
    if (ds.full)
        log_warn("engine", "the dead-letter store is full (dlq.max_bytes): events that should die stay waiting");
    else
        log_info("engine", "the dead-letter store has room again");
    h->dlq_was_full = ds.full;
}

static void tell_logs(struct housekeeper *h)
{
    struct logs_stats st;
    logs_stats(h->about.logs, &st);
    if (st.stopped != h->logs_stopped && st.stopped)
        log_warn("engine", "functions' logs are not written: %s", st.why);
    else if (st.stopped != h->logs_stopped)
        log_info("engine", "functions' logs are written again lost_bytes=%llu", (unsigned long long)st.lost_bytes);
    h->logs_stopped = st.stopped;
}

/* --- working and resting ------------------------------------------------------------------------------------------ */

/* Has anything happened that a round should follow, or is one under way? *ret_due_ms: when retention is due otherwise.
 * Room can come back to a full disk without a change of ours. */
static bool is_busy(struct housekeeper *h, const struct store_stats *st, int64_t *ret_due_ms)
{
    bool over = keeping_over(&h->keeping, ret_due_ms);
    return st->changes != h->seen || atomic_exchange(&h->stirred, false) || !over || st->full ||
           registry_sweep_due(h->about.registry) || *ret_due_ms <= clock_now_ms(h->about.clock);
}

int64_t housekeeper_look(struct housekeeper *h)
{
    struct store_stats st;
    int64_t due_ms;
    atomic_store(&h->resting, false);
    store_stats(h->about.store, &st);
    tell_room(h, &st);
    tell_logs(h);
    if (is_busy(h, &st, &due_ms)) {
        h->seen = st.changes;
        keeping_round(&h->keeping);
        sweeper_round(&h->sweeper);
        return HOUSEKEEPER_MS;
    }
    /* What a flood has taken and given back is malloc's still. Now there is time to hand it on. */
    (void)malloc_trim(0);
    /* From here on a change stirs; one that came before is seen now. */
    atomic_store(&h->resting, true);
    store_stats(h->about.store, &st);
    if ((st.changes != h->seen || atomic_load(&h->stirred)) && atomic_exchange(&h->resting, false))
        return HOUSEKEEPER_MS;
    if (due_ms == INT64_MAX || h->about.clock->is_virtual)
        return HOUSEKEEPER_RESTS;
    int64_t left_ms = due_ms - clock_now_ms(h->about.clock);
    return left_ms > 0 ? left_ms : 1; /* it has come due since it was asked for */
}

static void on_timer(void *arg)
{
    struct housekeeper *h = arg;
    int64_t ms = housekeeper_look(h);
    if (ms != HOUSEKEEPER_RESTS)
        loop_timer_arm(h->timer, ms);
}

static void get_up(void *arg)
{
    struct housekeeper *h = arg;
    if (h->timer != NULL)
        loop_timer_arm(h->timer, HOUSEKEEPER_MS);
}

/* Only the first change after a rest costs the loop a turn. */
static void on_change(void *arg)
{
    struct housekeeper *h = arg;
    if (atomic_load(&h->resting) && atomic_exchange(&h->resting, false) && loop_post(h->about.loop, get_up, h) < 0)
        atomic_store(&h->resting, true); /* out of memory: the next change tries again */
}

void housekeeper_stir(void *arg)
{
    struct housekeeper *h = arg;
    atomic_store(&h->stirred, true);
    on_change(h);
}

/* --- its life ----- */

struct store_hooks housekeeper_hooks(struct housekeeper *h)
{
    return (struct store_hooks){.wrote = on_change, .arg = h};
}

int housekeeper_start(struct housekeeper *h, const struct housekeeper_about *about, struct err *e)
{
    h->about = *about;
    keeping_init(&h->keeping, about->queue, about->dlq);
    int rc = sweeper_start(&h->sweeper, about->registry, e);
    if (rc < 0)
        return rc;
    rc = loop_timer_new(about->loop, on_timer, h, &h->timer);
    if (rc < 0)
        return err_set(e, rc, "out of memory");
    atomic_store(&h->stirred, true); /* the first look has never looked */
    loop_timer_arm(h->timer, HOUSEKEEPER_MS);
    return 0;
}

void housekeeper_stop(struct housekeeper *h)
{
    atomic_store(&h->resting, false);
    keeping_stop(&h->keeping);
    sweeper_stop(&h->sweeper);
    loop_timer_free(h->timer);
    h->timer = NULL;
}
