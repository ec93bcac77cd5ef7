#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "json_in.h"
#include "letter.h"

static const int64_t TIME_MAX_MS = INT64_C(253402300799999); /* the end of the year 9999 */

/* --- where the payload stands -----
 *
 * Its bytes are kept as they are, numbers and blanks included, so it is cut out of the line before that is parsed. This
 * only has to be right about what is JSON: the rest is refused afterwards. */

static const char *skip_blank(const char *p, const char *end)
{
    while (p < end && strchr(" \t\r\n", *p) != NULL && *p != '\0')
        p++;
    return p;
}

/* Behind the string that begins at p. */
static const char *skip_string(const char *p, const char *end)
{
    for (p++; p < end && *p != '"'; p++)
        if (*p == '\\')
            p++;
    return p < end ? p + 1 : end;
}

static const char *skip_value(const char *p, const char *end)
{
    size_t depth = 0;
    do {
        p = skip_blank(p, end);
        if (p == end)
            return end;
        if (*p == '"') {
            p = skip_string(p, end);
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
        } else if (depth > 0 && (*p == '}' || *p == ']')) {
            depth--;
            p++;
        } else if (depth > 0 && (*p == ',' || *p == ':')) {
            p++;
        } else {
            const char *from = p;
            while (p < end && memchr(",:]} \t\r\n\"", *p, 10) == NULL)
                p++;
            if (p == from)
                return p;
        }
    } while (depth > 0);
    return p;
}

/* The value of a member of the object in line; p NULL: there is none. */
static struct slice find_member(const char *line, size_t len, const char *key)
{
    const char *p = skip_blank(line, line + len), *end = line + len;
    size_t key_len = strlen(key);
    if (p == end || *p != '{')
        return (struct slice){0};
    p++;
    for (;;) {
        p = skip_blank(p, end);
        if (p == end || *p != '"')
            return (struct slice){0};
        const char *name = p + 1;
        p = skip_string(p, end);
        bool found = (size_t)(p - name) == key_len + 1 && memcmp(name, key, key_len) == 0;
        p = skip_blank(p, end);
        if (p == end || *p != ':')
            return (struct slice){0};
        const char *value = skip_blank(p + 1, end);
        p = skip_value(value, end);
        if (found)
            return (struct slice){value, (size_t)(p - value)};
        p = skip_blank(p, end);
        if (p == end || *p != ',')
            return (struct slice){0};
        p++;
    }
}

/* --- members ----- */

struct reading {
    struct letter_in *in;
    struct json_in json;
    struct err *e;
    bool bad;
};

BIDE_PRINTF(2, 3) static void fault(struct reading *r, const char *fmt, ...)
{
    va_list ap;
    char text[200];
    if (r->bad)
        return; /* the first is told */
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    r->bad = true;
    (void)err_set(r->e, ERR_INVALID, "%s", text);
}

static int64_t get_int(struct reading *r, const json_t *o, const char *key, int64_t max, int64_t fallback)
{
    int64_t v = fallback;
    if (json_in_int(&r->json, o, key, &v) && (v < 0 || v > max))
        fault(r, "%s must be from 0 to %" PRId64, key, max);
    return v;
}

static int64_t must_time(struct reading *r, const char *key)
{
    int64_t v = get_int(r, r->json.root, key, TIME_MAX_MS, -1);
    if (v < 0)
        fault(r, "%s is missing", key);
    return v;
}

static struct id get_id(struct reading *r, const char *key)
{
    struct id id = {0};
    const char *text = json_in_str(&r->json, r->json.root, key);
    if (text != NULL && (id_parse(text, strlen(text), &id) < 0 || id_is_zero(&id)))
        fault(r, "%s is not an event id", key);
    return id;
}

static void get_name(struct reading *r, const char *key, char *out, size_t cap, const char *chars)
{
    size_t len;
    const char *text = json_in_strn(&r->json, r->json.root, key, &len);
    out[0] = '\0';
    if (text == NULL)
        return;
    if (len >= cap || strlen(text) != len)
        fault(r, "%s is longer than %zu bytes, or holds a NUL", key, cap - 1);
    else if (chars != NULL && strspn(text, chars) != len)
        fault(r, "%s has a character that none has", key);
    else
        memcpy(out, text, len + 1);
}

/* A copy in the letter's own memory, which was made large enough: nothing in a line is shorter than what it stands for.
 */
static const char *keep(struct reading *r, const void *p, size_t len)
{
    struct letter_in *in = r->in;
    char *to = in->text + in->text_len;
    BIDE_ASSERT(len < in->text_cap - in->text_len, "a letter's line stands for more than it has");
    memcpy(to, p, len);
    to[len] = '\0';
    in->text_len += len + 1;
    return to;
}

/* A member as text or as base64; NULL when it is not there. */
static const char *get_bytes(struct reading *r, const json_t *o, const char *key, size_t max, bool no_nul,
                             size_t *ret_len)
{
    char base64[40];
    size_t len, len64;
    (void)snprintf(base64, sizeof(base64), "%s_base64", key);
    const char *text = json_in_strn(&r->json, o, key, &len), *coded = json_in_strn(&r->json, o, base64, &len64);
    const char *kept = NULL;
    struct buf b;
    *ret_len = 0;
    if (text != NULL && coded != NULL)
        fault(r, "%s and %s: one of them", key, base64);
    if (r->bad || (text == NULL && coded == NULL))
        return NULL;
    buf_init(&b, len64 + 8);
    if (coded != NULL && base64_decode(coded, len64, &b) < 0)
        fault(r, "%s is not base64", base64);
    if (coded != NULL) {
        text = b.data != NULL ? b.data : "";
        len = b.len;
    }
    if (len > max)
        fault(r, "%s is longer than %zu bytes", key, max);
    else if (no_nul && memchr(text, '\0', len) != NULL)
        fault(r, "%s holds a NUL", key);
    else if (!r->bad)
        kept = keep(r, text, len);
    *ret_len = len;
    buf_done(&b);
    return kept;
}

/* --- attempts ----- */

static void read_attempt(struct reading *r, const json_t *o, struct attempt *a)
{
    size_t len;
    const char *outcome = json_in_str(&r->json, o, "outcome"), *version = json_in_str(&r->json, o, "version");
    if (!json_is_object(o)) {
        fault(r, "an attempt is not an object");
        return;
    }
    a->started_at_ms = get_int(r, o, "started_at_ms", TIME_MAX_MS, 0);
    a->ended_at_ms = get_int(r, o, "ended_at_ms", TIME_MAX_MS, 0);
    a->exit_code = (int)get_int(r, o, "exit_code", INT32_MAX, -1);
    a->signal = (int)get_int(r, o, "signal", 128, 0);
    a->peak_kb = (uint64_t)get_int(r, o, "peak_kb", INT64_MAX, 0);
    a->outcome = OUTCOMES;
    for (int k = 0; k < OUTCOMES && outcome != NULL; k++)
        if (strcmp(outcome, outcome_name((enum outcome)k)) == 0)
            a->outcome = (enum outcome)k;
    if (a->outcome == OUTCOMES)
        fault(r, "outcome of an attempt is missing, or none that there is");
    if (version != NULL && strlen(version) >= sizeof(a->version))
        fault(r, "version is longer than %zu bytes", sizeof(a->version) - 1);
    else if (version != NULL)
        memcpy(a->version, version, strlen(version) + 1);
    a->error_type = get_bytes(r, o, "error_type", QUEUE_TYPE_MAX, true, &len);
    a->error_message = get_bytes(r, o, "error_message", QUEUE_MESSAGE_MAX, true, &len);
    a->error = get_bytes(r, o, "error", QUEUE_ERROR_MAX, false, &a->error_len);
    a->log_tail = get_bytes(r, o, "log_tail", QUEUE_LOG_TAIL_MAX, false, &a->log_tail_len);
}

static void read_attempts(struct reading *r)
{
    struct queue_import *l = &r->in->l;
    const json_t *list = json_in_array(&r->json, r->json.root, "attempts");
    if (json_array_size(list) > QUEUE_ATTEMPTS_MAX)
        fault(r, "attempts are more than %d", QUEUE_ATTEMPTS_MAX);
    for (size_t i = 0; i < json_array_size(list) && !r->bad; i++, l->n_attempts++)
        read_attempt(r, json_array_get(list, i), &r->in->attempts[i]);
    l->ev.attempts = (uint32_t)get_int(r, r->json.root, "attempt_count", LETTER_COUNT_MAX, (int64_t)l->n_attempts);
    if (l->ev.attempts < l->n_attempts)
        fault(r, "attempt_count is less than the attempts there are");
}

/* --- the letter ----- */

static void read_words(struct reading *r)
{
    struct event *ev = &r->in->l.ev;
    const char *state = json_in_str(&r->json, r->json.root, "state");
    const char *condition = json_in_str(&r->json, r->json.root, "condition");
    ev->state = state == NULL || strcmp(state, "dead") == 0 ? EVENT_DEAD : EVENT_REPLAYED;
    if (state != NULL && strcmp(state, event_state_name(ev->state)) != 0)
        fault(r, "state is neither dead nor replayed");
    for (int k = CONDITION_NONE + 1; k < CONDITIONS && condition != NULL; k++)
        if (strcmp(condition, condition_name((enum condition)k)) == 0)
            ev->condition = (enum condition)k;
    if (ev->condition == CONDITION_NONE)
        fault(r, "condition is missing, or none that there is");
    if (ev->name[0] == '\0' && ev->condition != CONDITION_CORRUPT) /* whose name may be lost with the record */
        fault(r, "function is missing");
    if (ev->state == EVENT_REPLAYED && id_is_zero(&ev->replayed_as))
        fault(r, "replayed_as is missing");
}

static void read_event(struct reading *r)
{
    static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    struct event *ev = &r->in->l.ev;
    int64_t form = get_int(r, r->json.root, "bide_dead_letter", INT32_MAX, 0);
    if (form > LETTER_FORM)
        fault(r, "written by a newer bide (form %" PRId64 ", this one reads up to %d)", form, LETTER_FORM);
    else if (form < 1)
        fault(r, "is no exported dead letter: bide_dead_letter is missing");
    ev->id = get_id(r, "id");
    if (id_is_zero(&ev->id))
        fault(r, "id is missing");
    get_name(r, "function", ev->name, sizeof(ev->name), chars);
    get_name(r, "qualifier", ev->qualifier, sizeof(ev->qualifier), NULL);
    get_name(r, "trace", ev->trace, sizeof(ev->trace), NULL);
    ev->accepted_at_ms = must_time(r, "accepted_at_ms");
    ev->ended_at_ms = must_time(r, "dead_at_ms");
    ev->disruptions = (uint32_t)get_int(r, r->json.root, "disruptions", LETTER_COUNT_MAX, 0);
    ev->lone_runs = (uint32_t)get_int(r, r->json.root, "lone_runs", LETTER_COUNT_MAX, 0);
    ev->replay_of = get_id(r, "replay_of");
    ev->replayed_as = get_id(r, "replayed_as");
}

static void read_payload(struct reading *r, struct slice raw)
{
    struct queue_import *l = &r->in->l;
    struct err e = {0};
    const json_t *rest = json_object_get(r->json.root, "payload"); /* it was cut out, and null stands in its place */
    if (rest != NULL && !json_is_null(rest))
        fault(r, "payload is written in a way that hides it");
    l->payload = get_bytes(r, r->json.root, "payload", LETTER_PAYLOAD_MAX, false, &l->payload_len);
    if (l->payload == NULL)
        l->payload = "";
    if (raw.p == NULL || r->bad)
        return;
    if (json_object_get(r->json.root, "payload_base64") != NULL)
        fault(r, "payload and payload_base64: one of them");
    else if (raw.len > LETTER_PAYLOAD_MAX)
        fault(r, "payload is longer than %d bytes", LETTER_PAYLOAD_MAX);
    else if (json_check_payload(raw.p, raw.len, &e) < 0)
        fault(r, "payload: %s", e.text);
    else
        l->payload = keep(r, raw.p, raw.len);
    l->payload_len = raw.len;
}

static void read_letter(struct reading *r, struct slice raw)
{
    read_event(r);
    read_words(r);
    if (!r->bad)
        read_attempts(r);
    if (!r->bad)
        read_payload(r, raw);
    if (r->json.type.code < 0)
        fault(r, "%s", r->json.type.text);
    r->in->l.attempts = r->in->attempts;
}

/* The line with null in the payload's place. */
static int without(const char *line, size_t len, struct slice raw, struct buf *b)
{
    if (raw.p == NULL)
        return buf_append(b, line, len);
    size_t before = (size_t)((const char *)raw.p - line);
    int rc = buf_append(b, line, before);
    if (rc == 0)
        rc = buf_puts(b, "null");
    return rc < 0 ? rc : buf_append(b, (const char *)raw.p + raw.len, len - before - raw.len);
}

int letter_in_read(struct letter_in *ret, const char *line, size_t len, struct err *e)
{
    struct reading r = {.in = ret, .e = e};
    struct slice raw = find_member(line, len, "payload");
    struct buf rest;
    memset(ret, 0, sizeof(*ret));
    ret->text_cap = len + (size_t)QUEUE_ATTEMPTS_MAX * 8 + 64;
    ret->text = malloc(ret->text_cap);
    buf_init(&rest, len + 8);
    int rc = ret->text != NULL ? without(line, len, raw, &rest) : ERR_NOMEM;
    if (rc == 0)
        rc = json_in_parse(&r.json, rest.data, rest.len, e);
    buf_done(&rest);
    if (rc == 0) {
        read_letter(&r, raw);
        json_in_done(&r.json);
        rc = r.bad ? ERR_INVALID : 0;
    }
    if (rc < 0)
        letter_in_done(ret);
    return rc;
}

void letter_in_done(struct letter_in *in)
{
    free(in->text);
    in->text = NULL;
}
