#include "api.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#define API_BASE "/2018-06-01/runtime/"

static _Noreturn void give_up(const char *what)
{
    dprintf(STDERR_FILENO, "bootstrap: %s: %s\n", what, strerror(errno));
    _exit(1);
}

void api_init(struct api *a, const char *address)
{
    (void)snprintf(a->address, sizeof a->address, "%s", address);
    a->fd = -1;
}

/* --- the connection ----------------------------------------------------------------------------------------------- */

static bool connect_api(struct api *a)
{
    struct sockaddr_in to = {.sin_family = AF_INET};
    char host[API_ADDRESS_MAX];
    const char *colon = strrchr(a->address, ':');
    int one = 1;
    if (colon == NULL)
        return false;
    (void)snprintf(host, sizeof host, "%.*s", (int)(colon - a->address), a->address);
    to.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    a->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (a->fd < 0 || inet_pton(AF_INET, host, &to.sin_addr) != 1)
        return false;
    (void)setsockopt(a->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return connect(a->fd, (struct sockaddr *)&to, sizeof to) == 0;
}

static void drop(struct api *a)
{
    if (a->fd >= 0)
        (void)close(a->fd);
    a->fd = -1;
}

static bool send_all(struct api *a, const char *p, size_t len, int flags)
{
    while (len > 0) {
        ssize_t n = send(a->fd, p, len, MSG_NOSIGNAL | flags);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

static ssize_t receive(struct api *a, char *to, size_t len)
{
    ssize_t n;
    do
        n = recv(a->fd, to, len, 0);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        errno = ECONNRESET;
    return n;
}

/* --- an answer ---------------------------------------------------------------------------------------------------- */

const char *event_header(struct event *e, const char *name)
{
    size_t len = strlen(name);
    for (char *line = e->head; *line != '\0'; line += strlen(line) + 1)
        if (strncasecmp(line, name, len) == 0 && line[len] == ':')
            return line + len + 1 + strspn(line + len + 1, " \t");
    return "";
}

/* Lines end in NUL instead of CR LF, the last one in two. */
static void split_head(struct event *e, size_t head_len)
{
    size_t to = 0;
    for (size_t i = 0; i < head_len; i++)
        if (e->head[i] == '\r' && e->head[i + 1] == '\n') {
            e->head[to++] = '\0';
            i++;
        } else {
            e->head[to++] = e->head[i];
        }
    e->head[to] = '\0';
}

static bool read_body(struct api *a, struct event *e, const char *start, size_t have)
{
    char *end;
    unsigned long len = strtoul(event_header(e, "content-length"), &end, 10);
    if (len > API_EVENT_MAX || have > len) {
        errno = EMSGSIZE;
        return false;
    }
    e->body = malloc(len + 1);
    if (e->body == NULL)
        return false;
    memcpy(e->body, start, have);
    while (have < len) {
        ssize_t n = receive(a, e->body + have, len - have);
        if (n <= 0)
            return false;
        have += (size_t)n;
    }
    e->len = len;
    e->body[len] = '\0';
    return true;
}

/* The status, or -1. */
static int read_answer(struct api *a, struct event *e)
{
    size_t have = 0;
    char *end = NULL;
    while (end == NULL) {
        ssize_t n = have < API_HEAD_MAX ? receive(a, e->head + have, API_HEAD_MAX - have) : -1;
        if (n <= 0)
            return -1;
        have += (size_t)n;
        end = memmem(e->head, have, "\r\n\r\n", 4);
    }
    size_t head_len = (size_t)(end - e->head) + 2, rest = have - head_len - 2;
    char *start = malloc(rest + 1);
    if (start == NULL)
        return -1;
    memcpy(start, e->head + head_len + 2, rest);
    split_head(e, head_len);
    bool whole = read_body(a, e, start, rest);
    free(start);
    const char *blank = strchr(e->head, ' ');
    if (!whole || blank == NULL)
        return -1;
    if (strcasecmp(event_header(e, "connection"), "close") == 0)
        drop(a);
    return atoi(blank + 1);
}

static void clear(struct event *e)
{
    free(e->body);
    e->body = NULL;
    e->len = 0;
    e->head[0] = '\0';
}

/* A kept connection that turns out to be closed is opened once more. */
static int call(struct api *a, const char *head, const void *body, size_t len, struct event *e)
{
    for (int turn = 0; turn < 2; turn++) {
        clear(e);
        bool sent = (a->fd >= 0 || connect_api(a)) && send_all(a, head, strlen(head), len > 0 ? MSG_MORE : 0);
        /* A refusal may cut the connection while the body is on its way: the answer is still to be read. */
        if (sent && len > 0)
            (void)send_all(a, body, len, 0);
        int status = sent ? read_answer(a, e) : -1;
        if (status > 0)
            return status;
        drop(a);
    }
    return -1;
}

void api_next(struct api *a, struct event *e)
{
    char head[256];
    (void)snprintf(head, sizeof head, "GET " API_BASE "invocation/next HTTP/1.1\r\nHost: %s\r\n\r\n", a->address);
    int status = call(a, head, NULL, 0, e);
    if (status > 0 && status != 200) {
        dprintf(STDERR_FILENO, "bootstrap: the Runtime API answered %d\n", status);
        _exit(1);
    }
    if (status < 0)
        give_up("the Runtime API");
}

void api_post(struct api *a, const char *path, const char *error_type, const void *body, size_t len)
{
    static struct event answer; /* big, and nobody looks at it */
    char head[768];
    int n =
        snprintf(head, sizeof head, "POST " API_BASE "%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n",
                 path, a->address);
    if (error_type != NULL)
        n += snprintf(head + n, sizeof head - (size_t)n, "Lambda-Runtime-Function-Error-Type: %s\r\n", error_type);
    (void)snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %zu\r\n\r\n", len);
    (void)call(a, head, body, len, &answer);
    clear(&answer);
}
