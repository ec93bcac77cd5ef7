/* Dead letters as lines of JSON. What is read is written, read again, and is the same in every member; written twice it
 * is the same bytes. The payload of a line, which is cut out of it before it is parsed, is the member that a parser of
 * the whole line finds.
 */
#include <jansson.h>

#include "fuzz.h"
#include "json_in.h"
#include "letter.h"

static void same_bytes(const void *a, size_t a_len, const void *b, size_t b_len, const char *what)
{
    BIDE_ASSERT((a == NULL) == (b == NULL) && a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0),
                "%s: %zu bytes, and %zu", what, a_len, b_len);
}

static void same_text(const char *a, const char *b, const char *what)
{
    same_bytes(a, a != NULL ? strlen(a) : 0, b, b != NULL ? strlen(b) : 0, what);
}

static void same_attempt(const struct attempt *a, const struct attempt *b)
{
    BIDE_ASSERT(a->started_at_ms == b->started_at_ms && a->ended_at_ms == b->ended_at_ms && a->outcome == b->outcome &&
                    a->exit_code == b->exit_code && a->signal == b->signal && a->peak_kb == b->peak_kb,
                "an attempt's numbers");
    same_text(a->version, b->version, "version");
    same_text(a->error_type, b->error_type, "error_type");
    same_text(a->error_message, b->error_message, "error_message");
    same_bytes(a->error, a->error_len, b->error, b->error_len, "error");
    same_bytes(a->log_tail, a->log_tail_len, b->log_tail, b->log_tail_len, "log_tail");
}

static void same_letter(const struct queue_import *a, const struct queue_import *b)
{
    BIDE_ASSERT(memcmp(&a->ev, &b->ev, sizeof a->ev) == 0, "the event");
    BIDE_ASSERT(a->n_attempts == b->n_attempts && a->n_attempts <= QUEUE_ATTEMPTS_MAX, "%zu attempts, and %zu",
                a->n_attempts, b->n_attempts);
    for (size_t i = 0; i < a->n_attempts; i++)
        same_attempt(&a->attempts[i], &b->attempts[i]);
    same_bytes(a->payload, a->payload_len, b->payload, b->payload_len, "payload");
}

static void write_letter(const struct queue_import *l, struct buf *b)
{
    struct json_out o;
    buf_init(b, 4 << 20);
    out_init(&o, b);
    letter_out(&o, l);
    BIDE_ASSERT(out_error(&o) == 0 && memchr(b->data, '\n', b->len) == NULL, "a letter cannot be written");
}

/* The line's member, by a parser that knows nothing of bytes that stay as they are: equal as JSON. */
static void check_payload(const char *line, size_t len, const struct queue_import *l)
{
    json_t *whole = json_loadb(line, len, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
    json_t *want = json_object_get(whole, "payload");
    if (want != NULL && !json_is_null(want)) {
        json_t *got =
            json_loadb(l->payload, l->payload_len, JSON_DECODE_ANY | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, NULL);
        BIDE_ASSERT(got != NULL && json_equal(got, want), "the payload is another than the line's");
        json_decref(got);
    }
    BIDE_ASSERT(whole == NULL || want != NULL || json_object_get(whole, "payload_base64") != NULL ||
                    l->payload_len == 0,
                "a payload that the line has not");
    json_decref(whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct letter_in in, again;
    struct err e = {0};
    struct buf first, second;
    char *line = exact(data, size);
    int rc = letter_in_read(&in, line, size, &e);
    if (rc == 0) {
        check_payload(line, size, &in.l);
        write_letter(&in.l, &first);
        rc = letter_in_read(&again, first.data, first.len, &e);
        BIDE_ASSERT(rc == 0, "what was written is refused: %s\n%s", e.text, first.data);
        same_letter(&in.l, &again.l);
        write_letter(&again.l, &second);
        same_bytes(first.data, first.len, second.data, second.len, "the line");
        letter_in_done(&again);
        letter_in_done(&in);
        buf_done(&first);
        buf_done(&second);
    } else {
        BIDE_ASSERT(rc == ERR_INVALID && e.code == rc && e.text[0] != '\0', "refused with %s", err_name(rc));
    }
    free(line);
    return 0;
}
