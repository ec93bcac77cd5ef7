/* The cheapest worker: a `bootstrap` that speaks the Runtime API over one connection and answers each event at once.
 *
 * An event that holds "n":N has its arrival kept as CLOCK_MONOTONIC microseconds (the clock of the host: boxes share
 * it). One that begins with {"report" is answered with the stamps so far, [[N, us], ...], and they are forgotten.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_MAX = 1 << 20, HEAD_MAX = 512, STAMPS_MAX = 20000, REPORT_MAX = 1 << 20 };

static const char next_request[] = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: runtime\r\n\r\n";

static char in[IN_MAX + 1];
static struct {
    long n;
    int64_t us;
} stamps[STAMPS_MAX];
static size_t n_stamps;

static int64_t mono_us(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void must(int ok)
{
    if (!ok)
        exit(1);
}

static void send_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, p, len, MSG_NOSIGNAL);
        must(n > 0);
        p += n;
        len -= (size_t)n;
    }
}

static size_t content_length(const char *head)
{
    const char *at = strcasestr(head, "\r\ncontent-length:");
    return at != NULL ? strtoul(at + 17, NULL, 10) : 0;
}

/* One answer: its head, ended by NUL, at in; the body and its length are returned. */
static char *receive(int fd, size_t *ret_len)
{
    size_t have = 0;
    char *end = NULL;
    while (end == NULL) {
        must(have < IN_MAX);
        ssize_t n = recv(fd, in + have, IN_MAX - have, 0);
        must(n > 0);
        have += (size_t)n;
        in[have] = '\0';
        end = strstr(in, "\r\n\r\n");
    }
    *end = '\0';
    char *body = end + 4;
    size_t got = have - (size_t)(body - in);
    *ret_len = content_length(in);
    must(*ret_len < IN_MAX - (size_t)(body - in));
    while (got < *ret_len) {
        ssize_t n = recv(fd, body + got, *ret_len - got, 0);
        must(n > 0);
        got += (size_t)n;
    }
    body[*ret_len] = '\0';
    return body;
}

static size_t report(char *to)
{
    size_t len = 0;
    to[len++] = '[';
    for (size_t i = 0; i < n_stamps && len < REPORT_MAX - 64; i++)
        len += (size_t)snprintf(to + len, 64, "%s[%ld,%lld]", i > 0 ? "," : "", stamps[i].n, (long long)stamps[i].us);
    to[len++] = ']';
    n_stamps = 0;
    return len;
}

static void keep_stamp(const char *body, int64_t us)
{
    const char *at = strstr(body, "\"n\":");
    if (at == NULL || n_stamps == STAMPS_MAX)
        return;
    stamps[n_stamps].n = strtol(at + 4, NULL, 10);
    stamps[n_stamps++].us = us;
}

static void respond(int fd, const char *body, int64_t arrived_us)
{
    static char answer[REPORT_MAX], request[REPORT_MAX + HEAD_MAX];
    char id[80];
    size_t len = 4, ignored;
    const char *at = strcasestr(in, "\r\nlambda-runtime-aws-request-id:");
    must(at != NULL && sscanf(at + 32, " %79[^\r\n]", id) == 1);
    memcpy(answer, "null", len);
    if (strncmp(body, "{\"report\"", 9) == 0)
        len = report(answer);
    else
        keep_stamp(body, arrived_us);
    size_t head = (size_t)snprintf(
        request, HEAD_MAX,
        "POST /2018-06-01/runtime/invocation/%s/response HTTP/1.1\r\nHost: runtime\r\nContent-Length: %zu\r\n\r\n", id,
        len);
    memcpy(request + head, answer, len);
    send_all(fd, request, head + len);
    (void)receive(fd, &ignored);
}

int main(void)
{
    const char *api = getenv("AWS_LAMBDA_RUNTIME_API");
    char host[64];
    int port = 0, on = 1;
    must(api != NULL && sscanf(api, "%63[^:]:%d", host, &port) == 2);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    must(inet_pton(AF_INET, host, &a.sin_addr) == 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    for (;;) {
        size_t len;
        send_all(fd, next_request, sizeof next_request - 1);
        const char *body = receive(fd, &len);
        respond(fd, body, mono_us());
    }
}
