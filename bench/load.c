/* Closed-loop load over HTTP/1.1 keep-alive: N connections, each waiting for its answer before the next request, one
 * thread, epoll. The request is signed once (AWS Signature Version 4) and sent again and again, so a run must end
 * before the signature is too old (5 minutes). Prints one JSON line.
 *
 *   load ADDR PORT CONNECTIONS SECONDS COUNT PATH KEY SECRET REGION PAYLOAD_BYTES [LINES]
 *
 * With LINES, a request's body is so many lines of JSON of PAYLOAD_BYTES each, for a path that takes them; "n" and
 * "per_second" count events. Ends after SECONDS, or when COUNT requests (0: any number) were sent and answered.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"

enum { CONNECTIONS_MAX = 4096, SAMPLES_MAX = 4000000, READ_MAX = 4096, LINES_MAX = 1000 };

struct conn {
    int fd;
    size_t sent;
    bool waits; /* for room to send the rest */
    int64_t from_us;
    char in[READ_MAX];
    size_t in_len, skip; /* of the answer's body, still to come */
};

static struct buf request;
static uint32_t *samples;
static size_t n_samples, n_sent, n_answered, count;
static int ep;

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void hmac_hex(const uint8_t key[SHA256_LEN], const char *text, char *hex)
{
    uint8_t mac[SHA256_LEN];
    hmac_sha256(key, SHA256_LEN, text, strlen(text), mac);
    hex_encode(mac, sizeof mac, hex);
}

static void build_request(char **argv, const char *payload, size_t payload_len)
{
    char stamp[20], date[9], host[80], body_hex[65], canon[2048], canon_hex[65], to_sign[512], signature[65],
        secret[256];
    uint8_t d[SHA256_LEN], k[SHA256_LEN];
    time_t now = time(NULL);
    struct tm tm;
    (void)gmtime_r(&now, &tm);
    (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    (void)strftime(date, sizeof date, "%Y%m%d", &tm);
    (void)snprintf(host, sizeof host, "%s:%s", argv[1], argv[2]);
    sha256_sum(payload, payload_len, d);
    hex_encode(d, sizeof d, body_hex);
    (void)snprintf(
        canon, sizeof canon,
        "POST\n%s\n\nhost:%s\nx-amz-date:%s\nx-amz-invocation-type:Event\n\nhost;x-amz-date;x-amz-invocation-type\n%s",
        argv[6], host, stamp, body_hex);
    sha256_sum(canon, strlen(canon), d);
    hex_encode(d, sizeof d, canon_hex);
    (void)snprintf(to_sign, sizeof to_sign, "AWS4-HMAC-SHA256\n%s\n%s/%s/lambda/aws4_request\n%s", stamp, date, argv[9],
                   canon_hex);
    (void)snprintf(secret, sizeof secret, "AWS4%s", argv[8]);
    hmac_sha256(secret, strlen(secret), date, strlen(date), k);
    hmac_sha256(k, sizeof k, argv[9], strlen(argv[9]), d);
    hmac_sha256(d, sizeof d, "lambda", 6, k);
    hmac_sha256(k, sizeof k, "aws4_request", 12, d);
    hmac_hex(d, to_sign, signature);
    buf_init(&request, 1 << 23);
    if (buf_printf(&request,
                   "POST %s HTTP/1.1\r\nHost: %s\r\nX-Amz-Date: %s\r\nX-Amz-Invocation-Type: Event\r\nAuthorization: "
                   "AWS4-HMAC-SHA256 "
                   "Credential=%s/%s/%s/lambda/aws4_request, SignedHeaders=host;x-amz-date;x-amz-invocation-type, "
                   "Signature=%s\r\nContent-Length: %zu\r\n\r\n",
                   argv[6], host, stamp, argv[7], date, argv[9], signature, payload_len) < 0 ||
        buf_append(&request, payload, payload_len) < 0)
        die("request");
}

static void watch(struct conn *c, int op, bool waits)
{
    struct epoll_event ev = {.events = waits ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = c};
    if (epoll_ctl(ep, op, c->fd, &ev) < 0)
        die("epoll");
    c->waits = waits;
}

static void send_more(struct conn *c)
{
    if (c->sent == 0) {
        if (count > 0 && n_sent == count)
            return;
        n_sent++;
        c->from_us = clock_mono_us();
    }
    while (c->sent < request.len) {
        ssize_t n = send(c->fd, request.data + c->sent, request.len - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            if (!c->waits)
                watch(c, EPOLL_CTL_MOD, true);
            return;
        }
        if (n < 0)
            die("send");
        c->sent += (size_t)n;
    }
    if (c->waits)
        watch(c, EPOLL_CTL_MOD, false);
}

static void drop(struct conn *c, size_t n)
{
    memmove(c->in, c->in + n, c->in_len - n);
    c->in_len -= n;
    c->in[c->in_len] = '\0';
}

static void answered(struct conn *c)
{
    n_answered++;
    if (n_samples < SAMPLES_MAX)
        samples[n_samples++] = (uint32_t)(clock_mono_us() - c->from_us);
    c->sent = 0;
    send_more(c);
}

/* What the server says of its body's length: nothing is nothing. */
static size_t body_length(const char *head, const char *end)
{
    const char *at = strcasestr(head, "\r\nContent-Length:");
    return at != NULL && at < end ? strtoul(at + 17, NULL, 10) : 0;
}

/* Answers in c->in: heads are read, bodies dropped as they come. */
static void take_answers(struct conn *c)
{
    char *end;
    c->in[c->in_len] = '\0';
    for (;;) {
        if (c->skip > 0) {
            size_t n = c->skip < c->in_len ? c->skip : c->in_len;
            drop(c, n);
            c->skip -= n;
            if (c->skip > 0)
                return;
            answered(c);
        }
        if ((end = strstr(c->in, "\r\n\r\n")) == NULL)
            return;
        if (strncmp(c->in, "HTTP/1.1 202", 12) != 0) {
            (void)fprintf(stderr, "load: refused: %.300s\n", c->in);
            exit(1);
        }
        c->skip = body_length(c->in, end);
        drop(c, (size_t)(end + 4 - c->in));
        if (c->skip == 0)
            answered(c);
    }
}

static void receive(struct conn *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - 1 - c->in_len, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        die("the server closed a connection");
    c->in_len += (size_t)n;
    take_answers(c);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

/* One event, or lines of it with ends between them. */
static char *make_body(size_t payload_len, size_t lines, size_t *ret_len)
{
    *ret_len = lines * (payload_len + 1) - 1;
    char *body = malloc(*ret_len + 1);
    if (body == NULL)
        die("body");
    memset(body, 'x', *ret_len + 1);
    for (char *at = body; at < body + *ret_len; at += payload_len + 1) {
        memcpy(at, "{\"data\":\"", 9);
        memcpy(at + payload_len - 2, "\"}\n", 3);
    }
    return body;
}

int main(int argc, char **argv)
{
    static struct conn conns[CONNECTIONS_MAX];
    if (argc != 11 && argc != 12)
        return fprintf(
                   stderr,
                   "usage: load ADDR PORT CONNECTIONS SECONDS COUNT PATH KEY SECRET REGION PAYLOAD_BYTES [LINES]\n"),
               2;
    count = (size_t)atoll(argv[5]);
    int n = atoi(argv[3]), on = 1;
    size_t payload_len = (size_t)atoi(argv[10]), lines = argc == 12 ? (size_t)atoi(argv[11]) : 1, body_len;
    samples = malloc(SAMPLES_MAX * sizeof *samples);
    if (n < 1 || n > CONNECTIONS_MAX || samples == NULL || payload_len < 16 || lines < 1 || lines > LINES_MAX)
        return 2;
    char *body = make_body(payload_len, lines, &body_len);
    build_request(argv, body, body_len);
    ep = epoll_create1(EPOLL_CLOEXEC);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &a.sin_addr) != 1)
        return 2;
    for (int i = 0; i < n; i++) {
        conns[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (conns[i].fd < 0 || connect(conns[i].fd, (struct sockaddr *)&a, sizeof a) < 0)
            die("connect");
        (void)setsockopt(conns[i].fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        (void)fcntl(conns[i].fd, F_SETFL, O_NONBLOCK);
        watch(&conns[i], EPOLL_CTL_ADD, false);
    }
    int64_t from = clock_mono_us(), until = from + atoi(argv[4]) * 1000000LL;
    for (int i = 0; i < n; i++)
        send_more(&conns[i]);
    while (clock_mono_us() < until && (count == 0 || n_answered < count)) {
        struct epoll_event evs[256];
        int k = epoll_wait(ep, evs, 256, 100);
        for (int i = 0; i < k; i++) {
            if (evs[i].events & EPOLLOUT)
                send_more(evs[i].data.ptr);
            if (evs[i].events & ~(uint32_t)EPOLLOUT)
                receive(evs[i].data.ptr);
        }
    }
    double seconds = (double)(clock_mono_us() - from) / 1e6;
    qsort(samples, n_samples, sizeof *samples, by_value);
    (void)printf("{\"connections\": %d, \"seconds\": %.3f, \"per_second\": %.0f, \"p50_us\": %u, \"p99_us\": %u, "
                 "\"n\": %zu}\n",
                 n, seconds, (double)(n_answered * lines) / seconds, n_samples > 0 ? samples[n_samples / 2] : 0,
                 n_samples > 0 ? samples[n_samples * 99 / 100] : 0, n_answered * lines);
    return 0;
}
