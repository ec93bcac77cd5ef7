#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "json_in.h"
#include "letter.h"

static void put_base64(struct json_out *o, const char *key, const void *p, size_t len)
{
    char name[32];
    struct buf b;
    buf_init(&b, len / 3 * 4 + 8);
    (void)snprintf(name, sizeof(name), "%s_base64", key);
    if (base64_encode(p, len, &b) == 0)
        out_strn(o, name, b.data, b.len);
    else
        o->error = ERR_NOMEM;
    buf_done(&b);
}

/* As text when a string keeps every byte, else as base64; absent when there is none. */
static void put_bytes(struct json_out *o, const char *key, const char *p, size_t len)
{
    if (p == NULL)
        return;
    if (out_is_text(p, len))
        out_strn(o, key, p, len);
    else
        put_base64(o, key, p, len);
}

static void put_text(struct json_out *o, const char *key, const char *s)
{
    put_bytes(o, key, s, s != NULL ? strlen(s) : 0);
}

static void put_id(struct json_out *o, const char *key, const struct id *id)
{
    char text[ID_TEXT_LEN + 1];
    if (id_is_zero(id))
        return;
    id_format(id, text);
    out_str(o, key, text);
}

static void put_attempt(struct json_out *o, const struct attempt *a)
{
    out_begin(o, NULL, '{');
    out_int(o, "started_at_ms", a->started_at_ms);
    out_int(o, "ended_at_ms", a->ended_at_ms);
    out_str(o, "outcome", outcome_name(a->outcome));
    put_text(o, "error_type", a->error_type);
    put_text(o, "error_message", a->error_message);
    put_bytes(o, "error", a->error, a->error_len);
    put_bytes(o, "log_tail", a->log_tail, a->log_tail_len);
    if (a->exit_code >= 0)
        out_int(o, "exit_code", a->exit_code);
    if (a->signal > 0)
        out_int(o, "signal", a->signal);
    out_uint(o, "peak_kb", a->peak_kb);
    put_text(o, "version", a->version);
    out_end(o, '}');
}

/* Not told from the blanks round a member, or from the end of the line. */
static bool is_lost_in_a_line(const char *p, size_t len)
{
    return strchr(" \t", p[0]) != NULL || strchr(" \t", p[len - 1]) != NULL || memchr(p, '\n', len) != NULL ||
           memchr(p, '\r', len) != NULL;
}

/* The bytes themselves when they are JSON and stay as they are; absent when there are none. */
static void put_payload(struct json_out *o, const void *p, size_t len)
{
    if (len == 0)
        return;
    if (!is_lost_in_a_line(p, len) && json_check_payload(p, len, NULL) == 0)
        out_raw(o, "payload", p, len);
    else
        put_base64(o, "payload", p, len);
}

void letter_out(struct json_out *o, const struct queue_import *l)
{
    const struct event *ev = &l->ev;
    out_begin(o, NULL, '{');
    out_int(o, "bide_dead_letter", LETTER_FORM);
    put_id(o, "id", &ev->id);
    out_str(o, "function", ev->name);
    if (*ev->qualifier)
        put_text(o, "qualifier", ev->qualifier);
    out_str(o, "state", event_state_name(ev->state));
    out_str(o, "condition", condition_name(ev->condition));
    out_int(o, "accepted_at_ms", ev->accepted_at_ms);
    out_int(o, "dead_at_ms", ev->ended_at_ms);
    out_uint(o, "attempt_count", ev->attempts);
    out_uint(o, "disruptions", ev->disruptions);
    out_uint(o, "lone_runs", ev->lone_runs);
    put_id(o, "replay_of", &ev->replay_of);
    put_id(o, "replayed_as", &ev->replayed_as);
    if (*ev->trace)
        put_text(o, "trace", ev->trace);
    out_begin(o, "attempts", '[');
    for (size_t i = 0; i < l->n_attempts; i++)
        put_attempt(o, &l->attempts[i]);
    out_end(o, ']');
    put_payload(o, l->payload, l->payload_len);
    out_end(o, '}');
}
