/* Closed-loop load on another queue, to be measured beside bided: producers that each wait for their answer before the
 * next request, consumers that each take a job and say that it is done, one thread, epoll. Prints one JSON line.
 *
 *   peer PROTOCOL ADDR PORT PRODUCERS CONSUMERS SECONDS PAYLOAD_BYTES BATCH
 *
 * Producers stop after SECONDS. Without consumers that is the end, and the queue is asked whether it holds what it
 * answered for: the rate is of answers. With consumers the end is when the last job is done: the rate is of jobs done.
 */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum {
    CONNECTIONS_MAX = 1024,
    SAMPLES_MAX = 4000000,
    READ_MAX = 65536,
    BUFFER_MAX = 16 << 20,
    DRAIN_S = 120,
    KEPT_MS = 3000,
    BATCH_MAX = 10000
};

static const struct protocol *const protocols[] = {&beanstalkd, &redis, &redis_values, &amqp};

static const struct protocol *protocol;
static struct sockaddr_in address;
static struct buf request;
static size_t batch;
static uint32_t *samples;
static size_t n_samples, n_sent, n_answered, n_done;
static bool stopping; /* no new requests */
static int poller;

void die(const char *format, ...)
{
    va_list ap;
    va_start(ap, format);
    (void)fprintf(stderr, "peer: %s: ", protocol != NULL ? protocol->name : "?");
    (void)vfprintf(stderr, format, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

/* --- for protocols ------------------------------------------------------------------------------------------------ */

void put(struct buf *b, const void *p, size_t n)
{
    if (buf_append(b, p, n) < 0)
        die("out of memory");
}

void put_text(struct buf *b, const char *format, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, format);
    int n = vsnprintf(text, sizeof text, format, ap);
    va_end(ap);
    put(b, text, (size_t)n);
}

ssize_t line_len(const struct conn *c)
{
    const char *end = memmem(c->in.data, c->in.len, "\r\n", 2);
    return end != NULL ? end - c->in.data : -1;
}

void receive_some(struct conn *c)
{
    if (buf_reserve(&c->in, READ_MAX) < 0)
        die("an answer is too long");
    ssize_t n = recv(c->fd, c->in.data + c->in.len, READ_MAX, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die("the server closed a connection: %s", n < 0 ? strerror(errno) : "end");
    c->in.len += (size_t)n;
    c->in.data[c->in.len] = '\0';
}

static void send_out(struct conn *c)
{
    while (c->out.len > 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            die("send: %s", strerror(errno));
        buf_consume(&c->out, (size_t)n);
    }
}

void ask(struct conn *c)
{
    send_out(c);
    receive_some(c);
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static void connect_to(struct conn *c, bool producer)
{
    int on = 1;
    memset(c, 0, sizeof *c);
    c->producer = producer;
    buf_init(&c->in, BUFFER_MAX);
    buf_init(&c->out, BUFFER_MAX);
    buf_init(&c->seen, BATCH_MAX);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("connect: %s", strerror(errno));
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void disconnect(struct conn *c)
{
    close(c->fd);
    buf_done(&c->in);
    buf_done(&c->out);
    buf_done(&c->seen);
}

static void produce(struct conn *c)
{
    c->left = batch;
    n_sent += batch;
    put(&c->out, request.data, request.len);
    c->from_us = clock_mono_us();
}

static void answered(struct conn *c, size_t n)
{
    if (n > c->left)
        die("more answers than requests");
    n_answered += n;
    c->left -= n;
    if (c->left > 0)
        return;
    if (n_samples < SAMPLES_MAX)
        samples[n_samples++] = (uint32_t)(clock_mono_us() - c->from_us);
    if (!stopping)
        produce(c);
}

static void watch(struct conn *c, int op, uint32_t events)
{
    struct epoll_event ev = {.events = events, .data.ptr = c};
    if (epoll_ctl(poller, op, c->fd, &ev) < 0)
        die("epoll: %s", strerror(errno));
}

/* Send, and watch for room while something is left. */
static void send_on(struct conn *c)
{
    bool waited = c->waits_for_room;
    send_out(c);
    c->waits_for_room = c->out.len > 0;
    if (c->waits_for_room != waited)
        watch(c, EPOLL_CTL_MOD, c->waits_for_room ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void turn(struct conn *c, uint32_t events)
{
    if (events & ~(uint32_t)EPOLLOUT) {
        receive_some(c);
        size_t n = protocol->read(c);
        if (n > 0 && c->producer)
            answered(c, n);
        else
            n_done += n;
    }
    send_on(c);
}

static void loop(int64_t until_us, int64_t give_up_us, bool consumers)
{
    for (;;) {
        int64_t now = clock_mono_us();
        stopping = now >= until_us;
        if (stopping && (!consumers || (n_answered == n_sent && n_done >= n_answered)))
            return;
        if (now > give_up_us)
            die("%zu of %zu jobs were done in %d s", n_done, n_answered, DRAIN_S);
        struct epoll_event evs[256];
        int k = epoll_wait(poller, evs, 256, 20);
        for (int i = 0; i < k; i++)
            turn(evs[i].data.ptr, evs[i].events);
    }
}

/* Some queues count a little later than they answer. */
static void check_kept(void)
{
    struct conn c;
    size_t kept = 0;
    connect_to(&c, true);
    if (protocol->open != NULL)
        protocol->open(&c, false);
    for (int64_t end = clock_mono_ms() + KEPT_MS; kept < n_answered; usleep(10000)) {
        kept = protocol->count(&c);
        if (kept < n_answered && clock_mono_ms() > end)
            die("%zu jobs were answered for, %zu are there", n_answered, kept);
    }
    disconnect(&c);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int usage(void)
{
    (void)fprintf(stderr, "usage: peer PROTOCOL ADDR PORT PRODUCERS CONSUMERS SECONDS PAYLOAD_BYTES BATCH\nPROTOCOL:");
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        (void)fprintf(stderr, " %s", protocols[i]->name);
    (void)fputc('\n', stderr);
    return 2;
}

int main(int argc, char **argv)
{
    static struct conn conns[CONNECTIONS_MAX];
    if (argc != 9)
        return usage();
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++)
        if (strcmp(protocols[i]->name, argv[1]) == 0)
            protocol = protocols[i];
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[3]))};
    int producers = atoi(argv[4]), consumers = atoi(argv[5]), payload_len = atoi(argv[7]);
    batch = (size_t)atoi(argv[8]);
    if (protocol == NULL || inet_pton(AF_INET, argv[2], &address.sin_addr) != 1 || producers < 1 || consumers < 0 ||
        producers + consumers > CONNECTIONS_MAX || payload_len < 16 || batch < 1 || batch > BATCH_MAX)
        return usage();
    char *payload = malloc((size_t)payload_len);
    samples = malloc(SAMPLES_MAX * sizeof *samples);
    if (payload == NULL || samples == NULL)
        die("out of memory");
    memset(payload, 'x', (size_t)payload_len);
    memcpy(payload, "{\"data\":\"", 9);
    memcpy(payload + payload_len - 2, "\"}", 2);
    buf_init(&request, BUFFER_MAX);
    protocol->produce(&request, payload, (size_t)payload_len, batch);

    poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < producers + consumers; i++) {
        connect_to(&conns[i], i < producers);
        if (protocol->open != NULL)
            protocol->open(&conns[i], i == 0);
        (void)fcntl(conns[i].fd, F_SETFL, O_NONBLOCK);
        watch(&conns[i], EPOLL_CTL_ADD, EPOLLIN);
    }
    int64_t from = clock_mono_us(), until = from + (int64_t)(atof(argv[6]) * 1e6);
    for (int i = 0; i < producers + consumers; i++) {
        if (i < producers)
            produce(&conns[i]);
        send_on(&conns[i]);
    }
    loop(until, until + DRAIN_S * 1000000LL, consumers > 0);
    double seconds = (double)(clock_mono_us() - from) / 1e6;
    if (consumers == 0)
        check_kept();
    size_t n = consumers > 0 ? n_done : n_answered;
    qsort(samples, n_samples, sizeof *samples, by_value);
    (void)printf("{\"seconds\": %.3f, \"per_second\": %.0f, \"p50_us\": %u, \"p99_us\": %u, \"n\": %zu}\n", seconds,
                 (double)n / seconds, n_samples > 0 ? samples[n_samples / 2] : 0,
                 n_samples > 0 ? samples[n_samples * 99 / 100] : 0, n);
    for (int i = 0; i < producers + consumers; i++)
        disconnect(&conns[i]);
    close(poller);
    buf_done(&request);
    free(payload);
    free(samples);
    return 0;
}
