/* Stored records: queue, dead-letter store, registry. The input is a kind, a version and a body; the frame with its
 * checksum is put round it here, since no input would get past that by chance (the kind's high bit leaves it off: then
 * the input is the whole record). What is decoded is encoded, decoded again, and is the same value; encoded again, the
 * same bytes. What is refused is refused by name.
 */
#include "../../registry/codec.h"
#include "../../registry/function.h"
#include "base/hash.h"
#include "codec.h" /* the queue's */
#include "fuzz.h"
#include "priv.h" /* the dead-letter store's */

enum { OUT_MAX = 1 << 20, RAW = 0x80 };

/* A record: in memory of exactly its size. */
static void *record(const uint8_t *data, size_t size, bool raw, size_t *ret_len)
{
    size_t body = size > 0 ? size - 1 : 0, len = RECORD_HEAD_LEN + body;
    if (raw || size == 0) {
        *ret_len = size;
        return exact(data, size);
    }
    uint8_t *r = malloc(len);
    BIDE_ASSERT(r != NULL, "out of memory");
    r[0] = data[0];
    memcpy(r + RECORD_HEAD_LEN, data + 1, body);
    uint32_t crc = crc32c(crc32c(0, r, 1), r + RECORD_HEAD_LEN, body);
    for (int i = 0; i < 4; i++)
        r[1 + i] = (uint8_t)(crc >> (24 - 8 * i));
    *ret_len = len;
    return r;
}

static bool taken(int rc)
{
    BIDE_ASSERT(rc == 0 || rc == ERR_CORRUPT || rc == ERR_VERSION, "refused with %s", err_name(rc));
    return rc == 0;
}

/* First and second encoding; the first is what is decoded again in between. */
struct twice {
    struct buf a, b;
};

static void twice_init(struct twice *t)
{
    buf_init(&t->a, OUT_MAX);
    buf_init(&t->b, OUT_MAX);
}

static void twice_done(struct twice *t)
{
    BIDE_ASSERT(t->a.len == t->b.len && memcmp(t->a.data, t->b.data, t->a.len) == 0, "encoded again: other bytes");
    buf_done(&t->a);
    buf_done(&t->b);
}

#define MUST(rc_)                                                                                                      \
    do {                                                                                                               \
        int must_ = (rc_);                                                                                             \
        BIDE_ASSERT(must_ == 0, "%s: %s", #rc_, err_name(must_));                                                      \
    } while (0)

static bool same_slice(struct slice a, struct slice b)
{
    return (a.p == NULL) == (b.p == NULL) && a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}

/* --- queue -------------------------------------------------------------------------------------------------------- */

static void check_event(const void *p, size_t len)
{
    static struct stored x, y;
    struct twice t;
    if (!taken(decode_event(p, len, 7, &x)))
        return;
    BIDE_ASSERT(x.ev.seq == 7 && x.n_briefs <= QUEUE_ATTEMPTS_MAX && x.ev.state > EVENT_NONE &&
                    x.ev.state < EVENT_REMOVED && x.ev.condition < CONDITIONS,
                "an event out of its ranges");
    twice_init(&t);
    MUST(codec_event(&t.a, &x));
    MUST(decode_event(t.a.data, t.a.len, 7, &y));
    MUST(codec_event(&t.b, &y));
    BIDE_ASSERT(memcmp(&x.ev, &y.ev, sizeof x.ev) == 0 && x.n_briefs == y.n_briefs &&
                    memcmp(x.briefs, y.briefs, sizeof x.briefs) == 0 && same_slice(x.payload, y.payload),
                "another event");
    twice_done(&t);
}

static void check_running(const void *p, size_t len)
{
    struct running x, y;
    struct twice t;
    if (!taken(decode_running(p, len, &x)))
        return;
    twice_init(&t);
    MUST(codec_running(&t.a, &x));
    MUST(decode_running(t.a.data, t.a.len, &y));
    MUST(codec_running(&t.b, &y));
    BIDE_ASSERT(x.run == y.run && x.started_at_ms == y.started_at_ms && x.lone == y.lone &&
                    x.cancel_asked == y.cancel_asked,
                "another run");
    twice_done(&t);
}

/* The encoder takes C strings, cut to their ceilings: what it wrote itself is what comes back. */
static struct attempt of_details(const struct details *d, char *type, char *message)
{
    struct attempt a = {.error = d->error.p, .error_len = d->error.len};
    a.log_tail = d->log_tail.p;
    a.log_tail_len = d->log_tail.len;
    if (d->error_type.p != NULL)
        a.error_type = memcpy(type, d->error_type.p, d->error_type.len);
    if (d->error_message.p != NULL)
        a.error_message = memcpy(message, d->error_message.p, d->error_message.len);
    return a;
}

static void check_details(const void *p, size_t len)
{
    struct details x, y;
    struct twice t;
    char *text = calloc(2, len + 1), *text_again = calloc(2, len + 1);
    BIDE_ASSERT(text != NULL && text_again != NULL, "out of memory");
    if (taken(decode_details(p, len, &x))) {
        struct attempt a = of_details(&x, text, text + len + 1);
        twice_init(&t);
        MUST(codec_attempt(&t.a, &a));
        MUST(decode_details(t.a.data, t.a.len, &y));
        BIDE_ASSERT((x.error_type.p == NULL) == (y.error_type.p == NULL) && y.error_type.len <= QUEUE_TYPE_MAX &&
                        y.error_message.len <= QUEUE_MESSAGE_MAX && y.error.len <= QUEUE_ERROR_MAX &&
                        y.log_tail.len <= QUEUE_LOG_TAIL_MAX,
                    "details over their ceilings");
        struct attempt b = of_details(&y, text_again, text_again + len + 1);
        MUST(codec_attempt(&t.b, &b));
        twice_done(&t);
    }
    free(text);
    free(text_again);
}

static void check_chunk(const void *p, size_t len)
{
    struct slice x, y;
    struct twice t;
    if (!taken(decode_chunk(p, len, &x)))
        return;
    twice_init(&t);
    MUST(codec_chunk(&t.a, x.p, x.len));
    MUST(decode_chunk(t.a.data, t.a.len, &y));
    MUST(codec_chunk(&t.b, y.p, y.len));
    BIDE_ASSERT(x.len == y.len && (x.len == 0 || memcmp(x.p, y.p, x.len) == 0), "another chunk");
    twice_done(&t);
}

struct all_books {
    struct books k;
    uint64_t next_seq, next_finish, history_bytes;
    int64_t max_wait_ms, last_ms;
};

static int books_in(const void *p, size_t len, struct all_books *x)
{
    return decode_books(p, len, &x->k, &x->next_seq, &x->next_finish, &x->history_bytes, &x->max_wait_ms, &x->last_ms);
}

static int books_out(struct buf *b, const struct all_books *x)
{
    return codec_books(b, &x->k, x->next_seq, x->next_finish, x->history_bytes, x->max_wait_ms, x->last_ms);
}

static void check_books(const void *p, size_t len)
{
    struct all_books x, y;
    struct twice t;
    if (!taken(books_in(p, len, &x)))
        return;
    twice_init(&t);
    MUST(books_out(&t.a, &x));
    MUST(books_in(t.a.data, t.a.len, &y));
    MUST(books_out(&t.b, &y));
    BIDE_ASSERT(memcmp(&x, &y, sizeof x) == 0, "other books");
    twice_done(&t);
}

static void check_stats(const void *p, size_t len)
{
    struct queue_function_stats x, y;
    struct twice t;
    if (!taken(decode_stats(p, len, &x)))
        return;
    twice_init(&t);
    MUST(codec_stats(&t.a, &x));
    MUST(decode_stats(t.a.data, t.a.len, &y));
    MUST(codec_stats(&t.b, &y));
    twice_done(&t);
}

/* --- dead letters ------------------------------------------------------------------------------------------------- */

static void check_letter(const void *p, size_t len)
{
    static const uint8_t key[8] = {0, 0, 0, 0, 0, 0, 1, 2};
    static struct letter x, y;
    struct twice t;
    if (!taken(letter_decode((struct slice){key, sizeof key}, (struct slice){p, len}, &x)))
        return;
    BIDE_ASSERT(letter_decode((struct slice){key, 7}, (struct slice){p, len}, &y) == ERR_CORRUPT, "a short key");
    twice_init(&t);
    MUST(letter_encode(&t.a, &x));
    MUST(letter_decode((struct slice){key, sizeof key}, (struct slice){t.a.data, t.a.len}, &y));
    MUST(letter_encode(&t.b, &y));
    BIDE_ASSERT(x.place == 0x102 && y.place == x.place && x.seq == y.seq && x.bytes == y.bytes &&
                    x.kept_from_ms == y.kept_from_ms && strcmp(x.error_type, y.error_type) == 0 &&
                    strcmp(x.error_message, y.error_message) == 0,
                "another letter");
    twice_done(&t);
}

static void check_totals(const void *p, size_t len)
{
    struct totals x, y;
    struct twice t;
    if (!taken(totals_decode((struct slice){p, len}, &x)))
        return;
    twice_init(&t);
    MUST(totals_encode(&t.a, &x));
    MUST(totals_decode((struct slice){t.a.data, t.a.len}, &y));
    MUST(totals_encode(&t.b, &y));
    BIDE_ASSERT(memcmp(&x, &y, sizeof x) == 0, "other totals");
    twice_done(&t);
}

/* --- functions ---------------------------------------------------------------------------------------------------- */

static void check_pairs(const struct pair *a, const struct pair *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        BIDE_ASSERT(strcmp(a[i].key, b[i].key) == 0 && strcmp(a[i].value, b[i].value) == 0, "pair %zu of %zu", i, n);
}

static void check_function(const void *p, size_t len)
{
    const struct function *x, *y;
    struct twice t;
    if (!taken(function_decode(p, len, &x)))
        return;
    BIDE_ASSERT(x->fid != 0 && x->name[0] != '\0' && x->state <= FUNCTION_FAILED && x->update <= UPDATE_FAILED,
                "a function out of its ranges");
    twice_init(&t);
    MUST(function_encode(x, &t.a));
    MUST(function_decode(t.a.data, t.a.len, &y));
    BIDE_ASSERT(x->n_env == y->n_env && x->n_tags == y->n_tags && strcmp(x->name, y->name) == 0 &&
                    x->reserved == y->reserved && x->paused == y->paused &&
                    memcmp(&x->async, &y->async, sizeof x->async) == 0,
                "another function");
    check_pairs(x->tags, y->tags, x->n_tags);
    check_pairs(x->env, y->env, x->n_env);
    MUST(function_encode(y, &t.b));
    function_unref(y);
    function_unref(x);
    twice_done(&t);
}

typedef void check_fn(const void *p, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static check_fn *const kinds[] = {check_event, check_running, check_details, check_chunk,   check_books,
                                      check_stats, check_letter,  check_totals,  check_function};
    struct feed f = {data, size};
    uint8_t kind = feed_byte(&f);
    size_t len;
    void *r = record(f.p, f.left, (kind & RAW) != 0, &len);
    kinds[(kind & 0x7fu) % (sizeof kinds / sizeof *kinds)](r, len);
    free(r);
    return 0;
}
