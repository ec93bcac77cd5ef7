/* Dead letters leave the store of dead letters: replayed, or removed for good. Called inside its transactions. */
#include "priv.h"

int queue_dead_replayed_in(struct queue *q, struct store_txn *t, uint64_t seq, const struct id *as)
{
    struct stored s;
    int rc = row_load(q, t, seq, &s);
    if (rc < 0)
        return rc;
    if (!event_may_move(s.ev.state, EVENT_REPLAYED))
        return ERR_CONFLICT;
    enum event_state from = s.ev.state;
    event_move(&s.ev, EVENT_REPLAYED);
    s.ev.replayed_as = *as;
    rc = row_save(q, t, &s, 0);
    if (rc == 0)
        rc = books_leave(q, s.ev.fid, from);
    return rc < 0 ? rc : books_enter(q, s.ev.fid, EVENT_REPLAYED);
}

int queue_dead_removed_in(struct queue *q, struct store_txn *t, uint64_t seq)
{
    struct stored s;
    int rc = row_load(q, t, seq, &s);
    if (rc < 0)
        return rc;
    if (s.ev.state != EVENT_DEAD && s.ev.state != EVENT_REPLAYED)
        return ERR_CONFLICT;
    rc = row_erase(q, t, &s);
    if (rc == 0)
        rc = books_leave(q, s.ev.fid, s.ev.state);
    return rc < 0 ? rc : books_enter(q, s.ev.fid, EVENT_REMOVED);
}
