/* RabbitMQ: AMQP 0-9-1, as much of it as is needed. Persistent messages to a durable quorum queue through the default
 * exchange, publisher confirms; consumers acknowledge one by one. The broker does not answer an acknowledgement, so a
 * job is done when that has been sent. */
#include <endian.h>
#include <string.h>

#include "peer.h"

#define QUEUE "bench-jobs"
enum {
    METHOD = 1,
    HEADER = 2,
    BODY = 3,
    FRAME_HEAD = 7,
    FRAME_END = 0xCE,
    FRAME_MAX = 131072,
    CHANNEL = 1,
    PREFETCH = 16, /* jobs a consumer is given before it has acknowledged the first */
    PASSIVE = 1,
    DURABLE = 2
};

/* Class and method. */
#define ID(class, method) ((uint32_t)(class) << 16 | (method))
enum {
    CONNECTION_START = ID(10, 10),
    CONNECTION_START_OK = ID(10, 11),
    CONNECTION_TUNE = ID(10, 30),
    CONNECTION_TUNE_OK = ID(10, 31),
    CONNECTION_OPEN = ID(10, 40),
    CONNECTION_OPEN_OK = ID(10, 41),
    CONNECTION_CLOSE = ID(10, 50),
    CHANNEL_OPEN = ID(20, 10),
    CHANNEL_OPEN_OK = ID(20, 11),
    CHANNEL_CLOSE = ID(20, 40),
    QUEUE_DECLARE = ID(50, 10),
    QUEUE_DECLARE_OK = ID(50, 11),
    QUEUE_DELETE = ID(50, 40),
    QUEUE_DELETE_OK = ID(50, 41),
    BASIC_QOS = ID(60, 10),
    BASIC_QOS_OK = ID(60, 11),
    BASIC_CONSUME = ID(60, 20),
    BASIC_CONSUME_OK = ID(60, 21),
    BASIC_PUBLISH = ID(60, 40),
    BASIC_DELIVER = ID(60, 60),
    BASIC_ACK = ID(60, 80),
    BASIC_NACK = ID(60, 120),
    CONFIRM_SELECT = ID(85, 10),
    CONFIRM_SELECT_OK = ID(85, 11)
};

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void put8(struct buf *b, uint8_t v)
{
    put(b, &v, 1);
}

static void put16(struct buf *b, uint16_t v)
{
    v = htobe16(v);
    put(b, &v, sizeof v);
}

static void put32(struct buf *b, uint32_t v)
{
    v = htobe32(v);
    put(b, &v, sizeof v);
}

static void put64(struct buf *b, uint64_t v)
{
    v = htobe64(v);
    put(b, &v, sizeof v);
}

static void put_short(struct buf *b, const char *s)
{
    put8(b, (uint8_t)strlen(s));
    put(b, s, strlen(s));
}

/* A frame is what is put between these two; the value is where its length goes. */
static size_t frame_begin(struct buf *b, uint8_t type, uint16_t channel)
{
    put8(b, type);
    put16(b, channel);
    put32(b, 0);
    return b->len;
}

static void frame_end(struct buf *b, size_t from)
{
    uint32_t len = htobe32((uint32_t)(b->len - from));
    memcpy(b->data + from - sizeof len, &len, sizeof len);
    put8(b, FRAME_END);
}

static size_t method_begin(struct buf *b, uint32_t id)
{
    size_t from = frame_begin(b, METHOD, id >> 16 == 10 ? 0 : CHANNEL); /* class 10 is the connection's own */
    put32(b, id);
    return from;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

struct frame {
    uint8_t type;
    uint32_t id;   /* of a method */
    const char *p; /* what follows the id, or the whole of another type's; in c->in */
    size_t len;
    size_t whole; /* bytes of c->in to drop */
};

static uint32_t get32(const char *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return be32toh(v);
}

static uint64_t get64(const char *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return be64toh(v);
}

static _Noreturn void die_of(const struct frame *f)
{
    if ((f->id == CONNECTION_CLOSE || f->id == CHANNEL_CLOSE) && f->len > 3 && f->len > 3 + (size_t)(uint8_t)f->p[2])
        die("closed by the broker: %.*s", (int)(uint8_t)f->p[2], f->p + 3);
    die("unexpected method %u.%u", f->id >> 16, f->id & 0xFFFF);
}

/* The frame at `at` in c->in, when it is whole. */
static bool frame_at(const struct conn *c, size_t at, struct frame *ret)
{
    const char *p = c->in.data + at;
    size_t have = c->in.len - at;
    if (have < FRAME_HEAD || have < FRAME_HEAD + get32(p + 3) + 1)
        return false;
    *ret = (struct frame){.type = (uint8_t)p[0], .p = p + FRAME_HEAD, .len = get32(p + 3)};
    ret->whole = FRAME_HEAD + ret->len + 1;
    if ((uint8_t)p[ret->whole - 1] != FRAME_END)
        die("sent a frame without an end");
    if (ret->type == METHOD && ret->len >= 4) {
        ret->id = get32(ret->p);
        ret->p += 4;
        ret->len -= 4;
    }
    return true;
}

/* Send c->out and wait for this method; what it says stays in *ret until the next call. */
static void expect(struct conn *c, uint32_t id, struct frame *ret)
{
    ask(c);
    while (!frame_at(c, 0, ret))
        receive_some(c);
    if (ret->type != METHOD || ret->id != id)
        die_of(ret);
}

static void drop(struct conn *c, const struct frame *f)
{
    buf_consume(&c->in, f->whole);
}

static void call(struct conn *c, size_t from, uint32_t answer)
{
    struct frame f;
    frame_end(&c->out, from);
    expect(c, answer, &f);
    drop(c, &f);
}

/* --- the protocol ------------------------------------------------------------------------------------------------- */

static void log_in(struct conn *c)
{
    struct frame f;
    put(&c->out, "AMQP\0\0\11\1", 8);
    expect(c, CONNECTION_START, &f);
    drop(c, &f);
    size_t from = method_begin(&c->out, CONNECTION_START_OK);
    put32(&c->out, 0); /* no properties */
    put_short(&c->out, "PLAIN");
    put32(&c->out, 12);
    put(&c->out, "\0guest\0guest", 12);
    put_short(&c->out, "en_US");
    call(c, from, CONNECTION_TUNE);
    from = method_begin(&c->out, CONNECTION_TUNE_OK);
    put16(&c->out, CHANNEL);
    put32(&c->out, FRAME_MAX);
    put16(&c->out, 0); /* no heartbeats */
    frame_end(&c->out, from);
    from = method_begin(&c->out, CONNECTION_OPEN);
    put_short(&c->out, "/");
    put16(&c->out, 0);
    call(c, from, CONNECTION_OPEN_OK);
    from = method_begin(&c->out, CHANNEL_OPEN);
    put_short(&c->out, "");
    call(c, from, CHANNEL_OPEN_OK);
}

static size_t declare_begin(struct conn *c, uint8_t flags)
{
    size_t from = method_begin(&c->out, QUEUE_DECLARE);
    put16(&c->out, 0);
    put_short(&c->out, QUEUE);
    put8(&c->out, flags);
    put32(&c->out, 1 + 12 + 1 + 4 + 6); /* a table of one entry */
    put_short(&c->out, "x-queue-type");
    put8(&c->out, 'S');
    put32(&c->out, 6);
    put(&c->out, "quorum", 6);
    return from;
}

static void new_queue(struct conn *c)
{
    size_t from = method_begin(&c->out, QUEUE_DELETE);
    put16(&c->out, 0);
    put_short(&c->out, QUEUE);
    put8(&c->out, 0);
    call(c, from, QUEUE_DELETE_OK);
    call(c, declare_begin(c, DURABLE), QUEUE_DECLARE_OK);
}

static void open_(struct conn *c, bool first)
{
    size_t from;
    log_in(c);
    if (first)
        new_queue(c);
    if (c->producer) {
        from = method_begin(&c->out, CONFIRM_SELECT);
        put8(&c->out, 0);
        call(c, from, CONFIRM_SELECT_OK);
        return;
    }
    from = method_begin(&c->out, BASIC_QOS);
    put32(&c->out, 0);
    put16(&c->out, PREFETCH);
    put8(&c->out, 0);
    call(c, from, BASIC_QOS_OK);
    from = method_begin(&c->out, BASIC_CONSUME);
    put16(&c->out, 0);
    put_short(&c->out, QUEUE);
    put_short(&c->out, "");
    put8(&c->out, 0);
    put32(&c->out, 0);
    call(c, from, BASIC_CONSUME_OK);
}

static void produce(struct buf *request, const char *payload, size_t payload_len, size_t n)
{
    if (payload_len > FRAME_MAX - FRAME_HEAD - 1)
        die("the payload does not fit into a frame");
    for (size_t i = 0; i < n; i++) {
        size_t from = method_begin(request, BASIC_PUBLISH);
        put16(request, 0);
        put_short(request, "");
        put_short(request, QUEUE);
        put8(request, 0);
        frame_end(request, from);
        from = frame_begin(request, HEADER, CHANNEL);
        put16(request, 60);
        put16(request, 0);
        put64(request, payload_len);
        put16(request, 0x1000); /* one property follows: the delivery mode */
        put8(request, 2);       /* persistent */
        frame_end(request, from);
        from = frame_begin(request, BODY, CHANNEL);
        put(request, payload, payload_len);
        frame_end(request, from);
    }
}

/* A confirm, of one message or of all up to it: how many that had none. In which order they come is the broker's. */
static size_t confirmed(struct conn *c, const struct frame *f)
{
    if (f->id != BASIC_ACK || f->len < 9)
        die_of(f);
    size_t i = (size_t)(get64(f->p) - c->tag), n = 0;
    if (i < 1 || i > c->left + c->seen.len)
        die("a message is confirmed that was not sent");
    while (c->seen.len < i)
        put8(&c->seen, 0);
    for (size_t k = f->p[8] == 0 ? i - 1 : 0; k < i; k++) {
        n += c->seen.data[k] == 0;
        c->seen.data[k] = 1;
    }
    return n;
}

static void delivered(struct conn *c, const struct frame *f)
{
    if (f->id != BASIC_DELIVER || f->len < 1 || f->len < 1 + (size_t)(uint8_t)f->p[0] + 8)
        die_of(f);
    c->tag = get64(f->p + 1 + (uint8_t)f->p[0]);
}

static void acknowledge(struct conn *c)
{
    size_t from = method_begin(&c->out, BASIC_ACK);
    put64(&c->out, c->tag);
    put8(&c->out, 0);
    frame_end(&c->out, from);
}

static size_t read_(struct conn *c)
{
    size_t at = 0, n = 0;
    for (struct frame f; frame_at(c, at, &f); at += f.whole) {
        if (c->producer && f.type == METHOD)
            n += confirmed(c, &f);
        else if (f.type == METHOD)
            delivered(c, &f);
        else if (f.type == BODY) {
            acknowledge(c);
            n++;
        }
    }
    buf_consume(&c->in, at);
    if (c->producer && n == c->left) {
        c->tag += c->seen.len;
        buf_clear(&c->seen);
    }
    return n;
}

static size_t count(struct conn *c)
{
    struct frame f;
    frame_end(&c->out, declare_begin(c, PASSIVE | DURABLE));
    expect(c, QUEUE_DECLARE_OK, &f);
    if (f.len < 1 + (size_t)(uint8_t)f.p[0] + 8)
        die_of(&f);
    size_t n = get32(f.p + 1 + (uint8_t)f.p[0]);
    drop(c, &f);
    return n;
}

const struct protocol amqp = {"amqp", open_, produce, read_, count};
