/* beanstalkd: put, reserve, delete. The protocol has no way to empty a tube: a run needs a server that holds nothing.
 */
#include <stdlib.h>
#include <string.h>

#include "peer.h"

static void open_(struct conn *c, bool first)
{
    (void)first;
    if (!c->producer)
        put_text(&c->out, "reserve\r\n");
}

static void produce(struct buf *request, const char *payload, size_t payload_len, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        put_text(request, "put 0 0 60 %zu\r\n", payload_len);
        put(request, payload, payload_len);
        put_text(request, "\r\n");
    }
}

static bool starts(const struct conn *c, const char *word)
{
    return strncmp(c->in.data, word, strlen(word)) == 0;
}

/* The length of a whole first line, which starts with word; -1 when it has not come yet. */
static ssize_t expect(const struct conn *c, const char *word)
{
    ssize_t n = line_len(c);
    if (n >= 0 && !starts(c, word))
        die("answered %.*s", (int)n, c->in.data);
    return n;
}

static size_t read_(struct conn *c)
{
    ssize_t n;
    if (c->producer) {
        size_t answers = 0;
        for (; (n = expect(c, "INSERTED ")) >= 0; answers++)
            buf_consume(&c->in, (size_t)n + 2);
        return answers;
    }
    if (c->busy) {
        if ((n = expect(c, "DELETED")) < 0)
            return 0;
        buf_consume(&c->in, (size_t)n + 2);
        c->busy = false;
        put_text(&c->out, "reserve\r\n");
        return 1;
    }
    if ((n = expect(c, "RESERVED ")) < 0)
        return 0;
    char *rest;
    unsigned long long id = strtoull(c->in.data + strlen("RESERVED "), &rest, 10);
    size_t whole = (size_t)n + 2 + strtoul(rest, NULL, 10) + 2;
    if (c->in.len < whole)
        return 0;
    buf_consume(&c->in, whole);
    put_text(&c->out, "delete %llu\r\n", id);
    c->busy = true;
    return 0;
}

static size_t count(struct conn *c)
{
    static const char key[] = "current-jobs-ready: ";
    ssize_t n;
    put_text(&c->out, "stats-tube default\r\n");
    do
        ask(c);
    while ((n = expect(c, "OK ")) < 0 || c->in.len < (size_t)n + 2 + strtoul(c->in.data + 3, NULL, 10) + 2);
    const char *at = strstr(c->in.data, key);
    if (at == NULL)
        die("has no %s", key);
    size_t ready = strtoul(at + strlen(key), NULL, 10);
    buf_clear(&c->in);
    return ready;
}

const struct protocol beanstalkd = {"beanstalkd", open_, produce, read_, count};
