#include "codec.h"

#include <string.h>

static void put_id(struct pack *p, const struct id *id)
{
    if (id_is_zero(id))
        pack_nil(p);
    else
        pack_bin(p, id->b, sizeof id->b);
}

static struct id get_id(struct unpack *u)
{
    struct id id = {0};
    struct slice s = unpack_bin(u);
    if (s.p != NULL && s.len == sizeof id.b)
        memcpy(id.b, s.p, sizeof id.b);
    else if (s.p != NULL)
        u->error = ERR_CORRUPT;
    return id;
}

static void put_brief(struct pack *p, const struct brief *b)
{
    pack_array(p, 8);
    pack_int(p, b->started_at_ms);
    pack_int(p, b->ended_at_ms);
    pack_uint(p, b->outcome);
    pack_int(p, b->exit_code);
    pack_int(p, b->signal);
    pack_uint(p, b->peak_kb);
    pack_bool(p, b->details);
    pack_str(p, b->version);
}

static void get_brief(struct unpack *u, struct brief *b)
{
    (void)unpack_enter(u);
    b->started_at_ms = unpack_int(u);
    b->ended_at_ms = unpack_int(u);
    b->outcome = (enum outcome)unpack_uint(u);
    b->exit_code = (int)unpack_int(u);
    b->signal = (int)unpack_int(u);
    b->peak_kb = unpack_uint(u);
    b->details = unpack_bool(u);
    unpack_str(u, b->version, sizeof b->version);
    unpack_leave(u);
    if (b->outcome >= OUTCOMES)
        u->error = ERR_CORRUPT;
}

int codec_event(struct buf *b, const struct stored *s)
{
    const struct event *ev = &s->ev;
    struct pack p;
    record_begin(b, &p, EVENT_RECORD_VERSION);
    pack_array(&p, 19);
    put_id(&p, &ev->id);
    pack_uint(&p, ev->fid);
    pack_uint(&p, ev->state);
    pack_int(&p, ev->accepted_at_ms);
    pack_int(&p, ev->due_at_ms);
    pack_int(&p, ev->wait_ms);
    pack_int(&p, ev->ended_at_ms);
    pack_uint(&p, ev->attempts);
    pack_uint(&p, ev->disruptions);
    pack_uint(&p, ev->lone_runs);
    pack_uint(&p, ev->payload_len);
    pack_uint(&p, ev->condition);
    put_id(&p, &ev->replay_of);
    put_id(&p, &ev->replayed_as);
    pack_str(&p, ev->name);
    pack_str(&p, ev->qualifier);
    pack_str(&p, ev->trace);
    pack_array(&p, s->n_briefs);
    for (uint32_t i = 0; i < s->n_briefs; i++)
        put_brief(&p, &s->briefs[i]);
    if (s->payload.p != NULL)
        pack_bin(&p, s->payload.p, s->payload.len);
    else
        pack_nil(&p);
    return record_end(b, &p);
}

int decode_event(const void *data, size_t len, uint64_t seq, struct stored *ret)
{
    struct unpack u;
    uint8_t version;
    int rc = record_open(data, len, EVENT_RECORD_VERSION, &version, &u);
    if (rc < 0)
        return rc;
    memset(ret, 0, sizeof *ret);
    struct event *ev = &ret->ev;
    ev->seq = seq;
    ev->id = get_id(&u);
    ev->fid = unpack_uint(&u);
    ev->state = (enum event_state)unpack_uint(&u);
    ev->accepted_at_ms = unpack_int(&u);
    ev->due_at_ms = unpack_int(&u);
    ev->wait_ms = unpack_int(&u);
    ev->ended_at_ms = unpack_int(&u);
    ev->attempts = (uint32_t)unpack_uint(&u);
    ev->disruptions = (uint32_t)unpack_uint(&u);
    ev->lone_runs = (uint32_t)unpack_uint(&u);
    ev->payload_len = (uint32_t)unpack_uint(&u);
    ev->condition = (enum condition)unpack_uint(&u);
    ev->replay_of = get_id(&u);
    ev->replayed_as = get_id(&u);
    unpack_str(&u, ev->name, sizeof ev->name);
    unpack_str(&u, ev->qualifier, sizeof ev->qualifier);
    unpack_str(&u, ev->trace, sizeof ev->trace);
    size_t n = unpack_enter(&u);
    for (size_t i = 0; i < n && i < QUEUE_ATTEMPTS_MAX; i++)
        get_brief(&u, &ret->briefs[i]);
    ret->n_briefs = n < QUEUE_ATTEMPTS_MAX ? (uint32_t)n : QUEUE_ATTEMPTS_MAX;
    unpack_leave(&u);
    ret->payload = unpack_bin(&u);
    rc = unpack_finish(&u);
    if (rc == 0 && (ev->state == EVENT_NONE || ev->state >= EVENT_REMOVED || ev->condition >= CONDITIONS ||
                    n > QUEUE_ATTEMPTS_MAX || (ret->payload.p != NULL && ret->payload.len != ev->payload_len)))
        rc = ERR_CORRUPT;
    unpack_done(&u);
    return rc;
}

int codec_running(struct buf *b, const struct running *r)
{
    struct pack p;
    record_begin(b, &p, RUNNING_RECORD_VERSION);
    pack_array(&p, 4);
    pack_uint(&p, r->run);
    pack_int(&p, r->started_at_ms);
    pack_bool(&p, r->lone);
    pack_bool(&p, r->cancel_asked);
    return record_end(b, &p);
}

int decode_running(const void *data, size_t len, struct running *ret)
{
    struct unpack u;
    uint8_t version;
    int rc = record_open(data, len, RUNNING_RECORD_VERSION, &version, &u);
    if (rc < 0)
        return rc;
    ret->run = unpack_uint(&u);
    ret->started_at_ms = unpack_int(&u);
    ret->lone = unpack_bool(&u);
    ret->cancel_asked = unpack_bool(&u);
    rc = unpack_finish(&u);
    unpack_done(&u);
    return rc;
}

/* Text from outside may hold anything: it is stored as bytes. */
static void put_text(struct pack *p, const char *text, size_t len, size_t max)
{
    if (text == NULL)
        pack_nil(p);
    else
        pack_bin(p, text, len < max ? len : max);
}

static size_t text_len(const char *s)
{
    return s != NULL ? strlen(s) : 0;
}

int codec_attempt(struct buf *b, const struct attempt *a)
{
    struct pack p;
    record_begin(b, &p, ATTEMPT_RECORD_VERSION);
    pack_array(&p, 4);
    put_text(&p, a->error_type, text_len(a->error_type), QUEUE_TYPE_MAX);
    put_text(&p, a->error_message, text_len(a->error_message), QUEUE_MESSAGE_MAX);
    put_text(&p, a->error, a->error_len, QUEUE_ERROR_MAX);
    size_t cut = a->log_tail != NULL && a->log_tail_len > QUEUE_LOG_TAIL_MAX ? a->log_tail_len - QUEUE_LOG_TAIL_MAX : 0;
    put_text(&p, a->log_tail != NULL ? a->log_tail + cut : NULL, a->log_tail_len - cut, QUEUE_LOG_TAIL_MAX);
    return record_end(b, &p);
}

int decode_details(const void *data, size_t len, struct details *ret)
{
    struct unpack u;
    uint8_t version;
    int rc = record_open(data, len, ATTEMPT_RECORD_VERSION, &version, &u);
    if (rc < 0)
        return rc;
    ret->error_type = unpack_bin(&u);
    ret->error_message = unpack_bin(&u);
    ret->error = unpack_bin(&u);
    ret->log_tail = unpack_bin(&u);
    rc = unpack_finish(&u);
    unpack_done(&u);
    return rc;
}

int codec_chunk(struct buf *b, const void *data, size_t len)
{
    struct pack p;
    record_begin(b, &p, CHUNK_RECORD_VERSION);
    pack_array(&p, 1);
    pack_bin(&p, data, len);
    return record_end(b, &p);
}

int decode_chunk(const void *data, size_t len, struct slice *ret)
{
    struct unpack u;
    uint8_t version;
    int rc = record_open(data, len, CHUNK_RECORD_VERSION, &version, &u);
    if (rc < 0)
        return rc;
    *ret = unpack_bin(&u);
    rc = unpack_finish(&u);
    unpack_done(&u);
    return rc;
}

int codec_books(struct buf *b, const struct books *k, uint64_t next_seq, uint64_t next_finish, uint64_t history_bytes,
                int64_t max_wait_ms, int64_t last_ms)
{
    struct pack p;
    const uint64_t v[] = {k->accepted,  k->queued,  k->running,  k->waiting, k->done,     k->dead,
                          k->cancelled, k->removed, k->replayed, next_seq,   next_finish, history_bytes};
    record_begin(b, &p, STATS_RECORD_VERSION);
    pack_array(&p, sizeof v / sizeof v[0] + 2);
    for (size_t i = 0; i < sizeof v / sizeof v[0]; i++)
        pack_uint(&p, v[i]);
    pack_int(&p, max_wait_ms);
    pack_int(&p, last_ms);
    return record_end(b, &p);
}

int decode_books(const void *data, size_t len, struct books *k, uint64_t *next_seq, uint64_t *next_finish,
                 uint64_t *history_bytes, int64_t *max_wait_ms, int64_t *last_ms)
{
    struct unpack u;
    uint8_t version;
    int rc = record_open(data, len, STATS_RECORD_VERSION, &version, &u);
    if (rc < 0)
        return rc;
    uint64_t *const into[] = {&k->accepted,  &k->queued,  &k->running,  &k->waiting, &k->done,    &k->dead,
                              &k->cancelled, &k->removed, &k->replayed, next_seq,    next_finish, history_bytes};
    for (size_t i = 0; i < sizeof into / sizeof into[0]; i++)
        *into[i] = unpack_uint(&u);
    *max_wait_ms = unpack_int(&u);
    *last_ms = unpack_int(&u);
    rc = unpack_finish(&u);
    unpack_done(&u);
    return rc;
}

int codec_stats(struct buf *b, const struct queue_function_stats *st)
{
    struct pack p;
    record_begin(b, &p, STATS_RECORD_VERSION);
    pack_array(&p, 5);
    pack_uint(&p, st->queued);
    pack_uint(&p, st->running);
    pack_uint(&p, st->waiting);
    pack_uint(&p, st->dead);
    pack_uint(&p, st->held);
    return record_end(b, &p);
}

int decode_stats(const void *data, size_t len, struct queue_function_stats *ret)
{
    struct unpack u;
    uint8_t version;
    int rc = record_open(data, len, STATS_RECORD_VERSION, &version, &u);
    if (rc < 0)
        return rc;
    ret->queued = unpack_uint(&u);
    ret->running = unpack_uint(&u);
    ret->waiting = unpack_uint(&u);
    ret->dead = unpack_uint(&u);
    ret->held = unpack_uint(&u);
    rc = unpack_finish(&u);
    unpack_done(&u);
    return rc;
}
