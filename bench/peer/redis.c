/* Redis: a list of jobs, LPUSH to add. A consumer moves a job to a second list (BLMOVE) and removes it from there when
 * it is done (LREM), so that a consumer's crash loses nothing. With `appendfsync always` each answer comes after the
 * sync of what it tells of. */
#include <stdlib.h>
#include <string.h>

#include "peer.h"

#define PUSH  "$5\r\nLPUSH\r\n$4\r\njobs\r\n"
#define MOVE  "*6\r\n$6\r\nBLMOVE\r\n$4\r\njobs\r\n$5\r\ndoing\r\n$5\r\nRIGHT\r\n$4\r\nLEFT\r\n$1\r\n0\r\n"
#define CLEAR "*3\r\n$6\r\nUNLINK\r\n$4\r\njobs\r\n$5\r\ndoing\r\n"
#define COUNT "*2\r\n$4\r\nLLEN\r\n$4\r\njobs\r\n"

static void put_value(struct buf *b, const char *p, size_t n)
{
    put_text(b, "$%zu\r\n", n);
    put(b, p, n);
    put_text(b, "\r\n");
}

/* n commands, sent together. */
static void produce(struct buf *request, const char *payload, size_t payload_len, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        put_text(request, "*3\r\n" PUSH);
        put_value(request, payload, payload_len);
    }
}

/* One command of n values. */
static void produce_values(struct buf *request, const char *payload, size_t payload_len, size_t n)
{
    put_text(request, "*%zu\r\n" PUSH, n + 2);
    for (size_t i = 0; i < n; i++)
        put_value(request, payload, payload_len);
}

/* Take an integer answer when it is whole. */
static bool take_integer(struct conn *c, size_t *ret)
{
    ssize_t n = line_len(c);
    if (n < 0)
        return false;
    if (c->in.data[0] != ':')
        die("answered %.*s", (int)n, c->in.data);
    *ret = strtoul(c->in.data + 1, NULL, 10);
    buf_consume(&c->in, (size_t)n + 2);
    return true;
}

static size_t consume(struct conn *c)
{
    size_t n;
    if (c->busy) {
        if (!take_integer(c, &n))
            return 0;
        if (n != 1)
            die("a job that was taken is gone");
        c->busy = false;
        put(&c->out, MOVE, sizeof MOVE - 1);
        return 1;
    }
    ssize_t head = line_len(c);
    if (head < 0)
        return 0;
    if (c->in.data[0] != '$')
        die("answered %.*s", (int)head, c->in.data);
    n = strtoul(c->in.data + 1, NULL, 10);
    if (c->in.len < (size_t)head + 2 + n + 2)
        return 0;
    put_text(&c->out, "*4\r\n$4\r\nLREM\r\n$5\r\ndoing\r\n$1\r\n1\r\n");
    put_value(&c->out, c->in.data + head + 2, n);
    buf_consume(&c->in, (size_t)head + 2 + n + 2);
    c->busy = true;
    return 0;
}

static size_t read_each(struct conn *c)
{
    size_t answers = 0, length;
    if (!c->producer)
        return consume(c);
    while (take_integer(c, &length))
        answers++;
    return answers;
}

static size_t read_values(struct conn *c)
{
    size_t length;
    if (!c->producer)
        return consume(c);
    return take_integer(c, &length) ? c->left : 0;
}

static size_t integer(struct conn *c, const char *command)
{
    size_t n;
    put_text(&c->out, "%s", command);
    do
        ask(c);
    while (!take_integer(c, &n));
    return n;
}

static void open_(struct conn *c, bool first)
{
    if (first)
        (void)integer(c, CLEAR);
    if (!c->producer)
        put(&c->out, MOVE, sizeof MOVE - 1);
}

static size_t count(struct conn *c)
{
    return integer(c, COUNT);
}

const struct protocol redis = {"redis", open_, produce, read_each, count};
const struct protocol redis_values = {"redis-values", open_, produce_values, read_values, count};
