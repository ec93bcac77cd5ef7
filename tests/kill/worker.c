/* The function of the kill loop: a `bootstrap` that tells of each run before and after its work, and then ends as the
 * event asks.
 *
 * The event is {"t":"TOKEN","do":"WHAT","ms":N,...}. EFFECTS names a TCP address of this host (the function's role
 * gives it the host's network). One send() each, on a connection that is kept: what was sent survives the death of the
 * box.
 *
 *   S TOKEN ID FNV LEN US FUNCTION    the run began; FNV-1a and length of the payload as it was received
 *   E TOKEN ID RESULT US              it is about to end: ok, err or exit
 *
 * WHAT: ok; err; coin (either, by chance); exit (the process ends); hang (until the time limit).
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

enum { IN_MAX = 1 << 20, LINE_LEN = 512 };

static char in[IN_MAX + 1];

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

static int dial(const char *address)
{
    char host[64];
    int port = 0, on = 1;
    must(address != NULL && sscanf(address, "%63[^:]:%d", host, &port) == 2);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    must(inet_pton(AF_INET, host, &a.sin_addr) == 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
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

static void text_member(const char *json, const char *name, char *to, size_t cap)
{
    const char *at = strstr(json, name);
    to[0] = '\0';
    if (at == NULL)
        return;
    at += strlen(name);
    size_t n = strcspn(at, "\"");
    must(n < cap);
    memcpy(to, at, n);
    to[n] = '\0';
}

static uint64_t fnv1a(const char *p, size_t len)
{
    uint64_t h = 0xcbf29ce484222325U;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)p[i]) * 0x100000001b3U;
    return h;
}

static void nap(int64_t ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    (void)nanosleep(&t, NULL);
}

static void answer(int api, const char *id, int ok)
{
    static const char good[] = "null", bad[] = "{\"errorType\":\"Asked\",\"errorMessage\":\"the event asked for it\"}";
    const char *body = ok ? good : bad;
    char request[LINE_LEN];
    size_t ignored;
    int n =
        snprintf(request, sizeof request,
                 "POST /2018-06-01/runtime/invocation/%s/%s HTTP/1.1\r\nHost: runtime\r\nContent-Length: %zu\r\n\r\n%s",
                 id, ok ? "response" : "error", strlen(body), body);
    send_all(api, request, (size_t)n);
    (void)receive(api, &ignored);
}

static void run(int api, int sink, const char *body, size_t len)
{
    char id[80], token[80], what[16], line[LINE_LEN];
    const char *at = strcasestr(in, "\r\nlambda-runtime-aws-request-id:"), *ms = strstr(body, "\"ms\":");
    must(at != NULL && sscanf(at + 32, " %79[^\r\n]", id) == 1);
    text_member(body, "\"t\":\"", token, sizeof token);
    text_member(body, "\"do\":\"", what, sizeof what);
    int n =
        snprintf(line, sizeof line, "S %s %s %016llx %zu %lld %s\n", token, id, (unsigned long long)fnv1a(body, len),
                 len, (long long)mono_us(), getenv("AWS_LAMBDA_FUNCTION_NAME"));
    send_all(sink, line, (size_t)n);
    nap(ms != NULL ? strtol(ms + 5, NULL, 10) : 0);
    if (strcmp(what, "hang") == 0)
        nap(3600 * 1000L);
    if (strcmp(what, "coin") == 0)
        (void)strcpy(what, mono_us() % 2 == 0 ? "ok" : "err");
    n = snprintf(line, sizeof line, "E %s %s %s %lld\n", token, id, what, (long long)mono_us());
    send_all(sink, line, (size_t)n);
    if (strcmp(what, "exit") == 0)
        _exit(3);
    answer(api, id, strcmp(what, "ok") == 0);
}

int main(void)
{
    static const char next[] = "GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: runtime\r\n\r\n";
    int sink = dial(getenv("EFFECTS")), api = dial(getenv("AWS_LAMBDA_RUNTIME_API"));
    for (;;) {
        size_t len;
        send_all(api, next, sizeof next - 1);
        const char *body = receive(api, &len);
        run(api, sink, body, len);
    }
}
