/* The clients of the kill loop, and the sink of what the functions tell. One thread, epoll.
 *
 *   kill_client SINK_FD DATA PLAN CONNECTIONS PAUSE_MS SEED RUN_ID CLIENT_LOG EFFECTS_LOG COUNTERS [--drop N]
 *
 * Sends signed asynchronous invocations over CONNECTIONS kept connections, each with one request at a time and a random
 * pause (0 to 2 * PAUSE_MS) in between; a connection that breaks is made anew, to the address in DATA/endpoint. At
 * SIGUSR1 no new events are sent; at SIGTERM it ends. What happened to each event, CLOCK_MONOTONIC microseconds last:
 *
 *   I TOKEN FUNCTION FNV LEN US    before its first byte is sent
 *   B TOKEN TOKEN...               these are of one request: one in six has two to eight lines of JSON
 *   A TOKEN ID US                  the whole 202 was read
 *   R TOKEN STATUS US              the whole answer was read, and is none
 *   U TOKEN US                     no whole answer
 *
 * PLAN has lines "WEIGHT FUNCTION WHAT MS"; worker.c says what they mean. SINK_FD is a listening socket: what the
 * workers send goes to EFFECTS_LOG, line by line. COUNTERS is a file of two 64-bit numbers, mapped by whoever wants to
 * watch: sent, acknowledged. --drop N is for trying the checker: one of N events is not sent and said to be
 * acknowledged.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/hash.h"

enum { BATCH_MAX = 8, CONNS_MAX = 256, SINKS_MAX = 4096, PLAN_MAX = 32, PAD_MAX = 70000, LINE_LEN = 512 };

struct row {
    unsigned weight;
    char function[64], what[16];
    unsigned ms;
};

struct conn {
    int fd; /* -1: none */
    bool busy;
    int64_t next_us; /* when the next event may be sent */
    char token[BATCH_MAX][64];
    unsigned n_tokens;
    char in[4096];
    size_t in_len;
    struct buf out;
    size_t out_at;
};

struct sink {
    char in[LINE_LEN * 2];
    size_t len;
};

static struct row plan[PLAN_MAX];
static unsigned n_plan, total_weight;
static struct conn conns[CONNS_MAX];
static struct sink *sinks[SINKS_MAX]; /* by descriptor */
static int n_conns, ep, listener, effects = -1;
static int64_t pause_us;
static const char *data_dir, *run_id;
static char key[128], secret[128];
static FILE *out_log;
static _Atomic uint64_t *counters;
static uint64_t serial, drop, rng;
static volatile sig_atomic_t quiet, ended;

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "kill_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t draw(uint64_t below)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return rng % below;
}

/* --- signing ----- */

static void hmac_text(const uint8_t *k, size_t k_len, const char *text, uint8_t out[SHA256_LEN])
{
    hmac_sha256(k, k_len, text, strlen(text), out);
}

/* The key of a day: the same for all requests of it. */
static const uint8_t *signing_key(const char *date)
{
    static char of[16];
    static uint8_t k[SHA256_LEN];
    uint8_t d[SHA256_LEN];
    char first[160];
    if (strcmp(of, date) == 0)
        return k;
    int n = snprintf(first, sizeof first, "AWS4%s", secret);
    hmac_text((const uint8_t *)first, (size_t)n, date, k);
    hmac_text(k, sizeof k, "us-east-1", d);
    hmac_text(d, sizeof d, "lambda", k);
    hmac_text(k, sizeof k, "aws4_request", d);
    memcpy(k, d, sizeof k);
    (void)snprintf(of, sizeof of, "%s", date);
    return k;
}

static void hex_of(const char *text, size_t len, char *hex)
{
    uint8_t d[SHA256_LEN];
    sha256_sum(text, len, d);
    hex_encode(d, sizeof d, hex);
}

/* One event, or the lines of many. */
static void build(struct buf *to, const char *host, const char *function, const struct buf *body, bool many)
{
    const char *names = many ? "host;x-amz-date" : "host;x-amz-date;x-amz-invocation-type";
    char stamp[20], date[9], path[160], body_hex[65], canon[1024], canon_hex[65], to_sign[512], signature[65];
    uint8_t mac[SHA256_LEN];
    time_t now = time(NULL);
    struct tm tm;
    (void)gmtime_r(&now, &tm);
    (void)strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm);
    (void)strftime(date, sizeof date, "%Y%m%d", &tm);
    (void)snprintf(path, sizeof path, many ? "/bide/v1/functions/%s/events" : "/2015-03-31/functions/%s/invocations",
                   function);
    hex_of(body->data, body->len, body_hex);
    int n = snprintf(canon, sizeof canon, "POST\n%s\n\nhost:%s\nx-amz-date:%s\n%s\n%s\n%s", path, host, stamp,
                     many ? "" : "x-amz-invocation-type:Event\n", names, body_hex);
    hex_of(canon, (size_t)n, canon_hex);
    (void)snprintf(to_sign, sizeof to_sign, "AWS4-HMAC-SHA256\n%s\n%s/us-east-1/lambda/aws4_request\n%s", stamp, date,
                   canon_hex);
    hmac_text(signing_key(date), SHA256_LEN, to_sign, mac);
    hex_encode(mac, sizeof mac, signature);
    buf_clear(to);
    if (buf_printf(to,
                   "POST %s HTTP/1.1\r\nHost: %s\r\nX-Amz-Date: %s\r\n%sAuthorization: AWS4-HMAC-SHA256 "
                   "Credential=%s/%s/us-east-1/lambda/aws4_request, SignedHeaders=%s, "
                   "Signature=%s\r\nContent-Length: %zu\r\n\r\n",
                   path, host, stamp, many ? "" : "X-Amz-Invocation-Type: Event\r\n", key, date, names, signature,
                   body->len) < 0 ||
        buf_append(to, body->data, body->len) < 0)
        die("request");
}

/* --- events ----- */

static uint64_t fnv1a(const char *p, size_t len)
{
    uint64_t h = 0xcbf29ce484222325U;
    for (size_t i = 0; i < len; i++)
        h = (h ^ (uint8_t)p[i]) * 0x100000001b3U;
    return h;
}

/* Mostly small ones, some that are kept in chunks, a few large. */
static size_t pad_length(void)
{
    uint64_t d = draw(100);
    return (size_t)(d < 80 ? draw(300) : d < 98 ? 1000 + draw(4000) : 20000 + draw(50000 - 1));
}

static const struct row *choose_row(void)
{
    const struct row *r = plan;
    for (uint64_t at = draw(total_weight); at >= r->weight; r++)
        at -= r->weight;
    return r;
}

/* The event is appended to body, and its intent written down. */
static void add_event(const struct row *r, char *token, struct buf *body)
{
    static char pad[PAD_MAX];
    size_t from = body->len;
    if (pad[0] == '\0')
        memset(pad, 'x', sizeof pad - 1);
    (void)snprintf(token, 64, "%s-%llu", run_id, (unsigned long long)++serial);
    if (buf_printf(body, "{\"t\":\"%s\",\"do\":\"%s\",\"ms\":%llu,\"pad\":\"%.*s\"}", token, r->what,
                   (unsigned long long)(r->ms > 0 ? draw(2 * r->ms) : 0), (int)pad_length(), pad) < 0)
        die("payload");
    (void)fprintf(out_log, "I %s %s %016llx %zu %lld\n", token, r->function,
                  (unsigned long long)fnv1a(body->data + from, body->len - from), body->len - from,
                  (long long)clock_mono_us());
}

/* "R TOKEN STATUS US", or "U TOKEN US". */
static void log_all(const struct conn *c, int status)
{
    for (unsigned i = 0; i < c->n_tokens; i++) {
        if (status > 0)
            (void)fprintf(out_log, "R %s %d %lld\n", c->token[i], status, (long long)clock_mono_us());
        else
            (void)fprintf(out_log, "U %s %lld\n", c->token[i], (long long)clock_mono_us());
    }
}

static void hang_up(struct conn *c)
{
    if (c->busy)
        log_all(c, 0);
    if (c->fd >= 0)
        (void)close(c->fd);
    c->fd = -1;
    c->busy = false;
    c->in_len = 0;
}

/* The daemon's address and keys as they are now: "127.0.0.1:PORT". False while there is none. */
static bool find_daemon(char *host, size_t cap)
{
    char path[512], line[160];
    (void)snprintf(path, sizeof path, "%s/endpoint", data_dir);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return false;
    bool ok = fgets(line, sizeof line, f) != NULL && strncmp(line, "http://", 7) == 0;
    (void)fclose(f);
    if (!ok)
        return false;
    line[strcspn(line, "\n")] = '\0';
    (void)snprintf(host, cap, "%.79s", line + 7);
    if (key[0] != '\0')
        return true;
    (void)snprintf(path, sizeof path, "%s/credentials", data_dir);
    f = fopen(path, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        if (sscanf(line, "aws_access_key_id = %127s", key) != 1)
            (void)sscanf(line, "aws_secret_access_key = %127s", secret);
    if (f != NULL)
        (void)fclose(f);
    return key[0] != '\0' && secret[0] != '\0';
}

static bool dial(struct conn *c, const char *host)
{
    struct sockaddr_in a = {.sin_family = AF_INET};
    int on = 1;
    const char *colon = strchr(host, ':');
    if (colon == NULL)
        return false;
    a.sin_port = htons((uint16_t)atoi(colon + 1));
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        die("socket");
    if (connect(c->fd, (struct sockaddr *)&a, sizeof a) < 0) {
        (void)close(c->fd);
        c->fd = -1;
        return false;
    }
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)fcntl(c->fd, F_SETFL, O_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    (void)epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &ev);
    return true;
}

static void push(struct conn *c)
{
    while (c->out_at < c->out.len) {
        ssize_t n = send(c->fd, c->out.data + c->out_at, c->out.len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT, .data.ptr = c};
            (void)epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
            return;
        }
        if (n < 0) {
            hang_up(c);
            return;
        }
        c->out_at += (size_t)n;
    }
    struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
    (void)epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &ev);
}

static void send_event(struct conn *c, const char *host)
{
    static struct buf body;
    if (body.max == 0)
        buf_init(&body, 1 << 20);
    buf_clear(&body);
    const struct row *r = choose_row();
    bool many = draw(6) == 0;
    c->n_tokens = many ? 2 + (unsigned)draw(BATCH_MAX - 1) : 1;
    for (unsigned i = 0; i < c->n_tokens; i++) {
        if (i > 0 && buf_putc(&body, '\n') < 0)
            die("payload");
        add_event(r, c->token[i], &body);
    }
    if (many) {
        (void)fputc('B', out_log);
        for (unsigned i = 0; i < c->n_tokens; i++)
            (void)fprintf(out_log, " %s", c->token[i]);
        (void)fputc('\n', out_log);
    }
    if (drop > 0 && !many && serial % drop == 0) {
        (void)fprintf(out_log, "A %s 00000000-0000-7000-8000-%012llx %lld\n", c->token[0], (unsigned long long)serial,
                      (long long)clock_mono_us());
        return;
    }
    build(&c->out, host, r->function, &body, many);
    c->out_at = 0;
    c->busy = true;
    counters[0]++;
    push(c);
}

static void rest(struct conn *c)
{
    c->next_us = clock_mono_us() + (pause_us > 0 ? (int64_t)draw((uint64_t)pause_us * 2) : 0);
}

static bool header(const char *head, const char *name, char *to, size_t cap)
{
    const char *at = strcasestr(head, name);
    if (at == NULL)
        return false;
    at += strlen(name);
    at += strspn(at, " ");
    (void)snprintf(to, cap, "%.*s", (int)strcspn(at, "\r"), at);
    return true;
}

/* {"ids":["...","..."]}, in the order of the lines. */
static void log_ids(struct conn *c, const char *body)
{
    const char *at = strchr(body, '[');
    for (unsigned i = 0; i < c->n_tokens && at != NULL; i++) {
        char id[64];
        if (sscanf(at + 1, " \"%63[^\"]", id) != 1) {
            errno = EPROTO;
            die("ids");
        }
        (void)fprintf(out_log, "A %s %s %lld\n", c->token[i], id, (long long)clock_mono_us());
        at = strchr(at + 1, ',');
    }
}

/* A whole answer in c->in, or nothing. */
static void take_answer(struct conn *c)
{
    char text[80];
    c->in[c->in_len] = '\0';
    char *end = strstr(c->in, "\r\n\r\n");
    if (end == NULL)
        return;
    size_t body = header(c->in, "\r\ncontent-length:", text, sizeof text) ? strtoul(text, NULL, 10) : 0;
    if ((size_t)(end + 4 - c->in) + body > c->in_len)
        return;
    int status = atoi(c->in + 9);
    counters[1] += status == 202;
    if (status == 202 && c->n_tokens > 1)
        log_ids(c, end + 4);
    else if (status == 202 && header(c->in, "\r\nx-amzn-requestid:", text, sizeof text))
        (void)fprintf(out_log, "A %s %s %lld\n", c->token[0], text, (long long)clock_mono_us());
    else
        log_all(c, status);
    c->busy = false;
    c->in_len = 0;
    if (header(c->in, "\r\nconnection:", text, sizeof text) && strcasecmp(text, "close") == 0)
        hang_up(c);
    rest(c);
}

static void on_conn(struct conn *c, uint32_t events)
{
    if ((events & EPOLLOUT) != 0)
        push(c);
    if (c->fd < 0 || (events & ~(uint32_t)EPOLLOUT) == 0)
        return;
    ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - 1 - c->in_len, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        hang_up(c);
        rest(c);
        return;
    }
    c->in_len += (size_t)n;
    take_answer(c);
}

/* --- the sink ----- */

static void on_sink(int fd)
{
    struct sink *s = sinks[fd];
    ssize_t n = recv(fd, s->in + s->len, sizeof s->in - s->len, 0);
    if (n <= 0) {
        (void)close(fd);
        free(s);
        sinks[fd] = NULL;
        return;
    }
    s->len += (size_t)n;
    char *end = memrchr(s->in, '\n', s->len);
    if (end == NULL)
        return;
    size_t whole = (size_t)(end + 1 - s->in);
    if (write(effects, s->in, whole) != (ssize_t)whole)
        die("effects");
    memmove(s->in, s->in + whole, s->len - whole);
    s->len -= whole;
}

static void on_accept(void)
{
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    if (fd >= SINKS_MAX || (sinks[fd] = calloc(1, sizeof(struct sink))) == NULL) {
        errno = EMFILE;
        die("sink");
    }
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uint64_t)fd};
    (void)epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}

/* --- ----- */

static void send_what_is_due(void)
{
    char host[80];
    int64_t now = clock_mono_us();
    bool found = false, looked = false;
    for (int i = 0; i < n_conns && quiet == 0; i++) {
        struct conn *c = &conns[i];
        if (c->busy || c->next_us > now)
            continue;
        if (!looked) {
            found = find_daemon(host, sizeof host);
            looked = true;
        }
        if (found && (c->fd >= 0 || dial(c, host)))
            send_event(c, host);
    }
}

static void on_signal(int s)
{
    quiet = 1;
    if (s == SIGTERM)
        ended = 1;
}

static void read_plan(const char *path)
{
    FILE *f = fopen(path, "re");
    if (f == NULL)
        die(path);
    struct row r;
    while (n_plan < PLAN_MAX && fscanf(f, "%u %63s %15s %u", &r.weight, r.function, r.what, &r.ms) == 4) {
        plan[n_plan++] = r;
        total_weight += r.weight;
    }
    (void)fclose(f);
    if (total_weight == 0) {
        errno = EINVAL;
        die(path);
    }
}

static void prepare(char **argv)
{
    listener = atoi(argv[1]);
    data_dir = argv[2];
    read_plan(argv[3]);
    n_conns = atoi(argv[4]);
    pause_us = atoll(argv[5]) * 1000;
    rng = strtoull(argv[6], NULL, 10) * 2 + 1;
    run_id = argv[7];
    out_log = fopen(argv[8], "ae");
    effects = open(argv[9], O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    int fd = open(argv[10], O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (out_log == NULL || effects < 0 || fd < 0 || ftruncate(fd, 4096) < 0 || n_conns < 1 || n_conns > CONNS_MAX)
        die("arguments");
    void *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (m == MAP_FAILED)
        die("mmap");
    counters = m;
    struct sigaction a = {.sa_handler = on_signal};
    (void)sigaction(SIGUSR1, &a, NULL);
    (void)sigaction(SIGTERM, &a, NULL);
    ep = epoll_create1(EPOLL_CLOEXEC);
    (void)fcntl(listener, F_SETFL, O_NONBLOCK);
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = (uint64_t)listener};
    (void)epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
    for (int i = 0; i < n_conns; i++) {
        conns[i].fd = -1;
        buf_init(&conns[i].out, 1 << 20);
    }
}

int main(int argc, char **argv)
{
    if (argc == 13 && strcmp(argv[11], "--drop") == 0)
        drop = strtoull(argv[12], NULL, 10);
    else if (argc != 11)
        return 2;
    prepare(argv);
    int k = 1;
    while (ended == 0 || k > 0) { /* at the end, what the workers have sent is still taken */
        struct epoll_event evs[64];
        send_what_is_due();
        k = epoll_wait(ep, evs, 64, ended == 0 ? 1 : 0);
        for (int i = 0; i < k; i++) {
            if (evs[i].data.u64 == (uint64_t)listener)
                on_accept();
            else if (evs[i].data.u64 < SINKS_MAX)
                on_sink((int)evs[i].data.u64);
            else
                on_conn(evs[i].data.ptr, evs[i].events);
        }
        if (k <= 0)
            (void)fflush(out_log);
    }
    for (int i = 0; i < n_conns; i++)
        hang_up(&conns[i]);
    return fclose(out_log) == 0 ? 0 : 1;
}
